use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(value: serde_json::Value) -> Result<SetDocument, SetError> {
    SetDocument::parse(value.to_string().as_bytes(), "acme/hq-1")
}

fn delta() -> serde_json::Value {
    json!({
        "type": "delta", "aud": "acme/hq-1", "iat": 1_790_000_000.25, "epoch": 1, "from": 4, "to": 5,
        "digest": Digest::of_nothing(),
        "ops": [
            {"put": {"kind": "group", "id": "staff", "body": {"name": "Staff"}}},
            {"delete": {"kind": "person", "id": "p-1"}}
        ]
    })
}

#[test]
fn a_delta_reads_and_writes_the_same() {
    let document = parse(delta()).unwrap();
    assert_eq!((document.epoch(), document.generation()), (1, 5));
    assert_eq!(document.iat(), Wall::from_millis(1_790_000_000_250));
    assert_eq!(serde_json::to_value(&document).unwrap(), delta());
}

#[test]
fn an_unknown_field_anywhere_outside_a_body_refuses_the_document() {
    for pointer in ["", "/ops/0", "/ops/0/put", "/ops/1/delete"] {
        let mut value = delta();
        value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("only_on".into(), json!("monday"));
        assert!(matches!(parse(value), Err(SetError::Json(_))), "{pointer}");
    }
}

#[test]
fn a_document_for_another_node_is_refused() {
    let mut value = delta();
    value["aud"] = json!("acme/hq-2");
    assert_eq!(parse(value), Err(SetError::WrongAudience("acme/hq-2".into())));
}

#[test]
fn every_problem_of_a_delta_is_told_at_once() {
    let mut value = delta();
    value["to"] = json!(7);
    value["ops"][1]["delete"] = json!({"kind": "group", "id": "staff"});
    let Err(SetError::Invalid(reasons)) = parse(value) else { panic!() };
    assert_eq!(reasons, ["to: 7 does not follow from: 4", "group/staff is named more than once"]);
}

#[test]
fn a_key_that_stands_twice_in_a_body_is_refused() {
    let text = delta().to_string().replace(r#""name":"Staff""#, r#""name":"Staff","name":"All""#);
    assert!(matches!(SetDocument::parse(text.as_bytes(), "acme/hq-1"), Err(SetError::Json(_))));
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let chunk = Digest::of(b"x");
    let chunks = BTreeMap::from([(Bucket::new(17).unwrap(), chunk)]);
    let mut value = json!({
        "type": "manifest", "aud": "acme/hq-1", "iat": 1, "epoch": 1, "generation": 5,
        "digest": Summary::from_chunks(&chunks).digest(), "chunks": {"17": chunk}
    });
    assert!(parse(value.clone()).is_ok());
    value["chunks"] = json!({"18": chunk});
    assert!(matches!(parse(value.clone()), Err(SetError::Invalid(_))));
    for key in ["017", "+17", "1024", "-1", ""] {
        value["chunks"] = json!({key: chunk});
        assert!(matches!(parse(value.clone()), Err(SetError::Json(_))), "{key}");
    }
}

#[test]
fn a_chunk_in_any_other_spelling_is_refused() {
    let bucket = Bucket::of("group", "staff");
    let good = br#"[{"body":{"a":1,"name":"Staff"},"id":"staff","kind":"group"}]"#;
    assert_eq!(chunk::decode(good, bucket).unwrap().len(), 1);
    for bad in [
        r#"[{"id":"staff","kind":"group","body":{"a":1,"name":"Staff"}}]"#,
        r#"[{"body":{"name":"Staff","a":1},"id":"staff","kind":"group"}]"#,
        r#"[{"body":{"a":1.0,"name":"Staff"},"id":"staff","kind":"group"}]"#,
        r#"[{"body":{"a":1,"a":1,"name":"Staff"},"id":"staff","kind":"group"}]"#,
        r#"[{"body":{"a":1,"name":"Staff"},"id":"staff","kind":"group"}] "#,
        r#"[{"body":7,"id":"staff","kind":"group"}]"#,
        "[]",
        "",
    ] {
        assert!(chunk::decode(bad.as_bytes(), bucket).is_err(), "{bad}");
    }
    let twice = format!("[{0},{0}]", r#"{"body":{},"id":"staff","kind":"group"}"#);
    assert!(chunk::decode(twice.as_bytes(), bucket).is_err());
    let elsewhere = Bucket::new(bucket.number() ^ 1).unwrap();
    assert!(chunk::decode(good, elsewhere).is_err());
}

/// For clouds in other languages: these values must never change.
#[test]
fn the_published_test_vector_holds() {
    assert_eq!(Bucket::of("group", "staff").number(), 537);
    let chunk = chunk::encode([("group", "staff", br#"{"name":"Staff"}"#.as_slice())]).unwrap();
    assert_eq!(chunk, br#"[{"body":{"name":"Staff"},"id":"staff","kind":"group"}]"#);
    let name = Digest::of(&chunk);
    assert_eq!(name.to_string(), "24c7f391c1d2bf90cea702defa4ef13a3982e15c1fc9b76eea20e15cc1b3acf7");
    let mut summary = Summary::default();
    summary.set(Bucket::of("group", "staff"), Some(name));
    assert_eq!(summary.digest().to_string(), "c53769315d95875e4c18d5f84df1c9c316235e5aee3f293a3f4ef8ccbd5c3d0a");
    assert_eq!(Digest::of_nothing().to_string(), "49502f7f7672801f1ea970c43eef3185eb7584a384e84fdf71409b22ee2502b6");
}

proptest! {
    #[test]
    fn nothing_from_outside_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SetDocument::parse(&bytes, "acme/hq-1");
        let _ = chunk::decode(&bytes, Bucket::new(0).unwrap());
    }

    #[test]
    fn hashing_record_by_record_is_hashing_the_chunk(
        records in proptest::collection::btree_map("[a-c.]{1,3}", "[a-z]{0,9}", 0..5)
    ) {
        let rows: Vec<_> = records.iter()
            .map(|(id, text)| (id.as_str(), format!(r#"{{"t":"{text}"}}"#).into_bytes())).collect();
        let mut hasher = chunk::ChunkHasher::default();
        rows.iter().for_each(|(id, body)| hasher.add("group", id, body));
        let whole = chunk::encode(rows.iter().map(|(id, body)| ("group", *id, body.as_slice())));
        prop_assert_eq!(hasher.finish(), whole.map(|bytes| (Digest::of(&bytes), bytes.len())));
    }
}
