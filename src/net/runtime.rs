//! A shard's runtime: monoio on io_uring where the kernel lets us, on epoll elsewhere.

use monoio::{FusionDriver, FusionRuntime, RuntimeBuilder};
use std::future::Future;
use std::io;

/// What drives a shard's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring, with or without the task-run flags of Linux 6.0.
    IoUring {
        /// SINGLE_ISSUER and COOP_TASKRUN are in use: a quarter or more of the CPU per request.
        task_run: bool,
    },
    /// epoll.
    Epoll,
}

impl Driver {
    /// The name for the log.
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring { task_run: true } => "io_uring",
            Driver::IoUring { task_run: false } => "io_uring (without task-run flags)",
            Driver::Epoll => "epoll",
        }
    }
}

/// Entries of the submission ring. A full one is flushed to the kernel, so this bounds a batch,
/// not the connections.
const RING_ENTRIES: u32 = 1024;

/// Forces the epoll driver when set; monoio reads the same variable.
const FORCE_EPOLL: &str = "MONOIO_FORCE_LEGACY_DRIVER";

/// Which driver this process gets, found out by building a small real ring: containers and
/// `kernel.io_uring_disabled` refuse it in ways that only show then.
pub fn probe() -> Driver {
    if std::env::var_os(FORCE_EPOLL).is_some_and(|v| v == "1") {
        return Driver::Epoll;
    }
    for task_run in [true, false] {
        if builder(task_run).build(8).is_ok() {
            return Driver::IoUring { task_run };
        }
    }
    Driver::Epoll
}

/// Runs `main` to its end on a runtime of this thread. The ring is built on the thread that runs
/// it, as SINGLE_ISSUER demands.
pub fn run<F: Future>(driver: Driver, main: F) -> io::Result<F::Output> {
    match driver {
        Driver::IoUring { task_run } => {
            let mut runtime = RuntimeBuilder::<FusionDriver>::new()
                .with_entries(RING_ENTRIES)
                .uring_builder(builder(task_run))
                .enable_timer()
                .build()?;
            Ok(block_on(&mut runtime, main))
        }
        Driver::Epoll => {
            let mut runtime = RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build()?;
            Ok(runtime.block_on(main))
        }
    }
}

fn block_on<L, R, F: Future>(runtime: &mut FusionRuntime<L, R>, main: F) -> F::Output
where
    FusionRuntime<L, R>: BlockOn,
{
    runtime.block_on_future(main)
}

/// The one method of monoio's two fused runtimes that we call, without naming its driver types.
trait BlockOn {
    fn block_on_future<F: Future>(&mut self, main: F) -> F::Output;
}

impl BlockOn
    for FusionRuntime<
        monoio::time::TimeDriver<monoio::IoUringDriver>,
        monoio::time::TimeDriver<monoio::LegacyDriver>,
    >
{
    fn block_on_future<F: Future>(&mut self, main: F) -> F::Output {
        self.block_on(main)
    }
}

fn builder(task_run: bool) -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    if task_run {
        builder.setup_single_issuer().setup_coop_taskrun();
    }
    builder
}

/// Starts a task on this thread's runtime. It is detached: it ends by itself.
pub fn spawn<F: Future<Output = ()> + 'static>(task: F) {
    drop(monoio::spawn(task));
}
