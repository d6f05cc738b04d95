//! A decision allocates nothing, whatever it comes to: the door's thread is never at the mercy of the
//! allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use jiff::tz::TimeZone;
use latchd::domain::{
    card_format::{CardFormats, CardTokens},
    ids::{DoorIx, Id},
    permission::{Permissions, Request, SetVersion, Target},
    record::Token,
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::sets::{cases, pin, token, topology};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_decision_neither_allocates_nor_frees() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..100 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let zone = TimeZone::get(case.zone).unwrap();
        let set = Permissions::compile(case.records, &topology(), &zone, SetVersion::default()).unwrap();
        for card in (0..8).map(|card| CardTokens::single(token(card))) {
            for target in [0, 1, 2, 3].map(|door| Target::Door(DoorIx(door))).into_iter().chain([Target::Cab(0)]) {
                let alone = Request::card(&card, target, case.now);
                for request in [alone, Request { pin: Some(pin(1)), companion: Some(&card), ..alone }] {
                    let before = CALLS.get();
                    drop(std::hint::black_box(set.judge(&request).cloned()));
                    assert_eq!(CALLS.get(), before, "{request:?}");
                }
            }
        }
    }
}

#[test]
fn reading_a_card_by_its_formats_neither_allocates_nor_frees() {
    let longest = |notation: &str| {
        let whole = serde_json::json!({ "bits": 1024, "notation": notation, "number": { "first": 0, "bits": 1024 } });
        serde_json::from_value(whole).unwrap()
    };
    let own = [("longest", longest("decimal")), ("in_hex", longest("hex"))]
        .map(|(name, format)| (Id::new(name).unwrap(), format));
    let formats = CardFormats::new(&own.into());
    let all_ones = format!("in_hex:{}", "f".repeat(256));
    for text in [
        "h10301:123:4567",
        "h10304:65535:524287",
        "corporate1000_48:4194303:1",
        "uid10:ffffffffffffffffffff",
        &all_ones,
    ] {
        let card = formats.encode(text).unwrap();
        let before = CALLS.get();
        std::hint::black_box(formats.read(card).tokens(|text| Token([text.len() as u8; 32])));
        assert_eq!(CALLS.get(), before, "{text}");
    }
}

#[test]
fn the_counter_counts() {
    let before = CALLS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(CALLS.get(), before + 2);
}
