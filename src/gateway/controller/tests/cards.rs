//! From the card to the door, or to the reason why not.

use super::*;
use crate::domain::{card_bits::CardBits, event::Actor, order::Switch, permission::Change, record::ForceState};

#[test]
fn a_granted_card_unlocks_its_door_in_the_step_of_its_event() {
    let mut bench = Bench::new();
    let step = bench.present(GOOD);
    assert_eq!(types(&step), ["access.granted", "door.mode_changed"]);
    assert_eq!((bench.unlocked(FRONT), bench.unlocked(BACK)), (true, false));
    assert_eq!(step.changed, [Thing::Door(FRONT)]);
    let granted = serde_json::to_value(events(&step)[0]).expect("an event");
    for (member, value) in [("person", "p-1"), ("credential", "c-1"), ("rule", "r-1"), ("reader", "front-in")] {
        assert_eq!(granted[member], value, "{member}");
    }
    assert_eq!((&granted["epoch"], &granted["generation"]), (&3.into(), &41.into()));
    assert_eq!(granted["card"]["raw"], "cafef00d");
}

#[test]
fn a_refused_card_moves_nothing_and_says_why() {
    let mut bench = Bench::new();
    let step = bench.present(UNKNOWN);
    let denied = only(&step);
    assert_eq!((&denied["type"], &denied["reason"]), (&"access.denied".into(), &"unknown_credential".into()));
    assert_eq!(denied["card"]["raw"], "12345678");
    assert_eq!((bench.unlocked(FRONT), step.changed.len()), (false, 0));

    let step = bench.tell(Input::Card(CardRead::bits(ReaderIx(1), GOOD)));
    let denied = only(&step);
    assert_eq!(
        (&denied["reason"], &denied["person"], &denied["door"]),
        (&"no_rule".into(), &"p-1".into(), &"back".into())
    );
}

#[test]
fn an_ambiguous_read_says_so_and_one_that_fits_nothing_keeps_its_bits() {
    let mut bench = Bench::new();
    let denied = only(&bench.present(RawCard::new(37, 0x10_0004_0000)));
    assert_eq!((&denied["card"]["ambiguous"], &denied["card"]["raw"]), (&true.into(), &"1000040000".into()));
    assert_eq!(denied["card"]["formats"], serde_json::json!(["h10302", "h10304", "raw"]));
    let denied = only(&bench.present(RawCard::new(29, 0x1f)));
    assert_eq!((&denied["card"]["bits"], &denied["card"]["raw"]), (&29.into(), &"0000001f".into()));
    assert_eq!(denied["card"]["formats"], serde_json::json!(["raw"]));
    assert_eq!(denied["card"].get("ambiguous"), None);
}

#[test]
fn an_impossible_read_is_a_bad_format() {
    let mut bench = Bench::new();
    for card in [RawCard::new(0, 0), RawCard::new(26, 1 << 26), RawCard::new(1025, 1), RawCard { cut: true, ..GOOD }] {
        let step = bench.present(card);
        assert_eq!(only(&step)["reason"], "bad_format", "{card:?}");
    }
}

#[test]
fn a_new_set_decides_the_next_card_and_a_revocation_leaves_an_open_door_its_dwell() {
    let mut bench = Bench::new();
    let _ = bench.present(GOOD);
    let step = bench.tell(Input::Permissions(permissions(42, true)));
    assert!(step.is_empty());
    assert!(bench.unlocked(FRONT));
    let denied = only(&bench.present(GOOD));
    assert_eq!(
        (&denied["reason"], &denied["rule"], &denied["generation"]),
        (&"explicit_deny".into(), &"r-1".into(), &42.into())
    );
    assert!(bench.unlocked(FRONT));
    bench.pass(5_000);
    let _ = bench.tell(Input::Timeout);
    assert!(!bench.unlocked(FRONT));
}

#[test]
fn a_mode_that_denies_overrides_the_rules_and_still_names_the_person() {
    let holds = [
        (DoorAction::Lockdown(true), "locked_down"),
        (DoorAction::Force(ForceState::Closed), "forced"),
        (DoorAction::Dnd(Switch::On), "dnd"),
    ];
    for (action, reason) in holds {
        let mut bench = Bench::new();
        let _ = bench.order(FRONT, action);
        let denied = only(&bench.present(GOOD));
        assert_eq!((&denied["reason"], &denied["person"]), (&reason.into(), &"p-1".into()), "{action:?}");
        assert!(!bench.unlocked(FRONT));
    }
    let mut bench = Bench::new();
    let mut step = Step::default();
    let interlock = DoorInput::Override(crate::domain::door::Override::Interlock(true), Actor::Node);
    bench.controller.tell(bench.now, FRONT, interlock, &mut step);
    let denied = only(&bench.present(GOOD));
    assert_eq!((&denied["reason"], &denied["person"]), (&"interlock".into(), &"p-1".into()));
    assert!(!bench.unlocked(FRONT));
}

#[test]
fn without_a_set_every_card_is_denied() {
    let mut bench = Bench::new();
    let _ = bench.tell(Input::Permissions(Arc::new(Permissions::none())));
    assert_eq!(only(&bench.present(GOOD))["reason"], "stale_permissions");
}

#[test]
fn a_stopping_node_lets_nobody_in() {
    let mut bench = Bench::new();
    let _ = bench.tell(Input::Stop);
    let step = bench.present(GOOD);
    assert!(step.is_empty() && !bench.unlocked(FRONT));
}

#[test]
fn cards_of_any_length_open_by_a_format_of_the_set_and_by_their_bits_and_one_that_is_too_long_is_told() {
    let fasc_n = CardBits::from_digits("d0439458210c2c19a0846d83685a1082108ce73984108ca3fc", 16).unwrap();
    let (quarter, longest) = (RawCard::of(256, CardBits::ones(256)), RawCard::of(1024, CardBits::ones(1023) << 1));
    let format: Record =
        Record::CardFormat(serde_json::from_str(include_str!("../../../../docs/fasc-n.json")).unwrap());
    let credential = |text: &str| {
        Change::Put(id("c-1"), Box::new(Record::Credential(Credential::card(id("p-1"), token(&key(), text)))))
    };
    let mut bench = Bench::new();
    for (card, text, formats) in [
        (RawCard::of(200, fasc_n), format!("fasc-n:{fasc_n:x}"), vec!["fasc-n", "raw"]),
        (RawCard::of(200, fasc_n), format!("raw:200:{fasc_n:x}"), vec!["fasc-n", "raw"]),
        (quarter, format!("raw:256:{}", "f".repeat(64)), vec!["raw"]),
        (longest, format!("raw:1024:{}e", "f".repeat(255)), vec!["raw"]),
    ] {
        let put = [Change::Put(id("fasc-n"), Box::new(format.clone())), credential(&text)];
        let set = permissions(42, false).apply(put, SetVersion::default()).unwrap();
        let _ = bench.tell(Input::Permissions(Arc::new(set)));
        let step = bench.tell(Input::Card(CardRead::bits(ReaderIx(0), card)));
        let granted = serde_json::to_value(events(&step)[0]).expect("an event");
        assert_eq!((&granted["type"], &granted["person"]), (&"access.granted".into(), &"p-1".into()), "{text}");
        assert_eq!((&granted["card"]["bits"], &granted["card"]["formats"]), (&card.bits.into(), &formats.into()));
        assert!(bench.unlocked(FRONT));
        let _ = bench.confirm(FRONT);
        bench.pass(6_000);
        let _ = bench.tell(Input::Timeout);
        assert!(!bench.unlocked(FRONT));
        let _ = bench.confirm(FRONT);
    }
    let step = bench.tell(Input::Card(CardRead::bits(ReaderIx(0), RawCard { bits: 1025, ..longest })));
    let denied = only(&step);
    assert_eq!((&denied["reason"], &denied["card"]["bits"]), (&"bad_format".into(), &1025.into()));
    assert_eq!(denied["card"]["raw"], format!("{}e", "f".repeat(255)));
}
