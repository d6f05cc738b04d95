//! The secure channel against the published example (SIA OSDP 2.2, annex E: SCBK-D, RND.A B0..B7, RND.B A0..A7),
//! and against a reader made of the same parts turned round.

use proptest::prelude::*;

use super::*;
use crate::wire::osdp::{
    frame::Decoder,
    testkit::{SecureReader, frame_of},
};

const RANDOM: [u8; 8] = [0xB0, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7];
const READER_RANDOM: [u8; 8] = [0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7];
const ENCRYPTION: Block =
    [0xBF, 0x8D, 0xC2, 0xA8, 0x32, 0x9A, 0xCB, 0x8C, 0x67, 0xC6, 0xD0, 0xCD, 0x9A, 0x45, 0x16, 0x82];
const MAC_1: Block = [0x5E, 0x86, 0xC6, 0x76, 0x60, 0x3B, 0xDE, 0xE2, 0xD8, 0xBE, 0xAF, 0xE1, 0x78, 0x63, 0x73, 0x32];
const MAC_2: Block = [0x6F, 0xDA, 0x86, 0xE8, 0x57, 0x77, 0x7E, 0x81, 0x13, 0x20, 0x35, 0x75, 0x82, 0x39, 0x17, 0x2E];
const CLIENT_CRYPTOGRAM: Block =
    [0xFD, 0xE5, 0xD2, 0xF4, 0x28, 0xEC, 0x16, 0x31, 0x24, 0x71, 0xEA, 0x3C, 0x02, 0xBD, 0x77, 0x96];
const SERVER_CRYPTOGRAM: Block =
    [0x26, 0xD3, 0x35, 0x6E, 0x07, 0x76, 0x2D, 0x26, 0x28, 0x01, 0xFC, 0x8E, 0x66, 0x65, 0xA8, 0x91];
const INITIAL_MAC: Block =
    [0xB2, 0xA3, 0x00, 0x57, 0xEB, 0x98, 0xBA, 0x22, 0x29, 0xEC, 0x1F, 0x87, 0x56, 0x62, 0xB5, 0x24];

fn handshake_reply(kind: u8, code: u8, status: u8, data: Vec<u8>) -> Received {
    let frame = Frame {
        way: Way::Reply,
        address: 0,
        sequence: 1,
        check: Check::Crc,
        security: Some(SecurityBlock { kind, data: vec![status] }),
        code,
        data,
    };
    frame_of(&frame.encode().unwrap())
}

fn ccrypt(cryptogram: Block) -> Received {
    handshake_reply(SCS_12, 0x76, 0, [&[0; 8][..], &READER_RANDOM, &cryptogram].concat())
}

#[test]
fn the_published_example_gives_the_published_keys_cryptograms_and_first_mac() {
    let mut handshake = Handshake::begin(KeyKind::Default, &SCBK_DEFAULT, RANDOM);
    assert_eq!((*handshake.keys.encryption, *handshake.keys.mac_1, *handshake.keys.mac_2), (ENCRYPTION, MAC_1, MAC_2));
    assert_eq!(handshake.challenge(), (SecurityBlock { kind: SCS_11, data: vec![0] }, Command::Challenge(RANDOM)));
    let (block, proof) = handshake.prove(&ccrypt(CLIENT_CRYPTOGRAM)).unwrap();
    assert_eq!(block, SecurityBlock { kind: SCS_13, data: vec![0] });
    assert_eq!(proof, Command::ServerCryptogram(SERVER_CRYPTOGRAM));
    assert!(handshake.complete(&handshake_reply(SCS_14, 0x78, 1, INITIAL_MAC.to_vec())).is_ok());
}

#[test]
fn no_reader_without_the_key_gets_a_session() {
    let mut handshake = Handshake::begin(KeyKind::Own, &[7; 16], RANDOM);
    assert_eq!(handshake.prove(&ccrypt(CLIENT_CRYPTOGRAM)), Err(SecureError::WrongCryptogram));
    let mut handshake = Handshake::begin(KeyKind::Default, &SCBK_DEFAULT, RANDOM);
    handshake.prove(&ccrypt(CLIENT_CRYPTOGRAM)).unwrap();
    let wrong = handshake_reply(SCS_14, 0x78, 1, vec![0; 16]);
    assert_eq!(handshake.complete(&wrong).err(), Some(SecureError::BadMac));
    let rejected = handshake_reply(SCS_14, 0x78, 0xFF, INITIAL_MAC.to_vec());
    assert_eq!(handshake.complete(&rejected).err(), Some(SecureError::Rejected));
}

fn session() -> (Session, SecureReader) {
    let mut reader = SecureReader::new([9; 16]);
    let mut handshake = Handshake::begin(KeyKind::Own, &[9; 16], RANDOM);
    let (block, challenge) = handshake.challenge();
    let command = |block, sequence, command: &Command| Frame {
        way: Way::Command,
        address: 0,
        sequence,
        check: Check::Crc,
        security: Some(block),
        code: command.code(),
        data: command.data(),
    };
    let first = reader.answer(&command(block, 0, &challenge).encode().unwrap(), 0x40, &[]);
    let (block, proof) = handshake.prove(&frame_of(&first)).unwrap();
    let second = reader.answer(&command(block, 1, &proof).encode().unwrap(), 0x40, &[]);
    (handshake.complete(&frame_of(&second)).unwrap(), reader)
}

#[test]
fn a_session_carries_commands_and_replies_with_and_without_data_in_a_row() {
    let (mut session, mut reader) = session();
    let card = [0, 1, 26, 0, 0xBD, 0x88, 0xEB, 0x80];
    for (sequence, data) in [(2, &[][..]), (3, &card), (1, &[]), (2, &card)] {
        let poll = session.seal(0, sequence, Check::Crc, &Command::Poll).unwrap();
        let code = if data.is_empty() { 0x40 } else { 0x50 };
        let reply = reader.answer(&poll, code, data);
        assert_eq!(session.open(&frame_of(&reply)), Ok(Reply::parse(code, data).unwrap()));
    }
    let id = session.seal(0, 3, Check::Crc, &Command::Id).unwrap();
    assert!(reader.understands(&id));
}

#[test]
fn what_was_said_once_is_not_believed_twice_and_nothing_in_the_clear_is() {
    let (mut session, mut reader) = session();
    let poll = session.seal(0, 2, Check::Crc, &Command::Poll).unwrap();
    let reply = reader.answer(&poll, 0x40, &[]);
    assert_eq!(session.open(&frame_of(&reply)), Ok(Reply::Ack));
    session.seal(0, 3, Check::Crc, &Command::Poll).unwrap();
    assert_eq!(session.open(&frame_of(&reply)), Err(SecureError::BadMac));
    let plain = Frame {
        way: Way::Reply,
        address: 0,
        sequence: 3,
        check: Check::Crc,
        security: None,
        code: 0x40,
        data: Vec::new(),
    };
    assert_eq!(session.open(&frame_of(&plain.encode().unwrap())), Err(SecureError::Cleartext));
}

#[test]
fn every_flipped_bit_of_a_secured_reply_is_noticed_even_under_a_check_that_fits() {
    let card = [0, 1, 26, 0, 0xBD, 0x88, 0xEB, 0x80];
    let (_, mut reader) = session();
    let (mut panel, _) = session();
    let poll = panel.seal(0, 2, Check::Crc, &Command::Poll).unwrap();
    let reply = reader.answer(&poll, 0x50, &card);
    let body = &reply[..reply.len() - 2];
    // Not the frame's own head: whoever changes its length or control makes it another frame.
    for bit in 5 * 8..body.len() * 8 {
        let mut flipped = body.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::default();
        decoder.push(&finish(flipped, Check::Crc));
        let (mut panel, _) = session();
        panel.seal(0, 2, Check::Crc, &Command::Poll).unwrap();
        let opened = decoder.next_frame().map(|received| panel.open(&received));
        assert!(!matches!(opened, Some(Ok(_))), "bit {bit}: {opened:?}");
    }
}

#[test]
fn keys_show_themselves_to_nobody() {
    let (session, _) = session();
    assert!(!format!("{session:?}").contains("191"), "{session:?}");
    assert!(format!("{session:?}").contains("Keys(..)"));
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_again_whatever_its_length(data in proptest::collection::vec(any::<u8>(), 1..200), iv: [u8; 16]) {
        let keys = Keys::derive(&[3; 16], RANDOM);
        prop_assert_eq!(keys.open(iv, &keys.seal(iv, &data)), Some(data));
    }

    #[test]
    fn arbitrary_replies_in_a_session_never_panic(kind in 0u8..0x20, code: u8, data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let (mut session, _) = session();
        let frame = Frame {
            way: Way::Reply, address: 0, sequence: 1, check: Check::Crc,
            security: Some(SecurityBlock { kind, data: vec![1] }), code, data,
        };
        let mut decoder = Decoder::default();
        decoder.push(&frame.encode().unwrap());
        if let Some(received) = decoder.next_frame() {
            let _ = session.open(&received);
            let mut handshake = Handshake::begin(KeyKind::Own, &[1; 16], RANDOM);
            let _ = handshake.prove(&received);
            let _ = handshake.complete(&received);
        }
    }
}
