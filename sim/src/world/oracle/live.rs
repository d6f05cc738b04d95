//! Live events. Owns who subscribed to what, and what each subscription was shown; must never look at the session's
//! subscriptions. Invariant: who watches sees the durable events that fit, unchanged, in order, each or its number
//! among the missed, while they may see them: not after their time, nor after they have unsubscribed, nor in a later
//! run of the daemon.

use std::{collections::BTreeMap, time::Duration};

use latchd::{
    domain::{ids::Id, time::Mono},
    wire::{
        live::LiveUpdate,
        outcome::{Outcome, Stage},
    },
};
use serde_json::{Map, Value};

use super::{
    Invariant, Oracle,
    log::payload_of,
    scope::{self, Own},
};
use crate::world::site::Site;

/// From the end of a subscription's time to its last words.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct LiveWatch {
    /// By the command that subscribes.
    wished: BTreeMap<Id, Wished>,
    /// By the command that ends one.
    ending: BTreeMap<Id, Id>,
    shown: BTreeMap<Id, Shown>,
}

#[derive(Clone, Debug)]
struct Wished {
    operator: &'static str,
    types: Vec<&'static str>,
    ttl: Duration,
    /// The run in which it was answered.
    answered_in: Option<u64>,
}

/// To one subscription.
#[derive(Debug, Default)]
struct Shown {
    /// All up to this one are shown or counted, once that is known.
    through: Option<u64>,
    until: Option<Mono>,
    last: Vec<u64>,
    /// The link broke since.
    again: bool,
    ended: bool,
}

fn seq(event: &Map<String, Value>) -> u64 {
    event.get("seq").and_then(Value::as_u64).unwrap_or(0)
}

impl LiveWatch {
    pub fn subscribes(&mut self, jti: Id, operator: &'static str, types: Vec<&'static str>, ttl: Duration) {
        self.wished.insert(jti, Wished { operator, types, ttl, answered_in: None });
    }

    pub fn unsubscribes(&mut self, jti: Id, subscription: Id) {
        self.ending.insert(jti, subscription);
    }

    /// A new run of the daemon: nobody watches it yet.
    pub fn started(&mut self) {
        self.shown.clear();
    }

    pub fn connected(&mut self) {
        self.shown.values_mut().for_each(|shown| shown.again = true);
    }

    /// An outcome goes to the cloud.
    pub fn outcome(&mut self, run: u64, now: Mono, outcome: &Outcome) {
        if outcome.stage != Stage::Done {
            return;
        }
        if let Some(subscription) = self.ending.get(&outcome.jti) {
            self.shown.entry(subscription.clone()).or_default().ended = true;
        }
        // The same outcome again, to another run as well, is no other subscription.
        let Some(wished) = self.wished.get_mut(&outcome.jti) else { return };
        if *wished.answered_in.get_or_insert(run) != run {
            return;
        }
        let after = outcome.detail.as_ref().and_then(|detail| detail["live"]["after"].as_u64());
        let shown = self.shown.entry(outcome.jti.clone()).or_default();
        shown.through = shown.through.or(after);
        shown.until.get_or_insert(now + wished.ttl);
    }
}

impl Oracle {
    /// An update goes to the broker.
    pub fn watched(&mut self, site: &Site, now: Mono, payload: &[u8]) {
        let update = payload_of(payload).and_then(|mut message| message.get_mut("live").map(Value::take));
        let Some(update) = update.and_then(|update| serde_json::from_value::<LiveUpdate>(update).ok()) else { return };
        let hurt = match self.judge_update(site, now, &update) {
            Ok(()) => return,
            Err((invariant, why)) => (invariant, format!("{}: {why}", update.subscription)),
        };
        self.fail(hurt.0, hurt.1);
    }

    fn judge_update(&mut self, site: &Site, now: Mono, update: &LiveUpdate) -> Result<(), (Invariant, String)> {
        let wrong = |why: String| Err((Invariant::LiveIsTheLog, why));
        let Some(wished) = self.live.wished.get(&update.subscription).cloned() else {
            return wrong("nobody subscribed".to_owned());
        };
        let seqs: Vec<u64> = update.events.iter().map(seq).collect();
        let shown = self.live.shown.entry(update.subscription.clone()).or_default();
        let repeats = std::mem::take(&mut shown.again) && !seqs.is_empty() && seqs == shown.last;
        let (through, until, ended) = (shown.through, shown.until, shown.ended);
        shown.ended |= update.ended.is_some();
        if seqs.is_empty() && update.missed == 0 {
            return Ok(());
        }
        if ended || until.is_some_and(|until| now > until + ENDS_WITHIN) {
            return wrong(format!("it has ended, and is shown {seqs:?}"));
        }
        let own = self.may_watch(wished.operator).map_err(|why| (Invariant::Authorised, why))?;
        let fits = |kind: &str| wished.types.is_empty() || wished.types.contains(&kind);
        for event in &update.events {
            let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
            let json = Value::Object(event.clone());
            if !scope::shows(site, &own, &json) {
                let why = format!("{} is shown {event:?}, and has {own:?}", wished.operator);
                return Err((Invariant::Authorised, why));
            }
            if !fits(kind) || seq(event) > self.log.durable_events() || !self.log.is_event(seq(event), &json) {
                return wrong(format!("it is shown {event:?}, which it did not ask for or is not in the log"));
            }
        }
        if repeats {
            return Ok(());
        }
        let first = through.map_or(seqs.first().copied().unwrap_or(0), |through| through + 1);
        if seqs.first().is_some_and(|seq| *seq < first) || !seqs.is_sorted_by(|one, next| one < next) {
            return wrong(format!("it is shown {seqs:?} after {through:?}"));
        }
        let newest = seqs.last().copied().unwrap_or(first.saturating_sub(1));
        let name = |seq: u64| self.log.event(seq).and_then(|event| serde_json::to_value(&event.body).ok());
        let is_fitting = |seq: &u64| {
            name(*seq).is_some_and(|body| fits(body["type"].as_str().unwrap_or_default()))
                && self.log.is_shown(site, &own, *seq)
        };
        let fitting: Vec<u64> = (first..=newest).filter(is_fitting).collect();
        if fitting.len() as u64 > seqs.len() as u64 + update.missed {
            return wrong(format!(
                "of events {first} to {newest} there fit {fitting:?}, shown are {seqs:?}, missed {}, to somebody with {own:?}",
                update.missed
            ));
        }
        let shown = self.live.shown.entry(update.subscription.clone()).or_default();
        // What was missed may be later than what is shown.
        shown.through = if seqs.is_empty() { None } else { Some(newest) };
        shown.last = seqs;
        Ok(())
    }

    /// The places of an operator who may.
    fn may_watch(&self, operator: &str) -> Result<Own, String> {
        let records = scope::records(self.desk.as_deref());
        match scope::in_office(records, operator) {
            Some((known, own)) if scope::may(&known.role, "live_events.subscribe") => Ok(own),
            found => Err(format!("{operator} watches, who is {found:?}")),
        }
    }
}
