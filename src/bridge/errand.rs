//! Errands: the few questions that a request has to wait for the control plane with. The queue is
//! bounded and nobody waits for a place in it; how long an answer is waited for is the asker's affair.

/// The asking side. It belongs to a configuration: when the last one is gone, the desk closes.
pub struct Counter<Q, A>(flume::Sender<Errand<Q, A>>);

/// The answering side.
pub struct Desk<Q, A>(flume::Receiver<Errand<Q, A>>);

/// One question.
pub struct Errand<Q, A> {
    /// What is asked.
    pub question: Q,
    /// Where the answer goes.
    pub reply: Reply<A>,
}

/// Where an answer goes.
pub struct Reply<A>(flume::Sender<A>);

/// An answer to come.
pub struct Asked<A>(flume::Receiver<A>);

/// A counter and its desk, between which `waiting_max` questions may lie.
pub fn errands<Q, A>(waiting_max: usize) -> (Counter<Q, A>, Desk<Q, A>) {
    let (counter, desk) = flume::bounded(waiting_max);
    (Counter(counter), Desk(desk))
}

impl<Q, A> Counter<Q, A> {
    /// Asks; `None` when too many wait already, or nobody answers any more.
    pub fn ask(&self, question: Q) -> Option<Asked<A>> {
        let (reply, asked) = flume::bounded(1);
        self.0.try_send(Errand { question, reply: Reply(reply) }).ok()?;
        Some(Asked(asked))
    }
}

impl<Q, A> Desk<Q, A> {
    /// The next question; `None` when nobody can ask any more.
    pub async fn next(&self) -> Option<Errand<Q, A>> {
        self.0.recv_async().await.ok()
    }
}

impl<Q, A> Clone for Desk<Q, A> {
    fn clone(&self) -> Self {
        Desk(self.0.clone())
    }
}

impl<A> Reply<A> {
    /// Whether somebody still waits for it.
    pub fn is_awaited(&self) -> bool {
        !self.0.is_disconnected()
    }

    /// Gives it, if somebody waits.
    pub fn give(self, answer: A) {
        let _ = self.0.try_send(answer);
    }
}

impl<A> Asked<A> {
    /// Waits for it; `None` when there will be none.
    pub async fn answer(&self) -> Option<A> {
        self.0.recv_async().await.ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn now<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn questions_are_bounded_and_answered() {
        let (counter, desk) = errands::<u8, u8>(2);
        let (one, two) = (counter.ask(1).unwrap(), counter.ask(2).unwrap());
        assert!(counter.ask(3).is_none());
        let Poll::Ready(Some(first)) = now(desk.next()) else { panic!("a question waits") };
        assert!(first.question == 1 && first.reply.is_awaited() && now(one.answer()).is_pending());
        first.reply.give(10);
        assert_eq!(now(one.answer()), Poll::Ready(Some(10)));
        drop(two);
        let Poll::Ready(Some(second)) = now(desk.next()) else { panic!("a question waits") };
        assert!(!second.reply.is_awaited());
        drop(counter);
        assert!(matches!(now(desk.next()), Poll::Ready(None)));
    }
}
