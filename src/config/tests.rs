//! Every way in which settings can be wrong, and what the person who wrote them is told.

use std::path::Path;

use clap::Args;

use super::*;

const VALID: &str = r#"
cluster = "local"
node_id = 1
data_dir = "./data/node1"

[client]
listen = "127.0.0.1:7101"

[peer]
listen = "127.0.0.1:7201"

[[members]]
node_id = 1
client_address = "127.0.0.1:7101"
peer_address = "127.0.0.1:7201"

[[members]]
node_id = 2
client_address = "127.0.0.1:7102"
peer_address = "127.0.0.1:7202"

[raft]
heartbeat_ms = 100

[log]
level = "info"
"#;

fn load_text(text: &str, args: StartArgs) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("node.toml");
    std::fs::write(&path, text).expect("write the configuration");
    load(&StartArgs { config: path, ..args })
}

/// The message for the valid file with `from` replaced by `to`.
fn message(from: &str, to: &str) -> String {
    assert!(VALID.contains(from), "the valid file does not contain {from:?}");
    message_of(&VALID.replacen(from, to, 1), StartArgs::default())
}

fn message_of(text: &str, args: StartArgs) -> String {
    load_text(text, args).expect_err("these settings are wrong").to_string()
}

#[track_caller]
fn assert_tells(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn a_file_with_only_the_needed_keys_gets_the_defaults() {
    let text =
        "cluster = \"c\"\nnode_id = 7\ndata_dir = \"d\"\nclient.listen = \"a:1\"\npeer.listen = \"a:2\"\n";
    let config = load_text(text, StartArgs::default()).expect("valid");
    assert_eq!(config.client.max_message_bytes, 4_194_304);
    assert_eq!(config.members, vec![]);
    assert_eq!(config.max_clock_step_ms, 10_000);
    assert_eq!(config.disk.reserve_bytes, 1_073_741_824);
    assert_eq!(config.raft, RaftSettings::default());
    assert_eq!(config.log, LogSettings::default());
}

#[test]
fn the_files_of_the_local_cluster_are_valid_and_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local");
    let configs = [1_u64, 2, 3].map(|node| {
        let config = folder.join(format!("node{node}.toml"));
        load(&StartArgs { config, ..StartArgs::default() }).unwrap_or_else(|error| panic!("{error}"))
    });
    for (config, node) in configs.iter().zip(1..) {
        assert_eq!(config.node_id, node);
        assert_eq!((&config.cluster, &config.members), (&configs[0].cluster, &configs[0].members));
        let own = config.members.iter().find(|member| member.node_id == node).expect("is a member");
        assert_eq!((&config.client.listen, &config.peer.listen), (&own.client_address, &own.peer_address));
    }
}

#[test]
fn what_is_given_on_the_command_line_wins_over_the_file() {
    let args = StartArgs {
        config: PathBuf::new(),
        data_dir: Some("elsewhere".into()),
        client_listen: Some("127.0.0.1:0".into()),
        peer_listen: Some("[::1]:0".into()),
        max_clock_step_ms: Some(2_000),
        log_level: Some("debug".into()),
        log_format: Some(LogFormat::Json),
    };
    let config = load_text(VALID, args).expect("valid");
    assert_eq!(config.data_dir, Path::new("elsewhere"));
    assert_eq!((config.client.listen.as_str(), config.peer.listen.as_str()), ("127.0.0.1:0", "[::1]:0"));
    assert_eq!(config.max_clock_step_ms, 2_000);
    assert_eq!(config.log, LogSettings { level: "debug".into(), format: LogFormat::Json });
}

#[test]
fn every_flag_has_its_environment_variable() {
    let command = StartArgs::augment_args(clap::Command::new("start"));
    for argument in command.get_arguments() {
        let flag = argument.get_long().expect("every argument is a flag");
        let variable = format!("QUORATE_{}", flag.replace('-', "_").to_uppercase());
        assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
    }
}

#[test]
fn a_flag_supplies_what_the_file_leaves_out() {
    let args = StartArgs {
        data_dir: Some("d".into()),
        client_listen: Some("a:1".into()),
        peer_listen: Some("a:2".into()),
        ..StartArgs::default()
    };
    let config = load_text("cluster = \"c\"\nnode_id = 1\n", args).expect("valid");
    assert_eq!(config.client.listen, "a:1");
}

#[test]
fn what_nobody_supplies_is_reported_all_at_once() {
    let told = message_of("cluster = \"c\"\nnode_id = 1\n", StartArgs::default());
    assert_tells(
        &told,
        &["node.toml: data_dir is missing", "QUORATE_DATA_DIR", "--client-listen", "QUORATE_PEER_LISTEN"],
    );
    assert_eq!(told.lines().count(), 3);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let args = StartArgs { config: "no/such.toml".into(), ..StartArgs::default() };
    assert_tells(&load(&args).expect_err("not there").to_string(), &["no/such.toml", "--config"]);
}

#[test]
fn an_unknown_key_is_shown_with_its_line_in_every_table() {
    let top = message("node_id = 1\ndata", "node_id = 1\nnodeid = 1\ndata");
    assert_tells(&top, &["node.toml", "line 4", "nodeid", "docs/configuration.md"]);
    assert_tells(&message("[client]", "[client]\nport = 1"), &["port"]);
    assert_tells(&message("[peer]", "[peer]\nport = 1"), &["port"]);
    assert_tells(&message("[[members]]", "[[members]]\nname = \"a\""), &["name"]);
    assert_tells(&message("[raft]", "[raft]\nheartbeat = 1"), &["heartbeat"]);
    assert_tells(&message("[log]", "[log]\ncolour = 1"), &["colour"]);
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_its_line() {
    assert_tells(&message("node_id = 1", "node_id = \"one\""), &["line 3", "node_id"]);
    assert_tells(&message("node_id = 1", "node_id = -1"), &["line 3"]);
    assert_tells(&message("level = \"info\"", "format = \"xml\""), &["xml", "json"]);
}

#[test]
fn a_cluster_name_outside_its_alphabet_is_refused() {
    assert_tells(&message("\"local\"", "\"\""), &["cluster", "1 to 63"]);
    assert_tells(&message("\"local\"", "\"Local\""), &["cluster", "\"Local\""]);
    assert_tells(&message("\"local\"", &format!("\"{}\"", "a".repeat(64))), &["cluster"]);
}

#[test]
fn a_node_id_of_zero_or_beyond_json_is_refused() {
    assert_tells(&message("node_id = 1\n", "node_id = 0\n"), &["node_id is 0", "2^53"]);
    assert_tells(&message("node_id = 1\n", "node_id = 9007199254740993\n"), &["9007199254740993"]);
    assert_tells(&message("node_id = 2\n", "node_id = 0\n"), &["members[1].node_id is 0"]);
}

#[test]
fn an_address_that_is_not_host_and_port_is_refused() {
    for bad in
        ["7101", "127.0.0.1", "127.0.0.1:", ":7101", "http://a:1", "a:70000", "::1:7101", "[x]:1", "a:+1"]
    {
        let listen = message("\"127.0.0.1:7101\"", &format!("{bad:?}"));
        assert_tells(&listen, &["client.listen", bad, "host:port"]);
        let address = message("\"127.0.0.1:7202\"", &format!("{bad:?}"));
        assert_tells(&address, &["members[1].peer_address", bad, "host:port"]);
    }
}

#[test]
fn a_member_address_that_nobody_can_connect_to_is_refused() {
    assert_tells(
        &message("127.0.0.1:7102", "0.0.0.0:7102"),
        &["members[1].client_address", "cannot connect"],
    );
    assert_tells(&message("127.0.0.1:7102", "127.0.0.1:0"), &["members[1].client_address", "port 0"]);
}

#[test]
fn the_two_listeners_may_not_share_a_port() {
    assert_tells(
        &message("listen = \"127.0.0.1:7201\"", "listen = \"127.0.0.1:7101\""),
        &["peer.listen", "another port"],
    );
    assert_tells(&message("listen = \"127.0.0.1:7201\"", "listen = \"0.0.0.0:7101\""), &["peer.listen"]);
}

#[test]
fn an_override_that_is_wrong_is_blamed_on_the_flag_and_not_on_the_file() {
    let args = StartArgs { client_listen: Some("here".into()), ..StartArgs::default() };
    let told = message_of(VALID, args);
    assert_tells(&told, &["--client-listen or QUORATE_CLIENT_LISTEN", "here"]);
    assert!(!told.contains("node.toml"), "{told}");
}

#[test]
fn two_members_may_not_share_an_id_or_an_address() {
    assert_tells(&message("node_id = 2", "node_id = 1"), &["members[1].node_id", "members[0]"]);
    assert_tells(
        &message("peer_address = \"127.0.0.1:7202\"", "peer_address = \"127.0.0.1:7101\""),
        &["members[1].peer_address", "members[0].client_address"],
    );
}

#[test]
fn members_without_this_node_are_refused() {
    assert_tells(
        &message("node_id = 1\ndata", "node_id = 3\ndata"),
        &["members", "does not contain node_id 3"],
    );
}

#[test]
fn a_message_size_out_of_range_is_refused() {
    for bytes in ["0", "1023", "67108865"] {
        let told = message("[client]", &format!("[client]\nmax_message_bytes = {bytes}"));
        assert_tells(&told, &["client.max_message_bytes", bytes]);
    }
}

#[test]
fn a_heartbeat_that_does_not_fit_the_election_timeout_is_refused() {
    assert_tells(&message("heartbeat_ms = 100", "heartbeat_ms = 300"), &["raft.heartbeat_ms", "300"]);
}

#[test]
fn an_election_timeout_without_room_for_chance_is_refused() {
    assert_tells(
        &message("heartbeat_ms = 100", "election_timeout_min_ms = 450"),
        &["raft.election_timeout_min_ms", "below"],
    );
    assert_tells(
        &message("heartbeat_ms = 100", "election_timeout_max_ms = 60001"),
        &["raft.election_timeout_max_ms"],
    );
}

#[test]
fn zero_is_refused_for_every_raft_setting() {
    for key in [
        "heartbeat_ms",
        "election_timeout_min_ms",
        "election_timeout_max_ms",
        "snapshot_after_entries",
        "keep_entries",
        "checkpoint_interval_ms",
    ] {
        let told = message("heartbeat_ms = 100", &format!("{key} = 0"));
        assert_tells(&told, &[&format!("raft.{key} is 0")]);
    }
}

#[test]
fn events_are_not_let_go_before_anybody_can_have_read_them() {
    for (key, bad, least) in [("max_age_ms", 59_999, "60000"), ("max_count", 999, "1000")] {
        let with = |value| VALID.to_owned() + &format!("\n[events]\n{key} = {value}\n");
        let told = message_of(&with(bad), StartArgs::default());
        assert_tells(&told, &[&format!("events.{key} is {bad}"), least]);
        assert!(load_text(&with(0), StartArgs::default()).is_ok());
        assert!(load_text(&with(bad + 1), StartArgs::default()).is_ok());
    }
}

#[test]
fn a_reserve_that_is_gone_at_once_or_larger_than_a_disk_is_refused() {
    let with = |bytes: u64| VALID.to_owned() + &format!("\n[disk]\nreserve_bytes = {bytes}\n");
    for bytes in [1, (16 << 20) - 1, (1 << 50) + 1] {
        let told = message_of(&with(bytes), StartArgs::default());
        assert_tells(&told, &["disk.reserve_bytes", &bytes.to_string(), "16777216 to 1125899906842624"]);
    }
    for bytes in [0, 16 << 20, 1 << 50] {
        assert_eq!(load_text(&with(bytes), StartArgs::default()).expect("valid").disk.reserve_bytes, bytes);
    }
    assert_tells(&message("[peer]", "[disk]\nreserve = 1\n[peer]"), &["reserve", "line"]);
}

#[test]
fn a_checkpoint_interval_beyond_an_hour_is_refused() {
    assert_tells(
        &message("heartbeat_ms = 100", "checkpoint_interval_ms = 3600001"),
        &["raft.checkpoint_interval_ms"],
    );
}

#[test]
fn a_clock_step_out_of_range_is_refused() {
    for step in ["0", "999", "3600001"] {
        let told = message("node_id = 1\ndata", &format!("node_id = 1\nmax_clock_step_ms = {step}\ndata"));
        assert_tells(&told, &["node.toml: max_clock_step_ms", step, "1000 to 3600000"]);
    }
    let args = StartArgs { max_clock_step_ms: Some(1), ..StartArgs::default() };
    assert_tells(&message_of(VALID, args), &["--max-clock-step-ms or QUORATE_MAX_CLOCK_STEP_MS"]);
}

#[test]
fn a_misspelt_log_level_is_refused_instead_of_silencing_the_log() {
    assert_tells(&message("\"info\"", "\"inof\""), &["log.level", "inof", "debug"]);
    assert_tells(&message("\"info\"", "\"\""), &["log.level"]);
    assert_tells(&message("\"info\"", "\"info,quorate=loud\""), &["log.level", "loud"]);
    let directives = VALID.replace("\"info\"", "\"info,quorate::raft=debug\"");
    assert!(load_text(&directives, StartArgs::default()).is_ok());
}
