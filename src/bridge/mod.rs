//! Floor 1: where threads meet. Shards share what lies in [`zone`]: in nginx what is declared with a
//! zone is shared by all workers and everything else is each worker's own, and the same line runs here.
//! With the control plane they speak by [`errand`], and what a shard gives away goes by [`handover`].

pub mod bucket;
pub mod errand;
pub mod handover;
pub mod lease;
pub mod published;
pub mod quota;
pub mod window;
pub mod zone;
