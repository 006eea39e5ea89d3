//! What `return` answers.

use crate::http::Known;
use crate::pipeline::answer::{Answer, Body};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::media_type;
use crate::pipeline::redirect;
use crate::pipeline::template::Template;

/// What `return 444` stands for: no answer at all.
const NO_ANSWER: u16 = 444;

/// Codes that end the connection without an answer too, as wherever else they come up: the client
/// took too long, or has gone.
const SILENT: [u16; 3] = [408, NO_ANSWER, 499];

/// What `return` does.
pub enum Outcome {
    /// The code's page, or its `error_page`.
    Status(u16),
    /// No answer; the code is logged.
    Close(u16),
    /// A code without a body.
    Empty(u16),
    /// A code with a text.
    Text { status: u16, text: Template },
    /// A redirect.
    Redirect { status: u16, to: Template },
}

impl Outcome {
    /// What a code means with this text, which is empty when there is none.
    pub fn new(status: u16, text: Template) -> Outcome {
        let none = text.as_literal().is_some_and(<[u8]>::is_empty);
        match status {
            301 | 302 | 303 | 307 | 308 => Outcome::Redirect { status, to: text },
            204 | 304 => Outcome::Empty(status),
            _ if none && SILENT.contains(&status) => Outcome::Close(status),
            _ if none && status >= 400 => Outcome::Status(status),
            _ => Outcome::Text { status, text },
        }
    }

    /// The answer.
    pub fn answer(&self, x: &mut Exchange) -> Answer {
        match self {
            Outcome::Status(status) => Answer::Status(*status),
            Outcome::Close(status) => {
                x.answer.status = *status;
                Answer::Close
            }
            Outcome::Empty(status) => {
                begin(x, *status);
                x.answer.content_type.clear();
                Answer::Ready(Body::None)
            }
            Outcome::Text { status, text } => {
                begin(x, *status);
                let text = text.value(x);
                media_type::set(x);
                x.answer.length = Some(text.len() as u64);
                Answer::Ready(if text.is_empty() { Body::None } else { Body::Bytes(text) })
            }
            Outcome::Redirect { status, to } => {
                let to = to.value(x);
                let mut absolute = Vec::with_capacity(to.len() + 64);
                redirect::location(x, &to, &mut absolute);
                x.answer.fields.remove(Known::Location);
                x.answer.fields.push_with(b"Location", |out| out.extend_from_slice(&absolute));
                Answer::Status(*status)
            }
        }
    }
}

fn begin(x: &mut Exchange, status: u16) {
    x.answer.status = status;
    x.answer.reason.clear();
    x.answer.length = None;
}
