//! Waits until sessions have ended.

use std::thread;
use std::time::{Duration, Instant};

use super::error::Result;
use super::record::load;
use super::workspace::Workspace;
use crate::session::{Outcome, SessionId, State};
use crate::store::Session;
use crate::worker::wait_free;

/// The pause between two looks at a session that no process here will end.
const PAUSE: Duration = Duration::from_millis(200);

/// What a wait came to.
#[derive(Debug)]
pub enum Waited {
    /// The session has ended.
    Ended(Session),
    /// It runs by its log, but nobody supervises it any more.
    Stale(Session),
    /// The time was up.
    Late(Session),
}

/// Waits for one session; `waiting` is called once with what holds it up, where nothing here makes it go on.
pub fn wait(
    ws: &Workspace,
    id: &SessionId,
    until: Option<Instant>,
    mut waiting: impl FnMut(&Session),
) -> Result<Waited> {
    let run_dir = ws.run_dir(id);
    let mut told = false;
    loop {
        let session = load(ws, id)?;
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match session.event.summary.state {
            State::Terminated => return Ok(Waited::Ended(session)),
            _ if left.is_some_and(|left| left.is_zero()) => return Ok(Waited::Late(session)),
            State::Running if ws.owns(&session.event.summary) => {
                if run_dir.is_supervised()? {
                    wait_free(&run_dir.supervisor_lock(), left)?;
                } else if run_dir.is_guarded()? {
                    thread::sleep(Duration::from_millis(5));
                } else if load(ws, id)?.tip == session.tip {
                    return Ok(Waited::Stale(session));
                }
            }
            _ => {
                if !std::mem::replace(&mut told, true) {
                    waiting(&session);
                }
                thread::sleep(left.unwrap_or(PAUSE).min(PAUSE));
            }
        }
    }
}

/// Waits until the first of several has ended.
pub fn wait_any(
    ws: &Workspace,
    ids: &[SessionId],
    until: Option<Instant>,
    mut waiting: impl FnMut(&Session),
) -> Result<Waited> {
    let mut told = false;
    loop {
        for id in ids {
            let now = Some(Instant::now());
            match wait(ws, id, now, |_| {})? {
                Waited::Late(session) if !told => waiting(&session),
                Waited::Late(session) if until.is_some_and(|until| until <= Instant::now()) => {
                    return Ok(Waited::Late(session));
                }
                Waited::Late(_) => {}
                over => return Ok(over),
            }
        }
        told = true;
        thread::sleep(PAUSE / 4);
    }
}

/// The exit code that stands for an ended session.
pub fn exit_code(session: &Session) -> i32 {
    session
        .event
        .summary
        .outcome
        .as_ref()
        .map_or(125, Outcome::exit_code)
}
