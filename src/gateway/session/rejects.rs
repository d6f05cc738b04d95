//! What arrived and could not be attributed to anyone. Owns the counting of it; must never answer, and
//! never let whoever sends garbage fill the event log. Invariant: at most one event for each topic in
//! each [`REPORT_EVERY`], which says how many there were and why.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::domain::{event::EventBody, time::Mono};

pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Topics and causes are fixed words of ours, so that the table is bounded by the source.
#[derive(Debug, Default)]
pub struct Rejects {
    counts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// When the next report may be made.
    due: Option<Mono>,
}

impl Rejects {
    pub fn count(&mut self, topic: &'static str, cause: &'static str) {
        *self.counts.entry(topic).or_default().entry(cause).or_default() += 1;
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        if self.counts.is_empty() { None } else { Some(self.due.unwrap_or(Mono::ZERO)) }
    }

    /// The events that are due: the first at once, then collected.
    pub fn due(&mut self, now: Mono) -> Vec<EventBody> {
        if self.next_deadline().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.due = Some(now + REPORT_EVERY);
        std::mem::take(&mut self.counts).into_iter().map(|(topic, causes)| report(topic, &causes)).collect()
    }
}

fn report(topic: &str, causes: &BTreeMap<&'static str, u64>) -> EventBody {
    let mut cause = String::new();
    for (n, (what, count)) in causes.iter().enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        let _ = write!(cause, "{separator}{what}: {count}");
    }
    EventBody::SecurityRejected { topic: topic.to_owned(), cause, count: causes.values().sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_one_event_at_once_and_one_with_the_rest_later() {
        let mut rejects = Rejects::default();
        let mut events = Vec::new();
        for millis in 0..5_000 {
            rejects.count("cmd", "bad signature");
            events.extend(rejects.due(Mono::from_millis(millis)));
        }
        events.extend(rejects.due(Mono::from_millis(10_000)));
        let rejected =
            |cause: &str, count| EventBody::SecurityRejected { topic: "cmd".into(), cause: cause.into(), count };
        assert_eq!(events, [rejected("bad signature: 1", 1), rejected("bad signature: 4999", 4999)]);
        assert_eq!(rejects.next_deadline(), None);
    }
}
