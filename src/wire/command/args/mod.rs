//! The arguments of commands, as the contract publishes them. Owns their ranges; must never ask whether what they name
//! exists. Invariant: a member that is not known is refused, and one that may be absent is never null.

mod node;
mod site;

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{node::*, site::*};
use crate::{domain::ids::Id, wire::set::Bucket};

pub const DWELL_MS_MIN: u32 = 100;
pub const DWELL_MS_MAX: u32 = 540_000;
/// Of one pulse of a free output.
pub const PULSE_MS_MAX: u32 = 540_000;
/// What no configuration can raise: a delay lives in the ledger as long as this.
pub const DELAY_MS_MAX: u32 = 24 * 3600 * 1000;

/// In one page.
pub const LIST_RECORDS_MAX: u32 = 500;

/// Where a page begins. It names no record but one that the page before has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListCursor {
    /// `KIND/ID`
    After(Id, Id),
    /// `#NUMBER`
    From(Bucket),
}

impl ListCursor {
    pub fn parse(text: &str) -> Option<ListCursor> {
        if let Some(number) = text.strip_prefix('#') {
            return Some(ListCursor::From(Bucket::new(number.parse().ok()?)?));
        }
        let (kind, id) = text.split_once('/')?;
        Some(ListCursor::After(Id::new(kind).ok()?, Id::new(id).ok()?))
    }
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListCursor::After(kind, id) => write!(f, "{kind}/{id}"),
            ListCursor::From(bucket) => write!(f, "#{}", bucket.number()),
        }
    }
}

/// Everything of which all fields may be absent takes `args` that are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArgs {}

/// How long a momentary opening was asked to last.
pub fn dwell(ms: Option<u32>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(u64::from(ms)))
}
