//! `limit_req` and `limit_conn`: how many requests of a kind may come in a time, and how many may be
//! under way at once. What both count in is a zone, which all shards share.

mod connections;
mod lines;
mod requests;
mod zone;

pub use requests::Thousandths;

use crate::base::process_settings::Level;
use crate::conf::{Arity, Inherit};
use crate::conf::{Context, Diagnostic, DirectiveSpec as D, Scope};
use crate::plan::feature::{Feature, no_end};

const HTTP: Context = Context::HTTP;
const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);
const ONE: Arity = Arity::Exactly(1);

/// `limit_req`. Its steps come before those of `limit_conn`.
pub const REQUESTS: Feature = Feature {
    name: "limit_req",
    module: Some("http_limit_req"),
    directives: &[
        D::new(
            "limit_req_zone",
            HTTP,
            Arity::Exactly(3),
            "key zone=name:size rate=rate",
            "",
            "Declares a zone that counts requests by a key (text with variables), and the rate at which a key's requests may come: 10r/s, 30r/m. A rate may hold variables, which NGINX's cannot: one that is empty for a request is no limit, one that is no rate is refused.",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "limit_req",
            HSL,
            Arity::Between(1, 3),
            "zone=name [burst=number] [nodelay | delay=number]",
            "",
            "Holds requests to a zone's rate: up to burst requests more wait for their turn (beyond delay, or none with nodelay), what exceeds that is refused. A request with an empty key is not counted; one whose key is known only behind auth_request is counted there.",
        )
        .inherit(Inherit::Together),
        D::new(
            "limit_req_log_level",
            HSL,
            ONE,
            "info | notice | warn | error",
            "error",
            "The level at which refused requests are logged; delayed ones are logged one level below.",
        ),
        D::new("limit_req_status", HSL, ONE, "code", "503", "The status of refused requests, 400 to 599."),
        D::new(
            "limit_req_dry_run",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Counts and logs, and neither delays nor refuses.",
        ),
    ],
    variables: requests::VARIABLES,
    http: requests::http,
    location: requests::location,
    end: no_end,
};

/// `limit_conn`.
pub const CONNECTIONS: Feature = Feature {
    name: "limit_conn",
    module: Some("http_limit_conn"),
    directives: &[
        D::new(
            "limit_conn_zone",
            HTTP,
            Arity::Exactly(2),
            "key zone=name:size",
            "",
            "Declares a zone that counts requests under way by a key (text with variables).",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "limit_conn",
            HSL,
            Arity::Exactly(2),
            "zone number",
            "",
            "Refuses a request while so many of its key are under way. One with an empty key is not counted.",
        )
        .inherit(Inherit::Together),
        D::new(
            "limit_conn_log_level",
            HSL,
            ONE,
            "info | notice | warn | error",
            "error",
            "The level at which refused requests are logged.",
        ),
        D::new("limit_conn_status", HSL, ONE, "code", "503", "The status of refused requests, 400 to 599."),
        D::new(
            "limit_conn_dry_run",
            HSL,
            Arity::Flag,
            "on | off",
            "off",
            "Counts and logs, and does not refuse.",
        ),
    ],
    variables: connections::VARIABLES,
    http: connections::http,
    location: connections::location,
    end: no_end,
};

/// What becomes of a request that a limit refuses, in one location.
#[derive(Clone, Copy)]
struct Refusal {
    level: Level,
    status: u16,
    dry_run: bool,
}

/// The names of its directives: level, status, dry run.
type Names = [&'static str; 3];

impl Refusal {
    fn compile(scope: &Scope<'_>, names: Names) -> Result<Refusal, Diagnostic> {
        const LEVELS: &[(&str, Level)] = &[
            ("info", Level::Info),
            ("notice", Level::Notice),
            ("warn", Level::Warn),
            ("error", Level::Error),
        ];
        let [level, status, dry_run] = names;
        let code = scope.number(status, 503)?;
        let status = match (u16::try_from(code), scope.one(status)) {
            (Ok(status @ 400..=599), _) => status,
            (_, Some(line)) => return Err(scope.error(line, "value must be between 400 and 599")),
            (_, None) => 503,
        };
        Ok(Refusal {
            level: scope.one_of(level, LEVELS, Level::Error)?,
            status,
            dry_run: scope.flag(dry_run, false)?,
        })
    }
}
