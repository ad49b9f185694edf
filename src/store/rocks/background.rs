//! Flushes and compactions that nobody waits for: why one has failed.
//!
//! RocksDB counts them, and says the reason in its own log alone.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The file of RocksDB's own log.
pub(super) const LOG: &str = "LOG";

/// What stands before the reason, and behind it.
const BEFORE: [&str; 2] =
    ["Waiting after background compaction error: ", "Waiting after background flush error: "];
const BEHIND: &str = ", Accumulated background error counts:";

/// The line is written a moment after the failure was counted. On a full disk there may be none at all.
const LOOKS: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(10);

/// The reason of the last failure of the instance at `path`, in RocksDB's words, if its log says one.
#[expect(clippy::disallowed_methods, reason = "who asks is about to end: there is nothing left to hold up")]
pub(super) fn reason(path: &Path) -> Option<String> {
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(BETWEEN);
        }
        let log = fs::read(path.join(LOG)).unwrap_or_default();
        if let Some(reason) = last_reason(&String::from_utf8_lossy(&log)) {
            return Some(reason.to_owned());
        }
    }
    None
}

fn last_reason(log: &str) -> Option<&str> {
    log.lines().rev().find_map(|line| {
        let (_, reason) = BEFORE.iter().find_map(|before| line.split_once(before))?;
        reason.split_once(BEHIND).map(|(reason, _)| reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_is_found_and_a_line_that_is_cut_short_is_none() {
        let line = |job: &str, reason: &str| {
            format!("2026/01/02-03:04:05.678901 27 [ERROR] [db/x.cc:1] {job} error: {reason}{BEHIND} 1\n")
        };
        let flush =
            line("[JOB 7] Waiting after background flush", "IO error: No space left on device: /a.sst");
        let compaction = line("Waiting after background compaction", "Corruption: block checksum mismatch");
        assert_eq!(last_reason(&flush), Some("IO error: No space left on device: /a.sst"));
        assert_eq!(last_reason(&format!("{flush}{compaction}")), Some("Corruption: block checksum mismatch"));
        let cut = &compaction[..compaction.len() - 10];
        assert_eq!(last_reason(&format!("{flush}{cut}")), Some("IO error: No space left on device: /a.sst"));
        assert_eq!(last_reason("[WARN] Compaction error: Corruption\n"), None);
    }
}
