//! Refusals for the operator's sake, and lists. Owns what was asked of desk and mirror and by whom; must never judge by
//! another set than the one by which it was refused. Invariant: whoever is refused lacked what they are told to lack, and
//! a list holds what its reader may see of the records in force: no less, no more.

use std::collections::{BTreeMap, BTreeSet};

use latchd::{
    domain::{
        event::Refusal,
        ids::Id,
        outputs::Ticket,
        record::{OperatorStatus, Record},
    },
    gateway::{
        mirror::{Answer, ListRequest, MirrorInput},
        step::{Commit, LedgerWrite},
    },
    wire::{edit::ListPage, outcome::Stage},
};
use serde_json::json;

use super::{Change, Records, in_office, is_active, may, may_edit, of_operator, operator, records, sees};
use crate::world::{
    oracle::{Invariant, Oracle},
    set::{Generation, Sets},
    site::Site,
};

#[derive(Default)]
pub struct Refusals {
    /// Reports, live events and configuration, by command.
    errands: BTreeMap<Id, (&'static str, &'static str)>,
    /// Commands whose refusal was looked at.
    judged: BTreeSet<Id>,
    /// Of the present run: what the mirror was asked for.
    lists: BTreeMap<Ticket, ListRequest>,
    edits: BTreeMap<Ticket, (Id, Id, Id)>,
}

impl Refusals {
    /// A new run: tickets begin anew.
    pub fn started(&mut self) {
        (self.lists, self.edits) = (BTreeMap::new(), BTreeMap::new());
    }
}

/// Whether somebody lacks what a refusal says; `None`: it is not for the operator's sake.
fn lacks(records: &Records, name: &str, cmd: &str, reason: Refusal, outside: impl Fn() -> bool) -> Option<bool> {
    let known = operator(records, name);
    let may = known.is_some_and(|known| is_active(known) && may(&known.role, cmd));
    Some(match reason {
        Refusal::UnknownOperator => known.is_none(),
        Refusal::OperatorSuspended => known.is_some_and(|known| known.status == OperatorStatus::Suspended {}),
        Refusal::Forbidden => known.is_some_and(is_active) && !may,
        Refusal::OutOfScope => may && outside(),
        _ => return None,
    })
}

impl Oracle {
    /// Somebody asks the node itself for something.
    pub fn errand_wished(&mut self, jti: &Id, operator: &'static str, cmd: &'static str) {
        self.refusals.errands.insert(jti.clone(), (operator, cmd));
    }

    /// The desk writes down what became of commands. How many of them are out of scope.
    pub fn check_refusals(&mut self, site: &Site, commit: &Commit) -> usize {
        let mut out_of_scope = 0;
        for write in &commit.writes {
            let LedgerWrite::Command(record) = write else { continue };
            let Some(outcome) = record.outcomes.last().filter(|outcome| outcome.stage == Stage::Refused) else {
                continue;
            };
            let Some(reason) = outcome.reason.filter(|_| self.refusals.judged.insert(record.key.jti.clone())) else {
                continue;
            };
            out_of_scope += usize::from(reason == Refusal::OutOfScope);
            let (jti, by) = (&record.key.jti, record.operator.as_str());
            let desk = self.desk.clone();
            let records = records(desk.as_deref());
            let own = operator(records, by).map(|known| of_operator(records, known)).unwrap_or_default();
            let asked = self.asked.get(jti).into_iter().flatten().filter(|asked| asked.operator == by);
            let mut found: Vec<bool> = asked
                .filter_map(|asked| {
                    let outside = || !asked.is_within(site, records, &own);
                    lacks(records, by, asked.cmd, reason, outside)
                })
                .collect();
            if let Some((_, cmd)) = self.refusals.errands.get(jti).filter(|(operator, _)| *operator == by) {
                let outside = || cmd.starts_with("configuration.") && !own.everything;
                found.extend(lacks(records, by, cmd, reason, outside));
            }
            if !found.is_empty() && !found.contains(&true) {
                let known = operator(records, by);
                let what = format!("{jti} of {by} is refused as {reason:?}, who is {known:?} with {own:?}");
                self.fail(Invariant::RefusedRightly, what);
            }
        }
        out_of_scope
    }

    /// The desk hands something on to the mirror.
    pub fn mirror_asked(&mut self, input: &MirrorInput) {
        match input {
            MirrorInput::List(request) => drop(self.refusals.lists.insert(request.ticket, (**request).clone())),
            MirrorInput::Edit(request) => {
                let edit = (request.jti.clone(), request.kind.clone(), request.id.clone());
                self.refusals.edits.insert(request.ticket, edit);
            }
            _ => {}
        }
    }

    /// The mirror answers, by this generation with what stands over it.
    pub fn mirror_answered(
        &mut self,
        site: &Site,
        sets: &Sets,
        generation: Option<&Generation>,
        ticket: Ticket,
        answer: &Answer,
    ) {
        let records = records(generation);
        if let Some(request) = self.refusals.lists.remove(&ticket) {
            let by = request.operator.as_str();
            let wrong = match answer {
                Answer::Listed(page) => wrong_page(site, records, &request, page),
                Answer::Refused(reason, why) => {
                    let refused = lacks(records, by, &format!("{}.list", request.kind), *reason, || false);
                    let what = || format!("{by} was refused a list of {} as {reason:?}: {why:?}", request.kind);
                    let wrongly = refused == Some(false);
                    if wrongly {
                        return self.fail(Invariant::RefusedRightly, what());
                    }
                    None
                }
                _ => None,
            };
            if let Some(what) = wrong {
                self.fail(
                    Invariant::ListsShowOwn,
                    format!("{by} asked for {} {:?}: {what}", request.kind, request.args),
                );
            }
        }
        let edit = self.refusals.edits.remove(&ticket);
        if let (Some((jti, kind, id)), Answer::Refused(reason, why)) = (edit, answer)
            && let Some(wish) = sets.edits.wished(&jti, &kind, &id)
        {
            let known = operator(records, wish.operator);
            let old = records.iter().find(|(other, record)| (record.kind(), other) == (wish.kind, &id));
            let change =
                Change { kind: wish.kind, id: &id, old: old.map(|(_, record)| record), new: wish.body.as_ref() };
            let against = known.map(|known| may_edit(site, records, known, &change)).unwrap_or_default();
            let cmd = format!("{kind}.put");
            let rightly = match reason {
                Refusal::Forbidden => against.role,
                Refusal::OutOfScope => against.scope,
                other => lacks(records, wish.operator, &cmd, *other, || false).unwrap_or(true),
            };
            if !rightly {
                let what =
                    format!("{wish:?} over {old:?} was refused as {reason:?} ({why:?}), by {known:?}: {against:?}");
                self.fail(Invariant::RefusedRightly, what);
            }
        }
    }
}

/// What is wrong with a page, if anything is.
fn wrong_page(site: &Site, records: &Records, request: &ListRequest, page: &ListPage) -> Option<String> {
    let (by, kind) = (request.operator.as_str(), request.kind.as_str());
    let cmd = format!("{kind}.list");
    let Some((_, own)) = in_office(records, by).filter(|(operator, _)| may(&operator.role, &cmd)) else {
        return Some("they may not".to_owned());
    };
    let of_kind = records.iter().filter(|(_, record)| record.kind() == kind);
    let seen: Vec<&(Id, Record)> = of_kind.filter(|(id, record)| sees(site, records, (by, &own), id, record)).collect();
    for listed in &page.records {
        let body: Option<Record> = serde_json::from_value(json!({ "kind": kind, "body": listed.body })).ok();
        let found = seen.iter().find(|(id, _)| *id == listed.id);
        if found.is_none() || body.as_ref() != found.map(|(_, record)| record) {
            return Some(format!("they are shown {listed:?} in place of {found:?}, with {own:?}"));
        }
    }
    let due = |id: &Id| request.args.id.as_ref().is_none_or(|only| only == id);
    let listed = |id: &Id| page.records.iter().any(|listed| listed.id == *id);
    let whole = page.next.is_none() && request.args.limit.is_none();
    let missing = seen.iter().find(|(id, _)| whole && due(id) && !listed(id));
    missing.map(|(id, _)| format!("they are not shown {id}, with {own:?}"))
}
