//! What happened. Owns the closed list of event types of the contract; must never decide anything. Invariant: an event
//! says all that a security manager asks of it (who, where, why, by which rule and generation), without looking anything
//! up again.
//!
//! [`EventBody`] is one long table on purpose: it is the published list, a variant for each type, in the order in which
//! the schema shows them. The words that its members are made of live beside it, by what they speak of.

mod access;
mod actor;
mod alarm;
mod command;
mod doors;
mod node;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    access::{CardEvidence, DenialReason, Denied, Granted, PassageWay},
    actor::Actor,
    alarm::AlarmSource,
    command::{ConflictedEdit, EditChange, EditFate, EditMade, Refusal},
    doors::{AutoOpenEnd, Fallback, FlappingInput},
    node::{InstallerModeEnd, RollbackCause},
};
use super::{
    door::{Alarm, Hold, Mode},
    elevator::FailPolicy,
    fieldbus::LineTrouble,
    ids::Id,
    time::{ClockTrust, Wall},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    pub occurred_at: Wall,
    pub clock: ClockTrust,
    pub epoch: u64,
    pub generation: u64,
    #[serde(flatten)]
    pub body: EventBody,
}

/// One body for each type; `type` on the wire is dotted, past tense, grouped by what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum EventBody {
    #[serde(rename = "access.granted")]
    AccessGranted(Granted),
    #[serde(rename = "access.denied")]
    AccessDenied(Denied),
    #[serde(rename = "door.opened")]
    DoorOpened { door: Id },
    #[serde(rename = "door.closed")]
    DoorClosed { door: Id },
    #[serde(rename = "door.not_opened")]
    DoorNotOpened { door: Id, actor: Actor },
    #[serde(rename = "door.forced")]
    DoorForced { door: Id },
    #[serde(rename = "door.prop_warned")]
    DoorPropWarned { door: Id },
    #[serde(rename = "door.propped")]
    DoorPropped { door: Id },
    /// The forced or propped alarm ended: the door closed, or a mode that masks it began.
    #[serde(rename = "door.alarm_cleared")]
    DoorAlarmCleared { door: Id },
    /// Somebody has seen the alarm that stands at the door.
    #[serde(rename = "door.alarm_acknowledged")]
    DoorAlarmAcknowledged { door: Id, alarm: Alarm, actor: Actor },
    /// A lockdown, a force or DND began or ended beneath what rules the door: its mode did not change.
    #[serde(rename = "door.hold_changed")]
    DoorHoldChanged { door: Id, hold: Hold, held: bool, actor: Actor },
    #[serde(rename = "door.mode_changed")]
    DoorModeChanged { door: Id, from: Mode, to: Mode, actor: Actor },
    /// The relay does not do what it is told: read-back differs from desired.
    #[serde(rename = "door.lock_mismatched")]
    DoorLockMismatched { door: Id },
    #[serde(rename = "door.lock_restored")]
    DoorLockRestored { door: Id },
    #[serde(rename = "rex.activated")]
    RexActivated { door: Id },
    #[serde(rename = "fire.activated")]
    FireActivated { input: String },
    #[serde(rename = "fire.cleared")]
    FireCleared { input: String },
    /// A contract of the set cannot be enforced on this node, and is not.
    #[serde(rename = "contract.refused")]
    ContractRefused { contract: Id, locker: Id, reason: String },
    /// A key was put into its compartment for the first time.
    #[serde(rename = "key.added")]
    KeyAdded {
        door: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        contract: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
        /// Who opened; absent: nobody did, as far as is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        actor: Option<Actor>,
    },
    #[serde(rename = "key.fetched")]
    KeyFetched {
        door: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        contract: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        actor: Option<Actor>,
    },
    #[serde(rename = "key.returned")]
    KeyReturned {
        door: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        contract: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        actor: Option<Actor>,
    },
    /// The contract by which it was fetched has ended, and the key is still out.
    #[serde(rename = "key.not_returned")]
    KeyNotReturned {
        door: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        contract: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
    },
    /// These floors may be chosen from now on.
    #[serde(rename = "floor.enabled")]
    FloorEnabled { floor_group: Id, floors: Vec<Id>, actor: Actor },
    #[serde(rename = "floor.disabled")]
    FloorDisabled { floor_group: Id, floors: Vec<Id>, actor: Actor },
    /// Somebody chose an enabled floor; the person is named if only one person's read enabled it.
    #[serde(rename = "floor.selected")]
    FloorSelected {
        floor_group: Id,
        floor: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        credential: Option<Id>,
    },
    /// A floor was chosen that nobody had enabled.
    #[serde(rename = "floor.selected_without_right")]
    FloorSelectedWithoutRight { floor_group: Id, floor: Id },
    /// The board of these floors is lost: from here on they are as `fail` says, as far as the board does.
    #[serde(rename = "floor.lost")]
    FloorsLost { floor_group: Id, floors: Vec<Id>, fail: FailPolicy },
    #[serde(rename = "floor.restored")]
    FloorsRestored { floor_group: Id, floors: Vec<Id> },
    /// The relay does not do what it is told: read-back differs from desired.
    #[serde(rename = "floor.relay_mismatched")]
    FloorRelayMismatched { floor_group: Id, floor: Id },
    #[serde(rename = "floor.relay_restored")]
    FloorRelayRestored { floor_group: Id, floor: Id },
    /// A door that fire had released was reset by hand.
    #[serde(rename = "fire.reset")]
    FireReset { door: Id, actor: Actor },
    /// A door is unlocked by its auto open from here on.
    #[serde(rename = "auto_open.started")]
    AutoOpenStarted { door: Id, auto_open: Id },
    #[serde(rename = "auto_open.ended")]
    AutoOpenEnded { door: Id, auto_open: Id, reason: AutoOpenEnd },
    /// Somebody was granted for whom an auto open had waited.
    #[serde(rename = "auto_open.first_person_came")]
    AutoOpenFirstPersonCame { door: Id, auto_open: Id, person: Id },
    /// So many wrong PINs in a row that no more are taken for a while: of a person, of an emergency card, or, with
    /// neither, at a reader for PINs alone.
    #[serde(rename = "access.pin_locked_out")]
    AccessPinLockedOut {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        cabinet: Option<Id>,
        reader: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        emergency_card: Option<Id>,
        wrong: u32,
        lockout_s: u32,
    },
    /// Somebody said by their PIN that they are being forced, whether or not they were let in. Nothing at the door
    /// shows it; an alarm stands from here on.
    #[serde(rename = "access.duress")]
    AccessDuress {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reader: Option<Id>,
        person: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        credential: Option<Id>,
        granted: bool,
    },
    /// An emergency card opened a door or enabled floors; `uses` of it on this node so far.
    #[serde(rename = "emergency.used")]
    EmergencyUsed {
        emergency_card: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
        reader: Id,
        uses: u32,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        uses_max: Option<u32>,
    },
    /// These doors decide otherwise from here on; without `policy`: all that have none.
    #[serde(rename = "fallback.entered")]
    FallbackEntered {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        policy: Option<Id>,
        doors: Vec<Id>,
        fallback: Fallback,
    },
    #[serde(rename = "fallback.left")]
    FallbackLeft {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        policy: Option<Id>,
        doors: Vec<Id>,
        fallback: Fallback,
    },
    /// It was forgotten where this person is, who is in this area, or (neither) where everybody is.
    #[serde(rename = "apb.cleared")]
    ApbCleared {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        area: Option<Id>,
        actor: Actor,
    },
    /// Somebody entered an area in which they are, or left one in which they are not; `denied`: they were
    /// refused for it.
    #[serde(rename = "apb.violated")]
    ApbViolated {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reader: Option<Id>,
        person: Id,
        area: Id,
        way: PassageWay,
        denied: bool,
    },
    #[serde(rename = "reader.lost")]
    ReaderLost { reader: Id, detail: String },
    #[serde(rename = "reader.restored")]
    ReaderRestored { reader: Id },
    /// It answered what a reader with its key does not answer: in the clear, or under another key. Nothing of it
    /// was taken.
    #[serde(rename = "security.reader_distrusted")]
    ReaderDistrusted { reader: Id, detail: String },
    /// For so many minutes the default key of this OSDP reader is accepted, to give it one of its own; the user with
    /// this number asked for it, on the spot.
    #[serde(rename = "reader.install_began")]
    ReaderInstallBegan { reader: Id, uid: u32, minutes: u32 },
    /// It has taken a key of its own.
    #[serde(rename = "reader.key_set")]
    ReaderKeySet { reader: Id },
    /// It took this address and speed on its line; the user with this number asked for it, on the spot.
    #[serde(rename = "reader.line_set")]
    ReaderLineSet { reader: Id, uid: u32, address: u8, baud: u32 },
    #[serde(rename = "board.lost")]
    BoardLost { board: Id, detail: String },
    #[serde(rename = "board.restored")]
    BoardRestored { board: Id },
    /// It refuses its timer or its watchdog: what its profile promises for the time after the daemon's death
    /// does not hold.
    #[serde(rename = "board.degraded")]
    BoardDegraded { board: Id, detail: String },
    /// A reader repeats itself: so many reads were decided and not told one by one.
    #[serde(rename = "reader.babbling")]
    ReaderBabbling { reader: Id, count: u64 },
    /// It came and went: so many times of both were heeded and not told one by one.
    #[serde(rename = "reader.flapping")]
    ReaderFlapping { reader: Id, count: u64 },
    /// The same of a board, what it lacks counted with it.
    #[serde(rename = "board.flapping")]
    BoardFlapping { board: Id, count: u64 },
    /// So many of its changes were heeded and not told one by one.
    #[serde(rename = "input.flapping")]
    InputFlapping {
        what: FlappingInput,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        input: Option<Id>,
        count: u64,
    },
    /// From here on outputs that serve doors may be tried at the node itself.
    #[serde(rename = "installer.mode_began")]
    InstallerModeBegan { uid: u32, minutes: u32 },
    #[serde(rename = "installer.mode_ended")]
    InstallerModeEnded { uid: u32, reason: InstallerModeEnd },
    #[serde(rename = "output.switched")]
    OutputSwitched { output: Id, on: bool, actor: Actor },
    #[serde(rename = "output.pulsed")]
    OutputPulsed { output: Id, pulse_ms: u32, actor: Actor },
    /// The relay does not do what it is told: read-back differs from desired.
    #[serde(rename = "output.mismatched")]
    OutputMismatched { output: Id },
    #[serde(rename = "power.lost")]
    PowerLost { input: Id },
    #[serde(rename = "power.restored")]
    PowerRestored { input: Id },
    #[serde(rename = "tamper.activated")]
    TamperActivated {
        input: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reader: Option<Id>,
    },
    #[serde(rename = "tamper.cleared")]
    TamperCleared {
        input: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reader: Option<Id>,
    },
    /// A supervised line is short, cut or has a value that means nothing: its input counts as neither state.
    #[serde(rename = "tamper.line_faulted")]
    TamperLineFaulted {
        board: Id,
        /// As the board's profile names it.
        input: Id,
        trouble: LineTrouble,
        /// Where something depends on it.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        doors: Vec<Id>,
    },
    #[serde(rename = "tamper.line_restored")]
    TamperLineRestored { board: Id, input: Id },
    #[serde(rename = "input.activated")]
    InputActivated { input: Id },
    #[serde(rename = "input.cleared")]
    InputCleared { input: Id },
    /// Stands until it is acknowledged by its id. The same alarm again only counts: `times`.
    #[serde(rename = "alarm.raised")]
    AlarmRaised {
        alarm: Id,
        source: AlarmSource,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
        times: u32,
    },
    #[serde(rename = "alarm.acknowledged")]
    AlarmAcknowledged { alarm: Id, actor: Actor },
    /// What it stood for is over; `acknowledged`: somebody had seen it.
    #[serde(rename = "alarm.ended")]
    AlarmEnded { alarm: Id, acknowledged: bool },
    /// Never acknowledged, it made room for newer ones.
    #[serde(rename = "alarm.forgotten")]
    AlarmForgotten { alarm: Id },
    #[serde(rename = "cloud.lost")]
    CloudLost { detail: String },
    #[serde(rename = "cloud.restored")]
    CloudRestored {},
    #[serde(rename = "set.applied")]
    SetApplied {
        digest: String,
        records: u64,
        unknown_kinds: Vec<String>,
        /// Edits by command that it has taken over or discarded.
        #[serde(skip_serializing_if = "is_zero", default)]
        absorbed: u64,
    },
    #[serde(rename = "set.refused")]
    SetRefused { from_epoch: u64, from_generation: u64, reasons: Vec<String> },
    /// An edit by command is in force, over the cloud's set.
    #[serde(rename = "overlay.edited")]
    OverlayEdited(EditMade),
    /// A set says otherwise than edits that it does not absorb: what became of each.
    #[serde(rename = "overlay.conflicted")]
    OverlayConflicted { edits: Vec<ConflictedEdit> },
    /// Edits up to this revision were made and cannot all be found any more: the store and its copy were hurt.
    #[serde(rename = "overlay.lost")]
    OverlayLost { through: u64 },
    #[serde(rename = "operator.refused")]
    OperatorRefused {
        operator: Id,
        jti: Id,
        command: String,
        reason: Refusal,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// What could not be attributed to anyone, coalesced: how many since the last such event.
    #[serde(rename = "security.rejected")]
    SecurityRejected { topic: String, cause: String, count: u64 },
    /// The configuration began to give up a secure default (plain MQTT, a cleartext reader); an alarm stands from here
    /// on.
    #[serde(rename = "security.weakened")]
    SecurityWeakened { what: String },
    /// The same generation came with another digest, or a set tried to roll back; an alarm stands from here on.
    #[serde(rename = "security.rollback_refused")]
    SecurityRollbackRefused { detail: String },
    #[serde(rename = "clock.untrusted")]
    ClockUntrusted { detail: String },
    #[serde(rename = "clock.trusted")]
    ClockTrusted { detail: String },
    #[serde(rename = "clock.stepped")]
    ClockStepped { by_ms: i64 },
    #[serde(rename = "node.started")]
    NodeStarted {
        boot: Id,
        version: String,
        /// False after a kill or a power cut: events not yet durable then may be missing.
        clean: bool,
    },
    #[serde(rename = "node.stopping")]
    NodeStopping {},
    /// Something of the node blinks, for whoever looks for it.
    #[serde(rename = "node.identified")]
    NodeIdentified { actor: Actor },
    /// By `node.reboot`; `node.stopping` follows.
    #[serde(rename = "node.reboot_requested")]
    NodeRebootRequested { operator: Id, jti: Id },
    /// The daemon began anew with a site file that came by command, for a time.
    #[serde(rename = "configuration.trial_started")]
    ConfigurationTrialStarted {
        sha256: String,
        operator: Id,
        jti: Id,
        /// What is left of the time to confirm it.
        confirm_within_s: u64,
    },
    #[serde(rename = "configuration.confirmed")]
    ConfigurationConfirmed { sha256: String, operator: Id, jti: Id },
    /// A site file that came by command is no longer in force.
    #[serde(rename = "configuration.rolled_back")]
    ConfigurationRolledBack {
        sha256: String,
        cause: RollbackCause,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// A store that could not be read was put aside and begun anew.
    #[serde(rename = "storage.set_aside")]
    StorageSetAside { store: String, moved_to: String, detail: String },
    #[serde(rename = "storage.failed")]
    StorageFailed { store: String, detail: String },
    #[serde(rename = "storage.restored")]
    StorageRestored { store: String },
    /// A trigger came, within the schedule: the actions follow.
    #[serde(rename = "system_event.fired")]
    SystemEventFired {
        system_event: Id,
        /// In whose name and scope; absent: the cloud's own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        author: Option<Id>,
        trigger: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
    },
    /// An action was not carried out: its author may not order it (any more), or what is there stands against it.
    #[serde(rename = "system_event.refused")]
    SystemEventRefused {
        system_event: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        author: Option<Id>,
        action: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        target: Option<Id>,
        reason: Refusal,
        detail: String,
    },
    /// An action was ordered and not done: `expired`, `cancelled`, `failed` or `unknown`.
    #[serde(rename = "system_event.failed")]
    SystemEventFailed {
        system_event: Id,
        action: String,
        outcome: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// It would have fired too often, or as too remote a consequence: so many times it did not.
    #[serde(rename = "system_event.suppressed")]
    SystemEventSuppressed {
        system_event: Id,
        count: u64,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// A system event only tells.
    #[serde(rename = "notification.sent")]
    NotificationSent {
        system_event: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
    },
    /// Consequences of one input were cut off: too many.
    #[serde(rename = "system.chain_broken")]
    SystemChainBroken { detail: String },
    /// Events that were not kept: `lost` of them if that is known.
    #[serde(rename = "log.gap")]
    LogGap {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lost: Option<u64>,
        detail: String,
    },
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
