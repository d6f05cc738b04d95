use std::time::Duration;

use super::*;
use crate::domain::{
    ids::{BoardIx, Id, OutputRef},
    outputs::Level::{Energised, Released},
    time::ClockTrust,
};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn config() -> FreeOutputConfig {
    FreeOutputConfig {
        id: id("siren"),
        output: OutputRef { board: BoardIx(0), output: 7 },
        on_level: Energised,
        at_start: OutputStart::Restore,
        at_stop: OutputStop::Off,
    }
}

struct Bench {
    output: FreeOutput,
    now: Now,
    tickets: u64,
    effects: Vec<OutputEffect>,
}

impl Bench {
    fn new(config: FreeOutputConfig, kept: Option<(bool, Wall)>) -> Bench {
        let mut output = FreeOutput::new(config, kept);
        output.board(true);
        let now = Now {
            mono: Mono::from_millis(1_000),
            wall: Wall::from_millis(1_790_000_000_000),
            trust: ClockTrust::Trusted,
        };
        Bench { output, now, tickets: 0, effects: Vec::new() }
    }

    fn order(&mut self, action: OutputAction) -> Ticket {
        self.order_issued(action, self.now.wall)
    }

    fn order_issued(&mut self, action: OutputAction, issued_at: Wall) -> Ticket {
        self.tickets += 1;
        let by = Actor::Operator { operator: id("op"), jti: id("j") };
        let (ticket, deadline) = (Ticket(self.tickets), self.now.mono + Duration::from_secs(5));
        let order = Order { ticket, what: (), deadline, issued_at, by };
        self.output.order(self.now, &order, action, &mut self.effects);
        ticket
    }

    fn pulse(&mut self, millis: u64) -> Ticket {
        self.order(OutputAction::Pulse(Duration::from_millis(millis)))
    }

    fn set(&mut self, on: bool) -> Ticket {
        self.order(OutputAction::Set(on))
    }

    fn wait(&mut self, millis: u64) {
        let target = self.now.mono + Duration::from_millis(millis);
        while let Some(at) = self.output.next_deadline().filter(|at| *at <= target) {
            self.now.mono = self.now.mono.max(at);
            self.output.timeout(self.now.mono, &mut self.effects);
        }
        self.now.wall = self.now.wall + Duration::from_millis(millis);
        self.now.mono = target;
    }

    fn desired(&self) -> Desired {
        self.output.desired(self.now.mono)
    }

    fn is_on(&self) -> bool {
        self.desired().level_at(self.now.mono) == Energised
    }

    /// The board does what is desired and says so.
    fn confirm(&mut self) {
        let desired = self.desired();
        let level = desired.level_at(self.now.mono);
        self.output.found(self.now.mono, level, desired.order.map(|(ticket, _)| ticket), &mut self.effects);
    }

    fn reports(&mut self) -> Vec<(u64, Progress)> {
        let reports = self.effects.drain(..).filter_map(|effect| match effect {
            OutputEffect::Report(ticket, progress) | OutputEffect::Held(ticket, progress) => Some((ticket.0, progress)),
            OutputEffect::Event(_) | OutputEffect::Keep(_) => None,
        });
        reports.collect()
    }
}

const DONE: Progress = Progress::Actuated { observation_follows: false };

fn refusal(progress: &Progress) -> Option<Refusal> {
    if let Progress::Refused(refusal, _) = progress { Some(*refusal) } else { None }
}

#[test]
fn a_setting_is_durable_with_its_confirmation_and_not_before() {
    let mut bench = Bench::new(config(), None);
    let ticket = bench.set(true);
    assert!(bench.is_on() && bench.effects.is_empty());
    bench.confirm();
    let by = Actor::Operator { operator: id("op"), jti: id("j") };
    let kept = Kept::Output { output: id("siren"), on: true, issued_at: bench.now.wall };
    assert_eq!(
        bench.effects,
        [
            OutputEffect::Event(EventBody::OutputSwitched { output: id("siren"), on: true, actor: by }),
            OutputEffect::Keep(kept),
            OutputEffect::Held(ticket, DONE),
        ]
    );
    bench.wait(1_000_000);
    assert_eq!((bench.desired().order, bench.is_on()), (None, true));
}

#[test]
fn a_pulse_carries_its_end_and_repeating_the_wish_extends_nothing() {
    let mut bench = Bench::new(config(), None);
    bench.pulse(2_000);
    // Should the node die now, the bus lets go by itself.
    assert_eq!(bench.desired().until, Some(bench.now.mono + Duration::from_secs(7)));
    bench.wait(1_000);
    bench.confirm();
    let until = bench.now.mono + Duration::from_secs(2);
    assert_eq!(bench.reports(), [(1, DONE)]);
    for _ in 0..10 {
        assert_eq!((bench.desired().until, bench.desired().rest), (Some(until), Released));
        bench.wait(199);
        bench.confirm();
    }
    assert!(bench.is_on());
    bench.wait(10);
    assert!(!bench.is_on());
}

#[test]
fn a_second_pulse_never_shortens_the_first_and_off_ends_both() {
    let mut bench = Bench::new(config(), None);
    bench.pulse(60_000);
    bench.confirm();
    let until = bench.desired().until;
    bench.pulse(100);
    bench.confirm();
    assert_eq!(bench.desired().until, until);
    bench.set(false);
    bench.confirm();
    assert!(!bench.is_on());
    assert_eq!(bench.reports(), [(1, DONE), (2, DONE), (3, DONE)]);
}

#[test]
fn a_pulse_of_an_output_that_is_set_on_leaves_it_on() {
    let mut bench = Bench::new(config(), Some((true, Wall::EPOCH)));
    bench.pulse(100);
    bench.confirm();
    bench.wait(200);
    assert!(bench.is_on());
}

#[test]
fn orders_are_told_to_the_bus_one_after_the_other_and_each_ends_once() {
    let mut bench = Bench::new(config(), None);
    for on in [true, false, true] {
        bench.set(on);
    }
    let mut levels = Vec::new();
    for _ in 0..4 {
        levels.push(bench.is_on());
        bench.confirm();
    }
    assert_eq!(levels, [true, false, true, true]);
    assert_eq!(bench.reports(), [(1, DONE), (2, DONE), (3, DONE)]);
}

#[test]
fn an_order_that_the_bus_gave_up_has_changed_nothing() {
    let ends = [
        (OrderEnd::Expired, Progress::Expired),
        (OrderEnd::Failed("no".to_owned()), Progress::Failed("no".to_owned())),
        (OrderEnd::Unknown("silence".to_owned()), Progress::Unknown("silence".to_owned())),
    ];
    for (end, progress) in ends {
        let mut bench = Bench::new(config(), None);
        let ticket = bench.set(true);
        bench.output.ended(ticket, end, &mut bench.effects);
        assert_eq!(bench.reports(), [(1, progress)]);
        assert!(!bench.is_on());
    }
}

#[test]
fn an_order_of_which_the_bus_says_nothing_ends_as_unknown_and_those_behind_it_expire() {
    let mut bench = Bench::new(config(), None);
    bench.set(true);
    bench.set(false);
    bench.wait(5_001);
    assert_eq!(bench.reports(), [(2, Progress::Expired)]);
    bench.wait(10_000);
    assert!(matches!(bench.reports().as_slice(), [(1, Progress::Unknown(_))]));
    assert!(!bench.is_on());
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let mut bench = Bench::new(config(), Some((false, Wall::from_millis(1_790_000_000_000))));
    bench.order_issued(OutputAction::Set(true), Wall::from_millis(1_789_999_999_999));
    bench.output.board(false);
    bench.set(true);
    bench.pulse(100);
    let reasons: Vec<_> = bench.reports().iter().map(|(_, progress)| refusal(progress)).collect();
    assert_eq!(reasons, [Some(Refusal::Conflict), Some(Refusal::BusDown), Some(Refusal::BusDown)]);
    bench.output.board(true);
    for _ in 0..=ORDERS_MAX {
        bench.pulse(100);
    }
    assert_eq!(
        bench.reports().iter().map(|(_, progress)| refusal(progress)).collect::<Vec<_>>(),
        [Some(Refusal::Overloaded)]
    );
}

#[test]
fn at_start_an_output_is_as_it_was_or_as_configured() {
    for (at_start, was_on, on) in [
        (OutputStart::Restore, true, true),
        (OutputStart::Restore, false, false),
        (OutputStart::On, false, true),
        (OutputStart::Off, true, false),
    ] {
        let bench = Bench::new(FreeOutputConfig { at_start, ..config() }, Some((was_on, Wall::EPOCH)));
        assert_eq!(bench.is_on(), on, "{at_start:?}");
    }
}

#[test]
fn a_stop_ends_pulses_and_orders_and_waits_for_the_read_back() {
    for (at_stop, on) in [(OutputStop::Off, false), (OutputStop::On, true), (OutputStop::Keep, true)] {
        let config = FreeOutputConfig { at_stop, on_level: Energised, ..config() };
        let mut bench = Bench::new(config, Some((true, Wall::EPOCH)));
        bench.pulse(60_000);
        bench.output.stop(&mut bench.effects);
        assert_eq!(bench.reports(), [(1, Progress::Cancelled)]);
        assert_eq!((bench.is_on(), bench.output.stopped()), (on, false), "{at_stop:?}");
        bench.confirm();
        assert!(bench.output.stopped());
    }
}

#[test]
fn identify_blinks_for_its_time_and_leaves_the_output_as_it_is_set() {
    for set in [false, true] {
        let mut bench = Bench::new(config(), Some((set, Wall::EPOCH)));
        bench.output.identify(bench.now.mono);
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.push(bench.is_on());
            assert!(bench.desired().until.is_none_or(|until| until <= bench.now.mono + BLINK));
            bench.wait(250);
        }
        let turns = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((18..=20).contains(&turns), "{turns} turns");
        assert_eq!((bench.is_on(), bench.output.next_deadline()), (set, None));
    }
}
