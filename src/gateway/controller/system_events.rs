//! The machine of the system events. Owns what fires, in whose name, and what was put off; must never do anything
//! that an operator could not have ordered, nor for an author who may not order it now. Invariant: each firing has
//! its event; what it then wants is either ordered, or refused with an event that says why.

mod act;
mod delays;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use self::delays::{Delay, Delays};
use super::machine::{Deed, Deeds, Happening, Machine, View};
use crate::domain::{
    door::{DelayAction, PendingDelay},
    event::{Actor, EventBody, Refusal},
    ids::Id,
    kept::{Kept, Standing},
    order::{Order, Progress, Task},
    outputs::Ticket,
    permission::SiteRecords,
    record::SystemEvent,
    status::Thing,
    system_event::{Budget, Cause, Spent, Swipes, fires},
    time::{ClockTrust, Mono, Now, Wall},
};

/// How long an order of a system event may wait for its wire.
const ORDER_WITHIN: Duration = Duration::from_secs(5);
/// Orders whose end is waited for; of those beyond nobody tells how they ended.
const UNDER_WAY_MAX: usize = 1024;
/// Consequences of consequences within one step.
const DEPTH_MAX: u8 = 8;
/// After a start the cloud gets this long before it counts as lost.
const CLOUD_AT_START: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct SystemEvents {
    /// The table that budgets and delays were last held against.
    site: Option<Arc<SiteRecords>>,
    budgets: BTreeMap<Id, Budget>,
    swipes: Swipes,
    delays: Delays,
    under_way: BTreeMap<Ticket, UnderWay>,
    orders: u64,
    cloud: Cloud,
    stopping: bool,
}

/// An order whose end is waited for.
#[derive(Debug)]
struct UnderWay {
    system_event: Id,
    action: &'static str,
    until: Mono,
}

/// Whether the cloud was last told of as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    /// As it was before this run; it has until then to come.
    Starting(Mono),
    Connected,
    Lost,
}

/// A system event that fires, and what it needs on the way.
#[derive(Clone, Copy)]
struct Firing<'a> {
    id: &'a Id,
    event: &'a SystemEvent,
    cause: &'a Cause,
}

impl Default for SystemEvents {
    fn default() -> SystemEvents {
        SystemEvents {
            site: None,
            budgets: BTreeMap::new(),
            swipes: Swipes::default(),
            delays: Delays::default(),
            under_way: BTreeMap::new(),
            orders: 0,
            cloud: Cloud::Starting(Mono::MAX),
            stopping: false,
        }
    }
}

impl SystemEvents {
    fn hear(&mut self, now: Now, view: &View<'_>, body: &EventBody, deeds: &mut Deeds) {
        let swipe = match body {
            EventBody::AccessGranted(granted) => match (&granted.reader, &granted.credential) {
                (Some(reader), Some(credential)) => Some(self.swipes.granted(now.mono, reader, credential)),
                _ => None,
            },
            _ => None,
        };
        if self.stopping {
            return;
        }
        let site = view.permissions.site().clone();
        let is_member = |person: &Id, group: &Id| view.permissions.is_member(person, group);
        for (id, event) in &site.system_events {
            if let Some(cause) = fires(&event.when, body, swipe.as_ref(), &is_member) {
                self.fire(now, view, Firing { id, event, cause: &cause }, deeds);
            }
        }
    }

    fn fire(&mut self, now: Now, view: &View<'_>, firing: Firing<'_>, deeds: &mut Deeds) {
        let Firing { id, event, cause } = firing;
        let known_time = now.trust == ClockTrust::Trusted;
        let in_time = |schedule: &Id| view.permissions.schedule_holds(schedule, now.wall).unwrap_or(false);
        // Nobody knows what time it is: what secures or tells is done all the same.
        let only_securing = event.schedule.is_some() && !known_time;
        if event.schedule.as_ref().is_some_and(|schedule| known_time && !in_time(schedule)) {
            return;
        }
        if only_securing && !event.actions.iter().any(|action| action.secures()) {
            return;
        }
        if view.depth >= DEPTH_MAX {
            let detail = format!("the {DEPTH_MAX}th consequence of a consequence");
            let system_event = id.clone();
            return deeds.event(EventBody::SystemEventSuppressed { system_event, count: 1, detail: Some(detail) });
        }
        match self.budgets.entry(id.clone()).or_insert_with(|| Budget::new(now.mono)).spend(now.mono) {
            Spent::Fire => {}
            Spent::Cut { told } => return deeds.event(suppressed(id, told)),
            Spent::Silently => return,
        }
        deeds.event(EventBody::SystemEventFired {
            system_event: id.clone(),
            author: event.author.clone(),
            trigger: trigger_name(event),
            door: cause.door.clone(),
            person: cause.person.clone(),
        });
        for action in event.actions.iter().filter(|action| !only_securing || action.secures()) {
            self.act(now, view, firing, action, deeds);
        }
    }

    /// Orders what an operator could order.
    fn order(&mut self, now: Now, id: &Id, author: &Option<Id>, action: &'static str, task: Task, deeds: &mut Deeds) {
        self.orders += 1;
        let ticket = Ticket::own(self.orders);
        let deadline = now.mono + ORDER_WITHIN;
        if self.under_way.len() >= UNDER_WAY_MAX {
            self.under_way.pop_first();
        }
        let until = deadline + crate::domain::door::ORDER_SETTLE_MAX + ORDER_WITHIN;
        self.under_way.insert(ticket, UnderWay { system_event: id.clone(), action, until });
        let by = Actor::SystemEvent { system_event: id.clone(), author: author.clone() };
        // Commands issued before it are older than what it did. A clock that nobody trusts must not say so: one that runs
        // ahead would have the door refuse its operators until the true time has caught up.
        let issued_at = if now.trust == ClockTrust::Trusted { now.wall } else { Wall::EPOCH };
        deeds.push(Deed::Order(Order { ticket, what: task, deadline, issued_at, by }));
    }

    fn progress(&mut self, ticket: Ticket, progress: &Progress, deeds: &mut Deeds) {
        if !progress.is_final() {
            return;
        }
        let Some(UnderWay { system_event, action, .. }) = self.under_way.remove(&ticket) else { return };
        let action = action.to_owned();
        let failed = |outcome: &str, detail: &str| EventBody::SystemEventFailed {
            system_event: system_event.clone(),
            action: action.clone(),
            outcome: outcome.to_owned(),
            detail: (!detail.is_empty()).then(|| detail.to_owned()),
        };
        match progress {
            Progress::Refused(reason, detail) => deeds.event(EventBody::SystemEventRefused {
                system_event: system_event.clone(),
                author: None,
                action: action.clone(),
                target: None,
                reason: *reason,
                detail: detail.clone(),
            }),
            Progress::Expired => deeds.event(failed("expired", "")),
            Progress::Cancelled => deeds.event(failed("cancelled", "")),
            Progress::Failed(detail) => deeds.event(failed("failed", detail)),
            Progress::Unknown(detail) => deeds.event(failed("unknown", detail)),
            _ => {}
        }
    }

    /// What is no longer in the set is forgotten, with what it had put off.
    fn compare(&mut self, view: &View<'_>, deeds: &mut Deeds) {
        let site = view.permissions.site();
        if self.site.as_ref().is_some_and(|known| Arc::ptr_eq(known, site)) {
            return;
        }
        self.site = Some(site.clone());
        self.budgets.retain(|id, _| site.system_events.contains_key(id));
        self.delays.retain(&site.system_events, deeds);
    }

    fn hear_cloud(&mut self, now: Now, view: &View<'_>, deeds: &mut Deeds) {
        let turned = match (self.cloud, view.cloud.connected) {
            (Cloud::Starting(_), true) => Cloud::Connected,
            (Cloud::Starting(by), false) if by > now.mono => return,
            (Cloud::Connected, true) | (Cloud::Lost, false) => return,
            (Cloud::Starting(_) | Cloud::Connected, false) => {
                deeds.push(Deed::Keep(Kept::Standing { what: Standing::CloudLost }));
                self.cloud = Cloud::Lost;
                return self.hear(now, view, &EventBody::CloudLost { detail: String::new() }, deeds);
            }
            (Cloud::Lost, true) => {
                deeds.push(Deed::Unkeep(Standing::CloudLost.key()));
                self.cloud = Cloud::Connected;
                return self.hear(now, view, &EventBody::CloudRestored {}, deeds);
            }
        };
        self.cloud = turned;
    }

    fn start(&mut self, now: Now, view: &View<'_>, kept: &[Kept], deeds: &mut Deeds) {
        let lost = kept.iter().any(|kept| matches!(kept, Kept::Standing { what: Standing::CloudLost }));
        self.cloud = if lost { Cloud::Lost } else { Cloud::Starting(now.mono + CLOUD_AT_START) };
        self.delays = Delays::restored(now, kept);
        if view.permissions.is_present() {
            self.compare(view, deeds);
        }
        self.hear_cloud(now, view, deeds);
    }

    fn timeout(&mut self, now: Now, view: &View<'_>, deeds: &mut Deeds) {
        for due in self.delays.take_due(now.mono) {
            self.act_late(now, view, due, deeds);
        }
        for (id, budget) in &mut self.budgets {
            if let Some(count) = budget.told(now.mono) {
                deeds.event(suppressed(id, count));
            }
        }
        let forgotten: BTreeSet<Ticket> =
            self.under_way.iter().filter(|(_, way)| way.until <= now.mono).map(|(ticket, _)| *ticket).collect();
        for ticket in forgotten {
            self.progress(ticket, &Progress::Unknown("nobody said what became of it".to_owned()), deeds);
        }
        self.hear_cloud(now, view, deeds);
    }
}

fn suppressed(id: &Id, count: u64) -> EventBody {
    EventBody::SystemEventSuppressed { system_event: id.clone(), count, detail: None }
}

/// As the record writes it.
fn trigger_name(event: &SystemEvent) -> String {
    let value = serde_json::to_value(&event.when).unwrap_or_default();
    value.get("trigger").and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

fn refused(id: &Id, event: &SystemEvent, action: &str, target: Option<&Id>, why: (Refusal, String)) -> EventBody {
    let (reason, detail) = why;
    EventBody::SystemEventRefused {
        system_event: id.clone(),
        author: event.author.clone(),
        action: action.to_owned(),
        target: target.cloned(),
        reason,
        detail,
    }
}

impl Machine for SystemEvents {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        self.hear_of(now, view, happening, deeds);
        for door in self.delays.take_changed() {
            deeds.0.extend(view.topology.door(&door).map(|door| Deed::Changed(Thing::Door(door))));
        }
    }

    fn delays_at(&self, door: &Id) -> Vec<PendingDelay> {
        let author = |event: &Id| self.site.as_ref()?.system_events.get(event)?.author.clone();
        let listed = |delay: &Delay| PendingDelay {
            jti: None,
            system_event: Some(delay.system_event.clone()),
            action: if delay.opens { DelayAction::Open } else { DelayAction::Close },
            due_at: delay.due_at,
            operator: author(&delay.system_event),
        };
        self.delays.at(door).map(listed).collect()
    }

    fn next_deadline(&self) -> Option<Mono> {
        let budgets = self.budgets.values().filter_map(Budget::next_deadline);
        let under_way = self.under_way.values().map(|way| way.until);
        let cloud = match self.cloud {
            Cloud::Starting(by) => Some(by),
            Cloud::Connected | Cloud::Lost => None,
        };
        budgets.chain(under_way).chain(cloud).chain(self.delays.next_deadline()).min()
    }
}

impl SystemEvents {
    /// An operator takes back what was put off at a door.
    fn cancel_delays(&mut self, view: &View<'_>, order: &Order, deeds: &mut Deeds) {
        let Task::CancelDelays { door, system_event } = &order.what else { return };
        let Some(door) = view.door_id(*door) else { return };
        let why = match &order.by {
            Actor::Operator { operator, jti } => format!("cancelled by {jti} of {operator}: door.cancel_delay"),
            _ => "cancelled: door.cancel_delay".to_owned(),
        };
        if self.delays.cancelled(door, system_event.as_ref(), &why, deeds) {
            deeds.push(Deed::Held(order.ticket, Progress::Done));
        } else {
            let what = system_event.as_ref().map(Id::to_string).unwrap_or_default();
            let detail = format!("the system event {what} has put nothing off at {door}");
            deeds.push(Deed::Report(order.ticket, Progress::Refused(Refusal::UnknownTarget, detail)));
        }
    }

    fn hear_of(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Start(kept) => self.start(now, view, kept, deeds),
            Happening::Permissions => self.compare(view, deeds),
            Happening::Cloud => self.hear_cloud(now, view, deeds),
            Happening::Event(body) => self.hear(now, view, body, deeds),
            Happening::Closed(door, command) => {
                if let Some(door) = view.door_id(door) {
                    self.delays.closed(door, command, deeds);
                }
            }
            Happening::Order(order) => self.cancel_delays(view, order, deeds),
            Happening::Progress(ticket, progress) => self.progress(ticket, progress, deeds),
            Happening::Timeout => self.timeout(now, view, deeds),
            Happening::Stop => self.stopping = true,
            _ => {}
        }
    }
}
