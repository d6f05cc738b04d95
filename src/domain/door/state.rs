//! The state machine of one door. Owns everything that is true of a door at an instant and how each
//! input changes it; must never tell a relay anything (that follows from the state, see `outputs`),
//! read a clock, or judge a person. Invariant: after each input the mode is what the precedence table
//! says of the causes that hold, and a mode that changed has exactly one event.

use super::{
    ContactState, DoorConfig, DoorStatus, DurableDoor, Mode, StartPolicy, StopPolicy,
    alarm::{Alarms, Allowance},
    input::{DoorInput, Effects, Force, Grant, Override},
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

const LOCKED: Ruling = Ruling { mode: Mode::Locked, unlocks: false, masks: false };

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
    pub(super) lockdown: bool,
    pub(super) force: Option<Force>,
    pub(super) dnd: bool,
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
    /// Until when an opening still counts as by right although the lock has fallen.
    pub(super) grace_until: Mono,
}

impl Door {
    /// The door as it is before anything is known of the world: as the start policy says, at once and
    /// without a pulse.
    pub fn new(config: DoorConfig, restored: DurableDoor, now: Now) -> (Door, Effects) {
        let mut out = Effects::none(config.id.clone());
        let before = if restored.manual_open.is_some() { Mode::Unlocked } else { Mode::Locked };
        let mut door = Door {
            config,
            fire: false,
            exit: Exit::default(),
            interlock: false,
            lockdown: false,
            force: None,
            dnd: false,
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
            mode: before,
            since: now.wall,
            unlocked: before == Mode::Unlocked,
            grace_until: Mono::ZERO,
        };
        match door.config.at_start {
            StartPolicy::Restore => {}
            StartPolicy::Lock => {
                door.unlocked = false;
                if door.durable.manual_open.take().is_some() {
                    out.durable = Some(door.durable.clone());
                }
            }
        }
        door.settle(now, Actor::Node, &mut out);
        (door, out)
    }

    pub fn handle(&mut self, now: Now, input: DoorInput) -> Effects {
        let mut out = Effects::none(self.config.id.clone());
        self.advance(now, &mut out);
        let actor = match input {
            DoorInput::Contact(contact) => self.see_contact(now.mono, contact, &mut out),
            DoorInput::Rex(active) => self.press_exit(now.mono, active, &mut out),
            DoorInput::Fire(active) => {
                self.fire = active;
                Actor::Fire
            }
            DoorInput::LockBoard(up) => {
                self.lock.board(up);
                Actor::Door
            }
            DoorInput::Lock { level, order } => self.read_back(now.mono, level, order, &mut out),
            DoorInput::LockMismatch(level) => {
                self.lock.read_back(level == self.config.unlocked_level);
                self.lock.mismatch(self.unlocked, &mut out);
                Actor::Door
            }
            DoorInput::Order(order) => self.order(now, order, &mut out),
            DoorInput::OrderEnded { ticket, end } => {
                if let Some(pending) = self.orders.take(ticket) {
                    out.report(ticket, pending.unfinished(end));
                }
                Actor::Door
            }
            DoorInput::Grant(grant) => self.grant(now.mono, grant),
            DoorInput::Override(change, actor) => {
                self.override_with(change);
                actor
            }
            DoorInput::Timeout => Actor::Door,
            DoorInput::Stop => self.stop(&mut out),
        };
        self.settle(now, actor, &mut out);
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
            since: self.since,
        }
    }

    pub fn config(&self) -> &DoorConfig {
        &self.config
    }

    // ---- what follows from the state ----

    pub(super) fn causes(&self, at: Mono) -> Causes {
        let momentary = self.grant_ends().is_some_and(|until| at < until);
        Causes::default()
            .with(Cause::Fire, self.fire)
            .with(Cause::Rex, self.exit.holds(at) && self.config.rex.is_some_and(|rex| rex.releases))
            .with(Cause::Interlock, self.interlock)
            .with(Cause::Lockdown, self.lockdown)
            .with(Cause::ForceOpen, self.force == Some(Force::Open))
            .with(Cause::ForceClosed, self.force == Some(Force::Closed))
            .with(Cause::Dnd, self.dnd)
            .with(Cause::Manual, self.durable.manual_open.is_some() || self.orders.opens_issued_at().is_some())
            .with(Cause::AutoOpen, self.auto_open)
            .with(Cause::Grant, momentary)
    }

    pub(super) fn ruling(&self, at: Mono) -> Ruling {
        let causes = self.causes(at);
        let causes = match (self.stopping, self.config.at_stop) {
            (false, _) | (true, StopPolicy::Keep) => causes,
            (true, StopPolicy::Lock) => causes.only_safety(),
            (true, StopPolicy::Unlock) => causes.only_safety().with(Cause::Manual, true),
        };
        causes.ruling().map_or(LOCKED, |row| Ruling { mode: row.mode, unlocks: row.unlocks, masks: row.masks })
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
        let overruled = [Motion::Open, Motion::Close].map(|motion| self.overruling(motion, now.mono).is_some());
        self.orders.cancel(|motion| if motion.unlocks() { overruled[0] } else { overruled[1] }, out);
        let ruling = self.ruling(now.mono);
        if self.unlocked && !ruling.unlocks {
            self.grace_until = now.mono + OPEN_GRACE;
        }
        self.unlocked = ruling.unlocks;
        self.lock.settle(ruling.unlocks, out);
        if ruling.mode != self.mode {
            out.event(EventBody::DoorModeChanged { door: out.door(), from: self.mode, to: ruling.mode, actor });
            self.mode = ruling.mode;
            self.since = now.wall;
        }
        let open = (self.contact == ContactState::Open).then(|| Allowance::from(now.mono, &self.config, false));
        self.alarms.mask(ruling.masks, open, &mut self.timers, out);
        self.orders.tell(ruling.unlocks);
        let [grant, exit] = self.ends().map(|end| end.filter(|end| *end > now.mono));
        self.timers.set(Timer::Grant, grant);
        self.timers.set(Timer::Rex, exit);
        self.timers.set(Timer::Orders, self.orders.next_end());
        self.timers.set(Timer::Watch, self.orders.next_watch());
    }

    // ---- inputs ----

    fn read_back(&mut self, now: Mono, level: Level, order: Option<Ticket>, out: &mut Effects) -> Actor {
        let unlocked = level == self.config.unlocked_level;
        self.lock.read_back(unlocked);
        if let Some(pending) = order.and_then(|ticket| self.orders.take_confirmed(ticket, unlocked)) {
            self.actuated(now, pending, out);
        }
        Actor::Door
    }

    fn grant(&mut self, now: Mono, grant: Grant) -> Actor {
        let actor = grant.actor;
        if self.stopping {
            return actor;
        }
        let dwell = if grant.extended { self.config.dwell_extended } else { self.config.dwell };
        self.unlock_until(now + dwell, grant.extended);
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
            Override::Lockdown(on) => self.lockdown = on,
            Override::Force(force) => self.force = force,
            Override::Dnd(on) => self.dnd = on,
            Override::AutoOpen(on) => self.auto_open = on,
        }
    }

    fn stop(&mut self, out: &mut Effects) -> Actor {
        self.stopping = true;
        self.momentary = None;
        self.orders.cancel(|_| true, out);
        self.orders.missed(Mono::MAX, false, out);
        Actor::Node
    }
}
