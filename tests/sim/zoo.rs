//! Somebody who uses every command there is, on trees of his own, where nobody minds what becomes of it:
//! many are rejected. What holds of the commands is shown by replaying them; that each takes effect once,
//! and is answered as it was decided, is looked at here as everywhere.

use std::time::Duration;

use quorate::client::Client;
use quorate::client::ClientError;
use quorate::client::ClientOptions;
use quorate::client::number_commands;
use quorate::client::numbered_request_id;
use quorate::client::v1::batch_command::Command;
use quorate::client::v1::*;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;
use tokio::time::timeout;
use uuid::Uuid;

use crate::net::channels;
use crate::quotas::amount;
use crate::trace;
use crate::workload::Asked;
use crate::workload::History;
use crate::workload::Operation;
use crate::workload::Told;
use crate::workload::now;

/// Where it lives; none of it is below a scope that others use.
const PATHS: [&str; 8] =
    ["zoo", "zoo/apes", "zoo/apes/chimps", "zoo/birds", "aqua", "aqua/fish", "zoo/birds/owls", "aqua/crabs"];

/// The last ones have to be registered first.
const RESOURCES: [&str; 5] = ["memory_gb", "concurrent_gpus", "gpu_hours", "bananas", "fish"];

const TEMPLATES: [&str; 2] = ["cage", "tank"];

/// How long some things last, in milliseconds.
const TTL_MS: std::ops::Range<u64> = 300..4_000;

/// The kinds of commands that it chooses from.
const KINDS: usize = 22;

/// What a result says that nobody knows, or that the disk of a node is nearly full.
const UNDECIDED: [i32; 2] = [tonic::Code::Unavailable as i32, tonic::Code::ResourceExhausted as i32];

/// How long a stream of a few commands may take.
const STREAM: Duration = Duration::from_secs(2);

/// Pause after each call, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 40..250;

/// Pause before commands whose outcome is unknown are sent again.
const AGAIN: Duration = Duration::from_millis(70);

/// A hold that was granted: its one line.
#[derive(Debug, Clone)]
struct Held {
    id: u64,
    scope: String,
    resource: String,
}

/// Who does it, and what he remembers.
pub struct Keeper {
    client: Client,
    random: SmallRng,
    history: History,
    /// Some of them are closed.
    holds: Vec<Held>,
    schedules: Vec<(String, String, u64)>,
}

impl Keeper {
    /// Must be made on the simulated host on which it is used.
    pub fn new(seed: u64, nodes: &[usize], history: History) -> Self {
        let options = ClientOptions {
            actor: Some("keeper".to_owned()),
            reason: Some("it is Tuesday".to_owned()),
            timeout: Duration::from_secs(3),
            try_timeout: Duration::from_millis(700),
            seed: Some(seed),
        };
        let client = Client::from_channels(channels(nodes), options).expect("the options are right");
        let random = SmallRng::seed_from_u64(seed);
        Self { client, random, history, holds: Vec::new(), schedules: Vec::new() }
    }

    /// Sends a few commands together, until each is answered.
    pub async fn work(&mut self) {
        let now_ms = u64::try_from(turmoil::since_epoch().expect("on a simulated host").as_millis());
        let now_ms = now_ms.expect("not that far in the future");
        let base = uuid::Builder::from_unix_timestamp_millis(now_ms, &self.random.random()).into_uuid();
        let count = self.random.random_range(1..4);
        let mut commands: Vec<BatchCommand> =
            (0..count).map(|tag| BatchCommand { tag, command: Some(self.next(now_ms)) }).collect();
        number_commands(base, 0, &mut commands);
        let streamed = self.random.random_ratio(1, 3);
        trace::line(format_args!("keeper asks {commands:?}"));
        let invoked = now();
        while !commands.is_empty() {
            let sent = std::mem::take(&mut commands);
            let results = if streamed { self.stream(&sent).await } else { self.batch(base, &sent).await };
            for command in sent {
                let answer = results.iter().find(|result| result.tag == command.tag);
                match answer.filter(|result| result.revision > 0 || !UNDECIDED.contains(&result.code)) {
                    Some(result) => self.note(base, command, result, invoked),
                    None => commands.push(command),
                }
            }
            if !commands.is_empty() {
                sleep(AGAIN).await;
            }
        }
        let pause = self.random.random_range(PAUSE_MS);
        sleep(Duration::from_millis(pause)).await;
    }

    async fn batch(&self, base: Uuid, commands: &[BatchCommand]) -> Vec<BatchResult> {
        let message = BatchRequest { commands: commands.to_vec(), ..Default::default() };
        match self.client.batch(base, message).await {
            Ok(response) => response.results,
            Err(error) => {
                trace::line(format_args!("keeper: {error}"));
                Vec::new()
            }
        }
    }

    /// As many results as come before the stream breaks.
    async fn stream(&self, commands: &[BatchCommand]) -> Vec<BatchResult> {
        let mut results = Vec::new();
        let told = timeout(STREAM, async {
            let mut stream = self.client.submit(futures_util::stream::iter(commands.to_vec())).await?;
            while let Some(result) = stream.next().await? {
                results.push(result);
            }
            Ok::<(), ClientError>(())
        });
        if !matches!(told.await, Ok(Ok(()))) {
            trace::line(format_args!("keeper: the stream broke after {} results", results.len()));
        }
        results
    }

    fn note(&mut self, base: Uuid, command: BatchCommand, result: &BatchResult, invoked: Duration) {
        trace::line(format_args!("keeper is told {result:?}"));
        let made = result.code == 0;
        match command.command {
            Some(Command::Reserve(reserve)) if made => {
                let line = reserve.lines.into_iter().next().expect("it reserves one line");
                self.holds.push(Held { id: result.revision, scope: line.scope, resource: line.resource });
            }
            Some(Command::SetQuota(set)) if made && set.effective_at_ms > 0 => {
                self.schedules.push((set.scope, set.resource, result.revision));
            }
            Some(Command::OverrideQuota(set)) if made => {
                self.schedules.push((set.scope, set.resource, result.revision));
            }
            _ => {}
        }
        let revision = result.revision;
        if revision == 0 {
            // It makes no sense, whatever there is: nobody had to decide it.
            return;
        }
        self.history.borrow_mut().push(Operation {
            request_id: numbered_request_id(base, command.tag),
            actor: "keeper",
            asked: Asked::Elsewhere,
            told: if made { Told::Granted { revision, hold: None } } else { Told::Rejected { revision } },
            invoked,
            returned: now(),
        });
    }

    /// The next command. `now` is in milliseconds since the Unix epoch.
    fn next(&mut self, now: u64) -> Command {
        let random = &mut self.random;
        // Mostly one of the newest: the others are closed.
        let newest = self.holds.len().saturating_sub(6);
        let held = (!self.holds.is_empty())
            .then(|| self.holds[random.random_range(newest..self.holds.len())].clone());
        let line = |amount| {
            let Held { scope, resource, .. } =
                held.clone().unwrap_or_else(|| unreachable!("asked for with a hold"));
            HoldAmount { scope, resource, amount }
        };
        let scope = pick(random, &PATHS).to_owned();
        let resource = pick(random, &RESOURCES).to_owned();
        let until_ms = now + random.random_range(TTL_MS);
        let hold_id = held.as_ref().map_or(0, |held| held.id);
        let units = random.random_range(1..6u32).to_string();
        match random.random_range(0..KINDS) {
            0 => Command::CreateScope(CreateScopeRequest {
                path: scope,
                kind: "cage".into(),
                ..Default::default()
            }),
            1 => Command::UpdateScope(UpdateScopeRequest {
                path: scope,
                labels: Some(Labels { labels: [("tidy".to_owned(), units)].into() }),
                ..Default::default()
            }),
            2 => Command::MoveScope(MoveScopeRequest {
                path: scope,
                to: format!("{}/moved{units}", pick(random, &PATHS)),
                force: random.random(),
                ..Default::default()
            }),
            3 => Command::DeleteScope(DeleteScopeRequest {
                path: format!("{}/moved{units}", pick(random, &PATHS)),
                recursive: random.random(),
                ..Default::default()
            }),
            4 => Command::RegisterResource(RegisterResourceRequest {
                resource: Some(Resource {
                    name: resource,
                    unit: "piece".into(),
                    kind: ResourceKind::Capacity.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            5 | 6 => Command::SetQuota(SetQuotaRequest {
                scope,
                resource,
                policy: Some(Policy {
                    limit: Some(amount(random.random_range(3..30))),
                    allow_transfer: true,
                    ..Default::default()
                }),
                effective_at_ms: if random.random_ratio(1, 3) { until_ms } else { 0 },
                ..Default::default()
            }),
            7 => Command::AdjustQuota(AdjustQuotaRequest {
                scope,
                resource,
                delta: if random.random() { units } else { format!("-{units}") },
                ..Default::default()
            }),
            8 => Command::DeleteQuota(DeleteQuotaRequest { scope, resource, ..Default::default() }),
            9 => Command::LockQuota(LockQuotaRequest {
                scope,
                resource,
                reason: "cleaning".into(),
                ..Default::default()
            }),
            10 => Command::UnlockQuota(UnlockQuotaRequest { scope, resource, ..Default::default() }),
            11 => Command::OverrideQuota(OverrideQuotaRequest {
                scope,
                resource,
                limit: Some(amount(random.random_range(3..30))),
                end_ms: until_ms,
                reason: "visitors".into(),
                ..Default::default()
            }),
            12 if !self.schedules.is_empty() => {
                let (scope, resource, schedule_id) =
                    self.schedules[random.random_range(0..self.schedules.len())].clone();
                Command::CancelSchedule(CancelScheduleRequest {
                    scope,
                    resource,
                    schedule_id,
                    ..Default::default()
                })
            }
            13 => Command::TransferQuota(TransferQuotaRequest {
                resource,
                from: scope,
                to: pick(random, &PATHS).into(),
                amount: units,
                until_ms: if random.random() { until_ms } else { 0 },
                ..Default::default()
            }),
            14 => Command::PutTemplate(PutTemplateRequest {
                name: pick(random, &TEMPLATES).into(),
                quotas: vec![ResourcePolicy {
                    resource,
                    policy: Some(Policy { limit: Some(amount(20)), ..Default::default() }),
                }],
                ..Default::default()
            }),
            15 => Command::ApplyTemplate(ApplyTemplateRequest {
                scope,
                template: pick(random, &TEMPLATES).into(),
                ..Default::default()
            }),
            16 if held.is_some() => Command::Commit(CommitRequest {
                hold_id,
                // A part of it: what is left goes on, or goes back.
                lines: vec![line("1".into())],
                r#final: Some(random.random()),
                ..Default::default()
            }),
            17 if held.is_some() => Command::Release(ReleaseRequest {
                hold_id,
                lines: vec![line("1".into())],
                ..Default::default()
            }),
            18 if held.is_some() => Command::Renew(RenewRequest {
                hold_id,
                ttl_ms: random.random_range(TTL_MS),
                ..Default::default()
            }),
            19 if held.is_some() => {
                Command::Resize(ResizeRequest { hold_id, lines: vec![line(units)], ..Default::default() })
            }
            20 => Command::ApplyPlan(ApplyPlanRequest {
                plan: Some(Plan {
                    scopes: vec![PlannedScope { path: scope, kind: "cage".into(), ..Default::default() }],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            number => Command::Reserve(ReserveRequest {
                lines: vec![Line { scope, resource, amount: units, ..Default::default() }],
                mode: [Mode::Strict, Mode::Partial, Mode::Force][number % 3].into(),
                commit: random.random_ratio(1, 5),
                ttl_ms: random.random_ratio(2, 3).then(|| random.random_range(TTL_MS)),
                ..Default::default()
            }),
        }
    }
}

fn pick<T: Copy>(random: &mut SmallRng, from: &[T]) -> T {
    from[random.random_range(0..from.len())]
}
