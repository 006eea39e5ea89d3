//! The replacing of texts in one body, whatever the pieces it comes in.

use super::search::{Found, Needles};
use crate::base::buffer::Buffer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::filter::{Ask, Fault, Link};
use crate::pipeline::template::Template;
use std::sync::Arc;

/// What is to be done to a body.
pub(super) struct Work {
    /// The texts.
    pub(super) needles: Arc<Needles>,
    /// What stands in the place of each.
    pub(super) replacements: Arc<[Template]>,
    /// Each is replaced once.
    pub(super) once: bool,
}

/// Does it.
pub(super) struct Replacer {
    work: Work,
    /// The piece at hand, with the end of the one before it that may have begun a text: at most the
    /// length of the longest text more than a piece.
    body: Vec<u8>,
    /// Up to here it was given.
    given: usize,
    /// Up to here it is known to hold no text.
    plain: usize,
    /// The text that stands there.
    found: Option<usize>,
    /// The replacement under way, and how much of it was given.
    putting: Option<(usize, usize)>,
    /// The values of the replacements: computed when they are first needed, as nginx does.
    values: Vec<Option<Vec<u8>>>,
    /// Which texts are not looked for any more.
    done: Vec<bool>,
    /// How many are still to be looked for.
    left: usize,
}

impl Replacer {
    pub(super) fn new(work: Work) -> Replacer {
        let (count, left) = (work.needles.len(), work.needles.there());
        Replacer {
            work,
            body: Vec::new(),
            given: 0,
            plain: 0,
            found: None,
            putting: None,
            values: vec![None; count],
            done: vec![false; count],
            left,
        }
    }

    /// Gives what of the replacement under way fits.
    fn put(&mut self, out: &mut Buffer) {
        let Some((number, at)) = &mut self.putting else { return };
        let value = self.values.get(*number).and_then(Option::as_deref).unwrap_or_default();
        *at += out.append(value.get(*at..).unwrap_or_default());
        if *at >= value.len() {
            self.putting = None;
        }
    }

    /// Steps over a text and begins to put what replaces it.
    fn replace(&mut self, x: &Exchange, number: usize) {
        self.given += self.work.needles.length(number);
        self.plain = self.given;
        if let (Some(value @ None), Some(template)) =
            (self.values.get_mut(number), self.work.replacements.get(number))
        {
            *value = Some(template.value(x));
        }
        self.putting = Some((number, 0));
        if self.work.once
            && let Some(done) = self.done.get_mut(number)
        {
            *done = true;
            self.left = self.left.saturating_sub(1);
        }
    }

    /// Forgets what was given.
    fn trim(&mut self) {
        self.body.drain(..self.given.min(self.body.len()));
        (self.given, self.plain) = (0, 0);
    }
}

impl Link for Replacer {
    fn run(
        &mut self,
        x: &mut Exchange,
        input: &mut Buffer,
        ask: Ask,
        out: &mut Buffer,
    ) -> Result<bool, Fault> {
        if self.left == 0 && self.putting.is_none() && self.given == self.body.len() {
            std::mem::swap(input, out);
            return Ok(true);
        }
        if !input.is_empty() {
            self.trim();
            self.body.extend_from_slice(input.filled());
            input.clear();
        }
        loop {
            if out.room() == 0 {
                return Ok(false);
            }
            if self.putting.is_some() {
                self.put(out);
                continue;
            }
            if self.given < self.plain {
                self.given += out.append(self.body.get(self.given..self.plain).unwrap_or_default());
                continue;
            }
            if let Some(number) = self.found.take() {
                self.replace(x, number);
                continue;
            }
            if self.left == 0 {
                self.plain = self.body.len();
            } else {
                match self.work.needles.find(&self.body, self.given, ask == Ask::End, &self.done) {
                    Found::Text { at, number } => (self.plain, self.found) = (at, Some(number)),
                    Found::Perhaps(at) => self.plain = at,
                }
            }
            if self.found.is_none() && self.given == self.plain {
                self.trim();
                return Ok(true);
            }
        }
    }
}
