//! Whether a line hears what is said on it, as cheap RS-485 adapters do. Owns what is known of that for one port; must
//! never be guessed from a write, whose answer is the same bytes as its echo. Invariant: until a read has told, and
//! while it is known that the line echoes, the request's own bytes confirm nothing: an answer is what comes behind them.
//!
//! ```text
//!             an answer with nothing of the request before it
//!   Unknown ─────────────────────────────────────────────────▶ Absent
//!      │                                                        │ ▲
//!      │ the request, and then an answer or nothing             │ │ so an answer to AGAINST_MIN reads in a row
//!      └──────────────▶ Present ◀───────────────────────────────┘ │
//!                          └──────────────────────────────────────┘
//! ```
//!
//! Of a port that was opened anew nothing is known: another adapter may be plugged in.

/// Answers without an echo in a row before a line that echoed no longer does: of one, noise may have hidden it.
const AGAINST_MIN: u32 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    #[default]
    Unknown,
    Absent,
    Present,
}

/// What one exchange has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Itself,
    OnlyTheAnswer,
}

/// What is known of one port.
#[derive(Clone, Debug, Default)]
pub struct EchoSense {
    echo: Echo,
    against: u32,
}

impl EchoSense {
    pub fn echo(&self) -> Echo {
        self.echo
    }

    /// Whether it became known just now that the line echoes.
    pub fn learn(&mut self, heard: Option<Heard>) -> bool {
        let before = self.echo;
        match heard {
            None => {}
            Some(Heard::Itself) => (self.echo, self.against) = (Echo::Present, 0),
            Some(Heard::OnlyTheAnswer) => {
                self.against += 1;
                if before == Echo::Unknown || self.against >= AGAINST_MIN {
                    (self.echo, self.against) = (Echo::Absent, 0);
                }
            }
        }
        self.echo == Echo::Present && before != Echo::Present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_tells_and_a_hidden_echo_makes_nobody_forget() {
        let mut sense = EchoSense::default();
        assert!(!sense.learn(None));
        assert_eq!(sense.echo(), Echo::Unknown);
        assert!(sense.learn(Some(Heard::Itself)), "told");
        assert!(!sense.learn(Some(Heard::Itself)), "once");
        for _ in 0..10 {
            sense.learn(Some(Heard::OnlyTheAnswer));
            sense.learn(Some(Heard::OnlyTheAnswer));
            assert_eq!(sense.echo(), Echo::Present);
            sense.learn(Some(Heard::Itself));
        }
        for _ in 0..AGAINST_MIN {
            sense.learn(Some(Heard::OnlyTheAnswer));
        }
        assert_eq!(sense.echo(), Echo::Absent);
        assert!(sense.learn(Some(Heard::Itself)), "an echo that comes later is believed, and told, at once");
    }

    #[test]
    fn the_first_answer_without_an_echo_tells_as_well() {
        let mut sense = EchoSense::default();
        assert!(!sense.learn(Some(Heard::OnlyTheAnswer)));
        assert_eq!(sense.echo(), Echo::Absent);
    }
}
