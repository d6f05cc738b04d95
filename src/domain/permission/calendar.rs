//! The schedules and holidays of a set. Owns what must be compiled anew when one of them changes; must never
//! know what a schedule is for. Invariant: a schedule that is without fault was compiled with the holidays
//! that the calendar holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::domain::{
    ids::Id,
    record,
    schedule::{Holiday, Schedule},
};

/// What a rule's cell has room for.
const SCHEDULES_MAX: usize = u16::MAX as usize;

#[derive(Clone, Debug, Default)]
pub(super) struct Calendar {
    schedules: BTreeMap<Id, Entry>,
    holidays: BTreeMap<Id, Arc<Holiday>>,
}

#[derive(Clone, Debug)]
struct Entry {
    record: Arc<record::Schedule>,
    compiled: Arc<Schedule>,
}

/// What was put in or taken out since [`Calendar::refresh`] was called last.
#[derive(Debug, Default)]
pub(super) struct Touched {
    schedules: BTreeSet<Id>,
    holidays: BTreeSet<Id>,
}

impl Touched {
    pub(super) fn any(&self) -> bool {
        !self.schedules.is_empty() || !self.holidays.is_empty()
    }
}

impl Calendar {
    /// By id, in order.
    pub(super) fn schedules(&self) -> impl Iterator<Item = (&Id, &Arc<Schedule>)> {
        self.schedules.iter().map(|(id, entry)| (id, &entry.compiled))
    }

    pub(super) fn schedule(&self, id: &str) -> Option<&Arc<Schedule>> {
        self.schedules.get(id).map(|entry| &entry.compiled)
    }

    pub(super) fn holiday(&self, id: &str) -> Option<&Arc<Holiday>> {
        self.holidays.get(id)
    }

    /// False if it replaces one.
    pub(super) fn put_schedule(&mut self, id: &Id, record: record::Schedule, touched: &mut Touched) -> bool {
        touched.schedules.insert(id.clone());
        let entry = Entry { record: Arc::new(record), compiled: Arc::default() };
        self.schedules.insert(id.clone(), entry).is_none()
    }

    pub(super) fn put_holiday(&mut self, id: &Id, record: &record::Holiday, touched: &mut Touched) -> bool {
        touched.holidays.insert(id.clone());
        self.holidays.insert(id.clone(), Arc::new(Holiday::compile(record))).is_none()
    }

    pub(super) fn delete_schedule(&mut self, id: &Id, touched: &mut Touched) {
        if self.schedules.remove(id).is_some() {
            touched.schedules.insert(id.clone());
        }
    }

    pub(super) fn delete_holiday(&mut self, id: &Id, touched: &mut Touched) {
        if self.holidays.remove(id).is_some() {
            touched.holidays.insert(id.clone());
        }
    }

    /// Compiles what was touched and what names it. False if something is wrong: see [`Calendar::check`].
    pub(super) fn refresh(&mut self, touched: &Touched) -> bool {
        let mut sound = self.schedules.len() <= SCHEDULES_MAX;
        let holidays = &self.holidays;
        for (id, entry) in &mut self.schedules {
            let named = || entry.record.holidays.iter().any(|named| touched.holidays.contains(&named.holiday));
            if touched.schedules.contains(id) || named() {
                let holiday = |id: &str| holidays.get(id).cloned();
                entry.compiled = Arc::new(Schedule::compile(&entry.record, holiday, &mut |_| sound = false));
            }
        }
        sound
    }

    /// All that is wrong, by schedule in order.
    pub(super) fn check(&self, fault: &mut dyn FnMut(String)) {
        for (number, (id, entry)) in self.schedules.iter().enumerate() {
            let holiday = |id: &str| self.holidays.get(id).cloned();
            Schedule::compile(&entry.record, holiday, &mut |what| fault(format!("schedule {id}: {what}")));
            if number >= SCHEDULES_MAX {
                fault(format!("schedule {id}: a node holds at most {SCHEDULES_MAX} schedules"));
            }
        }
    }
}
