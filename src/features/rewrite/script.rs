//! The directives of one level, ready to run: a list of instructions, in which the ones inside an
//! `if` stand behind its condition.

use super::condition::{Condition, FileTest, Verdict};
use super::outcome::Outcome;
use super::replacement::{Replaced, Rewrite, write_quoted};
use crate::base::process_settings::Level;
use crate::http::Method;
use crate::net::error_log::OsError;
use crate::pipeline::answer::Answer;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::settings::Here;
use crate::pipeline::step::{Flow, QuickStep, WaitingStep};
use crate::pipeline::template::Template;
use rustix::io::Errno;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// Instructions in the order in which they are written.
pub struct Script {
    /// The instructions.
    pub instructions: Box<[Instruction]>,
    /// `rewrite_log`.
    pub log: bool,
    /// It is a server's: the location is looked for behind it anyway.
    pub before_location: bool,
}

/// One directive.
pub enum Instruction {
    /// `limit_except`: other methods are served by that level, and nothing of this script runs.
    Limit {
        /// What stays here.
        allowed: Box<[Method]>,
        /// The number of the level among the inner ones.
        inner: usize,
    },
    /// `set`.
    Set {
        /// The variable's place.
        place: usize,
        /// Its value.
        value: Template,
    },
    /// `set $args`.
    SetArgs(Template),
    /// `break`.
    Break,
    /// `return`.
    Return(Outcome),
    /// `rewrite`.
    Rewrite(Box<Rewrite>),
    /// `if`.
    If {
        /// Its condition.
        condition: Box<Condition>,
        /// The level that stands in for the location from now on, among the inner ones; none in a
        /// server.
        inner: Option<usize>,
        /// The instruction behind the block.
        end: usize,
    },
}

/// A script without file tests never waits.
pub struct QuickScript(pub Script);

/// A script with file tests.
pub struct WaitingScript(pub Script);

impl QuickStep for QuickScript {
    fn run(&self, x: &mut Exchange) -> Flow {
        let mut run = Run::new(&self.0, x);
        loop {
            match run.go_on(x) {
                Pause::Done(flow) => return flow,
                // It has none; a file that nobody looked at is not there.
                Pause::File(test, _) => run.found = Some(test.without_file()),
            }
        }
    }
}

impl WaitingStep for WaitingScript {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(async move {
            let mut run = Run::new(&self.0, x);
            loop {
                match run.go_on(x) {
                    Pause::Done(flow) => return flow,
                    Pause::File(test, path) => run.found = Some(look(x, test, &path).await),
                }
            }
        })
    }
}

/// What a file test comes to.
async fn look(x: &Exchange, test: FileTest, path: &[u8]) -> bool {
    match x.file_facts(path).await {
        Ok(facts) => test.of(&facts),
        Err(error) => {
            let missing = matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG)
            );
            if !missing {
                let path = String::from_utf8_lossy(path);
                x.log(Level::Crit, format_args!("stat() \"{path}\" failed {}", OsError(&error)));
            }
            test.without_file()
        }
    }
}

/// Why a run stops.
enum Pause {
    /// It is over.
    Done(Flow),
    /// The condition depends on the file at this path.
    File(FileTest, Vec<u8>),
}

/// A script under way.
struct Run<'s> {
    script: &'s Script,
    /// The location the script belongs to: `x.here` is one of its inner levels once an `if` matched.
    home: Rc<Here>,
    /// The next instruction.
    at: usize,
    /// What the file test that it stopped for came to.
    found: Option<bool>,
    /// Groups are encoded where they go into a value, until a `rewrite` matched: nginx's way.
    quotes: bool,
    /// `rewrite` changed the path and did not forbid to look for its location.
    rewritten: bool,
}

impl<'s> Run<'s> {
    fn new(script: &'s Script, x: &Exchange) -> Run<'s> {
        let home = x.here.clone();
        Run { script, home, at: 0, found: None, quotes: true, rewritten: false }
    }

    /// Runs on to the end, or to the next file test.
    fn go_on(&mut self, x: &mut Exchange) -> Pause {
        let script = self.script;
        while let Some(instruction) = script.instructions.get(self.at) {
            let mut next = self.at + 1;
            match instruction {
                Instruction::Limit { allowed, inner } => {
                    if !allowed.contains(&x.method()) {
                        self.enter(x, *inner);
                        return Pause::Done(Flow::Next);
                    }
                }
                Instruction::Set { place, value } => self.assign(x, *place, value),
                Instruction::SetArgs(value) => {
                    let mut args = Vec::new();
                    write_quoted(value, x, self.quotes, &mut args);
                    x.args = args;
                    x.uri_is_original = false;
                }
                Instruction::Break => {
                    if std::mem::take(&mut self.rewritten) {
                        x.uri_is_located = false;
                    }
                    break;
                }
                Instruction::Return(outcome) => return Pause::Done(Flow::Answer(outcome.answer(x))),
                Instruction::Rewrite(rewrite) => match rewrite.run(x, script.log) {
                    Ok(Replaced::No) => {}
                    Ok(Replaced::Path) => {
                        self.quotes = false;
                        self.rewritten = rewrite.searches();
                        if rewrite.is_last() {
                            break;
                        }
                    }
                    Ok(Replaced::Redirect(status)) => {
                        return Pause::Done(Flow::Answer(Answer::Status(status)));
                    }
                    Err(status) => return Pause::Done(Flow::Answer(Answer::Status(status))),
                },
                Instruction::If { condition, inner, end } => {
                    let verdict = match self.found.take() {
                        Some(found) => Verdict::Known(found),
                        None => match condition.verdict(x, self.quotes, script.log) {
                            Ok(verdict) => verdict,
                            Err(status) => return Pause::Done(Flow::Answer(Answer::Status(status))),
                        },
                    };
                    match verdict {
                        Verdict::File(test, path) => return Pause::File(test, path),
                        Verdict::Known(true) => inner.iter().for_each(|inner| self.enter(x, *inner)),
                        Verdict::Known(false) => next = *end,
                    }
                }
            }
            self.at = next;
        }
        let search = self.rewritten && !script.before_location;
        Pause::Done(if search { Flow::Search } else { Flow::Next })
    }

    /// An inner level stands in for the location. As in nginx the upstream of an `if` that matched before
    /// is wanted even so, unless this one has its own.
    fn enter(&self, x: &mut Exchange, inner: usize) {
        if let Some(here) = self.home.inner.get(inner) {
            let is_first = Rc::ptr_eq(&x.here, &self.home);
            let wanted = !is_first && (x.here.settings.passes || x.lost_upstream);
            x.enter(here);
            x.lost_upstream = wanted && !here.settings.passes;
        }
    }

    fn assign(&self, x: &mut Exchange, place: usize, value: &Template) {
        if let Some(text) = value.as_literal() {
            return x.values.set(place, text);
        }
        let mut scratch = std::mem::take(&mut x.scratch);
        scratch.clear();
        write_quoted(value, x, self.quotes, &mut scratch);
        x.values.set(place, &scratch);
        x.scratch = scratch;
    }
}
