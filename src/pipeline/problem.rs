//! What there is to say of an error beyond its status, and how it is told.

use super::exchange::Exchange;
use crate::base::json;
use crate::http::{Known, accept, status};

/// What a step that answers with an error status wants the client to know. It is shown on the page for that
/// status, unless an `error_page` stands in for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// One sentence.
    pub detail: String,
    /// Lists that belong to it, by name: members of a problem's object (RFC 9457, 3.2).
    pub lists: Vec<(&'static str, Vec<String>)>,
}

impl Problem {
    /// A problem that one sentence tells.
    pub fn new(detail: impl Into<String>) -> Problem {
        Problem { detail: detail.into(), lists: Vec::new() }
    }

    /// The same with a list.
    #[must_use]
    pub fn with(mut self, name: &'static str, list: Vec<String>) -> Problem {
        self.lists.push((name, list));
        self
    }
}

/// `problem_details`: where an error is told as an object instead of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Problems {
    /// Nowhere.
    #[default]
    Off,
    /// Where the client's `Accept` does not prefer a page.
    Auto,
    /// Always.
    On,
}

/// Whether this client gets an object.
pub fn is_wanted(x: &Exchange) -> bool {
    match x.here.settings.problems {
        Problems::Off => false,
        Problems::On => true,
        Problems::Auto => {
            let input = x.input.filled();
            let of = |kind, subtype| {
                let values = x.head.fields.all(Known::Accept).map(|field| field.value.of(input));
                accept::quality(values, kind, subtype)
            };
            // A client that asks for JSON gets JSON that says more.
            let object = of("application", "problem+json").max(of("application", "json"));
            object > 0 && object >= of("text", "html")
        }
    }
}

/// The object (RFC 9457, 3): no type of its own, so its title is that of the status.
pub fn object(status: u16, problem: Option<&Problem>) -> String {
    let title = json::quoted(status::reason(status).unwrap_or_default());
    let mut object = format!("{{\"type\":\"about:blank\",\"title\":{title},\"status\":{status}");
    if let Some(Problem { detail, lists }) = problem {
        object += &format!(",\"detail\":{}", json::quoted(detail));
        for (name, list) in lists {
            let list: Vec<String> = list.iter().map(|item| json::quoted(item)).collect();
            object += &format!(",{}:[{}]", json::quoted(name), list.join(","));
        }
    }
    object + "}\n"
}

/// Puts a problem's sentence on a built-in page, behind its heading.
pub fn tell(problem: &Problem, page: &mut Vec<u8>) {
    const HEADING_END: &[u8] = b"</h1></center>\r\n";
    let Some(at) = page.windows(HEADING_END.len()).position(|window| window == HEADING_END) else { return };
    let mut line = b"<center>".to_vec();
    for char in problem.detail.chars() {
        let mut room = [0; 4];
        line.extend_from_slice(match char {
            '<' => b"&lt;",
            '>' => b"&gt;",
            '&' => b"&amp;",
            '"' => b"&quot;",
            char => char.encode_utf8(&mut room).as_bytes(),
        });
    }
    line.extend_from_slice(b"</center>\r\n");
    let at = at + HEADING_END.len();
    page.splice(at..at, line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_pages() {
        let problem = Problem::new("no <such> \"thing\"").with("versions", vec!["v1".into(), "v2".into()]);
        assert_eq!(
            object(404, Some(&problem)),
            "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
             \"detail\":\"no <such> \\\"thing\\\"\",\"versions\":[\"v1\",\"v2\"]}\n"
        );
        assert_eq!(object(403, None), "{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403}\n");
        let mut page = b"<center><h1>404</h1></center>\r\n<hr>".to_vec();
        tell(&problem, &mut page);
        let want =
            "<center><h1>404</h1></center>\r\n<center>no &lt;such&gt; &quot;thing&quot;</center>\r\n<hr>";
        assert_eq!(String::from_utf8_lossy(&page), want);
    }
}
