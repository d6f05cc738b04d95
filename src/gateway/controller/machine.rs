//! What stands beside the doors: one machine for each feature that is not a single door's (areas, auto open,
//! elevators, system events, …). Owns the vocabulary between them and the controller; must never let a
//! machine call another: they hear of each other only by what happened. Invariant: what a machine wants is in
//! its [`Deeds`], and the controller carries out all of them within the same step.

use super::{DoorSlot, Question, emergencies::Emergencies};
use crate::{
    domain::{
        cloud::CloudState,
        door::{DoorConfig, DoorInput, DoorStatus, PendingDelay},
        elevator::Ride,
        event::{AlarmSource, DenialReason, EventBody},
        fieldbus::{BusReport, CardRead},
        ids::{DoorIx, Id, InputRef, ReaderIx},
        indication::Indication,
        installer::Answer,
        kept::{Kept, KeptKey, PinOwner},
        order::{Order, Progress, Task},
        outputs::{Desired, Ticket},
        permission::Permissions,
        pin_lock::PinLocks,
        status::{Status, Thing},
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
    /// Wrong PINs, wherever they were typed.
    pub locks: &'a PinLocks,
    pub(super) emergencies: &'a Emergencies,
    /// Why whoever reads in a cab is refused, whatever their rules say: in the order of the floor groups.
    pub cabs_deny: &'a [Option<DenialReason>],
    /// How many consequences lie between the input and this: 0 for what the input itself says.
    pub depth: u8,
    pub(super) statuses: &'a [DoorStatus],
    pub(super) doors: &'a [DoorSlot],
}

impl View<'_> {
    pub fn door(&self, door: DoorIx) -> Option<&DoorStatus> {
        self.statuses.get(door.index())
    }

    pub fn door_id(&self, door: DoorIx) -> Option<&Id> {
        self.topology.door_id(door)
    }

    /// Why a credential is refused at this door, whatever its rules say.
    pub fn denies(&self, door: DoorIx, now: Mono) -> Option<DenialReason> {
        self.doors.get(door.index())?.door.denies(now)
    }

    pub fn door_config(&self, door: DoorIx) -> Option<&DoorConfig> {
        self.doors.get(door.index()).map(|slot| slot.door.config())
    }
}

/// What a machine is told.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// What was kept with [`Deed::KeepFirst`] under this key is durable.
    Durable(&'a KeptKey),
    /// Once, before anything else: what earlier runs kept.
    Start(&'a [Kept]),
    /// The view's permission set is new.
    Permissions,
    /// The view's cloud state is new.
    Cloud,
    /// Anything that became an event of this node's field, whoever caused it. What began in an earlier run, and
    /// is only told again because the node started, is not among them.
    Event(&'a EventBody),
    /// Something was presented at a reader: at a door, in a cab, at a cabinet.
    Read(&'a CardRead),
    /// Whoever stands at this reader is asked for what they lack.
    Asked(ReaderIx, DenialReason),
    /// The status of this door changed.
    Door(DoorIx),
    /// By this command what was delayed at this door before it is cancelled.
    Closed(DoorIx, &'static str),
    /// From a board, before the doors hear of it.
    Bus(&'a BusReport),
    /// An input that belongs to no door.
    Input(InputRef, bool),
    /// A lockdown of these elevators is set or cleared; each of them answers with [`Deed::FloorReport`].
    Lockdown {
        floor_groups: &'a [u16],
        order: &'a Order<bool>,
    },
    /// An order that is not for a door.
    Order(&'a Order<Task>),
    /// Something that `latchd io` asks.
    Installer(&'a Question),
    /// How far one of the node's own orders ([`Deed::Order`]) has got.
    Progress(Ticket, &'a Progress),
    /// In the cab of this elevator somebody was granted these floors.
    Ride(u16, &'a Ride),
    /// An alarm that is to stand until somebody acknowledges it.
    Alarm(&'a AlarmSource, Option<&'a str>),
    /// Wall time went another way than the time that deadlines count, or its trust changed: whatever was
    /// worked out from it is to be worked out anew.
    Clock,
    /// Time has passed; at the latest when the deadline has come.
    Timeout,
    /// All that followed from one input has been carried out: for what must be judged by the outcome, not by
    /// the way there. What is wanted now is carried out, and this is told again until nobody wants more.
    Settled,
    /// The loop ends and begins anew, and what stands beside the doors goes on there as it is: whatever only this loop
    /// remembers ends here.
    Pause,
    Stop,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Deed {
    Door(DoorIx, DoorInput),
    /// Floors for whoever was granted them in the cab of this elevator.
    Ride(u16, Ride),
    Event(EventBody),
    /// Somebody typed a PIN that is not right, or one that is.
    WrongPin(Box<WrongPin>),
    RightPin(PinOwner),
    /// An emergency card opens: it is counted, told, and raises an alarm.
    EmergencyUsed(EmergencyUse),
    /// Raises an alarm that stands until somebody acknowledges it.
    Alarm(AlarmSource, Option<String>),
    /// An order of the node itself, under a ticket of its own: what an operator may order, it may, and every
    /// rule for orders holds for it.
    Order(Order<Task>),
    Report(Ticket, Progress),
    /// The same, of one elevator, for an order may be about several.
    FloorReport {
        floor_group: u16,
        ticket: Ticket,
        progress: Progress,
        held: bool,
    },
    /// A report that waits until what is kept is durable.
    Held(Ticket, Progress),
    Keep(Kept),
    /// The same, for what must outlive a crash before anything follows from it: [`Happening::Durable`] says when.
    KeepFirst(Kept),
    Unkeep(KeptKey),
    /// However many: one deed.
    KeepAll(Vec<Kept>),
    UnkeepAll(Vec<KeptKey>),
    /// Its status changed.
    Changed(Thing),
    /// Whoever stands at this reader is asked for what they lack: told to all.
    Asked(ReaderIx, DenialReason),
    /// To the question of the installer with this number.
    Answer(u64, Answer),
}

/// Whose PIN was wrong, where, and what is allowed there.
#[derive(Debug)]
pub struct WrongPin {
    pub of: PinOwner,
    pub door: Option<Id>,
    pub floor_group: Option<Id>,
    pub cabinet: Option<Id>,
    pub reader: Option<Id>,
    /// In a row, until no more are taken for so long.
    pub tries: u32,
    pub lockout_s: u32,
}

/// Which emergency card opens what.
#[derive(Debug)]
pub struct EmergencyUse {
    pub emergency_card: Id,
    pub door: Option<Id>,
    pub floor_group: Option<Id>,
    pub reader: Id,
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

    /// What of it has a state of its own.
    fn things(&self) -> Vec<Thing> {
        Vec::new()
    }

    /// `None`: not this machine's, or there is no such thing any more.
    fn status(&self, _thing: &Thing) -> Option<Status> {
        None
    }

    /// Why whoever reads in a cab is refused: in the order of the floor groups, or nothing at all.
    fn cabs_deny(&self) -> Vec<Option<DenialReason>> {
        Vec::new()
    }

    /// What it has put off at this door.
    fn delays_at(&self, _door: &Id) -> Vec<PendingDelay> {
        Vec::new()
    }

    /// Its relays, complete.
    fn desired(&self, _now: Mono, _out: &mut Vec<Desired>) {}

    /// What each reader shows, and a number that is another one whenever it changed.
    fn indications(&self) -> Option<(&[Indication], u64)> {
        None
    }

    /// After [`Happening::Stop`]: its relays are where they are to stay.
    fn stopped(&self) -> bool {
        true
    }
}
