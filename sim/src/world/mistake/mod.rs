//! Mistakes, planted where one machine hands over to another, to show that the oracle sees them. Owns
//! everything that is wrong on purpose; must never change anything when no mistake is chosen. Each names the
//! invariant that it breaks.
//!
//! `doors` has what goes to the doors and comes from them, `commands` what operators ask for, `sets` the permission set
//! and the emergency cards beside it, `scopes` of it what limits operators, `log` events and reports, `configuration` the site file, `catch` the proof.

mod catch;
mod commands;
mod configuration;
mod doors;
mod log;
mod scopes;
mod sets;

use std::collections::BTreeMap;

use clap::ValueEnum;
use latchd::domain::{order::Order, outputs::Desired};

pub use self::{catch::catch, configuration::override_as_stored};
use crate::world::oracle::Invariant;

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
    /// Whatever a set says of the second operator, who is an admin at first, they stay one.
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
    /// For the doors a card is enough at the back where the rules ask for a PIN as well.
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
    /// Without a set the doors know the emergency cards of an older set, by which they could be used once.
    SpareCardsOutdated,
    /// Whoever is to be forgiven, all are.
    EverybodyForgiven,
    /// That somebody was forgiven does not get to the disk.
    ForgivenessForgotten,
    /// After a restart no alarm stands.
    AlarmsForgotten,
    /// The first of several live events is lost on its way to the broker.
    LiveEventLost,
    /// For the doors no emergency card has a PIN.
    EmergencyPinIgnored,
    /// For the desk nobody is limited by partitions.
    PartitionIgnored,
    /// For the desk nobody is limited by organisation units.
    UnitIgnored,
    /// For the desk nothing is below an organisation unit.
    UnitsBelowForgotten,
    /// For the desk operators and partitions have what the first set gave them, whatever a later one takes away.
    ScopeKept,
    /// Lists are those of one who may see everything.
    ListUnlimited,
    /// Lists are those of one who has some doors.
    ListNarrowed,
    /// Reports are those of one who may see everything.
    ReportUnlimited,
}

impl Mistake {
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
            Mistake::ReportCut | Mistake::ReportUnlimited => Invariant::ReportsAreTheLog,
            Mistake::AuthorIgnored | Mistake::ActsForgotten => Invariant::ActsForItsAuthor,
            Mistake::EditsIgnored | Mistake::EditsNeverAbsorbed => Invariant::EditsStand,
            Mistake::ConflictsUntold => Invariant::EditsSettle,
            Mistake::OperatorsKept
            | Mistake::EditsUnlimited
            | Mistake::PartitionIgnored
            | Mistake::UnitIgnored
            | Mistake::ScopeKept => Invariant::Authorised,
            Mistake::UnitsBelowForgotten => Invariant::RefusedRightly,
            Mistake::ListUnlimited | Mistake::ListNarrowed => Invariant::ListsShowOwn,
            Mistake::AutoOpenUndenied => Invariant::AutoOpens,
            Mistake::InterlockIgnored => Invariant::OneDoorAtATime,
            Mistake::PulseWithoutEnd => Invariant::OutputsAsOrdered,
            Mistake::HoldsForgotten => Invariant::HeldIsShut,
            Mistake::DelayIgnored => Invariant::DelaysKeepTheirTime,
            Mistake::SystemEventIgnored => Invariant::ConsequencesFollow,
            Mistake::WhereaboutsForgotten => Invariant::NobodyPassesBack,
            Mistake::LimitIgnored => Invariant::AreaNotOverfull,
            Mistake::PinIgnored
            | Mistake::PinIgnoredInCab
            | Mistake::PinIgnoredAtCabinet
            | Mistake::EmergencyPinIgnored => Invariant::PinAsked,
            Mistake::PinLockIgnored | Mistake::PinLockIgnoredIndoors | Mistake::WrongPinsForgotten => {
                Invariant::PinLocksOut
            }
            Mistake::TrialUnending
            | Mistake::TrialUnmarked
            | Mistake::ConfirmationForgotten
            | Mistake::InstallerOverruled => Invariant::TrialsEnd,
            Mistake::SpareCardsForgotten | Mistake::SpareCardsOutdated => Invariant::SpareCards,
            Mistake::EverybodyForgiven | Mistake::ForgivenessForgotten => Invariant::ForgivenIsForgotten,
            Mistake::AlarmsForgotten => Invariant::AlarmsStand,
            Mistake::LiveEventLost => Invariant::LiveIsTheLog,
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

    pub fn all() -> impl Iterator<Item = Mistake> {
        Mistake::value_variants().iter().copied()
    }

    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
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
}
