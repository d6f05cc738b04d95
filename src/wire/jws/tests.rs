use proptest::prelude::*;

use super::{
    super::{keys::KeySet, testkit::*},
    *,
};

const PAYLOAD: &[u8] = br#"{"hello":"door"}"#;

fn command() -> String {
    sign(&signer(CMD), Typ::Cmd, &id("cmd-1"), PAYLOAD)
}

/// A JWS whose signature is right and whose header is `header`, word for word.
fn with_header(header: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(PAYLOAD));
    let signature = signer(CMD).pair.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verify_cmd(compact: &str) -> Result<Verified, JwsError> {
    verify(compact.as_bytes(), Typ::Cmd, &keys(), NOW)
}

/// RFC 8037, appendices A.1 to A.5.
#[test]
fn the_example_of_rfc_8037_signs_and_verifies() {
    let mut seed = [0; 32];
    URL_SAFE_NO_PAD.decode_slice("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", &mut seed).unwrap();
    let signer = Signer::from_seed(&seed).unwrap();
    assert_eq!(format!("{:?}", signer.public_key()), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(signer.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");

    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(signer.pair.sign(signed.as_bytes())), signature);

    let compact = format!("{signed}.{signature}");
    let verified = split(compact.as_bytes()).unwrap().verify(Typ::Cmd, id("k"), &signer.public_key()).unwrap();
    assert_eq!(verified.payload(), b"Example of Ed25519 signing");
    // Without typ and kid it is nothing that this contract accepts.
    let refused = verify_with(compact.as_bytes(), Typ::Cmd, &id("k"), &signer.public_key());
    assert!(matches!(refused, Err(JwsError::Header(_))), "{refused:?}");
}

#[test]
fn what_was_signed_with_the_right_key_is_verified() {
    let verified = verify_cmd(&command()).unwrap();
    assert_eq!((verified.typ(), verified.kid(), verified.payload()), (Typ::Cmd, &id("cmd-1"), PAYLOAD));
    assert_eq!(claimed_typ(command().as_bytes()), Ok(Typ::Cmd));
}

#[test]
fn a_key_signs_documents_of_its_own_use_only() {
    let uses =
        [(Typ::Cmd, CMD, "cmd-1"), (Typ::Set, SET, "set-1"), (Typ::Beat, BEAT, "beat-1"), (Typ::Ack, ACK, "ack-1")];
    for (typ, _, _) in uses {
        for (own, number, kid) in uses {
            let compact = sign(&signer(number), typ, &id(kid), PAYLOAD);
            let verified = verify(compact.as_bytes(), typ, &keys(), NOW);
            if typ == own {
                verified.unwrap();
            } else {
                assert!(matches!(verified, Err(JwsError::WrongUse { .. })), "{typ} under {kid}: {verified:?}");
            }
        }
    }
}

#[test]
fn no_key_of_the_set_signs_key_sets_or_the_nodes_messages() {
    for typ in [Typ::Keys, Typ::Up] {
        let compact = sign(&signer(CMD), typ, &id("cmd-1"), PAYLOAD);
        assert_eq!(verify(compact.as_bytes(), typ, &keys(), NOW), Err(JwsError::UnknownKey { kid: id("cmd-1") }));
    }
}

#[test]
fn a_document_of_another_typ_is_refused_before_its_signature_is_looked_at() {
    let beat = sign(&signer(BEAT), Typ::Beat, &id("beat-1"), PAYLOAD);
    let expected = JwsError::WrongTyp { expected: Typ::Cmd, found: "latchd-beat+jwt".into() };
    assert_eq!(verify_cmd(&beat), Err(expected));
}

#[test]
fn an_expired_key_is_refused_from_its_expiry_on() {
    let verify_at = |now| verify(command().as_bytes(), Typ::Cmd, &keys(), now);
    verify_at(Wall::from_millis(KEYS_EXPIRE.as_millis() - 1)).unwrap();
    assert_eq!(verify_at(KEYS_EXPIRE), Err(JwsError::ExpiredKey { kid: id("cmd-1"), at: KEYS_EXPIRE }));
}

#[test]
fn an_unknown_key_a_revoked_key_and_no_keys_at_all_are_refused() {
    let by = |kid: &str| sign(&signer(CMD), Typ::Cmd, &id(kid), PAYLOAD);
    assert_eq!(verify_cmd(&by("cmd-9")), Err(JwsError::UnknownKey { kid: id("cmd-9") }));
    assert_eq!(verify_cmd(&by("cmd-0")), Err(JwsError::RevokedKey { kid: id("cmd-0") }));
    let nobody = verify(command().as_bytes(), Typ::Cmd, &KeySet::empty(), NOW);
    assert_eq!(nobody, Err(JwsError::UnknownKey { kid: id("cmd-1") }));
}

#[test]
fn a_good_signature_under_another_key_of_the_same_name_is_refused() {
    let compact = sign(&signer(99), Typ::Cmd, &id("cmd-1"), PAYLOAD);
    assert_eq!(verify_cmd(&compact), Err(JwsError::BadSignature));
}

#[test]
fn the_header_holds_alg_typ_and_kid_and_nothing_else() {
    verify_cmd(&with_header(r#"{"kid":"cmd-1","alg":"EdDSA","typ":"latchd-cmd+jwt"}"#)).unwrap();
    for header in [
        r#"{"alg":"EdDSA","typ":"latchd-cmd+jwt","kid":"cmd-1","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"EdDSA","typ":"latchd-cmd+jwt","kid":"cmd-1","jwk":{}}"#,
        r#"{"alg":"EdDSA","typ":"latchd-cmd+jwt","kid":"cmd-1","kid":"cmd-1"}"#,
        r#"{"alg":"EdDSA","kid":"cmd-1"}"#,
        r#"{"alg":"EdDSA","typ":"latchd-cmd+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"latchd-cmd+jwt","kid":"../cmd"}"#,
        r#"{"alg":"EdDSA","typ":"latchd-cmd+jwt","kid":"cmd-1"} x"#,
        r#"["EdDSA","latchd-cmd+jwt","cmd-1"]"#,
        "null",
        "",
    ] {
        let refused = verify_cmd(&with_header(header));
        assert!(matches!(refused, Err(JwsError::Header(_))), "{header}: {refused:?}");
    }
}

#[test]
fn no_algorithm_but_eddsa_is_accepted() {
    for alg in ["none", "HS256", "ES256", "Ed25519", "eddsa", ""] {
        let compact = with_header(&format!(r#"{{"alg":"{alg}","typ":"latchd-cmd+jwt","kid":"cmd-1"}}"#));
        assert_eq!(verify_cmd(&compact), Err(JwsError::Algorithm), "{alg}");
    }
}

#[test]
fn what_is_not_three_parts_of_strict_base64url_is_refused() {
    let compact = command();
    let [header, payload, signature] = compact.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for bad in [
        String::new(),
        "...".into(),
        format!("{header}.{payload}"),
        format!("{compact}."),
        format!("{compact}.x"),
        format!(" {compact}"),
        format!("{compact}\n"),
        format!("{compact}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{}", &signature[..85]),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{signature}AA"),
    ] {
        assert!(matches!(verify_cmd(&bad), Err(JwsError::NotCompact(_))), "{bad:?}: {:?}", verify_cmd(&bad));
    }
}

#[test]
fn size_is_judged_before_anything_else() {
    let huge = vec![b'.'; MESSAGE_BYTES_MAX + 1];
    let expected = JwsError::TooLarge { bytes: MESSAGE_BYTES_MAX + 1 };
    assert_eq!(verify(&huge, Typ::Cmd, &keys(), NOW), Err(expected.clone()));
    assert_eq!(claimed_typ(&huge), Err(expected));
    let long_header = format!("{}.x.x", "A".repeat(HEADER_BYTES_MAX + 1));
    assert_eq!(verify_cmd(&long_header), Err(JwsError::NotCompact("the header is too long")));
}

#[test]
fn a_private_key_file_is_read_in_both_versions_of_pkcs_8() {
    let ours = private_key_pem(&[7; 32]);
    assert_eq!(Signer::from_pem(&ours).unwrap().kid(), signer(7).kid());
    // Version 2, with the public key, as ring makes it.
    let der = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    Signer::from_pkcs8(der.as_ref()).unwrap();
}

#[test]
fn a_file_that_is_no_private_key_says_what_was_expected() {
    for bad in ["", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n#\n-----END PRIVATE KEY-----"] {
        assert_eq!(Signer::from_pem(bad).unwrap_err(), KeyError::NotPem, "{bad:?}");
    }
    let other = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    assert!(matches!(Signer::from_pem(other), Err(KeyError::NotEd25519(_))));
}

#[test]
fn a_signer_does_not_show_its_key() {
    assert_eq!(format!("{:?}", signer(7)), format!("Signer({})", signer(7).kid()));
}

#[test]
fn any_flipped_bit_is_refused() {
    let compact = command().into_bytes();
    let keys = keys();
    for at in 0..compact.len() {
        for bit in 0..8 {
            let mut flipped = compact.clone();
            flipped[at] ^= 1 << bit;
            assert!(verify(&flipped, Typ::Cmd, &keys, NOW).is_err(), "byte {at}, bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verify(&bytes, Typ::Cmd, &keys(), NOW).is_err());
        prop_assert!(claimed_typ(&bytes).is_err());
    }

    #[test]
    fn three_arbitrary_parts_never_panic(
        parts in prop::array::uniform3(prop::collection::vec(any::<u8>(), 0..200))
    ) {
        let compact = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(verify(compact.as_bytes(), Typ::Cmd, &keys(), NOW).is_err());
    }

    #[test]
    fn what_is_signed_is_verified_to_the_same_bytes(payload in prop::collection::vec(any::<u8>(), 0..2000)) {
        let compact = sign(&signer(CMD), Typ::Cmd, &id("cmd-1"), &payload);
        let verified = verify_cmd(&compact).unwrap();
        prop_assert_eq!(verified.payload(), &payload[..]);
    }

    #[test]
    fn a_changed_cut_or_grown_document_is_refused(at in 0usize..300, byte in any::<u8>(), kind in 0u8..3) {
        let mut compact = command().into_bytes();
        let at = at % compact.len();
        match kind {
            0 if compact[at] == byte => return Ok(()),
            0 => compact[at] = byte,
            1 => { compact.remove(at); }
            _ => compact.insert(at, byte),
        }
        prop_assert!(verify(&compact, Typ::Cmd, &keys(), NOW).is_err());
    }
}
