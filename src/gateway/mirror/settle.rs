//! What of the overlay stands over a new set. Owns the search for the edits that do not fit; must never let
//! an edit hold a set up, nor drop one without telling. Invariant: the cloud's records with what is kept of
//! the edits compile; an edit that is not kept is told, and what it takes away is kept where it can be.
//!
//! ```text
//! absorbed edits out -> merged over the set -> compiles? yes: done
//!                                                 | no
//!                       does the set alone compile? no: the set is refused, with its own reasons
//!                                                 | yes
//!                       halves, in the order of the edits, down to the ones at fault;
//!                       of each of those only what it takes away, or nothing
//! ```

use std::collections::BTreeSet;

use super::{
    Mirror, SecondCopy,
    gather::{Changed, Gather, Understood},
    merge,
    overlay::{Edit, Layer, OverlayChange},
    table::{Changes, Meta, TableError, View, parse_key},
};
use crate::{
    domain::{
        event::{ConflictedEdit, EditFate},
        ids::Id,
    },
    gateway::kv::Kv,
};

/// Record visits that one search may cost: what has not been placed by then is set aside as a whole, but
/// for what it takes away.
const VISITS_MAX: u64 = 20_000_000;
/// However large the set is, so many sets may be compiled in one search: enough for one edit in 4096.
const TRIALS_MIN: u64 = 32;

/// A set that compiled, and the edits over it.
pub struct Settled {
    pub understood: Understood,
    pub layer: Changes,
    /// What of the overlay has changed; nothing if nothing has.
    pub change: Option<OverlayChange>,
    pub absorbed: u64,
    pub conflicts: Vec<ConflictedEdit>,
    /// Every edit that stands against the set, also those that were told before.
    pub disputed: BTreeSet<u64>,
}

pub enum Unsettled {
    /// The set alone does not compile.
    Refused(Vec<String>),
    Store(TableError),
}

impl From<TableError> for Unsettled {
    fn from(error: TableError) -> Unsettled {
        Unsettled::Store(error)
    }
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    /// `changes` are the set's, `meta` is of the set once they are made.
    pub(super) fn settle(&self, changes: &Changes, meta: &Meta, absorbs: &[Id]) -> Result<Settled, Unsettled> {
        let absorbed = self.overlay.absorbed(absorbs);
        let standing: Vec<Edit> =
            self.overlay.edits().filter(|edit| !absorbed.contains(&edit.revision)).cloned().collect();
        let set = View::changed(changes);
        let mut search = Search { mirror: self, set, meta, trials: 0, kept: Vec::new(), conflicts: Vec::new() };
        let merged = search.layer(&standing)?;
        let (understood, layer) = match search.compile(&merged)? {
            Ok(understood) => {
                search.keep(standing, &merged);
                (understood, merged)
            }
            Err(_) => {
                let records = search.compile(&Layer::default())?.map_err(Unsettled::Refused)?.records;
                search.trials = (VISITS_MAX / records.max(1)).max(TRIALS_MIN);
                search.place(standing)?;
                search.finish()?
            }
        };
        let disputed: BTreeSet<u64> = layer.disputed.iter().map(|(revision, _)| *revision).collect();
        for (revision, members) in layer.disputed.iter().filter(|(revision, _)| !self.disputed.contains(revision)) {
            if let Some(edit) = search.kept.iter().find(|edit| edit.revision == *revision).cloned() {
                search.tell(&edit, EditFate::Disputed, format!("the cloud has changed {} too", members.join(", ")));
            }
        }
        let Search { kept, conflicts, .. } = search;
        Ok(Settled {
            understood,
            change: self.overlay_change(&kept),
            layer: layer.changes,
            absorbed: absorbed.len() as u64,
            conflicts,
            disputed,
        })
    }

    fn overlay_change(&self, kept: &[Edit]) -> Option<OverlayChange> {
        let stays: BTreeSet<u64> = kept.iter().map(|edit| edit.revision).collect();
        let gone: Vec<u64> =
            self.overlay.edits().map(|edit| edit.revision).filter(|revision| !stays.contains(revision)).collect();
        let put: Vec<Edit> =
            kept.iter().filter(|edit| !self.overlay.edits().any(|held| held == *edit)).cloned().collect();
        let revision = self.overlay.revision() + 1;
        (!gone.is_empty() || !put.is_empty()).then_some(OverlayChange { revision, put, gone })
    }

    /// The records of the view, compiled: the one place where a set, with edits or without, becomes permissions.
    /// From what is in force, if anything is, at the cost of what differs; else whole.
    pub(super) fn compile(&self, view: View<'_>, meta: &Meta) -> Result<Result<Understood, Vec<String>>, TableError> {
        let Some(before) = self.held.as_ref().and_then(|held| held.understood.as_ref()) else {
            let mut gather = Gather::new(&self.config.topology, &self.config.zone);
            self.table.rows(view, |row| gather.add(row))?;
            return Ok(gather.finish(&meta.critical, meta.version()));
        };
        let in_force = View::STORED.with_layer(&self.layer);
        let touched: BTreeSet<&Vec<u8>> = view.keys().chain(self.layer.keys()).collect();
        let mut differ = Vec::with_capacity(touched.len());
        for key in touched {
            let Some((_, kind, id)) = parse_key(key) else { continue };
            let (was, is) = (self.table.body(kind, id, in_force)?, self.table.body(kind, id, view)?);
            if was != is {
                differ.push((kind, id, was.is_some(), is));
            }
        }
        let changes = differ.iter().map(|(kind, id, was_there, body)| Changed {
            kind,
            id,
            was_there: *was_there,
            body: body.as_deref(),
        });
        Ok(before.apply(changes, &meta.critical, meta.version()))
    }
}

struct Search<'a, K, C> {
    mirror: &'a Mirror<K, C>,
    set: View<'a>,
    meta: &'a Meta,
    /// Sets that may still be compiled.
    trials: u64,
    kept: Vec<Edit>,
    conflicts: Vec<ConflictedEdit>,
}

impl<K: Kv, C: SecondCopy> Search<'_, K, C> {
    fn layer(&self, edits: &[Edit]) -> Result<Layer, TableError> {
        Layer::of(edits, |kind, id| self.mirror.table.body(kind, id, self.set))
    }

    fn compile(&self, layer: &Layer) -> Result<Result<Understood, Vec<String>>, TableError> {
        self.mirror.compile(self.set.with_layer(&layer.changes), self.meta)
    }

    /// These edits fit, but for those of them that came to nothing.
    fn keep(&mut self, edits: Vec<Edit>, merged: &Layer) {
        for edit in edits {
            match merged.overtaken.iter().find(|(revision, _)| *revision == edit.revision) {
                Some((_, why)) => self.tell(&edit, EditFate::SetAside, (*why).to_owned()),
                None => self.kept.push(edit),
            }
        }
    }

    /// Keeps of these edits, which come after all that is kept already, as many as fit.
    fn place(&mut self, mut edits: Vec<Edit>) -> Result<(), TableError> {
        if edits.is_empty() {
            return Ok(());
        }
        if self.trials == 0 {
            return self.give_up(edits);
        }
        self.trials -= 1;
        let merged = self.layer(&[self.kept.as_slice(), &edits].concat())?;
        match self.compile(&merged)? {
            Ok(_) => self.keep(edits, &merged),
            Err(reasons) if edits.len() == 1 => {
                for edit in edits {
                    self.place_reduced(edit, first(&reasons))?;
                }
            }
            Err(_) => {
                let second = edits.split_off(edits.len() / 2);
                self.place(edits)?;
                self.place(second)?;
            }
        }
        Ok(())
    }

    fn place_reduced(&mut self, edit: Edit, reason: String) -> Result<(), TableError> {
        if let Some(reduced) = self.reduced(&edit)? {
            self.trials = self.trials.saturating_sub(1);
            self.kept.push(reduced);
            let merged = self.layer(&self.kept)?;
            if self.compile(&merged)?.is_ok() {
                self.tell(&edit, EditFate::Reduced, reason);
                return Ok(());
            }
            self.kept.pop();
        }
        self.tell(&edit, EditFate::SetAside, reason);
        Ok(())
    }

    fn reduced(&self, edit: &Edit) -> Result<Option<Edit>, TableError> {
        let layer = self.layer(&self.kept)?;
        let (table, view) = (&self.mirror.table, self.set.with_layer(&layer.changes));
        let body = table.body(&edit.kind, &edit.id, view)?;
        let current = body.and_then(|body| serde_json::from_slice(&body).ok());
        merge::reduce(edit, current, |kind, id| Ok(table.body(kind, id, view)?.is_some()))
    }

    /// No trial is left: what only takes away goes in together, the rest is set aside.
    fn give_up(&mut self, edits: Vec<Edit>) -> Result<(), TableError> {
        let placed = self.kept.len();
        let mut fates = Vec::with_capacity(edits.len());
        for edit in edits {
            let deletes = edit.after.is_none();
            let reduced = if deletes { Some(edit.clone()) } else { self.reduced(&edit)? };
            fates.push((edit, reduced.is_some(), deletes));
            self.kept.extend(reduced);
        }
        let merged = self.layer(&self.kept)?;
        let fits = self.compile(&merged)?.is_ok();
        if !fits {
            self.kept.truncate(placed);
        }
        let why = "too many edits did not fit the set to look for each of them";
        for (edit, kept, deletes) in fates {
            match (fits && kept, deletes) {
                (true, true) => {}
                (true, false) => self.tell(&edit, EditFate::Reduced, why.to_owned()),
                (false, _) => self.tell(&edit, EditFate::SetAside, why.to_owned()),
            }
        }
        Ok(())
    }

    /// What was found to fit, compiled.
    fn finish(&mut self) -> Result<(Understood, Layer), Unsettled> {
        let layer = self.layer(&self.kept)?;
        match self.compile(&layer)? {
            Ok(understood) => Ok((understood, layer)),
            // The search ends on what compiled; were it not so, the set must be taken all the same.
            Err(reasons) => {
                for edit in std::mem::take(&mut self.kept) {
                    self.tell(&edit, EditFate::SetAside, first(&reasons));
                }
                let bare = self.compile(&Layer::default())?.map_err(Unsettled::Refused)?;
                Ok((bare, Layer::default()))
            }
        }
    }

    fn tell(&mut self, edit: &Edit, fate: EditFate, reason: String) {
        let Edit { jti, operator, kind, id, .. } = edit.clone();
        self.conflicts.push(ConflictedEdit { jti, operator, kind, id, fate, reason });
    }
}

fn first(reasons: &[String]) -> String {
    reasons.first().cloned().unwrap_or_default()
}
