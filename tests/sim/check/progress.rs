//! L2: as long as a majority is well and connected, somebody is granted something every now and then.

use std::time::Duration;

use super::Verdict;
use crate::faults::Fault;
use crate::trace;

/// The longest that a majority may be without an answer while a fault lasts that leaves it one: the others
/// have to notice that the leader is gone, elect another, and clients have to turn to it.
const LONGEST: Duration = Duration::from_millis(4_500);

/// A fault, and from when to when it lasted.
#[derive(Debug, Clone, Copy)]
pub struct Lasted {
    pub fault: Fault,
    pub from: Duration,
    pub to: Duration,
}

/// Checks when commands were answered, given in any order, against what went wrong when.
pub fn check(answered: impl Iterator<Item = Duration>, faults: &[Lasted]) -> Verdict {
    let mut answered: Vec<Duration> = answered.collect();
    answered.sort_unstable();
    for lasted in faults {
        let gap = longest_gap(&answered, lasted);
        trace::line(format_args!("longest gap during {:?}: {} ms", lasted.fault, gap.as_millis()));
        if gap > LONGEST {
            return Err(format!("a majority could go on, but for {gap:?} nobody was answered: {lasted:?}"));
        }
    }
    Ok(())
}

/// The longest time in which nobody was answered, of the time that a fault lasted.
fn longest_gap(answered: &[Duration], lasted: &Lasted) -> Duration {
    let (first, last) = (
        answered.partition_point(|time| *time < lasted.from),
        answered.partition_point(|time| *time <= lasted.to),
    );
    let mut before = lasted.from;
    let mut longest = Duration::ZERO;
    for time in answered[first..last].iter().chain([&lasted.to]) {
        longest = longest.max(*time - before);
        before = *time;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasted(from: u64, to: u64) -> Lasted {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        Lasted { fault: Fault::LeaderIsKilled, from, to }
    }

    #[test]
    fn the_longest_gap_is_that_of_the_fault() {
        let answered = [1, 2, 5, 9].map(Duration::from_secs);
        assert_eq!(longest_gap(&answered, &lasted(2, 4)), Duration::from_secs(2));
        assert_eq!(longest_gap(&answered, &lasted(2, 8)), Duration::from_secs(3));
        assert_eq!(longest_gap(&answered, &lasted(10, 11)), Duration::from_secs(1));
        assert_eq!(longest_gap(&[], &lasted(3, 7)), Duration::from_secs(4));
    }

    #[test]
    fn a_majority_that_stands_still_is_caught() {
        let answered = || [1, 2, 9].map(Duration::from_secs).into_iter();
        assert_eq!(check(answered(), &[lasted(1, 4)]), Ok(()));
        assert!(check(answered(), &[lasted(1, 4), lasted(2, 8)]).is_err());
    }
}
