//! One run: clients work while faults come and go and clocks are set, then everything heals, the
//! nodes must come to the same state, and that state must be what the clients were told.

use std::cell::Cell;
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::v1::Event;
use quorate::client::v1::NodeStatus;
use quorate::client::v1::Role;
use tokio::time::sleep;

use crate::check::Observations;
use crate::check::check_history;
use crate::check::check_proofs;
use crate::cluster::Cluster;
use crate::cluster::MAX_CLOCK_STEP;
use crate::cluster::NODES;
use crate::cluster::Restarts;
use crate::deadlines::Look;
use crate::deadlines::check_time;
use crate::deadlines::spans::Installs;
use crate::deadlines::spans::Spans;
use crate::faults::Clocks;
use crate::faults::Faults;
use crate::net::channel;
use crate::parts::check_parts;
use crate::reads::Reader;
use crate::reads::Replies;
use crate::reads::check_reads;
use crate::trace;
use crate::usage::check_usage;
use crate::watchers::Watchers;
use crate::workload::History;
use crate::workload::LONGEST_TTL;
use crate::workload::User;
use crate::workload::now;

const READERS: [&str; 2] = ["reader-1", "reader-2"];

const CLIENTS: [&str; 3] = ["client-1", "client-2", "client-3"];

/// Faults begin when the clients have begun.
const FAULTS_BEGIN: Duration = Duration::from_secs(3);

/// By then everything has ended that clients made, whatever clocks say.
const OVER: Duration = LONGEST_TTL.saturating_add(MAX_CLOCK_STEP);

/// How often the nodes are asked how they are.
const OBSERVE: Duration = Duration::from_millis(150);

/// How often the events are read on the way.
const LOOK: Duration = Duration::from_millis(40);

/// How long nodes may take to come to the same state once nothing goes wrong any more.
const CONVERGE: Duration = Duration::from_secs(15);

/// How long clients go on after the faults.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How long the cluster is watched when there is nothing left to do.
const IDLE: Duration = Duration::from_secs(5);

/// What the parts of a run tell each other.
#[derive(Clone, Default)]
struct Shared {
    history: History,
    ready: Rc<Cell<bool>>,
    /// The node that was last seen to lead.
    leader: Rc<Cell<usize>>,
    faults_over: Rc<Cell<bool>>,
    working: Rc<Cell<usize>>,
    looks: Rc<RefCell<Vec<Look>>>,
    restarts: Restarts,
    installs: Rc<RefCell<Installs>>,
    watchers: Watchers,
    replies: Replies,
    done: Rc<Cell<bool>>,
}

/// Runs a seed to its end.
pub fn run(seed: u64) -> Result<(), Box<dyn Error>> {
    let _collecting = trace::begin(seed);
    let mut cluster = Cluster::new(seed);
    let shared = Shared { restarts: cluster.restarts(), ..Shared::default() };
    shared.working.set(CLIENTS.len());
    for (number, name) in (1..).zip(CLIENTS) {
        cluster.client(name, work(name, seed * 100 + number, shared.clone()));
    }
    for (number, name) in (50..).zip(READERS) {
        cluster.client(name, read(seed * 100 + number, shared.clone()));
    }
    cluster.client("auditor", audit(seed * 100, shared.clone()));
    cluster.client("watcher", watch(shared.clone()));
    cluster.client("watchers", shared.watchers.clone().run(seed * 100 + 50));

    let mut faults = Faults::new(seed, FAULTS_BEGIN);
    let mut clocks = Clocks::new(seed, FAULTS_BEGIN);
    loop {
        let now = cluster.sim.elapsed();
        trace::set_now(now);
        faults.step(now, &mut cluster, shared.leader.get());
        clocks.step(now, &mut cluster, shared.leader.get());
        shared.faults_over.set(faults.are_over());
        if cluster.sim.step()? {
            return Ok(());
        }
    }
}

async fn work(name: &'static str, seed: u64, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut user = User::new(name, seed, shared.history);
    while !shared.faults_over.get() {
        user.work_for(Duration::from_millis(100)).await;
    }
    user.work_for(AFTERWARDS).await;
    user.give_back().await;
    shared.working.set(shared.working.get() - 1);
    Ok(())
}

/// Reads as long as somebody writes.
async fn read(seed: u64, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut reader = Reader::new(seed, node, Rc::clone(&shared.history), Rc::clone(&shared.replies));
    while shared.working.get() > 0 {
        reader.ask().await;
    }
    Ok(())
}

async fn audit(seed: u64, shared: Shared) -> turmoil::Result {
    let nodes = NODES.map(|(_, address)| node(address));
    while let Err(error) = nodes[0].initialize().await {
        trace::line(format_args!("auditor: not formed yet: {error}"));
        sleep(OBSERVE).await;
    }
    let mut auditor = User::new("auditor", seed, Rc::clone(&shared.history));
    auditor.set_up().await;
    shared.ready.set(true);

    let seen = RefCell::new(Observations::default());
    while shared.working.get() > 0 {
        observe(&nodes, &seen, &shared).await?;
        sleep(OBSERVE).await;
    }
    trace::line(format_args!("auditor: the clients are done"));
    sleep(OVER).await;
    auditor.leave_deadlines().await;
    sleep(OVER).await;
    let deadline = tokio::time::Instant::now() + CONVERGE;
    while !converged(&observe(&nodes, &seen, &shared).await?) {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("no convergence within {CONVERGE:?}").into());
        }
        sleep(OBSERVE).await;
    }
    check_idle(&nodes, &seen, &shared).await?;
    shared.done.set(true);
    let mut streams = Vec::new();
    for node in &nodes {
        streams.push(all_events(node).await?);
    }
    if streams.iter().any(|stream| stream != &streams[0]) {
        return Err("the nodes have different events".into());
    }
    trace::line(format_args!("auditor: {} events", streams[0].len()));
    shared.watchers.end_at(streams[0].len() as u64);
    let deadline = tokio::time::Instant::now() + CONVERGE;
    while !shared.watchers.are_done() {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("some watchers have not seen all within {CONVERGE:?}").into());
        }
        sleep(OBSERVE).await;
    }
    shared.watchers.check(&streams[0])?;
    let mut checkpoints = Vec::new();
    for node in &nodes {
        checkpoints.push(node.checkpoint().await?);
    }
    check_proofs(&streams[0], &checkpoints)?;
    check_history(&streams[0], &shared.history.borrow())?;
    check_reads(&streams[0], &shared.history.borrow(), &shared.replies.borrow())?.trace();
    let deadlines = check_time(&streams[0], &shared.history.borrow(), &shared.looks.borrow())?;
    Spans::count(&deadlines, &streams[0], &shared.restarts.borrow(), &shared.installs.borrow()).trace();
    for node in &nodes {
        check_usage(&streams[0], node).await?;
    }
    check_parts(seed).await?;
    Ok(())
}

/// With nothing pending and nobody asking, nothing is written.
async fn check_idle(
    nodes: &[Client; 3],
    seen: &RefCell<Observations>,
    shared: &Shared,
) -> Result<(), Box<dyn Error>> {
    let before = observe(nodes, seen, shared).await?;
    sleep(IDLE).await;
    let after = observe(nodes, seen, shared).await?;
    let written = |nodes: &[NodeStatus]| nodes.iter().map(|node| node.last_log_index).max();
    if written(&before) == written(&after) {
        return Ok(());
    }
    Err(format!("an idle cluster wrote entries: {:?} became {:?}", written(&before), written(&after)).into())
}

/// Reads all events as they come, and notes when each was first seen.
async fn watch(shared: Shared) -> turmoil::Result {
    let nodes = NODES.map(|(_, address)| (address.to_owned(), channel(address)));
    let (timeout, try_timeout) = (Duration::from_millis(600), Duration::from_millis(200));
    let options = ClientOptions { timeout, try_timeout, seed: Some(1), ..ClientOptions::default() };
    let client = Client::from_channels(nodes.into(), options)?;
    let mut last = 0;
    while !shared.done.get() {
        let began = now();
        let page = client.list_events(last + 1, 1_000).await;
        last = page.as_ref().map_or(last, |page| page.next_revision - 1);
        let revision = page.is_ok().then_some(last);
        shared.looks.borrow_mut().push(Look { began, ended: now(), revision });
        sleep(LOOK).await;
    }
    Ok(())
}

/// A client that asks one node only, and not for long.
fn node(address: &'static str) -> Client {
    let timeout = Duration::from_millis(300);
    let options = ClientOptions { timeout, try_timeout: timeout, seed: Some(0), ..ClientOptions::default() };
    Client::from_channels(vec![(address.to_owned(), channel(address))], options)
        .expect("the options are right")
}

/// Asks every node how it is, and checks it against all that was said before.
async fn observe(
    nodes: &[Client; 3],
    seen: &RefCell<Observations>,
    shared: &Shared,
) -> Result<Vec<NodeStatus>, Box<dyn Error>> {
    let asked = nodes.iter().map(|node| node.status(true, true));
    let mut answers = Vec::new();
    for (number, answer) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        let Ok(answer) = answer else {
            trace::line(format_args!("auditor: {} does not answer", NODES[number].0));
            continue;
        };
        let node = answer.nodes.into_iter().next().ok_or("a node says nothing of itself")?;
        trace::line(format_args!(
            "auditor: {} {:?} term {} last {} applied {} snapshot {} purged {} revision {} {}",
            NODES[number].0,
            node.role(),
            node.term,
            node.last_log_index,
            node.applied_index,
            node.snapshot_index,
            node.purged_index,
            node.revision,
            node.digest,
        ));
        seen.borrow_mut().add(&node)?;
        shared.installs.borrow_mut().note(&node);
        if node.role() == Role::Leader {
            shared.leader.set(number);
        }
        answers.push(node);
    }
    Ok(answers)
}

fn converged(answers: &[NodeStatus]) -> bool {
    answers.len() == NODES.len()
        && answers.iter().filter(|node| node.role() == Role::Leader).count() == 1
        && answers.iter().all(|node| {
            node.applied_index == answers[0].last_log_index
                && (node.revision, &node.digest) == (answers[0].revision, &answers[0].digest)
        })
}

async fn all_events(node: &Client) -> Result<Vec<Event>, Box<dyn Error>> {
    let mut events = Vec::new();
    loop {
        let page = node.list_events(events.len() as u64 + 1, 200).await?;
        if page.events.is_empty() {
            return Ok(events);
        }
        events.extend(page.events);
    }
}
