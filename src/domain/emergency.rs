//! Emergency cards: for when the cloud is long gone. Owns which there are and how often each was used; must
//! never say that their time has come (that is `fallback`). Invariant: a use is counted in the step in which
//! it opens, and written with it.
//!
//! The count does not wait for the disk before the door opens: with a dead disk these cards are the last that
//! should fail. A power cut in the few milliseconds until the write is durable takes that one use back, and
//! its event with it; each further use of that kind costs another power cut at the right moment, and the time
//! that the node takes to start.
//!
//! Expiry is judged by the clock while it is trusted. Without trust a card has expired only if that is
//! certain: the time was trusted before, in this run or the cloud's last beat, and lies past it. In doubt it is
//! good, for doubt is what it was made for.

use std::collections::{BTreeMap, HashMap};

use super::{
    card_format::CardTokens,
    event::DenialReason,
    ids::Id,
    kept::{Kept, KeptKey},
    record::{EmergencyCard, Token},
    time::{ClockTrust, Mono, Now, Wall},
};

#[derive(Debug, Default)]
pub struct EmergencyCards {
    cards: BTreeMap<Id, EmergencyCard>,
    by_token: HashMap<Token, Id>,
    uses: BTreeMap<Id, u32>,
}

impl EmergencyCards {
    pub fn restore(&mut self, kept: &[Kept]) {
        self.uses.extend(kept.iter().filter_map(|kept| match kept {
            Kept::EmergencyUses { emergency_card, uses } => Some((emergency_card.clone(), *uses)),
            _ => None,
        }));
    }

    /// These and no others; the uses of those that are gone are forgotten.
    pub fn replace(&mut self, cards: &BTreeMap<Id, EmergencyCard>) -> Vec<KeptKey> {
        if self.cards == *cards {
            return Vec::new();
        }
        self.cards = cards.clone();
        self.by_token = cards.iter().map(|(id, card)| (card.token, id.clone())).collect();
        let mut gone = Vec::new();
        self.uses.retain(|id, _| {
            let stays = cards.contains_key(id);
            gone.extend((!stays).then(|| KeptKey::emergency_uses(id)));
            stays
        });
        gone
    }

    /// The set is gone: these instead. How often any was used stays counted, for the set may come back.
    pub fn stand_in(&mut self, cards: &BTreeMap<Id, EmergencyCard>) {
        self.cards = cards.clone();
        self.by_token = cards.iter().map(|(id, card)| (card.token, id.clone())).collect();
    }

    /// The emergency card that was presented.
    pub fn find(&self, presented: &CardTokens) -> Option<&Id> {
        presented.as_slice().iter().find_map(|token| self.by_token.get(token))
    }

    pub fn get(&self, id: &Id) -> Option<&EmergencyCard> {
        self.cards.get(id)
    }

    /// As somebody else counted them.
    pub fn count(&mut self, uses: &BTreeMap<Id, u32>) {
        self.uses.clone_from(uses);
    }

    /// Of each card that was used at all.
    pub fn counted(&self) -> &BTreeMap<Id, u32> {
        &self.uses
    }

    pub fn uses(&self, id: &Id) -> u32 {
        self.uses.get(id).copied().unwrap_or(0)
    }

    /// Whether it opens this door, its PIN apart. `time_has_come`: emergency cards are accepted here and now.
    pub fn judge(
        &self,
        id: &Id,
        door: &Id,
        time_has_come: bool,
        now: Now,
        certain: &CertainTime,
    ) -> Result<&EmergencyCard, DenialReason> {
        let card = self.cards.get(id).ok_or(DenialReason::UnknownCredential)?;
        let expired = card.expires_at.is_some_and(|at| at <= certain.no_earlier_than(now));
        let used_up = card.uses_max.is_some_and(|max| self.uses(id) >= max);
        if expired || used_up {
            Err(DenialReason::Expired)
        } else if card.doors.as_ref().is_some_and(|doors| !doors.contains(door)) {
            Err(DenialReason::NoRule)
        } else if !time_has_come {
            Err(DenialReason::NotYetActive)
        } else {
            Ok(card)
        }
    }

    /// It opens a door: the uses so far, this one included, and what is to be kept of it.
    pub fn used(&mut self, id: &Id) -> (u32, Kept) {
        let uses = self.uses.entry(id.clone()).or_default();
        *uses = uses.saturating_add(1);
        (*uses, Kept::EmergencyUses { emergency_card: id.clone(), uses: *uses })
    }
}

/// The last reading of the clock that was certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertainTime {
    mono: Mono,
    wall: Wall,
}

impl CertainTime {
    /// `past`: surely over, such as when the cloud's last beat was signed.
    pub fn new(now: Mono, past: Option<Wall>) -> CertainTime {
        CertainTime { mono: now, wall: past.unwrap_or(Wall::EPOCH) }
    }

    pub fn observe(&mut self, now: Now) {
        if now.trust == ClockTrust::Trusted {
            *self = CertainTime { mono: now.mono, wall: now.wall };
        }
    }

    /// It is not earlier than this.
    pub fn no_earlier_than(&self, now: Now) -> Wall {
        match now.trust {
            ClockTrust::Trusted => now.wall,
            ClockTrust::Untrusted => self.wall + now.mono.since(self.mono),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON: Wall = Wall::from_millis(1_790_000_000_000);

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn cards(json: serde_json::Value) -> BTreeMap<Id, EmergencyCard> {
        let mut card = serde_json::json!({ "token": Token([7; 32]).to_string() });
        card.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        BTreeMap::from([(id("red"), serde_json::from_value(card).unwrap())])
    }

    fn held(json: serde_json::Value) -> EmergencyCards {
        let mut held = EmergencyCards::default();
        held.replace(&cards(json));
        held
    }

    fn at(wall: Wall, trust: ClockTrust) -> Now {
        Now { mono: Mono::from_millis(1000), wall, trust }
    }

    fn judge(held: &EmergencyCards, door: &str, come: bool, now: Now, certain: &CertainTime) -> Option<DenialReason> {
        held.judge(&id("red"), &id(door), come, now, certain).err()
    }

    #[test]
    fn it_is_found_by_its_token_and_opens_its_doors_when_the_time_has_come() {
        let held = held(serde_json::json!({ "doors": ["front"] }));
        assert_eq!(held.find(&CardTokens::single(Token([7; 32]))), Some(&id("red")));
        assert_eq!(held.find(&CardTokens::single(Token([8; 32]))), None);
        let (now, certain) = (at(NOON, ClockTrust::Trusted), CertainTime::new(Mono::ZERO, None));
        assert_eq!(judge(&held, "front", true, now, &certain), None);
        assert_eq!(judge(&held, "front", false, now, &certain), Some(DenialReason::NotYetActive));
        assert_eq!(judge(&held, "back", true, now, &certain), Some(DenialReason::NoRule));
    }

    #[test]
    fn it_is_used_up_after_its_last_use_also_after_a_restart() {
        let limit = serde_json::json!({ "uses_max": 2 });
        let mut held = held(limit.clone());
        let (now, certain) = (at(NOON, ClockTrust::Trusted), CertainTime::new(Mono::ZERO, None));
        held.used(&id("red"));
        assert_eq!(judge(&held, "front", true, now, &certain), None);
        let (uses, kept) = held.used(&id("red"));
        assert_eq!((uses, judge(&held, "front", true, now, &certain)), (2, Some(DenialReason::Expired)));
        let mut after = EmergencyCards::default();
        after.restore(&[kept]);
        after.replace(&cards(limit));
        assert_eq!(judge(&after, "front", true, now, &certain), Some(DenialReason::Expired));
        assert_eq!(after.replace(&BTreeMap::new()), [KeptKey::emergency_uses(&id("red"))]);
        assert_eq!(after.uses(&id("red")), 0);
    }

    #[test]
    fn a_use_stays_counted_while_the_set_is_gone_and_when_it_is_back() {
        let limit = serde_json::json!({ "uses_max": 1 });
        let mut held = held(limit.clone());
        held.used(&id("red"));
        held.stand_in(&BTreeMap::new());
        assert_eq!(held.find(&CardTokens::single(Token([7; 32]))), None);
        held.replace(&cards(limit));
        let (now, certain) = (at(NOON, ClockTrust::Trusted), CertainTime::new(Mono::ZERO, None));
        assert_eq!(judge(&held, "front", true, now, &certain), Some(DenialReason::Expired));
    }

    #[test]
    fn without_a_trusted_clock_it_has_expired_only_if_that_is_certain() {
        let held = held(serde_json::json!({ "expires_at": NOON.to_string() }));
        let before = NOON.saturating_sub(Duration::from_secs(10));
        let unknown = CertainTime::new(Mono::ZERO, None);
        assert_eq!(judge(&held, "front", true, at(before, ClockTrust::Trusted), &unknown), None);
        assert_eq!(judge(&held, "front", true, at(NOON, ClockTrust::Trusted), &unknown), Some(DenialReason::Expired));
        let lies =
            |mono_s: u64| Now { mono: Mono::from_millis(mono_s * 1000), ..at(Wall::EPOCH, ClockTrust::Untrusted) };
        assert_eq!(judge(&held, "front", true, lies(1), &unknown), None, "who knows");
        assert_eq!(judge(&held, "front", true, at(Wall::MAX, ClockTrust::Untrusted), &unknown), None);
        let mut certain = CertainTime::new(Mono::ZERO, Some(before));
        assert_eq!(judge(&held, "front", true, lies(9), &certain), None);
        assert_eq!(judge(&held, "front", true, lies(10), &certain), Some(DenialReason::Expired));
        certain.observe(Now { mono: Mono::from_millis(20_000), ..at(NOON, ClockTrust::Trusted) });
        certain.observe(lies(21));
        assert_eq!(judge(&held, "front", true, lies(21), &certain), Some(DenialReason::Expired));
    }
}
