//! Clients that ask, all at once, for as long as the course says.

mod batch;
mod ids;
mod mixed;
mod read;
mod stream;
mod unary;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use self::ids::Ids;
use self::watch::Begun;
use self::watch::Watchers;
use super::BenchError;
use super::Figure;
use super::Interval;
use super::NodeUse;
use super::Observer;
use super::Plan;
use super::Report;
use super::Target;
use super::Usage;
use super::Work;
use super::course::Course;
use super::draw::Draw;
use super::draw::Random;
use super::meter::Meter;
use super::site::Site;
use super::tree::Tree;
use crate::client::Client;

/// How often it is told how far it has come.
const TOLD: Duration = Duration::from_millis(250);

/// The shortest part of the time that is shown by itself, and into how many parts it is divided at
/// most.
const SHORTEST: Duration = Duration::from_millis(100);
const PARTS: u32 = 300;

/// What each of those who ask has.
struct Asker {
    client: Client,
    tree: Arc<Tree>,
    draw: Draw,
    random: Random,
    ids: Ids,
    course: Arc<Course>,
    meter: Arc<Meter>,
}

/// Asks as the plan says, and reports.
pub(super) async fn run(
    plan: &Plan,
    site: &Site,
    tree: Arc<Tree>,
    observer: Arc<dyn Observer>,
) -> Result<Report, BenchError> {
    let connections = plan.connections.clamp(1, plan.clients);
    let clients = site.clients(plan.target, connections, &plan.client)?;
    let draw = Draw::new(plan.skew, tree.leaves());
    let templates = match plan.work {
        Work::Batch { size } => batch::templates(size, &tree, &draw, plan.seed),
        _ => Arc::default(),
    };
    let begun = Arc::new(Begun::default());
    let course = Arc::new(Course::new(plan.warm_up, plan.duration, plan.count, plan.rate));
    let interval = (plan.duration / PARTS).clamp(SHORTEST, Duration::from_secs(10));
    let meter = Arc::new(Meter::new(course.begin(), course.end(), interval));
    let watchers = match plan.work {
        // By all nodes, whoever else asks whom.
        Work::Watch { watchers } => {
            let clients = site.clients(Target::All, connections, &plan.client)?;
            Some(Watchers::begin(watchers, &clients, &tree, &meter, &begun).await?)
        }
        _ => None,
    };
    let mut askers = JoinSet::new();
    for number in 0..plan.clients {
        let asker = Asker {
            client: clients[number % clients.len()].clone(),
            tree: Arc::clone(&tree),
            draw: draw.clone(),
            random: Random::new(plan.seed, number as u64),
            ids: Ids::new(),
            course: Arc::clone(&course),
            meter: Arc::clone(&meter),
        };
        match plan.work {
            Work::Unary => askers.spawn(asker.unary()),
            Work::Batch { .. } => askers.spawn(asker.batch(Arc::clone(&templates), number)),
            Work::Stream { window } => askers.spawn(asker.stream(window)),
            Work::Read { read } => askers.spawn(asker.read(read)),
            Work::Mixed => askers.spawn(asker.mixed()),
            Work::Watch { .. } => askers.spawn(asker.be_watched(Arc::clone(&begun))),
            Work::Failover { .. } | Work::Recovery { .. } | Work::Memory | Work::InProcess { .. } => {
                return Err(BenchError::Plan(format!("{:?} is not made of calls", plan.work)));
            }
        };
    }
    let (followed, pace) = tokio::join!(
        follow(plan, site, &course, &meter, askers, observer.as_ref()),
        course.keep_pace(&meter)
    );
    pace?;
    if let Some(watchers) = watchers {
        watchers.end().await;
    }
    let (before, after) = followed;
    let measured = meter.finish(plan.count.is_some());
    let nodes = after.nodes.into_iter().zip(before.nodes).map(|(after, before)| NodeUse {
        usage: after.usage.zip(before.usage).map(|(after, before)| after.since(before)),
        ..after
    });
    let (throughput_of, latency_of) = match plan.work {
        Work::Read { .. } => ("reads", "of a call"),
        Work::Mixed => ("commands", "of a call"),
        Work::Watch { .. } => ("events, all who watch together", "call to watcher"),
        _ => ("reservations", "of a call"),
    };
    let connections = match clients.len() {
        1 => "a connection".to_owned(),
        count => format!("{count} connections"),
    };
    let mut facts = vec![
        ("work", plan.work.words()),
        ("clients", format!("{} over {connections} to {}", plan.clients, site.words(plan.target))),
        ("tree", tree.words()),
    ];
    if let Some(rate) = plan.rate {
        facts.push(("rate", format!("{rate} calls/s; latency counts from when a call should have begun")));
    }
    Ok(Report {
        facts,
        measured: measured.length,
        throughput_of: Some(throughput_of),
        outcomes: measured.outcomes,
        calls: measured.calls,
        latency_of,
        latency: measured.latency,
        figures: over_time(&measured.intervals),
        intervals: measured.intervals,
        nodes: nodes.collect(),
        generator: after.generator.since(before.generator),
        problem: measured.problem,
        notes: Vec::new(),
    })
}

/// Whether it went on as it began: of what takes minutes, what was done per second in the first and in
/// the last.
fn over_time(intervals: &[Interval]) -> Vec<Figure> {
    const MINUTE: Duration = Duration::from_secs(60);
    let Some(end) = intervals.last().map(|interval| interval.end) else { return Vec::new() };
    if end < MINUTE * 2 {
        return Vec::new();
    }
    let rate = |is_in: &dyn Fn(&Interval) -> bool| {
        let within = || intervals.iter().filter(|interval| is_in(interval));
        let useful: u64 = within().map(|interval| interval.useful).sum();
        let seconds: f64 = within().map(|interval| interval.length.as_secs_f64()).sum();
        useful as f64 / seconds.max(1e-9)
    };
    let first = rate(&|interval| interval.end <= MINUTE);
    let last = rate(&|interval| interval.end - interval.length >= end - MINUTE);
    vec![
        Figure { name: "in the first minute", value: first, unit: "/s" },
        Figure { name: "in the last minute", value: last, unit: "/s" },
        Figure { name: "the last minute against the first", value: last / first.max(1e-9), unit: "" },
    ]
}

/// What everybody has taken at one moment.
struct Taken {
    nodes: Vec<NodeUse>,
    generator: Usage,
}

impl Taken {
    fn so_far(site: &Site) -> Self {
        Self { nodes: site.usage(), generator: Usage::of(std::process::id()).unwrap_or_default() }
    }
}

/// Waits until everybody has done asking; tells how far it is, and what was taken when it began to
/// count and when it ended.
async fn follow(
    plan: &Plan,
    site: &Site,
    course: &Course,
    meter: &Meter,
    mut askers: JoinSet<()>,
    observer: &dyn Observer,
) -> (Taken, Taken) {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if !plan.warm_up.is_zero() {
        observer.begins("warming up", milliseconds(plan.warm_up));
    }
    let mut ticks = tokio::time::interval(TOLD);
    let start = Instant::now();
    while Instant::now() < course.begin() {
        tokio::time::sleep_until(course.begin().min(Instant::now() + TOLD)).await;
        observer.at(milliseconds(start.elapsed()), "");
    }
    let before = Taken::so_far(site);
    observer.begins("measuring", plan.count.unwrap_or(milliseconds(plan.duration)));
    let mut after = None;
    let mut last = (course.begin(), 0);
    loop {
        tokio::select! {
            ended = askers.join_next() => match ended {
                None => break,
                // A task that panics is a bug of this program, and has said so.
                Some(result) => if result.is_err() { meter.trouble(|| "a client panicked".to_owned()) },
            },
            () = tokio::time::sleep_until(course.end()), if after.is_none() => {
                after = Some(Taken::so_far(site));
            }
            now = ticks.tick() => {
                let (calls, outcomes) = meter.so_far();
                let seconds = now.saturating_duration_since(last.0).as_secs_f64();
                let rate = (outcomes.useful() - last.1) as f64 / seconds.max(0.001);
                last = (now, outcomes.useful());
                let part = match plan.count {
                    Some(_) => calls,
                    None => milliseconds(now.saturating_duration_since(course.begin())),
                };
                observer.at(part, &format!("{rate:.0}/s"));
            }
        }
    }
    let after = after.unwrap_or_else(|| Taken::so_far(site));
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_seconds(rates: impl Iterator<Item = u64>) -> Vec<Interval> {
        let second = Duration::from_secs(1);
        let interval = |(end, useful)| Interval {
            end: second * end,
            length: second,
            useful,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
        };
        (1..).zip(rates).map(interval).collect()
    }

    #[test]
    fn the_last_minute_is_compared_with_the_first() {
        let slower = of_seconds((0..180).map(|second| if second < 90 { 1_000 } else { 800 }));
        let figures: Vec<f64> = over_time(&slower).iter().map(|figure| figure.value).collect();
        assert_eq!(figures, [1_000.0, 800.0, 0.8]);
        assert_eq!(over_time(&of_seconds((0..119).map(|_| 1))), []);
    }
}
