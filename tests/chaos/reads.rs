//! What readers were told of quotas, as new as they asked for, against the events.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use quorate::client::Client;
use quorate::client::Read;
use quorate::client::v1;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rust_decimal::Decimal;
use tokio::time::Instant;

use crate::history::History;
use crate::load;
use crate::witness::Judgement;

/// How old the answer may be that a reader allows.
const LAG: Duration = Duration::from_millis(1_500);

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which of the scopes.
    pub scope: usize,
    pub read: Read,
    /// The oldest revision that it may show.
    pub at_least: u64,
    pub revision: u64,
    pub counters: Counters,
}

/// What a quota shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub used: Decimal,
    pub held: Decimal,
    pub sequence: u64,
}

/// All answers, by the revision that they show.
#[derive(Debug, Clone)]
pub struct Reads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scopes: Vec<String>,
    answers: Mutex<BTreeMap<u64, Vec<Answer>>>,
    known: Mutex<VecDeque<(Instant, u64)>>,
}

impl Reads {
    pub fn of(scopes: Vec<String>) -> Self {
        Self(Arc::new(Inner { scopes, answers: Mutex::default(), known: Mutex::default() }))
    }

    /// Reads some quota with some consistency. No answer is no lie.
    pub async fn ask(&self, client: &Client, history: &History, random: &mut StdRng) {
        let known = history.known();
        let lagging = self.known_before(Instant::now(), known);
        let (read, at_least) = match random.random_range(0..4) {
            0 => (Read::Linearizable, known),
            1 => (Read::AtLeast(known), known),
            2 => (Read::Stale(LAG), lagging),
            _ => {
                let at = known.saturating_sub(random.random_range(0..2_000)).max(1);
                (Read::AtRevision(at), at)
            }
        };
        let scope = random.random_range(0..self.0.scopes.len());
        let reply = client.reading(read).get_quota(&self.0.scopes[scope], load::RESOURCE).await;
        let Ok(v1::GetQuotaResponse { quota: Some(quota), revision }) = reply else { return };
        history.note_known(revision);
        let shown = quota.counters.expect("a quota has counters");
        let number = |text: &str| text.parse().expect("a decimal");
        let counters =
            Counters { used: number(&shown.used), held: number(&shown.held), sequence: quota.sequence };
        self.note(Answer { scope, read, at_least, revision, counters });
    }

    fn note(&self, answer: Answer) {
        self.answers().entry(answer.revision).or_default().push(answer);
    }

    /// What was known to a client so long before `now` as a reader allows.
    fn known_before(&self, now: Instant, known: u64) -> u64 {
        let mut samples = self.0.known.lock().expect("no panic while locked");
        samples.push_back((now, known));
        while samples.get(1).is_some_and(|(then, _)| *then + LAG <= now) {
            samples.pop_front();
        }
        samples.front().filter(|(then, _)| *then + LAG <= now).map_or(0, |(_, known)| *known)
    }

    pub fn count(&self) -> usize {
        self.answers().values().map(Vec::len).sum()
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<Answer>>> {
        self.0.answers.lock().expect("no panic while locked")
    }
}

/// Goes through the events beside the answers.
pub struct ReadWitness<'a> {
    reads: &'a Reads,
    now: BTreeMap<String, Counters>,
    judged: usize,
}

impl<'a> ReadWitness<'a> {
    pub fn of(reads: &'a Reads) -> Self {
        Self { reads, now: BTreeMap::new(), judged: 0 }
    }

    /// Looks at the answers that show the state after this event.
    pub fn look(&mut self, event: &v1::Event) -> Judgement {
        for touched in event.touched.iter().filter(|touched| touched.resource == load::RESOURCE) {
            let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
            let counters = Counters {
                used: number(&touched.used)?,
                held: number(&touched.held)?,
                sequence: touched.sequence,
            };
            self.now.insert(touched.scope.clone(), counters);
        }
        for answer in self.reads.answers().get(&event.revision).into_iter().flatten() {
            let scope = &self.reads.0.scopes[answer.scope];
            if answer.revision < answer.at_least {
                return Err(format!("a read of {scope} is too old: {answer:?}"));
            }
            if matches!(answer.read, Read::AtRevision(at) if at != answer.revision) {
                return Err(format!("a read of {scope} is of another revision: {answer:?}"));
            }
            if self.now.get(scope) != Some(&answer.counters) {
                return Err(format!(
                    "a read of {scope} shows {answer:?}, and it was {:?}",
                    self.now.get(scope)
                ));
            }
            self.judged += 1;
        }
        Ok(())
    }

    /// Every answer must have shown some state that there was.
    pub fn end(self) -> Result<usize, String> {
        match self.reads.count() - self.judged {
            0 => Ok(self.judged),
            left => Err(format!("{left} reads show a revision that there never was")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64, held: &str) -> v1::Event {
        let touched = v1::Touched {
            scope: "acme".to_owned(),
            resource: load::RESOURCE.to_owned(),
            used: "1".to_owned(),
            held: held.to_owned(),
            sequence: revision,
            ..Default::default()
        };
        v1::Event { revision, touched: vec![touched], ..Default::default() }
    }

    fn judge(change: impl FnOnce(&mut Answer)) -> Result<usize, String> {
        let counters = Counters { used: Decimal::ONE, held: Decimal::TWO, sequence: 2 };
        let mut answer = Answer { scope: 0, read: Read::AtRevision(2), at_least: 2, revision: 2, counters };
        change(&mut answer);
        let reads = Reads::of(vec!["acme".to_owned()]);
        reads.note(answer);
        let mut witness = ReadWitness::of(&reads);
        for event in [event(1, "1"), event(2, "2.0"), event(3, "3")] {
            witness.look(&event)?;
        }
        witness.end()
    }

    #[test]
    fn an_answer_must_be_what_was_there_and_not_older_than_asked_for() {
        assert_eq!(judge(|_| {}), Ok(1));
        for (change, problem) in [
            ((|answer| answer.counters.held = Decimal::ONE) as fn(&mut Answer), "and it was"),
            (|answer| answer.counters.sequence = 1, "and it was"),
            (|answer| answer.at_least = 3, "too old"),
            (|answer| answer.read = Read::AtRevision(1), "of another revision"),
            (|answer| answer.revision = 4, "there never was"),
        ] {
            let said = judge(change).expect_err(problem);
            assert!(said.contains(problem), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_a_while_ago_is_remembered() {
        let reads = Reads::of(Vec::new());
        assert_eq!(reads.known_before(Instant::now(), 5), 0);
        tokio::time::advance(LAG / 2).await;
        assert_eq!(reads.known_before(Instant::now(), 7), 0);
        tokio::time::advance(LAG / 2).await;
        assert_eq!(reads.known_before(Instant::now(), 9), 5);
        tokio::time::advance(LAG).await;
        assert_eq!(reads.known_before(Instant::now(), 11), 9);
    }
}
