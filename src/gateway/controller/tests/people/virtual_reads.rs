//! An operator has a cardholder's credential read.

use super::*;

fn read(scene: &mut Scene, person: &str, credential: Option<&str>) -> (u64, Vec<Value>) {
    let before = scene.tell(Input::Timeout);
    assert_eq!(before, Vec::<Value>::new());
    scene.tickets += 1;
    let order = Order {
        ticket: Ticket(scene.tickets),
        what: Task::VirtualRead { door: FRONT, person: id(person), credential: credential.map(id) },
        deadline: scene.now.mono + Duration::from_secs(5),
        issued_at: scene.now.wall,
        by: Actor::Operator { operator: id("op-1"), jti: id("j-1") },
    };
    let ticket = scene.tickets;
    (ticket, scene.tell(Input::Order(order)))
}

fn decided(scene: &Scene, ticket: u64) -> Value {
    let progress = scene.progress(ticket);
    let [Progress::Decided(decided), ..] = progress.as_slice() else { panic!("{progress:?}") };
    let members = [
        ("reason", json!(decided.reason)),
        ("person", json!(decided.person)),
        ("credential", json!(decided.credential)),
        ("rule", json!(decided.rule)),
    ];
    let known = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(known.map(|(name, value)| (name.to_owned(), value)).collect())
}

#[test]
fn it_opens_as_the_rules_say_names_the_operator_and_is_read_back_like_any_order() {
    let mut scene = Scene::new(&[staff("card")]);
    let (ticket, events) = read(&mut scene, "ada", None);
    assert_eq!(access(&events), ["access.granted ada"]);
    let operator = json!({ "by": "operator", "operator": "op-1", "jti": "j-1" });
    assert_eq!(
        (&events[0]["actor"], &events[0]["reader"], events[0].get("card")),
        (&operator, &json!("front-in"), None)
    );
    assert_eq!(decided(&scene, ticket), json!({ "person": "ada", "rule": "staff" }));
    assert!(scene.unlocked(FRONT));
    scene.confirm(FRONT);
    scene.contact(RELAYS, false);
    let [_, Progress::Actuated { observation_follows: true }, Progress::Observed] = scene.progress(ticket)[..] else {
        panic!("{:?}", scene.progress(ticket))
    };
}

#[test]
fn it_is_denied_as_the_rules_say_and_the_command_is_done() {
    let mut scene = Scene::new(&[]);
    let (ticket, events) = read(&mut scene, "ada", None);
    assert_eq!(told(&events, &["reason", "person"]), ["access.denied no_rule ada"]);
    assert_eq!(events[0]["actor"]["operator"], json!("op-1"));
    assert_eq!(decided(&scene, ticket), json!({ "reason": "no_rule", "person": "ada" }));
    assert_eq!(scene.progress(ticket)[1..], [&Progress::Done]);
    assert!(!scene.unlocked(FRONT));
}

#[test]
fn it_satisfies_neither_a_pin_nor_a_second_person() {
    for (authentication, reason) in [("card_and_pin", "pin_required"), ("two_person", "second_person_required")] {
        let mut scene = Scene::new(&[staff(authentication)]);
        let (ticket, events) = read(&mut scene, "ada", None);
        assert_eq!(told(&events, &["reason", "person"]), [format!("access.denied {reason} ada")]);
        assert_eq!(decided(&scene, ticket)["reason"], json!(reason));
        assert_eq!(scene.wait(20_000), Vec::<Value>::new(), "nobody is waited for");
    }
}

#[test]
fn a_named_credential_must_be_theirs_and_in_order() {
    let mut scene = Scene::new(&[staff("card")]);
    let (_, events) = read(&mut scene, "ada", Some("ada-card"));
    assert_eq!(
        (access(&events), &events[0]["credential"]),
        (vec!["access.granted ada".to_owned()], &json!("ada-card"))
    );
    let (_, events) = read(&mut scene, "ada", Some("ben-card"));
    assert_eq!(access(&events), ["access.denied unknown_credential ada"]);
    scene.put(&[record(
        "credential",
        "ada-card",
        json!({ "person": "ada", "token": hash(&card_text(ADA)), "state": "stolen" }),
    )]);
    let (_, events) = read(&mut scene, "ada", Some("ada-card"));
    assert_eq!(access(&events), ["access.denied stolen ada"]);
}

#[test]
fn areas_and_modes_speak_and_the_passage_counts_when_the_door_opens() {
    let hall = record(
        "area",
        "hall",
        json!({ "entry_readers": ["front-in"], "exit_readers": ["front-out"], "anti_passback": "hard" }),
    );
    let mut scene = Scene::new(&[staff("card"), hall]);
    read(&mut scene, "ada", None);
    assert_eq!(scene.count("hall"), 0);
    scene.confirm(FRONT);
    scene.contact(RELAYS, false);
    assert_eq!(scene.count("hall"), 1);
    scene.contact(RELAYS, true);
    scene.wait(60_000);
    let (ticket, events) = read(&mut scene, "ada", None);
    assert_eq!(told(&events, &["reason", "way"]), ["apb.violated entry", "access.denied apb_violation"]);
    assert_eq!(decided(&scene, ticket)["reason"], json!("apb_violation"));
    scene.order(Task::Door(FRONT, DoorAction::Lockdown(true)));
    let (_, events) = read(&mut scene, "ben", None);
    assert_eq!(access(&events), ["access.denied locked_down ben"]);
}

#[test]
fn nobody_has_come_first_by_it_nobody_unknown_is_read_and_it_is_not_late() {
    let mut scene = Scene::new(&[staff("card")]);
    let (ticket, events) = read(&mut scene, "nobody", None);
    assert_eq!((events, scene.progress(ticket).len()), (vec![], 1));
    assert!(matches!(scene.progress(ticket)[0], Progress::Refused(Refusal::UnknownTarget, _)));
    let order = Order {
        ticket: Ticket(900),
        what: Task::VirtualRead { door: FRONT, person: id("ada"), credential: None },
        deadline: scene.now.mono,
        issued_at: scene.now.wall,
        by: Actor::Operator { operator: id("op-1"), jti: id("j-1") },
    };
    scene.now.mono = scene.now.mono + Duration::from_millis(1);
    assert_eq!(scene.tell(Input::Order(order)), Vec::<Value>::new());
    assert_eq!(scene.progress(900), [&Progress::Expired]);
}
