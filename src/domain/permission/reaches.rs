//! What a command reaches by way of records: the places of a partition, of a person, of an area. Owns the
//! way from names to doors; must never decide whose they are (that is `domain::operator`). Invariant: what
//! the set does not hold is `None`, and within no limited scope.

use super::Permissions;
use crate::domain::{
    ids::Id,
    operator::{Field, Reaches, Scope, of_partition},
    topology::ReaderAt,
};

impl Reaches for Permissions {
    fn partition(&self, partition: &Id) -> Option<Scope> {
        self.site.partitions.get(partition).map(of_partition)
    }

    /// The places of every rule that names them or one of their groups, the compartments of their contracts, and what
    /// they set off: as far as whoever edits them has to reach.
    fn person(&self, person: &Id) -> Option<Scope> {
        let at = self.people.persons.find(person)?;
        let groups = self.people.persons.cell(at).map(|cell| &*cell.groups).unwrap_or_default();
        let topology = self.places.topology();
        let mut scope = Scope::nothing();
        for body in self.rule_bodies.values() {
            if body.persons.contains(&at) || body.groups.iter().any(|group| groups.contains(group)) {
                scope.add_doors(body.doors.iter().filter_map(|door| topology.door_id(*door)));
                let cabs = body.floors.iter().filter_map(|(cab, _)| topology.floor_groups.get(usize::from(*cab)));
                cabs.for_each(|cab| scope.add_floor_group(&cab.id));
            }
        }
        let contracts = self.site.locker_contracts.values().filter(|contract| contract.person.as_ref() == Some(person));
        contracts.for_each(|contract| scope.add_doors([&contract.locker]));
        let member = |group: &Id| self.is_member(person, group);
        scope.add(Field { site: &self.site, topology }.set_off_as(|named| named == person, member));
        Some(scope)
    }

    fn partitions_of(&self, person: &Id) -> Vec<Id> {
        Permissions::partitions_of(self, person).unwrap_or_default().to_vec()
    }

    fn area(&self, area: &Id) -> Option<Scope> {
        let area = self.site.areas.get(area)?;
        let topology = self.places.topology();
        let mut scope = Scope::nothing();
        for reader in area.entry_readers.iter().chain(&area.exit_readers) {
            match topology.readers.iter().find(|(id, _)| id == reader).map(|(_, at)| at) {
                Some(ReaderAt::Door(door)) => scope.add_doors(topology.door_id(*door)),
                Some(ReaderAt::Cab(cab)) => {
                    let group = topology.floor_groups.get(usize::from(*cab));
                    group.into_iter().for_each(|group| scope.add_floor_group(&group.id));
                }
                Some(ReaderAt::Cabinet(_)) => scope.add(Scope::Everything),
                // Of another node.
                None => {}
            }
        }
        Some(scope)
    }
}
