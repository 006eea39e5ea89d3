//! What the master hands to the data plane: listening sockets and open logs.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::address::Listen;
use crate::net::log_file::LogFile;

/// The complete set of listening sockets of one generation.
#[derive(Debug, Default)]
pub struct Sockets {
    /// One entry per address, in the plan's order.
    pub listens: Vec<ListenSockets>,
}

/// The sockets of one address, already listening.
///
/// Every descriptor has to be accepted on, whatever the number of shards: a socket of a
/// SO_REUSEPORT group that nobody accepts on swallows its share of the connections. Descriptor `i`
/// belongs to shard `i` modulo their number. While an address stays in the configuration, index
/// `i` names the same socket in every generation: sockets are only appended, so a shard that
/// already listens by (address, `i`) may drop the copy it is handed again. They are in blocking
/// mode; whoever drives them sets what its driver needs.
#[derive(Debug)]
pub struct ListenSockets {
    /// The address and its options.
    pub listen: Listen,
    /// TCP: a SO_REUSEPORT group. Unix: copies of one descriptor, one per shard.
    pub descriptors: Vec<OwnedFd>,
}

/// Every log of a generation by its absolute path.
pub type Logs = HashMap<PathBuf, Arc<LogFile>>;
