//! What went wrong, in plain words, and what is to be done about it.
//!
//! Knows nothing of what was being done.

use std::fmt;
use std::io;
use std::path::Path;

use rocksdb::ErrorKind;

use super::background::LOG;
use crate::store::StoreError;

/// How the operating system says that nothing more fits: on the disk, into what this user may take of it,
/// into a file. RocksDB tells an error of the system by its words alone.
const FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "File too large"];

/// … and that the disk itself, or what keeps order on it, does not work.
const BROKEN: [&str; 4] =
    ["Input/output error", "Read-only file system", "Structure needs cleaning", "Stale file handle"];

/// Turns an I/O error at `path` into a store error; for `map_err`.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::new(action, system(path, &error.to_string()))
}

/// An error of RocksDB.
pub(super) fn explain(path: &Path, error: &rocksdb::Error) -> String {
    match error.kind() {
        ErrorKind::Corruption => damaged(path, error),
        _ => system(path, error.as_ref()),
    }
}

/// At an open, files that are missing are damage too.
pub(super) fn explain_open(path: &Path, error: &rocksdb::Error) -> String {
    let text: &str = error.as_ref();
    match error.kind() {
        ErrorKind::IOError if text.contains("lock") && text.contains("LOCK") => {
            format!("another process is using {} ({error})", path.display())
        }
        ErrorKind::IOError if text.contains("No such file") => damaged(path, error),
        ErrorKind::InvalidArgument | ErrorKind::NotFound => damaged(path, error),
        _ => explain(path, error),
    }
}

/// Flushes or compactions that nobody waited for, and why the last of them failed, if that is known.
pub(super) fn background(path: &Path, count: u64, reason: Option<&str>) -> String {
    let reason = match reason {
        Some(reason) if reason.starts_with("Corruption") || reason.contains("No such file") => {
            return damaged(path, reason);
        }
        Some(reason) if advice(reason).is_some() => return system(path, reason),
        Some(reason) => reason.to_owned(),
        None => format!("{} may say why", path.join(LOG).display()),
    };
    format!(
        "{}: {count} flushes or compactions failed: make room if the disk is full, check it if not, then start \
         the node again ({reason})",
        path.display(),
    )
}

fn damaged(path: &Path, error: impl fmt::Display) -> String {
    format!("{} is damaged: this node must be replaced ({error})", path.display())
}

fn system(path: &Path, error: &str) -> String {
    match advice(error) {
        Some(advice) => format!("{}: {advice} ({error})", path.display()),
        None => format!("{}: {error}", path.display()),
    }
}

/// What to do about an error of the system.
fn advice(error: &str) -> Option<&'static str> {
    let is_of = |words: &[&str]| words.iter().any(|words| error.contains(words));
    if is_of(&FULL) {
        Some("the disk is full: make room on it, then start the node again")
    } else if is_of(&BROKEN) {
        Some("the disk failed: check it, then start the node again, or replace the node if data is lost")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_in_the_background_is_told_like_all_else_when_the_reason_is_known() {
        let said = |reason| background(Path::new("/data"), 2, reason);
        let full = "IO error: No space left on device: While appending to file: /data/9.sst";
        assert!(
            said(Some(full)).starts_with("/data: the disk is full: make room on it"),
            "{}",
            said(Some(full))
        );
        for reason in
            ["Corruption: block checksum mismatch", "IO error: No such file or directory: /data/9.sst"]
        {
            let damaged = said(Some(reason));
            assert!(damaged.starts_with("/data is damaged: this node must be replaced ("), "{damaged}");
        }
        let other = said(Some("IO error: Too many open files: /data/9.sst"));
        assert!(other.contains("2 flushes or compactions failed: make room"), "{other}");
        assert!(other.ends_with("(IO error: Too many open files: /data/9.sst)"), "{other}");
        let unknown = said(None);
        assert!(
            unknown.contains("2 flushes or compactions failed: make room if the disk is full"),
            "{unknown}"
        );
        assert!(unknown.ends_with("(/data/LOG may say why)"), "{unknown}");
    }

    #[test]
    fn a_full_disk_and_a_broken_one_are_told_apart_and_from_what_is_neither() {
        // ENOSPC, EDQUOT, EFBIG; EIO, EROFS, EUCLEAN, ESTALE; EACCES.
        for (codes, words) in [
            (&[28, 122, 27][..], "/data: the disk is full: make room on it"),
            (&[5, 30, 117, 116], "/data: the disk failed: check it"),
            (&[13], "/data: Permission denied"),
        ] {
            for code in codes {
                let error = failed("write", Path::new("/data"))(io::Error::from_raw_os_error(*code));
                assert!(error.problem.starts_with(words), "{code}: {error}");
                assert!(error.problem.contains(&format!("os error {code}")), "{error}");
            }
        }
    }
}
