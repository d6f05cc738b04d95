//! Who is in office, and where a command may reach.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{
    super::*,
    scene::{Scene, id, now, refused},
};
use crate::domain::{
    event::Refusal,
    ids::Id,
    permission::{Permissions, SetVersion},
    record::Operator,
    time::{ClockTrust, Now, Wall},
};

struct Site(Scene);

impl Reaches for Site {
    fn partition(&self, partition: &Id) -> Option<Scope> {
        self.0.directory.places().of_partition(partition)
    }
    fn person(&self, person: &Id) -> Option<Scope> {
        let world = self.0.world();
        world.people.person(person).map(|body| world.of_person(person, &body))
    }
    fn partitions_of(&self, person: &Id) -> Vec<Id> {
        self.0.persons.person(person).map(|body| body.partitions).unwrap_or_default()
    }
    fn area(&self, area: &Id) -> Option<Scope> {
        let area = crate::domain::record::Record::Area(self.0.directory.site.areas.get(area)?.clone());
        Some(self.0.world().of(&id("any"), &area))
    }
}

fn operator(body: Value) -> Authority {
    let operator: Operator = serde_json::from_value(body).unwrap();
    Scene::new().world().authority(&operator).unwrap()
}

fn ask(authority: &Authority, command: &str, targets: &Targets<'_>) -> Result<(), Refused> {
    authority.authorise(command, targets, &Site(Scene::new()), now())
}

fn open(authority: &Authority, door: &str) -> Result<(), Refused> {
    ask(authority, "door.open", &Targets::door(&id(door)))
}

#[test]
fn who_is_not_an_operator_is_told_nothing_else() {
    let nobody = OperatorIndex::default();
    for command in ["door.open", "no.such"] {
        let answer = nobody.authorise(&id("eve"), command, &Targets::default(), &Site(Scene::new()), now());
        refused(answer, Refusal::UnknownOperator, "eve");
    }
}

#[test]
fn a_suspended_operator_is_refused_before_anything_else() {
    let suspended = operator(json!({"status": {"state": "suspended"}, "role": "reporter"}));
    refused(open(&suspended, "vault"), Refusal::OperatorSuspended, "suspended");
}

#[test]
fn an_invitation_is_pending_until_it_ends_and_dead_from_then_on() {
    let hours = |hours: i64| Wall::from_millis(super::scene::NOON + hours * 3_600_000);
    let six = json!({"state": "invited", "invited_at": hours(0).to_string()});
    let own = json!({"state": "invited", "invited_at": hours(0).to_string(), "expires_at": hours(48).to_string()});
    let older = json!({"state": "invited", "expires_at": hours(6).to_string()});
    for (status, ends) in [(six, hours(6)), (own, hours(48)), (older, hours(6))] {
        let invited = operator(json!({"status": status, "role": "integrator"}));
        assert_eq!(invited.status.invitation_ends_at(), Some(ends));
        let ask = |wall: i64, trust| {
            let now = Now { wall: Wall::from_millis(wall), trust, ..now() };
            invited.authorise("door.open", &Targets::door(&id("front")), &Site(Scene::new()), now)
        };
        refused(ask(ends.as_millis() - 1, ClockTrust::Trusted), Refusal::OperatorPending, "accepted");
        refused(ask(ends.as_millis(), ClockTrust::Trusted), Refusal::OperatorExpired, "made anew");
        refused(ask(ends.as_millis(), ClockTrust::Untrusted), Refusal::OperatorPending, "accepted");
    }
}

#[test]
fn an_invitation_that_does_not_say_when_and_a_role_that_does_not_exist_are_faults() {
    let compile = |body: Value| {
        let operator: Operator = serde_json::from_value(body).unwrap();
        Scene::new().world().authority(&operator).map(drop).unwrap_err()
    };
    assert!(compile(json!({"status": {"state": "invited"}, "role": "admin"})).contains("invited_at or expires_at"));
    assert_eq!(compile(json!({"status": {"state": "active"}, "role": "king"})), "role king does not exist");
}

#[test]
fn a_refusal_for_lack_of_a_capability_names_it() {
    let reporter = operator(json!({"status": {"state": "active"}, "role": "reporter"}));
    refused(open(&reporter, "front"), Refusal::Forbidden, "missing capability: door_control");
}

#[test]
fn only_those_with_nothing_assigned_reach_everything_and_of_some_roles_not_even_they() {
    let with = |role: &str, doors: Value| {
        let mut body = json!({"status": {"state": "active"}, "role": role});
        if !doors.is_null() {
            body["doors"] = doors;
        }
        operator(body)
    };
    for role in BUILT_IN_ROLES {
        let nothing_assigned = with(role, Value::Null);
        let all = matches!(role, "integrator" | "admin" | "reporter" | "automat.admin");
        assert_eq!(nothing_assigned.scope.is_everything(), all, "{role}");
        assert!(with(role, json!([])).scope.is_nowhere(), "{role}: an empty list is nothing, not everything");
    }
    assert!(open(&with("admin", Value::Null), "vault").is_ok());
    assert!(open(&with("admin", json!(["front"])), "front").is_ok());
    refused(open(&with("admin", json!(["front"])), "vault"), Refusal::OutOfScope, "door vault");
    refused(open(&with("manager", Value::Null), "front"), Refusal::OutOfScope, "door front");
}

#[test]
fn doors_come_by_name_by_partition_and_by_unit_with_those_below_it() {
    let assigned =
        |what: &str, ids: &[&str]| operator(json!({"status": {"state": "active"}, "role": "manager", what: ids}));
    for (what, ids, doors, floor_groups) in [
        ("doors", &["front", "glass"][..], &["front", "glass"][..], &[][..]),
        ("partitions", &["west"], &["box-1", "front"], &["lift"]),
        ("organisation_units", &["shop"], &["box-1", "front"], &["lift"]),
        ("organisation_units", &["company"], &["box-1", "box-2", "front", "vault"], &["freight", "lift"]),
        ("organisation_units", &["shop-floor"], &[], &[]),
        ("partitions", &["no-such"], &[], &[]),
    ] {
        let Scope::Limited(limits) = assigned(what, ids).scope else { panic!() };
        assert!(limits.doors.iter().map(Id::as_str).eq(doors.iter().copied()), "{what} {ids:?}: {limits:?}");
        assert!(limits.floor_groups.iter().map(Id::as_str).eq(floor_groups.iter().copied()), "{limits:?}");
    }
}

#[test]
fn every_door_that_a_command_names_must_be_assigned() {
    let mia = Scene::new().authority("mia");
    let lockdown = |doors: &[&str]| {
        let doors: Vec<Id> = doors.iter().map(|door| id(door)).collect();
        ask(&mia, "lockdown.set", &Targets { doors: &doors, ..Targets::default() })
    };
    assert!(lockdown(&["front", "box-1"]).is_ok());
    refused(lockdown(&["front", "vault"]), Refusal::OutOfScope, "door vault");
    refused(lockdown(&[]), Refusal::OutOfScope, "the whole node");
    let partition =
        |name: &str| ask(&mia, "lockdown.set", &Targets { partition: Some(&id(name)), ..Targets::default() });
    assert!(partition("west").is_ok());
    refused(partition("east"), Refusal::OutOfScope, "partition east");
    refused(partition("nowhere"), Refusal::OutOfScope, "partition nowhere");
    assert!(ask(&Scene::new().authority("boss"), "lockdown.set", &Targets::default()).is_ok());
}

#[test]
fn a_virtual_read_needs_scope_over_both_door_and_person() {
    let mia = Scene::new().authority("mia");
    let read = |door: &str, person: &str| {
        ask(&mia, "door.virtual_read", &Targets { person: Some(&id(person)), ..Targets::door(&id(door)) })
    };
    assert!(read("front", "nia").is_ok());
    refused(read("vault", "nia"), Refusal::OutOfScope, "door vault");
    for person in ["sam", "bea", "stranger"] {
        refused(read("front", person), Refusal::OutOfScope, person);
    }
}

#[test]
fn somebody_who_is_in_anothers_partition_is_out_of_scope_however_little_they_may() {
    let mut scene = Scene::new();
    for (name, partitions) in [("guest", json!(["east"])), ("commuter", json!(["east", "west"]))] {
        scene.put("person", name, json!({"groups": ["staff"], "partitions": partitions}));
    }
    let (mia, boss) = (scene.authority("mia"), scene.authority("boss"));
    let site = Site(scene);
    let ask = |who: &Authority, command: &str, person: &str| {
        let (person, front) = (id(person), id("front"));
        let at = if command == "apb.clear" { Targets::default() } else { Targets::door(&front) };
        who.authorise(command, &Targets { person: Some(&person), ..at }, &site, now())
    };
    for command in ["door.virtual_read", "apb.clear"] {
        refused(ask(&mia, command, "guest"), Refusal::OutOfScope, "partition east");
        assert_eq!(ask(&mia, command, "commuter"), Ok(()), "{command}");
        assert_eq!(ask(&boss, command, "guest"), Ok(()), "{command}");
    }
    for action in [
        json!({"action": "door_virtual_read", "door": "front", "person": "guest"}),
        json!({"action": "apb_clear", "person": "guest"}),
    ] {
        let when = json!({"trigger": "rex", "doors": ["front"]});
        let event = json!({"when": when, "do": [action], "author": "dan"});
        refused(site.0.edit("dan", "system_event", "new", &event), Refusal::OutOfScope, "partition east");
    }
}

#[test]
fn a_person_reaches_as_far_for_a_command_as_for_an_edit() {
    let mut scene = Scene::new();
    let opens = json!([{"action": "door_open", "doors": ["vault"]}]);
    for (name, when) in [
        ("for-nia", json!({"trigger": "granted", "persons": ["nia"]})),
        ("twice", json!({"trigger": "multi_swipe", "swipes": 2, "groups": ["staff"]})),
    ] {
        scene.put("system_event", name, json!({"when": when, "do": opens, "author": "root"}));
    }
    scene.put("person", "ned", json!({"groups": ["idle"]}));
    let waits = json!({"doors": ["glass"], "schedule": "office", "first_person_in": true, "first_person_groups": ["west-only"]});
    scene.put("auto_open", "glass-days", waits);
    scene.put("person", "wes", json!({"groups": ["west-only"], "partitions": ["west"]}));
    let permissions = Permissions::compile(scene.records(), &scene.topology, &TimeZone::UTC, SetVersion::default());
    let permissions = permissions.unwrap();
    for (name, beyond) in [("nia", "vault"), ("pat", "vault"), ("ned", "vault"), ("wes", "glass"), ("eli", "box-2")] {
        let name = id(name);
        let person = scene.persons.person(&name).unwrap();
        let reach = Reaches::person(&permissions, &name).unwrap();
        assert!(reach.has_door(beyond), "{name}: {reach:?}");
        assert_eq!(reach, scene.world().of_person(&name, &person), "{name}");
        assert_eq!(Reaches::partitions_of(&permissions, &name), person.partitions, "{name}");
    }
}

#[test]
fn anti_passback_is_cleared_for_ones_own_people_and_areas_only() {
    let mia = Scene::new().authority("mia");
    let person = |name: &str| ask(&mia, "apb.clear", &Targets { person: Some(&id(name)), ..Targets::default() });
    let area = |name: &str| ask(&mia, "apb.clear", &Targets { area: Some(&id(name)), ..Targets::default() });
    assert!(person("nia").is_ok() && area("hall").is_ok());
    refused(person("sam"), Refusal::OutOfScope, "person sam");
    refused(area("safe"), Refusal::OutOfScope, "area safe");
    refused(ask(&mia, "apb.clear", &Targets::default()), Refusal::OutOfScope, "the whole node");
}

#[test]
fn floors_belong_to_partitions_and_outputs_and_the_node_to_nobody_who_is_limited() {
    let scene = Scene::new();
    let floor = |operator: &str, group: &str| {
        ask(&scene.authority(operator), "floor.open", &Targets { floor_group: Some(&id(group)), ..Targets::default() })
    };
    assert!(floor("mia", "lift").is_ok());
    refused(floor("mia", "freight"), Refusal::OutOfScope, "freight");
    refused(floor("dora", "lift"), Refusal::OutOfScope, "lift");
    let lockdown = |operator: &str, group: &str| {
        let targets = Targets { floor_group: Some(&id(group)), ..Targets::default() };
        ask(&scene.authority(operator), "lockdown.set", &targets)
    };
    assert!(lockdown("mia", "lift").is_ok());
    refused(lockdown("mia", "freight"), Refusal::OutOfScope, "freight");
    refused(lockdown("dora", "lift"), Refusal::OutOfScope, "lift");
    let dan = scene.authority("dan");
    refused(ask(&dan, "output.pulse", &Targets::default()), Refusal::OutOfScope, "no door");
    refused(ask(&dan, "configuration.get", &Targets::default()), Refusal::OutOfScope, "the node itself");
    // What is shown or edited is limited where it is carried out.
    assert!(ask(&scene.authority("mia"), "reports.query", &Targets::default()).is_ok());
    assert!(ask(&scene.authority("mia"), "person.put", &Targets::default()).is_ok());
}
