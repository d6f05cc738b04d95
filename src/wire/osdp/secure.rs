//! The secure channel (SIA OSDP 2.2, annex D): AES-128, mutual proof of one key, then a chain of MACs over both
//! directions. Owns keys and chain of one session; must never send or accept a plain frame once it stands.
//! Invariant: each MAC continues the last one of the other side, so nothing can be left out, repeated or put in.
//!
//! ```text
//!   CHLNG(RND.A)  ──▶            SCS_11
//!                 ◀── CCRYPT     SCS_12   the reader proves that it has the key
//!   SCRYPT        ──▶            SCS_13   so does the panel
//!                 ◀── RMAC_I     SCS_14   session
//!   SCS_15, 17    ──▶ ◀──        SCS_16, 18: with MAC; 17 and 18 with encrypted data
//! ```

use std::fmt;

use aes::{
    Aes128,
    cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _},
};
use zeroize::Zeroizing;

use super::{
    command::Command,
    frame::{Check, Frame, Received, SecurityBlock, TooLong, Way, finish},
    reply::{BadReply, Reply},
};

type Block = [u8; 16];
type Key = Zeroizing<Block>;

/// The key that every reader has before it was given one of its own: only for installing.
pub const SCBK_DEFAULT: Block =
    [0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F];

const SCS_11: u8 = 0x11;
const SCS_12: u8 = 0x12;
const SCS_13: u8 = 0x13;
const SCS_14: u8 = 0x14;
const SCS_15: u8 = 0x15;
const SCS_16: u8 = 0x16;
const SCS_17: u8 = 0x17;
const SCS_18: u8 = 0x18;

/// Which key a handshake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// SCBK-D.
    Default,
    /// The reader's own.
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecureError {
    #[error("the reader does not have the key")]
    WrongCryptogram,
    #[error("the reader did not accept the panel's proof")]
    Rejected,
    #[error("a reply without the session's security block")]
    Cleartext,
    #[error("the message authentication code does not fit")]
    BadMac,
    #[error("what was decrypted has no padding")]
    BadPadding,
    #[error(transparent)]
    Reply(#[from] BadReply),
}

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

fn xor(one: Block, other: Block) -> Block {
    let mut out = one;
    out.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    out
}

fn complement(block: Block) -> Block {
    block.map(|byte| !byte)
}

fn joined(first: [u8; 8], second: [u8; 8]) -> Block {
    let mut out = [0; 16];
    out.iter_mut().zip(first.into_iter().chain(second)).for_each(|(slot, byte)| *slot = byte);
    out
}

/// The three keys of a session. Shows itself to nobody.
#[derive(Clone)]
struct Keys {
    encryption: Key,
    mac_1: Key,
    mac_2: Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    fn derive(scbk: &Block, random: [u8; 8]) -> Keys {
        let derived = |first: u8, second: u8| {
            let [a, b, c, d, e, f, ..] = random;
            let input = [first, second, a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0];
            Zeroizing::new(encrypt(scbk, input))
        };
        Keys { encryption: derived(0x01, 0x82), mac_1: derived(0x01, 0x01), mac_2: derived(0x01, 0x02) }
    }

    /// CBC over the padded message, the last block under the second key.
    fn mac(&self, chain: Block, message: &[u8]) -> Block {
        let mut padded = message.to_vec();
        if !padded.len().is_multiple_of(16) {
            padded.push(0x80);
            padded.resize(padded.len().next_multiple_of(16), 0);
        }
        let (blocks, _) = padded.as_chunks::<16>();
        let Some((last, blocks)) = blocks.split_last() else { return chain };
        let before = blocks.iter().fold(chain, |chain, block| encrypt(&self.mac_1, xor(chain, *block)));
        encrypt(&self.mac_2, xor(before, *last))
    }

    fn seal(&self, iv: Block, data: &[u8]) -> Vec<u8> {
        let mut padded = data.to_vec();
        padded.push(0x80);
        padded.resize(padded.len().next_multiple_of(16), 0);
        let mut chain = iv;
        let seal = |block: &Block| {
            chain = encrypt(&self.encryption, xor(chain, *block));
            chain
        };
        padded.as_chunks::<16>().0.iter().flat_map(seal).collect()
    }

    fn open(&self, iv: Block, sealed: &[u8]) -> Option<Vec<u8>> {
        let (blocks, rest) = sealed.as_chunks::<16>();
        if !rest.is_empty() {
            return None;
        }
        let mut chain = iv;
        let open = |block: &Block| {
            let plain = xor(decrypt(&self.encryption, *block), chain);
            chain = *block;
            plain
        };
        let mut plain: Vec<u8> = blocks.iter().flat_map(open).collect();
        let end = plain.iter().rposition(|byte| *byte != 0).filter(|at| plain.get(*at) == Some(&0x80))?;
        plain.truncate(end);
        Some(plain)
    }
}

/// The panel's half of a handshake, from the challenge on.
#[derive(Debug)]
pub struct Handshake {
    kind: KeyKind,
    random: [u8; 8],
    keys: Keys,
    server: Block,
}

impl Handshake {
    /// `random` must be fresh for every handshake.
    pub fn begin(kind: KeyKind, scbk: &Block, random: [u8; 8]) -> Handshake {
        Handshake { kind, random, keys: Keys::derive(scbk, random), server: [0; 16] }
    }

    pub fn challenge(&self) -> (SecurityBlock, Command) {
        let own = if self.kind == KeyKind::Own { 1 } else { 0 };
        (SecurityBlock { kind: SCS_11, data: vec![own] }, Command::Challenge(self.random))
    }

    /// The reader's CCRYPT: what the panel answers to it.
    pub fn prove(&mut self, received: &Received) -> Result<(SecurityBlock, Command), SecureError> {
        let kind = received.frame.security.as_ref().map(|block| block.kind);
        if kind != Some(SCS_12) {
            return Err(SecureError::Cleartext);
        }
        let Reply::ClientCryptogram { random, cryptogram, .. } = reply_of(received)? else {
            return Err(SecureError::Rejected);
        };
        let expected = encrypt(&self.keys.encryption, joined(self.random, random));
        if !same(&expected, &cryptogram) {
            return Err(SecureError::WrongCryptogram);
        }
        self.server = encrypt(&self.keys.encryption, joined(random, self.random));
        let own = if self.kind == KeyKind::Own { 1 } else { 0 };
        Ok((SecurityBlock { kind: SCS_13, data: vec![own] }, Command::ServerCryptogram(self.server)))
    }

    /// The reader's RMAC_I: the session.
    pub fn complete(&self, received: &Received) -> Result<Session, SecureError> {
        match &received.frame.security {
            Some(SecurityBlock { kind: SCS_14, data }) if data.first() == Some(&1) => {}
            Some(SecurityBlock { kind: SCS_14, .. }) => return Err(SecureError::Rejected),
            _ => return Err(SecureError::Cleartext),
        }
        let Reply::InitialMac(initial) = reply_of(received)? else { return Err(SecureError::Rejected) };
        let expected = encrypt(&self.keys.mac_2, encrypt(&self.keys.mac_1, self.server));
        if !same(&expected, &initial) {
            return Err(SecureError::BadMac);
        }
        Ok(Session { keys: self.keys.clone(), of_commands: initial, of_replies: initial })
    }
}

fn reply_of(received: &Received) -> Result<Reply, SecureError> {
    Ok(Reply::parse(received.frame.code, &received.frame.data)?)
}

/// In constant time: a MAC must not be found byte by byte.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// A session that stands.
#[derive(Debug)]
pub struct Session {
    keys: Keys,
    /// The whole MAC of the last command.
    of_commands: Block,
    /// The whole MAC of the last reply.
    of_replies: Block,
}

impl Session {
    /// The bytes of a command. A retry must send the same bytes again, not seal anew.
    pub fn seal(&mut self, address: u8, sequence: u8, check: Check, command: &Command) -> Result<Vec<u8>, TooLong> {
        let data = command.data();
        let (kind, data) =
            if data.is_empty() { (SCS_15, data) } else { (SCS_17, self.keys.seal(complement(self.of_replies), &data)) };
        let security = Some(SecurityBlock { kind, data: Vec::new() });
        let frame = Frame { way: Way::Command, address, sequence, check, security, code: command.code(), data };
        let mut bytes = frame.head(4)?;
        self.of_commands = self.keys.mac(self.of_replies, &bytes);
        bytes.extend(self.of_commands.iter().take(4));
        Ok(finish(bytes, check))
    }

    /// The reply to the command sealed last.
    pub fn open(&mut self, received: &Received) -> Result<Reply, SecureError> {
        let kind = received.frame.security.as_ref().map(|block| block.kind);
        let (Some(SCS_16 | SCS_18), Some(mac)) = (kind, received.mac) else { return Err(SecureError::Cleartext) };
        let expected = self.keys.mac(self.of_commands, &received.head);
        if !same(expected.get(..4).unwrap_or_default(), &mac) {
            return Err(SecureError::BadMac);
        }
        // Some readers say SCS_18 with nothing to encrypt.
        let data = if kind == Some(SCS_18) && !received.frame.data.is_empty() {
            let opened = self.keys.open(complement(self.of_commands), &received.frame.data);
            opened.ok_or(SecureError::BadPadding)?
        } else {
            received.frame.data.clone()
        };
        self.of_replies = expected;
        Ok(Reply::parse(received.frame.code, &data)?)
    }
}

#[cfg(test)]
mod tests;
