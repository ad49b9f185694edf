//! The kinds of fault: what they are called, what they need, what they must not do.

use std::fmt;

/// Something that goes wrong, or is made to happen, while clients work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillLeader,
    KillFollower,
    KillAll,
    PauseLeader,
    PauseFollower,
    /// Nothing gets from the node to the others, nor back.
    CutLeader,
    CutFollower,
    /// The node sends and does not hear.
    DeafLeader,
    DeafFollower,
    /// The node hears, and nobody hears it.
    MuteLeader,
    MuteFollower,
    /// The leader and one follower are apart; the other follower reaches both.
    CutLink,
    /// Packets between all nodes get lost.
    Loss,
    /// What nodes say to each other takes its time.
    Delay,
    FullLeader,
    FullFollower,
    /// The end of the write-ahead log is missing.
    TornWal,
    FlippedWal,
    FlippedTable,
    FlippedManifest,
    /// A node was away until the log that it needs was purged.
    Snapshot,
    Transfer,
    /// A node lost its disk, and another one takes its place.
    Replace,
    /// A node ends in order and starts as the other version of the program: back and forth.
    Upgrade,
}

/// What a kind needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// A network namespace for each node, and rules for what passes between them.
    Network,
    /// A small disk for each node.
    Disk,
    /// Another version of the program.
    OtherVersion,
}

/// How many nodes a kind leaves that are well and reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// They make progress while the fault lasts.
    Majority,
    /// Nothing need be granted while it lasts.
    Fewer,
}

impl Kind {
    pub const ALL: [Self; 24] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::CutLeader,
        Self::CutFollower,
        Self::DeafLeader,
        Self::DeafFollower,
        Self::MuteLeader,
        Self::MuteFollower,
        Self::CutLink,
        Self::Loss,
        Self::Delay,
        Self::FullLeader,
        Self::FullFollower,
        Self::TornWal,
        Self::FlippedWal,
        Self::FlippedTable,
        Self::FlippedManifest,
        Self::Snapshot,
        Self::Transfer,
        Self::Replace,
        Self::Upgrade,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::KillAll => "kill-all",
            Self::PauseLeader => "pause-leader",
            Self::PauseFollower => "pause-follower",
            Self::CutLeader => "cut-leader",
            Self::CutFollower => "cut-follower",
            Self::DeafLeader => "deaf-leader",
            Self::DeafFollower => "deaf-follower",
            Self::MuteLeader => "mute-leader",
            Self::MuteFollower => "mute-follower",
            Self::CutLink => "cut-link",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::FullLeader => "full-leader",
            Self::FullFollower => "full-follower",
            Self::TornWal => "torn-wal",
            Self::FlippedWal => "flipped-wal",
            Self::FlippedTable => "flipped-table",
            Self::FlippedManifest => "flipped-manifest",
            Self::Snapshot => "snapshot",
            Self::Transfer => "transfer",
            Self::Replace => "replace",
            Self::Upgrade => "upgrade",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub fn need(self) -> Need {
        match self {
            Self::CutLeader
            | Self::CutFollower
            | Self::DeafLeader
            | Self::DeafFollower
            | Self::MuteLeader
            | Self::MuteFollower
            | Self::CutLink
            | Self::Loss
            | Self::Delay => Need::Network,
            Self::FullLeader | Self::FullFollower => Need::Disk,
            Self::Upgrade => Need::OtherVersion,
            _ => Need::Nothing,
        }
    }

    pub fn left(self) -> Left {
        if matches!(self, Self::KillAll | Self::Loss) { Left::Fewer } else { Left::Majority }
    }

    /// Whether it happens to whoever leads; otherwise, of those that happen to one node, to one that
    /// does not.
    pub fn strikes_leader(self) -> bool {
        matches!(
            self,
            Self::KillLeader
                | Self::PauseLeader
                | Self::CutLeader
                | Self::DeafLeader
                | Self::MuteLeader
                | Self::FullLeader
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[test]
fn every_kind_is_found_under_its_name() {
    for kind in Kind::ALL {
        assert_eq!(Kind::named(kind.name()), Some(kind));
    }
    assert_eq!(Kind::named("kill"), None);
}
