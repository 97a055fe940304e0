//! Entries of inboxes on their way home: requests, and what an owner had recorded that was taken over.

use super::error::{Error, Result};
use super::remotes::{is_home, refused};
use super::workspace::Workspace;
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::session::{Ask, SessionId};
use crate::store::inbox::{Entry, Inbox};

/// A request that waited here for the owner of another clone's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    pub id: SessionId,
    pub nonce: String,
    pub ask: Ask,
    /// The owner's host.
    pub host: String,
    /// Why it was not sent and waits on, if so.
    pub unsent: Option<String>,
}

/// Puts an entry of the inbox here into the one at home; here it is removed then.
pub fn hand_in(ws: &Workspace, remote: &Remote<'_>, entry: &Entry) -> Result<()> {
    let id = entry.id();
    let update = Update {
        name: entry.name.clone(),
        new: Some(entry.tip),
        lease: Lease::FastForward,
    };
    match remote.push(&[update])?.into_iter().next() {
        Some((_, Pushed::Done | Pushed::UpToDate)) => {
            ws.store().clear(entry)?;
            Ok(())
        }
        Some((_, Pushed::Refused(why))) => Err(refused(id, remote, why)),
        Some((_, Pushed::Moved)) | None => Err(refused(id, remote, format!("'{}' is taken", entry.name))),
    }
}

/// Sends what waits here for the owners of other clones' sessions; gives the requests among it that are asked about.
pub fn send_waiting(ws: &Workspace, remote: &Remote<'_>, ids: &[SessionId]) -> Result<Vec<Waited>> {
    let mut waited = Vec::new();
    for entry in ws.store().inbox(None)?.entries {
        // What stands here under its id may be somebody else's.
        let Ok(Some(session)) = ws.store().load(entry.id()) else {
            continue;
        };
        let summary = &session.event.summary;
        if !ws.owns(summary) && is_home(ws, summary, remote) {
            let handed_in = hand_in(ws, remote, &entry);
            let Inbox::Request { request, .. } = &entry.inbox else {
                continue;
            };
            // One that isn't taken is no reason to keep the others.
            let unsent = match handed_in {
                Ok(()) => None,
                Err(Error::Refused { why, .. }) => Some(why),
                Err(Error::Git(error)) => return Err(error.into()),
                Err(_) => continue,
            };
            if ids.is_empty() || ids.contains(entry.id()) {
                waited.push(Waited {
                    id: entry.id().clone(),
                    nonce: request.nonce.clone(),
                    ask: request.ask,
                    host: summary.host.clone(),
                    unsent,
                });
            }
        }
    }
    Ok(waited)
}
