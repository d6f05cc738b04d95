use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{jws::sign, testkit::*},
    *,
};

fn load(document: &Value) -> Result<KeySet, KeysError> {
    KeySet::from_signed(signed_keys(document).as_bytes(), &root(), AUDIENCE, &KeySet::empty())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut document = keys_document();
    change(&mut document);
    document
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    load(&changed(change)).unwrap_err().to_string()
}

#[test]
fn a_key_set_under_the_root_key_is_believed() {
    let keys = load(&keys_document()).unwrap();
    assert_eq!((keys.version(), keys.epoch(), keys.keys().len()), (3, 1, 4));
    assert_eq!(keys.keys()[&id("cmd-1")].purpose, KeyUse::Cmd);
    assert_eq!(keys.keys()[&id("cmd-1")].exp, KEYS_EXPIRE);
    assert!(keys.is_revoked(&id("cmd-0")) && !keys.is_revoked(&id("cmd-1")));
}

#[test]
fn a_key_set_may_be_for_the_whole_organisation_but_for_no_other_node() {
    load(&changed(|d| d["aud"] = json!("acme/*"))).unwrap();
    for other in ["acme/hq-2", "other/*", "*", "*/*", "acme", "acme/hq-1/*", "/*", "", "ac/*"] {
        let error = load(&changed(|d| d["aud"] = json!(other))).unwrap_err();
        assert!(matches!(error, KeysError::WrongAudience { .. }), "{other}: {error}");
    }
}

#[test]
fn a_key_set_under_any_other_key_is_refused() {
    let payload = keys_document().to_string();
    for (number, kid) in [(CMD, "root"), (CMD, "cmd-1"), (ROOT, "cmd-1")] {
        let compact = sign(&signer(number), Typ::Keys, &id(kid), payload.as_bytes());
        let loaded = KeySet::from_signed(compact.as_bytes(), &root(), AUDIENCE, &KeySet::empty());
        assert!(matches!(loaded, Err(KeysError::Jws(_))), "{kid}: {loaded:?}");
    }
    let of_other_typ = sign(&signer(ROOT), Typ::Set, &id("root"), payload.as_bytes());
    assert!(KeySet::from_signed(of_other_typ.as_bytes(), &root(), AUDIENCE, &KeySet::empty()).is_err());
}

#[test]
fn the_version_only_rises() {
    let next = |document: Value| KeySet::from_signed(signed_keys(&document).as_bytes(), &root(), AUDIENCE, &keys());
    assert_eq!(next(changed(|d| d["version"] = json!(4))).unwrap().version(), 4);
    assert_eq!(next(keys_document()).unwrap(), keys(), "the same again is the same");
    let older = next(changed(|d| d["version"] = json!(2)));
    assert_eq!(older, Err(KeysError::RolledBack { held: 3, found: 2 }));
    let other = next(changed(|d| d["revoked"] = json!([])));
    assert_eq!(other, Err(KeysError::Conflict { version: 3 }));
}

#[test]
fn the_epoch_never_falls() {
    let next = |epoch: u64| {
        let document = changed(|d| {
            d["version"] = json!(4);
            d["epoch"] = json!(epoch);
        });
        KeySet::from_signed(signed_keys(&document).as_bytes(), &root(), AUDIENCE, &keys())
    };
    assert_eq!(next(2).unwrap().epoch(), 2);
    assert!(matches!(next(0), Err(KeysError::RolledBack { .. })));
}

#[test]
fn a_key_has_one_name_and_one_use() {
    let twice = refused(|d| d["keys"][1] = key_entry("set-1", "set", CMD));
    assert!(twice.contains("same public key"), "{twice}");
    let same_kid = refused(|d| d["keys"][1] = key_entry("cmd-1", "set", SET));
    assert!(same_kid.contains("cmd-1 stands here twice"), "{same_kid}");
    let root_again = refused(|d| d["keys"][1] = key_entry("set-1", "set", ROOT));
    assert!(root_again.contains("same public key"), "{root_again}");
    let revoked = refused(|d| d["revoked"] = json!(["cmd-1"]));
    assert!(revoked.contains("cmd-1"), "{revoked}");
}

#[test]
fn nothing_unknown_and_nothing_missing_is_tolerated() {
    assert!(refused(|d| d["extra"] = json!(1)).contains("unknown field `extra`"));
    assert!(refused(|d| d["keys"][0]["use"] = json!("sig")).contains("unknown field `use`"));
    assert!(refused(|d| d["keys"][0]["latchd_use"] = json!("root")).contains("unknown variant `root`"));
    assert!(refused(|d| d["keys"][0]["crv"] = json!("X25519")).contains("X25519"));
    assert!(refused(|d| d["keys"][0]["x"] = json!("AAAA")).contains("32 bytes"));
    assert!(refused(|d| d["version"] = json!(0)).contains("starts at 1"));
    let as_array = |entry: &Value| {
        json!([entry["kty"], entry["crv"], entry["kid"], entry["x"], entry["latchd_use"], entry["exp"]])
    };
    let error = refused(|d| d["keys"][1] = as_array(&d["keys"][1]));
    assert_eq!(error, "keys[1]: expected an object, found an array");
    for field in ["aud", "version", "iat", "epoch", "keys"] {
        let error = refused(|d| {
            d.as_object_mut().unwrap().remove(field);
        });
        assert!(error.contains(&format!("missing field `{field}`")), "{error}");
    }
    assert!(
        refused(|d| {
            d["keys"][0].as_object_mut().unwrap().remove("exp");
        })
        .contains("missing field `exp`")
    );
}

#[test]
fn the_number_of_keys_is_bounded() {
    let many: Vec<Value> = (0..=KEYS_MAX).map(|i| key_entry(&format!("k{i}"), "cmd", 100 + i as u8)).collect();
    assert!(refused(|d| d["keys"] = json!(many)).contains("more than"));
}

#[test]
fn the_root_key_is_read_from_a_jwk() {
    assert_eq!(root().kid(), &id("root"));
    let mut bare = root_jwk();
    bare.as_object_mut().unwrap().remove("kid");
    assert_eq!(RootKey::from_jwk(bare.to_string().as_bytes()).unwrap().kid(), signer(ROOT).kid());
    let mut full = root_jwk();
    full["alg"] = json!("EdDSA");
    full["use"] = json!("sig");
    assert_eq!(RootKey::from_jwk(full.to_string().as_bytes()).unwrap(), root());
}

#[test]
fn a_root_key_that_is_private_or_of_another_kind_is_refused_with_the_reason() {
    let error = |change: fn(&mut Value)| {
        let mut jwk = root_jwk();
        change(&mut jwk);
        RootKey::from_jwk(jwk.to_string().as_bytes()).unwrap_err()
    };
    assert_eq!(error(|j| j["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")), KeysError::Private);
    assert!(error(|j| j["kty"] = json!("EC")).to_string().contains("EC"));
    assert!(error(|j| j["alg"] = json!("ES256")).to_string().contains("alg"));
    assert!(error(|j| j["use"] = json!("enc")).to_string().contains("use"));
    assert!(RootKey::from_jwk(b"not json").is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(RootKey::from_jwk(&bytes).is_err());
        prop_assert!(KeySet::from_signed(&bytes, &root(), AUDIENCE, &KeySet::empty()).is_err());
        let signed = sign(&signer(ROOT), Typ::Keys, &id("root"), &bytes);
        prop_assert!(KeySet::from_signed(signed.as_bytes(), &root(), AUDIENCE, &KeySet::empty()).is_err());
    }
}
