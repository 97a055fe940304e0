//! What a log says in this clone's name that this clone did not write, while a worker of it lives here.
//!
//! Whoever can write to a remote can say there that our session has ended; a second clone of the same name says so in
//! good faith. Only who has the worker knows, so that is not followed until the worker has ended here as well: then both
//! sides are merged, and nothing of either is lost.

use super::error::Result;
use super::record::load;
use super::workspace::Workspace;
use crate::session::{Event, SessionId, State};
use crate::store::Session;
use crate::worker::{Probe, probe};

/// Whether something of a session's run lives here: descendants of its worker, or a supervisor that still has a run and
/// isn't about to go since that has ended.
pub fn is_alive(ws: &Workspace, id: &SessionId) -> Result<bool> {
    let run_dir = ws.run_dir(id);
    Ok(probe(&run_dir.job_lock())? == Probe::Held || (run_dir.is_supervised()? && run_dir.run()?.is_some()))
}

/// Whether a worker lives here of which the log says that it doesn't run here: stock git, or another version, moved the
/// log past every check.
pub fn lives_unsaid(ws: &Workspace, session: &Session) -> Result<bool> {
    let run_dir = ws.run_dir(session.id());
    Ok(!is_said_to_run(ws, session)
        && run_dir.run()?.is_some()
        && probe(&run_dir.job_lock())? == Probe::Held
        && !run_dir.is_guarded()?
        // Its start may have been recorded between these looks.
        && load(ws, session.id())?.tip == session.tip)
}

/// Whether the log says that a worker of the session is alive here.
pub fn is_said_to_run(ws: &Workspace, session: &Session) -> bool {
    let summary = &session.event.summary;
    ws.owns(summary) && (summary.state == State::Running || summary.frozen)
}

/// Whether a worker of which no record is here was launched here: in this directory, and not in another clone of the
/// same name.
pub fn was_launched_here(ws: &Workspace, session: &Session) -> Result<bool> {
    // A name that the environment gives says nothing of the directory, and a key may have been copied along with it.
    Ok(match ws.clone_id() {
        Some(own) if !ws.is_named() => ws.store().launched_by_us(session, own)?,
        _ => false,
    })
}

/// Whether this clone is said to have a worker of which it knows nothing: only another one of its name can.
pub fn is_unseen(ws: &Workspace, session: &Session) -> Result<bool> {
    let summary = &session.event.summary;
    Ok(ws.owns(summary)
        && (summary.state == State::Running || summary.frozen)
        && ws.run_dir(session.id()).run()?.is_none()
        && !is_alive(ws, session.id())?
        && !was_launched_here(ws, session)?)
}

/// Finds the newest step that a log has beyond ours in this clone's name, and that this clone did not write.
pub fn not_ours(ws: &Workspace, ours: &Session, theirs: &Session) -> Result<Option<Event>> {
    let Some(own) = ws.clone_id() else { return Ok(None) };
    Ok(ws.store().in_the_name_of(own, theirs, ours)?)
}

/// Why a log can't be followed, if it says of this clone what it did not do while its worker lives.
pub fn contradiction(ws: &Workspace, ours: &Session, theirs: &Session) -> Result<Option<String>> {
    if !ws.owns(&ours.event.summary) || !ws.owns(&theirs.event.summary) || !is_alive(ws, ours.id())? {
        return Ok(None);
    }
    Ok(not_ours(ws, ours, theirs)?.map(|event| {
        let said = said(&event);
        format!("it {said}, and its worker lives here")
    }))
}

/// What is said of such an event.
pub fn said(event: &Event) -> String {
    format!(
        "says of this clone what it did not do (event {}, {})",
        event.seq, event.kind
    )
}
