//! What the records mean at a door and in the cab. Owns the question to the naive model; must never look at what was told. Invariant:
//! there is more than one answer only where what lies over the door is not known for sure.

use latchd::domain::{
    event::DenialReason,
    ids::Id,
    permission::Decision,
    record::{DoorPolicy, Record, Token},
};

use super::{Ask, PeopleWatch, Scene, Waiting, spot::Spot, told::Said};
use crate::world::{
    oracle::{
        interlock::Others,
        reference::{Asked, Reference},
    },
    set::names::zone,
};

impl PeopleWatch {
    /// All that may be said: more than one only where what lies over the door is not known for sure.
    pub(super) fn answers(&self, scene: &Scene<'_>, at: Spot, tokens: &[Token], ask: Ask<'_>) -> Vec<Said> {
        let lift = scene.site.lift_place();
        let naive = match scene.generation {
            Some(generation) => {
                let naive = Reference { records: &generation.records, zone: &zone() };
                let place = at.place(scene.site, &lift);
                let restriction = self.regime(scene, at).restriction;
                let asked = Asked { place, now: scene.now, pin: None, companion: None, restriction };
                match ask {
                    Ask::Card { pin, companion } => naive.answer(tokens, true, &Asked { pin, companion, ..asked }),
                    Ask::Holder(person) => naive.decide_person(person, &asked),
                }
            }
            None => {
                let reason = DenialReason::StalePermissions;
                Decision::Denied { reason, person: None, credential: None, rule: None, wants: None, duress: false }
            }
        };
        let naive = Said::of(naive, &lift);
        let with = |mode: Option<DenialReason>| mode.map_or(naive.clone(), |reason| naive.clone().with(reason));
        self.modes(scene, at).into_iter().map(with).collect()
    }

    pub(super) fn modes(&self, scene: &Scene<'_>, at: Spot) -> Vec<Option<DenialReason>> {
        let Spot::Door(door) = at else { return scene.cab.to_vec() };
        let (others, held, unsure) = scene.modes.get(door).copied().unwrap_or((Others::Shut, None, false));
        let mut modes = match (others, unsure) {
            (Others::Open, _) => return vec![Some(DenialReason::Interlock)],
            // While an order to take it away is under way nobody knows.
            (_, true) => {
                let over = [DenialReason::Forced, DenialReason::Dnd, DenialReason::LockedDown];
                std::iter::once(None).chain(over.map(Some)).collect()
            }
            (_, false) => vec![held],
        };
        if others == Others::Doubtful {
            modes.push(Some(DenialReason::Interlock));
        }
        modes
    }

    pub(super) fn is_unsure(&self, scene: &Scene<'_>, at: Spot) -> bool {
        self.modes(scene, at).len() > 1
    }

    /// What both are told if together they may pass.
    pub(super) fn pair(
        &self,
        scene: &Scene<'_>,
        at: Spot,
        waiting: &Waiting,
        tokens: &[Token],
    ) -> Option<(Vec<Said>, Vec<Said>)> {
        let with = |one: &[Token], other: &[Token]| {
            let answers = self.answers(scene, at, one, Ask::Card { pin: None, companion: Some(other) });
            let together = |said: &Said| said.reason.is_none() && said.companion;
            answers.iter().any(together).then(|| answers.into_iter().filter(together).collect::<Vec<Said>>())
        };
        let second = with(tokens, &waiting.tokens)?;
        Some((with(&waiting.tokens, tokens)?, second))
    }
}

/// The policy that speaks there, or the defaults.
pub(in crate::world::oracle) fn policy(scene: &Scene<'_>, at: Spot) -> DoorPolicy {
    let place = at.id(scene.site);
    let records = scene.generation.map_or(&[][..], |generation| generation.records.as_slice());
    let speaks = |(_, record): &(Id, Record)| match record {
        Record::DoorPolicy(body) if body.doors.contains(place) => Some(body.clone()),
        _ => None,
    };
    records.iter().find_map(speaks).unwrap_or_default()
}
