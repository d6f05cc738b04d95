//! What boards do by themselves when the daemon is gone: timers that end a momentary unlocking, watchdogs that secure
//! what was open; and lines that somebody tampers with.

use std::fs;

use latchd::{domain::door::ContactState, wire::outcome::Stage};
use latchd_sim::{
    board::{FLASH_OFF, FLASH_ON, SimBoard, Write},
    cloud::Wish,
    site::LOCK_COIL,
};
use serde_json::json;

use crate::world::World;

const PROFILE: &str = include_str!("../../config/profiles/generic-8ch.toml");

/// The keys of the shipped profile of Waveshare's relays, on a board that has inputs and a reader as well.
const TIMER: &str =
    "timer = { write = \"coil\", energised_for = 0x0200, released_for = 0x0400, unit_ms = 100, max = 0x7fff }";

/// Those of ICP DAS's.
const WATCHDOG: &str = "[watchdog]
unit_ms = 100
timeout_min_ms = 1000
timeout_max_ms = 25500
arm = [
  { coil = 269, value = 1 },
  { holding_register = 488, timeout = true },
  { coil = 259, value = 1 },
  { coil = 260, value = 1 },
]

[[outputs]]
safe_coil = 128";

/// A site both of whose boards have this profile; `more` goes to each `[[board]]`.
fn site(profile: &str, more: &str) -> World {
    let world = World::new();
    let directory = world.site.config().parent().unwrap().to_owned();
    let profile = profile.replace("\"generic-8ch\"", "\"guarded-8ch\"");
    fs::write(directory.join("profiles/guarded-8ch.toml"), profile).unwrap();
    let (from, to) = ("profile = \"generic-8ch\"", format!("profile = \"guarded-8ch\"\n{more}"));
    world.site.configure(from, &to).unwrap();
    world
}

fn run(mut world: World) -> World {
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    world.ready();
    world
}

#[test]
fn a_kill_in_the_middle_of_a_momentary_unlocking_leaves_no_door_open() {
    let world = site(&PROFILE.replace("coil = 0\n", &format!("coil = 0\n{TIMER}\n")), "");
    let (front, glass) = (world.site.field.front.clone().with_timers(), world.site.field.glass.clone().with_timers());
    // Nobody comes: the doors relock by time alone.
    world.site.field.swings.iter().for_each(|swing| swing.set_visitors(false));
    let mut world = run(world);
    front.take_writes();
    glass.take_writes();
    for door in ["front", "glass"] {
        let args = json!({ "door": door, "dwell_ms": 3000 });
        let jti = world.wish(&Wish::new("op-ada", "door.open_and_close", args));
        world.stage(&jti, Stage::Actuated);
    }
    // Until the relay was read back the timer is set for what the command may last at most, then for its dwell.
    let dwells =
        |board: &SimBoard| matches!(board.look().writes().last(), Some((_, Write::Timer { count: 20..=32, .. })));
    world.until("the timers of the dwell", || dwells(&front) && dwells(&glass));
    assert!(front.coil(LOCK_COIL) && !glass.coil(LOCK_COIL), "read back: both are open");
    world.kill();
    assert!(front.coil(LOCK_COIL) && !glass.coil(LOCK_COIL), "and still are when the daemon is dead");
    let writes = |board: &SimBoard| -> Vec<Write> { board.take_writes().into_iter().map(|(_, write)| write).collect() };
    let (strike, magnet) = (writes(&front), writes(&glass));
    assert!(matches!(strike.last(), Some(Write::Timer { address: FLASH_ON, count: 20..=32 })), "{strike:?}");
    assert!(matches!(magnet.last(), Some(Write::Timer { address: FLASH_OFF, count: 20..=32 })), "{magnet:?}");
    assert!(strike.iter().chain(&magnet).all(|write| matches!(write, Write::Timer { .. })), "{strike:?} {magnet:?}");
    world.coil(&front, false);
    world.coil(&glass, true);
    assert_eq!((writes(&front), writes(&glass)), (vec![], vec![]), "nobody told them");
    world.start();
    world.ready();
    world.ada_passes();
}

#[test]
fn a_door_that_opens_is_locked_again_before_its_timer_and_the_next_person_gets_the_whole_time() {
    let world = site(&PROFILE.replace("coil = 0\n", &format!("coil = 0\n{TIMER}\n")), "");
    let front = world.site.field.front.clone().with_timers();
    world.site.field.glass.clone().with_timers();
    let world = run(world);
    world.ada_passes();
    front.take_writes();
    world.ada_passes();
    let writes: Vec<Write> = front.take_writes().into_iter().map(|(_, write)| write).collect();
    let off = Write::Coil { address: LOCK_COIL, on: false };
    assert!(matches!(writes[..], [Write::Timer { address: FLASH_ON, .. }, last] if last == off), "{writes:?}");
}

#[test]
fn a_kill_while_a_door_is_held_open_lets_the_boards_watchdog_secure_it() {
    let mut world = site(&PROFILE.replacen("[[outputs]]", WATCHDOG, 1), "watchdog_ms = 1500");
    let (front, glass) = (world.site.field.front.clone(), world.site.field.glass.clone());
    world.with_field(async |field| {
        field.front.clone().with_watchdog();
        field.glass.clone().with_watchdog();
    });
    let mut world = run(world);
    for door in ["front", "glass"] {
        let jti = world.command("door.open", door);
        world.stage(&jti, Stage::Actuated);
    }
    assert!(front.coil(LOCK_COIL) && !glass.coil(LOCK_COIL));
    assert!(!front.has_struck() && !glass.has_struck());
    world.kill();
    // A strike without power, a magnet with: each as its door is locked.
    world.coil(&front, false);
    world.coil(&glass, true);
    front.take_writes();
    world.start();
    world.coil(&front, true);
    world.coil(&glass, false);
    assert!(!front.has_struck() && !glass.has_struck());
    let writes: Vec<Write> = front.take_writes().into_iter().map(|(_, write)| write).collect();
    let at = |wanted: Write| writes.iter().position(|write| *write == wanted);
    let armed = at(Write::Coil { address: 260, on: true });
    assert!(armed.is_some() && armed < at(Write::Coil { address: LOCK_COIL, on: true }), "{writes:?}");
    assert!(at(Write::Register { address: 488, value: 15 }) < armed);
}

#[test]
fn a_board_without_the_timer_that_its_profile_promises_is_told_and_the_daemon_ends_its_unlockings() {
    let world = run(site(&PROFILE.replace("coil = 0\n", &format!("coil = 0\n{TIMER}\n")), ""));
    // It has none: what it is asked for is an address that it does not know.
    world.ada_passes();
    let degraded = world.event_of("board.degraded", "board", "gate");
    let detail = degraded.json["detail"].as_str().unwrap();
    assert!(detail.contains("the daemon alone ends its momentary levels"), "{detail}");
    world.event("alarm.raised", |json| json["source"] == json!({ "of": "board", "board": "gate" }));
    world.ada_passes();
    assert_eq!(world.count("board.degraded"), 1, "told once");
}

#[test]
fn a_contact_whose_line_is_cut_is_no_closed_door_and_raises_an_alarm_that_stands() {
    let bands = "bands = { energised_from = 1800, energised_to = 2300, released_from = 2500, released_to = 3000, \
                 short_from = 0, short_to = 400, open_from = 3800, open_to = 4095 }";
    let profile = PROFILE.replace("discrete_input = 0 ", &format!("{bands}\ninput_register = 0 "));
    let world = site(&profile, "");
    let (front, glass) = (world.site.field.front.clone(), world.site.field.glass.clone());
    // Closed doors; nothing else is pressed or burns.
    for board in [&front, &glass] {
        board.set_input_register(0, 2048);
        (1..8).for_each(|input| board.set_input_register(input, 2700));
    }
    let world = run(world);
    let contact = |world: &World, state: ContactState| {
        world.cloud(&format!("contact {state:?}"), |cloud| {
            cloud.doors.get("front").filter(|door| door.contact == state).map(drop)
        });
    };
    contact(&world, ContactState::Closed);
    for (times, (value, trouble)) in (1..).zip([(4095, "open"), (3, "short"), (1000, "fault")]) {
        front.set_input_register(0, value);
        world.event("tamper.line_faulted", |json| json["trouble"] == trouble && json["doors"] == json!(["front"]));
        contact(&world, ContactState::Unknown);
        world.event("alarm.raised", |json| json["source"]["trouble"] == trouble);
        front.set_input_register(0, 2048);
        contact(&world, ContactState::Closed);
        world.until("the line's end", || world.count("tamper.line_restored") == times);
    }
    assert_eq!(world.count("door.forced") + world.count("door.opened"), 0, "nobody saw it open");
}
