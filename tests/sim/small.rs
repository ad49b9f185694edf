//! Small histories: again and again a few clients ask for shares of a new quota at the same time, each a few
//! times, so that somebody who knows nothing of the log can search for an order that explains the answers.

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::v1::CreateScopeRequest;
use quorate::client::v1::Line;
use quorate::client::v1::Policy;
use quorate::client::v1::ReleaseRequest;
use quorate::client::v1::ReserveRequest;
use quorate::client::v1::SetQuotaRequest;
use quorate::client::v1::rejection::Reason;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Code;
use uuid::Uuid;

use crate::check::linear::Answer;
use crate::check::linear::Ask;
use crate::check::linear::Call;
use crate::check::linear::LIMIT;
use crate::net::channels;
use crate::quotas::amount;
use crate::trace;
use crate::workload::Asked;
use crate::workload::History;
use crate::workload::Operation;
use crate::workload::Told;
use crate::workload::now;

const CLIENTS: usize = 3;

/// How often each of them asks.
const CALLS: usize = 4;

const RESOURCE: &str = "concurrent_gpus";

const ROOT: &str = "small";

/// A call that is not answered within so long is taken for one whose outcome nobody knows, and its client
/// asks for nothing more.
const PATIENCE: Duration = Duration::from_millis(900);

/// Pause before a command whose outcome is unknown is sent again.
const AGAIN: Duration = Duration::from_millis(60);

/// All of a run.
pub type Histories = Rc<RefCell<Vec<Vec<Call>>>>;

/// What the clients of one history share.
#[derive(Clone)]
struct Shared {
    history: History,
    calls: Rc<RefCell<Vec<Call>>>,
    /// Counts what the clients do, one after the other on one machine.
    moment: Rc<Cell<u64>>,
    scope: Rc<str>,
}

/// Makes one small history after the other until `is_over`.
pub async fn run(
    seed: u64,
    nodes: Vec<usize>,
    history: History,
    histories: Histories,
    is_over: impl Fn() -> bool,
) -> turmoil::Result {
    let mut random = SmallRng::seed_from_u64(seed);
    let clients: Vec<Client> = (0..CLIENTS).map(|first| client(seed, &nodes, first)).collect();
    make(&clients[0], &history, &mut random, ROOT).await;
    for number in 0u64.. {
        if is_over() {
            break;
        }
        let scope: Rc<str> = format!("{ROOT}/q{number}").into();
        make(&clients[0], &history, &mut random, &scope).await;
        let shared =
            Shared { history: Rc::clone(&history), calls: Rc::default(), moment: Rc::default(), scope };
        let mut working = JoinSet::new();
        for (number, client) in clients.iter().enumerate() {
            let random = SmallRng::seed_from_u64(random.random());
            let asker = Asker { number, client: client.clone(), random, shared: shared.clone(), held: None };
            working.spawn_local(asker.work());
        }
        while let Some(ended) = working.join_next().await {
            ended?;
        }
        histories.borrow_mut().push(shared.calls.take());
        sleep(Duration::from_millis(random.random_range(20..300))).await;
    }
    Ok(())
}

fn client(seed: u64, nodes: &[usize], first: usize) -> Client {
    let mut channels = channels(nodes);
    channels.rotate_left(first);
    let options = ClientOptions {
        actor: Some("small".to_owned()),
        timeout: Duration::from_secs(2),
        try_timeout: Duration::from_millis(400),
        seed: Some(seed + first as u64),
        ..ClientOptions::default()
    };
    Client::from_channels(channels, options).expect("the options are right")
}

/// A scope, and its quota unless it is the root.
async fn make(client: &Client, history: &History, random: &mut SmallRng, scope: &str) {
    let message =
        CreateScopeRequest { path: scope.to_owned(), kind: "team".to_owned(), ..Default::default() };
    let made =
        command(history, random, async |id| Ok(client.create_scope(id, message.clone()).await?.revision));
    made.await.expect("nobody else makes it");
    if scope == ROOT {
        return;
    }
    let message = SetQuotaRequest {
        scope: scope.to_owned(),
        resource: RESOURCE.to_owned(),
        policy: Some(Policy { limit: Some(amount(LIMIT)), ..Default::default() }),
        ..Default::default()
    };
    let set = command(history, random, async |id| Ok(client.set_quota(id, message.clone()).await?.revision));
    set.await.expect("nobody else sets it");
}

/// Sends a command until its outcome is known: its revision, or that it was denied at one. Also says how
/// long that took.
async fn command(
    history: &History,
    random: &mut SmallRng,
    send: impl AsyncFn(Uuid) -> Result<u64, ClientError>,
) -> Result<u64, u64> {
    let now_ms = turmoil::since_epoch().expect("clients run on simulated hosts").as_millis();
    let now_ms = u64::try_from(now_ms).expect("not that far in the future");
    let request_id = uuid::Builder::from_unix_timestamp_millis(now_ms, &random.random()).into_uuid();
    let invoked = now();
    let told = loop {
        match send(request_id).await {
            Ok(revision) => break Ok(revision),
            Err(ClientError::Rejected { status, rejection: Some(rejection) })
                if matches!(rejection.reason, Some(Reason::Denied(_))) =>
            {
                break Err(revision_of(&status));
            }
            Err(ClientError::Unknown { .. } | ClientError::Unavailable { .. }) => sleep(AGAIN).await,
            // A node keeps the rest of its disk for what gives back: nothing was decided.
            Err(ClientError::Rejected { status, rejection: None })
                if status.code() == Code::ResourceExhausted =>
            {
                sleep(AGAIN).await;
            }
            Err(error) => panic!("{request_id}: {error:?}"),
        }
    };
    let outcome = match told {
        Ok(revision) => Told::Granted { revision, hold: None },
        Err(revision) => Told::Rejected { revision },
    };
    history.borrow_mut().push(Operation {
        request_id,
        actor: "small",
        asked: Asked::Elsewhere,
        told: outcome,
        invoked,
        returned: now(),
    });
    told
}

fn revision_of(status: &tonic::Status) -> u64 {
    let details = tonic_types::StatusExt::get_error_details(status);
    let info = details.error_info().expect("every rejection says its reason");
    info.metadata["revision"].parse().expect("a revision")
}

/// One of those who ask at the same time.
struct Asker {
    number: usize,
    client: Client,
    random: SmallRng,
    shared: Shared,
    /// What it holds: the hold and its amount.
    held: Option<(u64, u64)>,
}

impl Asker {
    async fn work(mut self) {
        for _ in 0..CALLS {
            if !self.ask().await {
                return;
            }
            let pause = self.random.random_range(0..12);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Asks once; false when it was not answered in time.
    async fn ask(&mut self) -> bool {
        let ask = match (self.random.random_range(0..3), self.held) {
            (0, _) => Ask::Read,
            (_, Some((_, amount))) => Ask::GiveBack(amount),
            (_, None) => Ask::Take(self.random.random_range(1..=LIMIT)),
        };
        let (began, since) = (self.moment(), now());
        let place = self.shared.calls.borrow().len();
        self.shared.calls.borrow_mut().push(Call { client: self.number, ask, began, answered: None });
        let answer = match ask {
            Ask::Read => self.read().await,
            Ask::Take(amount) => Some(self.take(amount).await),
            Ask::GiveBack(_) => Some(self.give_back().await),
        };
        let Some(answer) = answer.filter(|_| now() < since + PATIENCE) else {
            return false;
        };
        trace::line(format_args!("small {}: {ask:?} is {answer:?}", self.number));
        self.shared.calls.borrow_mut()[place].answered = Some((self.moment(), answer));
        true
    }

    fn moment(&self) -> u64 {
        let moment = &self.shared.moment;
        moment.set(moment.get() + 1);
        moment.get()
    }

    async fn read(&self) -> Option<Answer> {
        let counters = self.client.get_quota(&self.shared.scope, RESOURCE).await.ok()?.quota?.counters?;
        let number = |text: &str| text.parse::<u64>().expect("a whole number");
        Some(Answer::Taken(number(&counters.used) + number(&counters.held)))
    }

    async fn take(&mut self, amount: u64) -> Answer {
        let line = Line {
            scope: self.shared.scope.to_string(),
            resource: RESOURCE.to_owned(),
            amount: amount.to_string(),
            ..Default::default()
        };
        let message = ReserveRequest { lines: vec![line], ..Default::default() };
        let client = &self.client;
        let told = command(&self.shared.history, &mut self.random, async |id| {
            Ok(client.reserve(id, message.clone()).await?.revision)
        });
        match told.await {
            Ok(revision) => {
                self.held = Some((revision, amount));
                Answer::Granted
            }
            Err(_) => Answer::Denied,
        }
    }

    async fn give_back(&mut self) -> Answer {
        let (hold_id, _) = self.held.take().expect("it asks for that when it holds something");
        let message = ReleaseRequest { hold_id, ..Default::default() };
        let client = &self.client;
        let told = command(&self.shared.history, &mut self.random, async |id| {
            Ok(client.release(id, message.clone()).await?.revision)
        });
        told.await.expect("what is held can be given back");
        Answer::GivenBack
    }
}
