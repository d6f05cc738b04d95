//! Who wins when several speak: the one table of the product, highest first.
//!
#![doc = include_str!("precedence.md")]
//!
//! An order that a cause above it would make pointless is refused as a conflict and remembered nowhere:
//!
#![doc = include_str!("orders.md")]
//!
//! Nothing refuses a lockdown, nor the end of a lockdown, of a force or of DND. What secures under a fire or
//! a REX is taken and takes effect when that ends.
//!
//! Owns the order and what follows from each cause; must never know how a cause came about. Invariant:
//! the highest active cause rules the lock. The mode shown is that of the ruling cause too, with one
//! exception: a REX at a door that the next lower cause unlocks anyway changes nothing, so that a motion
//! detector at a door which is unlocked for the day does not flicker its mode.

use super::Mode;
use crate::domain::event::DenialReason;

/// Why a door is in the mode it is in. `ForceOpen` and `ForceClosed` are the two states of one force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Fire,
    Rex,
    Interlock,
    Lockdown,
    ForceOpen,
    ForceClosed,
    Dnd,
    Manual,
    AutoOpen,
    Grant,
}

/// What follows from one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub cause: Cause,
    pub name: &'static str,
    pub mode: Mode,
    pub unlocks: bool,
    /// The door may stand open as long as it likes: forced and propped alarms are masked.
    pub masks: bool,
    /// Every credential is denied with this reason, whatever its rules say.
    pub denies: Option<DenialReason>,
}

const fn row(
    cause: Cause,
    name: &'static str,
    mode: Mode,
    unlocks: bool,
    masks: bool,
    denies: Option<DenialReason>,
) -> Row {
    Row { cause, name, mode, unlocks, masks, denies }
}

/// Highest first. In the order of [`Cause`]'s variants, which a test holds.
pub const PRECEDENCE: [Row; 10] = [
    row(Cause::Fire, "fire", Mode::LockedOpen, true, true, None),
    row(Cause::Rex, "REX", Mode::Accessed, true, false, None),
    row(Cause::Interlock, "interlock", Mode::Blocked, false, false, Some(DenialReason::Interlock)),
    row(Cause::Lockdown, "lockdown", Mode::LockedDown, false, false, Some(DenialReason::LockedDown)),
    row(Cause::ForceOpen, "force open", Mode::LockedOpen, true, true, Some(DenialReason::Forced)),
    row(Cause::ForceClosed, "force closed", Mode::LockedDown, false, false, Some(DenialReason::Forced)),
    row(Cause::Dnd, "DND", Mode::Blocked, false, false, Some(DenialReason::Dnd)),
    row(Cause::Manual, "manual open", Mode::Unlocked, true, true, None),
    row(Cause::AutoOpen, "auto open", Mode::Unlocked, true, true, None),
    row(Cause::Grant, "grant", Mode::Accessed, true, false, None),
];

/// What is ordered of a door, as far as it matters who is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    Open,
    Close,
    ForceOpen,
    ForceClosed,
    ForceToggle,
    DndOn,
}

/// In the order of [`Ordered`]'s variants: the commands, and the causes under which they are refused.
pub const ORDERS: [(Ordered, &str, &[Cause]); 6] = [
    (
        Ordered::Open,
        "`door.open`, `door.open_and_close`, `door.open_with_delay`",
        &[Cause::Interlock, Cause::Lockdown, Cause::ForceOpen, Cause::ForceClosed, Cause::Dnd],
    ),
    (Ordered::Close, "`door.close`, `door.close_with_delay`", &[Cause::Fire, Cause::ForceOpen]),
    (Ordered::ForceOpen, "`door.force` open", &[Cause::Interlock, Cause::Lockdown]),
    (Ordered::ForceClosed, "`door.force` closed", &[Cause::Lockdown]),
    (Ordered::ForceToggle, "`door.force_toggle`", &[Cause::Fire, Cause::Interlock, Cause::Lockdown]),
    (Ordered::DndOn, "`door.dnd` on", &[Cause::Lockdown, Cause::ForceOpen, Cause::ForceClosed]),
];

impl Ordered {
    pub fn refused_under(self) -> &'static [Cause] {
        ORDERS.iter().find(|(ordered, ..)| *ordered == self).map_or(&[], |(_, _, causes)| causes)
    }
}

/// The causes that are active at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes(u16);

impl Causes {
    #[must_use]
    pub fn with(self, cause: Cause, active: bool) -> Causes {
        if active { Causes(self.0 | 1 << cause as u16) } else { self }
    }

    #[must_use]
    pub fn without(self, cause: Cause) -> Causes {
        Causes(self.0 & !(1 << cause as u16))
    }

    pub fn contains(self, cause: Cause) -> bool {
        self.0 & 1 << cause as u16 != 0
    }

    /// Fire, REX and what secures the door: what a stopping node still obeys.
    #[must_use]
    pub fn only_safety_and_secured(self) -> Causes {
        let kept = [Cause::Fire, Cause::Rex, Cause::Lockdown, Cause::ForceClosed, Cause::Dnd];
        kept.into_iter().fold(Causes::default(), |causes, cause| causes.with(cause, self.contains(cause)))
    }

    /// The active causes, highest first.
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        PRECEDENCE.iter().filter(move |row| self.contains(row.cause))
    }

    /// The cause that rules; none: the door is locked.
    pub fn ruling(self) -> Option<&'static Row> {
        let mut rows = self.rows();
        let first = rows.next()?;
        match rows.next() {
            Some(next) if first.cause == Cause::Rex && next.unlocks => Some(next),
            _ => Some(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_pair_of_causes_the_higher_one_rules_the_lock() {
        for (high_at, high) in PRECEDENCE.iter().enumerate() {
            assert_eq!(high_at, high.cause as usize, "the table is in the order of the enum");
            assert_eq!(Causes::default().with(high.cause, true).ruling(), Some(high));
            for low in PRECEDENCE.iter().skip(high_at + 1) {
                let both = Causes::default().with(low.cause, true).with(high.cause, true);
                let ruling = both.ruling().expect("two causes are active");
                assert_eq!(ruling.unlocks, high.unlocks, "{} over {}", high.name, low.name);
                let expected = if high.cause == Cause::Rex && low.unlocks { low } else { high };
                assert_eq!(ruling, expected, "{} over {}", high.name, low.name);
            }
        }
        assert_eq!(Causes::default().ruling(), None);
    }

    #[test]
    fn a_request_to_exit_opens_over_a_lockdown_that_covers_an_unlocking() {
        let causes = Causes::default().with(Cause::Rex, true).with(Cause::Lockdown, true).with(Cause::Manual, true);
        assert_eq!(causes.ruling().map(|row| row.cause), Some(Cause::Rex));
    }

    #[test]
    fn the_published_table_is_the_one_in_the_code() {
        let mut text =
            String::from("| cause | mode | lock | masks alarms | denies credentials with |\n|---|---|---|---|---|\n");
        for row in PRECEDENCE {
            let lock = if row.unlocks { "unlocked" } else { "locked" };
            let masks = if row.masks { "yes " } else { "" };
            let denies = row.denies.map_or(String::new(), |reason| {
                serde_json::to_value(reason).expect("a plain enum").as_str().expect("a string").to_owned() + " "
            });
            text += &format!("| {} | {:?} | {lock} | {masks}| {denies}|\n", row.name, row.mode);
        }
        text += "| none | Locked | locked | | |\n";
        assert_eq!(include_str!("precedence.md"), text);
    }

    #[test]
    fn the_published_table_of_orders_is_the_one_in_the_code() {
        let mut text = String::from("| order | refused under |\n|---|---|\n");
        for (at, (ordered, commands, causes)) in ORDERS.iter().enumerate() {
            assert_eq!(at, *ordered as usize, "the table is in the order of the enum");
            let name = |cause: &Cause| PRECEDENCE[*cause as usize].name;
            let causes: Vec<&str> = causes.iter().map(name).collect();
            text += &format!("| {commands} | {} |\n", causes.join(", "));
        }
        assert_eq!(include_str!("orders.md"), text);
    }
}
