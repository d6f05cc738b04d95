//! The arguments of commands, as the contract publishes them. Owns their ranges; must never ask whether what they name
//! exists. Invariant: a member that is not known is refused, and one that may be absent is never null.

mod node;
mod site;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{node::*, site::*};
use crate::domain::ids::Id;

pub const DWELL_MS_MIN: u32 = 100;
pub const DWELL_MS_MAX: u32 = 540_000;
/// Of one pulse of a free output.
pub const PULSE_MS_MAX: u32 = 540_000;
/// What no configuration can raise: a delay lives in the ledger as long as this.
pub const DELAY_MS_MAX: u32 = 24 * 3600 * 1000;

/// In one page.
pub const LIST_RECORDS_MAX: u32 = 500;

/// Kind and id of the record after which a page begins, from the cursor that the page before gave.
pub fn parse_cursor(cursor: &str) -> Option<(Id, Id)> {
    let (kind, id) = cursor.split_once('/')?;
    Some((Id::new(kind).ok()?, Id::new(id).ok()?))
}

/// Everything of which all fields may be absent takes `args` that are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArgs {}

/// How long a momentary opening was asked to last.
pub fn dwell(ms: Option<u32>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(u64::from(ms)))
}
