//! The state machine of one door. Owns everything that is true of a door at an instant and how each
//! input changes it; must never tell a relay anything (that follows from the state, see `outputs`),
//! read a clock, or judge a person. Invariant: after each input the mode is what the precedence table
//! says of the causes that hold, and a mode that changed has exactly one event.

use super::{
    ContactState, DoorConfig, DoorStatus, DurableDoor, FireReset, HeldBy, Hold, Mode, StartPolicy, StopPolicy,
    alarm::{Alarms, Allowance},
    input::{DoorInput, Effects, Force, Override},
    orders::{Motion, OPEN_GRACE, Orders, Passage, Watch},
    outputs::Lock,
    precedence::{Cause, Causes},
    sense::Exit,
};
use crate::domain::{
    event::{Actor, DenialReason, EventBody},
    outputs::{Level, Ticket},
    time::{Mono, Now, Wall},
    timers::{TimerName, Timers},
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Grant,
    Rex,
    Orders,
    Watch,
    PropWarning,
    Propped,
}

impl TimerName for Timer {
    fn slot(self) -> usize {
        self as usize
    }
}

pub(super) type DoorTimers = Timers<Timer, 6>;

/// A momentary unlocking that has begun.
#[derive(Debug)]
pub(super) struct Momentary {
    pub until: Mono,
    pub extended: bool,
    pub passage: Passage,
}

/// The ruling cause's consequences, or those of the stop policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling {
    pub mode: Mode,
    pub unlocks: bool,
    pub masks: bool,
}

impl Ruling {
    pub fn of(causes: Causes) -> Ruling {
        let locked = Ruling { mode: Mode::Locked, unlocks: false, masks: false };
        causes.ruling().map_or(locked, |row| Ruling { mode: row.mode, unlocks: row.unlocks, masks: row.masks })
    }
}

/// One door. Its modes and what leads to them (the higher causes of the precedence table cover the
/// lower ones without ending them; fire, lockdown, force, DND and interlock can cover any of these):
///
/// ```text
///             grant, door.open_and_close, REX
///   Locked --------------------------------------> Accessed
///     ^ ^ <-- dwell over, relock, door.close ---------+
///     | |
///     | +-- door.close, auto open ends ------------- Unlocked <--- door.open, auto open (from any)
///     |
///     +-- all of them ended -- Blocked, LockedDown, LockedOpen
/// ```
#[derive(Debug)]
pub struct Door {
    pub(super) config: DoorConfig,
    pub(super) fire: bool,
    pub(super) exit: Exit,
    pub(super) interlock: bool,
    pub(super) auto_open: bool,
    pub(super) momentary: Option<Momentary>,
    pub(super) durable: DurableDoor,
    pub(super) orders: Orders,
    pub(super) lock: Lock,
    pub(super) contact: ContactState,
    /// The last contact state that was seen, through the loss of its board.
    pub(super) contact_seen: ContactState,
    pub(super) alarms: Alarms,
    pub(super) timers: DoorTimers,
    pub(super) stopping: bool,
    pub(super) mode: Mode,
    pub(super) since: Wall,
    pub(super) unlocked: bool,
    /// Why every credential is refused, as it was when the causes were last looked at.
    denying: Option<DenialReason>,
    /// Until when an opening still counts as by right although the lock has fallen.
    pub(super) grace_until: Mono,
}

impl Door {
    /// The door as it is before anything is known of the world: as the start policy says, at once and
    /// without a pulse.
    pub fn new(config: DoorConfig, mut restored: DurableDoor, now: Now) -> (Door, Effects) {
        let mut out = Effects::none(config.id.clone());
        let stopped_as = restored.stopped_as.take();
        let before = Door::rest(&restored);
        let mut door = Door {
            config,
            fire: false,
            exit: Exit::default(),
            interlock: false,
            auto_open: false,
            momentary: None,
            durable: restored,
            orders: Orders::default(),
            lock: Lock::unknown(),
            contact: ContactState::Unknown,
            contact_seen: ContactState::Unknown,
            alarms: Alarms::none(),
            timers: DoorTimers::default(),
            stopping: false,
            mode: stopped_as.unwrap_or(before.mode),
            since: now.wall,
            unlocked: before.unlocks,
            denying: None,
            grace_until: Mono::ZERO,
        };
        if stopped_as.is_some() {
            out.durable = Some(door.durable.clone());
        }
        if door.config.at_start == StartPolicy::Lock || door.config.momentary_only {
            door.forget_openings(&mut out);
        }
        // A door that is no longer configured for fire, or resets by itself now, has nothing to wait for.
        let manual = door.config.fire.is_some_and(|fire| fire.reset == FireReset::Manual);
        if !manual && std::mem::take(&mut door.durable.fire_latched) {
            out.durable = Some(door.durable.clone());
        }
        door.settle(now, Actor::Node, &mut out);
        (door, out)
    }

    /// What held when the last run ended, as far as it was durable.
    fn rest(restored: &DurableDoor) -> Ruling {
        let forced = |state| restored.force.as_ref().is_some_and(|force| force.state == state);
        let causes = Causes::default()
            .with(Cause::Fire, restored.fire_latched)
            .with(Cause::Lockdown, restored.lockdown.is_some())
            .with(Cause::ForceOpen, forced(Force::Open))
            .with(Cause::ForceClosed, forced(Force::Closed))
            .with(Cause::Dnd, restored.dnd.is_some())
            .with(Cause::Manual, restored.manual_open.is_some());
        Ruling::of(causes)
    }

    /// Everything that opens; what secures stays.
    fn forget_openings(&mut self, out: &mut Effects) {
        let open = self.durable.manual_open.take().is_some();
        let forced = self.durable.force.take_if(|force| force.state == Force::Open).is_some();
        if open || forced {
            self.unlocked = false;
            out.durable = Some(self.durable.clone());
        }
    }

    pub fn handle(&mut self, now: Now, input: DoorInput) -> Effects {
        let mut out = Effects::none(self.config.id.clone());
        self.advance(now, &mut out);
        let actor = match input {
            DoorInput::Contact(contact) => self.see_contact(now.mono, contact, &mut out),
            DoorInput::Rex(active) => self.press_exit(now.mono, active, &mut out),
            DoorInput::Fire(active) => self.sense_fire(active, &mut out),
            DoorInput::LockBoard(up) => {
                self.lock.board(up);
                Actor::Door
            }
            DoorInput::Lock { level, order } => self.read_back(now, level, order, &mut out),
            DoorInput::LockMismatch(level) => {
                self.lock.read_back(level == self.config.unlocked_level);
                self.lock.mismatch(self.unlocked, &mut out);
                Actor::Door
            }
            DoorInput::Order(order) => self.order(now, order, &mut out),
            DoorInput::OrderEnded { ticket, end } => {
                if let Some(pending) = self.orders.take_ended(ticket) {
                    out.report(ticket, pending.unfinished(end));
                }
                Actor::Door
            }
            DoorInput::Grant(grant) => self.admit(now.mono, grant.actor, grant.extended),
            DoorInput::Override(change, actor) => {
                self.override_with(change);
                actor
            }
            DoorInput::Boundary { at, actor } => {
                self.pass_boundary(now.wall, at, &mut out);
                actor
            }
            DoorInput::Timeout => Actor::Door,
            DoorInput::Stop => self.stop(&mut out),
            DoorInput::Pause => {
                self.config.at_stop = StopPolicy::Keep;
                self.stop(&mut out)
            }
        };
        self.settle(now, actor, &mut out);
        self.note_stop(&mut out);
        out
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Why a credential is refused here, whatever its rules say.
    pub fn denies(&self, now: Mono) -> Option<DenialReason> {
        self.causes(now).rows().find_map(|row| row.denies)
    }

    /// After [`DoorInput::Stop`]: the board has confirmed the safe state.
    pub fn stopped(&self) -> bool {
        self.stopping && self.is_settled()
    }

    pub fn status(&self) -> DoorStatus {
        DoorStatus {
            door: self.config.id.clone(),
            mode: self.mode,
            contact: self.contact,
            lock: self.lock.state,
            alarm: self.alarms.standing(),
            alarm_acknowledged: self.alarms.acknowledged(),
            denies: self.denying,
            since: self.since,
            delays: Vec::new(),
        }
    }

    pub fn config(&self) -> &DoorConfig {
        &self.config
    }

    // ---- what follows from the state ----

    pub(super) fn causes(&self, at: Mono) -> Causes {
        let momentary = self.grant_ends().is_some_and(|until| at < until);
        let force = self.force();
        let opens = self.durable.manual_open.is_some() || self.orders.motions().any(|motion| motion == Motion::Open);
        Causes::default()
            .with(Cause::Fire, self.fire || self.durable.fire_latched)
            .with(Cause::Rex, self.exit.holds(at) && self.config.rex.is_some_and(|rex| rex.releases))
            .with(Cause::Interlock, self.interlock)
            .with(Cause::Lockdown, self.is_held(Hold::Lockdown))
            .with(Cause::ForceOpen, force == Some(Force::Open))
            .with(Cause::ForceClosed, force == Some(Force::Closed))
            .with(Cause::Dnd, self.is_held(Hold::Dnd))
            .with(Cause::Manual, opens)
            .with(Cause::AutoOpen, self.auto_open && self.durable.manual_close.is_none() && !self.config.momentary_only)
            .with(Cause::Grant, momentary)
    }

    /// A release that waits for its confirmation counts already.
    pub(super) fn is_held(&self, hold: Hold) -> bool {
        let held = match hold {
            Hold::Lockdown => self.durable.lockdown.is_some(),
            Hold::Force => self.durable.force.is_some(),
            Hold::Dnd => self.durable.dnd.is_some(),
        };
        held && !self.orders.motions().any(|motion| motion == Motion::Release { hold, opens: true })
    }

    /// So does a force open.
    pub(super) fn force(&self) -> Option<Force> {
        if self.orders.motions().any(|motion| motion == Motion::ForceOpen) {
            return Some(Force::Open);
        }
        self.durable.force.as_ref().filter(|_| self.is_held(Hold::Force)).map(|force| force.state)
    }

    pub(super) fn ruling(&self, at: Mono) -> Ruling {
        let causes = self.causes(at);
        let causes = match (self.stopping, self.config.at_stop) {
            (false, _) | (true, StopPolicy::Keep) => causes,
            (true, StopPolicy::Lock) => causes.only_safety_and_secured(),
            (true, StopPolicy::Unlock) => causes.only_safety_and_secured().with(Cause::Manual, true),
        };
        Ruling::of(causes)
    }

    /// The instants at which causes end by themselves.
    pub(super) fn ends(&self) -> [Option<Mono>; 2] {
        [self.grant_ends(), self.exit.until.filter(|_| !self.exit.active)]
    }

    fn grant_ends(&self) -> Option<Mono> {
        self.momentary.as_ref().map(|momentary| momentary.until).max(self.orders.momentary_until())
    }

    // ---- time ----

    /// Ends what is over at `now`.
    fn advance(&mut self, now: Now, out: &mut Effects) {
        let over = |until: Mono| until <= now.mono;
        self.momentary.take_if(|momentary| over(momentary.until));
        self.exit.until.take_if(|until| over(*until));
        self.orders.advance(now.mono, out);
        self.orders.missed(now.mono, self.contact != ContactState::Unknown, out);
        self.settle(now, Actor::Door, out);
        self.alarms.advance(now.mono, &mut self.timers, out);
    }

    /// Draws the consequences of the causes that hold now: the mode, the masks, the timers.
    fn settle(&mut self, now: Now, actor: Actor, out: &mut Effects) {
        self.drop_overruled(now.mono, out);
        let ruling = self.settle_releases(now.mono, out);
        if self.unlocked && !ruling.unlocks {
            self.grace_until = now.mono + OPEN_GRACE;
        }
        self.unlocked = ruling.unlocks;
        self.denying = self.denies(now.mono);
        self.lock.settle(ruling.unlocks, out);
        let (door, hold) = (out.door(), out.hold.take());
        if ruling.mode != self.mode {
            out.event(EventBody::DoorModeChanged { door, from: self.mode, to: ruling.mode, actor });
            self.mode = ruling.mode;
            self.since = now.wall;
        } else if let Some((hold, held)) = hold {
            out.event(EventBody::DoorHoldChanged { door, hold, held, actor });
        }
        let open = (self.contact == ContactState::Open).then(|| Allowance::from(now.mono, &self.config, false));
        self.alarms.mask(ruling.masks, open, &mut self.timers, out);
        self.orders.tell(ruling.unlocks);
        self.orders.advance_in_state(now.mono, out);
        let [grant, exit] = self.ends().map(|end| end.filter(|end| *end > now.mono));
        self.timers.set(Timer::Grant, grant);
        self.timers.set(Timer::Rex, exit);
        self.timers.set(Timer::Orders, self.orders.next_end());
        self.timers.set(Timer::Watch, self.orders.next_watch());
    }

    // ---- inputs ----

    fn read_back(&mut self, now: Now, level: Level, order: Option<Ticket>, out: &mut Effects) -> Actor {
        let unlocked = level == self.config.unlocked_level;
        self.lock.read_back(unlocked);
        if let Some(pending) = order.and_then(|ticket| self.orders.take_confirmed(ticket, unlocked)) {
            self.actuated(now, pending, out);
        }
        Actor::Door
    }

    fn admit(&mut self, now: Mono, actor: Actor, extended: bool) -> Actor {
        if self.stopping {
            return actor;
        }
        let dwell = if extended { self.config.dwell_extended } else { self.config.dwell };
        self.unlock_until(now + dwell, extended);
        if self.contact == ContactState::Closed {
            self.orders.watch(Watch { order: None, actor: actor.clone(), until: now + dwell + OPEN_GRACE });
        }
        actor
    }

    /// A second unlocking never shortens the first, and one who needs more time keeps it.
    pub(super) fn unlock_until(&mut self, until: Mono, extended: bool) {
        let before = self.momentary.take();
        let (earlier, was_extended) = before.map_or((Mono::ZERO, false), |m| (m.until, m.extended));
        self.momentary = Some(Momentary {
            until: until.max(earlier),
            extended: extended || was_extended,
            passage: Passage::default(),
        });
    }

    fn override_with(&mut self, change: Override) {
        match change {
            Override::Interlock(on) => self.interlock = on,
            // While the node stops nothing begins to unlock; the next run is told of it again.
            Override::AutoOpen(on) => self.auto_open = on && (self.auto_open || !self.stopping),
        }
    }

    /// What lies in the future is from before the clock was put back.
    fn pass_boundary(&mut self, now: Wall, at: Wall, out: &mut Effects) {
        let over = |held: &mut HeldBy| held.since < at || held.since > now;
        let opened = self.durable.manual_open.take_if(over).is_some();
        let closed = self.durable.manual_close.take_if(over).is_some();
        if opened || closed {
            out.durable = Some(self.durable.clone());
        }
    }

    /// A stop that locks or unlocks is undone by the next start.
    fn note_stop(&mut self, out: &mut Effects) {
        let changes = self.stopping && self.config.at_stop != StopPolicy::Keep;
        let stopped_as = Some(self.mode).filter(|mode| changes && *mode != Door::rest(&self.durable).mode);
        if std::mem::replace(&mut self.durable.stopped_as, stopped_as) != stopped_as {
            out.durable = Some(self.durable.clone());
        }
    }

    fn stop(&mut self, out: &mut Effects) -> Actor {
        self.stopping = true;
        self.momentary = None;
        self.orders.fail_those(|motion| !motion.unlocks(), "the node stops before it was confirmed", out);
        self.orders.cancel(|_| true, out);
        self.orders.missed(Mono::MAX, false, out);
        Actor::Node
    }
}
