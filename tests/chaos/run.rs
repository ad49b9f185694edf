//! One run from the first fault to the verdict.

use std::env;
use std::path::Path;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::time::Instant;

use crate::arena::Arena;
use crate::gaps::Gaps;
use crate::gaps::Pulse;
use crate::ground;
use crate::ground::Ground;
use crate::harness::Cluster;
use crate::harness::Settings;
use crate::harness::eventually;
use crate::history::History;
use crate::history::create_scope;
use crate::kind::Kind;
use crate::machine::ABLE;
use crate::machine::DIRECTORY;
use crate::options::Options;
use crate::reads::ReadWitness;
use crate::reads::Reads;
use crate::work;
use crate::work::Work;

/// A small log, so that a node is soon left behind; and nothing of the small disk is kept free, so that one
/// that is filled is met as a write that fails.
const SMALL: &str = "snapshot_after_entries = 500\nkeep_entries = 300\n[disk]\nreserve_bytes = 0";

/// Of the faults that are chosen only to kill, those that kill the leader and those that kill all.
const LEADERS_OF_TEN: usize = 2;
const ALL_OF_TEN: usize = 7;

/// How many tens of kills there are for one of each kind.
const ROUNDS_OF_KILLS: usize = 15;

/// After so many commands a run without a goal has enough to judge. A node restarts the slower the
/// more it remembers, so those that are to be killed often remember little until then.
const ENOUGH: usize = 200_000;

/// Decides which fault is next: all kinds in a new order each time; once all have happened and only
/// kills are missing, mostly those.
struct Deck {
    kinds: Vec<Kind>,
    rest: Vec<Kind>,
}

impl Deck {
    fn next(&mut self, arena: &mut Arena, options: &Options) -> Kind {
        let all_happened = self.missing(&arena.gaps).is_empty();
        if all_happened && self.rest.is_empty() && arena.kills < options.kills {
            let mut kills = vec![Kind::KillFollower; 10 - LEADERS_OF_TEN - ALL_OF_TEN];
            kills.extend([Kind::KillLeader; LEADERS_OF_TEN]);
            kills.extend([Kind::KillAll; ALL_OF_TEN]);
            kills.retain(|kind| self.kinds.contains(kind));
            self.rest =
                (0..ROUNDS_OF_KILLS).flat_map(|_| kills.clone()).chain(self.kinds.iter().copied()).collect();
            self.rest.shuffle(&mut arena.random);
        } else if self.rest.is_empty() {
            self.rest = self.kinds.clone();
            self.rest.shuffle(&mut arena.random);
        }
        self.rest.pop().expect("there is at least one kind")
    }

    fn missing(&self, gaps: &Gaps) -> Vec<Kind> {
        self.kinds.iter().copied().filter(|kind| gaps.count(*kind) == 0).collect()
    }
}

pub async fn run(options: &Options) {
    let kinds = options.faults.clone().expect("it is started by another test");
    let (mut arena, reads) = prepare(options).await;
    let arena = &mut arena;
    let mut deck = Deck { kinds, rest: Vec::new() };
    loop {
        let lasted = arena.begin.elapsed().as_secs();
        let reached = arena.kills >= options.kills && arena.history.acknowledged() >= options.operations;
        let done = lasted >= options.seconds && reached && deck.missing(&arena.gaps).is_empty();
        if done || lasted >= options.at_most {
            break;
        }
        let plenty = arena.history.acknowledged() >= options.operations.max(ENOUGH);
        arena.work.as_ref().expect("there is work").hold_back(plenty || arena.kills < options.kills);
        let kind = deck.next(arena, options);
        arena.suffer(kind).await;
    }
    let missing = deck.missing(&arena.gaps);
    verdict(arena, reads, options).await;
    let names: Vec<_> = missing.iter().map(|kind| kind.name()).collect();
    assert!(names.is_empty(), "no time was left for {}: give more with --at-most", names.join(", "));
    assert!(arena.kills >= options.kills, "{} of {} kills", arena.kills, options.kills);
    let operations = arena.history.acknowledged();
    assert!(operations >= options.operations, "{operations} of {} operations", options.operations);
}

async fn prepare(options: &Options) -> (Arena, Reads) {
    let able = env::var(ABLE).expect("it is started by another test");
    let folder = env::var(DIRECTORY).expect("it is started by another test");
    let long = options.kills > 100 || options.operations > 200_000;
    let megabytes = if long { 6_000 } else { 1_000 };
    let able = |word: &str| able.split(',').any(|able| able == word);
    if able("apart") {
        ground::run("ip link set lo up");
    }
    let mut ground = Ground::prepare(Path::new(&folder), able("network"), able("disk"), megabytes);
    for seat in &mut ground.seats {
        seat.program = options.power.clone().unwrap_or_else(|| seat.program.clone());
    }
    let settings = Settings { raft: SMALL, ..Settings::default() };
    let cluster = Cluster::start_on(settings, ground.seats.clone(), None).await.formed().await;
    let history = History::default();
    let scopes = work::plant(&history, &cluster.client(0)).await;
    let (reads, pulse) = (Reads::of(scopes), Pulse::new());
    let work = Work::start(&cluster, &history, &pulse, &reads, options.seed);
    let last_id = cluster.nodes.len() as u64;
    let (gaps, begin) = (Gaps::default(), Instant::now());
    let first = cluster.nodes[0].program().to_owned();
    let versions = std::iter::once(first).chain(options.other.clone()).collect();
    let random = StdRng::seed_from_u64(options.seed);
    let mut arena = Arena {
        cluster,
        ground,
        history,
        pulse,
        gaps,
        work: Some(work),
        random,
        kills: 0,
        last_id,
        begin,
        versions,
    };
    arena.settle().await;
    (arena, reads)
}

/// All faults have ended: what was acknowledged must be there, and everything be as the rules say.
async fn verdict(arena: &mut Arena, reads: Reads, options: &Options) {
    let lasted = arena.begin.elapsed();
    arena.stop_work().await;
    until_nothing_is_due(arena).await;
    let end = arena.cluster.converge().await;
    println!("healed at revision {}; judging", end.0);
    let begin = Instant::now();
    let mut witness = ReadWitness::of(&reads);
    let judged = arena.history.judge(&arena.cluster.client(0), &end, |event| witness.look(event)).await;
    let judged = judged.and_then(|()| witness.end());
    if let Err(problem) = judged {
        panic!("{problem}");
    }
    let judging = begin.elapsed();
    same_tree(arena).await;
    // Once more from the disks alone.
    for at in 0..arena.cluster.nodes.len() {
        arena.kill(at);
    }
    for at in 0..arena.cluster.nodes.len() {
        arena.cluster.start_node(at);
    }
    assert_eq!(arena.cluster.converge().await, end, "what was healed is durable");
    same_tree(arena).await;
    report(arena, &reads, &end, [lasted, judging], options);
}

/// Lets all holds end that end by themselves: the first command after their time finds them ended, and
/// from then on there is no event that nobody asks for.
async fn until_nothing_is_due(arena: &Arena) {
    let deadline = arena.history.last_deadline();
    let node = &arena.cluster.nodes[0];
    let passed = async || (node.status(false).await?.clock_ms > deadline).then_some(());
    eventually("the time of the last hold is over", passed).await;
    arena.history.granted(&arena.cluster.client(0), create_scope("late")).await;
}

/// Every node has the same events, to the last bit.
async fn same_tree(arena: &Arena) {
    let mut roots = Vec::new();
    for node in &arena.cluster.nodes {
        let checkpoint = node.client().checkpoint().await.expect("a checkpoint");
        roots.push((checkpoint.size, checkpoint.root));
    }
    roots.dedup();
    assert_eq!(roots.len(), 1, "the nodes have other events: {roots:?}");
}

fn report(
    arena: &Arena,
    reads: &Reads,
    (revision, digest): &(u64, String),
    [lasted, judging]: [Duration; 2],
    options: &Options,
) {
    println!(
        "\n{:<16} {:>6} {:>9} {:>9} {:>9}   longest time without a grant, ms",
        "fault", "times", "p50", "p99", "max"
    );
    for (kind, count, gaps) in arena.gaps.summary() {
        let name = kind.map_or("(none)", Kind::name);
        let [p50, p99, max] = gaps.map(|gap| gap.as_millis());
        println!("{name:<16} {count:>6} {p50:>9} {p99:>9} {max:>9}");
    }
    let history = &arena.history;
    println!(
        "\nkills                  {}\nacknowledged           {}\nunknown after a call   {}\nsent again             {}\n\
         reads checked          {}\nevents replayed        {revision}, in {:.1} s\nstate at the end       {digest}\n\
         faults lasted          {:.1} s\nseed                   {}\nverdict                all of it holds",
        arena.kills,
        history.acknowledged(),
        history.unknown(),
        history.repeated(),
        reads.count(),
        judging.as_secs_f64(),
        lasted.as_secs_f64(),
        options.seed,
    );
}
