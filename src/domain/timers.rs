//! Named timers of one machine: one slot for each name, no heap, no ids to lose. Owns instants; must
//! never read a clock. Invariant: a name has at most one deadline, and setting it replaces the old one.

use std::marker::PhantomData;

use super::time::Mono;

/// A fieldless enum whose variants number the slots of a [`Timers`].
pub trait TimerName: Copy {
    /// Position of the slot, below the `N` of the table.
    fn slot(self) -> usize;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers<T, const N: usize> {
    at: [Option<Mono>; N],
    name: PhantomData<T>,
}

impl<T: TimerName, const N: usize> Default for Timers<T, N> {
    fn default() -> Timers<T, N> {
        Timers { at: [None; N], name: PhantomData }
    }
}

impl<T: TimerName, const N: usize> Timers<T, N> {
    /// Sets the deadline of `name`, or stops it.
    pub fn set(&mut self, name: T, at: Option<Mono>) {
        if let Some(slot) = self.at.get_mut(name.slot()) {
            *slot = at;
        }
    }

    pub fn stop(&mut self, name: T) {
        self.set(name, None);
    }

    pub fn at(&self, name: T) -> Option<Mono> {
        self.at.get(name.slot()).copied().flatten()
    }

    /// Whether `name` is due at `now`; if so it is stopped.
    pub fn take_due(&mut self, name: T, now: Mono) -> bool {
        let due = self.at(name).is_some_and(|at| at <= now);
        if due {
            self.stop(name);
        }
        due
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Mono> {
        self.at.iter().copied().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Name {
        Tea,
        Cake,
    }

    impl TimerName for Name {
        fn slot(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn the_earliest_deadline_comes_next_and_a_due_timer_is_due_once() {
        let mut timers = Timers::<Name, 2>::default();
        assert_eq!(timers.next(), None);
        timers.set(Name::Tea, Some(Mono::from_millis(20)));
        timers.set(Name::Cake, Some(Mono::from_millis(10)));
        assert_eq!(timers.next(), Some(Mono::from_millis(10)));
        assert!(!timers.take_due(Name::Cake, Mono::from_millis(9)));
        assert!(timers.take_due(Name::Cake, Mono::from_millis(10)));
        assert!(!timers.take_due(Name::Cake, Mono::from_millis(10)));
        timers.stop(Name::Tea);
        assert_eq!(timers.next(), None);
    }
}
