//! JSON, read strictly and written canonically. Owns the rules that hold for every document of the
//! contract; must never guess at what a sender meant. Invariant: what [`parse_strict`] accepts means
//! the same to every reader: one object, no key twice at any depth, only numbers that
//! every reader takes for the same (RFC 7493, 2.2 and 2.3).

use std::{cell::RefCell, collections::BTreeSet, fmt};

use serde::{
    Serialize,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// The largest message that the contract allows, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Objects and arrays within each other.
pub const DEPTH_MAX: usize = 32;

/// Above this many keys an object's duplicates are looked up in a table instead of compared.
const KEYS_COMPARED_MAX: usize = 16;

/// Largest integer that all JSON readers agree upon: 2^53 - 1.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a document was not read. The text says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    #[error("{bytes} bytes are more than the {MESSAGE_BYTES_MAX} that a message may have")]
    TooLarge { bytes: usize },
    #[error("expected a JSON object")]
    NotAnObject,
    #[error("{at}: {problem}")]
    Refused { at: String, problem: String },
    #[error("{0}")]
    Malformed(String),
}

/// RFC 8785 (JSON Canonicalization Scheme). Members that a type does not serialise are not part of it.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json_canonicalizer::to_vec(value)
}

/// Reads one JSON object of at most [`MESSAGE_BYTES_MAX`] into `T`; what of the fields is refused is up to
/// `T` (`deny_unknown_fields`). Nothing may follow the object but white space.
pub fn parse_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StrictError> {
    check_strict(bytes)?;
    serde_json::from_slice(bytes).map_err(|e| StrictError::Malformed(e.to_string()))
}

/// [`parse_strict`], and what the type holds is an array exactly where the document has one: serde reads
/// `["front", 4000]` as readily as `{"door": "front", "dwell_ms": 4000}`. Reads the document twice; for
/// documents that are rare or whose types hold others.
pub fn parse_exact<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, StrictError> {
    let document: T = parse_strict(bytes)?;
    let malformed = |error: serde_json::Error| StrictError::Malformed(error.to_string());
    let given: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    let understood = serde_json::to_value(&document).map_err(malformed)?;
    let mut path = Vec::new();
    if array_for_object(&given, &understood, &mut path) {
        return Err(StrictError::Refused { at: render(&path), problem: "expected an object, found an array".into() });
    }
    Ok(document)
}

/// Whether an array was taken for an object; `path` then says where.
fn array_for_object(given: &Value, understood: &Value, path: &mut Vec<Step>) -> bool {
    match (given, understood) {
        (Value::Array(_), Value::Object(_)) => return true,
        (Value::Array(given), Value::Array(understood)) => {
            for (index, (given, understood)) in given.iter().zip(understood).enumerate() {
                path.push(Step::Item(index));
                if array_for_object(given, understood, path) {
                    return true;
                }
                path.pop();
            }
        }
        (Value::Object(given), Value::Object(understood)) => {
            for (name, given) in given {
                let Some(understood) = understood.get(name) else { continue };
                path.push(Step::Member(name.clone()));
                if array_for_object(given, understood, path) {
                    return true;
                }
                path.pop();
            }
        }
        _ => {}
    }
    false
}

/// The part of [`parse_strict`] that needs no type.
pub fn check_strict(bytes: &[u8]) -> Result<(), StrictError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(StrictError::TooLarge { bytes: bytes.len() });
    }
    // serde would read an array into a struct, field by field.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(StrictError::NotAnObject);
    }
    let path = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let scanned = Scan { path: &path }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    scanned.map_err(|error| {
        let path = path.into_inner();
        if error.is_data() && !path.is_empty() {
            StrictError::Refused { at: render(&path), problem: error.to_string() }
        } else {
            StrictError::Malformed(error.to_string())
        }
    })
}

enum Step {
    Member(String),
    Item(usize),
}

fn render(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Member(name) if text.is_empty() => text.push_str(name),
            Step::Member(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Walks a document without keeping it. On an error `path` stays where it happened.
#[derive(Clone, Copy)]
struct Scan<'p> {
    path: &'p RefCell<Vec<Step>>,
}

impl Scan<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.path.borrow().len() >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut few: Vec<String> = Vec::new();
        let mut many: BTreeSet<String> = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let known = if many.is_empty() { few.contains(&key) } else { many.contains(&key) };
            if known {
                let problem = A::Error::custom(format!("the key {key:?} stands here twice"));
                self.path.borrow_mut().push(Step::Member(key));
                return Err(problem);
            }
            self.path.borrow_mut().push(Step::Member(key));
            map.next_value_seed(self)?;
            let Some(Step::Member(key)) = self.path.borrow_mut().pop() else { continue };
            if !many.is_empty() {
                many.insert(key);
            } else if few.len() < KEYS_COMPARED_MAX {
                few.push(key);
            } else {
                many.extend(few.drain(..));
                many.insert(key);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.enter()?;
        for index in 0.. {
            self.path.borrow_mut().push(Step::Item(index));
            let item = items.next_element_seed(self)?;
            self.path.borrow_mut().pop();
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        if number > INTEGER_MAX {
            return Err(E::custom(format!("{number} is beyond the integers that all JSON readers agree upon")));
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_u64(number.unsigned_abs())
    }

    /// Also an integer too large for the two above: some readers keep its digits and some do not.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        if number.abs() > INTEGER_MAX as f64 {
            return Err(E::custom(format!("{number:e} is beyond the integers that all JSON readers agree upon")));
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

// ---- digests ----

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    finish(ring::digest::digest(&ring::digest::SHA256, bytes))
}

/// SHA-256 with domain separation: over the tag and each part, every one of them preceded by its length
/// in bytes as eight bytes, big-endian, so that neither tags nor borders between parts can be confused.
pub fn tagged_sha256(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in std::iter::once(&tag.as_bytes()).chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    finish(context.finish())
}

fn finish(digest: ring::digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The 32 bytes that 64 lower-case hex digits stand for.
pub fn unhex32(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// 32 bytes as 64 lower-case hex digits, for `#[serde(with = "hex32")]`.
pub mod hex32 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        super::unhex32(&text).ok_or_else(|| serde::de::Error::custom("expected 64 lower-case hex digits (SHA-256)"))
    }

    /// Its JSON Schema, for `#[schemars(with = "hex32::Sha256Hex")]`.
    pub struct Sha256Hex;

    impl schemars::JsonSchema for Sha256Hex {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Sha256".into()
        }
        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({
                "type": "string", "pattern": "^[0-9a-f]{64}$", "description": "A SHA-256 in lower-case hex"
            })
        }
    }
}

#[cfg(test)]
mod tests;
