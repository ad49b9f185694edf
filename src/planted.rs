//! Known bugs, planted one at a time to see that the simulation catches each of them.
//!
//! They are there with the feature `planted-bugs` alone, and one of them works when it is named by the
//! environment variable `QUORATE_PLANTED`. Without the feature [`planted`] is a constant, and nothing
//! of them is left in the program; with it the program refuses to run.
//!
//! Where a bug is planted stands one line that asks for it. Knows nothing of those lines, nor of what
//! catches the bug.

/// Whether bugs can be planted in this build.
pub const POSSIBLE: bool = cfg!(feature = "planted-bugs");

/// Each with its name, the invariants that it breaks, and what is wrong.
macro_rules! bugs {
    ($($bug:ident, $name:literal, $breaks:literal, $what:literal;)*) => {
        /// What can be planted.
        #[derive(Clone, Copy)]
        pub enum Bug {
            $(#[doc = $what] #[doc = concat!("\n\nBreaks ", $breaks, ".")] $bug,)*
        }

        /// Of each bug its name, the invariants that it breaks, and what is wrong.
        #[cfg(feature = "planted-bugs")]
        pub const ALL: &[(&str, &str, &str)] = &[$(($name, $breaks, $what)),*];
    };
}

bugs! {
    // The store.
    AcknowledgeBeforeSync, "acknowledge-before-sync", "S2",
        "What the log is told to be durable becomes so with the next batch only.";
    SyncFailureHidden, "sync-failure-hidden", "S2, S8",
        "Now and then a sync fails, what it was to write is lost, and everyone is told that it went well.";
    TornBatch, "torn-batch", "S2, S8",
        "Of the batch that a power failure meets the first change stays, without the others.";
    HalfInstalledSnapshot, "half-installed-snapshot", "S7",
        "An installed snapshot is on disk without its events: there the old ones stay.";

    // What connects the stores with the consensus engine.
    AppendToldAtOnce, "append-told-at-once", "S2, S6",
        "The engine is told that entries are on disk when they are handed to the store.";
    VoteNotSynced, "vote-not-synced", "S6",
        "A vote is remembered and not synced: a power failure takes it back.";
    TruncationTakesMore, "truncation-takes-more", "S2, S6",
        "With the entries that are taken back the last one that stays is removed from the disk.";
    PurgePastFlushed, "purge-past-flushed", "S2",
        "The log is purged up to a snapshot that is not flushed.";
    CommittedAhead, "committed-ahead", "S6",
        "The last entry of the log is saved as the last that is committed.";
    StandsAtOnce, "stands-at-once", "L2",
        "A node that has just started stands for election like any other.";
    StateInTwoBatches, "state-in-two-batches", "S2",
        "Events are written in one batch, and how far the log is applied in another.";
    SnapshotWithoutRequests, "snapshot-without-requests", "S3, S5",
        "A snapshot comes without what was decided about requests.";
    SnapshotLabelledLater, "snapshot-labelled-later", "S2, S5",
        "A snapshot says that it goes further than it does, and nobody looks.";
    PublishedBeforeBatch, "published-before-batch", "S1",
        "Everyone is told of an entry before its batch is written.";
    ExpiryByLocalClock, "expiry-by-local-clock", "S5",
        "Each node applies entries at the time of its own clock.";
    KeyframeOffByOne, "keyframe-off-by-one", "S8",
        "A keyframe says that it is of the revision after its own.";
    AsOfTimeOffByOne, "as-of-time-off-by-one", "S1",
        "What was decided in the millisecond that is asked for is left out.";
    ChangedRowNotSaved, "changed-row-not-saved", "S5",
        "The row of a hold that changes is not written again.";

    // The node.
    ReadWithoutReadIndex, "read-without-read-index", "S1",
        "A linearizable read asks nobody.";
    ReadIndexWithoutMajority, "read-index-without-majority", "S1",
        "A leader tells the read index without asking whether it still leads.";
    ReadBeforeApplied, "read-before-applied", "S1",
        "A linearizable read does not wait until its index is applied.";
    AtLeastIgnored, "at-least-ignored", "S1",
        "A read of at least a revision does not wait for it.";
    StaleBoundIgnored, "stale-bound-ignored", "S1",
        "A read that may be a little old gets whatever there is.";
    FreshnessFromAnswer, "freshness-from-answer", "S1",
        "How new a node is counts from the answer of the leader instead of from the question.";
    ForwardNewRequestId, "forward-new-request-id", "S3",
        "A command that is forwarded gets a request id of its own each time.";
    LeaderClockFollowed, "leader-clock-followed", "S4",
        "The clock of a leader is followed however far it is set.";
    OwnClockBelieved, "own-clock-believed", "S4",
        "A new leader begins with its own clock, whatever others say.";
    TickByOwnClock, "tick-by-own-clock", "L1",
        "A leader looks at its own clock to see whether something is due.";
    PageLeavesOneOut, "page-leaves-one-out", "S1",
        "The token of a page is that of the item after it, so that the next page begins too late.";
    WatchSkips, "watch-skips", "S7",
        "A watch that goes on at another node leaves one event out.";

    // The rules.
    AncestorUnchecked, "ancestor-unchecked", "S4",
        "The root of a tree is not asked whether there is room.";
    ReleaseTwice, "release-twice", "S4",
        "A hold that was released stays, and gives back once more when it expires.";
    RequestsForgottenEarly, "requests-forgotten-early", "S3",
        "What was decided about a request is forgotten while its id is still accepted.";
    ExpiredHoldLives, "expired-hold-lives", "S4",
        "A hold can be committed and renewed half a second after its end.";
    OverrideForEver, "override-for-ever", "S4",
        "The end of an override that has begun is forgotten.";
    GraceBeginsAnew, "grace-begins-anew", "S4",
        "Every change of what is taken lets the time of a grace or burst begin anew.";
    PartialCommitLosesRest, "partial-commit-loses-rest", "S4",
        "What a partial commit leaves held is counted for ever and belongs to no hold.";
    BatchNotAtomic, "batch-not-atomic", "S4",
        "A batch of which a part fails is carried out up to there, and told as done.";
    OrderOfTheNode, "order-of-the-node", "S5",
        "Which of several due holds expires first depends on when this node last wrote its rows.";
    DeadlinesLostByRestart, "deadlines-lost-by-restart", "S5",
        "Holds that are loaded from rows never expire.";

    // What is made of the events.
    LeafOutOfOrder, "leaf-out-of-order", "S7",
        "The leaves of the event tree are not in the order of the events.";
    CheckpointOfAnotherSize, "checkpoint-of-another-size", "S7",
        "A checkpoint is signed with the root of the tree before the last event.";
    UsageMissesLevel, "usage-misses-level", "S4",
        "Usage over time leaves out one of the scopes that an event touches.";
    HistoryBeginsLate, "history-begins-late", "S7",
        "Of the events of a quota that are written together the first is left out.";
    HolderKeeps, "holder-keeps", "S4",
        "What a hold gives back stays with its holder.";
    RebuildOnTop, "rebuild-on-top", "S4",
        "A projection that is made anew begins with what it had.";
    RemovedTooFar, "removed-too-far", "S7",
        "With the events that are let go of the first block of those that stay is removed.";
    HorizonForgotten, "horizon-forgotten", "S5, S7",
        "Up to where events were let go of is not among the rows of the state.";
}

/// Whether this bug is planted.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Takes the bug that the environment names.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn choose() {}

#[cfg(feature = "planted-bugs")]
pub use chosen::choose;
#[cfg(feature = "planted-bugs")]
pub use chosen::planted;

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use super::ALL;
    use super::Bug;

    const NAMED_BY: &str = "QUORATE_PLANTED";

    /// The number of the bug; `usize::MAX` for none.
    static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Whether this bug is planted.
    pub fn planted(bug: Bug) -> bool {
        CHOSEN.load(Ordering::Relaxed) == bug as usize
    }

    /// Takes the bug that the environment names, if it names one. Ends the process when there is none
    /// of that name.
    pub fn choose() {
        let Ok(name) = std::env::var(NAMED_BY) else {
            return;
        };
        match ALL.iter().position(|(known, ..)| *known == name) {
            Some(number) => CHOSEN.store(number, Ordering::Relaxed),
            None => {
                eprintln!("{NAMED_BY}={name}: there is no such bug; there are:");
                for (name, breaks, what) in ALL {
                    eprintln!("{name:<28} {breaks:<7} {what}");
                }
                std::process::exit(2);
            }
        }
    }
}

#[cfg(all(test, feature = "planted-bugs"))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), ALL.len());
        let is_plain = |name: &str| name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
        assert!(names.iter().all(|name| is_plain(name)), "{names:?}");
    }
}
