//! The load tester against small servers with known faults and delays.
//!
//! Counts are exact; times have wide bounds, since tests share their machine.

#![allow(clippy::unwrap_used)]

mod command;
mod faults;
mod latency;
mod protocol;
mod server;
