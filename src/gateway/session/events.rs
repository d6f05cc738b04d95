//! The way of events up. Owns what was sent and what the cloud has confirmed; must never let an event
//! be skipped, nor send one again that the cloud has confirmed. Invariant: `acked <= sent <= head`;
//! what goes to the broker on one connection is `acked + 1, acked + 2, …` without gap, except after a
//! pause without confirmation (shorter if the cloud repeats itself: it saw a gap), when it begins anew at
//! `acked + 1`.
//!
//! PUBACK only paces: the broker may lose what it took. Only the cloud's own signed acknowledgement
//! moves `acked`, and only if it names the hash of that very event.

use std::{collections::VecDeque, time::Duration};

use crate::{domain::time::Mono, wire::event_log::Sealed};

/// Bytes of events in one message, before signing.
pub const BATCH_BYTES_MAX: usize = 32 * 1024;
/// Batches that wait for their PUBACK.
const BATCHES_IN_FLIGHT_MAX: usize = 4;
/// Events that wait for the cloud's acknowledgement; then sending pauses. The log itself is the queue.
pub const EVENTS_UNACKED_MAX: usize = 2048;
/// Without progress for so long, what is not acknowledged is sent again. Doubles up to the second each
/// time, halves with each acknowledgement: a cloud that acknowledges seldom soon gets few repetitions.
pub const RESEND_AFTER_MIN: Duration = Duration::from_secs(10);
pub const RESEND_AFTER_MAX: Duration = Duration::from_secs(600);
/// The cloud repeats its acknowledgement when it sees a gap: then sending begins anew after this part of
/// the time above, so that a broker that repeats acknowledgements for ever gains little.
const RESEND_SOONER: u32 = 10;
/// A batch that the broker took while the cloud was not subscribed is sent again after this, doubling.
pub const UNHEARD_AGAIN_AFTER_MIN: Duration = Duration::from_secs(1);
pub const UNHEARD_AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);
/// The store had nothing although it should have: asked again after this.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct EventDrain {
    /// The newest durable event.
    head: u64,
    /// The cloud has stored all up to this.
    acked: u64,
    /// Handed to the link on this connection (or confirmed) up to this.
    sent: u64,
    /// The highest that may ever have been sent: an acknowledgement beyond it is a lie.
    sent_ever: u64,
    /// Up to this an event happened before this connection.
    replayed_through: u64,
    connected: bool,
    /// The read that is under way starts here.
    reading: Option<u64>,
    /// Read and waiting to be sent.
    ready: Vec<Sealed>,
    batches_in_flight: usize,
    /// Of what was sent and is not acknowledged.
    hashes: VecDeque<(u64, [u8; 32])>,
    /// An acknowledgement of something that this run has not sent: the store is asked for its hash.
    pending_ack: Option<(u64, [u8; 32])>,
    resend_at: Option<Mono>,
    resend_after: Duration,
    /// `resend_at` has been brought forward already.
    hurried: bool,
    /// `resend_at` is for a batch that found nobody.
    resend_unheard: bool,
    unheard_after: Duration,
    read_again_at: Option<Mono>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Drain {
    /// Ask the store for events from this one on.
    Read {
        from: u64,
        bytes_max: usize,
    },
    Send(Batch),
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub events: Vec<Sealed>,
    /// Events up to this one happened before this connection.
    pub replayed_through: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum AckVerdict {
    /// Everything up to this is with the cloud.
    Accepted(u64),
    /// Known already.
    Old,
    /// Ask the store for the hash of this event, then call `hash_of`.
    LookUp(u64),
    Refused(&'static str),
}

impl EventDrain {
    /// Whatever the log holds may have been sent by an earlier run.
    pub fn new(head: u64, acked: u64) -> EventDrain {
        let acked = acked.min(head);
        EventDrain {
            head,
            acked,
            sent: acked,
            sent_ever: head,
            replayed_through: head,
            connected: false,
            reading: None,
            ready: Vec::new(),
            batches_in_flight: 0,
            hashes: VecDeque::new(),
            pending_ack: None,
            resend_at: None,
            resend_after: RESEND_AFTER_MIN,
            hurried: false,
            resend_unheard: false,
            unheard_after: UNHEARD_AGAIN_AFTER_MIN,
            read_again_at: None,
        }
    }

    /// The newest durable event.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Events that the cloud has not confirmed.
    pub fn backlog(&self) -> u64 {
        self.head - self.acked
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        if !self.connected {
            return None;
        }
        [self.resend_at, self.read_again_at].into_iter().flatten().min()
    }

    pub fn connected(&mut self) {
        self.connected = true;
        self.replayed_through = self.head;
        self.batches_in_flight = 0;
        self.resend_after = RESEND_AFTER_MIN;
        self.unheard_after = UNHEARD_AGAIN_AFTER_MIN;
        self.begin_anew();
    }

    pub fn disconnected(&mut self) {
        self.connected = false;
        self.batches_in_flight = 0;
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        self.sent = self.acked;
        self.reading = None;
        self.ready.clear();
        self.hashes.clear();
        self.resend_at = None;
        self.hurried = false;
        self.resend_unheard = false;
        self.read_again_at = None;
    }

    pub fn durable(&mut self, head: u64) {
        self.head = self.head.max(head);
    }

    pub fn puback(&mut self) {
        self.batches_in_flight = self.batches_in_flight.saturating_sub(1);
    }

    /// The broker took a batch, and the cloud was not there to get it: as likely as not it is just coming
    /// back, so what it missed is sent again soon, and less and less soon while nobody comes.
    pub fn unheard(&mut self, now: Mono) {
        if !std::mem::replace(&mut self.resend_unheard, true) {
            let soon = now + self.unheard_after;
            self.resend_at = Some(self.resend_at.map_or(soon, |at| at.min(soon)));
        }
    }

    pub fn timeout(&mut self, now: Mono) {
        if self.read_again_at.is_some_and(|at| at <= now) {
            self.read_again_at = None;
        }
        if self.resend_at.is_some_and(|at| at <= now) {
            if self.resend_unheard {
                self.unheard_after = (self.unheard_after * 2).min(UNHEARD_AGAIN_AFTER_MAX);
            } else {
                self.resend_after = (self.resend_after * 2).min(RESEND_AFTER_MAX);
            }
            self.begin_anew();
        }
    }

    pub fn next(&mut self, now: Mono) -> Drain {
        if !self.connected || self.batches_in_flight >= BATCHES_IN_FLIGHT_MAX {
            return Drain::Nothing;
        }
        if let Some(last) = self.ready.last().map(|e| e.seq) {
            let events = std::mem::take(&mut self.ready);
            self.hashes.extend(events.iter().map(|e| (e.seq, e.hash)));
            self.sent = last;
            self.sent_ever = self.sent_ever.max(last);
            self.batches_in_flight += 1;
            self.resend_at.get_or_insert(now + self.resend_after);
            return Drain::Send(Batch { events, replayed_through: self.replayed_through });
        }
        let paused = self.reading.is_some() || self.read_again_at.is_some() || self.hashes.len() >= EVENTS_UNACKED_MAX;
        if paused || self.sent >= self.head {
            return Drain::Nothing;
        }
        let from = self.sent + 1;
        self.reading = Some(from);
        Drain::Read { from, bytes_max: BATCH_BYTES_MAX }
    }

    /// The store's answer to `Read`. The first may be later than asked for: what was before it is no
    /// longer kept, which an event of its own tells.
    pub fn read(&mut self, now: Mono, from: u64, events: Vec<Sealed>) {
        if self.reading != Some(from) {
            return;
        }
        self.reading = None;
        let (sent, head) = (self.sent, self.head);
        let room = EVENTS_UNACKED_MAX.saturating_sub(self.hashes.len());
        let mut next = None;
        let contiguous = events.into_iter().filter(|e| e.seq > sent && e.seq <= head).take_while(|e| {
            let follows = next.is_none_or(|next| next == e.seq);
            next = Some(e.seq + 1);
            follows
        });
        self.ready = contiguous.take(room.max(1)).collect();
        if self.ready.is_empty() && self.sent < self.head {
            self.read_again_at = Some(now + READ_AGAIN_AFTER);
        }
    }

    pub fn ack(&mut self, now: Mono, through: u64, head_hash: [u8; 32]) -> AckVerdict {
        if through == self.acked && self.sent > self.acked {
            self.resend_sooner();
        }
        if through <= self.acked {
            return AckVerdict::Old;
        }
        if through > self.sent_ever {
            return AckVerdict::Refused("acknowledges events that were never sent");
        }
        match self.hashes.iter().find(|(seq, _)| *seq == through) {
            Some((_, hash)) => {
                let hash = *hash;
                self.judge(now, through, head_hash, Some(hash))
            }
            None => {
                self.pending_ack = Some((through, head_hash));
                AckVerdict::LookUp(through)
            }
        }
    }

    fn resend_sooner(&mut self) {
        if let Some(at) = self.resend_at {
            let early = self.resend_after - self.resend_after / RESEND_SOONER;
            let sooner = at.as_nanos().saturating_sub(u64::try_from(early.as_nanos()).unwrap_or(u64::MAX));
            if !self.hurried {
                self.hurried = true;
                self.resend_at = Some(Mono::from_nanos(sooner));
            }
        }
    }

    /// The store's answer to `LookUp`; `None` if it no longer has that event.
    pub fn hash_of(&mut self, now: Mono, seq: u64, hash: Option<[u8; 32]>) -> AckVerdict {
        match self.pending_ack.take_if(|(through, _)| *through == seq) {
            Some((through, claimed)) if through > self.acked => self.judge(now, through, claimed, hash),
            _ => AckVerdict::Old,
        }
    }

    fn judge(&mut self, now: Mono, through: u64, claimed: [u8; 32], own: Option<[u8; 32]>) -> AckVerdict {
        if own != Some(claimed) {
            return AckVerdict::Refused("acknowledges an event by another hash than its own");
        }
        self.acked = through;
        while self.hashes.front().is_some_and(|(seq, _)| *seq <= through) {
            self.hashes.pop_front();
        }
        self.resend_after = (self.resend_after / 2).max(RESEND_AFTER_MIN);
        self.unheard_after = UNHEARD_AGAIN_AFTER_MIN;
        self.hurried = false;
        if self.sent <= through {
            // What was about to be sent (again) is with the cloud already.
            self.sent = through;
            self.resend_at = None;
            self.reading = self.reading.filter(|from| *from > through);
            self.ready.retain(|e| e.seq > through);
        } else {
            self.resend_at = Some(now + self.resend_after);
        }
        AckVerdict::Accepted(through)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(seq: u64) -> Sealed {
        Sealed { seq, hash: hash(seq), json: Vec::new() }
    }

    fn hash(seq: u64) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&seq.to_be_bytes());
        hash
    }

    /// What the world does next.
    #[derive(Clone, Debug)]
    enum Step {
        Happen(u64),
        Reconnect,
        /// The broker takes batches and hands them on, or loses them.
        Take {
            lost: bool,
        },
        /// The cloud's acknowledgement arrives, or an older one, or none.
        Ack {
            behind: u64,
        },
        ForgedAck(u64),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..200u64).prop_map(Step::Happen),
            1 => Just(Step::Reconnect),
            4 => any::<bool>().prop_map(|lost| Step::Take { lost }),
            3 => (0..3u64).prop_map(|behind| Step::Ack { behind }),
            1 => (0..2_000u64).prop_map(Step::ForgedAck),
            2 => (1..700u64).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..120)
    }

    struct World {
        now: Mono,
        head: u64,
        drain: EventDrain,
        wire: VecDeque<Batch>,
        /// The cloud has stored 1 to this.
        stored: u64,
        acked: u64,
        read_max: usize,
    }

    impl World {
        fn pump(&mut self) {
            loop {
                match self.drain.next(self.now) {
                    Drain::Nothing => return,
                    Drain::Read { from, bytes_max } => {
                        assert_eq!(bytes_max, BATCH_BYTES_MAX);
                        let to = self.head.min(from + self.read_max as u64 - 1);
                        self.drain.read(self.now, from, (from..=to).map(event).collect());
                    }
                    Drain::Send(batch) => {
                        assert!(
                            batch.events.iter().all(|e| e.seq > self.acked),
                            "sent again after its acknowledgement"
                        );
                        assert!(batch.events.windows(2).all(|w| w[0].seq + 1 == w[1].seq), "a gap within a batch");
                        assert!(batch.events.iter().all(|e| e.seq <= self.head), "sent before it was durable");
                        self.wire.push_back(batch);
                        assert!(self.wire.len() <= BATCHES_IN_FLIGHT_MAX);
                    }
                }
            }
        }

        fn take(&mut self, lost: bool) {
            if let Some(batch) = self.wire.pop_front() {
                for event in batch.events.iter().filter(|_| !lost) {
                    if event.seq == self.stored + 1 {
                        self.stored = event.seq;
                    }
                }
                self.drain.puback();
            }
        }

        fn ack(&mut self, through: u64, head_hash: [u8; 32]) {
            let mut verdict = self.drain.ack(self.now, through, head_hash);
            if let AckVerdict::LookUp(seq) = verdict {
                verdict = self.drain.hash_of(self.now, seq, (seq <= self.head).then(|| hash(seq)));
            }
            match verdict {
                AckVerdict::Accepted(through) => {
                    assert!(through <= self.stored, "let go of what the cloud does not have");
                    assert!(through > self.acked);
                    self.acked = through;
                }
                AckVerdict::Old | AckVerdict::Refused(_) => {}
                AckVerdict::LookUp(_) => unreachable!("answered above"),
            }
        }
    }

    proptest! {
        #[test]
        fn the_cloud_gets_every_event_whatever_the_line_does(steps in steps(), read_max in 1..50usize) {
            let mut world = World {
                now: Mono::ZERO,
                head: 0,
                drain: EventDrain::new(0, 0),
                wire: VecDeque::new(),
                stored: 0,
                acked: 0,
                read_max,
            };
            world.drain.connected();
            for step in steps {
                match step {
                    Step::Happen(count) => {
                        world.head += count;
                        world.drain.durable(world.head);
                    }
                    Step::Reconnect => {
                        world.wire.clear();
                        world.drain.disconnected();
                        world.drain.connected();
                    }
                    Step::Take { lost } => world.take(lost),
                    Step::Ack { behind } => {
                        let through = world.stored.saturating_sub(behind);
                        world.ack(through, hash(through));
                    }
                    Step::ForgedAck(through) => world.ack(through, [0xFF; 32]),
                    Step::Wait(seconds) => {
                        world.now = world.now + Duration::from_secs(seconds);
                        world.drain.timeout(world.now);
                    }
                }
                world.pump();
            }
            // The faults heal: everything arrives, within a bounded time.
            let mut rounds = 0;
            while world.acked < world.head {
                rounds += 1;
                prop_assert!(rounds < 2 * world.head + 100, "stuck at {} of {}", world.acked, world.head);
                world.pump();
                if world.wire.is_empty() {
                    world.now = world.now + RESEND_AFTER_MAX;
                    world.drain.timeout(world.now);
                }
                world.take(false);
                world.ack(world.stored, hash(world.stored));
            }
            prop_assert_eq!(world.stored, world.head);
            prop_assert_eq!(world.drain.backlog(), 0);
        }
    }

    #[test]
    fn sending_pauses_when_the_cloud_confirms_nothing() {
        let mut drain = EventDrain::new(0, 0);
        drain.connected();
        drain.durable(100_000);
        let mut sent = 0;
        loop {
            match drain.next(Mono::ZERO) {
                Drain::Nothing => break,
                Drain::Read { from, .. } => drain.read(Mono::ZERO, from, (from..from + 100).map(event).collect()),
                Drain::Send(batch) => {
                    sent += batch.events.len();
                    drain.puback();
                }
            }
        }
        assert_eq!(sent, EVENTS_UNACKED_MAX);
    }

    #[test]
    fn what_the_log_no_longer_keeps_is_passed_over() {
        let mut drain = EventDrain::new(50, 0);
        drain.connected();
        assert_eq!(drain.next(Mono::ZERO), Drain::Read { from: 1, bytes_max: BATCH_BYTES_MAX });
        drain.read(Mono::ZERO, 1, (20..=50).map(event).collect());
        let Drain::Send(batch) = drain.next(Mono::ZERO) else { panic!() };
        assert_eq!((batch.events[0].seq, batch.events.len()), (20, 31));
        assert_eq!(drain.ack(Mono::ZERO, 50, hash(50)), AckVerdict::Accepted(50));
    }

    #[test]
    fn a_store_without_the_event_is_asked_again_later_and_not_at_once() {
        let mut drain = EventDrain::new(5, 0);
        drain.connected();
        assert!(matches!(drain.next(Mono::ZERO), Drain::Read { from: 1, .. }));
        drain.read(Mono::ZERO, 1, Vec::new());
        assert_eq!(drain.next(Mono::ZERO), Drain::Nothing);
        let again = drain.next_deadline().unwrap();
        drain.timeout(again);
        assert!(matches!(drain.next(again), Drain::Read { from: 1, .. }));
    }
}
