//! A session's whole history: whether it is legal, how long it may be, and how long each state lasted.

use std::time::Duration;

use jiff::Timestamp;

use super::event::Event;
use super::id::SessionId;
use super::state::{self, Claim, Kind, Refused, State};

/// The most notes, checkpoints and restarts in one log.
pub const CAP: u64 = 10_000;

/// The reason that a forced claim gives, since it can't know what became of the worker.
pub const UNOBSERVED: &str = "unobserved";

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("the log is empty")]
    Empty,
    /// The table doesn't have the step.
    #[error("event {seq}: {refused}")]
    Step { seq: u64, refused: Refused },
    /// It doesn't go on where the event before stands.
    #[error("event {seq} says that the session was {}, and it was {before}", said(*.from))]
    From {
        seq: u64,
        from: Option<State>,
        before: State,
    },
    /// It doesn't go where the table says.
    #[error("event {seq} is a {kind} that leads to {state} rather than {right}")]
    State {
        seq: u64,
        kind: Kind,
        state: State,
        right: State,
    },
    #[error("event {seq} follows event {before}")]
    Sequence { seq: u64, before: u64 },
    #[error("event {seq} has epoch {epoch} after epoch {before}")]
    Epoch { seq: u64, epoch: u64, before: u64 },
    /// The owner is another one without a claim.
    #[error("event {seq} is a {kind} that changes the owner from '{before}' to '{owner}'")]
    Owner {
        seq: u64,
        kind: Kind,
        owner: String,
        before: String,
    },
    #[error("event {seq} is of another session, '{id}'")]
    Id { seq: u64, id: SessionId },
    #[error("event {seq} says that the session was created at {created} rather than {before}")]
    Created {
        seq: u64,
        created: Timestamp,
        before: Timestamp,
    },
}

fn said(state: Option<State>) -> &'static str {
    state.map_or("nowhere", State::word)
}

/// Checks that events, oldest first, are one legal life.
pub fn validate(events: &[Event]) -> Result<(), Illegal> {
    begins(events.first().ok_or(Illegal::Empty)?)?;
    events.windows(2).try_for_each(|pair| match pair {
        [before, event] => follows(before, event),
        _ => Ok(()),
    })
}

/// Checks that a log may begin with this event.
pub fn begins(event: &Event) -> Result<(), Illegal> {
    let seq = event.seq;
    if seq != 1 {
        return Err(Illegal::Sequence { seq, before: 0 });
    }
    if event.is_newer_format() {
        return Ok(());
    }
    let right =
        state::next(None, event.kind, Claim::Plain).map_err(|refused| Illegal::Step { seq, refused })?;
    let Event { kind, from, .. } = *event;
    let state = event.summary.state;
    if let Some(before) = from {
        return Err(Illegal::From { seq, from, before });
    }
    if state != right {
        return Err(Illegal::State {
            seq,
            kind,
            state,
            right,
        });
    }
    match event.summary.epoch {
        1 => Ok(()),
        epoch => Err(Illegal::Epoch {
            seq,
            epoch,
            before: 0,
        }),
    }
}

/// Checks that an event may come right after another one, along first parents.
///
/// Everything that a legal log has to fulfil is a matter of two neighbours and of its beginning, so a long one can be
/// checked in either direction without being held. Of events of a newer format only what every format has is checked:
/// identity, rising sequence numbers and epochs that don't fall.
pub fn follows(before: &Event, event: &Event) -> Result<(), Illegal> {
    let seq = event.seq;
    let (old, new) = (&before.summary, &event.summary);
    if new.id != old.id {
        let id = new.id.clone();
        return Err(Illegal::Id { seq, id });
    }
    if new.created != old.created {
        let (created, before) = (new.created, old.created);
        return Err(Illegal::Created { seq, created, before });
    }
    let is_known = !before.is_newer_format() && !event.is_newer_format();
    let may_skip = event.kind == Kind::Merge || !is_known;
    if seq <= before.seq || (!may_skip && seq - before.seq != 1) {
        let before = before.seq;
        return Err(Illegal::Sequence { seq, before });
    }
    if is_known {
        check_step(before, event)?;
    }
    check_owner(before, event, is_known)
}

fn check_step(before: &Event, event: &Event) -> Result<(), Illegal> {
    let Event { seq, kind, from, .. } = *event;
    let (before, state) = (before.summary.state, event.summary.state);
    let claim = match event.summary.reason.as_deref() {
        Some(UNOBSERVED) => Claim::Forced,
        _ => Claim::Plain,
    };
    let right = state::next(Some(before), kind, claim).map_err(|refused| Illegal::Step { seq, refused })?;
    if from != Some(before) {
        return Err(Illegal::From { seq, from, before });
    }
    if state != right {
        return Err(Illegal::State {
            seq,
            kind,
            state,
            right,
        });
    }
    Ok(())
}

/// Only a claim changes the owner, and then the epoch is the next one; a merge may bring a higher epoch along.
fn check_owner(before: &Event, event: &Event, is_known: bool) -> Result<(), Illegal> {
    let Event { seq, kind, .. } = *event;
    let (old, new) = (&before.summary, &event.summary);
    let is_same = new.owner == old.owner;
    let is_right = match kind {
        _ if !is_known => new.epoch >= old.epoch,
        Kind::Claim if !is_same => old.epoch.checked_add(1) == Some(new.epoch),
        Kind::Merge => new.epoch >= old.epoch,
        _ => new.epoch == old.epoch,
    };
    if !is_right {
        let (epoch, before) = (new.epoch, old.epoch);
        return Err(Illegal::Epoch { seq, epoch, before });
    }
    if is_known && !is_same && kind != Kind::Claim {
        let (owner, before) = (new.owner.clone(), old.owner.clone());
        return Err(Illegal::Owner {
            seq,
            kind,
            owner,
            before,
        });
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
