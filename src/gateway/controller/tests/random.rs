//! Anything from outside, in any order, with indices that exist and that do not.

use proptest::prelude::*;

use super::*;
use crate::domain::card_bits::CardBits;

fn board() -> impl Strategy<Value = BoardIx> {
    (0..3u16).prop_map(BoardIx)
}

fn output() -> impl Strategy<Value = OutputRef> {
    (board(), 0..2u16).prop_map(|(board, output)| OutputRef { board, output })
}

fn level() -> impl Strategy<Value = Level> {
    any::<bool>().prop_map(Level::from_energised)
}

fn card() -> impl Strategy<Value = RawCard> {
    prop_oneof![
        Just(GOOD),
        Just(UNKNOWN),
        (any::<u16>(), any::<u128>()).prop_map(|(bits, value)| RawCard::new(bits, value)),
        (0..1100_u16, any::<[u16; 64]>(), any::<bool>()).prop_map(|(bits, words, cut)| {
            RawCard { bits, value: CardBits::from_last(16, words).extract(0, bits), cut }
        })
    ]
}

fn ticket() -> impl Strategy<Value = Ticket> {
    (0..20u64).prop_map(Ticket)
}

fn report() -> impl Strategy<Value = BusReport> {
    let detail = || "as it happens".to_owned();
    prop_oneof![
        board().prop_map(|board| BusReport::BoardUp { board }),
        board().prop_map(move |board| BusReport::BoardLost { board, detail: detail() }),
        (board(), 0..5u16, any::<bool>())
            .prop_map(|(board, input, energised)| BusReport::Input { input: InputRef { board, input }, energised }),
        (board(), 0..2u16, card()).prop_map(|(board, block, card)| BusReport::Card { board, block, card }),
        (output(), level(), prop::option::of(ticket())).prop_map(|(output, level, order)| BusReport::Output {
            output,
            level,
            order
        }),
        (output(), level()).prop_map(|(output, level)| BusReport::OutputMismatch { output, level }),
        (output(), ticket()).prop_map(|(output, ticket)| BusReport::OrderExpired { output, ticket }),
        (output(), ticket()).prop_map(move |(output, ticket)| BusReport::OrderFailed {
            output,
            ticket,
            detail: detail()
        }),
        (output(), ticket()).prop_map(move |(output, ticket)| BusReport::OrderUnknown {
            output,
            ticket,
            detail: detail()
        }),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Bus(BusReport),
    Confirm(bool),
    Card(u16, RawCard),
    Order(u16, u8),
    Revoke(bool),
    Jump(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => report().prop_map(Act::Bus),
        2 => any::<bool>().prop_map(Act::Confirm),
        1 => (0..3u16, card()).prop_map(|(reader, card)| Act::Card(reader, card)),
        3 => (0..3u16, 0..4u8).prop_map(|(door, action)| Act::Order(door, action)),
        1 => any::<bool>().prop_map(Act::Revoke),
        2 => any::<u16>().prop_map(Act::Jump),
    ]
}

proptest! {
    #[test]
    fn every_step_is_complete_and_every_order_ends_exactly_once(acts in prop::collection::vec(act(), 1..60)) {
        let mut bench = Bench::new();
        let (allowed, revoked) = (permissions(41, false), permissions(42, true));
        let mut finals = std::collections::BTreeMap::<u64, u32>::new();
        let mut modes: Vec<String> = vec!["Locked".to_owned(); 2];
        for act in acts.into_iter().map(Some).chain([None]) {
            let before: Vec<DoorStatus> = bench.controller.door_statuses().to_vec();
            let step = match act {
                Some(Act::Bus(report)) => bench.bus(report),
                Some(Act::Confirm(front)) => bench.confirm(if front { FRONT } else { BACK }),
                Some(Act::Card(reader, card)) => bench.tell(Input::Card(CardRead::bits(ReaderIx(reader), card))),
                Some(Act::Order(door, action)) => {
                    let action = match action {
                        0 => DoorAction::Open,
                        1 => DoorAction::Close,
                        2 => DoorAction::OpenAndClose { dwell: None },
                        _ => DoorAction::Report,
                    };
                    bench.order(DoorIx(door), action).1
                }
                Some(Act::Revoke(revoke)) => {
                    let set = if revoke { &revoked } else { &allowed };
                    bench.tell(Input::Permissions(Arc::clone(set)))
                }
                Some(Act::Jump(millis)) => {
                    bench.pass(u64::from(millis));
                    bench.tell(Input::Timeout)
                }
                None => bench.tell(Input::Stop),
            };
            // Desired is complete and current; a deadline that has passed waits for one more call at most.
            prop_assert_eq!(bench.controller.desired().len(), 2);
            // A status is named as changed exactly when it changed.
            let now: Vec<DoorStatus> = bench.controller.door_statuses().to_vec();
            for (ix, (was, is)) in (0..).map(DoorIx).zip(before.iter().zip(&now)) {
                prop_assert_eq!(was != is, step.changed.contains(&Thing::Door(ix)));
            }
            // Mode changes form a chain without a gap, door by door.
            for event in events(&step) {
                if let EventBody::DoorModeChanged { door, from, to, .. } = &event.body {
                    let mode = &mut modes[usize::from(**door == *"back")];
                    prop_assert_eq!(&*mode, &format!("{from:?}"));
                    *mode = format!("{to:?}");
                }
            }
            for (mode, status) in modes.iter().zip(&now) {
                prop_assert_eq!(mode, &format!("{:?}", status.mode));
            }
            let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
            let held = held.iter().filter_map(|effect| match effect { Effect::Report(report) => Some(report), _ => None });
            for report in step.reports.iter().chain(held).filter(|report| report.progress.is_final()) {
                *finals.entry(report.ticket.0).or_default() += 1;
            }
        }
        for ticket in 1..=bench.tickets {
            prop_assert_eq!(finals.get(&ticket), Some(&1), "order {}", ticket);
        }
    }
}
