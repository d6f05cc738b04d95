//! What arrives: believed, refused, or counted.

use std::time::Duration;

use latchd::{
    domain::event::{EventBody, Refusal},
    gateway::session::Input,
    wire::jws::Typ,
};
use latchd_sim::cloud::{
    Cloud, Wish,
    keys::{CloudKeys, signer_from},
};
use serde_json::json;

use crate::world::{SEED, World, id};

fn wish() -> Wish {
    Wish { boot: Some(id("boot-1")), ..Wish::door("op-1", "door.open", "front") }
}

#[test]
fn a_good_command_goes_to_the_desk_and_the_broker_keeps_it_until_the_desk_is_done() {
    let mut world = World::up();
    let acks = world.acks.len();
    let (jti, message) = world.cloud.command(world.now.wall, &wish());
    let token = world.deliver_as(&message.topic, message.payload, false);
    assert_eq!(world.commands.iter().map(|(c, t)| (&c.jti, *t)).collect::<Vec<_>>(), [(&jti, token)]);
    assert_eq!(world.acks.len(), acks, "not acknowledged before it is stored");
    world.input(Input::AckMessage(token));
    assert_eq!(world.acks.last(), Some(&token));
}

#[test]
fn a_token_of_an_earlier_connection_is_never_acknowledged() {
    let mut world = World::up();
    let (_, message) = world.cloud.command(world.now.wall, &wish());
    let token = world.deliver_as(&message.topic, message.payload, false);
    world.disconnect();
    world.connect();
    let acks = world.acks.len();
    world.input(Input::AckMessage(token));
    assert_eq!(world.acks.len(), acks);
}

#[test]
fn a_retained_command_goes_to_the_desk_as_such_so_that_its_id_is_spent() {
    let mut world = World::up();
    let (jti, message) = world.cloud.command(world.now.wall, &wish());
    world.deliver_as(&message.topic, message.payload, true);
    assert_eq!(world.retained, [jti]);
}

#[test]
fn a_desk_that_stores_nothing_does_not_keep_the_broker_from_sending_on() {
    let mut world = World::up();
    let tokens: Vec<_> = (0..64)
        .map(|_| {
            let (_, message) = world.cloud.command(world.now.wall, &wish());
            world.deliver_as(&message.topic, message.payload, false)
        })
        .collect();
    assert_eq!(world.commands.len(), 64);
    assert!(world.acks.ends_with(&tokens[..32]));
    for token in &tokens {
        world.input(Input::AckMessage(*token));
    }
    assert!(world.acks.ends_with(&tokens), "each once, in the order in which they came");
}

#[test]
fn a_signed_command_for_another_node_or_from_another_issuer_is_refused_with_an_outcome() {
    let mut world = World::up();
    let mut elsewhere = Cloud::new("acme", "hq-2", signer_from(SEED, 200).public_key(), CloudKeys::from_seed(SEED));
    let (jti, message) = elsewhere.command(world.now.wall, &Wish { jti: Some(id("x-1")), ..wish() });
    world.deliver_as("latchd/v1/acme/hq-1/cmd", message.payload, false);
    let claims = json!({"iss": "https://other.example", "aud": "acme/hq-1", "sub": "op-1", "jti": "x-2", "boot": "boot-1",
        "iat": 1_790_000_000, "exp": 1_790_000_005, "cmd": "door.open", "args": {"door": "front"}});
    let foreign = world.cloud.signed(Typ::Cmd, world.cloud.topics.cmd(), claims.to_string().as_bytes(), false);
    world.deliver(foreign);
    world.settle();
    assert!(world.commands.is_empty());
    let reason = |jti: &str| world.cloud.outcomes_of(&id(jti)).next().unwrap().reason;
    assert_eq!(reason(&jti), Some(Refusal::WrongAudience));
    assert_eq!(reason("x-2"), Some(Refusal::WrongIssuer));
}

#[test]
fn what_cannot_be_attributed_is_answered_with_nothing_and_reported_together() {
    let mut world = World::up();
    let stranger = CloudKeys::from_seed(99);
    let forged = |typ| stranger.sign(typ, b"{}").into_bytes();
    let cmd = world.cloud.topics.cmd();
    let sent = world.topics_on_wire().len();
    for _ in 0..500 {
        world.deliver_as(&cmd, b"garbage".to_vec(), false);
        world.deliver_as(&cmd, forged(Typ::Cmd), false);
        world.deliver_as(&cmd, vec![b'x'; 300_000], false);
        let set = world.cloud.topics.set();
        world.deliver_as(&set, forged(Typ::Set), false);
        world.deliver_as("latchd/v1/acme/hq-1/evt/ack", forged(Typ::Ack), false);
        world.deliver_as("some/other/topic", Vec::new(), false);
    }
    assert!(world.topics_on_wire()[sent..].iter().all(|topic| topic == "evt"), "{:?}", world.topics_on_wire());
    world.run(Duration::from_secs(30));
    let rejected = world.rejected();
    assert!(rejected.len() <= 8, "{rejected:?}");
    assert!(rejected.iter().any(|r| r.starts_with("cmd: not a JWS: ") && r.contains("too large: ")), "{rejected:?}");
    let counted: u64 =
        world.events.iter().map(|e| if let EventBody::SecurityRejected { count, .. } = e { *count } else { 0 }).sum();
    assert_eq!(counted, 3_000, "every one of them is counted");
}

#[test]
fn a_flood_of_forgeries_costs_a_bounded_number_of_checks_and_good_commands_cost_none() {
    let mut world = World::up();
    let cmd = world.cloud.topics.cmd();
    for _ in 0..2_000 {
        let (_, message) = world.cloud.command(world.now.wall, &wish());
        world.deliver_as(&cmd, message.payload, false);
    }
    assert_eq!(world.commands.len(), 2_000, "good ones use nothing up");
    let (_, good) = world.cloud.command(world.now.wall, &wish());
    for n in 0..5_000_usize {
        // Each forgery has another signature: the same bytes would be stopped sooner.
        let mut forged = good.payload.clone();
        let at = forged.len() - 40;
        for (digit, byte) in forged[at..at + 3].iter_mut().enumerate() {
            *byte = b'a' + u8::try_from(n / 20_usize.pow(u32::try_from(digit).unwrap()) % 20).unwrap();
        }
        world.deliver_as(&cmd, forged, false);
    }
    assert_eq!(world.commands.len(), 2_000);
    world.run(Duration::from_secs(11));
    assert!(world.rejected().iter().any(|r| r.contains("dropped unchecked")), "{:?}", world.rejected());
    // Other types have their own budget, and time brings this one back.
    let beats = world.beats;
    world.run(Duration::from_secs(61));
    assert!(world.beats > beats);
    let (_, good) = world.cloud.command(world.now.wall, &wish());
    world.deliver_as(&cmd, good.payload, false);
    assert_eq!(world.commands.len(), 2_001);
}

#[test]
fn one_good_command_repeated_for_ever_reaches_the_desk_only_so_often() {
    let mut world = World::up();
    let (_, message) = world.cloud.command(world.now.wall, &wish());
    for _ in 0..10_000 {
        world.deliver(message.clone());
    }
    assert!(world.commands.len() <= 60, "{}", world.commands.len());
    assert!(world.commands.len() >= 10, "honest redelivery passes");
}

#[test]
fn without_keys_nothing_is_believed_and_with_a_key_set_of_the_root_everything_is() {
    let mut world = World::new();
    world.cloud.answers = false;
    world.connect();
    world.settle();
    let (_, message) = world.cloud.command(world.now.wall, &wish());
    world.deliver(message);
    assert!(world.commands.is_empty());
    let stranger = CloudKeys::from_seed(99);
    let mut other = Cloud::new("acme", "hq-1", signer_from(SEED, 200).public_key(), stranger);
    world.deliver(other.key_set(world.now.wall));
    assert!(world.stored_keys.is_none(), "not signed by our root");
    let keys = world.cloud.key_set(world.now.wall);
    world.deliver(keys.clone());
    assert_eq!(world.stored_keys.as_deref(), Some(&keys.payload[..]));
    let (_, message) = world.cloud.command(world.now.wall, &wish());
    world.deliver(message);
    assert_eq!(world.commands.len(), 1);
}

#[test]
fn a_key_sets_version_only_rises() {
    let mut world = World::up();
    let old = world.cloud.key_set(world.now.wall);
    world.cloud.keys_version = 2;
    let new = world.cloud.key_set(world.now.wall);
    world.deliver(new.clone());
    assert_eq!(world.stored_keys.as_deref(), Some(&new.payload[..]));
    world.deliver(old);
    assert_eq!(world.session.keys().version(), 2);
    assert_eq!(world.stored_keys.as_deref(), Some(&new.payload[..]));
    // The same version with other content is an alarm.
    let mut other = Cloud::new("acme", "hq-1", signer_from(SEED, 200).public_key(), CloudKeys::from_seed(SEED));
    other.keys_version = 2;
    world.deliver(other.key_set(world.now.wall + Duration::from_secs(5)));
    assert!(world.events.iter().any(|e| matches!(e, EventBody::SecurityRollbackRefused { .. })));
}
