//! The server side of the Modbus application protocol (V1.1b3), the functions that boards have. Written
//! without the client's library, so that the two check each other.

use super::{Registers, Write};

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

pub fn respond(registers: &mut Registers, request: &[u8]) -> Vec<u8> {
    let Some((&code, body)) = request.split_first() else { return vec![0x80, ILLEGAL_FUNCTION] };
    match serve(registers, code, body) {
        Ok(reply) => [vec![code], reply].concat(),
        Err(exception) => vec![code | 0x80, exception],
    }
}

fn serve(registers: &mut Registers, code: u8, body: &[u8]) -> Result<Vec<u8>, u8> {
    let word = |at: usize| match body.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(ILLEGAL_VALUE),
    };
    let (address, second) = (word(0)?, word(2)?);
    let size = registers.size;
    let range = |max: u16| {
        if second == 0 || second > max {
            return Err(ILLEGAL_VALUE);
        }
        match address.checked_add(second) {
            Some(end) if end <= size => Ok(address..end),
            _ => Err(ILLEGAL_ADDRESS),
        }
    };
    match code {
        1 => Ok(pack(range(2000)?.map(|at| registers.coil(at)).collect())),
        2 => Ok(pack(range(2000)?.map(|at| registers.input(at)).collect())),
        3 => Ok(words(range(125)?.map(|at| registers.holding(at)).collect())),
        4 => Ok(words(range(125)?.map(|at| registers.input_register(at)).collect())),
        5 if registers.has_timer(address) => {
            registers.write(Write::Timer { address, count: second });
            Ok(body.get(..4).unwrap_or(&[]).to_vec())
        }
        5 | 6 if address >= size => Err(ILLEGAL_ADDRESS),
        5 => {
            let on = match second {
                0xFF00 => true,
                0 => false,
                _ => return Err(ILLEGAL_VALUE),
            };
            registers.write(Write::Coil { address, on });
            Ok(body.get(..4).unwrap_or(&[]).to_vec())
        }
        6 => {
            registers.write(Write::Register { address, value: second });
            Ok(body.get(..4).unwrap_or(&[]).to_vec())
        }
        _ => Err(ILLEGAL_FUNCTION),
    }
}

fn pack(bits: Vec<bool>) -> Vec<u8> {
    let bytes =
        bits.chunks(8).map(|chunk| chunk.iter().enumerate().fold(0_u8, |byte, (bit, &on)| byte | u8::from(on) << bit));
    let bytes: Vec<u8> = bytes.collect();
    [vec![bytes.len() as u8], bytes].concat()
}

fn words(words: Vec<u16>) -> Vec<u8> {
    let bytes: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
    [vec![bytes.len() as u8], bytes].concat()
}
