//! Clients that reserve, commit, release and renew, and replace, lend and change limits. They repeat
//! each command under the same request_id until they know what became of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::v1::CommitRequest;
use quorate::client::v1::CompactEventsRequest;
use quorate::client::v1::CreateScopeRequest;
use quorate::client::v1::Line;
use quorate::client::v1::OverrideQuotaRequest;
use quorate::client::v1::Policy;
use quorate::client::v1::ReleaseRequest;
use quorate::client::v1::ReserveRequest;
use quorate::client::v1::SetQuotaRequest;
use quorate::client::v1::TransferQuotaRequest;
use quorate::client::v1::rejection::Reason;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;
use tonic::Code;
use uuid::Uuid;

use crate::net::channels;
use crate::quotas;
use crate::quotas::CHANGED;
use crate::quotas::CHANGED_TO;
use crate::quotas::CLOCKED;
use crate::quotas::LENDERS;
use crate::quotas::LENT;
use crate::quotas::RESOURCE;
use crate::quotas::ROOT;
use crate::quotas::SCOPES;
use crate::shape::Shape;
use crate::trace;

/// The most that one reservation asks for.
const MOST: u64 = 4;

/// How long a hold lives that does not live until it is resolved, in milliseconds: some end while
/// nobody leads, some are renewed before.
const TTL_MS: std::ops::Range<u64> = 200..6_000;

/// The last hold that does not live for ever ends this long after the last command.
pub const LONGEST_TTL: Duration = Duration::from_millis(TTL_MS.end);

/// Pause before a command whose outcome is unknown is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Setup,
    Reserve {
        scope: &'static str,
        resource: &'static str,
        amount: u64,
        ttl_ms: Option<u64>,
    },
    Commit(u64),
    Release(u64),
    Renew {
        hold: u64,
        ttl_ms: u64,
    },
    /// Replaces a limit from then (0: at once) until then, in milliseconds since the Unix epoch.
    Override {
        start_ms: u64,
        until_ms: u64,
    },
    /// Lends a part of a limit until then.
    Lend {
        until_ms: u64,
    },
    /// Makes this the limit from then on.
    Change {
        limit: u64,
        at_ms: u64,
    },
    /// Allows to remove the events up to here.
    LetGo(u64),
    /// Something of trees that have nothing to do with all this.
    Elsewhere,
}

/// What it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Granted {
        revision: u64,
        hold: Option<u64>,
    },
    Denied,
    /// The hold had ended.
    Closed,
    /// The time was past, or another override was there.
    TooLate,
    /// For whatever reason.
    Rejected {
        revision: u64,
    },
}

/// One command from the first time it was sent until its answer.
#[derive(Debug, Clone)]
pub struct Operation {
    pub request_id: Uuid,
    pub actor: &'static str,
    pub asked: Asked,
    pub told: Told,
    pub invoked: Duration,
    pub returned: Duration,
}

/// All answered commands of all clients.
pub type History = Rc<RefCell<Vec<Operation>>>;

/// The time of the simulation.
pub fn now() -> Duration {
    turmoil::sim_elapsed().expect("clients run on simulated hosts")
}

/// Someone who uses the cluster.
pub struct User {
    name: &'static str,
    client: Client,
    /// Begins at another node.
    other: Client,
    /// How many of a hundred commands go to both at once.
    twice: u32,
    random: SmallRng,
    history: History,
    pause_ms: std::ops::Range<u64>,
    held: Vec<u64>,
    committed: Vec<u64>,
}

impl User {
    /// Must be made on the simulated host on which it is used.
    pub fn new(name: &'static str, seed: u64, nodes: &[usize], shape: &Shape, history: History) -> Self {
        let options = ClientOptions {
            actor: Some(name.to_owned()),
            reason: None,
            timeout: Duration::from_secs(4),
            try_timeout: Duration::from_millis(700),
            seed: Some(seed),
        };
        let client = |nodes| Client::from_channels(nodes, options.clone()).expect("the options are right");
        let mut elsewhere = channels(nodes);
        elsewhere.rotate_left(1 + usize::try_from(seed).expect("a small number") % (nodes.len() - 1));
        let (client, other) = (client(channels(nodes)), client(elsewhere));
        let random = SmallRng::seed_from_u64(seed);
        let pause_ms = shape.pause_ms.clone();
        let twice = shape.twice;
        Self {
            name,
            client,
            other,
            twice,
            random,
            history,
            pause_ms,
            held: Vec::new(),
            committed: Vec::new(),
        }
    }

    /// Makes the scopes and quotas.
    pub async fn set_up(&mut self) {
        for (path, amount) in SCOPES {
            self.command(Asked::Setup, async |client, id| {
                let (path, kind) = (path.to_owned(), "team".to_owned());
                let message = CreateScopeRequest { path, kind, ..Default::default() };
                let made = client.create_scope(id, message).await?;
                Ok(Told::Granted { revision: made.revision, hold: None })
            })
            .await;
            for message in quotas::of(path, amount) {
                self.command(Asked::Setup, async |client, id| {
                    let set = client.set_quota(id, message.clone()).await?;
                    Ok(Told::Granted { revision: set.revision, hold: None })
                })
                .await;
            }
        }
    }

    /// Takes and gives back for some simulated time.
    pub async fn work_for(&mut self, time: Duration) {
        let end = now() + time;
        while now() < end {
            match self.random.random_range(0..20) {
                0..3 => self.take(RESOURCE).await,
                12..18 => {
                    let clocked = &CLOCKED[self.random.random_range(0..CLOCKED.len())];
                    self.take(clocked.resource).await;
                }
                18 => self.take(CHANGED).await,
                19 => self.change().await,
                3 | 4 if !self.held.is_empty() => {
                    let hold = self.held.swap_remove(self.random.random_range(0..self.held.len()));
                    if self.commit(hold).await != Told::Closed {
                        self.committed.push(hold);
                    }
                }
                5 | 6 if !self.held.is_empty() => {
                    let position = self.random.random_range(0..self.held.len());
                    let ttl_ms = self.random.random_range(TTL_MS);
                    if self.renew(self.held[position], ttl_ms).await == Told::Closed {
                        self.held.swap_remove(position);
                    }
                }
                10 => self.replace().await,
                11 => self.lend().await,
                number => {
                    let from = if number >= 8 { &mut self.committed } else { &mut self.held };
                    if !from.is_empty() {
                        let hold = from.swap_remove(self.random.random_range(0..from.len()));
                        self.release(hold).await;
                    }
                }
            }
            let pause = self.random.random_range(self.pause_ms.clone());
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Gives back everything that was taken and has not ended by itself.
    pub async fn give_back(&mut self) {
        for hold in self.held.split_off(0).into_iter().chain(self.committed.split_off(0)) {
            self.release(hold).await;
        }
    }

    /// Makes a deadline of every kind, when nothing else is taken. Then nobody asks for anything any
    /// more, so that they end only if a node sees to it.
    pub async fn leave_deadlines(&mut self) {
        for clocked in &CLOCKED {
            self.reserve(ROOT, clocked.resource, clocked.above, Some(TTL_MS.end)).await;
        }
        self.replace().await;
        self.lend().await;
        self.change().await;
    }

    async fn take(&mut self, resource: &'static str) {
        let scope = SCOPES[self.random.random_range(1..SCOPES.len())].0;
        let amount = self.random.random_range(1..=MOST);
        let ttl_ms = self.random.random_ratio(2, 3).then(|| self.random.random_range(TTL_MS));
        if let Told::Granted { hold, .. } = self.reserve(scope, resource, amount, ttl_ms).await {
            self.held.push(hold.expect("a granted reservation has a hold"));
        }
    }

    async fn reserve(
        &mut self,
        scope: &'static str,
        resource: &'static str,
        amount: u64,
        ttl_ms: Option<u64>,
    ) -> Told {
        let asked = Asked::Reserve { scope, resource, amount, ttl_ms };
        self.command(asked, async |client, id| {
            let line = Line {
                scope: scope.to_owned(),
                resource: resource.to_owned(),
                amount: amount.to_string(),
                ..Default::default()
            };
            let message = ReserveRequest { lines: vec![line], ttl_ms, ..Default::default() };
            let reserved = client.reserve(id, message).await?;
            Ok(Told::Granted { revision: reserved.revision, hold: Some(reserved.hold_id) })
        })
        .await
    }

    /// Some time from now, in milliseconds since the Unix epoch.
    fn until_ms(&mut self) -> u64 {
        let time = turmoil::since_epoch().expect("clients run on simulated hosts");
        let now = u64::try_from(time.as_millis()).expect("not that far in the future");
        now + self.random.random_range(TTL_MS)
    }

    async fn replace(&mut self) {
        let (one, other) = (self.until_ms(), self.until_ms());
        let start_ms = if one != other && self.random.random() { one.min(other) } else { 0 };
        let until_ms = one.max(other);
        self.command(Asked::Override { start_ms, until_ms }, async |client, id| {
            let message = OverrideQuotaRequest {
                scope: LENDERS[0].to_owned(),
                resource: LENT.to_owned(),
                limit: Some(quotas::amount(5)),
                start_ms,
                end_ms: until_ms,
                ..Default::default()
            };
            let replaced = client.override_quota(id, message).await?;
            Ok(Told::Granted { revision: replaced.revision, hold: None })
        })
        .await;
    }

    async fn lend(&mut self) {
        let until_ms = self.until_ms();
        self.command(Asked::Lend { until_ms }, async |client, id| {
            let message = TransferQuotaRequest {
                resource: LENT.to_owned(),
                from: LENDERS[1].to_owned(),
                to: LENDERS[0].to_owned(),
                amount: "1".to_owned(),
                until_ms,
                ..Default::default()
            };
            let lent = client.transfer_quota(id, message).await?;
            Ok(Told::Granted { revision: lent.revision, hold: None })
        })
        .await;
    }

    async fn change(&mut self) {
        let (limit, at_ms) = (self.random.random_range(CHANGED_TO), self.until_ms());
        self.command(Asked::Change { limit, at_ms }, async |client, id| {
            let message = SetQuotaRequest {
                scope: ROOT.to_owned(),
                resource: CHANGED.to_owned(),
                policy: Some(Policy { limit: Some(quotas::amount(limit)), ..Default::default() }),
                effective_at_ms: at_ms,
                ..Default::default()
            };
            let changed = client.set_quota(id, message).await?;
            Ok(Told::Granted { revision: changed.revision, hold: None })
        })
        .await;
    }

    /// Allows the cluster to remove the events up to here.
    pub async fn let_go(&mut self, through_revision: u64) {
        self.command(Asked::LetGo(through_revision), async |client, id| {
            let message = CompactEventsRequest { through_revision, ..Default::default() };
            let compacted = client.compact_events(id, message).await?;
            Ok(Told::Granted { revision: compacted.revision, hold: None })
        })
        .await;
    }

    async fn commit(&mut self, hold: u64) -> Told {
        self.command(Asked::Commit(hold), async |client, id| {
            let committed = client.commit(id, CommitRequest { hold_id: hold, ..Default::default() }).await?;
            Ok(Told::Granted { revision: committed.revision, hold: None })
        })
        .await
    }

    async fn release(&mut self, hold: u64) -> Told {
        self.command(Asked::Release(hold), async |client, id| {
            let released = client.release(id, ReleaseRequest { hold_id: hold, ..Default::default() }).await?;
            Ok(Told::Granted { revision: released.revision, hold: None })
        })
        .await
    }

    async fn renew(&mut self, hold: u64, ttl_ms: u64) -> Told {
        self.command(Asked::Renew { hold, ttl_ms }, async |client, id| {
            let renewed = client.renew(id, hold, ttl_ms).await?;
            Ok(Told::Granted { revision: renewed.revision, hold: None })
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
        let twice = self.random.random_range(0..100) < self.twice;
        let told = loop {
            let told = if twice {
                let (one, other) = (send(&self.client, request_id), send(&self.other, request_id));
                let (one, other) = futures_util::future::join(one, other).await;
                let (one, other) = (self.told(&asked, request_id, one), self.told(&asked, request_id, other));
                if let (Some(one), Some(other)) = (&one, &other) {
                    assert_eq!(one, other, "{}: {asked:?} {request_id} has two answers", self.name);
                }
                one.or(other)
            } else {
                let told = send(&self.client, request_id).await;
                self.told(&asked, request_id, told)
            };
            match told {
                Some(told) => break told,
                None => sleep(PAUSE).await,
            }
        };
        trace::line(format_args!("{} is told {told:?} {request_id}", self.name));
        let returned = now();
        let actor = self.name;
        let operation = Operation { request_id, actor, asked, told: told.clone(), invoked, returned };
        self.history.borrow_mut().push(operation);
        told
    }

    /// What an answer means; `None` when it is not known.
    fn told(&self, asked: &Asked, request_id: Uuid, answer: Result<Told, ClientError>) -> Option<Told> {
        match answer {
            Ok(told) => Some(told),
            Err(ClientError::Rejected { rejection: Some(rejection), .. }) => match rejection.reason {
                Some(Reason::Denied(_)) => Some(Told::Denied),
                Some(Reason::HoldClosed(_)) => Some(Told::Closed),
                Some(Reason::ScheduleConflict(_)) => Some(Told::TooLate),
                // That the end is past the ledger says: it stands in the events.
                Some(Reason::Malformed(found)) if found.field.ends_with("_ms") => Some(Told::TooLate),
                reason => panic!("{}: {asked:?} {request_id}: {reason:?}", self.name),
            },
            Err(error @ (ClientError::Unknown { .. } | ClientError::Unavailable { .. })) => {
                trace::line(format_args!("{} {request_id}: {error}", self.name));
                None
            }
            // A node keeps the rest of its disk for what gives back: nothing was decided.
            Err(ClientError::Rejected { status, rejection: None })
                if status.code() == Code::ResourceExhausted =>
            {
                trace::line(format_args!("{} {request_id}: {}", self.name, status.message()));
                None
            }
            // Nobody else touches the holds of this client.
            Err(error) => panic!("{}: {asked:?} {request_id}: {error:?}", self.name),
        }
    }

    fn request_id(&mut self) -> Uuid {
        let time = turmoil::since_epoch().expect("clients run on simulated hosts");
        let time_ms = u64::try_from(time.as_millis()).expect("not that far in the future");
        uuid::Builder::from_unix_timestamp_millis(time_ms, &self.random.random()).into_uuid()
    }
}
