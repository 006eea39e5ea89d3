//! `canary`: a share of the requests of a `proxy_pass` goes to another group of servers.

use super::settings::ProxyStep;
use crate::conf::{Context, Diagnostic, Directive, Scope, Word};
use crate::features::split_clients::{WHOLE, hundredths, murmur2};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::step::{Flow, WaitingStep};
use crate::pipeline::template::Template;
use crate::pipeline::variable::Variable;
use crate::plan::builder::Builder;
use std::future::Future;
use std::pin::Pin;

/// The content step of a location with `canary`: two that differ in the group of servers alone.
pub struct Split {
    pub share: Share,
    pub stays: ProxyStep,
    pub leaves: ProxyStep,
}

impl Split {
    fn step(&self, x: &mut Exchange) -> &ProxyStep {
        if self.share.takes(x) { &self.leaves } else { &self.stays }
    }
}

impl WaitingStep for Split {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        self.step(x).run(x)
    }

    fn preview(&self, x: &mut Exchange) -> Option<String> {
        self.step(x).preview(x)
    }
}

/// A share of the requests: the same key always belongs to it, or never.
pub struct Share {
    /// Keys whose hash is below this, as `split_clients` counts.
    below: u32,
    key: Template,
    /// `$request_id`, for requests without a key.
    otherwise: Variable,
}

impl Share {
    fn takes(&self, x: &mut Exchange) -> bool {
        let mut key = std::mem::take(&mut x.scratch);
        key.clear();
        self.key.write(x, &mut key);
        if key.is_empty() {
            self.otherwise.write(x, &mut key);
        }
        let takes = murmur2(&key) < self.below;
        x.scratch = key;
        takes
    }
}

/// The line that holds at a level: its own, or that of the location it stands in.
pub fn line<'t>(scope: &Scope<'t>) -> Option<&'t Directive> {
    let mut level = Some(scope.clone());
    while let Some(scope) = level {
        if let Some(line) = scope.here("canary").next() {
            return Some(line);
        }
        let is_within = scope.context() != Context::LOCATION
            || scope.directive().is_some_and(|block| block.name.text == "version");
        level = scope.parent().filter(|_| is_within && scope.location().is_some());
    }
    None
}

/// Reads `canary 5% [by=string] to=upstream`: the share, and the name of the upstream.
///
/// # Errors
/// A share that is none, and parameters that are not known.
pub fn compile<'t>(
    scope: &Scope<'t>,
    line: &'t Directive,
    b: &mut Builder<'_>,
) -> Result<(Share, &'t str), Diagnostic> {
    let wrong = |word: &Word, what: &str| scope.error_at(line, word, format!("{what} \"{}\"", word.text));
    let [share, parameters @ ..] = line.args.as_slice() else {
        return Err(scope.error(line, "invalid number of arguments in \"canary\" directive"));
    };
    let invalid_share = || wrong(share, "invalid percent value");
    let share_of = match share.text.as_str() {
        // How a canary is taken away.
        "0%" => 0,
        text => hundredths(text).filter(|share| *share <= WHOLE).ok_or_else(invalid_share)?,
    };
    let (mut key, mut to) = (None, None);
    for word in parameters {
        let (name, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
        match name {
            "by" if key.is_none() && !value.is_empty() => key = Some(b.template_of(value, word)?),
            "to" if to.is_none() && !value.is_empty() => to = Some((value, word)),
            _ => return Err(wrong(word, "invalid parameter")),
        }
    }
    let Some((name, word)) = to else {
        return Err(scope.error(line, "\"canary\" must have \"to\" parameter"));
    };
    if name.contains(['/', '$', '?']) {
        return Err(scope.error_at(line, word, format!("\"{name}\" is no name of an upstream")));
    }
    let below = match share_of {
        WHOLE => u32::MAX,
        share => (u64::from(share) * u64::from(u32::MAX) / u64::from(WHOLE)) as u32,
    };
    let otherwise = b.variable("request_id", word);
    Ok((Share { below, key: key.unwrap_or_default(), otherwise }, name))
}
