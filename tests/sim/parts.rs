//! S4, for what is done in parts: holds that are committed and given back bit by bit, and batches of
//! which all is done or nothing. One client does it when everything else is over, so that nobody else
//! touches what it takes, and every answer can be foretold.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::v1::BatchCommand;
use quorate::client::v1::BatchRequest;
use quorate::client::v1::CommitRequest;
use quorate::client::v1::Hold;
use quorate::client::v1::HoldAmount;
use quorate::client::v1::Line;
use quorate::client::v1::ListHoldsRequest;
use quorate::client::v1::ReleaseRequest;
use quorate::client::v1::ReserveRequest;
use quorate::client::v1::batch_command::Command;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::check::Verdict;
use crate::net::channels;
use crate::quotas::LENDERS;
use crate::quotas::LENT;
use crate::quotas::ROOT;
use crate::trace;

/// How many commands there are.
const COMMANDS: usize = 24;

/// Where it takes: nobody else does, and there is far more than it takes.
const SCOPE: &str = LENDERS[1];

/// The most of one hold.
const MOST: u64 = 9;

/// Holds of one page: there are more than these at most times.
const PAGE: u32 = 2;

/// Does it, and looks after each command at what there is.
pub async fn check_parts(seed: u64, nodes: &[usize]) -> Verdict {
    let options = ClientOptions {
        timeout: Duration::from_secs(4),
        try_timeout: Duration::from_secs(1),
        seed: Some(seed),
        ..ClientOptions::default()
    };
    let client = Client::from_channels(channels(nodes), options).map_err(|error| error.to_string())?;
    let mut parts = Parts { client, random: SmallRng::seed_from_u64(seed), holds: BTreeMap::new() };
    for _ in 0..COMMANDS {
        let done = parts.step().await?;
        parts.compare().await.map_err(|problem| format!("after {done}: {problem}"))?;
    }
    Ok(())
}

/// What there must be of a hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    used: u64,
    held: u64,
}

struct Parts {
    client: Client,
    random: SmallRng,
    holds: BTreeMap<u64, Taken>,
}

impl Parts {
    /// One command. Says what it was.
    async fn step(&mut self) -> Result<String, String> {
        let live: Vec<u64> = self.holds.keys().copied().collect();
        if live.is_empty() || self.random.random_ratio(1, 4) {
            return self.reserve().await;
        }
        let hold = live[self.random.random_range(0..live.len())];
        let Taken { used, held } = self.holds[&hold];
        match self.random.random_range(0..4) {
            0 => self.fail().await,
            1 if held > 1 => {
                let amount = self.random.random_range(1..held);
                let is_final = self.random.random_ratio(1, 4);
                self.commit(hold, amount, is_final).await
            }
            _ => {
                let amount = self.random.random_range(1..=used + held);
                self.release(hold, amount).await
            }
        }
    }

    async fn reserve(&mut self) -> Result<String, String> {
        let amount = self.random.random_range(1..=MOST);
        let id = self.request_id();
        let reserved = self.client.reserve(id, reservation(amount)).await;
        let hold = reserved.map_err(|error| failed(&error))?.hold_id;
        self.holds.insert(hold, Taken { used: 0, held: amount });
        Ok(self.traced(format!("{amount} were reserved as {hold}")))
    }

    async fn commit(&mut self, hold: u64, amount: u64, is_final: bool) -> Result<String, String> {
        let message = CommitRequest {
            hold_id: hold,
            lines: vec![part(amount)],
            r#final: Some(is_final),
            ..Default::default()
        };
        let id = self.request_id();
        self.client.commit(id, message).await.map_err(|error| failed(&error))?;
        let taken = self.holds.get_mut(&hold).expect("it is live");
        taken.used += amount;
        taken.held = if is_final { 0 } else { taken.held - amount };
        Ok(self.traced(format!("{amount} of {hold} were committed; the rest goes back: {is_final}")))
    }

    /// What is held goes first.
    async fn release(&mut self, hold: u64, amount: u64) -> Result<String, String> {
        let message = ReleaseRequest { hold_id: hold, lines: vec![part(amount)], ..Default::default() };
        let id = self.request_id();
        self.client.release(id, message).await.map_err(|error| failed(&error))?;
        let taken = self.holds.get_mut(&hold).expect("it is live");
        let of_held = taken.held.min(amount);
        taken.held -= of_held;
        taken.used -= amount - of_held;
        if *taken == Taken::default() {
            self.holds.remove(&hold);
        }
        Ok(self.traced(format!("{amount} of {hold} were released")))
    }

    /// A batch whose last command names a hold that is not there: nothing of it is done.
    async fn fail(&mut self) -> Result<String, String> {
        let amount = self.random.random_range(1..=MOST);
        let commands = [
            Command::Reserve(reservation(amount)),
            Command::Release(ReleaseRequest { hold_id: u64::MAX, ..Default::default() }),
        ];
        let commands = commands.map(|command| BatchCommand { tag: 0, command: Some(command) });
        let message = BatchRequest { atomic: true, commands: commands.into(), ..Default::default() };
        let id = self.request_id();
        let results = self.client.batch(id, message).await.map_err(|error| failed(&error))?.results;
        let reasons: Vec<&str> = results.iter().map(|result| result.reason.as_str()).collect();
        if reasons == ["NOT_APPLIED", "UNKNOWN_HOLD"] {
            Ok(self.traced("a batch failed as it must".to_owned()))
        } else {
            Err(format!("a batch of which a part fails: {results:?}"))
        }
    }

    /// The counters are those of all holds together, at the scope and above it, and each hold is as
    /// it must be, whichever node is asked.
    async fn compare(&self) -> Verdict {
        let (used, held) =
            self.holds.values().fold((0, 0), |(used, held), taken| (used + taken.used, held + taken.held));
        for scope in [SCOPE, ROOT] {
            let quota = self.client.get_quota(scope, LENT).await.map_err(|error| failed(&error))?.quota;
            let counters = quota.and_then(|quota| quota.counters).ok_or("it has no counters")?;
            if (&counters.used, &counters.held) != (&used.to_string(), &held.to_string()) {
                let shown = format!("used {}, held {}", counters.used, counters.held);
                return Err(format!("{scope} shows {shown} instead of {used} and {held}"));
            }
        }
        let shown: BTreeMap<u64, Vec<(String, String)>> = self
            .list_holds()
            .await?
            .into_iter()
            .map(|hold| (hold.hold_id, hold.lines.into_iter().map(|line| (line.used, line.held)).collect()))
            .collect();
        let expected: BTreeMap<u64, Vec<(String, String)>> = self
            .holds
            .iter()
            .map(|(hold, taken)| (*hold, vec![(taken.used.to_string(), taken.held.to_string())]))
            .collect();
        if shown == expected {
            Ok(())
        } else {
            Err(format!("the holds are {shown:?} instead of {expected:?}"))
        }
    }

    /// All of them, in pages of a few.
    async fn list_holds(&self) -> Result<Vec<Hold>, String> {
        let mut message = ListHoldsRequest { scope: SCOPE.to_owned(), page_size: PAGE, ..Default::default() };
        let mut holds = Vec::new();
        loop {
            let page = self.client.list_holds(message.clone()).await.map_err(|error| failed(&error))?;
            holds.extend(page.holds);
            if page.next_page_token.is_empty() {
                return Ok(holds);
            }
            message.page_token = page.next_page_token;
        }
    }

    fn traced(&self, done: String) -> String {
        trace::line(format_args!("parts: {done}"));
        done
    }

    fn request_id(&mut self) -> Uuid {
        let time = turmoil::since_epoch().expect("it runs on a simulated host");
        let time_ms = u64::try_from(time.as_millis()).expect("not that far in the future");
        uuid::Builder::from_unix_timestamp_millis(time_ms, &self.random.random()).into_uuid()
    }
}

fn reservation(amount: u64) -> ReserveRequest {
    let (scope, resource, amount) = (SCOPE.to_owned(), LENT.to_owned(), amount.to_string());
    let line = Line { scope, resource, amount, ..Default::default() };
    ReserveRequest { lines: vec![line], ..Default::default() }
}

fn part(amount: u64) -> HoldAmount {
    HoldAmount { scope: SCOPE.to_owned(), resource: LENT.to_owned(), amount: amount.to_string() }
}

fn failed(error: &ClientError) -> String {
    format!("what nothing stood against failed: {error}")
}
