//! Finds out what is true after a crash, and records that first.

use std::time::Duration;

use gix::ObjectId;
use jiff::Timestamp;

use super::error::{Error, Result};
use super::local::{Exit, Guard, Intent, IntentKind, Phase, Run, RunDir};
use super::record::{load, record, spec};
use super::settle::{End, finish, settle, still_alive};
use super::workspace::Workspace;
use crate::session::{Kind, Outcome, SessionId, Spec, State};
use crate::store::Session;
use crate::worker::{Ladder, Liveness, Signal, Unsure};

/// How long a worker may take to end when nothing else is said.
pub const GRACE: Duration = Duration::from_secs(10);

/// Makes the log true again if its run is over without having been settled; else changes nothing.
///
/// # Errors
/// Runs of another host or pid namespace, of which nothing is known, and processes that can't be killed.
pub fn reconcile(ws: &Workspace, _guard: &Guard, id: &SessionId) -> Result<Session> {
    let session = load(ws, id)?;
    if !ws.owns(&session.event.summary) {
        return Ok(session);
    }
    let run_dir = ws.run_dir(id);
    let Some(run) = run_dir.run()? else {
        if session.event.summary.state == State::Running && !run_dir.is_supervised()? {
            return without_record(ws, &session);
        }
        // The last step may have been recorded by a command that was killed before it had tidied up.
        let ended = session.event.summary.state == State::Terminated;
        if ended && run_dir.place()?.is_some_and(|place| !place.parked) {
            finish(ws, &session, &run_dir)?;
        }
        return Ok(session);
    };
    if run_dir.is_supervised()? {
        return Ok(session);
    }
    check_known(id, &run)?;
    let spec = spec(ws, &session)?;
    let stopped = crate::worker::stop(&run_dir.target(Some(&run)), ladder(&spec, None, false))?;
    if let Some(error) = still_alive(id, &stopped) {
        return Err(error);
    }
    let summary = &session.event.summary;
    match summary.state {
        State::Terminated => {
            finish(ws, &session, &run_dir)?;
            Ok(session)
        }
        State::Suspended if summary.frozen => {
            let session = settle(ws, id, Kind::Checkpoint, &End::default())?;
            run_dir.clear_run()?;
            Ok(session)
        }
        State::Pending | State::Suspended => {
            let executed = run.phase != Phase::Launching;
            if executed && !is_recorded(ws, &session, &run)? {
                let kind = if summary.state == State::Pending {
                    Kind::Start
                } else {
                    Kind::Resume
                };
                record(ws, id, kind, |_| {})?;
                return end(ws, id, &run_dir, &run);
            }
            finish(ws, &session, &run_dir)?;
            run_dir.clear_run()?;
            Ok(session)
        }
        State::Running => end(ws, id, &run_dir, &run),
    }
}

/// A session that runs by its log and of whose run nothing is known here: what has its mark is stopped.
fn without_record(ws: &Workspace, session: &Session) -> Result<Session> {
    let id = session.id();
    let spec = spec(ws, session)?;
    let stopped = crate::worker::stop(&ws.run_dir(id).target(None), ladder(&spec, None, false))?;
    if let Some(error) = still_alive(id, &stopped) {
        return Err(error);
    }
    let end = End {
        reason: Some("lost".to_owned()),
        ..End::default()
    };
    settle(ws, id, Kind::Suspend, &end)
}

/// Records the end of a run that nobody supervises any more.
fn end(ws: &Workspace, id: &SessionId, run_dir: &RunDir, run: &Run) -> Result<Session> {
    match run_dir.exit(&run.attempt)? {
        Some(exit) => {
            let intent = run_dir.intent(&run.attempt, exit.at)?;
            let (kind, end) = decide(intent.as_ref(), &exit);
            settle(ws, id, kind, &end)
        }
        None => {
            let end = End {
                reason: Some("lost".to_owned()),
                ..End::default()
            };
            settle(ws, id, Kind::Suspend, &end)
        }
    }
}

/// Which event is true of a worker that has ended: what was asked for, or else what it did by itself.
pub fn decide(intent: Option<&Intent>, exit: &Exit) -> (Kind, End) {
    let Ok(outcome) = exit.outcome.parse::<Outcome>();
    let reason = intent.and_then(|intent| intent.reason.clone());
    match intent.map(|intent| intent.kind) {
        Some(IntentKind::Suspend) => (
            Kind::Suspend,
            End {
                reason,
                ..End::default()
            },
        ),
        Some(IntentKind::Terminate) => (
            Kind::Terminate,
            End {
                outcome: Some(Outcome::Stopped),
                reason,
                ..End::default()
            },
        ),
        Some(IntentKind::Timeout) => (
            Kind::Terminate,
            End {
                outcome: Some(Outcome::Timeout),
                reason,
                ..End::default()
            },
        ),
        Some(IntentKind::Freeze | IntentKind::Pause) | None => {
            let reason = (!exit.strays.is_empty()).then(|| {
                format!(
                    "processes that outlived the worker were stopped: {}",
                    exit.strays.join(", ")
                )
            });
            (
                Kind::Terminate,
                End {
                    outcome: Some(outcome),
                    reason,
                    ..End::default()
                },
            )
        }
    }
}

/// How a session's processes are asked to end.
pub fn ladder(spec: &Spec, grace: Option<Duration>, kill: bool) -> Ladder {
    if kill {
        return Ladder::Kill;
    }
    let signal = spec
        .limits
        .signal
        .as_deref()
        .and_then(|name| name.parse().ok())
        .unwrap_or(Signal::TERM);
    Ladder::Ask {
        signal,
        grace: grace.or(spec.limits.grace).unwrap_or(GRACE),
    }
}

/// Whether the log has a step of this launch, or a later one.
fn is_recorded(ws: &Workspace, session: &Session, run: &Run) -> Result<bool> {
    let onto = ObjectId::from_hex(run.onto.as_bytes()).ok();
    let history = ws.store().history(session)?;
    Ok(history
        .iter()
        .rev()
        .take_while(|(commit, _)| Some(*commit) != onto)
        .any(|(_, event)| event.kind.is_transition()))
}

/// Refuses runs whose processes can't be seen from here: they may well be alive.
pub fn check_known(id: &SessionId, run: &Run) -> Result<()> {
    match run.supervisor.as_ref().unwrap_or(&run.launcher).check() {
        Liveness::Unknown(why @ (Unsure::OtherHost | Unsure::OtherNamespace)) => Err(Error::Unknown {
            id: id.clone(),
            why: why.to_string(),
        }),
        Liveness::Alive | Liveness::Gone | Liveness::Unknown(Unsure::Unreadable) => Ok(()),
    }
}

/// Recovers one session if it is stale; tells whether anything was to be done.
pub fn recover(ws: &mut Workspace, id: &SessionId) -> Result<Option<Session>> {
    let session = load(ws, id)?;
    ws.check_owned(&session)?;
    ws.prepare()?;
    let guard = ws.run_dir(id).guard(id)?;
    let after = reconcile(ws, &guard, id)?;
    Ok((after.tip != session.tip).then_some(after))
}

/// The time until which a stop that begins now means something.
pub fn until(patience: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.saturating_add(patience + Duration::from_secs(30))
        .unwrap_or(now)
}
