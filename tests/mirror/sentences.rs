use std::time::Duration;

use latchd::{
    gateway::mirror::{Ignored, MirrorInput, MirrorOutput, Source},
    wire::set::{Digest, SetDocument, Want},
};
use serde_json::json;

use crate::{
    cloud::{Cloud, delete, dismiss, enrol, house, put},
    world::{Node, applied, is_ignored, is_rollback, refusals, requests},
};

fn cloud_with(people: &[&str]) -> Cloud {
    let mut cloud = Cloud::new();
    let mut ops = house();
    ops.extend(people.iter().flat_map(|person| enrol(person)));
    cloud.change(ops);
    cloud
}

#[test]
fn a_new_node_denies_everybody_and_asks_for_everything() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::new(&cloud);
    assert_eq!(node.opened.source, Source::Nothing);
    assert!(!node.admits("ada"));
    let asked = requests(&node.give(MirrorInput::LinkUp));
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].want, Want::Manifest);
    let request = asked[0].clone().with_nonce("n".into());
    assert_eq!((request.epoch, request.generation, request.digest), (0, 0, Digest::of_nothing()));
    node.converge(&cloud);
    assert!(node.admits("ada"));
}

#[test]
fn nothing_is_believed_before_a_key_set() {
    let cloud = cloud_with(&["ada"]);
    let mut node = Node::without_keys(&cloud);
    node.give(MirrorInput::LinkUp);
    for input in [cloud.manifest(), cloud.delta(1), cloud.beat()] {
        assert!(is_ignored(&node.give(input), Ignored::Unavailable));
    }
    assert_eq!(requests(&node.give(cloud.keys()))[0].want, Want::Manifest);
}

#[test]
fn a_delta_on_the_generation_held_is_applied_at_once() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let delta = cloud.change(enrol("bob"));
    let out = node.give(delta.clone());
    assert_eq!(applied(&out), [2]);
    assert!(node.admits("bob"));
    assert!(is_ignored(&node.give(delta), Ignored::AlreadyApplied));
}

#[test]
fn a_revocation_holds_from_the_step_in_which_it_arrives() {
    let mut cloud = cloud_with(&["ada", "bob"]);
    let mut node = Node::synced(&cloud);
    let revocation = cloud.change(dismiss("ada"));
    assert_eq!(applied(&node.give(revocation)), [2]);
    assert!(!node.admits("ada"));
    assert!(node.admits("bob"));
}

#[test]
fn deltas_out_of_order_are_applied_in_order_without_asking_twice() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let deltas: Vec<_> = ["b", "c", "d"].map(|person| cloud.change(enrol(person))).into();
    let out = node.give(deltas[2].clone());
    assert_eq!(requests(&out).len(), 1);
    assert_eq!(requests(&out)[0].want, Want::Update);
    assert!(is_ignored(&node.give(deltas[1].clone()), Ignored::AheadOfTurn));
    assert_eq!(applied(&node.give(deltas[0].clone())), [2, 3, 4]);
    assert_eq!(node.mirror.next_deadline().filter(|_| node.mirror.version() != Some(cloud.version())), None);
}

#[test]
fn a_request_that_is_not_answered_is_made_again_with_back_off() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    cloud.change(enrol("bob"));
    let beyond = cloud.change(enrol("eve"));
    assert_eq!(requests(&node.give(beyond)).len(), 1);
    let (mut asked, started) = (0, node.now.mono);
    while node.now.mono.since(started) < Duration::from_secs(600) {
        asked += requests(&node.sleep().unwrap()).len();
    }
    assert!((18..40).contains(&asked), "{asked} requests in ten minutes");
    node.give(MirrorInput::LinkDown);
    assert!(requests(&node.wait(Duration::from_secs(600))).is_empty());
    assert_eq!(requests(&node.give(MirrorInput::LinkUp)).len(), 1);
}

#[test]
fn a_beat_that_matches_confirms_and_one_that_is_ahead_makes_the_node_ask() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    assert!(matches!(node.give(cloud.beat())[..], [MirrorOutput::Confirmed(version)] if version == cloud.version()));
    cloud.change(enrol("bob"));
    let out = node.give(cloud.beat());
    assert_eq!(requests(&out).iter().map(|wanted| wanted.want).collect::<Vec<_>>(), [Want::Update]);
}

#[test]
fn only_the_chunks_that_differ_are_fetched() {
    let mut cloud = cloud_with(&[]);
    for tens in 0..30 {
        cloud.change((0..10).flat_map(|n| enrol(&format!("p{tens}-{n}"))).collect());
    }
    let mut node = Node::synced(&cloud);
    let mut ops = dismiss("p3-3");
    ops.extend(enrol("late"));
    cloud.change(ops);
    let out = node.give(cloud.manifest());
    let asked = requests(&out);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].chunks.len() <= 4, "{} chunks for four records", asked[0].chunks.len());
    for input in cloud.answer(&asked[0]) {
        node.give(input);
    }
    assert_eq!(node.mirror.version(), Some(cloud.version()));
    assert!(node.admits("late") && !node.admits("p3-3") && node.admits("p3-4"));
}

#[test]
fn chunks_are_asked_for_sixty_four_at_a_time() {
    let mut cloud = cloud_with(&[]);
    cloud.change((0..200).flat_map(|n| enrol(&format!("p{n}"))).collect());
    let mut node = Node::new(&cloud);
    let asked = requests(&node.give(MirrorInput::LinkUp));
    assert_eq!(asked[0].want, Want::Manifest);
    let mut out = node.give(cloud.manifest());
    let mut windows = Vec::new();
    while let Some(wanted) = requests(&out).pop() {
        windows.push(wanted.chunks.len());
        for input in cloud.answer(&wanted) {
            out = node.give(input);
            if !requests(&out).is_empty() || !applied(&out).is_empty() {
                break;
            }
        }
    }
    assert!(windows.iter().all(|window| (1..=64).contains(window)), "{windows:?}");
    assert!(windows.len() >= 4);
    assert!(node.admits("p0"));
}

#[test]
fn a_revocation_overtakes_a_manifest_that_is_being_fetched() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let revocation = cloud.change(dismiss("ada"));
    cloud.change((0..50).flat_map(|n| enrol(&format!("p{n}"))).collect());
    let wanted = requests(&node.give(cloud.manifest())).pop().unwrap();
    assert_eq!(applied(&node.give(revocation)), [2]);
    assert!(!node.admits("ada"));
    for input in cloud.answer(&wanted) {
        node.give(input);
    }
    node.converge(&cloud);
    assert!(node.admits("p7") && !node.admits("ada"));
}

#[test]
fn chunks_that_nobody_asked_for_or_that_do_not_hash_to_their_name_are_dropped() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let stray = MirrorInput::Chunk { name: Digest::of(b"[]"), bytes: b"[]".to_vec() };
    assert!(is_ignored(&node.give(stray.clone()), Ignored::UnrequestedChunk));
    cloud.change(enrol("bob"));
    let name = requests(&node.give(cloud.manifest()))[0].chunks[0];
    assert!(is_ignored(&node.give(stray), Ignored::UnrequestedChunk));
    assert!(is_ignored(&node.give(MirrorInput::Chunk { name, bytes: b"[]".to_vec() }), Ignored::BadChunk));
    node.converge(&cloud);
}

#[test]
fn a_set_that_does_not_validate_is_refused_with_every_reason_and_the_old_one_stays() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let held = node.version();
    let bad = cloud.change(vec![
        put("person", "eve", json!({"groups": ["nobody"]})),
        put("credential", "c-1", json!({"person": "nobody", "token": crate::cloud::token("x").to_string()})),
        put("person", "mal", json!({"only_on": "monday"})),
    ]);
    let out = node.give(bad.clone());
    let reasons = refusals(&out).join("\n");
    for part in ["person eve: group nobody", "credential c-1: person nobody", "person/mal: unknown field `only_on`"] {
        assert!(reasons.contains(part), "{part} in {reasons}");
    }
    assert_eq!(node.version(), held);
    assert!(node.admits("ada"));
    // Told once, and not fetched over and over.
    assert!(is_ignored(&node.give(bad), Ignored::AlreadyRefused));
    assert!(requests(&node.give(cloud.beat())).is_empty());
    assert!(is_ignored(&node.give(cloud.manifest()), Ignored::AlreadyRefused));

    let repaired = cloud.change(vec![delete("person", "eve"), delete("credential", "c-1"), delete("person", "mal")]);
    let out = node.give(repaired);
    assert_eq!(requests(&out)[0].want, Want::Manifest);
    node.converge(&cloud);
}

#[test]
fn a_delta_whose_digest_is_wrong_is_discarded_and_the_whole_set_is_asked_for() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    cloud.change(enrol("bob"));
    let mut wrong = cloud.deltas[1].clone();
    wrong.ops.pop();
    let out = node.give(cloud.sign(&SetDocument::Delta(wrong)));
    assert!(refusals(&out)[0].starts_with("digest: "), "{out:?}");
    assert_eq!(requests(&out)[0].want, Want::Manifest);
    assert!(!node.admits("bob"));
    node.converge(&cloud);
    assert!(node.admits("bob"));
}

#[test]
fn an_unknown_kind_is_kept_and_reported_unless_the_set_says_that_it_is_critical() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let delta = cloud.change(vec![put("robot", "r-1", json!({"wheels": 4}))]);
    let out = node.give(delta);
    let MirrorOutput::Applied(applied) = &out[0] else { panic!("{out:?}") };
    assert_eq!(applied.unknown_kinds, [crate::cloud::id("robot")]);
    assert_eq!(applied.records, 5);

    cloud.critical = vec![crate::cloud::id("robot")];
    let delta = cloud.change(enrol("bob"));
    assert!(refusals(&node.give(delta))[0].contains("robot"));
    assert!(!node.admits("bob"));
}

#[test]
fn the_same_generation_with_another_digest_raises_an_alarm() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    cloud.records.clear();
    assert!(is_rollback(&node.give(cloud.beat())));
    let manifest = cloud.manifest();
    assert!(is_rollback(&node.give(manifest.clone())));
    assert!(is_ignored(&node.give(manifest), Ignored::AlreadyRefused));
    assert!(node.admits("ada"));
}

#[test]
fn a_manifest_that_was_late_is_ignored_and_one_signed_later_for_less_raises_an_alarm() {
    let mut cloud = cloud_with(&["ada"]);
    let late = cloud.manifest();
    let mut node = Node::synced(&cloud);
    let revocation = cloud.change(dismiss("ada"));
    node.give(revocation);
    assert!(is_ignored(&node.give(late), Ignored::Superseded));

    let mut restored = cloud_with(&["ada"]);
    restored.clock = cloud.clock + 3600;
    assert!(is_rollback(&node.give(restored.manifest())));
    assert!(!node.admits("ada"));
}

#[test]
fn an_epoch_rises_only_under_the_root_key() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let before = cloud.records.clone();
    cloud.change(enrol("bob"));
    node.converge(&cloud);
    cloud.raise_epoch(before);
    let manifest = cloud.manifest();
    assert!(is_rollback(&node.give(manifest.clone())));
    assert!(node.admits("bob"));
    let out = node.give(cloud.keys());
    assert_eq!(requests(&out)[0].want, Want::Manifest);
    node.give(manifest);
    node.converge(&cloud);
    assert!(node.admits("ada") && !node.admits("bob"));
    assert_eq!((node.version().epoch, node.version().generation), (2, 1));
}

#[test]
fn a_document_for_another_node_is_refused() {
    let mut cloud = cloud_with(&["ada"]);
    let mut node = Node::synced(&cloud);
    let mut manifest = cloud.manifest_document();
    manifest.aud = "acme/hq-2".into();
    assert!(refusals(&node.give(cloud.sign(&SetDocument::Manifest(manifest))))[0].contains("not this node"));
    let delta = cloud.change(enrol("bob"));
    node.give(delta);
    assert!(node.admits("bob"));
}

#[test]
fn an_empty_set_can_be_had_and_held() {
    let cloud = Cloud::new();
    let mut node = Node::synced(&cloud);
    assert!(node.permissions.is_present());
    assert_eq!(node.mirror.version(), Some(cloud.version()));
    node.open_again().unwrap();
    assert_eq!(node.opened.version, Some(cloud.version()));
}

#[test]
fn the_first_delta_begins_a_set_without_a_manifest() {
    let mut cloud = Cloud::new();
    let mut node = Node::new(&cloud);
    let mut ops = house();
    ops.extend(enrol("ada"));
    let first = cloud.change(ops);
    assert_eq!(applied(&node.give(first)), [1]);
    assert!(node.admits("ada"));
}
