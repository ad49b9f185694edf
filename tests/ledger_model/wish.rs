//! What shall be asked, before it is known what is there: so it shrinks by itself.

use quorate::ledger::command::Mode;
use quorate::ledger::quota::Enforcement;
use quorate::ledger::quota::OnReduce;
use quorate::ledger::tree::ChildPolicy;

/// Those that are there from the beginning come first.
pub const PATHS: [&str; 12] =
    ["a", "a/b", "a/b/c", "a/b/d", "a/e", "z", "z/y", "z/y/x", "a/e/f", "q", "q/r", "w/v"];
pub const PATHS_AT_FIRST: usize = 8;
/// Below it there is room for one more level, but not for two.
pub const DEEP: &str = "a/2/3/4/5/6/7/8/9/10/11/12/13/14/15";
/// The last three are not in the catalogue and get registered at some time, or never.
pub const RESOURCES: [&str; 6] = ["memory_gb", "gpu_hours", "concurrent_gpus", "tokens", "dust", "nothing"];
pub const TEMPLATES: [&str; 4] = ["free", "small", "large", "none"];

/// A scope: one that is there, or whatever is at a path.
#[derive(Debug, Clone, Copy)]
pub enum At {
    /// By its position in tree order, among those that make sense.
    There(usize),
    /// The one with most scopes above it.
    Deepest,
    Named(&'static str),
}

pub type Target = (At, &'static str);

/// What a client believes a version or sequence to be.
#[derive(Debug, Clone, Copy)]
pub enum Guess {
    None,
    Right,
    Number(u64),
}

/// Which hold.
#[derive(Debug, Clone, Copy)]
pub enum Pick {
    /// Of those that live, counted from the newest.
    Live(usize),
    /// Of those that are closed, counted from the newest.
    Closed(usize),
    /// The one that an event of the same request is going to make.
    Next(u64),
    Revision(u64),
}

/// How much of a line of a hold.
#[derive(Debug, Clone, Copy)]
pub enum Share {
    Held,
    Live,
    /// One unit more than is live.
    More,
    Amount(&'static str),
}

/// A line of a hold by its position, or another place.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    Line(usize),
    Other(Target),
}

#[derive(Debug, Clone, Copy)]
pub enum LimitWish {
    Amount(&'static str),
    Unlimited,
    Inherit,
}

#[derive(Debug, Clone)]
pub struct PolicyWish {
    pub limit: LimitWish,
    pub soft: Option<(&'static str, Option<u64>)>,
    pub grace_alone_ms: Option<u64>,
    pub burst: Option<(&'static str, u64)>,
    pub burst_alone: bool,
    pub overcommit: Option<&'static str>,
    pub enforcement: Enforcement,
    pub on_reduce: OnReduce,
    pub ttl: (Option<u64>, Option<u64>),
    pub allow_transfer: bool,
}

#[derive(Debug, Clone)]
pub struct LineWish {
    pub target: Target,
    pub amount: &'static str,
    pub minimum: Option<&'static str>,
    pub guess: Guess,
}

#[derive(Debug, Clone)]
pub struct ScopeWish {
    pub path: &'static str,
    pub kind: Option<&'static str>,
    pub labels: Option<u8>,
    pub schema: Option<&'static str>,
    pub child_policy: Option<ChildPolicy>,
    pub template: Option<&'static str>,
    pub quotas: Vec<(&'static str, PolicyWish)>,
}

pub type HoldLines = Vec<(Which, Share)>;

/// Times are offsets to the log time.
#[derive(Debug, Clone)]
pub enum Wish {
    Create(ScopeWish),
    /// A plan of scopes one below the other.
    Deepen,
    Update {
        at: At,
        labels: Option<u8>,
        schema: Option<&'static str>,
        child_policy: Option<ChildPolicy>,
    },
    Move {
        from: At,
        below: At,
        name: Option<&'static str>,
        force: bool,
    },
    Delete {
        at: At,
        recursive: bool,
    },
    Register(&'static str, bool),
    /// Counted from the newest event; below 0 is beyond it.
    Compact(i64),
    Set {
        target: Target,
        policy: PolicyWish,
        mask: Option<u16>,
        at: Option<i64>,
        guess: Guess,
    },
    Adjust {
        target: Target,
        amount: &'static str,
        negative: bool,
        guess: Guess,
    },
    /// One that a transfer names, if there is one and `lent`.
    DeleteQuota {
        target: Target,
        lent: bool,
        guess: Guess,
    },
    Lock {
        target: Target,
        audit: bool,
        guess: Guess,
    },
    Unlock {
        target: Target,
        guess: Guess,
    },
    Override {
        target: Target,
        limit: LimitWish,
        start: Option<i64>,
        length: i64,
        guess: Guess,
    },
    Cancel {
        target: Target,
        which: usize,
        guess: Guess,
    },
    /// Between siblings; both with a quota, if there are any.
    Transfer {
        from: Target,
        to: usize,
        amount: &'static str,
        until: Option<i64>,
        guesses: (Guess, Guess),
    },
    PutTemplate {
        name: &'static str,
        long: bool,
        quotas: Vec<(&'static str, PolicyWish)>,
        guess: Guess,
    },
    ApplyTemplate {
        at: At,
        name: &'static str,
        guess: Guess,
    },
    Plan {
        resource: Option<(&'static str, bool)>,
        template: Option<(&'static str, PolicyWish)>,
        scopes: Vec<ScopeWish>,
    },
    Reserve {
        lines: Vec<LineWish>,
        mode: Mode,
        commit: bool,
        ttl_ms: Option<u64>,
        tagged: bool,
    },
    Commit {
        hold: Pick,
        lines: HoldLines,
        is_final: bool,
    },
    Release {
        hold: Pick,
        lines: HoldLines,
    },
    Renew {
        hold: Pick,
        ttl_ms: u64,
    },
    Resize {
        hold: Pick,
        lines: HoldLines,
    },
    Batch(Vec<Wish>),
}

impl PolicyWish {
    /// Nothing but a limit.
    pub fn plain(limit: LimitWish) -> Self {
        Self {
            limit,
            soft: None,
            grace_alone_ms: None,
            burst: None,
            burst_alone: false,
            overcommit: None,
            enforcement: Enforcement::Enforce,
            on_reduce: OnReduce::Freeze,
            ttl: (None, None),
            allow_transfer: false,
        }
    }
}
