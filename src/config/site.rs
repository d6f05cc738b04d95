//! The checked configuration: what the program uses. Owns no parsing; must never hold a reference that
//! does not resolve. Invariant: every index in a [`Site`] is in range (the points of OSDP readers are counted as those of
//! boards after the last one), every output drives one thing.

use std::{path::PathBuf, time::Duration};

use crate::domain::{
    door::DoorConfig,
    elevator::FloorGroupConfig,
    fieldbus::{BoardConfig, ReaderPoints},
    ids::{BoardIx, BusIx, Id, OutputRef, ReaderIx},
    indication::Feedback,
    topology::{FloorGroupPlace, ReaderAt, Topology},
};
pub use crate::{
    domain::field::{FieldConfig, Weakness, WeaknessOf},
    wire::reader_line::LineFormat,
};

#[derive(Clone, Debug)]
pub struct Site {
    pub node: Node,
    pub cloud: Cloud,
    pub buses: Vec<Bus>,
    /// Indexed by [`BoardIx`].
    pub boards: Vec<Board>,
    /// Indexed by [`ReaderIx`].
    pub readers: Vec<Reader>,
    /// Indexed by [`DoorIx`].
    pub doors: Vec<DoorConfig>,
    /// What stands beside the doors.
    pub field: FieldConfig,
    pub limits: Limits,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub org: Id,
    pub id: Id,
    pub time_zone: jiff::tz::TimeZone,
    /// From the file, else `$STATE_DIRECTORY`.
    pub state_dir: PathBuf,
    /// Key of the credential hashes (HMAC-SHA-256), 32 bytes in base64url or hex.
    pub credential_key: Secret,
    /// Ed25519 key that signs what goes up: PKCS#8 PEM, made by `latchd keygen`.
    pub signing_key: Secret,
    /// What `node.reboot` does; absent: it is refused.
    pub reboot: Option<Reboot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// The daemon ends in order, with a code on which systemd starts it anew.
    Daemon,
    /// The same, and `systemctl reboot`.
    Machine,
}

/// Where a secret is: a file, or `credential:NAME` for systemd's `$CREDENTIALS_DIRECTORY/NAME`.
/// Read once at start; never part of `Debug` output beyond its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    pub path: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Cloud {
    pub host: String,
    pub port: u16,
    /// `None` only by explicit opt-in (`tls = "off-insecure"`): raises a standing alarm.
    pub tls: Option<Tls>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// The JWK of the offline root key (public): the trust anchor of all that is signed.
    pub root_key: PathBuf,
    /// Issuer that commands must name.
    pub issuer: String,
    pub keep_alive: Duration,
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// How often a beat is asked for.
    pub beat_every: Duration,
    /// How often figures are sent; absent: never.
    pub telemetry_every: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM with the certificates that the broker's must chain to.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: Secret,
    /// Name that the broker's certificate must hold; the host if absent.
    pub server_name: String,
}

#[derive(Clone, Debug)]
pub struct Bus {
    pub id: Id,
    pub bus: BusIx,
    pub line: Line,
    /// How long one transaction may take until it counts as unanswered.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Rtu(SerialPort),
    /// Readers, latchd being their control panel.
    Osdp(SerialPort),
    Tcp {
        host: String,
        port: u16,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct SerialPort {
    pub path: PathBuf,
    pub baud: u32,
    pub parity: Parity,
    pub stop_bits: u8,
    /// RS-485 turnaround: silence between the end of a reply and the next request, at least t3.5.
    pub turnaround: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    None,
    Even,
    Odd,
}

#[derive(Clone, Debug)]
pub struct Board {
    pub bus: BusIx,
    pub config: BoardConfig,
}

#[derive(Clone, Debug)]
pub struct Reader {
    pub id: Id,
    pub reader: ReaderIx,
    pub at: ReaderAt,
    pub source: ReaderSource,
}

#[derive(Clone, Debug)]
pub enum ReaderSource {
    /// `block` is the position in the profile's card blocks.
    CardBlock {
        board: BoardIx,
        block: u16,
    },
    Serial {
        port: SerialPort,
        format: LineFormat,
    },
    Osdp(OsdpReader),
}

/// A reader on an OSDP line.
#[derive(Clone, Debug, PartialEq)]
pub struct OsdpReader {
    pub bus: BusIx,
    /// 0 to 126.
    pub address: u8,
    pub key: OsdpKey,
    /// CRC instead of checksum.
    pub crc: bool,
    /// Without a believed answer for this long (and at least three polls) the reader is lost.
    pub lost_after: Duration,
    /// What it shows to the person in front of it, and how.
    pub feedback: Box<Feedback>,
    /// Its inputs and outputs.
    pub points: ReaderPoints,
}

/// What its secure channel is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OsdpKey {
    /// Set by `latchd osdp install` and kept sealed in the state directory.
    Installed,
    /// SCBK in a file, 32 hex digits: of a reader that another panel has installed.
    File(Secret),
    /// Only by explicit opt-in (`secure = "off-insecure"`): raises a standing alarm.
    Off,
}

impl Site {
    /// What raises an alarm that stands for as long as this configuration does.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let link = self.cloud.tls.is_none().then(|| Weakness {
            of: WeaknessOf::Link,
            what: "the cloud link is not encrypted (tls = \"off-insecure\")".to_owned(),
        });
        let in_the_clear = self.readers.iter().filter(|reader| match &reader.source {
            ReaderSource::Osdp(osdp) => osdp.key == OsdpKey::Off,
            _ => false,
        });
        let reader = |reader: &Reader| Weakness {
            of: WeaknessOf::Reader(reader.id.clone()),
            what: format!("the reader {} speaks OSDP in the clear (secure = \"off-insecure\")", reader.id),
        };
        link.into_iter().chain(in_the_clear.map(reader)).collect()
    }

    fn bound_outputs(&self) -> Vec<(Id, String)> {
        let locks = self.doors.iter().flat_map(|door| {
            let to = format!("door {}", door.id);
            [Some((door.id.clone(), to.clone())), self.output_id(door.lock).map(|id| (id, to))]
        });
        let floors = self.field.floor_groups.iter().flat_map(|group| {
            let floors = group.floors.iter().map(|floor| (floor, format!("floor {} of {}", floor.id, group.id)));
            floors.filter_map(|(floor, to)| self.output_id(floor.output).map(|id| (id, to)))
        });
        locks.flatten().chain(floors).collect()
    }

    /// `BOARD.OUTPUT`; none if that is too long for a name.
    fn output_id(&self, output: OutputRef) -> Option<Id> {
        let (board, point) = self.output_name(output)?;
        Id::new(&format!("{board}.{point}")).ok()
    }

    /// The board's, or the reader's, and the point's.
    pub fn output_name(&self, output: OutputRef) -> Option<(&Id, Id)> {
        let at = usize::from(output.output);
        if let Some(board) = self.boards.get(output.board.index()) {
            return Some((&board.config.id, board.config.profile.outputs.get(at)?.name.clone()));
        }
        let (reader, osdp) = self.reader_with_points(output.board)?;
        Some((&reader.id, osdp.points.output_names().get(at)?.clone()))
    }

    /// Whose points are counted as those of this board.
    pub fn reader_with_points(&self, board: BoardIx) -> Option<(&Reader, &OsdpReader)> {
        self.osdp_readers().find(|(_, osdp)| osdp.points.board == board)
    }

    /// Those that something of the site hangs on.
    pub fn readers_in_use(&self) -> impl Iterator<Item = BoardIx> {
        self.osdp_readers().map(|(_, osdp)| osdp.points).filter(|points| points.bound.any).map(|points| points.board)
    }

    fn osdp_readers(&self) -> impl Iterator<Item = (&Reader, &OsdpReader)> {
        self.readers.iter().filter_map(|reader| match &reader.source {
            ReaderSource::Osdp(osdp) => Some((reader, osdp)),
            _ => None,
        })
    }

    /// What the node has, by name.
    pub fn topology(&self) -> Topology {
        let place = |group: &FloorGroupConfig| FloorGroupPlace {
            id: group.id.clone(),
            floors: group.floors.iter().map(|floor| floor.id.clone()).collect(),
        };
        Topology {
            doors: self.doors.iter().map(|door| door.id.clone()).collect(),
            readers: self.readers.iter().map(|reader| (reader.id.clone(), reader.at)).collect(),
            floor_groups: self.field.floor_groups.iter().map(place).collect(),
            lockers: self.field.cabinets.iter().flat_map(|cabinet| &cabinet.compartments).map(|at| at.door).collect(),
            outputs: self.field.outputs.iter().map(|output| output.id.clone()).collect(),
            bound_outputs: self.bound_outputs(),
            inputs: self.field.inputs.iter().map(|input| input.id.clone()).collect(),
            boards: self.boards.iter().map(|board| board.config.id.clone()).collect(),
        }
    }
}

/// Bounds of what latchd keeps and accepts; every queue has one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Events kept locally, acked or not.
    pub events_max: u64,
    /// Commands remembered per operator.
    pub commands_per_operator_max: usize,
    /// How far a command's `iat` may lie in the future.
    pub clock_skew: Duration,
    /// Longest `delay_ms` of a delayed command.
    pub delay_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            events_max: 100_000,
            commands_per_operator_max: 1_000,
            clock_skew: Duration::from_secs(5),
            delay_max: Duration::from_secs(3600),
        }
    }
}
