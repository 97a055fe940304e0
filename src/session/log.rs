//! A session's whole history: how long it may be, and how long each state lasted.

use std::time::Duration;

use jiff::Timestamp;

use super::event::Event;
use super::state::State;

/// The most notes, checkpoints and restarts in one log.
pub const CAP: u64 = 10_000;

/// Sums up how long the session was in each state that it was ever in, up to `now` for a state that lasts.
///
/// Clocks of several machines may disagree; a span that would be negative counts as nothing.
pub fn spans(events: &[Event], now: Timestamp) -> Vec<(State, Duration)> {
    let mut spans: Vec<(State, Duration)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let state = event.summary.state;
        let end = events.get(at + 1).map_or(now, |next| next.at);
        let lasted = Duration::try_from(end.duration_since(event.at)).unwrap_or_default();
        match spans.iter_mut().find(|(known, _)| *known == state) {
            Some((_, total)) => *total += lasted,
            None => spans.push((state, lasted)),
        }
    }
    spans
}
