//! The socket pair between the master and its worker: messages with descriptors.
//!
//! One message is a train of packets on a SOCK_SEQPACKET socket, so that its bounds are the
//! kernel's affair:
//! ```text
//! head: bytes of text u64, number of descriptors u32
//! text: pieces of at most 32 KB
//! descriptors: one byte each with at most 250 of them (SCM_RIGHTS, unix(7))
//! ```
//! Both ends are one program, one of them forked from the other: there is no version to agree on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::message::Message;

/// Bytes of text in one packet: well below the default send buffer (208 KB), which has to hold it.
const PIECE_BYTES: usize = 32 * 1024;

/// Descriptors in one packet: the kernel's SCM_MAX_FD is 253.
const BATCH_DESCRIPTORS: usize = 250;

/// Bytes of one message's text: the reader of configurations stops at 256 MB, the rest is names.
const TEXT_BYTES_MAX: u64 = 272 * 1024 * 1024;

/// Descriptors of one message: 1,024 shards with 64 addresses; more than most hosts let one
/// process open.
const DESCRIPTORS_MAX: usize = 65_536;

/// Seconds that one packet may take: the other end is always in its control loop when it is spoken
/// to, so only a process that hangs takes longer.
const PACKET_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the head packet.
const HEAD_BYTES: usize = 12;

/// One end of the pair.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
}

impl Link {
    /// Both ends of a new pair.
    ///
    /// # Errors
    /// EMFILE and the like.
    pub fn pair() -> io::Result<(Link, Link)> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for socket in [&one, &other] {
            set_socket_timeout(socket, Timeout::Send, Some(PACKET_TIMEOUT))?;
            set_socket_timeout(socket, Timeout::Recv, Some(PACKET_TIMEOUT))?;
        }
        Ok((Link { socket: one }, Link { socket: other }))
    }

    /// Sends one message whole.
    ///
    /// # Errors
    /// `InvalidInput`, with nothing sent, for a message beyond the bounds; any other error leaves
    /// the link unusable.
    pub fn send<F: AsFd>(&self, message: &Message<F>) -> io::Result<()> {
        let (text, descriptors) = message.encode();
        if text.len() as u64 > TEXT_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the configuration is too large"));
        }
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sockets and logs"));
        }
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&(text.len() as u64).to_le_bytes());
        head[8..].copy_from_slice(&(descriptors.len() as u32).to_le_bytes());
        self.send_packet(&head, &[])?;
        text.chunks(PIECE_BYTES).try_for_each(|piece| self.send_packet(piece, &[]))?;
        descriptors.chunks(BATCH_DESCRIPTORS).try_for_each(|batch| self.send_packet(b"d", batch))
    }

    /// Receives one message; `None` when the other end is gone.
    ///
    /// # Errors
    /// `InvalidData` for what is no message, `UnexpectedEof` when the other end went away within
    /// one, WouldBlock when it stopped within one; the link is unusable then.
    pub fn receive(&self) -> io::Result<Option<Message<OwnedFd>>> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut descriptors = Vec::new();
        let length = self.receive_packet(&mut piece, &mut descriptors)?;
        if length == 0 {
            return Ok(None);
        }
        let head: [u8; HEAD_BYTES] =
            piece.get(..length).and_then(|head| head.try_into().ok()).ok_or_else(|| invalid("head"))?;
        let [l0, l1, l2, l3, l4, l5, l6, l7, d0, d1, d2, d3] = head;
        let text_bytes = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let count = u32::from_le_bytes([d0, d1, d2, d3]) as usize;
        if text_bytes > TEXT_BYTES_MAX || count > DESCRIPTORS_MAX {
            return Err(invalid("length"));
        }
        let mut text = Vec::new();
        while (text.len() as u64) < text_bytes {
            match self.receive_packet(&mut piece, &mut descriptors)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => text.extend_from_slice(piece.get(..length).unwrap_or_default()),
            }
        }
        while descriptors.len() < count {
            if self.receive_packet(&mut piece, &mut descriptors)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Message::decode(&text, descriptors).map(Some).ok_or_else(|| invalid("message"))
    }

    fn send_packet(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(invalid("batch"));
        }
        let pieces = [IoSlice::new(bytes)];
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &pieces, &mut control, SendFlags::NOSIGNAL)
        })?;
        // A sequenced packet goes whole or not at all.
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn receive_packet(&self, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut pieces = [IoSliceMut::new(bytes)];
            rustix::net::recvmsg(&self.socket, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(batch) = message {
                descriptors.extend(batch);
            }
        }
        // CTRUNC is what the kernel says when this process may not open as many descriptors.
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(invalid("packet"));
        }
        Ok(received.bytes)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("invalid {what} on the link between master and worker"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::message::Load;
    use super::*;
    use crate::base::address::Address;
    use std::io::{Read, Write};
    use std::path::PathBuf;

    #[test]
    fn a_load_travels_with_its_descriptors_in_order() {
        let (master, worker) = Link::pair().unwrap();
        // More than two batches, so that their order counts; each pipe holds its own number.
        let pipes: Vec<_> = (0..600)
            .map(|number: u32| {
                let (reader, mut writer) = io::pipe().unwrap();
                writer.write_all(&number.to_le_bytes()).unwrap();
                reader
            })
            .collect();
        let fds: Vec<BorrowedFd<'_>> = pipes.iter().map(AsFd::as_fd).collect();
        let load = Load {
            generation: 7,
            // Three packets, the last one short.
            snapshot: vec![b'x'; 2 * PIECE_BYTES + 5],
            conf: PathBuf::from("/etc/octroi/octroi.conf"),
            prefix: PathBuf::from("/usr/share/nginx/"),
            globals: "daemon off;".to_owned(),
            error_log: None,
            listens: vec![
                (Address::Ip("[::1]:80".parse().unwrap()), fds[..300].to_vec()),
                (Address::Unix(PathBuf::from("/run/a.sock")), fds[300..598].to_vec()),
            ],
            logs: vec![(PathBuf::from("/a.log"), fds[598]), (PathBuf::from("/b.log"), fds[599])],
        };
        let sender = std::thread::spawn(move || worker.receive().unwrap());
        master.send(&Message::Load(load)).unwrap();
        let Some(Message::Load(load)) = sender.join().unwrap() else { panic!("not a Load") };
        assert_eq!((load.generation, load.snapshot.len()), (7, 2 * PIECE_BYTES + 5));
        assert_eq!((load.conf.to_str(), load.error_log), (Some("/etc/octroi/octroi.conf"), None));
        assert_eq!(load.listens[0].0.to_string(), "[::1]:80");
        assert_eq!(load.listens[1].0.to_string(), "unix:/run/a.sock");
        let sockets = load.listens.into_iter().flat_map(|(_, fds)| fds);
        let all: Vec<OwnedFd> = sockets.chain(load.logs.into_iter().map(|(_, fd)| fd)).collect();
        assert_eq!(all.len(), 600);
        for (number, fd) in all.into_iter().enumerate() {
            let mut bytes = [0; 4];
            std::fs::File::from(fd).read_exact(&mut bytes).unwrap();
            assert_eq!(u32::from_le_bytes(bytes) as usize, number);
        }
    }

    #[test]
    fn short_messages_and_the_end() {
        let (master, worker) = Link::pair().unwrap();
        master.send(&Message::<OwnedFd>::Quit).unwrap();
        master.send(&Message::<OwnedFd>::Refused { generation: 3, reason: "no".to_owned() }).unwrap();
        assert!(matches!(worker.receive().unwrap(), Some(Message::Quit)));
        let Some(Message::Refused { generation: 3, reason }) = worker.receive().unwrap() else { panic!() };
        assert_eq!(reason, "no");
        drop(master);
        assert!(worker.receive().unwrap().is_none());
    }

    #[test]
    fn nonsense_is_an_error() {
        let (one, other) = Link::pair().unwrap();
        one.send_packet(b"hello", &[]).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        one.send_packet(&[0xff; HEAD_BYTES], &[]).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut head = [0; HEAD_BYTES];
        head[0] = 5;
        one.send_packet(&head, &[]).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
