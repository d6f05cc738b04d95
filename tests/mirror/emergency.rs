//! The copy of the emergency cards outside the mirror: what it holds, what it proves, and what it survives.

use std::time::Duration;

use latchd::{
    domain::record::EmergencyCard,
    gateway::mirror::{Anchor, MirrorInput, MirrorOutput},
};
use serde_json::{Value, json};

use crate::{
    cloud::{Cloud, delete, enrol, id, put, token},
    edits::{cloud_with, edit},
    world::{Node, applied},
};

fn card(name: &str) -> Value {
    json!({ "token": token(name).to_string() })
}

fn with_cards(names: &[&str]) -> (Cloud, Node) {
    let mut cloud = cloud_with(&["ada"]);
    cloud.change(names.iter().map(|name| put("emergency_card", name, card(name))).collect());
    let node = Node::synced(&cloud);
    (cloud, node)
}

impl Node {
    /// Store and second copy are gone; what the copy of the emergency cards then yields.
    fn lose_the_mirror(&mut self) -> Vec<String> {
        let mut files = self.copy.files();
        files.base = None;
        files.log.clear();
        drop(files);
        self.set_aside();
        assert!(!self.permissions.is_present());
        self.opened.spare_cards.keys().map(ToString::to_string).collect()
    }
}

#[test]
fn the_cards_of_the_set_are_there_when_store_and_second_copy_are_gone() {
    let (_, mut node) = with_cards(&["red", "blue"]);
    assert_eq!(node.lose_the_mirror(), ["blue", "red"]);
    let red: &EmergencyCard = &node.opened.spare_cards[&id("red")];
    assert_eq!(red.token, token("red"));
    assert_eq!(node.opened.spare_damaged, None);
}

#[test]
fn a_set_without_emergency_cards_leaves_no_copy_and_one_that_takes_the_last_away_an_empty_one() {
    let node = Node::synced(&cloud_with(&["ada"]));
    assert_eq!(node.copy.files().emergency, None);
    let (mut cloud, mut node) = with_cards(&["red"]);
    node.give(cloud.change(vec![delete("emergency_card", "red")]));
    assert!(node.lose_the_mirror().is_empty());
    assert_eq!(node.opened.spare_damaged, None);
}

#[test]
fn it_is_written_when_the_cards_change_and_not_with_every_delta() {
    let (mut cloud, mut node) = with_cards(&["red"]);
    let before = node.copy.files().emergency.clone();
    node.give(cloud.change(enrol("bob")));
    assert_eq!(node.copy.files().emergency, before);
    node.give(cloud.change(vec![put("emergency_card", "blue", card("blue"))]));
    assert_ne!(node.copy.files().emergency, before);
    node.give(cloud.change(enrol("eve")));
    assert_eq!(node.lose_the_mirror(), ["blue", "red"]);
}

#[test]
fn a_card_that_an_edit_made_or_changed_is_not_in_it_until_a_set_takes_the_edit_over() {
    let (mut cloud, mut node) = with_cards(&["blue", "green", "red"]);
    node.give(edit("e-1", "emergency_card", "red", Value::Null));
    let mut narrower = card("blue");
    narrower["uses_max"] = json!(1);
    node.give(edit("e-2", "emergency_card", "blue", narrower.clone()));
    node.give(edit("e-3", "emergency_card", "gold", card("gold")));
    let held = &node.permissions.site().emergency_cards;
    assert_eq!(held.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["blue", "gold", "green"]);
    let (disk, copy) = (node.disk.clone(), node.copy.files().clone());
    assert_eq!(node.lose_the_mirror(), ["green"]);

    node.disk = disk;
    *node.copy.files() = copy;
    node.open_again().unwrap();
    cloud.absorbs = ["e-1", "e-2", "e-3"].map(id).to_vec();
    let absorbing = vec![
        delete("emergency_card", "red"),
        put("emergency_card", "blue", narrower),
        put("emergency_card", "gold", card("gold")),
    ];
    assert_eq!(applied(&node.give(cloud.change(absorbing))).len(), 1);
    assert_eq!(node.lose_the_mirror(), ["blue", "gold", "green"]);
    assert_eq!(node.opened.spare_cards[&id("blue")].uses_max, Some(1));
}

#[test]
fn no_byte_of_it_can_be_changed_unseen_and_no_frame_left_out() {
    let (_, node) = with_cards(&["red"]);
    let frames = node.copy.files().emergency.clone().unwrap();
    assert_eq!(frames.len(), 5, "key set, document, hashes, header, one chunk");
    for frame in 0..frames.len() {
        for at in (0..frames[frame].len()).step_by(7) {
            let (_, mut node) = with_cards(&["red"]);
            let mut changed = frames.clone();
            changed[frame][at] ^= 1;
            node.copy.files().emergency = Some(changed);
            let cards = node.lose_the_mirror();
            assert!(node.opened.spare_damaged.is_some() || frame == 3, "frame {frame}, byte {at}");
            assert!(cards.is_empty() || frame == 3, "frame {frame}, byte {at}");
            assert!(cards.iter().all(|card| card == "red"));
        }
        let (_, mut node) = with_cards(&["red"]);
        let mut fewer = frames.clone();
        fewer.truncate(frame);
        node.copy.files().emergency = Some(fewer);
        assert!(node.lose_the_mirror().is_empty());
        assert!(node.opened.spare_damaged.is_some(), "{frame} frames");
    }
}

#[test]
fn a_copy_signed_by_somebody_else_proves_nothing() {
    let (_, mut node) = with_cards(&["red"]);
    let (mut other, _) = with_cards(&["red"]);
    other.forge();
    let forged = Node::synced(&other);
    node.copy.files().emergency = forged.copy.files().emergency.clone();
    assert!(node.lose_the_mirror().is_empty());
    assert!(node.opened.spare_damaged.is_some());
}

#[test]
fn an_older_copy_does_not_bring_a_card_back_that_was_taken_away() {
    let (mut cloud, mut node) = with_cards(&["blue", "red"]);
    let old = node.copy.files().emergency.clone();
    node.give(cloud.change(vec![delete("emergency_card", "red")]));
    node.copy.files().emergency = old.clone();
    assert!(node.lose_the_mirror().is_empty());
    assert!(node.opened.spare_damaged.as_ref().is_some_and(|why| why.contains("generation 2")));
    // Without the anchor nothing says that it is old; what is proved must do.
    node.copy.files().anchor = Some(Anchor::nothing_seen());
    assert_eq!(node.lose_the_mirror(), ["blue", "red"]);
}

#[test]
fn a_damaged_copy_is_told_and_written_anew_from_the_set_in_force() {
    let (_, mut node) = with_cards(&["red"]);
    node.copy.files().emergency = Some(vec![b"garbage".to_vec()]);
    node.open_again().unwrap();
    assert!(node.opened.spare_damaged.is_some() && node.opened.spare_mended);
    assert_eq!(node.lose_the_mirror(), ["red"]);
}

#[test]
fn a_full_disk_under_it_is_told_once_mended_later_and_keeps_nothing_that_was_taken_away() {
    let (mut cloud, mut node) = with_cards(&["blue", "red"]);
    node.give(MirrorInput::LinkDown);
    node.copy.files().full = true;
    let out = node.give(cloud.change(vec![delete("emergency_card", "red")]));
    assert_eq!(applied(&out).len(), 1);
    let told = |out: &[MirrorOutput], word: &str| out.iter().filter(|o| format!("{o:?}").starts_with(word)).count();
    assert_eq!(told(&out, "CopyFailed { copy: EmergencyCards"), 1, "{out:?}");
    let out = node.give(cloud.change(enrol("bob")));
    assert_eq!(told(&out, "CopyFailed"), 0, "{out:?}");
    node.copy.files().full = false;
    let out = node.wait(Duration::from_secs(300));
    assert_eq!(told(&out, "CopyRestored"), 2, "{out:?}");
    assert_eq!(node.mirror.next_deadline(), None);
    assert_eq!(node.lose_the_mirror(), ["blue"]);
}
