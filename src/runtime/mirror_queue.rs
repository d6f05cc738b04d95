//! The cloud loop's way to the mirror: never waits, keeps what the mirror would not ask for again. Owns the
//! newest key set and the state of the link while the mirror's queue has no room; must never hold more.
//! Invariant: a document never overtakes the key set that it was verified by.

use crate::{adapters::store::mirror_thread::MirrorHandle, gateway::mirror::MirrorInput};

/// Gives the input back if there is no room.
type Send = Box<dyn FnMut(MirrorInput) -> Result<(), MirrorInput>>;

pub struct MirrorQueue {
    send: Send,
    keys: Option<MirrorInput>,
    link: Option<MirrorInput>,
}

impl MirrorQueue {
    pub fn new(mirror: MirrorHandle) -> MirrorQueue {
        MirrorQueue::over(Box::new(move |input| mirror.try_send(input)))
    }

    fn over(send: Send) -> MirrorQueue {
        MirrorQueue { send, keys: None, link: None }
    }

    /// False if the input was dropped: a document, a chunk or a beat, for which the mirror asks again.
    #[must_use]
    pub fn send(&mut self, input: MirrorInput) -> bool {
        match input {
            MirrorInput::Keys { .. } => self.keys = Some(input),
            MirrorInput::LinkUp | MirrorInput::LinkDown => self.link = Some(input),
            _ => return self.hand_on() && (self.send)(input).is_ok(),
        }
        self.hand_on();
        true
    }

    /// Tries again what waits; false while something still does.
    pub fn hand_on(&mut self) -> bool {
        for waiting in [&mut self.keys, &mut self.link] {
            if let Some(input) = waiting.take()
                && let Err(refused) = (self.send)(input)
            {
                *waiting = Some(refused);
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, sync::Arc};

    use super::*;

    #[test]
    fn a_full_queue_drops_documents_but_neither_the_newest_keys_nor_the_links_state() {
        let taken: Rc<RefCell<Option<Vec<String>>>> = Rc::default();
        let inner = taken.clone();
        let mut queue = MirrorQueue::over(Box::new(move |input| match &mut *inner.borrow_mut() {
            Some(taken) => {
                taken.push(format!("{input:?}"));
                Ok(())
            }
            None => Err(input),
        }));
        let keys = |version| MirrorInput::Keys { compact: Arc::from(""), version, epoch: 1 };
        assert!(queue.send(keys(1)));
        assert!(queue.send(MirrorInput::LinkUp));
        assert!(queue.send(keys(2)));
        assert!(queue.send(MirrorInput::LinkDown));
        assert!(!queue.send(MirrorInput::Ask));
        assert!(!queue.hand_on());
        *taken.borrow_mut() = Some(Vec::new());
        assert!(queue.send(MirrorInput::Ask));
        let wanted = [keys(2), MirrorInput::LinkDown, MirrorInput::Ask].map(|input| format!("{input:?}"));
        assert_eq!(taken.borrow().as_deref(), Some(&wanted[..]));
    }
}
