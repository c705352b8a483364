//! Work on the disk, off the doors' own threads.

use super::error::{BROKEN, Problem};

/// Does what reads or writes the disk, off the doors' own threads; it runs to its end also when the caller goes away meanwhile.
pub(super) async fn aside<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|_| {
        Err(Problem::new(
            BROKEN,
            "this broke off by a fault of ours; look at what stands now before you repeat it, and report the log",
        ))
    })
}
