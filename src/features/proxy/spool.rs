//! Where an answer waits for a client that is slower than the upstream: `proxy_buffers`,
//! `proxy_max_temp_file_size` and what belongs to them.

use super::compile::BUFFER_SIZE;
use crate::conf::{Diagnostic, Scope};
use crate::pipeline::local::Slot;
use crate::pipeline::passing::SpoolRules;
use crate::plan::builder::Builder;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

/// `proxy_buffers` when nothing is said: how many, and bytes of each.
const BUFFERS: (u64, u64) = (8, 4 * 1024);

/// `proxy_max_temp_file_size` when nothing is said, bytes.
const FILE_MAX: u64 = 1024 * 1024 * 1024;

/// Where each shard has the rules: locations with the same ones share them.
#[derive(Default)]
struct Known(HashMap<SpoolRules, Slot<Rc<SpoolRules>>>);

/// The rules of a location.
///
/// # Errors
/// What nginx refuses, in its words: sizes that do not go together.
pub(super) fn compile(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<Slot<Rc<SpoolRules>>, Diagnostic> {
    let refuse = |names: [&str; 2], message: &str| {
        let directive = names.iter().find_map(|name| scope.one(name));
        directive.map_or(Ok(()), |directive| Err(scope.error(directive, message)))
    };
    let (number, size) = scope.buffers("proxy_buffers", BUFFERS)?;
    if number < 2 {
        refuse(["proxy_buffers"; 2], "there must be at least 2 \"proxy_buffers\"")?;
    }
    let least = scope.size("proxy_buffer_size", BUFFER_SIZE)?.max(size);
    let too_small = |name: &str, says: &str| {
        let of_all = "the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";
        refuse(
            [name, "proxy_buffer_size"],
            &format!("\"{name}\" must be {says} equal to or greater than {of_all}").replace("  ", " "),
        )
    };
    let busy = scope.size("proxy_busy_buffers_size", 2 * least)?;
    if busy < least {
        too_small("proxy_busy_buffers_size", "")?;
    }
    let all = number.saturating_mul(size);
    if busy > all.saturating_sub(size) {
        let message = "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer";
        refuse(["proxy_busy_buffers_size", "proxy_buffers"], message)?;
        refuse(["proxy_buffer_size"; 2], message)?;
    }
    let write = scope.size("proxy_temp_file_write_size", 2 * least)?;
    if write < least {
        too_small("proxy_temp_file_write_size", "")?;
    }
    let file_max = scope.size("proxy_max_temp_file_size", FILE_MAX)?;
    if file_max > 0 && file_max < least {
        too_small("proxy_max_temp_file_size", "equal to zero to disable temporary files usage or must be")?;
    }
    let rules = SpoolRules {
        memory_bytes: usize::try_from(all).unwrap_or(usize::MAX),
        file_max,
        write_bytes: usize::try_from(write).unwrap_or(usize::MAX),
        folder: folder(scope, b),
    };
    if let Some(slot) = b.store::<Known>().0.get(&rules) {
        return Ok(*slot);
    }
    let made = rules.clone();
    let slot = b.reserve(move |_| Rc::new(made.clone()));
    b.store::<Known>().0.insert(rules, slot);
    Ok(slot)
}

fn folder(scope: &Scope<'_>, b: &Builder<'_>) -> PathBuf {
    let default = if b.origin().is_debian() { "/var/lib/nginx/proxy" } else { "proxy_temp" };
    b.path(scope.word("proxy_temp_path").unwrap_or(default))
}

/// Has the folder made before the worker starts, where answers may come to it.
///
/// # Errors
/// A wrong `proxy_max_temp_file_size`.
pub(super) fn ask_for_folder(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    if scope.size("proxy_max_temp_file_size", FILE_MAX)? > 0 {
        let folder = folder(scope, b);
        b.temp_folder(&folder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::features::proxy;
    use crate::features::testing::{Bench, message};
    use crate::features::upstream;

    fn bench(directives: &str) -> Bench {
        let text =
            format!("http {{ server {{ {directives} location / {{ proxy_pass http://127.0.0.1; }} }} }}");
        Bench::new(&text, &[&upstream::FEATURE, &proxy::FEATURE])
    }

    #[test]
    fn sizes_that_do_not_go_together_are_refused() {
        for (directives, want) in [
            ("proxy_buffers 1 4k;", "there must be at least 2 \"proxy_buffers\""),
            (
                "proxy_busy_buffers_size 2k;",
                "\"proxy_busy_buffers_size\" must be equal to or greater than the maximum of the value of \
                 \"proxy_buffer_size\" and one of the \"proxy_buffers\"",
            ),
            (
                "proxy_busy_buffers_size 32k;",
                "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer",
            ),
            (
                "proxy_buffer_size 64k;",
                "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer",
            ),
            (
                "proxy_temp_file_write_size 1k;",
                "\"proxy_temp_file_write_size\" must be equal to or greater than the maximum of the value of \
                 \"proxy_buffer_size\" and one of the \"proxy_buffers\"",
            ),
            (
                "proxy_max_temp_file_size 1k;",
                "\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be \
                 equal to or greater than the maximum of the value of \"proxy_buffer_size\" and one of the \
                 \"proxy_buffers\"",
            ),
        ] {
            assert_eq!(message(bench(directives).plan()), want, "{directives}");
        }
    }

    #[test]
    fn sizes_that_do_are_taken() {
        for directives in [
            "",
            "proxy_max_temp_file_size 0;",
            "proxy_buffer_size 16k; proxy_buffers 4 16k; proxy_busy_buffers_size 48k; proxy_temp_path tmp 1 2;",
            "proxy_temp_file_write_size 8k; proxy_max_temp_file_size 4k;",
        ] {
            bench(directives).plan().unwrap();
        }
    }
}
