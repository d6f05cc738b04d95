//! From what a reader is to show to OSDP's LED, buzzer and text. Owns patterns and times; must never know why.
//! Invariant: the lasting state goes along with every passing one, so that a reader falls back to what is.

use crate::{
    domain::indication::{Colour, Face, Feedback, Indication, Moment, Words},
    wire::osdp::{
        command::{self, BuzzerControl, Command, Led, LedControl, TemporaryLed, TextControl, Tone},
        reply::Capability,
    },
};

/// Function codes of PDCAP.
const LEDS: u8 = 4;
const BUZZER: u8 = 5;
const TEXT: u8 = 6;

/// What the reader has to show it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    led: bool,
    buzzer: bool,
    text: bool,
}

impl Default for Means {
    /// Of one that has not said: most have these.
    fn default() -> Means {
        Means { led: true, buzzer: true, text: false }
    }
}

impl Means {
    pub fn of(capabilities: &[Capability]) -> Means {
        let has = |function| capabilities.iter().any(|is| is.function == function && is.level > 0);
        Means { led: has(LEDS), buzzer: has(BUZZER), text: has(TEXT) }
    }
}

/// What brings the reader from `shown` to `wanted`; `None`: nobody knows what it shows.
pub fn commands(feedback: &Feedback, means: Means, shown: Option<Indication>, wanted: Indication) -> Vec<Command> {
    // What passed while the reader was away is past.
    let fresh = |(moment, number): (Moment, u64)| {
        let before = shown.map(|shown| shown.moment.map_or(0, |(_, number)| number));
        before.is_some_and(|before| number > before).then_some(moment)
    };
    let moment = wanted.moment.and_then(fresh);
    let is_new = shown.is_none_or(|shown| shown.face != wanted.face);
    let mut out = Vec::new();
    if !is_new && moment.is_none() {
        return out;
    }
    if means.led {
        let temporary = moment.and_then(|moment| temporary(feedback, moment));
        let permanent = Some(permanent(feedback, wanted.face));
        out.push(Command::Led(vec![LedControl { reader: 0, led: feedback.led, temporary, permanent }]));
    }
    if let Some(moment) = moment.filter(|_| means.buzzer && feedback.buzzer) {
        out.push(Command::Buzzer(beeps(moment)));
    }
    if means.text && feedback.text {
        let (seconds, text) = match moment {
            Some(moment) => words(&feedback.words, moment),
            None => (None, state(&feedback.words, wanted.face)),
        };
        let text = text.as_bytes().to_vec();
        out.push(Command::Text(TextControl { reader: 0, seconds, row: 1, column: 1, text }));
    }
    out
}

fn steady(colour: Colour) -> Led {
    Led { on_tenths: 1, off_tenths: 0, on: of(colour), off: of(colour) }
}

fn blinking(colour: Colour, tenths: u8) -> Led {
    Led { on_tenths: tenths, off_tenths: tenths, on: of(colour), off: command::Colour::Black }
}

fn permanent(feedback: &Feedback, face: Face) -> Led {
    match face {
        Face::Armed => steady(feedback.armed),
        Face::Unlocked => steady(feedback.unlocked),
        Face::Blocked => blinking(feedback.blocked, 10),
        Face::LockedDown => blinking(feedback.locked_down, 3),
        Face::Alarm => blinking(feedback.alarm, 3),
    }
}

fn temporary(feedback: &Feedback, moment: Moment) -> Option<TemporaryLed> {
    let (led, tenths) = match moment {
        Moment::Granted => (steady(feedback.granted), 20),
        Moment::Denied => (blinking(feedback.denied, 2), 16),
        // As long as a PIN is usually waited for; what is decided takes its place.
        Moment::WaitingForPin | Moment::WaitingForSecond => (blinking(feedback.waiting, 4), 100),
        Moment::Warned => return None,
    };
    Some(TemporaryLed { led, tenths })
}

fn beeps(moment: Moment) -> BuzzerControl {
    let (on_tenths, off_tenths, count) = match moment {
        Moment::Granted => (2, 1, 1),
        Moment::Denied => (1, 1, 3),
        Moment::WaitingForPin | Moment::WaitingForSecond => (1, 1, 2),
        Moment::Warned => (3, 7, 5),
    };
    BuzzerControl { reader: 0, tone: Tone::Default, on_tenths, off_tenths, count }
}

/// For so many seconds.
fn words(words: &Words, moment: Moment) -> (Option<u8>, &str) {
    match moment {
        Moment::Granted => (Some(2), &words.granted),
        Moment::Denied => (Some(2), &words.denied),
        Moment::WaitingForPin => (Some(10), &words.pin),
        Moment::WaitingForSecond => (Some(10), &words.second),
        Moment::Warned => (Some(5), &words.warned),
    }
}

fn state(words: &Words, face: Face) -> &str {
    match face {
        Face::Armed => &words.locked,
        Face::Unlocked => &words.open,
        Face::Blocked => &words.blocked,
        Face::LockedDown => &words.locked_down,
        Face::Alarm => &words.warned,
    }
}

fn of(colour: Colour) -> command::Colour {
    match colour {
        Colour::Off => command::Colour::Black,
        Colour::Red => command::Colour::Red,
        Colour::Green => command::Colour::Green,
        Colour::Amber => command::Colour::Amber,
        Colour::Blue => command::Colour::Blue,
        Colour::Magenta => command::Colour::Magenta,
        Colour::Cyan => command::Colour::Cyan,
        Colour::White => command::Colour::White,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Means = Means { led: true, buzzer: true, text: true };

    fn shown(face: Face, moment: Option<(Moment, u64)>) -> Indication {
        Indication { face, moment }
    }

    #[test]
    fn a_decision_is_shown_once_with_led_buzzer_and_text_over_the_state_that_lasts() {
        let feedback = Feedback::default();
        let before = shown(Face::Armed, None);
        let after = shown(Face::Unlocked, Some((Moment::Granted, 1)));
        let said = commands(&feedback, ALL, Some(before), after);
        let [Command::Led(leds), Command::Buzzer(beep), Command::Text(text)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(leds[0].permanent.map(|led| led.on), Some(command::Colour::Green));
        assert_eq!(leds[0].temporary.map(|led| led.led.on), Some(command::Colour::Green));
        assert_eq!((beep.count, text.text.as_slice()), (1, &b"Welcome"[..]));
        assert_eq!(commands(&feedback, ALL, Some(after), after), []);
    }

    #[test]
    fn a_reader_that_was_away_is_told_what_is_and_not_what_was() {
        let said = commands(&Feedback::default(), ALL, None, shown(Face::LockedDown, Some((Moment::Denied, 9))));
        let [Command::Led(leds), Command::Text(text)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((leds[0].temporary, text.seconds), (None, None));
        assert!(leds[0].permanent.is_some_and(|led| led.off_tenths > 0 && led.on == command::Colour::Red));
    }

    #[test]
    fn what_the_reader_does_not_have_or_the_installer_does_not_want_is_not_sent() {
        let after = shown(Face::Armed, Some((Moment::Denied, 1)));
        let before = Some(shown(Face::Armed, None));
        let capability = |function| Capability { function, level: 1, count: 1 };
        let only_buzzer = Means::of(&[capability(BUZZER)]);
        assert!(matches!(commands(&Feedback::default(), only_buzzer, before, after)[..], [Command::Buzzer(_)]));
        let silent = Feedback { buzzer: false, text: false, ..Feedback::default() };
        assert!(matches!(commands(&silent, ALL, before, after)[..], [Command::Led(_)]));
    }

    #[test]
    fn what_a_display_says_is_what_the_installer_wrote() {
        let words = Words { granted: "Willkommen".to_owned(), locked: "Zu".to_owned(), ..Words::default() };
        let feedback = Feedback { words, buzzer: false, ..Feedback::default() };
        let text = |moment, before| {
            let said = commands(&feedback, ALL, before, shown(Face::Armed, moment));
            let text = said.into_iter().find_map(|command| match command {
                Command::Text(text) => Some(String::from_utf8(text.text).unwrap()),
                _ => None,
            });
            text.unwrap()
        };
        assert_eq!(text(Some((Moment::Granted, 1)), Some(shown(Face::Armed, None))), "Willkommen");
        assert_eq!(text(None, None), "Zu");
    }

    #[test]
    fn every_text_fits_a_display_of_sixteen_characters() {
        let moments =
            [Moment::Granted, Moment::Denied, Moment::WaitingForPin, Moment::WaitingForSecond, Moment::Warned];
        let faces = [Face::Armed, Face::Unlocked, Face::Blocked, Face::LockedDown, Face::Alarm];
        let default = Words::default();
        let said = moments.map(|moment| words(&default, moment).1);
        let texts = said.into_iter().chain(faces.map(|face| state(&default, face)));
        texts.for_each(|text| assert!(text.len() <= 16, "{text}"));
    }
}
