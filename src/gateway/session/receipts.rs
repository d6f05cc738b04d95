//! Which received messages the broker may forget. Owns their order; must never acknowledge one twice, nor
//! out of turn (MQTT 5, 4.6). Invariant: at most [`UNACKNOWLEDGED_MAX`] wait.
//!
//! A command waits until it is stored. A store that is down must not make the node deaf: the broker sends
//! no more than its receive maximum, beats and revocations included. Past the bound the oldest is let go
//! unstored: that it is not carried out twice rests on `boot` and, within this run, on the desk's memory.

use std::collections::VecDeque;

use crate::gateway::step::MessageToken;

/// Half of the link's receive maximum.
pub const UNACKNOWLEDGED_MAX: usize = 32;

#[derive(Debug, Default)]
pub struct Receipts {
    /// In the order of arrival; true: done with.
    waiting: VecDeque<(MessageToken, bool)>,
}

impl Receipts {
    pub fn arrived(&mut self, token: MessageToken) {
        // Packet id 0 is QoS 0, which is not acknowledged.
        if token.packet_id != 0 {
            self.waiting.push_back((token, false));
        }
    }

    pub fn done(&mut self, token: MessageToken) {
        if let Some((_, done)) = self.waiting.iter_mut().find(|(waiting, done)| *waiting == token && !done) {
            *done = true;
        }
    }

    /// The next one to be acknowledged.
    pub fn next(&mut self) -> Option<MessageToken> {
        let crowded = self.waiting.len() > UNACKNOWLEDGED_MAX;
        let due = self.waiting.front().is_some_and(|(_, done)| *done || crowded);
        if due { self.waiting.pop_front().map(|(token, _)| token) } else { None }
    }

    /// What was not acknowledged comes again, under other packet ids.
    pub fn disconnected(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(packet_id: u16) -> MessageToken {
        MessageToken { connection: 1, packet_id }
    }

    fn acknowledged(receipts: &mut Receipts) -> Vec<u16> {
        std::iter::from_fn(|| receipts.next()).map(|token| token.packet_id).collect()
    }

    #[test]
    fn messages_are_acknowledged_in_the_order_in_which_they_came() {
        let mut receipts = Receipts::default();
        (1..=3).for_each(|n| receipts.arrived(token(n)));
        receipts.done(token(2));
        assert!(acknowledged(&mut receipts).is_empty());
        receipts.done(token(1));
        assert_eq!(acknowledged(&mut receipts), [1, 2]);
        receipts.done(token(1));
        receipts.done(token(3));
        assert_eq!(acknowledged(&mut receipts), [3]);
    }

    #[test]
    fn a_store_that_is_down_does_not_keep_the_broker_from_sending_on() {
        let mut receipts = Receipts::default();
        let mut let_go = Vec::new();
        for n in 1..=100 {
            receipts.arrived(token(n));
            let_go.extend(acknowledged(&mut receipts));
        }
        assert_eq!(let_go, (1..=68).collect::<Vec<_>>());
        receipts.done(token(5));
        assert!(acknowledged(&mut receipts).is_empty(), "never twice");
    }
}
