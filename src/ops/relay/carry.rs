//! The relay's own process: it sends until the remote has all, and looks around while the session runs.

use std::fs::File;
use std::time::Duration;

use gix::ObjectId;

use super::{PAUSE, interval};
use crate::git::remote::Remote;
use crate::ops::error::{Error, Result};
use crate::ops::fetch::Fate;
use crate::ops::local::RunDir;
use crate::ops::parcel::Sent;
use crate::ops::provenance;
use crate::ops::record::load;
use crate::ops::records::Relay;
use crate::ops::remotes::{chosen, home, refused};
use crate::ops::sync::{Report, sync};
use crate::ops::workspace::Workspace;
use crate::session::SessionId;
use crate::worker::{Lease, wait_free};

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(300);
/// How often it is tried before it is left to the session's next step.
const TRIES: u32 = 20;

/// Sends what the remote lacks, again and again until it has it; `complain` is told why it could not be sent at first.
///
/// # Errors
/// A session, or files of it here, that can't be read.
pub fn relay(ws: &mut Workspace, id: &SessionId, complain: fn(&Error)) -> Result<()> {
    let run_dir = ws.run_dir(id);
    let mut tried = None;
    loop {
        let Some(lease) = Lease::acquire(&run_dir.path().join("relay.lock"), Duration::ZERO)? else {
            return Ok(());
        };
        let Some(relay) = run_dir.relay()? else {
            return Ok(());
        };
        match send(ws, id, &relay, complain) {
            // Others may still ask for something, and the end is sent after all where it can be.
            Err(error) if relay.both_ways => complain(&error),
            sent => drop(sent?),
        }
        let done = attend(ws, id, &relay, &run_dir, complain)?;
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

/// What came of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Sent,
    GaveUp,
}

fn send(ws: &mut Workspace, id: &SessionId, relay: &Relay, complain: fn(&Error)) -> Result<Done> {
    let mut pause = PAUSE;
    for tries in 0..TRIES {
        if is_level(ws, id, relay)? {
            return Ok(Done::Sent);
        }
        // A log that went on elsewhere is followed, or merged, before ours is sent; a remote that is down is asked
        // again.
        let name = remote_name(ws, id, relay)?;
        match sync(ws, Some(&name), std::slice::from_ref(id)) {
            Ok(_) if is_level(ws, id, relay)? => {
                forget_complaints(&ws.run_dir(id));
                return Ok(Done::Sent);
            }
            Ok(report) => {
                if let Some(why) = for_good(&report, id) {
                    return Err(refused(id, &remote(ws, id, relay)?, why));
                }
            }
            Err(error) if tries == 0 => complain(&error),
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

/// Why a session's steps are not all sent, as its relay last said; none where they are, or it has said nothing yet.
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
    let said = std::fs::read_to_string(run_dir.relay_log()).unwrap_or_default();
    let last = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
    Ok(last.map(str::to_owned))
}

/// Forgets what was complained of, once all is sent; where that can't be, it may be told once too often.
fn forget_complaints(run_dir: &RunDir) {
    let log = File::options().write(true).open(run_dir.relay_log());
    let _ = log.and_then(|log| log.set_len(0));
}

/// Waits for the end of the run, which is a step that only the supervisor sees, and now and then looks around.
fn attend(
    ws: &mut Workspace,
    id: &SessionId,
    relay: &Relay,
    run_dir: &RunDir,
    complain: fn(&Error),
) -> Result<Done> {
    let interval = interval(ws);
    while run_dir.is_supervised()? {
        let is_over = wait_free(&run_dir.supervisor_lock(), Some(interval))?;
        if !is_over && (relay.both_ways || !is_level(ws, id, relay)?) {
            let name = remote_name(ws, id, relay)?;
            // A remote that is down is asked again next time.
            let _ = sync(ws, Some(&name), std::slice::from_ref(id));
            if is_level(ws, id, relay)? {
                forget_complaints(run_dir);
            }
        }
    }
    send(ws, id, relay, complain)
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

/// What that is called by which a command finds it: a session's home may be another one than the usual remote.
fn remote_name(ws: &Workspace, id: &SessionId, relay: &Relay) -> Result<String> {
    match &relay.remote {
        Some(name) => Ok(name.clone()),
        None => Ok(remote(ws, id, relay)?.name().to_owned()),
    }
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
