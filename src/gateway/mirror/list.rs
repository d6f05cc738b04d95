//! Records as an operator sees them, in pages. Owns the order of a listing and its bounds; must never show
//! what the view that is in force does not hold, nor name in a cursor what its reader may not see. Invariant: whoever
//! follows the cursor to its end has seen every record that was there all the while exactly once.
//!
//! The order is the store's (by bucket), not the alphabet's: a page then costs what it holds, and one
//! listing keeps nothing back between its pages.

use std::ops::ControlFlow;

use serde_json::Value;

use super::{
    Answer, ListRequest, Mirror, MirrorOutput, SecondCopy,
    authority::{StoredPeople, record},
    overlay::{Body, is_departed},
    table::{Row, TableError, View},
};
use crate::{
    domain::{
        event::Refusal,
        ids::Id,
        operator::{Directory, World, requirement},
        time::Now,
    },
    gateway::kv::Kv,
    wire::{
        command::{LIST_RECORDS_MAX, ListCursor},
        edit::{ListPage, Listed},
        set::Bucket,
    },
};

/// Bodies of one page, as JSON: signed and in base64url a page stays well below the largest message.
const PAGE_BYTES_MAX: usize = 96 * 1024;
/// Records that one page may pass over, and look into: a filter or scope that fits few of them does not hold
/// revocations up.
const VISITS_MAX: usize = 50_000;
const CANDIDATES_MAX: usize = 2_000;
const CANDIDATES_BYTES_MAX: usize = 1024 * 1024;

/// In place of the name of an operator who has not accepted the invitation.
const PENDING: &str = "(Invitation Pending)";
/// What an operator is called by.
const NAMES: [&str; 3] = ["name", "first_name", "last_name"];

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    pub(super) fn handle_list(&mut self, now: Now, request: ListRequest, out: &mut Vec<MirrorOutput>) {
        let ticket = request.ticket;
        let listed = self.look_up().and_then(|()| self.page(now, &request));
        let answer = match listed {
            Ok(answer) => answer,
            Err(error) => {
                let answer = Answer::Failed(format!("the permission set cannot be read: {error}"));
                out.push(MirrorOutput::Answer { ticket, answer });
                return self.fail(error.to_string(), out);
            }
        };
        out.push(MirrorOutput::Answer { ticket, answer });
    }

    fn page(&self, now: Now, request: &ListRequest) -> Result<Answer, TableError> {
        let nothing = Directory::default();
        let directory = self.directory.as_ref().unwrap_or(&nothing);
        let may = self.authority(directory, &request.operator).and_then(|authority| {
            let command = format!("{}.list", request.kind);
            let (capability, _) =
                requirement(&command).ok_or_else(|| (Refusal::Forbidden, format!("no capability covers {command}")))?;
            authority.is_in_office(now)?;
            authority.may(capability)?;
            Ok(authority)
        });
        let authority = match may {
            Ok(authority) => authority,
            Err((refusal, why)) => return Ok(Answer::Refused(refusal, vec![why])),
        };
        let view = View::STORED.with_layer(&self.layer);
        let people = StoredPeople::new(&self.table, view, self.permissions_in_force());
        let world = World { directory, people: &people, topology: &self.config.topology };
        let (version, revision) = (self.held_version(), self.overlay.revision());
        let mut page = ListPage {
            kind: request.kind.clone(),
            epoch: version.epoch,
            generation: version.generation,
            revision,
            records: Vec::new(),
            next: None,
        };
        let sees = |id: &Id, row: &Row<'_>| -> Result<bool, TableError> {
            if authority.scope.is_everything() {
                return Ok(true);
            }
            let record = record(row.kind, row.id, row.body)?;
            Ok(record.is_some_and(|record| authority.sees(&request.operator, id, &record, &world)))
        };
        match &request.args.id {
            Some(id) => {
                if let Some(body) = self.table.body(&request.kind, id, view)? {
                    let row = Row { bucket: Bucket::of(&request.kind, id), kind: &request.kind, id, body: &body };
                    page.records.extend(shown(request, &row, sees)?);
                }
            }
            None => self.fill(request, view, sees, &mut page)?,
        }
        people.check()?;
        Ok(Answer::Listed(page))
    }

    fn fill(
        &self,
        request: &ListRequest,
        view: View<'_>,
        sees: impl Fn(&Id, &Row<'_>) -> Result<bool, TableError>,
        page: &mut ListPage,
    ) -> Result<(), TableError> {
        let most = request.args.limit.unwrap_or(LIST_RECORDS_MAX).clamp(1, LIST_RECORDS_MAX) as usize;
        let Candidates { rows, stopped_at } = self.candidates(request, view)?;
        let mut bytes = 0;
        for (id, body) in &rows {
            if page.records.len() == most || (bytes > 0 && bytes + body.len() > PAGE_BYTES_MAX) {
                let last = page.records.last().map(|listed| ListCursor::After(request.kind.clone(), listed.id.clone()));
                page.next = last.map(|last| last.to_string());
                return Ok(());
            }
            let row = Row { bucket: Bucket::of(&request.kind, id), kind: &request.kind, id, body };
            if let Some(listed) = shown(request, &row, &sees)? {
                bytes += body.len();
                page.records.push(listed);
            }
        }
        page.next = stopped_at.map(|bucket| ListCursor::From(bucket).to_string());
        Ok(())
    }

    /// Rows that may belong on the page. Looking into them asks the store again, which a scan must not.
    fn candidates(&self, request: &ListRequest, view: View<'_>) -> Result<Candidates, TableError> {
        let cursor = request.args.after.as_deref().and_then(ListCursor::parse);
        let mut candidates = Candidates::default();
        let (mut visits, mut bytes) = (0, 0);
        let mut bucket: Option<Bucket> = None;
        self.table.rows_from(cursor.as_ref(), view, &mut |row| {
            let enough = candidates.rows.len() >= CANDIDATES_MAX || bytes > CANDIDATES_BYTES_MAX;
            // A bucket, of which there are a thousand, is looked at to its end.
            if (enough || visits >= VISITS_MAX) && bucket.is_some_and(|bucket| bucket != row.bucket) {
                candidates.stopped_at = Some(row.bucket);
                return ControlFlow::Break(());
            }
            visits += 1;
            bucket = Some(row.bucket);
            if fits(request, &row) {
                bytes += row.body.len();
                candidates.rows.push((row.id.to_owned(), row.body.to_vec()));
            }
            ControlFlow::Continue(())
        })?;
        Ok(candidates)
    }
}

/// Records of the kind that is asked for, in order.
#[derive(Default)]
struct Candidates {
    rows: Vec<(String, Vec<u8>)>,
    /// What comes next, where more may follow.
    stopped_at: Option<Bucket>,
}

/// What can be told without reading the body.
fn fits(request: &ListRequest, row: &Row<'_>) -> bool {
    row.kind == request.kind.as_str()
        && request.args.prefix.as_ref().is_none_or(|prefix| row.id.starts_with(prefix.as_str()))
        && !is_departed(row.kind, row.body)
}

fn shown(
    request: &ListRequest,
    row: &Row<'_>,
    sees: impl Fn(&Id, &Row<'_>) -> Result<bool, TableError>,
) -> Result<Option<Listed>, TableError> {
    let damaged = |error: String| TableError::Damaged(format!("{}/{}: {error}", row.kind, row.id));
    let id = Id::new(row.id).map_err(|error| damaged(error.to_string()))?;
    let mut body: Body = serde_json::from_slice(row.body).map_err(|error| damaged(error.to_string()))?;
    let names = |members: [&str; 2], wanted: &Option<Id>| {
        let is = |value: &Value, wanted: &Id| match value {
            Value::String(text) => *text == **wanted,
            Value::Array(items) => items.iter().any(|item| *item == **wanted),
            _ => false,
        };
        let any = |wanted| members.iter().any(|name| body.get(*name).is_some_and(|value| is(value, wanted)));
        wanted.as_ref().is_none_or(any)
    };
    let asked_for =
        names(["person", "persons"], &request.args.person) && names(["group", "groups"], &request.args.group);
    if !asked_for || !fits(request, row) || !sees(&id, row)? {
        return Ok(None);
    }
    let invited = body.get("status").and_then(|status| status.get("state")).is_some_and(|state| state == "invited");
    if row.kind == "operator" && invited {
        NAMES.iter().for_each(|name| drop(body.remove(*name)));
        body.insert("name".to_owned(), PENDING.into());
    }
    Ok(Some(Listed { id, body }))
}

/// Whoever puts back what a list has shown in place of a name leaves the names as they stand.
pub(super) fn unmask(body: &mut Body, stored: &Body) {
    if body.get("name").is_none_or(|name| name != PENDING) {
        return;
    }
    body.remove("name");
    for name in NAMES {
        if let (false, Some(known)) = (body.contains_key(name), stored.get(name)) {
            body.insert(name.to_owned(), known.clone());
        }
    }
}
