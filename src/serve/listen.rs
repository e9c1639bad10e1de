//! Sockets and connections.
//!
//! axum's and hyper's own loops leave a connection open that says nothing, or half a head; here each has a clock that is looked at
//! once a second.

use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::serve::record::ClientAddress;
use crate::serve::state::App;
use crate::serve::tls::TlsFiles;
use crate::{Error, Result};

/// A head has so long from its first byte, or from the connection's beginning.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A connection without a request is closed after so long: more than what clients' pools keep them.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// A client that takes nothing of its answer for so long is left.
const WRITE_TIME: Duration = Duration::from_secs(60);
const CLOCK_TICK: Duration = Duration::from_secs(1);

const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Connections that wait to be taken. Where there is no place, a client asks again after a second, and after two more.
const BACKLOG: u32 = 4096;
/// Connections beyond the limit that are told so at a time; others are closed without a word.
const MAX_REFUSALS: usize = 64;
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    content-length: 55\r\nconnection: close\r\n\r\n{\"error\":\"too many connections; try again in a second\"}";

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

pub(super) struct Listener {
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

enum Socket {
    Tcp(TcpListener, SocketAddr),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

/// What a connection waits for, and since when: milliseconds since `start`, plus one; 0 for nothing.
struct ConnectionClock {
    start: Instant,
    /// Whether a request is being answered.
    answering: AtomicBool,
    head_since: AtomicU64,
    write_since: AtomicU64,
}

/// A connection whose reads and writes set its clock.
struct Clocked<S> {
    stream: S,
    clock: Arc<ConnectionClock>,
}

impl Address {
    pub(super) fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Within a runtime.
    pub(super) fn bind(address: &Address, tls: Option<&TlsFiles>) -> Result<Self> {
        // Before the socket: a file that cannot be read leaves nothing behind.
        let tls = tls.map(TlsFiles::acceptor).transpose()?;
        Ok(Self { socket: Socket::bind(address)?, tls })
    }

    pub(super) fn address(&self) -> Address {
        self.socket.address()
    }

    /// Answers connections until `ending` says so and the last one is done.
    pub(super) async fn serve(self, router: Router, app: App, mut ending: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(app.limits.max_connections));
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        // Closed when the last connection has dropped its end.
        let (open, mut all_closed) = mpsc::channel::<()>(1);
        loop {
            let accepted: io::Result<(Box<dyn Stream>, Option<IpAddr>)> = tokio::select! {
                _ = ending.changed() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                // No descriptor is free, or the client has gone: the next one may do.
                Err(_) => {
                    sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let (router, ending, open, tls) = (router.clone(), ending.clone(), open.clone(), self.tls.clone());
                    let app = app.clone();
                    app.counts().connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        match tls {
                            None => converse(stream, client, router, ending).await,
                            // A client that does not shake hands in time, or badly, gets no answer: it could not read one.
                            Some(tls) => {
                                if let Ok(Ok(stream)) = timeout(HEAD_TIME, tls.accept(stream)).await {
                                    converse(Box::new(stream), client, router, ending).await;
                                }
                            }
                        }
                        app.counts().connections.fetch_sub(1, Ordering::Relaxed);
                        drop((place, open));
                    });
                }
                Err(_) => {
                    app.counts().refused_connections.fetch_add(1, Ordering::Relaxed);
                    if let Ok(place) = refusals.clone().try_acquire_owned() {
                        tokio::spawn(async move {
                            // A client that does not listen is not waited for.
                            let _ = timeout(HEAD_TIME, refuse(stream)).await;
                            drop(place);
                        });
                    }
                }
            }
        }
        #[cfg(unix)]
        if let Socket::Unix(_, path) = &self.socket {
            // Gone already where somebody has removed it.
            let _ = std::fs::remove_file(path);
        }
        drop((self, open));
        all_closed.recv().await;
    }
}

impl Socket {
    fn bind(address: &Address) -> Result<Self> {
        match address {
            Address::Tcp(address) => {
                let failed = |error: io::Error| match error.kind() {
                    io::ErrorKind::AddrInUse => Error::argument(
                        "port",
                        format!("{address} is taken by another process; give another one, or 0"),
                    ),
                    _ => Error::argument("host", format!("cannot listen on {address}: {error}")),
                };
                let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
                let socket = socket.map_err(failed)?;
                // Elsewhere it lets another process take the same port.
                #[cfg(unix)]
                socket.set_reuseaddr(true).map_err(failed)?;
                socket.bind(*address).map_err(failed)?;
                let listener = socket.listen(BACKLOG).map_err(failed)?;
                let own = listener.local_addr().map_err(failed)?;
                Ok(Self::Tcp(listener, own))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                // What a server that was killed left behind: nobody answers there.
                if std::os::unix::net::UnixStream::connect(path)
                    .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
                {
                    std::fs::remove_file(path).map_err(|error| Error::io(path, error))?;
                }
                Ok(Self::Unix(UnixListener::bind(path).map_err(|error| Error::io(path, error))?, path.clone()))
            }
        }
    }

    fn address(&self) -> Address {
        match self {
            Self::Tcp(_, address) => Address::Tcp(*address),
            #[cfg(unix)]
            Self::Unix(_, path) => Address::Unix(path.clone()),
        }
    }

    /// A connection, and the address that it comes from, where it has one.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, client) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Some(client.ip())))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok((Box::new(listener.accept().await?.0), None)),
        }
    }
}

/// What connections are made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn refuse(mut stream: Box<dyn Stream>) {
    // It may have gone.
    if stream.write_all(REFUSAL).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Answers the requests of a connection, one after the other.
async fn converse(stream: Box<dyn Stream>, client: Option<IpAddr>, router: Router, mut ending: watch::Receiver<bool>) {
    let clock = Arc::new(ConnectionClock::new());
    let answer = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(client) = client {
            request.extensions_mut().insert(ClientAddress(client));
        }
        clock.answering.store(true, Ordering::Relaxed);
        clock.head_since.store(0, Ordering::Relaxed);
        let (answer, clock) = (answer.clone(), clock.clone());
        async move {
            let response = answer.call(request.map(Body::new)).await;
            clock.answering.store(false, Ordering::Relaxed);
            response
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIME)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(Clocked { stream, clock: clock.clone() }), service)
    );
    let mut tick = interval(CLOCK_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_ending = false;
    loop {
        tokio::select! {
            // Errors are those of clients that went away, or sent what is no HTTP and were told so.
            _ = connection.as_mut() => return,
            _ = ending.changed(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = tick.tick() => if clock.is_over() { return },
        }
    }
}

impl ConnectionClock {
    /// Of a connection whose first head is to come.
    fn new() -> Self {
        Self {
            start: Instant::now(),
            answering: AtomicBool::new(false),
            head_since: AtomicU64::new(1),
            write_since: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Whether the client has let the server wait for too long.
    fn is_over(&self) -> bool {
        let waits = |since: &AtomicU64, most: Duration| {
            let since = since.load(Ordering::Relaxed);
            since > 0 && u128::from(self.now().saturating_sub(since)) > most.as_millis()
        };
        waits(&self.head_since, HEAD_TIME) || waits(&self.write_since, WRITE_TIME)
    }

    fn has_read(&self) {
        if !self.answering.load(Ordering::Relaxed) {
            // Of the first byte alone.
            let _ = self.head_since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn has_written(&self, is_pending: bool) {
        if is_pending {
            let _ = self.write_since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        } else {
            self.write_since.store(0, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Clocked<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.clock.has_read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Clocked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.clock.has_written(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.clock.has_written(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(REFUSAL).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
    }
}
