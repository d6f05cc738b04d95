//! Who is told to take another address or speed on its OSDP line, and what became of it. Owns what may be asked for,
//! and the words on how to go on; must never speak to a reader (its line does). Invariant: two readers of one line
//! are never told to have the same address.

use std::collections::BTreeMap;

use crate::{
    config::site::{Line, ReaderSource, Site},
    domain::{
        ids::{Id, ReaderIx},
        installer::Answer,
    },
    runtime::osdp_loop::SetLine,
    wire::osdp::{ADDRESS_MAX, BAUDS},
};

#[derive(Debug, Default)]
pub struct Lines {
    readers: BTreeMap<ReaderIx, Place>,
    asked: u64,
}

#[derive(Clone, Debug)]
struct Place {
    reader: Id,
    bus: Id,
    /// As it is now, and as the line is set up.
    address: u8,
    baud: u32,
    change: Option<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    address: u8,
    baud: u32,
    result: Option<Result<(), NotSet>>,
}

/// Why a reader has no other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSet {
    /// It was not told.
    Kept(String),
    /// It was told, or is not there: where it is may not be known.
    Failed(String),
}

impl Lines {
    pub fn of(site: &Site) -> Lines {
        let place = |reader: &crate::config::site::Reader| {
            let ReaderSource::Osdp(osdp) = &reader.source else { return None };
            let bus = site.buses.iter().find(|bus| bus.bus == osdp.bus)?;
            let Line::Osdp(port) = &bus.line else { return None };
            let (address, baud) = (osdp.address, port.baud);
            let place = Place { reader: reader.id.clone(), bus: bus.id.clone(), address, baud, change: None };
            Some((reader.reader, place))
        };
        Lines { readers: site.readers.iter().filter_map(place).collect(), asked: 0 }
    }

    fn find(&self, reader: &Id) -> Result<(ReaderIx, Place), String> {
        let found = self.readers.iter().find(|(_, place)| place.reader == *reader);
        found.map(|(ix, place)| (*ix, place.clone())).ok_or_else(|| {
            let known: Vec<&str> = self.readers.values().map(|place| place.reader.as_str()).collect();
            format!("there is no OSDP reader `{reader}`; there are {}", known.join(", "))
        })
    }

    /// What its line is to tell it.
    pub fn begin(
        &mut self,
        reader: &Id,
        address: Option<u8>,
        baud: Option<u32>,
        uid: u32,
    ) -> Result<(ReaderIx, SetLine), String> {
        let (ix, place) = self.find(reader)?;
        let (address, baud) = (address.unwrap_or(place.address), baud.unwrap_or(place.baud));
        if address > ADDRESS_MAX {
            return Err(format!("{address} is no address: expected 0 to {ADDRESS_MAX}"));
        }
        if !BAUDS.contains(&baud) {
            return Err(format!(
                "{baud} is no speed of OSDP: expected one of {}",
                BAUDS.map(|b| b.to_string()).join(", ")
            ));
        }
        if (address, baud) == (place.address, place.baud) {
            return Err(format!("`{reader}` has address {address} and {baud} baud already"));
        }
        let others = self.readers.values().filter(|other| other.bus == place.bus && other.reader != *reader);
        let is_taken = |other: &&Place| {
            other.address == address || other.change.as_ref().is_some_and(|change| change.address == address)
        };
        if let Some(other) = others.into_iter().find(is_taken) {
            return Err(format!("`{}` on the same line has address {address}", other.reader));
        }
        self.asked += 1;
        if let Some(place) = self.readers.get_mut(&ix) {
            place.change = Some(Change { address, baud, result: None });
        }
        Ok((ix, SetLine { number: self.asked, uid, address, baud }))
    }

    /// From the line.
    pub fn said(&mut self, reader: ReaderIx, result: Result<(), NotSet>) {
        let Some(place) = self.readers.get_mut(&reader) else { return };
        let Some(change) = &mut place.change else { return };
        if result.is_ok() {
            // The line itself stays as it is set up.
            place.address = change.address;
        }
        change.result = Some(result);
    }

    pub fn ask(&self, reader: &Id) -> Answer {
        let place = match self.find(reader) {
            Ok((_, place)) => place,
            Err(message) => return Answer::Refused { message },
        };
        let Place { bus, change, .. } = &place;
        match change {
            None => Answer::Refused { message: format!("`{reader}` was not told anything") },
            Some(Change { result: None, .. }) => Answer::Waiting {},
            Some(Change { result: Some(Ok(())), address, baud }) => {
                let mut message = format!(
                    "`{reader}` confirms address {address} and {baud} baud; now write `address = {address}` into its \
                     `osdp` in the site file"
                );
                if *baud != place.baud {
                    message += &format!(
                        ". It is not heard of any more until `baud = {baud}` stands in [[bus]] `{bus}` and latchd is \
                         started anew: tell the other readers of the bus first"
                    );
                }
                Answer::Done { message }
            }
            Some(Change { result: Some(Err(NotSet::Kept(why))), .. }) => Answer::Refused {
                message: format!(
                    "`{reader}` was not told anything, and is as it was: {why}. `latchd scan {bus}` shows who answers \
                     where, while latchd is stopped"
                ),
            },
            Some(Change { result: Some(Err(NotSet::Failed(why))), .. }) => Answer::Refused {
                message: format!(
                    "`{reader}`: {why}. To find it: stop latchd and `latchd scan {bus} --baud all`; one that is not \
                     found is reset as its manual says, and then has address 0 and 9600 baud as a rule"
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn lines() -> Lines {
        let place =
            |reader, bus, address| Place { reader: id(reader), bus: id(bus), address, baud: 9_600, change: None };
        let places = [place("front", "hall", 0), place("back", "hall", 1), place("gate", "yard", 2)];
        Lines { readers: (0..).map(ReaderIx).zip(places).collect(), asked: 0 }
    }

    #[test]
    fn an_address_that_another_reader_of_the_line_has_or_is_to_have_is_given_to_nobody() {
        let mut lines = lines();
        assert!(lines.begin(&id("front"), Some(1), None, 0).unwrap_err().contains("`back`"));
        // On another line it is another address.
        assert!(lines.begin(&id("front"), Some(2), None, 0).is_ok());
        assert!(lines.begin(&id("back"), Some(2), None, 0).unwrap_err().contains("`front`"));
        lines.said(ReaderIx(0), Ok(()));
        assert!(lines.begin(&id("back"), Some(0), None, 0).is_ok(), "what it left is free");
    }

    #[test]
    fn only_what_osdp_knows_and_what_would_be_another_is_told_to_a_reader() {
        let mut lines = lines();
        for (reader, address, baud) in [
            ("none", Some(5), None),
            ("front", Some(127), None),
            ("front", None, Some(12_345)),
            ("front", Some(0), None),
        ] {
            assert!(lines.begin(&id(reader), address, baud, 0).is_err(), "{reader} {address:?} {baud:?}");
        }
        let (ix, told) = lines.begin(&id("front"), None, Some(115_200), 7).unwrap();
        assert_eq!((ix, told), (ReaderIx(0), SetLine { number: 1, uid: 7, address: 0, baud: 115_200 }));
    }

    #[test]
    fn whoever_asked_hears_what_to_do_next_whether_it_worked_or_not() {
        let mut lines = lines();
        lines.begin(&id("front"), Some(5), Some(115_200), 0).unwrap();
        assert_eq!(lines.ask(&id("front")), Answer::Waiting {});
        lines.said(ReaderIx(0), Err(NotSet::Failed("it has not answered".to_owned())));
        let Answer::Refused { message } = lines.ask(&id("front")) else { panic!() };
        assert!(message.contains("latchd scan hall") && message.contains("manual"), "{message}");
        lines.said(ReaderIx(0), Err(NotSet::Kept("address 5 answers already".to_owned())));
        let Answer::Refused { message } = lines.ask(&id("front")) else { panic!() };
        assert!(message.contains("as it was: address 5") && !message.contains("reset"), "{message}");
        lines.said(ReaderIx(0), Ok(()));
        let Answer::Done { message } = lines.ask(&id("front")) else { panic!() };
        assert!(message.contains("`address = 5`") && message.contains("`baud = 115200`"), "{message}");
    }
}
