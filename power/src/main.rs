//! A node for which the end of its process is a loss of power: what RocksDB has written and not synced is gone.
//! `scripts/chaos.sh --power` runs it in the place of the program.
//!
//! Only `quorate start` is here. What is written without RocksDB (which generation of the state is live, the
//! files of a snapshot that is received) is on files of the operating system, which outlive the process.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use quorate::cli;
use quorate::cli::Command;
use quorate::clock::SystemClock;
use quorate::config;
use quorate::net::TcpNet;
use quorate::rng::SystemRng;
use quorate::server;
use quorate::store::rocks::RocksStore;
use quorate::telemetry;
use rocksdb::Env;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

unsafe extern "C" {
    /// Of `files.cc`.
    fn quorate_files_that_forget() -> *mut librocksdb_sys::rocksdb_env_t;
}

/// Files that forget what was not synced.
fn files_that_forget() -> Env {
    // SAFETY: it is new, of RocksDB's own form, and nobody else has it.
    unsafe { Env::from_raw(quorate_files_that_forget()) }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // There is nowhere left to say it when this cannot be written.
            drop(writeln!(std::io::stderr(), "error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (_, Command::Start(arguments)) = cli::parse() else {
        return Err("this program has one verb: start".to_owned());
    };
    let config = config::load(&arguments).map_err(|error| error.to_string())?;
    telemetry::init(&config.log).map_err(|error| error.to_string())?;
    // A broken invariant ends the process, as in the program.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let parts = server::Parts {
        store: Box::new(RocksStore::new(config.data_dir.clone()).on_files(files_that_forget())),
        clock: Arc::new(SystemClock),
        net: Arc::new(TcpNet),
        rng: Arc::new(SystemRng),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().disable_lifo_slot().enable_all().build();
    let runtime = runtime.map_err(|error| format!("start the runtime: {error}"))?;
    // It is always killed.
    let served = runtime.block_on(server::run(config, parts, std::future::pending()));
    served.map_err(|error| error.to_string())
}

/// Otherwise a run on such nodes would show nothing.
#[test]
fn what_was_not_synced_is_gone_when_the_files_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_env(&files_that_forget());
    let db = rocksdb::DB::open(&options, folder.path()).expect("it opens");
    let mut synced = rocksdb::WriteOptions::default();
    synced.set_sync(true);
    db.put_opt("synced", "1", &synced).expect("it is written");
    db.put("not synced", "1").expect("it is written");
    assert!(db.get("not synced").expect("it can be read").is_some());
    drop(db);
    let db = rocksdb::DB::open_default(folder.path()).expect("it opens again");
    assert!(db.get("synced").expect("it can be read").is_some());
    assert!(db.get("not synced").expect("it can be read").is_none());
}
