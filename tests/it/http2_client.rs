//! What the tests of HTTP/2 share: a client of good will, h2, in clear text and over TLS.

use crate::harness::Server;
use crate::tls_client;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What came back for one request.
#[derive(Debug, Default)]
pub struct Got {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// The stream was reset before its end.
    pub cut: bool,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub type Client = SendRequest<Bytes>;
pub type Ended = tokio::task::JoinHandle<Result<(), h2::Error>>;

/// Runs a client against the server in clear text, on a runtime of its own.
pub fn with_client<F: Future<Output = ()>>(server: &Server, script: impl FnOnce(Client, Ended) -> F) {
    in_time(async {
        let (client, ended) = connect(server.port()).await;
        script(client, ended).await;
    });
}

/// The same over TLS, with this name in the handshake.
pub fn with_tls_client<F: Future<Output = ()>>(
    server: &Server,
    (tls, name): (&tls_client::Client, &str),
    script: impl FnOnce(Client, Ended) -> F,
) {
    in_time(async {
        let (client, ended) = connect_tls(server.port(), tls, name).await;
        script(client, ended).await;
    });
}

/// Runs a script to its end, which must come.
pub fn in_time(script: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let whole = local.run_until(script);
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(40), whole).await }).unwrap();
}

/// A connection in clear text.
pub async fn connect(port: u16) -> (Client, Ended) {
    begin(socket(port).await).await
}

/// One over TLS, with this name in the handshake.
pub async fn connect_tls(port: u16, tls: &tls_client::Client, name: &str) -> (Client, Ended) {
    let mut config = (*tls.0).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    begin(Encrypted { socket: socket(port).await, tls }).await
}

async fn socket(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

async fn begin(socket: impl AsyncRead + AsyncWrite + Unpin + 'static) -> (Client, Ended) {
    let (client, connection) = h2::client::Builder::new().handshake(socket).await.unwrap();
    (client, tokio::task::spawn_local(connection))
}

/// A client's TLS session as a runtime polls it; the handshake is a part of the first write.
struct Encrypted {
    socket: TcpStream,
    tls: ClientConnection,
}

/// A socket that is asked without waiting.
struct Now<'s>(&'s TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encrypted {
    /// Reads and decrypts once; the number of bytes that came.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.tls.read_tls(&mut Now(&self.socket)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
                Ok(bytes) => {
                    self.tls.process_new_packets().map_err(io::Error::other)?;
                    return Poll::Ready(Ok(bytes));
                }
            }
        }
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.tls.write_tls(&mut Now(&self.socket)) {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(e)),
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let _ = self.poll_sent(cx)?;
            match self.tls.reader().read(into.initialize_unfilled()) {
                Ok(bytes) => {
                    into.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.tls.is_handshaking() {
            ready!(self.poll_sent(cx))?;
            if self.tls.is_handshaking() && ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        ready!(self.poll_sent(cx))?;
        let taken = self.tls.writer().write(bytes)?;
        let _ = self.poll_sent(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        self.poll_sent(cx)
    }
}

pub fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap()
}

/// Sends a request with a body, if there is one, and reads the answer to its end.
pub async fn ask(client: &Client, request: Request<()>, body: Option<Vec<u8>>) -> Got {
    let mut client = client.clone().ready().await.unwrap();
    let (answer, mut send) = client.send_request(request, body.is_none()).unwrap();
    if let Some(body) = body {
        tokio::task::spawn_local(async move {
            let mut rest = Bytes::from(body);
            while !rest.is_empty() {
                send.reserve_capacity(rest.len());
                let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                let piece = rest.split_to(room.min(rest.len()));
                if send.send_data(piece, rest.is_empty()).is_err() {
                    return;
                }
            }
        });
    }
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => {
            println!("no answer: {error}");
            return Got { cut: true, ..Got::default() };
        }
    };
    let (head, mut body) = answer.into_parts();
    let mut got = Got { status: head.status.as_u16(), fields: head.headers, ..Got::default() };
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else {
            got.cut = true;
            return got;
        };
        let _ = body.flow_control().release_capacity(piece.len());
        got.body.extend_from_slice(&piece);
    }
    got.trailers = body.trailers().await.unwrap();
    got
}

pub async fn get(client: &Client, path: &str) -> Got {
    ask(client, request("GET", path), None).await
}
