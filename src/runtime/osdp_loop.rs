//! One loop per OSDP line: the panel's bytes to the port, and what became known to the doors. Owns the panel and
//! the port; must never drop a card, and never show a key or a digit. Invariant: what reaches the doors from here
//! was believed by the panel.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{mpsc, watch};

use crate::{
    adapters::{field::osdp_port::OsdpPort, timer::Timer},
    config::site::{Line, OsdpKey, OsdpReader, Reader, ReaderSource, Site},
    domain::{
        fieldbus::{BusReport, CardRead, RawCard},
        ids::{BusIx, Id, ReaderIx},
        indication::Indication,
        time::Mono,
    },
    gateway::osdp::{KeyRing, LinePlan, Means, News, Next, Panel, Protection, ReaderPlan, feedback_commands},
    runtime::{bus_loop::DesiredOutputs, osdp_keys::KeyTask, osdp_lines::NotSet, reader_loop::ReaderReport},
    wire::osdp::{
        frame::Check,
        reply::{formatted_card, keypad_frame},
    },
};

/// The loop goes round at least this often, also while the port is gone.
const ROUND: Duration = Duration::from_millis(200);

/// The keys of all readers that have a secure channel, as they are now.
pub type KeyRings = Arc<BTreeMap<ReaderIx, KeyState>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyState {
    pub ring: KeyRing,
    /// Who began to install, and for how long.
    pub install: Option<Install>,
    /// The latest that it was told of its line.
    pub set_line: Option<SetLine>,
}

/// Other settings that a reader is to take. Another number: asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLine {
    pub number: u64,
    /// Of the user who asked.
    pub uid: u32,
    pub address: u8,
    pub baud: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Install {
    pub uid: u32,
    pub minutes: u32,
}

/// Where the loop's keys come from, and where it says which was taken.
#[derive(Clone, Debug)]
pub struct OsdpKeys {
    pub rings: watch::Receiver<KeyRings>,
    /// Full: the reader's next session says it again.
    pub taken: mpsc::Sender<KeyTask>,
}

/// What the loop needs from outside.
#[derive(Debug)]
pub struct OsdpPorts {
    /// Full: the line waits; nothing is lost.
    pub reports: mpsc::Sender<ReaderReport>,
    /// Of the readers' inputs and outputs; the same.
    pub points: mpsc::Sender<(BusIx, BusReport)>,
    /// What every output is to be: a line takes those of its readers.
    pub desired: watch::Receiver<DesiredOutputs>,
    pub keys: OsdpKeys,
    /// What every reader is to show, by its position.
    pub indications: watch::Receiver<Rc<[Indication]>>,
    /// Counts turns of the loop: the watchdog looks whether it moves.
    pub progress: Arc<AtomicU64>,
    /// True ends the loop; so does the sender's going away.
    pub stop: watch::Receiver<bool>,
}

/// One reader of the line.
#[derive(Clone, Debug)]
struct Member {
    ix: ReaderIx,
    id: Id,
    has_keypad: bool,
    source: OsdpReader,
}

/// The members of one line.
#[derive(Clone, Debug)]
pub struct OsdpLine {
    bus: BusIx,
    line: LinePlan,
    members: Vec<Member>,
}

impl OsdpLine {
    /// `None`: not an OSDP bus.
    pub fn of(site: &Site, bus: BusIx) -> Option<(OsdpLine, OsdpPort)> {
        let Line::Osdp(port) = &site.buses.iter().find(|known| known.bus == bus)?.line else { return None };
        let member = |reader: &Reader| match &reader.source {
            ReaderSource::Osdp(source) if source.bus == bus => Some(Member {
                ix: reader.reader,
                id: reader.id.clone(),
                has_keypad: site.field.keypads.contains_key(&reader.reader),
                source: source.clone(),
            }),
            _ => None,
        };
        let members = site.readers.iter().filter_map(member).collect();
        let bits_per_character =
            9 + u32::from(port.parity != crate::config::site::Parity::None) + u32::from(port.stop_bits);
        let line = LinePlan { baud: port.baud, bits_per_character };
        Some((OsdpLine { bus, line, members }, OsdpPort::new(port.clone())))
    }

    fn protection(&self, at: usize, rings: &KeyRings) -> Option<Protection> {
        let member = self.members.get(at)?;
        Some(match member.source.key {
            OsdpKey::Off => Protection::Plain,
            OsdpKey::File(_) | OsdpKey::Installed => {
                Protection::Secure(rings.get(&member.ix).map(|state| state.ring.clone()).unwrap_or_default())
            }
        })
    }
}

enum Event {
    Heard(Result<usize, String>),
    Keys,
    Indications,
    Desired,
    Due,
    Stop,
}

/// Runs until told to stop, or until nobody takes its reports any more.
pub async fn run(line: OsdpLine, mut port: OsdpPort, mut ports: OsdpPorts, clock: impl Fn() -> Mono) {
    let mut rings = ports.keys.rings.borrow_and_update().clone();
    let plan = |(at, member): (usize, &Member)| {
        Some(ReaderPlan {
            address: member.source.address,
            protection: line.protection(at, &rings)?,
            check: if member.source.crc { Check::Crc } else { Check::Checksum },
            lost_after: member.source.lost_after,
            points: Some(member.source.points),
        })
    };
    let plans = line.members.iter().enumerate().filter_map(plan).collect();
    let mut panel = Panel::new(line.line, plans, clock());
    let mut screens =
        Screens { means: vec![Means::default(); line.members.len()], shown: vec![None; line.members.len()] };
    let mut news: Vec<(usize, News)> = Vec::new();
    let mut buffer = [0; 1024];
    let mut gone: Option<String> = None;
    let timer = Timer::new();
    // What was set before we came counts as well.
    ports.desired.mark_changed();
    loop {
        ports.progress.fetch_add(1, Ordering::Relaxed);
        if *ports.stop.borrow() || ports.stop.has_changed().is_err() {
            return;
        }
        if let Err(detail) = port.open() {
            // Said once; the readers are told lost in their time.
            if gone.is_none() {
                tracing::warn!(detail, "the port of an OSDP line cannot be used");
            }
            gone = Some(detail);
            panel.cut(clock(), &mut news);
        } else if gone.take().is_some() {
            tracing::info!("the port of an OSDP line is back");
        }
        if ports.desired.has_changed().unwrap_or(false) {
            let desired = ports.desired.borrow_and_update().clone();
            panel.set_desired(clock(), &desired);
        }
        // Its deadline is judged here, and nothing is waited for until it is on the line.
        let next = match fresh() {
            Some(random) if port.is_open() => panel.next(clock(), &mut || random, &mut news),
            _ => Next::Listen { until: clock() + ROUND },
        };
        let until = match next {
            Next::Send(bytes) => {
                if let Err(detail) = port.send(panel.baud(), &bytes).await {
                    tracing::warn!(detail, "the port of an OSDP line failed");
                    gone = Some(detail);
                    panel.cut(clock(), &mut news);
                }
                // The answer is waited for in the next round.
                continue;
            }
            Next::Listen { until } => until,
        };
        if !news.is_empty() {
            screens.hear(&news);
            screens.show(&line, &mut panel, &ports.indications.borrow().clone());
        }
        let mut points = Vec::new();
        panel.point_reports(&mut points);
        for report in points {
            if ports.points.send((line.bus, report)).await.is_err() {
                return;
            }
        }
        if !deliver(&line, &mut news, &ports).await {
            return;
        }
        let now = clock();
        let due = timer.at(now, until.min(now + ROUND));
        match next_event(&mut port, &mut buffer, due, &mut ports).await {
            Event::Heard(Ok(count)) => panel.hear(clock(), buffer.get(..count).unwrap_or_default(), &mut news),
            Event::Heard(Err(detail)) => {
                tracing::warn!(detail, "the port of an OSDP line failed");
                gone = Some(detail);
                panel.cut(clock(), &mut news);
            }
            Event::Keys => {
                let before = std::mem::replace(&mut rings, ports.keys.rings.borrow_and_update().clone());
                for (at, member) in line.members.iter().enumerate() {
                    let Some(protection) = line.protection(at, &rings) else { continue };
                    let (was, is) = (before.get(&member.ix), rings.get(&member.ix));
                    if was == is {
                        continue;
                    }
                    panel.protect(clock(), at, protection);
                    let set_line = |state: Option<&KeyState>| state.and_then(|state| state.set_line);
                    if let Some(SetLine { address, baud, .. }) = set_line(is).filter(|set| set_line(was) != Some(*set))
                    {
                        panel.set_line(at, address, baud, &mut news);
                    }
                    let install = |state: Option<&KeyState>| state.and_then(|state| state.install);
                    if let Some(Install { uid, minutes }) = install(is).filter(|begun| install(was) != Some(*begun)) {
                        let report = ReaderReport::Installing(member.ix, uid, minutes);
                        if ports.reports.send(report).await.is_err() {
                            return;
                        }
                    }
                }
            }
            Event::Indications => screens.show(&line, &mut panel, &ports.indications.borrow_and_update().clone()),
            Event::Desired | Event::Due => {}
            Event::Stop => return,
        }
    }
}

/// What each reader of the line shows, and can show.
struct Screens {
    means: Vec<Means>,
    /// `None`: nobody knows; it is told all of it when it is there.
    shown: Vec<Option<Indication>>,
}

impl Screens {
    fn hear(&mut self, news: &[(usize, News)]) {
        for (at, news) in news {
            let (Some(means), Some(shown)) = (self.means.get_mut(*at), self.shown.get_mut(*at)) else { continue };
            match news {
                News::Online | News::Renewed | News::Lost { .. } => *shown = None,
                News::Capable(capabilities) => {
                    *means = Means::of(capabilities);
                    *shown = None;
                }
                _ => {}
            }
        }
    }

    fn show(&mut self, line: &OsdpLine, panel: &mut Panel, wanted: &[Indication]) {
        for (at, member) in line.members.iter().enumerate() {
            let (Some(means), Some(shown)) = (self.means.get(at), self.shown.get_mut(at)) else { continue };
            let Some(wanted) = wanted.get(member.ix.index()).filter(|_| panel.is_online(at)) else { continue };
            for command in feedback_commands(&member.source.feedback, *means, *shown, *wanted) {
                panel.wish(at, command);
            }
            *shown = Some(*wanted);
        }
    }
}

/// The only place that waits.
async fn next_event(
    port: &mut OsdpPort,
    buffer: &mut [u8],
    due: impl Future<Output = ()>,
    ports: &mut OsdpPorts,
) -> Event {
    let open = port.is_open();
    tokio::select! {
        biased;
        _ = ports.stop.wait_for(|stop| *stop) => Event::Stop,
        Ok(()) = ports.desired.changed() => { ports.desired.mark_changed(); Event::Desired }
        heard = port.receive(buffer), if open => Event::Heard(heard),
        Ok(()) = ports.indications.changed() => { ports.indications.mark_changed(); Event::Indications }
        Ok(()) = ports.keys.rings.changed() => { ports.keys.rings.mark_changed(); Event::Keys }
        () = due => Event::Due,
    }
}

/// For one handshake.
fn fresh() -> Option<[u8; 8]> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(random)
}

/// False: nobody listens any more.
async fn deliver(line: &OsdpLine, news: &mut Vec<(usize, News)>, ports: &OsdpPorts) -> bool {
    for (at, news) in news.drain(..) {
        let Some(member) = line.members.get(at) else { continue };
        for report in reports(member, news, &ports.keys) {
            if ports.reports.send(report).await.is_err() {
                return false;
            }
        }
    }
    true
}

fn reports(member: &Member, news: News, keys: &OsdpKeys) -> Vec<ReaderReport> {
    let (reader, id) = (member.ix, &member.id);
    let read = |card: RawCard| ReaderReport::Card(CardRead::bits(reader, card));
    match news {
        News::Online => vec![ReaderReport::Restored(reader)],
        News::Renewed => Vec::new(),
        News::Lost { detail } => vec![ReaderReport::Lost(reader, detail)],
        News::Card(card) => vec![read(RawCard::of(card.bits, card.value()))],
        News::Formatted { text, .. } => match formatted_card(&text) {
            Some((bits, value)) => vec![read(RawCard::of(bits, value))],
            None => {
                tracing::warn!(reader = %id, "a formatted card of no characters was not read");
                Vec::new()
            }
        },
        News::Keys { digits, .. } if member.has_keypad => {
            digits.iter().filter_map(|key| keypad_frame(*key)).map(|value| read(RawCard::new(4, value))).collect()
        }
        News::Keys { .. } => {
            tracing::debug!(reader = %id, "a key of a reader that has no `keypad` in the configuration");
            Vec::new()
        }
        // What is an input of the site is told of as that.
        News::Tamper(_) if member.source.points.bound.tamper => Vec::new(),
        News::Power { .. } if member.source.points.bound.power => Vec::new(),
        News::Tamper(active) => vec![ReaderReport::Tamper(reader, active)],
        News::Power { failed } => vec![ReaderReport::Power(reader, failed)],
        News::Security { detail } => vec![ReaderReport::Distrusted(reader, detail)],
        News::Identified(who) => {
            let vendor = who.vendor.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let [major, minor, build] = who.firmware;
            tracing::info!(reader = %id, vendor, model = who.model, serial = who.serial,
                firmware = format!("{major}.{minor}.{build}"), "an OSDP reader said who it is");
            Vec::new()
        }
        News::KeyTaken(key) => {
            tracing::info!(reader = %id, "an OSDP reader has taken its key");
            if keys.taken.try_send(KeyTask::Taken(reader, key)).is_err() {
                tracing::warn!(reader = %id, "that it took its key could not be noted yet");
            }
            vec![ReaderReport::KeySet(reader)]
        }
        News::InstallEnded { detail } => {
            tracing::warn!(reader = %id, detail, "installing an OSDP reader ended without a key");
            Vec::new()
        }
        News::Refused { code, nak } => {
            tracing::debug!(reader = %id, code, ?nak, "an OSDP reader refused a command");
            Vec::new()
        }
        News::Capable(capabilities) => {
            tracing::debug!(reader = %id, ?capabilities, "what an OSDP reader can do");
            Vec::new()
        }
        News::Manufacturer { vendor, bytes, count } => {
            let vendor = vendor.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            tracing::info!(reader = %id, vendor, bytes, count, "an OSDP reader says what only its maker understands");
            Vec::new()
        }
        News::Unhandled { code, count } => {
            tracing::info!(reader = %id, code, count, "an OSDP reader says what is not used here");
            Vec::new()
        }
        News::LineSet { address, baud } => {
            tracing::warn!(reader = %id, address, baud, "an OSDP reader took other settings of its line");
            if keys.taken.try_send(KeyTask::LineSet(reader, Ok(()))).is_err() {
                tracing::warn!(reader = %id, "whoever asked for it could not be told");
            }
            let asked = keys.rings.borrow().get(&reader).and_then(|state| state.set_line);
            asked.map(|asked| ReaderReport::LineSet(reader, asked.uid, address, baud)).into_iter().collect()
        }
        News::LineKept { detail } => {
            tracing::warn!(reader = %id, detail, "an OSDP reader was not told to take other settings of its line");
            if keys.taken.try_send(KeyTask::LineSet(reader, Err(NotSet::Kept(detail)))).is_err() {
                tracing::warn!(reader = %id, "whoever asked for it could not be told");
            }
            Vec::new()
        }
        News::LineNotSet { detail } => {
            tracing::warn!(reader = %id, detail, "an OSDP reader took no other settings of its line");
            if keys.taken.try_send(KeyTask::LineSet(reader, Err(NotSet::Failed(detail)))).is_err() {
                tracing::warn!(reader = %id, "whoever asked for it could not be told");
            }
            Vec::new()
        }
    }
}
