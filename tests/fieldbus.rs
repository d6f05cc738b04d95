//! The bus loop and the serial readers against simulated boards and readers, in real time, over TCP and
//! over pseudo-terminals. Nothing here sleeps and hopes: every wait is for an event, under one limit.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use latchd::{
    adapters::{
        clock::mono,
        field::{modbus::Wire, serial_reader::SerialReader},
    },
    config::site::{Bus, Line, LineFormat, Parity, SerialPort},
    domain::{
        fieldbus::{
            Bands, BoardConfig, BusReport, CardBlock, CardHandshake, CardRead, GuardAddress, GuardValue, GuardWrite,
            InputAddress, InputPoint, LineTrouble, OutputAddress, OutputPoint, OutputTimer, Profile, RawCard,
            RegisterTable, TimerWrite, Watchdog,
        },
        ids::{BoardIx, BusIx, Id, InputRef, OutputRef, ReaderIx},
        outputs::{Desired, Level, Ticket},
        time::Mono,
    },
    gateway::fieldbus::BusPlan,
    runtime::{
        bus_loop::{self, BusPorts},
        reader_loop::{self, ReaderReport},
    },
};
use latchd_sim::{
    board::{FLASH_OFF, FLASH_ON, Fault, RtuLine, SimBoard, Swing, SwingDoor, TcpServer, Write},
    reader::SimReader,
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, LocalSet},
};

const LIMIT: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_millis(150);
const LOCK: OutputRef = OutputRef { board: BoardIx(0), output: 0 };
const OTHER: OutputRef = OutputRef { board: BoardIx(0), output: 1 };

fn id(text: &str) -> Id {
    Id::new(text).expect("a valid id")
}

/// As generic-8ch.
fn profile() -> Profile {
    let timer = |n| OutputTimer {
        write: TimerWrite::Coil,
        energised_for: Some(FLASH_ON + n),
        released_for: Some(FLASH_OFF + n),
        unit: Duration::from_millis(100),
        max: 0x7fff,
    };
    let outputs = (0..8).map(|n| OutputPoint {
        // Of the last two, the timer is used.
        timer: (n >= 6).then(|| timer(n)),
        ..OutputPoint::plain(id(&format!("relay-{n}")), OutputAddress::Coil(n))
    });
    let inputs = (0..8).map(|n| InputPoint { name: id(&format!("in-{n}")), address: InputAddress::DiscreteInput(n) });
    Profile {
        name: id("generic-8ch"),
        outputs: outputs.collect(),
        inputs: inputs.collect(),
        card_blocks: vec![CardBlock {
            name: id("wiegand-1"),
            table: RegisterTable::Holding,
            data_address: 102,
            data_words: 3,
            bits_address: Some(101),
            bits_fixed: 0,
            handshake: CardHandshake::Counter { address: 100 },
        }],
        read_bits_max: 128,
        read_registers_max: 32,
        gaps_readable: false,
        watchdog: None,
    }
}

fn serial_port(path: &Path) -> SerialPort {
    SerialPort {
        path: path.to_owned(),
        baud: 115_200,
        parity: Parity::None,
        stop_bits: 1,
        turnaround: Duration::from_millis(2),
    }
}

/// A running bus loop with one board, and the doors' end of it.
struct Field {
    desired: watch::Sender<Rc<[Desired]>>,
    reports: mpsc::Receiver<(BusIx, BusReport)>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Field {
    fn start(line: Line) -> Field {
        Field::with(line, |_| {})
    }

    fn with(line: Line, change: impl FnOnce(&mut BoardConfig)) -> Field {
        let serial = matches!(line, Line::Rtu(_));
        let mut plan = BusPlan {
            bus: BusIx(0),
            boards: vec![BoardConfig {
                id: id("relays"),
                board: BoardIx(0),
                unit: 1,
                profile: profile(),
                poll: Duration::from_millis(20),
                lost_after: Duration::from_millis(600),
                watchdog: None,
            }],
            serial,
            turnaround: Duration::from_millis(if serial { 2 } else { 0 }),
            timeout: TIMEOUT,
        };
        change(&mut plan.boards[0]);
        let wire = Wire::new(&Bus { id: id("bus"), bus: BusIx(0), line, timeout: TIMEOUT });
        let (desired, desired_in) = watch::channel(Rc::from([]));
        let (reports_out, reports) = mpsc::channel(64);
        let (stop, stop_in) = watch::channel(false);
        let ports = BusPorts {
            desired: desired_in,
            reports: reports_out,
            progress: Arc::new(AtomicU64::new(0)),
            vitals: Arc::default(),
            stop: stop_in,
        };
        let task = tokio::task::spawn_local(bus_loop::run(plan, wire.expect("a Modbus bus"), ports, mono));
        Field { desired, reports, stop, task }
    }

    fn desire(&self, desired: &[Desired]) {
        self.desired.send_replace(Rc::from(desired));
    }

    /// The next report that is `wanted`; those before it are dropped.
    async fn until(&mut self, wanted: impl Fn(&BusReport) -> bool) -> BusReport {
        loop {
            let (_, report) = self.reports.recv().await.expect("the bus loop runs");
            if wanted(&report) {
                return report;
            }
        }
    }

    async fn up(&mut self) {
        self.until(|report| matches!(report, BusReport::BoardUp { .. })).await;
    }

    /// The end of an order, with everything else that was reported until then.
    async fn end_of(&mut self, of: u64) -> BusReport {
        self.until(|report| match report {
            BusReport::Output { order, .. } => *order == Some(Ticket(of)),
            BusReport::OrderExpired { ticket, .. }
            | BusReport::OrderFailed { ticket, .. }
            | BusReport::OrderUnknown { ticket, .. } => *ticket == Ticket(of),
            _ => false,
        })
        .await
    }
}

fn order(output: OutputRef, level: Level, ticket: u64, within: Duration) -> Desired {
    Desired { output, level, until: None, rest: level, order: Some((Ticket(ticket), mono() + within)) }
}

fn level(output: OutputRef, level: Level) -> Desired {
    Desired { output, level, until: None, rest: level, order: None }
}

fn confirmed(output: OutputRef, level: Level, ticket: u64) -> BusReport {
    BusReport::Output { output, level, order: Some(Ticket(ticket)) }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(LIMIT, test).await.expect("within the limit");
    });
}

/// The two transports, and how to cut and mend them.
enum Link {
    Tcp(SocketAddr, Option<TcpServer>),
    Rtu(PathBuf, Option<RtuLine>),
}

impl Link {
    async fn tcp(board: &SimBoard) -> Link {
        let server = TcpServer::start(([127, 0, 0, 1], 0).into(), vec![board.clone()]).await.expect("a server");
        Link::Tcp(server.address(), Some(server))
    }

    fn rtu(board: &SimBoard, directory: &Path) -> Link {
        let path = directory.join("ttyS9");
        let line = RtuLine::start(vec![board.clone()], Some(&path), Some(115_200)).expect("a line");
        Link::Rtu(path, Some(line))
    }

    fn line(&self) -> Line {
        match self {
            Link::Tcp(address, _) => Line::Tcp { host: address.ip().to_string(), port: address.port() },
            Link::Rtu(path, _) => Line::Rtu(serial_port(path)),
        }
    }

    async fn cut(&mut self) {
        match self {
            Link::Tcp(_, server) => server.take().expect("running").stop().await,
            Link::Rtu(_, line) => line.take().expect("running").stop().await,
        }
    }

    async fn mend(&mut self, board: &SimBoard) {
        let boards = vec![board.clone()];
        match self {
            Link::Tcp(address, server) => *server = Some(TcpServer::start(*address, boards).await.expect("a server")),
            Link::Rtu(path, line) => *line = Some(RtuLine::start(boards, Some(path), None).expect("a line")),
        }
    }
}

/// The same over both transports.
fn over_both<F: Future<Output = ()>>(test: impl Fn(SimBoard, Link) -> F) {
    run(async {
        let board = SimBoard::new(1);
        let link = Link::tcp(&board).await;
        test(board, link).await;
    });
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let board = SimBoard::new(1);
        let link = Link::rtu(&board, directory.path());
        test(board, link).await;
    });
}

#[test]
fn inputs_cards_and_orders_work_over_both_transports() {
    over_both(|board, link| async move {
        board.set_input(3, true);
        let mut field = Field::start(link.line());
        field.up().await;
        let in_3 = InputRef { board: BoardIx(0), input: 3 };
        field.until(|report| *report == BusReport::Input { input: in_3, energised: true }).await;

        board.present_card(26, 0x280_0F0A);
        let card = field.until(|report| matches!(report, BusReport::Card { .. })).await;
        let raw = RawCard::new(26, 0x280_0F0A);
        assert_eq!(card, BusReport::Card { board: BoardIx(0), block: 0, card: raw });

        field.desire(&[order(LOCK, Level::Energised, 1, LIMIT)]);
        assert_eq!(field.end_of(1).await, confirmed(LOCK, Level::Energised, 1));
        assert!(board.coil(0));
        let writes: Vec<Write> = board.take_writes().into_iter().map(|(_, write)| write).collect();
        assert_eq!(writes, [Write::Coil { address: 0, on: true }]);

        field.stop.send_replace(true);
        field.task.await.expect("the loop ends");
    });
}

#[test]
fn a_momentary_level_falls_although_the_doors_say_nothing_more() {
    over_both(|board, link| async move {
        let mut field = Field::start(link.line());
        field.up().await;
        let until = mono() + Duration::from_millis(200);
        let momentary = Desired { until: Some(until), rest: Level::Released, ..level(LOCK, Level::Energised) };
        field.desire(&[momentary]);
        board.until(|registers| registers.coil(0)).await;
        board.until(|registers| !registers.coil(0)).await;
        assert!(mono() >= until);
    });
}

#[test]
fn a_board_that_goes_and_comes_back_is_driven_to_what_is_desired() {
    over_both(|board, mut link| async move {
        let mut field = Field::start(link.line());
        field.up().await;
        field.desire(&[level(LOCK, Level::Energised)]);
        board.until(|registers| registers.coil(0)).await;

        link.cut().await;
        let lost = field.until(|report| matches!(report, BusReport::BoardLost { .. })).await;
        field.desire(&[level(LOCK, Level::Energised), order(OTHER, Level::Energised, 1, Duration::from_millis(100))]);
        assert_eq!(field.end_of(1).await, BusReport::OrderExpired { output: OTHER, ticket: Ticket(1) });
        field.desire(&[level(LOCK, Level::Energised), level(OTHER, Level::Released)]);

        board.reboot();
        board.take_writes();
        link.mend(&board).await;
        field.up().await;
        board.until(|registers| registers.coil(0)).await;
        field.until(|report| *report == BusReport::Output { output: LOCK, level: Level::Energised, order: None }).await;
        let writes: Vec<Write> = board.take_writes().into_iter().map(|(_, write)| write).collect();
        assert_eq!(writes, [Write::Coil { address: 0, on: true }], "after {lost:?}");
    });
}

#[test]
fn a_port_that_vanishes_is_named_in_what_is_reported() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let mut field = Field::start(Line::Rtu(serial_port(&directory.path().join("ttyUSB7"))));
        match field.until(|report| matches!(report, BusReport::BoardLost { .. })).await {
            BusReport::BoardLost { detail, .. } => {
                assert!(detail.contains("ttyUSB7") && detail.contains("plugged in"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_write_whose_answer_is_lost_is_settled_by_read_back() {
    over_both(|board, link| async move {
        let mut field = Field::start(link.line());
        field.up().await;
        board.set_fault(Fault::Mute);
        field.desire(&[order(LOCK, Level::Energised, 1, LIMIT)]);
        board.until(|registers| registers.coil(0)).await;
        board.set_fault(Fault::None);
        assert_eq!(field.end_of(1).await, confirmed(LOCK, Level::Energised, 1));
        assert_eq!(board.take_writes().len(), 1, "written once");
    });
}

#[test]
fn noise_and_exceptions_end_nothing_but_the_order_they_hit() {
    over_both(|board, link| async move {
        let mut field = Field::start(link.line());
        field.up().await;
        board.set_fault(Fault::Garbage);
        let seen = board.look().requests();
        board.until(|registers| registers.requests() > seen).await;
        board.set_fault(Fault::None);
        field.desire(&[order(LOCK, Level::Energised, 1, LIMIT)]);
        assert_eq!(field.end_of(1).await, confirmed(LOCK, Level::Energised, 1));

        board.set_fault(Fault::Exception(4));
        field.desire(&[order(LOCK, Level::Released, 2, LIMIT)]);
        let failed = field.end_of(2).await;
        assert!(
            matches!(&failed, BusReport::OrderFailed { detail, .. } if detail.contains("exception 4")),
            "{failed:?}"
        );
        assert!(board.coil(0));
        board.set_fault(Fault::None);
        field.desire(&[level(LOCK, Level::Released)]);
        board.until(|registers| !registers.coil(0)).await;
    });
}

#[test]
fn an_answer_that_comes_late_is_never_taken_for_another() {
    over_both(|board, link| async move {
        let mut field = Field::start(link.line());
        field.up().await;
        // Everything answers just after its time is over; the truth alternates meanwhile.
        board.set_fault(Fault::Late(TIMEOUT + Duration::from_millis(20)));
        field.desire(&[order(LOCK, Level::Energised, 1, LIMIT), order(OTHER, Level::Released, 2, LIMIT)]);
        board.until(|registers| registers.coil(0)).await;
        let seen = board.look().requests();
        board.until(|registers| registers.requests() > seen + 1).await;
        board.set_fault(Fault::None);
        let mut ends = Vec::new();
        let mut energised = false;
        while ends.len() < 2 {
            let (_, report) = field.reports.recv().await.expect("the bus loop runs");
            match report {
                BusReport::Output { output, level, .. } => {
                    // The other is never on, the lock never off again.
                    energised |= output == LOCK && level.is_energised();
                    assert_eq!(level.is_energised(), output == LOCK && energised, "{output:?}");
                    ends.extend(matches!(report, BusReport::Output { order: Some(_), .. }).then_some(report));
                }
                BusReport::OrderUnknown { .. } => ends.push(report),
                _ => {}
            }
        }
    });
}

#[test]
fn a_swinging_door_is_seen_to_open_and_close() {
    over_both(|board, link| async move {
        let swing = Swing {
            lock_coil: 0,
            unlocked: true,
            contact_input: 0,
            closed: true,
            push_after: Duration::from_millis(30),
            open_for: Duration::from_millis(80),
        };
        let _door = SwingDoor::start(board.clone(), swing);
        board.until(|registers| registers.input(0)).await;
        let mut field = Field::start(link.line());
        field.up().await;
        field.desire(&[level(LOCK, Level::Energised)]);
        let contact = InputRef { board: BoardIx(0), input: 0 };
        field.until(|report| *report == BusReport::Input { input: contact, energised: false }).await;
        field.until(|report| *report == BusReport::Input { input: contact, energised: true }).await;
    });
}

/// Momentarily, for so long from now on.
fn momentary(output: OutputRef, level: Level, ticket: u64, millis: u64) -> Desired {
    let until = Some(mono() + Duration::from_millis(millis));
    Desired { until, rest: level.inverted(), ..order(output, level, ticket, LIMIT) }
}

const TIMED: OutputRef = OutputRef { board: BoardIx(0), output: 6 };
const MAGNET: OutputRef = OutputRef { board: BoardIx(0), output: 7 };

#[test]
fn a_board_with_timers_takes_its_relays_back_by_itself_when_the_bus_loop_dies() {
    over_both(async |board, link| {
        let board = board.with_timers();
        board.set_coil(7, true);
        let mut field = Field::start(link.line());
        field.up().await;
        field.desire(&[level(MAGNET, Level::Energised)]);
        field.until(|report| matches!(report, BusReport::Output { output: MAGNET, .. })).await;
        board.take_writes();
        field.desire(&[momentary(TIMED, Level::Energised, 1, 900), momentary(MAGNET, Level::Released, 2, 900)]);
        assert_eq!(field.end_of(1).await, confirmed(TIMED, Level::Energised, 1));
        assert_eq!(field.end_of(2).await, confirmed(MAGNET, Level::Released, 2));
        field.task.abort();
        board.until(|registers| !registers.coil(6) && registers.coil(7)).await;
        let writes: Vec<Write> = board.take_writes().into_iter().map(|(_, write)| write).collect();
        assert!(
            matches!(
                writes[..],
                [Write::Timer { address: 0x206, count: 9..=11 }, Write::Timer { address: 0x407, count: 9..=11 }]
            ),
            "{writes:?}"
        );
    });
}

#[test]
fn the_bus_ends_a_momentary_level_in_time_although_the_board_would() {
    over_both(async |board, link| {
        let board = board.with_timers();
        let mut field = Field::start(link.line());
        field.up().await;
        field.desire(&[momentary(TIMED, Level::Energised, 1, 300)]);
        field.end_of(1).await;
        let off = BusReport::Output { output: TIMED, level: Level::Released, order: None };
        field.until(|report| *report == off).await;
        let writes: Vec<Write> = board.take_writes().into_iter().map(|(_, write)| write).collect();
        assert_eq!(writes.last(), Some(&Write::Coil { address: 6, on: false }));
    });
}

#[test]
fn a_board_without_the_timers_of_its_profile_is_told_of_and_moves_all_the_same() {
    over_both(async |board, link| {
        let mut field = Field::start(link.line());
        field.up().await;
        field.desire(&[momentary(TIMED, Level::Energised, 1, 20_000)]);
        field.until(|report| matches!(report, BusReport::BoardDegraded { .. })).await;
        assert_eq!(field.end_of(1).await, confirmed(TIMED, Level::Energised, 1));
        assert!(board.coil(6));
    });
}

#[test]
fn a_watchdog_is_fed_by_the_polls_and_strikes_when_the_bus_loop_dies_with_each_output_as_it_should_be() {
    over_both(async |board, link| {
        let board = board.with_watchdog();
        let write = |address, value| GuardWrite { address, value };
        let mut field = Field::with(link.line(), |config| {
            config.profile.watchdog = Some(Watchdog {
                arm: vec![
                    write(GuardAddress::Coil(269), GuardValue::Fixed(1)),
                    write(GuardAddress::HoldingRegister(488), GuardValue::Timeout),
                    write(GuardAddress::Coil(260), GuardValue::Fixed(1)),
                ],
                feed: None,
                unit: Duration::from_millis(100),
                timeout_min: Duration::from_millis(100),
                timeout_max: Duration::from_secs(25),
            });
            for (n, output) in (0..).zip(&mut config.profile.outputs) {
                output.safe_coil = Some(128 + n);
            }
            let levels = (0..8).map(|n| Level::from_energised(n == 1)).collect();
            config.watchdog = Some((Duration::from_millis(800), levels));
        });
        field.up().await;
        field.desire(&[order(LOCK, Level::Energised, 1, LIMIT), order(OTHER, Level::Released, 2, LIMIT)]);
        field.end_of(1).await;
        field.end_of(2).await;
        // Fed for longer than it would wait.
        let contact = InputRef { board: BoardIx(0), input: 3 };
        for on in [true, false, true, false] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            board.set_input(3, on);
            field.until(|report| *report == BusReport::Input { input: contact, energised: on }).await;
        }
        assert!(board.coil(0) && !board.has_struck());
        field.task.abort();
        board.until(|registers| !registers.coil(0) && registers.coil(1)).await;
        assert!(board.has_struck());
    });
}

#[test]
fn a_supervised_line_is_read_from_its_register() {
    over_both(async |board, link| {
        let bands = Bands { energised: (1800, 2300), released: (2500, 3000), short: Some((0, 400)), open: None };
        board.set_input_register(4, 2048);
        let mut field = Field::with(link.line(), |config| {
            let address = InputAddress::InputRegister { address: 4, bands };
            config.profile.inputs = vec![InputPoint { name: id("line"), address }];
        });
        field.up().await;
        let line = InputRef { board: BoardIx(0), input: 0 };
        field.until(|report| *report == BusReport::Input { input: line, energised: true }).await;
        for (value, trouble) in [(7, LineTrouble::Short), (4000, LineTrouble::Fault)] {
            board.set_input_register(4, value);
            field.until(|report| *report == BusReport::InputTrouble { input: line, trouble }).await;
        }
        board.set_input_register(4, 2700);
        field.until(|report| *report == BusReport::Input { input: line, energised: false }).await;
    });
}

#[test]
fn an_order_is_confirmed_within_two_transactions() {
    run(async {
        let board = SimBoard::new(1);
        let link = Link::tcp(&board).await;
        let mut field = Field::start(link.line());
        field.up().await;
        let mut took: Vec<Duration> = Vec::new();
        for ticket in 1..=100 {
            let level = Level::from_energised(ticket % 2 == 1);
            let start: Mono = mono();
            field.desire(&[order(LOCK, level, ticket, LIMIT)]);
            assert_eq!(field.end_of(ticket).await, confirmed(LOCK, level, ticket));
            took.push(mono().since(start));
        }
        took.sort_unstable();
        println!("order to confirmation over TCP: median {:?}, worst {:?}", took[50], took[99]);
        assert!(took[50] < Duration::from_millis(10), "median {:?}", took[50]);
    });
}

#[test]
fn a_serial_reader_reads_loses_its_port_and_reads_again() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ttyUSB0");
        let (reports_out, mut reports) = mpsc::channel(8);
        let (stop, stop_in) = watch::channel(false);
        let reader = SerialReader::new(serial_port(&path), LineFormat::BitsHex);
        let task = tokio::task::spawn_local(reader_loop::run(ReaderIx(4), reader, reports_out, stop_in));
        match reports.recv().await {
            Some(ReaderReport::Lost(ReaderIx(4), detail)) => assert!(detail.contains("ttyUSB0"), "{detail}"),
            other => panic!("{other:?}"),
        }
        let card = RawCard::new(26, 0x280_0F0A);
        for _ in 0..2 {
            let sim = SimReader::start(Some(&path)).expect("a reader");
            assert_eq!(reports.recv().await, Some(ReaderReport::Restored(ReaderIx(4))));
            sim.send(b"noise\r\n").await.expect("sent");
            sim.present(26, 0x280_0F0A).await.expect("sent");
            let read = CardRead::bits(ReaderIx(4), card);
            assert_eq!(reports.recv().await, Some(ReaderReport::Card(read)));
            drop(sim);
            assert!(matches!(reports.recv().await, Some(ReaderReport::Lost(ReaderIx(4), _))));
        }
        stop.send_replace(true);
        task.await.expect("the loop ends");
    });
}
