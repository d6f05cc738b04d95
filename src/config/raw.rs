//! The shape of the site file. Owns which keys there are and what type each has; must never resolve a
//! reference. Invariant: whatever is `None` here was absent by right or has been reported.

use std::time::Duration;

use super::{
    profile,
    raw_places::{self, RawCabinet, RawFloorGroup},
    reader::Table,
    report::{At, Span},
    site::{Limits, Parity, Reboot},
};
use crate::{
    domain::{
        door::{FireReset, Relock, StartPolicy, StopPolicy},
        field::{InputKind, OutputStart, OutputStop},
        fieldbus::{Bands, READER_POINTS_MAX},
        ids::Id,
        indication::{Colour, Feedback, WORDS_MAX},
        keypad::Keypad,
        outputs::Level,
    },
    wire::reader_line::TextKind,
};

/// More than a node can serve; keeps every position within its index type.
const BUSES_MAX: usize = 64;
const BOARDS_MAX: usize = 1000;
const DOORS_MAX: usize = 1000;

pub const DWELL_MS_MIN: u64 = 100;
pub const DWELL_MS_MAX: u64 = 540_000;
const DAY_MS: u64 = 86_400_000;

#[derive(Debug)]
pub struct RawSite {
    pub node: Option<RawNode>,
    pub cloud: Option<RawCloud>,
    pub buses: Vec<RawBus>,
    pub boards: Vec<RawBoard>,
    pub doors: Vec<RawDoor>,
    pub floor_groups: Vec<RawFloorGroup>,
    pub cabinets: Vec<RawCabinet>,
    pub readers: Vec<RawReader>,
    pub outputs: Vec<RawOutput>,
    pub inputs: Vec<RawNodeInput>,
    pub words: RawWords,
    pub limits: Limits,
}

#[derive(Debug)]
pub struct RawNode {
    pub org: Option<At<Id>>,
    pub id: Option<At<Id>>,
    pub time_zone: Option<At<String>>,
    pub state_dir: Option<At<String>>,
    pub credential_key: Option<At<String>>,
    pub signing_key: Option<At<String>>,
    pub reboot: Option<At<Reboot>>,
}

#[derive(Debug)]
pub struct RawCloud {
    pub host: Option<At<String>>,
    pub port: Option<At<u16>>,
    pub issuer: Option<At<String>>,
    pub username: Option<At<String>>,
    pub password: Option<At<String>>,
    pub root_key: Option<At<String>>,
    pub keep_alive: Option<At<Duration>>,
    pub reconnect_min: Option<At<Duration>>,
    pub reconnect_max: Option<At<Duration>>,
    pub beat_every: Option<At<Duration>>,
    pub telemetry_every: Option<At<Duration>>,
    pub tls: Option<RawTls>,
}

#[derive(Debug)]
pub enum RawTls {
    Off(Span),
    On {
        ca: Option<At<String>>,
        certificate: Option<At<String>>,
        key: Option<At<String>>,
        server_name: Option<At<String>>,
    },
}

#[derive(Debug)]
pub struct RawSerial {
    pub baud: Option<At<u32>>,
    pub parity: Option<At<Parity>>,
    pub stop_bits: Option<At<u8>>,
}

#[derive(Debug)]
pub struct RawBus {
    pub span: Span,
    pub id: Option<At<Id>>,
    pub rtu: Option<At<String>>,
    pub tcp: Option<At<String>>,
    pub osdp: Option<At<String>>,
    pub serial: RawSerial,
    pub turnaround: Option<At<Duration>>,
    pub timeout: Option<At<Duration>>,
}

#[derive(Debug)]
pub struct RawBoard {
    pub span: Span,
    pub id: Option<At<Id>>,
    pub bus: Option<At<String>>,
    pub unit: Option<At<u8>>,
    pub profile: Option<At<Id>>,
    pub poll: Option<At<Duration>>,
    pub lost_after: Option<At<Duration>>,
    pub watchdog: Option<At<Duration>>,
}

#[derive(Debug, Default)]
pub struct RawDoor {
    pub id: Option<At<Id>>,
    pub lock: Option<RawLock>,
    pub contact: Option<RawInput>,
    /// Whether the door claims a contact, readable or not.
    pub has_contact: bool,
    pub rex: Option<RawInput>,
    pub rex_releases: bool,
    pub fire: Option<RawInput>,
    /// Whether the door claims a fire input, readable or not.
    pub has_fire: bool,
    pub fire_reset: Option<At<FireReset>>,
    pub dwell: Option<At<Duration>>,
    pub dwell_extended: Option<At<Duration>>,
    pub relock: Option<At<Relock>>,
    pub open_time: Option<At<Duration>>,
    pub open_time_extended: Option<At<Duration>>,
    pub pre_alarm: Option<At<Duration>>,
    pub at_start: Option<At<StartPolicy>>,
    pub at_stop: Option<At<StopPolicy>>,
}

#[derive(Debug)]
pub struct RawLock {
    pub output: Option<At<String>>,
    pub unlocked: Option<At<Level>>,
}

/// An input and the value that counts: `closed` of a contact, `active` of the others.
#[derive(Debug)]
pub struct RawInput {
    pub input: Option<At<String>>,
    pub value: Option<At<bool>>,
    /// Of this one line, in place of the profile's.
    pub bands: Option<At<Bands>>,
}

#[derive(Debug)]
pub struct RawReader {
    pub span: Span,
    pub id: Option<At<Id>>,
    pub door: Option<At<String>>,
    pub floor_group: Option<At<String>>,
    pub cabinet: Option<At<String>>,
    pub card_block: Option<At<String>>,
    pub path: Option<At<String>>,
    pub osdp: Option<RawOsdp>,
    pub feedback: Option<RawFeedback>,
    pub serial: RawSerial,
    pub format: Option<At<RawFormat>>,
    pub bits: Option<At<u16>>,
    pub keypad: Option<At<RawKeypad>>,
}

/// A reader's place on an OSDP line.
#[derive(Debug)]
pub struct RawOsdp {
    pub span: Span,
    pub bus: Option<At<String>>,
    pub address: Option<At<u8>>,
    pub secure: Option<At<()>>,
    pub key: Option<At<String>>,
    pub crc: Option<At<bool>>,
    pub lost_after: Option<At<Duration>>,
    pub inputs: Option<At<u16>>,
    pub outputs: Option<At<u16>>,
}

/// What a reader shows; colours that are absent are the default's.
#[derive(Debug)]
pub struct RawFeedback {
    pub span: Span,
    pub value: Feedback,
    pub words: RawWords,
}

/// What a display says; what is absent, the whole site's or the default says.
#[derive(Clone, Debug, Default)]
pub struct RawWords {
    pub granted: Option<String>,
    pub denied: Option<String>,
    pub pin: Option<String>,
    pub second: Option<String>,
    pub warned: Option<String>,
    pub locked: Option<String>,
    pub open: Option<String>,
    pub blocked: Option<String>,
    pub locked_down: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKeypad {
    /// Frames of a Wiegand line.
    Frames(Keypad),
    /// KEYPAD replies.
    Osdp,
}

#[derive(Debug)]
pub struct RawOutput {
    pub id: Option<At<Id>>,
    pub output: Option<At<String>>,
    pub on: Option<At<Level>>,
    pub at_start: Option<At<OutputStart>>,
    pub at_stop: Option<At<OutputStop>>,
    pub identify: Option<At<bool>>,
}

#[derive(Debug)]
pub struct RawNodeInput {
    pub id: Option<At<Id>>,
    pub input: RawInput,
    pub kind: Option<At<InputKind>>,
    pub door: Option<At<String>>,
    pub reader: Option<At<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawFormat {
    Hex,
    Decimal,
    BitsHex,
    Binary,
    Text(TextKind),
}

pub fn site(root: Table<'_>) -> RawSite {
    let site = RawSite {
        node: root.required("node").table("[node]").map(node),
        cloud: root.required("cloud").table("[cloud]").map(cloud),
        buses: root.tables("bus", "[[bus]]", BUSES_MAX).into_iter().map(bus).collect(),
        boards: root.tables("board", "[[board]]", BOARDS_MAX).into_iter().map(board).collect(),
        doors: root.tables("door", "[[door]]", DOORS_MAX).into_iter().map(door).collect(),
        floor_groups: raw_places::floor_groups(&root),
        cabinets: raw_places::cabinets(&root),
        readers: root.tables("reader", "[[reader]]", DOORS_MAX).into_iter().map(reader).collect(),
        outputs: root.tables("output", "[[output]]", DOORS_MAX).into_iter().map(output).collect(),
        inputs: root.tables("input", "[[input]]", DOORS_MAX).into_iter().map(node_input).collect(),
        words: root.optional("words").table("[words]").map(words).unwrap_or_default(),
        limits: root.optional("limits").table("[limits]").map(limits).unwrap_or_default(),
    };
    root.finish();
    site
}

fn node(table: Table<'_>) -> RawNode {
    let node = RawNode {
        org: table.required("org").id(),
        id: table.required("id").id(),
        time_zone: table.required("time_zone").text_as("an IANA time zone such as \"Europe/Berlin\""),
        state_dir: table.optional("state_dir").text_as("a directory"),
        credential_key: table.required("credential_key").text_as("a file or \"credential:NAME\""),
        signing_key: table.required("signing_key").text_as("a file or \"credential:NAME\""),
        reboot: table.optional("reboot").word(&[("daemon", Reboot::Daemon), ("machine", Reboot::Machine)]),
    };
    table.finish();
    node
}

fn cloud(table: Table<'_>) -> RawCloud {
    let cloud = RawCloud {
        host: table.required("host").text_as("a host name or address"),
        port: table.optional("port").number(1, 65_535),
        issuer: table.required("issuer").text_as("the `iss` of the cloud's commands"),
        username: table.optional("username").text(),
        password: table.optional("password").text_as("a file or \"credential:NAME\""),
        root_key: table.required("root_key").text_as("a file with the public root key (JWK)"),
        keep_alive: table.optional("keep_alive_s").seconds(5, 3600),
        reconnect_min: table.optional("reconnect_min_ms").millis(50, 3_600_000),
        reconnect_max: table.optional("reconnect_max_ms").millis(50, 3_600_000),
        beat_every: table.optional("beat_every_s").seconds(1, 86_400),
        telemetry_every: table.optional("telemetry_every_s").seconds(0, 86_400),
        tls: tls(&table),
    };
    table.finish();
    cloud
}

fn tls(cloud: &Table<'_>) -> Option<RawTls> {
    if cloud.optional("tls").is_text() {
        return Some(RawTls::Off(cloud.optional("tls").word(&[("off-insecure", ())])?.span));
    }
    let table = cloud.required("tls").table("[cloud.tls]")?;
    let tls = RawTls::On {
        ca: table.required("ca").text_as("a PEM file with the broker's authority"),
        certificate: table.required("certificate").text_as("a PEM file with this node's certificate"),
        key: table.required("key").text_as("a file or \"credential:NAME\""),
        server_name: table.optional("server_name").text_as("a host name"),
    };
    table.finish();
    Some(tls)
}

/// What Linux can set exactly on any port.
const BAUDS: [u32; 14] =
    [1200, 1800, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600];

fn serial(table: &Table<'_>) -> RawSerial {
    let baud = table.optional("baud").number::<u32>(1200, 921_600);
    if let Some(at) = baud.as_ref().filter(|at| !BAUDS.contains(&at.value)) {
        let nearest = BAUDS.iter().min_by_key(|known| known.abs_diff(at.value)).copied().unwrap_or_default();
        table.sink.add(
            super::report::Diagnostic::error(format!("`baud` is not a standard rate: {}", at.value))
                .at(at.span, format!("expected one of {}", BAUDS.map(|baud| baud.to_string()).join(", ")))
                .did_you_mean(Some(&nearest.to_string())),
        );
    }
    RawSerial {
        baud,
        parity: table.optional("parity").word(&[("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)]),
        stop_bits: table.optional("stop_bits").number(1, 2),
    }
}

fn bus(table: Table<'_>) -> RawBus {
    let bus = RawBus {
        span: table.span,
        id: table.required("id").id(),
        rtu: table.optional("rtu").text_as("a serial port such as \"/dev/ttyS1\""),
        tcp: table.optional("tcp").text_as("\"HOST:PORT\""),
        osdp: table.optional("osdp").text_as("a serial port such as \"/dev/ttyS2\""),
        serial: serial(&table),
        turnaround: table.optional("turnaround_ms").millis(0, 1000),
        timeout: table.optional("timeout_ms").millis(10, 10_000),
    };
    table.finish();
    bus
}

fn board(table: Table<'_>) -> RawBoard {
    let board = RawBoard {
        span: table.span,
        id: table.required("id").id(),
        bus: table.required("bus").text_as("the id of a [[bus]]"),
        unit: table.required("unit").number(0, 255),
        profile: table.required("profile").id(),
        poll: table.optional("poll_ms").millis(5, 60_000),
        lost_after: table.optional("lost_after_ms").millis(50, 600_000),
        watchdog: table.optional("watchdog_ms").millis(0, 3_600_000),
    };
    table.finish();
    board
}

fn door(table: Table<'_>) -> RawDoor {
    let mut rex_releases = true;
    let door = RawDoor {
        id: table.required("id").id(),
        lock: table.required("lock").table("lock").map(lock),
        contact: table.optional("contact").table("contact").map(|t| input(t, "closed")),
        has_contact: table.span_of("contact").is_some(),
        rex: table.optional("rex").table("rex").map(|t| {
            rex_releases = t.optional("releases").boolean().is_none_or(|at| at.value);
            input(t, "active")
        }),
        rex_releases,
        fire: table.optional("fire").table("fire").map(|t| input(t, "active")),
        has_fire: table.span_of("fire").is_some(),
        fire_reset: table.optional("fire_reset").word(&[("auto", FireReset::Auto), ("manual", FireReset::Manual)]),
        dwell: table.optional("dwell_ms").millis(DWELL_MS_MIN, DWELL_MS_MAX),
        dwell_extended: table.optional("dwell_extended_ms").millis(DWELL_MS_MIN, DWELL_MS_MAX),
        relock: table.optional("relock").word(&[
            ("on_open", Relock::OnOpen),
            ("on_close", Relock::OnClose),
            ("after_dwell", Relock::AfterDwell),
        ]),
        open_time: table.optional("open_time_ms").millis(1000, DAY_MS),
        open_time_extended: table.optional("open_time_extended_ms").millis(1000, DAY_MS),
        pre_alarm: table.optional("pre_alarm_ms").millis(0, DAY_MS),
        at_start: table.optional("at_start").word(&[("restore", StartPolicy::Restore), ("lock", StartPolicy::Lock)]),
        at_stop: table.optional("at_stop").word(&[
            ("lock", StopPolicy::Lock),
            ("unlock", StopPolicy::Unlock),
            ("keep", StopPolicy::Keep),
        ]),
    };
    table.finish();
    RawDoor { rex_releases, ..door }
}

pub fn lock(table: Table<'_>) -> RawLock {
    let lock = RawLock {
        output: table.required("output").text_as("\"BOARD/OUTPUT\""),
        unlocked: table.required("unlocked").word(&[("energised", Level::Energised), ("released", Level::Released)]),
    };
    table.finish();
    lock
}

pub fn input(table: Table<'_>, value: &'static str) -> RawInput {
    let input = RawInput {
        input: table.required("input").text_as("\"BOARD/INPUT\""),
        value: table.required(value).boolean(),
        bands: bands(&table),
    };
    table.finish();
    input
}

fn bands(table: &Table<'_>) -> Option<At<Bands>> {
    let bands = table.optional("bands").table("bands")?;
    let span = bands.span;
    profile::bands(bands).map(|value| At { value, span })
}

fn reader(table: Table<'_>) -> RawReader {
    let reader = RawReader {
        span: table.span,
        id: table.required("id").id(),
        door: table.optional("door").text_as("the id of a [[door]]"),
        floor_group: table.optional("floor_group").text_as("the id of a [[floor_group]]"),
        cabinet: table.optional("cabinet").text_as("the id of a [[cabinet]]"),
        card_block: table.optional("card_block").text_as("\"BOARD/CARD_BLOCK\""),
        path: table.optional("serial").text_as("a serial port such as \"/dev/ttyUSB0\""),
        osdp: table.optional("osdp").table("osdp").map(osdp),
        feedback: table.optional("feedback").table("feedback").map(feedback),
        serial: serial(&table),
        format: table.optional("format").word(&[
            ("hex", RawFormat::Hex),
            ("decimal", RawFormat::Decimal),
            ("bits_hex", RawFormat::BitsHex),
            ("binary", RawFormat::Binary),
            ("plate", RawFormat::Text(TextKind::Plate)),
            ("qr", RawFormat::Text(TextKind::Qr)),
            ("mobile", RawFormat::Text(TextKind::Mobile)),
        ]),
        bits: table.optional("bits").number(1, u64::from(crate::domain::card_bits::CARD_BITS_MAX)),
        keypad: table.optional("keypad").word(&[
            ("none", RawKeypad::Frames(Keypad::None)),
            ("4-bit", RawKeypad::Frames(Keypad::FourBit)),
            ("8-bit", RawKeypad::Frames(Keypad::EightBit)),
            ("osdp", RawKeypad::Osdp),
        ]),
    };
    table.finish();
    reader
}

fn osdp(table: Table<'_>) -> RawOsdp {
    let osdp = RawOsdp {
        span: table.span,
        bus: table.required("bus").text_as("the id of a [[bus]] with `osdp`"),
        address: table.required("address").number(0, 126),
        secure: table.optional("secure").word(&[("off-insecure", ())]),
        key: table.optional("key").text_as("a file or \"credential:NAME\""),
        crc: table.optional("check").word(&[("crc", true), ("checksum", false)]),
        lost_after: table.optional("lost_after_ms").millis(1000, 8000),
        inputs: table.optional("inputs").number(0, u64::from(READER_POINTS_MAX)),
        outputs: table.optional("outputs").number(0, u64::from(READER_POINTS_MAX)),
    };
    table.finish();
    osdp
}

fn feedback(table: Table<'_>) -> RawFeedback {
    let colours = [
        ("off", Colour::Off),
        ("red", Colour::Red),
        ("green", Colour::Green),
        ("amber", Colour::Amber),
        ("blue", Colour::Blue),
        ("magenta", Colour::Magenta),
        ("cyan", Colour::Cyan),
        ("white", Colour::White),
    ];
    let default = Feedback::default();
    let colour = |key, default| table.optional(key).word(&colours).map_or(default, |at| at.value);
    let value = Feedback {
        led: table.optional("led").number(0, 15).map_or(default.led, |at| at.value),
        armed: colour("armed", default.armed),
        unlocked: colour("unlocked", default.unlocked),
        blocked: colour("blocked", default.blocked),
        locked_down: colour("locked_down", default.locked_down),
        alarm: colour("alarm", default.alarm),
        granted: colour("granted", default.granted),
        denied: colour("denied", default.denied),
        waiting: colour("waiting", default.waiting),
        buzzer: table.optional("buzzer").boolean().map_or(default.buzzer, |at| at.value),
        text: table.optional("text").boolean().map_or(default.text, |at| at.value),
        words: default.words,
    };
    let words = table.optional("words").table("words").map(words).unwrap_or_default();
    let span = table.span;
    table.finish();
    RawFeedback { span, value, words }
}

fn words(table: Table<'_>) -> RawWords {
    let words = RawWords {
        granted: display(&table, "granted"),
        denied: display(&table, "denied"),
        pin: display(&table, "pin"),
        second: display(&table, "second"),
        warned: display(&table, "warned"),
        locked: display(&table, "locked"),
        open: display(&table, "open"),
        blocked: display(&table, "blocked"),
        locked_down: display(&table, "locked_down"),
    };
    table.finish();
    words
}

/// What OSDP's TEXT can carry to any display.
fn display(table: &Table<'_>, key: &'static str) -> Option<String> {
    let expected = "1 to 32 printable characters of ASCII";
    let at = table.optional(key).text_as(expected)?;
    let printable = at.value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !printable || at.value.len() > WORDS_MAX {
        let finding = super::report::Diagnostic::error(format!("`{key}` has a value that is not allowed"));
        table.sink.add(finding.at(at.span, format!("expected {expected}: displays know no others")));
        return None;
    }
    Some(at.value)
}

fn output(table: Table<'_>) -> RawOutput {
    let output = RawOutput {
        id: table.required("id").id(),
        output: table.required("output").text_as("\"BOARD/OUTPUT\""),
        on: table.required("on").word(&[("energised", Level::Energised), ("released", Level::Released)]),
        at_start: table.optional("at_start").word(&[
            ("restore", OutputStart::Restore),
            ("on", OutputStart::On),
            ("off", OutputStart::Off),
        ]),
        at_stop: table.optional("at_stop").word(&[
            ("keep", OutputStop::Keep),
            ("on", OutputStop::On),
            ("off", OutputStop::Off),
        ]),
        identify: table.optional("identify").boolean(),
    };
    table.finish();
    output
}

fn node_input(table: Table<'_>) -> RawNodeInput {
    let input = RawNodeInput {
        id: table.required("id").id(),
        kind: table.required("kind").word(&[
            ("power", InputKind::Power),
            ("tamper", InputKind::Tamper),
            ("general", InputKind::General),
        ]),
        door: table.optional("door").text_as("the id of a [[door]]"),
        reader: table.optional("reader").text_as("the id of a [[reader]]"),
        input: RawInput {
            input: table.required("input").text_as("\"BOARD/INPUT\""),
            value: table.required("active").boolean(),
            bands: bands(&table),
        },
    };
    table.finish();
    input
}

fn limits(table: Table<'_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        events_max: table.optional("events_max").number(1000, 1_000_000_000).map_or(default.events_max, |at| at.value),
        commands_per_operator_max: table
            .optional("commands_per_operator_max")
            .number(10, 1_000_000)
            .map_or(default.commands_per_operator_max, |at| at.value),
        clock_skew: table.optional("clock_skew_ms").millis(0, 300_000).map_or(default.clock_skew, |at| at.value),
        delay_max: table.optional("delay_max_s").seconds(1, DAY_MS / 1000).map_or(default.delay_max, |at| at.value),
    };
    table.finish();
    limits
}
