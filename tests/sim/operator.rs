//! Who changes the members of the cluster, moves its leadership, and has projections made anew: one task
//! after the other, each until it is done, whatever goes wrong meanwhile.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::v1::NodeStatus;
use quorate::client::v1::Role;
use tokio::time::Instant;
use tokio::time::sleep;
use tonic::Code;

use crate::archive::Archive;
use crate::cluster::Members;
use crate::cluster::member;
use crate::net::channels;
use crate::repeats::Repeater;
use crate::trace;

/// How long a task may take. Its cluster has a majority again after a few seconds at most.
const PATIENCE: Duration = Duration::from_secs(25);

/// Between two looks at how far a task is.
const PAUSE: Duration = Duration::from_millis(120);

/// Leadership may stay where it is when another fault comes between.
const TRIES: u32 = 5;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// A node becomes a voter.
    Add(usize),
    /// A node is none of the members any more.
    Remove(usize),
    /// One goes, another comes.
    Replace { node: usize, by: usize },
    /// A node becomes the leader.
    Lead(usize),
    /// Messages of leaders arrive once more.
    RepeatAppends,
    /// … and of candidates.
    RepeatVotes,
    /// A node makes a projection anew, unless events are gone that it would need.
    Rebuild { node: usize, projection: &'static str },
}

/// The tasks of a run.
pub struct Operator {
    to_do: RefCell<VecDeque<Task>>,
    working: Cell<bool>,
    members: Members,
    archive: Archive,
}

impl Operator {
    pub fn new(members: Members, archive: Archive) -> Rc<Self> {
        Rc::new(Self { to_do: RefCell::default(), working: Cell::new(false), members, archive })
    }

    /// Adds a task.
    pub fn ask(&self, task: Task) {
        self.to_do.borrow_mut().push_back(task);
    }

    /// Whether every task is done.
    pub fn is_idle(&self) -> bool {
        self.to_do.borrow().is_empty() && !self.working.get()
    }

    /// Works until `is_over`.
    pub async fn run(self: Rc<Self>, repeater: Repeater, is_over: impl Fn() -> bool) -> turmoil::Result {
        while !is_over() || !self.is_idle() {
            let next = self.to_do.borrow_mut().pop_front();
            let Some(task) = next else {
                sleep(PAUSE).await;
                continue;
            };
            self.working.set(true);
            trace::line(format_args!("operator: {task:?}"));
            self.carry_out(&task, &repeater).await?;
            trace::line(format_args!("operator: {task:?} is done"));
            self.working.set(false);
        }
        Ok(())
    }

    async fn carry_out(&self, task: &Task, repeater: &Repeater) -> Result<(), String> {
        match *task {
            Task::Add(node) => self.add(task, node).await,
            Task::Remove(node) => self.remove(task, node).await,
            Task::Replace { node, by } => {
                self.remove(task, node).await?;
                self.add(task, by).await
            }
            Task::Lead(node) => {
                self.lead(node).await;
                Ok(())
            }
            Task::RepeatAppends => {
                repeater.appends(&self.members).await;
                Ok(())
            }
            Task::RepeatVotes => {
                repeater.votes(&self.members).await;
                Ok(())
            }
            Task::Rebuild { node, projection } => {
                self.until(task, || vec![node], async |client| self.rebuild(client, projection).await).await
            }
        }
    }

    async fn add(&self, task: &Task, node: usize) -> Result<(), String> {
        self.until(task, || self.present(), async |client| add(client, node).await).await?;
        self.members.borrow_mut().push(node);
        Ok(())
    }

    async fn remove(&self, task: &Task, node: usize) -> Result<(), String> {
        self.until(task, || self.present(), async |client| remove(client, node).await).await?;
        self.members.borrow_mut().retain(|member| *member != node);
        Ok(())
    }

    /// Takes one step after the other until there is none left, each at one of `nodes`.
    async fn until(
        &self,
        task: &Task,
        nodes: impl Fn() -> Vec<usize>,
        step: impl AsyncFn(&Client) -> Result<bool, ClientError>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Whom to ask changes with the members.
            let client = client(&nodes());
            match step(&client).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => trace::line(format_args!("operator: {error}")),
            }
            if Instant::now() > deadline {
                return Err(format!("{task:?} is not done after {PATIENCE:?}"));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn lead(&self, node: usize) {
        for _ in 0..TRIES {
            match client(&self.present()).transfer_leadership(member(node).node_id).await {
                Ok(_) => return,
                Err(error) => trace::line(format_args!("operator: {error}")),
            }
            sleep(PAUSE).await;
        }
    }

    async fn rebuild(&self, client: &Client, projection: &str) -> Result<bool, ClientError> {
        match client.rebuild_projection(projection).await {
            Ok(_) => {
                trace::line(format_args!("operator: {projection} is made anew"));
                Ok(true)
            }
            // What is there stays as it is.
            Err(ClientError::Rejected { status, .. })
                if status.code() == Code::FailedPrecondition && self.archive.has_let_go() =>
            {
                trace::line(format_args!("operator: {}", status.message()));
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn present(&self) -> Vec<usize> {
        self.members.borrow().clone()
    }
}

fn client(nodes: &[usize]) -> Client {
    let options = ClientOptions {
        timeout: Duration::from_secs(2),
        try_timeout: Duration::from_millis(700),
        seed: Some(9),
        ..ClientOptions::default()
    };
    Client::from_channels(channels(nodes), options).expect("the options are right")
}

async fn find(client: &Client, node: usize) -> Result<Option<NodeStatus>, ClientError> {
    let status = client.status(false, false).await?;
    // Who is still about to learn who the members are says nothing of them.
    if !status.nodes.iter().any(|node| node.role() == Role::Leader) {
        return Err(ClientError::Unavailable { last: "nobody leads".to_owned() });
    }
    let id = member(node).node_id;
    Ok(status.nodes.into_iter().find(|node| node.member.as_ref().is_some_and(|member| member.node_id == id)))
}

async fn add(client: &Client, node: usize) -> Result<bool, ClientError> {
    match find(client, node).await? {
        None => client.add_node(member(node)).await.map(|_| false),
        Some(status) if !status.voter => client.promote_node(member(node).node_id).await.map(|_| false),
        Some(_) => Ok(true),
    }
}

async fn remove(client: &Client, node: usize) -> Result<bool, ClientError> {
    match find(client, node).await? {
        None => Ok(true),
        Some(_) => client.remove_node(member(node).node_id).await.map(|_| false),
    }
}
