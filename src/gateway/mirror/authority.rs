//! Who may edit and see which record, as the set in force has it at this moment. Owns the directory of
//! records and the reading of people for it; must never decide by what it could not read. Invariant: an edit
//! is judged on the very records that it is then compiled with.

use std::cell::RefCell;

use super::{
    Mirror, SecondCopy,
    gather::understand,
    table::{Table, TableError, View, parse_key},
};
use crate::{
    domain::{
        event::Refusal,
        ids::Id,
        operator::{Authority, Directory, People, RecordEdit, Refused, World, Worlds},
        permission::Permissions,
        record::{Person, Record},
        time::Now,
    },
    gateway::kv::Kv,
};

/// People out of the store. What cannot be read is noticed, so that nothing is allowed by mistake.
pub(super) struct StoredPeople<'a, K> {
    table: &'a Table<K>,
    view: View<'a>,
    /// The same people, as they are in force.
    in_force: Option<&'a Permissions>,
    problem: RefCell<Option<TableError>>,
}

impl<'a, K: Kv> StoredPeople<'a, K> {
    pub(super) fn new(table: &'a Table<K>, view: View<'a>, in_force: Option<&'a Permissions>) -> Self {
        StoredPeople { table, view, in_force, problem: RefCell::new(None) }
    }

    /// Whether everything that was asked for could be read.
    pub(super) fn check(self) -> Result<(), TableError> {
        self.problem.into_inner().map_or(Ok(()), Err)
    }
}

impl<K: Kv> People for StoredPeople<'_, K> {
    fn person(&self, id: &Id) -> Option<Person> {
        let damaged = |error: serde_json::Error| TableError::Damaged(format!("person/{id}: {error}"));
        let read = self.table.body("person", id, self.view);
        let person = read.and_then(|body| body.map(|body| serde_json::from_slice(&body).map_err(damaged)).transpose());
        person.unwrap_or_else(|error| {
            *self.problem.borrow_mut() = Some(error);
            None
        })
    }

    fn share_a_member(&self, these: &[Id], those: &[Id]) -> bool {
        self.in_force.is_none_or(|permissions| permissions.share_a_member(these, those))
    }
}

/// A stored body as a record; of a set in force every known kind is one.
pub(super) fn record(kind: &str, id: &str, body: &[u8]) -> Result<Option<Record>, TableError> {
    let damaged = |error: serde_json::Error| TableError::Damaged(format!("{kind}/{id}: {error}"));
    understand(kind, body).transpose().map_err(damaged)
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    /// Makes the directory if there is none.
    pub(super) fn look_up(&mut self) -> Result<(), TableError> {
        if self.directory.is_some() {
            return Ok(());
        }
        let mut directory = Directory::default();
        let mut problem = None;
        self.table.rows(View::STORED.with_layer(&self.layer), |row| {
            if !Directory::keeps(row.kind) {
                return;
            }
            match (Id::new(row.id), record(row.kind, row.id, row.body)) {
                (Ok(id), Ok(Some(record))) => directory.put(&id, record),
                (_, Err(error)) => problem = Some(error),
                _ => {}
            }
        })?;
        match problem {
            Some(error) => Err(error),
            None => {
                self.directory = Some(directory);
                Ok(())
            }
        }
    }

    /// These records are not what they were.
    pub(super) fn update_directory<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k Vec<u8>>,
    ) -> Result<(), TableError> {
        let Some(directory) = &mut self.directory else { return Ok(()) };
        let view = View::STORED.with_layer(&self.layer);
        for key in keys {
            let Some((_, kind, id)) = parse_key(key).filter(|(_, kind, _)| Directory::keeps(kind)) else { continue };
            let Ok(name) = Id::new(id) else { continue };
            let found = self.table.body(kind, id, view)?.map(|body| record(kind, id, &body)).transpose()?.flatten();
            match found {
                Some(record) => directory.put(&name, record),
                None => directory.remove(kind, &name),
            }
        }
        Ok(())
    }

    pub(super) fn permissions_in_force(&self) -> Option<&Permissions> {
        let understood = self.held.as_ref().and_then(|held| held.understood.as_ref());
        understood.map(|understood| &*understood.permissions)
    }

    /// The operator as they stand; refused where there is none.
    pub(super) fn authority(&self, directory: &Directory, operator: &Id) -> Result<Authority, Refused> {
        let unknown = || (Refusal::UnknownOperator, format!("{operator} is no operator of this node"));
        let record = directory.operators.get(operator).ok_or_else(unknown)?;
        let role = |name: &str| directory.roles.get(name).cloned();
        Authority::compile(record, role, &directory.places()).map_err(|why| (Refusal::Forbidden, why))
    }

    /// Whether this operator may make this edit. The inner error is a refusal.
    pub(super) fn judge_authority(
        &self,
        now: Now,
        directory: &Directory,
        operator: &Id,
        edit: &RecordEdit<'_>,
    ) -> Result<Result<(), Refused>, TableError> {
        let authority = match self.authority(directory, operator) {
            Ok(authority) => authority,
            Err(refused) => return Ok(Err(refused)),
        };
        let people = StoredPeople::new(&self.table, View::STORED.with_layer(&self.layer), self.permissions_in_force());
        let before = World { directory, people: &people, topology: &self.config.topology };
        let verdict = if Directory::keeps(edit.kind) {
            let mut after = directory.clone();
            match edit.new {
                Some(new) => after.put(edit.id, new.clone()),
                None => after.remove(edit.kind, edit.id),
            }
            let after = World { directory: &after, ..before };
            edit.authorise(operator, &authority, &Worlds { before, after }, now)
        } else {
            edit.authorise(operator, &authority, &Worlds { before, after: before }, now)
        };
        people.check()?;
        Ok(verdict)
    }
}
