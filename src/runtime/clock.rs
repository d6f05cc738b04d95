//! One judged clock for all loops. Owns the lock around the judge (held for some nanoseconds, never
//! across a wait: the one lock that the door path takes, because trust must be the same for all).

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    adapters::clock,
    domain::time::{Mono, Now, Wall},
    gateway::clock_trust::{ClockJudge, ClockNote},
};

/// Notes wait for the cloud loop, which makes events of them; past this many they are the same few
/// again and again (a clock that is stepped in a loop), so the newest are dropped.
const NOTES_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct Clock {
    inner: Arc<Mutex<Judged>>,
}

#[derive(Debug)]
struct Judged {
    judge: ClockJudge,
    notes: Vec<ClockNote>,
}

impl Clock {
    pub fn start(floor: Wall, last_beat: Option<Wall>) -> Clock {
        let judge = ClockJudge::new(clock::mono(), clock::wall(), clock::vouchers(), floor, last_beat);
        Clock { inner: Arc::new(Mutex::new(Judged { judge, notes: Vec::new() })) }
    }

    pub fn now(&self) -> Now {
        self.with(|judged| judged.judge.observe(clock::mono(), clock::wall(), &mut judged.notes))
    }

    /// The cloud's signed word on the time, given at some instant between `asked_at` and now.
    pub fn handle_beat(&self, issued_at: Wall, asked_at: Mono) {
        self.with(|judged| {
            let _ = judged.judge.observe(clock::mono(), clock::wall(), &mut judged.notes);
            judged.judge.handle_beat(issued_at, asked_at, &mut judged.notes);
        });
    }

    /// Looks at what the system says of NTP; reads files, so not for the door thread.
    pub fn look_for_vouchers(&self) {
        let vouchers = clock::vouchers();
        self.with(|judged| judged.judge.handle_vouchers(vouchers, &mut judged.notes));
    }

    pub fn take_notes(&self) -> Vec<ClockNote> {
        self.with(|judged| std::mem::take(&mut judged.notes))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Judged) -> T) -> T {
        let mut judged = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut judged);
        judged.notes.truncate(NOTES_MAX);
        result
    }
}
