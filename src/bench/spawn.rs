//! A cluster of real processes of this program on this machine: started with the configuration that
//! everybody starts with, and gone when it is dropped.

use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::Instant;

use super::BenchError;
use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::new_request_id;
use crate::client::v1::NodeStatus;
use crate::client::v1::Role;

/// How long nodes may take to answer, and to agree on a leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often they are asked whether they do.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// How many lines of the log of a node are shown when it fails.
const LOG_LINES: usize = 15;

/// Nodes, and the directory that their data is in. Both are gone when it is dropped, whatever
/// happened, unless the directory is to be kept.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<Node>,
    directory: Directory,
}

#[derive(Debug)]
struct Node {
    id: u64,
    client: String,
    peer: String,
    folder: PathBuf,
    process: Option<Child>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told when it fails.
        if !self.keep {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cluster {
    /// Starts so many nodes, forms the cluster and waits for its leader.
    pub(super) async fn start(count: u64, below: Option<&Path>, keep: bool) -> Result<Self, BenchError> {
        let directory = Directory::make(below, keep)?;
        let mut ports = Vec::new();
        for _ in 0..2 * count {
            ports.push(free_port(&ports)?);
        }
        let addresses: Vec<String> = ports.iter().map(address).collect::<Result<_, _>>()?;
        let nodes = (1..=count).zip(addresses.chunks(2)).map(|(id, addresses)| Node {
            id,
            client: addresses[0].clone(),
            peer: addresses[1].clone(),
            folder: directory.path.join(format!("node{id}")),
            process: None,
        });
        let mut cluster = Self { nodes: nodes.collect(), directory };
        let members = cluster.members();
        for node in &cluster.nodes {
            node.configure(&members)?;
        }
        drop(ports);
        for node in &mut cluster.nodes {
            node.start()?;
        }
        for at in 0..cluster.nodes.len() {
            cluster.wait_until_answering(at).await?;
        }
        let client = cluster.client(0)?;
        client.initialize().await.map_err(BenchError::client("form the cluster"))?;
        cluster.leader().await?;
        Ok(cluster)
    }

    pub(super) fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    pub(super) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The process behind an address.
    pub(super) fn pid(&self, endpoint: &str) -> Option<u32> {
        let at = self.nodes.iter().position(|node| node.client == endpoint)?;
        self.pid_of(at)
    }

    pub(super) fn pid_of(&self, at: usize) -> Option<u32> {
        self.nodes[at].process.as_ref().map(Child::id)
    }

    /// At once, as a power cut would.
    pub(super) fn kill(&mut self, at: usize) {
        self.nodes[at].kill();
    }

    /// Starts one that does not run.
    pub(super) fn start_node(&mut self, at: usize) -> Result<(), BenchError> {
        self.nodes[at].start()
    }

    /// Fails when a node has ended by itself.
    pub(super) fn must_run(&mut self, at: usize) -> Result<(), BenchError> {
        let node = &mut self.nodes[at];
        match node.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(ended))) => Err(node.failed(format!("ended by itself ({ended})"))),
            _ => Ok(()),
        }
    }

    pub(super) fn failed(&self, at: usize, problem: String) -> BenchError {
        self.nodes[at].failed(problem)
    }

    /// A client of all nodes that begins at this one.
    pub(super) fn client_from(&self, at: usize, options: &ClientOptions) -> Result<Client, BenchError> {
        let mut endpoints = self.endpoints();
        endpoints.rotate_left(at);
        Client::new(&endpoints, options.clone()).map_err(BenchError::client("make a client"))
    }

    /// Stops the nodes, and says what is left of them.
    pub(super) fn stop(&mut self) -> Option<String> {
        for node in &mut self.nodes {
            node.kill();
        }
        let path = self.directory.path.display();
        self.directory.keep.then(|| format!("the data of the nodes is in {path}"))
    }

    fn members(&self) -> String {
        let mut members = String::new();
        for Node { id, client, peer, .. } in &self.nodes {
            let _ = write!(
                members,
                "\n[[members]]\nnode_id = {id}\nclient_address = \"{client}\"\npeer_address = \"{peer}\"\n"
            );
        }
        members
    }

    fn client(&self, at: usize) -> Result<Client, BenchError> {
        let endpoints = [self.nodes[at].client.clone()];
        // A node that is not there yet is asked again here, not in the client.
        let timeout = Duration::from_secs(5);
        let options = ClientOptions { timeout, try_timeout: timeout, ..ClientOptions::default() };
        Client::new(&endpoints, options).map_err(BenchError::client("ask a node that was started"))
    }

    /// Waits until a node says something of itself.
    pub(super) async fn wait_until_answering(&mut self, at: usize) -> Result<(), BenchError> {
        let client = self.client(at)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.must_run(at)?;
            let is_listening = tokio::net::TcpStream::connect(&self.nodes[at].client).await.is_ok();
            if is_listening && client.status(false, true).await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.failed(at, format!("does not answer after {PATIENCE:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until one of the nodes leads, and says which.
    pub(super) async fn leader(&self) -> Result<usize, BenchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for at in (0..self.size()).filter(|at| self.nodes[*at].process.is_some()) {
                let Ok(status) = self.client(at)?.status(false, true).await else { continue };
                if status.nodes.iter().any(|node| node.role() == Role::Leader) {
                    return Ok(at);
                }
            }
            if Instant::now() >= deadline {
                return Err(BenchError::NoLeader { seconds: PATIENCE.as_secs() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until all nodes have applied what the leader has accepted by now.
    pub(super) async fn wait_until_level(&self) -> Result<(), BenchError> {
        let leader = self.leader().await?;
        let client = self.client(leader)?;
        let deadline = Instant::now() + PATIENCE;
        let mut goal = None;
        loop {
            if let Ok(status) = client.status(false, false).await {
                let newest = status.nodes.iter().map(|node| node.last_log_index).max().unwrap_or_default();
                let goal = *goal.get_or_insert(newest);
                let is_there = |node: &NodeStatus| node.voter && node.applied_index >= goal;
                if status.nodes.len() == self.size() && status.nodes.iter().all(is_there) {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                return Err(BenchError::Behind { seconds: PATIENCE.as_secs() });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Directory {
    /// A new one of which nobody else knows.
    fn make(below: Option<&Path>, keep: bool) -> Result<Self, BenchError> {
        let below = below.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = below.join(format!("quorate-bench-{}", new_request_id().simple()));
        fs::create_dir_all(&path).map_err(BenchError::machine("make the directory", &path))?;
        // Nodes are told where it is in a file that they read from elsewhere.
        let path = fs::canonicalize(&path).map_err(BenchError::machine("find the directory", &path))?;
        Ok(Self { path, keep })
    }
}

impl Node {
    fn configure(&self, members: &str) -> Result<(), BenchError> {
        let data = self.folder.join("data");
        fs::create_dir_all(&self.folder).map_err(BenchError::machine("make the directory", &self.folder))?;
        // Everything else is as it is for everybody: what is measured is what people get.
        let text = format!(
            "cluster = \"bench\"\nnode_id = {}\ndata_dir = {:?}\n\n[client]\nlisten = \"{}\"\n\n[peer]\n\
             listen = \"{}\"\n{members}",
            self.id,
            data.display().to_string(),
            self.client,
            self.peer,
        );
        let path = self.config();
        fs::write(&path, text).map_err(BenchError::machine("write the configuration", path))
    }

    fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn start(&mut self) -> Result<(), BenchError> {
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(BenchError::machine("open the log", &path))?;
        let second = log.try_clone().map_err(BenchError::machine("open the log", &path))?;
        let program = std::env::current_exe().map_err(BenchError::machine("find the program", "quorate"))?;
        let child = Command::new(&program)
            .arg("start")
            .arg("--config")
            .arg(self.config())
            // Variables of the caller would override the configuration of all nodes alike.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            // A Ctrl-C of the terminal is for this process, which stops its nodes.
            .process_group(0)
            .spawn()
            .map_err(BenchError::machine("start a node with", program))?;
        self.process = Some(child);
        Ok(())
    }

    /// At once, as a power cut would. Does nothing when it does not run.
    fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It fails only for a process that has ended.
            drop(child.kill());
            drop(child.wait());
        }
    }

    fn failed(&self, problem: String) -> BenchError {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let log = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        BenchError::Node { node: self.id, problem, log }
    }
}

/// A free port, kept from others until it is given to a node. Below the range from which the system
/// takes the ports of outgoing connections: one of those would take the port of a node that is down.
fn free_port(taken: &[TcpListener]) -> Result<TcpListener, BenchError> {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    // Where others begin who look at the same moment.
    let start = std::process::id().wrapping_mul(97).wrapping_add(u32::try_from(taken.len()).unwrap_or(0));
    let numbers = (0..COUNT).map(|offset| FIRST + start.wrapping_add(offset) % COUNT);
    let mut ports = numbers.filter_map(|number| u16::try_from(number).ok());
    ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).ok_or(BenchError::NoPort)
}

fn address(port: &TcpListener) -> Result<String, BenchError> {
    let address = port.local_addr().map_err(BenchError::machine("ask for the address of", "a port"))?;
    Ok(address.to_string())
}
