//! Floor 3: what is asked of other hosts on the control plane's runtime. No shard awaits anything here:
//! it leaves an errand (`bridge::errand`) and gets an answer.

pub mod dns;
