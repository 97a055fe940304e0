//! What an interrupt of a followed session does: `session.interrupt`.

use std::thread;
use std::time::Duration;

use super::error::{Error, Result};
use super::workspace::Workspace;
use crate::session::SessionId;
use crate::worker::{Ladder, stop};

/// What becomes of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// It is terminated as stopped.
    Stop,
    Suspend,
    /// It goes on in the background.
    Detach,
}

impl Interrupt {
    /// Reads `session.interrupt`; `stop` where nothing is said.
    pub fn configured(ws: &Workspace) -> Result<Interrupt> {
        match ws.repo.config("session.interrupt").as_deref() {
            None | Some("stop") => Ok(Interrupt::Stop),
            Some("suspend") => Ok(Interrupt::Suspend),
            Some("detach") => Ok(Interrupt::Detach),
            Some(other) => Err(Error::Option {
                option: "session.interrupt".to_owned(),
                why: format!("'{other}' is not stop, suspend or detach"),
            }),
        }
    }
}

/// Kills the session's processes as soon as `now` says so, while another stop waits out its grace.
pub fn kill_at(ws: &Workspace, id: &SessionId, now: impl Fn() -> bool + Send + 'static) -> Result<()> {
    let run_dir = ws.run_dir(id);
    let target = run_dir.target(run_dir.run()?.as_ref());
    thread::spawn(move || {
        while !now() {
            thread::sleep(Duration::from_millis(20));
        }
        // The other stop sees what is left, and says so.
        let _ = stop(&target, Ladder::Kill);
    });
    Ok(())
}
