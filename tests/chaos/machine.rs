//! What this machine can do, and the process that a run lives in.
//!
//! A run is another process: of the same program, in namespaces of its own for processes, mounts and
//! the network where that is possible. Whatever it starts, mounts or sets up ends with it, and it
//! ends with us. Elsewhere it has a process group of its own, which is killed at the end.

use std::env;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::panic;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::time::Instant;

use crate::harness::eventually;
use crate::kind::Kind;
use crate::kind::Need;
use crate::options::Options;

/// How long healing, the replay of the history and the last restarts may take.
const AFTERWARDS: Duration = Duration::from_secs(600);

/// How many operations are judged per second at least.
const JUDGED_PER_SECOND: u64 = 2_000;

pub const DIRECTORY: &str = "QUORATE_CHAOS_DIRECTORY";
pub const ABLE: &str = "QUORATE_CHAOS_ABLE";

/// The file in the directory of a run with all its panics: mostly one, which is why it failed.
const PANICS: &str = "panics";

/// Namespaces of one's own, which end with the process that made them; and that ends with us.
const APART: [&str; 9] =
    ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL"];

/// What a run may use, and why it may not use the rest.
#[derive(Debug, Clone)]
pub struct Machine {
    apart: Result<(), String>,
    network: Result<(), String>,
    disk: Result<(), String>,
    other_version: Result<(), String>,
}

impl Machine {
    /// Tries everything out.
    pub fn explore(options: &Options) -> Self {
        let not = |why: &str| Err(why.to_owned());
        let other_version =
            if options.other.is_some() { Ok(()) } else { not("--other names no other version") };
        if options.loopback {
            let why = "--loopback was asked for";
            return Self { apart: not(why), network: not(why), disk: not(why), other_version };
        }
        let apart = tried("--mount-proc true").map_err(|why| format!("no namespaces of its own: {why}"));
        let after = |lines: &str, why: &str| {
            apart.clone()?;
            tried(&format!("--mount-proc sh -ec '{lines}'")).map_err(|said| format!("{why}: {said}"))
        };
        let network = after(
            "mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip netns add there; ip link add to type veth peer name from netns there
             nft add table inet chaos; nsenter --net=/run/netns/there true",
            "no network namespaces with rules (ip, nft of the package nftables, veth)",
        );
        let disk = after(
            "d=$(mktemp -d); trap \"umount $d/m 2>/dev/null; rm -r $d\" EXIT
             truncate -s 16M $d/i; mkfs.ext4 -q -F $d/i; mkdir $d/m; mount -o loop $d/i $d/m",
            "no small disks (mkfs.ext4, loop mounts)",
        );
        Self { apart, network, disk, other_version }
    }

    fn can(&self, kind: Kind) -> Result<(), String> {
        match kind.need() {
            Need::Nothing => Ok(()),
            Need::Network => self.network.clone(),
            Need::Disk => self.disk.clone(),
            Need::OtherVersion => self.other_version.clone(),
        }
    }

    /// The kinds of a run, and those that are left out with the reason.
    ///
    /// # Panics
    ///
    /// When kinds were asked for that are not possible.
    pub fn kinds(&self, options: &Options) -> (Vec<Kind>, Vec<(Kind, String)>) {
        let asked = options.faults.clone().unwrap_or_else(|| Kind::ALL.to_vec());
        let mut left_out = Vec::new();
        let kinds = asked.into_iter().filter(|kind| match self.can(*kind) {
            Ok(()) => true,
            Err(why) => {
                left_out.push((*kind, why));
                false
            }
        });
        let kinds = kinds.collect();
        assert!(options.faults.is_none() || left_out.is_empty(), "not on this machine: {left_out:?}");
        (kinds, left_out)
    }

    fn able(&self) -> String {
        let words = [("apart", &self.apart), ("network", &self.network), ("disk", &self.disk)];
        words.into_iter().filter(|(_, can)| can.is_ok()).map(|(word, _)| word).collect::<Vec<_>>().join(",")
    }

    fn command(&self, program: &Path) -> Command {
        match self.apart {
            Ok(()) => {
                let mut command = Command::new(APART[0]);
                command.args(&APART[1..]).arg("--mount-proc").arg(program);
                command
            }
            Err(_) => Command::new(program),
        }
    }
}

fn tried(words: &str) -> Result<(), String> {
    let line = format!("{} {words}", APART.join(" "));
    let output = Command::new("sh").args(["-c", &line]).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}

/// What has to be read also of a test that passes, which keeps what it prints to itself.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("write to standard error");
}

/// How a run ended.
#[derive(Debug)]
enum Ended {
    Itself(ExitStatus),
    Bound,
    Asked,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself(status) => write!(f, "it ended with {status}"),
            Self::Bound => f.write_str("it went on past its bound and was killed"),
            Self::Asked => f.write_str("it was asked to end"),
        }
    }
}

/// Runs the test of this name in a process of its own.
///
/// # Panics
///
/// When the run fails, with what is needed to look into it.
pub async fn run_apart(options: &Options, test: &str) {
    let machine = Machine::explore(options);
    let (kinds, left_out) = machine.kinds(options);
    say(&format!("faults: {}", kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")));
    for (kind, why) in &left_out {
        say(&format!("left out: {kind}: {why}"));
    }
    say(&format!("seed {}; again: {}", options.seed, options.again()));
    assert!(!kinds.is_empty(), "no fault is left");
    let directory = directory();
    let mut command = machine.command(&env::current_exe().expect("this program"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).stdin(Stdio::null()).process_group(0);
    Options { faults: Some(kinds), ..options.clone() }.hand_to(&mut command);
    command.env(DIRECTORY, &directory).env(ABLE, machine.able());
    let operations = u64::try_from(options.operations).expect("a count");
    let bound = Duration::from_secs(options.at_most + operations / JUDGED_PER_SECOND) + AFTERWARDS;
    let ended = Group(command.spawn().expect("start the run")).wait(bound).await;
    let why = fs::read_to_string(directory.join(PANICS)).unwrap_or_default();
    // Disks and processes may take a moment to be gone.
    eventually("nothing is left", async || left_over(&directory).is_empty().then_some(())).await;
    let passed = matches!(ended, Ended::Itself(status) if status.success());
    if (passed || matches!(ended, Ended::Asked)) && !options.keep {
        fs::remove_dir_all(&directory).expect("remove what the run leaves");
    } else {
        say(&format!("logs and data: {} (mount -o loop …/diskN.ext4 for the data)", directory.display()));
    }
    assert!(passed, "{why}{ended}; seed {}; again: {}", options.seed, options.again());
}

/// Has every panic of this process noted in the directory of the run, to be told at the very end again:
/// there may be much between the two.
pub fn note_panics() {
    let path = Path::new(&env::var(DIRECTORY).expect("it is started by another test")).join(PANICS);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        hook(info);
        // It has been said already, and a panic in here would end the process before it has cleaned up.
        let file = File::options().create(true).append(true).open(&path);
        drop(file.and_then(|mut file| writeln!(file, "{info}")));
    }));
}

/// A process group that ends with its owner.
struct Group(Child);

impl Group {
    async fn wait(mut self, bound: Duration) -> Ended {
        const LOOK: Duration = Duration::from_millis(100);
        let deadline = Instant::now() + bound;
        let mut interrupt = signal(SignalKind::interrupt()).expect("listen for signals");
        let mut terminate = signal(SignalKind::terminate()).expect("listen for signals");
        loop {
            if let Some(status) = self.0.try_wait().expect("look at a child") {
                return Ended::Itself(status);
            }
            if Instant::now() > deadline {
                return Ended::Bound;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = interrupt.recv() => return Ended::Asked,
                _ = terminate.recv() => return Ended::Asked,
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also when it has ended: without namespaces of its own it may have left nodes behind.
        let line = format!("kill -KILL -{} 2>/dev/null", self.0.id());
        drop(Command::new("sh").args(["-c", &line]).status());
        drop(self.0.wait());
    }
}

fn directory() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}", std::process::id()));
    fs::create_dir_all(&path).expect("a directory for the run");
    path
}

/// Processes that have to do with a directory, and disks that lie in it.
fn left_over(directory: &Path) -> Vec<String> {
    let name = directory.to_str().expect("UTF-8");
    let says =
        |path: PathBuf| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(name));
    let list = |folder: &str, file: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| says(path.join(file))).collect::<Vec<_>>()
    };
    let found = list("/proc", "cmdline").into_iter().chain(list("/sys/block", "loop/backing_file"));
    let own = Path::new("/proc").join(std::process::id().to_string());
    found.filter(|path| *path != own).map(|path| path.display().to_string()).collect()
}
