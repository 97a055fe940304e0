//! Finds out what is true after a crash, and records that first.

use std::time::Duration;

use gix::ObjectId;
use jiff::Timestamp;

use super::error::{Error, Result};
use super::local::{Guard, RunDir};
use super::machine::host;
use super::own_name::{is_said_to_run, lives_unsaid, was_launched_here};
use super::record::{check, load, record, spec};
use super::records::{Exit, Intent, IntentKind, Phase, Run};
use super::settle::{End, finish, save, settle, still_alive};
use super::standing::find_again;
use super::workspace::Workspace;
use crate::session::{Kind, Outcome, SessionId, Spec, State};
use crate::store::{Session, names};
use crate::worker::{Ladder, Liveness, Probe, Signal, Unsure, probe, thaw};

/// How long a worker may take to end when nothing else is said.
pub const GRACE: Duration = Duration::from_secs(10);

/// Makes the log true again if its run is over without having been settled; else changes nothing.
///
/// # Errors
/// Runs of another host or pid namespace, of which nothing is known, and processes that can't be killed.
pub fn reconcile(ws: &Workspace, _guard: &Guard, id: &SessionId) -> Result<Session> {
    let session = load(ws, id)?;
    let run_dir = ws.run_dir(id);
    if !is_said_to_run(ws, &session)
        && let Some(run) = run_dir.run()?
        && (run_dir.is_supervised()? || !ws.owns(&session.event.summary))
        && probe(&run_dir.job_lock())? == Probe::Held
    {
        return bring_to_rest(ws, &session, &run_dir, &run);
    }
    if !ws.owns(&session.event.summary) {
        return Ok(session);
    }
    // Stock git would wait for such a lock, and nobody may write to this reference again.
    ws.repo.refs().unlock_after_crash(&names::log(id));
    let clone = ws.clone_id().unwrap_or_default();
    ws.repo.refs().unlock_after_crash(&names::work(id, clone));
    if session.event.summary.state != State::Pending {
        find_again(ws, &run_dir)?;
    }
    let Some(run) = run_dir.run()? else {
        let summary = &session.event.summary;
        if summary.state == State::Running || summary.frozen {
            return without_record(ws, &session, &run_dir);
        }
        // The last step may have been recorded by a command that was killed before it had tidied up.
        let ended = session.event.summary.state == State::Terminated;
        if ended && run_dir.place()?.is_some_and(|place| !place.parked) {
            finish(ws, &session, &run_dir)?;
        }
        return Ok(session);
    };
    if run_dir.is_supervised()? {
        if session.event.summary.state == State::Running {
            release(&run_dir, &run)?;
        }
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

/// A worker lives here of which the log says that it doesn't run here: it is stopped, and its work kept.
///
/// Where the log can't name the work any more, this clone's work reference has it.
fn bring_to_rest(ws: &Workspace, session: &Session, run_dir: &RunDir, run: &Run) -> Result<Session> {
    let (id, summary) = (session.id(), &session.event.summary);
    check_known(id, run)?;
    let stopped = crate::worker::stop(
        &run_dir.target(Some(run)),
        ladder(&spec(ws, session)?, None, false),
    )?;
    if let Some(error) = still_alive(id, &stopped) {
        return Err(error);
    }
    let owned = ws.owns(summary);
    if owned && summary.state == State::Suspended {
        return settle(ws, id, Kind::Checkpoint, &End::default());
    }
    let unsaved = save(ws, session)?;
    let session = match owned {
        true => record(ws, id, Kind::Note, |event| {
            let name = names::work(id, ws.clone_id().unwrap_or_default());
            event.note = Some(format!(
                "a worker of it that lived on here was stopped; '{name}' has its work"
            ));
            event.summary.unsaved = unsaved.clone();
        })?,
        false => session.clone(),
    };
    finish(ws, &session, run_dir)?;
    run_dir.clear_run()?;
    Ok(session)
}

/// The run record is gone, with it all knowledge of processes but the marker that they have.
fn without_record(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<Session> {
    let (id, summary) = (session.id(), &session.event.summary);
    if !was_launched_here(ws, session)? {
        return Err(Error::NotLaunchedHere(id.clone()));
    }
    if summary.host != host() {
        return Err(Error::Unknown {
            id: id.clone(),
            why: format!("it was started on '{}', and its run record is gone", summary.host),
        });
    }
    let stopped = crate::worker::stop(&run_dir.target(None), ladder(&spec(ws, session)?, None, false))?;
    if let Some(error) = still_alive(id, &stopped) {
        return Err(error);
    }
    match summary.state {
        State::Running => settle(ws, id, Kind::Suspend, &lost()),
        _ => settle(ws, id, Kind::Checkpoint, &End::default()),
    }
}

/// What is true of a run whose end nobody saw.
pub fn lost() -> End {
    End {
        reason: Some("lost".to_owned()),
        ..End::default()
    }
}

/// Lets processes go on that a command had stopped for a moment before it was killed: whoever has the guard is not it.
pub fn release(run_dir: &RunDir, run: &Run) -> Result<()> {
    let intent = run_dir.intent(&run.attempt, Timestamp::now())?;
    if intent.is_some_and(|intent| matches!(intent.kind, IntentKind::Pause | IntentKind::Freeze)) {
        thaw(&run_dir.target(Some(run)))?;
        run_dir.clear_intent()?;
    }
    Ok(())
}

/// Records the end of a run that nobody supervises any more.
fn end(ws: &Workspace, id: &SessionId, run_dir: &RunDir, run: &Run) -> Result<Session> {
    match run_dir.exit(&run.attempt)? {
        Some(exit) => {
            let intent = run_dir.intent(&run.attempt, exit.at)?;
            let (kind, end) = decide(intent.as_ref(), &exit);
            settle(ws, id, kind, &end)
        }
        None => settle(ws, id, Kind::Suspend, &lost()),
    }
}

/// Which event is true of a worker that has ended: what was asked for, or else what it did by itself.
pub fn decide(intent: Option<&Intent>, exit: &Exit) -> (Kind, End) {
    let Ok(outcome) = exit.outcome.parse::<Outcome>();
    let reason = intent.and_then(|intent| intent.reason.clone());
    let request = intent.and_then(|intent| intent.request.clone());
    match intent.map(|intent| intent.kind) {
        Some(IntentKind::Suspend) => (
            Kind::Suspend,
            End {
                reason,
                request,
                ..End::default()
            },
        ),
        Some(IntentKind::Terminate) => (
            Kind::Terminate,
            End {
                outcome: Some(Outcome::Stopped),
                reason,
                request,
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

/// Checks a step before anything is done for it, unless the log doesn't say any more what is true.
pub fn check_unless_stale(ws: &Workspace, session: &Session, kind: Kind) -> Result<()> {
    let refused = match check(session, kind) {
        Ok(_) => return Ok(()),
        Err(refused) => refused,
    };
    let run_dir = ws.run_dir(session.id());
    if run_dir.run()?.is_some() && (!run_dir.is_supervised()? || lives_unsaid(ws, session)?) {
        return Ok(());
    }
    Err(refused)
}

/// What was found out of a session.
#[derive(Debug)]
pub struct Recovered {
    pub session: Session,
    /// A worker lived here that the log knew nothing of; this reference has its work.
    pub unsaid: Option<String>,
}

/// Recovers one session if it is stale, or if its worker lives here against what its log says; tells whether anything
/// was to be done.
pub fn recover(ws: &mut Workspace, id: &SessionId) -> Result<Option<Recovered>> {
    let session = load(ws, id)?;
    let unsaid = lives_unsaid(ws, &session)?;
    if !unsaid {
        ws.check_owned(&session)?;
    }
    ws.prepare()?;
    let guard = ws.run_dir(id).guard(id)?;
    let after = reconcile(ws, &guard, id)?;
    let name = || names::work(id, ws.clone_id().unwrap_or_default());
    Ok((unsaid || after.tip != session.tip).then(|| Recovered {
        session: after,
        unsaid: unsaid.then(name),
    }))
}
