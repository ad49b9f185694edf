//! Readers: they ask any node for everything there is, as new as they like, while faults come and go,
//! and write down when they asked and what they were told.
//!
//! | file | subject |
//! |---|---|
//! | `check` | what must hold of what they were told: the log witness |
//! | here | what they ask |

mod check;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::Read;
use quorate::client::v1::Hold;
use quorate::client::v1::ListHoldsRequest;
use quorate::client::v1::Quota;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;
use tonic::Code;

use crate::cluster::EPOCH;
use crate::cluster::HOSTS;
use crate::trace;
use crate::workload::History;
use crate::workload::Told;
use crate::workload::now;

pub use check::check_reads;

/// The most that an answer may be old of those that may be.
const LONGEST_LAG_MS: u64 = 3_000;

/// … and of those that are asked for when a node has just learned what is new.
const SHORT_LAG_MS: std::ops::Range<u64> = 1..40;

/// How far back the times lie that are asked for.
const LONGEST_AGO: Duration = Duration::from_secs(30);

/// Pause between two questions of a reader, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 10..90;

/// More than there is of anything: a list is one page.
const ALL: u32 = 1_000;

/// What an answer shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Quotas(Vec<Quota>),
    Holds(Vec<Hold>),
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Shown {
        revision: u64,
        shown: Shown,
    },
    /// Nobody could say in time.
    Unavailable,
    /// It had not happened yet.
    NotYet,
    /// It is too long ago: this is the first that there is.
    Compacted {
        earliest: u64,
    },
}

/// One question to one node.
#[derive(Debug, Clone)]
pub struct Reply {
    pub read: Read,
    pub began: Duration,
    pub ended: Duration,
    pub answer: Answer,
}

/// All of a run.
pub type Replies = Rc<RefCell<Vec<Reply>>>;

/// Someone who reads.
pub struct Reader {
    nodes: Vec<Client>,
    random: SmallRng,
    history: History,
    replies: Replies,
    /// What is asked next, and of whom, if that is not left to chance.
    next: Option<(usize, Read)>,
}

impl Reader {
    /// Must be made on the simulated host on which it is used; `nodes` are clients of one node each.
    pub fn new(seed: u64, nodes: Vec<Client>, history: History, replies: Replies) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self { nodes, random, history, replies, next: None }
    }

    /// Asks one question and pauses.
    pub async fn ask(&mut self) {
        let (node, read) = match self.next.take() {
            Some(next) => next,
            None => (self.random.random_range(0..self.nodes.len()), self.choose()),
        };
        let holds = self.random.random_ratio(1, 3);
        let began = now();
        let client = self.nodes[node].reading(read);
        let told = if holds { all_holds(&client).await } else { all_quotas(&client).await };
        let answer = match told {
            Ok((revision, shown)) => Answer::Shown { revision, shown },
            Err(error) => refusal(&error),
        };
        let summary = match &answer {
            Answer::Shown { revision, .. } => format!("revision {revision}"),
            other => format!("{other:?}"),
        };
        trace::line(format_args!("{} is asked for {read:?} and shows {summary}", HOSTS[node]));
        let reply = Reply { read, began, ended: now(), answer };
        // How fresh a node takes itself for is seen right after it has learned something.
        if read == Read::Linearizable && reply.revision().is_some() && self.random.random() {
            let lag = Duration::from_millis(self.random.random_range(SHORT_LAG_MS));
            self.next = Some((node, Read::Stale(lag)));
        }
        self.replies.borrow_mut().push(reply);
        if self.next.is_none() {
            let pause = self.random.random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The last revision that somebody was told of.
    fn known(&self) -> u64 {
        let (history, replies) = (self.history.borrow(), self.replies.borrow());
        let written = history.iter().map(|operation| match operation.told {
            Told::Granted { revision, .. } => revision,
            _ => 0,
        });
        let read = replies.iter().filter_map(Reply::revision);
        written.chain(read).max().unwrap_or_default()
    }

    fn choose(&mut self) -> Read {
        let known = self.known();
        match self.random.random_range(0..10) {
            0..3 => Read::Linearizable,
            3 | 4 => Read::AtLeast(known),
            5 | 6 => Read::Stale(Duration::from_millis(self.random.random_range(1..LONGEST_LAG_MS))),
            // Some of them are yet to come.
            7 | 8 => Read::AtRevision(self.random.random_range(0..known + 5)),
            _ => {
                let time = turmoil::since_epoch().expect("readers run on simulated hosts");
                let latest = time + Duration::from_millis(700);
                let earliest = latest.saturating_sub(LONGEST_AGO).max(EPOCH);
                let ms =
                    |time: Duration| u64::try_from(time.as_millis()).expect("not that far in the future");
                Read::AtTime(self.random.random_range(ms(earliest)..ms(latest)))
            }
        }
    }
}

async fn all_quotas(client: &Client) -> Result<(u64, Shown), ClientError> {
    let page = client.list_quotas("", ALL, "").await?;
    assert_eq!(page.next_page_token, "", "there are not so many quotas");
    Ok((page.revision, Shown::Quotas(page.quotas)))
}

async fn all_holds(client: &Client) -> Result<(u64, Shown), ClientError> {
    let message = ListHoldsRequest { page_size: ALL, ..Default::default() };
    let page = client.list_holds(message).await?;
    assert_eq!(page.next_page_token, "", "there are not so many holds");
    Ok((page.revision, Shown::Holds(page.holds)))
}

fn refusal(error: &ClientError) -> Answer {
    match error {
        ClientError::Unavailable { .. } => Answer::Unavailable,
        ClientError::Rejected { status, .. } if status.code() == Code::OutOfRange => {
            use tonic_types::StatusExt as _;
            let details = status.get_error_details();
            let info = details.error_info();
            let earliest = || info?.metadata.get("earliest_revision")?.parse().ok();
            match info.map(|info| info.reason.as_str()) {
                Some("NOT_YET") => Answer::NotYet,
                Some("HISTORY_COMPACTED") => {
                    let earliest = earliest().unwrap_or_else(|| panic!("it says no revision: {status}"));
                    Answer::Compacted { earliest }
                }
                other => panic!("out of range because of {other:?}: {status}"),
            }
        }
        other => panic!("a reader is told {other:?}"),
    }
}

impl Reply {
    /// How far the answer reaches.
    pub fn revision(&self) -> Option<u64> {
        match self.answer {
            Answer::Shown { revision, .. } => Some(revision),
            _ => None,
        }
    }
}

/// What readers must have met in some run, or nothing was shown by it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Met(BTreeMap<&'static str, u64>);

/// What is counted of the answers, …
const ANSWERS: [&str; 8] = [
    "a linearizable answer",
    "a refusal of one",
    "an answer of at least a revision",
    "a stale answer that was older than a linearizable one",
    "a refusal of a stale one",
    "an answer as of a revision",
    "an answer as of a time",
    "a question about the future",
];

/// … and of what nodes log when they put the past together.
const BASES: [&str; 4] = [
    "from the rows of the last checkpoint",
    "from a keyframe",
    "from the first event on",
    "from an earlier state of the past",
];

impl Met {
    /// Counts what answers were; `known` says what was known anywhere at a time.
    fn count(replies: &[Reply], known: impl Fn(Duration) -> u64) -> Self {
        let mut met = Self(ANSWERS.map(|what| (what, 0)).into());
        for reply in replies {
            let what = match (reply.read, &reply.answer) {
                (Read::Linearizable, Answer::Shown { .. }) => 0,
                (Read::Linearizable, _) => 1,
                (Read::AtLeast(_), Answer::Shown { .. }) => 2,
                (Read::Stale(_), Answer::Shown { revision, .. }) if *revision < known(reply.began) => 3,
                (Read::Stale(_), Answer::Unavailable) => 4,
                (Read::AtRevision(_), Answer::Shown { .. }) => 5,
                (Read::AtTime(_), Answer::Shown { .. }) => 6,
                (_, Answer::NotYet) => 7,
                _ => continue,
            };
            *met.0.entry(ANSWERS[what]).or_default() += 1;
        }
        met
    }

    /// Writes it into the trace.
    pub fn trace(&self) {
        for (what, count) in &self.0 {
            trace::line(format_args!("readers met {what}: {count}"));
        }
    }

    /// Adds what a run wrote into its trace.
    pub fn add_trace(&mut self, trace: &str) {
        for what in ANSWERS {
            let words = format!("readers met {what}: ");
            let counts = trace.lines().filter_map(|line| line.split_once(&words));
            let count: u64 = counts.map(|(_, count)| count.parse::<u64>().expect("a trace has counts")).sum();
            *self.0.entry(what).or_default() += count;
        }
        for what in BASES {
            let words = format!("the past is put together {what}");
            *self.0.entry(what).or_default() +=
                trace.lines().filter(|line| line.contains(&words)).count() as u64;
        }
    }

    /// What was not met.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = ANSWERS.into_iter().chain(BASES);
        all.filter(|what| self.0.get(what).copied().unwrap_or_default() == 0).collect()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, began, ended, .. } = self;
        write!(f, "{read:?} from {began:?} to {ended:?}")
    }
}

#[cfg(test)]
mod tests;
