//! The seam where sockets plug in: tokio's in production, simulated ones in the simulation.
//!
//! Knows nothing of gRPC beyond what tonic asks of a connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

type NetFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// What a stream of bytes in both directions can do.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// One connection, whatever carries it.
pub struct Connection(Box<dyn Stream>);

impl Connection {
    /// Wraps a stream.
    pub fn new(stream: impl Stream) -> Self {
        Self(Box::new(stream))
    }
}

/// Makes and takes connections. Addresses are `host:port`.
pub trait Net: Send + Sync + 'static {
    /// Listens on an address.
    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Listener>>;

    /// Connects to an address. The caller sets the deadline.
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Connection>;
}

/// Takes connections.
pub trait Listener: Send + 'static {
    /// The next connection. An error concerns one connection; the listener goes on.
    fn accept(&mut self) -> NetFuture<'_, Connection>;

    /// Where it really listens, `host:port`: tells the port when port 0 was asked for.
    fn address(&self) -> io::Result<String>;
}

/// TCP by tokio, without Nagle's delay on both sides.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNet;

impl Net for TcpNet {
    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Listener>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Listener>) })
    }

    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Connection> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::new(stream))
        })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> NetFuture<'_, Connection> {
        Box::pin(async move {
            let (stream, _) = TcpListener::accept(self).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::new(stream))
        })
    }

    fn address(&self) -> io::Result<String> {
        Ok(self.local_addr()?.to_string())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
