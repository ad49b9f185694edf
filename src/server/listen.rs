//! Servers and where their connections come from.

use std::io;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use tonic::transport::Server;

use crate::net::Connection;
use crate::net::Listener;
use crate::raft::peers::KEEPALIVE;
use crate::raft::peers::WINDOW_BYTES;

/// Most calls under way on one connection.
const MAX_STREAMS: u32 = 4_096;

/// How long to wait after a connection could not be taken (too many open files, say).
const PAUSE: Duration = Duration::from_millis(50);

/// A server with every default that is open closed: streams, keepalive, windows.
pub(super) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(Some(MAX_STREAMS))
        .http2_keepalive_interval(Some(KEEPALIVE * 4))
        .http2_keepalive_timeout(Some(KEEPALIVE * 4))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
}

/// The connections of a listener, for as long as it lives.
pub(super) fn incoming(listener: Box<dyn Listener>) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold(listener, |mut listener| async move {
        loop {
            match listener.accept().await {
                Ok(connection) => return Some((Ok(connection), listener)),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
}
