//! System events through the controller: a set is compiled, something happens, doors and outputs follow.

use serde_json::{Value, json};

use super::{
    beside::{SIREN, field, task},
    *,
};
use crate::domain::outputs::Desired;

/// The set of the other tests, with these records besides. `op` may control doors, but is limited to `back`.
fn set(generation: u64, more: &[(&str, &str, Value)]) -> Result<Arc<Permissions>, Vec<String>> {
    let text = CardFormats::built_in().read(GOOD).texts().first().cloned().expect("a text");
    let rule = AccessRule { persons: vec![id("p-1")], doors: vec![id("front")], ..AccessRule::new(RuleEffect::Allow) };
    let mut records = vec![
        (id("p-1"), Record::Person(Person::default())),
        (id("c-1"), Record::Credential(Credential::card(id("p-1"), token(&key(), &text)))),
        (id("r-1"), Record::AccessRule(rule)),
    ];
    for (kind, name, body) in more {
        let record = record(kind, body.clone());
        records.push((id(name), record));
    }
    let version = SetVersion { epoch: 3, generation, digest: [0; 32] };
    let zone = jiff::tz::TimeZone::UTC;
    Permissions::compile(records, &topology_with_siren(), &zone, version).map(Arc::new)
}

fn record(kind: &str, body: Value) -> Record {
    match kind {
        "schedule" => Record::Schedule(serde_json::from_value(body).expect("a schedule")),
        "operator" => Record::Operator(serde_json::from_value(body).expect("an operator")),
        _ => Record::SystemEvent(serde_json::from_value(body).expect("a system event")),
    }
}

fn topology_with_siren() -> Topology {
    Topology { outputs: vec![id("siren")], ..topology() }
}

fn started(now: Now, lasting: Lasting, more: &[(&str, &str, Value)]) -> Bench {
    let set = set(42, more).expect("a sound set");
    Bench::start(now, super::machines(&field(), &[]), ReaderAt::Door(FRONT), lasting, topology_with_siren(), set).0
}

fn bench_with(lasting: Lasting, more: &[(&str, &str, Value)]) -> Bench {
    let mut bench = started(NOW, lasting, more);
    for board in [RELAYS, GATE] {
        let _ = bench.bus(BusReport::BoardUp { board });
        let _ = bench.input(board, CONTACT, true);
        let _ = bench.confirm(if board == RELAYS { FRONT } else { BACK });
    }
    bench
}

fn bench(more: &[(&str, &str, Value)]) -> Bench {
    bench_with(Lasting::default(), more)
}

fn system_event(when: Value, actions: Value) -> (&'static str, &'static str, Value) {
    ("system_event", "s", json!({ "when": when, "do": actions }))
}

fn by_author(mut event: (&'static str, &'static str, Value)) -> (&'static str, &'static str, Value) {
    event.2["author"] = json!("op");
    event
}

fn operator(state: &str) -> (&'static str, &'static str, Value) {
    ("operator", "op", json!({ "status": { "state": state }, "role": "integrator", "doors": ["back"] }))
}

fn opens_contact() -> Value {
    json!({ "trigger": "contact_opened", "doors": ["front"] })
}

fn kept(steps: &[&Step]) -> Lasting {
    let mut lasting = Lasting::default();
    for step in steps {
        step.commit.writes.iter().for_each(|write| lasting.note(write));
    }
    lasting
}

fn siren(bench: &Bench) -> Desired {
    *bench.controller.desired().iter().find(|desired| desired.output == SIREN).expect("the siren is driven")
}

fn detail(step: &Step, kind: &str) -> Value {
    let mut found = events(step).into_iter().map(|event| serde_json::to_value(event).expect("an event"));
    found.rfind(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {:?}", types(step)))
}

#[test]
fn a_contact_that_opens_pulses_an_output_and_the_event_says_by_what() {
    let pulse = json!([{ "action": "output_pulse", "output": "siren", "pulse_ms": 700 }]);
    let mut bench = bench(&[system_event(opens_contact(), pulse)]);
    let step = bench.input(RELAYS, CONTACT, false);
    assert_eq!(types(&step), ["door.opened", "door.forced", "system_event.fired"]);
    let fired = detail(&step, "system_event.fired");
    assert_eq!((&fired["trigger"], &fired["door"]), (&json!("contact_opened"), &json!("front")));
    let Desired { output, level, order, until, .. } = siren(&bench);
    assert_eq!(level, Level::Energised);
    assert!(until.is_some() && order.is_some_and(|(ticket, _)| ticket.is_own()));
    let done = bench.bus(BusReport::Output { output, level, order: order.map(|(ticket, _)| ticket) });
    let actor = detail(&done, "output.pulsed")["actor"].clone();
    assert_eq!(actor, json!({ "by": "system_event", "system_event": "s" }));
    assert!(done.reports.is_empty(), "no command asked for it");
    bench.pass(701);
    let _ = bench.tell(Input::Timeout);
    assert_eq!(siren(&bench).level, Level::Released);
}

#[test]
fn three_swipes_of_one_credential_do_what_two_do_not() {
    let when = json!({ "trigger": "multi_swipe", "swipes": 3, "within_ms": 2000 });
    let open = json!([{ "action": "door_open", "doors": ["back"] }]);
    let mut bench = bench(&[system_event(when, open)]);
    for fired in [false, false, true] {
        let step = bench.present(GOOD);
        assert_eq!(types(&step).contains(&"system_event.fired".to_owned()), fired);
        assert_eq!(bench.unlocked(BACK), fired);
        bench.pass(500);
    }
    let _ = bench.confirm(BACK);
    bench.pass(3_600_000);
    let _ = bench.tell(Input::Timeout);
    assert!(bench.unlocked(BACK), "until it is closed");
}

#[test]
fn it_acts_only_within_the_scope_that_its_author_has_when_it_fires() {
    let both = json!([{ "action": "door_open_and_close", "doors": ["front", "back", "elsewhere"] }]);
    let when = json!({ "trigger": "rex", "doors": ["back"] });
    let event = by_author(system_event(when, both));
    let mut bench = bench(&[operator("active"), event.clone()]);
    let step = bench.input(GATE, REX, true);
    let refused = detail(&step, "system_event.refused");
    assert_eq!((&refused["target"], &refused["reason"]), (&json!("front"), &json!("out_of_scope")));
    assert_eq!(
        types(&step).iter().filter(|kind| *kind == "system_event.refused").count(),
        1,
        "of what is not here nobody tells"
    );
    assert!(bench.unlocked(BACK) && !bench.unlocked(FRONT));
    // Suspended since: nothing at all.
    let _ = bench.input(GATE, REX, false);
    let _ = bench.tell(Input::Permissions(set(43, &[operator("suspended"), event]).expect("a set")));
    let step = bench.input(GATE, REX, true);
    let reasons: Vec<Value> = events(&step)
        .into_iter()
        .map(|event| serde_json::to_value(event).expect("an event"))
        .filter(|event| event["type"] == "system_event.refused")
        .map(|event| event["reason"].clone())
        .collect();
    assert_eq!(reasons, [json!("operator_suspended"), json!("operator_suspended")]);
}

#[test]
fn outside_of_its_schedule_it_does_not_fire_and_without_a_clock_only_what_secures_is_done() {
    let schedule = ("schedule", "noon", json!({ "weekly": [{ "days": ["monday"], "from": "00:00", "to": "00:01" }] }));
    let mut event = system_event(
        opens_contact(),
        json!([
            { "action": "door_open", "doors": ["back"] },
            { "action": "alarm", "text": "opened" },
        ]),
    );
    event.2["schedule"] = json!("noon");
    let mut bench = bench(&[schedule, event]);
    let step = bench.input(RELAYS, CONTACT, false);
    assert!(!types(&step).contains(&"system_event.fired".to_owned()));
    let _ = bench.input(RELAYS, CONTACT, true);
    bench.now.trust = ClockTrust::Untrusted;
    let step = bench.input(RELAYS, CONTACT, false);
    assert!(types(&step).contains(&"alarm.raised".to_owned()));
    assert!(!bench.unlocked(BACK));
}

#[test]
fn what_it_does_by_a_clock_that_runs_ahead_keeps_no_operator_from_the_door_afterwards() {
    for (action, trusted_until) in [("door_close", false), ("lockdown_set", false), ("door_close", true)] {
        let mut bench = bench(&[system_event(opens_contact(), json!([{ "action": action, "doors": ["back"] }]))]);
        let honest = bench.now;
        if !trusted_until {
            bench.now.trust = ClockTrust::Untrusted;
        }
        bench.now.wall = honest.wall + Duration::from_secs(12 * 365 * 86_400);
        let step = bench.input(RELAYS, CONTACT, false);
        assert!(types(&step).contains(&"system_event.fired".to_owned()), "{action}");
        let _ = bench.confirm(BACK);
        bench.now = Now { mono: bench.now.mono, ..honest };
        let _ = bench.order(BACK, DoorAction::Lockdown(false));
        let _ = bench.confirm(BACK);
        bench.pass(10);
        let _ = bench.order(BACK, DoorAction::Open);
        // A clock that was trusted is the only word that there is on what came later.
        assert_eq!(bench.unlocked(BACK), !trusted_until, "{action}");
    }
}

#[test]
fn an_opening_that_was_put_off_survives_a_restart_in_time_and_expires_over_one_that_took_too_long() {
    let delayed = |action: &str| {
        system_event(opens_contact(), json!([{ "action": action, "doors": ["back"], "delay_ms": 10_000 }]))
    };
    for (action, down_ms, unlocked, outcome) in [
        ("door_open_with_delay", 2_000, true, None),
        ("door_open_with_delay", 20_000, false, Some("expired")),
        ("door_close_with_delay", 20_000, false, None),
    ] {
        let mut first = bench(&[delayed(action)]);
        let step = first.input(RELAYS, CONTACT, false);
        first.pass(down_ms);
        let mut second = started(first.now, kept(&[&step]), &[delayed(action)]);
        let mut told: Vec<Value> = Vec::new();
        let mut hear = |step: Step| {
            told.extend(events(&step).into_iter().map(|event| serde_json::to_value(event).expect("an event")));
        };
        hear(second.bus(BusReport::BoardUp { board: GATE }));
        for _ in 0..20 {
            second.pass(1_000);
            hear(second.tell(Input::Timeout));
            let _ = second.confirm(BACK);
        }
        assert_eq!(second.unlocked(BACK), unlocked, "{action} after {down_ms} ms");
        let failed: Vec<_> = told.iter().filter(|event| event["type"] == "system_event.failed").collect();
        assert_eq!(failed.first().map(|event| event["outcome"].as_str()), outcome.map(Some), "{action}: {told:?}");
    }
}

#[test]
fn a_delay_that_the_set_no_longer_asks_for_is_cancelled() {
    let delayed = json!([{ "action": "door_open_with_delay", "doors": ["back"], "delay_ms": 1000 }]);
    let mut bench = bench(&[system_event(opens_contact(), delayed)]);
    let _ = bench.input(RELAYS, CONTACT, false);
    let step = bench.tell(Input::Permissions(set(43, &[]).expect("a set")));
    assert_eq!(detail(&step, "system_event.failed")["outcome"], "cancelled");
    bench.pass(2_000);
    let _ = bench.tell(Input::Timeout);
    assert!(!bench.unlocked(BACK));
}

#[test]
fn a_close_cancels_what_a_system_event_had_put_off() {
    let delayed = json!([{ "action": "door_open_with_delay", "doors": ["back"], "delay_ms": 1000 }]);
    let mut bench = bench(&[system_event(opens_contact(), delayed)]);
    let _ = bench.input(RELAYS, CONTACT, false);
    let (_, step) = bench.order(BACK, DoorAction::Close);
    assert_eq!(detail(&step, "system_event.failed")["outcome"], "cancelled");
    bench.pass(2_000);
    let _ = bench.tell(Input::Timeout);
    assert!(!bench.unlocked(BACK));
}

#[test]
fn one_system_event_takes_back_what_another_has_put_off_and_moves_nothing() {
    let delayed = json!([{ "action": "door_open_with_delay", "doors": ["front", "back"], "delay_ms": 1000 }]);
    let (_, _, mut takes_back) =
        system_event(json!({ "trigger": "rex" }), json!([{ "action": "door_cancel_delay", "doors": ["back"] }]));
    takes_back["name"] = json!("enough");
    let mut bench = bench(&[system_event(opens_contact(), delayed), ("system_event", "t", takes_back)]);
    let _ = bench.input(RELAYS, CONTACT, false);
    let before = bench.controller.door_statuses().to_vec();
    let step = bench.input(GATE, REX, true);
    let failed = detail(&step, "system_event.failed");
    assert_eq!((&failed["system_event"], &failed["outcome"]), (&json!("s"), &json!("cancelled")));
    assert!(failed["detail"].as_str().unwrap().contains("door.cancel_delay"), "{failed}");
    // The delays of commands are with the desk.
    let closed: Vec<_> = step.closed.iter().map(|(door, closed)| (*door, closed.command)).collect();
    assert_eq!(closed, [(BACK, "door.cancel_delay")]);
    let _ = bench.input(GATE, REX, false);
    assert_eq!(bench.controller.door_statuses()[FRONT.index()].mode, before[FRONT.index()].mode);
    bench.pass(900_000);
    let _ = bench.tell(Input::Timeout);
    let _ = bench.confirm(BACK);
    assert!(!bench.unlocked(BACK) && bench.unlocked(FRONT));
}

#[test]
fn what_a_system_event_has_put_off_is_listed_at_its_door_and_taken_back_by_command() {
    let delayed = json!([{ "action": "door_open_with_delay", "doors": ["front", "back"], "delay_ms": 60_000 }]);
    for named in [None, Some("s")] {
        let mut bench = bench(&[system_event(opens_contact(), delayed.clone())]);
        let pending = |bench: &Bench| match bench.controller.status(&Thing::Door(BACK)) {
            Some(Status::Door(status)) => status.delays,
            other => panic!("{other:?}"),
        };
        assert!(pending(&bench).is_empty());
        let step = bench.input(RELAYS, CONTACT, false);
        assert!(step.changed.contains(&Thing::Door(BACK)), "its state is to be told again");
        let listed = pending(&bench);
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0].system_event, &listed[0].jti), (&Some(id("s")), &None));
        assert_eq!(listed[0].due_at, bench.now.wall + std::time::Duration::from_secs(60));

        let cancel = |system_event: Option<&str>| Task::CancelDelays { door: BACK, system_event: system_event.map(id) };
        let step = task(&mut bench, cancel(Some("other")));
        let refused = step.reports.first().map(|report| report.progress.clone());
        assert!(matches!(refused, Some(Progress::Refused(Refusal::UnknownTarget, _))), "{refused:?}");
        let step = task(&mut bench, cancel(named));
        assert_eq!(detail(&step, "system_event.failed")["outcome"], "cancelled");
        assert!(step.changed.contains(&Thing::Door(BACK)));
        assert!(step.reports.is_empty(), "not before it is durable");
        let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
        assert!(matches!(&held[..], [Effect::Report(report)] if report.progress == Progress::Done), "{held:?}");
        assert!(pending(&bench).is_empty());
        bench.pass(70_000);
        let _ = bench.tell(Input::Timeout);
        assert!(!bench.unlocked(BACK) && bench.unlocked(FRONT));
    }
}

#[test]
fn a_lockdown_a_force_and_do_not_disturb_act_as_if_ordered_and_toggle_from_what_is() {
    use crate::domain::door::Mode;
    let mode = |bench: &Bench, door: DoorIx| bench.controller.door_statuses()[door.index()].mode;
    for (actions, after_one, after_two) in [
        (json!([{ "action": "lockdown_set", "node": true }]), Mode::LockedDown, Mode::LockedDown),
        (json!([{ "action": "door_dnd", "doors": ["back"], "on": true }]), Mode::Blocked, Mode::Blocked),
        (json!([{ "action": "door_dnd_toggle", "doors": ["back"] }]), Mode::Blocked, Mode::Locked),
        (json!([{ "action": "door_force", "doors": ["back"], "state": "open" }]), Mode::LockedOpen, Mode::LockedOpen),
        (json!([{ "action": "door_force_toggle", "doors": ["back"] }]), Mode::LockedOpen, Mode::Locked),
    ] {
        let mut bench = bench(&[system_event(opens_contact(), actions.clone())]);
        for expected in [after_one, after_two] {
            let step = bench.input(RELAYS, CONTACT, false);
            assert!(step.reports.is_empty(), "no command asked for it");
            let _ = bench.confirm(BACK);
            let _ = bench.confirm(FRONT);
            assert_eq!(mode(&bench, BACK), expected, "{actions}");
            let _ = bench.input(RELAYS, CONTACT, true);
        }
    }
}

#[test]
fn what_cannot_be_carried_out_is_told_with_its_reason() {
    let open = json!([{ "action": "door_open", "doors": ["back"] }]);
    let mut bench = bench(&[system_event(opens_contact(), open)]);
    let _ = bench.bus(BusReport::BoardLost { board: GATE, detail: "silence".into() });
    let step = bench.input(RELAYS, CONTACT, false);
    assert_eq!(detail(&step, "system_event.refused")["reason"], "bus_down");
}

#[test]
fn a_contact_that_chatters_fires_within_the_budget_and_the_rest_is_counted() {
    let notify = json!([{ "action": "notify", "text": "moved" }]);
    let mut bench = bench(&[system_event(opens_contact(), notify)]);
    let (mut sent, mut suppressed) = (0, 0);
    for round in 0..2_000 {
        let step = bench.input(RELAYS, CONTACT, round % 2 == 0);
        let more = bench.tell(Input::Timeout);
        for kind in types(&step).into_iter().chain(types(&more)) {
            sent += usize::from(kind == "notification.sent");
            suppressed += usize::from(kind == "system_event.suppressed");
        }
        bench.pass(10);
    }
    assert!((10..=31).contains(&sent), "{sent}");
    assert_eq!(suppressed, 1);
}

#[test]
fn a_lost_cloud_fires_once_also_over_a_restart_and_its_return_too() {
    let lost = ("system_event", "lost", json!({ "when": { "trigger": "cloud_lost" }, "do": [{ "action": "alarm" }] }));
    let back =
        ("system_event", "back", json!({ "when": { "trigger": "cloud_restored" }, "do": [{ "action": "notify" }] }));
    let records = [lost, back];
    let mut first = bench(&records);
    let connected = |connected| Input::Cloud(CloudState { connected, ..CloudState::default() });
    assert_eq!(types(&first.tell(connected(true))), Vec::<String>::new());
    let gone = first.tell(connected(false));
    assert_eq!(types(&gone), ["system_event.fired", "alarm.raised"]);
    let mut second = bench_with(kept(&[&gone]), &records);
    second.pass(120_000);
    assert_eq!(types(&second.tell(Input::Timeout)), Vec::<String>::new());
    assert_eq!(types(&second.tell(connected(true))), ["system_event.fired", "notification.sent"]);
    // From a start without a cloud it is lost after its time.
    let mut third = bench(&records);
    third.pass(61_000);
    assert_eq!(types(&third.tell(Input::Timeout)), ["system_event.fired", "alarm.raised"]);
}

#[test]
fn a_set_with_a_loop_is_refused_and_the_loop_is_named() {
    let a = (
        "system_event",
        "a",
        json!({ "when": { "trigger": "propped" }, "do": [{ "action": "door_open", "doors": ["front"] }] }),
    );
    let b = (
        "system_event",
        "b",
        json!({ "when": { "trigger": "alarm_cleared" }, "do": [{ "action": "door_close", "doors": ["front"] }] }),
    );
    let faults = set(42, &[a, b]).expect_err("a loop");
    assert_eq!(
        faults,
        [
            "system_event a: goes round in a loop: a --door.open, alarm_cleared at front--> b --door.close, propped at front--> a"
        ]
    );
}
