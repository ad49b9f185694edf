//! S1, as somebody sees it who knows nothing of logs and revisions: small histories of one quota, for which
//! an order is searched that agrees with real time and with every answer.

use stateright::semantics::ConsistencyTester as _;
use stateright::semantics::LinearizabilityTester;
use stateright::semantics::SequentialSpec;

use super::Verdict;

/// The limit of the quota.
pub const LIMIT: u64 = 3;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    Take(u64),
    /// Of so much that this client holds.
    GiveBack(u64),
    Read,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Granted,
    Denied,
    GivenBack,
    Taken(u64),
}

/// The quota as it would be on one machine for one client at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Quota {
    taken: u64,
}

impl SequentialSpec for Quota {
    type Op = Ask;
    type Ret = Answer;

    fn invoke(&mut self, ask: &Ask) -> Answer {
        match *ask {
            Ask::Take(amount) if self.taken + amount > LIMIT => Answer::Denied,
            Ask::Take(amount) => {
                self.taken += amount;
                Answer::Granted
            }
            Ask::GiveBack(amount) => {
                self.taken = self.taken.saturating_sub(amount);
                Answer::GivenBack
            }
            Ask::Read => Answer::Taken(self.taken),
        }
    }
}

/// One question of a small history.
#[derive(Debug, Clone)]
pub struct Call {
    /// Asks one after the other.
    pub client: usize,
    pub ask: Ask,
    /// As moments of all clients are counted.
    pub began: u64,
    /// `None` when it was not answered in time: it may have happened, or may yet.
    pub answered: Option<(u64, Answer)>,
}

/// Checks one history of one quota.
pub fn check(history: &[Call]) -> Verdict {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (position, call) in history.iter().enumerate() {
        moments.push((call.began, false, position));
        moments.extend(call.answered.map(|(time, _)| (time, true, position)));
    }
    moments.sort_unstable();
    let mut tester = LinearizabilityTester::new(Quota::default());
    for (_, is_answer, position) in moments {
        let call = &history[position];
        let valid = match call.answered {
            Some((_, answer)) if is_answer => tester.on_return(call.client, answer),
            _ => tester.on_invoke(call.client, call.ask),
        };
        valid.map_err(|problem| format!("this is no history: {problem}: {history:#?}"))?;
    }
    if tester.is_consistent() { Ok(()) } else { Err(format!("no order explains this: {history:#?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(client: usize, ask: Ask, began: u64, answered: Option<(u64, Answer)>) -> Call {
        Call { client, ask, began, answered }
    }

    #[test]
    fn what_overlaps_may_be_in_any_order() {
        let history = [
            call(1, Ask::Take(2), 0, Some((50, Answer::Granted))),
            call(2, Ask::Take(2), 10, Some((20, Answer::Denied))),
            call(3, Ask::Read, 30, Some((40, Answer::Taken(2)))),
            call(1, Ask::GiveBack(2), 60, Some((70, Answer::GivenBack))),
            call(2, Ask::Take(3), 65, Some((80, Answer::Granted))),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn what_was_not_answered_may_have_happened_or_not() {
        let unknown = call(1, Ask::Take(3), 0, None);
        let denied = call(2, Ask::Take(1), 10, Some((20, Answer::Denied)));
        let granted = call(2, Ask::Take(1), 10, Some((20, Answer::Granted)));
        assert_eq!(check(&[unknown.clone(), denied.clone()]), Ok(()));
        assert_eq!(check(&[unknown, granted]), Ok(()));
        assert!(check(&[denied]).is_err(), "nothing was taken");
    }

    #[test]
    fn what_no_order_explains_is_caught() {
        let stale = [
            call(1, Ask::Take(2), 0, Some((10, Answer::Granted))),
            call(2, Ask::Read, 20, Some((30, Answer::Taken(0)))),
        ];
        assert!(check(&stale).is_err(), "a read that is stale");
        let twice = [
            call(1, Ask::Take(2), 0, Some((10, Answer::Granted))),
            call(2, Ask::Take(2), 5, Some((15, Answer::Granted))),
        ];
        assert!(check(&twice).is_err(), "granted over the limit");
    }
}
