use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{
        ack::{DocumentError, EventAck},
        beat::Beat,
        canonical::MESSAGE_BYTES_MAX,
        event_log::{self, Head},
        jws::sign,
        numeric_date::NumericDate,
        outcome::Stage,
        testkit::*,
    },
    *,
};
use crate::domain::{
    door::{Alarm, ContactState, LockState, Mode},
    event::{EventBody, Refusal},
};

fn sealer() -> Sealer {
    Sealer::new(signer(NODE), id("b7f3"))
}

fn read<T: DeserializeOwned>(compact: &str) -> T {
    open(compact.as_bytes(), &signer(NODE).public_key()).unwrap()
}

fn outcome() -> Outcome {
    let detail = Some(json!({"message": "missing capability \"door_control\""}));
    Outcome { jti: id("j"), seq: 2, stage: Stage::Refused, at: NOW, reason: Some(Refusal::Forbidden), detail }
}

fn online() -> NodeStatus {
    NodeStatus::Online(Online {
        version: "0.1.0".into(),
        epoch: 1,
        generation: 7,
        digest: [0xab; 32],
        revision: 12,
        edits: 2,
        keys_version: 3,
        staleness_ms: None,
        clock: ClockTrust::Trusted,
        backlog: 12,
        alarms: 3,
        log_id: id("log-1"),
        ledger_failed: None,
    })
}

fn door() -> DoorStatus {
    DoorStatus {
        door: id("front"),
        mode: Mode::Accessed,
        contact: ContactState::Open,
        lock: LockState::Unlocked,
        alarm: Alarm::None,
        alarm_acknowledged: false,
        denies: None,
        since: NOW,
        delays: Vec::new(),
    }
}

#[test]
fn each_message_is_read_back_by_who_knows_the_nodes_key() {
    let mut sealer = sealer();
    let message: OutcomeMessage = read(&sealer.seal_outcome(NOW, &outcome()).unwrap());
    assert_eq!(message, OutcomeMessage { boot: id("b7f3"), n: 0, at: NOW, outcome: outcome() });
    let message: DoorMessage = read(&sealer.seal_state(NOW, &Status::Door(door())).unwrap());
    assert_eq!((message.n, message.door), (1, door()));
    for status in [online(), NodeStatus::Offline {}] {
        let message: StatusMessage = read(&sealer.seal_status(NOW, &status).unwrap());
        assert_eq!(message.status, status);
    }
    let message: RequestMessage<Value> = read(&sealer.seal_request(NOW, 3, &json!({"nonce": "x"})).unwrap());
    assert_eq!((message.n, message.keys_version, message.request), (4, 3, json!({"nonce": "x"})));
}

#[test]
fn the_status_says_offline_and_nothing_more_as_the_will() {
    let mut sealer = sealer();
    let message: Value = read(&sealer.seal_status(NOW, &NodeStatus::Offline {}).unwrap());
    let expected = json!({"boot": "b7f3", "n": 0, "at": "2026-09-21T14:13:20.000Z", "status": {"state": "offline"}});
    assert_eq!(message, expected);
}

#[test]
fn events_are_carried_byte_for_byte_so_that_their_chain_holds() {
    let mut head = Head::begin(id("log-1"));
    let mut events = Vec::new();
    for _ in 0..3 {
        let body = EventBody::DoorOpened { door: id("front") };
        let event = Event { occurred_at: NOW, clock: ClockTrust::Trusted, epoch: 1, generation: 7, body };
        let (sealed, next) = event_log::seal(&head, &event).unwrap();
        events.push(event_log::with_replayed(&sealed.json, false));
        head = next;
    }
    let compact = sealer().seal_events(NOW, &head.log_id, &events).unwrap();
    let message: EventsMessage = read(&compact);
    assert_eq!(message.log_id, id("log-1"));
    let read_back: Vec<Vec<u8>> = message.events.iter().map(|e| serde_json::to_vec(e).unwrap()).collect();
    let verified = event_log::verify_chain(Head::begin(message.log_id), read_back.iter().map(Vec::as_slice));
    assert_eq!(verified, Ok(head));
    let typed: PublishedEvent = serde_json::from_value(Value::Object(message.events[0].clone())).unwrap();
    assert_eq!((typed.seq, typed.replayed), (1, false));
}

#[test]
fn a_batch_of_the_largest_size_fits_into_a_message() {
    let largest = vec![b' '; EVENTS_BYTES_MAX];
    let id = "x".repeat(64).parse().unwrap();
    let mut sealer = Sealer::new(signer(NODE), "x".repeat(64).parse().unwrap());
    sealer.next = u64::MAX / 2;
    assert!(sealer.seal_events(Wall::MAX, &id, &[largest]).unwrap().len() <= MESSAGE_BYTES_MAX);
}

#[test]
fn a_message_of_another_node_or_changed_on_the_way_is_refused() {
    let compact = sealer().seal_outcome(NOW, &outcome()).unwrap();
    assert!(open::<OutcomeMessage>(compact.as_bytes(), &signer(CMD).public_key()).is_err());
    let changed = compact.replacen('.', ".A", 1);
    assert!(open::<OutcomeMessage>(changed.as_bytes(), &signer(NODE).public_key()).is_err());
}

#[test]
fn a_message_of_one_kind_is_none_of_another() {
    let compact = sealer().seal_state(NOW, &Status::Door(door())).unwrap();
    assert!(open::<OutcomeMessage>(compact.as_bytes(), &signer(NODE).public_key()).is_err());
    assert!(open::<StatusMessage>(compact.as_bytes(), &signer(NODE).public_key()).is_err());
}

fn beat() -> Value {
    json!({
        "aud": AUDIENCE, "iat": 1_790_000_000.25, "nonce": "n0", "epoch": 1, "generation": 7,
        "digest": "ab".repeat(32), "keys_version": 3
    })
}

fn verified(number: u8, typ: Typ, kid: &str, payload: &[u8]) -> jws::Verified {
    let compact = sign(&signer(number), typ, &id(kid), payload);
    jws::verify(compact.as_bytes(), typ, &keys(), NOW).unwrap()
}

fn parse_beat(beat: &Value) -> Result<Beat, DocumentError> {
    Beat::parse(&verified(BEAT, Typ::Beat, "beat-1", beat.to_string().as_bytes()), AUDIENCE)
}

fn ack() -> Value {
    json!({"aud": AUDIENCE, "log_id": "log-1", "through": 41, "head_hash": "cd".repeat(32)})
}

fn parse_ack(ack: &Value) -> Result<EventAck, DocumentError> {
    EventAck::parse(&verified(ACK, Typ::Ack, "ack-1", ack.to_string().as_bytes()), AUDIENCE)
}

#[test]
fn a_beat_and_an_ack_for_this_node_are_read() {
    let read = parse_beat(&beat()).unwrap();
    assert_eq!(read.iat, NumericDate(Wall::from_millis(1_790_000_000_250)));
    assert_eq!((read.nonce, read.generation, read.digest), (id("n0"), 7, [0xab; 32]));
    let read = parse_ack(&ack()).unwrap();
    assert_eq!((read.log_id, read.through, read.head_hash), (id("log-1"), 41, [0xcd; 32]));
}

#[test]
fn a_beat_and_an_ack_for_another_node_are_refused() {
    for aud in [json!("acme/hq-2"), json!("acme/*"), json!("")] {
        let (mut beat, mut ack) = (beat(), ack());
        beat["aud"] = aud.clone();
        ack["aud"] = aud;
        assert!(matches!(parse_beat(&beat), Err(DocumentError::WrongAudience { .. })));
        assert!(matches!(parse_ack(&ack), Err(DocumentError::WrongAudience { .. })));
    }
}

#[test]
fn a_beat_and_an_ack_are_complete_and_hold_nothing_unknown() {
    let strict = |document: Value, parse: &dyn Fn(&Value) -> Result<(), DocumentError>| {
        for name in document.as_object().unwrap().keys() {
            let mut without = document.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(matches!(parse(&without), Err(DocumentError::Json(_))), "without {name}");
        }
        let mut more = document;
        more["extra"] = json!(1);
        assert!(matches!(parse(&more), Err(DocumentError::Json(_))));
    };
    strict(beat(), &|d| parse_beat(d).map(drop));
    strict(ack(), &|d| parse_ack(d).map(drop));
}

#[test]
fn one_document_is_never_read_as_another() {
    let as_ack = verified(ACK, Typ::Ack, "ack-1", beat().to_string().as_bytes());
    assert_eq!(Beat::parse(&as_ack, AUDIENCE), Err(DocumentError::WrongTyp { expected: Typ::Beat, found: Typ::Ack }));
    let as_beat = verified(BEAT, Typ::Beat, "beat-1", ack().to_string().as_bytes());
    assert_eq!(
        EventAck::parse(&as_beat, AUDIENCE),
        Err(DocumentError::WrongTyp { expected: Typ::Ack, found: Typ::Beat })
    );
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Beat::parse(&verified(BEAT, Typ::Beat, "beat-1", &bytes), AUDIENCE).is_err());
        prop_assert!(EventAck::parse(&verified(ACK, Typ::Ack, "ack-1", &bytes), AUDIENCE).is_err());
        let up = sign(&signer(NODE), Typ::Up, signer(NODE).kid(), &bytes);
        prop_assert!(open::<EventsMessage>(up.as_bytes(), &signer(NODE).public_key()).is_err());
    }
}
