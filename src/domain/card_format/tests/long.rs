//! Cards of more than 128 bits, and that all others are what they were before there were such cards.

use super::*;
use crate::domain::card_bits::CARD_BITS_MAX;

/// The FASC-N in two public documents: TIG SCEPACS 2.2 (idmanagement.gov/docs/pacs-tig-scepacs.pdf), 6.2 and figure 7,
/// `[0032-0001-092446-0-1-1112223333112232]`; that of issuers that are no federal agency,
/// `[9999-9999-999999-0-1-0000000000300001]`, as `yubico-piv-tool -a set-chuid` writes it (github.com/Yubico/yubico-piv-tool).
const PUBLISHED: [&str; 2] =
    ["d0439458210c2c19a0846d83685a1082108ce73984108ca3fc", "d4e739da739ced39ce739d836858210842108421c84210c3eb"];

/// As the guide gives it to the cloud's developers.
fn fasc_n() -> BTreeMap<Id, CardFormat> {
    let record: serde_json::Value = serde_json::from_str(include_str!("../../../../docs/fasc-n.json")).unwrap();
    formats(json!({ "fasc-n": record }))
}

fn raw(bits: u16, hex: &str) -> RawCard {
    RawCard::of(bits, CardBits::from_digits(hex, 16).unwrap())
}

#[test]
fn a_published_fasc_n_is_read_as_published_by_the_format_that_the_guide_has_for_it() {
    let records = fasc_n();
    let mut faults = Vec::new();
    check(&records, &mut |fault| faults.push(fault));
    assert_eq!(faults, [""; 0]);
    let formats = CardFormats::new(&records);
    for published in PUBLISHED {
        let (text, card) = (format!("fasc-n:{published}"), raw(200, published));
        let reading = formats.read(card);
        assert_eq!(reading.texts(), [text.clone(), format!("raw:200:{published}")]);
        let evidence = reading.evidence();
        assert!(evidence.parity_ok && !evidence.ambiguous && evidence.raw == published, "{evidence:?}");
        assert_eq!(formats.encode(&text), Some(card));
    }
}

/// The drawing of figure 7, character by character, so that this shares nothing with what it tests.
#[test]
fn the_characters_of_a_fasc_n_have_odd_parity_and_its_lrc_even_columns() {
    let drawn = "11010 00001 00001 11001 01000 10110 00001 00001 00001 10000 10110 00001 10011 01000 00100 00100 01101 10110 \
                 00001 10110 10000 10110 10000 10000 10000 01000 01000 01000 11001 11001 11001 11001 10000 10000 01000 01000 \
                 11001 01000 11111 11100";
    assert_eq!(bits(drawn), raw(200, PUBLISHED[0]));
    let formats = CardFormats::new(&fasc_n());
    for bit in 0..200 {
        let misread =
            RawCard { value: raw(200, PUBLISHED[0]).value ^ CardBits::new(1) << bit, ..raw(200, PUBLISHED[0]) };
        let evidence = formats.read(misread).evidence();
        assert_eq!(evidence.formats, [id("raw")], "bit {bit}");
        let text = format!("fasc-n:{:050x}", misread.value);
        assert_eq!(formats.encode(&text), None, "bit {bit}");
    }
    // Two bits of one character leave its parity as it was: the LRC finds them.
    let two_in_one = CardBits::new(0b11) << 150;
    let misread = RawCard { value: raw(200, PUBLISHED[0]).value ^ two_in_one, ..raw(200, PUBLISHED[0]) };
    assert!(!formats.read(misread).evidence().parity_ok);
}

#[test]
fn a_card_of_any_length_up_to_the_longest_is_its_bits() {
    for bits in [129, 200, 255, 256, 512, 1000, 1023, CARD_BITS_MAX] {
        let formats = CardFormats::built_in();
        let card = RawCard::of(bits, CardBits::ones(bits));
        let text = format!("raw:{bits}:{:x}", CardBits::ones(bits));
        let reading = formats.read(card);
        assert_eq!(reading.texts(), std::slice::from_ref(&text));
        assert_eq!((formats.encode(&text), reading.evidence().parity_ok), (Some(card), true));
        let one_more = RawCard::of(bits, CardBits::ones(bits) << 1 | CardBits::new(1));
        assert_eq!(formats.read(one_more).texts().is_empty(), bits < CARD_BITS_MAX, "more bits than {bits}");
    }
}

#[test]
fn the_longest_numbers_are_written_whole_in_decimal_and_in_hex() {
    let longest = |notation: &str, facility: u16| {
        let mut body = json!({
            "bits": 1024, "notation": notation, "number": { "first": facility, "bits": 1024 - facility }
        });
        if facility > 0 {
            body["facility"] = json!({ "first": 0, "bits": facility });
        }
        let name = "f".repeat(crate::domain::ids::ID_LENGTH_MAX);
        let formats = CardFormats::new(&formats(json!({ (name.clone()): body })));
        let card = RawCard::of(1024, CardBits::ones(1024));
        let text = formats.read(card).texts()[0].clone();
        assert_eq!(formats.encode(&text), Some(card));
        text[name.len() + 1..].to_owned()
    };
    assert_eq!(longest("hex", 0), "f".repeat(256));
    assert_eq!(longest("decimal", 0), CardBits::ones(1024).to_string());
    for facility in [1, 128, 511, 512, 513, 1023] {
        let (f, n) = (CardBits::ones(facility), CardBits::ones(1024 - facility));
        assert_eq!(longest("decimal", facility), format!("{f}:{n}"));
    }
}

#[test]
fn ranges_and_fixed_bits_of_long_cards_are_kept_to() {
    let most = CardBits::ones(400).to_string();
    let record = |to: &str| {
        json!({
            "bits": 600, "number": { "first": 200, "bits": 400 }, "fixed": [{ "first": 0, "value": "01".repeat(100) }],
            "number_ranges": [{ "from": "340282366920938463463374607431768211456", "to": to }]
        })
    };
    assert_eq!(faults(json!({ "long": record(&most) })), [""; 0]);
    let beyond = (CardBits::new(1) << 400).to_string();
    assert!(faults(json!({ "long": record(&beyond) }))[0].ends_with(&format!("and to at most {most}")));
    let formats = CardFormats::new(&formats(json!({ "long": record(&most) })));
    // 2^128 and the number before it.
    let card = formats.encode("long:340282366920938463463374607431768211456").unwrap();
    assert_eq!(formats.read(card).tried()[0].fit, Fit::Fits);
    let below = RawCard { value: card.value ^ CardBits::ones(129), ..card };
    assert_eq!(formats.read(below).tried()[0].fit, Fit::OutOfRange);
    assert_eq!(formats.encode("long:340282366920938463463374607431768211455"), None);
    let other = RawCard { value: card.value ^ CardBits::new(1) << 500, ..card };
    assert_eq!(formats.read(other).tried()[0].fit, Fit::FixedBits);
}

/// What people are enrolled by: as it was when no card had more than 128 bits.
#[test]
fn the_texts_of_ordinary_cards_are_what_they_always_were() {
    let formats = CardFormats::built_in();
    for (bits, value, texts) in [
        (26, 0x2f6_23ae, &["h10301:123:4567", "raw:26:2f623ae"][..]),
        (37, 0x05_84a2_b940, &["h10302:11850046624", "h10304:22602:89248", "raw:37:0584a2b940"]),
        (56, 0x0004_8011_2233_4455, &["uid7:04801122334455", "raw:56:04801122334455"]),
        (80, 0x0011_2233_4455_6677_8899, &["uid10:00112233445566778899", "raw:80:00112233445566778899"]),
        (127, 1 << 126, &["raw:127:40000000000000000000000000000000"]),
        (128, u128::MAX - 1, &["raw:128:fffffffffffffffffffffffffffffffe"]),
    ] {
        assert_eq!(formats.read(RawCard::new(bits, value)).texts(), texts);
    }
}
