//! Nodes as processes.
//!
//! A cluster owns its processes and its directory: both are gone when it is dropped, whatever
//! happened, and the logs are shown when it was a failure. Where its nodes run is said by seats.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::channel_settings;
use quorate::client::v1;
use quorate::client::v1::NodeStatus;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tonic::transport::Channel;

/// After this long what should have come true never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);

/// More clusters at once than this make a small machine miss its heartbeats.
static CLUSTERS: Semaphore = Semaphore::const_new(2);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Polls until there is something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A directory of its own, removed when dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cluster-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

/// A port that was free a moment ago, kept from others until its node starts.
#[derive(Debug)]
pub struct Port {
    host: String,
    number: u16,
    kept: Option<TcpListener>,
}

impl Port {
    /// Below the range from which the system takes the ports of outgoing connections: one of those
    /// would take the port of a node that is down, or even connect to itself.
    pub fn find() -> Self {
        const FIRST: u32 = 10_000;
        const COUNT: u32 = 20_000;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let start = std::process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = (FIRST + start.wrapping_add(offset) % COUNT).try_into().expect("a port");
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", number)) {
                return Self { host: "127.0.0.1".to_owned(), number, kept: Some(listener) };
            }
        }
        panic!("no port is free");
    }

    /// A port of a host on which nobody else takes any.
    fn of(host: &str, number: u16) -> Self {
        Self { host: host.to_owned(), number, kept: None }
    }

    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.number)
    }

    fn give_away(&mut self) {
        self.kept = None;
    }
}

/// Where a node runs: another one may take the seat of one that is gone.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Where its configuration and its log are, in a folder of its own.
    pub folder: PathBuf,
    /// Where its data is; beside its log when not said.
    pub disk: Option<PathBuf>,
    /// A host of its own; one of the free ports of this machine when not said.
    pub host: Option<String>,
    /// What takes the program to its host: words that stand before it.
    pub way: Vec<String>,
    pub program: PathBuf,
}

impl Seat {
    /// On this machine, like all others.
    pub fn here(folder: &Path) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_quorate"));
        Self { folder: folder.to_owned(), disk: None, host: None, way: Vec::new(), program }
    }

    fn ports(&self) -> [Port; 2] {
        match &self.host {
            Some(host) => [CLIENT_PORT, PEER_PORT].map(|number| Port::of(host, number)),
            None => [Port::find(), Port::find()],
        }
    }
}

/// The ports of a node that has a host of its own.
pub const CLIENT_PORT: u16 = 7101;
pub const PEER_PORT: u16 = 7201;

/// What differs between the clusters of the tests.
#[derive(Debug, Clone)]
pub struct Settings {
    pub nodes: u64,
    /// Lines of the section `[raft]`.
    pub raft: &'static str,
    /// Of the section `[client]`.
    pub max_message_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: 3, raft: "", max_message_bytes: 4 << 20 }
    }
}

/// One node, whether it runs or not.
#[derive(Debug)]
pub struct Node {
    pub id: u64,
    pub config: PathBuf,
    pub data_dir: PathBuf,
    log: PathBuf,
    seat: Seat,
    client: Port,
    peer: Port,
    /// Another program that is started with the node behind it, and becomes it.
    pub under: Vec<String>,
    process: Option<Process>,
}

/// A child that does not outlive its owner.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts what these words say; what it says is added to these files.
    fn start(line: &[&str], stdout: &Path, stderr: &Path) -> Self {
        let file = |path: &Path| File::options().create(true).append(true).open(path).expect("a file");
        let child = Command::new(line[0])
            .args(&line[1..])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(file(stdout))
            .stderr(file(stderr))
            .spawn()
            .expect("start the program");
        Self(child)
    }

    pub fn signal(&self, name: &str) {
        // The shell has it built in, so this needs no other program.
        let line = format!("kill -{name} {}", self.0.id());
        let done = Command::new("sh").args(["-c", &line]).status().expect("run a shell");
        assert!(done.success(), "{line}: {done}");
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("look at a child")
    }

    pub async fn end(mut self) -> ExitStatus {
        eventually("the process ends", async || self.ended()).await
    }

    /// Memory that is resident, in kilobytes.
    pub fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a live process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
    }
}

/// What came of a run of the program.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program to its end.
pub async fn run(directory: &Directory, words: &[&str]) -> Finished {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let [stdout, stderr] = ["out", "err"].map(|name| directory.path().join(format!("run{number}.{name}")));
    let line = [&[env!("CARGO_BIN_EXE_quorate")], words].concat();
    let code = Process::start(&line, &stdout, &stderr).end().await.code();
    let read = |path: &Path| fs::read_to_string(path).expect("what the program said");
    Finished { code, stdout: read(&stdout), stderr: read(&stderr) }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Node {
    pub fn new(directory: &Path, id: u64) -> Self {
        let seat = Seat::here(directory);
        let ports = seat.ports();
        Self::at(seat, ports, id)
    }

    fn at(seat: Seat, [client, peer]: [Port; 2], id: u64) -> Self {
        let name = format!("node{id}");
        let folder = seat.folder.join(&name);
        fs::create_dir_all(&folder).expect("a directory for a node");
        let data_dir = seat.disk.as_ref().map_or_else(|| folder.join("data"), |disk| disk.join(&name));
        let (config, log) = (folder.join("quorate.toml"), folder.join("log"));
        Self { id, config, data_dir, log, seat, client, peer, under: Vec::new(), process: None }
    }

    /// Another node on the seat of this one, which is gone: with its addresses and none of its data.
    pub fn successor(&self, id: u64) -> Self {
        assert!(self.process.is_none(), "node {} runs", self.id);
        let ports = [&self.client, &self.peer].map(|port| Port::of(&port.host, port.number));
        Self::at(self.seat.clone(), ports, id)
    }

    /// What it is started as.
    pub fn program(&self) -> &Path {
        &self.seat.program
    }

    /// It is another program from its next start on.
    pub fn run_as(&mut self, program: PathBuf) {
        self.seat.program = program;
    }

    pub fn client_address(&self) -> String {
        self.client.address()
    }

    pub fn member(&self) -> v1::Member {
        v1::Member {
            node_id: self.id,
            client_address: self.client.address(),
            peer_address: self.peer.address(),
            ..Default::default()
        }
    }

    pub fn write_config(&self, cluster: &str, members: &[v1::Member], settings: &Settings) {
        let mut text = format!(
            "cluster = {cluster:?}\nnode_id = {}\ndata_dir = {:?}\n\
             [client]\nlisten = {:?}\nmax_message_bytes = {}\n[peer]\nlisten = {:?}\n\
             [log]\nlevel = \"info,openraft=warn\"\n[raft]\n{}\n",
            self.id,
            self.data_dir,
            self.client.address(),
            settings.max_message_bytes,
            self.peer.address(),
            settings.raft,
        );
        for v1::Member { node_id, client_address, peer_address, .. } in members {
            text.push_str(&format!(
                "[[members]]\nnode_id = {node_id}\nclient_address = {client_address:?}\n\
                 peer_address = {peer_address:?}\n"
            ));
        }
        fs::write(&self.config, text).expect("write a configuration");
    }

    pub fn start(&mut self) {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        self.client.give_away();
        self.peer.give_away();
        let config = self.config.to_str().expect("a path in UTF-8");
        let words = ["start", "--config", config];
        let way = [&self.seat.way[..], &self.under].concat();
        let program = self.seat.program.to_str().expect("a path in UTF-8");
        let line = [&way.iter().map(String::as_str).collect::<Vec<_>>()[..], &[program], &words].concat();
        self.process = Some(Process::start(&line, &self.log, &self.log));
    }

    /// Starts it, expecting that it ends by itself.
    pub async fn fails(&mut self) -> Finished {
        drop(fs::remove_file(&self.log));
        self.start();
        let code = self.process.take().expect("started above").end().await.code();
        Finished { code, stdout: String::new(), stderr: self.log() }
    }

    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// How it ended by itself, if it did; then it can be started again.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut()?.ended();
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the node runs")
    }

    pub fn signal(&self, name: &str) {
        self.process().signal(name);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take().expect("the node runs"));
    }

    /// Sends a signal that should end it, and waits until it did.
    pub async fn stop(&mut self, signal: &str) -> ExitStatus {
        let process = self.process.take().expect("the node runs");
        process.signal(signal);
        process.end().await
    }

    pub fn client(&self) -> Client {
        Client::new(&[self.client_address()], options()).expect("a client")
    }

    /// For calls that the client would not make.
    pub fn channel(&self) -> Channel {
        channel_settings(&self.client_address()).expect("an address").connect_lazy()
    }

    /// What the node says of itself; `None` when it does not answer.
    pub async fn status(&self, digest: bool) -> Option<NodeStatus> {
        let options = ClientOptions { timeout: Duration::from_secs(2), ..options() };
        let client = Client::new(&[self.client_address()], options).expect("a client");
        client.status(digest, true).await.ok()?.nodes.pop()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Patience of one call, far above what a healthy cluster needs.
fn options() -> ClientOptions {
    ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() }
}

/// Some nodes that belong together.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub name: String,
    pub settings: Settings,
    /// Every digest ever seen, by revision: no node may ever show another one.
    digests: Mutex<BTreeMap<u64, String>>,
    seats: Vec<Seat>,
    /// Removed with the cluster, unless it is somebody else's.
    _directory: Option<Directory>,
    _permit: SemaphorePermit<'static>,
}

impl Cluster {
    /// Starts nodes without forming a cluster of them.
    pub async fn start(settings: Settings) -> Self {
        let directory = Directory::new();
        let seats = vec![Seat::here(directory.path())];
        Self::start_on(settings, seats, Some(directory)).await
    }

    /// The same on these seats, each of which takes the nodes in turn.
    pub async fn start_on(settings: Settings, seats: Vec<Seat>, directory: Option<Directory>) -> Self {
        let permit = CLUSTERS.acquire().await.expect("never closed");
        let mut cluster = Self {
            nodes: Vec::new(),
            name: "test".to_owned(),
            settings,
            digests: Mutex::default(),
            seats,
            _directory: directory,
            _permit: permit,
        };
        // Another process may take a port between our giving it away and the node's taking it.
        for _ in 0..5 {
            cluster.nodes.clear();
            cluster.nodes = (1..=cluster.settings.nodes).map(|id| cluster.node(id)).collect();
            let members: Vec<_> = cluster.nodes.iter().map(Node::member).collect();
            for node in &mut cluster.nodes {
                node.write_config(&cluster.name, &members, &cluster.settings);
                node.start();
            }
            if cluster.all_answer().await {
                return cluster;
            }
        }
        panic!("the nodes do not start");
    }

    /// A node of this cluster, not started and not configured.
    pub fn node(&self, id: u64) -> Node {
        let turn = usize::try_from(id - 1).expect("a small number") % self.seats.len();
        let seat = self.seats[turn].clone();
        let ports = seat.ports();
        Node::at(seat, ports, id)
    }

    async fn all_answer(&mut self) -> bool {
        for node in &mut self.nodes {
            let answers = eventually("a new node answers", async || {
                if node.process.as_mut().expect("started").ended().is_some() {
                    assert!(node.log().contains("is another process using that address"), "{}", node.log());
                    return Some(false);
                }
                node.status(false).await.map(|_| true)
            });
            if !answers.await {
                return false;
            }
        }
        true
    }

    /// Starts nodes and forms a cluster of them.
    pub async fn form(settings: Settings) -> Self {
        Self::start(settings).await.formed().await
    }

    /// Forms a cluster of nodes that were started.
    pub async fn formed(self) -> Self {
        self.nodes[0].client().initialize().await.expect("form the cluster");
        self.leader().await;
        self
    }

    /// Three nodes with the settings everybody gets.
    pub async fn of_three() -> Self {
        Self::form(Settings::default()).await
    }

    /// The position of the node that leads, as all that run agree.
    pub async fn leader(&self) -> usize {
        self.leader_of(self.nodes.len()).await
    }

    /// The same of the first nodes alone: the others may not belong to the cluster.
    pub async fn leader_of(&self, count: usize) -> usize {
        eventually("all nodes follow one leader", async || {
            let mut leaders = Vec::new();
            for node in self.nodes.iter().take(count).filter(|node| node.is_up()) {
                let status = node.status(false).await?;
                leaders.push((status.term, status.leader_id));
            }
            leaders.dedup();
            let [(_, leader)] = leaders[..] else { return None };
            self.nodes.iter().position(|node| node.id == leader && node.is_up())
        })
        .await
    }

    /// The position of some node that runs and does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let others = self.nodes.iter().enumerate();
        others
            .filter(|(_, node)| node.is_up())
            .map(|(at, _)| at)
            .find(|at| *at != leader)
            .expect("a follower")
    }

    /// A client of all nodes that asks the one at `first` first.
    pub fn client(&self, first: usize) -> Client {
        let mut addresses: Vec<_> = self.nodes.iter().map(Node::client_address).collect();
        addresses.rotate_left(first % self.nodes.len());
        Client::new(&addresses, options()).expect("a client")
    }

    pub fn start_node(&mut self, at: usize) {
        self.nodes[at].start();
    }

    /// Notes the digest of every node that answers; two digests of one revision end the test.
    async fn look_at_digests(&self) -> Option<Vec<NodeStatus>> {
        let mut all = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            let status = node.status(true).await?;
            let mut digests = self.digests.lock().expect("no panic while locked");
            let known = digests.entry(status.revision).or_insert_with(|| status.digest.clone());
            assert_eq!(*known, status.digest, "node {} differs at revision {}", node.id, status.revision);
            all.push(status);
        }
        Some(all)
    }

    /// Waits until all running nodes have applied the same, checks that they came to the same
    /// state, and returns its revision and digest.
    pub async fn converge(&self) -> (u64, String) {
        eventually("all nodes have applied the same", async || {
            let all = self.look_at_digests().await?;
            let first = all.first()?;
            let same = |status: &NodeStatus| {
                (status.revision, status.applied_index) == (first.revision, first.last_log_index)
            };
            (first.leader_id != 0 && all.iter().all(same)).then(|| (first.revision, first.digest.clone()))
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- the end of the log of node {}:\n{}", node.id, telling_end(&node.log()));
            }
        }
        // Before the directory they write to is removed.
        self.nodes.clear();
    }
}

/// The last lines of a log. While another node is away, a warning of openraft for every call that does
/// not reach it pushes all else out of sight: of those only the very last are kept.
fn telling_end(log: &str) -> String {
    const WARNINGS: usize = 10;
    const LINES: usize = 100;
    let lines: Vec<_> = log.lines().collect();
    let mut warnings = 0;
    let mut telling = |line: &&str| {
        let is_warning = line.contains(" WARN openraft");
        warnings += usize::from(is_warning);
        !is_warning || warnings <= WARNINGS
    };
    let mut shown: Vec<_> = lines.into_iter().rev().filter(|line| telling(line)).take(LINES).collect();
    shown.reverse();
    shown.join("\n")
}

#[test]
fn the_end_of_a_log_tells_more_than_that_others_are_away() {
    let line = |number: usize, what: &str| format!("2026-01-02T03:04:05.{number:06}Z {what}\n");
    let mut log = line(0, " INFO quorate::server: started");
    log.extend((1..500).map(|number| line(number, " WARN openraft::core::heartbeat::worker: failed")));
    let end = telling_end(&log);
    assert_eq!(end.lines().count(), 11);
    assert!(end.contains("started") && end.contains("000499Z") && end.contains("000490Z"), "{end}");
    assert!(end.lines().is_sorted(), "{end}");
}
