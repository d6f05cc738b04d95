//! An edit by command on its way into the overlay. Owns its checks and its order of writes; must never
//! report an edit that is not durable, nor touch what the cloud signed. Invariant: an edit passes the same
//! compiler as a set does, with every other record as it is in force at that moment.

use serde_json::Value;

use super::{
    Answer, EditRequest, Edited, Mirror, MirrorOutput, SecondCopy,
    authority::record,
    gather::{Understood, understand},
    list::unmask,
    overlay::{Body, Edit, Layer, OverlayChange, is_departed},
    table::{Changes, Meta, TableError, View, key_of},
};
use crate::{
    domain::{
        event::Refusal,
        ids::Id,
        operator::{RecordEdit, Refused},
        record::KNOWN_KINDS,
        time::{ClockTrust, Now},
    },
    gateway::kv::Kv,
    wire::{canonical::canonical, set::BODY_BYTES_MAX},
};

/// Why an edit is not made.
pub(super) enum Fault {
    Refused(Refusal, Vec<String>),
    Store(TableError),
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Fault {
        Fault::Store(error)
    }
}

impl Fault {
    fn unauthorised((refusal, why): Refused) -> Fault {
        Fault::Refused(refusal, vec![why])
    }
}

fn refused<T>(refusal: Refusal, why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(refusal, vec![why.into()]))
}

/// An edit that may be written, and what it leads to.
struct Ready {
    edit: Edit,
    understood: Understood,
    /// The record as it will be seen.
    record: (Vec<u8>, Option<Vec<u8>>),
    /// As the set has it.
    stored: Option<Vec<u8>>,
}

/// What an edit comes to before anything is written.
enum Judged {
    /// The record is already so.
    Nothing,
    Ready(Box<Ready>),
}

/// What an edit need not say: of a system event that its operator is the author, of an invitation that it is
/// made now.
fn complete(kind: &str, body: &mut Body, operator: &Id, now: Now) -> Result<(), Fault> {
    match kind {
        "system_event" if !body.contains_key("author") => {
            body.insert("author".to_owned(), operator.as_str().into());
        }
        "operator" => {
            let status = body.get_mut("status").and_then(Value::as_object_mut);
            let invited = status.filter(|status| {
                let has = |name: &str| status.contains_key(name);
                status.get("state").is_some_and(|state| state == "invited") && !has("invited_at") && !has("expires_at")
            });
            if let Some(status) = invited {
                if now.trust == ClockTrust::Untrusted {
                    let why = "status: an invitation that does not say when it ends needs a clock that is trusted";
                    return refused(Refusal::ClockUntrusted, why);
                }
                status.insert("invited_at".to_owned(), now.wall.to_string().into());
            }
        }
        _ => {}
    }
    Ok(())
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    pub(super) fn handle_edit(&mut self, now: Now, request: EditRequest, out: &mut Vec<MirrorOutput>) {
        let ticket = request.ticket;
        let answer = |answer| MirrorOutput::Answer { ticket, answer };
        match self.judge_edit(now, request) {
            Ok(Judged::Nothing) => out.push(answer(Answer::Unchanged { revision: self.overlay.revision() })),
            Ok(Judged::Ready(ready)) => {
                let made = ready.edit.made();
                match self.make_edit(now, *ready, out) {
                    Ok(()) => out.push(answer(Answer::Edited(made))),
                    Err(error) => {
                        // Whether it is in the store shows when that is opened again.
                        out.push(answer(Answer::Unknown(format!("the store failed over this edit: {error}"))));
                        self.fail(error.to_string(), out);
                    }
                }
            }
            Err(Fault::Refused(refusal, reasons)) => out.push(answer(Answer::Refused(refusal, reasons))),
            Err(Fault::Store(error)) => {
                out.push(answer(Answer::Failed(format!("the permission set cannot be read: {error}"))));
                self.fail(error.to_string(), out);
            }
        }
    }

    fn judge_edit(&mut self, now: Now, request: EditRequest) -> Result<Judged, Fault> {
        let EditRequest { jti, operator, kind, id, body: mut after, .. } = request;
        let Some(meta) = self.held.as_ref().map(|_| self.table.meta()).transpose()?.flatten() else {
            return refused(Refusal::Conflict, "this node has no permission set yet that could be edited");
        };
        if !KNOWN_KINDS.contains(&kind.as_str()) {
            return refused(Refusal::Unsupported, format!("this version of latchd knows no records of kind {kind}"));
        }
        let seen = View::STORED.with_layer(&self.layer);
        let found = self.table.body(&kind, &id, seen)?.filter(|body| !is_departed(&kind, body));
        let damaged = |error: serde_json::Error| TableError::Damaged(format!("{kind}/{id}: {error}"));
        let before: Option<Body> = found.as_deref().map(serde_json::from_slice).transpose().map_err(damaged)?;
        if let Some(body) = &mut after {
            complete(&kind, body, &operator, now)?;
            if kind.as_str() == "operator" {
                unmask(body, before.as_ref().unwrap_or(&Body::new()));
            }
        }
        if let Some(made) = self.overlay.of_command(&jti) {
            // Made, and its word was lost with an earlier run.
            if (&made.operator, &made.kind, &made.id) == (&operator, &kind, &id) {
                return Ok(Judged::Nothing);
            }
            return refused(Refusal::Conflict, "another edit was made under this jti");
        }
        let wanted = after.as_ref().map(canonical).transpose();
        let Ok(wanted) = wanted else {
            return refused(Refusal::Malformed, format!("{kind}/{id}: the body cannot be written as JSON"));
        };
        if let Some(bytes) = wanted.as_ref().map(Vec::len).filter(|bytes| *bytes > BODY_BYTES_MAX) {
            let why = format!("{kind}/{id}: a body of {bytes} bytes is more than {BODY_BYTES_MAX}");
            return refused(Refusal::Malformed, why);
        }
        self.allow(now, &operator, (&kind, &id), found.as_deref(), wanted.as_deref())?;
        if found.is_none() && after.is_none() {
            return refused(Refusal::UnknownTarget, format!("there is no {kind} {id}"));
        }
        if wanted == found {
            return Ok(Judged::Nothing);
        }
        let revision = self.overlay.revision() + 1;
        let edit = Edit { revision, jti, operator, at: now.wall, kind, id, before, after };
        if !self.overlay.has_room_for(&edit) {
            let why = "the cloud has taken over too few of the edits made before: see `absorbs`";
            return refused(Refusal::Overloaded, why);
        }
        self.compile_edit(edit, &meta)
    }

    /// The operator may make a record of what it is into what it is to be.
    fn allow(
        &mut self,
        now: Now,
        operator: &Id,
        (kind, id): (&Id, &Id),
        found: Option<&[u8]>,
        wanted: Option<&[u8]>,
    ) -> Result<(), Fault> {
        self.look_up()?;
        let Some(directory) = &self.directory else { return Ok(()) };
        let old = found.map(|body| record(kind, id, body)).transpose()?.flatten();
        let new = match wanted.and_then(|body| understand(kind, body)).transpose() {
            Ok(new) => new,
            // Whether they may is asked of a body that can be read; who may nothing hears that first.
            Err(error) => {
                let nothing = RecordEdit { kind, id, old: old.as_ref(), new: None };
                self.judge_authority(now, directory, operator, &nothing)?.map_err(Fault::unauthorised)?;
                return refused(Refusal::Malformed, format!("{kind}/{id}: {error}"));
            }
        };
        let edit = RecordEdit { kind, id, old: old.as_ref(), new: new.as_ref() };
        self.judge_authority(now, directory, operator, &edit)?.map_err(Fault::unauthorised)
    }

    fn compile_edit(&self, edit: Edit, meta: &Meta) -> Result<Judged, Fault> {
        let key = key_of(&edit.kind, &edit.id);
        let stored = self.table.body(&edit.kind, &edit.id, View::STORED)?;
        let same = |other: &&Edit| (&other.kind, &other.id) == (&edit.kind, &edit.id);
        let edits = self.overlay.edits().filter(same).chain([&edit]);
        let mut changes = Layer::of(edits, |_, _| Ok(stored.clone()))?.changes;
        let result = changes.remove(&key).unwrap_or_else(|| stored.clone());
        let touched = Changes::from([(key.clone(), result.clone())]);
        match self.compile(View::changed(&self.layer).with_layer(&touched), meta)? {
            Ok(understood) => Ok(Judged::Ready(Box::new(Ready { edit, understood, record: (key, result), stored }))),
            // A body that is no record is the sender's fault; one that does not fit the others is not.
            Err(reasons) => {
                let own = format!("{}/{}: ", edit.kind, edit.id);
                let malformed = reasons.iter().any(|reason| reason.starts_with(&own));
                let refusal = if malformed { Refusal::Malformed } else { Refusal::Conflict };
                Err(Fault::Refused(refusal, reasons))
            }
        }
    }

    fn make_edit(&mut self, now: Now, ready: Ready, out: &mut Vec<MirrorOutput>) -> Result<(), TableError> {
        let Ready { edit, understood, record: (key, result), stored } = ready;
        let change = OverlayChange { revision: edit.revision, put: vec![edit], gone: Vec::new() };
        let durable = self.table.write_overlay(&change, self.overlay.version_after(&change))?;
        self.overlay.apply(&change);
        if result == stored {
            self.layer.remove(&key);
        } else {
            self.layer.insert(key.clone(), result);
        }
        self.update_directory([&key])?;
        let permissions = understood.permissions.clone();
        if let Some(held) = &mut self.held {
            held.understood = Some(understood);
        }
        self.overlay_to_copy(now, &change, out);
        self.do_chores(now, false, out);
        out.push(MirrorOutput::Edited(Edited::new(permissions, self.overlay.version(), &durable)));
        Ok(())
    }

    /// What is already in the store, for the second copy and the anchor.
    pub(super) fn overlay_to_copy(&mut self, now: Now, change: &OverlayChange, out: &mut Vec<MirrorOutput>) {
        self.anchor.overlay_revision = self.anchor.overlay_revision.max(change.revision);
        self.chores.anchor = true;
        for entry in change.entries() {
            if self.chores.rewrite {
                return;
            }
            self.append_to_copy(now, super::copy::LOG_OVERLAY, &entry, out);
        }
    }
}
