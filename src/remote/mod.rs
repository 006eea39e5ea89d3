//! Floor 3: what is asked of other hosts, or kept for the time behind this process, on the control
//! plane's runtime. No shard awaits anything here: it leaves an errand (`bridge::errand`) and gets an
//! answer, or counts in what this room keeps (`bridge::quota`).

pub mod dns;
pub mod fetch;
pub mod files;
pub mod https;
pub mod ocsp;
pub mod quota;
pub mod refreshed;
