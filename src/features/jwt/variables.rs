//! What a token says, as variables.

use crate::base::json::Json;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::token::{Token, push_value};
use crate::pipeline::variable::{Derive, Variable};

pub(super) fn claim(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    push(x.caller.token().and_then(|token| named(&token.claims, name)), out)
}

pub(super) fn header(x: &Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    push(x.caller.token().and_then(|token| named(&token.header, name)), out)
}

pub(super) fn payload(x: &Exchange, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(token) = x.caller.token() else { return false };
    out.extend_from_slice(&token.payload);
    true
}

/// A member by a variable's name, which has no capitals: one that is spelt so, else in any case.
fn named<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    let Json::Object(members) = json else { return None };
    json.member(name).or_else(|| {
        members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

fn push(value: Option<&Json>, out: &mut Vec<u8>) -> bool {
    match value {
        Some(value) => {
            push_value(value, out);
            true
        }
        None => false,
    }
}

/// Which part of a token a variable is made of.
#[derive(Clone, Copy)]
pub enum Part {
    Claims,
    Header,
}

/// A variable of `auth_jwt_claim_set` or `auth_jwt_header_set`.
pub struct FromToken {
    pub part: Part,
    /// The names, from the outside in.
    pub path: Box<[Box<str>]>,
}

impl FromToken {
    fn value<'t>(&self, token: &'t Token) -> Option<&'t Json> {
        match self.part {
            Part::Claims => token.claim(&self.path),
            Part::Header => token.header_field(&self.path),
        }
    }
}

impl Derive for FromToken {
    fn write(&self, x: &Exchange, out: &mut Vec<u8>) -> bool {
        push(x.caller.token().and_then(|token| self.value(token)), out)
    }

    fn depends_on(&self, is: &dyn Fn(&Variable) -> bool) -> bool {
        // As what `$jwt_payload` is: known behind Access.
        is(&Variable::Computed { eval: payload, argument: "".into(), late: true })
    }
}
