//! Small texts that are fetched over HTTP: sets of keys, the configurations of issuers. It is the control
//! plane's client; no request of a client goes this way.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// How long fetching one text may take, in all.
const TIME: Duration = Duration::from_secs(10);

/// Bytes of a text at most: a set of 256 keys with their certificates has less.
const BYTES_MAX: usize = 1024 * 1024;

/// Fetches.
#[derive(Clone)]
pub struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Fetcher {
    /// One that trusts the authorities that browsers trust.
    ///
    /// # Errors
    /// The library's, if it offers no safe versions of TLS.
    pub fn new() -> Result<Fetcher, String> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| error.to_string())?
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        Ok(Fetcher(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https)))
    }

    /// The text at an address. Redirects are not followed: who names an address means it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        match tokio::time::timeout(TIME, self.ask(url)).await {
            Ok(text) => text,
            Err(_) => Err(format!("no answer in {} seconds", TIME.as_secs())),
        }
    }

    async fn ask(&self, url: &str) -> Result<Vec<u8>, String> {
        let uri: Uri = url.parse().map_err(|error| format!("no address: {error}"))?;
        let request = Request::get(uri)
            .header(USER_AGENT, crate::SERVER_VERSION)
            .header(ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.0.request(request).await.map_err(|error| reason(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers with {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
    }
}

/// An error with what led to it.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
