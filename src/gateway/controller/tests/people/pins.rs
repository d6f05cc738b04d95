//! PINs: with a card, alone, wrong, too late, under duress.

use super::*;

#[test]
fn a_card_that_needs_a_pin_is_granted_with_it_and_says_nothing_before() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    assert_eq!(scene.card(FRONT_IN, ADA), Vec::<Value>::new());
    assert_eq!(scene.types("1234"), Vec::<Value>::new());
    assert!(!scene.unlocked(FRONT));
    let events = scene.types("#");
    assert_eq!(access(&events), ["access.granted ada"]);
    assert!(scene.unlocked(FRONT));
    assert_eq!(scene.wait(20_000).len(), 2, "the door was not opened and locks");
}

#[test]
fn a_star_clears_what_was_typed_and_the_card_waits_on() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    assert_eq!(access(&scene.types("99*#1234#")), ["access.granted ada"]);
}

#[test]
fn a_card_without_its_pin_is_denied_when_the_time_is_over_and_every_digit_begins_it_anew() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    scene.wait(9_000);
    scene.types("1");
    assert_eq!(scene.wait(9_999), Vec::<Value>::new());
    let events = scene.wait(1);
    assert_eq!(access(&events), ["access.denied pin_required ada"]);
    assert_eq!((&events[0]["rule"], &events[0]["credential"]), (&json!("staff"), &json!("ada-card")));
    assert_eq!(scene.types("234#").len(), 1, "these are no longer hers, but a PIN alone");
}

#[test]
fn the_same_card_again_waits_on_and_another_card_ends_the_wait() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    scene.types("12");
    assert_eq!(scene.card(FRONT_IN, ADA), Vec::<Value>::new());
    assert_eq!(
        access(&scene.card(FRONT_IN, STRANGER)),
        ["access.denied pin_required ada", "access.denied unknown_credential"]
    );
    scene.card(FRONT_IN, ADA);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied pin_required ada"], "Ben is asked now");
    assert_eq!(access(&scene.types("1234#")), ["access.denied wrong_pin ben"], "and Ada's PIN is not his");
}

#[test]
fn at_a_reader_without_a_keypad_who_needs_a_pin_is_denied_at_once() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.denied pin_required ada"]);
}

#[test]
fn wrong_pins_in_a_row_lock_the_person_out_at_every_door_and_through_a_restart() {
    let policy = record("door_policy", "strict", json!({ "doors": ["front"], "pin_tries": 3, "pin_lockout_s": 60 }));
    let mut scene = Scene::new(&[staff("card_and_pin"), policy]);
    for _ in 0..2 {
        scene.card(FRONT_IN, ADA);
        assert_eq!(access(&scene.types("1111#")), ["access.denied wrong_pin ada"]);
    }
    scene.restart(1);
    scene.card(FRONT_IN, ADA);
    let events = scene.types("12341234123412341#");
    assert_eq!(access(&events), ["access.denied wrong_pin ada", "access.pin_locked_out ada"], "too long is wrong too");
    assert_eq!((&events[1]["wrong"], &events[1]["lockout_s"]), (&json!(3), &json!(60)));
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied pin_locked_out ada"]);
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.denied pin_locked_out ada"]);
    assert_eq!(scene.card(FRONT_IN, BEN), Vec::<Value>::new(), "not him");
    scene.types("*");
    scene.restart(30);
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied pin_locked_out ada"]);
    scene.wait(31_000);
    scene.card(FRONT_IN, ADA);
    assert_eq!(access(&scene.types("1234#")), ["access.granted ada"]);
    assert_eq!(scene.kept("wrong_pins"), 0, "nothing is left on the disk");
}

#[test]
fn the_right_pin_forgets_the_wrong_ones_before_it() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    for _ in 0..3 {
        for _ in 0..4 {
            scene.card(FRONT_IN, ADA);
            assert_eq!(access(&scene.types("1#")), ["access.denied wrong_pin ada"]);
        }
        scene.card(FRONT_IN, ADA);
        assert_eq!(access(&scene.types("1234#")), ["access.granted ada"]);
    }
}

#[test]
fn under_duress_the_door_opens_as_ever_and_only_the_log_knows() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    let plain = scene.types("1234#");
    let relay = scene.controller.desired()[0];
    scene.wait(60_000);
    let mut other = Scene::new(&[staff("card_and_pin")]);
    other.card(FRONT_IN, ADA);
    let forced = other.types("9999#");
    assert_eq!(other.controller.desired()[0], relay, "nothing at the door differs");
    assert_eq!(access(&forced), ["access.granted ada", "access.duress ada"]);
    let silent = |event: &&Value| event["type"] == "access.duress" || event["type"] == "alarm.raised";
    let alarm = forced.iter().find(|event| event["type"] == "alarm.raised").expect("an alarm that stands");
    assert_eq!(alarm["source"], json!({ "of": "duress", "person": "ada", "door": "front" }));
    let without: Vec<Value> = forced.iter().filter(|event| !silent(event)).cloned().collect();
    assert_eq!(without, plain);
}

#[test]
fn under_duress_a_denial_raises_the_alarm_as_well() {
    let deny = record("access_rule", "no", json!({ "effect": "deny", "persons": ["ada"], "doors": ["front"] }));
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    scene.put(&[deny]);
    let events = scene.types("9999#");
    assert_eq!(access(&events), ["access.denied explicit_deny ada", "access.duress ada"]);
    assert_eq!(events[1]["granted"], json!(false));
}

fn pin_credentials() -> [(String, Value); 2] {
    let pin = |person: &str, digits: &str, duress: bool| json!({ "person": person, "medium": "pin", "token": hash(&format!("pin:{digits}")), "duress": duress });
    [
        record("credential", "bens-pin", pin("ben", "4711", false)),
        record("credential", "bens-duress-pin", pin("ben", "4712", true)),
    ]
}

#[test]
fn a_pin_alone_opens_where_a_rule_says_so_and_a_card_does_where_it_says_card_or_pin() {
    let mut scene = Scene::new(&[staff("card_or_pin")]);
    scene.put(&pin_credentials());
    let events = scene.types("4711#");
    assert_eq!(access(&events), ["access.granted ben"]);
    assert_eq!((&events[0]["credential"], events[0].get("card")), (&json!("bens-pin"), None));
    assert_eq!(access(&scene.types("4712#")), ["access.granted ben", "access.duress ben"]);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.granted ben"]);
    scene.put(&[staff("pin")]);
    assert_eq!(access(&scene.types("4711#")), ["access.granted ben"]);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied pin_required ben"], "a PIN in place of the card");
    scene.put(&[staff("card")]);
    assert_eq!(access(&scene.types("4711#")), ["access.denied no_rule ben"]);
}

#[test]
fn wrong_pins_alone_lock_the_reader_and_not_its_cards() {
    let mut scene = Scene::new(&[staff("card_or_pin")]);
    scene.put(&pin_credentials());
    for _ in 0..4 {
        assert_eq!(access(&scene.types("0000#")), ["access.denied wrong_pin"]);
    }
    assert_eq!(access(&scene.types("0000#")), ["access.denied wrong_pin", "access.pin_locked_out"]);
    assert_eq!(access(&scene.types("4711#")), ["access.denied pin_locked_out"]);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.granted ben"]);
    scene.wait(300_000);
    assert_eq!(access(&scene.types("4711#")), ["access.granted ben"]);
}

#[test]
fn digits_without_an_end_are_dropped_in_time_and_are_no_attempt() {
    let mut scene = Scene::new(&[staff("card_or_pin")]);
    scene.put(&pin_credentials());
    scene.types("47");
    assert_eq!(scene.wait(10_000), Vec::<Value>::new());
    assert_eq!(access(&scene.types("11#")), ["access.denied wrong_pin"]);
    assert_eq!(scene.types("#*#"), Vec::<Value>::new());
}

#[test]
fn digits_do_not_outlive_their_time_because_somebody_else_was_let_in_meanwhile() {
    let mut scene = Scene::new(&[staff("card_or_pin")]);
    scene.put(&pin_credentials());
    scene.types("99");
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.granted ada"]);
    scene.wait(10_000);
    assert_eq!(access(&scene.types("4711#")), ["access.granted ben"]);
}

#[test]
fn digits_that_were_typed_for_a_card_go_with_it() {
    let pins = json!({ "effect": "allow", "persons": ["ben"], "doors": ["front"], "authentication": "card_or_pin" });
    let mut scene = Scene::new(&[staff("card_and_pin"), record("access_rule", "pins", pins)]);
    scene.put(&pin_credentials());
    scene.card(FRONT_IN, ADA);
    scene.types("12");
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied pin_required ada", "access.granted ben"]);
    assert_eq!(access(&scene.types("4711#")), ["access.granted ben"]);
}

#[test]
fn a_revocation_that_comes_while_a_pin_is_typed_is_obeyed() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    scene.put(&[record(
        "credential",
        "ada-card",
        json!({ "person": "ada", "token": hash(&card_text(ADA)), "state": "lost" }),
    )]);
    assert_eq!(access(&scene.types("1234#")), ["access.denied lost ada"]);
}

#[test]
fn a_mode_that_denies_speaks_before_anybody_is_asked_for_a_pin() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.order(Task::Door(FRONT, DoorAction::Lockdown(true)));
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied locked_down ada"]);
}

#[test]
fn whoever_waits_when_the_node_stops_is_denied_what_they_lacked() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    scene.card(FRONT_IN, ADA);
    assert_eq!(access(&scene.tell(Input::Stop)), ["access.denied pin_required ada"]);
    assert_eq!(scene.card(FRONT_IN, ADA), Vec::<Value>::new());
}

#[test]
fn whoever_waits_when_the_daemon_begins_anew_is_denied_what_they_lacked() {
    for (authentication, lacked) in [("card_and_pin", "pin_required"), ("two_person", "second_person_required")] {
        let mut scene = Scene::new(&[staff(authentication)]);
        scene.card(FRONT_IN, ADA);
        let pause = Pause { moved: Default::default(), others_stay: true };
        assert_eq!(access(&scene.tell(Input::Pause(pause))), [format!("access.denied {lacked} ada")]);
    }
}

#[test]
fn what_is_as_short_as_a_key_is_shown_to_nobody() {
    let mut scene = Scene::new(&[staff("card")]);
    let key = RawCard::new(4, 7);
    let events = scene.tell(Input::Card(CardRead::bits(BACK_IN, key)));
    assert_eq!(access(&events), ["access.denied bad_format"]);
    assert_eq!(events[0]["card"], json!({ "bits": 4, "raw": "", "formats": [], "parity_ok": false }));
    assert_eq!(format!("{:?}", scene.controller.machines).matches("Digits(..)").count(), 0);
    scene.types("12");
    let debug = format!("{:?}", scene.controller.machines);
    assert!(debug.contains("Digits(..)"), "{debug}");
}
