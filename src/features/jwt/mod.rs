//! `auth_jwt`: tokens (JWT, RFC 7519) that issuers sign say who calls. The names and what they do are
//! NGINX Plus's; what is ours besides says where keys are fetched, and whom a token names here.
//!
//! Signatures are checked with AWS-LC itself: a token is read by this folder alone, and nothing in it
//! chooses how it is read.

mod algorithm;
mod base64url;
mod compile;
mod jws;
mod keys;
mod known;
mod remote;
mod sources;
mod step;
mod variables;

pub use step::ClaimName;

use crate::conf::{Arity, Context, DirectiveSpec as D, Inherit};
use crate::pipeline::variable::VariableSpec;
use crate::plan::feature::{Feature, no_end};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);
const CONTEXTS: Context = HSL.or(Context::LIMIT_EXCEPT);

/// The feature.
pub const FEATURE: Feature = Feature {
    name: "jwt",
    module: None,
    directives: &[
        D::new(
            "auth_jwt",
            CONTEXTS,
            Arity::Between(1, 2),
            "string [token=$variable] | off",
            "off",
            "Asks for a token that an issuer has signed (401), with this text as the realm: in Authorization: Bearer, or in a variable.",
        ),
        D::new(
            "auth_jwt_type",
            CONTEXTS,
            Arity::Exactly(1),
            "signed",
            "signed",
            "What kind of token is expected: signed ones (JWS). Encrypted and nested ones are refused by name.",
        ),
        D::new(
            "auth_jwt_key_file",
            CONTEXTS,
            Arity::Exactly(1),
            "file",
            "",
            "A set of keys (JWK) in a file, which is read with the configuration; secrets may be among them. Several files are one set.",
        )
        .inherit(Inherit::Together),
        D::new(
            "auth_jwt_key_url",
            CONTEXTS,
            Arity::Between(1, 2),
            "url [refresh=time]",
            "",
            "A set of keys (JWKS) at an address, fetched beside the requests every 10 minutes, or as refresh says, and early for a key it has not; the last good one stays in force. Before the first there is 503.",
        )
        .inherit(Inherit::Together),
        D::new(
            "auth_jwt_issuer",
            CONTEXTS,
            Arity::Between(1, 3),
            "url [alias=name] [refresh=time]",
            "",
            "An issuer whose tokens are taken: their iss says so. Where its keys are it says itself (OpenID Connect Discovery), unless auth_jwt_key_url or auth_jwt_key_file does. Groups that its tokens name begin with the alias, the issuer's host when nothing is said.",
        )
        .inherit(Inherit::Together),
        D::new(
            "auth_jwt_audience",
            CONTEXTS,
            Arity::AtLeast(1),
            "name ...",
            "",
            "For whom tokens must be meant: their aud holds one of these.",
        ),
        D::new(
            "auth_jwt_algorithms",
            CONTEXTS,
            Arity::AtLeast(1),
            "algorithm ...",
            "",
            "The ways of signing that are permitted, among those that the keys are for: HS256 to EdDSA; all of them when nothing is said. There is no none.",
        ),
        D::new(
            "auth_jwt_leeway",
            HSL,
            Arity::Exactly(1),
            "time",
            "0s",
            "How far the clocks of issuers may differ, for exp and nbf.",
        ),
        D::new(
            "auth_jwt_require",
            CONTEXTS,
            Arity::AtLeast(1),
            "$value ... [error=401 | 403]",
            "",
            "Values that must not be empty or 0 for a token to be taken; else 401, or 403 where that is said.",
        )
        .inherit(Inherit::Together),
        D::new(
            "auth_jwt_claim_set",
            Context::HTTP,
            Arity::AtLeast(2),
            "$variable name ...",
            "",
            "Makes a variable of a claim, by its names from the outside in. Of an array it has the elements, with commas.",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "auth_jwt_header_set",
            Context::HTTP,
            Arity::AtLeast(2),
            "$variable name ...",
            "",
            "Makes a variable of a field of a token's header, by its names from the outside in.",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "auth_jwt_consumer_claim",
            CONTEXTS,
            Arity::Exactly(1),
            "claim | off",
            "off",
            "The claim that names the consumer: one whose block has the token's issuer in jwt_issuer. Else a token names its subject alone.",
        ),
        D::new(
            "auth_jwt_groups_claim",
            CONTEXTS,
            Arity::Exactly(1),
            "claim | off",
            "off",
            "The claim whose values are added to the caller's groups, each with the issuer's alias in front: alias:group.",
        ),
        D::new(
            "jwt_issuer",
            Context::CONSUMER,
            Arity::Exactly(1),
            "url",
            "",
            "An issuer whose tokens may name this consumer (auth_jwt_consumer_claim).",
        )
        .inherit(Inherit::NeverMany),
    ],
    variables: &[
        VariableSpec {
            name: "jwt_claim_",
            family: true,
            eval: variables::claim,
            doc: "The value of a claim of the caller's token.",
        },
        VariableSpec {
            name: "jwt_header_",
            family: true,
            eval: variables::header,
            doc: "The value of a field in the header of the caller's token.",
        },
        VariableSpec {
            name: "jwt_payload",
            family: false,
            eval: variables::payload,
            doc: "The claims of the caller's token, as JSON.",
        },
    ],
    http: compile::http,
    location: compile::location,
    end: no_end,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::consumer;
    use crate::features::testing::{Bench, message};

    #[test]
    fn errors_are_said_with_their_place() {
        let wrong = |text: &str| {
            let text = format!("http {{ server {{ location / {{ {text} }} }} }}");
            message(Bench::new(&text, &[&consumer::FEATURE, &FEATURE]).plan())
        };
        let url = "auth_jwt_key_url http://127.0.0.1/k;";
        for (text, want) in [
            (
                "auth_jwt x;",
                "no keys for \"auth_jwt\": auth_jwt_key_file, auth_jwt_key_url or auth_jwt_issuer say where they are",
            ),
            (&format!("auth_jwt x; {url}"), "no error"),
            (&format!("auth_jwt off; {url}"), "no error"),
            (&format!("auth_jwt x from=y; {url}"), "invalid parameter \"from=y\""),
            (&format!("auth_jwt x token=y; {url}"), "invalid parameter \"token=y\""),
            (
                "auth_jwt_type encrypted;",
                "only signed tokens are supported by Octroi, not \"encrypted\" ones",
            ),
            ("auth_jwt_algorithms RS256 none;", "the algorithm \"none\" is not supported"),
            ("auth_jwt_audience '';", "an audience cannot be empty"),
            (
                &format!("auth_jwt x; {url} auth_jwt_require 1;"),
                "\"auth_jwt_require\" wants values that begin with a variable, not \"1\"",
            ),
            (
                &format!("auth_jwt x; {url} auth_jwt_require $jwt_claim_a error=500;"),
                "the error can only be 401 or 403",
            ),
            ("auth_jwt x; auth_jwt_key_url ftp://a/;", "\"ftp://a/\" is no address of http or https"),
            ("auth_jwt x; auth_jwt_key_url http://127.0.0.1/ refresh=0;", "invalid parameter \"refresh=0\""),
            ("auth_jwt x; auth_jwt_issuer https://a alias=a,b;", "invalid parameter \"alias=a,b\""),
            ("auth_jwt x; auth_jwt_key_file $uri;", "the name of a file of keys cannot hold variables"),
        ] {
            assert_eq!(wrong(text), want, "{text}");
        }
    }
}
