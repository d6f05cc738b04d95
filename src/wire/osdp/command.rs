//! What a control panel says to a reader. Owns codes and layouts; must never choose what to say. Invariant:
//! every command encodes within one frame.

/// SIA OSDP 2.2, clause 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Poll,
    /// Asks who the reader is.
    Id,
    Capabilities,
    LocalStatus,
    InputStatus,
    OutputStatus,
    ReaderStatus,
    Output(Vec<OutputControl>),
    Led(Vec<LedControl>),
    Buzzer(BuzzerControl),
    Text(TextControl),
    ComSet {
        address: u8,
        baud: u32,
    },
    /// The new SCBK.
    KeySet([u8; 16]),
    Challenge([u8; 8]),
    ServerCryptogram([u8; 16]),
    Manufacturer {
        vendor: [u8; 3],
        data: Vec<u8>,
    },
    KeepActive {
        millis: u16,
    },
}

/// What an output of the reader is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputControl {
    pub output: u8,
    pub code: OutputCode,
    /// In units of 100 ms; 0 with a timed code: for ever.
    pub tenths: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OutputCode {
    Nop = 0,
    Off = 1,
    On = 2,
    OffAfterTimer = 3,
    OnAfterTimer = 4,
    OnTimed = 5,
    OffTimed = 6,
}

/// Temporary and permanent settings of one LED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedControl {
    pub reader: u8,
    pub led: u8,
    /// Shown for its time, then the permanent one again.
    pub temporary: Option<TemporaryLed>,
    pub permanent: Option<Led>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemporaryLed {
    pub led: Led,
    pub tenths: u16,
}

/// On and off in units of 100 ms; off 0: steady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    pub on_tenths: u8,
    pub off_tenths: u8,
    pub on: Colour,
    pub off: Colour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Colour {
    Black = 0,
    Red = 1,
    Green = 2,
    Amber = 3,
    Blue = 4,
    Magenta = 5,
    Cyan = 6,
    White = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuzzerControl {
    pub reader: u8,
    pub tone: Tone,
    pub on_tenths: u8,
    pub off_tenths: u8,
    /// 0: until told otherwise.
    pub count: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tone {
    None = 0,
    Off = 1,
    Default = 2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextControl {
    pub reader: u8,
    /// Seconds that it is shown; `None`: until replaced.
    pub seconds: Option<u8>,
    pub row: u8,
    pub column: u8,
    /// At most 32 bytes are sent.
    pub text: Vec<u8>,
}

const TEXT_BYTES_MAX: usize = 32;

impl Command {
    pub fn code(&self) -> u8 {
        match self {
            Command::Poll => 0x60,
            Command::Id => 0x61,
            Command::Capabilities => 0x62,
            Command::LocalStatus => 0x64,
            Command::InputStatus => 0x65,
            Command::OutputStatus => 0x66,
            Command::ReaderStatus => 0x67,
            Command::Output(_) => 0x68,
            Command::Led(_) => 0x69,
            Command::Buzzer(_) => 0x6A,
            Command::Text(_) => 0x6B,
            Command::ComSet { .. } => 0x6E,
            Command::KeySet(_) => 0x75,
            Command::Challenge(_) => 0x76,
            Command::ServerCryptogram(_) => 0x77,
            Command::Manufacturer { .. } => 0x80,
            Command::KeepActive { .. } => 0xA7,
        }
    }

    pub fn data(&self) -> Vec<u8> {
        match self {
            Command::Poll
            | Command::LocalStatus
            | Command::InputStatus
            | Command::OutputStatus
            | Command::ReaderStatus => Vec::new(),
            // The standard form of the answer.
            Command::Id | Command::Capabilities => vec![0],
            Command::Output(controls) => controls
                .iter()
                .flat_map(|control| {
                    let [low, high] = control.tenths.to_le_bytes();
                    [control.output, control.code as u8, low, high]
                })
                .collect(),
            Command::Led(controls) => controls.iter().flat_map(LedControl::bytes).collect(),
            Command::Buzzer(BuzzerControl { reader, tone, on_tenths, off_tenths, count }) => {
                vec![*reader, *tone as u8, *on_tenths, *off_tenths, *count]
            }
            Command::Text(control) => {
                let text = control.text.get(..TEXT_BYTES_MAX).unwrap_or(&control.text);
                let (command, seconds) = control.seconds.map_or((1, 0), |seconds| (3, seconds));
                let mut out = vec![control.reader, command, seconds, control.row, control.column, text.len() as u8];
                out.extend(text);
                out
            }
            Command::ComSet { address, baud } => [&[*address][..], &baud.to_le_bytes()].concat(),
            Command::KeySet(key) => [&[1, 16][..], key].concat(),
            Command::Challenge(random) => random.to_vec(),
            Command::ServerCryptogram(cryptogram) => cryptogram.to_vec(),
            Command::Manufacturer { vendor, data } => [&vendor[..], data].concat(),
            Command::KeepActive { millis } => millis.to_le_bytes().to_vec(),
        }
    }
}

impl LedControl {
    fn bytes(&self) -> [u8; 14] {
        let temporary = self.temporary.map_or([0; 7], |temporary| {
            let Led { on_tenths, off_tenths, on, off } = temporary.led;
            let [low, high] = temporary.tenths.to_le_bytes();
            [2, on_tenths, off_tenths, on as u8, off as u8, low, high]
        });
        let permanent = self
            .permanent
            .map_or([0; 5], |Led { on_tenths, off_tenths, on, off }| [1, on_tenths, off_tenths, on as u8, off as u8]);
        let mut out = [0; 14];
        let parts = [self.reader, self.led].into_iter().chain(temporary).chain(permanent);
        out.iter_mut().zip(parts).for_each(|(slot, byte)| *slot = byte);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_laid_out_as_the_standard_says() {
        let green = Led { on_tenths: 1, off_tenths: 0, on: Colour::Green, off: Colour::Black };
        let red = Led { on_tenths: 1, off_tenths: 1, on: Colour::Red, off: Colour::Black };
        let led = LedControl {
            reader: 0,
            led: 0,
            temporary: Some(TemporaryLed { led: green, tenths: 30 }),
            permanent: Some(red),
        };
        let cases: Vec<(Command, u8, Vec<u8>)> = vec![
            (Command::Poll, 0x60, vec![]),
            (Command::Id, 0x61, vec![0]),
            (Command::Capabilities, 0x62, vec![0]),
            (
                Command::Output(vec![OutputControl { output: 1, code: OutputCode::OnTimed, tenths: 300 }]),
                0x68,
                vec![1, 5, 0x2C, 0x01],
            ),
            (Command::Led(vec![led]), 0x69, vec![0, 0, 2, 1, 0, 2, 0, 30, 0, 1, 1, 1, 1, 0]),
            (
                Command::Buzzer(BuzzerControl {
                    reader: 0,
                    tone: Tone::Default,
                    on_tenths: 1,
                    off_tenths: 2,
                    count: 3,
                }),
                0x6A,
                vec![0, 2, 1, 2, 3],
            ),
            (
                Command::Text(TextControl { reader: 0, seconds: Some(5), row: 1, column: 1, text: b"PIN?".to_vec() }),
                0x6B,
                vec![0, 3, 5, 1, 1, 4, b'P', b'I', b'N', b'?'],
            ),
            (Command::ComSet { address: 5, baud: 115_200 }, 0x6E, vec![5, 0x00, 0xC2, 0x01, 0x00]),
            (Command::KeySet([7; 16]), 0x75, [vec![1, 16], vec![7; 16]].concat()),
        ];
        for (command, code, data) in cases {
            assert_eq!((command.code(), command.data()), (code, data), "{command:?}");
        }
    }

    #[test]
    fn a_text_longer_than_a_display_is_cut_to_what_can_be_sent() {
        let text = Command::Text(TextControl { reader: 0, seconds: None, row: 1, column: 1, text: vec![b'x'; 99] });
        assert_eq!(text.data().len(), 6 + 32);
    }
}
