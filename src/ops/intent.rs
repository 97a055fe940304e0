//! What is asked of a session's run, and how its supervisor hears of it.

use std::time::Duration;

use jiff::Timestamp;

use super::records::{Intent, IntentKind, Run};
use crate::worker::{Signal, signal_one};

/// How long an intent stands that only ends with whoever has the guard.
pub const DAY: Duration = Duration::from_secs(86_400);

/// What is asked of a run.
pub fn intent(run: &Run, kind: IntentKind, reason: Option<String>, patience: Duration) -> Intent {
    Intent {
        attempt: run.attempt.clone(),
        kind,
        reason,
        request: None,
        until: until(patience),
    }
}

/// The time until which a stop that begins now means something.
fn until(patience: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.saturating_add(patience + Duration::from_secs(30))
        .unwrap_or(now)
}

/// Wakes a supervisor, so that it looks at what has changed.
pub fn nudge(run: Option<&Run>) {
    if let Some(supervisor) = run.and_then(|run| run.supervisor.as_ref()) {
        signal_one(supervisor, Signal::USR1);
    }
}
