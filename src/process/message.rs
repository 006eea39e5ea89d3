//! What master and worker say to each other, and how it is written down.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::base::address::Address;

/// One message; `F` is how it holds its descriptors: borrowed to be sent, owned when received.
#[derive(Debug)]
pub enum Message<F> {
    /// To the worker: take up this configuration, in place of the one before if there is one.
    Load(Load<F>),
    /// To the worker: these files of certificates hold something else now.
    Renew {
        /// The texts with what the files hold now, as `conf::Snapshot` encodes them.
        snapshot: Vec<u8>,
        /// Which files.
        files: Vec<PathBuf>,
    },
    /// To the worker: these logs were reopened.
    Reopen(Vec<(PathBuf, F)>),
    /// To the worker: finish what is under way, then exit.
    Quit,
    /// To the worker: flush the logs and exit.
    Stop,
    /// From the worker: every shard runs this generation.
    Ready {
        /// Of the Load it answers.
        generation: u64,
    },
    /// From the worker: the generation was not taken up, and the one before goes on.
    Refused {
        /// Of the Load it answers.
        generation: u64,
        /// For the log.
        reason: String,
    },
}

/// A whole configuration with everything that the worker has no right to open itself.
#[derive(Debug)]
pub struct Load<F> {
    /// Counts the configurations that the master has handed over.
    pub generation: u64,
    /// Every text and every result of a pattern, as `conf::Snapshot` encodes them.
    pub snapshot: Vec<u8>,
    /// The configuration file.
    pub conf: PathBuf,
    /// `-p`.
    pub prefix: PathBuf,
    /// `-g`.
    pub globals: String,
    /// `-e`.
    pub error_log: Option<PathBuf>,
    /// Every listening address, in the plan's order, with its sockets in their lasting order.
    pub listens: Vec<(Address, Vec<F>)>,
    /// Every log.
    pub logs: Vec<(PathBuf, F)>,
}

const LOAD: u8 = b'L';
const RENEW: u8 = b'R';
const REOPEN: u8 = b'O';
const QUIT: u8 = b'Q';
const STOP: u8 = b'S';
const READY: u8 = b'Y';
const REFUSED: u8 = b'N';

impl<F: AsFd> Message<F> {
    /// The text, and the descriptors in the order in which `decode` will hand them out.
    pub fn encode(&self) -> (Vec<u8>, Vec<BorrowedFd<'_>>) {
        let mut text = Vec::new();
        let mut descriptors = Vec::new();
        match self {
            Message::Load(load) => {
                text.push(LOAD);
                load.encode(&mut text, &mut descriptors);
            }
            Message::Renew { snapshot, files } => {
                text.push(RENEW);
                put_bytes(&mut text, snapshot);
                put_number(&mut text, files.len() as u64);
                files.iter().for_each(|path| put_path(&mut text, path));
            }
            Message::Reopen(logs) => {
                text.push(REOPEN);
                put_logs(&mut text, &mut descriptors, logs);
            }
            Message::Quit => text.push(QUIT),
            Message::Stop => text.push(STOP),
            Message::Ready { generation } => {
                text.push(READY);
                put_number(&mut text, *generation);
            }
            Message::Refused { generation, reason } => {
                text.push(REFUSED);
                put_number(&mut text, *generation);
                put_bytes(&mut text, reason.as_bytes());
            }
        }
        (text, descriptors)
    }
}

impl<F: AsFd> Load<F> {
    fn encode<'f>(&'f self, text: &mut Vec<u8>, descriptors: &mut Vec<BorrowedFd<'f>>) {
        put_number(text, self.generation);
        put_bytes(text, &self.snapshot);
        put_path(text, &self.conf);
        put_path(text, &self.prefix);
        put_bytes(text, self.globals.as_bytes());
        put_number(text, u64::from(self.error_log.is_some()));
        put_path(text, self.error_log.as_deref().unwrap_or(Path::new("")));
        put_number(text, self.listens.len() as u64);
        for (address, sockets) in &self.listens {
            match address {
                Address::Ip(ip) => {
                    put_number(text, 0);
                    put_bytes(text, ip.to_string().as_bytes());
                }
                Address::Unix(path) => {
                    put_number(text, 1);
                    put_path(text, path);
                }
            }
            put_number(text, sockets.len() as u64);
            descriptors.extend(sockets.iter().map(AsFd::as_fd));
        }
        put_logs(text, descriptors, &self.logs);
    }
}

impl Message<OwnedFd> {
    /// Reads what `encode` wrote; `None` for anything else, and when descriptors are missing or
    /// left over.
    pub fn decode(text: &[u8], descriptors: Vec<OwnedFd>) -> Option<Message<OwnedFd>> {
        let (&kind, rest) = text.split_first()?;
        let mut reader = Reader { rest, descriptors: descriptors.into_iter() };
        let message = match kind {
            LOAD => Message::Load(reader.load()?),
            RENEW => Message::Renew { snapshot: reader.bytes()?.to_vec(), files: reader.paths()? },
            REOPEN => Message::Reopen(reader.logs()?),
            QUIT => Message::Quit,
            STOP => Message::Stop,
            READY => Message::Ready { generation: reader.number()? },
            REFUSED => Message::Refused { generation: reader.number()?, reason: reader.string()? },
            _ => return None,
        };
        (reader.rest.is_empty() && reader.descriptors.len() == 0).then_some(message)
    }
}

fn put_number(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(text: &mut Vec<u8>, bytes: &[u8]) {
    put_number(text, bytes.len() as u64);
    text.extend_from_slice(bytes);
}

fn put_path(text: &mut Vec<u8>, path: &Path) {
    put_bytes(text, path.as_os_str().as_bytes());
}

fn put_logs<'f, F: AsFd>(
    text: &mut Vec<u8>,
    descriptors: &mut Vec<BorrowedFd<'f>>,
    logs: &'f [(PathBuf, F)],
) {
    put_number(text, logs.len() as u64);
    for (path, file) in logs {
        put_path(text, path);
        descriptors.push(file.as_fd());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    descriptors: std::vec::IntoIter<OwnedFd>,
}

impl Reader<'_> {
    fn load(&mut self) -> Option<Load<OwnedFd>> {
        Some(Load {
            generation: self.number()?,
            snapshot: self.bytes()?.to_vec(),
            conf: self.path()?,
            prefix: self.path()?,
            globals: self.string()?,
            error_log: match (self.number()?, self.path()?) {
                (0, _) => None,
                (_, path) => Some(path),
            },
            listens: self.listens()?,
            logs: self.logs()?,
        })
    }

    fn listens(&mut self) -> Option<Vec<(Address, Vec<OwnedFd>)>> {
        let mut listens = Vec::new();
        for _ in 0..self.number()? {
            let address = match self.number()? {
                0 => Address::Ip(self.string()?.parse().ok()?),
                _ => Address::Unix(self.path()?),
            };
            let mut sockets = Vec::new();
            for _ in 0..self.number()? {
                sockets.push(self.descriptors.next()?);
            }
            listens.push((address, sockets));
        }
        Some(listens)
    }

    fn paths(&mut self) -> Option<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for _ in 0..self.number()? {
            paths.push(self.path()?);
        }
        Some(paths)
    }

    fn logs(&mut self) -> Option<Vec<(PathBuf, OwnedFd)>> {
        let mut logs = Vec::new();
        for _ in 0..self.number()? {
            logs.push((self.path()?, self.descriptors.next()?));
        }
        Some(logs)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&[u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(OsString::from_vec(self.bytes()?.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_messages_are_refused() {
        let (text, _) = Message::<OwnedFd>::Refused { generation: 1, reason: "because".to_owned() }.encode();
        for length in 0..text.len() {
            assert!(Message::decode(&text[..length], Vec::new()).is_none());
        }
        let longer = [&text[..], b"x"].concat();
        assert!(Message::decode(&longer, Vec::new()).is_none());
        assert!(Message::decode(b"?", Vec::new()).is_none());
    }

    #[test]
    fn what_is_renewed_arrives() {
        let files = vec![PathBuf::from("/a.pem"), PathBuf::from("/b.key")];
        let sent = Message::<OwnedFd>::Renew { snapshot: b"texts".to_vec(), files: files.clone() };
        let Some(Message::Renew { snapshot, files: came }) = Message::decode(&sent.encode().0, Vec::new())
        else {
            panic!("it is read as it was written");
        };
        assert_eq!((snapshot.as_slice(), came), (b"texts".as_slice(), files));
    }

    #[test]
    fn a_log_without_its_descriptor_is_refused() {
        let mut text = vec![REOPEN];
        put_number(&mut text, 1);
        put_path(&mut text, Path::new("/a.log"));
        assert!(Message::decode(&text, Vec::new()).is_none());
    }
}
