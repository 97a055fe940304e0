//! Moments and spans for people.

use std::time::Duration;

use jiff::Timestamp;

use crate::session::duration::brief;

/// How long ago a moment was, in one unit: `12s`, `3m`, `5h`, `2d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    brief(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

/// A moment to the second, in UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
