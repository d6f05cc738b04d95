//! The staleness contract and the untrusted clock, door by door.

use super::*;

fn policy(name: &str, door: &str, more: Value) -> (String, Value) {
    let mut body = json!({ "doors": [door] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    record("door_policy", name, body)
}

fn fallbacks(events: &[Value]) -> Vec<String> {
    let of: Vec<Value> = events
        .iter()
        .filter(|event| event["type"].as_str().is_some_and(|t| t.starts_with("fallback.")))
        .cloned()
        .collect();
    told(&of, &["policy", "doors", "fallback"])
}

#[test]
fn a_stale_set_admits_whom_the_doors_policy_says_and_tells_when_it_begins_and_ends() {
    let policies = [
        policy("vault", "front", json!({ "stale_after_s": 3600, "when_stale": "critical_groups" })),
        policy("shed", "back", json!({ "stale_after_s": 7200, "when_stale": "deny" })),
    ];
    let mut scene = Scene::new(&[staff("card"), policies[0].clone(), policies[1].clone()]);
    assert_eq!(scene.wait(3_599_000), Vec::<Value>::new());
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.granted ada"]);
    let events = scene.wait(1_000);
    assert_eq!(
        fallbacks(&events),
        [
            r#"fallback.entered vault ["front"] {"cause":"stale","then":"critical_groups"}"#,
            r#"fallback.entered vault ["front"] {"cause":"emergency_cards"}"#,
        ]
    );
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied stale_permissions ada"]);
    assert_eq!(access(&scene.card(FRONT_IN, EVE)), ["access.granted eve"]);
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.granted ada"], "not yet");
    assert_eq!(fallbacks(&scene.wait(3_600_000)).len(), 1);
    assert_eq!(access(&scene.card(BACK_IN, EVE)), ["access.denied stale_permissions eve"]);
    let left = fallbacks(&scene.beat());
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|line| line.starts_with("fallback.left ")), "{left:?}");
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.granted ada"]);
}

#[test]
fn staleness_goes_on_through_a_restart_is_told_once_and_unknown_is_stale() {
    let strict = policy("vault", "front", json!({ "stale_after_s": 3600, "when_stale": "deny" }));
    let mut scene = Scene::new(&[staff("card"), strict]);
    scene.wait(1_800_000);
    assert_eq!(fallbacks(&scene.restart(1_000)), Vec::<String>::new());
    scene.hears_the_boards();
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.granted ada"]);
    assert_eq!(fallbacks(&scene.wait(800_000)).len(), 1);
    assert_eq!(fallbacks(&scene.restart(10)), Vec::<String>::new(), "it was told before");
    scene.beat();
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.granted ada"]);
    scene.now.trust = ClockTrust::Untrusted;
    let told = fallbacks(&scene.restart(10));
    assert!(told.iter().any(|line| line.contains(r#""cause":"stale""#)), "{told:?}");
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied stale_permissions ada"]);
}

#[test]
fn without_a_clock_each_door_falls_back_as_its_policy_says() {
    let afternoon =
        record("schedule", "never", json!({ "dates": [{ "date": "2000-01-01", "from": "00:00", "to": "24:00" }] }));
    let rule = record(
        "access_rule",
        "staff",
        json!({ "effect": "allow", "groups": ["staff"], "doors": ["front", "back"], "schedule": "never" }),
    );
    let ignores = policy("shed", "back", json!({ "clock_untrusted": "ignore_schedules" }));
    let mut scene = Scene::new(&[afternoon, rule, ignores]);
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.denied outside_schedule ada"]);
    let events = scene.trust(ClockTrust::Untrusted);
    assert_eq!(
        fallbacks(&events),
        [
            r#"fallback.entered shed ["back"] {"cause":"clock_untrusted","then":"ignore_schedules"}"#,
            r#"fallback.entered ["front"] {"cause":"clock_untrusted","then":"always_rules"}"#,
        ]
    );
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied clock_untrusted ada"]);
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.granted ada"]);
    scene.put(&[policy("shed", "back", json!({ "clock_untrusted": "emergency_cards" }))]);
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.denied emergency_only ada"]);
    assert_eq!(fallbacks(&scene.trust(ClockTrust::Trusted)).len(), 3);
}

#[test]
fn nobody_is_asked_for_a_pin_who_would_not_pass_with_it() {
    let strict = policy("vault", "front", json!({ "stale_after_s": 60, "when_stale": "emergency_cards" }));
    let mut scene = Scene::new(&[staff("card_and_pin"), strict]);
    scene.card(FRONT_IN, ADA);
    for _ in 0..7 {
        scene.wait(9_000);
        scene.types("*1");
    }
    assert_eq!(access(&scene.types("*1234#")), ["access.denied emergency_only ada"], "it went stale meanwhile");
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied emergency_only ada"]);
}

#[test]
fn a_policy_that_is_deleted_is_left() {
    let strict = policy("vault", "front", json!({ "stale_after_s": 60, "when_stale": "deny" }));
    let mut scene = Scene::new(&[staff("card"), strict]);
    scene.wait(60_000);
    assert_eq!(fallbacks(&scene.delete("door_policy/vault")).len(), 1);
    assert_eq!(
        (access(&scene.card(FRONT_IN, ADA)), scene.kept("fallbacks")),
        (vec!["access.granted ada".to_owned()], 0)
    );
}
