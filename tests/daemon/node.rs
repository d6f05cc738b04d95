//! The node asked about itself, and told to start anew.

use latchd::{
    domain::{event::Refusal, status::Link},
    wire::{outcome::Stage, telemetry::Diagnostics},
};
use latchd_sim::{board::Fault, cloud::Wish, site::LOCK_COIL};
use serde_json::json;

use crate::world::World;

fn diagnostics(world: &World) -> Diagnostics {
    let jti = world.wish(&Wish::new("op-ada", "node.diagnostics", json!({})));
    let detail = world.stage(&jti, Stage::Done).detail.unwrap();
    serde_json::from_value(detail["diagnostics"].clone()).unwrap()
}

#[test]
fn diagnostics_tell_what_runs_what_is_lost_and_how_long_things_take() {
    let world = World::running();
    world.ada_passes();
    let jti = world.command("door.open", "barrier");
    world.stage(&jti, Stage::Actuated);
    let told = diagnostics(&world);
    assert_eq!((told.version.as_str(), told.boot.clone()), (env!("CARGO_PKG_VERSION"), world.boot()));
    assert_eq!((told.epoch, told.generation, told.staleness_ms.is_some()), (1, 1, true));
    assert_eq!((told.counters.granted, told.counters.denied), (1, 0));
    assert!(told.counters.events > 5 && told.gauges.commands_remembered >= 2, "{told:?}");
    assert!(told.gauges.memory_bytes.is_some_and(|bytes| bytes > 1_000_000), "{told:?}");
    assert_eq!((told.latencies.decision.count, told.latencies.command.count), (1, 1));
    let decision = told.latencies.decision;
    assert!(decision.p50_us <= decision.max_us && decision.max_us < 1_000_000, "{decision:?}");
    assert!(told.latencies.event_append.count > 3);
    let named = |told: &Diagnostics| told.boards.iter().map(|b| (b.board.to_string(), b.link)).collect::<Vec<_>>();
    assert_eq!(named(&told), [("gate".to_owned(), Link::Up), ("relays".to_owned(), Link::Up)]);
    assert!(told.boards.iter().all(|board| board.answered > 0 && board.last_us > 0), "{:?}", told.boards);
    assert_eq!(told.buses.iter().map(|bus| bus.bus.as_str()).collect::<Vec<_>>(), ["lan", "riser"]);
    assert!(told.buses.iter().all(|bus| bus.answered > 0 && bus.transaction.p50_us > 0), "{:?}", told.buses);
    assert_eq!(told.readers.len(), 2);
    assert!(told.stores.iter().all(|store| store.bytes.is_some() && store.failing.is_none()), "{:?}", told.stores);
    let log = told.event_log.unwrap();
    assert!(log.oldest == 1 && log.newest >= told.counters.events, "{log:?}");

    world.site.field.front.set_fault(Fault::Silent);
    world.event("board.lost", |_| true);
    let told = diagnostics(&world);
    assert_eq!(told.boards.iter().map(|board| board.link).collect::<Vec<_>>(), [Link::Lost, Link::Up]);
    assert!(told.boards[0].failed > 0, "{:?}", told.boards);
    let lost: Vec<_> = told.readers.iter().filter(|reader| reader.link == Link::Lost).collect();
    assert_eq!(lost.len(), 1, "{:?}", told.readers);

    let jti = world.wish(&Wish::new("op-rita", "node.diagnostics", json!({})));
    world.refused(&jti, Refusal::Forbidden);
}

#[test]
fn figures_are_sent_as_often_as_the_site_says() {
    let mut world = World::new();
    world.site.configure("beat_every_s = 1", "beat_every_s = 1\ntelemetry_every_s = 1").unwrap();
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    world.ada_passes();
    let first = world.cloud("figures", |cloud| cloud.telemetry.clone().filter(|told| told.counters.granted == 1));
    assert!(first.interval_ms >= 1000 && first.buses.len() == 2, "{first:?}");
    let next =
        world.cloud("later figures", |cloud| cloud.telemetry.clone().filter(|told| told.uptime_s > first.uptime_s + 1));
    assert_eq!(next.latencies.decision.count, 0, "of the time since the message before");
    assert!(next.counters.granted == 1 && next.buses.iter().all(|bus| bus.transaction.count > 0), "{next:?}");
}

#[test]
fn a_reboot_is_refused_unless_the_site_file_allows_it() {
    let mut world = World::running();
    let jti = world.wish(&Wish::new("op-ada", "node.reboot", json!({})));
    world.refused(&jti, Refusal::Unsupported);
    assert!(world.is_running());
}

#[test]
fn a_reboot_ends_the_daemon_in_order_with_the_code_on_which_it_is_started_anew() {
    let mut world = World::new();
    let allowed = "signing_key = \"signing-key\"\nreboot = \"daemon\"";
    world.site.configure("signing_key = \"signing-key\"", allowed).unwrap();
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    let before = world.boot();
    let open = world.command("door.open", "barrier");
    world.stage(&open, Stage::Actuated);
    let jti = world.wish(&Wish::new("op-ada", "node.reboot", json!({})));
    assert_eq!(world.end(), Some(80));
    world.stage(&jti, Stage::Done);
    assert!(!world.site.field.front.coil(LOCK_COIL + 1), "the doors are in their safe state");
    world.start();
    world.event_of("node.reboot_requested", "operator", "op-ada");
    world.event("node.started", |json| json["clean"] == true && json["seq"] != 1);
    assert_ne!(world.boot(), before);
}

#[test]
fn a_node_that_has_nothing_to_blink_with_says_so() {
    let world = World::running();
    let jti = world.wish(&Wish::new("op-ada", "node.identify", json!({})));
    world.refused(&jti, Refusal::Unsupported);
}

#[test]
fn a_node_blinks_to_be_found_and_tells_who_asked() {
    let mut world = World::new();
    let led = "[[output]]\nid = \"led\"\noutput = \"gate/relay-3\"\non = \"energised\"\nidentify = true\n\n[[reader]]\nid = \"front-in\"";
    world.site.configure("[[reader]]\nid = \"front-in\"", led).unwrap();
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    world.ready();
    let jti = world.wish(&Wish::new("op-ada", "node.identify", json!({})));
    world.stage(&jti, Stage::Done);
    let front = world.site.field.front.clone();
    world.until("light", || front.coil(2));
    world.until("dark", || !front.coil(2));
    world.event("node.identified", |json| json["actor"]["operator"] == "op-ada");
}
