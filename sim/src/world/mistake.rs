//! Mistakes, planted where one machine hands over to another, to show that the oracle sees them. Owns
//! everything that is wrong on purpose; must never change anything when no mistake is chosen. Each names the
//! invariant that it breaks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use clap::ValueEnum;
use latchd::{
    config::trial::{Override, Phase},
    domain::{
        event::EventBody,
        fieldbus::BusReport,
        ids::Id,
        kept::Kept,
        order::{DoorAction, Order, Task},
        outputs::{Desired, Level, Ticket},
        permission::Permissions,
        record::{AccessRule, Area, Authentication, Credential, DoorPolicy, Effect, Record, SystemAction, SystemEvent},
    },
    gateway::{
        controller::Lasting,
        mirror::{Applied, MirrorInput, MirrorOutput},
        session::link::LinkEvent,
        step::{Commit, LedgerWrite, MessageToken},
        uplink::Input,
    },
    wire::{event_log::Sealed, report::ReportPage},
};

use super::{
    configuration::INSTALLERS,
    oracle::{Cards, Invariant, cards_of},
    set::Sets,
    site::{FIRE, Site},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Mistake {
    /// The end of an unlocking is lost on the way to the bus, and so is the locking.
    RelockForgotten,
    /// A command that comes again is carried out again.
    DedupSkipped,
    /// Orders may wait two minutes longer than their command allows.
    DeadlineIgnored,
    /// A set that takes rights away does not reach the doors.
    RevocationNotApplied,
    /// One event never leaves the log.
    SequenceSkipped,
    /// The fire input never reaches the doors.
    FireIgnored,
    /// The broker is told to forget a command before it is stored.
    AckBeforeStore,
    /// What happened offline is sent as if it happened now.
    ReplayedUnmarked,
    /// Grants leave no event.
    EventDropped,
    /// Denials leave two events.
    EventTwice,
    /// Whatever a set says of operators, the first set's operators stay.
    OperatorsKept,
    /// The doors hear of no auto open that denies.
    AutoOpenUndenied,
    /// The doors hear of no interlock.
    InterlockIgnored,
    /// The end of a pulse is lost on the way to the bus, and so is the switching off.
    PulseWithoutEnd,
    /// What lay over the doors is not there after a restart.
    HoldsForgotten,
    /// Delayed commands are carried out at once.
    DelayIgnored,
    /// The doors hear of no system event.
    SystemEventIgnored,
    /// Nobody is in the hall after a restart.
    WhereaboutsForgotten,
    /// The doors hear of no limit to the people inside.
    LimitIgnored,
    /// For the doors a card is enough where the rules ask for a PIN as well.
    PinIgnored,
    /// For the doors no number of wrong PINs is too many.
    PinLockIgnored,
    /// For the doors one person is enough where the rules ask for two.
    PairIgnored,
    /// For the doors no PIN means duress.
    DuressSilenced,
    /// What was to be a virtual read reaches the door as an opening.
    VirtualReadUnjudged,
    /// For the doors no set is ever stale.
    StalenessIgnored,
    /// After a restart no emergency card was ever used.
    EmergencyUsesForgotten,
    /// For the doors who may go to one floor may go to all.
    EveryFloor,
    /// The end of a floor's enabling is lost on the way to the bus, and so is the disabling.
    FloorLeftEnabled,
    /// After a restart no backup code was ever used.
    BackupCodesForgotten,
    /// Whether something is in a compartment never reaches the doors.
    KeyUnseen,
    /// The doors hear of no edit by command.
    EditsIgnored,
    /// Whose edits are limited edits as one whose edits are not.
    EditsUnlimited,
    /// For the doors no system event has an author who might be refused.
    AuthorIgnored,
    /// For the doors no system event orders anything.
    ActsForgotten,
    /// The last event of a report is lost on its way.
    ReportCut,
    /// For the doors a card is enough in the cab where the rules ask for a PIN as well.
    PinIgnoredInCab,
    /// For the doors a card is enough at the key lockers where the rules ask for a PIN as well.
    PinIgnoredAtCabinet,
    /// For the doors no number of wrong PINs is too many in the cab and at the key lockers.
    PinLockIgnoredIndoors,
    /// After a restart nobody ever typed a wrong PIN.
    WrongPinsForgotten,
    /// The loop never hears that the time of a trial is over.
    TrialUnending,
    /// That a trial is running does not get to the disk.
    TrialUnmarked,
    /// That a configuration was confirmed does not get to the disk.
    ConfirmationForgotten,
    /// The installer's file is read once and never again.
    InstallerOverruled,
    /// The doors hear of every edit for ever, whatever the cloud has made of it.
    EditsNeverAbsorbed,
    /// That an edit does not fit is lost on its way from the mirror.
    ConflictsUntold,
    /// Without a set the doors know no emergency card.
    SpareCardsForgotten,
    /// Without a set the doors know the emergency cards of the first set.
    SpareCardsOutdated,
}

impl Mistake {
    pub const ALL: [Mistake; 47] = [
        Mistake::RelockForgotten,
        Mistake::DedupSkipped,
        Mistake::DeadlineIgnored,
        Mistake::RevocationNotApplied,
        Mistake::SequenceSkipped,
        Mistake::FireIgnored,
        Mistake::AckBeforeStore,
        Mistake::ReplayedUnmarked,
        Mistake::EventDropped,
        Mistake::EventTwice,
        Mistake::OperatorsKept,
        Mistake::AutoOpenUndenied,
        Mistake::InterlockIgnored,
        Mistake::PulseWithoutEnd,
        Mistake::HoldsForgotten,
        Mistake::DelayIgnored,
        Mistake::SystemEventIgnored,
        Mistake::WhereaboutsForgotten,
        Mistake::LimitIgnored,
        Mistake::PinIgnored,
        Mistake::PinLockIgnored,
        Mistake::PairIgnored,
        Mistake::DuressSilenced,
        Mistake::VirtualReadUnjudged,
        Mistake::StalenessIgnored,
        Mistake::EmergencyUsesForgotten,
        Mistake::EveryFloor,
        Mistake::FloorLeftEnabled,
        Mistake::BackupCodesForgotten,
        Mistake::KeyUnseen,
        Mistake::EditsIgnored,
        Mistake::EditsUnlimited,
        Mistake::AuthorIgnored,
        Mistake::ActsForgotten,
        Mistake::ReportCut,
        Mistake::PinIgnoredInCab,
        Mistake::PinIgnoredAtCabinet,
        Mistake::PinLockIgnoredIndoors,
        Mistake::WrongPinsForgotten,
        Mistake::TrialUnending,
        Mistake::TrialUnmarked,
        Mistake::ConfirmationForgotten,
        Mistake::InstallerOverruled,
        Mistake::EditsNeverAbsorbed,
        Mistake::ConflictsUntold,
        Mistake::SpareCardsForgotten,
        Mistake::SpareCardsOutdated,
    ];

    /// What must catch it.
    pub fn breaks(self) -> Invariant {
        match self {
            Mistake::RelockForgotten => Invariant::StrikeFalls,
            Mistake::DedupSkipped => Invariant::CommandOnce,
            Mistake::DeadlineIgnored => Invariant::DeadlineAtTheWire,
            Mistake::RevocationNotApplied => Invariant::RevokedIsDenied,
            Mistake::SequenceSkipped => Invariant::LogWithoutGap,
            Mistake::FireIgnored => Invariant::FireReleases,
            Mistake::AckBeforeStore => Invariant::StoredBeforeForgotten,
            Mistake::ReplayedUnmarked => Invariant::ReplayedMarked,
            Mistake::EventDropped | Mistake::EventTwice => Invariant::OneEventEach,
            Mistake::ReportCut => Invariant::ReportsAreTheLog,
            Mistake::AuthorIgnored | Mistake::ActsForgotten => Invariant::ActsForItsAuthor,
            Mistake::EditsIgnored | Mistake::EditsNeverAbsorbed => Invariant::EditsStand,
            Mistake::ConflictsUntold => Invariant::EditsSettle,
            Mistake::OperatorsKept | Mistake::EditsUnlimited => Invariant::Authorised,
            Mistake::AutoOpenUndenied => Invariant::AutoOpens,
            Mistake::InterlockIgnored => Invariant::OneDoorAtATime,
            Mistake::PulseWithoutEnd => Invariant::OutputsAsOrdered,
            Mistake::HoldsForgotten => Invariant::HeldIsShut,
            Mistake::DelayIgnored => Invariant::DelaysKeepTheirTime,
            Mistake::SystemEventIgnored => Invariant::ConsequencesFollow,
            Mistake::WhereaboutsForgotten => Invariant::NobodyPassesBack,
            Mistake::LimitIgnored => Invariant::AreaNotOverfull,
            Mistake::PinIgnored | Mistake::PinIgnoredInCab | Mistake::PinIgnoredAtCabinet => Invariant::PinAsked,
            Mistake::PinLockIgnored | Mistake::PinLockIgnoredIndoors | Mistake::WrongPinsForgotten => {
                Invariant::PinLocksOut
            }
            Mistake::TrialUnending
            | Mistake::TrialUnmarked
            | Mistake::ConfirmationForgotten
            | Mistake::InstallerOverruled => Invariant::TrialsEnd,
            Mistake::SpareCardsForgotten | Mistake::SpareCardsOutdated => Invariant::SpareCards,
            Mistake::PairIgnored => Invariant::TwoTogether,
            Mistake::DuressSilenced => Invariant::DuressIsTold,
            Mistake::VirtualReadUnjudged => Invariant::VirtualReadJudged,
            Mistake::StalenessIgnored => Invariant::FallbackNarrows,
            Mistake::EmergencyUsesForgotten => Invariant::EmergencyLast,
            Mistake::EveryFloor | Mistake::FloorLeftEnabled => Invariant::FloorsAsGranted,
            Mistake::BackupCodesForgotten => Invariant::LockersByContract,
            Mistake::KeyUnseen => Invariant::KeysAreFollowed,
        }
    }

    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A record as the doors are made to read it.
fn bent(mistake: Mistake, record: Record) -> Record {
    let rule = |body: &AccessRule, authentication| AccessRule { authentication: Some(authentication), ..body.clone() };
    match (mistake, record) {
        (Mistake::LimitIgnored, Record::Area(body)) => Record::Area(Area { occupancy_max: None, ..body }),
        (Mistake::PinIgnored, Record::AccessRule(body)) if body.authentication == Some(Authentication::CardAndPin) => {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinIgnoredInCab, Record::AccessRule(body))
            if body.authentication == Some(Authentication::CardAndPin) && !body.floors.is_empty() =>
        {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinIgnoredAtCabinet, Record::AccessRule(body))
            if body.authentication == Some(Authentication::CardAndPin)
                && body.doors.iter().any(|door| door.as_str().starts_with("key-")) =>
        {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinLockIgnoredIndoors, Record::DoorPolicy(body))
            if body.doors.iter().any(|door| door.as_str() == "lift") =>
        {
            Record::DoorPolicy(DoorPolicy { pin_tries: u32::MAX, ..body })
        }
        (Mistake::PairIgnored, Record::AccessRule(body)) if body.authentication == Some(Authentication::TwoPerson) => {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinLockIgnored, Record::DoorPolicy(body)) => {
            Record::DoorPolicy(DoorPolicy { pin_tries: u32::MAX, ..body })
        }
        (Mistake::DuressSilenced, Record::Credential(body)) => Record::Credential(Credential { duress: false, ..body }),
        (Mistake::AuthorIgnored, Record::SystemEvent(body)) => {
            Record::SystemEvent(SystemEvent { author: None, ..body })
        }
        (Mistake::ActsForgotten, Record::SystemEvent(body)) => {
            let actions = vec![SystemAction::Notify { text: None }];
            Record::SystemEvent(SystemEvent { actions, ..body })
        }
        (Mistake::EveryFloor, Record::AccessRule(mut body)) => {
            body.floors.iter_mut().for_each(|grant| grant.floors = None);
            Record::AccessRule(body)
        }
        (Mistake::StalenessIgnored, Record::DoorPolicy(body)) => {
            Record::DoorPolicy(DoorPolicy { stale_after_s: None, ..body })
        }
        (_, record) => record,
    }
}

/// From the daemon to the disk; `None`: it never gets there.
pub fn override_as_stored(mistake: Option<Mistake>, kept: &Override) -> Option<Override> {
    let begins = kept.trial.as_ref().is_some_and(|trial| trial.phase == Phase::Running);
    match mistake {
        Some(Mistake::TrialUnmarked) if begins => None,
        Some(Mistake::ConfirmationForgotten) if kept.confirmed.is_some() => None,
        _ => Some(kept.clone()),
    }
}

pub struct Shim {
    mistake: Option<Mistake>,
    last_desired: Vec<Option<Desired>>,
    /// By the bytes of their command.
    orders: BTreeMap<Vec<u8>, Order>,
    command: Option<Vec<u8>>,
    again: u64,
    linked: bool,
    head: Option<u64>,
}

impl Shim {
    pub fn new(mistake: Option<Mistake>) -> Shim {
        Shim {
            mistake,
            last_desired: Vec::new(),
            orders: BTreeMap::new(),
            command: None,
            again: 0,
            linked: false,
            head: None,
        }
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub fn doors_started(&mut self) {
        self.last_desired.clear();
    }

    /// From the doors to the buses.
    pub fn desired(&mut self, site: &Site, desired: &[Desired]) -> Vec<Desired> {
        let mut handed = desired.to_vec();
        if self.is(Mistake::RelockForgotten) {
            self.last_desired.resize(handed.len(), None);
            for ((door, one), last) in site.doors.iter().zip(&mut handed).zip(&mut self.last_desired) {
                let unlocks = |desired: &Desired| desired.level == door.unlocked_level;
                match last.filter(|last| unlocks(last) && !unlocks(one) && one.order.is_none()) {
                    Some(last) => *one = Desired { order: None, ..last },
                    None => one.until = None,
                }
                *last = Some(*one);
            }
        }
        let (doors, outputs) = (site.doors.len(), site.field.outputs.len());
        let left_on = match self.mistake {
            Some(Mistake::PulseWithoutEnd) => doors..doors + outputs,
            Some(Mistake::FloorLeftEnabled) => doors + outputs..handed.len(),
            _ => 0..0,
        };
        if !left_on.is_empty() {
            self.last_desired.resize(handed.len(), None);
            for (one, last) in handed.iter_mut().zip(&mut self.last_desired).take(left_on.end).skip(left_on.start) {
                match last.filter(|last: &Desired| last.level == Level::Energised && one.order.is_none()) {
                    Some(last) => *one = Desired { order: None, until: None, ..last },
                    None => one.until = None,
                }
                *last = Some(*one);
            }
        }
        handed
    }

    /// From a bus to the doors.
    pub fn report(&mut self, site: &Site, report: BusReport) -> Option<BusReport> {
        let fire = |input: latchd::domain::ids::InputRef| {
            input.input == FIRE && site.doors.iter().any(|door| door.fire.is_some_and(|fire| fire.input == input))
        };
        let occupied = |input: latchd::domain::ids::InputRef| {
            site.compartments().any(|compartment| compartment.occupied.input == input)
        };
        match report {
            BusReport::Input { input, .. } if self.is(Mistake::KeyUnseen) && occupied(input) => None,
            BusReport::Input { input, energised: true } if self.is(Mistake::FireIgnored) && fire(input) => None,
            report => Some(report),
        }
    }

    /// From the doors to the ledger.
    pub fn commit(&mut self, commit: &mut Commit) {
        let grant = |write: &LedgerWrite| matches!(write, LedgerWrite::Event(event) if matches!(event.body, EventBody::AccessGranted { .. }));
        let denial = |write: &LedgerWrite| matches!(write, LedgerWrite::Event(event) if matches!(event.body, EventBody::AccessDenied { .. }));
        if self.is(Mistake::EventDropped) {
            commit.writes.retain(|write| !grant(write));
        }
        if self.is(Mistake::EventTwice) {
            let twice: Vec<LedgerWrite> = commit.writes.iter().filter(|write| denial(write)).cloned().collect();
            commit.writes.extend(twice);
        }
    }

    /// From the desk to the doors.
    pub fn order(&mut self, order: Order) -> Order {
        if let Some(command) = self.command.clone() {
            self.orders.insert(command, order.clone());
        }
        if self.is(Mistake::DeadlineIgnored) {
            return Order { deadline: order.deadline + Duration::from_secs(120), ..order };
        }
        match order.what {
            Task::Door(door, DoorAction::Admit(action)) if self.is(Mistake::DelayIgnored) => {
                Order { what: Task::Door(door, DoorAction::Delayed(action)), ..order }
            }
            Task::VirtualRead { door, .. } if self.is(Mistake::VirtualReadUnjudged) => {
                Order { what: Task::Door(door, DoorAction::OpenAndClose { dwell: None }), ..order }
            }
            _ => order,
        }
    }

    /// From the disk to the doors.
    pub fn lasting(&self, mut lasting: Lasting) -> Lasting {
        if self.is(Mistake::HoldsForgotten) {
            for state in lasting.doors.values_mut() {
                (state.lockdown, state.dnd, state.force) = (None, None, None);
            }
        }
        if self.is(Mistake::WhereaboutsForgotten) {
            for kept in lasting.kept.values_mut() {
                if let Kept::Whereabouts { areas, .. } = kept {
                    areas.retain(|presence| presence.area.as_str() != "hall");
                }
            }
        }
        if self.is(Mistake::BackupCodesForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::BackupCode { .. }));
        }
        if self.is(Mistake::WrongPinsForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::WrongPins { .. }));
        }
        if self.is(Mistake::EmergencyUsesForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::EmergencyUses { .. }));
        }
        lasting
    }

    /// From the link to the desk, past its book.
    pub fn repeated_command(&mut self, event: &LinkEvent, cmd: &str) -> Option<Order> {
        self.command = None;
        if !self.is(Mistake::DedupSkipped) {
            return None;
        }
        let LinkEvent::Message { topic, payload, .. } = event else { return None };
        if topic != cmd {
            return None;
        }
        self.command = Some(payload.clone());
        let order = self.orders.get(payload).cloned()?;
        self.again += 1;
        Some(Order { ticket: Ticket(1_000_000 + self.again), ..order })
    }

    pub fn ack_now(&mut self, event: &LinkEvent, cmd: &str) -> Option<MessageToken> {
        match event {
            LinkEvent::Message { topic, token, .. } if topic == cmd && self.is(Mistake::AckBeforeStore) => Some(*token),
            _ => None,
        }
    }

    /// From the mirror to the doors: the new version, with the rights of the one before, or without some records.
    pub fn permissions(
        &self,
        permissions: Arc<Permissions>,
        revision: u64,
        site: &Site,
        sets: &Sets,
    ) -> Arc<Permissions> {
        let version = *permissions.version();
        let all = |_: &Record| false;
        let handed = match self.mistake {
            Some(Mistake::RevocationNotApplied) if sets.is_revocation(version.generation) => {
                let before = sets.in_force(version.generation.saturating_sub(1), revision);
                before.map(|generation| generation.without(all))
            }
            Some(Mistake::EditsNeverAbsorbed) => sets.never_absorbed(version.generation),
            Some(Mistake::EditsIgnored) => sets.at(version.generation).map(|generation| generation.without(all)),
            Some(mistake) => {
                let ignored = |record: &Record| match record {
                    Record::AutoOpen(body) => mistake == Mistake::AutoOpenUndenied && body.effect == Effect::Deny,
                    Record::SystemEvent(_) => mistake == Mistake::SystemEventIgnored,
                    Record::Interlock(_) => mistake == Mistake::InterlockIgnored,
                    _ => false,
                };
                sets.in_force(version.generation, revision)
                    .map(|generation| generation.without(ignored).map(|record| bent(mistake, record)))
            }
            None => None,
        };
        handed.and_then(|generation| generation.compile(site, version)).map_or(permissions, Arc::new)
    }

    /// From the mirror to the cloud's loop.
    pub fn mirror_output(&self, output: MirrorOutput) -> MirrorOutput {
        match output {
            MirrorOutput::Applied(applied) if self.is(Mistake::ConflictsUntold) => {
                MirrorOutput::Applied(Applied { conflicts: Vec::new(), ..applied })
            }
            output => output,
        }
    }

    /// From the mirror to the cloud's loop: the new set, with the operators of the first.
    pub fn applied(&self, permissions: Arc<Permissions>, site: &Site, sets: &Sets) -> Arc<Permissions> {
        let version = *permissions.version();
        let both = sets.at(version.generation).zip(sets.at(1)).filter(|_| self.is(Mistake::OperatorsKept));
        both.and_then(|(now, first)| now.with("operator", first).compile(site, version)).map_or(permissions, Arc::new)
    }

    /// From the copy outside the mirror to the doors.
    pub fn spare_cards(&self, found: &Cards, sets: &Sets) -> Cards {
        match self.mistake {
            Some(Mistake::SpareCardsForgotten) => Cards::new(),
            Some(Mistake::SpareCardsOutdated) => sets.at(1).map(|first| cards_of(first)).unwrap_or_default(),
            _ => found.clone(),
        }
    }

    /// From the disk to whoever judges what is in force.
    pub fn installers_file(&self, text: &str) -> String {
        if self.is(Mistake::InstallerOverruled) { INSTALLERS.to_owned() } else { text.to_owned() }
    }

    pub fn trial_ends(&self) -> bool {
        !self.is(Mistake::TrialUnending)
    }

    /// From the clerk to the desk.
    pub fn report_page(&self, mut page: ReportPage) -> ReportPage {
        if let Some(events) = page.events.as_mut().filter(|_| self.is(Mistake::ReportCut))
            && events.pop().is_some()
        {
            page.count -= 1;
        }
        page
    }

    /// From the desk to the mirror.
    pub fn to_mirror(&self, input: MirrorInput) -> MirrorInput {
        match input {
            MirrorInput::Edit(mut request) if self.is(Mistake::EditsUnlimited) => {
                if let Ok(operator) = Id::new("op-1") {
                    request.operator = operator;
                }
                MirrorInput::Edit(request)
            }
            input => input,
        }
    }

    /// From the log to the session.
    pub fn events(&mut self, mut events: Vec<Sealed>) -> Vec<Sealed> {
        if self.is(Mistake::SequenceSkipped) {
            events.retain(|event| event.seq != 7);
        }
        events
    }

    /// From the ledger to the session.
    pub fn durable_head(&mut self, head: u64) -> Option<Input> {
        if self.is(Mistake::ReplayedUnmarked) && !self.linked {
            self.head = Some(head);
            return None;
        }
        Some(Input::DurableHead(head))
    }

    /// What the session hears right after this.
    pub fn before_link(&mut self, event: &LinkEvent) -> Vec<Input> {
        match event {
            LinkEvent::Connected { .. } => self.linked = true,
            LinkEvent::Disconnected { .. } => self.linked = false,
            _ => {}
        }
        let head = if self.linked { self.head.take() } else { None };
        head.map(Input::DurableHead).into_iter().collect()
    }
}

/// Runs in which the rarest mistake has shown itself, with room to spare.
const SEEDS_FOR_A_MISTAKE: u64 = 300;

/// Plants it in one world after the other until it is caught. The seed that did; or that none did, or that it was taken
/// for something else.
pub fn catch(mistake: Mistake) -> Result<u64, String> {
    let failed = |seed| super::run(super::Options { mistake: Some(mistake), ..super::Options::seed(seed) }).err();
    let failure = (1..=SEEDS_FOR_A_MISTAKE).find_map(|seed| failed(seed).map(|failure| (seed, failure)));
    let (seed, failure) =
        failure.ok_or_else(|| format!("{} was not caught in {SEEDS_FOR_A_MISTAKE} seeds", mistake.name()))?;
    let violation = failure.violation;
    match violation.invariant == mistake.breaks() {
        true => Ok(seed),
        false => Err(format!("{} was caught as {}: {}", mistake.name(), violation.invariant, violation.what)),
    }
}
