//! What one thread puts in place of another value while all others use it. Readers keep what they took;
//! whether there is a newer one they see by its number, which nobody writes but who publishes.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A value that may be replaced.
#[derive(Debug)]
pub struct Published<T> {
    number: AtomicU64,
    value: RwLock<(Arc<T>, u64)>,
}

impl<T> Published<T> {
    /// The first value.
    pub fn new(value: T) -> Published<T> {
        Published { number: AtomicU64::new(0), value: RwLock::new((Arc::new(value), 0)) }
    }

    /// The value in force, with its number. It takes a lock, so it is for what is rare: a handshake, not a
    /// request.
    pub fn current(&self) -> (Arc<T>, u64) {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the value in force: another one than that of a value which was replaced.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Puts another value in its place.
    pub fn publish(&self, value: Arc<T>) {
        let mut place = self.value.write().unwrap_or_else(PoisonError::into_inner);
        let number = place.1 + 1;
        *place = (value, number);
        self.number.store(number, Ordering::Release);
    }
}

/// What a shard has seen of a published value: it takes the lock only when there is another one.
pub struct Seen<T> {
    number: Cell<u64>,
    value: RefCell<Option<Arc<T>>>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Seen { number: Cell::new(0), value: RefCell::new(None) }
    }
}

impl<T> Seen<T> {
    /// What `look` makes of the value in force, with its number.
    #[inline]
    pub fn look<R>(&self, published: &Published<T>, look: impl FnOnce(&T, u64) -> R) -> R {
        let mut value = self.value.borrow_mut();
        let held = match value.take().filter(|_| self.number.get() == published.number()) {
            Some(held) => held,
            None => {
                let (newer, number) = published.current();
                self.number.set(number);
                newer
            }
        };
        look(value.insert(held), self.number.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_sees_the_newest_value() {
        let published = Published::new(7);
        let seen = Seen::default();
        assert_eq!(seen.look(&published, |value, number| (*value, number)), (7, 0));
        published.publish(Arc::new(8));
        assert_eq!(seen.look(&published, |value, number| (*value, number)), (8, 1));
        assert_eq!(seen.look(&published, |value, number| (*value, number)), (8, 1));
    }

    #[test]
    fn a_new_value_has_a_new_number() {
        let published = Published::new("old");
        let (old, number) = published.current();
        assert_eq!((*old, number, published.number()), ("old", 0, 0));
        published.publish(Arc::new("new"));
        let (new, number) = published.current();
        assert_eq!((*old, *new, number, published.number()), ("old", "new", 1, 1));
    }
}
