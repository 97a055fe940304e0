//! A session's whole history: whether it is legal, and how long each state lasted.

use std::time::Duration;

use jiff::Timestamp;

use super::event::Event;
use super::state::{self, Claim, Kind, Refused, State};

/// The most notes, checkpoints and restarts in one log.
pub const CAP: u64 = 10_000;

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("the log is empty")]
    Empty,
    #[error("event {seq}: {refused}")]
    Step { seq: u64, refused: Refused },
    #[error("event {seq}: it goes from {said} to {state}, after {before}")]
    State {
        seq: u64,
        said: State,
        state: State,
        before: State,
    },
    #[error("event {seq} follows event {before}")]
    Sequence { seq: u64, before: u64 },
    #[error("event {seq}: its epoch {epoch} is lower than {before}")]
    Epoch { seq: u64, epoch: u64, before: u64 },
    #[error("event {seq} is of another session, '{id}'")]
    Identity { seq: u64, id: String },
}

/// Checks that events, oldest first, are one legal life.
pub fn validate(events: &[Event]) -> Result<(), Illegal> {
    let first = events.first().ok_or(Illegal::Empty)?;
    let claim = |event: &Event| match event.summary.reason.as_deref() {
        Some("unobserved") => Claim::Forced,
        _ => Claim::Plain,
    };
    let step = |from, event: &Event| {
        let refused = |refused| Illegal::Step {
            seq: event.seq,
            refused,
        };
        state::next(from, event.kind, claim(event)).map_err(refused)
    };
    step(None, first)?;
    if first.seq != 1 {
        return Err(Illegal::Sequence {
            seq: first.seq,
            before: 0,
        });
    }
    for pair in events.windows(2) {
        let [before, event] = pair else { continue };
        let state = step(Some(before.summary.state), event)?;
        let said = event.from.unwrap_or(before.summary.state);
        if said != before.summary.state || state != event.summary.state {
            let (seq, before) = (event.seq, before.summary.state);
            return Err(Illegal::State {
                seq,
                said,
                state: event.summary.state,
                before,
            });
        }
        let follows = match event.kind {
            Kind::Merge => event.seq > before.seq,
            _ => event.seq == before.seq + 1,
        };
        if !follows {
            return Err(Illegal::Sequence {
                seq: event.seq,
                before: before.seq,
            });
        }
        if event.summary.epoch < before.summary.epoch {
            let (epoch, before) = (event.summary.epoch, before.summary.epoch);
            return Err(Illegal::Epoch {
                seq: event.seq,
                epoch,
                before,
            });
        }
        if event.summary.id != first.summary.id {
            return Err(Illegal::Identity {
                seq: event.seq,
                id: event.summary.id.to_string(),
            });
        }
    }
    Ok(())
}

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
