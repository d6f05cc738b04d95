//! From the shape to the meaning. Owns every rule that takes more than one key to judge; must never
//! stop at the first finding. Invariant: `None` for a part means that its error has been reported.

mod boards;
mod doors;
mod field;
mod keypads;
mod osdp;
mod places;
mod watchdogs;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use self::osdp::{bind, points_of};
use super::{
    Environment, Files, Purpose,
    raw::{RawCloud, RawNode, RawSite, RawTls},
    reader::Sink,
    report::{At, Diagnostic, Span, near_miss},
    site::{Cloud, Node, Secret, Site, Tls},
};
use crate::{
    domain::{door::DoorConfig, field::FieldConfig, ids::Id, installer::points},
    wire::{jws::Signer, keys::RootKey},
};

pub struct Checker<'a> {
    pub sink: &'a Sink,
    pub files: &'a dyn Files,
    /// Where the site file is: relative paths start here.
    pub directory: &'a Path,
    pub environment: &'a Environment,
    pub purpose: Purpose,
}

/// What a file must hold for the daemon to start with it.
#[derive(Clone, Copy)]
enum Content {
    Any,
    RootKey,
    SigningKey,
    CredentialKey,
    /// The key of an OSDP reader.
    Scbk,
    /// At least one block with a label that ends so.
    Pem(&'static str),
}

impl Content {
    /// What was expected and why this is not it. Never says what a file holds.
    fn problem(self, text: &str) -> Option<(&'static str, String)> {
        match self {
            Content::Any => None,
            Content::RootKey => {
                let error = RootKey::from_jwk(text.as_bytes()).err()?;
                Some(("a public Ed25519 key as JWK", error.to_string()))
            }
            Content::SigningKey => {
                let error = Signer::from_pem(text).err()?;
                Some(("an Ed25519 private key", format!("{error}; make one with `latchd keygen signing`")))
            }
            Content::CredentialKey => {
                let (text, hex) = (text.trim(), |b: u8| b.is_ascii_hexdigit());
                let base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                let sound =
                    text.len() == 64 && text.bytes().all(hex) || text.len() == 43 && text.bytes().all(base64url);
                let expected = "expected 32 bytes in base64url or hex; make one with `latchd keygen credential`";
                (!sound).then(|| ("a credential key", expected.to_owned()))
            }
            Content::Scbk => {
                let text = text.trim();
                let sound = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                (!sound).then(|| ("the key of an OSDP reader (SCBK)", "expected 32 hex digits".to_owned()))
            }
            Content::Pem(label) => {
                let begins =
                    |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----"));
                (!text.lines().any(begins)).then(|| ("PEM", format!("expected a line -----BEGIN {label}-----")))
            }
        }
    }
}

const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
const MODBUS_PORT: u16 = 502;

impl Checker<'_> {
    pub fn site(&self, mut raw: RawSite) -> Option<Site> {
        let node = raw.node.take().map(|node| self.node(node));
        let cloud = raw.cloud.take().map(|cloud| self.cloud(cloud));
        let buses = self.buses(&raw.buses);
        let mut boards = self.boards(&raw.boards, &raw.buses, &buses);
        self.reader_points(&raw.readers, &mut boards);
        let mut doors = self.doors(&raw.doors, &boards);
        let floors_and_cabinets = self.places(&raw, &boards, &mut doors);
        let places = places::Places::new(&raw);
        let readers = self.readers(&raw.readers, &places, (&boards, &raw.words), (&raw.buses, &buses), &mut doors);
        self.readerless(&raw, &readers);
        let keypads = self.keypads(&raw.readers, &readers, &boards);
        let named = (raw.doors.as_slice(), raw.readers.as_slice());
        let free = self.field((&raw.outputs, &raw.inputs), named, keypads, &boards, &mut doors);
        self.ports(&raw.buses, &raw.readers, &buses);
        if self.sink.report.borrow().errors() == 0 {
            self.unused(&raw, &doors);
        }
        let (floor_groups, cabinets) = floors_and_cabinets?;
        let mut field = FieldConfig { floor_groups, cabinets, ..free? };
        let mut boards: Vec<super::site::Board> = boards.boards.into_iter().collect::<Option<_>>()?;
        let uses = doors.used();
        let doors: Vec<DoorConfig> = doors.doors.into_iter().collect::<Option<_>>()?;
        uses.measure(&mut boards);
        let at_death = watchdogs::at_death(&doors, &field);
        self.watchdogs(&raw.boards, &mut boards, &at_death);
        let mut readers: Vec<super::site::Reader> = readers.into_iter().collect::<Option<_>>()?;
        bind(&mut readers, &uses, &at_death);
        field.points = points(boards.iter().map(|board| &board.config), &points_of(&readers), &doors, &field);
        Some(Site {
            field,
            node: node??,
            cloud: cloud??,
            buses: buses.into_iter().collect::<Option<_>>()?,
            boards,
            readers,
            doors,
            limits: raw.limits,
        })
    }

    fn node(&self, raw: RawNode) -> Option<Node> {
        let time_zone = raw.time_zone.and_then(|name| self.time_zone(&name));
        let state_dir = match (raw.state_dir, &self.environment.state_directory) {
            (Some(at), _) => Some(self.path(&at.value)),
            (None, Some(directory)) => Some(directory.clone()),
            (None, None) if self.purpose != Purpose::Run => Some(PathBuf::from("/var/lib/latchd")),
            (None, None) => {
                let finding = Diagnostic::error("it is not known where state is kept");
                self.sink.add(
                    finding.help("set `state_dir` in [node], or start latchd as a service (StateDirectory=latchd)"),
                );
                None
            }
        };
        let credential_key = raw.credential_key.and_then(|at| self.secret(&at, Content::CredentialKey));
        let signing_key = raw.signing_key.and_then(|at| self.secret(&at, Content::SigningKey));
        Some(Node {
            org: raw.org?.value,
            id: raw.id?.value,
            time_zone: time_zone?,
            state_dir: state_dir?,
            credential_key: credential_key?,
            signing_key: signing_key?,
            reboot: raw.reboot.map(|at| at.value),
        })
    }

    fn time_zone(&self, name: &At<String>) -> Option<jiff::tz::TimeZone> {
        if let Ok(zone) = jiff::tz::db().get(&name.value) {
            return Some(zone);
        }
        let zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
        let near = near_miss(&name.value, zones.iter().map(String::as_str));
        let finding = Diagnostic::error(format!("there is no time zone `{}`", name.value));
        let finding = finding.at(name.span, "expected an IANA name such as \"Europe/Berlin\"");
        self.sink.add(finding.did_you_mean(near));
        None
    }

    fn cloud(&self, raw: RawCloud) -> Option<Cloud> {
        let host = raw.host.filter(|host| self.host(host, &host.value));
        let root_key = raw.root_key.map(|at| self.file(&at, Content::RootKey));
        let password = raw.password.map(|at| (self.secret(&at, Content::Any), at.span));
        if let (Some((_, span)), None) = (&password, &raw.username) {
            self.sink.add(Diagnostic::error("a `password` needs a `username`").at(*span, ""));
        }
        let or = |at: &Option<At<Duration>>, default| at.as_ref().map_or(default, |at| at.value);
        let reconnect_min = or(&raw.reconnect_min, Duration::from_millis(500));
        let reconnect_max = or(&raw.reconnect_max, Duration::from_secs(60));
        if reconnect_min > reconnect_max
            && let Some(at) = raw.reconnect_max.as_ref().or(raw.reconnect_min.as_ref())
        {
            let label = format!("from {} ms to {} ms", reconnect_min.as_millis(), reconnect_max.as_millis());
            self.sink.add(Diagnostic::error("`reconnect_max_ms` is below `reconnect_min_ms`").at(at.span, label));
        }
        let insecure = matches!(raw.tls, Some(RawTls::Off(_)));
        let tls = match raw.tls? {
            RawTls::Off(span) => {
                self.sink.add(
                    Diagnostic::warning("the cloud link is neither private nor authenticated")
                        .at(span, "everything that goes up can be read on the way; a standing alarm is raised"),
                );
                None
            }
            RawTls::On { ca, certificate, key, server_name } => {
                let ca = ca.map(|at| self.file(&at, Content::Pem("CERTIFICATE")));
                let certificate = certificate.map(|at| self.file(&at, Content::Pem("CERTIFICATE")));
                let key = key.and_then(|at| self.secret(&at, Content::Pem("PRIVATE KEY")));
                let name_sound = server_name.as_ref().is_none_or(|name| self.host(name, &name.value));
                let server_name = server_name.or_else(|| host.clone()).filter(|_| name_sound);
                Some(Tls { ca: ca?, certificate: certificate?, key: key?, server_name: server_name?.value })
            }
        };
        Some(Cloud {
            host: host?.value,
            port: raw.port.map_or(if insecure { PLAIN_PORT } else { TLS_PORT }, |at| at.value),
            tls,
            username: raw.username.map(|at| at.value),
            password: match password {
                Some((secret, _)) => Some(secret?),
                None => None,
            },
            root_key: root_key?,
            issuer: raw.issuer?.value,
            keep_alive: or(&raw.keep_alive, Duration::from_secs(30)),
            reconnect_min,
            reconnect_max,
            beat_every: or(&raw.beat_every, Duration::from_secs(60)),
            telemetry_every: Some(or(&raw.telemetry_every, Duration::from_secs(60))).filter(|every| !every.is_zero()),
        })
    }

    /// Whether `host` can be a host name or an address; what cannot is reported at `at`.
    fn host<T>(&self, at: &At<T>, host: &str) -> bool {
        let label = |label: &str| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len())
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        let sound = host.parse::<std::net::IpAddr>().is_ok() || host.len() <= 253 && name.split('.').all(label);
        if !sound {
            let finding = Diagnostic::error(format!("`{host}` is not a host"));
            let finding = finding.at(at.span, "expected a host name or an IP address, without scheme or port");
            self.sink.add(match host.split_once("://") {
                Some((scheme, _)) => finding.help(format!("leave out `{scheme}://`")),
                None => finding,
            });
        }
        sound
    }

    /// `HOST:PORT`, `[V6]:PORT`, or a host alone.
    fn host_and_port(&self, at: &At<String>) -> Option<(String, u16)> {
        let text = at.value.as_str();
        let (host, port) = match text.rsplit_once(':') {
            _ if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if text.contains("://") || !self.host(at, host) {
            if text.contains("://") {
                self.sink
                    .add(Diagnostic::error(format!("`{text}` is not HOST:PORT")).at(at.span, "leave out the scheme"));
            }
            return None;
        }
        let number = port.map_or(Some(MODBUS_PORT), |port| port.parse().ok().filter(|port| *port > 0));
        if number.is_none() {
            let finding = Diagnostic::error(format!("`{text}` is not HOST:PORT"));
            self.sink.add(finding.at(at.span, "expected a port from 1 to 65535 after the colon"));
        }
        Some((host.to_owned(), number?))
    }

    fn path(&self, text: &str) -> PathBuf {
        self.directory.join(text)
    }

    /// A file beside the site file; it must be there and hold what it should, unless files are not
    /// looked at.
    fn file(&self, at: &At<String>, content: Content) -> PathBuf {
        let path = self.path(&at.value);
        self.must_hold(&path, at.span, content);
        path
    }

    fn must_hold(&self, path: &Path, span: Span, content: Content) {
        if self.purpose == Purpose::CheckWithoutFiles {
            return;
        }
        let finding = match self.files.read(path).map(Zeroizing::new) {
            Ok(text) => match content.problem(&text) {
                None => return,
                Some((what, problem)) => {
                    Diagnostic::error(format!("{} is not {what}", path.display())).at(span, problem)
                }
            },
            Err(error) => Diagnostic::error(format!("cannot read {}", path.display())).at(span, error.to_string()),
        };
        self.sink.add(if self.purpose == Purpose::Check {
            finding.help("`latchd check --no-files` leaves files out")
        } else {
            finding
        });
    }

    /// A file, or `credential:NAME`.
    fn secret(&self, at: &At<String>, content: Content) -> Option<Secret> {
        let Some(name) = at.value.strip_prefix("credential:") else {
            return Some(Secret { path: self.file(at, content) });
        };
        if let Err(error) = Id::new(name) {
            let finding = Diagnostic::error(format!("`{}` names no credential", at.value));
            self.sink.add(finding.at(at.span, format!("expected \"credential:NAME\": {error}")));
            return None;
        }
        match &self.environment.credentials_directory {
            Some(directory) => {
                let path = directory.join(name);
                self.must_hold(&path, at.span, content);
                Some(Secret { path })
            }
            // Only the service manager knows; `check` is run without it.
            None if self.purpose != Purpose::Run => {
                Some(Secret { path: Path::new("/run/credentials/latchd.service").join(name) })
            }
            None => {
                let finding = Diagnostic::error(format!("the credential `{name}` was not handed over"));
                self.sink.add(
                    finding.at(at.span, "$CREDENTIALS_DIRECTORY is not set").help(format!(
                        "start latchd as a service with LoadCredential={name}:FILE, or name a file here"
                    )),
                );
                None
            }
        }
    }

    /// Reports every id that was given before.
    fn unique<'r>(&self, what: &str, ids: impl Iterator<Item = Option<&'r At<Id>>>) {
        let mut seen: BTreeMap<&Id, Span> = BTreeMap::new();
        for id in ids.flatten() {
            if let Some(first) = seen.get(&id.value) {
                let finding = Diagnostic::error(format!("two {what} have the id `{}`", id.value));
                self.sink.add(finding.at(id.span, "again here").related(*first, "first here"));
            } else {
                seen.insert(&id.value, id.span);
            }
        }
    }

    /// The position of `name` among `ids`; reports a name that is not there.
    fn resolve<'r>(
        &self,
        what: &str,
        name: &At<String>,
        ids: impl Iterator<Item = Option<&'r At<Id>>> + Clone,
    ) -> Option<usize> {
        let found = ids.clone().position(|id| id.is_some_and(|id| id.value.as_str() == name.value));
        // Where an id could not be read, it may be the one that is meant.
        if found.is_none() && ids.clone().all(|id| id.is_some()) {
            let mut known: Vec<&str> = ids.flatten().map(|id| id.value.as_str()).collect();
            known.dedup();
            self.unknown(what, &name.value, name.span, &known);
        }
        found
    }

    fn unknown(&self, what: &str, name: &str, span: Span, known: &[&str]) {
        let finding = Diagnostic::error(format!("there is no {what} `{name}`")).at(span, "");
        self.sink.add(match near_miss(name, known.iter().copied()) {
            Some(near) => finding.did_you_mean(Some(near)),
            None if known.is_empty() => finding.help(format!("no {what} is configured")),
            None => finding.help(format!("known: {}", abbreviated(known))),
        });
    }
}

/// Enough names to recognise the right one, not a page of them.
fn abbreviated(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 12;
    let shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(SHOWN_MAX);
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}
