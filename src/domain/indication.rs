//! What a reader shows to the person in front of it. Owns the few things that can be shown, and in which colours;
//! must never show who somebody is, or why they are refused. Invariant: what lasts is a state, what passes has a
//! number of its own, so that a reader that was away is told what is, and nothing that was.

/// What lasts: how the door is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Face {
    /// Locked, and watched: an opening without a right is an alarm.
    #[default]
    Armed,
    /// Anybody may pass.
    Unlocked,
    /// Nobody is let in for now: DND, forced shut.
    Blocked,
    LockedDown,
    /// Forced or propped.
    Alarm,
}

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Granted,
    Denied,
    /// A PIN is asked for.
    WaitingForPin,
    /// A second person is asked for.
    WaitingForSecond,
    /// The door has been open for long.
    Warned,
}

/// What one reader shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indication {
    pub face: Face,
    /// The latest, with a number that rises with each.
    pub moment: Option<(Moment, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Off,
    Red,
    Green,
    Amber,
    Blue,
    Magenta,
    Cyan,
    White,
}

/// How a reader shows it, as the installer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Number of the LED on the reader.
    pub led: u8,
    pub armed: Colour,
    pub unlocked: Colour,
    pub blocked: Colour,
    pub locked_down: Colour,
    pub alarm: Colour,
    pub granted: Colour,
    pub denied: Colour,
    pub waiting: Colour,
    pub buzzer: bool,
    pub text: bool,
    pub words: Words,
}

/// Longest words of a display: what OSDP's TEXT holds.
pub const WORDS_MAX: usize = 32;

/// What a reader with a display says. Printable ASCII, for displays know no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub granted: String,
    pub denied: String,
    /// A PIN is asked for.
    pub pin: String,
    /// A second person is asked for.
    pub second: String,
    /// The door has been open for long, and while it is propped or was forced.
    pub warned: String,
    pub locked: String,
    pub open: String,
    pub blocked: String,
    pub locked_down: String,
}

impl Default for Words {
    fn default() -> Words {
        Words {
            granted: "Welcome".to_owned(),
            denied: "No access".to_owned(),
            pin: "PIN and #".to_owned(),
            second: "Second card".to_owned(),
            warned: "Close the door".to_owned(),
            locked: "Locked".to_owned(),
            open: "Open".to_owned(),
            blocked: "Do not disturb".to_owned(),
            locked_down: "Lockdown".to_owned(),
        }
    }
}

impl Default for Feedback {
    /// What people know from other doors.
    fn default() -> Feedback {
        Feedback {
            led: 0,
            armed: Colour::Red,
            unlocked: Colour::Green,
            blocked: Colour::Red,
            locked_down: Colour::Red,
            alarm: Colour::Amber,
            granted: Colour::Green,
            denied: Colour::Red,
            waiting: Colour::Amber,
            buzzer: true,
            text: true,
            words: Words::default(),
        }
    }
}
