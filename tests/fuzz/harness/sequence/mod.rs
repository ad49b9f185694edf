//! Sequences of commands, and time that passes between them, on one ledger. Whatever they are, the
//! ledger does not panic, and everything in `check` holds after every entry.
//!
//! Every entry goes through its encoding, every event is folded from its encoding, and at times the
//! ledger is loaded anew from its rows.

mod check;
mod source;
mod steps;

use quorate::codec::batch;
use quorate::codec::keys;
use quorate::codec::rows;
use quorate::ledger::Command;
use quorate::ledger::Request;
use quorate::ledger::RequestId;
use quorate::ledger::ResourceId;
use quorate::ledger::State;
use quorate::ledger::apply;
use quorate::ledger::apply::RefusedClock;
use quorate::ledger::apply::Stamp;
use quorate::ledger::preview;
use quorate::ledger::rows::Row;

use self::check::Follower;
use self::source::Source;
use self::steps::Asker;

/// Most steps of one sequence.
const MOST_STEPS: usize = 120;

/// When sequences begin.
const BEGIN_MS: u64 = 1_767_225_600_000;

/// Goes through a sequence.
pub fn run(bytes: &[u8]) {
    Sequence::of(bytes);
}

/// What a sequence led to.
pub struct Sequence {
    state: State,
    follower: Follower,
    now: u64,
    asked: Vec<Request>,
    /// The payloads of its log entries.
    pub batches: Vec<Vec<u8>>,
}

impl Sequence {
    /// Goes through a sequence and keeps what it led to.
    pub fn of(bytes: &[u8]) -> Self {
        let mut source = Source(bytes);
        let state = State::default();
        let mut sequence = Self {
            follower: Follower::of(&state),
            state,
            now: BEGIN_MS,
            asked: Vec::new(),
            batches: Vec::new(),
        };
        let furniture = steps::furniture(&mut source);
        sequence.ask(furniture);
        for _ in 0..MOST_STEPS {
            if source.is_empty() {
                break;
            }
            sequence.step(&mut source);
        }
        sequence.follower.check_all(&sequence.state);
        sequence
    }

    /// The blocks of the events, framed.
    pub fn blocks(&self) -> &[Vec<u8>] {
        &self.follower.blocks
    }

    /// All records of the state as it is now.
    pub fn records(&self) -> Vec<Vec<u8>> {
        let rows: Vec<Row> = self.state.rows().collect();
        let together = rows.chunk_by(|one, next| keys::record(one.key()) == keys::record(next.key()));
        let record = |rows: &[Row]| {
            let record = rows::encode(rows);
            let stored = rows::record_of(&self.state, rows[0].key());
            assert_eq!(stored.as_ref(), Some(&record), "a record has other rows than those with its key");
            record
        };
        together.map(record).collect()
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() {
            0..=159 => self.ask_one(source),
            160..=199 => {
                // Time goes on and nothing happens, until the next entry.
                self.now += steps::span(source);
            }
            200..=214 => self.entry(Stamp::from(self.now), Vec::new()),
            215..=219 => {
                let clock = self.now.saturating_sub(steps::span(source));
                let refused = Some(RefusedClock { clock, node: u64::from(source.byte()) });
                self.entry(Stamp { time: self.now, refused }, Vec::new());
            }
            // A leader may stamp a time that is past; it counts as the last one.
            220..=223 => self.entry(Stamp::from(self.now - steps::span(source)), Vec::new()),
            224..=233 => {
                let count = 2 + source.byte() % 3;
                let commands = (0..count).filter_map(|_| self.command(source)).collect();
                self.ask(commands);
            }
            234..=238 => self.repeat(source),
            239..=251 => self.look(source),
            _ => self.restart(),
        }
    }

    fn command(&self, source: &mut Source<'_>) -> Option<Command> {
        Asker { source, state: &self.state, now: self.now }.command()
    }

    fn ask_one(&mut self, source: &mut Source<'_>) {
        if let Some(command) = self.command(source) {
            self.ask(vec![command]);
        }
    }

    fn request(&self, position: usize, command: Command) -> Request {
        let number = (self.asked.len() + position) as u128;
        let bits = u128::from(self.now) << 80 | 7 << 76 | 0b10 << 62 | number;
        let id = RequestId::from_bytes(bits.to_be_bytes()).expect("a UUIDv7");
        Request {
            id,
            fingerprint: batch::fingerprint(&command),
            actor: "alice".into(),
            reason: "".into(),
            command,
        }
    }

    /// Several commands in one entry.
    fn ask(&mut self, commands: Vec<Command>) {
        let requests = commands.into_iter().enumerate();
        let requests: Vec<Request> =
            requests.map(|(position, command)| self.request(position, command)).collect();
        self.asked.extend(requests.iter().cloned());
        self.entry(Stamp::from(self.now), requests);
    }

    /// A request a second time, or its id with another command.
    fn repeat(&mut self, source: &mut Source<'_>) {
        let choice = usize::from(source.byte());
        let Some(mut request) = self.asked.iter().rev().nth(choice % 32).cloned() else {
            return;
        };
        if source.one_in(4)
            && let Some(command) = self.command(source)
        {
            request.fingerprint = batch::fingerprint(&command);
            request.command = command;
        }
        self.entry(Stamp::from(self.now), vec![request]);
    }

    fn entry(&mut self, stamp: Stamp, requests: Vec<Request>) {
        let bytes = batch::encode(&stamp, &requests);
        let batch::Decoded { stamp, requests: decoded, .. } =
            batch::decode(&bytes).expect("what was encoded can be decoded");
        assert_eq!(decoded, requests, "requests mean something else in the log");
        self.batches.push(bytes);
        let applied = apply(&mut self.state, stamp, &decoded);
        self.follower.follow(&mut self.state, stamp, &decoded, &applied);
    }

    /// A command is only looked at: nothing changes, and it tells what would happen.
    fn look(&mut self, source: &mut Source<'_>) {
        let Some(command) = self.command(source) else {
            return;
        };
        let request = self.request(0, command);
        let mut other = self.state.clone();
        let told = preview(&mut self.state, self.now, &request);
        assert_eq!(self.state.changed_count(), other.changed_count(), "a preview changes rows");
        assert_eq!(self.state.next_deadline(), other.next_deadline(), "a preview moves a deadline");
        assert!(self.state.rows().eq(other.rows()), "a preview leaves something behind");
        let done = apply(&mut other, self.now, &[request]);
        assert_eq!(told.outcomes, done.outcomes, "a preview tells another outcome");
        assert!(done.events.ends_with(&told.events), "a preview tells other events");
    }

    /// The state is what its rows say.
    fn restart(&mut self) {
        let mut decimals: Vec<u8> = Vec::new();
        let decode = |record: Vec<u8>| {
            let decoded = rows::decode(&record, &|id: ResourceId| decimals.get(id.0 as usize).copied());
            let decoded = decoded.expect("what was encoded can be decoded");
            if let [Row::Resource(_, resource)] = &decoded[..] {
                decimals.push(resource.decimals);
            }
            decoded
        };
        let rows: Vec<Row> = self.records().into_iter().flat_map(decode).collect();
        assert!(
            self.state.rows().eq(rows.iter().cloned()),
            "rows mean something else when they are read back"
        );
        self.state = State::from_rows(rows).expect("the rows of a state make a state");
    }
}
