//! The variables of nginx's core module, of `upstream` and of `proxy`: what a request, its
//! connection, its answer and the upstreams that were tried are.

mod answer;
mod connection;
mod fields;
mod files;
mod proxied;
mod request;
mod time;
mod upstream;
mod user;

pub use request::new_id;

use crate::conf::{Diagnostic, Scope};
use crate::pipeline::variable::{Eval, VariableSpec};
use crate::plan::builder::Builder;
use crate::plan::feature::{Feature, no_end, nothing};

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "variables",
    module: None,
    directives: &[],
    variables: VARIABLES,
    http,
    location: nothing,
    end: no_end,
};

/// Asks the system now for what a shard should not have to ask it.
fn http(_: &Scope<'_>, _: &mut Builder<'_>) -> Result<(), Diagnostic> {
    connection::host_name();
    Ok(())
}

const fn one(name: &'static str, eval: Eval, doc: &'static str) -> VariableSpec {
    VariableSpec { name, family: false, eval, doc }
}

const fn family(name: &'static str, eval: Eval, doc: &'static str) -> VariableSpec {
    VariableSpec { name, family: true, eval, doc }
}

/// Every variable, by theme. Fields that are asked for often have an entry of their own before the
/// family they belong to.
const VARIABLES: &[VariableSpec] = &[
    // The request.
    one("request", request::line, "The request line as the client sent it."),
    one("request_method", request::method, "The method of the request."),
    one("request_uri", request::target, "Path and arguments as the client sent them."),
    one("uri", request::uri, "The path, decoded and normalised; internal redirects change it."),
    one("document_uri", request::uri, "The same as `$uri`."),
    one("args", request::args, "The arguments of the request, without the question mark."),
    one("query_string", request::args, "The same as `$args`."),
    one("is_args", request::is_args, "A question mark if the request has arguments, else empty."),
    family("arg_", request::argument, "The argument of this name, as it was sent."),
    one("host", request::host, "The host the request names, else the name of the server that serves it."),
    one("request_port", request::port, "The port in the host the request names; empty without one."),
    one("is_request_port", request::is_port, "A colon if the host of the request names a port, else empty."),
    one("server_name", request::server_name, "The first name of the server that serves the request."),
    one("server_protocol", request::protocol, "The version of the request: `HTTP/1.0` or `HTTP/1.1`."),
    one("scheme", request::scheme, "The scheme of the request: `http` or `https`."),
    one("https", request::https, "`on` if the connection is encrypted, else empty."),
    one("request_id", request::id, "Sixteen random bytes in hexadecimal, the same throughout the request."),
    one("request_length", request::length, "Bytes of the request: request line, fields and body."),
    one("request_body", request::body, "The body of the request, if it was read into memory."),
    one(
        "request_body_file",
        request::body_file,
        "The file that the body of the request was written to; it has this name only with `client_body_in_file_only`.",
    ),
    one("pipe", request::pipe, "`p` if the request was read together with the one before it, else a dot."),
    one("remote_user", user::remote_user, "The user name that came with Basic authentication."),
    // Its fields.
    one("http_host", fields::http_host, "The field Host of the request."),
    one("http_user_agent", fields::http_user_agent, "The field User-Agent of the request."),
    one("http_referer", fields::http_referer, "The field Referer of the request."),
    one("http_via", fields::http_via, "The field Via of the request."),
    one("http_x_forwarded_for", fields::http_x_forwarded_for, "The fields X-Forwarded-For of the request."),
    one("http_cookie", fields::http_cookie, "The fields Cookie of the request, joined by a semicolon."),
    one("content_type", fields::content_type, "The field Content-Type of the request."),
    one("content_length", fields::content_length, "The length of the request's body, as far as it is known."),
    family("http_", fields::http, "The request's fields of this name, joined by a comma."),
    family("cookie_", fields::cookie, "The cookie of this name."),
    // The connection and this host.
    one("remote_addr", connection::remote_addr, "The address of the client."),
    one("remote_port", connection::remote_port, "The port of the client."),
    one("binary_remote_addr", connection::binary_remote_addr, "The address of the client in 4 or 16 bytes."),
    one("server_addr", connection::server_addr, "The address that the request was accepted at."),
    one("server_port", connection::server_port, "The port that the request was accepted at."),
    one("connection", connection::number, "The number of the connection."),
    one("connection_requests", connection::requests, "How many requests the connection made so far."),
    one("connection_time", time::connection_time, "How long the connection stands, in seconds."),
    one(
        "tcpinfo_rtt",
        connection::tcpinfo_rtt,
        "The round-trip time of the client's connection, in microseconds.",
    ),
    one("tcpinfo_rttvar", connection::tcpinfo_rttvar, "The variance of that time, in microseconds."),
    one(
        "tcpinfo_snd_cwnd",
        connection::tcpinfo_snd_cwnd,
        "The congestion window of the client's connection, in segments.",
    ),
    one(
        "tcpinfo_rcv_space",
        connection::tcpinfo_rcv_space,
        "The receive window of the client's connection, in bytes.",
    ),
    one(
        "proxy_protocol_addr",
        proxied::source,
        "The address of the client, as the header of the PROXY protocol gives it.",
    ),
    one("proxy_protocol_port", proxied::source_port, "The port of the client, as that header gives it."),
    one(
        "proxy_protocol_server_addr",
        proxied::destination,
        "The address the client connected to, as that header gives it.",
    ),
    one(
        "proxy_protocol_server_port",
        proxied::destination_port,
        "The port the client connected to, as that header gives it.",
    ),
    family(
        "proxy_protocol_tlv_",
        proxied::tlv,
        "A TLV of that header: alpn, authority, unique_id, ssl, netns, ssl_verify, ssl_version, ssl_cn, ssl_cipher, ssl_sig_alg, ssl_key_alg, or a type as 0xNN or ssl_0xNN.",
    ),
    one("hostname", connection::hostname, "The name of this host."),
    one("pid", connection::pid, "The number of the worker process."),
    one("nginx_version", connection::nginx_version, "The version of nginx that this one is compatible with."),
    // Time.
    one("msec", time::msec, "The time since 1970, in seconds."),
    one("time_iso8601", time::iso8601, "Local time as ISO 8601 writes it."),
    one("time_local", time::local, "Local time as the common log format writes it."),
    one("request_time", time::request_time, "How long the request took so far, in seconds."),
    // Files.
    one("document_root", files::document_root, "What `root` or `alias` says for the request."),
    one("realpath_root", files::realpath_root, "What `root` or `alias` says, with symbolic links resolved."),
    one("request_filename", files::request_filename, "The file that the request's path means."),
    // The answer.
    one(
        "limit_rate",
        answer::limit_rate,
        "Bytes a second the client gets at most; 0 for any. It can be set.",
    ),
    one("status", answer::status, "The status of the answer."),
    one("bytes_sent", answer::bytes_sent, "Bytes sent to the client."),
    one("body_bytes_sent", answer::body_bytes_sent, "Bytes sent to the client without the head."),
    one("request_completion", answer::completion, "`OK` if the answer was sent to its end, else empty."),
    one("sent_http_content_type", answer::content_type, "The field Content-Type of the answer."),
    one("sent_http_content_length", answer::content_length, "The field Content-Length of the answer."),
    one("sent_http_connection", answer::connection, "The field Connection of the answer."),
    one("sent_http_keep_alive", answer::keep_alive, "The field Keep-Alive of the answer."),
    one(
        "sent_http_transfer_encoding",
        answer::transfer_encoding,
        "The field Transfer-Encoding of the answer.",
    ),
    family("sent_http_", answer::field, "The answer's fields of this name, joined by a comma."),
    family(
        "sent_trailer_",
        answer::trailer,
        "The fields of this name behind the answer's body, joined by a comma.",
    ),
    // The upstreams.
    one("upstream_addr", upstream::addr, "The addresses of the upstream's servers that were tried."),
    one("upstream_status", upstream::status, "The statuses they answered with."),
    one("upstream_connect_time", upstream::connect_time, "How long connecting to them took, in seconds."),
    one(
        "upstream_header_time",
        upstream::header_time,
        "How long the heads of their answers took, in seconds.",
    ),
    one("upstream_response_time", upstream::response_time, "How long their answers took, in seconds."),
    one("upstream_response_length", upstream::response_length, "Body bytes of their answers."),
    one("upstream_bytes_received", upstream::bytes_received, "Bytes received from them."),
    one("upstream_bytes_sent", upstream::bytes_sent, "Bytes sent to them."),
    family("upstream_http_", upstream::field, "The fields of this name that the upstream answered with."),
    family(
        "upstream_trailer_",
        upstream::trailer,
        "The fields of this name behind the body that the upstream answered with, where `proxy_pass_trailers` is on.",
    ),
    family("upstream_cookie_", upstream::cookie, "The cookie of this name that the upstream set."),
    one("proxy_host", upstream::proxy_host, "The host and port that `proxy_pass` names."),
    one("proxy_port", upstream::proxy_port, "The port that `proxy_pass` names, or the usual one."),
    one(
        "proxy_add_x_forwarded_for",
        upstream::add_x_forwarded_for,
        "The request's X-Forwarded-For with the address of the client behind it.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_named_once_and_described() {
        for (index, spec) in VARIABLES.iter().enumerate() {
            assert!(spec.doc.ends_with('.'), "{}", spec.name);
            assert!(VARIABLES.iter().skip(index + 1).all(|other| other.name != spec.name), "{}", spec.name);
            assert_eq!(spec.family, spec.name.ends_with('_'), "{}", spec.name);
        }
    }

    #[test]
    fn no_family_hides_another() {
        let families = || VARIABLES.iter().filter(|spec| spec.family);
        for one in families() {
            let hidden = families().filter(|other| other.name.starts_with(one.name)).count();
            assert_eq!(hidden, 1, "{}", one.name);
        }
    }
}
