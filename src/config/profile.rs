//! Board profiles: a file that says which coil, input or register is which point. Owns their format
//! and its checks; must never know which site uses them. Invariant: in a [`Profile`] every name and
//! every address occurs once, and every address exists in Modbus.

mod beside;
mod guard;

pub use guard::usual_timeout;

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    reader::{Sink, Table},
    report::{At, Diagnostic, Span},
};
use crate::domain::{
    card_bits::CARD_BITS_MAX,
    fieldbus::{
        Band, Bands, CardBlock, CardHandshake, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile,
        RegisterTable,
    },
    ids::Id,
};

/// Modbus Application Protocol v1.1b3, 6.1 and 6.3: the largest reads that fit a frame.
const READ_BITS_MAX: u64 = 2000;
const READ_REGISTERS_MAX: u64 = 125;
const POINTS_MAX: u64 = 1000;
const GROUPS_MAX: usize = 200;

/// Reads the profile called `name`. What is wrong is in the sink; then the result is `None`.
pub fn read(sink: &Sink, name: &At<Id>, root: Table<'_>) -> Option<Profile> {
    let errors_before = sink.report.borrow().errors();
    let own_name = root.required("name").id();
    if let Some(own) = own_name.filter(|own| own.value != name.value) {
        sink.add(
            Diagnostic::error("a profile is named as its file is")
                .at(own.span, format!("expected \"{}\"", name.value))
                .related(name.span, "asked for here"),
        );
    }
    root.optional("source").text();
    root.optional("line_lost").word(&[("keeps", ()), ("releases", ()), ("as_set_up", ())]);
    let watchdog = root.optional("watchdog").table("[watchdog]").and_then(guard::watchdog);
    let read_bits_max =
        root.optional("read_bits_max").number(1, READ_BITS_MAX).map_or(READ_BITS_MAX as u16, |at| at.value);
    let registers_max = root.optional("read_registers_max").number(1, READ_REGISTERS_MAX);
    let gaps_readable = root.optional("gaps_readable").boolean().is_some_and(|at| at.value);
    let mut names = Names::new(sink);
    let outputs = root.tables("outputs", "[[outputs]]", GROUPS_MAX).into_iter();
    let outputs: Vec<OutputPoint> = outputs.flat_map(|table| output_group(table, &mut names)).collect();
    let mut names = Names::new(sink);
    let inputs = root.tables("inputs", "[[inputs]]", GROUPS_MAX).into_iter();
    let inputs: Vec<InputPoint> = inputs.flat_map(|table| input_group(table, &mut names)).collect();
    let mut names = Names::new(sink);
    let read_registers_max = registers_max.map_or(READ_REGISTERS_MAX as u16, |at| at.value);
    let blocks = root.tables("card_blocks", "[[card_blocks]]", GROUPS_MAX).into_iter();
    let card_blocks: Vec<CardBlock> =
        blocks.filter_map(|table| card_block(table, &mut names, read_registers_max)).collect();
    if outputs.is_empty()
        && inputs.is_empty()
        && card_blocks.is_empty()
        && sink.report.borrow().errors() == errors_before
    {
        sink.add(
            Diagnostic::error("this profile has no points")
                .at(root.span, "expected [[outputs]], [[inputs]] or [[card_blocks]]"),
        );
    }
    let spans = beside::Spans {
        watchdog: root.span_of("watchdog"),
        outputs: root.span_of("outputs"),
        card_blocks: root.span_of("card_blocks"),
    };
    beside::check(sink, &spans, (&outputs, &card_blocks, watchdog.as_ref()));
    root.finish();
    let sound = sink.report.borrow().errors() == errors_before;
    sound.then(|| Profile {
        name: name.value.clone(),
        outputs,
        inputs,
        card_blocks,
        read_bits_max,
        read_registers_max,
        gaps_readable,
        watchdog,
    })
}

/// Names and addresses given so far, so that none is given twice.
struct Names<'a> {
    sink: &'a Sink,
    names: BTreeMap<Id, Span>,
    addresses: BTreeMap<String, Span>,
}

impl<'a> Names<'a> {
    fn new(sink: &'a Sink) -> Names<'a> {
        Names { sink, names: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    fn take(&mut self, name: &Id, span: Span, address: String, address_span: Span) {
        if let Some(first) = self.names.insert(name.clone(), span) {
            let finding = Diagnostic::error(format!("the name `{name}` is given twice"));
            self.sink.add(finding.at(span, "again here").related(first, "first here"));
        }
        if let Some(first) = self.addresses.insert(address.clone(), address_span) {
            let finding = Diagnostic::error(format!("{address} is two points"));
            self.sink.add(finding.at(address_span, format!("again here, as `{name}`")).related(first, "first here"));
        }
    }
}

/// The names of a group: `relay-{n}` counted, or one plain name.
struct Group {
    span: Span,
    names: Vec<Id>,
}

fn group(table: &Table<'_>) -> Group {
    let name = table.required("name").text_as("a name such as \"relay-{n}\"");
    let count = table.optional("count").number::<u16>(1, POINTS_MAX);
    let first = table.optional("first").number::<u16>(0, 9999).map_or(1, |at| at.value);
    let Some(name) = name else { return Group { span: table.span, names: Vec::new() } };
    let counted = name.value.contains("{n}");
    let wrong = |message: &str, label: String| {
        table.sink.add(Diagnostic::error(message).at(name.span, label));
        Group { span: name.span, names: Vec::new() }
    };
    match &count {
        Some(count) if count.value > 1 && !counted => {
            return wrong(
                "a group of points needs a numbered name",
                format!("expected `{{n}}` in it, such as \"{}-{{n}}\"", name.value),
            );
        }
        None if counted && table.span_of("count").is_none() => {
            return wrong("a numbered name needs `count`", "how many points are there?".to_owned());
        }
        _ => {}
    }
    let numbers = (0..count.map_or(1, |at| at.value)).map(|n| first + n);
    let names: Result<Vec<Id>, _> =
        numbers.map(|number| Id::new(&name.value.replace("{n}", &number.to_string()))).collect();
    match names {
        Ok(names) => Group { span: name.span, names },
        Err(error) => wrong("`name` is not a valid id", error.to_string()),
    }
}

/// The one key of several that is there, with its register or bit address.
fn address<T: Copy>(table: &Table<'_>, kinds: &[(&'static str, T)]) -> Option<(T, At<u16>)> {
    let given: Vec<(&'static str, T, Span)> =
        kinds.iter().filter_map(|(key, kind)| Some((*key, *kind, table.span_of(key)?))).collect();
    let addresses: Vec<Option<At<u16>>> =
        kinds.iter().map(|(key, _)| table.optional(key).number::<u16>(0, 65_535)).collect();
    let all = || kinds.iter().map(|(key, _)| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match given.as_slice() {
        [] => {
            let finding = Diagnostic::error(format!("a point of {} has no address", table.kind));
            table.sink.add(finding.at(table.span, format!("expected one of {}", all())));
            None
        }
        [(_, kind, _)] => addresses.into_iter().flatten().next().map(|at| (*kind, at)),
        [(first, _, first_span), (second, _, second_span), ..] => {
            let finding = Diagnostic::error(format!("`{first}` and `{second}` exclude each other"));
            table.sink.add(finding.at(*second_span, "second address").related(*first_span, "first address"));
            None
        }
    }
}

fn beyond(table: &Table<'_>, span: Span) {
    table.sink.add(Diagnostic::error("addresses run past 65535").at(span, "the last point does not fit"));
}

fn output_group(table: Table<'_>, names: &mut Names<'_>) -> Vec<OutputPoint> {
    let group = group(&table);
    let reads_back = table.optional("reads_back").boolean().is_none_or(|at| at.value);
    let kind = address(&table, &[("coil", true), ("holding_register", false)]);
    let energised = table.optional("energised").number::<u16>(0, 65_535);
    let released = table.optional("released").number::<u16>(0, 65_535);
    let timer_at = table.span_of("timer");
    let timer = table.optional("timer").table("timer").and_then(guard::timer);
    let safe_coil = table.optional("safe_coil").number::<u16>(0, 65_535);
    let last = u16::try_from(group.names.len().saturating_sub(1)).unwrap_or(u16::MAX);
    let runs_past = |address: Option<u16>| address.is_some_and(|address| address.checked_add(last).is_none());
    let of_timer = timer.iter().flat_map(|timer| [timer.energised_for, timer.released_for]);
    if let Some(at) = timer_at.filter(|_| of_timer.clone().any(runs_past)) {
        beyond(&table, at);
    }
    if let Some(at) = safe_coil.as_ref().filter(|at| runs_past(Some(at.value))) {
        beyond(&table, at.span);
    }
    let mut points = Vec::new();
    if let Some((coil, start)) = kind {
        let values = (energised.as_ref().map_or(1, |at| at.value), released.as_ref().map_or(0, |at| at.value));
        if let Some(at) = energised.as_ref().or(released.as_ref()) {
            if coil {
                let finding = Diagnostic::error("`energised` and `released` belong to a holding register");
                table.sink.add(finding.at(at.span, "a coil is 1 when energised"));
            } else if values.0 == values.1 {
                let finding = Diagnostic::error("`energised` and `released` are one value");
                table.sink.add(finding.at(at.span, "the register would never change"));
            }
        }
        for (name, offset) in group.names.iter().zip(0u16..) {
            let Some(address) = start.value.checked_add(offset) else {
                beyond(&table, start.span);
                break;
            };
            let (text, address) = if coil {
                (format!("coil {address}"), OutputAddress::Coil(address))
            } else {
                let (energised, released) = values;
                let register = OutputAddress::HoldingRegister { address, energised, released };
                (format!("holding register {address}"), register)
            };
            names.take(name, group.span, text, start.span);
            let timer = timer.map(|timer| guard::nth(timer, offset));
            let safe_coil = safe_coil.as_ref().map(|at| at.value.saturating_add(offset));
            points.push(OutputPoint { name: name.clone(), address, reads_back, timer, safe_coil });
        }
    }
    table.finish();
    points
}

#[derive(Clone, Copy, PartialEq)]
enum InputTable {
    Discrete,
    Coil,
    InputRegister,
    HoldingRegister,
}

fn input_group(table: Table<'_>, names: &mut Names<'_>) -> Vec<InputPoint> {
    let group = group(&table);
    let kind = address(
        &table,
        &[
            ("discrete_input", InputTable::Discrete),
            ("coil", InputTable::Coil),
            ("input_register", InputTable::InputRegister),
            ("holding_register", InputTable::HoldingRegister),
        ],
    );
    let bit = table.optional("bit").number::<u16>(0, 15);
    let bands_at = table.span_of("bands");
    let bands = table.optional("bands").table("bands").and_then(bands);
    let mut points = Vec::new();
    if let Some((kind, start)) = kind {
        let in_register = matches!(kind, InputTable::InputRegister | InputTable::HoldingRegister);
        match (&bit, in_register) {
            (Some(at), false) => {
                table
                    .sink
                    .add(Diagnostic::error("`bit` belongs to a register").at(at.span, "this point is a bit already"));
            }
            (None, true) if table.span_of("bit").is_none() && bands_at.is_none() => {
                let finding = Diagnostic::error(format!("missing key `bit` in {}", table.kind));
                table.sink.add(finding.at(start.span, "expected `bit` = 0 to 15 (0 is the least significant)"));
            }
            (Some(at), true) if bands_at.is_some() => {
                let finding = Diagnostic::error("`bit` and `bands` exclude each other");
                table.sink.add(finding.at(at.span, "a supervised line has a register of its own"));
            }
            _ => {}
        }
        if let Some(at) = bands_at.filter(|_| !in_register) {
            let finding = Diagnostic::error("`bands` belong to a register");
            table.sink.add(finding.at(at, "this point is a bit and has no value"));
        }
        let first_bit = bit.as_ref().map_or(0, |at| at.value);
        for (name, offset) in group.names.iter().zip(0u16..) {
            // A group of register bits runs on into the next register.
            let (step, bit) = if in_register && bands_at.is_none() {
                ((first_bit + offset) / 16, (first_bit + offset) % 16)
            } else {
                (offset, 0)
            };
            let Some(address) = start.value.checked_add(step) else {
                beyond(&table, start.span);
                break;
            };
            let bit = bit as u8;
            let (text, address) = match kind {
                InputTable::Discrete => (format!("discrete input {address}"), InputAddress::DiscreteInput(address)),
                InputTable::Coil => (format!("coil {address}"), InputAddress::Coil(address)),
                InputTable::InputRegister if bands_at.is_some() => {
                    let Some(bands) = bands else { break };
                    (format!("input register {address}"), InputAddress::InputRegister { address, bands })
                }
                InputTable::HoldingRegister if bands_at.is_some() => {
                    let Some(bands) = bands else { break };
                    (format!("holding register {address}"), InputAddress::HoldingRegister { address, bands })
                }
                InputTable::InputRegister => {
                    (format!("bit {bit} of input register {address}"), InputAddress::InputRegisterBit { address, bit })
                }
                InputTable::HoldingRegister => (
                    format!("bit {bit} of holding register {address}"),
                    InputAddress::HoldingRegisterBit { address, bit },
                ),
            };
            names.take(name, group.span, text, start.span);
            points.push(InputPoint { name: name.clone(), address });
        }
    }
    table.finish();
    points
}

/// The values of a supervised line: of all of its kind in the profile, or of this one at its use in the site file.
pub(super) fn bands(table: Table<'_>) -> Option<Bands> {
    let sink = table.sink;
    let band = |from: Option<At<u16>>, to: Option<At<u16>>| -> Option<(Band, Span)> {
        let (from, to) = (from?, to?);
        if from.value > to.value {
            sink.add(
                Diagnostic::error("a band ends before it begins").at(to.span, format!("it begins at {}", from.value)),
            );
        }
        Some(((from.value, to.value), from.span))
    };
    let number = |key: &'static str| table.required(key).number::<u16>(0, 65_535);
    let maybe = |key: &'static str| table.optional(key).number::<u16>(0, 65_535);
    let energised = band(number("energised_from"), number("energised_to"));
    let released = band(number("released_from"), number("released_to"));
    let short = band(maybe("short_from"), maybe("short_to"));
    let open = band(maybe("open_from"), maybe("open_to"));
    for (from, to) in [("short_from", "short_to"), ("open_from", "open_to")] {
        match (table.span_of(from), table.span_of(to)) {
            (Some(at), None) => {
                sink.add(Diagnostic::error(format!("`{from}` without `{to}`")).at(at, "a band has two ends"))
            }
            (None, Some(at)) => {
                sink.add(Diagnostic::error(format!("`{to}` without `{from}`")).at(at, "a band has two ends"))
            }
            _ => {}
        }
    }
    let mut given: Vec<(Band, Span)> = [energised, released, short, open].into_iter().flatten().collect();
    given.sort_by_key(|(band, _)| *band);
    for pair in given.windows(2) {
        if let [(first, first_span), (second, span)] = pair
            && second.0 <= first.1
        {
            let finding = Diagnostic::error("two bands of a supervised line overlap");
            sink.add(
                finding
                    .at(*span, format!("{} is in the other one, too", second.0))
                    .related(*first_span, "the other one"),
            );
        }
    }
    table.finish();
    let only = |band: Option<(Band, Span)>| band.map(|(band, _)| band);
    Some(Bands { energised: only(energised)?, released: only(released)?, short: only(short), open: only(open) })
}

fn card_block(table: Table<'_>, names: &mut Names<'_>, registers_max: u16) -> Option<CardBlock> {
    let sink = table.sink;
    let name = table.required("name").id();
    let registers =
        table.required("table").word(&[("holding", RegisterTable::Holding), ("input", RegisterTable::Input)]);
    let counter = table.optional("counter").number::<u16>(0, 65_535);
    let clear = table.optional("clear_by_write").boolean();
    let bits = table.optional("bits").number::<u16>(0, 65_535);
    let bits_fixed = table.optional("bits_fixed").number::<u16>(1, u64::from(CARD_BITS_MAX));
    let data = table.required("data").number::<u16>(0, 65_535);
    let words = table.required("data_words").number::<u16>(1, u64::from(CARD_BITS_MAX / 16));

    let given = |first: &str, second: &str| table.span_of(first).or(table.span_of(second)).is_some();
    let missing = |message: &str, label: &str| sink.add(Diagnostic::error(message).at(table.span, label));
    match (&counter, clear.as_ref().filter(|at| at.value)) {
        (Some(counter), Some(clear)) => sink.add(
            Diagnostic::error("`counter` and `clear_by_write` exclude each other")
                .at(clear.span, "one way to tell a new card")
                .related(counter.span, "another"),
        ),
        (None, None) if !given("counter", "counter") && clear.as_ref().is_none_or(|at| !at.value) => missing(
            "nothing tells a new card from an old one",
            "expected `counter` = a register, or `clear_by_write` = true",
        ),
        (None, Some(clear)) if registers.as_ref().is_some_and(|at| at.value == RegisterTable::Input) => sink.add(
            Diagnostic::error("input registers cannot be written")
                .at(clear.span, "`clear_by_write` needs `table` = \"holding\""),
        ),
        _ => {}
    }
    match (&bits, &bits_fixed) {
        (Some(bits), Some(fixed)) => sink.add(
            Diagnostic::error("`bits` and `bits_fixed` exclude each other")
                .at(fixed.span, "always this many")
                .related(bits.span, "as the register says"),
        ),
        (None, None) if !given("bits", "bits_fixed") => missing(
            "nothing tells how many bits a card has",
            "expected `bits` = a register, or `bits_fixed` = a number of bits",
        ),
        _ => {}
    }
    let mut block = || {
        let (name, data, words) = (name.as_ref()?, data.as_ref()?, words.as_ref()?);
        let last = data.value.checked_add(words.value - 1);
        if last.is_none() {
            beyond(&table, data.span);
        }
        if words.value > registers_max {
            sink.add(
                Diagnostic::error("a card does not fit one read")
                    .at(words.span, format!("`read_registers_max` is {registers_max}")),
            );
        }
        if let Some(fixed) = bits_fixed.as_ref().filter(|fixed| fixed.value > words.value * 16) {
            sink.add(
                Diagnostic::error("`bits_fixed` does not fit `data_words`")
                    .at(fixed.span, format!("{} words hold {} bits", words.value, words.value * 16))
                    .related(words.span, ""),
            );
        }
        let range: RangeInclusive<u16> = data.value..=last?;
        for (key, at) in [("counter", &counter), ("bits", &bits)] {
            if let Some(at) = at.as_ref().filter(|at| range.contains(&at.value)) {
                sink.add(
                    Diagnostic::error(format!("the register of `{key}` lies in the card's data"))
                        .at(at.span, format!("data is registers {} to {}", range.start(), range.end())),
                );
            }
        }
        names.take(&name.value, name.span, format!("card data at register {}", data.value), data.span);
        Some(CardBlock {
            name: name.value.clone(),
            table: registers.as_ref()?.value,
            data_address: data.value,
            data_words: words.value,
            bits_address: bits.as_ref().map(|at| at.value),
            bits_fixed: bits_fixed.as_ref().map_or(words.value * 16, |at| at.value),
            handshake: match &counter {
                Some(counter) => CardHandshake::Counter { address: counter.value },
                None => CardHandshake::ClearByWrite,
            },
        })
    };
    let block = block();
    table.finish();
    block
}
