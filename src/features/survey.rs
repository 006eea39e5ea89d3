//! All that a configuration asks for, and what becomes of it here: for `octroi check`.

use super::{ALL, core, registry};
use crate::conf::{Diagnostic, Files, Finding, Outcome, Tree};
use crate::plan::{Origin, compile};

/// Faults of values that are looked for: each costs a compilation. A file with more of them is not
/// about to be put to use.
const VALUE_FAULTS_MAX: usize = 200;

/// What was found out about a configuration.
pub struct Survey {
    /// Every directive that was read, and what is wrong with the whole.
    pub findings: Vec<Finding>,
    /// The texts that the findings' places are in.
    pub tree: Tree,
    /// Why it could not be read to its end.
    pub unreadable: Option<Diagnostic>,
}

/// Reads a configuration with its includes and goes on after each finding: first by what directives
/// are declared to be, then by compiling, again and again without what was refused.
pub fn survey(origin: &Origin, files: &mut dyn Files) -> Survey {
    let registry = registry();
    let directory = origin.conf.parent().unwrap_or(&origin.prefix);
    let (tree, unreadable) = crate::conf::parse_as_far(&origin.conf, &origin.globals, directory, files);
    let mut findings = registry.survey(&tree);
    if unreadable.is_some() {
        return Survey { findings, tree, unreadable };
    }
    let mut rest = tree.clone();
    let refused = |finding: &&Finding| matches!(finding.outcome, Outcome::Refused(_));
    let places: Vec<_> = findings.iter().filter(refused).filter_map(|finding| finding.place).collect();
    let mut taken = !places.is_empty();
    places.into_iter().for_each(|place| drop(rest.take_out(place)));
    for _ in 0..VALUE_FAULTS_MAX {
        let scope = registry.scope(&rest);
        let mut notices = Vec::new();
        let compiled =
            compile::compile(&scope, &rest.sources, origin, ALL, core::compile_main, files, &mut notices);
        let Err(error) = compiled else { break };
        match error.place.and_then(|place| rest.take_out(place)) {
            Some((name, place)) => {
                taken = true;
                match findings.iter_mut().find(|finding| finding.place == Some(place)) {
                    Some(known) => known.outcome = Outcome::Refused(error),
                    None => {
                        findings.push(Finding { name, place: Some(place), outcome: Outcome::Refused(error) })
                    }
                }
            }
            None => {
                // What is missing may be what was taken out: a variable that a refused directive defines.
                if !taken {
                    findings.push(Finding {
                        name: String::new(),
                        place: None,
                        outcome: Outcome::Refused(error),
                    });
                }
                break;
            }
        }
    }
    Survey { findings, tree, unreadable: None }
}

/// What to do instead of a directive that is refused; by the module it belongs to, as the message of
/// the refusal names it.
pub fn advice(error: &Diagnostic) -> String {
    if let Some((_, advice)) = ADVICE.iter().find(|(module, _)| error.message.contains(module)) {
        return (*advice).to_owned();
    }
    match &error.hint {
        Some(hint) if !error.message.contains("is not supported by Octroi") => hint.clone(),
        _ if error.message.contains("is not supported by Octroi") => {
            "take it out if you can do without it, or leave what needs it with NGINX behind this gateway (proxy_pass)"
                .to_owned()
        }
        _ => "mend it: NGINX refuses this too".to_owned(),
    }
}

/// By a word of the message.
const ADVICE: &[(&str, &str)] = &[
    (
        "fastcgi",
        "put an HTTP server in front of the application (for PHP: NGINX or FrankenPHP) and use proxy_pass",
    ),
    ("uwsgi", "let the application server speak HTTP (uWSGI: http-socket) and use proxy_pass"),
    ("scgi", "put an HTTP server in front of the application and use proxy_pass"),
    ("memcached", "serve the cache by an HTTP service and use proxy_pass"),
    (
        "lua-nginx-module",
        "move the logic into a service: asked by auth_request, or answering behind proxy_pass",
    ),
    ("js_module", "move the logic into a service: asked by auth_request, or answering behind proxy_pass"),
    ("perl_module", "move the logic into a service: asked by auth_request, or answering behind proxy_pass"),
    ("ngx_mail", "keep a mail proxy beside the gateway: it serves HTTP"),
    ("ngx_stream", "keep a TCP proxy beside the gateway: it serves HTTP"),
    ("rtmp", "keep a media server beside the gateway"),
    ("dav", "put a WebDAV server behind proxy_pass"),
    ("image_filter", "resize images in a service behind proxy_pass"),
    ("xslt", "transform documents in a service behind proxy_pass"),
    ("NAXSI", "put a web application firewall in front, or behind proxy_pass"),
    ("ModSecurity", "put a web application firewall in front, or behind proxy_pass"),
    ("cannot be loaded", "take the line out if none of the module's directives is used"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::Snapshot;

    fn found(text: &str) -> Vec<String> {
        let mut files = Snapshot::default();
        files.insert("/c/n.conf", text);
        let origin =
            Origin { conf: "/c/n.conf".into(), prefix: "/p".into(), globals: String::new(), error_log: None };
        let survey = survey(&origin, &mut files);
        let refused = survey.findings.iter().filter_map(|finding| match &finding.outcome {
            Outcome::Refused(error) => Some(error.text()),
            _ => None,
        });
        refused.chain(survey.unreadable.map(|error| format!("! {}", error.text()))).collect()
    }

    #[test]
    fn names_and_values_are_both_found() {
        let text = "events { }\nhttp {\n fastcgi_pass x;\n server {\n listen 1;\n root /a /b;\n error_log memory:1m;\n
             location / { proxy_pass ftp://x; }\n location /b { access_log a nope; access_log $x_y buffer=1; }\n } }";
        let lines = found(text);
        let starts = [
            "directive \"fastcgi_pass\" is not supported by Octroi",
            "invalid number of arguments in \"root\" directive",
            "\"error_log memory:\" is not supported by Octroi",
            "invalid URL prefix",
            "unknown log format \"nope\"",
            "unknown log format \"buffer=1\"",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:#?}");
    }

    #[test]
    fn what_is_missing_is_told_once_nothing_else_can_be_the_cause() {
        assert_eq!(found("http { }"), ["no \"events\" section in configuration"]);
        let text = "events { } http { server { listen 1; return 200 $nobody; } }";
        assert!(found(text)[0].starts_with("unknown \"nobody\" variable"));
    }

    #[test]
    fn what_cannot_be_read_ends_it() {
        let lines = found("events { }\nhttp { fastcgi_pass x;");
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[1].starts_with("! unexpected end of file"), "{lines:#?}");
    }
}
