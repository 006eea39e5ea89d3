//! octroi-load: an HTTP/1.1 load tester that costs less than what it tests,
//! and does not hide what a stalled server does to its clients.
//!
//! It shares no code with the gateway: a measuring tool that shares the parser
//! under test measures its own errors.
//!
//! - [`cli`]: the command line -> [`target`] (whom, and the bytes to send) and
//!   a [`run::Load`]
//! - [`run`]: threads, progress, sum; [`engine`]: the event loop of one thread
//! - [`schedule`]: when a request is due; [`connection`]: one exchange at a
//!   time; [`response`] and [`head`]: where a reply ends
//! - [`outcome`]: what was counted; [`report`]: text and JSON
//! - [`compare`]: two targets in turn; [`cpu`]: what a server's process spent

#![forbid(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod connection;
pub mod cpu;
pub mod engine;
pub mod head;
pub mod outcome;
pub mod report;
pub mod response;
pub mod run;
pub mod schedule;
pub mod target;
