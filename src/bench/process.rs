//! What processes of this machine take, as the kernel counts it, and which process listens where.
//!
//! Everything here answers with nothing where it cannot be known: on another system than Linux, for
//! a process of somebody else, or for an address of another machine.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

/// What a process takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the processors, by itself and by the kernel for it.
    pub cpu: Duration,
    /// What it had the disk write, in bytes. None when the kernel does not say.
    pub written: Option<u64>,
    /// The most memory that was resident since the process began, in bytes.
    pub peak_memory: u64,
    /// The memory that is resident, in bytes.
    pub memory: u64,
}

impl Usage {
    /// What a process has taken so far.
    pub fn of(pid: u32) -> Option<Self> {
        let folder = format!("/proc/{pid}");
        let cpu = cpu(&fs::read_to_string(format!("{folder}/stat")).ok()?)?;
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let written = fs::read_to_string(format!("{folder}/io")).ok();
        let written = written.and_then(|io| number(&io, "write_bytes:"));
        let kilobytes = |name| number(&status, name).map(|kilobytes| kilobytes * 1024);
        Some(Self { cpu, written, peak_memory: kilobytes("VmHWM:")?, memory: kilobytes("VmRSS:")? })
    }

    /// What was taken since `earlier`; memory as it is now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let written = self.written.zip(earlier.written);
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written: written.map(|(now, then)| now.saturating_sub(then)),
            ..self
        }
    }
}

/// Time in user and kernel mode out of /proc/PID/stat.
fn cpu(stat: &str) -> Option<Duration> {
    // The name of the program stands in parentheses, and may have any in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    // A tick is a hundredth of a second on every Linux that user programs see.
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// The process that listens at an address of this machine.
pub(super) fn listener_at(address: &str) -> Option<u32> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_here {
        return None;
    }
    let port = port.parse().ok()?;
    let sockets =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inode = sockets.iter().find_map(|table| listening_inode(table, port))?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
    })
}

/// The socket that listens at a port, out of /proc/net/tcp.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTENING: &str = "0A";
    let end = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&end) && *fields.get(3)? == LISTENING;
        is_it.then(|| fields.get(9).copied())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "17 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("17 (a"), None);
    }

    #[test]
    fn this_process_takes_something_and_what_it_took_is_no_less_later() {
        let first = Usage::of(std::process::id()).expect("it runs");
        assert!(first.peak_memory >= first.memory && first.memory > 0);
        let later = Usage::of(std::process::id()).expect("it runs").since(first);
        assert!(later.memory > 0);
    }

    #[test]
    fn only_who_listens_is_found_at_a_port() {
        let table = "  sl  local_address rem_address   st tx rx tr tm retr uid timeout inode\n   \
            0: 0100007F:1BBD 0100007F:D431 01 00000000:00000000 00:00000000 00000000 0 0 11 1\n   \
            1: 0100007F:1BBD 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12 1\n";
        assert_eq!(listening_inode(table, 7101), Some("12"));
        assert_eq!(listening_inode(table, 7102), None);
    }

    #[test]
    fn the_process_behind_a_port_is_this_one() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound").to_string();
        assert_eq!(listener_at(&address), Some(std::process::id()));
        assert_eq!(listener_at("192.0.2.1:80"), None);
    }
}
