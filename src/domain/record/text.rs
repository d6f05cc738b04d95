//! The textual forms of what stands in records: times, dates, tokens. Owns their syntax; must never
//! normalise what it cannot render back. Invariant: what parses renders to an equal value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BitString, CardNumber, Date, MonthDay, TimeOfDay, Token};
use crate::domain::{
    card_bits::{CARD_BITS_MAX, CardBits},
    textual,
};

macro_rules! textual {
    ($type:ty, $pattern:expr, $parse:expr, $render:expr) => {
        impl std::str::FromStr for $type {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $parse(text)
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let render: fn(&Self, &mut std::fmt::Formatter<'_>) -> std::fmt::Result = $render;
                render(self, f)
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                textual::deserialize(deserializer, |text| text.parse().map_err(|e| format!("{text:?}: {e}")))
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

pub const DAY_MS: u32 = 86_400_000;

fn parse_time_of_day(text: &str) -> Result<TimeOfDay, &'static str> {
    const EXPECTED: &str = "expected a time of day from 00:00 to 24:00, as HH:MM or HH:MM:SS";
    let mut fields = [0u32; 3];
    let mut count = 0;
    for part in text.split(':') {
        let two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let slot = fields.get_mut(count).filter(|_| two_digits).ok_or(EXPECTED)?;
        *slot = part.parse().map_err(|_| EXPECTED)?;
        count += 1;
    }
    let [hours, minutes, seconds] = fields;
    let millis = (hours * 3600 + minutes * 60 + seconds) * 1000;
    if count < 2 || minutes > 59 || seconds > 59 || millis > DAY_MS {
        return Err(EXPECTED);
    }
    Ok(TimeOfDay(millis))
}

textual!(TimeOfDay, "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$|^24:00(:00)?$", parse_time_of_day, |time, f| {
    let seconds = time.0 / 1000;
    write!(f, "{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
    if seconds % 60 != 0 {
        write!(f, ":{:02}", seconds % 60)?;
    }
    Ok(())
});

textual!(
    Date,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    |text: &str| {
        const EXPECTED: &str = "expected a date as YYYY-MM-DD";
        if text.len() != 10 {
            return Err(EXPECTED);
        }
        text.parse().map(Date).map_err(|_| EXPECTED)
    },
    |date, f| write!(f, "{}", date.0)
);

fn parse_month_day(text: &str) -> Result<MonthDay, &'static str> {
    const EXPECTED: &str = "expected a day of the year as MM-DD";
    let (month, day) = text.split_once('-').ok_or(EXPECTED)?;
    let number = |t: &str| {
        (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<i8>().ok()).flatten().ok_or(EXPECTED)
    };
    let (month, day) = (number(month)?, number(day)?);
    // 2024 is a leap year, so 29 February passes.
    jiff::civil::Date::new(2024, month, day).map_err(|_| EXPECTED)?;
    Ok(MonthDay { month, day })
}

textual!(MonthDay, "^[0-9]{2}-[0-9]{2}$", parse_month_day, |day, f| write!(f, "{:02}-{:02}", day.month, day.day));

fn parse_token(text: &str) -> Result<Token, &'static str> {
    const EXPECTED: &str = "expected base64url without padding of 32 bytes (HMAC-SHA-256)";
    let mut bytes = [0u8; 32];
    use base64::Engine as _;
    match base64::engine::general_purpose::URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(32) => Ok(Token(bytes)),
        _ => Err(EXPECTED),
    }
}

textual!(Token, "^[A-Za-z0-9_-]{43}$", parse_token, |token, f| {
    use base64::Engine as _;
    f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.0))
});

fn parse_card_number(text: &str) -> Result<CardNumber, &'static str> {
    CardBits::from_digits(text, 10).map(CardNumber).ok_or("expected a number below 2^1024 in decimal digits")
}

textual!(CardNumber, "^[0-9]{1,309}$", parse_card_number, |number, f| write!(f, "{}", number.0));

fn parse_bit_string(text: &str) -> Result<BitString, &'static str> {
    const EXPECTED: &str = "expected 1 to 1024 digits 0 and 1";
    let bits = u16::try_from(text.len()).ok().filter(|bits| *bits <= CARD_BITS_MAX).ok_or(EXPECTED)?;
    Ok(BitString { bits, value: CardBits::from_digits(text, 2).ok_or(EXPECTED)? })
}

textual!(BitString, "^[01]{1,1024}$", parse_bit_string, |string, f| {
    write!(f, "{:0width$b}", string.value, width = usize::from(string.bits))
});
