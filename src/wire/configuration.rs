//! The site file over the wire. Owns the words of the answers to `configuration.*`; must never hold a secret:
//! a site file names files that hold secrets, not what they hold. Invariant: `sha256` is always of the whole
//! file's bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::canonical::hex32;
use crate::domain::{ids::Id, time::Wall};

/// Of one part of a site file, as it stands in the answer's JSON.
pub const PART_BYTES_MAX: usize = 150 * 1024;

/// `args` of `configuration.get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationGetArgs {
    /// `next` of the part before, for a file that is larger than a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub offset: Option<u32>,
}

/// What the answers to `configuration.*` say of the site file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationAnswer {
    /// Of the file in force; of the one on trial where it was put.
    #[serde(with = "hex32")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub sha256: [u8; 32],
    /// With `configuration.get`: the file, or the part of it from `offset` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub toml: Option<String>,
    /// With `configuration.get`: whose file it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Origin")]
    pub origin: Option<Origin>,
    /// There is more of it, from this byte on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub next: Option<u32>,
    /// On trial: rolled back unless it is confirmed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Wall")]
    pub confirm_by: Option<Wall>,
    /// What `latchd check` warns of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    Installer {},
    /// `configuration.put`.
    Command {
        operator: Id,
        jti: Id,
    },
}

impl ConfigurationAnswer {
    pub fn of(sha256: [u8; 32]) -> ConfigurationAnswer {
        ConfigurationAnswer { sha256, toml: None, origin: None, next: None, confirm_by: None, warnings: Vec::new() }
    }

    /// The part of `text` from `offset` on, and where the next one begins. `None`: no character begins there.
    pub fn part(text: &str, offset: u32) -> Option<(&str, Option<u32>)> {
        let offset = usize::try_from(offset).ok()?;
        let rest = text.get(offset..)?;
        let mut bytes = 0;
        let written = |c: char| match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        let end = rest.char_indices().find_map(|(at, c)| {
            bytes += written(c);
            (bytes > PART_BYTES_MAX).then_some(at)
        });
        match end {
            Some(end) => Some((rest.get(..end)?, u32::try_from(offset + end).ok())),
            None => Some((rest, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_large_file_are_the_file() {
        let text = "[[door]]\nid = \"ä\"\t\u{1}\n".repeat(20_000);
        let (mut parts, mut offset) = (String::new(), Some(0));
        while let Some(at) = offset {
            let (part, next) = ConfigurationAnswer::part(&text, at).unwrap();
            assert!(serde_json::to_string(part).unwrap().len() <= PART_BYTES_MAX + 2);
            parts.push_str(part);
            offset = next;
        }
        assert_eq!(parts, text);
        assert_eq!(ConfigurationAnswer::part("ä", 1), None);
        assert_eq!(ConfigurationAnswer::part("ab", 3), None);
        assert_eq!(ConfigurationAnswer::part("ab", 2), Some(("", None)));
    }
}
