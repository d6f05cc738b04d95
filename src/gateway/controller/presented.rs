//! What was presented at a reader, as the set is asked about it. Owns the way from bits or a text to tokens and
//! evidence; must never write a text down: a QR code is a key. Invariant: a text fits one format, its own kind.

use super::machine::View;
use crate::{
    domain::{card_format::CardTokens, event::CardEvidence, fieldbus::CardRead, ids::Id},
    wire::token::token,
};

pub fn presented(view: &View<'_>, read: &CardRead) -> (CardTokens, CardEvidence) {
    let Some(text) = &read.text else {
        let reading = view.permissions.card_formats().read(read.card);
        return (reading.tokens(|text| token(view.credential_key, text)), reading.evidence());
    };
    let kind = text.split(':').next().and_then(|kind| Id::new(kind).ok());
    let evidence = CardEvidence {
        bits: 0,
        raw: String::new(),
        formats: kind.into_iter().collect(),
        parity_ok: true,
        ambiguous: false,
    };
    (CardTokens::single(token(view.credential_key, text)), evidence)
}
