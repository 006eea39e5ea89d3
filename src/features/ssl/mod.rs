//! TLS for clients (ngx_http_ssl_module): certificates, protocols, sessions, clients' certificates. It
//! makes of the directives what a server's handshakes need; the handshakes are the shard's.

mod compile;
mod finder;
mod named;
mod stapling;
mod variables;

pub use compile::{argument, pair, passwords, read, revoke, suites, versions};
pub use named::{Files, Named};

use crate::conf::{Arity, Context, DirectiveSpec as D, Inherit};
use crate::plan::feature::{Feature, no_end, nothing};

const HS: Context = Context::HTTP.or(Context::SERVER);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "ssl",
    module: Some("http_ssl"),
    directives: DIRECTIVES,
    variables: variables::VARIABLES,
    http: nothing,
    location: compile::location,
    end: no_end,
};

const DIRECTIVES: &[D] = &[
    D::new(
        "ssl_certificate",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "A file with the server's certificate and those between it and a root, in PEM; several for several kinds of keys. The text itself may stand behind data:. A name may have variables: it is then read for each handshake, with the worker's rights.",
    )
    .inherit(Inherit::Together),
    D::new(
        "ssl_certificate_key",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "The key of the certificate of the same place, in PEM; if it is encrypted, ssl_password_file has its pass phrase.",
    )
    .inherit(Inherit::Together),
    D::new(
        "ssl_certificate_cache",
        HS,
        Arity::Between(1, 3),
        "off | max=N [inactive=time] [valid=time]",
        "off",
        "How many certificates whose names have variables each shard keeps; for how long one that nobody asks for (10s); and how long without another look at its file (60s).",
    ),
    D::new(
        "ssl_password_file",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "Pass phrases for encrypted keys, one on each line, which are tried in turn.",
    ),
    D::new(
        "ssl_certificate_compression",
        HS,
        Arity::Flag,
        "on | off",
        "off",
        "Whether certificates are compressed, with zlib, for clients of TLS 1.3 that take it (RFC 8879), and theirs may be.",
    ),
    D::new(
        "ssl_protocols",
        HS,
        Arity::AtLeast(1),
        "[SSLv2] [SSLv3] [TLSv1] [TLSv1.1] [TLSv1.2] [TLSv1.3]",
        "TLSv1.2 TLSv1.3",
        "The versions that are spoken. Those before TLSv1.2 do not exist here: they are named in a warning, and do not count.",
    ),
    D::new(
        "ssl_ciphers",
        HS,
        Arity::Exactly(1),
        "ciphers",
        "HIGH:!aNULL:!MD5",
        "The suites of TLS 1.2, as OpenSSL names and groups them. There are those of ECDHE with AES-GCM and ChaCha20; others drop out.",
    ),
    D::new(
        "ssl_prefer_server_ciphers",
        HS,
        Arity::Flag,
        "on | off",
        "off",
        "Whether the server's order of suites counts rather than the client's.",
    ),
    D::new(
        "ssl_ecdh_curve",
        HS,
        Arity::Exactly(1),
        "curve",
        "auto",
        "The groups for key exchange, joined by colons, the best first: X25519MLKEM768, X25519, prime256v1, secp384r1, SecP256r1MLKEM768, MLKEM768, MLKEM1024; auto is the first four.",
    ),
    D::new(
        "ssl_dhparam",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "Parameters for key exchange with DHE.",
    )
    .accepted("there is no key exchange with DHE here, only with elliptic curves and ML-KEM"),
    D::new(
        "ssl_buffer_size",
        HS,
        Arity::Exactly(1),
        "size",
        "16k",
        "The most bytes of an answer that are encrypted as one record.",
    ),
    D::new(
        "ssl_reject_handshake",
        HS,
        Arity::Flag,
        "on | off",
        "off",
        "Whether handshakes for the names of this server are refused; a default server that does needs no certificate.",
    ),
    D::new(
        "ssl_early_data",
        HS,
        Arity::Flag,
        "on | off",
        "off",
        "Early data of TLS 1.3, which may be replayed; there is none here, and on is refused.",
    ),
    D::new(
        "ssl_session_cache",
        HS,
        Arity::Between(1, 2),
        "off | none | [builtin[:size]] [shared:name:size]",
        "none",
        "A store for sessions that clients go on with; all shards share it. A megabyte holds about 4000.",
    ),
    D::new(
        "ssl_session_timeout",
        HS,
        Arity::Exactly(1),
        "time",
        "5m",
        "How long a client may go on with a session.",
    ),
    D::new(
        "ssl_session_tickets",
        HS,
        Arity::Flag,
        "on | off",
        "on",
        "Whether clients keep their sessions themselves, in tickets.",
    ),
    D::new(
        "ssl_session_ticket_key",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "A file of 48 or 80 random bytes as the key of tickets, for several hosts to share; the first one encrypts, all decrypt. Without it the process has its own, which change.",
    )
    .inherit(Inherit::Together),
    D::new(
        "ssl_verify_client",
        HS,
        Arity::Exactly(1),
        "on | off | optional | optional_no_ca",
        "off",
        "Whether clients are asked for a certificate: on wants a trusted one, optional a trusted one or none, optional_no_ca takes any.",
    ),
    D::new(
        "ssl_verify_depth",
        HS,
        Arity::Exactly(1),
        "number",
        "1",
        "How many certificates may stand between a client's and a trusted one.",
    ),
    D::new(
        "ssl_client_certificate",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "Certificates, in PEM, that are trusted to sign those of clients; clients are told their names.",
    ),
    D::new(
        "ssl_trusted_certificate",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "The same, without telling clients.",
    ),
    D::new(
        "ssl_crl",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "Lists of revoked certificates, in PEM, of version 1 or 2; there must be one of each issuer.",
    ),
    D::new(
        "ssl_stapling",
        HS,
        Arity::Flag,
        "on | off",
        "off",
        "Whether the answer of an OCSP responder goes with the certificate: that in ssl_stapling_file, or one that is fetched, and asked for again before it ends to hold.",
    ),
    D::new(
        "ssl_stapling_file",
        HS,
        Arity::Exactly(1),
        "file",
        "",
        "The answer of an OCSP responder, in DER.",
    ),
    D::new(
        "ssl_stapling_verify",
        HS,
        Arity::Flag,
        "on | off",
        "off",
        "Whether fetched answers are verified: they are always.",
    )
    .accepted("what is fetched is always verified: the certificate's issuer has to have signed it, or somebody in its name"),
    D::new(
        "ssl_stapling_responder",
        HS,
        Arity::Exactly(1),
        "url",
        "",
        "The OCSP responder to ask, in place of the one that the certificate names.",
    ),
];
