//! Time inside JWTs. Owns the step from NumericDate (RFC 7519, section 2) to [`Wall`]; must never accept
//! what is no instant. Invariant: milliseconds survive both ways.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::time::Wall;

/// Seconds since 1970-01-01T00:00:00Z, fractions allowed; latchd keeps milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(pub Wall);

impl Serialize for NumericDate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        if millis % 1000 == 0 {
            serializer.serialize_i64(millis / 1000)
        } else {
            serializer.serialize_f64(millis as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<NumericDate, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Wall::from_numeric_date(seconds)
            .map(NumericDate)
            .ok_or_else(|| serde::de::Error::custom(format!("{seconds} is not a time in seconds since 1970")))
    }
}

impl JsonSchema for NumericDate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NumericDate".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "number",
            "minimum": 0,
            "maximum": 253_402_300_799.999,
            "description": "Seconds since 1970-01-01T00:00:00Z, fractions allowed (RFC 7519, section 2)",
            "examples": [1_790_000_000.12]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_both_ways() {
        for (text, millis) in [("1790000000.12", 1_790_000_000_120), ("1790000000", 1_790_000_000_000), ("0.001", 1)] {
            let date: NumericDate = serde_json::from_str(text).unwrap();
            assert_eq!(date.0, Wall::from_millis(millis));
            assert_eq!(serde_json::to_string(&date).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for bad in ["-1", "1e300", "\"1790000000\"", "null", "[1]", "true"] {
            assert!(serde_json::from_str::<NumericDate>(bad).is_err(), "{bad}");
        }
    }
}
