//! One run: clients work while faults come and go and clocks are set, then everything heals, the
//! nodes must come to the same state, and that state must be what the clients were told.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientOptions;
use quorate::client::v1::NodeStatus;
use quorate::client::v1::Role;
use tokio::time::sleep;

use crate::archive::Archive;
use crate::check::agreement::Observations;
use crate::check::check_history;
use crate::check::linear;
use crate::check::progress;
use crate::check::proofs::check_proofs;
use crate::cluster::Cluster;
use crate::cluster::HOSTS;
use crate::cluster::MAX_CLOCK_STEP;
use crate::cluster::Members;
use crate::cluster::Restarts;
use crate::cluster::Work;
use crate::deadlines::check_time;
use crate::deadlines::spans::Installs;
use crate::deadlines::spans::Spans;
use crate::faults::Clocks;
use crate::faults::Fault;
use crate::faults::Faults;
use crate::net::channels;
use crate::operator::Operator;
use crate::parts::check_parts;
use crate::reads::Reader;
use crate::reads::Replies;
use crate::reads::check_reads;
use crate::repeats::Repeater;
use crate::shape::Shape;
use crate::small;
use crate::small::Histories;
use crate::trace;
use crate::usage::check_usage;
use crate::views::check_views;
use crate::wall;
use crate::watchers::Watchers;
use crate::workload::History;
use crate::workload::LONGEST_TTL;
use crate::workload::User;
use crate::zoo::Keeper;

/// Those of a run are the first of these.
const CLIENTS: [&str; 5] = ["client-1", "client-2", "client-3", "client-4", "client-5"];

/// How many read.
const READERS: u64 = 2;

/// Faults begin when the clients have begun.
const FAULTS_BEGIN: Duration = Duration::from_secs(3);

/// By then everything has ended that clients made, whatever clocks say.
const OVER: Duration = LONGEST_TTL.saturating_add(MAX_CLOCK_STEP);

/// Clients work at least until then, however short the faults were.
const LEAST: Duration = Duration::from_millis(27_500);

/// How often the nodes are asked how they are.
const OBSERVE: Duration = Duration::from_millis(150);

/// How often the disks of the nodes are looked at.
const LOOK_AT_DISKS: Duration = Duration::from_millis(200);

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
    histories: Histories,
    archive: Archive,
    members: Members,
    /// How many there are in the end.
    events: Rc<Cell<u64>>,
    restarts: Restarts,
    installs: Rc<RefCell<Installs>>,
    watchers: Watchers,
    replies: Replies,
    done: Rc<Cell<bool>>,
}

/// What a run was like.
pub struct Summary {
    pub nodes: usize,
    pub ticks: u128,
    pub commands: usize,
    pub reads: usize,
    /// Small histories of one quota.
    pub histories: usize,
    pub events: u64,
    /// Batches that were on a disk in part when its power failed.
    pub torn: u64,
    pub injected: Vec<Fault>,
    /// Faults that were to come, and found nobody to meet.
    pub missed: Vec<Fault>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |faults: &[Fault]| {
            let names: Vec<_> = faults.iter().map(|fault| format!("{fault:?}")).collect();
            names.join(",")
        };
        let Self { nodes, ticks, commands, reads, histories, events, torn, injected, missed } = self;
        write!(
            f,
            "run: nodes={nodes} ticks={ticks} commands={commands} reads={reads} histories={histories} events={events} \
             torn={torn} injected={} missed={}",
            names(injected),
            names(missed)
        )
    }
}

/// Runs a seed to its end.
pub fn run(seed: u64, shape: &Shape) -> Result<Summary, Box<dyn Error>> {
    let _collecting = trace::begin(seed, trace::wanted_at().is_some());
    let wall = wall::Held::begin();
    trace::line(format_args!("{shape:?}"));
    let mut cluster = Cluster::new(seed, shape);
    let members = Rc::clone(cluster.members());
    let first: Vec<usize> = (0..shape.nodes).collect();
    let shared = Shared {
        members: Rc::clone(&members),
        restarts: cluster.restarts(),
        watchers: Watchers::new(shape.watchers),
        ..Shared::default()
    };
    let mut clients: Vec<Work> = Vec::new();
    // The keeper, the makers of small histories and the archivist, too.
    shared.working.set(shape.clients + 3);
    for (number, name) in (1..).zip(&CLIENTS[..shape.clients]) {
        clients.push(Box::pin(work(name, seed * 100 + number, shape.clone(), shared.clone())));
    }
    for number in 50..50 + READERS {
        clients.push(Box::pin(read(seed * 100 + number, first.clone(), shared.clone())));
    }
    clients.push(Box::pin(keep(seed * 100 + 60, first.clone(), shared.clone())));
    clients.push(Box::pin(ask_little(seed * 100 + 70, first.clone(), shared.clone())));
    clients.push(Box::pin(audit(seed * 100, shape.clone(), shared.clone())));
    let done = Rc::clone(&shared.done);
    clients.push(Box::pin(shared.archive.clone().keep(first.clone(), move || done.get())));
    clients.push(Box::pin(let_go(seed * 100 + 80, shape.clone(), shared.clone())));
    clients.push(Box::pin(shared.watchers.clone().run(seed * 100 + 50, first)));
    let operator = Operator::new(members, shared.archive.clone());
    let over = Rc::clone(&shared.faults_over);
    let repeater = Repeater::new(seed, cluster.disks());
    clients.push(Box::pin(Rc::clone(&operator).run(repeater, move || over.get())));

    cluster.begin(clients);
    let mut faults = Faults::new(seed, FAULTS_BEGIN, &shape.faults, operator);
    let mut clocks = Clocks::new(seed, FAULTS_BEGIN);
    loop {
        let now = cluster.sim.elapsed();
        trace::set_now(now);
        wall.set(now);
        faults.step(now, &mut cluster, shared.leader.get());
        clocks.step(now, &mut cluster, shared.leader.get());
        shared.faults_over.set(faults.are_over() && now >= LEAST);
        let is_finished = cluster.sim.step()?;
        cluster.reap()?;
        if now.as_millis().is_multiple_of(LOOK_AT_DISKS.as_millis()) {
            cluster.look_at_disks()?;
        }
        if is_finished {
            break;
        }
    }
    let answered = shared.history.borrow().iter().map(|operation| operation.returned).collect::<Vec<_>>();
    progress::check(answered.into_iter(), &faults.with_majority())?;
    let histories = shared.histories.borrow();
    histories.iter().try_for_each(|history| linear::check(history))?;
    Ok(Summary {
        nodes: shape.nodes,
        ticks: cluster.sim.elapsed().as_millis(),
        commands: shared.history.borrow().len(),
        reads: shared.replies.borrow().len(),
        histories: histories.len(),
        events: shared.events.get(),
        torn: cluster.torn(),
        injected: faults.injected(),
        missed: faults.missed(),
    })
}

async fn work(name: &'static str, seed: u64, shape: Shape, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    let nodes: Vec<usize> = (0..shape.nodes).collect();
    let mut user = User::new(name, seed, &nodes, &shape, shared.history);
    while !shared.faults_over.get() {
        user.work_for(Duration::from_millis(100)).await;
    }
    user.work_for(AFTERWARDS).await;
    user.give_back().await;
    shared.working.set(shared.working.get() - 1);
    Ok(())
}

/// Uses all that there is, elsewhere.
async fn keep(seed: u64, nodes: Vec<usize>, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut keeper = Keeper::new(seed, &nodes, shared.history);
    while !shared.faults_over.get() {
        keeper.work().await;
    }
    shared.working.set(shared.working.get() - 1);
    Ok(())
}

/// Makes small histories.
async fn ask_little(seed: u64, nodes: Vec<usize>, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    let over = Rc::clone(&shared.faults_over);
    small::run(seed, nodes, shared.history, shared.histories, move || over.get()).await?;
    shared.working.set(shared.working.get() - 1);
    Ok(())
}

/// Lets go of old events, if that is the shape of the run.
async fn let_go(seed: u64, shape: Shape, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    if shape.lets_go {
        let nodes: Vec<usize> = (0..shape.nodes).collect();
        let user = User::new("archivist", seed, &nodes, &shape, shared.history);
        shared.archive.let_go(seed, user, || shared.faults_over.get()).await;
    }
    shared.working.set(shared.working.get() - 1);
    Ok(())
}

/// Reads as long as somebody writes.
async fn read(seed: u64, nodes: Vec<usize>, shared: Shared) -> turmoil::Result {
    while !shared.ready.get() {
        sleep(Duration::from_millis(10)).await;
    }
    let nodes = nodes.into_iter().map(node).collect();
    let mut reader = Reader::new(seed, nodes, Rc::clone(&shared.history), Rc::clone(&shared.replies));
    while shared.working.get() > 0 {
        reader.ask().await;
    }
    Ok(())
}

async fn audit(seed: u64, shape: Shape, shared: Shared) -> turmoil::Result {
    // Every node has a client from when it is a member.
    let nodes = Nodes::new(Rc::clone(&shared.members));
    while let Err(error) = nodes.of(0).initialize().await {
        trace::line(format_args!("auditor: not formed yet: {error}"));
        sleep(OBSERVE).await;
    }
    let first: Vec<usize> = (0..shape.nodes).collect();
    let mut auditor = User::new("auditor", seed, &first, &shape, Rc::clone(&shared.history));
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
    while !converged(&observe(&nodes, &seen, &shared).await?, shared.members.borrow().len()) {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("no convergence within {CONVERGE:?}").into());
        }
        sleep(OBSERVE).await;
    }
    check_idle(&nodes, &seen, &shared).await?;
    shared.done.set(true);
    let mut streams = Vec::new();
    for node in nodes.present() {
        streams.push(shared.archive.whole(&node).await?);
    }
    if streams.iter().any(|stream| stream != &streams[0]) {
        return Err("the nodes have different events".into());
    }
    shared.events.set(streams[0].len() as u64);
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
    for node in nodes.present() {
        checkpoints.push(node.checkpoint().await?);
    }
    check_proofs(&streams[0], &checkpoints)?;
    check_history(&streams[0], &shared.history.borrow())?;
    check_reads(&streams[0], &shared.history.borrow(), &shared.replies.borrow())?.trace();
    let deadlines = check_time(&streams[0], &shared.history.borrow(), &shared.archive.looks())?;
    Spans::count(&deadlines, &streams[0], &shared.restarts.borrow(), &shared.installs.borrow()).trace();
    for node in nodes.present() {
        check_usage(&streams[0], &node).await?;
        check_views(&streams[0], &node).await?;
    }
    let members = shared.members.borrow().clone();
    check_parts(seed, &members).await?;
    Ok(())
}

/// With nothing pending and nobody asking, nothing is written.
async fn check_idle(
    nodes: &Nodes,
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

/// A client that asks one node only, and not for long.
fn node(node: usize) -> Client {
    let timeout = Duration::from_millis(300);
    let options = ClientOptions { timeout, try_timeout: timeout, seed: Some(0), ..ClientOptions::default() };
    Client::from_channels(channels(&[node]), options).expect("the options are right")
}

/// Clients of one node each, made when they are needed.
struct Nodes {
    members: Members,
    clients: RefCell<BTreeMap<usize, Client>>,
}

impl Nodes {
    fn new(members: Members) -> Self {
        Self { members, clients: RefCell::default() }
    }

    fn of(&self, host: usize) -> Client {
        self.clients.borrow_mut().entry(host).or_insert_with(|| node(host)).clone()
    }

    /// Those of the present members.
    fn present(&self) -> Vec<Client> {
        self.members.borrow().iter().map(|host| self.of(*host)).collect()
    }
}

/// Asks every node how it is, and checks it against all that was said before.
async fn observe(
    nodes: &Nodes,
    seen: &RefCell<Observations>,
    shared: &Shared,
) -> Result<Vec<NodeStatus>, Box<dyn Error>> {
    let members = shared.members.borrow().clone();
    let present = nodes.present();
    let asked = present.iter().map(|node| node.status(true, true));
    let mut answers = Vec::new();
    for (number, answer) in members.into_iter().zip(futures_util::future::join_all(asked).await) {
        let Ok(answer) = answer else {
            trace::line(format_args!("auditor: {} does not answer", HOSTS[number]));
            continue;
        };
        let node = answer.nodes.into_iter().next().ok_or("a node says nothing of itself")?;
        trace::line(format_args!(
            "auditor: {} {:?} term {} last {} applied {} snapshot {} purged {} revision {} {}",
            HOSTS[number],
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

fn converged(answers: &[NodeStatus], members: usize) -> bool {
    answers.len() == members
        && answers.iter().filter(|node| node.role() == Role::Leader).count() == 1
        && answers.iter().all(|node| {
            node.applied_index == answers[0].last_log_index
                && (node.revision, &node.digest) == (answers[0].revision, &answers[0].digest)
        })
}
