//! The directives, as data.

use crate::conf::{Arity, Context, DirectiveSpec as D, Inherit, Values};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);
const ONE: Arity = Arity::Exactly(1);
const FLAG: Arity = Arity::Flag;

const BOUNDED: &str = "one buffer of at most 64 KB is on its way to the client";
/// `proxy_cache` itself is refused; these two stand in many files that have none, and mean nothing there.
const NO_CACHE: &str = "it is about proxy_cache, and there is none";
const NOT_BUILT: &str = "the module it belongs to is not built; nothing is written there";

/// All of them.
pub const DIRECTIVES: &[D] = &[
    D::new("proxy_pass", Context::LOCATION.or(Context::IF_IN_LOCATION).or(Context::LIMIT_EXCEPT), ONE, "URL", "", "The upstream that answers: http://host[:port][/uri], http://unix:/path[:/uri], or an upstream's name; variables are allowed.").inherit(Inherit::Answers),
    D::new("canary", Context::LOCATION, Arity::Between(2, 3), "share% [by=string] to=upstream", "", "The share of the requests of this proxy_pass that another upstream gets, by the hash of the string: the same string always goes the same way; where it is empty, $request_id is taken. Only the upstream's name is another one.").inherit(Inherit::Never),
    D::new("proxy_set_header", HSL, Arity::Exactly(2), "field value", "Host $proxy_host; Connection \"\"", "A header field of the request to the upstream; an empty value removes it.").inherit(Inherit::Together),
    D::new("proxy_hide_header", HSL, ONE, "field", "", "A field of the upstream's answer that clients do not see.").inherit(Inherit::Together),
    D::new("proxy_pass_header", HSL, ONE, "field", "", "A field that is hidden by default and that clients shall see.").inherit(Inherit::Together),
    D::new("proxy_http_version", HSL, ONE, "1.0 | 1.1", "1.1", "The version spoken to the upstream."),
    D::new("proxy_connect_timeout", HSL, ONE, "time", "60s", "How long connecting may take."),
    D::new("proxy_send_timeout", HSL, ONE, "time", "60s", "How long the upstream may take between two reads of the request."),
    D::new("proxy_read_timeout", HSL, ONE, "time", "60s", "How long the upstream may take between two parts of its answer."),
    D::new("proxy_buffering", HSL, FLAG, "on | off", "on", "Whether parts of an answer are gathered into full buffers before they are sent on."),
    D::new("proxy_request_buffering", HSL, FLAG, "on | off", "on", "Whether a request's body is read to its end before the upstream is asked."),
    D::new("proxy_buffer_size", HSL, ONE, "size", "4k|8k", "The largest head of an answer."),
    D::new("proxy_buffers", HSL, Arity::Exactly(2), "number size", "8 4k|8k", "Memory that an answer waits in for a slow client before a temporary file is used."),
    D::new("proxy_busy_buffers_size", HSL, ONE, "size", "8k|16k", "How much of an answer may be on its way to the client.").values(Values::Size).accepted(BOUNDED),
    D::new("proxy_max_temp_file_size", HSL, ONE, "size", "1024m", "How much of an answer may wait in a temporary file for a slow client; 0 for nothing."),
    D::new("proxy_temp_file_write_size", HSL, ONE, "size", "8k|16k", "How much is written to a temporary file at once."),
    D::new("proxy_temp_path", HSL, Arity::Between(1, 4), "path [level1 [level2 [level3]]]", "proxy_temp", "The directory of those temporary files.").values(Values::TempPath),
    D::new("fastcgi_temp_path", HSL, Arity::Between(1, 4), "path [level1 [level2 [level3]]]", "fastcgi_temp", "A directory for temporary files.").values(Values::TempPath).accepted(NOT_BUILT),
    D::new("uwsgi_temp_path", HSL, Arity::Between(1, 4), "path [level1 [level2 [level3]]]", "uwsgi_temp", "A directory for temporary files.").values(Values::TempPath).accepted(NOT_BUILT),
    D::new("scgi_temp_path", HSL, Arity::Between(1, 4), "path [level1 [level2 [level3]]]", "scgi_temp", "A directory for temporary files.").values(Values::TempPath).accepted(NOT_BUILT),
    D::new("proxy_headers_hash_max_size", HSL, ONE, "size", "512", "The size of a table of nginx's.").values(Values::Number).accepted("the table grows as it must"),
    D::new("proxy_headers_hash_bucket_size", HSL, ONE, "size", "64", "The size of a table of nginx's.").values(Values::Number).accepted("the table grows as it must"),
    D::new("proxy_cache_bypass", HSL, Arity::AtLeast(1), "string ...", "", "When an answer is not taken from the cache.").accepted(NO_CACHE).inherit(Inherit::Together),
    D::new("proxy_no_cache", HSL, Arity::AtLeast(1), "string ...", "", "When an answer is not kept in the cache.").accepted(NO_CACHE).inherit(Inherit::Together),
    D::new("proxy_next_upstream", HSL, Arity::AtLeast(1), "error | timeout | invalid_header | http_500 | http_502 | http_503 | http_504 | http_403 | http_404 | http_429 | non_idempotent | off ...", "error timeout", "When the next server of the group is tried."),
    D::new("proxy_next_upstream_tries", HSL, ONE, "number", "0", "How many servers are tried; 0 for all."),
    D::new("proxy_next_upstream_timeout", HSL, ONE, "time", "0", "For how long another server may be tried; 0 for any time."),
    D::new("proxy_redirect", HSL, Arity::Between(1, 2), "default | off | redirect replacement", "default", "How Location and Refresh of an answer are rewritten: a prefix, or a regular expression after ~ or ~*, and what replaces it.").inherit(Inherit::Together),
    D::new("proxy_method", HSL, ONE, "method", "", "The method of the request to the upstream instead of the client's; variables are allowed."),
    D::new("proxy_set_body", HSL, ONE, "value", "", "The body of the request to the upstream instead of the client's; variables are allowed."),
    D::new("proxy_pass_request_headers", HSL, FLAG, "on | off", "on", "Whether the client's header fields are passed on."),
    D::new("proxy_pass_request_body", HSL, FLAG, "on | off", "on", "Whether the client's body is passed on."),
    D::new("proxy_intercept_errors", HSL, FLAG, "on | off", "off", "Whether answers with a status from 300 on are replaced by the error_page for it, where there is one."),
    D::new("proxy_cookie_domain", HSL, Arity::Between(1, 2), "off | domain replacement", "off", "How the domain of cookies is rewritten: a name, or a regular expression after ~.").inherit(Inherit::Together),
    D::new("proxy_cookie_path", HSL, Arity::Between(1, 2), "off | path replacement", "off", "How the path of cookies is rewritten: a prefix, or a regular expression after ~ or ~*.").inherit(Inherit::Together),
    D::new("proxy_cookie_flags", HSL, Arity::Between(1, 4), "off | cookie [secure | nosecure | httponly | nohttponly | samesite=strict | samesite=lax | samesite=none | nosamesite ...]", "off", "Flags that are set or taken off cookies of this name, or whose name matches a regular expression after ~.").inherit(Inherit::Together),
    D::new("proxy_ignore_headers", HSL, Arity::AtLeast(1), "field ...", "", "Fields of the answer that the gateway does not act on: X-Accel-Redirect, X-Accel-Limit-Rate, X-Accel-Buffering; those for caches and charsets have no effect anyway.").inherit(Inherit::Together),
    D::new("proxy_force_ranges", HSL, FLAG, "on | off", "off", "Whether a part of an answer is sent to clients that ask for it, whatever the upstream says."),
    D::new("proxy_limit_rate", HSL, ONE, "rate", "0", "Bytes a second an answer is read at, with proxy_buffering on; 0 for any; variables are allowed."),
    D::new("proxy_socket_keepalive", HSL, FLAG, "on | off", "off", "Whether connections to upstreams have TCP keepalive (SO_KEEPALIVE)."),
    D::new("proxy_socket_rcvbuf", HSL, ONE, "size", "", "The kernel's buffer for what comes from an upstream (SO_RCVBUF); 0 leaves it to the kernel."),
    D::new("proxy_socket_sndbuf", HSL, ONE, "size", "", "The kernel's buffer for what goes to an upstream (SO_SNDBUF); 0 leaves it to the kernel."),
    D::new("proxy_send_lowat", HSL, ONE, "size", "0", "How much room a connection to an upstream must have before it is written to.").accepted("Linux has no such option, and nginx ignores it there too").values(Values::Size),
    D::new("proxy_bind", HSL, Arity::Between(1, 2), "address [transparent] | off", "", "The address that connections to upstreams come from; variables are allowed. With transparent it need not be this host's."),
    D::new("proxy_pass_trailers", HSL, FLAG, "on | off", "off", "Whether the trailer fields of an answer are passed on."),
    D::new("early_hints", HSL, Arity::AtLeast(1), "string ...", "", "Passes 103 answers of an upstream on, if at least one of the strings is neither empty nor 0."),
    D::new("proxy_ssl_certificate", HSL, ONE, "file", "", "With https: a file with the certificate that upstreams are shown, and those between it and a root, in PEM. The text itself may stand behind data:."),
    D::new("proxy_ssl_certificate_cache", HSL, Arity::Between(1, 3), "off | max=N [inactive=time] [valid=time]", "off", "How many certificates whose names hold variables are kept, by a location in each shard; how long without a request for them, and for how long at most."),
    D::new("proxy_ssl_certificate_key", HSL, ONE, "file", "", "The key of that certificate, in PEM; variables are allowed here and there: then the worker reads the files when they are needed."),
    D::new("proxy_ssl_ciphers", HSL, ONE, "ciphers", "DEFAULT", "The suites of TLS 1.2 for upstreams, as OpenSSL names and groups them. There are those of ECDHE with AES-GCM and ChaCha20; others drop out."),
    D::new("proxy_ssl_crl", HSL, ONE, "file", "", "Lists of revoked certificates, in PEM, for proxy_ssl_verify; there must be one of each issuer."),
    D::new("proxy_ssl_name", HSL, ONE, "name", "$proxy_host", "The name that an upstream's certificate has to be for, and that is sent with proxy_ssl_server_name; variables are allowed, and a port behind it does not count."),
    D::new("proxy_ssl_password_file", HSL, ONE, "file", "", "Pass phrases of encrypted keys, one on each line, which are tried in turn."),
    D::new("proxy_ssl_protocols", HSL, Arity::AtLeast(1), "[SSLv2] [SSLv3] [TLSv1] [TLSv1.1] [TLSv1.2] [TLSv1.3]", "TLSv1.2 TLSv1.3", "The versions of TLS that upstreams are spoken to with. Those before TLSv1.2 do not exist here: they are named in a warning, and do not count."),
    D::new("proxy_ssl_server_name", HSL, FLAG, "on | off", "off", "Whether an upstream is told in the handshake which name it is asked for (SNI)."),
    D::new("proxy_ssl_session_reuse", HSL, FLAG, "on | off", "on", "Whether new connections to an upstream go on with sessions of earlier ones, which saves most of the handshake."),
    D::new("proxy_ssl_trusted_certificate", HSL, ONE, "file", "", "Certificates, in PEM, that are trusted to sign those of upstreams."),
    D::new("proxy_ssl_verify", HSL, FLAG, "on | off", "off", "Whether an upstream's certificate has to be trusted, and be for the name of proxy_ssl_name."),
    D::new("proxy_ssl_verify_depth", HSL, ONE, "number", "1", "How many certificates may stand between an upstream's and a trusted one."),
    D::new("proxy_ignore_client_abort", HSL, FLAG, "on | off", "off", "Whether an upstream is waited for when the client has gone."),
];
