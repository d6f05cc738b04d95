//! People and what they carry. Owns the shapes of `person`, `credential`, `group` and `emergency_card`;
//! must never hold a card number or PIN in clear. Invariant: whatever narrows a person's access is a field
//! that older versions refuse rather than ignore.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ids::Id, time::Wall};

/// A cardholder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// For people who read logs; latchd never decides by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Active from this instant on; absent: since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Wall>,
    /// Expired from this instant on; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Id>,
    /// Which operators may see and edit this person; it opens no door.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Id>,
    /// Token of `pin:{person}:{digits}`: the PIN that goes with a card of this person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Token>,
    /// Like `pin`: opens as well, and raises a silent alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duress_pin: Option<Token>,
    /// No anti-passback and no occupancy limit stops this person; passages are still counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apb_exempt: bool,
    /// Extended release and open times (accessibility).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended_access: bool,
}

/// A card, or whatever else is presented at a reader. Its number never stands in the set: only keyed hashes
/// do (see `token`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    pub person: Id,
    #[serde(default)]
    pub medium: Medium,
    pub token: Token,
    /// A PIN that opens under duress: grants as any other and raises a silent alarm. Only with medium `pin`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duress: bool,
    #[serde(default)]
    pub state: CredentialState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
}

impl Credential {
    /// An active card without dates.
    pub fn card(person: Id, token: Token) -> Credential {
        Credential {
            person,
            medium: Medium::Card,
            token,
            duress: false,
            state: CredentialState::Active,
            active_from: None,
            expires_at: None,
        }
    }
}

/// base64url, without padding, of HMAC-SHA-256 under the site's credential key over a text:
///
/// | text | for |
/// |---|---|
/// | `raw:{bits}:{hex}` | the bits as read; lower-case hex, ceil(bits/4) digits |
/// | `{format}:{facility}:{number}` | a card as a `card_format` reads it, such as `h10301:123:4567`; in decimal |
/// | `{format}:{number}` | the same, where the format has no facility; a UID (`uid4:04a1b2c3`) in hex |
/// | `pin:{digits}` | a PIN that is a credential by itself |
/// | `pin:{person}:{digits}` | the PIN that goes with a card of that person |
/// | `mobile:{id}` `plate:{plate}` `qr:{text}` | what such a reader delivers, byte for byte; plates in upper case without blanks |
/// | `backup:{locker}:{code}` `return:{locker}:{code}` | codes of a key locker |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 32]);

impl Token {
    /// Equality, in a time that does not tell where they differ.
    pub fn matches(&self, other: &Token) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |differing, (a, b)| differing | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    #[default]
    Active,
    Suspended,
    Lost,
    Stolen,
}

/// What is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    #[default]
    Card,
    Pin,
    Mobile,
    Plate,
    Qr,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Still admitted where a door's policy lets only critical groups pass while the set is stale.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
    /// Which operators may edit this group; none: only those who are not limited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Id>,
}

/// A card for when the cloud is long gone ("Ecard"): accepted only while a door's policy says that the time
/// of emergency cards has come, from a signed copy outside of the mirror. Each use raises an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmergencyCard {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub token: Token,
    /// Token of `pin:{id of this record}:{digits}`; absent: the card alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Token>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    /// Doors and compartments, and floor groups by their ids: in a cab it enables every floor. Absent: all of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<Vec<Id>>,
    /// Uses on this node, counted through restarts; absent: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_max: Option<u32>,
}
