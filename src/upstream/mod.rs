//! Floor 3: one shard's view of an `upstream {}`: its peers, which to take, and the connections
//! kept to them.

pub mod balance;
pub mod client;
pub mod group;
pub mod pool;
