//! The rules for the files of a snapshot on its way from one node to another: which names are
//! acceptable, in what order their bytes come, and when all are there.
//!
//! Knows nothing of where the bytes are put.

use std::collections::BTreeSet;
use std::path::Component;
use std::path::Path;

use super::SnapshotFile;
use super::StoreError;

const RECEIVE: &str = "receive a snapshot";

/// How far a snapshot has come.
#[derive(Debug)]
pub(super) struct Transfer {
    files: Vec<SnapshotFile>,
    /// The file that bytes are taken for.
    current: usize,
    /// Its bytes so far.
    written: u64,
}

impl Transfer {
    /// Begins a transfer of `files`, whose names come from another node and are not trusted: each
    /// must be a plain name, so that it can only mean a file in the folder made for it.
    pub(super) fn new(files: Vec<SnapshotFile>) -> Result<Self, StoreError> {
        let mut seen = BTreeSet::new();
        for file in &files {
            if !is_plain(&file.name) {
                return Err(StoreError::new(RECEIVE, format!("{:?} is not a plain file name", file.name)));
            }
            if !seen.insert(file.name.as_str()) {
                return Err(StoreError::new(RECEIVE, format!("file {:?} is announced twice", file.name)));
            }
        }
        Ok(Self { files, current: 0, written: 0 })
    }

    pub(super) fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    /// Takes note of `length` more bytes for the file at position `file`, or refuses them.
    pub(super) fn accept(&mut self, file: usize, length: usize) -> Result<(), StoreError> {
        let Some(SnapshotFile { name, size }) = self.files.get(file) else {
            let problem = format!("there is no file {file}, only {} were announced", self.files.len());
            return Err(StoreError::new(RECEIVE, problem));
        };
        if file < self.current {
            return Err(StoreError::new(
                RECEIVE,
                format!("bytes for {name:?} come after those of a later file"),
            ));
        }
        if let Some(missing) = self.first_incomplete().filter(|&missing| missing < file) {
            let problem =
                format!("bytes for {name:?} come before {:?} is complete", self.files[missing].name);
            return Err(StoreError::new(RECEIVE, problem));
        }
        match self.written_to(file).checked_add(length as u64) {
            Some(after) if after <= *size => {
                self.current = file;
                self.written = after;
                Ok(())
            }
            _ => Err(StoreError::new(RECEIVE, format!("{name:?} is longer than the {size} bytes announced"))),
        }
    }

    /// Says which file is not complete, if one is not.
    pub(super) fn check_complete(&self) -> Result<(), StoreError> {
        match self.first_incomplete() {
            None => Ok(()),
            Some(position) => {
                let SnapshotFile { name, size } = &self.files[position];
                let have = self.written_to(position);
                Err(StoreError::new(RECEIVE, format!("{name:?} has {have} of {size} bytes")))
            }
        }
    }

    /// The position of the first file that lacks bytes. All before `current` are complete.
    fn first_incomplete(&self) -> Option<usize> {
        (self.current..self.files.len()).find(|&file| self.files[file].size > self.written_to(file))
    }

    /// The bytes so far of the current file or a later one.
    fn written_to(&self, file: usize) -> u64 {
        if file == self.current { self.written } else { 0 }
    }
}

fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    // The comparison refuses what the components forgive: "name/" and "./name".
    let plain = matches!(components.next(), Some(Component::Normal(only)) if only == name);
    plain && components.next().is_none() && !name.contains('\0')
}
