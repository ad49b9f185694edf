//! A way that takes its time: connections are passed on, each piece so much later than it came.
//!
//! Pieces keep their order and none is lost, as on a long cable.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many pieces are on the way at most.
const PIECES: usize = 4096;

#[derive(Debug)]
pub struct Slow {
    listeners: JoinSet<()>,
    pieces: Arc<AtomicU64>,
}

impl Slow {
    /// Listens at so many ports from the first on as there are nodes, and passes on to them.
    pub async fn start(first_port: u16, nodes: Vec<String>, delay: Duration) -> Self {
        let mut listeners = JoinSet::new();
        let pieces = Arc::new(AtomicU64::new(0));
        for (port, node) in (first_port..).zip(nodes) {
            let listener = TcpListener::bind(("0.0.0.0", port)).await.expect("a port");
            listeners.spawn(listen(listener, node, delay, Arc::clone(&pieces)));
        }
        Self { listeners, pieces }
    }

    /// Closes all connections. Returns how many pieces were passed on.
    pub fn stop(self) -> u64 {
        drop(self.listeners);
        self.pieces.load(Ordering::Relaxed)
    }
}

async fn listen(listener: TcpListener, node: String, delay: Duration, pieces: Arc<AtomicU64>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.expect("accept a connection");
        // A node that does not take it: the other one sees the connection end.
        let Ok(far) = TcpStream::connect(&node).await else { continue };
        drop((near.set_nodelay(true), far.set_nodelay(true)));
        let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
        pass(&mut connections, from_near, to_far, delay, &pieces);
        pass(&mut connections, from_far, to_near, delay, &pieces);
        while connections.try_join_next().is_some() {}
    }
}

fn pass(
    tasks: &mut JoinSet<()>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    pieces: &Arc<AtomicU64>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let pieces = Arc::clone(pieces);
    tasks.spawn(async move {
        let mut piece = vec![0; 16 << 10];
        // A connection that breaks is one that ends.
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if sender.send((Instant::now() + delay, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tasks.spawn(async move {
        while let Some((due, piece)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
            pieces.fetch_add(1, Ordering::Relaxed);
        }
    });
}

#[tokio::test]
async fn what_goes_in_comes_out_later_and_in_order() {
    let target = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = target.local_addr().expect("an address").to_string();
    let port = crate::harness::Port::find();
    let number = port.address().rsplit(':').next().and_then(|text| text.parse().ok()).expect("a port");
    drop(port);
    let delay = Duration::from_millis(30);
    let slow = Slow::start(number, vec![address], delay).await;
    let mut near = TcpStream::connect(("127.0.0.1", number)).await.expect("connect");
    let (mut far, _) = target.accept().await.expect("accept");
    let begin = Instant::now();
    for piece in [b"one ", b"two "] {
        near.write_all(piece).await.expect("write");
    }
    let mut text = [0; 8];
    far.read_exact(&mut text).await.expect("read");
    assert_eq!(&text, b"one two ");
    // The one bound that holds however slow the machine is.
    assert!(begin.elapsed() >= delay);
    assert!(slow.stop() > 0);
    assert_eq!(near.read(&mut text).await.unwrap_or(0), 0, "the connection is closed");
}
