//! `plan`: what a kind of caller may do, and `enforce_plan`: where that holds. A plan has one bucket for
//! each caller across all locations, and never delays. It is weighed in Admit, where the caller is known.

mod compile;
mod enforce;
mod quota;
mod told;
mod variables;

use crate::conf::{Arity, Block, Context, DirectiveSpec as D, Inherit};
use crate::plan::feature::{Feature, no_end, nothing};

const HSL: Context = Context::HTTP.or(Context::SERVER).or(Context::LOCATION);

/// The plans themselves.
pub const PLANS: Feature = Feature {
    name: "plan",
    module: None,
    directives: &[
        D::new(
            "plan",
            Context::HTTP,
            Arity::Exactly(1),
            "name { ... }",
            "",
            "What callers may do whose plan this is; what a block does not name has no limit.",
        )
        .block(Block::Directives(Context::PLAN))
        .inherit(Inherit::NeverMany),
        D::new(
            "rate",
            Context::PLAN,
            Arity::Between(1, 2),
            "rate [burst=number]",
            "",
            "How many requests of a caller may come in a time: 100r/s, 30r/m. What comes faster is refused, but for so many as burst says. From 100r/s on no stretch of time ever gets more than rate x time + burst; lower rates count as limit_req does.",
        )
        .inherit(Inherit::Never),
        D::new(
            "concurrency",
            Context::PLAN,
            Arity::Exactly(1),
            "number",
            "",
            "How many requests of a caller may be under way at once.",
        )
        .inherit(Inherit::Never),
        D::new(
            "quota",
            Context::PLAN,
            Arity::Exactly(1),
            "number/minute | hour | day | week | month | year",
            "",
            "How many requests of a caller may come in each of these windows of the calendar, in UTC; weeks begin on Mondays. One quota for each kind of window.",
        )
        .inherit(Inherit::NeverMany),
        D::new(
            "quota_store",
            Context::HTTP,
            Arity::Exactly(1),
            "file:folder | redis://[user:password@]host[:port][/db]",
            "file:/var/lib/octroi/quota",
            "Where the counts of quotas are kept, for callers that are known. In a folder of this host they survive reloads and restarts; of a process that is killed the last second at most is lost. The folder is made by the master. Without this directive, and with another prefix than Debian's, it is quota below that. In a Redis, all hosts count together: each leases a tenth of a quota at a time, 1000 requests at most, ahead of its requests, so that none waits, and two hosts together stay within one lease of the quota.",
        )
        .inherit(Inherit::Never),
        D::new(
            "quota_failure",
            Context::HTTP,
            Arity::Exactly(1),
            "open | closed",
            "open",
            "What becomes of requests while nobody knows what is left of their quota, since the Redis is away and no lease is left: they pass and are told of later, or are answered with 503.",
        )
        .inherit(Inherit::Never),
        D::new(
            "plan_default",
            Context::HTTP,
            Arity::Exactly(1),
            "name",
            "",
            "The plan of consumers that have none, and of unknown callers, each by its IPv4 address or its /64 of IPv6. Without it these have no limits.",
        )
        .inherit(Inherit::Never),
    ],
    variables: variables::VARIABLES,
    http: compile::http,
    location: compile::location,
    end: no_end,
};

/// Where they hold.
pub const ENFORCED: Feature = Feature {
    name: "enforce_plan",
    module: None,
    directives: &[D::new(
        "enforce_plan",
        HSL,
        Arity::Flag,
        "on | off",
        "off",
        "Whether requests are held to the plan of their caller: what exceeds it is answered with 429 and Retry-After. Each answer tells by RateLimit-Policy and RateLimit what the plan is and what is left of it.",
    )],
    variables: &[],
    http: nothing,
    location: enforce::location,
    end: no_end,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::testing::{Bench, message};
    use crate::features::{consumer, variables};

    #[test]
    fn what_cannot_be_a_plan_is_refused() {
        for (text, want) in [
            ("plan a { rate 5r/s burst=3; concurrency 4; }", "no error"),
            ("plan a { }", "no error"),
            ("plan a { rate 5r/h; }", "invalid rate \"5r/h\""),
            ("plan a { rate 0r/s; }", "invalid rate \"0r/s\""),
            ("plan a { rate 5r/s burst=0; }", "invalid burst value \"burst=0\""),
            ("plan a { rate 5r/s nodelay; }", "invalid parameter \"nodelay\""),
            (
                "plan a { rate 5r/s burst=268000; }",
                "\"burst=268000\" is more than a plan can count, which is 267435",
            ),
            ("plan a { rate 5r/s; rate 6r/s; }", "\"rate\" directive is duplicate"),
            ("plan a { concurrency 0; }", "invalid number \"0\""),
            ("plan a { concurrency x; }", "invalid number \"x\""),
            (
                "plan a { quota 5/day; quota 50/month; quota 1/minute; quota 2/hour; quota 9/week; quota 99/year; }",
                "no error",
            ),
            ("plan a { quota 5/day; quota 50/day; }", "duplicate quota for each day"),
            ("plan a { quota 0/day; }", "invalid quota \"0/day\""),
            ("plan a { quota 5; }", "invalid quota \"5\""),
            ("plan a { quota 5/fortnight; }", "invalid quota \"5/fortnight\""),
            ("plan a { quota 68719476736/day; }", "invalid quota \"68719476736/day\""),
            (
                "plan a { quota 5/second; }",
                "invalid quota \"5/second\": what may come in a second is a \"rate\"",
            ),
            ("quota_store file:/q; quota_failure closed;", "no error"),
            ("quota_store file:;", "invalid quota store \"file:\""),
            ("quota_store /q;", "invalid quota store \"/q\""),
            ("plan a { quota 5/day; } quota_store redis://127.0.0.1:6379/0;", "no error"),
            ("quota_store redis://;", "invalid quota store: Missing hostname - InvalidClientConfig"),
            ("quota_failure maybe;", "invalid value \"maybe\""),
            ("plan a { } plan a { }", "duplicate plan \"a\""),
            ("plan 'a b' { }", "invalid plan name \"a b\""),
            ("plan a { } plan_default b;", "unknown plan \"b\""),
            ("plan_default a; plan a { }", "no error"),
            ("consumer c { plan a; } plan b { } plan a { } plan_default b;", "no error"),
            ("consumer c { plan b; } plan a { }", "unknown plan \"b\""),
            ("server { enforce_plan on; }", "\"enforce_plan\" is on, and there is no plan"),
            ("server { enforce_plan off; }", "no error"),
        ] {
            let text = if text.contains("server") { text.to_owned() } else { format!("{text} server {{ }}") };
            // What a registry checks is found before anything is compiled.
            let bench = std::panic::catch_unwind(|| {
                Bench::new(
                    &format!("http {{ {text} }}"),
                    &[&variables::FEATURE, &consumer::FEATURE, &PLANS, &ENFORCED],
                )
            });
            let Ok(bench) = bench else {
                assert!(want.ends_with("is duplicate"), "{text}");
                continue;
            };
            assert_eq!(message(bench.plan()), want, "{text}");
        }
    }
}
