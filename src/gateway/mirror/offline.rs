//! The set as the second copy has it, for whoever asks beside the daemon. Owns nothing; must never write.
//! Invariant: what comes out is covered by the cloud's signature, like what the daemon starts from.

use jiff::tz::TimeZone;

use super::{
    copy::{Attest, CopyError, SecondCopy},
    gather::Gather,
    recover::recover,
    table::{Row, parse_key},
};
use crate::domain::{permission::Permissions, topology::Topology};

/// A set that was read from the second copy.
pub struct CopyRead {
    pub permissions: std::sync::Arc<Permissions>,
    pub records: u64,
    /// The copy holds more, which does not follow or does not verify.
    pub cut_short: Option<String>,
}

/// `Ok(None)`: there is no copy. A set that is not understood is told by its reasons.
pub fn read_copy(
    copy: &mut impl SecondCopy,
    attest: &dyn Attest,
    topology: &Topology,
    zone: &TimeZone,
) -> Result<Option<CopyRead>, CopyError> {
    let Some(recovered) = recover(copy, attest)? else { return Ok(None) };
    let mut gather = Gather::new(topology, zone);
    for (key, body) in &recovered.rows {
        if let (Some((bucket, kind, id)), Some(body)) = (parse_key(key), body) {
            gather.add(Row { bucket, kind, id, body });
        }
    }
    let understood = gather.finish(&recovered.meta.critical, recovered.meta.version());
    let understood = understood.map_err(|reasons| CopyError::Damaged(reasons.join("; ")))?;
    let cut_short = recovered.cut_short;
    Ok(Some(CopyRead { records: understood.records, permissions: understood.permissions, cut_short }))
}
