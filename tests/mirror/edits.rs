//! Edits by command: over the set, beside it, and after it.

use std::collections::BTreeSet;

use latchd::{
    domain::{
        event::{EditFate, Refusal},
        outputs::Ticket,
    },
    gateway::mirror::{Answer, EDITS_BYTES_MAX, EditRequest, ListRequest, MirrorInput, MirrorOutput},
    wire::{command::ListArgs, edit::ListPage, set::Op},
};
use latchd_sim::disk::copy::Files;
use serde_json::{Value, json};

use crate::{
    cloud::{Cloud, delete, dismiss, enrol, house, id, put, token},
    world::{Node, applied, refusals},
};

pub fn cloud_with(people: &[&str]) -> Cloud {
    let mut cloud = Cloud::new();
    let mut ops = house();
    ops.push(operator("op-1", json!({"status": {"state": "active"}, "role": "integrator"})));
    ops.extend(people.iter().flat_map(|person| enrol(person)));
    cloud.change(ops);
    cloud
}

fn operator(name: &str, body: Value) -> Op {
    put("operator", name, body)
}

fn made(answer: &Answer) -> bool {
    matches!(answer, Answer::Edited(_) | Answer::Unchanged { .. })
}

/// The edit of a command `jti`; a body of `null` deletes.
pub fn edit(jti: &str, kind: &str, name: &str, body: Value) -> MirrorInput {
    edit_by("op-1", jti, kind, name, body)
}

fn edit_by(operator: &str, jti: &str, kind: &str, name: &str, body: Value) -> MirrorInput {
    let body = match body {
        Value::Object(body) => Some(body),
        Value::Null => None,
        other => panic!("{other}"),
    };
    let (jti, operator, kind, id) = (id(jti), id(operator), id(kind), id(name));
    MirrorInput::Edit(Box::new(EditRequest { ticket: Ticket(7), jti, operator, kind, id, body }))
}

fn answer(out: &[MirrorOutput]) -> Answer {
    let mut answers = out.iter().filter_map(|output| match output {
        MirrorOutput::Answer { ticket, answer } => {
            assert_eq!(*ticket, Ticket(7));
            Some(answer.clone())
        }
        _ => None,
    });
    let answer = answers.next().expect("an edit is always answered");
    assert!(answers.next().is_none(), "{out:?}");
    answer
}

fn conflicts(out: &[MirrorOutput]) -> Vec<(String, EditFate)> {
    let of = |output: &MirrorOutput| match output {
        MirrorOutput::Applied(applied) => applied.conflicts.clone(),
        _ => Vec::new(),
    };
    out.iter().flat_map(of).map(|edit| (edit.jti.to_string(), edit.fate)).collect()
}

fn absorbed(out: &[MirrorOutput]) -> u64 {
    let of = |output: &MirrorOutput| match output {
        MirrorOutput::Applied(applied) => applied.absorbed,
        _ => 0,
    };
    out.iter().map(of).sum()
}

impl Node {
    /// An edit that is made.
    fn edit(&mut self, jti: &str, kind: &str, name: &str, body: Value) {
        let out = self.give(edit(jti, kind, name, body));
        assert!(made(&answer(&out)), "{out:?}");
    }

    fn refuse(&mut self, jti: &str, kind: &str, name: &str, body: Value) -> (Refusal, String) {
        self.refuse_to("op-1", jti, kind, name, body)
    }

    fn refuse_to(&mut self, operator: &str, jti: &str, kind: &str, name: &str, body: Value) -> (Refusal, String) {
        match answer(&self.give(edit_by(operator, jti, kind, name, body))) {
            Answer::Refused(refusal, reasons) => (refusal, reasons.join("; ")),
            other => panic!("{other:?}"),
        }
    }

    fn enrol(&mut self, person: &str) {
        for (number, op) in enrol(person).into_iter().enumerate() {
            let Op::Put(put) = op else { panic!() };
            self.edit(&format!("{person}-{number}"), &put.kind, &put.id, Value::Object(put.body));
        }
    }

    fn mark_lost(&mut self, jti: &str, person: &str) {
        let body = json!({"person": person, "token": token(person).to_string(), "state": "lost"});
        self.edit(jti, "credential", &format!("card-{person}"), body);
    }

    fn list(&mut self, request: ListRequest) -> ListPage {
        match answer(&self.give(MirrorInput::List(Box::new(request)))) {
            Answer::Listed(page) => page,
            other => panic!("{other:?}"),
        }
    }
}

fn list_by(operator: &str, kind: &str, args: ListArgs) -> ListRequest {
    ListRequest { ticket: Ticket(7), operator: id(operator), kind: id(kind), args }
}

fn all_of(kind: &str) -> ListRequest {
    list_by("op-1", kind, ListArgs::default())
}

#[test]
fn an_edit_takes_effect_at_once_and_survives_a_power_cut_that_keeps_nothing_else() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let version = node.version();
    node.enrol("bob");
    node.mark_lost("e-3", "ada");
    assert!(node.admits("bob") && !node.admits("ada"));
    node.crash(|_| 0).unwrap();
    assert!(node.admits("bob") && !node.admits("ada"));
    // The set and its digest stay the cloud's.
    assert_eq!(node.version(), version);
    assert_eq!((node.opened.overlay.revision, node.opened.overlay.edits), (3, 3));
}

#[test]
fn a_mirror_that_was_lost_is_rebuilt_with_its_edits() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    node.enrol("bob");
    node.mark_lost("e-3", "ada");
    let delta = cloud.change(enrol("eve"));
    node.give(delta);
    node.edit("e-4", "credential", "card-eve", Value::Null);
    for _ in 0..2 {
        node.set_aside();
        assert!(node.opened.notes.is_empty(), "{:?}", node.opened.notes);
        assert_eq!(node.opened.edits_lost, None);
        assert!(node.admits("bob") && !node.admits("ada") && !node.admits("eve"));
        // The second time from a base that was written anew.
        node.wait(std::time::Duration::from_secs(60));
    }
}

#[test]
fn an_edit_is_known_again_under_its_jti() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let body = json!({"name": "Ada L.", "groups": ["staff"]});
    node.edit("e-1", "person", "ada", body.clone());
    let revision = node.mirror.overlay_version().revision;
    node.edit("e-1", "person", "ada", body);
    assert_eq!(node.mirror.overlay_version().revision, revision);
    assert_eq!(node.refuse("e-1", "person", "bob", json!({})).0, Refusal::Conflict);
    node.crash(|_| 0).unwrap();
    assert_eq!(node.opened.edits.iter().map(|made| made.jti.as_str()).collect::<Vec<_>>(), ["e-1"]);
}

#[test]
fn an_edit_passes_the_same_checks_as_a_set() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let before = node.mirror.overlay_version();
    for (kind, name, body, refusal, part) in [
        ("person", "eve", json!({"groups": ["nobody"]}), Refusal::Conflict, "group nobody"),
        ("person", "eve", json!({"only_on": "monday"}), Refusal::Malformed, "only_on"),
        ("group", "staff", Value::Null, Refusal::Conflict, "person ada: group staff"),
        (
            "credential",
            "copy",
            json!({"person": "ada", "token": token("ada").to_string()}),
            Refusal::Conflict,
            "same token",
        ),
        ("credential", "gone", Value::Null, Refusal::UnknownTarget, "credential gone"),
        ("robot", "r", json!({}), Refusal::Unsupported, "robot"),
        ("person", "eve", json!({"name": "x".repeat(70_000)}), Refusal::Malformed, "70011 bytes"),
    ] {
        let (found, reasons) = node.refuse("e-1", kind, name, body);
        assert!(found == refusal && reasons.contains(part), "{kind}/{name}: {found:?} {reasons}");
    }
    assert_eq!(node.mirror.overlay_version(), before);
    assert!(node.admits("ada"));
}

#[test]
fn a_node_without_a_set_has_nothing_to_edit() {
    let mut node = Node::new(&Cloud::new());
    assert_eq!(node.refuse("e-1", "group", "g", json!({})).0, Refusal::Conflict);
}

#[test]
fn a_deleted_person_is_gone_whatever_still_names_them() {
    let mut cloud = cloud_with(&["ada", "bob"]);
    let mut node = Node::synced(&cloud);
    node.edit("e-1", "person", "ada", Value::Null);
    assert!(!node.admits("ada") && node.admits("bob"));
    assert_eq!(node.refuse("e-2", "person", "ada", Value::Null).0, Refusal::UnknownTarget);
    assert_eq!(node.list(all_of("person")).records.len(), 1);
    // A new card of theirs does not bring them back, nor does the cloud's word on anything else.
    let card = put("credential", "new-card", json!({"person": "ada", "token": token("ada-2").to_string()}));
    let delta = cloud.change(vec![card, put("person", "ada", json!({"name": "A", "groups": ["staff"]}))]);
    let out = node.give(delta);
    assert_eq!((applied(&out), conflicts(&out)), (vec![2], vec![]));
    assert!(!node.admits("ada-2") && !node.admits("ada"));
    // But an operator may.
    node.edit("e-3", "person", "ada", json!({"groups": ["staff"]}));
    assert!(node.admits("ada-2"));
}

#[test]
fn a_set_that_absorbs_an_edit_takes_its_place() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    node.enrol("bob");
    node.mark_lost("e-3", "ada");
    // Bob is taken over, the loss is discarded: the card had been found.
    cloud.absorbs = ["bob-0", "bob-1", "e-3"].map(id).to_vec();
    let delta = cloud.change(enrol("bob"));
    let out = node.give(delta);
    assert_eq!((absorbed(&out), conflicts(&out)), (3, vec![]));
    assert_eq!((node.mirror.overlay_version().revision, node.mirror.overlay_version().edits), (4, 0));
    assert!(node.admits("bob") && node.admits("ada"));
    node.crash(|_| 0).unwrap();
    assert!(node.admits("bob") && node.admits("ada"));
    node.set_aside();
    assert!(node.admits("bob") && node.admits("ada"));
    assert_eq!(node.opened.overlay.revision, 4, "a revision is never given twice");
}

#[test]
fn a_manifest_absorbs_as_a_delta_does() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    node.mark_lost("e-1", "ada");
    cloud.absorbs = vec![id("e-1")];
    cloud.change(enrol("bob"));
    cloud.change(enrol("eve"));
    node.converge(&cloud);
    assert_eq!(node.mirror.overlay_version().edits, 0);
    assert!(node.admits("ada") && node.admits("eve"));
}

#[test]
fn absorbing_an_edit_absorbs_those_that_it_was_built_on_and_no_later_one() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let name = |name: &str| json!({"name": name, "groups": ["staff"]});
    node.edit("e-1", "person", "ada", name("one"));
    node.edit("e-2", "person", "ada", name("two"));
    node.edit("e-3", "person", "ada", json!({"name": "two", "groups": []}));
    cloud.absorbs = vec![id("e-2")];
    let delta = cloud.change(vec![put("person", "ada", name("two"))]);
    assert_eq!(absorbed(&node.give(delta)), 2);
    assert!(!node.admits("ada"));
    assert_eq!(node.list(all_of("person")).records[0].body, *json!({"name": "two", "groups": []}).as_object().unwrap());
}

#[test]
fn a_local_revocation_outlives_the_clouds_older_grants_until_it_is_absorbed() {
    let mut cloud = cloud_with(&["ada", "bob"]);
    let mut node = Node::synced(&cloud);
    node.mark_lost("e-1", "ada");
    node.edit("e-2", "credential", "card-bob", Value::Null);
    // A cloud that has not heard of it goes on changing the same records.
    let renewed = |person: &str| {
        let body =
            json!({"person": person, "token": token(person).to_string(), "expires_at": "2099-01-01T00:00:00.000Z"});
        put("credential", &format!("card-{person}"), body)
    };
    let delta = cloud.change(vec![renewed("ada"), renewed("bob")]);
    let out = node.give(delta);
    assert_eq!(applied(&out), [2]);
    assert!(!node.admits("ada") && !node.admits("bob"));
    // Also by way of a whole set, and after the loss of the store.
    cloud.change(enrol("eve"));
    cloud.change(enrol("mia"));
    node.converge(&cloud);
    assert!(!node.admits("ada") && !node.admits("bob") && node.admits("mia"));
    node.set_aside();
    assert!(!node.admits("ada") && !node.admits("bob") && node.admits("mia"));
    cloud.absorbs = ["e-1", "e-2"].map(id).to_vec();
    let delta = cloud.change(vec![]);
    assert_eq!(absorbed(&node.give(delta)), 2);
    assert!(node.admits("ada") && node.admits("bob"));
}

#[test]
fn the_clouds_revocation_is_not_undone_by_an_older_edit() {
    let mut cloud = cloud_with(&["ada", "bob", "eve"]);
    let mut node = Node::synced(&cloud);
    for person in ["ada", "bob", "eve"] {
        let body = json!({"name": format!("{person} renamed"), "groups": ["staff"], "extended_access": true});
        node.edit(&format!("e-{person}"), "person", person, body);
    }
    let mut ops = dismiss("ada");
    ops.push(put("person", "bob", json!({"name": "bob", "groups": []})));
    ops.push(put(
        "person",
        "eve",
        json!({"name": "eve", "groups": ["staff"], "expires_at": "2001-01-01T00:00:00.000Z"}),
    ));
    let delta = cloud.change(ops);
    let out = node.give(delta);
    assert_eq!(applied(&out), [2]);
    for person in ["ada", "bob", "eve"] {
        assert!(!node.admits(person), "{person}");
    }
    // Not silently: Ada's edit has nothing left to edit.
    assert_eq!(conflicts(&out), [("e-ada".to_owned(), EditFate::SetAside)]);
    assert_eq!(node.mirror.overlay_version().edits, 2);
}

#[test]
fn what_both_sides_changed_is_told_once() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    node.edit("e-1", "person", "ada", json!({"name": "Ada L.", "groups": ["staff"]}));
    let delta = cloud.change(vec![put("person", "ada", json!({"name": "Ada B.", "groups": ["staff"]}))]);
    assert_eq!(conflicts(&node.give(delta)), [("e-1".to_owned(), EditFate::Disputed)]);
    let delta = cloud.change(enrol("bob"));
    assert_eq!(conflicts(&node.give(delta)), []);
    node.crash(|_| 0).unwrap();
    assert_eq!(node.opened.conflicts, []);
}

#[test]
fn an_edit_that_does_not_fit_a_set_holds_neither_the_set_nor_the_other_edits_up() {
    let mut cloud = cloud_with(&["ada"]);
    let mut ops: Vec<Op> = vec![put("group", "guests", json!({}))];
    ops.extend((0..20).map(|n| put("group", &format!("g-{n}"), json!({}))));
    cloud.change(ops);
    let mut node = Node::synced(&cloud);
    for n in 0..20 {
        node.edit(&format!("join-{n}"), "person", &format!("p-{n}"), json!({"groups": [format!("g-{n}"), "staff"]}));
        let token = token(&format!("p-{n}")).to_string();
        node.edit(
            &format!("card-{n}"),
            "credential",
            &format!("c-{n}"),
            json!({"person": format!("p-{n}"), "token": token}),
        );
    }
    node.mark_lost("lost", "ada");
    // Two of the groups are gone.
    let delta = cloud.change(vec![delete("group", "g-3"), delete("group", "g-11"), delete("group", "guests")]);
    let out = node.give(delta);
    assert_eq!(applied(&out), [3]);
    let mut told = conflicts(&out);
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let set_aside = ["card-11", "card-3", "join-11", "join-3"].map(|jti| (jti.to_owned(), EditFate::SetAside));
    assert_eq!(told, set_aside);
    for n in 0..20 {
        assert_eq!(node.admits(&format!("p-{n}")), n != 3 && n != 11, "{n}");
    }
    assert!(!node.admits("ada"));
    assert_eq!(node.mirror.overlay_version().edits, 37);
    node.crash(|_| 0).unwrap();
    assert!(node.admits("p-4") && !node.admits("p-3") && !node.admits("ada"));
    assert_eq!(node.opened.conflicts_then.len(), 4, "told again by a start that finds no event of this set");
}

#[test]
fn of_an_edit_that_does_not_fit_what_it_takes_away_still_stands() {
    let mut cloud = cloud_with(&["ada"]);
    cloud.change(vec![put("group", "guests", json!({})), put("group", "crew", json!({}))]);
    let mut node = Node::synced(&cloud);
    // Out of the staff, into the guests; and nobody of the crew or the guests at the front door.
    node.edit("e-1", "person", "ada", json!({"groups": ["guests"]}));
    let deny = json!({"effect": "deny", "groups": ["guests", "crew"], "doors": ["front"]});
    node.edit("e-2", "access_rule", "not-front", deny);
    let delta = cloud.change(vec![delete("group", "guests")]);
    let out = node.give(delta);
    assert_eq!(conflicts(&out), ["e-1", "e-2"].map(|jti| (jti.to_owned(), EditFate::Reduced)));
    assert!(!node.admits("ada"));
    let rules = node.list(all_of("access_rule"));
    let rule = rules.records.iter().find(|listed| listed.id.as_str() == "not-front").unwrap();
    assert_eq!(rule.body["groups"], json!(["crew"]));
    node.set_aside();
    assert!(!node.admits("ada"));
}

#[test]
fn a_set_with_faults_of_its_own_is_refused_whatever_the_edits_are() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    node.mark_lost("e-1", "ada");
    let delta = cloud.change(vec![put("person", "eve", json!({"groups": ["nobody"]}))]);
    assert_eq!(refusals(&node.give(delta)), ["person eve: group nobody does not exist"]);
    assert_eq!(node.mirror.overlay_version().edits, 1);
    assert!(!node.admits("ada"));
}

#[test]
fn more_edits_than_are_kept_are_refused_until_some_are_absorbed() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let body = |n: usize| json!({"name": format!("{n}{}", "x".repeat(60_000)), "groups": ["staff"]});
    // Each holds the record as it was and as it is; the first found a small one.
    let room = EDITS_BYTES_MAX / 120_000 + 1;
    let refused =
        (0..room + 3).find(|n| !made(&answer(&node.give(edit(&format!("e-{n}"), "person", "ada", body(*n))))));
    assert_eq!(refused, Some(room));
    let (refusal, why) = node.refuse("more", "person", "ada", json!({}));
    assert!(refusal == Refusal::Overloaded && why.contains("absorbs"), "{why}");
    cloud.absorbs = vec![id("e-7")];
    let delta = cloud.change(vec![]);
    assert_eq!(absorbed(&node.give(delta)), 8);
    node.edit("more", "person", "ada", json!({}));
}

#[test]
fn an_edit_whose_write_fails_is_unknown_and_found_out_when_the_store_is_back() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    for writes in 0..20 {
        node.fuse.blow_after(writes);
        let jti = format!("e-{writes}");
        let out = node.give(edit(&jti, "person", "ada", json!({"name": jti, "groups": ["staff"]})));
        let told = answer(&out);
        let failed = node.mirror.has_failed();
        assert_eq!(made(&told), !failed, "{told:?}");
        node.crash(|_| 0).unwrap();
        let stands = node.opened.edits.iter().any(|made| made.jti.as_str() == jti);
        assert!(failed || stands, "{jti} was reported and is not there");
        assert!(node.admits("ada"));
        if writes > 0 && !failed && !out.iter().any(|output| matches!(output, MirrorOutput::CopyFailed { .. })) {
            return;
        }
    }
    panic!("no write went through");
}

#[test]
fn an_edit_that_the_store_alone_has_heard_of_is_in_copy_and_anchor_after_the_next_start() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let before = node.copy.files().clone();
    node.mark_lost("e-1", "ada");
    // The power went before they were written.
    *node.copy.files() = before;
    node.crash(|_| 0).unwrap();
    assert!(!node.admits("ada"));
    node.set_aside();
    assert_eq!((node.opened.overlay.revision, node.opened.edits_lost), (1, None));
    assert!(!node.admits("ada"), "what the edit took away is not given back by the copy");
}

#[test]
fn edits_that_neither_store_nor_copy_has_any_more_are_missed() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let before = node.copy.files().clone();
    node.mark_lost("e-1", "ada");
    let anchor = node.copy.files().anchor.clone();
    *node.copy.files() = Files { anchor, ..before };
    node.set_aside();
    assert_eq!(node.opened.edits_lost, Some(1));
    // The number is not given again.
    node.edit("e-2", "person", "ada", json!({"groups": ["staff"], "name": "A"}));
    assert_eq!(node.mirror.overlay_version().revision, 2);
    let delta = cloud.change(enrol("bob"));
    assert_eq!(applied(&node.give(delta)), [2]);
}

#[test]
fn a_listing_in_pages_shows_every_record_once_and_the_edits_with_them() {
    let mut cloud = cloud_with(&[]);
    cloud.change((0..120).flat_map(|n| enrol(&format!("p-{n}"))).collect());
    let mut node = Node::synced(&cloud);
    node.enrol("bob");
    node.edit("e-1", "person", "p-5", Value::Null);
    node.edit("e-2", "person", "p-6", json!({"name": "six", "groups": ["staff"]}));
    let mut seen = Vec::new();
    let mut args = ListArgs { limit: Some(7), ..ListArgs::default() };
    loop {
        let page = node.list(list_by("op-1", "person", args.clone()));
        assert!(page.records.len() <= 7);
        assert_eq!(
            (page.generation, page.revision),
            (node.version().generation, node.mirror.overlay_version().revision)
        );
        seen.extend(page.records.into_iter().map(|listed| (listed.id.to_string(), listed.body["name"].clone())));
        let Some(next) = page.next else { break };
        args.after = Some(next);
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    let mut expected: Vec<(String, Value)> = (0..120)
        .filter(|n| *n != 5)
        .map(|n| (format!("p-{n}"), if n == 6 { json!("six") } else { json!(format!("p-{n}")) }))
        .chain([("bob".to_owned(), json!("bob"))])
        .collect();
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen, expected);
    let mut count = |kind: &str, args: ListArgs| node.list(list_by("op-1", kind, args)).records.len();
    assert_eq!(count("credential", ListArgs { person: Some(id("p-7")), ..ListArgs::default() }), 1);
    assert_eq!(count("person", ListArgs { prefix: Some(id("p-11")), ..ListArgs::default() }), 11);
    assert_eq!(count("person", ListArgs { group: Some(id("none")), ..ListArgs::default() }), 0);
    assert_eq!(count("access_rule", ListArgs { group: Some(id("staff")), ..ListArgs::default() }), 1);
    for (name, there) in [("p-7", 1), ("p-5", 0), ("nobody", 0)] {
        assert_eq!(count("person", ListArgs { id: Some(id(name)), ..ListArgs::default() }), there, "{name}");
    }
}

#[test]
fn a_cursor_names_no_record_that_its_reader_may_not_see() {
    let mut cloud = cloud_with(&[]);
    let west = || json!({"name": "Mia", "role": "manager", "status": {"state": "active"}, "partitions": ["west"]});
    cloud.change(vec![put("partition", "west", json!({"doors": []})), put("operator", "mia", west())]);
    // So many and so large that a page ends before it has looked at all of them.
    for n in 0..100 {
        let partitions = if n % 25 == 0 { json!(["west"]) } else { json!(["east"]) };
        let body = json!({"name": "x".repeat(30_000), "partitions": partitions});
        cloud.change(vec![put("person", &format!("secret-{n}"), body)]);
    }
    let mut node = Node::synced(&cloud);
    for limit in [None, Some(1), Some(3)] {
        let mut args = ListArgs { limit, ..ListArgs::default() };
        let (mut seen, mut pages) = (BTreeSet::new(), 0);
        loop {
            let page = node.list(list_by("mia", "person", args.clone()));
            for listed in &page.records {
                assert!(seen.insert(listed.id.to_string()), "{} again", listed.id);
            }
            pages += 1;
            let Some(next) = page.next else { break };
            assert!(next.starts_with('#') || seen.contains(next.trim_start_matches("person/")), "{next}");
            args.after = Some(next);
        }
        let own = [0, 25, 50, 75].map(|n| format!("secret-{n}"));
        assert_eq!((seen, pages > 1), (own.into(), true), "{limit:?}");
    }
}

#[test]
fn a_page_of_large_records_stays_small() {
    let mut cloud = cloud_with(&[]);
    for n in 0..20 {
        cloud.change(vec![put("person", &format!("p-{n}"), json!({"name": "x".repeat(30_000)}))]);
    }
    let mut node = Node::synced(&cloud);
    let mut args = ListArgs::default();
    let mut count = 0;
    loop {
        let page = node.list(list_by("op-1", "person", args.clone()));
        let bytes = serde_json::to_vec(&page.records).unwrap().len();
        assert!((1..100 * 1024).contains(&bytes), "{bytes} bytes");
        count += page.records.len();
        let Some(next) = page.next else { break };
        args.after = Some(next);
    }
    assert_eq!(count, 20);
}

#[test]
fn an_operator_who_has_not_accepted_is_listed_as_pending() {
    let mut cloud = cloud_with(&[]);
    let operator = |state: Value| json!({"name": "Olga", "role": "admin", "status": state});
    cloud.change(vec![
        put("operator", "o-1", operator(json!({"state": "active"}))),
        put("operator", "o-2", operator(json!({"state": "invited", "expires_at": "2026-01-01T00:00:00.000Z"}))),
    ]);
    let mut node = Node::synced(&cloud);
    let mut names: Vec<Value> = node
        .list(all_of("operator"))
        .records
        .into_iter()
        .map(|listed| listed.body.get("name").cloned().unwrap_or_default())
        .collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, [json!("(Invitation Pending)"), json!("Olga"), Value::Null]);
}

#[test]
fn who_may_edit_is_judged_by_the_set_in_force_with_its_edits() {
    let mut cloud = cloud_with(&["ada"]);
    let manager = |doors: &[&str]| json!({"status": {"state": "active"}, "role": "manager", "doors": doors});
    cloud.change(vec![
        operator("mia", manager(&["front"])),
        operator("rita", json!({"status": {"state": "active"}, "role": "reporter"})),
    ]);
    let mut node = Node::synced(&cloud);
    let rule = |doors: &[&str]| json!({"effect": "allow", "groups": ["staff"], "doors": doors});
    for (who, kind, name, body, refusal) in [
        ("nobody", "group", "new", json!({}), Refusal::UnknownOperator),
        ("rita", "group", "new", json!({}), Refusal::Forbidden),
        ("mia", "system_event", "new", json!({}), Refusal::Forbidden),
        ("mia", "access_rule", "new", rule(&["front", "back"]), Refusal::OutOfScope),
        ("mia", "operator", "mia", manager(&["front", "back"]), Refusal::OutOfScope),
        ("mia", "operator", "op-1", Value::Null, Refusal::OutOfScope),
        // Not even whether there is such a record.
        ("rita", "person", "stranger", Value::Null, Refusal::Forbidden),
    ] {
        assert_eq!(node.refuse_to(who, "e-1", kind, name, body).0, refusal, "{who}: {kind}/{name}");
    }
    assert_eq!(node.mirror.overlay_version().revision, 0);
    assert!(made(&answer(&node.give(edit_by("mia", "e-1", "access_rule", "new", rule(&["front"]))))));
    // From the edit on that takes her door away; from the set on that gives another.
    node.edit("e-2", "operator", "mia", manager(&[]));
    let rename = |jti| edit_by("mia", jti, "person", "ada", json!({"name": jti, "groups": ["staff"]}));
    assert!(matches!(answer(&node.give(rename("e-3"))), Answer::Refused(Refusal::OutOfScope, _)));
    node.crash(|_| 0).unwrap();
    assert!(matches!(answer(&node.give(rename("e-3"))), Answer::Refused(Refusal::OutOfScope, _)));
    cloud.absorbs = vec![id("e-2")];
    let delta = cloud.change(vec![]);
    node.give(delta);
    assert!(made(&answer(&node.give(rename("e-3")))));
    // A group that reaches further since reaches too far.
    let delta = cloud.change(vec![put("access_rule", "staff-back", rule(&["back"]))]);
    node.give(delta);
    assert!(matches!(answer(&node.give(rename("e-4"))), Answer::Refused(Refusal::OutOfScope, _)));
}

#[test]
fn a_listing_shows_each_operator_what_is_theirs() {
    let mut cloud = cloud_with(&["ada"]);
    let manager = json!({"status": {"state": "active"}, "role": "manager", "doors": ["front"]});
    cloud.change(vec![
        operator("mia", manager),
        put("group", "bankers", json!({})),
        put("access_rule", "vault", json!({"effect": "allow", "groups": ["bankers"], "doors": ["vault"]})),
        put("person", "sam", json!({"groups": ["bankers"]})),
        put("credential", "card-sam", json!({"person": "sam", "token": token("sam").to_string()})),
    ]);
    let mut node = Node::synced(&cloud);
    let mut ids = |who: &str, kind: &str| {
        let page = node.list(list_by(who, kind, ListArgs::default()));
        let mut ids: Vec<String> = page.records.iter().map(|listed| listed.id.to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("op-1", "person"), ["ada", "sam"]);
    assert_eq!(ids("mia", "person"), ["ada"]);
    assert_eq!(ids("mia", "credential"), ["card-ada"]);
    assert_eq!(ids("mia", "access_rule"), ["staff-front"]);
    let refused =
        |out: Vec<MirrorOutput>, refusal| matches!(answer(&out), Answer::Refused(found, _) if found == refusal);
    let request = |who: &str, kind: &str| MirrorInput::List(Box::new(list_by(who, kind, ListArgs::default())));
    assert!(refused(node.give(request("mia", "partition")), Refusal::Forbidden));
    assert!(refused(node.give(request("nobody", "person")), Refusal::UnknownOperator));
    let one = ListArgs { id: Some(id("sam")), ..ListArgs::default() };
    assert!(node.list(list_by("mia", "person", one)).records.is_empty());
}

#[test]
fn an_operator_who_is_limited_learns_nothing_of_operators_who_reach_further() {
    let mut cloud = cloud_with(&["ada"]);
    let manager = |doors: &[&str]| {
        let email = format!("{}@example.com", doors.join("."));
        json!({"status": {"state": "active"}, "role": "manager", "doors": doors, "email": email})
    };
    let boss = json!({"status": {"state": "active"}, "role": "admin", "email": "boss@example.com", "name": "Bo Boss"});
    let invited = json!({
        "status": {"state": "invited", "expires_at": "2026-01-01T00:00:00.000Z"}, "role": "manager",
        "doors": ["front", "back"], "name": "Nell New",
    });
    cloud.change(vec![
        operator("mia", manager(&["front"])),
        operator("max", manager(&["front"])),
        operator("vic", manager(&["front", "back"])),
        operator("boss", boss.clone()),
        operator("nell", invited),
    ]);
    let mut node = Node::synced(&cloud);
    let ids = |page: ListPage| {
        let mut ids: Vec<String> = page.records.iter().map(|listed| listed.id.to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(node.list(list_by("mia", "operator", ListArgs::default()))), ["max", "mia"]);
    assert_eq!(ids(node.list(list_by("vic", "operator", ListArgs::default()))), ["max", "mia", "nell", "vic"]);
    for name in ["boss", "vic", "nell", "op-1"] {
        let one = ListArgs { id: Some(id(name)), ..ListArgs::default() };
        assert!(node.list(list_by("mia", "operator", one)).records.is_empty(), "{name}");
        for body in [Value::Null, boss.clone(), manager(&["front"]), json!({"no": "operator"})] {
            let (refusal, why) = node.refuse_to("mia", "e-1", "operator", name, body);
            assert_eq!(refusal, Refusal::OutOfScope, "{name}: {why}");
            assert_eq!(why, format!("operator {name} is not within what is assigned to mia"));
        }
    }
    // An edit that gives somebody less lets their new manager see them.
    node.edit("e-2", "operator", "vic", manager(&["front"]));
    assert_eq!(ids(node.list(list_by("mia", "operator", ListArgs::default()))), ["max", "mia", "vic"]);
}

#[test]
fn what_goes_without_saying_is_filled_in() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    node.edit("e-1", "operator", "new", json!({"status": {"state": "invited"}, "role": "admin"}));
    let event = json!({"when": {"trigger": "rex", "doors": ["front"]}, "do": [{"action": "notify"}]});
    node.edit("e-2", "system_event", "bell", event);
    let shown = |node: &mut Node, kind: &str, name: &str| {
        let page = node.list(list_by("op-1", kind, ListArgs { id: Some(id(name)), ..ListArgs::default() }));
        page.records[0].body.clone()
    };
    assert_eq!(shown(&mut node, "operator", "new")["status"]["invited_at"], json!(node.now.wall.to_string()));
    assert_eq!(shown(&mut node, "system_event", "bell")["author"], "op-1");
    node.now.trust = latchd::domain::time::ClockTrust::Untrusted;
    let body = json!({"status": {"state": "invited"}, "role": "admin"});
    assert_eq!(node.refuse("e-3", "operator", "other", body).0, Refusal::ClockUntrusted);
}
