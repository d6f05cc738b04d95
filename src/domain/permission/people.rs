//! Cardholders, their groups and their credentials, as tables that share structure. Owns the way from a
//! token to a person; must never hold a rule. Invariant: of a set in force, every number in a cell is the
//! place of something that is defined, and what lies beside a credential is what the set says of its holder.
//!
//! A decision in a large set costs what its cache misses cost. So the token leads straight to a cache line with the
//! credential and a copy of what there is of its holder: one miss where place by place there would be three. PINs and
//! exact dates, which few decisions ask for, lie elsewhere. The price is paid by edits: who edits a person
//! edits the copies beside their credentials.

use std::{iter, sync::Arc};

use super::{
    cells::{GroupCell, Groups, Holding, Life, Mark, PersonCell, Pins, hash},
    shared::{Chunks, Hash, Index, Table},
};
use crate::domain::{
    card_format::CardTokens,
    ids::Id,
    record::{self, Token},
    time::{ClockTrust, Now},
};

#[derive(Clone, Debug, Default)]
pub(super) struct People {
    pub(super) groups: Table<GroupCell>,
    /// Credentials and rules refer to them.
    pub(super) persons: Table<PersonCell>,
    pub(super) credentials: Table<Carried>,
    holdings: Index<Holding>,
    /// By the place of the person: the first of their credentials.
    first: Chunks<Option<u32>>,
    /// By the places of persons and of credentials, and so is what follows; what the cell does not speak of is left
    /// over from before.
    person_lives: Chunks<Life>,
    credential_lives: Chunks<Life>,
    pins: Chunks<Pins>,
    /// By the place of the person; nothing for most.
    partitions: Chunks<Option<Arc<[Id]>>>,
}

/// Where a credential's holding is to be found, and whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    hash: Hash,
    pub(super) person: u32,
    /// Of the same person.
    next: Option<u32>,
}

/// What a decision has to know of somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) person: u32,
    pub(super) groups: Groups<'a>,
    pub(super) life: Life,
    pub(super) extended: bool,
    pub(super) apb_exempt: bool,
}

impl People {
    /// Who holds this token, by all of its 32 bytes.
    #[inline]
    pub(super) fn holding(&self, token: &Token) -> Option<&Holding> {
        self.holdings.find(hash(token), |held| held.token == *token)
    }

    /// Has the processor ask the memory for what a card stands for, without waiting for it.
    #[inline]
    pub(super) fn fetch(&self, card: &CardTokens) {
        for token in card.as_slice() {
            std::hint::black_box(self.holdings.nearest(hash(token)).map(|held| held.state));
        }
    }

    pub(super) fn credential(&self, at: u32) -> Option<&Holding> {
        let hash = self.credentials.cell(at)?.hash;
        self.holdings.find(hash, |held| held.credential == at)
    }

    /// The credentials with this token: of a set in force, one at most.
    pub(super) fn holders(&self, token: &Token) -> impl Iterator<Item = u32> {
        self.holdings.candidates(hash(token)).filter(|held| held.token == *token).map(|held| held.credential)
    }

    #[inline]
    pub(super) fn holder_of<'a>(&'a self, held: &Holding, life: Life) -> Holder<'a> {
        Holder {
            person: held.person,
            groups: held.groups(|| self.persons.cell(held.person).map(|cell| &*cell.groups).unwrap_or_default()),
            life,
            extended: held.is(Mark::Extended),
            apb_exempt: held.is(Mark::ApbExempt),
        }
    }

    pub(super) fn holder<'a>(&'a self, person: u32, cell: &'a PersonCell) -> Holder<'a> {
        Holder {
            person,
            groups: Groups::Far(&cell.groups),
            life: self.life_of_person(person, cell.dated),
            extended: cell.extended,
            apb_exempt: cell.apb_exempt,
        }
    }

    /// The credential's dates and its holder's, in what counts at this instant.
    #[inline]
    pub(super) fn lives(&self, held: &Holding, now: Now) -> [Life; 2] {
        if now.trust == ClockTrust::Trusted && held.is_surely_valid(now.wall) {
            return [Life::OPEN; 2];
        }
        [self.life_of_credential(held), self.life_of_person(held.person, held.is(Mark::HolderDated))]
    }

    fn life_of_person(&self, person: u32, dated: bool) -> Life {
        life(&self.person_lives, person, dated)
    }

    pub(super) fn life_of_credential(&self, held: &Holding) -> Life {
        life(&self.credential_lives, held.credential, held.is(Mark::Dated))
    }

    /// Defines a person, or defines them anew: their place, and the cell that they had. What lies beside their
    /// credentials is to be copied anew.
    pub(super) fn put_person(&mut self, id: &Id, cell: PersonCell, life: Life) -> (u32, Option<PersonCell>) {
        let (at, before) = self.persons.define(id, cell);
        if life.is_limited() {
            self.person_lives.put(at, life);
        }
        (at, before)
    }

    /// Defines a credential, or defines it anew: its place, and the person who had it. What lies beside it is to be
    /// copied.
    pub(super) fn put_credential(&mut self, id: &Id, person: u32, body: &record::Credential) -> (u32, Option<u32>) {
        let hash = hash(&body.token);
        let (at, before) = self.credentials.define(id, Carried { hash, person, next: None });
        if let Some(before) = &before {
            self.take_back(at, before);
        }
        let next = self.first_of(person);
        if let Some(carried) = self.credentials.cell_mut(at) {
            carried.next = next;
        }
        self.first.put(person, Some(at));
        let life = Life::new(body.active_from, body.expires_at);
        if life.is_limited() {
            self.credential_lives.put(at, life);
        }
        self.holdings.insert(Holding::new((at, person), body));
        (at, before.map(|before| before.person))
    }

    /// Copies what there is of a credential's holder to the place beside it.
    pub(super) fn copy_holder(&mut self, credential: u32) {
        let Some(Carried { hash, person, .. }) = self.credentials.cell(credential).copied() else { return };
        let Some(cell) = self.persons.cell(person) else { return };
        let holder_life = self.life_of_person(person, cell.dated);
        if let Some(held) = self.holdings.find_mut(hash, |held| held.credential == credential) {
            let life = life(&self.credential_lives, credential, held.is(Mark::Dated));
            held.set_holder(cell, [life, holder_life]);
        }
    }

    /// To all of a person's credentials.
    pub(super) fn copy_holder_of_all(&mut self, person: u32) {
        let mut next = self.first_of(person);
        while let Some(at) = next {
            self.copy_holder(at);
            next = self.credentials.cell(at).and_then(|carried| carried.next);
        }
    }

    /// To every credential that there is.
    pub(super) fn copy_all_holders(&mut self) {
        let People { persons, holdings, person_lives, credential_lives, .. } = self;
        holdings.each_mut(|held| {
            let Some(cell) = persons.cell(held.person) else { return };
            let lives = [
                life(credential_lives, held.credential, held.is(Mark::Dated)),
                life(person_lives, held.person, cell.dated),
            ];
            held.set_holder(cell, lives);
        });
    }

    /// The person who had it.
    pub(super) fn delete_credential(&mut self, id: &Id) -> Option<u32> {
        let (at, before) = self.credentials.undefine(id)?;
        self.take_back(at, &before);
        self.credentials.let_go(at);
        Some(before.person)
    }

    /// From the person who carried it.
    fn take_back(&mut self, at: u32, before: &Carried) {
        self.holdings.remove(before.hash, |held| held.credential == at);
        if self.first_of(before.person) == Some(at) {
            self.first.put(before.person, before.next);
            return;
        }
        let credentials = &self.credentials;
        let next = |at: &u32| credentials.cell(*at)?.next;
        let previous = iter::successors(self.first_of(before.person), next).find(|other| next(other) == Some(at));
        if let Some(previous) = previous.and_then(|previous| self.credentials.cell_mut(previous)) {
            previous.next = before.next;
        }
    }

    fn first_of(&self, person: u32) -> Option<u32> {
        self.first.get(person).copied().flatten()
    }

    /// Both are compared whole: how long it takes tells nothing.
    pub(super) fn compare_pin(&self, held: &Holding, pin: &Token) -> (bool, bool) {
        let Some(pins) = self.pins.get(held.person) else { return (false, false) };
        let (right, duress) = (pins.right.matches(pin), pins.duress.matches(pin));
        (held.is(Mark::HasPin) & right, held.is(Mark::HasDuressPin) & duress)
    }

    /// What is not there any more is left in place: the cell says so.
    pub(super) fn set_pins(&mut self, person: u32, pin: Option<Token>, duress_pin: Option<Token>) {
        let none = Token([0; 32]);
        if pin.is_some() || duress_pin.is_some() {
            self.pins.put(person, Pins { right: pin.unwrap_or(none), duress: duress_pin.unwrap_or(none) });
        }
    }

    pub(super) fn partitions(&self, person: u32) -> &[Id] {
        self.partitions.get(person).and_then(Option::as_deref).unwrap_or_default()
    }

    pub(super) fn set_partitions(&mut self, person: u32, partitions: &[Id]) {
        if self.partitions(person) != partitions {
            self.partitions.put(person, (!partitions.is_empty()).then(|| partitions.into()));
        }
    }
}

/// Dates that are not there would be over.
fn life(lives: &Chunks<Life>, at: u32, dated: bool) -> Life {
    if dated { lives.get(at).copied().unwrap_or(Life::NEVER) } else { Life::OPEN }
}
