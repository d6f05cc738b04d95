//! The keyed hash under which a card stands in the permission set. Owns the key; must never let it, or a
//! card's text, out again. Invariant: whoever has the set and not the key cannot find card numbers by
//! trying them all (26 bits are tried in a second; 256 bits of key are not).
//!
//! The contract offers encryption to the node or keyed hashes. latchd takes hashes: the mirror, its
//! backup and every delta then hold no card number at all, a delta needs no decryption, and two
//! credentials with one card are found by comparing tokens.

use ring::hmac;

use crate::domain::record::Token;

/// The site's credential key, prepared: one HMAC-SHA-256 (RFC 2104) for each token.
#[derive(Clone)]
pub struct CredentialKey(hmac::Key);

impl CredentialKey {
    pub fn new(key: &[u8; 32]) -> CredentialKey {
        CredentialKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
}

impl std::fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialKey(..)")
    }
}

/// `text` as described at [`Token`]: `raw:{bits}:{hex}` or `h10301:{facility}:{number}`.
pub fn token(key: &CredentialKey, text: &str) -> Token {
    let tag = hmac::sign(&key.0, text.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    Token(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hmac_sha_256_in_base64url() {
        // Python: base64.urlsafe_b64encode(hmac.new(bytes(range(32)), b"h10301:12:345", "sha256").digest())
        let key = CredentialKey::new(&std::array::from_fn(|i| i as u8));
        assert_eq!(token(&key, "h10301:12:345").to_string(), "73QYrPAgyxtep52S6CypDIRiXDz8HXN8NHawdaksmeo");
    }

    #[test]
    fn the_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", CredentialKey::new(&[7; 32])), "CredentialKey(..)");
    }
}
