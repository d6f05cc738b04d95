//! Published layouts and cards, each with its source; what a layout may not be; and both ways between bits and
//! numbers for formats that nobody has published.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{CardFormats, CardTokens, Fit, check};
use crate::domain::{
    card_bits::CardBits,
    fieldbus::RawCard,
    ids::Id,
    record::{BitField, ByteOrder, CardFormat, Notation, Parity, Token},
};

mod long;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn bits(drawing: &str) -> RawCard {
    let digits: String = drawing.chars().filter(|c| *c != ' ').collect();
    RawCard::of(digits.len() as u16, CardBits::from_digits(&digits, 2).unwrap())
}

fn formats(records: serde_json::Value) -> BTreeMap<Id, CardFormat> {
    let records: BTreeMap<String, CardFormat> = serde_json::from_value(records).unwrap();
    records.into_iter().map(|(name, record)| (id(&name), record)).collect()
}

fn faults(records: serde_json::Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(&formats(records), &mut |fault| faults.push(fault));
    faults
}

/// Cards that others published with what they mean. `lf hid` is the online help of the Proxmark3 client
/// (github.com/RfidResearchGroup/proxmark3, client/src/cmdlfhid.c, `lf hid sim` and `lf hid clone`), all of
/// facility 118 and number 1603; its hex digits begin with HID's preamble, which no reader sends.
#[test]
fn published_cards_are_read_as_published() {
    let hid = |bits: u16, raw: u128| RawCard::new(bits, raw & ((1 << bits) - 1));
    for (card, text) in [
        // lf hid sim -r 2006ec0c86 -> HID 10301 26 bit
        (hid(26, 0x20_06ec_0c86), "h10301:118:1603"),
        // "Site Code of 004 and a Card Number of 123", sola-solutions.jp, "How to find out HID Prox card Number"
        (bits("1 00000100 0000000001111011 1"), "h10301:4:123"),
        // FC 21, CC 15890: github.com/monkeyboard/Wiegand-Protocol-Library-for-Arduino, issue 33
        (bits("10001010100111110000100100"), "h10301:21:15890"),
        // 1234567890 in 34 bits: Hikvision, Wiegand Camera Operation Manual, page 9; even parity over the first
        // half, odd over the second, as in H10306. 0x4996 and 0x02d2.
        (bits("1 0100100110010110 0000001011010010 0"), "h10306:18838:722"),
        // lf hid sim -r 2e0ec00c87 -> HID Corporate 35 bit
        (hid(35, 0x2e_0ec0_0c87), "corporate1000_35:118:1603"),
        // lf hid sim -r 01400076000c86 -> HID Corporate 48 bit
        (hid(48, 0x01_4000_7600_0c86), "corporate1000_48:118:1603"),
    ] {
        let formats = CardFormats::built_in();
        let reading = formats.read(card);
        assert_eq!(reading.texts().first().map(String::as_str), Some(text), "{card:?}");
        let evidence = reading.evidence();
        assert!(evidence.parity_ok && !evidence.ambiguous, "{evidence:?}");
        assert_eq!(formats.encode(text), Some(card), "{text}");
    }
}

/// The drawings of the formats, as published: fields, then one line for each parity bit (`E`, `O`), with `X`
/// where it covers.
///
/// - h10301, h10304, corporate1000_35: ooaccess.com/kb/26-bit, /37-bit-fc, /35-bit-corporate-1000, with the same
///   letters.
/// - h10306, h10302, corporate1000_48: Proxmark3, client/src/wiegand_formats.c (`Pack_H10306`, `Pack_H10302`,
///   `Pack_C1k48s`), there as masks: 0x1_FFFE_0000 and 0x1_FFFE; fields of 18 bits from 1 and from 18;
///   0x1B6D_B6DB_6DB6 at bit 46, 0x36DB_6DB6_DB6C at bit 0, then all at bit 47.
///
/// Written out by hand and read letter by letter, so that this shares nothing with what it tests.
#[test]
fn every_parity_bit_covers_what_its_published_drawing_says() {
    let masks_48: [(u128, u32, bool); 3] =
        [(0x1B6D_B6DB_6DB6, 46, false), (0x36DB_6DB6_DB6C, 0, true), (0x7FFF_FFFF_FFFF, 47, true)];
    let mask_34: [(u128, u32, bool); 2] = [(0x1_FFFE_0000, 33, false), (0x1_FFFE, 0, true)];
    let drawn = |lines: &[&str]| -> Vec<(u128, u32, bool)> {
        lines
            .iter()
            .map(|line| {
                let own = line.find(['E', 'O']).unwrap();
                let covered = line.bytes().rev().enumerate().filter(|(_, letter)| *letter == b'X');
                let mask = covered.fold(0, |mask, (place, _)| mask | 1 << place);
                (mask, (line.len() - 1 - own) as u32, line.contains('O'))
            })
            .collect()
    };
    let halves_37 = drawn(&["EXXXXXXXXXXXXXXXXXX..................", "..................XXXXXXXXXXXXXXXXXXO"]);
    let published = [
        ("h10301", 26, (8, 16), drawn(&["EXXXXXXXXXXXX.............", ".............XXXXXXXXXXXXO"])),
        ("h10306", 34, (16, 16), mask_34.to_vec()),
        (
            "corporate1000_35",
            35,
            (12, 20),
            drawn(&[
                ".EXX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.",
                ".XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.O",
                "OXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
            ]),
        ),
        ("h10302", 37, (0, 35), halves_37.clone()),
        ("h10304", 37, (16, 19), halves_37),
        ("corporate1000_48", 48, (22, 23), masks_48.to_vec()),
    ];
    let formats = CardFormats::built_in();
    for (name, length, (facility_bits, number_bits), parities) in published {
        for (facility, number) in [(0u128, 0u128), (1, 1), (0x5555_5555, 0xAAAA_AAAA_AAAA), (u128::MAX, u128::MAX)] {
            let (facility, number) = (facility & ((1 << facility_bits) - 1), number & ((1 << number_bits) - 1));
            let mut value = (facility << number_bits | number) << 1;
            for (mask, own, odd) in &parities {
                let ones = (value & mask).count_ones() % 2 == 1;
                value |= u128::from(ones != *odd) << own;
            }
            let text = match facility_bits {
                0 => format!("{name}:{number}"),
                _ => format!("{name}:{facility}:{number}"),
            };
            let card = RawCard::new(length, value);
            assert_eq!(formats.encode(&text), Some(card), "{text}");
            assert!(formats.read(card).texts().contains(&text), "{text}");
        }
    }
}

/// One card read as both formats of 37 bits: github.com/flipperdevices/flipperzero-firmware, issue 1029, there decoded by
/// the Proxmark3 client (`raw: 000000000000000584a2b940`, parity ok in both).
#[test]
fn a_published_card_of_thirty_seven_bits_is_read_as_both_and_ambiguous() {
    let formats = CardFormats::built_in();
    let card = RawCard::new(37, 0x05_84a2_b940);
    let texts = ["h10302:11850046624", "h10304:22602:89248"];
    let reading = formats.read(card);
    assert_eq!(reading.texts()[..2], texts);
    let evidence = reading.evidence();
    assert!(evidence.parity_ok && evidence.ambiguous, "{evidence:?}");
    assert_eq!(texts.map(|text| formats.encode(text)), [Some(card); 2]);
}

/// What sellers and readers publish of cards that they have, each in bytes and as the number that a reader made of them:
/// buysmartcard.blog, "Understanding MIFARE unique identifier" (bytes E4 3A C9 D2, little endian 3536403172);
/// mifare.net, forum, "Mifare 7 Byte UID to 4 Byte UID Conversion" (AE B3 D6 E5 ED DD 6D, 49174381509598573).
#[test]
fn published_serial_numbers_are_read_in_either_order_of_bytes() {
    let built_in = CardFormats::built_in();
    assert_eq!(built_in.read(RawCard::new(32, 0xe43a_c9d2)).texts()[0], "uid4:e43ac9d2");
    let seven = RawCard::new(56, 49_174_381_509_598_573);
    assert_eq!(built_in.read(seven).texts()[0], "uid7:aeb3d6e5eddd6d");
    let turned = |bits: u16| json!({ "bits": bits, "notation": "hex", "number": { "first": 0, "bits": bits, "byte_order": "lsb_first" } });
    let turned = CardFormats::new(&formats(json!({ "uid4": turned(32), "uid7": turned(56), "uid10": turned(80) })));
    assert_eq!(turned.read(RawCard::new(32, 3_536_403_172)).texts()[0], "uid4:e43ac9d2");
    let text = "uid7:6dddede5d6b3ae";
    assert_eq!((turned.read(seven).texts()[0].as_str(), turned.encode(text)), (text, Some(seven)));
    let ten = RawCard::new(80, 0x0011_2233_4455_6677_8899);
    assert_eq!(turned.read(ten).texts()[0], "uid10:99887766554433221100");
}

#[test]
fn every_flipped_bit_of_a_built_in_format_is_noticed() {
    for text in ["h10301:123:4567", "h10306:31337:1", "corporate1000_35:118:1603", "h10304:1:1", "corporate1000_48:9:9"]
    {
        let formats = CardFormats::built_in();
        let card = formats.encode(text).unwrap();
        for bit in 0..card.bits {
            let flipped = RawCard { value: card.value ^ CardBits::new(1) << bit, ..card };
            let evidence = formats.read(flipped).evidence();
            assert!(!evidence.parity_ok, "{text}, bit {bit}");
            assert_eq!(evidence.formats, [id("raw")], "{text}, bit {bit}");
        }
    }
}

#[test]
fn thirty_seven_bits_are_ambiguous_and_asked_about_in_the_formats_order() {
    let formats = CardFormats::built_in();
    let reading = formats.read(formats.encode("h10304:3:5").unwrap());
    assert_eq!(reading.texts()[..2], [format!("h10302:{}", 3 << 19 | 5), "h10304:3:5".to_owned()]);
    let evidence = reading.evidence();
    assert_eq!(evidence.formats, [id("h10302"), id("h10304"), id("raw")]);
    assert!(evidence.ambiguous && evidence.parity_ok);
    let mut record = super::built_in::records().remove("h10304").unwrap();
    record.order = 7;
    let own = CardFormats::new(&BTreeMap::from([(id("h10304"), record)]));
    assert_eq!(own.read(formats.encode("h10304:3:5").unwrap()).evidence().formats[0], id("h10304"));
}

#[test]
fn a_uid_is_hex_in_the_order_of_bytes_that_the_reader_has() {
    let formats = CardFormats::built_in();
    for (bits, value, text) in [
        (32, 0x04a1_b2c3, "uid4:04a1b2c3"),
        (56, 0x0004_8011_2233_4455, "uid7:04801122334455"),
        (80, 0x0011_2233_4455_6677_8899, "uid10:00112233445566778899"),
    ] {
        assert_eq!(formats.read(RawCard::new(bits, value)).texts()[0], text);
    }
    let reversed = self::formats(json!({ "uid4": {
        "bits": 32, "notation": "hex", "number": { "first": 0, "bits": 32, "byte_order": "lsb_first" }
    }}));
    let reversed = CardFormats::new(&reversed);
    let card = RawCard::new(32, 0xc3b2_a104);
    assert_eq!(reversed.read(card).texts()[0], "uid4:04a1b2c3");
    assert_eq!(reversed.encode("uid4:04a1b2c3"), Some(card));
}

#[test]
fn a_site_narrows_a_format_by_fixed_bits_and_ranges_and_takes_out_a_built_in_one() {
    let site = formats(json!({
        "h10301": { "bits": 26, "disabled": true, "number": { "first": 9, "bits": 16 } },
        "works": {
            "bits": 26, "facility": { "first": 1, "bits": 8 }, "number": { "first": 9, "bits": 16 },
            "parity": [
                { "bit": 0, "parity": "even", "mask": "01111111111110000000000000" },
                { "bit": 25, "parity": "odd", "mask": "00000000000001111111111110" }
            ],
            "facility_ranges": [{ "from": "17", "to": "17" }],
            "number_ranges": [{ "from": "1", "to": "999" }, { "from": "5000", "to": "5000" }]
        },
        "gym": {
            "bits": 26, "order": 200, "number": { "first": 13, "bits": 13 }, "fixed": [{ "first": 0, "value": "1010101010101" }]
        }
    }));
    let mut faults = Vec::new();
    check(&site, &mut |fault| faults.push(fault));
    assert_eq!(faults, [""; 0]);
    let formats = CardFormats::new(&site);
    let tried = |card: RawCard| formats.read(card).tried().into_iter().map(|tried| tried.fit).collect::<Vec<_>>();
    let built_in = |text: &str| CardFormats::built_in().encode(text).unwrap();
    assert_eq!(tried(built_in("h10301:17:999")), [Fit::Fits, Fit::FixedBits, Fit::Fits]);
    assert_eq!(tried(built_in("h10301:17:5000"))[0], Fit::Fits);
    assert_eq!(tried(built_in("h10301:17:1000"))[0], Fit::OutOfRange);
    assert_eq!(tried(built_in("h10301:18:999"))[0], Fit::OutOfRange);
    let other = formats.read(built_in("h10301:18:999")).evidence();
    assert!(other.parity_ok && other.formats == [id("raw")], "{other:?}");
    assert_eq!(formats.encode("works:18:999"), None, "no such card exists");
    assert_eq!(formats.encode("gym:77").map(|card| card.value), Some((0b1010101010101 << 13 | 77).into()));
}

#[test]
fn a_layout_that_cannot_be_is_refused_with_what_is_wrong() {
    let plain = |more: serde_json::Value| {
        let mut body = json!({ "bits": 10, "number": { "first": 1, "bits": 8 } });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        faults(json!({ "works": body }))
    };
    assert_eq!(plain(json!({})), [""; 0]);
    assert_eq!(plain(json!({ "notation": "hex", "fixed": [{ "first": 2, "value": "11" }] })), [""; 0]);
    for (more, what) in [
        (json!({ "bits": 0 }), "bits: expected 1 to 1024"),
        (json!({ "bits": 1025 }), "bits: expected 1 to 1024"),
        (json!({ "bits": 8 }), "number: expected bits from 0 to 7, and at least one"),
        (json!({ "number": { "first": 0, "bits": 0 } }), "number: expected bits from 0 to 9, and at least one"),
        (json!({ "number": { "first": 65535, "bits": 1 } }), "number: expected bits from 0 to 9, and at least one"),
        (json!({ "number": { "first": 0, "bits": 9, "byte_order": "lsb_first" } }), "byte_order needs whole bytes"),
        (json!({ "facility": { "first": 8, "bits": 2 } }), "facility: a bit has two meanings"),
        (json!({ "fixed": [{ "first": 9, "value": "11" }] }), "fixed: expected bits from 0 to 9"),
        (json!({ "fixed": [{ "first": 8, "value": "1" }] }), "fixed: a bit has two meanings"),
        (json!({ "notation": "hex", "facility": { "first": 8, "bits": 2 } }), "facility: a bit has two meanings"),
        (
            json!({ "notation": "hex", "fixed": [{ "first": 2, "value": "11" }, { "first": 3, "value": "1" }] }),
            "fixed: a bit has two meanings",
        ),
        (json!({ "parity": [{ "bit": 10, "parity": "odd", "mask": "0000000001" }] }), "bit 10 is beyond 10 bits"),
        (json!({ "parity": [{ "bit": 0, "parity": "odd", "mask": "1" }] }), "mask has 1 digits, not 10"),
        (json!({ "parity": [{ "bit": 0, "parity": "odd", "mask": "1000000000" }] }), "mask covers no bit"),
        (json!({ "parity": [{ "bit": 1, "parity": "odd", "mask": "0000000001" }] }), "parity: a bit has two meanings"),
        (
            json!({ "parity": [
                { "bit": 0, "parity": "odd", "mask": "0000000001" }, { "bit": 9, "parity": "odd", "mask": "1000000000" }
            ]}),
            "cover each other in a circle",
        ),
        (json!({ "facility_ranges": [{ "from": "1", "to": "2" }] }), "facility_ranges: there is no such field"),
        (json!({ "number_ranges": [{ "from": "2", "to": "1" }] }), "number_ranges: expected from up to to"),
        (json!({ "number_ranges": [{ "from": "0", "to": "256" }] }), "and to at most 255"),
    ] {
        let found = plain(more.clone());
        assert!(found.len() == 1 && found[0].starts_with("card_format works: "), "{more}: {found:?}");
        assert!(found[0].contains(what), "{more}: {found:?}");
    }
    let body = json!({ "bits": 10, "number": { "first": 1, "bits": 8 } });
    assert!(faults(json!({ "pin": body }))[0].contains("taken by other credentials"));
    let many: serde_json::Map<_, _> =
        (0..6).map(|n| (format!("f{n}"), json!({ "bits": 37, "number": { "first": 0, "bits": 9 } }))).collect();
    assert_eq!(faults(many.clone().into()), ["card_format: 8 formats of 37 bits, at most 7 can be told apart"]);
    let mut fewer = many;
    fewer.insert("h10304".to_owned(), json!({ "bits": 37, "disabled": true, "number": { "first": 0, "bits": 9 } }));
    assert_eq!(faults(fewer.into()), [""; 0]);
}

#[test]
fn an_impossible_read_has_no_text_and_keeps_what_came() {
    let longest = format!("{:0256x}", 0xf);
    let cut = RawCard { cut: true, ..RawCard::new(26, 0x2f6_23ae) };
    let cases = [
        (RawCard::new(0, 0), ""),
        (RawCard::new(0, 0x5), "5"),
        (RawCard::new(26, 1 << 26), "4000000"),
        (RawCard::new(1025, 0xf), &longest),
        (RawCard::new(u16::MAX, 0xf), &longest),
        (cut, "2f623ae"),
    ];
    for (card, raw) in cases {
        let formats = CardFormats::built_in();
        let reading = formats.read(card);
        assert_eq!(reading.texts(), [""; 0], "{card:?}");
        assert_eq!(reading.evidence().raw, raw, "{card:?}");
        assert_eq!(reading.evidence().formats, []);
        assert!(!reading.tokens(|_| Token([1; 32])).well_formed());
    }
}

#[test]
fn what_fits_no_format_is_kept_as_bits_with_leading_zeros() {
    for (bits, value, text) in [
        (1, 1, "raw:1:1"),
        (5, 0, "raw:5:00"),
        (36, 0x1f, "raw:36:00000001f"),
        (128, u128::MAX, "raw:128:ffffffffffffffffffffffffffffffff"),
    ] {
        let formats = CardFormats::built_in();
        let card = RawCard::new(bits, value);
        assert_eq!(formats.read(card).texts(), [text]);
        assert!(formats.read(card).evidence().parity_ok);
        assert_eq!(formats.encode(text), Some(card));
    }
    assert_eq!(CardFormats::built_in().encode("raw:36:1f"), None, "a token of this text is no card's");
}

#[test]
fn a_dead_line_is_no_valid_card() {
    for value in [0, (1 << 26) - 1] {
        assert!(!CardFormats::built_in().read(RawCard::new(26, value)).evidence().parity_ok);
    }
}

#[test]
fn tokens_follow_the_order_of_the_formats_and_the_bits_come_last() {
    let formats = CardFormats::built_in();
    let first_byte = |text: &str| Token([text.bytes().last().unwrap(); 32]);
    let tokens = formats.read(formats.encode("h10304:3:5").unwrap()).tokens(first_byte);
    let (meant, bits) = tokens.split();
    assert_eq!(meant, [Token([b'9'; 32]), Token([b'5'; 32])]);
    assert_eq!(bits, tokens.as_slice().last());
    assert!(tokens.well_formed());
    assert_eq!(CardTokens::single(Token([7; 32])).split(), (&[][..], Some(&Token([7; 32]))));
}

/// A layout of any shape: a permutation of the bits is cut into facility, number, fixed and parity bits, each
/// parity bit covering any bits but the parity bits that come after it. Fields are `scale` times as wide as usual.
fn any_layout(scale: u16) -> impl Strategy<Value = CardFormat> {
    let widths = (0u16..40 * scale, 1u16..60 * scale, 0u16..12 * scale, 0u16..6, any::<bool>(), any::<bool>());
    (widths, any::<[[u16; 64]; 6]>(), any::<[bool; 6]>(), any::<[u16; 64]>()).prop_map(
        |((facility, number, fixed, parities, hex, reversed), masks, odd, value)| {
            let reversed = reversed && number % 8 == 0;
            let bits = facility + number + fixed + parities;
            let string = |value: CardBits, bits: u16| format!("{value:0width$b}", width = usize::from(bits));
            // Parity bits stand at both ends in turn, as on real cards.
            let before = parities / 2;
            let place = |n: u16| if n < before { n } else { bits - parities + n };
            let own = |n: u16| CardBits::new(1) << (bits - 1 - place(n));
            let parity: Vec<_> = (0..parities)
                .map(|n| {
                    let later = (n..parities).map(own).fold(CardBits::ZERO, |all, own| all | own);
                    let some = CardBits::new(1) << (bits - 1 - before);
                    let mask = CardBits::from_last(16, masks[usize::from(n)]).extract(0, bits) | some | later;
                    let parity = if odd[usize::from(n)] { "odd" } else { "even" };
                    json!({ "bit": place(n), "parity": parity, "mask": string(mask ^ later, bits) })
                })
                .collect();
            let mut body = json!({
                "bits": bits,
                "notation": if hex { "hex" } else { "decimal" },
                "number": {
                    "first": before + facility + fixed, "bits": number,
                    "byte_order": if reversed { "lsb_first" } else { "msb_first" }
                },
                "parity": parity
            });
            if facility > 0 {
                body["facility"] = json!({ "first": before, "bits": facility });
            }
            if fixed > 0 {
                let value = string(CardBits::from_last(16, value).extract(0, fixed), fixed);
                body["fixed"] = json!([{ "first": before + facility, "value": value }]);
            }
            serde_json::from_value(body).unwrap()
        },
    )
}

fn any_number() -> impl Strategy<Value = CardBits> {
    any::<[u16; 64]>().prop_map(|words| CardBits::from_last(16, words))
}

fn hex(number: CardBits, bits: u16) -> String {
    format!("{number:0digits$x}", digits = usize::from(bits.div_ceil(8)) * 2)
}

/// What this format writes it reads back, and of every so manieth bit a flip is noticed where the bit is covered.
fn is_sound(record: &CardFormat, facility: CardBits, number: CardBits, step: usize) -> Result<(), TestCaseError> {
    let records = BTreeMap::from([(id("any"), record.clone())]);
    let mut faults = Vec::new();
    check(&records, &mut |fault| faults.push(fault));
    prop_assert_eq!(faults, Vec::<String>::new());
    let formats = CardFormats::new(&records);
    let facility = record.facility.map(|field| facility.extract(0, field.bits));
    let number = number.extract(0, record.number.bits);
    let number = match record.notation {
        Notation::Hex => hex(number, record.number.bits),
        Notation::Decimal => number.to_string(),
    };
    let text = facility.map_or(format!("any:{number}"), |facility| format!("any:{facility}:{number}"));
    let card = formats.encode(&text);
    prop_assert!(card.is_some(), "{} of {:?}", text, record);
    let card = card.unwrap();
    prop_assert!(formats.read(card).texts().contains(&text), "{}: {:?}", text, formats.read(card).texts());
    for bit in (0..record.bits).step_by(step) {
        let flipped = RawCard { value: card.value ^ CardBits::new(1) << bit, ..card };
        let place = record.bits - 1 - bit;
        let covered = record.parity.iter().any(|p| p.bit == place || p.mask.value.has(bit));
        let fixed = record.fixed.iter().any(|f| (f.first..f.first + f.value.bits).contains(&place));
        let fits =
            formats.read(flipped).tried().iter().any(|tried| tried.format == id("any") && tried.fit == Fit::Fits);
        prop_assert_eq!(fits, !covered && !fixed, "bit {} of {:?}", place, record);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_format_writes_it_reads_back_and_a_flipped_bit_is_noticed_where_it_is_covered(
        record in any_layout(1), facility in any_number(), number in any_number()
    ) {
        is_sound(&record, facility, number, 1)?;
    }

    #[test]
    fn a_format_of_any_width_up_to_the_longest_card_does_so_too(record in any_layout(9), facility in any_number(), number in any_number()) {
        is_sound(&record, facility, number, 7)?;
    }

    #[test]
    fn in_a_number_that_is_the_whole_card_what_is_fixed_or_parity_is_checked(
        record in any_layout(4), number in any_number()
    ) {
        let whole = BitField { first: 0, bits: record.bits, byte_order: ByteOrder::MsbFirst };
        let record = CardFormat { facility: None, number: whole, notation: Notation::Hex, ..record };
        let mut value = number.extract(0, record.bits);
        for fixed in &record.fixed {
            let shift = record.bits - fixed.first - fixed.value.bits;
            value = value ^ (value.extract(shift, fixed.value.bits) ^ fixed.value.value) << shift;
        }
        for parity in &record.parity {
            let own = CardBits::new(1) << (record.bits - 1 - parity.bit);
            if value.is_odd_under(&(parity.mask.value | own)) != (parity.parity == Parity::Odd) {
                value = value ^ own;
            }
        }
        is_sound(&record, CardBits::ZERO, value, 5)?;
        let formats = CardFormats::new(&BTreeMap::from([(id("any"), record.clone())]));
        if let Some(parity) = record.parity.first() {
            let misread = value ^ CardBits::new(1) << (record.bits - 1 - parity.bit);
            prop_assert_eq!(formats.encode(&format!("any:{}", hex(misread, record.bits))), None);
        }
    }
}
