//! A reader's half of the OSDP secure channel, from the standard's words and not from the daemon's code. Owns one
//! session. Invariant: what it took for a command of the session carried the MAC of one.

use aes::{
    Aes128,
    cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _},
};
use latchd::wire::osdp::frame::{Received, SecurityBlock};

type Block = [u8; 16];

#[derive(Clone, Debug)]
pub struct Channel {
    key: Block,
    random: [u8; 8],
    /// Of encryption, and of all but the last block of a MAC, and of the last.
    keys: [Block; 3],
    of_commands: Block,
    of_replies: Block,
    pub stands: bool,
}

/// What a reader answers in a handshake: the security block, the code, the data.
pub type Said = (Option<SecurityBlock>, u8, Vec<u8>);

fn encrypt(key: &Block, block: Block) -> Block {
    let mut block = block.into();
    Aes128::new(&(*key).into()).encrypt_block(&mut block);
    block.into()
}

fn decrypt(key: &Block, block: Block) -> Block {
    let mut block = block.into();
    Aes128::new(&(*key).into()).decrypt_block(&mut block);
    block.into()
}

fn xor(a: Block, b: Block) -> Block {
    std::array::from_fn(|at| a[at] ^ b[at])
}

fn joined(a: [u8; 8], b: [u8; 8]) -> Block {
    std::array::from_fn(|at| if at < 8 { a[at] } else { b[at - 8] })
}

impl Channel {
    pub fn new(key: Block, random: [u8; 8]) -> Channel {
        Channel { key, random, keys: [[0; 16]; 3], of_commands: [0; 16], of_replies: [0; 16], stands: false }
    }

    /// CHLNG: the answer is CCRYPT.
    pub fn challenged(&mut self, received: &Received) -> Option<Said> {
        self.stands = false;
        let panel: [u8; 8] = *received.frame.data.first_chunk()?;
        let derived = |first: u8, second: u8| {
            let mut block = [0; 16];
            (block[0], block[1]) = (first, second);
            block[2..8].copy_from_slice(&panel[..6]);
            encrypt(&self.key, block)
        };
        self.keys = [derived(1, 0x82), derived(1, 1), derived(1, 2)];
        self.of_commands = encrypt(&self.keys[0], joined(self.random, panel));
        let proof = encrypt(&self.keys[0], joined(panel, self.random));
        let data = [&[1, 2, 3, 4, 5, 6, 7, 8][..], &self.random, &proof].concat();
        Some((Some(SecurityBlock { kind: 0x12, data: vec![1] }), 0x76, data))
    }

    /// SCRYPT: the answer is RMAC_I, or a refusal.
    pub fn proven(&mut self, received: &Received) -> Said {
        if received.frame.data != self.of_commands {
            return (None, 0x41, vec![5]);
        }
        self.of_replies = encrypt(&self.keys[2], encrypt(&self.keys[1], self.of_commands));
        self.stands = true;
        (Some(SecurityBlock { kind: 0x14, data: vec![1] }), 0x78, self.of_replies.to_vec())
    }

    /// The data of a command of the session; `None`: it is not one.
    pub fn hear(&mut self, received: &Received) -> Option<Vec<u8>> {
        let kind = received.frame.security.as_ref()?.kind;
        if !self.stands || !(0x15..=0x18).contains(&kind) {
            return None;
        }
        let mac = self.mac(self.of_replies, &received.head);
        if received.mac.as_ref().map(|mac| &mac[..]) != mac.get(..4) {
            return None;
        }
        self.of_commands = mac;
        let mut chain = self.of_replies.map(|byte| !byte);
        let mut plain = Vec::new();
        for block in received.frame.data.as_chunks::<16>().0 {
            plain.extend(xor(decrypt(&self.keys[0], *block), chain));
            chain = *block;
        }
        while plain.pop_if(|byte| *byte == 0).is_some() {}
        plain.pop();
        Some(plain)
    }

    /// The security block and the sealed data of a reply in the session.
    pub fn seal(&self, data: &[u8]) -> (SecurityBlock, Vec<u8>) {
        let kind = if data.is_empty() { 0x16 } else { 0x18 };
        let mut sealed = Vec::new();
        if !data.is_empty() {
            let mut padded = data.to_vec();
            padded.push(0x80);
            padded.resize(padded.len().next_multiple_of(16), 0);
            let mut chain = self.of_commands.map(|byte| !byte);
            for block in padded.as_chunks::<16>().0 {
                chain = encrypt(&self.keys[0], xor(*block, chain));
                sealed.extend(chain);
            }
        }
        (SecurityBlock { kind, data: Vec::new() }, sealed)
    }

    /// The MAC of a reply, over all of it up to there.
    pub fn mac_of_reply(&mut self, head: &[u8]) -> [u8; 4] {
        self.of_replies = self.mac(self.of_commands, head);
        let [a, b, c, d, ..] = self.of_replies;
        [a, b, c, d]
    }

    fn mac(&self, chain: Block, message: &[u8]) -> Block {
        let mut padded = message.to_vec();
        if !padded.len().is_multiple_of(16) {
            padded.push(0x80);
            padded.resize(padded.len().next_multiple_of(16), 0);
        }
        let (blocks, _) = padded.as_chunks::<16>();
        blocks.iter().enumerate().fold(chain, |chain, (at, block)| {
            let key = if at + 1 == blocks.len() { &self.keys[2] } else { &self.keys[1] };
            encrypt(key, xor(chain, *block))
        })
    }
}
