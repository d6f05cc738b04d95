//! The exchange on a line that brings what a line brings: late, broken, foreign and repeated bytes.

use super::*;

const START: Mono = Mono::from_millis(1_000);
const READ: Request = Request::Read { table: Table::Coil, address: 0, count: 10 };

fn times() -> RtuTimes {
    RtuTimes::new(Duration::from_millis(2), Duration::from_millis(2))
}

fn begin(request: Request) -> (Exchange, Vec<u8>) {
    begin_where(Echo::Absent, request)
}

fn begin_where(echo: Echo, request: Request) -> (Exchange, Vec<u8>) {
    Exchange::begin(
        times(),
        echo,
        &Transaction { unit: 1, request, start_by: None, patience: Duration::from_millis(100) },
        START,
    )
}

fn at(millis: u64) -> Mono {
    START + Duration::from_millis(millis)
}

/// Runs to the end of an exchange that hears nothing more.
fn end(mut exchange: Exchange) -> (Mono, Result<Reply, BusFault>) {
    loop {
        let now = exchange.until();
        if let Some(result) = exchange.due(now) {
            return (now, result);
        }
    }
}

#[test]
fn the_checksum_is_that_of_the_specification() {
    assert_eq!(crc(b"123456789"), 0x4B37);
}

/// What a board's manual shows for relay 1 on for 700 ms, and its echo.
#[test]
fn a_timer_is_set_by_the_frame_of_the_manual_and_its_echo_is_the_answer() {
    let (mut exchange, bytes) = begin(Request::WriteTimer { address: 0x200, count: 7 });
    assert_eq!(bytes, [0x01, 0x05, 0x02, 0x00, 0x00, 0x07, 0x8d, 0xb0]);
    assert_eq!(exchange.hear(at(5), &bytes), Some(Ok(Reply::Written)));
}

#[test]
fn an_answer_is_taken_with_its_last_byte_however_it_is_cut() {
    let answer = frame(1, &[1, 2, 0b0000_0101, 0b10]);
    let (mut exchange, _) = begin(READ);
    for (millis, byte) in (5..).zip(&answer[..6]) {
        assert_eq!(exchange.hear(at(millis), &[*byte]), None);
    }
    let bits = [true, false, true, false, false, false, false, false, false, true];
    assert_eq!(exchange.hear(at(12), &answer[6..]), Some(Ok(Reply::Bits(bits.to_vec()))));
}

#[test]
fn registers_are_big_endian() {
    let (mut exchange, _) = begin(Request::Read { table: Table::HoldingRegister, address: 100, count: 2 });
    assert_eq!(exchange.hear(at(5), &frame(1, &[3, 4, 1, 2, 3, 4])), Some(Ok(Reply::Words(vec![0x102, 0x304]))));
}

#[test]
fn what_a_driver_adds_when_it_turns_on_or_off_costs_nothing() {
    let (mut exchange, bytes) = begin(Request::WriteCoil { address: 3, on: true });
    let noisy = [&[0x00, 0xFF, 0x01][..], &bytes, &[0x00]].concat();
    assert_eq!(exchange.hear(at(5), &noisy), Some(Ok(Reply::Written)));
}

#[test]
fn what_a_driver_adds_before_a_slow_board_answers_does_not_end_the_waiting() {
    let (mut exchange, bytes) = begin(Request::WriteCoil { address: 3, on: true });
    assert_eq!(exchange.hear(at(1), &[0x00, 0xFF]), None);
    assert_eq!(exchange.until(), at(100));
    assert_eq!(exchange.hear(at(90), &bytes), Some(Ok(Reply::Written)));
}

#[test]
fn of_two_answers_at_once_the_last_is_taken_if_it_fits() {
    let (mut exchange, bytes) = begin(Request::WriteCoil { address: 3, on: true });
    let twice = [frame(1, &[0x85, 4]), bytes].concat();
    assert_eq!(exchange.hear(at(5), &twice), Some(Ok(Reply::Written)));
    let (mut exchange, bytes) = begin(READ);
    assert_eq!(exchange.hear(at(5), &[frame(1, &[1, 2, 1, 0]), bytes].concat()), None);
    assert!(matches!(end(exchange).1, Err(BusFault::Garbage(_))));
}

#[test]
fn a_refusal_is_told_from_silence_damage_and_the_answer_to_something_else() {
    let write = Request::WriteCoil { address: 3, on: true };
    assert_eq!(begin(write).0.hear(at(5), &frame(1, &[0x85, 2])), Some(Err(BusFault::Exception(2))));
    assert_eq!(end(begin(write).0), (at(125), Err(BusFault::Timeout)));
    let mut damaged = frame(1, &[0x85, 2]);
    damaged[2] ^= 4;
    let others = [
        damaged,
        frame(2, &[5, 0, 3, 0xFF, 0]),
        frame(1, &[5, 0, 3, 0, 0]),
        frame(1, &[5, 0, 2, 0xFF, 0]),
        frame(1, &[6, 0, 3, 0xFF, 0]),
        frame(1, &[0x86, 2]),
    ];
    for other in others {
        let (mut exchange, _) = begin(write);
        assert_eq!(exchange.hear(at(5), &other), None, "{other:x?}");
        let (when, result) = end(exchange);
        // What has come needs no waiting for the deadline.
        assert_eq!(when, at(5) + times().stall);
        assert!(matches!(result, Err(BusFault::Garbage(_))), "{result:?}");
    }
}

#[test]
fn another_number_of_bits_or_registers_is_no_answer() {
    for wrong in [frame(1, &[1, 1, 1]), frame(1, &[1, 3, 1, 2, 3]), frame(1, &[2, 2, 1, 0])] {
        let (mut exchange, _) = begin(READ);
        assert_eq!(exchange.hear(at(5), &wrong), None, "{wrong:x?}");
    }
}

const WRITE: Request = Request::WriteCoil { address: 3, on: true };

#[test]
fn a_read_tells_whether_the_line_echoes_whatever_was_known_of_it() {
    let answer = frame(1, &[1, 2, 0b101, 0b10]);
    for known in [Echo::Unknown, Echo::Absent, Echo::Present] {
        let (mut exchange, bytes) = begin_where(known, READ);
        assert_eq!(exchange.hear(at(1), &bytes), None);
        // A slow board, which still thinks.
        assert_eq!(exchange.until(), at(100));
        assert!(matches!(exchange.hear(at(90), &answer), Some(Ok(Reply::Bits(_)))));
        assert_eq!(exchange.echo(), Some(Heard::Itself));
        let (mut exchange, _) = begin_where(known, READ);
        assert!(matches!(exchange.hear(at(5), &answer), Some(Ok(Reply::Bits(_)))));
        assert_eq!(exchange.echo(), Some(Heard::OnlyTheAnswer));
        // A refusal tells as well.
        let (mut exchange, bytes) = begin_where(known, READ);
        assert_eq!(exchange.hear(at(5), &[bytes, frame(1, &[0x81, 2])].concat()), Some(Err(BusFault::Exception(2))));
        assert_eq!(exchange.echo(), Some(Heard::Itself));
    }
}

/// The bits of seventeen coils are as many bytes as a request has.
#[test]
fn the_echo_of_a_read_is_never_its_answer_however_long_that_is() {
    let request = Request::Read { table: Table::Coil, address: 0x0301, count: 17 };
    let (mut exchange, bytes) = begin_where(Echo::Unknown, request);
    assert_eq!(exchange.hear(at(1), &bytes), None);
    let answer = frame(1, &[1, 3, 0xFF, 0xFF, 1]);
    assert_eq!(exchange.hear(at(9), &answer), Some(Ok(Reply::Bits(vec![true; 17]))));
}

#[test]
fn a_write_is_not_confirmed_by_its_own_echo() {
    for known in [Echo::Unknown, Echo::Present] {
        let (mut exchange, bytes) = begin_where(known, WRITE);
        assert_eq!(exchange.hear(at(1), &bytes), None, "{known:?}");
        assert_eq!(exchange.until(), at(100), "the board still thinks");
        let (when, result) = end(exchange);
        assert_eq!(when, at(125));
        match known {
            Echo::Present => assert_eq!(result, Err(BusFault::Timeout)),
            _ => assert!(matches!(result, Err(BusFault::Garbage(_))), "it may have been the answer: {result:?}"),
        }
        // Behind its echo its answer is one, with noise before both and between them as well.
        for noise in [&[][..], &[0], &[0xFF, 0x00, 0x01]] {
            let (mut exchange, bytes) = begin_where(known, WRITE);
            assert_eq!(exchange.hear(at(1), &[noise, &bytes].concat()), None);
            assert_eq!(exchange.hear(at(80), &[noise, &bytes].concat()), Some(Ok(Reply::Written)));
            assert_eq!(exchange.echo(), Some(Heard::Itself));
        }
        let (mut exchange, bytes) = begin_where(known, WRITE);
        let refused = [bytes, frame(1, &[0x85, 4])].concat();
        assert_eq!(exchange.hear(at(5), &refused), Some(Err(BusFault::Exception(4))));
    }
}

#[test]
fn a_write_alone_does_not_tell_whether_the_line_echoes() {
    for known in [Echo::Unknown, Echo::Absent, Echo::Present] {
        let (mut exchange, bytes) = begin_where(known, WRITE);
        exchange.hear(at(1), &bytes);
        assert_eq!(exchange.echo(), None, "{known:?}");
    }
    let (mut exchange, _) = begin_where(Echo::Unknown, WRITE);
    assert_eq!(exchange.hear(at(5), &frame(1, &[0x85, 2])), Some(Err(BusFault::Exception(2))));
    assert_eq!(exchange.echo(), Some(Heard::OnlyTheAnswer), "its refusal does");
}

#[test]
fn a_damaged_echo_neither_confirms_nor_hurries_and_hides_the_answer_to_a_read_from_nobody() {
    let damaged = |mut bytes: Vec<u8>| {
        bytes[3] ^= 4;
        bytes
    };
    let (mut exchange, bytes) = begin_where(Echo::Present, WRITE);
    assert_eq!(exchange.hear(at(1), &damaged(bytes.clone())), None);
    assert_eq!(exchange.until(), at(100));
    // Which of both was whole nobody knows.
    assert_eq!(exchange.hear(at(60), &bytes), None);
    assert_eq!(end(exchange).1, Err(BusFault::Timeout));
    let (mut exchange, bytes) = begin_where(Echo::Present, READ);
    assert_eq!(exchange.hear(at(1), &damaged(bytes)), None);
    assert!(matches!(exchange.hear(at(60), &frame(1, &[1, 2, 1, 0])), Some(Ok(Reply::Bits(_)))));
    assert_eq!(exchange.echo(), None, "it tells nothing");
}

#[test]
fn after_an_answer_that_did_not_come_the_line_is_listened_to_until_it_is_silent() {
    let (mut exchange, bytes) = begin(Request::WriteCoil { address: 3, on: true });
    assert_eq!(exchange.due(at(100)), None);
    // The late answer itself is not taken any more.
    assert_eq!(exchange.hear(at(120), &bytes), None);
    assert_eq!(end(exchange), (at(145), Err(BusFault::Timeout)));
}

#[test]
fn a_line_that_never_falls_silent_is_given_up() {
    let (mut exchange, _) = begin(READ);
    for millis in 0..10_000 {
        let over = exchange.hear(at(millis), &[0xAA]).or_else(|| exchange.due(at(millis)));
        if let Some(result) = over {
            assert!(matches!(result, Err(BusFault::Garbage(_))) && millis <= 601, "{millis}");
            return;
        }
    }
    panic!("it was listened to without end");
}
