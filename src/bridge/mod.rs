//! Floor 1: what shards share. In nginx what is declared with a zone is shared by all workers and
//! everything else is each worker's own; the same line runs here, and all of it lies in [`zone`].

pub mod bucket;
pub mod lease;
pub mod zone;
