//! What is kept of a person and of a credential, in as few cache lines as a decision can do with. Owns their shape;
//! must never know where they lie. Invariant: a holding speaks of its credential and of nobody but its holder.

use super::shared::{Entry, Hash};
use crate::domain::{
    record::{self, CredentialState, Medium, Token},
    time::Wall,
};

/// Persons and rules refer to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupCell {
    pub(super) critical: bool,
}

/// What rules and readers ask of a person, but for dates and PINs.
#[derive(Clone, Debug, Default)]
pub(super) struct PersonCell {
    /// Places, each once, ascending.
    pub(super) groups: Box<[u32]>,
    /// Valid from some time or until some time.
    pub(super) dated: bool,
    pub(super) extended: bool,
    pub(super) apb_exempt: bool,
    pub(super) has_pin: bool,
    pub(super) has_duress_pin: bool,
}

/// How many groups of a person fit beside a credential.
const NEAR: usize = 6;

/// They are to be looked up.
const FAR: u8 = u8::MAX;

/// A credential, and a copy of what there is of its holder: all that most decisions ask of either, in one cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Holding {
    pub(super) token: Token,
    /// Places.
    pub(super) credential: u32,
    pub(super) person: u32,
    surely: Surely,
    groups: [u16; NEAR],
    group_count: u8,
    pub(super) state: CredentialState,
    pub(super) medium: Medium,
    marks: u8,
}

/// What may be so of a credential or its holder; a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mark {
    /// The credential's: a PIN that is one raises an alarm.
    Duress = 1,
    /// The credential has dates.
    Dated = 2,
    HolderDated = 4,
    Extended = 8,
    ApbExempt = 16,
    HasPin = 32,
    HasDuressPin = 64,
}

/// A time within which neither the credential's dates nor its holder's stand against it, in whole seconds from 1970;
/// at its edges, and outside of it, the dates themselves are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surely {
    from: u32,
    until: u32,
}

impl Surely {
    fn of(lives: [Life; 2]) -> Surely {
        let from = lives.map(|life| life.from_ms).into_iter().max().unwrap_or(i64::MAX);
        let until = lives.map(|life| life.until_ms).into_iter().min().unwrap_or(i64::MIN);
        let seconds = |at: i64| u32::try_from(at.clamp(0, i64::from(u32::MAX))).unwrap_or_default();
        Surely { from: seconds(from.div_euclid(1000).saturating_add(1)), until: seconds(until.div_euclid(1000)) }
    }

    #[inline]
    fn at(self, wall: Wall) -> bool {
        let second = wall.as_millis().div_euclid(1000);
        i64::from(self.from) <= second && second < i64::from(self.until)
    }
}

impl Holding {
    /// Of these places, and as yet of a holder without groups.
    pub(super) fn new((credential, person): (u32, u32), body: &record::Credential) -> Holding {
        let mut held =
            Holding { token: body.token, credential, person, state: body.state, medium: body.medium, ..Holding::FREE };
        held.mark(Mark::Duress, body.duress);
        held.mark(Mark::Dated, Life::new(body.active_from, body.expires_at).is_limited());
        held
    }

    /// `lives` are the credential's and the holder's.
    pub(super) fn set_holder(&mut self, holder: &PersonCell, lives: [Life; 2]) {
        self.surely = Surely::of(lives);
        self.mark(Mark::HolderDated, holder.dated);
        self.mark(Mark::Extended, holder.extended);
        self.mark(Mark::ApbExempt, holder.apb_exempt);
        self.mark(Mark::HasPin, holder.has_pin);
        self.mark(Mark::HasDuressPin, holder.has_duress_pin);
        let groups = &holder.groups;
        let fit = groups.len() <= NEAR && groups.iter().all(|group| u16::try_from(*group).is_ok());
        self.group_count = if fit { groups.len() as u8 } else { FAR };
        if fit {
            self.groups.iter_mut().zip(groups).for_each(|(place, group)| *place = *group as u16);
        }
    }

    fn mark(&mut self, mark: Mark, holds: bool) {
        self.marks = if holds { self.marks | mark as u8 } else { self.marks & !(mark as u8) };
    }

    #[inline]
    pub(super) fn is(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    /// True: no date stands against it then. False: the dates are to be asked.
    #[inline]
    pub(super) fn is_surely_valid(&self, wall: Wall) -> bool {
        self.surely.at(wall)
    }

    /// Of the holder; `far` where they are, if there are too many to lie here.
    #[inline]
    pub(super) fn groups<'a>(&self, far: impl FnOnce() -> &'a [u32]) -> Groups<'a> {
        match self.group_count {
            FAR => Groups::Far(far()),
            count => Groups::Near { count, groups: self.groups.map(u32::from) },
        }
    }
}

/// Places of groups, each once, ascending.
#[derive(Clone, Copy, Debug)]
pub(super) enum Groups<'a> {
    Near { count: u8, groups: [u32; NEAR] },
    Far(&'a [u32]),
}

impl Groups<'_> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Groups::Near { count, groups } => groups.get(..usize::from(*count)).unwrap_or_default(),
            Groups::Far(groups) => groups,
        }
    }
}

impl Entry for Holding {
    const FREE: Holding = Holding {
        token: Token([0; 32]),
        credential: u32::MAX,
        person: u32::MAX,
        surely: Surely { from: 0, until: 0 },
        groups: [0; NEAR],
        group_count: 0,
        state: CredentialState::Suspended,
        medium: Medium::Card,
        marks: 0,
    };

    #[inline]
    fn hash(&self) -> Hash {
        hash(&self.token)
    }
}

/// A token is an HMAC and so random by itself; both of its ends, so that made-up tokens which only count up
/// spread as well.
#[inline]
pub(super) fn hash(token: &Token) -> Hash {
    let head = token.0.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
    let tail = token.0.last_chunk().map_or(0, |tail| u64::from_be_bytes(*tail));
    Hash::new(head ^ tail)
}

/// One cache line: a comparison looks at both, whichever there are.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Pins {
    pub(super) right: Token,
    pub(super) duress: Token,
}

impl Default for Pins {
    fn default() -> Self {
        Pins { right: Token([0; 32]), duress: Token([0; 32]) }
    }
}

/// From when (inclusive) until when (exclusive) something is valid; an end that is open lies outside of
/// all that [`Wall`] can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    from_ms: i64,
    until_ms: i64,
}

impl Default for Life {
    fn default() -> Self {
        Life::OPEN
    }
}

impl Life {
    pub(super) const OPEN: Life = Life { from_ms: i64::MIN, until_ms: i64::MAX };
    pub(super) const NEVER: Life = Life { from_ms: i64::MAX, until_ms: i64::MIN };

    pub(super) fn new(from: Option<Wall>, until: Option<Wall>) -> Life {
        Life { from_ms: from.map_or(i64::MIN, Wall::as_millis), until_ms: until.map_or(i64::MAX, Wall::as_millis) }
    }

    pub(super) fn limits(&self) -> (Option<Wall>, Option<Wall>) {
        let from = (self.from_ms != i64::MIN).then(|| Wall::from_millis(self.from_ms));
        (from, (self.until_ms != i64::MAX).then(|| Wall::from_millis(self.until_ms)))
    }

    pub(super) fn is_limited(&self) -> bool {
        self.from_ms != i64::MIN || self.until_ms != i64::MAX
    }

    pub(super) fn has_begun(&self, at: Wall) -> bool {
        self.from_ms <= at.as_millis()
    }

    pub(super) fn has_ended(&self, at: Wall) -> bool {
        self.until_ms <= at.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_holding_and_a_pair_of_pins_are_one_cache_line_each() {
        assert_eq!((size_of::<Holding>(), align_of::<Holding>()), (64, 64));
        assert_eq!((size_of::<Pins>(), align_of::<Pins>()), (64, 64));
    }

    #[test]
    fn beside_a_credential_lie_the_groups_of_its_holder_unless_they_are_too_many_or_too_large() {
        let body = record::Credential::card(crate::domain::ids::Id::new("ada").unwrap(), Token([1; 32]));
        let cases = [
            (vec![], true),
            (vec![3, 65_535], true),
            ((0..6).collect(), true),
            ((0..7).collect(), false),
            (vec![65_536], false),
        ];
        for (groups, fit) in cases {
            let holder = PersonCell { groups: groups.as_slice().into(), ..PersonCell::default() };
            let mut held = Holding::new((1, 2), &body);
            held.set_holder(&holder, [Life::OPEN; 2]);
            assert_eq!(held.groups(|| &[77]).as_slice(), if fit { &groups } else { &[77][..] });
            let other = PersonCell { groups: [9].into(), extended: true, ..PersonCell::default() };
            held.set_holder(&other, [Life::OPEN; 2]);
            assert_eq!((held.groups(|| &[77]).as_slice(), held.is(Mark::Extended)), (&[9][..], true));
            held.set_holder(&holder, [Life::OPEN; 2]);
            assert!(!held.is(Mark::Extended));
        }
    }

    proptest! {
        #[test]
        fn what_is_surely_valid_is_valid_and_only_the_seconds_at_its_ends_are_in_doubt(
            dates in any::<[Option<i64>; 4]>(),
            near in any::<[Option<i16>; 4]>(),
            at in any::<i64>(),
            past in -3000i64..3000,
        ) {
            let wall = |ms: i64| Wall::from_millis(ms % 5_000_000_000_000);
            for ([from, until, other_from, other_until], at) in
                [(dates.map(|date| date.map(wall)), wall(at)), (near.map(|ms| ms.map(|ms| wall(i64::from(ms)))), wall(past))]
            {
                let lives = [Life::new(from, until), Life::new(other_from, other_until)];
                let valid = |at: Wall| lives.iter().all(|life| life.has_begun(at) && !life.has_ended(at));
                let surely = Surely::of(lives).at(at);
                prop_assert!(!surely || valid(at));
                let within = (-1000..=1000).step_by(500).all(|off| valid(Wall::from_millis(at.as_millis() + off)));
                let known = 1000..4_294_966_000_000;
                prop_assert!(surely || !within || !known.contains(&at.as_millis()));
            }
        }
    }
}
