//! What stands beside the doors: one machine for each feature that is not a single door's (areas, auto open,
//! elevators, system events, …). Owns the vocabulary between them and the controller; must never let a
//! machine call another: they hear of each other only by what happened. Invariant: what a machine wants is in
//! its [`Deeds`], and the controller carries out all of them within the same step.

use crate::{
    domain::{
        cloud::CloudState,
        door::{DoorInput, DoorStatus},
        event::EventBody,
        fieldbus::BusReport,
        ids::{DoorIx, Id, InputRef},
        kept::{Kept, KeptKey},
        order::{Order, Progress, Task},
        outputs::{Desired, Ticket},
        permission::Permissions,
        status::Thing,
        time::{Mono, Now},
        topology::Topology,
    },
    wire::token::CredentialKey,
};

/// What a machine may look at.
pub struct View<'a> {
    pub permissions: &'a Permissions,
    pub topology: &'a Topology,
    pub cloud: &'a CloudState,
    pub credential_key: &'a CredentialKey,
    pub(super) statuses: &'a [DoorStatus],
}

impl View<'_> {
    pub fn door(&self, door: DoorIx) -> Option<&DoorStatus> {
        self.statuses.get(door.index())
    }

    pub fn door_id(&self, door: DoorIx) -> Option<&Id> {
        self.topology.door_id(door)
    }
}

/// What a machine is told.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// Once, before anything else: what earlier runs kept.
    Start(&'a [Kept]),
    /// The view's permission set is new.
    Permissions,
    /// The view's cloud state is new.
    Cloud,
    /// Anything that became an event of this node's field, whoever caused it.
    Event(&'a EventBody),
    /// The status of this door changed.
    Door(DoorIx),
    /// From a board, before the doors hear of it.
    Bus(&'a BusReport),
    /// An input that belongs to no door.
    Input(InputRef, bool),
    /// An order that is not for a door.
    Order(&'a Order<Task>),
    /// Time has passed; at the latest when the deadline has come.
    Timeout,
    Stop,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Deed {
    Door(DoorIx, DoorInput),
    Event(EventBody),
    Report(Ticket, Progress),
    /// A report that waits until what is kept is durable.
    Held(Ticket, Progress),
    Keep(Kept),
    Unkeep(KeptKey),
    /// Its status changed.
    Changed(Thing),
}

#[derive(Debug, Default)]
pub struct Deeds(pub(super) Vec<Deed>);

impl Deeds {
    pub fn push(&mut self, deed: Deed) {
        self.0.push(deed);
    }

    pub fn event(&mut self, body: EventBody) {
        self.push(Deed::Event(body));
    }

    pub fn door(&mut self, door: DoorIx, input: DoorInput) {
        self.push(Deed::Door(door, input));
    }
}

/// One feature.
pub trait Machine: std::fmt::Debug {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds);

    fn next_deadline(&self) -> Option<Mono> {
        None
    }

    /// Its relays, complete.
    fn desired(&self, _now: Mono, _out: &mut Vec<Desired>) {}

    /// After [`Happening::Stop`]: its relays are where they are to stay.
    fn stopped(&self) -> bool {
        true
    }
}
