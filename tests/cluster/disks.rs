//! Disks that are full, nearly full or damaged: a node stops with a message that says what to do, the
//! others go on, and after the repair it comes back with everything.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command as Program;
use std::process::Stdio;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::new_request_id;
use quorate::client::v1;
use quorate::client::v1::batch_command::Command;
use tokio::time::timeout;
use tonic::Code;

use crate::harness::Cluster;
use crate::harness::Directory;
use crate::harness::Node;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::history::create_scope;
use crate::history::line;
use crate::history::set_quota;

const RESOURCE: &str = "instances";

/// Has a program that is started behind it write no file beyond 512 KiB. More is an error then, as on a
/// full disk, and not a signal.
const SMALL_FILES: [&str; 3] = ["sh", "-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""];

const MIB: u64 = 1 << 20;

/// How long an answer is waited for that may never come, because the node has ended.
const SHORT: Duration = Duration::from_secs(3);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

async fn plant(client: &Client) {
    let history = History::default();
    history.granted(client, create_scope("acme")).await;
    history.granted(client, set_quota("acme", RESOURCE, 1_000_000)).await;
}

/// Some hundred reservations at once; returns the holds that were granted.
async fn reserve_many(client: &Client) -> Vec<u64> {
    let reserve = |tag| v1::BatchCommand {
        tag,
        command: Some(Command::Reserve(v1::ReserveRequest {
            lines: vec![line("acme", RESOURCE, 1)],
            job: "a job with a long name, so that the log grows".into(),
            ..Default::default()
        })),
    };
    let batch = v1::BatchRequest { commands: (0..500).map(reserve).collect(), ..Default::default() };
    let Ok(answer) = client.batch(new_request_id(), batch).await else {
        return Vec::new();
    };
    let hold = |result: &v1::BatchResult| match &result.result {
        Some(v1::batch_result::Result::Reserve(reserved)) => Some(reserved.hold_id),
        _ => None,
    };
    answer.results.iter().filter_map(hold).collect()
}

/// What it says of why it ended; others may say something after it.
fn last_error(log: &str) -> &str {
    log.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default()
}

/// It ended with a fault of which its log says all of this.
#[track_caller]
fn assert_stopped(node: &Node, code: Option<i32>, words: &[&str]) {
    let log = node.log();
    assert_eq!(code, Some(1), "{log}");
    for word in words {
        assert!(last_error(&log).contains(word), "{word:?} is not the reason in {log}");
    }
}

const FULL: [&str; 3] =
    ["the disk is full: make room on it, then start the node again", "fault:", "stops rather than serve"];

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_cannot_write_more_stops_and_the_others_go_on_until_it_is_back() {
    let mut cluster = Cluster::of_three().await;
    plant(&cluster.client(0)).await;
    let follower = cluster.follower().await;
    assert!(cluster.nodes[follower].stop("TERM").await.success());
    cluster.nodes[follower].under = words(&SMALL_FILES);
    cluster.start_node(follower);
    let client = cluster.client(cluster.leader().await);
    let ended = eventually("its log is full", async || {
        assert_eq!(reserve_many(&client).await.len(), 500, "the majority has room");
        cluster.nodes[follower].ended()
    });
    let ended = ended.await;
    assert_stopped(&cluster.nodes[follower], ended.code(), &FULL);
    assert_stopped(&cluster.nodes[follower], ended.code(), &["append to the log", "data/log"]);
    assert_eq!(reserve_many(&client).await.len(), 500);

    cluster.nodes[follower].under.clear();
    cluster.start_node(follower);
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_write_more_has_acknowledged_nothing_that_it_does_not_have() {
    let mut cluster = Cluster::form(Settings { nodes: 1, ..Settings::default() }).await;
    plant(&cluster.client(0)).await;
    assert!(cluster.nodes[0].stop("TERM").await.success());
    cluster.nodes[0].under = words(&SMALL_FILES);
    cluster.start_node(0);
    let mut granted = Vec::new();
    let ended = eventually("its log is full", async || {
        // The last batch is not answered before its deadline; the node is gone then.
        let client = cluster.nodes[0].client();
        granted.extend(timeout(SHORT, reserve_many(&client)).await.unwrap_or_default());
        cluster.nodes[0].ended()
    });
    let ended = ended.await;
    assert_stopped(&cluster.nodes[0], ended.code(), &FULL);
    assert!(!granted.is_empty(), "the log was full at once");

    cluster.nodes[0].under.clear();
    cluster.start_node(0);
    let client = cluster.client(0);
    for hold_id in [granted[0], granted[granted.len() / 2], granted[granted.len() - 1]] {
        client.get_hold(hold_id).await.expect("it was acknowledged");
    }
    assert_eq!(reserve_many(&client).await.len(), 500);
}

/// A small disk of its own, which nobody else sees. It is in memory: for once that does not matter, as
/// nobody takes its power. It is gone when its owner is, however that ends.
struct SmallDisk {
    holder: Child,
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where users may not have name spaces.
    fn at(path: &Path, mebibytes: u64) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let script = "mount -t tmpfs -o size=$1m small \"$0\" && echo mounted && exec cat";
        let mut holder = Program::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(path)
            .arg(mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("it can be read");
        let disk = Self { holder, path: path.to_owned() };
        (said == "mounted\n").then_some(disk)
    }

    /// Words before those of a program that is to see it.
    fn enter(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        words(&["nsenter", "--target", &target, "--user", "--mount", "--preserve-credentials"])
    }

    fn ballast(&self) -> PathBuf {
        let path = self.path.join("ballast");
        let within = path.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(within)
    }

    /// Takes room until so much is left.
    fn fill(&self, left_bytes: u64) {
        let ballast = self.ballast();
        let mut file = fs::File::options().create(true).append(true).open(&ballast).expect("a file");
        loop {
            let disk = rustix::fs::statvfs(&ballast).expect("the disk can be looked at");
            let free = disk.f_bavail * disk.f_frsize;
            if free <= left_bytes {
                return;
            }
            let part = vec![7; usize::try_from((free - left_bytes).min(MIB)).expect("small")];
            match file.write_all(&part) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("the ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What it holds is unmounted with the last process that sees it.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn reserve_one() -> v1::ReserveRequest {
    v1::ReserveRequest { lines: vec![line("acme", RESOURCE, 1)], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_early_admits_releases_stops_when_its_disk_is_full_and_comes_back() {
    let directory = Directory::new();
    let mut node = Node::new(directory.path(), 1);
    let Some(disk) = SmallDisk::at(&node.data_dir, 384) else {
        eprintln!("skipped: no name spaces for users here, so no small disk");
        return;
    };
    let raft = "checkpoint_interval_ms = 100\n[disk]\nreserve_bytes = 67108864";
    let settings = Settings { nodes: 1, raft, ..Settings::default() };
    node.write_config("test", &[node.member()], &settings);
    node.under = disk.enter();
    node.start();
    eventually("the node answers", async || node.status(false).await).await;
    let client = node.client();
    client.initialize().await.expect("form the cluster");
    plant(&client).await;
    let hold_id = client.reserve(new_request_id(), reserve_one()).await.expect("room").hold_id;

    disk.fill(32 * MIB);
    let full = eventually("it sees that its disk is nearly full", async || {
        node.status(false).await.filter(|status| status.disk_nearly_full)
    });
    let full = full.await;
    assert!(full.disk_free_bytes < 64 * MIB && full.problem.contains("make room"), "{full:?}");
    let id = new_request_id();
    match client.reserve(id, reserve_one()).await {
        Err(ClientError::Rejected { status, rejection: None }) => {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        }
        other => panic!("{other:?}"),
    }
    let release = v1::ReleaseRequest { hold_id, ..Default::default() };
    client.release(new_request_id(), release).await.expect("it gives back");

    disk.make_room();
    eventually("it sees that there is room", async || {
        node.status(false).await.filter(|status| !status.disk_nearly_full)
    })
    .await;
    let hold_id = client.reserve(id, reserve_one()).await.expect("the same request, with room").hold_id;
    for word in ["the disk is nearly full", "the disk has room again"] {
        assert_eq!(node.log().matches(word).count(), 1, "{word:?} is said once: {}", node.log());
    }

    disk.fill(0);
    let ended = eventually("its disk is full", async || {
        // Whatever it says: it ends in the middle of one of them.
        drop(timeout(SHORT, client.renew(new_request_id(), hold_id, 600_000)).await);
        node.ended()
    });
    let ended = ended.await;
    assert_stopped(&node, ended.code(), &FULL);

    disk.make_room();
    node.start();
    client.renew(new_request_id(), hold_id, 600_000).await.expect("there is room again");
    assert!(node.stop("TERM").await.success(), "{}", node.log());
}

/// The only file in a folder whose name begins or ends so.
fn file(folder: &Path, part: &str) -> PathBuf {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        name.starts_with(part) || name.ends_with(part)
    };
    let mut found: Vec<_> = entries.filter(is_it).collect();
    assert_eq!(found.len(), 1, "{part} in {}: {found:?}", folder.display());
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_damaged_file_does_not_start_and_does_when_the_file_is_as_it_was() {
    let mut cluster = Cluster::of_three().await;
    let client = cluster.client(0);
    plant(&client).await;
    let follower = cluster.follower().await;
    for _ in 0..3 {
        assert_eq!(reserve_many(&client).await.len(), 500);
    }
    cluster.converge().await;
    assert!(cluster.nodes[follower].stop("TERM").await.success());
    let data = cluster.nodes[follower].data_dir.clone();
    let live = fs::read_to_string(data.join("state/POINTER")).expect("a pointer");
    let live = data.join("state").join(live.trim_end());
    for (path, action) in [
        (file(&data.join("log"), ".log"), "open the log"),
        (file(&data.join("log"), "MANIFEST"), "open the log"),
        (file(&live, "MANIFEST"), "open the state"),
        (data.join("state/POINTER"), "find the live state"),
    ] {
        let whole = fs::read(&path).expect("a file");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x5A;
        fs::write(&path, damaged).expect("written");
        let finished = cluster.nodes[follower].fails().await;
        assert_eq!(finished.code, Some(1), "{}: {finished:?}", path.display());
        let last = last_error(&finished.stderr);
        assert!(last.contains(action), "{}: {finished:?}", path.display());
        assert!(last.contains("is damaged: this node must be replaced"), "{}: {finished:?}", path.display());
        fs::write(&path, whole).expect("put back");
    }
    assert_eq!(reserve_many(&client).await.len(), 500, "the others go on");
    cluster.start_node(follower);
    cluster.converge().await;
}
