//! The certificates of a server whose names have variables: they are read for each handshake, in the order
//! of their directives, where the server's cache has them not.

use super::named::{Named, rules};
use crate::conf::{Diagnostic, Directive, Scope};
use crate::net::tls::pairs::Pairs;
use crate::pipeline::exchange::Exchange;
use crate::plan::builder::Builder;
use crate::plan::{FindCertificates, Finding};
use std::sync::Arc;

/// The directive of the cache.
const CACHE: &str = "ssl_certificate_cache";

/// Those of one server.
pub(super) struct Finder(Vec<Named>);

/// What finds the certificates of these lines; `None` where no name has variables.
pub(super) fn finder(
    scope: &Scope<'_>,
    b: &mut Builder<'_>,
    certificates: &[&Directive],
    keys: &[&Directive],
) -> Result<Option<Arc<dyn FindCertificates>>, Diagnostic> {
    rules(scope, CACHE)?;
    let words = || {
        certificates.iter().zip(keys).filter_map(|(one, key)| Some((one.args.first()?, key.args.first()?)))
    };
    if !words().any(|(one, key)| one.text.contains('$') || key.text.contains('$')) {
        return Ok(None);
    }
    let named = |pair| Named::of(scope, b, pair, ["ssl_password_file", CACHE]);
    let all: Result<Vec<_>, _> = words().map(named).collect();
    Ok(Some(Arc::new(Finder(all?))))
}

impl FindCertificates for Finder {
    fn find<'x>(&'x self, x: &'x Exchange) -> Finding<'x> {
        Box::pin(async move {
            let mut pairs = Vec::with_capacity(self.0.len());
            for named in &self.0 {
                // An empty name is no certificate, as in nginx.
                let Some(files) = named.files(x) else { continue };
                pairs.push((named.load(x, &files).await?.pair.clone(), None));
            }
            Ok(Pairs::new(pairs))
        })
    }
}
