//! Loops. Owns what an action brings about with nobody and nothing else in between, and the search for a way back;
//! must never run anything. Invariant: a set in which the node alone could keep itself busy for ever is refused,
//! with the way round named.
//!
//! | an action that | can by itself cause |
//! |---|---|
//! | unlocks or uncovers an unlocking (open, force open or released, toggles, DND off, lockdown cleared) | `alarm_cleared` there |
//! | ends an unlocking or covers it (close, force, toggles, DND, lockdown, alarm acknowledged) | `propped` there, of a door that stands open |
//! | reads virtually | `granted`, `denied`, `unknown_credential`, `apb_violation`, `first_in`, `auto_open_on` there, of that person |
//!
//! A lasting state that is set again causes nothing, so a loop is one only if two of its actions undo each other
//! or one does something else each time: a lockdown on every propped door is none.
//!
//! What takes a person, a wire or a motor in between (a contact, an exit button, an input that an output is wired
//! to) is no edge here: it would refuse the most ordinary of wishes, such as to hold a door open that was opened.
//! Such a loop is bounded when it runs, by the budget of each system event. Schedules are not looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::{
    ids::Id,
    record::{ForceState, Partition, SystemAction, SystemEvent, Trigger},
};

/// Loops that are named at most: who has more sees them with the next attempt.
const NAMED_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    AlarmCleared,
    Propped,
    Granted,
    Denied,
    UnknownCredential,
    ApbViolation,
    FirstIn,
    AutoOpenOn,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Fact::AlarmCleared => "alarm_cleared",
            Fact::Propped => "propped",
            Fact::Granted => "granted",
            Fact::Denied => "denied",
            Fact::UnknownCredential => "unknown_credential",
            Fact::ApbViolation => "apb_violation",
            Fact::FirstIn => "first_in",
            Fact::AutoOpenOn => "auto_open_on",
        }
    }
}

const OF_A_READ: [Fact; 6] =
    [Fact::Granted, Fact::Denied, Fact::UnknownCredential, Fact::ApbViolation, Fact::FirstIn, Fact::AutoOpenOn];

/// What an action can cause.
fn consequences(action: &SystemAction) -> &'static [Fact] {
    match action {
        SystemAction::DoorOpen { .. }
        | SystemAction::DoorOpenWithDelay { .. }
        | SystemAction::DoorForce { state: ForceState::Open, .. } => &[Fact::AlarmCleared],
        SystemAction::DoorClose { .. }
        | SystemAction::DoorCloseWithDelay { .. }
        | SystemAction::DoorDnd { on: true, .. }
        | SystemAction::DoorForce { state: ForceState::Closed, .. }
        | SystemAction::LockdownSet { .. }
        | SystemAction::AlarmAcknowledge { .. } => &[Fact::Propped],
        SystemAction::DoorDnd { on: false, .. }
        | SystemAction::DoorDndToggle { .. }
        | SystemAction::DoorForce { state: ForceState::Released, .. }
        | SystemAction::DoorForceToggle { .. }
        | SystemAction::LockdownClear { .. } => &[Fact::AlarmCleared, Fact::Propped],
        SystemAction::DoorVirtualRead { .. } => &OF_A_READ,
        SystemAction::DoorOpenAndClose { .. }
        | SystemAction::DoorCancelDelay { .. }
        | SystemAction::ApbClear { .. }
        | SystemAction::FloorOpen { .. }
        | SystemAction::FloorClose { .. }
        | SystemAction::FloorOpenAndClose { .. }
        | SystemAction::OutputPulse { .. }
        | SystemAction::OutputSet { .. }
        | SystemAction::Alarm { .. }
        | SystemAction::Notify { .. } => &[],
    }
}

/// What a trigger listens to, of that.
fn listens(trigger: &Trigger) -> Option<(Fact, &[Id])> {
    Some(match trigger {
        Trigger::AlarmCleared { doors } => (Fact::AlarmCleared, doors),
        Trigger::Propped { doors } => (Fact::Propped, doors),
        Trigger::Granted { doors, .. } => (Fact::Granted, doors),
        Trigger::Denied { doors, .. } => (Fact::Denied, doors),
        Trigger::UnknownCredential { doors } => (Fact::UnknownCredential, doors),
        Trigger::ApbViolation { doors } => (Fact::ApbViolation, doors),
        Trigger::FirstIn { doors } => (Fact::FirstIn, doors),
        Trigger::AutoOpenOn { doors } => (Fact::AutoOpenOn, doors),
        _ => return None,
    })
}

/// Where an action acts; `None`: at every door.
fn reach<'a>(action: &'a SystemAction, partitions: &'a BTreeMap<Id, Partition>) -> Option<Vec<&'a Id>> {
    match action {
        SystemAction::LockdownSet { node: true, .. } | SystemAction::LockdownClear { node: true, .. } => None,
        SystemAction::LockdownSet { partition: Some(partition), .. }
        | SystemAction::LockdownClear { partition: Some(partition), .. } => {
            let partition = partitions.get(partition);
            Some(
                partition
                    .map(|partition| partition.doors.iter().chain(&partition.lockers).collect())
                    .unwrap_or_default(),
            )
        }
        other => Some(other.doors().iter().collect()),
    }
}

/// Who listens to a fact, by door.
#[derive(Default)]
struct Listeners<'a> {
    by_door: BTreeMap<&'a Id, Vec<usize>>,
    anywhere: Vec<usize>,
}

/// One step of a way round: this action of the event that it comes from, and what it causes.
#[derive(Clone)]
struct Edge<'a> {
    to: usize,
    action: &'static str,
    fact: Fact,
    door: Option<&'a Id>,
}

struct Graph<'a> {
    ids: Vec<&'a Id>,
    edges: Vec<Vec<Edge<'a>>>,
}

impl<'a> Graph<'a> {
    fn new(events: &'a BTreeMap<Id, SystemEvent>, partitions: &'a BTreeMap<Id, Partition>) -> Graph<'a> {
        let mut listeners: BTreeMap<Fact, Listeners<'a>> = BTreeMap::new();
        for (at, event) in events.values().enumerate() {
            let Some((fact, doors)) = listens(&event.when) else { continue };
            let of_fact = listeners.entry(fact).or_default();
            if doors.is_empty() {
                of_fact.anywhere.push(at);
            }
            for door in doors {
                of_fact.by_door.entry(door).or_default().push(at);
            }
        }
        let records: Vec<&SystemEvent> = events.values().collect();
        let edges = records.iter().map(|event| edges_of(event, partitions, &listeners, &records)).collect();
        Graph { ids: events.keys().collect(), edges }
    }
}

fn edges_of<'a>(
    event: &'a SystemEvent,
    partitions: &'a BTreeMap<Id, Partition>,
    listeners: &BTreeMap<Fact, Listeners<'a>>,
    records: &[&SystemEvent],
) -> Vec<Edge<'a>> {
    let mut edges = Vec::new();
    let mut known = BTreeSet::new();
    for action in &event.actions {
        for fact in consequences(action) {
            let Some(of_fact) = listeners.get(fact) else { continue };
            let mut add = |to: usize, door: Option<&'a Id>| {
                if fits(action, records.get(to).map(|event| &event.when)) && known.insert((to, *fact)) {
                    edges.push(Edge { to, action: action.name(), fact: *fact, door });
                }
            };
            match reach(action, partitions) {
                Some(doors) => {
                    for door in doors {
                        let there = of_fact.by_door.get(door).into_iter().flatten();
                        there.chain(&of_fact.anywhere).for_each(|to| add(*to, Some(door)));
                    }
                }
                None => {
                    let there =
                        of_fact.by_door.iter().flat_map(|(door, to)| to.iter().map(move |to| (*to, Some(*door))));
                    there.chain(of_fact.anywhere.iter().map(|to| (*to, None))).for_each(|(to, door)| add(to, door));
                }
            }
        }
    }
    edges
}

/// A read of one person is no other's. (Whether they are in a group is not looked at.)
fn fits(action: &SystemAction, trigger: Option<&Trigger>) -> bool {
    match (action, trigger) {
        (SystemAction::DoorVirtualRead { person, .. }, Some(Trigger::Granted { persons, .. })) => {
            persons.is_empty() || persons.contains(person)
        }
        _ => true,
    }
}

/// Reports loops, each by one way round.
pub fn check(events: &BTreeMap<Id, SystemEvent>, partitions: &BTreeMap<Id, Partition>, fault: &mut dyn FnMut(String)) {
    let graph = Graph::new(events, partitions);
    let records: Vec<&SystemEvent> = events.values().collect();
    let tangles = tangles(&graph);
    let endless = tangles.iter().filter(|members| goes_on(members, &records));
    for members in endless.take(NAMED_MAX) {
        if let Some(way) = way_round(&graph, members) {
            fault(told(&graph, &way));
        }
    }
}

/// Whether those that can cause each other would go on for ever. A lasting state that is set a second time causes
/// nothing: it takes two that undo each other, or one that does something else each time.
fn goes_on(members: &BTreeSet<usize>, records: &[&SystemEvent]) -> bool {
    let actions = || members.iter().filter_map(|at| records.get(*at)).flat_map(|event| &event.actions);
    let again = |action: &SystemAction| {
        matches!(
            action,
            SystemAction::DoorDndToggle { .. }
                | SystemAction::DoorForceToggle { .. }
                | SystemAction::DoorVirtualRead { .. }
        )
    };
    let unlocks = |action: &&SystemAction| consequences(action).contains(&Fact::AlarmCleared);
    let covers = |action: &&SystemAction| consequences(action).contains(&Fact::Propped);
    let undone =
        || actions().filter(unlocks).any(|open| actions().filter(covers).any(|close| !std::ptr::eq(open, close)));
    actions().any(again) || undone()
}

/// The sets of those that can all cause each other (strongly connected components, after Kosaraju), by which
/// every loop is in exactly one.
fn tangles(graph: &Graph<'_>) -> Vec<BTreeSet<usize>> {
    let forwards: Vec<Vec<usize>> =
        graph.edges.iter().map(|edges| edges.iter().map(|edge| edge.to).collect()).collect();
    let mut backwards: Vec<Vec<usize>> = vec![Vec::new(); forwards.len()];
    for (from, to) in forwards.iter().enumerate() {
        for to in to {
            if let Some(of_to) = backwards.get_mut(*to) {
                of_to.push(from);
            }
        }
    }
    let mut seen = vec![false; forwards.len()];
    let mut finished = Vec::with_capacity(forwards.len());
    for start in 0..forwards.len() {
        walk(&forwards, start, &mut seen, &mut finished);
    }
    let mut seen = vec![false; forwards.len()];
    let mut found = Vec::new();
    for start in finished.into_iter().rev() {
        let mut members = Vec::new();
        walk(&backwards, start, &mut seen, &mut members);
        let causes_itself = |at: &usize| forwards.get(*at).is_some_and(|to| to.contains(at));
        if members.len() > 1 || members.iter().any(causes_itself) {
            found.push(members.into_iter().collect());
        }
    }
    found
}

/// What can be reached from `start` and was not seen before, each after all that follows from it.
fn walk(edges: &[Vec<usize>], start: usize, seen: &mut [bool], finished: &mut Vec<usize>) {
    let mut enter = |at: usize| seen.get_mut(at).is_some_and(|seen| !std::mem::replace(seen, true));
    if !enter(start) {
        return;
    }
    let mut path = vec![(start, 0)];
    while let Some((at, next)) = path.last_mut() {
        match edges.get(*at).and_then(|to| to.get(*next)) {
            Some(to) => {
                *next += 1;
                if enter(*to) {
                    path.push((*to, 0));
                }
            }
            None => {
                finished.push(*at);
                path.pop();
            }
        }
    }
}

/// The shortest way from the first member back to it.
fn way_round<'a>(graph: &Graph<'a>, members: &BTreeSet<usize>) -> Option<Vec<(usize, Edge<'a>)>> {
    let start = *members.first()?;
    let mut came: BTreeMap<usize, (usize, Edge<'a>)> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(at) = next.pop_front() {
        for edge in graph.edges.get(at)?.iter().filter(|edge| members.contains(&edge.to)) {
            if came.contains_key(&edge.to) {
                continue;
            }
            came.insert(edge.to, (at, edge.clone()));
            next.push_back(edge.to);
        }
        if came.contains_key(&start) {
            break;
        }
    }
    let mut way = VecDeque::new();
    let mut at = start;
    while way.is_empty() || at != start {
        let (from, edge) = came.get(&at)?.clone();
        way.push_front((from, edge));
        at = from;
    }
    Some(way.into())
}

fn told(graph: &Graph<'_>, way: &[(usize, Edge<'_>)]) -> String {
    let name = |at: usize| graph.ids.get(at).map_or_else(String::new, |id| id.to_string());
    let first = way.first().map(|(at, _)| name(*at)).unwrap_or_default();
    let mut text = format!("system_event {first}: goes round in a loop: {first}");
    for (_, Edge { to, action, fact, door }) in way {
        let place = door.map_or_else(|| "any door".to_owned(), |door| door.to_string());
        text += &format!(" --{action}, {} at {place}--> {}", fact.name(), name(*to));
    }
    text
}
