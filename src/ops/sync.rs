//! `sync`: fetch, answer what is asked, merge what went different ways, push.

use super::error::{Error, Result};
use super::fetch::{self, Fate, follow};
use super::inbox::{Waited, send_waiting};
use super::mode::Mode;
use super::push::{self, send};
use super::record::{TRIES, load};
use super::rejoin::merge_home;
use super::remotes::{chosen, is_home};
use super::requests::{self, Answer};
use super::tracking::{Here, What, drop_vanished, names, note_asked};
use super::workspace::Workspace;
use crate::git::refs::Expected;
use crate::git::remote::{Lease, Remote, Update};
use crate::session::SessionId;
use crate::store::inbox::{Entry, Inbox};
use crate::store::{Append, Session};

/// What was done.
#[derive(Debug)]
pub struct Report {
    pub fetched: fetch::Report,
    pub answered: Vec<Answer>,
    pub merged: Vec<SessionId>,
    /// Entries of inboxes that came to nothing, by name with the reason; they stay where they are.
    pub left: Vec<(String, String)>,
    /// Requests to other clones that waited here; what the remote didn't take waits on.
    pub waited: Vec<Waited>,
    pub sent: push::Report,
}

/// Brings this clone and a remote to the same logs.
///
/// # Errors
/// A remote that can't be talked to.
pub fn sync(ws: &mut Workspace, remote: Option<&str>, ids: &[SessionId]) -> Result<Report> {
    ws.prepare()?;
    let (mut fetched, brought) = {
        let ws = &*ws;
        let remote = chosen(ws, remote)?;
        let (here, names) = Here::read_during(ws, &remote, || names(&remote, ids, What::Inbox));
        let (here, names) = (here?, names?);
        fetch::check_known(&remote, &here, &names, ids)?;
        let mut fetched = follow(ws, &remote, &names, &here, Mode::Do)?;
        fetched.vanish(drop_vanished(ws, &remote, &here, &names, ids)?);
        if ids.is_empty() {
            note_asked(ws, remote.name())?;
        }
        (fetched, requests::bring(ws, &remote, &names.inbox, ids)?)
    };
    let mut merged = Vec::new();
    for line in &mut fetched.lines {
        if line.fate != Fate::Diverged {
            continue;
        }
        match merge_if_ours(ws, remote, &line.id) {
            Ok(false) => {}
            Ok(true) => {
                merged.push(line.id.clone());
                line.fate = Fate::Merged;
            }
            // It hinders no other.
            Err(error) => line.fate = Fate::Refused(error.to_string()),
        }
    }
    let (mut answered, mut left, mut done) = (Vec::new(), brought.left, Vec::new());
    for entry in brought.entries {
        let came = match &entry.inbox {
            Inbox::Request { request, .. } => {
                requests::answer(ws, request).map(|answer| answered.extend(answer))
            }
            Inbox::Superseded(session) => merge_superseded(ws, session).map(|is_new| {
                if is_new {
                    merged.push(session.id().clone());
                }
            }),
        };
        // Anybody may have put it there: one that is bad keeps no other from its answer.
        match came {
            Ok(()) => done.push(entry),
            Err(error) => left.push((entry.name, error.to_string())),
        }
    }
    let ws = &*ws;
    let remote = chosen(ws, remote)?;
    let sessions = match ids {
        [] => ws.store().list()?.sessions,
        ids => ids
            .iter()
            .filter_map(|id| ws.store().load(id).transpose())
            .collect::<std::result::Result<_, _>>()?,
    };
    let sent = send(ws, &remote, sessions, Mode::Do)?;
    let waited = send_waiting(ws, &remote, ids)?;
    clear(ws, &remote, &done)?;
    Ok(Report {
        fetched,
        answered,
        merged,
        left,
        waited,
        sent,
    })
}

fn merge_if_ours(ws: &Workspace, remote: Option<&str>, id: &SessionId) -> Result<bool> {
    let remote = chosen(ws, remote)?;
    let Some(theirs) = ws.store().load_tracking(remote.name(), id)? else {
        return Ok(false);
    };
    let ours = load(ws, id)?;
    let mine = match is_home(ws, &theirs.event.summary, &remote) {
        true => ws.owns(&theirs.event.summary),
        false => ws.owns(&ours.event.summary),
    };
    if !mine {
        return Ok(false);
    }
    merge_home(ws, &theirs)?;
    Ok(true)
}

/// Merges what a former owner had recorded beside home's log; false if it is merged already.
///
/// # Errors
/// A log that is not legal, or another session's: ours would be none any more with it.
fn merge_superseded(ws: &Workspace, other: &Session) -> Result<bool> {
    let id = other.id();
    for _ in 0..TRIES {
        let ours = load(ws, id)?;
        if ws.store().contains(&ours, other)? {
            return Ok(false);
        }
        ws.store().check(other, None)?;
        let merged = ws.store().merge(&ours, other)?;
        if let Append::Done(_) = ws.store().advance(&merged, Expected::At(ours.tip))? {
            return Ok(true);
        }
    }
    Err(Error::Busy(id.clone()))
}

/// Removes from inboxes, there and here, what home's log has the answer to by now.
fn clear(ws: &Workspace, remote: &Remote<'_>, entries: &[Entry]) -> Result<()> {
    let mut done = Vec::new();
    for entry in entries {
        let id = entry.id();
        let (ours, theirs) = (ws.store().load(id)?, ws.store().load_tracking(remote.name(), id)?);
        // Until our answer is at home, the request has to stay there.
        if ours.map(|ours| ours.tip) == theirs.map(|theirs| theirs.tip) {
            done.push(entry);
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    let updates: Vec<Update> = done
        .iter()
        .map(|entry| Update {
            name: entry.name.clone(),
            new: None,
            lease: Lease::At(entry.tip),
        })
        .collect();
    remote.push(&updates)?;
    for entry in done {
        ws.store().clear(entry)?;
    }
    Ok(())
}
