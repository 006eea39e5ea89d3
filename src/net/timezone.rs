//! The host's local time zone, which nginx's log times are written in.

use std::cell::Cell;

/// Seconds an offset is trusted; a change of daylight saving shows within this time.
const TRUSTED_S: i64 = 60;

thread_local! {
    static LAST: Cell<(i64, i32)> = const { Cell::new((i64::MIN, 0)) };
}

/// Seconds east of UTC of local time at `unix_s`, seconds since the epoch.
pub fn utc_offset_s(unix_s: i64) -> i32 {
    let (at, offset) = LAST.get();
    if at <= unix_s && unix_s.saturating_sub(at) < TRUSTED_S {
        return offset;
    }
    let time = unix_s as libc::time_t;
    // SAFETY: an all-zero `tm` is a valid value of this plain C struct.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type; localtime_r keeps neither.
    let known = unsafe { !libc::localtime_r(&time, &mut parts).is_null() };
    let offset = if known { parts.tm_gmtoff as i32 } else { 0 };
    LAST.set((unix_s, offset));
    offset
}
