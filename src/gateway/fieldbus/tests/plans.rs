use super::rig::{id, profile};
use crate::{
    domain::fieldbus::{InputAddress, InputPoint, OutputAddress, OutputPoint, Profile},
    gateway::fieldbus::{Group, Table, plan},
};

fn bits(addresses: impl IntoIterator<Item = u16>, read_bits_max: u16) -> Profile {
    let inputs = addresses
        .into_iter()
        .map(|at| InputPoint { name: id(&format!("in-{at}")), address: InputAddress::DiscreteInput(at) });
    Profile { inputs: inputs.collect(), outputs: vec![], card_blocks: vec![], read_bits_max, ..profile() }
}

fn spans(profile: &Profile) -> Vec<(u16, u16)> {
    plan(profile).iter().map(|group| (group.address, group.count)).collect()
}

#[test]
fn each_table_is_read_in_one_piece_and_the_read_back_of_outputs_is_told_apart() {
    let group = |table, address, count, outputs_only| Group { table, address, count, outputs_only };
    assert_eq!(
        plan(&profile()),
        [
            group(Table::Coil, 0, 2, true),
            group(Table::DiscreteInput, 0, 2, false),
            group(Table::HoldingRegister, 100, 4, false),
            group(Table::HoldingRegister, 110, 4, false),
        ]
    );
}

#[test]
fn an_address_that_the_profile_does_not_name_is_never_read() {
    assert_eq!(spans(&bits([0, 1, 2, 4, 9], 128)), [(0, 3), (4, 1), (9, 1)]);
}

#[test]
fn a_gap_is_read_over_where_the_board_allows_it_and_that_is_less_than_another_read() {
    let over =
        |addresses: &[u16], most| spans(&Profile { gaps_readable: true, ..bits(addresses.iter().copied(), most) });
    assert_eq!(over(&[0, 1, 2, 4, 9], 128), [(0, 10)]);
    assert_eq!(over(&[0, 160], 2000), [(0, 161)]);
    assert_eq!(over(&[0, 162], 2000), [(0, 1), (162, 1)]);
    assert_eq!(over(&[0, 9], 8), [(0, 1), (9, 1)]);
    let holding = |words: &[u16]| {
        let point = |at: &u16| InputPoint {
            name: id(&format!("in-{at}")),
            address: InputAddress::HoldingRegisterBit { address: *at, bit: 0 },
        };
        spans(&Profile { inputs: words.iter().map(point).collect(), gaps_readable: true, ..bits([], 128) })
    };
    assert_eq!(holding(&[0, 11]), [(0, 12)]);
    assert_eq!(holding(&[0, 12]), [(0, 1), (12, 1)]);
}

#[test]
fn a_board_that_takes_few_bits_at_a_time_is_read_in_more_pieces() {
    assert_eq!(spans(&bits(0..10, 4)), [(0, 4), (4, 4), (8, 2)]);
    assert_eq!(spans(&bits(0..3, 0)), [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn the_last_addresses_of_a_table_can_be_read() {
    assert_eq!(spans(&bits([65_534, 65_535], 128)), [(65_534, 2)]);
}

#[test]
fn a_card_block_is_not_cut_where_the_board_takes_it_whole() {
    let mut profile = profile();
    profile.read_registers_max = 4;
    profile.inputs = (96..100)
        .map(|address| InputPoint {
            name: id(&format!("in-{address}")),
            address: InputAddress::HoldingRegisterBit { address, bit: 0 },
        })
        .collect();
    let holding: Vec<_> = plan(&profile).into_iter().filter(|group| group.table == Table::HoldingRegister).collect();
    assert!(holding.iter().any(|group| (group.address, group.count) == (100, 4)), "{holding:?}");
}

#[test]
fn outputs_without_read_back_are_not_read() {
    let point = |reads_back| OutputPoint {
        name: id("relay"),
        address: OutputAddress::Coil(7),
        reads_back,
        timer: None,
        safe_coil: None,
    };
    let with = Profile { outputs: vec![point(true)], ..bits([0], 128) };
    let without = Profile { outputs: vec![point(false)], ..bits([0], 128) };
    assert_eq!((plan(&with).len(), plan(&without).len()), (2, 1));
}
