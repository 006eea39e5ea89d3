//! `auth_basic`: a name and a password (RFC 7617) against a password file. Passwords are hashed on a
//! pool of their own, never on a shard.

mod crypt;
mod file;
mod known;

use crate::base::clock;
use crate::base::process_settings::Level;
use crate::conf::{Arity, Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::http::{Known as Field, basic};
use crate::net::error_log::OsError;
use crate::net::file_version::FileVersion;
use crate::net::pool::Pool;
use crate::pipeline::answer::Answer as Reply;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::local::Slot;
use crate::pipeline::step::{Flow, Phase, WaitingStep};
use crate::pipeline::template::Template;
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end};
use file::{Answer, Failed};
use known::{Join, Known, Outcome};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

const CONTEXTS: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION).or(Context::LIMIT_EXCEPT);

/// Threads that hash passwords: beside the shards, which go on meanwhile.
const THREADS: usize = 2;

/// Passwords that may wait for them, all shards together; who comes then gets 503. At a tenth of a second
/// each, the last one waits 13 s.
const QUEUE: usize = 256;

/// How long one password may wait and be hashed; then it is 503 too.
const WAIT: Duration = Duration::from_secs(30);

static POOL: Pool = Pool::new("password", THREADS, QUEUE);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "auth_basic",
    module: Some("http_auth_basic"),
    directives: &[
        D::new(
            "auth_basic",
            CONTEXTS,
            Arity::Exactly(1),
            "string | off",
            "off",
            "Asks for a name and a password (401), with this text as the realm; variables are allowed.",
        ),
        D::new(
            "auth_basic_user_file",
            CONTEXTS,
            Arity::Exactly(1),
            "file",
            "",
            "The names and passwords: lines of name:password, hashed by crypt(3) (DES, MD5, SHA-256, SHA-512, bcrypt), as apr1, or written as {PLAIN}, {SHA}, {SSHA}. Variables are allowed; changes are seen at once.",
        ),
    ],
    variables: &[],
    http: compile_only,
    location,
    end: no_end,
};

/// `auth_basic` in one location.
struct AuthBasic {
    realm: Template,
    user_file: Template,
    /// What a relative path of the file begins with: the configuration's directory.
    directory: Vec<u8>,
    known: Slot<Known>,
}

/// The slot of what shards know, which all locations share.
#[derive(Default)]
struct Shared(Option<Slot<Known>>);

fn compile_only(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    for name in ["auth_basic", "auth_basic_user_file"] {
        if let Some(word) = scope.one(name).and_then(|line| line.args.first()) {
            b.template(word)?;
        }
    }
    Ok(())
}

fn location(scope: &Scope<'_>, b: &mut Builder<'_>) -> Result<(), Diagnostic> {
    compile_only(scope, b)?;
    let word = |name| scope.one(name).and_then(|line| line.args.first());
    let (Some(realm), Some(user_file)) = (word("auth_basic"), word("auth_basic_user_file")) else {
        return Ok(());
    };
    if realm.text == "off" {
        return Ok(());
    }
    let (realm, user_file) = (b.template(realm)?, b.template(user_file)?);
    let directory = b.origin().conf.parent().unwrap_or(&b.origin().prefix);
    let mut directory = directory.as_os_str().as_encoded_bytes().to_vec();
    directory.push(b'/');
    let known = match b.store::<Shared>().0 {
        Some(slot) => slot,
        None => {
            let slot = b.reserve(|_| Known::new());
            b.store::<Shared>().0 = Some(slot);
            slot
        }
    };
    b.waiting(Phase::Access, AuthBasic { realm, user_file, directory, known });
    Ok(())
}

impl WaitingStep for AuthBasic {
    fn run<'a>(&'a self, x: &'a mut Exchange) -> Pin<Box<dyn Future<Output = Flow> + 'a>> {
        Box::pin(self.ask(x))
    }
}

impl AuthBasic {
    async fn ask(&self, x: &mut Exchange) -> Flow {
        let realm = self.realm.value(x);
        if realm == b"off" {
            return Flow::Next;
        }
        let mut credentials = Vec::new();
        let field = x.head.fields.find(Field::Authorization);
        let name = field
            .and_then(|field| basic::push_credentials(field.value.of(x.input.filled()), &mut credentials));
        let Some(name) = name else {
            x.log(Level::Info, format_args!("no user/password was provided for basic authentication"));
            return challenge(x, &realm);
        };
        let mut path = self.user_file.value(x);
        if !path.starts_with(b"/") {
            path.splice(0..0, self.directory.iter().copied());
        }
        path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
        let locals = x.locals.clone();
        let known = locals.at(self.known);
        let until = clock::now() + WAIT;
        let checked = x.alarm.within(until, check(known, &path, &credentials, name)).await;
        let user = String::from_utf8_lossy(credentials.get(..name).unwrap_or_default());
        let path = String::from_utf8_lossy(&path);
        match checked {
            Ok(Ok(Answer::Right)) => Flow::Grant,
            Ok(Ok(Answer::Wrong)) => {
                x.log(Level::Error, format_args!("user \"{user}\": password mismatch"));
                challenge(x, &realm)
            }
            Ok(Ok(Answer::NoUser)) => {
                x.log(Level::Error, format_args!("user \"{user}\" was not found in \"{path}\""));
                challenge(x, &realm)
            }
            Ok(Ok(Answer::Unknown)) => {
                x.log(
                    Level::Crit,
                    format_args!("user \"{user}\": the kind of hash in \"{path}\" is not supported"),
                );
                Flow::Answer(Reply::Status(500))
            }
            Ok(Err(failed)) => fail(x, &path, &failed),
            Err(_) => {
                x.log(Level::Error, format_args!("user \"{user}\": checking the password took too long"));
                Flow::Answer(Reply::Status(503))
            }
        }
    }
}

/// Asks for a name and a password.
fn challenge(x: &mut Exchange, realm: &[u8]) -> Flow {
    x.answer.fields.push_with(b"WWW-Authenticate", |out| {
        out.extend_from_slice(b"Basic realm=\"");
        out.extend_from_slice(realm);
        out.push(b'"');
    });
    Flow::Answer(Reply::Status(401))
}

fn fail(x: &mut Exchange, path: &str, failed: &Failed) -> Flow {
    let (level, call, error, status) = match failed {
        Failed::Open(error) if error.kind() == io::ErrorKind::NotFound => (Level::Error, "open", error, 403),
        Failed::Open(error) if error.kind() == io::ErrorKind::WouldBlock => {
            x.log(Level::Error, format_args!("too many passwords wait to be checked"));
            return Flow::Answer(Reply::Status(503));
        }
        Failed::Open(error) => (Level::Crit, "open", error, 500),
        Failed::Read(error) => (Level::Crit, "read", error, 500),
    };
    x.log(level, format_args!("{call}() \"{path}\" failed {}", OsError(error)));
    Flow::Answer(Reply::Status(status))
}

/// Checks `name:password` against a file, unless it is known to be right or is being checked.
async fn check(known: &Known, path: &[u8], credentials: &[u8], name: usize) -> Outcome {
    // Where there is no version, reading the file will say why.
    let version = FileVersion::at(path).await.ok();
    let mark = known.mark(path, version, credentials);
    if version.is_some() && known.is_right(mark) {
        return Ok(Answer::Right);
    }
    loop {
        let checking = match known.join(mark) {
            Join::Check(checking) => checking,
            Join::Wait(told) => match told.recv_async().await {
                Ok(outcome) => return outcome,
                // Who was checking has left.
                Err(_) => continue,
            },
        };
        let (file, pair) = (path.to_vec(), credentials.to_vec());
        let done = POOL.run(move || file::check(&file, &pair, name)).await;
        let outcome: Outcome = match done {
            Ok(Ok(checked)) => {
                if let (Answer::Right, Some(version)) = (checked.answer, checked.version) {
                    known.note_right(known.mark(path, Some(version), credentials));
                }
                Ok(checked.answer)
            }
            Ok(Err(failed)) => Err(Rc::new(failed)),
            Err(busy) => Err(Rc::new(Failed::Open(busy))),
        };
        checking.tell(&outcome);
        return outcome;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};

    #[test]
    fn both_directives_make_a_step() {
        let text = "http { auth_basic_user_file users; server {
            location /asks { auth_basic closed; } location /silent { }
            location /off { auth_basic off; } location /maybe { auth_basic $uri; auth_basic_user_file $uri; } } }";
        let bench = Bench::new(text, &[&crate::features::variables::FEATURE, &FEATURE]);
        let steps = |name: &str| bench.exchange(name, |x| x.here.settings.steps(Phase::Access).len());
        assert_eq!(["/asks", "/silent", "/off", "/maybe"].map(steps), [1, 0, 0, 1]);
    }

    #[test]
    fn errors_are_nginxs() {
        let wrong = |text: &str| message(Bench::new(&format!("http {{ {text} }}"), &[&FEATURE]).plan());
        assert_eq!(wrong("auth_basic_user_file $no;"), "unknown \"no\" variable");
    }
}
