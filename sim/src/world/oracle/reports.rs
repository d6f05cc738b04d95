//! Reports. Owns the comparison of a page with the log as the oracle has it; must never read the daemon's. Invariant:
//! a page holds the durable events that fit, unchanged, in order and without a gap, for somebody who may see them.

use std::collections::BTreeSet;

use latchd::{
    domain::ids::Id,
    gateway::{desk::Errand, reports::Scope},
    wire::report::{Order, ReportArgs, ReportPage},
};
use serde_json::Value;

use super::{
    Invariant, Oracle,
    scope::{self, Own},
};
use crate::world::site::Site;

impl Oracle {
    /// The desk lets somebody ask, who sees no more than these doors and cabs.
    pub fn report_asked(&mut self, operator: &Id, scope: &Scope) {
        let desk = self.desk.clone();
        let found = scope::in_office(scope::records(desk.as_deref()), operator);
        let may = found.as_ref().is_some_and(|(known, own)| {
            scope::may(&known.role, "reports.query") && own.same_as(scope.doors.as_ref(), &scope.floor_groups)
        });
        let of_theirs = |own: &Own| {
            let all = |list: &[Id], set: &BTreeSet<Id>| set.iter().all(|one| own.everything || list.contains(one));
            scope.doors.as_ref().is_some_and(|doors| all(&own.doors, doors)) && all(&own.cabs, &scope.floor_groups)
        };
        if !may {
            // Too little is kept from them.
            let too_little = found.as_ref().is_some_and(|(_, own)| of_theirs(own));
            let invariant = if too_little { Invariant::RefusedRightly } else { Invariant::Authorised };
            self.fail(invariant, format!("{operator} may see {scope:?}, who is {found:?}"));
        }
    }

    pub fn reported(&mut self, site: &Site, errand: &Errand, args: &ReportArgs, page: &ReportPage) {
        let operator = &errand.operator;
        // As it was found right when they asked.
        let own = match &errand.scope {
            Scope { doors: None, .. } => Own::everything(),
            Scope { doors: Some(doors), floor_groups } => Own {
                doors: doors.iter().cloned().collect(),
                cabs: floor_groups.iter().cloned().collect(),
                ..Own::default()
            },
        };
        let rows = page.events.clone().unwrap_or_default();
        let seq = |row: &Value| row.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let mut fitting: Vec<u64> = (1..=self.log.durable_events())
            .filter(|seq| {
                let event = self.log.event(*seq);
                let since = |at| event.is_some_and(|event| event.occurred_at >= at);
                args.from.is_none_or(since)
                    && args.until.is_none_or(|until| !since(until))
                    && self.log.is_shown(site, &own, *seq)
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
        // Of those that fit the first ones; all, if there are no more.
        let whole = fitting.starts_with(&shown) && (page.more || shown.len() == fitting.len());
        if !whole || page.count as usize != shown.len() {
            let what =
                format!("{operator} asked for {args:?} and was shown {shown:?} (more: {}) of {fitting:?}", page.more);
            self.fail(Invariant::ReportsAreTheLog, what);
        }
    }
}
