//! What a subscription gets, whatever the link does.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::time::{ClockTrust, Wall};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn at(seconds: u64) -> Now {
    Now {
        mono: Mono::from_millis(seconds * 1000),
        wall: Wall::from_millis(1_790_000_000_000),
        trust: ClockTrust::Trusted,
    }
}

fn event(seq: u64, door: &str) -> Sealed {
    let json = json!({"type": "door.opened", "seq": seq, "door": door}).to_string().into_bytes();
    Sealed { seq, hash: [0; 32], json }
}

fn args(args: Value) -> SubscribeArgs {
    serde_json::from_value(args).unwrap()
}

fn doors(doors: &[&str]) -> Scope {
    Scope { doors: Some(doors.iter().map(|door| id(door)).collect()), ..Scope::default() }
}

fn live(head: u64) -> LiveEvents {
    LiveEvents::new(Places::default(), head)
}

fn subscribe(live: &mut LiveEvents, jti: &str, operator: &str) {
    live.subscribe(at(0), &id(jti), &id(operator), &args(json!({})), Scope::default()).unwrap();
}

/// The log goes on with these, and they are read.
fn happens(live: &mut LiveEvents, events: &[Sealed]) {
    live.durable(events.last().unwrap().seq);
    while let Some((from, _)) = live.next_read() {
        let rest: Vec<Sealed> = events.iter().filter(|sealed| sealed.seq >= from).take(3).cloned().collect();
        live.read(Mono::ZERO, from, &rest);
    }
}

fn seqs(update: &Update) -> Vec<u64> {
    let seq = |json: &Vec<u8>| serde_json::from_slice::<Value>(json).unwrap()["seq"].as_u64().unwrap();
    update.events.iter().map(seq).collect()
}

#[test]
fn a_subscription_gets_what_fits_it_from_now_on() {
    let mut live = live(7);
    let only_front = args(json!({"filter": {"doors": ["front"]}}));
    let told = live.subscribe(at(0), &id("s"), &id("ada"), &only_front, Scope::default()).unwrap();
    assert_eq!((told.after, told.ends_at), (7, at(0).wall + Duration::from_secs(3600)));
    happens(&mut live, &[event(8, "front"), event(9, "back"), event(10, "front"), event(11, "back")]);
    let (jti, update) = live.next_message().unwrap();
    assert_eq!((jti, seqs(&update), update.missed, update.ended), (id("s"), vec![8, 10], 0, None));
    assert_eq!(live.next_message(), None, "one message is on the wire");
    happens(&mut live, &[event(12, "front")]);
    assert_eq!(live.next_message(), None);
    live.puback(&id("s"));
    assert_eq!(seqs(&live.next_message().unwrap().1), [12]);
}

#[test]
fn without_a_subscription_the_log_is_not_read() {
    let mut live = live(0);
    live.durable(1000);
    assert_eq!(live.next_read(), None);
    subscribe(&mut live, "s", "ada");
    assert_eq!(live.next_read(), None, "what was before is no news");
    live.durable(1001);
    assert_eq!(live.next_read().map(|(from, _)| from), Some(1001));
}

#[test]
fn an_operator_with_doors_gets_events_of_these_doors_only() {
    let mut live = live(0);
    live.subscribe(at(0), &id("s"), &id("max"), &args(json!({})), doors(&["back"])).unwrap();
    let stopping = Sealed { seq: 3, hash: [0; 32], json: br#"{"seq":3,"type":"node.stopping"}"#.to_vec() };
    happens(&mut live, &[event(1, "front"), event(2, "back"), stopping]);
    assert_eq!(seqs(&live.next_message().unwrap().1), [2]);
}

#[test]
fn what_an_operator_loses_ends_the_subscription_at_once_and_says_why() {
    let lost: [(Result<Scope, Refusal>, Option<Ended>); 5] = [
        (Ok(doors(&["back"])), None),
        (Ok(doors(&[])), Some(Ended::ScopeChanged)),
        (Err(Refusal::OperatorSuspended), Some(Ended::OperatorSuspended)),
        (Err(Refusal::UnknownOperator), Some(Ended::UnknownOperator)),
        (Err(Refusal::Forbidden), Some(Ended::Forbidden)),
    ];
    for (now, ended) in lost {
        let mut live = live(0);
        live.subscribe(at(0), &id("s"), &id("max"), &args(json!({})), doors(&["back"])).unwrap();
        happens(&mut live, &[event(1, "back")]);
        live.handle_authority(|operator| {
            assert_eq!(*operator, id("max"));
            now.clone()
        });
        let (_, update) = live.next_message().unwrap();
        assert_eq!(update.ended, ended);
        assert_eq!(update.events.len(), usize::from(ended.is_none()), "{ended:?}");
        live.puback(&id("s"));
        happens(&mut live, &[event(2, "back")]);
        assert_eq!(live.next_message().is_none(), ended.is_some());
    }
}

#[test]
fn a_subscription_ends_by_itself_and_when_it_is_told_to_by_its_own_operator() {
    let mut live = live(0);
    live.subscribe(at(0), &id("a"), &id("ada"), &args(json!({"ttl_s": 60})), Scope::default()).unwrap();
    subscribe(&mut live, "b", "ada");
    assert_eq!(live.next_deadline(), Some(at(60).mono));
    live.handle_timeout(at(59).mono);
    assert_eq!(live.next_message(), None);
    live.handle_timeout(at(60).mono);
    assert_eq!(live.next_message().unwrap(), (id("a"), Update { ended: Some(Ended::Expired), ..Update::default() }));
    assert_eq!(live.unsubscribe(&id("ada"), &id("a")).unwrap_err().0, Refusal::UnknownTarget);
    assert_eq!(live.unsubscribe(&id("eve"), &id("b")).unwrap_err().0, Refusal::UnknownTarget);
    live.unsubscribe(&id("ada"), &id("b")).unwrap();
    assert_eq!(live.next_message().unwrap().1.ended, Some(Ended::Unsubscribed));
    assert_eq!((live.count(), live.next_deadline()), (0, None));
}

#[test]
fn subscriptions_are_bounded_for_each_operator_and_for_the_node() {
    let mut live = live(0);
    for n in 0..SUBSCRIPTIONS_MAX {
        subscribe(&mut live, &format!("s-{n}"), &format!("op-{}", n / OF_OPERATOR_MAX));
    }
    let mut more = |operator: &str| {
        live.subscribe(at(0), &id("more"), &id(operator), &args(json!({})), Scope::default()).map_err(|e| e.0)
    };
    assert_eq!(more("op-0"), Err(Refusal::Overloaded));
    assert_eq!(more("fresh"), Err(Refusal::Overloaded));
    live.unsubscribe(&id("op-0"), &id("s-0")).unwrap();
    subscribe(&mut live, "more", "op-0");
    // Last words that nobody fetches are forgotten at some point.
    for n in 0..1000 {
        live.unsubscribe(&id("op-0"), &id(&if n == 0 { "more".to_owned() } else { format!("again-{}", n - 1) }))
            .unwrap();
        subscribe(&mut live, &format!("again-{n}"), "op-0");
    }
    assert_eq!((live.count(), live.subscriptions.len()), (SUBSCRIPTIONS_MAX, 2 * SUBSCRIPTIONS_MAX));
}

#[test]
fn what_there_was_no_room_for_is_counted_before_what_follows_it() {
    let mut live = live(0);
    subscribe(&mut live, "s", "ada");
    let wide = |seq| {
        let json = json!({"type": "x", "seq": seq, "detail": "x".repeat(10_000)}).to_string().into_bytes();
        Sealed { seq, hash: [0; 32], json }
    };
    live.disconnected();
    let events: Vec<Sealed> = (1..=100).map(wide).collect();
    happens(&mut live, &events);
    live.connected();
    let (mut got, mut missed) = (Vec::new(), 0);
    while let Some((jti, update)) = live.next_message() {
        assert!(update.missed == 0 || got.is_empty(), "missed ones come first");
        assert!(update.events.iter().map(Vec::len).sum::<usize>() <= MESSAGE_BYTES_MAX);
        let replayed = |event: &Vec<u8>| serde_json::from_slice::<Value>(event).unwrap()["replayed"] == json!(true);
        assert!(update.events.iter().all(replayed));
        missed += update.missed;
        got.extend(seqs(&update));
        live.puback(&jti);
    }
    assert_eq!(got, (missed + 1..=100).collect::<Vec<_>>());
    assert_eq!(got.len(), WAITING_BYTES_MAX / events[0].json.len());
}

#[test]
fn an_event_that_is_larger_than_a_message_is_a_message_of_its_own() {
    let mut live = live(0);
    subscribe(&mut live, "s", "ada");
    let detail = "x".repeat(WAITING_BYTES_MAX + 1);
    let json = json!({"type": "x", "seq": 2, "detail": detail}).to_string().into_bytes();
    happens(&mut live, &[event(1, "front"), Sealed { seq: 2, hash: [0; 32], json }]);
    let (_, update) = live.next_message().unwrap();
    assert_eq!((seqs(&update), update.missed), (vec![2], 1));
}

#[test]
fn events_that_are_gone_before_they_were_looked_at_are_missed() {
    let mut live = live(4);
    subscribe(&mut live, "s", "ada");
    live.durable(6);
    assert_eq!(live.next_read().unwrap().0, 5);
    subscribe(&mut live, "late", "ada");
    live.durable(9);
    live.read(Mono::ZERO, 5, &[event(8, "front")]);
    let mut missed: Vec<_> =
        std::iter::from_fn(|| live.next_message()).map(|(jti, u)| (jti, u.missed, seqs(&u))).collect();
    missed.sort();
    assert_eq!(missed, [(id("late"), 1, vec![8]), (id("s"), 3, vec![8])]);
}

#[test]
fn a_store_that_gives_nothing_is_asked_again_a_moment_later() {
    let mut live = live(0);
    subscribe(&mut live, "s", "ada");
    live.durable(1);
    let (from, _) = live.next_read().unwrap();
    live.read(at(5).mono, from, &[]);
    assert_eq!((live.next_read(), live.next_deadline()), (None, Some(at(6).mono)));
    live.handle_timeout(at(6).mono);
    assert_eq!(live.next_read().map(|(from, _)| from), Some(1));
}

#[test]
fn an_event_from_before_the_connection_is_marked_as_replayed() {
    let mut live = live(0);
    subscribe(&mut live, "s", "ada");
    live.disconnected();
    live.durable(1);
    live.connected();
    live.durable(2);
    let (from, _) = live.next_read().unwrap();
    live.read(Mono::ZERO, from, &[event(1, "front"), event(2, "front")]);
    let replayed = |event: &Vec<u8>| serde_json::from_slice::<Value>(event).unwrap()["replayed"].clone();
    let update = live.next_message().unwrap().1;
    assert_eq!(update.events.iter().map(replayed).collect::<Vec<_>>(), [json!(true), json!(false)]);
}

#[derive(Clone, Debug)]
enum Deed {
    Happens(u8),
    Send,
    Puback,
    LinkDown,
    LinkUp,
}

proptest! {
    #[test]
    fn whatever_the_link_does_every_event_is_sent_in_order_or_counted(
        deeds in proptest::collection::vec(prop_oneof![
            3 => (1u8..40).prop_map(Deed::Happens),
            4 => Just(Deed::Send),
            4 => Just(Deed::Puback),
            1 => Just(Deed::LinkDown),
            1 => Just(Deed::LinkUp),
        ], 1..150)
    ) {
        let mut live = live(0);
        let names = ["all", "front"];
        subscribe(&mut live, "all", "ada");
        let front = args(json!({"filter": {"doors": ["front"]}}));
        live.subscribe(at(0), &id("front"), &id("ada"), &front, Scope::default()).unwrap();
        let wide = |seq: u64| {
            let door = if seq.is_multiple_of(3) { "front" } else { "back" };
            let json = json!({"type": "x", "seq": seq, "door": door, "detail": "x".repeat(3000)});
            Sealed { seq, hash: [0; 32], json: json.to_string().into_bytes() }
        };
        let (mut seq, mut up) = (0, true);
        // Of each subscription: what came, with how many were missed before it.
        let mut got: BTreeMap<Id, Vec<(u64, Vec<u64>)>> = BTreeMap::new();
        let mut on_wire: Vec<Id> = Vec::new();
        let mut take = |live: &mut LiveEvents, on_wire: &mut Vec<Id>| {
            let Some((jti, update)) = live.next_message() else { return false };
            let seqs = seqs(&update);
            let of_this = got.entry(jti.clone()).or_default();
            // Again, after the link broke: the very same.
            if of_this.last().is_none_or(|last| *last != (update.missed, seqs.clone())) {
                of_this.push((update.missed, seqs));
            }
            on_wire.push(jti);
            true
        };
        let end = [Deed::LinkUp].into_iter().chain((0..500).flat_map(|_| [Deed::Send, Deed::Send, Deed::Puback, Deed::Puback]));
        for deed in deeds.into_iter().chain(end) {
            match deed {
                Deed::Happens(count) => {
                    let events: Vec<Sealed> = (seq + 1..=seq + u64::from(count)).map(wide).collect();
                    seq += u64::from(count);
                    happens(&mut live, &events);
                }
                Deed::Send if up => {
                    take(&mut live, &mut on_wire);
                }
                Deed::Puback if !on_wire.is_empty() => live.puback(&on_wire.remove(0)),
                Deed::LinkDown => {
                    up = false;
                    on_wire.clear();
                    live.disconnected();
                }
                Deed::LinkUp if !up => {
                    up = true;
                    live.connected();
                }
                _ => {}
            }
        }
        for name in names {
            let fitting: Vec<u64> = (1..=seq).filter(|seq| name == "all" || seq.is_multiple_of(3)).collect();
            let mut at = 0;
            for (missed, seqs) in got.get(name).into_iter().flatten() {
                at += usize::try_from(*missed).unwrap();
                prop_assert_eq!(&fitting[at..at + seqs.len()], &seqs[..], "{}", name);
                at += seqs.len();
            }
            prop_assert_eq!(at, fitting.len(), "{}", name);
        }
    }
}
