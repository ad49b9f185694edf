//! The settings of one node: a TOML file, over which the environment wins, over which flags win.
//!
//! Settings are checked once, here, and are plain data afterwards. Knows nothing of sockets,
//! stores or the runtime, and opens nothing but the file. Every key is described in
//! `docs/configuration.md`.

mod check;

use std::fmt;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

/// Flags of `quorate start`. Each can also come from the environment; a flag wins.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StartArgs {
    /// Configuration file of this node (TOML)
    #[arg(long, env = "QUORATE_CONFIG", value_name = "PATH")]
    pub config: PathBuf,

    /// Directory of the log and the state, instead of `data_dir`
    #[arg(long, env = "QUORATE_DATA_DIR", value_name = "PATH")]
    pub data_dir: Option<PathBuf>,

    /// Where clients connect, instead of `client.listen`
    #[arg(long, env = "QUORATE_CLIENT_LISTEN", value_name = "HOST:PORT")]
    pub client_listen: Option<String>,

    /// Where the other nodes connect, instead of `peer.listen`
    #[arg(long, env = "QUORATE_PEER_LISTEN", value_name = "HOST:PORT")]
    pub peer_listen: Option<String>,

    /// How far the clock of this node may be from what time it must be, in milliseconds, instead of
    /// `max_clock_step_ms`
    #[arg(long, env = "QUORATE_MAX_CLOCK_STEP_MS", value_name = "MILLISECONDS")]
    pub max_clock_step_ms: Option<u64>,

    /// How much to log, instead of `log.level`: a level, or directives such as
    /// `info,quorate::raft=debug`
    #[arg(long, env = "QUORATE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// How to log, instead of `log.format`
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Everything a node is told before it starts. From [`load`] it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of the cluster; nodes of another one are refused.
    pub cluster: String,
    /// This node, 1..=2^53. Never given to another node, even after this one is gone.
    pub node_id: u64,
    /// Where the log and the state are kept.
    pub data_dir: PathBuf,
    /// The side of the clients.
    pub client: ClientSettings,
    /// The side of the other nodes.
    pub peer: PeerSettings,
    /// Who forms the cluster when it is initialised; empty for a node that is added later.
    pub members: Vec<Member>,
    /// Milliseconds that the clock of this node may be from what time it must be; beyond that it is
    /// not followed while the node leads.
    pub max_clock_step_ms: u64,
    /// How much of its disk a node leaves free.
    pub disk: DiskSettings,
    /// How long events are kept.
    pub events: EventSettings,
    /// Timing and sizes of replication.
    pub raft: RaftSettings,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// The side of the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// Bytes; a larger request is refused.
    pub max_message_bytes: usize,
}

/// The side of the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// `host:port` to listen on.
    pub listen: String,
}

/// A node that forms the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its id, 1..=2^53.
    pub node_id: u64,
    /// `host:port` under which clients reach it.
    pub client_address: String,
    /// `host:port` under which the other nodes reach it.
    pub peer_address: String,
}

/// How much of its disk a node leaves free.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSettings {
    /// Bytes; with less free nothing is decided that takes more. 0 takes all there is.
    pub reserve_bytes: u64,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self { reserve_bytes: 1 << 30 }
    }
}

/// How long events are kept. The settings of the leader count: give all nodes the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// Milliseconds of log time; 0 is for ever.
    pub max_age_ms: u64,
    /// How many; 0 is all.
    pub max_count: u64,
}

/// Timing and sizes of replication.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftSettings {
    /// Milliseconds between the heartbeats of a leader.
    pub heartbeat_ms: u64,
    /// Milliseconds without a leader before a follower stands for election, at least …
    pub election_timeout_min_ms: u64,
    /// … and at most.
    pub election_timeout_max_ms: u64,
    /// A snapshot is taken after this many log entries.
    pub snapshot_after_entries: u64,
    /// Log entries kept behind a snapshot for followers that lag.
    pub keep_entries: u64,
    /// Milliseconds between two checkpoints of the rows, while there are changes.
    pub checkpoint_interval_ms: u64,
    /// A copy of all rows is kept after this many events, and not before it is worth it, to read the
    /// past from.
    pub keyframe_after_events: u64,
}

impl Default for RaftSettings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_timeout_min_ms: 200,
            election_timeout_max_ms: 350,
            snapshot_after_entries: 20_000,
            keep_entries: 10_000,
            checkpoint_interval_ms: 2_000,
            keyframe_after_events: 50_000,
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A level (`info`) or directives (`info,quorate::raft=debug`).
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text for people.
    Text,
    /// One JSON object a line for machines.
    Json,
}

/// Why a node cannot start with these settings. Each says where, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}: {source}; name a readable file with --config or QUORATE_CONFIG", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or a type that does not belong there.
    #[error("parse configuration {}: {problem}\ndocs/configuration.md describes every key", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        problem: String,
    },
    /// Values are missing, out of range, or contradict each other.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// One value that will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the flag and variable that overrode it.
    pub origin: String,
    /// The key in the file: `members[0].peer_address`.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.origin, self.key, self.problem)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads the file, lays the overrides on it, and checks the result: all problems are reported,
/// not just the first.
pub fn load(args: &StartArgs) -> Result<Config, ConfigError> {
    let path = &args.config;
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    let file: File = toml::from_str(&text)
        .map_err(|error| ConfigError::Parse { path: path.clone(), problem: error.to_string() })?;
    let config = file.overridden(args);

    let problems = check::check(&config);
    if problems.is_empty() {
        return Ok(config);
    }
    let located =
        |(key, problem): (String, String)| Problem { origin: origin(args, path, &key), key, problem };
    Err(ConfigError::Invalid(problems.into_iter().map(located).collect()))
}

/// Where the value of `key` came from.
fn origin(args: &StartArgs, path: &Path, key: &str) -> String {
    let overridden = match key {
        "data_dir" => args.data_dir.is_some(),
        "client.listen" => args.client_listen.is_some(),
        "peer.listen" => args.peer_listen.is_some(),
        "max_clock_step_ms" => args.max_clock_step_ms.is_some(),
        "log.level" => args.log_level.is_some(),
        _ => false,
    };
    if overridden {
        let flag = key.replace(['.', '_'], "-");
        format!("--{flag} or QUORATE_{}", flag.replace('-', "_").to_uppercase())
    } else {
        format!("configuration {}", path.display())
    }
}

/// The file as written. What an override can supply may be absent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cluster: String,
    node_id: u64,
    #[serde(default)]
    data_dir: PathBuf,
    #[serde(default = "default_max_clock_step_ms")]
    max_clock_step_ms: u64,
    #[serde(default)]
    client: ClientSection,
    #[serde(default)]
    peer: PeerSection,
    #[serde(default)]
    members: Vec<Member>,
    #[serde(default)]
    disk: DiskSettings,
    #[serde(default)]
    events: EventSettings,
    #[serde(default)]
    raft: RaftSettings,
    #[serde(default)]
    log: LogSettings,
}

fn default_max_clock_step_ms() -> u64 {
    10_000
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientSection {
    listen: String,
    max_message_bytes: usize,
}

impl Default for ClientSection {
    fn default() -> Self {
        Self { listen: String::new(), max_message_bytes: 4_194_304 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PeerSection {
    listen: String,
}

impl File {
    fn overridden(self, args: &StartArgs) -> Config {
        let or = |given: &Option<String>, file: String| given.clone().unwrap_or(file);
        Config {
            cluster: self.cluster,
            node_id: self.node_id,
            data_dir: args.data_dir.clone().unwrap_or(self.data_dir),
            client: ClientSettings {
                listen: or(&args.client_listen, self.client.listen),
                max_message_bytes: self.client.max_message_bytes,
            },
            peer: PeerSettings { listen: or(&args.peer_listen, self.peer.listen) },
            members: self.members,
            max_clock_step_ms: args.max_clock_step_ms.unwrap_or(self.max_clock_step_ms),
            disk: self.disk,
            events: self.events,
            raft: self.raft,
            log: LogSettings {
                level: or(&args.log_level, self.log.level),
                format: args.log_format.unwrap_or(self.log.format),
            },
        }
    }
}

#[cfg(test)]
mod tests;
