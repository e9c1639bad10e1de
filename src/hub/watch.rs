//! Watching a download: its progress, and whether it should stop.

use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Time between two looks of a thread that waits whether it should stop.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Sees a download's progress, and can stop it. All calls come from the thread that called [`find`](super::find).
pub trait DownloadWatch: Send + Sync {
    /// `file` of `bytes` bytes begins, the first `resumed_at` of which were there before.
    fn start(&self, file: &str, bytes: u64, resumed_at: u64);
    fn advance(&self, bytes: u64);
    /// The file that was started last is done, or given up.
    fn finish(&self);
    /// Asked every few dozen milliseconds; an error stops the download and is what the caller gets.
    fn check(&self) -> Result<()>;
}

/// Sleeps for `time`, unless `watch` stops the download.
pub(super) fn pause(time: Duration, watch: &dyn DownloadWatch) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        watch.check()?;
        match end.checked_duration_since(Instant::now()) {
            Some(left) => thread::sleep(left.min(WATCH_INTERVAL)),
            None => return Ok(()),
        }
    }
}
