//! What rustls asks others for while a handshake goes one step further: which session it goes on with,
//! or makes, and what it signs with. Those that are asked do not know for whom, so they leave it here, and
//! who drives the handshake takes it: on the same thread, with no wait between.

use rustls::SignatureScheme;
use std::cell::Cell;

/// Bytes of a session's identifier (RFC 5246, 7.4.1.3), as OpenSSL makes them.
pub const SESSION_ID_BYTES: usize = 32;

/// The identifier of a session.
pub type SessionId = [u8; SESSION_ID_BYTES];

/// What was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The session that was made or found last.
    pub session: Option<SessionId>,
    /// How the handshake is signed.
    pub signed: Option<SignatureScheme>,
}

thread_local! {
    static NOTED: Cell<Noted> = const { Cell::new(Noted { session: None, signed: None }) };
}

/// Leaves a session's identifier.
pub fn session(id: SessionId) {
    NOTED.with(|noted| noted.set(Noted { session: Some(id), ..noted.get() }));
}

/// Leaves the scheme of a signature.
pub fn signed(scheme: SignatureScheme) {
    NOTED.with(|noted| noted.set(Noted { signed: Some(scheme), ..noted.get() }));
}

impl Noted {
    /// Takes what was left, over what was taken before; to be called before each step too, so that
    /// nothing of another handshake is there.
    pub fn take(&mut self) {
        let new = NOTED.take();
        self.session = new.session.or(self.session);
        self.signed = new.signed.or(self.signed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_taken_once() {
        let mut noted = Noted::default();
        session([7; 32]);
        noted.take();
        noted.take();
        assert_eq!(noted, Noted { session: Some([7; 32]), signed: None });
        signed(SignatureScheme::ED25519);
        noted.take();
        assert_eq!(noted, Noted { session: Some([7; 32]), signed: Some(SignatureScheme::ED25519) });
    }
}
