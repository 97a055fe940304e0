//! Sends each step of a session to its remote, in a process beside its worker and never in its way.
//!
//! A remote that is down costs a retry. With `session.autoSync` the relay lives as long as the session runs: it answers
//! requests, and learns when another clone has taken the session over.

use std::ffi::OsString;
use std::time::Duration;

use gix::ObjectId;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::fence::refused;
use super::fetch::Fate;
use super::launch::supervisor_environment;
use super::local::RunDir;
use super::parcel::Sent;
use super::provenance;
use super::record::load;
use super::remotes::{chosen, home};
use super::sync::{Report, sync};
use super::workspace::Workspace;
use crate::git::remote::Remote;
use crate::session::duration;
use crate::session::{Arg, SessionId};
use crate::worker::{Detach, Lease, detach, wait_free};

/// The verb by which a relay is started.
pub const RELAY: &str = "relay";
/// The pause after the first push that failed; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(300);
/// How often it is tried before it is left to the session's next step.
const TRIES: u32 = 20;
/// How often a running session with `session.autoSync` is synchronised, unless `session.syncInterval` says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);

/// What a session's relay is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relay {
    /// Our own executable.
    program: Arg,
    /// The usual one, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// Whether others are listened to as well.
    #[serde(default)]
    both_ways: bool,
}

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
        log: Some(run_dir.path().join("relay.log")),
        keep: Vec::new(),
    });
}

/// Sends what the remote lacks, again and again until it has it.
///
/// # Errors
/// A session, or files of it here, that can't be read.
pub fn relay(ws: &mut Workspace, id: &SessionId) -> Result<()> {
    let run_dir = ws.run_dir(id);
    let mut tried = None;
    loop {
        let Some(lease) = Lease::acquire(&run_dir.path().join("relay.lock"), Duration::ZERO)? else {
            return Ok(());
        };
        let Some(relay) = run_dir.relay()? else {
            return Ok(());
        };
        match send(ws, id, &relay) {
            // Others may still ask for something, and the end is sent after all where it can be.
            Err(_) if relay.both_ways => {}
            sent => drop(sent?),
        }
        let done = attend(ws, id, &relay, &run_dir)?;
        tried = send_notes(ws, id, &relay)?.or(tried);
        drop(lease);
        // What was recorded while the lock was held was left to us; what can't be sent is left to the next step.
        let notes = provenance::to_send(ws, &remote(ws, id, &relay)?)?;
        let is_settled = notes.is_none_or(|notes| notes.new == tried);
        if done == Done::GaveUp || is_settled && is_level(ws, id, &relay)? {
            return Ok(());
        }
    }
}

/// How often a remote is asked and told, where nobody does so: no oftener than it is after a push that failed.
pub fn interval(ws: &Workspace) -> Duration {
    let text = ws.repo.config("session.syncInterval");
    text.and_then(|text| duration::parse(&text).ok())
        .unwrap_or(INTERVAL)
        .max(PAUSE)
}

/// What came of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Sent,
    GaveUp,
}

fn send(ws: &mut Workspace, id: &SessionId, relay: &Relay) -> Result<Done> {
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        if is_level(ws, id, relay)? {
            return Ok(Done::Sent);
        }
        // A log that went on elsewhere is followed, or merged, before ours is sent; a remote that is down is asked
        // again.
        match sync(ws, relay.remote.as_deref(), std::slice::from_ref(id)) {
            Ok(_) if is_level(ws, id, relay)? => return Ok(Done::Sent),
            Ok(report) => {
                if let Some(why) = for_good(&report, id) {
                    return Err(refused(id, &remote(ws, id, relay)?, why));
                }
            }
            Err(_) => {}
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2).min(LONGEST);
    }
    Ok(Done::GaveUp)
}

/// Why the remote will never take the log as it is, if it won't: what was refused of it, there or here.
///
/// A remote that can't be talked to is an error of its own, and is asked again.
fn for_good(report: &Report, id: &SessionId) -> Option<String> {
    let fetched = report.fetched.lines.iter().find_map(|line| match &line.fate {
        Fate::Refused(why) if line.id == *id => Some(why.clone()),
        _ => None,
    });
    fetched.or_else(|| {
        report.sent.lines.iter().find_map(|line| match &line.log {
            Sent::Refused(why) if line.id == *id => Some(why.clone()),
            _ => None,
        })
    })
}

/// Why a session's steps are not all sent, as its relay last said; none where they are, or it is still at it.
///
/// # Errors
/// A session, or files of it here, that can't be read.
pub fn unsent(ws: &Workspace, id: &SessionId) -> Result<Option<String>> {
    let run_dir = ws.run_dir(id);
    let Some(relay) = run_dir.relay()? else {
        return Ok(None);
    };
    if is_level(ws, id, &relay)? {
        return Ok(None);
    }
    let said = std::fs::read_to_string(run_dir.path().join("relay.log")).unwrap_or_default();
    let last = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
    Ok(last.map(str::to_owned))
}

/// Waits for the end of the run, which is a step that only the supervisor sees, and now and then looks around.
fn attend(ws: &mut Workspace, id: &SessionId, relay: &Relay, run_dir: &RunDir) -> Result<Done> {
    let interval = interval(ws);
    while run_dir.is_supervised()? {
        let is_over = wait_free(&run_dir.supervisor_lock(), Some(interval))?;
        if !is_over && (relay.both_ways || !is_level(ws, id, relay)?) {
            // A remote that is down is asked again next time.
            let _ = sync(ws, relay.remote.as_deref(), std::slice::from_ref(id));
        }
    }
    send(ws, id, relay)
}

/// Sends notes that were written after the session's last step, once; gives which.
fn send_notes(ws: &Workspace, id: &SessionId, relay: &Relay) -> Result<Option<ObjectId>> {
    let remote = remote(ws, id, relay)?;
    let Some(notes) = provenance::to_send(ws, &remote)? else {
        return Ok(None);
    };
    // They go with whatever is sent next, if they don't now.
    let _ = provenance::send(ws, &remote);
    Ok(notes.new)
}

/// Whether the remote was seen with what is recorded here.
fn is_level(ws: &Workspace, id: &SessionId, relay: &Relay) -> Result<bool> {
    let session = load(ws, id)?;
    let remote = remote(ws, id, relay)?;
    let seen = ws.store().load_tracking(remote.name(), id)?;
    Ok(seen.is_some_and(|seen| seen.tip == session.tip) || !ws.owns(&session.event.summary))
}

/// Where the session's steps go.
fn remote<'w>(ws: &'w Workspace, id: &SessionId, relay: &Relay) -> Result<Remote<'w>> {
    let session = load(ws, id)?;
    match home(ws, &session.event.summary) {
        Ok(Some(home)) if relay.remote.is_none() => Ok(home),
        Ok(_) | Err(Error::NoHome { .. }) => chosen(ws, relay.remote.as_deref()),
        Err(error) => Err(error),
    }
}
