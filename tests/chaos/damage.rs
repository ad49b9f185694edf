//! Damage to the files of a node that does not run.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::kind::Kind;

/// How much of the end of a file is torn off at most.
const TORN_BYTES: u64 = 4096;

/// Does it, and says what was done.
pub fn inflict(kind: Kind, data_dir: &Path, random: &mut StdRng) -> String {
    let folders = instances(data_dir);
    let (log, state) = (&folders[0], &folders[1]);
    match kind {
        Kind::TornWal => tear(&newest(log, is_wal), random),
        Kind::FlippedWal => flip(&newest(log, is_wal), random),
        Kind::FlippedTable => {
            let mut tables = files(state, |name| name.ends_with(".sst"));
            tables.extend(files(log, |name| name.ends_with(".sst")));
            flip(&tables[random.random_range(0..tables.len())], random)
        }
        Kind::FlippedManifest => {
            let folder = &folders[random.random_range(0..2)];
            flip(&newest(folder, |name| name.starts_with("MANIFEST-")), random)
        }
        other => unreachable!("{other} damages no file"),
    }
}

/// The folders of the two RocksDB instances: the log, and the state that is live.
fn instances(data_dir: &Path) -> [PathBuf; 2] {
    let state = data_dir.join("state");
    let live = fs::read_to_string(state.join("POINTER")).expect("which state is live");
    [data_dir.join("log"), state.join(live.trim_end())]
}

fn is_wal(name: &str) -> bool {
    name.ends_with(".log") && name.starts_with(|first: char| first.is_ascii_digit())
}

/// The files of a folder that have something in them, oldest first: their names are numbers.
fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("list a folder").map(|entry| entry.expect("list a folder"));
    let mut files: Vec<_> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .filter(|entry| entry.metadata().expect("a file").len() > 0)
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

fn newest(folder: &Path, wanted: impl Fn(&str) -> bool) -> PathBuf {
    files(folder, wanted).pop().unwrap_or_else(|| panic!("nothing to damage in {}", folder.display()))
}

fn open(path: &Path) -> (File, u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open a file");
    let length = file.metadata().expect("a file").len();
    (file, length)
}

fn tear(path: &Path, random: &mut StdRng) -> String {
    let (file, length) = open(path);
    let torn = random.random_range(1..=length.min(TORN_BYTES));
    file.set_len(length - torn).expect("cut a file");
    format!("the last {torn} of {length} bytes of {} are gone", name(path))
}

fn flip(path: &Path, random: &mut StdRng) -> String {
    let (file, length) = open(path);
    let at = random.random_range(0..length);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read a file");
    byte[0] ^= 1 << random.random_range(0..8);
    file.write_all_at(&byte, at).expect("write a file");
    format!("a bit of byte {at} of {length} of {} is flipped", name(path))
}

fn name(path: &Path) -> String {
    let last: Vec<_> =
        path.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy()).collect();
    format!("{}/{}", last[1], last[0])
}

#[test]
fn what_is_said_to_be_damaged_is() {
    let folder = tempfile::tempdir().expect("a directory");
    let data = folder.path();
    for path in ["log", "state/generation-2", "state/generation-1"] {
        fs::create_dir_all(data.join(path)).expect("a folder");
    }
    fs::write(data.join("state/POINTER"), "generation-2\n").expect("write");
    let good = [7; 100];
    let whole = ["log/000012.log", "log/000009.log", "state/generation-2/000004.sst", "log/MANIFEST-000001"];
    for path in
        whole.into_iter().chain(["state/generation-2/MANIFEST-000003", "state/generation-1/000001.sst"])
    {
        fs::write(data.join(path), good).expect("write");
    }
    let mut random = rand::SeedableRng::seed_from_u64(1);
    let read = |path: &str| fs::read(data.join(path)).expect("read");
    let differs = |path: &str| read(path).iter().zip(good).filter(|(one, other)| *one != other).count();

    inflict(Kind::TornWal, data, &mut random);
    assert!(read("log/000012.log").len() < 100, "the newest");
    inflict(Kind::FlippedTable, data, &mut random);
    assert_eq!(differs("state/generation-2/000004.sst"), 1, "of the live state");
    inflict(Kind::FlippedManifest, data, &mut random);
    assert_eq!(differs("log/MANIFEST-000001") + differs("state/generation-2/MANIFEST-000003"), 1);
    fs::write(data.join("log/000012.log"), good).expect("write");
    inflict(Kind::FlippedWal, data, &mut random);
    assert_eq!(differs("log/000012.log"), 1);
    assert_eq!(differs("log/000009.log") + differs("state/generation-1/000001.sst"), 0, "left alone");
}
