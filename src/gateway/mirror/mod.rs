//! The mirror: the node's copy of the permission set. Owns which set is in force, what is missing and how
//! it is got; must never hand out a set that is not durable, signed, whole and understood, and never one
//! that is older than what was seen before. Invariant: (epoch, generation) never goes back, whatever is
//! lost, repeated, reordered or damaged; the records always have the digest that the cloud signed.
//!
//! `judge` places what arrives against what is held, `staging` gathers a whole set chunk by chunk, `commit`
//! makes a change durable and then visible, `table` is the store's layout, `copy` and `recover` are the
//! second copy outside of it, `emergency_copy` the emergency cards beside both, `open` is the start. `edit` takes edits by command into the `overlay`, `merge`
//! lays each over the cloud's record, `settle` finds what of them stands over a new set, `list` shows records,
//! `authority` says to whom both are allowed.
//!
//! ```text
//!   delta, next in turn ──────────────► check digest ─► compile ─► store + sync ─► copy, anchor ─► Applied
//!   delta, ahead of its turn ─► kept, Request(update)      │           │
//!   manifest, newer ─► staging ⇄ Request(chunks) ──────────┘           └► failed: nothing until reopened
//!   older, duplicate ─► Ignored        same generation, other digest ─► RollbackRefused
//! ```
//!
//! A refused document is remembered by its bytes and told once; the next generation is then fetched whole.
//! After a failure of the store this machine does nothing more: the caller opens the store again and makes
//! a new one, which starts from what is durable.

mod attest;
mod authority;
mod commit;
mod copy;
mod edit;
mod emergency_copy;
mod gather;
mod judge;
mod list;
mod merge;
mod messages;
mod offline;
mod open;
mod overlay;
mod recover;
mod retry;
mod settle;
mod staging;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;

pub use attest::RootAttest;
pub use copy::{Anchor, Attest, AttestedKeys, CopyError, SecondCopy, Sink};
pub use emergency_copy::EmergencyMark;
pub use messages::{
    Answer, Applied, Copy, EditRequest, Edited, Ignored, ListRequest, MirrorInput, MirrorOutput, Refused, Wanted,
};
pub use offline::{CopyRead, open_without_store, read_copy};
pub use open::{MirrorOpened, OpenError, Source};
pub use overlay::{Body, EDITS_BYTES_MAX, EDITS_MAX, OverlayVersion};
pub use table::StoredKeys;

use self::{
    gather::Understood,
    overlay::Overlay,
    retry::Retry,
    staging::Staging,
    table::{Changes, Table},
};
use super::kv::Kv;
use crate::{
    domain::{
        event::Refusal,
        operator::Directory,
        outputs::Ticket,
        permission::SetVersion,
        time::{Mono, Now, Wall},
        topology::Topology,
    },
    wire::set::{Delta, Digest, Summary, Want},
};

/// Deltas ahead of their turn that are kept, and how large one may be.
const AHEAD_MAX: usize = 16;
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// Refused documents that are remembered.
const REFUSED_MAX: usize = 16;

/// Requests are repeated after two seconds at first, every half minute at last.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Every so many fruitless requests for chunks, a manifest is asked for instead: the cloud may have moved on.
const MANIFEST_EVERY: u32 = 4;

/// A failed second copy is tried again after this long at first and at last.
const CHORE_FIRST: Duration = Duration::from_secs(1);
const CHORE_MOST: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// This node, as `org/node`.
    pub audience: String,
    /// The site's, in the order of their indices.
    pub topology: Topology,
    pub zone: TimeZone,
    /// Spreads the retries of many nodes; any number that differs between nodes.
    pub seed: u64,
}

/// The set in the store.
struct Held {
    version: SetVersion,
    summary: Summary,
    /// `None`: this version does not understand it, and something else is in force.
    understood: Option<Understood>,
}

pub struct Mirror<K, C> {
    table: Table<K>,
    copy: C,
    attest: Arc<dyn Attest>,
    config: MirrorConfig,
    held: Option<Held>,
    /// Edits by command, as they are in the store.
    overlay: Overlay,
    /// What they make of the set held: of each record that is not as the set has it.
    layer: Changes,
    /// The records by which an edit's reach is told; made when the first edit or list asks for it.
    directory: Option<Directory>,
    /// Edits of which it was told that the set says otherwise.
    disputed: BTreeSet<u64>,
    /// The high-water mark; on the disk once `anchor_due` is false.
    anchor: Anchor,
    keys: Option<StoredKeys>,
    /// The highest (epoch, generation) that the cloud has spoken of.
    target: (u64, u64),
    /// Deltas do not help any more.
    manifest_needed: bool,
    staging: Option<Staging>,
    /// By the generation that they start from; all of the epoch held.
    ahead: BTreeMap<u64, (Delta, Arc<str>)>,
    refused_documents: VecDeque<Digest>,
    refused_version: Option<SetVersion>,
    link_up: bool,
    /// A request is to go out at the end of this step.
    urge: bool,
    retry: Retry,
    chores: Chores,
    chore_timer: Retry,
    copy_failed: bool,
    /// As their copy has them; `None`: it cannot be read, or failed to be written.
    emergency_cards: Option<emergency_copy::Cards>,
    /// Its last write failed.
    emergency_failed: bool,
    /// It was told that something is wrong with it.
    emergency_told: bool,
    failed: bool,
}

/// What is still to be done for the second copy and the anchor.
#[derive(Clone, Copy, Debug, Default)]
struct Chores {
    /// The base does not lead to the set in the store: nothing is appended before it is written anew.
    rewrite: bool,
    anchor: bool,
    /// Nobody has looked at the copy since the start. Can wait.
    verify: bool,
    /// The log has outgrown the base. Can wait.
    compact: bool,
    /// The copy of the emergency cards is not of those in force.
    emergency: bool,
}

impl Chores {
    fn of_set(self) -> bool {
        self.rewrite || self.anchor || self.verify || self.compact
    }

    fn any(self) -> bool {
        self.of_set() || self.emergency
    }
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    pub fn handle(&mut self, now: Now, input: MirrorInput) -> Vec<MirrorOutput> {
        let mut out = Vec::new();
        if self.failed {
            match input {
                MirrorInput::LinkUp => self.link_up = true,
                MirrorInput::LinkDown => self.link_up = false,
                MirrorInput::Ask | MirrorInput::Timeout => {}
                _ if input.asked().is_some() => out.extend(input.asked().map(unavailable)),
                _ => out.push(MirrorOutput::Ignored(Ignored::Unavailable)),
            }
            return out;
        }
        match input {
            MirrorInput::Keys { compact, version, epoch } => self.handle_keys(now, compact, version, epoch, &mut out),
            MirrorInput::Document { payload, compact } => self.handle_document(now, &payload, compact, &mut out),
            MirrorInput::Chunk { name, bytes } => self.handle_chunk(now, name, bytes, &mut out),
            MirrorInput::Beat { iat, version } => self.handle_beat(iat, version, &mut out),
            MirrorInput::Edit(request) => self.handle_edit(now, *request, &mut out),
            MirrorInput::List(request) => self.handle_list(now, *request, &mut out),
            MirrorInput::LinkUp => {
                self.link_up = true;
                self.retry.reset();
                self.urge = true;
            }
            MirrorInput::LinkDown => self.link_up = false,
            MirrorInput::Ask => self.urge = true,
            MirrorInput::Timeout => {}
        }
        if self.chore_timer.is_due(now.mono) && !self.failed {
            self.do_chores(now, true, &mut out);
        }
        self.request_if_due(now.mono, &mut out);
        out
    }

    /// When `Timeout` is to come, if nothing comes before.
    pub fn next_deadline(&self) -> Option<Mono> {
        let retry = self.retry.due().filter(|_| self.link_up);
        let deadlines = [retry, self.chore_timer.due()];
        deadlines.into_iter().flatten().min().filter(|_| !self.failed)
    }

    /// The store has failed: see [`MirrorOutput::Failed`].
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// What is held, in force or (after a change of version) not understood.
    pub fn version(&self) -> Option<SetVersion> {
        self.held.as_ref().map(|held| held.version)
    }

    /// How far the edits by command have got.
    pub fn overlay_version(&self) -> OverlayVersion {
        self.overlay.version()
    }

    pub fn link_is_up(&self) -> bool {
        self.link_up
    }

    fn mark(&self) -> Option<(u64, u64)> {
        self.held.as_ref().map(|held| (held.version.epoch, held.version.generation))
    }

    fn summary(&self) -> Summary {
        self.held.as_ref().map(|held| held.summary.clone()).unwrap_or_default()
    }

    fn held_version(&self) -> SetVersion {
        self.version().unwrap_or(SetVersion { epoch: 0, generation: 0, digest: Digest::of_nothing().0 })
    }

    /// What is missing; `None` if nothing is known to be.
    fn wanting(&self) -> Option<Want> {
        if self.staging.is_some() {
            return Some(Want::Chunks);
        }
        let refused = self.refused_version.map(|version| (version.epoch, version.generation));
        if refused.is_some_and(|refused| refused >= self.target) {
            return None;
        }
        let epoch = self.keys.as_ref()?.epoch;
        match self.mark() {
            None => Some(Want::Manifest),
            Some((held, _)) if held < epoch => Some(Want::Manifest),
            Some(held) if held < self.target => Some(if self.manifest_needed { Want::Manifest } else { Want::Update }),
            Some(_) => None,
        }
    }

    fn request_if_due(&mut self, now: Mono, out: &mut Vec<MirrorOutput>) {
        let urged = std::mem::take(&mut self.urge);
        if self.failed || !self.link_up {
            return;
        }
        let wanting = self.wanting();
        let due = match wanting {
            None => false,
            Some(_) => self.retry.due().is_none() || self.retry.is_due(now),
        };
        if wanting.is_none() {
            self.retry.reset();
        }
        if !urged && !due {
            return;
        }
        let mut want = wanting.unwrap_or(Want::Update);
        let tired = self.retry.attempt() % MANIFEST_EVERY == MANIFEST_EVERY - 1;
        if want == Want::Chunks && tired {
            want = Want::Manifest;
        }
        let summary = self.summary();
        let chunks = match (&mut self.staging, want) {
            (Some(staging), Want::Chunks) => staging.window(&summary),
            _ => Vec::new(),
        };
        out.push(MirrorOutput::Request(Wanted { held: self.held_version(), want, chunks }));
        if wanting.is_some() {
            self.retry.arm(now);
        }
    }

    fn fail(&mut self, detail: String, out: &mut Vec<MirrorOutput>) {
        self.failed = true;
        self.staging = None;
        self.ahead.clear();
        out.push(MirrorOutput::Failed { detail });
    }

    fn issued_at(&self) -> Wall {
        self.anchor.issued_at()
    }
}

/// What is said while the store is down.
pub fn unavailable(ticket: Ticket) -> MirrorOutput {
    overloaded(ticket, "the permission set's store has failed and is being opened again")
}

/// What is said when the mirror has no room for a request.
pub fn busy(ticket: Ticket) -> MirrorOutput {
    overloaded(ticket, "the permission set is busy: ask again")
}

fn overloaded(ticket: Ticket, why: &str) -> MirrorOutput {
    MirrorOutput::Answer { ticket, answer: Answer::Refused(Refusal::Overloaded, vec![why.to_owned()]) }
}
