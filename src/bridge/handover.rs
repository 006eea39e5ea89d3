//! Handing over: what one shard gives to another to go on with. The queue is bounded and nobody waits for
//! a place in it; what finds none stays with the giver.

/// The giving side.
pub struct Giver<T>(flume::Sender<T>);

/// The taking side.
pub struct Taker<T>(flume::Receiver<T>);

/// A giver and its taker, between which `waiting_max` may lie.
pub fn handover<T>(waiting_max: usize) -> (Giver<T>, Taker<T>) {
    let (giver, taker) = flume::bounded(waiting_max);
    (Giver(giver), Taker(taker))
}

impl<T> Giver<T> {
    /// Gives it away.
    ///
    /// # Errors
    /// It comes back when too many wait already, or nobody takes any more.
    pub fn give(&self, what: T) -> Result<(), T> {
        self.0.try_send(what).map_err(flume::TrySendError::into_inner)
    }

    /// How many wait to be taken.
    pub fn waiting(&self) -> usize {
        self.0.len()
    }
}

impl<T> Taker<T> {
    /// The next one; `None` when nobody can give any more.
    pub async fn next(&self) -> Option<T> {
        self.0.recv_async().await.ok()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Clone for Giver<T> {
    fn clone(&self) -> Self {
        Giver(self.0.clone())
    }
}

impl<T> Clone for Taker<T> {
    fn clone(&self) -> Self {
        Taker(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn what_finds_no_place_comes_back() {
        let (giver, taker) = handover::<u8>(2);
        assert!(taker.is_empty());
        assert_eq!([1, 2, 3].map(|n| giver.give(n)), [Ok(()), Ok(()), Err(3)]);
        assert_eq!(giver.waiting(), 2);
        let next = pin!(taker.next()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(next, Poll::Ready(Some(1)));
        drop(taker);
        assert_eq!(giver.give(4), Err(4));
    }
}
