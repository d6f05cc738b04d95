use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn canonical_of(json: &str) -> String {
    String::from_utf8(canonical(&serde_json::from_str::<Value>(json).unwrap()).unwrap()).unwrap()
}

fn refused(json: &str) -> String {
    parse_strict::<Map<String, Value>>(json.as_bytes()).unwrap_err().to_string()
}

/// RFC 8785, section 3.2.2 and 3.2.4.
#[test]
fn the_example_of_rfc_8785_is_written_as_there() {
    let input = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
    );
    assert_eq!(canonical_of(input), expected);
}

/// RFC 8785, section 3.2.3.
#[test]
fn members_are_sorted_by_utf_16_code_units() {
    let input = r#"{
        "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = concat!(
        r#"{"\r":"Carriage Return","1":"One",""#,
        "\u{80}",
        r#"":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","#,
        r#""😀":"Emoji: Grinning Face",""#,
        "\u{fb33}",
        r#"":"Hebrew Letter Dalet With Dagesh"}"#
    );
    assert_eq!(canonical_of(input), expected);
}

/// RFC 8785, appendix B.
#[test]
fn numbers_are_written_as_in_appendix_b() {
    for (bits, expected) in [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let written = String::from_utf8(canonical(&f64::from_bits(bits)).unwrap()).unwrap();
        assert_eq!(written, expected, "{bits:016x}");
    }
    assert!(canonical(&f64::NAN).is_err());
}

#[test]
fn a_key_that_stands_twice_is_refused_at_any_depth_and_the_error_says_where() {
    assert!(refused(r#"{"a":1,"a":1}"#).starts_with(r#"a: the key "a" stands here twice"#));
    assert!(refused(r#"{"a":{"b":[0,{"c":1,"d":2,"c":3}]}}"#).starts_with("a.b[1].c: "));
    // The same key, spelt otherwise.
    assert!(refused(r#"{"a":1,"\u0061":2}"#).contains("twice"));
    let many: String = (0..40).map(|i| format!("\"k{i}\":0,")).collect();
    for i in [0, 15, 16, 17, 39] {
        assert!(refused(&format!("{{{many}\"k{i}\":1}}")).contains("twice"), "k{i}");
    }
    parse_strict::<Value>(br#"{"a":{"x":1},"b":{"x":1},"c":[{"x":1},{"x":1}]}"#).unwrap();
}

#[test]
fn what_is_no_object_is_refused() {
    for json in ["[]", "[{}]", "1", "\"{}\"", "null", "", " "] {
        assert_eq!(refused(json), "expected a JSON object", "{json}");
    }
}

#[test]
fn bytes_behind_the_object_are_refused() {
    parse_strict::<Value>(b" {} \n").unwrap();
    for json in ["{}{}", "{} x", "{},", "{}\0"] {
        refused(json);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    parse_strict::<Value>(nested(DEPTH_MAX).as_bytes()).unwrap();
    assert!(refused(&nested(DEPTH_MAX + 1)).contains("nested deeper than 32"));
    refused(&format!("{{\"a\":{}", "[".repeat(100_000)));
}

#[test]
fn the_largest_message_is_read_and_a_larger_one_is_not() {
    let of_size = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    parse_strict::<Value>(of_size(MESSAGE_BYTES_MAX).as_bytes()).unwrap();
    let refused = parse_strict::<Value>(of_size(MESSAGE_BYTES_MAX + 1).as_bytes());
    assert_eq!(refused, Err(StrictError::TooLarge { bytes: MESSAGE_BYTES_MAX + 1 }));
}

#[test]
fn numbers_that_readers_disagree_upon_are_refused() {
    parse_strict::<Value>(br#"{"a":9007199254740991,"b":-9007199254740991}"#).unwrap();
    for number in ["9007199254740992", "-9007199254740992", "18446744073709551616", "1e16", "-1e300", "1e999"] {
        refused(&format!("{{\"a\":{number}}}"));
    }
}

#[test]
fn text_that_is_not_utf_8_or_holds_half_a_surrogate_pair_is_refused() {
    assert!(parse_strict::<Value>(b"{\"a\":\"\xff\"}").is_err());
    refused(r#"{"a":"\ud800"}"#);
    refused("{\"a\":\"\n\"}");
}

#[test]
fn hex_goes_both_ways_and_has_one_spelling() {
    let bytes: [u8; 32] = std::array::from_fn(|i| (i * 8) as u8);
    assert_eq!(unhex32(&hex(&bytes)), Some(bytes));
    for bad in ["", "00", &hex(&bytes).to_uppercase(), &hex(&[0; 33]), &hex(&[0; 31]), &"g".repeat(64), &"é".repeat(32)]
    {
        assert_eq!(unhex32(bad), None, "{bad}");
    }
}

/// Python: h = lambda *p: hashlib.sha256(b"".join(len(x).to_bytes(8, "big") + x for x in p)).hexdigest()
#[test]
fn a_tagged_digest_is_over_length_prefixed_parts() {
    assert_eq!(
        hex(&tagged_sha256("tag", &[b"a", b"bc"])),
        "1e5993570465797bf864d110344898a0bc965e32aa9f85e704d55367f414591f"
    );
    assert_ne!(tagged_sha256("tag", &[b"a", b"bc"]), tagged_sha256("tag", &[b"ab", b"c"]));
    assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991i64..=9_007_199_254_740_991).prop_map(Value::from),
        (-9e15..9e15).prop_map(Value::from),
        (-1.0..1.0).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..24).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_strict::<Value>(&bytes);
        let _ = parse_strict::<Value>(&[b"{", &bytes[..]].concat());
    }

    #[test]
    fn canonical_form_is_read_back_and_written_the_same(value in json_value()) {
        let once = canonical(&value).unwrap();
        let again: Value = serde_json::from_slice(&once).unwrap();
        prop_assert_eq!(canonical(&again).unwrap(), once);
    }

    #[test]
    fn every_document_without_duplicates_is_accepted(value in json_value()) {
        let json = serde_json::json!({ "v": value }).to_string();
        prop_assert!(check_strict(json.as_bytes()).is_ok(), "{}", json);
    }
}
