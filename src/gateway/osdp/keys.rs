//! What protects the conversation with a reader. Owns which key is tried next; must never let the default key
//! (SCBK-D) through outside of the time for installing. Invariant: a key that a reader may have taken is tried
//! until another one is proven, so that no crash between "the reader has it" and "the node knows" locks it out.
//!
//! ```text
//!   begin: pending key stored ─▶ any session but one under `pending` ─▶ KEYSET ─▶ ACK, or proven later: current
//!   install window open: SCBK-D is a candidate too; over: it is not
//! ```

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    domain::time::Mono,
    wire::osdp::secure::{KeyKind, SCBK_DEFAULT},
};

/// A reader's own key. Shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Scbk(Zeroizing<[u8; 16]>);

impl Scbk {
    pub fn new(key: [u8; 16]) -> Scbk {
        Scbk(Zeroizing::new(key))
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Scbk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scbk(..)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// By the installer's explicit opt-in only.
    Plain,
    Secure(KeyRing),
}

/// The keys of one reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRing {
    /// What it was proven to have.
    pub current: Option<Scbk>,
    /// What it is to be given, or may have been given already.
    pub pending: Option<Scbk>,
    /// Until then the default key is accepted, to give it `pending`.
    pub install_until: Option<Mono>,
}

/// Under which of them a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Current,
    Pending,
    Default,
}

impl Origin {
    pub fn kind(self) -> KeyKind {
        if self == Origin::Default { KeyKind::Default } else { KeyKind::Own }
    }
}

impl KeyRing {
    pub fn of(current: Option<[u8; 16]>) -> KeyRing {
        KeyRing { current: current.map(Scbk::new), ..KeyRing::default() }
    }

    pub fn is_installing(&self, now: Mono) -> bool {
        self.install_until.is_some_and(|until| now < until)
    }

    /// What may be tried, in this order.
    pub fn candidates(&self, now: Mono) -> impl Iterator<Item = (Origin, &[u8; 16])> {
        let pending = self.pending.as_ref().map(|key| (Origin::Pending, key.bytes()));
        let current = self.current.as_ref().map(|key| (Origin::Current, key.bytes()));
        let giving = self.is_installing(now) && self.pending.is_some();
        let default = giving.then_some((Origin::Default, &SCBK_DEFAULT));
        // What is known to have worked goes first, unless the reader is just being given another.
        let (first, second) = if self.is_installing(now) { (pending, current) } else { (current, pending) };
        first.into_iter().chain(second).chain(default)
    }

    /// What a reader with a session under `origin` is to be given.
    pub fn to_set(&self, now: Mono, origin: Origin) -> Option<&Scbk> {
        self.pending.as_ref().filter(|_| origin != Origin::Pending && self.is_installing(now))
    }

    /// The reader has it.
    pub fn take_pending(&mut self) -> Option<Scbk> {
        self.install_until = None;
        let taken = self.pending.take()?;
        self.current = Some(taken.clone());
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_default_key_is_a_candidate_only_while_installing() {
        let now = Mono::from_millis(1000);
        let origins = |ring: &KeyRing, now| ring.candidates(now).map(|(origin, _)| origin).collect::<Vec<_>>();
        let mut ring = KeyRing::of(Some([1; 16]));
        assert_eq!(origins(&ring, now), [Origin::Current]);
        ring.pending = Some(Scbk::new([2; 16]));
        assert_eq!(origins(&ring, now), [Origin::Current, Origin::Pending]);
        ring.install_until = Some(now + Duration::from_secs(60));
        assert_eq!(origins(&ring, now), [Origin::Pending, Origin::Current, Origin::Default]);
        assert!(ring.to_set(now, Origin::Default).is_some() && ring.to_set(now, Origin::Pending).is_none());
        let over = now + Duration::from_secs(60);
        assert_eq!(origins(&ring, over), [Origin::Current, Origin::Pending]);
        assert_eq!(ring.to_set(over, Origin::Current), None);
        assert_eq!(ring.take_pending(), Some(Scbk::new([2; 16])));
        assert_eq!(origins(&ring, now), [Origin::Current]);
        assert_eq!(ring.current, Some(Scbk::new([2; 16])));
        assert_eq!(KeyRing::default().candidates(now).count(), 0);
    }

    #[test]
    fn a_key_shows_itself_to_nobody() {
        assert_eq!(format!("{:?}", Scbk::new([7; 16])), "Scbk(..)");
    }
}
