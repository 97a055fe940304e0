//! A session whose processes stand still in memory: held, let go on, or ended.

use super::error::{Error, Result};
use super::intent::{DAY, intent, nudge};
use super::local::RunDir;
use super::record::{record, spec};
use super::records::{IntentKind, Run};
use super::recover::check_known;
use super::settle::{End, settle, still_alive};
use super::workspace::Workspace;
use crate::session::{Kind, SessionId};
use crate::store::Session;
use crate::worker::{self, Ladder};

/// Stops all its processes and keeps them in memory.
///
/// # Errors
/// Processes that can't be held: then all of them go on.
pub fn hold(ws: &Workspace, id: &SessionId, run: &Run, reason: Option<String>) -> Result<()> {
    let run_dir = ws.run_dir(id);
    run_dir.write_intent(&intent(run, IntentKind::Freeze, reason, DAY))?;
    let target = run_dir.target(Some(run));
    let frozen = match worker::freeze(&target, || !ws.repo.refs().are_locked()) {
        Ok(frozen) => frozen,
        Err(error) => {
            // Some may stand still by now, of a session that nobody calls frozen.
            worker::thaw(&target)?;
            run_dir.clear_intent()?;
            return Err(error.into());
        }
    };
    if frozen.moving.is_empty() && run.worker.as_ref().is_some_and(|worker| worker.is_alive()) {
        return Ok(());
    }
    frozen.release(&target)?;
    run_dir.clear_intent()?;
    let what = "its processes can't be held".to_owned();
    Err(Error::Lacking { id: id.clone(), what })
}

/// Lets the processes of a frozen session go on.
pub fn thaw(ws: &Workspace, run_dir: &RunDir, run: &Run, session: &Session) -> Result<Session> {
    let id = session.id();
    let timeout = spec(ws, session)?.limits.timeout;
    check_known(id, run)?;
    // Should we be killed between the event and the thaw, whoever has the guard next lets them go on.
    run_dir.write_intent(&intent(run, IntentKind::Pause, None, DAY))?;
    nudge(Some(run));
    let recorded = record(ws, id, Kind::Resume, |event| {
        event.summary.deadline = timeout.and_then(|timeout| event.at.checked_add(timeout).ok());
    });
    if recorded.is_ok() {
        worker::thaw(&run_dir.target(Some(run)))?;
    }
    run_dir.clear_intent()?;
    let session = recorded?;
    nudge(Some(run));
    Ok(session)
}

/// Ends the processes of a frozen session whose worktree is gone: they could only go on in a place that is no more.
pub fn melt(ws: &Workspace, run_dir: &RunDir, run: &Run, id: &SessionId) -> Result<Session> {
    check_known(id, run)?;
    let stopped = worker::stop(&run_dir.target(Some(run)), Ladder::Kill)?;
    if let Some(error) = still_alive(id, &stopped) {
        return Err(error);
    }
    settle(ws, id, Kind::Checkpoint, &End::default())
}
