//! Fields of requests.

use super::{Change, Edit};
use crate::http::Known;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, QuickStep};

/// What frames a request, or concerns its connection alone.
pub const FIXED: [&str; 8] =
    ["Connection", "Content-Length", "Expect", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"];

/// The changes of a location.
pub struct Requests(pub Box<[Change]>);

impl QuickStep for Requests {
    fn run(&self, x: &mut Exchange) -> Flow {
        for change in &self.0 {
            let input = x.input.filled();
            let media_type = x.head.fields.find(Known::ContentType).map(|field| field.value.of(input));
            if change.is_for_type(media_type.unwrap_or_default()) {
                change.fields.iter().for_each(|edit| apply(edit, change.restrict, x));
            }
        }
        Flow::Next
    }
}

fn apply(edit: &Edit, restrict: bool, x: &mut Exchange) {
    let input = x.input.filled();
    let fields = &x.head.fields.list;
    if restrict && !fields.iter().any(|field| edit.is_for(field.name.of(input))) {
        return;
    }
    let mut value = std::mem::take(&mut x.scratch);
    value.clear();
    if let Some(template) = &edit.value {
        template.write(x, &mut value);
    }
    let is_fixed = |name: &[u8]| FIXED.iter().any(|fixed| fixed.as_bytes().eq_ignore_ascii_case(name));
    x.remove_request_fields(|name| edit.is_for(name) && !is_fixed(name));
    if !value.is_empty() {
        x.push_request_field(edit.known, &edit.name, &value);
        if edit.known == Known::Host {
            // As there, it is the host asked for from here on; the server stays.
            let host = value.split(|byte| *byte == b':').next().unwrap_or_default();
            x.host.clear();
            x.host.extend_from_slice(host);
            x.host.make_ascii_lowercase();
        }
    }
    x.scratch = value;
}
