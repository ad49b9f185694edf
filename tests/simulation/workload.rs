//! Clients that reserve, commit and release, and repeat each command under the same request_id
//! until they know what became of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::v1::Limit;
use quorate::client::v1::Line;
use quorate::client::v1::limit;
use quorate::client::v1::rejection::Reason;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;
use uuid::Uuid;

use crate::cluster::NODES;
use crate::net::channel;
use crate::trace;

/// What is counted.
pub const RESOURCE: &str = "concurrent_gpus";

/// The tree, with the limit of each scope; the leaves together could use more than the root has.
pub const SCOPES: [(&str, u64); 3] = [("acme", 12), ("acme/ml", 9), ("acme/web", 6)];

/// The most that one reservation asks for.
const MOST: u64 = 4;

/// Pause before a command whose outcome is unknown is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Setup,
    Reserve { scope: &'static str, amount: u64 },
    Commit(u64),
    Release(u64),
}

/// What it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Granted { revision: u64, hold: Option<u64> },
    Denied,
}

/// One command from the first time it was sent until its answer.
#[derive(Debug, Clone)]
pub struct Operation {
    pub request_id: Uuid,
    pub asked: Asked,
    pub told: Told,
    pub invoked: Duration,
    pub returned: Duration,
}

/// All answered commands of all clients.
pub type History = Rc<RefCell<Vec<Operation>>>;

fn now() -> Duration {
    turmoil::sim_elapsed().expect("clients run on simulated hosts")
}

/// Someone who uses the cluster.
pub struct User {
    name: &'static str,
    client: Client,
    random: SmallRng,
    history: History,
    held: Vec<u64>,
    committed: Vec<u64>,
}

impl User {
    /// Must be made on the simulated host on which it is used.
    pub fn new(name: &'static str, seed: u64, history: History) -> Self {
        let channels = NODES.map(|(_, address)| (address.to_owned(), channel(address)));
        let options = ClientOptions {
            actor: Some(name.to_owned()),
            timeout: Duration::from_secs(4),
            try_timeout: Duration::from_millis(700),
            seed: Some(seed),
        };
        let client = Client::from_channels(channels.into(), options).expect("the options are right");
        let random = SmallRng::seed_from_u64(seed);
        Self { name, client, random, history, held: Vec::new(), committed: Vec::new() }
    }

    /// Makes the scopes and quotas.
    pub async fn set_up(&mut self) {
        for (path, amount) in SCOPES {
            self.command(Asked::Setup, async |client, id| {
                let made = client.create_scope(id, path, "team").await?;
                Ok(Told::Granted { revision: made.revision, hold: None })
            })
            .await;
            self.command(Asked::Setup, async |client, id| {
                let limit = Limit { limit: Some(limit::Limit::Amount(amount.to_string())) };
                let set = client.set_quota(id, path, RESOURCE, limit, None).await?;
                Ok(Told::Granted { revision: set.revision, hold: None })
            })
            .await;
        }
    }

    /// Takes and gives back for some simulated time.
    pub async fn work_for(&mut self, time: Duration) {
        let end = now() + time;
        while now() < end {
            match self.random.random_range(0..10) {
                0..4 => {
                    let scope = SCOPES[self.random.random_range(1..SCOPES.len())].0;
                    let amount = self.random.random_range(1..=MOST);
                    if let Told::Granted { hold, .. } = self.reserve(scope, amount).await {
                        self.held.push(hold.expect("a granted reservation has a hold"));
                    }
                }
                4..6 if !self.held.is_empty() => {
                    let hold = self.held.swap_remove(self.random.random_range(0..self.held.len()));
                    self.commit(hold).await;
                    self.committed.push(hold);
                }
                number => {
                    let from = if number >= 8 { &mut self.committed } else { &mut self.held };
                    if !from.is_empty() {
                        let hold = from.swap_remove(self.random.random_range(0..from.len()));
                        self.release(hold).await;
                    }
                }
            }
            let pause = self.random.random_range(5..60);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn reserve(&mut self, scope: &'static str, amount: u64) -> Told {
        self.command(Asked::Reserve { scope, amount }, async |client, id| {
            let line = Line {
                scope: scope.to_owned(),
                resource: RESOURCE.to_owned(),
                amount: amount.to_string(),
                ..Default::default()
            };
            let reserved = client.reserve(id, vec![line]).await?;
            Ok(Told::Granted { revision: reserved.revision, hold: Some(reserved.hold_id) })
        })
        .await
    }

    async fn commit(&mut self, hold: u64) -> Told {
        self.command(Asked::Commit(hold), async |client, id| {
            let committed = client.commit(id, hold).await?;
            Ok(Told::Granted { revision: committed.revision, hold: None })
        })
        .await
    }

    async fn release(&mut self, hold: u64) -> Told {
        self.command(Asked::Release(hold), async |client, id| {
            let released = client.release(id, hold).await?;
            Ok(Told::Granted { revision: released.revision, hold: None })
        })
        .await
    }

    /// Sends a command until its outcome is known, and writes it down.
    async fn command(
        &mut self,
        asked: Asked,
        send: impl AsyncFn(&Client, Uuid) -> Result<Told, ClientError>,
    ) -> Told {
        let request_id = self.request_id();
        let invoked = now();
        trace::line(format_args!("{} asks {asked:?} {request_id}", self.name));
        let told = loop {
            match send(&self.client, request_id).await {
                Ok(told) => break told,
                Err(ClientError::Rejected { rejection: Some(rejection), .. })
                    if matches!(rejection.reason, Some(Reason::Denied(_))) =>
                {
                    break Told::Denied;
                }
                Err(error @ (ClientError::Unknown { .. } | ClientError::Unavailable { .. })) => {
                    trace::line(format_args!("{} {request_id}: {error}", self.name));
                    sleep(PAUSE).await;
                }
                // Nobody else touches the holds of this client.
                Err(error) => panic!("{}: {asked:?} {request_id}: {error:?}", self.name),
            }
        };
        trace::line(format_args!("{} is told {told:?} {request_id}", self.name));
        let returned = now();
        let operation = Operation { request_id, asked, told: told.clone(), invoked, returned };
        self.history.borrow_mut().push(operation);
        told
    }

    fn request_id(&mut self) -> Uuid {
        let time = turmoil::since_epoch().expect("clients run on simulated hosts");
        let time_ms = u64::try_from(time.as_millis()).expect("not that far in the future");
        uuid::Builder::from_unix_timestamp_millis(time_ms, &self.random.random()).into_uuid()
    }
}
