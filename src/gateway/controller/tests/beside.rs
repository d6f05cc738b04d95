//! Free outputs, inputs of the node, alarms: through the controller.

use serde_json::{Value, json};

use super::*;
use crate::domain::{
    event::AlarmSource,
    field::{FreeOutputConfig, InputKind, NodeInput, OutputStart, OutputStop, Weakness, WeaknessOf},
    order::OutputAction,
};

pub const SIREN: OutputRef = OutputRef { board: GATE, output: 3 };
const MAINS: u16 = 3;

pub fn field() -> FieldConfig {
    let siren = FreeOutputConfig {
        id: id("siren"),
        output: SIREN,
        on_level: Level::Energised,
        at_start: OutputStart::Restore,
        at_stop: OutputStop::Off,
    };
    let mains = NodeInput {
        id: id("mains"),
        input: InputRef { board: GATE, input: MAINS },
        kind: InputKind::Power,
        active_value: false,
        door: None,
        reader: None,
    };
    FieldConfig { outputs: vec![siren], inputs: vec![mains], identify: Some(0), ..FieldConfig::default() }
}

fn bench(lasting: Lasting) -> Bench {
    let mut bench = Bench::lasting(super::machines(&field(), &[]), lasting);
    for board in [RELAYS, GATE] {
        let _ = bench.bus(BusReport::BoardUp { board });
    }
    bench
}

/// What the next run starts from.
fn kept(steps: &[&Step]) -> Lasting {
    let mut lasting = Lasting::default();
    for step in steps {
        step.commit.writes.iter().for_each(|write| lasting.note(write));
    }
    lasting
}

pub fn task(bench: &mut Bench, what: Task) -> Step {
    let order = Order {
        ticket: Ticket(500),
        what,
        deadline: bench.now.mono + Duration::from_secs(5),
        issued_at: bench.now.wall,
        by: Actor::Operator { operator: id("op-1"), jti: id("j") },
    };
    bench.tell(Input::Order(order))
}

fn siren(bench: &Bench) -> Desired {
    *bench.controller.desired().iter().find(|desired| desired.output == SIREN).expect("desired")
}

fn confirm_siren(bench: &mut Bench) -> Step {
    let Desired { output, level, order, .. } = siren(bench);
    bench.bus(BusReport::Output { output, level, order: order.map(|(ticket, _)| ticket) })
}

#[test]
fn a_free_output_is_set_read_back_kept_and_set_again_at_the_next_start() {
    let mut first = bench(Lasting::default());
    let set = Task::Output { output: id("siren"), action: OutputAction::Set(true) };
    assert!(task(&mut first, set).reports.is_empty());
    let step = confirm_siren(&mut first);
    assert_eq!(types(&step), ["output.switched"]);
    let lasting = kept(&[&step]);
    match step.commit.held.release(&crate::gateway::step::Durable::synced()).as_slice() {
        [Effect::Report(report)] => assert_eq!(report.progress, Progress::Actuated { observation_follows: false }),
        other => panic!("{other:?}"),
    }
    assert_eq!(siren(&bench(lasting)).level, Level::Energised);
    assert_eq!(siren(&bench(Lasting::default())).level, Level::Released);
}

#[test]
fn what_one_machine_must_answer_is_answered_once() {
    let mut bench = bench(Lasting::default());
    for what in [
        Task::Output { output: id("nothing"), action: OutputAction::Set(true) },
        Task::AcknowledgeAlarm { alarm: id("alarm-1") },
        Task::Identify,
    ] {
        let step = task(&mut bench, what.clone());
        assert_eq!(step.reports.len(), 1, "{what:?}");
    }
}

#[test]
fn a_failed_mains_is_told_once_however_often_the_node_starts_and_its_return_as_well() {
    let mut first = bench(Lasting::default());
    assert_eq!(types(&first.input(GATE, MAINS, true)), Vec::<String>::new());
    let lost = first.input(GATE, MAINS, false);
    assert_eq!(types(&lost), ["power.lost"]);
    let lasting = kept(&[&lost]);
    let mut second = bench(lasting.clone());
    assert_eq!(types(&second.input(GATE, MAINS, false)), Vec::<String>::new());
    let back = second.input(GATE, MAINS, true);
    assert_eq!(types(&back), ["power.restored"]);
    assert_eq!(kept(&[&lost, &back]).kept, Lasting::default().kept);
    // It came back while the node was down.
    assert_eq!(types(&bench(lasting).input(GATE, MAINS, true)), ["power.restored"]);
}

#[test]
fn boards_readers_and_fire_that_ended_while_the_node_was_down_are_told_to_have_ended() {
    let mut first = bench(Lasting::default());
    let fire = first.input(RELAYS, FIRE, true);
    assert_eq!(types(&fire)[0], "fire.activated");
    let lost = first.bus(BusReport::BoardLost { board: RELAYS, detail: "silence".into() });
    assert_eq!(types(&lost)[..2], ["board.lost", "reader.lost"]);
    let mut second = Bench::lasting(super::machines(&field(), &[]), kept(&[&fire, &lost]));
    let up = second.bus(BusReport::BoardUp { board: RELAYS });
    assert_eq!(types(&up), ["board.restored", "reader.restored"]);
    let over = second.input(RELAYS, FIRE, false);
    assert_eq!(types(&over), ["fire.cleared"]);
    assert_eq!(kept(&[&fire, &lost, &up, &over]).kept, Lasting::default().kept);
}

/// Raises an alarm at each Modbus input report.
#[derive(Debug)]
struct Raiser;

impl Machine for Raiser {
    fn handle(&mut self, _: Now, _: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        if let Happening::Input(input, _) = happening {
            let source = AlarmSource::SystemEvent { system_event: id("night"), door: None };
            deeds.push(Deed::Alarm(source, Some(format!("input {}", input.input))));
        }
    }
}

fn with_raiser(lasting: Lasting) -> Bench {
    Bench::lasting(with_raiser_only(), lasting)
}

#[test]
fn an_alarm_stands_through_a_restart_until_it_is_acknowledged_and_the_same_again_only_counts() {
    let mut first = with_raiser(Lasting::default());
    let raised = first.input(GATE, 2, true);
    let again = first.input(GATE, 2, true);
    let alarm = only(&raised)["alarm"].as_str().expect("an id").to_owned();
    assert_eq!((only(&again)["alarm"].as_str(), only(&again)["times"].as_u64()), (Some(&*alarm), Some(2)));
    let mut second = with_raiser(kept(&[&raised, &again]));
    let acknowledged = task(&mut second, Task::AcknowledgeAlarm { alarm: id(&alarm) });
    assert_eq!(types(&acknowledged), ["alarm.acknowledged"]);
    assert_eq!(kept(&[&raised, &again, &acknowledged]).kept, Lasting::default().kept);
    let twice = task(&mut second, Task::AcknowledgeAlarm { alarm: id(&alarm) });
    assert!(matches!(&twice.reports[0].progress, Progress::Refused(Refusal::UnknownTarget, _)));
}

fn bodies(step: &Step) -> Vec<Value> {
    events(step).into_iter().map(|event| serde_json::to_value(event).expect("an event")).collect()
}

fn weak(reader: &str) -> Weakness {
    Weakness { of: WeaknessOf::Reader(id(reader)), what: format!("{reader} speaks in the clear") }
}

#[test]
fn what_the_configuration_gives_up_stands_through_restarts_and_acknowledgement_and_ends_with_it() {
    let start =
        |weaknesses: &[Weakness], lasting: Lasting| Bench::starting(super::machines(&field(), weaknesses), lasting);
    let (mut first, raised) = start(&[weak("a"), weak("b")], Lasting::default());
    assert_eq!(types(&raised), ["security.weakened", "alarm.raised", "security.weakened", "alarm.raised"]);
    let alarm = bodies(&raised)[1].clone();
    assert_eq!(
        (&alarm["source"], &alarm["text"]),
        (&json!({"of": "weakened", "reader": "a"}), &json!("a speaks in the clear"))
    );
    let named = id(alarm["alarm"].as_str().expect("an id"));
    let seen = task(&mut first, Task::AcknowledgeAlarm { alarm: named.clone() });
    assert_eq!(types(&seen), ["alarm.acknowledged"]);
    let twice = task(&mut first, Task::AcknowledgeAlarm { alarm: named.clone() });
    assert!(types(&twice).is_empty(), "it is told once");

    let (_, again) = start(&[weak("a"), weak("b")], kept(&[&raised, &seen]));
    assert!(types(&again).is_empty(), "nothing is raised anew: {:?}", types(&again));
    let (_, fewer) = start(&[weak("b")], kept(&[&raised, &seen]));
    assert_eq!((types(&fewer), &bodies(&fewer)[0]["acknowledged"]), (vec!["alarm.ended".to_owned()], &json!(true)));
    let (_, none) = start(&[], kept(&[&raised, &seen, &fewer]));
    assert_eq!((types(&none), &bodies(&none)[0]["acknowledged"]), (vec!["alarm.ended".to_owned()], &json!(false)));
    assert_eq!(kept(&[&raised, &seen, &fewer, &none]).kept, Lasting::default().kept);
    let (_, back) = start(&[weak("a")], kept(&[&raised, &seen, &fewer, &none]));
    assert_eq!(types(&back), ["security.weakened", "alarm.raised"], "it is another alarm");
}

#[test]
fn the_count_of_alarms_is_of_those_that_stand_and_nobody_has_seen() {
    let vitals = crate::gateway::vitals::Vitals::default();
    let count = |steps: &[&Step]| {
        steps.iter().flat_map(|step| events(step)).for_each(|event| vitals.event(event));
        vitals.alarms.load(std::sync::atomic::Ordering::Relaxed)
    };
    let mut machines = super::machines(&field(), &[weak("a")]);
    machines.push(Box::new(Raiser));
    let (mut bench, started) = Bench::starting(machines, Lasting::default());
    assert_eq!(count(&[&started]), 1);
    let raised = bench.input(GATE, 2, true);
    let again = bench.input(GATE, 2, true);
    assert_eq!(count(&[&raised, &again]), 2, "the same alarm again is not another one");
    let named = |step: &Step| bodies(step).iter().find_map(|body| body["alarm"].as_str().map(id)).expect("an alarm");
    let seen = task(&mut bench, Task::AcknowledgeAlarm { alarm: named(&raised) });
    assert_eq!(count(&[&seen]), 1);
    // Of one that goes on it is counted that somebody has seen it, and its end is not counted twice.
    let weakened = task(&mut bench, Task::AcknowledgeAlarm { alarm: named(&started) });
    assert_eq!(count(&[&weakened]), 0);
    let lasting = kept(&[&started, &raised, &again, &seen, &weakened]);
    vitals.alarms_stand(lasting.kept.values());
    assert_eq!(count(&[]), 0, "nor after a restart");
    let (mut bench, ended) = Bench::starting(with_raiser_only(), lasting);
    assert_eq!((types(&ended), count(&[&ended])), (vec!["alarm.ended".to_owned()], 0));
    let raised = bench.input(GATE, 2, true);
    assert_eq!(count(&[&raised]), 1);
    vitals.alarms_stand(kept(&[&raised]).kept.values());
    assert_eq!(count(&[]), 1);
}

fn with_raiser_only() -> Vec<Box<dyn Machine>> {
    let mut machines = super::machines(&field(), &[]);
    machines.push(Box::new(Raiser));
    machines
}

#[test]
fn alarms_beyond_what_is_kept_push_the_oldest_out_with_an_event() {
    let mut bench = with_raiser(Lasting::default());
    let mut forgotten = 0;
    for round in 0..1_200_u16 {
        let step = bench.input(GATE, 2, true);
        forgotten += types(&step).iter().filter(|kind| *kind == "alarm.forgotten").count();
        // A source of its own each time.
        let source = AlarmSource::EmergencyCard {
            emergency_card: id(&format!("e-{round}")),
            door: Some(id("front")),
            floor_group: None,
        };
        let mut step = Step::default();
        step.deeds.push_back((0, Deed::Alarm(source, None)));
        bench.controller.carry_out(bench.now, &mut step);
        forgotten += types(&step).iter().filter(|kind| *kind == "alarm.forgotten").count();
    }
    assert!(forgotten > 900, "{forgotten}");
}
