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
    /// A branch that there can't be.
    #[error("event {seq} names a branch that can't be one, '{branch}'")]
    Branch { seq: u64, branch: String },
    /// What is said once, at its creation, is another one.
    #[error("event {seq} changes the session's {what}")]
    Fixed { seq: u64, what: &'static str },
    /// Only an ended session's work is forgotten, all of it, and by nothing else than a note.
    #[error("event {seq} forgets work that can't be forgotten by it")]
    Forgets { seq: u64 },
    #[error("event {seq} is of another session, '{id}'")]
    Id { seq: u64, id: SessionId },
    #[error("event {seq} says that the session was created at {created} rather than {before}")]
    Created {
        seq: u64,
        created: Timestamp,
        before: Timestamp,
    },
}

/// Whether a branch can be called that: git takes it, and nothing takes it for an option or for what HEAD says.
pub fn is_branch_name(name: &str) -> bool {
    let full = format!("refs/heads/{name}");
    !name.starts_with('-') && name != "HEAD" && gix::validate::reference::name(full.as_str().into()).is_ok()
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
    check_branch(event)?;
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

fn check_branch(event: &Event) -> Result<(), Illegal> {
    match &event.summary.branch {
        Some(branch) if !is_branch_name(branch) => Err(Illegal::Branch {
            seq: event.seq,
            branch: branch.clone(),
        }),
        _ => Ok(()),
    }
}

/// What is said at the creation stays; the home is told by a home event, or comes with a merge. Work is what a look at
/// the worktree gave, and goes only where an ended session's is forgotten by name.
fn check_fixed(before: &Event, event: &Event) -> Result<(), Illegal> {
    let (old, new, seq) = (&before.summary, &event.summary, event.seq);
    let changes_home = matches!(event.kind, Kind::Home | Kind::Merge);
    let looks = matches!(
        event.kind,
        Kind::Suspend | Kind::Checkpoint | Kind::Terminate | Kind::Merge
    );
    let forgets = !event.forgotten.is_empty();
    if forgets && (event.kind != Kind::Note || old.state != State::Terminated || new.work.is_some()) {
        return Err(Illegal::Forgets { seq });
    }
    let what = if new.branch != old.branch {
        "branch"
    } else if new.base != old.base {
        "base"
    } else if new.home != old.home && !changes_home {
        "home"
    } else if new.head != old.head && !looks {
        "head"
    } else if new.work != old.work && !looks && !forgets {
        "work"
    } else {
        return Ok(());
    };
    Err(Illegal::Fixed { seq, what })
}

fn check_step(before: &Event, event: &Event) -> Result<(), Illegal> {
    let Event { seq, kind, from, .. } = *event;
    check_branch(event)?;
    check_fixed(before, event)?;
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

#[cfg(test)]
mod tests {
    use super::super::event::{FORMAT, Stamp, Summary};
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            at: Timestamp::UNIX_EPOCH,
            by: "A Tester <tester@example.com>".to_owned(),
            nonce: "word".to_owned(),
        }
    }

    fn created() -> Event {
        let summary = Summary {
            id: "one".parse().unwrap(),
            state: State::Pending,
            epoch: 1,
            owner: "here".to_owned(),
            host: "laptop".to_owned(),
            created: Timestamp::UNIX_EPOCH,
            branch: None,
            base: None,
            head: None,
            work: None,
            title: None,
            worker: None,
            issue: None,
            labels: Vec::new(),
            parent: None,
            home: None,
            deadline: None,
            outcome: None,
            reason: None,
            unsaved: Vec::new(),
            frozen: false,
            other: Vec::new(),
        };
        Event::create(summary, stamp()).unwrap()
    }

    fn next(before: &Event, kind: Kind) -> Event {
        before.step(kind, Claim::Forced, stamp()).unwrap()
    }

    fn claimed(before: &Event, owner: &str, reason: Option<&str>) -> Event {
        let mut event = next(before, Kind::Claim);
        event.summary.owner = owner.to_owned();
        event.summary.epoch += 1;
        event.summary.reason = reason.map(str::to_owned);
        event
    }

    /// A life with every kind of step.
    fn life() -> Vec<Event> {
        let mut events = vec![created()];
        for kind in [
            Kind::Home,
            Kind::Start,
            Kind::Restart,
            Kind::Checkpoint,
            Kind::Suspend,
        ] {
            events.push(next(events.last().unwrap(), kind));
        }
        // The owner's own claim keeps the epoch, another's raises it.
        events.push(next(events.last().unwrap(), Kind::Claim));
        events.push(claimed(events.last().unwrap(), "there", None));
        events.push(next(events.last().unwrap(), Kind::Resume));
        events.push(claimed(events.last().unwrap(), "elsewhere", Some(UNOBSERVED)));
        let mut merge = next(events.last().unwrap(), Kind::Merge);
        merge.seq += 7;
        merge.summary.epoch += 2;
        events.push(merge);
        for kind in [Kind::Answer, Kind::Terminate, Kind::Note] {
            events.push(next(events.last().unwrap(), kind));
        }
        events
    }

    /// What is said of a life of which one event was changed.
    fn flaw(kind: Kind, change: impl FnOnce(&mut Event)) -> String {
        let mut events = life();
        change(events.iter_mut().find(|event| event.kind == kind).unwrap());
        validate(&events).unwrap_err().to_string()
    }

    #[test]
    fn a_life_with_every_kind_of_step_is_legal() {
        assert_eq!(validate(&life()), Ok(()));
        for length in 1..life().len() {
            assert_eq!(validate(&life()[..length]), Ok(()));
        }
    }

    #[test]
    fn a_log_that_is_not_legal_is_told_by_its_first_wrong_event() {
        assert_eq!(validate(&[]).unwrap_err(), Illegal::Empty);
        let start = Kind::Start;
        assert_eq!(flaw(start, |event| event.seq = 4), "event 4 follows event 2");
        assert_eq!(flaw(start, |event| event.seq = 2), "event 2 follows event 2");
        assert_eq!(
            flaw(Kind::Create, |event| event.seq = 2),
            "event 2 follows event 0"
        );
        assert_eq!(
            flaw(start, |event| event.kind = Kind::Resume),
            "event 3: cannot resume a session that is pending"
        );
        assert_eq!(
            flaw(start, |event| event.from = Some(State::Suspended)),
            "event 3 says that the session was suspended, and it was pending"
        );
        assert_eq!(
            flaw(start, |event| event.from = None),
            "event 3 says that the session was nowhere, and it was pending"
        );
        assert_eq!(
            flaw(start, |event| event.summary.state = State::Terminated),
            "event 3 is a start that leads to terminated rather than running"
        );
        assert_eq!(
            flaw(start, |event| event.summary.epoch = 2),
            "event 3 has epoch 2 after epoch 1"
        );
        assert_eq!(
            flaw(start, |event| event.summary.owner = "thief".to_owned()),
            "event 3 is a start that changes the owner from 'here' to 'thief'"
        );
        assert_eq!(
            flaw(start, |event| event.summary.id = "two".parse().unwrap()),
            "event 3 is of another session, 'two'"
        );
        assert_eq!(
            flaw(start, |event| event.summary.created = Timestamp::MAX),
            format!(
                "event 3 says that the session was created at {} rather than 1970-01-01T00:00:00Z",
                Timestamp::MAX
            )
        );
        for bad in ["--upload-pack=x", "../../x", "HEAD", "a..b", "x.lock", ""] {
            assert_eq!(
                flaw(Kind::Create, |event| event.summary.branch = Some(bad.to_owned())),
                format!("event 1 names a branch that can't be one, '{bad}'")
            );
        }
        assert_eq!(
            flaw(start, |event| event.summary.branch = Some("main".to_owned())),
            "event 3 changes the session's branch"
        );
        assert_eq!(
            flaw(start, |event| event.summary.home =
                Some("https://evil".to_owned())),
            "event 3 changes the session's home"
        );
        let work = Some(gix::ObjectId::null(gix::hash::Kind::Sha1));
        assert_eq!(
            flaw(Kind::Note, |event| event.summary.work = work),
            "event 21 changes the session's work"
        );
        assert_eq!(
            flaw(Kind::Home, |event| event.summary.head = work),
            "event 2 changes the session's head"
        );
        let forgets = |event: &mut Event| event.forgotten.extend(work);
        for kind in [Kind::Home, Kind::Suspend, Kind::Answer] {
            assert!(flaw(kind, forgets).ends_with("forgets work that can't be forgotten by it"));
        }
        let mut forgotten = life();
        forgets(forgotten.last_mut().unwrap());
        assert_eq!(validate(&forgotten), Ok(()));
        let begin = |change: fn(&mut Event)| flaw(Kind::Create, change);
        assert_eq!(
            begin(|event| event.kind = Kind::Note),
            "event 1: cannot note a session that does not exist yet"
        );
        assert_eq!(
            begin(|event| event.summary.epoch = 5),
            "event 1 has epoch 5 after epoch 0"
        );
        assert_eq!(
            begin(|event| event.summary.state = State::Running),
            "event 1 is a create that leads to running rather than pending"
        );
        assert!(begin(|event| event.from = Some(State::Running)).starts_with("event 1 says"));
    }

    #[test]
    fn ownership_is_taken_by_claims_alone_each_with_the_next_epoch() {
        let suspended = &life()[5];
        let wrong = |change: fn(&mut Event)| {
            let mut event = claimed(suspended, "there", None);
            change(&mut event);
            follows(suspended, &event)
        };
        assert_eq!(wrong(|_| ()), Ok(()));
        assert!(wrong(|event| event.summary.epoch = 1).is_err());
        assert!(wrong(|event| event.summary.epoch = 3).is_err());
        assert!(wrong(|event| event.summary.owner = "here".to_owned()).is_err());
        // Of a running session only by force, and then it says so.
        let running = &life()[3];
        assert!(follows(running, &claimed(running, "there", None)).is_err());
        assert_eq!(
            follows(running, &claimed(running, "there", Some(UNOBSERVED))),
            Ok(())
        );
    }

    #[test]
    fn a_merge_may_skip_numbers_and_raise_the_epoch_and_change_nothing_else() {
        let events = life();
        let before = &events[9];
        let wrong = |change: fn(&mut Event)| {
            let mut event = events[10].clone();
            change(&mut event);
            follows(before, &event)
        };
        assert_eq!(wrong(|_| ()), Ok(()));
        assert_eq!(wrong(|event| event.seq = 11), Ok(()));
        assert!(wrong(|event| event.seq = 10).is_err());
        assert!(wrong(|event| event.summary.epoch = 1).is_err());
        assert!(wrong(|event| event.summary.owner = "thief".to_owned()).is_err());
        assert!(wrong(|event| event.summary.state = State::Running).is_err());
    }

    #[test]
    fn numbers_at_their_end_are_no_reason_to_panic() {
        let mut last = created();
        last.seq = u64::MAX;
        last.summary.epoch = u64::MAX;
        assert!(follows(&last, &claimed_at_the_end(&last)).is_err());
        assert!(follows(&last, &next(&last, Kind::Note)).is_err());
    }

    fn claimed_at_the_end(before: &Event) -> Event {
        let mut event = next(before, Kind::Claim);
        event.summary.owner = "there".to_owned();
        event
    }

    #[test]
    fn a_newer_formats_rules_are_not_known_and_its_order_is() {
        let mut events = life();
        let last = events.len() - 1;
        events[last].format = FORMAT + 1;
        events[last].summary.state = State::Running;
        events[last].summary.owner = "there".to_owned();
        events[last].seq += 5;
        assert_eq!(validate(&events), Ok(()));
        events[last].seq = 1;
        assert!(validate(&events).is_err());
    }

    #[test]
    fn a_very_long_log_is_checked() {
        let mut events = vec![created()];
        for _ in 0..100_000 {
            events.push(next(events.last().unwrap(), Kind::Note));
        }
        assert_eq!(validate(&events), Ok(()));
        events[99_999].seq += 1;
        assert!(validate(&events).is_err());
    }
}
