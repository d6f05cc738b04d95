//! What goes into the mirror and what comes out of it. Owns no behaviour beyond building a request.

use std::sync::Arc;

use super::overlay::{Body, OverlayVersion};
use crate::{
    domain::{
        event::{ConflictedEdit, EditMade, Refusal},
        ids::Id,
        outputs::Ticket,
        permission::{Permissions, SetVersion},
        time::Wall,
    },
    gateway::step::Durable,
    wire::{
        command::ListArgs,
        edit::ListPage,
        set::{Digest, SetRequest, Want},
    },
};

/// All signatures have been verified by the session, which hands over what was signed.
#[derive(Clone, Debug)]
pub enum MirrorInput {
    /// A key set came into force (also the one in force at start). Before any document verified by it.
    Keys {
        compact: Arc<str>,
        version: u64,
        epoch: u64,
    },
    /// A JWS of typ `latchd-set+jwt`: its payload and itself.
    Document {
        payload: Vec<u8>,
        compact: Arc<str>,
    },
    /// From `set/chunk/{name}`; not signed: the name in a signed manifest vouches for it.
    Chunk {
        name: Digest,
        bytes: Vec<u8>,
    },
    /// A beat that answers a nonce of ours.
    Beat {
        iat: Wall,
        version: SetVersion,
    },
    /// A command that edits one record. Its answer always comes.
    Edit(Box<EditRequest>),
    /// A command that lists records. Its answer always comes.
    List(Box<ListRequest>),
    LinkUp,
    LinkDown,
    /// Make a request now: the session wants a beat.
    Ask,
    /// [`next_deadline`](super::Mirror::next_deadline) has passed.
    Timeout,
}

#[derive(Clone, Debug)]
pub enum MirrorOutput {
    /// Durable, and from now on in force.
    Applied(Applied),
    /// An edit is durable, and from now on in force.
    Edited(Edited),
    /// To whoever asked.
    Answer {
        ticket: Ticket,
        answer: Answer,
    },
    /// The set in force stays. Told once for each document.
    Refused(Refused),
    /// Signed, but against what was seen before: an alarm.
    RollbackRefused {
        detail: String,
    },
    /// A beat says that what is held is what the cloud has: staleness starts anew.
    Confirmed(SetVersion),
    /// Nothing happened, and why.
    Ignored(Ignored),
    /// To be sent on `set/req`.
    Request(Wanted),
    /// The store failed: nothing more is applied until it is opened again. The set in force stays.
    Failed {
        detail: String,
    },
    /// The store is open again, after it had failed. A set newer than the one in force follows as `Applied`;
    /// whatever else was found, what is enforced stays. `set_aside`: where the damaged store lies now, and
    /// what was wrong with it. Said by the thread that opens the store.
    Restored {
        set_aside: Option<(String, String)>,
        notes: Vec<String>,
    },
    /// The store is open again, and holds more or fewer edits than were in force: the same set, with these.
    Resumed {
        permissions: Arc<Permissions>,
        overlay: OverlayVersion,
        edits: Vec<EditMade>,
    },
    /// Edits up to this revision were made and cannot all be found any more.
    EditsLost {
        through: u64,
    },
    /// A copy outside the store cannot be written (an alarm) or can be again.
    CopyFailed {
        copy: Copy,
        detail: String,
    },
    CopyRestored {
        copy: Copy,
    },
}

/// What is kept outside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The whole set and the anchor.
    Set,
    EmergencyCards,
}

impl Copy {
    /// As the events about storage name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Copy::Set => "second copy",
            Copy::EmergencyCards => "emergency cards",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Applied {
    pub version: SetVersion,
    pub permissions: Arc<Permissions>,
    pub records: u64,
    /// Kinds in the set that this version does not understand.
    pub unknown_kinds: Vec<Id>,
    /// Edits by command that the set has taken over or discarded.
    pub absorbed: u64,
    /// Edits that it left no room for.
    pub conflicts: Vec<ConflictedEdit>,
    pub overlay: OverlayVersion,
    /// When the cloud signed it.
    pub issued_at: Wall,
    /// The records that it changed, by kind and id; `None`: too many, or nobody knows which.
    pub touched: Option<Vec<(Id, Id)>>,
}

/// One record is to be as `body` says, or not to be.
#[derive(Clone, Debug, PartialEq)]
pub struct EditRequest {
    pub ticket: Ticket,
    pub jti: Id,
    pub operator: Id,
    pub kind: Id,
    pub id: Id,
    pub body: Option<Body>,
}

/// The set in force with one edit more.
#[derive(Clone, Debug)]
pub struct Edited {
    pub permissions: Arc<Permissions>,
    pub overlay: OverlayVersion,
}

impl MirrorInput {
    /// Who waits for an answer to this.
    pub fn asked(&self) -> Option<Ticket> {
        match self {
            MirrorInput::Edit(request) => Some(request.ticket),
            MirrorInput::List(request) => Some(request.ticket),
            _ => None,
        }
    }
}

impl Edited {
    /// The durable store vouches for what is handed out.
    pub(super) fn new(permissions: Arc<Permissions>, overlay: OverlayVersion, _: &Durable) -> Edited {
        Edited { permissions, overlay }
    }
}

/// Records of one kind, from a cursor on, as one operator may see them.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRequest {
    pub ticket: Ticket,
    pub operator: Id,
    pub kind: Id,
    pub args: ListArgs,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Edited(EditMade),
    /// The record is as it was asked to be; nothing had to be done.
    Unchanged {
        revision: u64,
    },
    Listed(ListPage),
    Refused(Refusal, Vec<String>),
    /// The store failed before anything was changed.
    Failed(String),
    /// The store failed over the change itself.
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What stays in force.
    pub held: SetVersion,
    /// (epoch, generation) of the document, where it could be read.
    pub offered: Option<(u64, u64)>,
    pub reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The set in force has it: a duplicate, or an older delta.
    AlreadyApplied,
    /// Older than what is held or being fetched, and signed before it: it was late.
    Superseded,
    /// Of an epoch that the key set has ended.
    OldEpoch,
    /// A delta that waits for the one before it.
    AheadOfTurn,
    /// The same bytes were refused before.
    AlreadyRefused,
    /// Nobody asked for this chunk (any more).
    UnrequestedChunk,
    /// The bytes do not hash to the name.
    BadChunk,
    /// The store has failed.
    Unavailable,
}

/// A request that still lacks its nonce, which the session draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub held: SetVersion,
    pub want: Want,
    pub chunks: Vec<Digest>,
}

impl Wanted {
    pub fn with_nonce(self, nonce: String) -> SetRequest {
        SetRequest {
            nonce,
            epoch: self.held.epoch,
            generation: self.held.generation,
            digest: Digest(self.held.digest),
            want: self.want,
            chunks: self.chunks,
        }
    }
}
