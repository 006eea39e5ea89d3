//! Fields of answers.

use super::{Change, Edit};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::HeaderFilter;

/// What frames an answer, and what each answer has (RFC 9110, 6.6.1).
pub const FIXED: [&str; 7] =
    ["Connection", "Content-Length", "Date", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade"];

/// The changes of a location.
pub struct Answers(pub Box<[Change]>);

impl HeaderFilter for Answers {
    fn filter(&self, x: &mut Exchange) {
        // An answer to the gateway itself is not sent to anyone.
        if x.depth > 0 {
            return;
        }
        for change in &self.0 {
            let is_for = change.statuses.is_empty() || change.statuses.contains(&x.answer.status);
            if is_for && change.is_for_type(&x.answer.content_type) {
                change.fields.iter().for_each(|edit| apply(edit, change.append, x));
            }
        }
    }
}

fn apply(edit: &Edit, append: bool, x: &mut Exchange) {
    let mut value = std::mem::take(&mut x.scratch);
    value.clear();
    if let Some(template) = &edit.value {
        template.write(x, &mut value);
    }
    let answer = &mut x.answer;
    if edit.is_for(b"Content-Type") {
        answer.content_type.clear();
        answer.content_type.extend_from_slice(&value);
        answer
            .content_type
            .iter_mut()
            .filter(|byte| matches!(byte, b'\r' | b'\n' | 0))
            .for_each(|byte| *byte = b' ');
    }
    if edit.is_for(b"Server") {
        answer.hides_server = value.is_empty();
    }
    if !append || value.is_empty() {
        let is_fixed = |name: &[u8]| FIXED.iter().any(|fixed| fixed.as_bytes().eq_ignore_ascii_case(name));
        answer.fields.remove_named(|name| edit.is_for(name) && !is_fixed(name));
    }
    if !value.is_empty() && edit.known != Known::ContentType {
        answer.fields.push_with(&edit.name, |out| out.extend_from_slice(&value));
    }
    x.scratch = value;
}
