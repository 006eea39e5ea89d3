//! `quota`: how many requests of a caller may come in a window of the calendar, in UTC. Callers that are
//! known are counted in the configuration's book, whose counts are kept; the others in a table in memory.

use super::compile::{Plan, table};
use super::enforce::Whose;
use crate::base::clock;
use crate::bridge::quota::{self as book, Account, Book, OnFailure, QUOTA_MAX, StoreSpec, Verdict};
use crate::bridge::window::{Span, Window};
use crate::bridge::zone::ZoneKind;
use crate::conf::{Diagnostic, Directive, Scope, value};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::limits::{Left, PlanSaid, PlanVerdict, QUOTAS_MAX, ZoneHere};
use crate::pipeline::local::Slot;
use crate::plan::builder::Builder;
use crate::remote::quota::check_redis;
use ahash::AHashMap;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Callers whose accounts a shard remembers: beyond that it begins anew, and asks the book again.
const REMEMBERED_MAX: usize = 4096;

/// Seconds after which to come back when nobody knows what is left, or a lease is under way.
const UNKNOWN_RETRY_S: u64 = 1;

/// Where counts are kept on a system that keeps its configuration where Debian does.
const DEBIAN_FOLDER: &str = "/var/lib/octroi";

/// One `quota` of a plan.
pub(super) struct Quota {
    pub(super) window: Window,
    /// Requests in each.
    pub(super) limit: u64,
    /// Where unknown callers are counted.
    strangers: Slot<Rc<ZoneHere>>,
}

/// What quotas of a configuration have in common.
#[derive(Clone, Copy)]
pub(super) struct Quotas {
    on_failure: OnFailure,
    pub(super) accounts: Slot<Accounts>,
}

/// The accounts of one caller, by their kinds of window.
type OfCaller = [Option<Arc<Account>>; QUOTAS_MAX];

/// The book's accounts as a shard knows them.
pub(super) struct Accounts {
    book: Option<Arc<Book>>,
    remembered: RefCell<AHashMap<Box<[u8]>, OfCaller>>,
    /// The window of each kind that it is now.
    spans: Cell<[Span; QUOTAS_MAX]>,
}

/// The quotas of one `plan` block.
pub(super) fn of_plan(
    scope: &Scope<'_>,
    plan: &str,
    block: &Directive,
    b: &mut Builder<'_>,
) -> Result<Vec<Quota>, Diagnostic> {
    let mut quotas: Vec<Quota> = Vec::new();
    for line in scope.here("quota") {
        let Some(word) = line.args.first() else { continue };
        let invalid = || scope.error_at(line, word, format!("invalid quota \"{}\"", word.text));
        let (number, name) = word.text.split_once('/').ok_or_else(invalid)?;
        let limit = value::number(number).filter(|number| (1..=QUOTA_MAX).contains(number));
        let limit = limit.ok_or_else(invalid)?;
        if name == "second" {
            let message = format!("invalid quota \"{}\": what may come in a second is a \"rate\"", word.text);
            return Err(scope.error_at(line, word, message));
        }
        let window = Window::of_name(name).ok_or_else(invalid)?;
        if quotas.iter().any(|quota| quota.window == window) {
            return Err(scope.error_at(line, word, format!("duplicate quota for each {name}")));
        }
        let strangers = table(plan, &format!("{name}:address"), ZoneKind::Rate, None, scope, block, b)?;
        quotas.push(Quota { window, limit, strangers });
    }
    quotas.sort_by_key(|quota| quota.window);
    Ok(quotas)
}

/// What holds for all quotas, where there are any: the store is opened only then.
pub(super) fn of_all(
    scope: &Scope<'_>,
    is_used: bool,
    b: &mut Builder<'_>,
) -> Result<Option<Quotas>, Diagnostic> {
    const WAYS: &[(&str, OnFailure)] = &[("open", OnFailure::Open), ("closed", OnFailure::Closed)];
    let on_failure = scope.one_of("quota_failure", WAYS, OnFailure::Open)?;
    let (store, above) = match scope.one("quota_store") {
        Some(line) => (store(scope, line, b)?, None),
        None if b.origin().is_debian() => {
            let above = Path::new(DEBIAN_FOLDER);
            (StoreSpec::File(above.join("quota")), Some(above))
        }
        None => (StoreSpec::File(b.path("quota")), None),
    };
    if !is_used {
        return Ok(None);
    }
    b.quota_store(store, above);
    let accounts = b.reserve(|facts| Accounts {
        book: facts.zones.book().cloned(),
        remembered: RefCell::default(),
        spans: Cell::default(),
    });
    Ok(Some(Quotas { on_failure, accounts }))
}

fn store(scope: &Scope<'_>, line: &Directive, b: &Builder<'_>) -> Result<StoreSpec, Diagnostic> {
    let Some(word) = line.args.first() else {
        return Err(scope.error(line, "invalid number of arguments in \"quota_store\" directive"));
    };
    let invalid = || scope.error_at(line, word, format!("invalid quota store \"{}\"", word.text));
    match word.text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok(StoreSpec::File(b.path(path))),
        None if word.text.starts_with("redis://") => match check_redis(&word.text) {
            Ok(()) => Ok(StoreSpec::Redis(word.text.as_str().into())),
            Err(error) => Err(scope.error_at(line, word, format!("invalid quota store: {error}"))),
        },
        _ => Err(invalid()),
    }
}

/// Holds a request to the quotas of its plan. Whether it may come in; one that is refused counts nowhere.
pub(super) fn take(
    plan: &Plan,
    quotas: Quotas,
    whose: Whose,
    key: &[u8],
    x: &Exchange,
    said: &mut PlanSaid,
) -> bool {
    // All are looked at first, so that none counts a request that another one refuses.
    if plan.quotas.len() > 1 && !look(plan, quotas, whose, key, x, said) {
        return false;
    }
    let unix_s = clock::unix_time(clock::now()).as_secs();
    let accounts = x.locals.at(quotas.accounts);
    for (place, quota) in said.quotas.iter_mut().zip(&plan.quotas) {
        let asked = quota.asked(quotas, accounts, unix_s);
        let verdict = match whose {
            // Nothing is counted where a configuration is only looked at.
            Whose::Known if accounts.book.is_none() => Verdict::Passed(quota.limit - 1),
            Whose::Known => accounts
                .with(quota.window, key, |book, account| book.count(account, &asked, unix_s))
                .unwrap_or(Verdict::Unknown),
            Whose::Stranger => quota.count_stranger(x, key, asked.span),
        };
        let left = |requests| Some(Left { requests, reset_s: asked.span.left_s(unix_s) });
        let (refused, wait) = match verdict {
            Verdict::Passed(requests) => {
                *place = left(requests);
                continue;
            }
            Verdict::Unknown if quotas.on_failure == OnFailure::Open => continue,
            Verdict::Unknown => (PlanVerdict::Unknown, UNKNOWN_RETRY_S),
            Verdict::Wait => (PlanVerdict::Quota, UNKNOWN_RETRY_S),
            Verdict::Spent => (PlanVerdict::Quota, asked.span.left_s(unix_s)),
        };
        if verdict != Verdict::Unknown {
            *place = left(0);
        }
        (said.verdict, said.retry_after_s) = (refused, Some(wait));
        return false;
    }
    true
}

/// What is left for a request that is not counted; false where it would be refused.
pub(super) fn look(
    plan: &Plan,
    quotas: Quotas,
    whose: Whose,
    key: &[u8],
    x: &Exchange,
    said: &mut PlanSaid,
) -> bool {
    let unix_s = clock::unix_time(clock::now()).as_secs();
    let accounts = x.locals.at(quotas.accounts);
    let mut wait = None;
    for (place, quota) in said.quotas.iter_mut().zip(&plan.quotas) {
        let asked = quota.asked(quotas, accounts, unix_s);
        let left = match whose {
            Whose::Known => accounts.with(quota.window, key, |_, account| account.left(&asked)),
            Whose::Stranger => {
                let table = &x.locals.at(quota.strangers).zone.table;
                let word = table.word(table.fingerprint(key)).unwrap_or(0);
                Some(book::left(word, asked.span.number, quota.limit))
            }
        };
        let reset_s = asked.span.left_s(unix_s);
        *place = left.map(|requests| Left { requests, reset_s });
        if left == Some(0) {
            wait = wait.max(Some(reset_s));
        }
    }
    if wait.is_some() {
        (said.verdict, said.retry_after_s) = (PlanVerdict::Quota, wait);
    }
    wait.is_none()
}

impl Quota {
    fn asked(&self, quotas: Quotas, accounts: &Accounts, unix_s: u64) -> book::Quota {
        let span = accounts.span(self.window, unix_s);
        book::Quota { limit: self.limit, span, on_failure: quotas.on_failure }
    }

    fn count_stranger(&self, x: &Exchange, key: &[u8], span: Span) -> Verdict {
        let table = &x.locals.at(self.strangers).zone.table;
        let mut verdict = Verdict::Spent;
        table.update(table.fingerprint(key), |word| {
            let counted = book::one_more(word.unwrap_or(0), span.number, self.limit);
            verdict = counted.map_or(Verdict::Spent, |(_, left)| Verdict::Passed(left));
            counted.map(|(word, _)| word)
        });
        verdict
    }
}

impl Accounts {
    /// The window that a second lies in.
    fn span(&self, window: Window, unix_s: u64) -> Span {
        let mut spans = self.spans.get();
        let Some(span) = spans.get_mut(window as usize) else { return window.at(unix_s) };
        if !span.holds(unix_s) {
            *span = window.at(unix_s);
            let new = *span;
            self.spans.set(spans);
            return new;
        }
        *span
    }

    /// What `ask` makes of a caller's account; `None` when there is none to be had.
    fn with<T>(
        &self,
        window: Window,
        caller: &[u8],
        ask: impl FnOnce(&Book, &Arc<Account>) -> T,
    ) -> Option<T> {
        let book = self.book.as_deref()?;
        let mut all = self.remembered.borrow_mut();
        if let Some(Some(account)) = all.get(caller).and_then(|known| known.get(window as usize)) {
            return Some(ask(book, account));
        }
        let account = book.account(window, caller)?;
        let answer = ask(book, &account);
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        if let Some(place) = all.entry(caller.into()).or_default().get_mut(window as usize) {
            *place = Some(account);
        }
        Some(answer)
    }
}
