//! Steps: what features put into the phases of the walk, and what a step may ask of it.

use super::answer::{Answer, AnswerHead};
use super::exchange::Exchange;
use super::limits::Limits;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The phases of the walk in which steps run, in order. FindLocation lies between
/// `ServerRewrite` and `Rewrite` and is the walk's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The head was read; the server is known.
    PostRead,
    /// The server's own rewrite directives.
    ServerRewrite,
    /// The location's rewrite directives.
    Rewrite,
    /// Before access control: limits by address.
    PreAccess,
    /// Who may come in.
    Access,
    /// The caller is known: what it may do, and how much.
    Admit,
    /// Before the content: `try_files`, `mirror`.
    PreContent,
    /// The one that answers.
    Content,
}

/// How many phases there are.
pub const PHASES: usize = Phase::Content as usize + 1;

/// What a step wants next.
pub enum Flow {
    /// Nothing to say: the next step.
    Next,
    /// In Access: the request may come in, as far as this step is concerned; `satisfy` decides whether
    /// that is enough. Elsewhere the same as `Next`.
    Grant,
    /// In Access: as `Grant`, by a credential. Where one step is enough, the other credentials that the
    /// client has sent must be right all the same.
    Identify,
    /// In Access: this status stands, whatever `satisfy` says, unless the client's address was enough: a
    /// credential that the client has sent is wrong.
    Refuse(u16),
    /// The next step, after this long. Whoever leaves meanwhile is not served (499).
    Pause(Duration),
    /// The walk runs this subrequest and then this step again, with `Exchange::asked` filled.
    Ask(Box<Subrequest>),
    /// The next step; the walk makes these requests on the side, and nobody waits for them.
    Aside(Box<[Subrequest]>),
    /// The request is answered.
    Answer(Answer),
    /// The request becomes another one, inside.
    Relocate(Relocation),
    /// The path was rewritten: the location is looked for again.
    Search,
    /// Another level stands in for the location: its phases begin.
    Enter,
}

/// A request the gateway makes to itself on behalf of a client's; it reads no body.
#[derive(Debug)]
pub struct Subrequest {
    /// The path, normalised, and the arguments.
    pub uri: Vec<u8>,
    /// Arguments, without `?`.
    pub args: Vec<u8>,
}

/// What a subrequest came to.
#[derive(Debug, Default)]
pub struct Asked {
    /// Status and header fields of its answer.
    pub head: AnswerHead,
    /// The first bytes of its body.
    pub body: Vec<u8>,
    /// What limits made of it, which is the asking request's.
    pub limits: Limits,
}

/// Where a request goes on inside.
#[derive(Debug)]
pub enum Relocation {
    /// To the location of this path; the arguments replace those of the request where given.
    Uri {
        /// The path, normalised.
        uri: Vec<u8>,
        /// New arguments.
        args: Option<Vec<u8>>,
    },
    /// To a named location, its name without `@`.
    Named(Box<str>),
}

/// A step that never waits.
pub trait QuickStep: Send + Sync {
    /// Looks at the exchange and says what is next.
    fn run(&self, x: &mut Exchange) -> Flow;
}

/// A step that may wait: one boxed future per run.
pub trait WaitingStep: Send + Sync {
    /// Looks at the exchange and says what is next.
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>>;

    /// For `octroi explain`, which asks no other host: what a step that would ask one is about to do, line
    /// by line, instead of doing it. `None` for a step that may be run.
    fn preview(&self, _x: &mut Exchange) -> Option<String> {
        None
    }
}

/// A step in a phase.
pub enum Step {
    /// Never waits.
    Quick(Box<dyn QuickStep>),
    /// May wait.
    Waiting(Box<dyn WaitingStep>),
}

/// Changes an answer's head before it is sent.
pub trait HeaderFilter: Send + Sync {
    /// Adds, changes or removes fields of `x.answer`.
    fn filter(&self, x: &mut Exchange);
}

/// Runs when the request is over, whatever became of it.
pub trait LogStep: Send + Sync {
    /// Writes what there is to write about `x`.
    fn log(&self, x: &Exchange);
}
