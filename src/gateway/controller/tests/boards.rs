//! What the buses say: inputs, lost boards, lost readers.

use super::*;

#[test]
fn at_start_every_lock_is_desired_locked_and_every_door_is_named() {
    let (bench, step) = Bench::cold();
    let things = [
        Thing::Door(FRONT),
        Thing::Door(BACK),
        Thing::Reader(ReaderIx(0)),
        Thing::Reader(ReaderIx(1)),
        Thing::Board(RELAYS),
        Thing::Board(GATE),
    ];
    assert_eq!(step.changed, things);
    let levels: Vec<Level> = bench.controller.desired().iter().map(|desired| desired.level).collect();
    assert_eq!(levels, [Level::Released, Level::Energised]);
    assert!(step.commit.is_empty());
}

#[test]
fn one_fire_input_releases_its_doors_in_one_step_with_one_event() {
    let mut bench = Bench::new();
    let step = bench.input(RELAYS, FIRE, true);
    assert_eq!(types(&step), ["fire.activated", "door.mode_changed", "door.mode_changed"]);
    assert_eq!(serde_json::to_value(events(&step)[0]).expect("an event")["input"], "relays/in-3");
    assert!(bench.unlocked(FRONT) && bench.unlocked(BACK));
    let _ = bench.bus(BusReport::BoardLost { board: RELAYS, detail: "silent".to_owned() });
    assert!(bench.unlocked(FRONT) && bench.unlocked(BACK));
    let _ = bench.bus(BusReport::BoardUp { board: RELAYS });
    assert_eq!(types(&bench.input(RELAYS, FIRE, true)), Vec::<String>::new());
    let step = bench.input(RELAYS, FIRE, false);
    assert_eq!(types(&step), ["fire.cleared", "door.mode_changed", "door.mode_changed"]);
    assert!(!bench.unlocked(FRONT) && !bench.unlocked(BACK));
}

#[test]
fn the_exit_button_of_one_door_is_no_concern_of_the_other() {
    let mut bench = Bench::new();
    let step = bench.input(GATE, REX, true);
    assert_eq!(types(&step), ["rex.activated", "door.mode_changed"]);
    assert_eq!((bench.unlocked(FRONT), bench.unlocked(BACK), step.changed), (false, true, vec![Thing::Door(BACK)]));
}

#[test]
fn a_lost_board_takes_its_readers_contacts_and_buttons_with_it_and_says_so_once() {
    let mut bench = Bench::new();
    let _ = bench.input(RELAYS, REX, true);
    let lost = BusReport::BoardLost { board: RELAYS, detail: "no answer".to_owned() };
    let step = bench.bus(lost.clone());
    assert_eq!(types(&step), ["board.lost", "reader.lost"]);
    assert!(bench.bus(lost).is_empty());
    let status = &bench.controller.door_statuses()[FRONT.index()];
    assert_eq!(status.contact, ContactState::Unknown);
    // The after-run of the exit button ends by itself.
    bench.pass(5_000);
    let _ = bench.tell(Input::Timeout);
    assert!(!bench.unlocked(FRONT));
    assert_eq!(types(&bench.bus(BusReport::BoardUp { board: RELAYS })), ["board.restored", "reader.restored"]);
    assert!(bench.bus(BusReport::BoardUp { board: RELAYS }).is_empty());
}

#[test]
fn a_board_that_answers_for_the_first_time_is_no_news_and_one_that_never_did_is_lost() {
    let (mut bench, _) = Bench::cold();
    assert_eq!(types(&bench.bus(BusReport::BoardUp { board: RELAYS })), Vec::<String>::new());
    assert_eq!(types(&bench.bus(BusReport::BoardLost { board: GATE, detail: "silent".to_owned() })), ["board.lost"]);
}

#[test]
fn a_serial_reader_is_lost_and_restored_by_its_line() {
    let mut bench = Bench::new();
    let lost = || Input::ReaderLost(ReaderIx(1), "unplugged".to_owned());
    assert_eq!(types(&bench.tell(lost())), ["reader.lost"]);
    assert!(bench.tell(lost()).is_empty());
    assert_eq!(types(&bench.tell(Input::ReaderRestored(ReaderIx(1)))), ["reader.restored"]);
}

#[test]
fn what_a_reader_says_of_itself_is_told_once_when_it_begins_and_once_when_it_ends() {
    let mut bench = Bench::new();
    let tell = |bench: &mut Bench, news| types(&bench.tell(Input::Reader(ReaderIx(1), news)));
    assert!(tell(&mut bench, ReaderNews::Tamper(false)).is_empty());
    assert!(tell(&mut bench, ReaderNews::Power { failed: false }).is_empty());
    assert_eq!(tell(&mut bench, ReaderNews::Tamper(true)), ["tamper.activated"]);
    assert!(tell(&mut bench, ReaderNews::Tamper(true)).is_empty());
    assert_eq!(tell(&mut bench, ReaderNews::Tamper(false)), ["tamper.cleared"]);
    assert_eq!(tell(&mut bench, ReaderNews::Power { failed: true }), ["power.lost"]);
    assert_eq!(tell(&mut bench, ReaderNews::Power { failed: false }), ["power.restored"]);
    let distrusted = ReaderNews::Distrusted("in the clear".to_owned());
    assert_eq!(tell(&mut bench, distrusted), ["security.reader_distrusted"]);
    assert!(types(&bench.tell(Input::Reader(ReaderIx(9), ReaderNews::Tamper(true)))).is_empty());
}

#[test]
fn what_belongs_to_no_door_is_ignored() {
    let mut bench = Bench::new();
    let nowhere = OutputRef { board: BoardIx(9), output: 9 };
    let reports = [
        BusReport::Input { input: InputRef { board: RELAYS, input: 3 }, energised: true },
        BusReport::Input { input: InputRef { board: BoardIx(9), input: 0 }, energised: true },
        BusReport::Card { board: GATE, block: 0, card: GOOD },
        BusReport::Output { output: nowhere, level: Level::Energised, order: Some(Ticket(1)) },
        BusReport::OrderExpired { output: nowhere, ticket: Ticket(1) },
        BusReport::BoardUp { board: BoardIx(9) },
        BusReport::BoardLost { board: BoardIx(9), detail: String::new() },
    ];
    for report in reports {
        assert!(bench.bus(report.clone()).is_empty(), "{report:?}");
    }
    assert!(bench.tell(Input::Card(CardRead::bits(ReaderIx(9), GOOD))).is_empty());
}

#[test]
fn doors_wake_in_the_order_of_their_deadlines() {
    let mut bench = Bench::new();
    let _ = bench.present(GOOD);
    bench.pass(1_000);
    let _ = bench.input(GATE, REX, true);
    let _ = bench.input(GATE, REX, false);
    let first = bench.controller.next_deadline().expect("a relock is due");
    assert_eq!(first, bench.now.mono + Duration::from_millis(4_000));
    bench.pass(4_000);
    let step = bench.tell(Input::Timeout);
    assert_eq!((step.changed, bench.unlocked(FRONT), bench.unlocked(BACK)), (vec![Thing::Door(FRONT)], false, true));
    bench.pass(1_000);
    let _ = bench.tell(Input::Timeout);
    assert!(!bench.unlocked(BACK));
}

/// The back door hangs on the points of its reader, which are counted on after the boards.
#[test]
fn the_points_of_a_reader_serve_a_door_and_are_no_board_beside_the_reader() {
    use crate::domain::fieldbus::ReaderPoints;
    const READER: BoardIx = BoardIx(1);
    let at = |id: Id, reader, door, points| ReaderBinding {
        id,
        reader: ReaderIx(reader),
        at: ReaderAt::Door(door),
        card_block: None,
        points,
    };
    let setup = Setup {
        doors: vec![
            door("front", RELAYS, Level::Energised),
            DoorConfig { fire: None, ..door("back", READER, Level::Released) },
        ],
        readers: vec![
            at(id("front-in"), 0, FRONT, None),
            at(id("back-in"), 1, BACK, Some(ReaderPoints::new(READER, 2, 1))),
        ],
        boards: &[board("relays", RELAYS)],
        topology: Arc::new(topology()),
        credential_key: key(),
        spare_cards: Arc::default(),
        permissions: permissions(41, false),
        cloud: CloudState::default(),
        lasting: Lasting::default(),
        machines: Vec::new(),
    };
    let (controller, _) = Controller::new(setup, NOW);
    let mut bench = Bench { controller, now: NOW, tickets: 0 };
    assert_eq!(bench.controller.things().filter(|thing| matches!(thing, Thing::Board(_))).count(), 1);

    let step = bench.bus(BusReport::BoardUp { board: READER });
    assert!(types(&step).is_empty() && !step.changed.contains(&Thing::Board(READER)), "{:?}", types(&step));
    let _ = bench.input(READER, CONTACT, true);
    let _ = bench.confirm(BACK);
    assert_eq!(types(&bench.input(READER, REX, true)), ["rex.activated", "door.mode_changed"]);
    assert!(bench.unlocked(BACK));

    // The reader itself tells that it is gone; the door loses what hung on it.
    let step = bench.bus(BusReport::BoardLost { board: READER, detail: "it does not answer".to_owned() });
    assert!(!types(&step).iter().any(|event| event.starts_with("board.")), "{:?}", types(&step));
    bench.pass(6_000);
    let _ = bench.tell(Input::Timeout);
    assert!(!bench.unlocked(BACK), "nobody asks to leave any more");
    let status = bench.controller.status(&Thing::Door(BACK));
    let Some(Status::Door(status)) = status else { panic!("{status:?}") };
    assert_eq!(status.contact, ContactState::Unknown);
    let degraded = BusReport::BoardDegraded { board: READER, detail: "it has 1 inputs".to_owned() };
    let step = bench.bus(degraded);
    assert_eq!(only(&step)["board"], "back-in");
}
