//! The clocks of the machine, stopped: what a run does must not follow from when or how fast it runs.
//!
//! Quorate's own code asks the clock of its simulated host, and tokio's time is simulated. Libraries below
//! ask the machine: h2 for how long it remembers a stream that was reset, hyper for the date in each
//! answer, whose length on the wire follows from its digits. So this program has a `clock_gettime` of its
//! own, which the standard library finds before that of libc. On a thread that holds the clocks it tells
//! the time of the simulation, on all others that of the machine.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::Timespec;

/// The moment at which all clocks of a held thread begin, after both the Unix epoch and the start of any
/// machine.
const BEGIN: Duration = Duration::from_secs(1_767_225_600);

thread_local! {
    static HELD_AT: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// While it lives, the clocks of this thread stand where they are set.
pub struct Held(());

impl Held {
    /// Lets the clocks of this thread begin.
    pub fn begin() -> Self {
        let held = Self(());
        held.set(Duration::ZERO);
        held
    }

    /// Sets all clocks of this thread: so long after the beginning.
    pub fn set(&self, elapsed: Duration) {
        HELD_AT.set(Some(BEGIN + elapsed));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD_AT.set(None);
    }
}

/// What `clock_gettime(3)` is.
///
/// # Safety
///
/// `time` points to where a `timespec` can be written.
#[allow(unsafe_code)] // The only way to stand where libc does.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    let now = match HELD_AT.get() {
        Some(now) => Timespec::try_from(now).ok(),
        // Not through libc: that would be this function.
        None => ClockId::try_from(clock).ok().map(rustix::time::clock_gettime),
    };
    let Some(now) = now else { return -1 };
    // SAFETY: the caller says so.
    unsafe { time.write(now) };
    0
}

#[test]
#[allow(clippy::disallowed_methods)] // It is about these clocks.
fn clocks_stand_while_they_are_held_and_only_here() {
    use std::time::Instant;
    use std::time::SystemTime;

    let before = Instant::now();
    let held = Held::begin();
    held.set(Duration::from_millis(1_500));
    let (instant, time) = (Instant::now(), SystemTime::now());
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).expect("after the epoch");
    assert_eq!(since_epoch, BEGIN + Duration::from_millis(1_500));
    let elsewhere = std::thread::spawn(SystemTime::now).join().expect("a time");
    assert_ne!(elsewhere, time);
    held.set(Duration::from_millis(2_500));
    assert_eq!(instant.elapsed(), Duration::from_secs(1));
    drop(held);
    assert!(Instant::now() >= before && SystemTime::now() >= elsewhere);
}
