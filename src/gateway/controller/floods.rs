//! Readers that babble, contacts that flap, boards that come and go. Owns how many events of one source are told one by one; must never
//! hold back a decision, a relay or an alarm at a door, only the telling. Invariant: whatever one wire does, it
//! cannot push what the cloud has not acknowledged out of the log, and what was not told is counted.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    bucket::Bucket,
    event::{EventBody, FlappingInput},
    ids::Id,
    time::Mono,
};

/// How much one source may say before it is counted.
struct Budget {
    /// Events at once, and how soon another one is earned.
    burst: u32,
    earned_every: Duration,
    /// A source that was silent for so long has come to rest. No shorter than what earns an event: or each would be
    /// the first of a flood.
    quiet: Duration,
}

const WIRE: Budget = Budget { burst: 60, earned_every: Duration::from_secs(2), quiet: Duration::from_secs(10) };

/// Of a whole device: nobody touches it every few seconds.
const DEVICE: Budget = Budget { burst: 20, earned_every: Duration::from_secs(60), quiet: Duration::from_secs(120) };

const TOLD_EVERY: Duration = Duration::from_secs(60);
/// The same credential granted again at the same reader within this time is the same person still standing there.
const REPEAT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Reader(Id),
    Contact(Id),
    Rex(Id),
    Input(Id),
    Line(Id, Id),
    /// Whether a key is in its compartment.
    Key(Id),
    Floors(Id),
    Board(Id),
    /// Whether a reader is there.
    Link(Id),
}

impl Source {
    fn budget(&self) -> &'static Budget {
        match self {
            Source::Board(_) | Source::Link(_) => &DEVICE,
            _ => &WIRE,
        }
    }
}

/// ```text
///   calm --budget spent--> flooding (counted, told at once and then every minute) --quiet--> calm
/// ```
#[derive(Debug)]
struct Flow {
    bucket: Bucket,
    flooding: Option<Flooding>,
}

#[derive(Clone, Copy, Debug)]
struct Flooding {
    count: u64,
    last: Mono,
    told_at: Mono,
}

/// By source: as many as the site has.
#[derive(Debug, Default)]
pub struct Floods {
    flows: BTreeMap<Source, Flow>,
    /// The last grant of each reader.
    granted: BTreeMap<Id, (Id, Mono)>,
}

impl Floods {
    /// Whether this event is told by itself; else it is counted.
    pub fn admit(&mut self, now: Mono, body: &EventBody) -> bool {
        let Some(source) = self.source(now, body) else { return true };
        let Budget { burst, earned_every, .. } = source.budget();
        let new = || Flow { bucket: Bucket::new(*burst, *earned_every, now), flooding: None };
        let flow = self.flows.entry(source).or_insert_with(new);
        if let Some(flooding) = &mut flow.flooding {
            flooding.count += 1;
            flooding.last = now;
            return false;
        }
        if flow.bucket.take(now) {
            return true;
        }
        flow.flooding = Some(Flooding { count: 1, last: now, told_at: now });
        false
    }

    /// A grant is always told, but for the same one again at once.
    fn source(&mut self, now: Mono, body: &EventBody) -> Option<Source> {
        Some(match body {
            EventBody::AccessDenied(denied) => Source::Reader(denied.reader.clone()?),
            EventBody::ApbViolated { reader, denied: true, .. } => Source::Reader(reader.clone()?),
            EventBody::AccessGranted(granted) => {
                let (reader, credential) = (granted.reader.clone()?, granted.credential.clone()?);
                let before = self.granted.insert(reader.clone(), (credential.clone(), now));
                let (last, at) = before?;
                (last == credential && now.since(at) < REPEAT).then_some(Source::Reader(reader))?
            }
            EventBody::DoorOpened { door }
            | EventBody::DoorClosed { door }
            | EventBody::DoorForced { door }
            | EventBody::DoorAlarmCleared { door } => Source::Contact(door.clone()),
            EventBody::RexActivated { door } => Source::Rex(door.clone()),
            EventBody::PowerLost { input }
            | EventBody::PowerRestored { input }
            | EventBody::TamperActivated { input, .. }
            | EventBody::TamperCleared { input, .. }
            | EventBody::InputActivated { input }
            | EventBody::InputCleared { input } => Source::Input(input.clone()),
            EventBody::TamperLineFaulted { board, input, .. } | EventBody::TamperLineRestored { board, input } => {
                Source::Line(board.clone(), input.clone())
            }
            EventBody::KeyFetched { door, .. } | EventBody::KeyReturned { door, .. } => Source::Key(door.clone()),
            EventBody::FloorSelected { floor_group, .. }
            | EventBody::FloorSelectedWithoutRight { floor_group, .. }
            | EventBody::FloorsLost { floor_group, .. }
            | EventBody::FloorsRestored { floor_group, .. }
            | EventBody::FloorRelayMismatched { floor_group, .. }
            | EventBody::FloorRelayRestored { floor_group, .. } => Source::Floors(floor_group.clone()),
            EventBody::BoardLost { board, .. }
            | EventBody::BoardRestored { board }
            | EventBody::BoardDegraded { board, .. } => Source::Board(board.clone()),
            EventBody::ReaderLost { reader, .. } | EventBody::ReaderRestored { reader } => Source::Link(reader.clone()),
            _ => return None,
        })
    }

    /// What was counted and is due to be told.
    pub fn due(&mut self, now: Mono) -> Vec<EventBody> {
        let mut told = Vec::new();
        for (source, flow) in &mut self.flows {
            let Some(flooding) = &mut flow.flooding else { continue };
            let over = flooding.last + source.budget().quiet <= now;
            if flooding.count > 0 && (over || flooding.told_at <= now) {
                told.push(event(source, std::mem::take(&mut flooding.count)));
                flooding.told_at = now + TOLD_EVERY;
            }
            flow.flooding.take_if(|_| over);
        }
        told
    }

    /// All that was counted and is not told yet: the loop ends.
    pub fn rest(&mut self) -> Vec<EventBody> {
        let untold = self.flows.iter_mut().filter_map(|(source, flow)| Some((source, flow.flooding.as_mut()?)));
        let untold = untold.filter(|(_, flooding)| flooding.count > 0);
        untold.map(|(source, flooding)| event(source, std::mem::take(&mut flooding.count))).collect()
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let due = |(source, flow): (&Source, &Flow)| {
            let flooding = flow.flooding?;
            let quiet = flooding.last + source.budget().quiet;
            Some(if flooding.count > 0 { quiet.min(flooding.told_at) } else { quiet })
        };
        self.flows.iter().filter_map(due).min()
    }
}

fn event(source: &Source, count: u64) -> EventBody {
    let (what, [door, floor_group, input]) = match source {
        Source::Reader(reader) => return EventBody::ReaderBabbling { reader: reader.clone(), count },
        Source::Link(reader) => return EventBody::ReaderFlapping { reader: reader.clone(), count },
        Source::Board(board) => return EventBody::BoardFlapping { board: board.clone(), count },
        Source::Contact(door) => (FlappingInput::Contact, [Some(door), None, None]),
        Source::Rex(door) => (FlappingInput::Rex, [Some(door), None, None]),
        Source::Key(door) => (FlappingInput::Key, [Some(door), None, None]),
        Source::Floors(floor_group) => (FlappingInput::Floors, [None, Some(floor_group), None]),
        Source::Input(input) => (FlappingInput::Input, [None, None, Some(input)]),
        Source::Line(_, input) => (FlappingInput::Line, [None, None, Some(input)]),
    };
    let [door, floor_group, input] = [door, floor_group, input].map(|id| id.cloned());
    EventBody::InputFlapping { what, door, floor_group, input, count }
}
