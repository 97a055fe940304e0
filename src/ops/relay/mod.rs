//! Sends each step of a session to its remote, in a process beside its worker and never in its way.
//!
//! A remote that is down costs a retry. With `session.autoSync` the relay lives as long as the session runs: it answers
//! requests, and learns when another clone has taken the session over.

mod carry;

use std::ffi::OsString;
use std::time::Duration;

use super::environment::supervisor_environment;
use super::error::{Error, Result};
use super::records::Relay;
use super::remotes::chosen;
use super::workspace::Workspace;
use crate::session::{SessionId, duration};
use crate::worker::{Detach, detach};

pub use carry::{relay, unsent};

/// The verb by which a relay is started.
pub const RELAY: &str = "relay";
/// The pause after the first push that failed; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a running session with `session.autoSync` is synchronised, unless `session.syncInterval` says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);

/// Where each step of a session is to be sent while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// To the usual remote.
    Usual,
    /// To this one.
    To(String),
}

impl Push {
    fn remote(&self) -> Option<&str> {
        match self {
            Push::Usual => None,
            Push::To(name) => Some(name),
        }
    }

    /// Checks that there is such a remote, before anything is made that is to be sent there.
    pub fn check(&self, ws: &Workspace) -> Result<()> {
        let remote = chosen(ws, self.remote())?;
        if remote.is_secret() {
            // It would have to be kept for as long as the session runs.
            return Err(Error::Secret(remote.name().to_owned()));
        }
        Ok(())
    }
}

/// Has each step of the session sent from now on, if that is asked for here or by `session.autoSync`.
pub fn arrange(ws: &Workspace, id: &SessionId, program: OsString, push: Option<&Push>) -> Result<()> {
    let both_ways = ws.repo.config_bool("session.autoSync") == Some(true) && chosen(ws, None).is_ok();
    let run_dir = ws.run_dir(id);
    if push.is_some() || both_ways {
        run_dir.write_relay(&Relay {
            program: program.into(),
            remote: push.and_then(Push::remote).map(str::to_owned),
            both_ways,
        })?;
    }
    nudge(ws, id);
    Ok(())
}

/// Starts the session's relay after a step, if it has one; one that is at work already sees the step by itself.
pub fn nudge(ws: &Workspace, id: &SessionId) {
    let run_dir = ws.run_dir(id);
    let Ok(Some(relay)) = run_dir.relay() else { return };
    // What can't be sent now is sent after the next step, or by a sync; the step itself is recorded.
    let _ = detach(Detach {
        argv: vec![
            relay.program.as_os_str().to_owned(),
            RELAY.into(),
            id.as_str().into(),
            ws.repo.common_dir().as_os_str().to_owned(),
        ],
        cwd: ws.repo.common_dir().to_owned(),
        env: supervisor_environment(),
        log: Some(run_dir.relay_log()),
        keep: Vec::new(),
    });
}

/// How often a remote is asked and told, where nobody does so: no oftener than it is after a push that failed.
pub fn interval(ws: &Workspace) -> Duration {
    let text = ws.repo.config("session.syncInterval");
    text.and_then(|text| duration::parse(&text).ok())
        .unwrap_or(INTERVAL)
        .max(PAUSE)
}
