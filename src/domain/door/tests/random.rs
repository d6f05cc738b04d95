//! Anything in any order, at any time: what must hold after every single input.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MOMENTARY: DoorAction = DoorAction::OpenAndClose { dwell: Some(Duration::from_millis(1_000)) };

#[derive(Clone, Debug, PartialEq)]
enum Act {
    Contact(ContactState),
    Rex(bool),
    Fire(bool),
    Board(bool),
    Grant(bool),
    Set(Override),
    Order(DoorAction, u16),
    Boundary,
    /// A crash: the next run begins with what was durable.
    Restart,
    Confirm,
    Lie(bool),
    End(u8),
    Stop,
    Jump(u32),
    WakeUp,
}

fn act() -> impl Strategy<Value = Act> {
    let contact = prop_oneof![Just(ContactState::Open), Just(ContactState::Closed), Just(ContactState::Unknown)];
    let change = prop_oneof![any::<bool>().prop_map(Override::Interlock), any::<bool>().prop_map(Override::AutoOpen)];
    let mode = prop_oneof![Just(Mode::Locked), Just(Mode::Blocked), Just(Mode::LockedOpen), Just(Mode::LockedDown)];
    let action = prop_oneof![
        2 => Just(DoorAction::Open),
        2 => Just(DoorAction::Close),
        2 => Just(MOMENTARY),
        1 => Just(DoorAction::Report),
        2 => prop_oneof![Just(Switch::On), Just(Switch::Off)].prop_map(DoorAction::Dnd),
        1 => mode.clone().prop_map(|expect| DoorAction::Dnd(Switch::Toggle { expect })),
        2 => prop_oneof![Just(ForceState::Open), Just(ForceState::Closed), Just(ForceState::Released)]
            .prop_map(DoorAction::Force),
        1 => mode.prop_map(|expect| DoorAction::ForceToggle { expect }),
        2 => any::<bool>().prop_map(DoorAction::Lockdown),
        1 => Just(DoorAction::AcknowledgeAlarm),
        1 => prop_oneof![Just(DelayAction::Open), Just(DelayAction::Close)].prop_map(DoorAction::Delayed),
        1 => Just(DoorAction::Admit(DelayAction::Open)),
    ];
    prop_oneof![
        3 => contact.prop_map(Act::Contact),
        2 => any::<bool>().prop_map(Act::Rex),
        1 => any::<bool>().prop_map(Act::Fire),
        1 => prop::bool::weighted(0.8).prop_map(Act::Board),
        2 => any::<bool>().prop_map(Act::Grant),
        2 => change.prop_map(Act::Set),
        7 => (action, 0..20_000u16).prop_map(|(action, deadline)| Act::Order(action, deadline)),
        1 => Just(Act::Boundary),
        1 => Just(Act::Restart),
        4 => Just(Act::Confirm),
        1 => any::<bool>().prop_map(Act::Lie),
        2 => (0..3u8).prop_map(Act::End),
        3 => (0..20_000u32).prop_map(Act::Jump),
        3 => Just(Act::WakeUp),
        1 => Just(Act::Stop),
    ]
}

fn perform(bench: &mut Bench, act: &Act) {
    match act {
        Act::Contact(state) => bench.tell(DoorInput::Contact(*state)),
        Act::Rex(active) => bench.tell(DoorInput::Rex(*active)),
        Act::Fire(active) => bench.tell(DoorInput::Fire(*active)),
        Act::Board(up) => bench.tell(DoorInput::LockBoard(*up)),
        Act::Grant(extended) => bench.tell(if *extended { extended_grant() } else { grant() }),
        Act::Set(change) => bench.set(*change),
        Act::Order(action, deadline) => {
            // Some arrive out of the order in which they were issued.
            let issued_at = bench.now.wall.saturating_sub(Duration::from_millis(u64::from(*deadline % 3)));
            bench.order_issued(*action, issued_at, u64::from(*deadline));
            bench
        }
        Act::Boundary => {
            let at = bench.now.wall.saturating_sub(Duration::from_millis(1));
            bench.tell(DoorInput::Boundary { at, actor: Actor::Node })
        }
        Act::Restart => bench.crash(),
        Act::Confirm => bench.confirm(),
        Act::Lie(energised) => {
            bench.tell(DoorInput::Lock { level: Level::from_energised(*energised), order: Some(Ticket(1)) })
        }
        Act::End(how) => {
            let Some((ticket, _)) = bench.desired().order else { return };
            let end = match how {
                0 => OrderEnd::Expired,
                1 => OrderEnd::Failed("exception".to_owned()),
                _ => OrderEnd::Unknown("silence".to_owned()),
            };
            bench.tell(DoorInput::OrderEnded { ticket, end })
        }
        Act::Stop => bench.tell(DoorInput::Stop),
        Act::Jump(millis) => {
            // Past deadlines without being woken: a door loop that was late.
            let to = bench.now.mono + Duration::from_millis(u64::from(*millis));
            bench.jump(to);
            bench.tell(DoorInput::Timeout)
        }
        Act::WakeUp => {
            if let Some(at) = bench.door.next_deadline() {
                bench.jump(at);
                bench.tell(DoorInput::Timeout);
            }
            bench
        }
    };
}

/// What the world knows of the door without asking it.
#[derive(Default)]
struct World {
    fire: bool,
    rex: bool,
    /// Until when something momentary may hold the strike.
    momentary_until: Mono,
    mode: Option<Mode>,
    /// Orders up to this one were cut off by a crash.
    orders_lost: u64,
}

impl World {
    fn note(&mut self, bench: &Bench, act: &Act) {
        let longest = |millis: u64| bench.now.mono + Duration::from_millis(millis);
        match act {
            Act::Fire(active) => self.fire = *active,
            Act::Restart => *self = World { mode: Some(bench.mode()), orders_lost: bench.tickets, ..World::default() },
            Act::Rex(active) => {
                self.rex = *active;
                self.momentary_until = self.momentary_until.max(longest(DWELL));
            }
            Act::Grant(_) => self.momentary_until = self.momentary_until.max(longest(DWELL_EXTENDED)),
            Act::Order(MOMENTARY, deadline) => {
                self.momentary_until = self.momentary_until.max(longest(u64::from(*deadline) + 1_000));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_of_a_door_hold(
        acts in prop::collection::vec(act(), 1..80),
        relock in prop_oneof![Just(Relock::OnOpen), Just(Relock::OnClose), Just(Relock::AfterDwell)],
        at_stop in prop_oneof![Just(StopPolicy::Lock), Just(StopPolicy::Unlock), Just(StopPolicy::Keep)],
        at_start in prop_oneof![Just(StartPolicy::Restore), Just(StartPolicy::Lock)],
        reset in prop_oneof![Just(FireReset::Auto), Just(FireReset::Manual)],
        magnet in any::<bool>(),
    ) {
        let unlocked_level = if magnet { Level::Released } else { Level::Energised };
        let fire = config().fire.map(|fire| Fire { reset, ..fire });
        let mut bench = Bench::with(DoorConfig { relock, at_start, at_stop, unlocked_level, fire, ..config() });
        let mut world = World::default();
        for act in acts.iter().chain([&Act::Stop]) {
            perform(&mut bench, act);
            world.note(&bench, act);

            // What secures was durable in the step in which it took effect.
            if *act == Act::Restart {
                let durable = bench.durable.clone().unwrap_or_default();
                let forced = |state| durable.force.as_ref().is_some_and(|force| force.state == state);
                let opens = durable.fire_latched || forced(Force::Open) && durable.lockdown.is_none();
                if durable.lockdown.is_some() || forced(Force::Closed) || durable.dnd.is_some() {
                    prop_assert_eq!(bench.unlocked(), opens, "after {:?}", durable);
                }
            }
            // Fire and exit release in the same step.
            if world.fire || world.rex {
                prop_assert!(bench.unlocked(), "fire or exit, and still locked after {act:?}");
            }
            // No strike past its deadline without a mode that holds it.
            let holds = matches!(bench.mode(), Mode::Unlocked | Mode::LockedOpen);
            if bench.unlocked() && !holds && !world.rex {
                prop_assert!(bench.now.mono < world.momentary_until, "held for nothing after {act:?}");
                let until = bench.desired().until;
                prop_assert!(until.is_some_and(|until| until <= world.momentary_until), "no end after {act:?}");
                prop_assert!(bench.desired().rest != unlocked_level);
            }
            // The mode agrees with the relay.
            let unlocks = matches!(bench.mode(), Mode::Unlocked | Mode::LockedOpen | Mode::Accessed);
            prop_assert_eq!(unlocks, bench.unlocked(), "{:?} after {:?}", bench.mode(), act);
            // Each mode change has its event, chained to the one before.
            for event in bench.events.drain(..) {
                if let EventBody::DoorModeChanged { from, to, .. } = event {
                    prop_assert_eq!(from, world.mode.unwrap_or(Mode::Locked));
                    prop_assert_ne!(from, to);
                    world.mode = Some(to);
                }
            }
            prop_assert_eq!(bench.mode(), world.mode.unwrap_or(Mode::Locked));
            // A deadline that was met is not asked for again.
            if matches!(act, Act::WakeUp | Act::Jump(_)) {
                prop_assert!(bench.door.next_deadline().is_none_or(|at| at > bench.now.mono));
            }
        }
        // The stop above ended every order; each has exactly one final report, and it came last.
        let mut finals: BTreeMap<u64, usize> = (world.orders_lost + 1..=bench.tickets).map(|ticket| (ticket, 0)).collect();
        for ticket in world.orders_lost + 1..=bench.tickets {
            let (held, now) = (bench.held_of(ticket), bench.reports_of(ticket));
            prop_assert!(held.is_empty() || now.is_empty(), "reports of one order could overtake each other");
            let all: Vec<_> = held.into_iter().chain(now).collect();
            *finals.entry(ticket).or_default() += all.iter().filter(|progress| progress.is_final()).count();
            prop_assert!(all.last().is_some_and(|progress| progress.is_final()), "order {ticket}: {all:?}");
        }
        prop_assert!(finals.values().all(|count| *count == 1), "{finals:?}");
    }
}
