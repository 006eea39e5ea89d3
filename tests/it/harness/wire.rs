//! One end of a connection, on raw sockets, with a record of its bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::WAIT;
use super::message::{Message, find};

/// How much of one send or receive the transcript keeps.
const TRANSCRIPT_BYTES: usize = 2_000;

/// The bytes exchanged, for the report of a failure.
#[derive(Clone, Default)]
pub(super) struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    fn add(&self, label: &str, bytes: &[u8]) {
        let shown = &bytes[..bytes.len().min(TRANSCRIPT_BYTES)];
        let text = format!("{label} ({} bytes)\n{}\n", bytes.len(), String::from_utf8_lossy(shown));
        if let Ok(mut all) = self.0.lock() {
            all.push_str(&text);
        }
    }

    pub(super) fn text(&self) -> String {
        self.0.lock().map(|text| text.clone()).unwrap_or_default()
    }
}

/// One end of a connection: the client's to the server, or an upstream's.
pub struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    label: &'static str,
    transcript: Transcript,
}

pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why no more bytes came.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    /// The peer closed in order.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing came in time.
    Silent,
}

impl Wire {
    pub(super) fn new(socket: Socket, label: &'static str, transcript: Transcript) -> Wire {
        let wire = Wire { socket, buffer: Vec::new(), label, transcript };
        match &wire.socket {
            Socket::Tcp(s) => {
                s.set_nodelay(true).unwrap();
                s.set_write_timeout(Some(WAIT)).unwrap();
            }
            Socket::Unix(s) => s.set_write_timeout(Some(WAIT)).unwrap(),
        }
        wire
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes), "{}: the peer takes no more bytes", self.label);
    }

    /// Sends what the peer takes; false if it has closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.transcript.add(&format!("{} >", self.label), bytes.as_ref());
        match &mut self.socket {
            Socket::Tcp(s) => s.write_all(bytes.as_ref()).is_ok(),
            Socket::Unix(s) => s.write_all(bytes.as_ref()).is_ok(),
        }
    }

    /// The port of this end; 0 on a Unix socket.
    pub fn local_port(&self) -> u16 {
        match &self.socket {
            Socket::Tcp(s) => s.local_addr().unwrap().port(),
            Socket::Unix(_) => 0,
        }
    }

    /// Sends no more.
    pub fn half_close(&self) {
        let _ = match &self.socket {
            Socket::Tcp(s) => s.shutdown(Shutdown::Write),
            Socket::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }

    /// One read into the buffer.
    fn fill(&mut self, wait: Duration) -> Result<(), End> {
        let mut chunk = vec![0; 65_536];
        let got = match &mut self.socket {
            Socket::Tcp(s) => s.set_read_timeout(Some(wait)).and_then(|()| s.read(&mut chunk)),
            Socket::Unix(s) => s.set_read_timeout(Some(wait)).and_then(|()| s.read(&mut chunk)),
        };
        match got {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.transcript.add(&format!("{} <", self.label), &chunk[..count]);
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(End::Silent)
            }
            Err(_) => Err(End::Reset),
        }
    }

    /// What came before the mark, and the mark.
    pub fn take_until(&mut self, mark: &str) -> Result<String, End> {
        loop {
            if let Some(at) = find(&self.buffer, mark.as_bytes()) {
                let taken = self.buffer.drain(..at + mark.len()).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&taken).into_owned());
            }
            self.fill(WAIT)?;
        }
    }

    /// Exactly so many bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < count {
            self.fill(WAIT)?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The response to anything but HEAD, whole.
    pub fn recv(&mut self) -> Message {
        let message = self.response(false);
        assert!(message.complete, "the response was cut: {message:?}");
        message
    }

    /// The response to a HEAD.
    pub fn recv_to_head(&mut self) -> Message {
        self.response(true)
    }

    /// A response that must have been cut short.
    pub fn recv_cut(&mut self) -> Message {
        let message = self.response(false);
        assert!(!message.complete, "the response came whole: {message:?}");
        message
    }

    fn response(&mut self, to_head: bool) -> Message {
        let head = match self.take_until("\r\n\r\n") {
            Ok(head) => head,
            Err(end) => panic!("no response: {end:?} after {:?}", String::from_utf8_lossy(&self.buffer)),
        };
        let mut message = Message::parse(&head);
        let status = message.status();
        if !to_head && status >= 200 && status != 204 && status != 304 {
            self.body(&mut message, true);
        }
        message
    }

    /// A request, whole; nothing if the peer closed or was silent instead.
    pub fn request(&mut self) -> Option<Message> {
        let head = self.take_until("\r\n\r\n").ok()?;
        let mut message = Message::parse(&head);
        self.body(&mut message, false);
        message.complete.then_some(message)
    }

    /// The body that the message's framing announces.
    fn body(&mut self, message: &mut Message, until_close: bool) {
        let length = message.get("content-length").map(|v| v.parse::<usize>().expect("a length"));
        if message.get("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            message.complete = self.chunks(message).is_ok();
        } else if let Some(length) = length {
            while self.buffer.len() < length && self.fill(WAIT).is_ok() {}
            let have = length.min(self.buffer.len());
            message.body = self.buffer.drain(..have).collect();
            message.complete = have == length;
        } else if until_close {
            message.complete = self.drain_to_end() == End::Closed;
            message.body = std::mem::take(&mut self.buffer);
        }
    }

    fn chunks(&mut self, message: &mut Message) -> Result<(), End> {
        loop {
            let line = self.take_until("\r\n")?;
            let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap_or_default(), 16)
                .unwrap_or_else(|_| panic!("a chunk size: {line:?}"));
            message.chunks.push(size);
            if size == 0 {
                break;
            }
            let data = self.take(size)?;
            message.body.extend_from_slice(&data);
            assert_eq!(self.take(2)?, b"\r\n", "the end of a chunk");
        }
        loop {
            let line = self.take_until("\r\n")?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => message.trailers.push((name.to_owned(), value.trim().to_owned())),
                None => return Ok(()),
            }
        }
    }

    pub(super) fn drain_to_end(&mut self) -> End {
        loop {
            if let Err(end) = self.fill(WAIT) {
                return end;
            }
        }
    }

    /// Everything until the peer closes, resets or is silent, and which of these it was.
    pub fn rest_or_silence(&mut self) -> (Vec<u8>, End) {
        let end = self.drain_to_end();
        (std::mem::take(&mut self.buffer), end)
    }

    /// Everything until the peer closes or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        let end = self.drain_to_end();
        assert_ne!(end, End::Silent, "{}: the connection stayed open", self.label);
        std::mem::take(&mut self.buffer)
    }

    /// The peer must close, or reset, without another byte.
    pub fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{}: more bytes: {:?}", self.label, String::from_utf8_lossy(&rest));
    }

    /// One answer with this status, and then the end of the connection.
    pub fn assert_answer_then_closed(&mut self, status: u16) {
        assert_eq!(self.recv().status(), status);
        self.assert_closed();
    }

    /// Nothing must come, and the peer must not close, for so long.
    pub fn assert_quiet(&mut self, milliseconds: u64) {
        let end = self.fill(Duration::from_millis(milliseconds));
        let text = String::from_utf8_lossy(&self.buffer);
        assert_eq!(end, Err(End::Silent), "{}: not quiet: {text:?}", self.label);
    }
}
