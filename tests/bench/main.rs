//! `quorate bench` as people run it: each mode with a handful of calls, on nodes that it starts itself
//! and of which nothing is left.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// After this long what should have come true never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own for the nodes of one measurement.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.arg("bench").args(words.split_whitespace()).env_clear().stdin(Stdio::null());
        if words.contains("--spawn") {
            command.arg("--data-dir").arg(&self.0);
        }
        command
    }

    fn entries(&self) -> usize {
        fs::read_dir(&self.0).expect("the directory").count()
    }

    /// The nodes that run here: their command lines name their configuration.
    fn nodes(&self) -> usize {
        let name = self.0.to_str().expect("a path in UTF-8");
        let processes = fs::read_dir("/proc").expect("a list of processes").flatten();
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(" start --config ") && line.contains(name)).count()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn ended(words: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("quorate bench {words}: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stdout))
}

/// Measures, and checks that nothing is left. Returns what scripts read.
fn measured(words: &str) -> Value {
    let directory = Directory::new();
    let words = format!("{words} --scopes 20 --output json");
    let output = directory.command(&words).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", ended(&words, &output));
    assert_eq!((directory.nodes(), directory.entries()), (0, 0), "{}", ended(&words, &output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(report["problem"].is_null(), "{report}");
    report
}

fn done(report: &Value) -> u64 {
    report["outcomes"]["done"].as_u64().expect("a count")
}

#[test]
fn calls_are_counted_and_timed_and_nodes_say_what_they_took() {
    let report = measured("unary --spawn 3 --clients 4 --count 40");
    assert_eq!((done(&report), report["calls"].as_u64()), (40, Some(40)));
    let latency = &report["latency_ms"];
    assert_eq!(latency["count"], 40);
    let at = |name: &str| latency[name].as_f64().expect("a time");
    assert!(0.0 < at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"), "{latency}");
    let nodes = report["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 3);
    assert_eq!(nodes.iter().filter(|node| node["leader"] == true).count(), 1);
    assert!(nodes.iter().all(|node| node["peak_memory_bytes"].as_u64() > Some(1 << 20)), "{report}");
}

#[test]
fn each_command_of_a_batch_counts() {
    let report = measured("batch --size 50 --spawn 3 --clients 2 --count 6 --payload 100 --skew zipf");
    assert_eq!((done(&report), report["calls"].as_u64()), (300, Some(6)));
}

#[test]
fn streams_answer_everything_that_is_under_way() {
    let report = measured("stream --window 4 --spawn 3 --clients 3 --count 60 --depth 4 --to all");
    assert_eq!(done(&report), 60);
}

#[test]
fn reads_are_asked_of_all_nodes() {
    for consistency in ["linearizable", "at-least=1", "max-lag=5s"] {
        let report = measured(&format!("read --consistency {consistency} --spawn 3 --clients 6 --count 30"));
        assert_eq!(done(&report), 30, "{consistency}");
    }
}

#[test]
fn holds_go_through_their_lives() {
    let report = measured("mixed --spawn 1 --clients 2 --count 200 --skew hot");
    assert_eq!(done(&report), 200);
}

#[test]
fn everybody_who_watches_sees_every_reservation() {
    let report = measured("watch --watchers 3 --spawn 3 --clients 2 --count 20");
    // Each of them, unless the last ones were acknowledged before they were seen.
    assert_eq!(report["latency_ms"]["count"], 60);
}

#[test]
fn a_fixed_rate_begins_as_many_calls_as_fall_due() {
    let report = measured("unary --rate 200 --spawn 1 --clients 8 --count 50");
    assert_eq!(done(&report), 50);
    assert!(report["facts"]["rate"].as_str().is_some_and(|words| words.contains("200")), "{report}");
}

#[test]
fn a_killed_leader_is_followed_by_a_grant() {
    let report = measured("failover --kills 2 --spawn 3");
    assert_eq!(report["latency_ms"]["count"], 2);
    assert_eq!(report["latency_of"], "kill to next grant");
}

#[test]
fn a_node_with_a_past_serves_again() {
    let report = measured("recovery --events 300 --holds 100 --restarts 1 --spawn 3");
    assert_eq!(report["latency_ms"]["count"], 1);
    assert_eq!(report["figures"]["live_holds"], 100.0);
}

#[test]
fn memory_is_compared_with_that_of_empty_nodes() {
    let report = measured("memory --spawn 3");
    assert!(report["figures"]["an_empty_node_mb"].as_f64() > Some(1.0), "{report}");
}

#[test]
fn the_rules_alone_need_no_node() {
    let report = measured("in-process --size 10 --count 5");
    assert_eq!((done(&report), report["nodes"].as_array().map(Vec::len)), (50, Some(0)));
}

#[test]
fn a_measurement_is_drawn_over_time() {
    let directory = Directory::new();
    let plot = directory.0.join("plot.svg");
    let words = format!("unary --spawn 1 --clients 2 --duration 1s --scopes 5 --plot {}", plot.display());
    let output = directory.command(&words).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", ended(&words, &output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("throughput") && text.contains("p99.9") && text.contains("leader"), "{text}");
    let svg = fs::read_to_string(plot).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.contains("reservations per second"), "{svg}");
}

#[test]
fn a_dead_cluster_is_told_from_a_slow_one() {
    let directory = Directory::new();
    let words = "unary --endpoints 127.0.0.1:1 --timeout 300ms";
    let output = directory.command(words).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", ended(words, &output));
    assert!(
        ended(words, &output).contains("find the cluster: no node answered"),
        "{}",
        ended(words, &output)
    );
}

#[test]
fn what_cannot_be_measured_together_is_a_usage_error() {
    let directory = Directory::new();
    for words in [
        "failover",
        "recovery --spawn 2",
        "in-process --spawn 3",
        "unary --depth 1",
        "memory --rate 5 --spawn 3",
    ] {
        let output = directory.command(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{}", ended(words, &output));
    }
    assert_eq!(directory.entries(), 0);
}

/// A measurement that is under way, ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn who_interrupts_it_finds_no_node_left() {
    let directory = Directory::new();
    let mut command = directory.command("unary --spawn 3 --duration 1h --scopes 5");
    let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs"));
    let deadline = Instant::now() + PATIENCE;
    while directory.nodes() < 3 {
        assert!(Instant::now() < deadline, "it starts no nodes");
        assert!(running.0.try_wait().expect("its state").is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-INT", &running.0.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let ended = running.0.wait().expect("it ends");
    assert_eq!(ended.code(), Some(1));
    assert_eq!((directory.nodes(), directory.entries()), (0, 0));
}
