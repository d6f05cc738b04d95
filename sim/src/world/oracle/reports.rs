//! Reports. Owns the comparison of a page with the log as the oracle has it; must never read the daemon's. Invariant:
//! a page holds the durable events that fit, unchanged, in order and without a gap, for somebody who may see them.

use latchd::{
    domain::{
        ids::Id,
        record::{Operator, OperatorStatus, Record},
    },
    gateway::{desk::Errand, reports::Scope},
    wire::report::{Order, ReportArgs, ReportPage},
};
use serde_json::Value;

use super::{Invariant, Oracle};
use crate::world::set::Sets;

impl Oracle {
    /// The desk lets somebody ask, who sees no more than these doors.
    pub fn report_asked(&mut self, sets: &Sets, operator: &Id, scope: &Scope) {
        let records = sets.at(self.desk).map(|generation| generation.records.as_slice()).unwrap_or_default();
        let known = records.iter().find_map(|(id, record)| match record {
            Record::Operator(body) if id == operator => Some(body),
            _ => None,
        });
        let may = known.is_some_and(|Operator { status, doors, .. }| {
            let own = doors.as_ref().map(|doors| doors.iter().cloned().collect());
            *status == OperatorStatus::Active {} && own == scope.doors
        });
        if !may {
            self.fail(Invariant::Authorised, format!("{operator} may see {scope:?}, who is {known:?}"));
        }
    }

    pub fn reported(&mut self, errand: &Errand, args: &ReportArgs, page: &ReportPage) {
        let (operator, doors) = (&errand.operator, errand.scope.doors.clone());
        let rows = page.events.clone().unwrap_or_default();
        let seq = |row: &Value| row.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let mut fitting: Vec<u64> = (1..=self.log.durable_events())
            .filter(|seq| {
                let event = self.log.event(*seq);
                let since = |at| event.is_some_and(|event| event.occurred_at >= at);
                args.from.is_none_or(since) && args.until.is_none_or(|until| !since(until))
            })
            .collect();
        if args.order == Order::NewestFirst {
            fitting.reverse();
        }
        if let Some(wrong) = rows.iter().find(|row| !self.log.is_event(seq(row), row)) {
            return self
                .fail(Invariant::ReportsAreTheLog, format!("{operator} was shown {wrong}, which is not in the log"));
        }
        let shown: Vec<u64> = rows.iter().map(seq).collect();
        let whole = match doors {
            // Of those that fit the first ones; all, if there are no more.
            None => fitting.starts_with(&shown) && (page.more || shown.len() == fitting.len()),
            Some(doors) => {
                let other = |row: &&Value| {
                    row.get("door")
                        .and_then(Value::as_str)
                        .is_some_and(|door| !doors.iter().any(|id| id.as_str() == door))
                };
                let mut rest = fitting.iter();
                rows.iter().find(other).is_none() && shown.iter().all(|seq| rest.any(|fits| fits == seq))
            }
        };
        if !whole || page.count as usize != shown.len() {
            let what =
                format!("{operator} asked for {args:?} and was shown {shown:?} (more: {}) of {fitting:?}", page.more);
            self.fail(Invariant::ReportsAreTheLog, what);
        }
    }
}
