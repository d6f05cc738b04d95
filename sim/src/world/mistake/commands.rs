//! Mistakes with what operators ask for, between link, desk, doors and mirror. Owns what is bent there, and the orders
//! that a command led to; must never touch what no chosen mistake bends. Invariant: each command is bent in one way.

use std::time::Duration;

use latchd::{
    domain::{
        ids::Id,
        order::{DoorAction, Order, Task},
        outputs::Ticket,
    },
    gateway::{mirror::MirrorInput, session::link::LinkEvent, step::MessageToken},
};

use super::{Mistake, Shim};

impl Shim {
    /// From the desk to the doors.
    pub fn order(&mut self, order: Order) -> Order {
        if let Some(command) = self.command.clone() {
            self.orders.insert(command, order.clone());
        }
        if self.is(Mistake::DeadlineIgnored) {
            return Order { deadline: order.deadline + Duration::from_secs(120), ..order };
        }
        match order.what {
            Task::Door(door, DoorAction::Admit(action)) if self.is(Mistake::DelayIgnored) => {
                Order { what: Task::Door(door, DoorAction::Delayed(action)), ..order }
            }
            Task::ClearApb { .. } if self.is(Mistake::EverybodyForgiven) => {
                Order { what: Task::ClearApb { person: None, area: None }, ..order }
            }
            Task::VirtualRead { door, .. } if self.is(Mistake::VirtualReadUnjudged) => {
                Order { what: Task::Door(door, DoorAction::OpenAndClose { dwell: None }), ..order }
            }
            _ => order,
        }
    }

    /// From the link to the desk, past its book.
    pub fn repeated_command(&mut self, event: &LinkEvent, cmd: &str) -> Option<Order> {
        self.command = None;
        if !self.is(Mistake::DedupSkipped) {
            return None;
        }
        let LinkEvent::Message { topic, payload, .. } = event else { return None };
        if topic != cmd {
            return None;
        }
        self.command = Some(payload.clone());
        let order = self.orders.get(payload).cloned()?;
        self.again += 1;
        Some(Order { ticket: Ticket(1_000_000 + self.again), ..order })
    }

    pub fn ack_now(&mut self, event: &LinkEvent, cmd: &str) -> Option<MessageToken> {
        match event {
            LinkEvent::Message { topic, token, .. } if topic == cmd && self.is(Mistake::AckBeforeStore) => Some(*token),
            _ => None,
        }
    }

    /// From the desk to the mirror.
    pub fn to_mirror(&self, input: MirrorInput) -> MirrorInput {
        match input {
            MirrorInput::Edit(mut request) if self.is(Mistake::EditsUnlimited) => {
                if let Ok(operator) = Id::new("op-1") {
                    request.operator = operator;
                }
                MirrorInput::Edit(request)
            }
            MirrorInput::List(mut request) => {
                let other = match self.mistake {
                    Some(Mistake::ListUnlimited) => Id::new("op-1").ok(),
                    Some(Mistake::ListNarrowed) => Id::new("op-5").ok(),
                    _ => None,
                };
                request.operator = other.unwrap_or(request.operator);
                MirrorInput::List(request)
            }
            input => input,
        }
    }
}
