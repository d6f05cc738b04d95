//! Where the next page begins. Owns the form of a cursor; must never let one be used for another question,
//! whose pages would have holes. Invariant: it names a number of the log, which no appending and no pruning
//! changes, and holds nothing else that anybody relies on: whoever makes one up sees what the filter and
//! the scope let through, and no more.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::ReportError;
use crate::{
    domain::ids::Id,
    wire::{
        canonical::{canonical, tagged_sha256},
        report::ReportArgs,
    },
};

const VERSION: u8 = 1;
const MARK_BYTES: usize = 12;

pub struct Cursor {
    of_log: [u8; MARK_BYTES],
    question: [u8; MARK_BYTES],
}

impl Cursor {
    /// For this question about this log. The format and the size of a page may change between pages.
    pub fn of(log_id: &Id, args: &ReportArgs) -> Cursor {
        let question = canonical(&(&args.from, &args.until, &args.filter, &args.order)).unwrap_or_default();
        Cursor { of_log: mark(&[log_id.as_bytes()]), question: mark(&[&question]) }
    }

    pub fn write(&self, next: u64) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.of_log);
        bytes.extend_from_slice(&self.question);
        bytes.extend_from_slice(&next.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn read(&self, text: &str) -> Result<u64, ReportError> {
        let unknown = || ReportError::Cursor("expected the cursor of an earlier page");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
        let (version, rest) = bytes.split_first().ok_or_else(unknown)?;
        let (of_log, rest) = rest.split_first_chunk::<MARK_BYTES>().ok_or_else(unknown)?;
        let (question, rest) = rest.split_first_chunk::<MARK_BYTES>().ok_or_else(unknown)?;
        let next: [u8; 8] = rest.try_into().map_err(|_| unknown())?;
        if *version != VERSION {
            return Err(unknown());
        }
        if *of_log != self.of_log {
            return Err(ReportError::OtherLog);
        }
        if *question != self.question {
            return Err(ReportError::Cursor("it is of a report with another span, filter or order"));
        }
        Ok(u64::from_be_bytes(next))
    }
}

fn mark(parts: &[&[u8]]) -> [u8; MARK_BYTES] {
    let digest = tagged_sha256("latchd-report-cursor-v1", parts);
    let mut mark = [0; MARK_BYTES];
    mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    mark
}
