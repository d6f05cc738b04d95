//! Live events, as a cloud subscribes to them and gets them. Owns the words; must never look at an event.
//! Invariant: a subscription always ends by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::report::EventFilter;
use crate::domain::{event::Refusal, ids::Id, time::Wall};

pub const TTL_S_MAX: u32 = 24 * 3600;
const TTL_S_DEFAULT: u32 = 3600;

/// `args` of `live_events.subscribe`. Its `jti` names the subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeArgs {
    /// Of what becomes durable from now on.
    #[serde(default)]
    pub filter: EventFilter,
    /// How long it lasts; an hour if absent.
    #[serde(default = "ttl_default")]
    #[schemars(range(min = 1, max = 86_400))]
    pub ttl_s: u32,
}

fn ttl_default() -> u32 {
    TTL_S_DEFAULT
}

/// The answer to `live_events.subscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribed {
    /// It ends then at the latest; also with this run of the daemon.
    pub ends_at: Wall,
    /// Events above this one are shown.
    pub after: u64,
}

/// On `live/{jti}`: the next events of one subscription, in the order of their `seq`. May come again after
/// the link broke, with another `n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiveUpdate {
    /// The `jti` of the command that subscribed.
    pub subscription: Id,
    /// Events before these that there was no room for while the link was down or too slow, or that were
    /// pruned or damaged before they were looked at: a report holds what is left of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    #[schemars(with = "Vec<super::upward::PublishedEvent>")]
    pub events: Vec<Map<String, Value>>,
    /// This is the last message: why the subscription ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Ended")]
    pub ended: Option<Ended>,
}

pub fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its time has passed.
    Expired,
    Unsubscribed,
    /// The operator's doors changed: subscribe anew for the new ones.
    ScopeChanged,
    /// The operator may not see live events any more, as a command would be refused now.
    UnknownOperator,
    OperatorPending,
    OperatorExpired,
    OperatorSuspended,
    Forbidden,
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Ended {
        match refusal {
            Refusal::UnknownOperator => Ended::UnknownOperator,
            Refusal::OperatorPending => Ended::OperatorPending,
            Refusal::OperatorExpired => Ended::OperatorExpired,
            Refusal::OperatorSuspended => Ended::OperatorSuspended,
            Refusal::OutOfScope => Ended::ScopeChanged,
            // What else there is to be refused for is of commands, not of operators.
            _ => Ended::Forbidden,
        }
    }
}

impl SubscribeArgs {
    /// What serde cannot say, as [`EventFilter::check`].
    pub fn check(&self, given: &Map<String, Value>) -> Result<(), String> {
        self.filter.check(given)?;
        if !(1..=TTL_S_MAX).contains(&self.ttl_s) {
            return Err(format!("ttl_s: expected a whole number of seconds from 1 to {TTL_S_MAX}"));
        }
        Ok(())
    }
}

impl Default for SubscribeArgs {
    fn default() -> SubscribeArgs {
        SubscribeArgs { filter: EventFilter::default(), ttl_s: TTL_S_DEFAULT }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subscription_is_bounded_by_a_day() {
        let parse = |args: Value| {
            let read: SubscribeArgs = serde_json::from_value(args.clone()).map_err(|error| error.to_string())?;
            read.check(args.as_object().unwrap()).map(|()| read)
        };
        assert_eq!(parse(json!({})), Ok(SubscribeArgs::default()));
        for (args, expected) in [
            (json!({"ttl_s": 0}), "ttl_s: expected"),
            (json!({"ttl_s": 86_401}), "ttl_s: expected"),
            (json!({"filter": []}), "filter: expected an object"),
            (json!({"from": "2026-01-02T00:00:00.000Z"}), "unknown field `from`"),
        ] {
            let refused = parse(args.clone()).expect_err(&args.to_string());
            assert!(refused.contains(expected), "{args}: {refused}");
        }
    }
}
