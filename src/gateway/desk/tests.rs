//! What the desk promises, one promise a test.

mod delays;
mod lockdowns;

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    domain::{
        event::{Actor, EditChange, EditMade, Event, EventBody},
        kept::Kept,
        order::{DoorAction, OrderReport, Progress, Task},
        permission::SetVersion,
        record::{Operator, OperatorStatus, Record},
    },
    gateway::step::{Effect, MessageToken},
    wire::command::{CommandBody, DoorArgs, DoorOpenAndCloseArgs},
};

const NOON: i64 = 1_790_000_000_000;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn at(ms: i64) -> Now {
    Now {
        mono: Mono::from_millis(1_000_000 + ms as u64),
        wall: Wall::from_millis(NOON + ms),
        trust: ClockTrust::Trusted,
    }
}

fn operators() -> Arc<Permissions> {
    let operator = |role: &str, status, doors: Option<Vec<Id>>| {
        Record::Operator(Operator { status, doors, ..Operator::active(id(role)) })
    };
    let records = [
        (id("ada"), operator("integrator", OperatorStatus::Active {}, None)),
        (id("eve"), operator("reporter", OperatorStatus::Active {}, None)),
        (id("max"), operator("manager", OperatorStatus::Active {}, Some(vec![id("back")]))),
    ];
    let version = SetVersion { epoch: 1, generation: 7, digest: [0; 32] };
    Arc::new(Permissions::compile(records, &topology(), &jiff::tz::TimeZone::UTC, version).unwrap())
}

fn topology() -> Topology {
    Topology::of_doors(&[id("front"), id("back")])
}

fn config() -> DeskConfig {
    DeskConfig {
        boot: id("run-2"),
        issuer: "https://cloud.example".to_owned(),
        topology: Arc::new(topology()),
        commands_per_operator_max: 4,
        clock_skew: Duration::from_secs(5),
        on_trial: Vec::new(),
        edits: EditsAtStart::default(),
        delay_max: Duration::from_secs(3600),
        no_earlier: Wall::EPOCH,
        ledger_withheld: None,
    }
}

fn desk() -> Desk {
    Desk::new(config(), operators(), vec![], Wall::EPOCH, at(0)).0
}

/// An opening that is right in every way, five seconds long.
fn open(jti: &str) -> Command {
    Command {
        issuer: "https://cloud.example".to_owned(),
        operator: id("ada"),
        jti: id(jti),
        iat: at(0).wall,
        exp: at(5000).wall,
        nbf: None,
        boot: Some(id("run-2")),
        kid: id("k1"),
        digest: crate::wire::canonical::sha256(jti.as_bytes()),
        body: CommandBody::DoorOpenAndClose(DoorOpenAndCloseArgs { door: id("front"), dwell_ms: Some(4000) }),
    }
}

fn stages(step: &DeskStep) -> Vec<Stage> {
    step.outcomes.iter().map(|outcome| outcome.stage).collect()
}

/// What is told only once the commit is durable.
fn promised(step: DeskStep) -> Vec<Stage> {
    let released = step.commit.held.release(&crate::gateway::step::Durable::synced());
    released
        .into_iter()
        .filter_map(|effect| if let Effect::Publish(outcome) = effect { Some(outcome.stage) } else { None })
        .collect()
}

/// The newest stage of each record that is written.
fn written(step: &DeskStep) -> Vec<(Id, Stage)> {
    let newest = |record: &CommandRecord| (record.key.jti.clone(), record.outcomes.last().unwrap().stage);
    let records = step.commit.writes.iter().filter_map(|write| match write {
        LedgerWrite::Command(record) => Some(newest(record)),
        _ => None,
    });
    records.collect()
}

fn refusal(step: &DeskStep) -> Option<Refusal> {
    assert!(step.order.is_none(), "a refused command moves nothing");
    step.outcomes.last().and_then(|outcome| outcome.reason)
}

fn report(order: &Order, progress: Progress) -> OrderReport {
    OrderReport { ticket: order.ticket, at: at(100).wall, progress }
}

#[test]
fn a_good_command_becomes_one_order_with_the_deadline_on_the_monotonic_clock() {
    let mut desk = desk();
    let step = desk.handle_command(at(200), open("a"), None);
    assert_eq!(stages(&step), [Stage::Received, Stage::Authorised]);
    let order = step.order.unwrap();
    let momentary = DoorAction::OpenAndClose { dwell: Some(Duration::from_secs(4)) };
    assert_eq!(order.what, Task::Door(DoorIx(0), momentary));
    assert_eq!(order.deadline, at(5000).mono);
}

#[test]
fn stages_are_numbered_from_zero_and_end_with_the_observation() {
    let mut desk = desk();
    let order = desk.handle_command(at(0), open("a"), None).order.unwrap();
    let actuated = desk.handle_report(at(100), report(&order, Progress::Actuated { observation_follows: true }));
    let observed = desk.handle_report(at(100), report(&order, Progress::Observed));
    assert_eq!((actuated.outcomes[0].seq, actuated.outcomes[0].stage), (2, Stage::Actuated));
    assert_eq!((observed.outcomes[0].seq, observed.outcomes[0].stage), (3, Stage::Observed));
    let late = desk.handle_report(at(100), report(&order, Progress::NotObserved));
    assert!(late.outcomes.is_empty(), "after its end a command says nothing more");
}

#[test]
fn the_same_bytes_again_answer_with_the_stored_outcome_and_move_nothing() {
    let mut desk = desk();
    let order = desk.handle_command(at(0), open("a"), None).order.unwrap();
    let _ = desk.handle_report(at(100), report(&order, Progress::Actuated { observation_follows: false }));
    let again = desk.handle_command(at(100), open("a"), None);
    assert!(again.order.is_none());
    assert_eq!(stages(&again), [Stage::Actuated]);
    assert!(again.commit.writes.is_empty());
    let long_after = desk.handle_command(at(60_000), open("a"), None);
    assert_eq!(stages(&long_after), [Stage::Actuated], "the ledger is asked before exp is judged");
}

#[test]
fn other_bytes_under_a_known_id_are_a_conflict() {
    let mut desk = desk();
    let _ = desk.handle_command(at(0), open("a"), None);
    let other = Command { digest: [9; 32], ..open("a") };
    assert_eq!(refusal(&desk.handle_command(at(10), other, None)), Some(Refusal::Conflict));
}

#[test]
fn a_message_is_acknowledged_only_with_the_commit_that_stores_its_command() {
    let mut desk = desk();
    let token = MessageToken { connection: 1, packet_id: 7 };
    let step = desk.handle_command(at(0), open("a"), Some(token));
    assert!(matches!(step.commit.writes[..], [LedgerWrite::Command(_)]));
    let released = step.commit.held.release(&crate::gateway::step::Durable::synced());
    assert_eq!(released, [Effect::AckMessage(token)]);
}

#[test]
fn past_its_deadline_a_command_is_expired() {
    let step = desk().handle_command(at(5000), open("a"), None);
    assert_eq!(stages(&step), [Stage::Received, Stage::Expired]);
    assert!(step.order.is_none());
}

#[test]
fn a_command_for_another_run_is_unknown_and_learns_the_present_run() {
    let step = desk().handle_command(at(0), Command { boot: Some(id("run-1")), ..open("a") }, None);
    assert!(step.order.is_none());
    let last = step.outcomes.last().unwrap();
    assert_eq!(last.stage, Stage::Unknown);
    assert_eq!(last.detail.as_ref().unwrap()["boot"], "run-2");
}

#[test]
fn closing_passes_the_restart_fence() {
    let close =
        Command { boot: Some(id("run-1")), body: CommandBody::DoorClose(DoorArgs { door: id("front") }), ..open("a") };
    assert!(desk().handle_command(at(0), close, None).order.is_some());
}

#[test]
fn with_an_untrusted_clock_opening_is_refused_and_closing_carried_out() {
    let blind = Now { trust: ClockTrust::Untrusted, ..at(0) };
    assert_eq!(refusal(&desk().handle_command(blind, open("a"), None)), Some(Refusal::ClockUntrusted));
    let close = Command { body: CommandBody::DoorClose(DoorArgs { door: id("front") }), ..open("b") };
    assert!(desk().handle_command(blind, close, None).order.is_some());
}

#[test]
fn a_clock_that_nobody_trusts_makes_no_old_command_young_but_what_secures_passes() {
    let untrusted = |ms: i64| Now { wall: Wall::EPOCH, trust: ClockTrust::Untrusted, ..at(ms) };
    let edit = |jti: &str, exp: i64| {
        let args = json!({ "id": "c-1", "body": {} });
        let body = CommandBody::parse("credential.put", Some(args)).unwrap();
        Command { iat: at(exp - 1000).wall, exp: at(exp).wall, body, ..open(jti) }
    };
    let blind = || {
        let config = DeskConfig { no_earlier: at(10_000).wall, ..config() };
        Desk::new(config, operators(), vec![], Wall::EPOCH, untrusted(0)).0
    };
    // The clock was trusted in an earlier run, or in this one until a moment ago.
    let mut until_now = desk();
    let _ = until_now.handle_command(at(10_000), open("now"), None);
    for mut desk in [blind(), until_now] {
        let old = desk.handle_command(untrusted(10), edit("old", 10_000), None);
        assert_eq!((stages(&old).last(), old.errand.is_none()), (Some(&Stage::Expired), true));
        assert!(desk.handle_command(untrusted(10), edit("young", 10_001), None).errand.is_some());
        let body = CommandBody::DoorClose(DoorArgs { door: id("front") });
        let close = Command { iat: at(5_000).wall, exp: at(9_999).wall, body, ..open("close") };
        assert!(desk.handle_command(untrusted(10), close, None).order.is_some());
    }
}

#[test]
fn what_moves_hardware_lives_for_a_minute_at_most() {
    let long = Command { exp: at(60_001).wall, ..open("a") };
    assert_eq!(refusal(&desk().handle_command(at(0), long, None)), Some(Refusal::LifetimeTooLong));
    let ask = Command {
        exp: at(3_600_000).wall,
        body: CommandBody::DoorStateGet(DoorArgs { door: id("front") }),
        ..open("b")
    };
    assert!(desk().handle_command(at(0), ask, None).order.is_some());
}

#[test]
fn what_moves_no_hardware_lives_for_a_day_at_most() {
    const DAY: i64 = 24 * 3600 * 1000;
    let question = |jti: &str, exp| {
        let body = CommandBody::parse("person.list", Some(json!({}))).unwrap();
        Command { exp: at(exp).wall, body, ..open(jti) }
    };
    let mut desk = desk();
    assert!(desk.handle_command(at(0), question("a", DAY), None).errand.is_some());
    let longer = desk.handle_command(at(0), question("b", DAY + 1), None);
    assert_eq!((refusal(&longer), longer.errand.is_none()), (Some(Refusal::LifetimeTooLong), true));
}

#[test]
fn a_command_from_the_future_or_of_another_issuer_is_refused() {
    let future = Command { iat: at(6000).wall, exp: at(9000).wall, ..open("a") };
    assert_eq!(refusal(&desk().handle_command(at(0), future, None)), Some(Refusal::NotYetValid));
    let stranger = Command { issuer: "https://else.example".to_owned(), ..open("a") };
    assert_eq!(refusal(&desk().handle_command(at(0), stranger, None)), Some(Refusal::WrongIssuer));
}

#[test]
fn before_its_nbf_a_command_waits_and_is_judged_again_when_it_comes() {
    let mut desk = desk();
    let held = desk.handle_command(at(0), Command { nbf: Some(at(1000).wall), ..open("a") }, None);
    assert_eq!((stages(&held), promised(held)), (vec![Stage::Received], vec![Stage::Scheduled]));
    assert_eq!(desk.next_deadline(), Some(at(1000).mono));
    assert!(desk.handle_timeout(at(999)).order.is_none());
    assert!(desk.handle_timeout(at(1000)).order.is_some());

    let held = desk.handle_command(at(0), Command { nbf: Some(at(1000).wall), ..open("b") }, None);
    assert_eq!((stages(&held), promised(held)), (vec![Stage::Received], vec![Stage::Scheduled]));
    let late = desk.handle_timeout(at(5001));
    assert!(late.order.is_none(), "nobody looked in time, so it moves nothing");
    assert_eq!((stages(&late), promised(late)), (vec![], vec![Stage::Expired]));
}

#[test]
fn authority_is_asked_of_the_mirror_and_a_refusal_is_an_event() {
    for (operator, expected) in
        [("nobody", Refusal::UnknownOperator), ("eve", Refusal::Forbidden), ("max", Refusal::OutOfScope)]
    {
        let step = desk().handle_command(at(0), Command { operator: id(operator), ..open("a") }, None);
        assert_eq!(refusal(&step), Some(expected), "{operator}");
        let told = step.commit.writes.iter().any(|write| {
            matches!(write, LedgerWrite::Event(Event { generation: 7, body: EventBody::OperatorRefused { reason, .. }, .. })
                if *reason == expected)
        });
        assert!(told, "{operator}");
    }
}

#[test]
fn an_unknown_door_and_an_unsupported_command_say_so() {
    let nowhere = Command { body: CommandBody::DoorOpen(DoorArgs { door: id("attic") }), ..open("a") };
    assert_eq!(refusal(&desk().handle_command(at(0), nowhere, None)), Some(Refusal::UnknownTarget));
    let later = Command { body: CommandBody::Unsupported { name: "locker.open".to_owned() }, ..open("b") };
    assert_eq!(refusal(&desk().handle_command(at(0), later, None)), Some(Refusal::Unsupported));
}

#[test]
fn live_commands_are_never_forgotten_so_the_next_is_overloaded() {
    let mut desk = desk();
    for jti in ["a", "b", "c", "d"] {
        assert!(desk.handle_command(at(0), open(jti), None).order.is_some());
    }
    assert_eq!(refusal(&desk.handle_command(at(1), open("e"), None)), Some(Refusal::Overloaded));
    let other =
        Command { operator: id("max"), body: CommandBody::DoorOpen(DoorArgs { door: id("back") }), ..open("f") };
    assert!(desk.handle_command(at(1), other, None).order.is_some(), "another operator has room of their own");
}

#[test]
fn questions_that_live_long_leave_room_for_what_moves_a_door() {
    let mut desk = desk();
    let ask = |jti: &str| {
        let body = CommandBody::DoorStateGet(DoorArgs { door: id("front") });
        Command { exp: at(3_600_000).wall, body, ..open(jti) }
    };
    for jti in ["a", "b", "c"] {
        assert!(desk.handle_command(at(0), ask(jti), None).order.is_some());
    }
    assert_eq!(refusal(&desk.handle_command(at(0), ask("d"), None)), Some(Refusal::Overloaded));
    assert!(desk.handle_command(at(0), open("e"), None).order.is_some());
}

#[test]
fn what_can_never_be_carried_out_takes_no_room_for_years() {
    let mut desk = desk();
    let (year, century) = (at(31_536_000_000).wall, at(3_153_600_000_000).wall);
    for n in 0..20 {
        let endless = Command { exp: year, ..open(&format!("endless-{n}")) };
        assert_eq!(refusal(&desk.handle_command(at(0), endless, None)), Some(Refusal::LifetimeTooLong));
        let far = Command { iat: century, exp: century + Duration::from_secs(5), ..open(&format!("far-{n}")) };
        assert_eq!(refusal(&desk.handle_command(at(0), far, None)), Some(Refusal::NotYetValid));
    }
    assert_eq!(desk.commands_remembered(), 0);
    assert!(desk.handle_command(at(0), open("a"), None).order.is_some());
}

#[test]
fn a_command_that_was_refused_for_want_of_room_is_not_carried_out_when_there_is_room_again() {
    let mut desk = desk();
    for jti in ["a", "b", "c", "d"] {
        let order = desk.handle_command(at(0), open(jti), None).order.unwrap();
        let _ = desk.handle_report(at(100), report(&order, Progress::Observed));
    }
    let late = Command { iat: at(4000).wall, exp: at(9000).wall, ..open("e") };
    assert_eq!(refusal(&desk.handle_command(at(4000), late.clone(), None)), Some(Refusal::Overloaded));
    // The broker brings it again after the others have expired and could be forgotten.
    assert_eq!(refusal(&desk.handle_command(at(6000), late, None)), Some(Refusal::Overloaded));
}

#[test]
fn a_clock_that_jumped_ahead_without_trust_makes_no_room() {
    let mut desk = desk();
    for jti in ["a", "b", "c", "d"] {
        let order = desk.handle_command(at(0), open(jti), None).order.unwrap();
        let _ = desk.handle_report(at(100), report(&order, Progress::Observed));
    }
    let jumped = Now { trust: ClockTrust::Untrusted, ..at(86_400_000) };
    let close = Command { body: CommandBody::DoorClose(DoorArgs { door: id("front") }), ..open("e") };
    let step = desk.handle_command(jumped, close, None);
    assert_eq!(step.outcomes.last().and_then(|outcome| outcome.reason), Some(Refusal::Overloaded));
    assert!(step.commit.writes.is_empty(), "nothing was forgotten: {:?}", step.commit.writes);
}

#[test]
fn a_forgotten_id_stays_dead_even_when_the_clock_steps_back() {
    let mut desk = desk();
    for jti in ["a", "b", "c", "d"] {
        let order = desk.handle_command(at(0), open(jti), None).order.unwrap();
        let _ = desk.handle_report(at(100), report(&order, Progress::Observed));
    }
    let fresh = Command { iat: at(6000).wall, exp: at(9000).wall, ..open("e") };
    let step = desk.handle_command(at(6000), fresh, None);
    assert!(step.order.is_some());
    let Some(LedgerWrite::Forget { commands, floor }) = step.commit.writes.first() else {
        panic!("room was made by forgetting: {:?}", step.commit.writes)
    };
    assert_eq!(*floor, at(5000).wall);
    let forgotten = open(&commands[0].jti);
    let replay = desk.handle_command(at(1000), forgotten, None);
    assert_eq!(stages(&replay).last(), Some(&Stage::Unknown));
    assert!(replay.order.is_none());
}

#[test]
fn what_an_earlier_run_left_open_ends_as_unknown_and_is_never_carried_out() {
    let mut first = desk();
    let step = first.handle_command(at(0), open("a"), None);
    let Some(LedgerWrite::Command(record)) = step.commit.writes.into_iter().next() else { panic!("not stored") };

    let config = DeskConfig { boot: id("run-3"), ..config() };
    let (mut second, step) = Desk::new(config, operators(), vec![record], Wall::EPOCH, at(2000));
    assert_eq!(stages(&step), [Stage::Unknown]);
    let again = second.handle_command(at(2100), open("a"), None);
    assert!(again.order.is_none());
    assert_eq!(stages(&again), [Stage::Unknown]);
}

#[test]
fn when_the_door_loop_restarts_its_orders_end_as_unknown() {
    let mut desk = desk();
    let order = desk.handle_command(at(0), open("a"), None).order.unwrap();
    assert_eq!(stages(&desk.handle_doors_restarted(at(50).wall)), [Stage::Unknown]);
    assert!(desk.handle_report(at(100), report(&order, Progress::Observed)).outcomes.is_empty());
}

fn report_command(jti: &str) -> Command {
    Command { body: CommandBody::ReportsQuery(crate::wire::report::ReportArgs::default()), ..open(jti) }
}

#[test]
fn an_errand_is_not_the_doors_and_outlives_their_restart() {
    let mut desk = desk();
    let errand = desk.handle_command(at(0), report_command("a"), None).errand.unwrap();
    assert!(desk.handle_doors_restarted(at(50).wall).outcomes.is_empty());
    let done = Answer { ticket: errand.ticket, at: at(60).wall, answered: Answered::Done(None) };
    assert_eq!(stages(&desk.handle_answer(at(0), done.clone())), [Stage::Done]);
    assert!(desk.handle_answer(at(0), done).outcomes.is_empty(), "after its end a command says nothing more");
}

#[test]
fn an_errand_carries_what_its_operator_may_see() {
    let mut desk = desk();
    let of_ada = desk.handle_command(at(0), report_command("a"), None).errand.unwrap();
    assert_eq!(of_ada.scope.doors, None);
    let of_max = Command { operator: id("max"), ..report_command("b") };
    let of_max = desk.handle_command(at(0), of_max, None).errand.unwrap();
    assert_eq!(of_max.scope.doors, Some([id("back")].into()));
}

#[test]
fn a_large_answer_is_told_whole_and_remembered_in_a_word() {
    let mut desk = desk();
    let errand = desk.handle_command(at(0), report_command("a"), None).errand.unwrap();
    let page = json!({ "report": "x".repeat(100_000) });
    let answer = Answer { ticket: errand.ticket, at: at(1).wall, answered: Answered::Done(Some(page.clone())) };
    let step = desk.handle_answer(at(0), answer);
    assert_eq!(step.outcomes[0].detail, Some(page));
    let Some(LedgerWrite::Command(record)) = step.commit.writes.last() else { panic!("not stored") };
    assert!(serde_json::to_vec(record).unwrap().len() < 2048);
    let again = desk.handle_command(at(2), report_command("a"), None);
    assert_eq!(stages(&again), [Stage::Done]);
    assert!(again.outcomes[0].detail.as_ref().unwrap()["message"].as_str().unwrap().contains("another jti"));
}

#[test]
fn what_the_catalogues_have_and_the_contract_has_not_is_unsupported_for_those_who_might_use_it() {
    let (records, version) = ([("ada", "automat.admin"), ("eve", "integrator")], SetVersion::default());
    let records = records.map(|(name, role)| (id(name), Record::Operator(Operator::active(id(role)))));
    let permissions = Permissions::compile(records, &topology(), &jiff::tz::TimeZone::UTC, version).unwrap();
    let (mut desk, _) = Desk::new(config(), Arc::new(permissions), vec![], Wall::EPOCH, at(0));
    let photo = |operator: &str| {
        let body = CommandBody::Unsupported { name: "camera.front_photo".to_owned() };
        Command { operator: id(operator), body, ..open(operator) }
    };
    assert_eq!(refusal(&desk.handle_command(at(0), photo("ada"), None)), Some(Refusal::Unsupported));
    assert_eq!(refusal(&desk.handle_command(at(0), photo("eve"), None)), Some(Refusal::Forbidden));
}

fn edit_command(jti: &str) -> Command {
    let body = CommandBody::Delete { kind: "person".to_owned(), id: id("pat") };
    Command { boot: None, body, ..open(jti) }
}

fn made(jti: &str, revision: u64) -> EditMade {
    let change = EditChange::Delete;
    EditMade { operator: id("ada"), jti: id(jti), kind: id("person"), id: id("pat"), change, revision }
}

/// The edits that a commit tells of, and the mark up to which they are told.
fn told(step: &DeskStep) -> (Vec<u64>, Option<u64>) {
    let mut edits = Vec::new();
    let mut mark = None;
    for write in &step.commit.writes {
        match write {
            LedgerWrite::Event(Event { body: EventBody::OverlayEdited(made), .. }) => edits.push(made.revision),
            LedgerWrite::Kept(Kept::EditsTold { revision }) => mark = Some(*revision),
            _ => {}
        }
    }
    (edits, mark)
}

#[test]
fn an_edit_its_event_and_its_outcome_are_one_commit() {
    let mut desk = desk();
    let errand = desk.handle_command(at(0), edit_command("a"), None).errand.unwrap();
    let answer = Answer { ticket: errand.ticket, at: at(1).wall, answered: Answered::Edited(made("a", 7)) };
    let step = desk.handle_answer(at(1), answer);
    assert_eq!(stages(&step), [Stage::Done]);
    assert_eq!(told(&step), (vec![7], Some(7)));
    assert!(matches!(step.commit.writes.last(), Some(LedgerWrite::Command(_))));
    assert_eq!(step.outcomes[0].detail.as_ref().unwrap()["edit"]["revision"], 7);
    // Found again in the mirror, it is not told again.
    let found = desk.handle_edits(at(2), &[made("a", 7), made("b", 8)]);
    assert_eq!(told(&found), (vec![8], Some(8)));
}

#[test]
fn an_edit_that_stands_is_done_after_a_restart_and_told_if_nobody_was() {
    let mut first = desk();
    let mut records = Vec::new();
    for jti in ["a", "b", "c"] {
        let step = first.handle_command(at(0), edit_command(jti), None);
        records.extend(step.commit.writes.into_iter().filter_map(|write| match write {
            LedgerWrite::Command(record) => Some(record),
            _ => None,
        }));
    }
    // Of the second the command was never stored.
    records.retain(|record| record.key.jti != id("b"));
    let edits = EditsAtStart { stand: vec![made("a", 1), made("b", 2)], ..EditsAtStart::default() };
    let config = DeskConfig { boot: id("run-3"), edits, ..config() };
    let (mut second, step) = Desk::new(config.clone(), operators(), records.clone(), Wall::EPOCH, at(2000));
    let ends: Vec<(&str, Stage)> = step.outcomes.iter().map(|outcome| (outcome.jti.as_str(), outcome.stage)).collect();
    assert_eq!(ends, [("a", Stage::Done), ("c", Stage::Unknown)]);
    assert_eq!(told(&step), (vec![1, 2], Some(2)));
    assert_eq!(stages(&second.handle_command(at(2001), edit_command("a"), None)), [Stage::Done]);
    let config = DeskConfig { edits: EditsAtStart { told: 1, ..config.edits.clone() }, ..config };
    let (_, step) = Desk::new(config, operators(), records, Wall::EPOCH, at(2000));
    assert_eq!(told(&step), (vec![2], Some(2)));
}

/// What goes on after a restart: what of the step's writes is kept.
fn kept_of(steps: &[&DeskStep]) -> BTreeMap<crate::domain::kept::KeptKey, Kept> {
    let mut all = BTreeMap::new();
    for write in steps.iter().flat_map(|step| &step.commit.writes) {
        match write {
            LedgerWrite::Kept(kept) => drop(all.insert(kept.key(), kept.clone())),
            LedgerWrite::Unkept(key) => drop(all.remove(key)),
            _ => {}
        }
    }
    all
}

#[test]
fn an_edit_that_was_kept_back_on_the_way_does_not_undo_a_later_one() {
    let room = || DeskConfig { commands_per_operator_max: 100, ..config() };
    let roomy = || Desk::new(room(), operators(), vec![], Wall::EPOCH, at(0)).0;
    let edit = |jti: &str, iat: i64, cmd: &str| {
        let args = if cmd.ends_with(".put") { json!({ "id": "c-1", "body": {} }) } else { json!({ "id": "c-1" }) };
        let body = CommandBody::parse(cmd, Some(args)).unwrap();
        Command { iat: at(iat).wall, exp: at(iat + 80_000_000).wall, body, ..open(jti) }
    };
    let answered = |desk: &mut Desk, errand: &Errand, answered| {
        desk.handle_answer(at(300), Answer { ticket: errand.ticket, at: at(300).wall, answered })
    };
    let unchanged = || Answered::Done(Some(json!({ "edit": { "revision": 7 } })));
    for (later, by) in [("credential.put", Answered::Edited(made("later", 7))), ("credential.delete", unchanged())] {
        let mut desk = roomy();
        let asked = desk.handle_command(at(250), edit("later", 200, later), None).errand.unwrap();
        // While the later one is on its way, and once it is made, also in the next run.
        let early = desk.handle_command(at(260), edit("early", 100, "credential.put"), None);
        assert_eq!((early.errand.is_none(), refusal(&early)), (true, Some(Refusal::Conflict)), "{later}");
        let step = answered(&mut desk, &asked, by);
        assert_eq!(stages(&step), [Stage::Done]);
        for cmd in ["credential.put", "credential.delete"] {
            let early = desk.handle_command(at(400), edit(cmd, 100, cmd), None);
            assert_eq!(refusal(&early), Some(Refusal::Conflict), "{later}, then {cmd}");
        }
        let edits = EditsAtStart::new(Vec::new(), &kept_of(&[&step]));
        let config = DeskConfig { boot: id("run-3"), edits, ..room() };
        let (mut next, _) = Desk::new(config, operators(), vec![], Wall::EPOCH, at(500));
        assert_eq!(
            refusal(&next.handle_command(at(600), edit("early", 100, "credential.put"), None)),
            Some(Refusal::Conflict)
        );
        // What was issued later, or is of another record, is made.
        assert!(next.handle_command(at(600), edit("last", 300, "credential.put"), None).errand.is_some());
        assert!(next.handle_command(at(600), edit("other", 100, "person.put"), None).errand.is_some());
    }
    // What the cloud itself has said since is not undone either: of the records that it named, or of all.
    for touched in [Some(vec![(id("credential"), id("c-1"))]), None] {
        let mut desk = roomy();
        let writes = desk.handle_set(at(250), touched.clone(), at(200).wall);
        let early = desk.handle_command(at(260), edit("early", 100, "credential.put"), None);
        assert_eq!(refusal(&early), Some(Refusal::Conflict), "{touched:?}");
        let other = desk.handle_command(at(260), edit("other", 100, "person.put"), None);
        assert_eq!(other.errand.is_some(), touched.is_some(), "{touched:?}");
        assert!(desk.handle_command(at(260), edit("late", 201, "credential.put"), None).errand.is_some());
        let kept = DeskStep { commit: Commit { writes, ..Commit::default() }, ..DeskStep::default() };
        let edits = EditsAtStart::new(Vec::new(), &kept_of(&[&kept]));
        let (mut next, _) = Desk::new(DeskConfig { edits, ..room() }, operators(), vec![], Wall::EPOCH, at(500));
        assert_eq!(
            refusal(&next.handle_command(at(600), edit("early", 100, "credential.put"), None)),
            Some(Refusal::Conflict)
        );
    }
    // A set that was signed by a clock that runs ahead holds up what is issued now for no longer than clocks may differ.
    let mut ahead = roomy();
    let _ = ahead.handle_set(at(250), None, at(90_000_000).wall);
    assert!(ahead.handle_command(at(6_000), edit("now", 6_000, "credential.put"), None).errand.is_some());
    // A start whose log may not know of the set takes it for all records.
    let edits = EditsAtStart::default().after_set(Some(at(200).wall));
    let (mut next, step) = Desk::new(DeskConfig { edits, ..room() }, operators(), vec![], Wall::EPOCH, at(500));
    assert_eq!(refusal(&next.handle_command(at(600), edit("early", 100, "person.put"), None)), Some(Refusal::Conflict));
    assert!(matches!(step.commit.writes.as_slice(), [LedgerWrite::Kept(Kept::EditsFloor { .. })]));
    // One that came to nothing keeps nothing back.
    let mut desk = roomy();
    let asked = desk.handle_command(at(250), edit("later", 200, "credential.put"), None).errand.unwrap();
    let _ = answered(&mut desk, &asked, Answered::Refused(Refusal::OutOfScope, json!({})));
    assert!(desk.handle_command(at(260), edit("early", 100, "credential.put"), None).errand.is_some());
}

#[test]
fn an_edit_that_is_refused_for_want_of_authority_is_an_event() {
    let mut desk = desk();
    let refused = |desk: &mut Desk, jti: &str, refusal| {
        let errand = desk.handle_command(at(0), edit_command(jti), None).errand.unwrap();
        let answered = Answered::Refused(refusal, json!({ "message": "reaches the vault" }));
        let step = desk.handle_answer(at(1), Answer { ticket: errand.ticket, at: at(1).wall, answered });
        assert_eq!(stages(&step), [Stage::Refused]);
        step.commit.writes.into_iter().find_map(|write| match write {
            LedgerWrite::Event(event) => Some(event.body),
            _ => None,
        })
    };
    let expected = EventBody::OperatorRefused {
        operator: id("ada"),
        jti: id("a"),
        command: "person.delete".to_owned(),
        reason: Refusal::OutOfScope,
        detail: Some("reaches the vault".to_owned()),
    };
    assert_eq!(refused(&mut desk, "a", Refusal::OutOfScope), Some(expected));
    assert_eq!(refused(&mut desk, "b", Refusal::Conflict), None);
}

#[test]
fn orders_that_nobody_owns_any_more_end_in_the_order_in_which_they_came() {
    let config = DeskConfig { commands_per_operator_max: 100, ..config() };
    let (mut desk, _) = Desk::new(config, operators(), vec![], Wall::EPOCH, at(0));
    let ids: Vec<Id> = (0..20).map(|n| id(&format!("j-{n}"))).collect();
    for jti in &ids {
        assert!(desk.handle_command(at(0), open(jti), None).order.is_some());
    }
    let ended: Vec<Id> = desk.handle_doors_restarted(at(50).wall).outcomes.into_iter().map(|o| o.jti).collect();
    assert_eq!(ended, ids);
}

#[test]
fn a_stopping_node_takes_no_commands() {
    let mut desk = desk();
    let _ = desk.handle_stop(at(0).wall);
    assert_eq!(refusal(&desk.handle_command(at(0), open("a"), None)), Some(Refusal::Overloaded));
}

#[test]
fn a_retained_command_is_refused_for_good_and_takes_back_nothing_that_was_done() {
    let mut desk = desk();
    let token = MessageToken { connection: 1, packet_id: 1 };
    let refused = desk.handle_retained(at(0), open("a"), token);
    assert_eq!(refusal(&refused), Some(Refusal::Retained));
    assert!(refused.commit.writes.iter().any(|write| matches!(write, LedgerWrite::Event(_))));
    let without_the_flag = desk.handle_command(at(100), open("a"), None);
    assert_eq!(refusal(&without_the_flag), Some(Refusal::Retained), "the broker cannot revive it");

    let order = desk.handle_command(at(0), open("b"), None).order.unwrap();
    let _ = desk.handle_report(at(100), report(&order, Progress::Actuated { observation_follows: false }));
    let with_the_flag = desk.handle_retained(at(100), open("b"), token);
    assert_eq!(stages(&with_the_flag), [Stage::Actuated], "nor have it called refused");
}

#[test]
fn a_command_before_its_nbf_waits_on_when_the_clock_is_put_back() {
    let mut desk = desk();
    let nbf = Some(at(1000).wall);
    let step = desk.handle_command(at(0), Command { nbf, ..open("a") }, None);
    assert_eq!((stages(&step), promised(step)), (vec![Stage::Received], vec![Stage::Scheduled]));
    let put_back = Now { wall: at(500).wall, ..at(1000) };
    let early = desk.handle_timeout(put_back);
    assert!(early.order.is_none());
    assert!(early.outcomes.is_empty());
    assert_eq!(desk.next_deadline(), Some(at(1500).mono));
    let due = desk.handle_timeout(Now { wall: at(1000).wall, ..at(1500) });
    assert!(due.order.is_some());
}

#[test]
fn revoking_a_key_cancels_what_it_had_scheduled() {
    let mut desk = desk();
    let nbf = Some(at(1000).wall);
    let _ = desk.handle_command(at(0), Command { nbf, kid: id("cmd-0"), ..open("a") }, None);
    let _ = desk.handle_command(at(0), Command { nbf, kid: id("cmd-1"), ..open("b") }, None);
    let step = desk.handle_keys(at(100).wall, &crate::wire::testkit::keys());
    assert_eq!(written(&step), [(id("a"), Stage::Cancelled)]);
    assert_eq!((stages(&step), promised(step)), (vec![], vec![Stage::Cancelled]), "no crash may take it back");
    let due = desk.handle_timeout(at(1000));
    assert_eq!(due.order.unwrap().by.cause(), Some(&id("b")));
    assert!(desk.next_deadline().is_none());
}

#[test]
fn what_became_of_a_command_with_nbf_is_told_once_it_is_durable_also_to_whoever_asks_again() {
    let later = || Command { nbf: Some(at(1000).wall), kid: id("cmd-0"), ..open("a") };
    let end = |desk: &mut Desk, how: &str| match how {
        "the key was revoked" => desk.handle_keys(at(100).wall, &crate::wire::testkit::keys()),
        "the node stops" => desk.handle_stop(at(100).wall),
        _ => desk.handle_timeout(at(5001)),
    };
    for (how, stage) in [
        ("the key was revoked", Stage::Cancelled),
        ("the node stops", Stage::Cancelled),
        ("nobody looked in time", Stage::Expired),
    ] {
        let mut desk = desk();
        let held = desk.handle_command(at(0), later(), None);
        let again = desk.handle_command(at(1), later(), None);
        assert_eq!((stages(&again), promised(again)), (vec![], vec![Stage::Scheduled]), "{how}");
        assert_eq!(promised(held), [Stage::Scheduled]);
        let ended = end(&mut desk, how);
        assert_eq!(written(&ended), [(id("a"), stage)], "{how}");
        let again = desk.handle_command(at(101), later(), None);
        assert_eq!((stages(&again), promised(again)), (vec![], vec![stage]), "{how}: after the ledger has it");
        assert_eq!((stages(&ended), promised(ended)), (vec![], vec![stage]), "{how}: told once");
    }
    // A crash before that: the next run says that nobody knows, which contradicts nothing that was told.
    let mut desk = desk();
    let held = desk.handle_command(at(0), later(), None);
    let stored = held.commit.writes.iter().find_map(|write| match write {
        LedgerWrite::Command(record) => Some(record.clone()),
        _ => None,
    });
    let lost = desk.handle_keys(at(100).wall, &crate::wire::testkit::keys());
    assert_eq!(stages(&lost), []);
    let (_, next) = Desk::new(config(), operators(), stored.into_iter().collect(), Wall::EPOCH, at(200));
    assert_eq!((stages(&next), next.outcomes[0].seq), (vec![Stage::Unknown], 2));
}

#[test]
fn a_command_whose_nbf_has_come_moves_before_the_disk_has_heard_of_it() {
    let mut desk = desk();
    let _ = desk.handle_command(at(0), Command { nbf: Some(at(1000).wall), ..open("a") }, None);
    let due = desk.handle_timeout(at(1000));
    let order = due.order.as_ref().unwrap();
    let actuated = desk.handle_report(at(1100), report(order, Progress::Actuated { observation_follows: false }));
    assert_eq!((stages(&due), promised(due)), (vec![], vec![Stage::Authorised]));
    assert_eq!((stages(&actuated), promised(actuated)), (vec![], vec![Stage::Actuated]), "in their order");
}

#[test]
fn without_a_ledger_what_the_fence_guards_is_carried_out_questions_are_answered_and_the_rest_is_refused() {
    let why = || Some("/var/lib/latchd/ledger.sled: not writable".to_owned());
    let new =
        || Desk::new(DeskConfig { ledger_withheld: why(), ..config() }, operators(), vec![], Wall::EPOCH, at(0)).0;
    let of = |cmd: &str, args: Value| {
        let body = CommandBody::parse(cmd, Some(args)).unwrap();
        Command { body, ..open("a") }
    };
    let door = || json!({ "door": "front" });
    let token = MessageToken { connection: 1, packet_id: 7 };
    for (cmd, args) in [
        ("door.open", door()),
        ("door.open_and_close", door()),
        ("door.close", door()),
        ("lockdown.set", json!({ "node": true })),
        ("door.state.get", door()),
        ("person.list", json!({})),
        ("node.diagnostics", json!({})),
        ("configuration.get", json!({})),
    ] {
        let mut desk = new();
        let step = desk.handle_command(at(0), of(cmd, args.clone()), Some(token));
        assert_eq!((stages(&step).last(), step.acknowledged), (Some(&Stage::Authorised), Some(token)), "{cmd}");
        assert!(step.commit.held.is_empty(), "{cmd}: nothing waits for a disk that is not there");
        let again = desk.handle_command(at(10), of(cmd, args), Some(token));
        assert!(again.order.is_none() && again.errand.is_none(), "{cmd}: this run knows what it was asked");
    }
    for (cmd, args) in [
        ("door.open_with_delay", json!({ "door": "front", "delay_ms": 1000 })),
        ("door.cancel_delay", door()),
        ("alarm.acknowledge", json!({ "alarm": "alarm-1" })),
        ("apb.clear", json!({ "person": "ada" })),
        ("group.put", json!({ "id": "guests", "body": {} })),
        ("group.delete", json!({ "id": "guests" })),
        ("reports.query", json!({})),
        ("node.reboot", json!({})),
    ] {
        let mut desk = new();
        let step = desk.handle_command(at(0), of(cmd, args), Some(token));
        assert_eq!(refusal(&step), Some(Refusal::Overloaded), "{cmd}");
        let message = step.outcomes[0].detail.as_ref().unwrap()["message"].as_str().unwrap();
        assert!(message.contains("not writable"), "{message}");
        assert_eq!((step.acknowledged, step.commit.writes.len()), (Some(token), 0), "{cmd}");
    }
    let waits = Command { nbf: Some(at(1000).wall), ..open("later") };
    assert_eq!(refusal(&new().handle_command(at(0), waits, None)), Some(Refusal::Overloaded));
    let other_run = Command { boot: Some(id("run-1")), ..open("old") };
    assert_eq!(stages(&new().handle_command(at(0), other_run, None)).last(), Some(&Stage::Unknown));
}

#[test]
fn a_closing_does_not_wait_for_its_nbf_by_a_clock_that_nobody_trusts() {
    let mut desk = desk();
    let nbf = Some(at(4000).wall);
    let body = CommandBody::DoorClose(DoorArgs { door: id("front") });
    let step = desk.handle_command(
        Now { trust: ClockTrust::Untrusted, wall: Wall::EPOCH, ..at(0) },
        Command { nbf, body, ..open("a") },
        None,
    );
    assert!(step.order.is_some());
}
