//! The network between the nodes: a host for each, with this process on the router between them.
//!
//! Rules stand where the router passes packets on, so they concern what nodes say to each other and
//! not what clients say to nodes: a leader that hears none of the others still hears its clients.

use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::ground::SEATS;
use crate::ground::run;
use crate::harness::PEER_PORT;
use crate::slow::Slow;

/// On the router: where what is said to the node of a seat is held up.
const SLOW_PORT: u16 = 9000;

#[derive(Debug)]
pub struct Network {
    slow: Option<Slow>,
}

impl Network {
    /// Lays the cables. `/run/netns` and the network of this process are its own.
    pub fn lay() -> Self {
        run("mkdir -p /run/netns; mount -t tmpfs none /run/netns
             echo 1 >/proc/sys/net/ipv4/ip_forward");
        for at in 0..SEATS {
            let host = Self::host(at);
            run(&format!(
                "ip netns add seat{at}
                 ip link add to-seat{at} type veth peer name out netns seat{at}
                 ip addr add 10.77.{at}.1/24 dev to-seat{at}
                 ip link set to-seat{at} up
                 ip -n seat{at} addr add {host}/24 dev out
                 ip -n seat{at} link set lo up
                 ip -n seat{at} link set out up
                 ip -n seat{at} route add default via 10.77.{at}.1"
            ));
        }
        nft("table inet chaos {
                 chain between { type filter hook forward priority 0; }
                 chain detour { type nat hook prerouting priority dstnat; }
             }");
        Self { slow: None }
    }

    pub fn host(at: usize) -> String {
        format!("10.77.{at}.2")
    }

    /// The words that take a program to the host of a seat.
    pub fn way(at: usize) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/seat{at}")]
    }

    /// From here on nothing gets from the first to the second of each pair.
    pub fn cut(&self, pairs: &[(usize, usize)]) {
        for (from, to) in pairs {
            let (from, to) = (Self::host(*from), Self::host(*to));
            nft(&format!("add rule inet chaos between ip saddr {from} ip daddr {to} counter drop"));
        }
    }

    /// Loses so many of a hundred packets.
    pub fn lose(&self, percent: u32) {
        nft(&format!("add rule inet chaos between numgen random mod 100 < {percent} counter drop"));
    }

    /// Holds up everything that nodes say to each other, each way. Connections that are there are
    /// refused, and the next ones go by way of the router.
    pub async fn slow_down(&mut self, delay: Duration) {
        let nodes: Vec<_> = (0..SEATS).map(|at| format!("{}:{PEER_PORT}", Self::host(at))).collect();
        self.slow = Some(Slow::start(SLOW_PORT, nodes, delay).await);
        for at in 0..SEATS {
            let (host, port) = (Self::host(at), SLOW_PORT + u16::try_from(at).expect("few seats"));
            nft(&format!(
                "add rule inet chaos detour ip saddr 10.77.0.0/16 ip daddr {host} \
                 tcp dport {PEER_PORT} counter redirect to :{port}
                 add rule inet chaos between ip daddr {host} tcp dport {PEER_PORT} counter reject with tcp reset"
            ));
        }
    }

    /// All is well again. Returns how many packets met a rule, or pieces were held up: none would mean
    /// that there was no fault.
    pub fn mend(&mut self) -> u64 {
        let rules = run("nft list chain inet chaos between");
        nft("flush chain inet chaos between\nflush chain inet chaos detour");
        match self.slow.take() {
            Some(slow) => slow.stop(),
            None => packets(&rules),
        }
    }
}

/// The sum of the counters in a list of rules.
fn packets(rules: &str) -> u64 {
    let counts = rules.split("counter packets ").skip(1);
    counts
        .map(|rest| rest.split(' ').next().and_then(|word| word.parse::<u64>().ok()).expect("a count"))
        .sum()
}

fn nft(rules: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run nft");
    child.stdin.take().expect("it is piped").write_all(rules.as_bytes()).expect("write rules");
    let output = child.wait_with_output().expect("wait for nft");
    assert!(output.status.success(), "{rules}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_packets_of_all_rules_count() {
    let rules = "ip saddr 10.77.0.2 counter packets 12 bytes 700 drop\n counter packets 3 bytes 9 drop";
    assert_eq!(packets(rules), 15);
    assert_eq!(packets("chain between { }"), 0);
}
