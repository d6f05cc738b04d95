//! Records as an operator sees them, in pages. Owns the order of a listing and its bounds; must never show
//! what the view that is in force does not hold. Invariant: whoever follows the cursor to its end has seen
//! every record that was there all the while exactly once.
//!
//! The order is the store's (by bucket), not the alphabet's: a page then costs what it holds, and one
//! listing keeps nothing back between its pages.

use std::ops::ControlFlow;

use serde_json::Value;

use super::{
    Answer, ListRequest, Mirror, MirrorOutput, Page, SecondCopy,
    overlay::{Body, is_departed},
    table::{Row, TableError, View},
};
use crate::{domain::ids::Id, gateway::kv::Kv};

/// Bodies of one page, as JSON: signed and in base64url a page stays well below the largest message.
const PAGE_BYTES_MAX: usize = 96 * 1024;
pub const PAGE_RECORDS_MAX: usize = 500;
/// Records that one page may pass over: a filter that fits few of them does not hold revocations up.
const PAGE_VISITS_MAX: usize = 50_000;

/// In place of the name of an operator who has not accepted the invitation.
const PENDING: &str = "(Invitation Pending)";

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    pub(super) fn handle_list(&mut self, request: ListRequest, out: &mut Vec<MirrorOutput>) {
        let ticket = request.ticket;
        let answer = match self.page(&request) {
            Ok(page) => Answer::Listed(page),
            Err(error) => {
                out.push(MirrorOutput::Answer {
                    ticket,
                    answer: Answer::Failed(format!("the permission set cannot be read: {error}")),
                });
                return self.fail(error.to_string(), out);
            }
        };
        out.push(MirrorOutput::Answer { ticket, answer });
    }

    fn page(&self, request: &ListRequest) -> Result<Page, TableError> {
        let most = request.limit.unwrap_or(PAGE_RECORDS_MAX).clamp(1, PAGE_RECORDS_MAX);
        let mut page = Page { version: self.held_version(), overlay: self.overlay.version(), ..Page::default() };
        let (mut visits, mut bytes) = (0, 0);
        let mut last: Option<(String, String)> = None;
        let mut problem = None;
        let after = request.after.as_ref().map(|(kind, id)| (kind.as_str(), id.as_str()));
        let view = View::STORED.with_layer(&self.layer);
        self.table.rows_after(after, view, &mut |row| {
            let full = page.records.len() == most || visits == PAGE_VISITS_MAX;
            if full || (bytes > 0 && fits(request, &row) && bytes + row.body.len() > PAGE_BYTES_MAX) {
                page.next = last.take();
                return ControlFlow::Break(());
            }
            visits += 1;
            last = Some((row.kind.to_owned(), row.id.to_owned()));
            if !fits(request, &row) {
                return ControlFlow::Continue(());
            }
            match shown(request, &row) {
                Ok(Some((id, body))) => {
                    bytes += row.body.len();
                    page.records.push((id, body));
                }
                Ok(None) => {}
                Err(error) => {
                    problem = Some(TableError::Damaged(format!("{}/{}: {error}", row.kind, row.id)));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        problem.map_or(Ok(page), Err)
    }
}

/// What can be told without reading the body.
fn fits(request: &ListRequest, row: &Row<'_>) -> bool {
    row.kind == request.kind.as_str()
        && request.prefix.as_ref().is_none_or(|prefix| row.id.starts_with(prefix.as_str()))
        && !is_departed(row.kind, row.body)
}

fn shown(request: &ListRequest, row: &Row<'_>) -> Result<Option<(Id, Body)>, String> {
    let id = Id::new(row.id).map_err(|error| error.to_string())?;
    let mut body: Body = serde_json::from_slice(row.body).map_err(|error| error.to_string())?;
    let names = |name: &str, wanted: &Option<Id>| {
        let is = |value: &Value, wanted: &Id| match value {
            Value::String(text) => *text == **wanted,
            Value::Array(items) => items.iter().any(|item| *item == **wanted),
            _ => false,
        };
        wanted.as_ref().is_none_or(|wanted| body.get(name).is_some_and(|value| is(value, wanted)))
    };
    if !names("person", &request.person) || !names("groups", &request.group) {
        return Ok(None);
    }
    let invited = body.get("status").and_then(|status| status.get("state")).is_some_and(|state| state == "invited");
    if row.kind == "operator" && invited {
        body.insert("name".to_owned(), PENDING.into());
    }
    Ok(Some((id, body)))
}
