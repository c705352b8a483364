//! The log as it was written, for an export that can be verified elsewhere: the SHA-256 of each record is the `prev` of the next.

use super::{Store, Unreadable};

/// One record: its revision, and the bytes of which the next record names the hash.
pub type WrittenRecord = (u64, Vec<u8>);

impl Store {
    /// At most `limit` records from a revision on, oldest first, as they were written. The last one's revision and one more is the
    /// `from` of the next page.
    ///
    /// # Errors
    /// When they cannot be read from the disk, or one of them is not what was written.
    pub fn written(&self, from: u64, limit: usize) -> Result<Vec<WrittenRecord>, Unreadable> {
        let page = self.one_at_a_time().raw(from, limit);
        let page = page.map_err(|why| Unreadable(why.to_string()))?;
        let lines = page.lines.into_iter();
        lines
            .map(|(revision, line)| match line {
                Ok(bytes) => Ok((revision, bytes)),
                Err(why) => Err(Unreadable(format!("the record of {revision}: {why}"))),
            })
            .collect()
    }
}
