//! Why a measurement could not be made.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::client::ClientError;

/// Why a measurement could not be made.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The cluster did not answer, or refused what every measurement needs.
    #[error("{what}: {source}")]
    Client {
        /// What was being done.
        what: String,
        /// What came back.
        source: ClientError,
    },
    /// A part of the tree was refused.
    #[error("make the tree: the command for {path}: {problem}")]
    Tree {
        /// Of which scope.
        path: String,
        /// What the cluster said.
        problem: String,
    },
    /// No node leads.
    #[error("no node leads after {seconds} seconds: a majority of the nodes must run and reach each other")]
    NoLeader {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A node that was started here does not catch up.
    #[error(
        "not all nodes have applied what the leader has after {seconds} seconds: is the machine too slow for them?"
    )]
    Behind {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A file or a process of a node that is started here.
    #[error("{what} {path:?}: {source}")]
    Machine {
        /// Verb and object.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A node that was started here ended, or does not answer.
    #[error("node {node} {problem}; the end of its log:\n{log}")]
    Node {
        /// Which.
        node: u64,
        /// What is wrong.
        problem: String,
        /// Its last words.
        log: String,
    },
    /// No port is free.
    #[error(
        "no port of 127.0.0.1 between 10000 and 29999 is free: end some of the programs that listen there"
    )]
    NoPort,
    /// What is asked for cannot be measured.
    #[error("{0}")]
    Plan(String),
}

impl BenchError {
    /// Says what was being done when a call failed.
    pub(super) fn client(what: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let what = what.into();
        |source| Self::Client { what, source }
    }

    /// Says what was being done with a file or a process.
    pub(crate) fn machine(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Machine { what, path, source }
    }
}
