use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::{
    domain::{ids::Id, record::KNOWN_KINDS, time::Wall},
    wire::{
        ack::EventAck,
        beat::Beat,
        canonical::MESSAGE_BYTES_MAX,
        event_log::{Head, verify_chain},
        jws::{self, PublicKey, Signer, Verified},
        keys::{KeySet, RootKey},
        set::{Bucket, Digest, SetDocument, SetRequest, chunk},
        upward::{
            self, AreaMessage, BoardMessage, DoorMessage, EventsMessage, FloorGroupMessage, LiveMessage, LockerMessage,
            OutcomeMessage, ReaderMessage, RequestMessage, StatusMessage, TelemetryMessage,
        },
    },
};

const AUDIENCE: &str = "acme/hq-1";
const NOW: Wall = Wall::from_millis(1_790_000_001_000);

struct Document(Value);

impl Document {
    fn new() -> Document {
        Document(asyncapi())
    }

    /// Payload and JWS of each example of a message.
    fn examples(&self, message: &str) -> Vec<(Value, String)> {
        let message = &self.0["components"]["messages"][message];
        let examples = message["examples"].as_array().unwrap();
        let jws = |example: &Value| {
            let name = example["name"].as_str().unwrap();
            message["x-latchd-example-jws"][name].as_str().unwrap_or_default().to_owned()
        };
        assert!(!examples.is_empty());
        examples.iter().map(|example| (example["payload"].clone(), jws(example))).collect()
    }

    fn test_key(&self, signs: &str) -> Value {
        let keys = self.0["x-latchd-test-keys"].as_array().unwrap();
        keys.iter().find(|key| key["signs"] == signs).unwrap()["jwk"].clone()
    }

    fn keys(&self) -> KeySet {
        let mut jwk = self.test_key("root");
        jwk.as_object_mut().unwrap().remove("d");
        let root = RootKey::from_jwk(jwk.to_string().as_bytes()).unwrap();
        let compact = &self.examples("Keys")[0].1;
        KeySet::from_signed(compact.as_bytes(), &root, AUDIENCE, &KeySet::empty()).unwrap()
    }

    fn verified(&self, message: &str, typ: Typ) -> Vec<(Verified, String)> {
        let keys = self.keys();
        let verify = |(payload, compact): (Value, String)| {
            let verified = jws::verify(compact.as_bytes(), typ, &keys, NOW).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(verified.payload()).unwrap(), payload);
            (verified, compact)
        };
        self.examples(message).into_iter().map(verify).collect()
    }

    fn opened<T: serde::de::DeserializeOwned>(&self, message: &str) -> Vec<T> {
        let x = self.test_key("node")["x"].as_str().unwrap().to_owned();
        let node = PublicKey(URL_SAFE_NO_PAD.decode(x).unwrap().try_into().unwrap());
        let open = |(_, compact): (Value, String)| upward::open(compact.as_bytes(), &node).unwrap();
        self.examples(message).into_iter().map(open).collect()
    }
}

fn each_reference<'a>(value: &'a Value, visit: &mut dyn FnMut(&'a str)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => visit(target),
                    _ => each_reference(member, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = Document::new().0;
    let mut count = 0;
    each_reference(&document, &mut |target| {
        count += 1;
        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
    });
    assert!(count > 50);
}

#[test]
fn every_message_is_on_a_channel_and_every_schema_is_used() {
    let document = Document::new().0;
    let mut used = std::collections::BTreeSet::new();
    each_reference(&document, &mut |target| {
        used.insert(target.to_owned());
    });
    for part in ["messages", "schemas", "parameters", "securitySchemes"] {
        for name in document["components"][part].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{part}/{name}")), "{part}/{name}");
        }
    }
}

#[test]
fn channels_are_the_topics_of_the_node() {
    let document = Document::new().0;
    let addresses: Vec<String> = document["channels"]
        .as_object()
        .unwrap()
        .values()
        .map(|channel| channel["address"].as_str().unwrap().replace("{org}", "acme").replace("{node}", "hq-1"))
        .collect();
    let topics = crate::wire::topics::Topics::new(&Id::new("acme").unwrap(), &Id::new("hq-1").unwrap());
    let hash = [0xab; 32];
    let mut expected = topics.subscriptions().to_vec();
    expected.extend([topics.rsp(), topics.evt(), topics.set_req(), topics.status(), topics.telemetry()]);
    for (kind, id) in [
        ("door", "front"),
        ("reader", "front-in"),
        ("board", "relays"),
        ("area", "lab"),
        ("floor_group", "lift"),
        ("locker", "key-07"),
    ] {
        expected.push(topics.state(kind, &Id::new(id).unwrap()));
    }
    expected.push(topics.live(&Id::new("j-1").unwrap()));
    let concrete = |address: &String| {
        let chunk = topics.set_chunk(&hash).replace(&crate::wire::canonical::hex(&hash), "+");
        let address = address.replace("{door}", "front").replace("{reader}", "front-in").replace("{board}", "relays");
        let address = address.replace("{jti}", "j-1");
        let address = address.replace("{area}", "lab");
        let address = address.replace("{floor_group}", "lift").replace("{locker}", "key-07");
        address.replace("latchd/v1/acme/hq-1/set/chunk/{sha256}", &chunk)
    };
    let mut found: Vec<String> = addresses.iter().map(concrete).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_example_commands_are_accepted() {
    let commands: Vec<String> = Document::new()
        .verified("Command", Typ::Cmd)
        .into_iter()
        .map(|(verified, compact)| command::parse(&verified, compact.as_bytes(), AUDIENCE).unwrap())
        .map(|command| command.body.name().to_owned())
        .collect();
    let mut supported = payloads::SUPPORTED.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    supported.sort();
    let is_edit = |name: &String| KNOWN_KINDS.contains(&name.split_once('.').unwrap().0);
    let (mut edits, mut found): (Vec<_>, Vec<_>) = commands.into_iter().partition(is_edit);
    found.sort();
    assert_eq!(found, supported, "one example for each");
    let mut expected: Vec<String> = KNOWN_KINDS.iter().map(|kind| format!("{kind}.put")).collect();
    expected.extend(["credential.delete".to_owned(), "credential.list".to_owned()]);
    edits.sort();
    expected.sort();
    assert_eq!(edits, expected, "one edit for each kind");
}

#[test]
fn the_example_edits_are_records() {
    for (verified, compact) in Document::new().verified("Command", Typ::Cmd) {
        let command = command::parse(&verified, compact.as_bytes(), AUDIENCE).unwrap();
        if let command::CommandBody::Put { kind, body, .. } = command.body {
            let record = serde_json::json!({"kind": kind, "body": body});
            serde_json::from_value::<crate::domain::record::Record>(record).unwrap();
        }
    }
}

#[test]
fn the_example_set_is_consistent_in_itself() {
    let document = Document::new();
    let parse = |(verified, _): (Verified, String)| SetDocument::parse(verified.payload(), AUDIENCE).unwrap();
    let sets: Vec<SetDocument> = document.verified("Set", Typ::Set).into_iter().map(parse).collect();
    let [delta, SetDocument::Manifest(manifest)] = &sets[..] else { panic!("{sets:?}") };
    assert_eq!((delta.generation(), delta.digest()), (manifest.generation, manifest.digest));
    let (beat, _) = &document.verified("Beat", Typ::Beat)[0];
    let beat = Beat::parse(beat, AUDIENCE).unwrap();
    assert_eq!(
        (beat.epoch, beat.generation, Digest(beat.digest)),
        (manifest.epoch, manifest.generation, manifest.digest)
    );
    assert_eq!(beat.keys_version, document.keys().version());
    for (payload, _) in document.examples("Chunk") {
        let bytes = crate::wire::canonical::canonical(&payload).unwrap();
        let name = Digest::of(&bytes);
        let bucket: Bucket = *manifest.chunks.iter().find(|(_, n)| **n == name).unwrap().0;
        for record in chunk::decode(&bytes, bucket).unwrap() {
            let body: Value = serde_json::from_slice(&record.body).unwrap();
            let record = serde_json::json!({"kind": record.kind, "body": body});
            serde_json::from_value::<crate::domain::record::Record>(record).unwrap();
        }
    }
    assert_eq!(document.examples("Chunk").len(), manifest.chunks.len());
}

#[test]
fn the_example_events_are_a_chain_that_the_example_ack_closes() {
    let document = Document::new();
    let batch: EventsMessage = document.opened("Events").remove(0);
    let events: Vec<Vec<u8>> = batch.events.iter().map(|event| serde_json::to_vec(event).unwrap()).collect();
    assert_eq!(events.len(), 3);
    let head = verify_chain(Head::begin(batch.log_id), events.iter().map(Vec::as_slice)).unwrap();
    let (ack, _) = &document.verified("EventAck", Typ::Ack)[0];
    let ack = EventAck::parse(ack, AUDIENCE).unwrap();
    assert_eq!((ack.log_id, ack.through, ack.head_hash), (head.log_id, head.seq, head.hash));
}

#[test]
fn the_other_examples_of_the_node_are_read_by_a_cloud() {
    let document = Document::new();
    document.opened::<OutcomeMessage>("Outcome");
    document.opened::<DoorMessage>("DoorState");
    document.opened::<ReaderMessage>("ReaderState");
    document.opened::<BoardMessage>("BoardState");
    document.opened::<AreaMessage>("AreaState");
    document.opened::<FloorGroupMessage>("FloorGroupState");
    document.opened::<LockerMessage>("LockerState");
    document.opened::<StatusMessage>("Status");
    document.opened::<LiveMessage>("Live");
    document.opened::<TelemetryMessage>("Telemetry");
    document.opened::<RequestMessage<SetRequest>>("SetRequest");
}

#[test]
fn the_test_keys_are_private_keys_that_make_the_examples() {
    for key in Document::new().0["x-latchd-test-keys"].as_array().unwrap() {
        let d = URL_SAFE_NO_PAD.decode(key["jwk"]["d"].as_str().unwrap()).unwrap();
        let signer = Signer::from_seed(&d.try_into().unwrap()).unwrap();
        assert_eq!(format!("{:?}", signer.public_key()), key["jwk"]["x"].as_str().unwrap());
    }
}

#[test]
fn the_description_states_the_bounds_of_the_code() {
    assert!(DESCRIPTION.contains(&format!("at most {} KiB", MESSAGE_BYTES_MAX / 1024)));
}

#[test]
fn the_document_is_the_same_each_time() {
    assert_eq!(asyncapi(), asyncapi());
}
