//! S8: a node whose disk has failed, or whose data is damaged or gone, stops and says so; nobody else does.

use std::time::Duration;

use super::Verdict;

/// How soon a node stops when it has to: it may have to ask others first.
const SOON: Duration = Duration::from_millis(1_500);

/// Whether one node may stop, or has to.
#[derive(Debug, Default)]
pub struct Stops {
    may_until: Duration,
    must_by: Option<Duration>,
}

impl Stops {
    /// Its disk is defective from now on, or has been tampered with.
    pub fn allow(&mut self) {
        self.may_until = Duration::MAX;
    }

    /// Its disk is as it should be again.
    pub fn forbid(&mut self, now: Duration) {
        self.may_until = now + SOON;
    }

    /// It has been told of a failure, or will be when it starts.
    pub fn demand(&mut self, now: Duration) {
        self.must_by.get_or_insert(now + SOON);
    }

    /// It has stopped, and said why.
    pub fn stop(&mut self, now: Duration, node: &str, problem: &str) -> Verdict {
        self.must_by = None;
        if now > self.may_until {
            return Err(format!("{node} stops although nothing is wrong with its disk: {problem}"));
        }
        if problem.is_empty() {
            return Err(format!("{node} stops and does not say why"));
        }
        Ok(())
    }

    /// Its process ended otherwise, and it has another chance.
    pub fn forget(&mut self) {
        self.must_by = None;
    }

    /// It runs.
    pub fn go_on(&self, now: Duration, node: &str) -> Verdict {
        match self.must_by {
            Some(latest) if now > latest => {
                Err(format!("{node} goes on on top of a disk that has failed, or is not its own"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);

    #[test]
    fn who_stops_without_a_reason_is_caught() {
        let mut stops = Stops::default();
        assert!(stops.stop(NOW, "node-1", "bored").is_err());
        stops.allow();
        assert_eq!(stops.stop(NOW, "node-1", "its disk"), Ok(()));
        assert!(stops.stop(NOW, "node-1", "").is_err(), "it says nothing");
        stops.forbid(NOW);
        assert_eq!(stops.stop(NOW + SOON, "node-1", "its disk"), Ok(()));
        assert!(stops.stop(NOW + SOON * 2, "node-1", "bored").is_err());
    }

    #[test]
    fn who_goes_on_in_spite_of_a_failure_is_caught() {
        let mut stops = Stops::default();
        assert_eq!(stops.go_on(NOW, "node-1"), Ok(()));
        stops.allow();
        stops.demand(NOW);
        assert_eq!(stops.go_on(NOW + SOON, "node-1"), Ok(()));
        assert!(stops.go_on(NOW + SOON * 2, "node-1").is_err());
        assert_eq!(stops.stop(NOW + SOON, "node-1", "its disk"), Ok(()));
        assert_eq!(stops.go_on(NOW + SOON * 2, "node-1"), Ok(()));
    }
}
