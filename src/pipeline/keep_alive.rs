//! Whether a connection serves another request after this one: each location that a request comes to
//! may say that it does not, none says again that it does.

use super::browser::Browser;
use super::exchange::Exchange;
use super::settings::{Here, Settings};
use crate::base::clock;
use crate::http::Method;
use std::rc::Rc;

impl Exchange {
    /// Puts the request into a location.
    pub fn enter(&mut self, here: &Rc<Here>) {
        self.here = here.clone();
        self.keep_alive = self.keep_alive && allowed(self, &here.settings);
        if let Some(veil) = &here.settings.veil {
            veil.strip_identity(self);
        }
    }
}

/// What `keepalive_timeout`, `keepalive_requests`, `keepalive_time` and `keepalive_disable` say.
fn allowed(x: &Exchange, settings: &Settings) -> bool {
    let connection = &x.connection;
    !settings.keepalive_timeout.is_zero()
        && connection.requests.get() < settings.keepalive_requests
        && clock::now().saturating_duration_since(connection.started) < settings.keepalive_time
        && !(settings.keepalive_disable.msie6 && x.method() == Method::Post && Browser::of(x).msie6)
        && !(settings.keepalive_disable.safari && Browser::of(x).safari)
}
