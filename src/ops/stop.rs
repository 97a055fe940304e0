//! `suspend`, `terminate` and `checkpoint`: from outside the supervisor, which only looks on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;

use super::branch;
use super::error::{Error, Result};
use super::frozen::{hold, melt};
use super::intent::{DAY, intent, nudge};
use super::local::{Guard, RunDir};
use super::record::{check, load, spec};
use super::records::{Intent, IntentKind, Phase, Run};
use super::recover::{GRACE, check_known, check_unless_stale, decide, ladder, lost, reconcile};
use super::settle::{End, settle, still_alive};
use super::standing::{is_missing, is_outdated, standing};
use super::workspace::Workspace;
use crate::session::{Kind, Outcome, SessionId, Spec, State};
use crate::store::Session;
use crate::worker::{freeze, stop_hurried, thaw, wait_free};

/// How a worker is brought to stand.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    pub reason: Option<String>,
    /// Instead of the session's own.
    pub grace: Option<Duration>,
    pub how: How,
    /// The nonce of the request that is carried out by it; the event says so.
    pub request: Option<String>,
    /// When somebody sets it, the grace is over at once.
    pub hurry: Option<Arc<AtomicBool>>,
}

/// What becomes of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// Asked to end, then killed.
    #[default]
    Ask,
    /// Killed at once.
    Kill,
    /// Kept in memory, stopped.
    Freeze,
}

/// How long a supervisor whose session is settled may take to go.
const GOODBYE: Duration = Duration::from_secs(5);

/// Stops the worker, saves its work, and records that.
pub fn suspend(ws: &mut Workspace, id: &SessionId, stop: &Stop) -> Result<Session> {
    match ready(ws, id, Kind::Suspend)? {
        Ready::Now(guard) => end(ws, &guard, id, Kind::Suspend, stop),
        Ready::Done(session) => Ok(*session),
    }
}

/// Ends a session: its worker is stopped, its work saved, its worktree parked.
pub fn terminate(ws: &mut Workspace, id: &SessionId, stop: &Stop) -> Result<Session> {
    let guard = match ready(ws, id, Kind::Terminate)? {
        Ready::Now(guard) => guard,
        Ready::Done(session) => return Ok(*session),
    };
    let session = load(ws, id)?;
    match session.event.summary.state {
        State::Pending => {
            let end = End {
                outcome: Some(Outcome::Cancelled),
                reason: stop.reason.clone(),
                request: stop.request.clone(),
                ..End::default()
            };
            settle(ws, id, Kind::Terminate, &end)
        }
        _ => {
            let run_dir = ws.run_dir(id);
            let went_on_elsewhere = is_outdated(ws, &session, run_dir.place()?.as_ref())?;
            let ended = end(ws, &guard, id, Kind::Terminate, stop)?;
            if went_on_elsewhere {
                // The worktree that held the branch is parked, so that it can follow to where the session ended.
                branch::follow(ws, &ended)?;
            }
            Ok(ended)
        }
    }
}

/// Saves the work of a session, which goes on as it was.
pub fn checkpoint(ws: &mut Workspace, id: &SessionId) -> Result<Session> {
    let _guard = match ready(ws, id, Kind::Checkpoint)? {
        Ready::Now(guard) => guard,
        Ready::Done(session) => return Ok(*session),
    };
    let run_dir = ws.run_dir(id);
    let session = load(ws, id)?;
    let summary = &session.event.summary;
    let saved = End {
        frozen: summary.frozen,
        ..End::default()
    };
    if summary.state != State::Pending && standing(ws, &run_dir)?.is_none() {
        return Err(Error::NoWorktree {
            id: id.clone(),
            why: match run_dir.place()? {
                None => "none was made, and nothing is there to be saved".to_owned(),
                Some(place) if is_missing(&place) => {
                    "it was removed, and nothing is there to be saved".to_owned()
                }
                Some(place) => format!("git can't read what is at '{}' as one", place.path),
            },
        });
    }
    if summary.state == State::Suspended
        && run_dir.run()?.is_none()
        && is_outdated(ws, &session, run_dir.place()?.as_ref())?
        && let Some(found) = standing(ws, &run_dir)?
    {
        return Err(Error::NoWorktree {
            id: id.clone(),
            why: format!(
                "what is at '{}' is from before it went on elsewhere",
                found.path.display()
            ),
        });
    }
    let run = match summary.state {
        State::Running => alive(&run_dir, id)?,
        _ => return settle(ws, id, Kind::Checkpoint, &saved),
    };
    let target = run_dir.target(Some(&run));
    // A stop that could not be recorded still says why the worker has ended.
    let stood = run_dir
        .intent(&run.attempt, Timestamp::now())?
        .filter(|intent| !matches!(intent.kind, IntentKind::Pause | IntentKind::Freeze));
    run_dir.write_intent(&intent(&run, IntentKind::Pause, None, DAY))?;
    let settled = match freeze(&target, || !ws.repo.refs().are_locked()) {
        Ok(frozen) => {
            let settled = match frozen.moving.is_empty() {
                true => settle(ws, id, Kind::Checkpoint, &saved),
                false => Err(Error::Lacking {
                    id: id.clone(),
                    what: "some of its processes can't be paused".to_owned(),
                }),
            };
            // Whatever became of the snapshot, the worker goes on.
            frozen.release(&target)?;
            settled
        }
        Err(error) => {
            thaw(&target)?;
            Err(error.into())
        }
    };
    match stood {
        Some(stood) => run_dir.write_intent(&stood)?,
        None => run_dir.clear_intent()?,
    }
    settled
}

/// What is left to be done for a step.
enum Ready {
    Now(Guard),
    /// A crash had brought the session to stand already, and that is recorded now.
    Done(Box<Session>),
}

/// Takes the guard of a session for a step that is legal, after what happened before is recorded.
fn ready(ws: &mut Workspace, id: &SessionId, kind: Kind) -> Result<Ready> {
    let session = load(ws, id)?;
    ws.check_owned(&session)?;
    check_unless_stale(ws, &session, kind)?;
    ws.prepare()?;
    let guard = ws.run_dir(id).guard(id)?;
    let before = load(ws, id)?;
    let session = reconcile(ws, &guard, id)?;
    let reached = match kind {
        Kind::Suspend => State::Suspended,
        Kind::Terminate => State::Terminated,
        _ => return check(&session, kind).map(|_| Ready::Now(guard)),
    };
    if session.tip != before.tip && session.event.summary.state == reached {
        return Ok(Ready::Done(Box::new(session)));
    }
    check(&session, kind).map(|_| Ready::Now(guard))
}

fn end(ws: &Workspace, _guard: &Guard, id: &SessionId, kind: Kind, stop: &Stop) -> Result<Session> {
    let run_dir = ws.run_dir(id);
    let session = load(ws, id)?;
    let spec = spec(ws, &session)?;
    let mut truth = End {
        reason: stop.reason.clone(),
        request: stop.request.clone(),
        frozen: stop.how == How::Freeze,
        ..End::default()
    };
    if kind == Kind::Terminate {
        truth.outcome = Some(Outcome::Stopped);
    }
    let Some(run) = run_dir.run()? else {
        if session.event.summary.state == State::Running {
            return Err(Error::Unknown {
                id: id.clone(),
                why: "its run record is gone".to_owned(),
            });
        }
        return settle(ws, id, kind, &truth);
    };
    check_known(id, &run)?;
    match stop.how {
        How::Freeze => hold(ws, id, &run, stop.reason.clone())?,
        How::Ask | How::Kill => {
            let by_itself = bring_down(&run_dir, id, &run, &spec, kind, stop)?;
            if by_itself && session.event.summary.state == State::Running {
                // Whoever records its end, should we fail to, is not to take it for ours.
                run_dir.clear_intent()?;
                return ended_before(ws, id, &run_dir, &run, kind);
            }
        }
    }
    let settled = settle(ws, id, kind, &truth)?;
    if stop.how != How::Freeze {
        leave(&run_dir, &run)?;
    }
    Ok(settled)
}

/// Ends all processes; tells whether the worker had ended by itself before the first signal.
fn bring_down(
    run_dir: &RunDir,
    id: &SessionId,
    run: &Run,
    spec: &Spec,
    kind: Kind,
    stop: &Stop,
) -> Result<bool> {
    let asked = if kind == Kind::Suspend {
        IntentKind::Suspend
    } else {
        IntentKind::Terminate
    };
    // A command that was killed may have sent the signals already, for the same end.
    let begun = run_dir
        .intent(&run.attempt, Timestamp::now())?
        .is_some_and(|intent| matches!(intent.kind, IntentKind::Suspend | IntentKind::Terminate));
    let grace = stop.grace.or(spec.limits.grace).unwrap_or(GRACE);
    run_dir.write_intent(&Intent {
        request: stop.request.clone(),
        ..intent(run, asked, stop.reason.clone(), grace)
    })?;
    let stopped = stop_hurried(
        &run_dir.target(Some(run)),
        ladder(spec, stop.grace, stop.how == How::Kill),
        stop.hurry.as_deref(),
    )?;
    if let Some(error) = still_alive(id, &stopped) {
        run_dir.clear_intent()?;
        return Err(error);
    }
    let signalled = run
        .worker
        .as_ref()
        .is_some_and(|worker| stopped.signalled.iter().any(|p| p.id == *worker));
    Ok(run.phase == Phase::Executed && !signalled && !begun)
}

/// The worker was faster: what it did is what is recorded.
fn ended_before(ws: &Workspace, id: &SessionId, run_dir: &RunDir, run: &Run, kind: Kind) -> Result<Session> {
    // The supervisor writes the exit down before it asks for the guard, which is ours. Where it had no room for that,
    // it tries again now.
    nudge(Some(run));
    let start = std::time::Instant::now();
    let exit = loop {
        if let Some(exit) = run_dir.exit(&run.attempt)? {
            break Some(exit);
        }
        if start.elapsed() > GOODBYE || !run_dir.is_supervised()? {
            break None;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let Some(exit) = exit else {
        let session = settle(ws, id, Kind::Suspend, &lost())?;
        let stopped = End {
            outcome: Some(Outcome::Stopped),
            ..End::default()
        };
        return match kind {
            Kind::Terminate => settle(ws, id, kind, &stopped),
            _ => Ok(session),
        };
    };
    let (_, truth) = decide(None, &exit);
    let session = settle(ws, id, Kind::Terminate, &truth)?;
    leave(run_dir, run)?;
    if kind == Kind::Terminate {
        return Ok(session);
    }
    let outcome = truth
        .outcome
        .map_or_else(String::new, |outcome| format!(" ({outcome})"));
    Err(Error::Changed {
        id: id.clone(),
        now: format!("terminated{outcome}"),
    })
}

/// Lets the supervisor see that its session is settled, and waits until it has gone.
fn leave(run_dir: &RunDir, run: &Run) -> Result<()> {
    nudge(Some(run));
    // It needs the guard for its last look only where it had not seen the event; it doesn't hold us up for long.
    wait_free(&run_dir.supervisor_lock(), Some(Duration::from_millis(1)))?;
    Ok(())
}

fn alive(run_dir: &RunDir, id: &SessionId) -> Result<Run> {
    let run = run_dir.run()?;
    let run = run.ok_or_else(|| Error::Unknown {
        id: id.clone(),
        why: "its run record is gone".to_owned(),
    })?;
    check_known(id, &run)?;
    Ok(run)
}

/// Brings a session to stand that is ours no longer: its worker is stopped and its work saved, with that reason.
pub fn stand_still(ws: &Workspace, guard: &Guard, id: &SessionId, reason: &str) -> Result<Session> {
    let session = reconcile(ws, guard, id)?;
    let summary = &session.event.summary;
    if summary.state == State::Running {
        let stop = Stop {
            reason: Some(reason.to_owned()),
            ..Stop::default()
        };
        return match end(ws, guard, id, Kind::Suspend, &stop) {
            // It ended by itself just now, and that is recorded.
            Err(Error::Changed { .. }) => load(ws, id),
            stopped => stopped,
        };
    }
    if summary.frozen
        && let Some(run) = ws.run_dir(id).run()?
    {
        return melt(ws, &ws.run_dir(id), &run, id);
    }
    Ok(session)
}
