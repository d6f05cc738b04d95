//! Cards of more bits than a Wiegand line ever sends: from the permission set to the relay, by OSDP, by a converter's
//! registers and by a serial line.

use std::net::SocketAddr;

use latchd::wire::token::{CredentialKey, token};
use latchd_sim::{
    board::{SimBoard, TcpServer},
    cloud::{client::wall_now, set::put_raw},
    line::{Line, LineTimes, OsdpReader, PtyLine, READER_KEY},
};
use serde_json::{Value, json};

use crate::world::World;

/// TIG SCEPACS 2.2, figure 7.
const FASC_N: &str = "d0439458210c2c19a0846d83685a1082108ce73984108ca3fc";

/// Registers of rfideas-modbus-tcp.
const SEQUENCE: u16 = 0;
const BITS: u16 = 2;
const DATA: u16 = 3;
const DATA_WORDS: u16 = 16;

struct Hall {
    world: World,
    converter: SimBoard,
    reader: OsdpReader,
    _server: TcpServer,
    _line: PtyLine,
}

impl Hall {
    /// Ada has a card of 200, of 256 and of 1024 bits.
    fn running() -> Hall {
        let mut world = World::new();
        let (converter, reader) = (SimBoard::new(1), OsdpReader::secure(0));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = world.block_on(TcpServer::start(free, vec![converter.clone()])).unwrap();
        let directory = world.site.directory.clone();
        let profile = include_str!("../../config/profiles/rfideas-modbus-tcp.toml");
        std::fs::write(directory.join("profiles/rfideas-modbus-tcp.toml"), profile).unwrap();
        let key: String = READER_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(directory.join("scbk"), key).unwrap();
        let port = directory.join("readers");
        let mut line = Line::new(LineTimes::new(115_200, 10, std::time::Duration::from_millis(3)), 1);
        line.plug(reader.clone());
        let line = world.block_on(async { PtyLine::start(line, Some(&port)) }).unwrap();
        let more = format!(
            r#"
[[bus]]
id = "converters"
tcp = "{converters}"

[[bus]]
id = "readers"
osdp = "{readers}"
baud = 115200

[[board]]
id = "piv"
bus = "converters"
unit = 1
profile = "rfideas-modbus-tcp"
poll_ms = 20

[[reader]]
id = "front-piv"
door = "front"
card_block = "piv/reader"

[[reader]]
id = "front-osdp"
door = "front"
osdp = {{ bus = "readers", address = 0, key = "scbk" }}

[[reader]]
id = "front-in"
"#,
            converters = server.address(),
            readers = port.display(),
        );
        world.site.configure("\n[[reader]]\nid = \"front-in\"\n", &more).unwrap();
        world.start();
        world.site.publish_set().unwrap();
        world.applied(1);
        let format: Value = serde_json::from_str(include_str!("../../docs/fasc-n.json")).unwrap();
        let credential = |text: &str| {
            let token = token(&CredentialKey::new(&[0x42; 32]), text).to_string();
            json!({ "person": "ada", "token": token })
        };
        let records = [
            ("card_format", "fasc-n", format),
            ("credential", "ada-piv", credential(&format!("fasc-n:{FASC_N}"))),
            ("credential", "ada-256", credential(&format!("raw:256:{}", "5a".repeat(32)))),
            ("credential", "ada-1024", credential(&format!("raw:1024:{}", "c3".repeat(128)))),
        ];
        let put = |(kind, id, body): (&str, &str, Value)| put_raw(kind, id, body.as_object().unwrap().clone());
        let delta = world.site.cloud.cloud().change(wall_now(), records.map(put).into());
        world.site.cloud.publish(delta).unwrap();
        world.applied(2);
        world.ready();
        world.logged(1, &["said who it is", "reader=front-osdp"]);
        Hall { world, converter, reader, _server: server, _line: line }
    }

    /// As the converter shows a read: right-aligned.
    fn show(&self, bits: u16, hex: &str) {
        let digits = format!("{hex:0>width$}", width = usize::from(DATA_WORDS) * 4);
        for n in 0..DATA_WORDS {
            let word = &digits[usize::from(n) * 4..][..4];
            self.converter.set_input_register(DATA + n, u16::from_str_radix(word, 16).unwrap());
        }
        self.converter.set_input_register(BITS, bits);
        let sequence = self.converter.look().input_register(SEQUENCE);
        self.converter.set_input_register(SEQUENCE, sequence + 1);
    }

    /// As a reader sends it: the first bit first.
    fn hold_to_reader(&self, bits: u16, hex: &str) {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        self.reader.present_bits(bits, &bytes.collect::<Vec<u8>>());
    }

    /// The front door opens for Ada and is locked again.
    fn opens(&self, reader: &str, bits: u16, hex: &str, formats: &Value) {
        let front = &self.world.site.field.front;
        self.world.coil(front, true);
        self.world.coil(front, false);
        let granted =
            self.world.event("access.granted", |json| json["reader"] == reader && json["card"]["bits"] == bits);
        assert_eq!((&granted.json["card"]["raw"], &granted.json["card"]["formats"]), (&json!(hex), formats));
        assert_eq!(granted.json["person"], "ada");
    }

    fn denied(&self, reader: &str, reason: &str, raw: &str) {
        self.world.event("access.denied", |json| {
            json["reader"] == reader && json["reason"] == reason && json["card"]["raw"] == raw
        });
    }
}

#[test]
fn a_fasc_n_of_200_bits_opens_by_osdp_and_by_a_converters_registers_and_one_that_is_misread_does_not() {
    let hall = Hall::running();
    let formats = json!(["fasc-n", "raw"]);
    hall.hold_to_reader(200, FASC_N);
    hall.opens("front-osdp", 200, FASC_N, &formats);
    hall.show(200, FASC_N);
    hall.opens("front-piv", 200, FASC_N, &formats);
    let misread = FASC_N.replace("a3fc", "a3f4");
    hall.hold_to_reader(200, &misread);
    hall.denied("front-osdp", "bad_format", &misread);
    hall.show(200, &misread);
    hall.denied("front-piv", "bad_format", &misread);
    // More bits than the registers hold.
    hall.show(260, FASC_N);
    hall.denied("front-piv", "bad_format", &format!("{FASC_N:0>65}"));
}

#[test]
fn cards_of_256_and_1024_bits_open_by_their_bits_and_one_bit_more_is_denied_and_told() {
    let hall = Hall::running();
    let (quarter, longest) = ("5a".repeat(32), "c3".repeat(128));
    hall.hold_to_reader(256, &quarter);
    hall.opens("front-osdp", 256, &quarter, &json!(["raw"]));
    hall.show(256, &quarter);
    hall.opens("front-piv", 256, &quarter, &json!(["raw"]));
    hall.hold_to_reader(1024, &longest);
    hall.opens("front-osdp", 1024, &longest, &json!(["raw"]));
    // The same with a zero behind it.
    hall.hold_to_reader(1025, &format!("{longest}00"));
    hall.denied("front-osdp", "bad_format", &format!("{}86", "87".repeat(127)));
    let at_glass = format!("1024:{longest}\r\n");
    hall.world.listens_at_glass();
    hall.world.block_on(hall.world.site.field.glass_reader.send(at_glass.as_bytes())).unwrap();
    let granted =
        |json: &serde_json::Map<String, Value>| json["reader"] == "glass-in" && json["card"]["raw"] == longest;
    hall.world.event("access.granted", granted);
}
