//! Beats at an even pace, far closer to each other than the timers of the runtime can tell apart.

use std::time::Duration;

/// The shortest time between two beats: each costs a few microseconds.
const SHORTEST: Duration = Duration::from_micros(100);

/// The longest, so that nobody waits long for the end.
const LONGEST: Duration = Duration::from_millis(100);

/// Beats until it is dropped.
#[derive(Debug)]
pub(super) struct Pulse(imp::Timer);

impl Pulse {
    /// As many per second, within what is sensible.
    pub(super) fn new(per_second: f64) -> std::io::Result<Self> {
        let period = Duration::from_secs_f64(1.0 / per_second).clamp(SHORTEST, LONGEST);
        imp::Timer::new(period).map(Self)
    }

    /// Waits for the next beat.
    pub(super) async fn beat(&mut self) -> std::io::Result<()> {
        self.0.expired().await
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::Itimerspec;
    use rustix::time::TimerfdClockId;
    use rustix::time::TimerfdFlags;
    use rustix::time::TimerfdTimerFlags;
    use rustix::time::Timespec;
    use rustix::time::timerfd_create;
    use rustix::time::timerfd_settime;
    use tokio::io::unix::AsyncFd;

    /// A timer of the kernel.
    #[derive(Debug)]
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new(period: Duration) -> io::Result<Self> {
            let timer =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            let nanoseconds = period.subsec_nanos();
            let period = Timespec { tv_sec: 0, tv_nsec: nanoseconds.into() };
            let beats = Itimerspec { it_interval: period, it_value: period };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &beats)?;
            // What is unsound with some types is not with a file descriptor that the system made, and what
            // is to be called instead is unsafe.
            #[allow(deprecated)]
            AsyncFd::new(timer).map(Self)
        }

        pub(super) async fn expired(&mut self) -> io::Result<()> {
            loop {
                let mut ready = self.0.readable().await?;
                let mut count = [0; 8];
                // Reading says how often it expired meanwhile, and takes it back.
                if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut count)?)) {
                    return read.map(|_| ());
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::time::Duration;

    /// Beats of a millisecond at best.
    #[derive(Debug)]
    pub(super) struct Timer(tokio::time::Interval);

    impl Timer {
        pub(super) fn new(period: Duration) -> io::Result<Self> {
            Ok(Self(tokio::time::interval(period)))
        }

        pub(super) async fn expired(&mut self) -> io::Result<()> {
            self.0.tick().await;
            Ok(())
        }
    }
}
