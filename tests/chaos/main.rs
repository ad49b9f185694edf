//! Faults on real processes, under work, with every answer judged. See README.md.
//!
//! | file | subject |
//! |---|---|
//! | `machine` | what this machine can do, and the process that a run lives in |
//! | `options` | what a run is asked to do |
//! | `run` | from the first fault to the verdict |
//! | `kind`, `faults` | the kinds of fault; how each is made |
//! | `arena` | what all of them have in common |
//! | `ground`, `network`, `slow`, `damage` | disks, cables, delay, broken files |
//! | `work`, `reads` | the clients, and what readers were told |
//! | `gaps` | for how long nothing was granted |
//! | `tampered` | shows that the judge sees what is wrong |

mod arena;
mod damage;
mod faults;
mod gaps;
mod ground;
mod kind;
mod machine;
mod network;
mod options;
mod reads;
mod run;
mod slow;
mod tampered;
mod work;

// Shared with tests/cluster, which uses more of them.
#[path = "../cluster/behind.rs"]
#[allow(dead_code)]
mod behind;
#[path = "../cluster/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../cluster/history.rs"]
#[allow(dead_code)]
mod history;
#[path = "../cluster/load.rs"]
#[allow(dead_code)]
mod load;
#[path = "../cluster/witness.rs"]
mod witness;

use std::env;

use crate::machine::run_apart;
use crate::options::Options;

/// The test that `run_apart` runs in a process of its own.
const INSIDE: &str = "inside";

#[tokio::test]
async fn nothing_is_lost_or_done_twice_while_each_kind_of_fault_happens() {
    run_apart(&Options::of(60, std::process::id().into()), INSIDE).await;
}

/// What `scripts/chaos.sh` runs.
#[tokio::test]
#[ignore = "as long as the environment says; run scripts/chaos.sh"]
async fn chaos() {
    run_apart(&Options::from_environment(), INSIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the others"]
async fn inside() {
    if env::var(machine::DIRECTORY).is_err() {
        println!("nothing to do: it was not started by another test");
        return;
    }
    machine::note_panics();
    let options = Options::from_environment();
    run::run(&options).await;
}
