//! Whatever happens: no relay is on without a reason that holds, every order ends once, and what enabling and
//! disabling is told adds up to what is.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Ride(u128, bool),
    Order(u8, u128),
    Confirm(usize),
    Refuse(usize, bool),
    Board(bool, bool),
    Press(usize, bool),
    Public(u128, u64),
    Lockdown(bool),
    Pass(u64),
    Stop,
}

fn act() -> impl Strategy<Value = Act> {
    let floors = || 0u128..16;
    prop_oneof![
        3 => (floors(), any::<bool>()).prop_map(|(floors, extended)| Act::Ride(floors, extended)),
        4 => (0u8..3, 1u128..16).prop_map(|(action, floors)| Act::Order(action, floors)),
        8 => (0usize..4).prop_map(Act::Confirm),
        2 => (0usize..4, any::<bool>()).prop_map(|(floor, late)| Act::Refuse(floor, late)),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(cab, up)| Act::Board(cab, up)),
        2 => (0usize..4, any::<bool>()).prop_map(|(floor, on)| Act::Press(floor, on)),
        2 => (floors(), 1u64..40).prop_map(|(holds, next)| Act::Public(holds, next)),
        1 => any::<bool>().prop_map(Act::Lockdown),
        6 => (1u64..12_000).prop_map(Act::Pass),
        1 => Just(Act::Stop),
    ]
}

/// All reasons that floors may have, held by nobody but the test.
#[derive(Default)]
struct Reasons {
    ride_until: [Mono; 4],
    /// Opened or about to be, by an operator: until this instant; `MAX`: until closed.
    order_until: [Mono; 4],
    public: FloorSet,
    lost: FloorSet,
    lockdown: bool,
    stopped: bool,
}

impl Reasons {
    fn may_be_enabled(&self, fail: FailPolicy, floor: usize, at: Mono) -> bool {
        if fail == FailPolicy::Free && (self.stopped || self.lost.contains(floor)) {
            return true;
        }
        if self.lockdown || (self.stopped && fail == FailPolicy::Secure) {
            return false;
        }
        self.public.contains(floor) || at < self.ride_until[floor] || at < self.order_until[floor]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_floor_is_enabled_without_a_reason_that_holds_and_every_order_ends_once(
        acts in proptest::collection::vec(act(), 1..80),
        fail in prop_oneof![Just(FailPolicy::Secure), Just(FailPolicy::Free), Just(FailPolicy::Keep)],
    ) {
        let mut rig = Rig::with(fail);
        let mut reasons = Reasons::default();
        let (mut open, mut told) = (BTreeSet::new(), FloorSet::NONE);
        let hear = |effects: Effects, open: &mut BTreeSet<Ticket>, told: &mut FloorSet, config: &FloorGroupConfig| {
            for event in effects.events {
                let of = |floors: Vec<Id>| floors.iter().filter_map(|floor| config.position(floor)).collect::<FloorSet>();
                match event {
                    EventBody::FloorEnabled { floors, .. } => {
                        let floors = of(floors);
                        assert!(floors.and(*told).is_empty(), "enabled twice");
                        *told = told.or(floors);
                    }
                    EventBody::FloorDisabled { floors, .. } => {
                        let floors = of(floors);
                        assert_eq!(floors.without(*told), FloorSet::NONE, "disabled twice");
                        *told = told.without(floors);
                    }
                    _ => {}
                }
            }
            for (ticket, progress) in effects.reports.into_iter().chain(effects.held) {
                assert!(open.contains(&ticket), "{ticket:?} ended already: {progress:?}");
                if progress.is_final() {
                    open.remove(&ticket);
                }
            }
        };
        let config = config(fail);
        for act in acts {
            let now = rig.now.mono;
            let effects = match act {
                Act::Ride(floors, extended) => {
                    let (person, credential) = (id("ada"), id("card"));
                    let floors = FloorSet(floors);
                    if !reasons.lockdown && !reasons.stopped {
                        let until = now + if extended { config.enable_extended } else { config.enable };
                        floors.iter().for_each(|floor| reasons.ride_until[floor] = reasons.ride_until[floor].max(until));
                    }
                    rig.tell(ElevatorInput::Ride(Ride {
                        floors,
                        actor: Actor::Person { person, credential },
                        extended,
                        enable_s: None,
                    }))
                }
                Act::Order(action, floors) => {
                    let floors: Vec<usize> = FloorSet(floors).iter().collect();
                    let dwell = Duration::from_secs(3);
                    let action = match action {
                        0 => FloorAction::Open,
                        1 => FloorAction::Close,
                        _ => FloorAction::OpenAndClose { dwell: Some(dwell) },
                    };
                    let (ticket, effects) = rig.order(action, &floors);
                    open.insert(ticket);
                    let refused = effects.reports.iter().any(|(of, _)| *of == ticket);
                    for floor in floors {
                        match action {
                            _ if refused => {}
                            FloorAction::Open => reasons.order_until[floor] = Mono::MAX,
                            FloorAction::OpenAndClose { .. } => {
                                let until = now + Duration::from_secs(5) + dwell;
                                reasons.order_until[floor] = reasons.order_until[floor].max(until);
                            }
                            FloorAction::Close => {
                                (reasons.order_until[floor], reasons.ride_until[floor]) = (Mono::ZERO, Mono::ZERO);
                            }
                        }
                    }
                    effects
                }
                Act::Confirm(floor) => {
                    let desired = rig.desired()[floor];
                    let order = desired.order.map(|(ticket, _)| ticket);
                    rig.tell(ElevatorInput::Relay { floor, level: desired.level_at(now), order })
                }
                Act::Refuse(floor, late) => match rig.desired()[floor].order {
                    Some((ticket, _)) => {
                        let end = if late { OrderEnd::Expired } else { OrderEnd::Failed("exception 4".to_owned()) };
                        rig.tell(ElevatorInput::OrderEnded { floor, ticket, end })
                    }
                    None => Effects::default(),
                },
                Act::Board(cab, up) => {
                    let floors = if cab { FloorSet::all(3) } else { set(&[ROOF]) };
                    reasons.lost = if up { reasons.lost.without(floors) } else { reasons.lost.or(floors) };
                    rig.board(if cab { CAB } else { SHAFT }, up)
                }
                Act::Press(floor, active) => rig.tell(ElevatorInput::Selected { floor, active }),
                Act::Public(holds, next) => {
                    reasons.public = FloorSet(holds);
                    let floors: Vec<usize> = FloorSet(holds).iter().collect();
                    rig.public(&floors, Some(next))
                }
                Act::Lockdown(on) => {
                    let (ticket, effects) = rig.lock_down(on);
                    open.insert(ticket);
                    if !effects.reports.iter().any(|(of, _)| *of == ticket) {
                        reasons.lockdown = on;
                    }
                    effects
                }
                Act::Pass(millis) => {
                    rig.pass(millis);
                    rig.tell(ElevatorInput::Timeout)
                }
                Act::Stop => {
                    reasons.stopped = true;
                    rig.tell(ElevatorInput::Stop)
                }
            };
            hear(effects, &mut open, &mut told, &config);
            for floor in rig.enabled().iter() {
                prop_assert!(reasons.may_be_enabled(fail, floor, rig.now.mono), "floor {floor} has no reason");
            }
            prop_assert_eq!(rig.enabled(), told, "what was told is what is");
            for (status, desired) in rig.elevator.status(rig.now.mono).floors.into_iter().zip(rig.desired()) {
                let ends = matches!(status.cause, Some(FloorCause::Momentary | FloorCause::Read));
                prop_assert_eq!(status.enabled && ends, desired.until.is_some(), "{:?}", status);
            }
        }
        // Whatever still waits ends by itself.
        rig.pass(60_000);
        let effects = rig.tell(ElevatorInput::Timeout);
        hear(effects, &mut open, &mut told, &config);
        prop_assert_eq!(open, BTreeSet::new());
    }
}
