//! What the shards count of their connections: each shard writes lines of memory of its own, and whoever
//! asks adds them up.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Connections accepted.
    Accepted,
    /// Connections served: those accepted within `worker_connections`.
    Handled,
    /// Requests begun.
    Requests,
    /// Connections open now.
    Active,
    /// Connections of which a request's head is read now.
    Reading,
    /// Connections of which a request is answered now.
    Writing,
    /// Connections that wait for a request now.
    Waiting,
}

/// How many things are counted.
const COUNTS: usize = Count::Waiting as usize + 1;

/// One thread's counts. Aligned to two cache lines, since processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Counters([AtomicU64; COUNTS]);

/// The counts of all threads that ever counted; a thread of a shard lives as long as the process.
static ALL: Mutex<Vec<Arc<Counters>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: OnceCell<Arc<Counters>> = const { OnceCell::new() };
}

/// Counts one more on this thread.
#[inline]
pub fn add(count: Count) {
    change(count, 1);
}

/// Counts one more for as long as the result lives.
#[inline]
pub fn hold<const COUNT: usize>() -> Held<COUNT> {
    change_at(COUNT, 1);
    Held(())
}

/// One that is counted while it lives. It has no size, so that it costs a future nothing.
#[must_use]
pub struct Held<const COUNT: usize>(());

impl<const COUNT: usize> Drop for Held<COUNT> {
    fn drop(&mut self) {
        change_at(COUNT, u64::MAX);
    }
}

/// What this thread counted.
#[inline]
pub fn here(count: Count) -> u64 {
    let value =
        OWN.try_with(|own| own.get()?.0.get(count as usize).map(|value| value.load(Ordering::Relaxed)));
    value.ok().flatten().unwrap_or(0)
}

/// What all threads counted together, each count on its own: they are read one after the other.
pub fn total(count: Count) -> u64 {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = all.iter().filter_map(|own| own.0.get(count as usize));
    counts.fold(0, |sum, value| sum.wrapping_add(value.load(Ordering::Relaxed)))
}

#[inline]
fn change(count: Count, by: u64) {
    change_at(count as usize, by);
}

/// Adds, modulo 2^64. Nobody else writes there, so that a load and a store do.
#[inline]
fn change_at(at: usize, by: u64) {
    // A thread that ends counts no more.
    let _ = OWN.try_with(|own| {
        if let Some(value) = own.get_or_init(begin).0.get(at) {
            value.store(value.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        }
    });
}

#[cold]
fn begin() -> Arc<Counters> {
    let own = Arc::new(Counters::default());
    ALL.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let before = total(Count::Handled);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    let _held = hold::<{ Count::Handled as usize }>();
                    (0..10).for_each(|_| add(Count::Handled));
                })
            })
            .collect();
        let ended = threads.into_iter().all(|thread| thread.join().is_ok());
        assert!(ended);
        assert_eq!(total(Count::Handled) - before, 40);
        assert_eq!(size_of::<Held<0>>(), 0);
        assert_eq!(align_of::<Counters>(), 128);
    }
}
