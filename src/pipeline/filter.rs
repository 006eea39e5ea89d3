//! Filters of an answer's body: what a feature puts between the source of a body and the client.
//!
//! A filter first looks at the head and says whether it applies; then it is one link of a chain that
//! the body's pieces pass through, in the order of [`Stage`]. A link never holds more than the piece it
//! works on and what its own working needs, so that a body of any length costs bounded memory.

use super::exchange::Exchange;
use crate::base::buffer::Buffer;

/// Where a filter stands between the source of a body and the client: nginx's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What the upstream compressed is unpacked.
    Unpack,
    /// Other answers are put round the body; they pass through the stages from `Pack` on.
    Around,
    /// Texts are replaced.
    Replace,
    /// The charset is changed.
    Charset,
    /// The body is compressed.
    Pack,
    /// Nothing is done to the body any more; the head gets its last fields.
    Last,
}

/// A filter of one location.
pub trait BodyFilter: Send + Sync {
    /// Looks at the answer's head, changes in it what the filter will make untrue, and says what is
    /// to be done to the body. It is asked for answers to HEAD too, of which no body is sent.
    fn begin(&self, x: &mut Exchange) -> Begun;
}

/// What a filter does to the body of one answer.
pub enum Begun {
    /// Nothing.
    Nothing,
    /// The body passes through this.
    Through(Box<dyn Link>),
    /// The answers to these paths stand round it.
    Around(Around),
}

/// The paths whose answers are put round a body.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Before it.
    pub before: Option<Box<[u8]>>,
    /// Behind it.
    pub after: Option<Box<[u8]>>,
}

/// What is wanted once the input is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing: more input comes.
    More,
    /// What can be given is to be given, as nothing more comes just now.
    Flush,
    /// All of it: that was the last input.
    End,
}

/// A body that cannot be passed on; its text is the message for the error log.
#[derive(Debug)]
pub struct Fault(pub String);

/// One filter at work on one body.
pub trait Link {
    /// Takes from `input` and appends to `out`. True when the input is used up and what `ask` wants is
    /// done; false when `out` is full before that, and then it is called again with an empty one.
    /// A link that changes nothing may exchange the two buffers.
    ///
    /// # Errors
    /// The body is not what the filter can work on.
    fn run(
        &mut self,
        x: &mut Exchange,
        input: &mut Buffer,
        ask: Ask,
        out: &mut Buffer,
    ) -> Result<bool, Fault>;
}

/// The filters that one body passes through.
#[derive(Default)]
pub struct Chain {
    places: Vec<Place>,
    /// What went in where there is no link.
    passed: Option<(Buffer, Ask)>,
}

/// A link and what lies before it.
struct Place {
    stage: Stage,
    link: Box<dyn Link>,
    input: Buffer,
    ask: Ask,
    /// Not done with that.
    busy: bool,
}

impl Chain {
    /// Adds a link behind the others.
    pub fn push(&mut self, stage: Stage, link: Box<dyn Link>) {
        self.places.push(Place { stage, link, input: Buffer::default(), ask: Ask::More, busy: false });
    }

    /// Whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Cuts off the links from a stage on.
    #[must_use]
    pub fn split_off(&mut self, stage: Stage) -> Chain {
        let at = self.places.iter().position(|place| place.stage >= stage).unwrap_or(self.places.len());
        Chain { places: self.places.split_off(at), passed: None }
    }

    /// Puts the next piece in; all that the one before gave was taken by then.
    pub fn give(&mut self, piece: Buffer, ask: Ask) {
        match self.places.first_mut() {
            Some(first) => first.give(piece, ask),
            None => self.passed = Some((piece, ask)),
        }
    }

    /// The next piece that comes out, with what is asked of those behind; `None` when the next one
    /// has to be put in first.
    ///
    /// # Errors
    /// A link cannot go on.
    pub fn take(&mut self, x: &mut Exchange) -> Result<Option<(Buffer, Ask)>, Fault> {
        // The last one that has something to do: those behind it are empty then.
        while let Some(at) = self.places.iter().rposition(|place| place.busy) {
            let Some(place) = self.places.get_mut(at) else { break };
            let (out, ask) = place.run(x)?;
            if out.is_empty() && ask == Ask::More {
                continue;
            }
            match self.places.get_mut(at + 1) {
                Some(next) => next.give(out, ask),
                None => return Ok(Some((out, ask))),
            }
        }
        Ok(self.passed.take())
    }
}

impl Place {
    fn give(&mut self, piece: Buffer, ask: Ask) {
        (self.input, self.ask, self.busy) = (piece, ask, true);
    }

    fn run(&mut self, x: &mut Exchange) -> Result<(Buffer, Ask), Fault> {
        let mut out = Buffer::with_capacity(self.input.len());
        let before = self.input.len();
        if self.link.run(x, &mut self.input, self.ask, &mut out)? {
            self.busy = false;
            self.input = Buffer::default();
            return Ok((out, std::mem::replace(&mut self.ask, Ask::More)));
        }
        if out.is_empty() && self.input.len() == before {
            return Err(Fault("a body filter does not come forward".to_owned()));
        }
        Ok((out, Ask::More))
    }
}
