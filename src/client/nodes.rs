//! The nodes a client may talk to: their addresses, their cached channels, and which one is asked
//! next.
//!
//! Knows nothing of what is sent over a channel or why a node failed.

use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tonic::transport::Channel;
use tonic::transport::Endpoint;

use super::ClientError;

/// How much a rejection may take of the headers it travels in. Nodes keep it far smaller.
const HEADER_BYTES: u32 = 64 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that lost its peer without a word is found out within these two together, even
/// while nothing is asked over it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How much of a watch may lie here unread.
const WATCH_BYTES: u32 = 1 << 20;

/// The largest window of HTTP/2.
const MOST_WINDOW_BYTES: u32 = (1 << 31) - 1;

#[derive(Debug)]
pub(super) struct Nodes {
    all: Vec<Node>,
    current: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    address: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Connects at first use: a channel needs a running runtime, a `Client` does not.
    Lazy {
        settings: Box<Endpoint>,
        calls: OnceLock<Channel>,
        watches: OnceLock<Channel>,
    },
    Made(Channel),
}

impl Nodes {
    pub(super) fn new(endpoints: &[String]) -> Result<Self, ClientError> {
        let node = |text: &String| {
            let address = text.trim().to_owned();
            let settings = Box::new(channel_settings(&address)?);
            let way = Way::Lazy { settings, calls: OnceLock::new(), watches: OnceLock::new() };
            Ok(Node { address, way })
        };
        Self::of(endpoints.iter().map(node).collect::<Result<_, _>>()?)
    }

    pub(super) fn from_channels(channels: Vec<(String, Channel)>) -> Result<Self, ClientError> {
        let node = |(address, channel)| Node { address, way: Way::Made(channel) };
        Self::of(channels.into_iter().map(node).collect())
    }

    fn of(all: Vec<Node>) -> Result<Self, ClientError> {
        if all.is_empty() {
            return Err(invalid("", "there is no node to talk to: give at least one host:port"));
        }
        Ok(Self { all, current: AtomicUsize::new(0) })
    }

    /// The number of the node to ask.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    pub(super) fn address(&self, number: usize) -> &str {
        &self.all[number].address
    }

    /// The channel to a node. It connects by itself, again after each loss.
    pub(super) fn channel(&self, number: usize) -> Channel {
        match &self.all[number].way {
            Way::Lazy { settings, calls, .. } => calls.get_or_init(|| settings.connect_lazy()).clone(),
            Way::Made(channel) => channel.clone(),
        }
    }

    /// The channel to a node for watches. A connection has room for so many bytes that nobody has taken
    /// yet: on one of their own, with room for all of them, watches that are not read hold up neither
    /// each other nor any call.
    pub(super) fn channel_for_watches(&self, number: usize) -> Channel {
        match &self.all[number].way {
            Way::Lazy { settings, watches, .. } => {
                let settings = settings.as_ref().clone();
                let connect = || {
                    settings
                        .initial_stream_window_size(WATCH_BYTES)
                        .initial_connection_window_size(MOST_WINDOW_BYTES)
                        .connect_lazy()
                };
                watches.get_or_init(connect).clone()
            }
            Way::Made(channel) => channel.clone(),
        }
    }

    /// Turns to the next node, unless another call already turned away from this one.
    pub(super) fn turn_from(&self, number: usize) {
        let next = (number + 1) % self.all.len();
        // Losing this race is fine: then somebody else has made the choice.
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// How a client connects to the node at `address` (`host:port`).
///
/// # Errors
///
/// [`ClientError::Invalid`] when the address is not `host:port`.
pub fn channel_settings(address: &str) -> Result<Endpoint, ClientError> {
    let form = "write host:port, for example 127.0.0.1:7101 or [::1]:7101";
    if address.contains("://") {
        return Err(invalid(address, &format!("it has a scheme: {form}")));
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(invalid(address, &format!("the port is missing: {form}")));
    };
    if host.is_empty() {
        return Err(invalid(address, &format!("the host is missing: {form}")));
    }
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(invalid(address, &format!("{port:?} is not a port from 1 to 65535: {form}")));
    }
    // With a user name, a path or a bare IPv6 address this would still be a URI, and another one
    // than meant.
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(['/', '@', '?', '#', ' ']) || (host.contains(':') && !bracketed) {
        return Err(invalid(address, &format!("{host:?} is not a host: {form}")));
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| invalid(address, &format!("{error}: {form}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_max_header_list_size(HEADER_BYTES)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

fn invalid(text: &str, problem: &str) -> ClientError {
    ClientError::Invalid { what: "endpoint".to_owned(), text: text.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7101", "localhost:1", "[::1]:7101", "node-1.example.org:65535"] {
            assert!(channel_settings(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_malformed_endpoint_is_refused_with_what_is_wrong() {
        let cases = [
            ("localhost", "the port is missing"),
            (":7101", "the host is missing"),
            ("localhost:0", "not a port"),
            ("localhost:99999", "not a port"),
            ("localhost:x", "not a port"),
            ("http://localhost:7101", "a scheme"),
            ("::1:7101", "not a host"),
            ("me@localhost:7101", "not a host"),
            ("a/b:7101", "not a host"),
        ];
        for (bad, problem) in cases {
            let message = channel_settings(bad).expect_err(bad).to_string();
            assert!(message.contains(problem) && message.contains("host:port"), "{message}");
        }
        assert!(Nodes::new(&[]).is_err());
    }

    #[test]
    fn turning_away_twice_from_the_same_node_skips_no_other() {
        let nodes = Nodes::new(&["a:1".into(), "b:1".into(), "c:1".into()]).expect("three nodes");
        nodes.turn_from(0);
        nodes.turn_from(0);
        assert_eq!(nodes.current(), 1);
        nodes.turn_from(1);
        nodes.turn_from(2);
        assert_eq!(nodes.current(), 0);
    }
}
