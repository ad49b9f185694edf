//! The trace of a run: every message on the simulated network, what the nodes log, what clients
//! were told and what was done to the cluster, each with the simulated time.
//!
//! Two runs of one seed are the same run when their traces are the same bytes.

use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Once;
use std::time::Duration;

use tracing::Event;
use tracing::Level;
use tracing::Subscriber;
use tracing::field::Field;
use tracing::field::Visit;
use tracing::span::Attributes;
use tracing::span::Id;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::sweep::TRACE;

/// How much of the trace is shown when a run fails.
const TAIL_LINES: usize = 80;

thread_local! {
    static LINES: RefCell<String> = const { RefCell::new(String::new()) };
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static HOST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Where the environment wants the trace to be written.
pub fn wanted_at() -> Option<String> {
    std::env::var(TRACE).ok().filter(|path| !path.is_empty())
}

/// Collects what is logged on this thread, until the guard is dropped: `messages` too, or only the rest,
/// when nobody will look at the trace of a run that passes. A panic of a simulated node ends the process:
/// the runtime of the node would only end the task.
pub fn begin(seed: u64, messages: bool) -> tracing::subscriber::DefaultGuard {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        let simulating = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            // Other tests of this process fail as tests do.
            if std::thread::current().id() != simulating {
                return;
            }
            eprintln!("seed {seed}; the end of its trace:\n{}", tail());
            std::process::exit(101);
        }));
    });
    let targets = Targets::new()
        .with_target("turmoil", if messages { Level::TRACE } else { Level::INFO })
        .with_target("quorate", Level::DEBUG)
        // What else the engine tells has instants of the machine's clock in it. It does not decide
        // by them: they move with simulated time.
        .with_target("openraft", Level::WARN)
        // Those are in its warnings, too.
        .with_target("openraft::core::heartbeat", LevelFilter::OFF)
        .with_target("openraft::engine::handler::server_state_handler", Level::INFO);
    tracing::subscriber::set_default(tracing_subscriber::registry().with(Collect.with_filter(targets)))
}

/// The simulated time of the lines that follow.
pub fn set_now(now: Duration) {
    NOW.set(now);
}

/// Adds a line.
pub fn line(text: fmt::Arguments<'_>) {
    LINES.with_borrow_mut(|lines| {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{:>8} {text}", NOW.get().as_millis());
    });
}

/// Everything so far.
pub fn take() -> String {
    LINES.take()
}

/// The last lines that are not messages on the network.
pub fn tail() -> String {
    LINES.with_borrow(|lines| {
        let mut last: Vec<&str> =
            lines.lines().rev().filter(|line| !line.contains("protocol=")).take(TAIL_LINES).collect();
        last.reverse();
        last.join("\n")
    })
}

struct Collect;

impl<S: Subscriber> Layer<S> for Collect {
    /// Turmoil opens a span for the host that it lets run next.
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().target().starts_with("turmoil") {
            let mut name = Fields::default();
            attributes.record(&mut name);
            HOST.set(name.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if !fields.0.starts_with(" step ") {
            let host = HOST.with_borrow(String::clone);
            line(format_args!("{host} {}{}", event.metadata().target(), fields.0));
        }
    }
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let result = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            "protocol" => {
                // The payload is not part of the trace: it has the date of the real world in it.
                let mut start = Start(String::new());
                // It stops the writing by failing when it has enough.
                let _ = write!(start, "{value:?}");
                write!(self.0, " protocol={}", start.0)
            }
            name => write!(self.0, " {name}={value:?}"),
        };
        result.expect("writing to a string does not fail");
    }
}

/// The first word or two of what is written to it.
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.split_once('[') {
            Some((start, _)) => {
                self.0.push_str(start);
                Err(fmt::Error)
            }
            None => {
                self.0.push_str(text);
                Ok(())
            }
        }
    }
}
