//! Live events: what each subscription gets as soon as it is durable. Owns subscriptions, their bounds and
//! their ends; must never show an operator what a report would not. Invariant: of what fits a subscription,
//! every event is sent in order or counted as missed, and the last message of a subscription says why it
//! ended.
//!
//! ```text
//!                 expired, unsubscribed, no authority or another scope
//!   running  ------------------------------------------------------------>  ended  --> gone
//!   waits, on the wire, acknowledged, ...                          last message acknowledged
//! ```
//!
//! A subscription survives a broken link, with what has room of what happened meanwhile, and not the run of
//! the daemon: `boot` in the status tells. One message of each is on the wire at a time. While there is
//! none the log is not read.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::reports::{Filter, Places, Scope, Seen};
use crate::{
    domain::{
        event::Refusal,
        ids::Id,
        time::{Mono, Now},
    },
    wire::{
        event_log::{Sealed, with_replayed},
        live::{Ended, SubscribeArgs, Subscribed},
    },
};

/// Subscriptions of one operator, and of all; more are refused as overloaded.
pub const OF_OPERATOR_MAX: usize = 4;
pub const SUBSCRIPTIONS_MAX: usize = 32;
/// Events in one message, in bytes, but for one that is larger by itself.
const MESSAGE_BYTES_MAX: usize = 32 * 1024;
/// Events that wait in one subscription; the oldest is missed.
const WAITING_BYTES_MAX: usize = 128 * 1024;
/// Bytes that are read from the log at a time.
const READ_BYTES_MAX: usize = 32 * 1024;
/// The store had nothing although it should have: asked again after this.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The events of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub missed: u64,
    /// As they are published.
    pub events: Vec<Vec<u8>>,
    pub ended: Option<Ended>,
}

/// An event and its number.
type Stored = (u64, Vec<u8>);

/// Sent and not acknowledged.
#[derive(Debug)]
struct Sent {
    missed: u64,
    events: Vec<Stored>,
    ended: Option<Ended>,
    on_this_connection: bool,
}

#[derive(Debug)]
struct Subscription {
    operator: Id,
    filter: Filter,
    ends_at: Mono,
    /// Shows events above this one.
    after: u64,
    missed: u64,
    waiting: VecDeque<Stored>,
    waiting_bytes: usize,
    sent: Option<Sent>,
    ended: Option<Ended>,
}

#[derive(Debug, Default)]
pub struct LiveEvents {
    places: Places,
    subscriptions: BTreeMap<Id, Subscription>,
    /// The newest durable event.
    head: u64,
    /// All up to this one have been looked at.
    looked: u64,
    /// Up to this one an event happened before this connection.
    replayed_through: u64,
    reading: Option<u64>,
    read_again_at: Option<Mono>,
    /// Whose turn it was.
    last_served: Option<Id>,
}

impl LiveEvents {
    /// `head` is the newest durable event.
    pub fn new(places: Places, head: u64) -> LiveEvents {
        LiveEvents { places, head, looked: head, replayed_through: head, ..LiveEvents::default() }
    }

    /// The operator's authority has been asked; `scope` is theirs.
    pub fn subscribe(
        &mut self,
        now: Now,
        jti: &Id,
        operator: &Id,
        args: &SubscribeArgs,
        scope: Scope,
    ) -> Result<Subscribed, (Refusal, String)> {
        let running = || self.subscriptions.values().filter(|s| s.ended.is_none());
        if running().filter(|s| s.operator == *operator).count() >= OF_OPERATOR_MAX {
            let message = format!("an operator has {OF_OPERATOR_MAX} subscriptions at most: end one");
            return Err((Refusal::Overloaded, message));
        }
        if running().count() >= SUBSCRIPTIONS_MAX {
            return Err((Refusal::Overloaded, format!("a node has {SUBSCRIPTIONS_MAX} subscriptions at most")));
        }
        if running().next().is_none() {
            self.looked = self.head;
            self.reading = None;
            self.read_again_at = None;
        }
        let ttl = Duration::from_secs(u64::from(args.ttl_s));
        let subscription = Subscription {
            operator: operator.clone(),
            filter: Filter::new(&args.filter, (None, None), scope),
            ends_at: now.mono + ttl,
            after: self.head,
            missed: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sent: None,
            ended: None,
        };
        self.subscriptions.insert(jti.clone(), subscription);
        self.forget_ended();
        Ok(Subscribed { ends_at: now.wall + ttl, after: self.head })
    }

    /// Last words that nobody fetches do not pile up.
    fn forget_ended(&mut self) {
        while self.subscriptions.len() > 2 * SUBSCRIPTIONS_MAX {
            let ended = self.subscriptions.iter().find(|(_, s)| s.ended.is_some()).map(|(jti, _)| jti.clone());
            let Some(jti) = ended else { return };
            self.subscriptions.remove(&jti);
        }
    }

    pub fn unsubscribe(&mut self, operator: &Id, jti: &Id) -> Result<(), (Refusal, String)> {
        let own = |s: &&mut Subscription| s.operator == *operator && s.ended.is_none();
        match self.subscriptions.get_mut(jti).filter(own) {
            Some(subscription) => {
                subscription.end(Ended::Unsubscribed);
                Ok(())
            }
            None => Err((Refusal::UnknownTarget, format!("{operator} has no subscription {jti}"))),
        }
    }

    /// Another set is in force: what an operator lost with it, they lose here at once. `ask` says what an
    /// operator may see now, or why nothing.
    pub fn handle_authority(&mut self, ask: impl Fn(&Id) -> Result<Scope, Refusal>) {
        for subscription in self.subscriptions.values_mut().filter(|s| s.ended.is_none()) {
            match ask(&subscription.operator) {
                Ok(scope) if scope == *subscription.filter.scope() => {}
                Ok(_) => subscription.end(Ended::ScopeChanged),
                Err(refusal) => subscription.end(refusal.into()),
            }
        }
    }

    pub fn connected(&mut self) {
        self.replayed_through = self.head;
    }

    /// What was on the wire is sent again.
    pub fn disconnected(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            if let Some(sent) = &mut subscription.sent {
                sent.on_this_connection = false;
            }
        }
    }

    pub fn durable(&mut self, head: u64) {
        self.head = self.head.max(head);
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let ends = self.subscriptions.values().filter(|s| s.ended.is_none()).map(|s| s.ends_at);
        ends.chain(self.read_again_at).min()
    }

    pub fn handle_timeout(&mut self, now: Mono) {
        for subscription in self.subscriptions.values_mut() {
            if subscription.ended.is_none() && subscription.ends_at <= now {
                subscription.end(Ended::Expired);
            }
        }
        if self.read_again_at.is_some_and(|at| at <= now) {
            self.read_again_at = None;
        }
    }

    /// From which event on, and how many bytes, the log is to be read now.
    pub fn next_read(&mut self) -> Option<(u64, usize)> {
        let wanted = self.subscriptions.values().any(|s| s.ended.is_none());
        if !wanted || self.reading.is_some() || self.read_again_at.is_some() || self.looked >= self.head {
            return None;
        }
        self.reading = Some(self.looked + 1);
        Some((self.looked + 1, READ_BYTES_MAX))
    }

    /// The store's answer to [`LiveEvents::next_read`]. The first may be later than asked for.
    pub fn read(&mut self, now: Mono, from: u64, events: &[Sealed]) {
        if self.reading != Some(from) {
            return;
        }
        self.reading = None;
        let (looked, head) = (self.looked, self.head);
        for sealed in events.iter().filter(|sealed| sealed.seq > looked && sealed.seq <= head) {
            self.look(sealed);
        }
        if self.looked < from {
            self.read_again_at = Some(now + READ_AGAIN_AFTER);
        }
    }

    fn look(&mut self, sealed: &Sealed) {
        let lost = sealed.seq.saturating_sub(self.looked + 1);
        self.looked = sealed.seq;
        let seen = Seen::new(&sealed.json, &self.places);
        let running = self.subscriptions.values_mut().filter(|s| s.ended.is_none() && s.after < sealed.seq);
        for subscription in running {
            // Nobody can say any more whether those would have fitted.
            let first = subscription.after + 1;
            subscription.miss(lost.min(sealed.seq - first) + u64::from(seen.is_none()));
            if seen.as_ref().is_some_and(|seen| subscription.filter.fits(seen)) {
                subscription.push((sealed.seq, sealed.json.clone()));
            }
        }
    }

    /// The next message that may be sent; its PUBACK is told with [`LiveEvents::puback`].
    pub fn next_message(&mut self) -> Option<(Id, Update)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.last_served.clone();
        let beginning = after.as_ref().map_or(Unbounded, Excluded);
        let ready = |(jti, subscription): (&Id, &Subscription)| subscription.is_ready().then(|| jti.clone());
        let jti = self
            .subscriptions
            .range::<Id, _>((beginning, Unbounded))
            .find_map(ready)
            .or_else(|| self.subscriptions.iter().find_map(ready))?;
        let update = self.subscriptions.get_mut(&jti)?.send(self.replayed_through);
        self.last_served = Some(jti.clone());
        Some((jti, update))
    }

    pub fn puback(&mut self, jti: &Id) {
        let Some(subscription) = self.subscriptions.get_mut(jti) else { return };
        let last = subscription.sent.take().is_some_and(|sent| sent.ended.is_some());
        if last {
            self.subscriptions.remove(jti);
        }
    }

    /// Running ones.
    pub fn count(&self) -> usize {
        self.subscriptions.values().filter(|s| s.ended.is_none()).count()
    }
}

impl Subscription {
    fn end(&mut self, ended: Ended) {
        self.ended = Some(ended);
        // At once: what has not left must not leave any more.
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.missed = 0;
        self.sent.take_if(|sent| !sent.on_this_connection);
    }

    fn miss(&mut self, count: u64) {
        if count > 0 {
            // Order: what waits comes before what is missed now, so it is given up as well.
            self.missed += count + self.waiting.len() as u64;
            self.waiting.clear();
            self.waiting_bytes = 0;
        }
    }

    fn push(&mut self, event: Stored) {
        self.waiting_bytes += event.1.len();
        self.waiting.push_back(event);
        while self.waiting_bytes > WAITING_BYTES_MAX && self.waiting.len() > 1 {
            if let Some((_, oldest)) = self.waiting.pop_front() {
                self.waiting_bytes -= oldest.len();
                self.missed += 1;
            }
        }
    }

    fn is_ready(&self) -> bool {
        match &self.sent {
            Some(sent) => !sent.on_this_connection,
            None => !self.waiting.is_empty() || self.missed > 0 || self.ended.is_some(),
        }
    }

    fn send(&mut self, replayed_through: u64) -> Update {
        // Again, unless it ended meanwhile: then only that is said.
        let again = self.sent.take().filter(|sent| self.ended.is_none() || sent.ended.is_some());
        let sent = match again {
            Some(sent) => Sent { on_this_connection: true, ..sent },
            None => self.take_waiting(),
        };
        let published = |(seq, json): &Stored| with_replayed(json, *seq <= replayed_through);
        let update =
            Update { missed: sent.missed, events: sent.events.iter().map(published).collect(), ended: sent.ended };
        self.sent = Some(sent);
        update
    }

    fn take_waiting(&mut self) -> Sent {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(event) = self.waiting.pop_front() {
            bytes += event.1.len();
            if bytes > MESSAGE_BYTES_MAX && !events.is_empty() {
                self.waiting.push_front(event);
                break;
            }
            self.waiting_bytes -= event.1.len();
            events.push(event);
        }
        Sent { missed: std::mem::take(&mut self.missed), events, ended: self.ended, on_this_connection: true }
    }
}
