//! Which doors a lockdown means, who may, and what of several doors becomes one outcome.

use super::*;
use crate::{domain::record::Partition, wire::command::LockdownArgs};

fn lockdown(jti: &str, operator: &str, args: LockdownArgs) -> Command {
    Command { operator: id(operator), body: CommandBody::LockdownSet(args), ..open(jti) }
}

fn of_doors(doors: &[&str]) -> LockdownArgs {
    LockdownArgs { doors: Some(doors.iter().map(|door| id(door)).collect()), ..LockdownArgs::default() }
}

fn of_partition(partition: &str) -> LockdownArgs {
    LockdownArgs { partition: Some(id(partition)), ..LockdownArgs::default() }
}

const NODE: LockdownArgs = LockdownArgs { doors: None, partition: None, node: Some(true) };

fn desk_with_partitions() -> Desk {
    let operator =
        |role: &str, doors: Option<Vec<Id>>| Record::Operator(Operator { doors, ..Operator::active(id(role)) });
    let partition = |doors: &[&str]| {
        Record::Partition(Partition { doors: doors.iter().map(|door| id(door)).collect(), ..Partition::default() })
    };
    let records = [
        (id("ada"), operator("integrator", None)),
        (id("max"), operator("manager", Some(vec![id("back")]))),
        (id("yard"), partition(&["back", "a-door-of-another-node"])),
        (id("house"), partition(&["front", "back"])),
        (id("elsewhere"), partition(&["a-door-of-another-node"])),
    ];
    let version = SetVersion { epoch: 1, generation: 8, digest: [0; 32] };
    let set = Permissions::compile(records, &topology(), &jiff::tz::TimeZone::UTC, version).unwrap();
    let config = DeskConfig { commands_per_operator_max: 100, ..config() };
    Desk::new(config, Arc::new(set), vec![], Wall::EPOCH, at(0)).0
}

#[test]
fn a_lockdown_names_doors_a_partition_or_the_whole_node_and_each_door_once() {
    let (front, back) = (DoorIx(0), DoorIx(1));
    let cases = [
        (of_doors(&["back", "front", "back"]), vec![front, back]),
        (of_partition("yard"), vec![back]),
        (of_partition("house"), vec![front, back]),
        (NODE, vec![front, back]),
    ];
    for (args, doors) in cases {
        let step = desk_with_partitions().handle_command(at(0), lockdown("a", "ada", args.clone()), None);
        let what = Task::Lockdown { doors, floor_groups: vec![], on: true };
        assert_eq!(step.order.map(|order| order.what), Some(what), "{args:?}");
    }
}

#[test]
fn a_partition_takes_its_lockers_and_elevators_along_and_the_node_all_of_them() {
    use crate::domain::topology::FloorGroupPlace;
    let lift = |name: &str| FloorGroupPlace { id: id(name), floors: vec![id("ground")] };
    let here = Topology { floor_groups: vec![lift("goods"), lift("lift")], ..topology() };
    let partition = |body: Value| Record::Partition(serde_json::from_value(body).unwrap());
    let records = [
        (id("ada"), Record::Operator(Operator::active(id("integrator")))),
        (id("shaft"), partition(json!({ "floor_groups": ["lift", "elsewhere"] }))),
        (id("cellar"), partition(json!({ "lockers": ["back"], "floor_groups": ["lift"] }))),
    ];
    let version = SetVersion { epoch: 1, generation: 8, digest: [0; 32] };
    let set = Arc::new(Permissions::compile(records, &here, &jiff::tz::TimeZone::UTC, version).unwrap());
    let (front, back) = (DoorIx(0), DoorIx(1));
    for (args, doors, floor_groups) in [
        (of_partition("shaft"), vec![], vec![1]),
        (of_partition("cellar"), vec![back], vec![1]),
        (of_doors(&["back"]), vec![back], vec![]),
        (of_doors(&["back", "front"]), vec![front, back], vec![]),
        (NODE, vec![front, back], vec![0, 1]),
    ] {
        let config = DeskConfig { topology: Arc::new(here.clone()), ..config() };
        let mut desk = Desk::new(config, set.clone(), vec![], Wall::EPOCH, at(0)).0;
        let step = desk.handle_command(at(0), lockdown("a", "ada", args.clone()), None);
        let what = Task::Lockdown { doors, floor_groups, on: true };
        assert_eq!(step.order.map(|order| order.what), Some(what), "{args:?}");
    }
}

#[test]
fn what_a_lockdown_cannot_find_is_an_unknown_target() {
    for args in [of_doors(&["front", "attic"]), of_partition("nowhere"), of_partition("elsewhere")] {
        let step = desk_with_partitions().handle_command(at(0), lockdown("a", "ada", args.clone()), None);
        assert_eq!(refusal(&step), Some(Refusal::UnknownTarget), "{args:?}");
    }
}

#[test]
fn whoever_is_limited_to_doors_locks_down_these_and_nothing_beyond_them() {
    let of_max = |args| desk_with_partitions().handle_command(at(0), lockdown("a", "max", args), None);
    assert!(of_max(of_doors(&["back"])).order.is_some());
    for args in [of_doors(&["back", "front"]), of_partition("house"), of_partition("nowhere"), NODE] {
        assert_eq!(refusal(&of_max(args.clone())), Some(Refusal::OutOfScope), "{args:?}");
    }
}

#[test]
fn setting_a_lockdown_passes_the_restart_fence_and_an_untrusted_clock_and_clearing_it_does_not() {
    let stale = |command: Command| Command { boot: Some(id("run-1")), ..command };
    let blind = Now { trust: ClockTrust::Untrusted, ..at(0) };
    let mut desk = desk_with_partitions();
    assert!(desk.handle_command(at(0), stale(lockdown("a", "ada", NODE)), None).order.is_some());
    assert!(desk.handle_command(blind, lockdown("b", "ada", NODE), None).order.is_some());
    let clear = |jti: &str| Command { body: CommandBody::LockdownClear(NODE), ..open(jti) };
    assert_eq!(stages(&desk.handle_command(at(0), stale(clear("c")), None)).last(), Some(&Stage::Unknown));
    assert_eq!(refusal(&desk.handle_command(blind, clear("d"), None)), Some(Refusal::ClockUntrusted));
}

fn end_of(progress: Progress) -> (Stage, Option<Refusal>, Value) {
    let mut desk = desk_with_partitions();
    let order = desk.handle_command(at(0), lockdown("a", "ada", NODE), None).order.unwrap();
    let mut step = desk.handle_report(at(100), report(&order, progress));
    let end = step.outcomes.pop().unwrap();
    (end.stage, end.reason, end.detail.unwrap_or_default())
}

#[test]
fn what_only_some_doors_did_has_failed_and_says_at_which_and_why() {
    let lost = Progress::Failed("bus_down".to_owned());
    let (stage, reason, detail) = end_of(Progress::Partly { done: 1, others: vec![(id("back"), lost.clone())] });
    assert_eq!((stage, reason), (Stage::Failed, None));
    assert_eq!(detail["doors"], json!({ "back": { "stage": "failed", "message": "bus_down" } }));
    assert_eq!(detail["message"], "1 doors did it, 1 did not");

    let refused = Progress::Refused(Refusal::Conflict, "a command issued later".to_owned());
    let others = vec![(id("front"), refused.clone()), (id("back"), refused.clone())];
    assert_eq!(end_of(Progress::Partly { done: 0, others }).0, Stage::Refused, "none did it, and all for one reason");
    let others = vec![(id("front"), refused), (id("back"), lost)];
    assert_eq!(end_of(Progress::Partly { done: 0, others }).0, Stage::Failed);
}

#[test]
fn what_a_thousand_doors_did_not_do_fits_into_an_outcome() {
    let others = (0..1000).map(|n| (id(&format!("door-{n:0>59}")), Progress::Unknown("x".repeat(120)))).collect();
    let (_, _, detail) = end_of(Progress::Partly { done: 0, others });
    assert!(detail.to_string().len() < 150 * 1024, "{}", detail.to_string().len());
    assert!(detail["message"].as_str().unwrap().ends_with("and 500 more"), "{}", detail["message"]);
}
