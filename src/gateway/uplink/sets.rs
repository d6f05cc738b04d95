//! What the mirror says, told to whom it concerns. Owns the events about sets and edits; must never judge a set.
//! Invariant: whatever is told of a set fits one batch of events, however much is wrong with it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Action, Uplink};
use crate::{
    domain::{
        event::{ConflictedEdit, EventBody},
        ids::Id,
        operator::Targets,
        permission::{Permissions, SetVersion},
        time::Now,
    },
    gateway::{
        desk::{Answer, Answered, Errand},
        mirror::{self, Applied, EditRequest, Edited, ListRequest, MirrorInput, MirrorOutput, Refused},
        opening,
        reports::Scope,
        session::{self, Entropy, SetMessage},
    },
    wire::{canonical::hex, command::CommandBody, edit::EditDone},
};

/// Of the reasons why a set was refused, in one event: within the bytes of one batch of events.
const REASONS_BYTES_MAX: usize = 24 * 1024;
const REASON_BYTES_MAX: usize = 1024;
/// Edits told of in one event: about 64 KiB.
const CONFLICTS_TOGETHER_MAX: usize = 48;

impl Uplink {
    pub(super) fn mirror(&mut self, now: Now, output: MirrorOutput, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        match output {
            MirrorOutput::Applied(Applied {
                version,
                permissions,
                records,
                unknown_kinds,
                absorbed,
                conflicts,
                overlay,
                issued_at,
                touched,
            }) => {
                self.set = version;
                let unknown_kinds = unknown_kinds.iter().map(ToString::to_string).collect();
                let digest = hex(&version.digest);
                // In one commit, and before anybody decides by this set: a start finds by the generation of the newest
                // event that the set was not told, and then tells all of it.
                let mut told = vec![EventBody::SetApplied { digest, records, unknown_kinds, absorbed }];
                told.extend(conflicted(conflicts));
                let mut commit = opening::commit(now, &self.set, told);
                commit.writes.extend(self.desk.handle_set(now, touched, issued_at));
                act(Action::Commit(commit));
                self.in_force(now, permissions, act);
                self.tell_session(now, session::Input::SetApplied(version), &mut *entropy, act);
                self.tell_session(now, session::Input::Overlay(overlay), entropy, act);
            }
            MirrorOutput::Edited(Edited { permissions, overlay }) => {
                self.in_force(now, permissions, act);
                self.tell_session(now, session::Input::Overlay(overlay), entropy, act);
            }
            MirrorOutput::Resumed { permissions, overlay, edits } => {
                self.in_force(now, permissions, act);
                self.tell_session(now, session::Input::Overlay(overlay), &mut *entropy, act);
                let step = self.desk.handle_edits(now, &edits);
                self.desk_step(now, step, entropy, act);
            }
            MirrorOutput::EditsLost { through } => self.record(now, EventBody::OverlayLost { through }, act),
            MirrorOutput::Answer { ticket, answer } => {
                let answer = Answer { ticket, at: now.wall, answered: answered(answer) };
                let step = self.desk.handle_answer(now, answer);
                self.desk_step(now, step, entropy, act);
            }
            MirrorOutput::Refused(Refused { offered, reasons, .. }) => {
                let (from_epoch, from_generation) = offered.unwrap_or_default();
                let reasons = bounded(reasons);
                self.record(now, EventBody::SetRefused { from_epoch, from_generation, reasons }, act);
            }
            MirrorOutput::RollbackRefused { detail } => {
                self.record(now, EventBody::SecurityRollbackRefused { detail }, act);
            }
            MirrorOutput::Request(wanted) => {
                let input = session::Input::SetWanted { want: wanted.want, chunks: wanted.chunks };
                self.tell_session(now, input, entropy, act);
            }
            MirrorOutput::Failed { detail } => {
                self.record(now, EventBody::StorageFailed { store: "mirror".to_owned(), detail }, act);
            }
            MirrorOutput::Restored { set_aside, notes } => {
                let store = "mirror".to_owned();
                if let Some((moved_to, detail)) = set_aside {
                    let body = EventBody::StorageSetAside { store: store.clone(), moved_to, detail };
                    self.record(now, body, act);
                }
                self.record(now, EventBody::StorageRestored { store }, act);
                notes.into_iter().for_each(|note| act(Action::Notice(note)));
            }
            MirrorOutput::CopyFailed { copy, detail } => {
                self.record(now, EventBody::StorageFailed { store: copy.as_str().to_owned(), detail }, act);
            }
            MirrorOutput::CopyRestored { copy } => {
                self.record(now, EventBody::StorageRestored { store: copy.as_str().to_owned() }, act);
            }
            // Staleness is the session's, which saw the same beat; what was late or repeated is nobody's business.
            MirrorOutput::Confirmed(_) | MirrorOutput::Ignored(_) => {}
        }
    }

    /// From now on decided, commanded and watched by this set.
    pub(super) fn in_force(&mut self, now: Now, permissions: Arc<Permissions>, act: &mut dyn FnMut(Action)) {
        act(Action::Permissions(permissions.clone()));
        self.session.live().handle_authority(|operator| {
            let may = permissions.authorise(operator, "live_events.subscribe", &Targets::default(), now);
            may.map(|()| Scope::of(&permissions, operator)).map_err(|(why, _)| why)
        });
        self.desk.handle_permissions(permissions);
    }
}

/// What an errand asks of the mirror; any other is given back.
pub(super) fn mirror_request(errand: Errand) -> Result<MirrorInput, Box<Errand>> {
    let edit = |errand: &Errand, kind: &str, id: &Id, body| {
        let Errand { ticket, operator, jti, .. } = errand.clone();
        let kind = Id::new(kind).ok()?;
        Some(MirrorInput::Edit(Box::new(EditRequest { ticket, jti, operator, kind, id: id.clone(), body })))
    };
    let request = match &errand.body {
        CommandBody::Put { kind, id, body: Value::Object(body) } => edit(&errand, kind, id, Some(body.clone())),
        CommandBody::Delete { kind, id } => edit(&errand, kind, id, None),
        CommandBody::List { kind, args } => Id::new(kind).ok().map(|kind| {
            let (ticket, operator, args) = (errand.ticket, errand.operator.clone(), args.clone());
            MirrorInput::List(Box::new(ListRequest { ticket, operator, kind, args }))
        }),
        _ => None,
    };
    request.ok_or_else(|| Box::new(errand))
}

/// What the mirror said, as it is published.
pub(super) fn answered(answer: mirror::Answer) -> Answered {
    let message = |text: String| json!({ "message": text });
    match answer {
        mirror::Answer::Edited(made) => Answered::Edited(made),
        mirror::Answer::Unchanged { revision } => Answered::Done(Some(json!({ "edit": EditDone { revision } }))),
        mirror::Answer::Listed(page) => Answered::Done(Some(json!({ "list": page }))),
        mirror::Answer::Refused(refusal, reasons) => {
            let reasons = bounded(reasons);
            let first = reasons.first().cloned().unwrap_or_default();
            let detail =
                if reasons.len() > 1 { json!({ "message": first, "reasons": reasons }) } else { message(first) };
            Answered::Refused(refusal, detail)
        }
        mirror::Answer::Failed(why) => Answered::Failed(message(why)),
        mirror::Answer::Unknown(why) => Answered::Unknown(message(why)),
    }
}

/// Edits that a set says otherwise than, in events that can be sent.
pub fn conflicted(edits: Vec<ConflictedEdit>) -> Vec<EventBody> {
    let mut rest = edits.into_iter().map(|mut edit| {
        cut(&mut edit.reason);
        edit
    });
    let mut events = Vec::new();
    loop {
        let edits: Vec<ConflictedEdit> = rest.by_ref().take(CONFLICTS_TOGETHER_MAX).collect();
        if edits.is_empty() {
            return events;
        }
        events.push(EventBody::OverlayConflicted { edits });
    }
}

fn cut(text: &mut String) {
    if text.len() > REASON_BYTES_MAX {
        text.truncate((0..=REASON_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
}

/// As many of a set's faults as fit into an event that can be sent; at the end, how many there are besides.
pub fn bounded(mut reasons: Vec<String>) -> Vec<String> {
    reasons.iter_mut().for_each(cut);
    let mut bytes = 0;
    let fits = |reason: &&String| {
        bytes += reason.len();
        bytes <= REASONS_BYTES_MAX
    };
    let kept = reasons.iter().take_while(fits).count();
    if kept < reasons.len() {
        let more = format!("and {} more", reasons.len() - kept);
        reasons.truncate(kept);
        reasons.push(more);
    }
    reasons
}

pub(super) fn set_input(message: SetMessage) -> MirrorInput {
    match message {
        SetMessage::Document { verified, compact } => MirrorInput::Document {
            payload: verified.payload().to_vec(),
            compact: Arc::from(String::from_utf8_lossy(&compact)),
        },
        SetMessage::Chunk { name, bytes } => MirrorInput::Chunk { name, bytes },
        SetMessage::Beat(beat) => {
            let version = SetVersion { epoch: beat.epoch, generation: beat.generation, digest: beat.digest };
            MirrorInput::Beat { iat: beat.iat.0, version }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_with_ten_thousand_faults_is_refused_in_an_event_that_can_be_sent() {
        let few = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(bounded(few.clone()), few);
        let reasons = bounded((0..10_000).map(|n| format!("credential/c-{n}: no person p-{n}")).collect());
        assert!(reasons.iter().map(String::len).sum::<usize>() < 25 * 1024);
        assert_eq!(reasons.last(), Some(&format!("and {} more", 10_000 - (reasons.len() - 1))));
        assert_eq!(bounded(vec!["ä".repeat(10_000)]), ["ä".repeat(512)]);
    }
}
