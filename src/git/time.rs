//! The present time as git writes it: seconds, and the local offset from UTC.

use std::time::SystemTime;

/// Reads the clock; the offset is that of the system's time zone, or of `TZ`.
///
/// The C library reads one file for it, where a time zone database of our own would be looked through whole.
pub fn now() -> gix::date::Time {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    gix::date::Time {
        seconds,
        offset: offset_at(seconds),
    }
}

/// The local offset from UTC in seconds, east being positive.
fn offset_at(seconds: i64) -> i32 {
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, and the result is only read where the call says it filled it.
    let offset = unsafe {
        let filled = libc::localtime_r(&seconds, broken_down.as_mut_ptr());
        if filled.is_null() { 0 } else { (*filled).tm_gmtoff }
    };
    i32::try_from(offset).unwrap_or_default()
}
