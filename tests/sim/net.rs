//! What a node takes from the outside world, made of turmoil's time and sockets and of seeds.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use hyper_util::rt::TokioIo;
use quorate::client::channel_settings;
use quorate::clock::Clock;
use quorate::net::Connection;
use quorate::net::Listener;
use quorate::net::Net;
use quorate::rng::Rng;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tonic::transport::Channel;
use turmoil::net::TcpListener;
use turmoil::net::TcpStream;

use crate::cluster::member;

type NetFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Sockets of the simulated host on which they are used.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedNet;

impl Net for SimulatedNet {
    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Listener>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(SimulatedListener(listener)) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Connection> {
        Box::pin(async move { Ok(Connection::new(TcpStream::connect(address).await?)) })
    }
}

struct SimulatedListener(TcpListener);

impl Listener for SimulatedListener {
    fn accept(&mut self) -> NetFuture<'_, Connection> {
        Box::pin(async move {
            let (stream, _) = self.0.accept().await?;
            Ok(Connection::new(stream))
        })
    }

    fn address(&self) -> io::Result<String> {
        Ok(self.0.local_addr()?.to_string())
    }
}

/// Where clients reach these nodes: addresses, and channels that connect when they are used.
pub fn channels(nodes: &[usize]) -> Vec<(String, Channel)> {
    nodes.iter().map(|node| member(*node).client_address).map(|it| (it.clone(), channel(it))).collect()
}

fn channel(address: String) -> Channel {
    let settings = channel_settings(&address).expect("an address of a simulated node");
    settings.connect_with_connector_lazy(tower::service_fn(move |_: tonic::transport::Uri| {
        let address = address.clone();
        async move { SimulatedNet.connect(&address).await.map(TokioIo::new) }
    }))
}

/// The time of day of a node, wrong by as much as it was set wrong. It goes on while the node is
/// down.
#[derive(Debug, Default)]
pub struct SettableClock {
    error_ms: AtomicI64,
}

impl SettableClock {
    /// Sets it to so much ahead of the real time, or behind.
    pub fn set(&self, error_ms: i64) {
        self.error_ms.store(error_ms, Ordering::Relaxed);
    }
}

impl Clock for SettableClock {
    fn now_ms(&self) -> u64 {
        let now = turmoil::since_epoch().expect("a clock is read by a simulated host");
        let now = u64::try_from(now.as_millis()).expect("not that far in the future");
        now.saturating_add_signed(self.error_ms.load(Ordering::Relaxed))
    }
}

/// Randomness that follows from a seed.
pub struct SeededRng(Mutex<SmallRng>);

impl SeededRng {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        self.0.lock().expect("nothing panics while it holds the generator").next_u64()
    }
}
