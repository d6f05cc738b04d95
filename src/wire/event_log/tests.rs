use proptest::prelude::*;

use super::{super::testkit::*, *};
use crate::domain::{
    door::Mode,
    event::{Actor, EventBody},
    time::ClockTrust,
};

fn event(number: u64) -> Event {
    let body = match number % 3 {
        0 => EventBody::DoorOpened { door: id("front") },
        1 => EventBody::CloudLost { detail: "Ünïcödé \" \\ \u{7f} \u{2028}".into() },
        _ => EventBody::DoorModeChanged {
            door: id("front"),
            from: Mode::Locked,
            to: Mode::Unlocked,
            actor: Actor::Operator { operator: id("op-17"), jti: id("j") },
        },
    };
    let occurred_at = crate::domain::time::Wall::from_millis(NOW.as_millis() + number as i64);
    Event { occurred_at, clock: ClockTrust::Trusted, epoch: 1, generation: 7, body }
}

fn begin() -> Head {
    Head::begin(id("log-1"))
}

fn log(length: u64) -> (Vec<Vec<u8>>, Head) {
    let mut head = begin();
    let mut events = Vec::new();
    for number in 0..length {
        let (sealed, next) = seal(&head, &event(number)).unwrap();
        assert_eq!((sealed.seq, sealed.hash), (next.seq, next.hash));
        events.push(with_replayed(&sealed.json, number % 2 == 0));
        head = next;
    }
    (events, head)
}

fn check(events: &[Vec<u8>]) -> Result<Head, ChainError> {
    verify_chain(begin(), events.iter().map(Vec::as_slice))
}

/// Computed independently in Python: sort_keys and no white space are RFC 8785 for this event.
#[test]
fn the_hash_is_sha_256_over_canonical_json_without_replayed() {
    let (sealed, _) = seal(&begin(), &event(0)).unwrap();
    let prev = "ee2fa3956c93d0f4097c82f2a6b4dbcd8a6e44f2299232148abfe85a81e34082";
    let json = format!(
        concat!(
            r#"{{"clock":"trusted","door":"front","epoch":1,"generation":7,"occurred_at":"2026-09-21T14:13:20.000Z","#,
            r#""prev":"{}","seq":1,"type":"door.opened"}}"#
        ),
        prev
    );
    assert_eq!(String::from_utf8(sealed.json).unwrap(), json);
    assert_eq!(hex(&sealed.hash), "217b70a26d83e3fb03433d2a9916eac579de5a931b703513c25294153fb5a8b9");
}

#[test]
fn a_published_event_is_json_that_says_whether_it_is_replayed() {
    let (sealed, _) = seal(&begin(), &event(1)).unwrap();
    for replayed in [true, false] {
        let value: serde_json::Value = serde_json::from_slice(&with_replayed(&sealed.json, replayed)).unwrap();
        assert_eq!(value["replayed"], replayed);
        assert_eq!(value["seq"], 1);
        let read: Event = serde_json::from_value(value).unwrap();
        assert_eq!(read, event(1));
    }
}

#[test]
fn a_chain_is_verified_from_published_and_from_stored_events_alike() {
    let (events, head) = log(20);
    assert_eq!(check(&events), Ok(head));
    let (sealed, next) = seal(&begin(), &event(0)).unwrap();
    assert_eq!(verify_next(&begin(), &sealed.json), Ok(next));
}

#[test]
fn a_verified_stretch_may_begin_anywhere() {
    let (events, head) = log(20);
    let middle = check(&events[..7]).unwrap();
    assert_eq!(verify_chain(middle, events[7..].iter().map(Vec::as_slice)), Ok(head));
}

#[test]
fn a_removed_event_shows() {
    let (mut events, _) = log(20);
    events.remove(4);
    assert_eq!(check(&events), Err(ChainError::Sequence { expected: 5, found: 6 }));
}

#[test]
fn a_removed_event_shows_even_when_the_rest_is_renumbered() {
    let (mut events, _) = log(20);
    events.remove(4);
    let text = String::from_utf8(events[4].clone()).unwrap();
    events[4] = text.replace("\"seq\":6", "\"seq\":5").into_bytes();
    assert_eq!(check(&events), Err(ChainError::Broken { seq: 5 }));
}

#[test]
fn reordered_events_show() {
    let (mut events, _) = log(20);
    events.swap(4, 5);
    assert_eq!(check(&events), Err(ChainError::Sequence { expected: 5, found: 6 }));
}

#[test]
fn a_changed_event_shows_at_the_next_one() {
    let (mut events, _) = log(20);
    let text = String::from_utf8(events[3].clone()).unwrap();
    events[3] = text.replace("front", "other").into_bytes();
    assert_eq!(check(&events), Err(ChainError::Broken { seq: 5 }));
}

#[test]
fn a_changed_last_event_shows_in_the_head() {
    let (mut events, head) = log(20);
    let last = events.last_mut().unwrap();
    *last = String::from_utf8(last.clone()).unwrap().replace("\"generation\":7", "\"generation\":8").into_bytes();
    assert_ne!(check(&events).unwrap().hash, head.hash);
}

#[test]
fn an_event_of_another_log_does_not_fit() {
    let (sealed, _) = seal(&Head::begin(id("log-2")), &event(0)).unwrap();
    assert_eq!(verify_next(&begin(), &sealed.json), Err(ChainError::Broken { seq: 1 }));
}

#[test]
fn how_it_was_sent_is_not_part_of_what_happened() {
    let (sealed, next) = seal(&begin(), &event(0)).unwrap();
    for replayed in [true, false] {
        assert_eq!(verify_next(&begin(), &with_replayed(&sealed.json, replayed)), Ok(next.clone()));
    }
}

proptest! {
    #[test]
    fn any_change_of_any_byte_shows(which in 0usize..10, at in 0usize..400, byte in any::<u8>()) {
        let (mut events, head) = log(10);
        // `replayed` is not protected by the chain but by the signature over the message.
        for event in &mut events {
            *event = seal_free(event);
        }
        let event = &mut events[which];
        let at = at % event.len();
        prop_assume!(event[at] != byte);
        event[at] = byte;
        prop_assert_ne!(check(&events).ok(), Some(head));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify_next(&begin(), &bytes).is_err());
    }
}

/// The stored form of a published event.
fn seal_free(published: &[u8]) -> Vec<u8> {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(published).unwrap();
    event.remove("replayed");
    canonical(&event).unwrap()
}
