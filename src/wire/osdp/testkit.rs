//! A reader for tests, in a few lines: the other half of the secure channel, from the standard's words and not
//! from ours. Owns one session; must never be linked into the daemon.

use aes::{
    Aes128,
    cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _},
};

use super::frame::{Decoder, Frame, Received, SecurityBlock, Way, finish};

type Block = [u8; 16];

/// The one frame in these bytes.
pub fn frame_of(bytes: &[u8]) -> Received {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    decoder.next_frame().expect("a whole frame")
}

#[derive(Clone, Debug)]
pub struct SecureReader {
    key: Block,
    random: [u8; 8],
    keys: [Block; 3],
    of_commands: Block,
    of_replies: Block,
    pub stands: bool,
}

fn aes(key: &Block, block: Block) -> Block {
    let mut block = block.into();
    Aes128::new(&(*key).into()).encrypt_block(&mut block);
    block.into()
}

fn unaes(key: &Block, block: Block) -> Block {
    let mut block = block.into();
    Aes128::new(&(*key).into()).decrypt_block(&mut block);
    block.into()
}

fn xor(a: Block, b: Block) -> Block {
    std::array::from_fn(|at| a[at] ^ b[at])
}

impl SecureReader {
    pub fn new(key: Block) -> SecureReader {
        SecureReader {
            key,
            random: [0xA5; 8],
            keys: [[0; 16]; 3],
            of_commands: [0; 16],
            of_replies: [0; 16],
            stands: false,
        }
    }

    pub fn key(&self) -> Block {
        self.key
    }

    /// Answers a challenge or a proof as it must, anything else in the session with this reply.
    pub fn answer(&mut self, command: &[u8], code: u8, data: &[u8]) -> Vec<u8> {
        let received = frame_of(command);
        match received.frame.code {
            0x76 => self.challenged(&received),
            0x77 => self.proven(&received),
            _ => {
                self.hear(&received).expect("a command under the session");
                self.say(&received, code, data)
            }
        }
    }

    /// Whether the command proves itself.
    pub fn understands(&mut self, command: &[u8]) -> bool {
        self.hear(&frame_of(command)).is_some()
    }

    pub fn challenged(&mut self, received: &Received) -> Vec<u8> {
        self.stands = false;
        let a: [u8; 8] = received.frame.data[..8].try_into().unwrap();
        let derived = |second: u8, first: u8| {
            let mut block = [0; 16];
            block[0] = first;
            block[1] = second;
            block[2..8].copy_from_slice(&a[..6]);
            aes(&self.key, block)
        };
        self.keys = [derived(0x82, 1), derived(0x01, 1), derived(0x02, 1)];
        let both: Block = [a, self.random].concat().try_into().unwrap();
        let turned: Block = [self.random, a].concat().try_into().unwrap();
        self.of_commands = aes(&self.keys[0], turned);
        let data = [&[1, 2, 3, 4, 5, 6, 7, 8][..], &self.random, &aes(&self.keys[0], both)].concat();
        reply(received, Some(SecurityBlock { kind: 0x12, data: vec![1] }), 0x76, data)
    }

    pub fn proven(&mut self, received: &Received) -> Vec<u8> {
        if received.frame.data[..16] != self.of_commands {
            return reply(received, None, 0x41, vec![5]);
        }
        self.of_replies = aes(&self.keys[2], aes(&self.keys[1], self.of_commands));
        self.stands = true;
        reply(received, Some(SecurityBlock { kind: 0x14, data: vec![1] }), 0x78, self.of_replies.to_vec())
    }

    /// The data of a command of the session.
    pub fn hear(&mut self, received: &Received) -> Option<Vec<u8>> {
        let kind = received.frame.security.as_ref()?.kind;
        if !self.stands || !(0x15..=0x18).contains(&kind) {
            return None;
        }
        let mac = self.mac(self.of_replies, &received.head);
        if received.mac != Some(mac[..4].try_into().unwrap()) {
            return None;
        }
        self.of_commands = mac;
        let mut iv = self.of_replies.map(|byte| !byte);
        let mut plain = Vec::new();
        for block in received.frame.data.chunks(16) {
            let block: Block = block.try_into().ok()?;
            plain.extend(xor(unaes(&self.keys[0], block), iv));
            iv = block;
        }
        while plain.pop_if(|byte| *byte == 0).is_some() {}
        plain.pop();
        Some(plain)
    }

    pub fn say(&mut self, to: &Received, code: u8, data: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        if !data.is_empty() {
            let mut padded = data.to_vec();
            padded.push(0x80);
            padded.resize(padded.len().next_multiple_of(16), 0);
            let mut iv = self.of_commands.map(|byte| !byte);
            for block in padded.chunks(16) {
                iv = aes(&self.keys[0], xor(block.try_into().unwrap(), iv));
                sealed.extend(iv);
            }
        }
        let kind = if data.is_empty() { 0x16 } else { 0x18 };
        self.prove(to, kind, code, sealed)
    }

    /// With a MAC, and readable by everybody.
    pub fn say_bare(&mut self, to: &Received, code: u8, data: Vec<u8>) -> Vec<u8> {
        self.prove(to, 0x16, code, data)
    }

    fn prove(&mut self, to: &Received, kind: u8, code: u8, data: Vec<u8>) -> Vec<u8> {
        let frame = frame(to, Some(SecurityBlock { kind, data: Vec::new() }), code, data);
        let mut bytes = frame.head(4).unwrap();
        self.of_replies = self.mac(self.of_commands, &bytes);
        bytes.extend(&self.of_replies[..4]);
        finish(bytes, frame.check)
    }

    fn mac(&self, chain: Block, message: &[u8]) -> Block {
        let mut padded = message.to_vec();
        if !padded.len().is_multiple_of(16) {
            padded.push(0x80);
            padded.resize(padded.len().next_multiple_of(16), 0);
        }
        let last = padded.len() / 16 - 1;
        padded.chunks(16).enumerate().fold(chain, |chain, (at, block)| {
            let key = if at == last { &self.keys[2] } else { &self.keys[1] };
            aes(key, xor(chain, block.try_into().unwrap()))
        })
    }
}

fn frame(to: &Received, security: Option<SecurityBlock>, code: u8, data: Vec<u8>) -> Frame {
    let Frame { address, sequence, check, .. } = to.frame;
    Frame { way: Way::Reply, address, sequence, check, security, code, data }
}

/// In the clear, or of a handshake.
pub fn reply(to: &Received, security: Option<SecurityBlock>, code: u8, data: Vec<u8>) -> Vec<u8> {
    frame(to, security, code, data).encode().unwrap()
}
