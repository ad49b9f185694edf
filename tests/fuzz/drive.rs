//! Runs a harness for a while, from its corpus on, and tells which input it does not stand.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use tokio::time::Instant;

use super::harness::seen;
use super::mutate::Form;
use super::mutate::Mutator;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As in `fuzz/corpus` and in `fuzz/Cargo.toml`.
    pub name: &'static str,
    /// From bytes to a verdict.
    pub harness: fn(&[u8]),
    /// What its inputs look like.
    pub form: Form,
    /// Most bytes of an input.
    pub most: usize,
}

/// How long a harness runs when nobody says.
const SECONDS: u64 = 1;

/// Most that one input may have allocated at a time, besides what its length is worth.
const MOST_ALLOCATED: u64 = 16 << 20;

/// How much a byte of input is worth.
const ALLOCATED_PER_BYTE: u64 = 4096;

/// How often a failing input is made smaller before it is told.
const SHRINKS: usize = 3000;

/// Most inputs that are kept while it runs: few enough that each is changed many times.
const MOST_NEW: usize = 500;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The number in a variable of the environment.
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

/// The inputs that are kept for a target.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = folder(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a kept input")).collect()
}

/// Where the inputs of a target are kept.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

/// Runs a target on its corpus, and then on what can be made of it until the time is up.
pub fn fuzz(target: &Target) {
    hear_panics_of_harnesses();
    if let Ok(file) = std::env::var("QUORATE_FUZZ_REPLAY") {
        let input = fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        return (target.harness)(&input);
    }
    let seed = variable("QUORATE_FUZZ_SEED")
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64);
    let budget = Duration::from_secs(variable("QUORATE_FUZZ_SECONDS").unwrap_or(SECONDS));
    let runner = Runner::new(target, seed);
    let mut known = corpus(target.name);
    assert!(!known.is_empty(), "nothing is kept for {}", target.name);
    known.iter().for_each(|input| runner.run(input));
    let mut seen = seen::take();
    let kept = known.len();
    let mut mutator = Mutator::new(seed);
    let end = Instant::now() + budget;
    let mut count = 0_u64;
    while Instant::now() < end {
        // Every other input is made from a kept one, however many new ones there are.
        let from = if count.is_multiple_of(2) { kept } else { known.len() };
        let (one, other) = (mutator.below(from), mutator.below(known.len()));
        let mut input = mutator.mutate(target.form, &known[one], &known[other]);
        input.truncate(target.most);
        runner.run(&input);
        count += 1;
        // What led to something new is worth changing further.
        if is_new(&mut seen) && known.len() < kept + MOST_NEW {
            known.push(input);
        }
    }
    let (name, new) = (target.name, known.len() - kept);
    println!("{name}: {count} inputs with seed {seed}, {new} of them new beside {kept} kept ones");
}

/// Whether something was noted that had not been seen.
pub fn is_new(seen: &mut BTreeSet<String>) -> bool {
    let known = seen.len();
    seen.append(&mut seen::take());
    seen.len() > known
}

struct Runner<'a> {
    target: &'a Target,
    seed: u64,
    /// Holds the input that is being run: should it end the process, it is still known.
    running: File,
}

impl<'a> Runner<'a> {
    fn new(target: &'a Target, seed: u64) -> Self {
        let path = std::env::temp_dir().join(format!("quorate-fuzz-{}.running", target.name));
        println!("{}: seed {seed}; the input that is being run is in {}", target.name, path.display());
        Self { target, seed, running: File::create(path).expect("a temporary file") }
    }

    fn run(&self, input: &[u8]) {
        self.running.set_len(input.len() as u64).expect("write a temporary file");
        self.running.write_all_at(input, 0).expect("write a temporary file");
        if let Err(problem) = stands(self.target, input) {
            self.tell(input, &problem);
        }
    }

    fn tell(&self, input: &[u8], problem: &str) -> ! {
        let small = shrink(self.target, input);
        let name = self.target.name;
        let path = std::env::temp_dir().join(format!("quorate-fuzz-{name}-{}", self.seed));
        fs::write(&path, &small).expect("write a temporary file");
        let hex: String = small.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{name} does not stand an input of {} bytes (found as one of {}, with QUORATE_FUZZ_SEED={}): \
             {problem}\n{hex}\nIt is in {path}. To run it again:\n\
             QUORATE_FUZZ_REPLAY={path} cargo test --release --test fuzz -- {name}",
            small.len(),
            input.len(),
            self.seed,
            path = path.display(),
        );
    }
}

/// Runs a harness on an input: the problem, if there is one.
fn stands(target: &Target, input: &[u8]) -> Result<(), String> {
    let mut result = Ok(());
    let allocated = allocation_counter::measure(|| {
        result = panic::catch_unwind(AssertUnwindSafe(|| (target.harness)(input)));
    });
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        return Err(text.unwrap_or_else(|| "a panic without a text".into()));
    }
    let most = MOST_ALLOCATED + ALLOCATED_PER_BYTE * input.len() as u64;
    if allocated.bytes_max > most {
        return Err(format!("it takes {} bytes of memory, over {most}", allocated.bytes_max));
    }
    Ok(())
}

/// A smaller input that does not stand either.
fn shrink(target: &Target, input: &[u8]) -> Vec<u8> {
    QUIET.set(true);
    let mut small = input.to_vec();
    let mut mutator = Mutator::new(0);
    for _ in 0..SHRINKS {
        if small.is_empty() {
            break;
        }
        let start = mutator.below(small.len());
        let length = (1 << mutator.below(7)).min(small.len() - start);
        let mut smaller = small.clone();
        smaller.drain(start..start + length);
        if stands(target, &smaller).is_err() {
            small = smaller;
        }
    }
    QUIET.set(false);
    small
}

/// Keeps panics off the screen while a failing input is made smaller.
fn hear_panics_of_harnesses() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
}
