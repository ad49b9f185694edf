//! What makes settings valid. Knows nothing of where a value came from.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use tracing_subscriber::EnvFilter;

use super::Config;
use super::DiskSettings;
use super::EventSettings;
use super::Member;
use super::RaftSettings;

/// JSON numbers are exact up to here, and ids travel in JSON.
const NODE_IDS: RangeInclusive<u64> = 1..=1 << 53;
const MESSAGE_BYTES: RangeInclusive<usize> = 1_024..=67_108_864;
/// A minute without a leader is not a setting anybody means.
const ELECTION_TIMEOUT_LIMIT_MS: u64 = 60_000;
/// Less would refuse a clock for a hiccup of the machine, more would let a wrong one do harm.
const CLOCK_STEP_MS: RangeInclusive<u64> = 1_000..=3_600_000;
const CHECKPOINT_INTERVAL_LIMIT_MS: u64 = 3_600_000;

/// Keys with what is wrong about them, in the order of the file.
#[derive(Default)]
struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push((key.into(), problem.into()));
    }
}

/// All problems of these settings; none when they are valid.
pub(super) fn check(config: &Config) -> Vec<(String, String)> {
    let mut problems = Problems::default();
    check_identity(config, &mut problems);
    check_listeners(config, &mut problems);
    check_members(config, &mut problems);
    check_disk(&config.disk, &mut problems);
    check_events(&config.events, &mut problems);
    check_raft(&config.raft, &mut problems);
    if let Some(problem) = level_problem(&config.log.level) {
        problems.add("log.level", problem);
    }
    problems.0
}

fn check_identity(config: &Config, problems: &mut Problems) {
    let name = &config.cluster;
    let name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=63).contains(&name.len()) || !name.bytes().all(name_byte) {
        problems.add("cluster", format!("is {name:?}; use 1 to 63 of a-z, 0-9 and '-'"));
    }
    check_node_id("node_id".to_owned(), config.node_id, problems);
    if config.data_dir.as_os_str().is_empty() {
        problems.add(
            "data_dir",
            "is missing or empty; set it, or give --data-dir or QUORATE_DATA_DIR, to a directory on a real disk",
        );
    }
    if !CLOCK_STEP_MS.contains(&config.max_clock_step_ms) {
        problems.add(
            "max_clock_step_ms",
            format!(
                "is {}; use a number of milliseconds from {} to {}",
                config.max_clock_step_ms,
                CLOCK_STEP_MS.start(),
                CLOCK_STEP_MS.end()
            ),
        );
    }
}

fn check_node_id(key: String, node_id: u64, problems: &mut Problems) {
    if !NODE_IDS.contains(&node_id) {
        problems.add(key, format!("is {node_id}; use a number from 1 to 2^53"));
    }
}

fn check_listeners(config: &Config, problems: &mut Problems) {
    let client = listener("client", &config.client.listen, problems);
    if !MESSAGE_BYTES.contains(&config.client.max_message_bytes) {
        problems.add(
            "client.max_message_bytes",
            format!(
                "is {}; use a number from {} to {}",
                config.client.max_message_bytes,
                MESSAGE_BYTES.start(),
                MESSAGE_BYTES.end()
            ),
        );
    }
    let peer = listener("peer", &config.peer.listen, problems);

    if let (Some(client), Some(peer)) = (client, peer)
        && client.1 == peer.1
        && client.1 != 0
        && (client.0 == peer.0 || is_wildcard(client.0) || is_wildcard(peer.0))
    {
        problems.add(
            "peer.listen",
            format!(
                "is {}, which client.listen ({}) takes already; use another port",
                config.peer.listen, config.client.listen
            ),
        );
    }
}

/// Port 0 is allowed: the operating system then chooses one.
fn listener<'a>(side: &str, listen: &'a str, problems: &mut Problems) -> Option<(&'a str, u16)> {
    let key = format!("{side}.listen");
    if listen.is_empty() {
        let variable = format!("QUORATE_{}_LISTEN", side.to_uppercase());
        problems.add(
            key,
            format!("is missing or empty; set it, or give --{side}-listen or {variable}, to host:port"),
        );
        return None;
    }
    let parsed = host_and_port(listen);
    if parsed.is_none() {
        problems.add(key, not_an_address(listen));
    }
    parsed
}

fn check_members(config: &Config, problems: &mut Problems) {
    let mut ids = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (position, member) in config.members.iter().enumerate() {
        let entry = format!("members[{position}]");
        check_node_id(format!("{entry}.node_id"), member.node_id, problems);
        if let Some(first) = ids.insert(member.node_id, position) {
            problems.add(
                format!("{entry}.node_id"),
                format!("is {}, as in members[{first}]; every node needs an id of its own", member.node_id),
            );
        }
        check_member_address(
            format!("{entry}.client_address"),
            &member.client_address,
            &mut addresses,
            problems,
        );
        check_member_address(format!("{entry}.peer_address"), &member.peer_address, &mut addresses, problems);
    }
    if !config.members.is_empty() && !config.members.iter().any(|m: &Member| m.node_id == config.node_id) {
        problems.add(
            "members",
            format!(
                "does not contain node_id {}; add this node, or leave members out on a node that is added later",
                config.node_id
            ),
        );
    }
}

fn check_member_address<'a>(
    key: String,
    address: &'a str,
    addresses: &mut BTreeMap<&'a str, String>,
    problems: &mut Problems,
) {
    match host_and_port(address) {
        None => problems.add(&key, not_an_address(address)),
        Some((_, 0)) => {
            problems.add(&key, format!("is {address}; others cannot connect to port 0, name the port"));
        }
        Some((host, _)) if is_wildcard(host) => {
            problems
                .add(&key, format!("is {address}; others cannot connect to {host}, name this member's host"));
        }
        Some(_) => {}
    }
    if let Some(first) = addresses.insert(address, key.clone()) {
        problems.add(key, format!("is {address}, as is {first}; every address can be used once"));
    }
}

/// Less is gone between two looks, more is no disk.
const RESERVE_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 50;

fn check_disk(disk: &DiskSettings, problems: &mut Problems) {
    let reserve = disk.reserve_bytes;
    if reserve != 0 && !RESERVE_BYTES.contains(&reserve) {
        problems.add(
            "disk.reserve_bytes",
            format!(
                "is {reserve}; use a number of bytes from {} to {}, or 0 to take all there is",
                RESERVE_BYTES.start(),
                RESERVE_BYTES.end()
            ),
        );
    }
}

/// Less than this would let go of what nobody has had the time to read.
const SHORTEST_AGE_MS: u64 = 60_000;
const FEWEST_EVENTS: u64 = 1_000;

fn check_events(events: &EventSettings, problems: &mut Problems) {
    for (key, value, least) in [
        ("events.max_age_ms", events.max_age_ms, SHORTEST_AGE_MS),
        ("events.max_count", events.max_count, FEWEST_EVENTS),
    ] {
        if (1..least).contains(&value) {
            let problem = format!("is {value}; use at least {least}, or 0 (or nothing) to keep all events");
            problems.add(key, problem);
        }
    }
}

fn check_raft(raft: &RaftSettings, problems: &mut Problems) {
    for (key, value) in [
        ("raft.heartbeat_ms", raft.heartbeat_ms),
        ("raft.election_timeout_min_ms", raft.election_timeout_min_ms),
        ("raft.election_timeout_max_ms", raft.election_timeout_max_ms),
        ("raft.snapshot_after_entries", raft.snapshot_after_entries),
        ("raft.keep_entries", raft.keep_entries),
        ("raft.checkpoint_interval_ms", raft.checkpoint_interval_ms),
        ("raft.keyframe_after_events", raft.keyframe_after_events),
    ] {
        if value == 0 {
            problems.add(key, "is 0; use a number of at least 1, or leave it out for the default");
        }
    }
    let (heartbeat, min, max) =
        (raft.heartbeat_ms, raft.election_timeout_min_ms, raft.election_timeout_max_ms);
    if heartbeat >= min {
        problems.add(
            "raft.heartbeat_ms",
            format!(
                "is {heartbeat}; it must be below raft.election_timeout_min_ms ({min}), better below a third of \
                 raft.election_timeout_max_ms"
            ),
        );
    }
    if min >= max {
        problems.add(
            "raft.election_timeout_min_ms",
            format!(
                "is {min}; it must be below raft.election_timeout_max_ms ({max}), or nodes stand for election together"
            ),
        );
    }
    if max > ELECTION_TIMEOUT_LIMIT_MS {
        problems.add(
            "raft.election_timeout_max_ms",
            format!("is {max}; use at most {ELECTION_TIMEOUT_LIMIT_MS} milliseconds"),
        );
    }
    if raft.checkpoint_interval_ms > CHECKPOINT_INTERVAL_LIMIT_MS {
        problems.add(
            "raft.checkpoint_interval_ms",
            format!(
                "is {}; use at most {CHECKPOINT_INTERVAL_LIMIT_MS} milliseconds",
                raft.checkpoint_interval_ms
            ),
        );
    }
}

/// The filter takes any word for the name of a module and would then show nothing of the rest, so
/// a misspelt level has to be caught here.
fn level_problem(level: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let known = |directive: &str| {
        directive.contains(['=', '[']) || LEVELS.contains(&directive.to_ascii_lowercase().as_str())
    };
    if level.is_empty() || !level.split(',').all(known) {
        return Some(format!(
            "is {level:?}; use one of {}, or directives such as info,quorate::raft=debug",
            LEVELS.join(", ")
        ));
    }
    let error = EnvFilter::builder().parse(level).err()?;
    Some(format!("is {level:?}: {error}; use directives such as info,quorate::raft=debug"))
}

fn not_an_address(address: &str) -> String {
    format!("is {address:?}; use host:port, such as 127.0.0.1:7101 or [::1]:7101")
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port_number = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
    let host_is_valid = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => {
            let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(host_byte)
        }
    };
    host_is_valid.then_some((host, port_number))
}

/// Whether a host means "all interfaces": fit to listen on, not to connect to.
fn is_wildcard(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "[::]")
}
