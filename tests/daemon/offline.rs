//! A working day without the cloud: people, rules, areas, mantraps, auto opens and system events do what they do with it,
//! and the cloud is told of everything once it is back. Invariant: nothing in here hears from the cloud in between.

use std::collections::BTreeSet;

use latchd_sim::{board::SimBoard, site::CONTACT_INPUT, site::LOCK_COIL};
use serde_json::{Value, json};

use crate::{
    hours::Noon,
    house::{CLEO, DAN, ELI, House, cleo_with_pins, crew_rule},
    story::{hashed, in_ms},
    world::STRANGER,
};

const FIRE_INPUT: u16 = 2;

impl House {
    /// The daemon's own log has one more line with these words.
    fn logs(&self, words: &[&str], act: impl FnOnce()) {
        let lines = || self.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
        let before = lines();
        act();
        self.until(&format!("{words:?} in the log"), || lines() > before);
    }

    fn somebody_passes(&self, board: &SimBoard) {
        self.relay(board, LOCK_COIL, true);
        self.logs(&["door.opened"], || board.set_input(CONTACT_INPUT, false));
        self.logs(&["door.closed"], || board.set_input(CONTACT_INPUT, true));
        self.relay(board, LOCK_COIL, false);
    }
}

#[test]
fn a_day_without_the_cloud_is_like_any_other_and_is_told_afterwards() {
    let noon = Noon::here();
    let pin = |digits: &str, duress: bool| json!({ "person": "eli", "medium": "pin", "token": hashed(&format!("pin:{digits}")), "duress": duress });
    let mut house = noon.house_with(
        "fire = { input = \"lab/in-3\", active = true }",
        &[
            ("person", "cleo", cleo_with_pins()),
            ("credential", "eli-pin", pin("70707", false)),
            ("credential", "eli-duress", pin("70708", true)),
            ("access_rule", "crew-lab", crew_rule(json!({ "doors": ["lab"], "authentication": "card_or_pin" }))),
            ("access_rule", "crew-store", crew_rule(json!({ "doors": ["store"], "authentication": "two_person" }))),
            ("area", "lab", json!({ "entry_readers": ["lab-in"], "exit_readers": ["lab-out"], "anti_passback": "hard" })),
            ("interlock", "trap", json!({ "doors": ["lab", "store"] })),
            ("system_event", "quiet", json!({
                "when": { "trigger": "forced", "doors": ["lab"] }, "do": [{ "action": "door_dnd", "doors": ["store"], "on": true }],
            })),
        ],
    );
    house.drained();
    house.world.site.broker.stop();
    let house = house;
    let (lab, store) = (house.lab.clone(), house.store.clone());

    // Cards, PINs and duress; who is inside; the way out.
    house.logs(&["access.granted", "door=lab", "person=cleo"], || house.at_lab(CLEO));
    house.somebody_passes(&lab);
    house.logs(&["access.denied", "person=cleo", "reason=apb_violation"], || house.at_lab(CLEO));
    house.logs(&["access.denied", "reason=unknown_credential"], || house.at_lab(STRANGER));
    assert!(!house.lab_unlocked());
    house.logs(&["access.granted", "reader=lab-out", "person=cleo"], || house.out_of_lab(CLEO));
    house.somebody_passes(&lab);
    house.logs(&["access.granted", "credential=eli-pin"], || house.keys("70707#"));
    house.somebody_passes(&lab);
    house.logs(&["access.granted", "reader=lab-out", "person=eli"], || house.out_of_lab(ELI));
    house.somebody_passes(&lab);
    house.logs(&["access.duress", "person=eli"], || house.keys("70708#"));
    house.somebody_passes(&lab);

    // Two people, and a mantrap.
    house.logs(&["access.granted", "door=store", "person=dan"], || {
        house.at_store(CLEO);
        house.polled(&store);
        house.at_store(DAN);
    });
    house.relay(&store, LOCK_COIL, true);
    house.logs(&["door.opened", "store"], || store.set_input(CONTACT_INPUT, false));
    house.logs(&["access.denied", "door=lab", "reason=interlock"], || house.at_lab(DAN));
    house.logs(&["door.closed", "store"], || store.set_input(CONTACT_INPUT, true));
    house.relay(&store, LOCK_COIL, false);

    // Fire releases and resets by itself.
    house.logs(&["fire.activated"], || lab.set_input(FIRE_INPUT, true));
    house.lab_becomes(true);
    house.logs(&["fire.cleared"], || lab.set_input(FIRE_INPUT, false));
    house.lab_becomes(false);

    // By force, and what follows.
    house.passes(in_ms(1_500));
    house.logs(&["system_event.fired", "quiet"], || lab.set_input(CONTACT_INPUT, false));
    house.logs(&["door.alarm_cleared"], || lab.set_input(CONTACT_INPUT, true));
    house.logs(&["access.denied", "door=store", "reason=dnd"], || house.at_store(CLEO));

    // The node knows it all in the next run, still alone.
    let mut house = house;
    house.world.kill();
    house.world.start();
    house.world.ready();
    house.logs(&["access.denied", "door=store", "reason=dnd"], || house.at_store(CLEO));
    house.logs(&["access.denied", "person=eli", "reason=apb_violation"], || house.at_lab(ELI));

    let before = house.events_so_far();
    house.world.site.broker.start_again().unwrap();
    house.told_after(before, "access.denied", json!({ "person": "eli", "reason": "apb_violation" }));
    house.drained();
    let cloud = house.site.cloud.cloud();
    let late: Vec<_> = cloud.events[before..].iter().collect();
    let kinds: BTreeSet<&str> = late.iter().map(|event| event.kind.as_str()).collect();
    for kind in [
        "access.granted",
        "access.denied",
        "access.duress",
        "apb.violated",
        "alarm.raised",
        "fire.activated",
        "fire.cleared",
        "door.forced",
        "system_event.fired",
        "door.mode_changed",
        "node.started",
    ] {
        assert!(kinds.contains(kind), "{kind} was not told: {kinds:?}");
    }
    // Each says that it is old, when it happened and under which set; there is no gap (the cloud looks at every number).
    let grants: Vec<_> = late.iter().filter(|event| event.kind == "access.granted").collect();
    assert!(grants.iter().all(|event| event.replayed && event.json["generation"].is_u64()));
    let seqs: Vec<u64> = late.iter().map(|event| event.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    let granted = grants.iter().map(|event| event.json["person"].clone()).collect::<Vec<Value>>();
    assert_eq!(granted, ["cleo", "cleo", "eli", "eli", "eli", "cleo", "dan"].map(|person| json!(person)));
}
