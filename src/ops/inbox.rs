//! Entries of inboxes on their way home: requests, and what an owner had recorded that was taken over.

use super::error::{Error, Result};
use super::remotes::{is_home, refused};
use super::workspace::Workspace;
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::session::SessionId;
use crate::store::inbox::{Entry, Inbox};

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

/// Sends what waits here for the owners of other clones' sessions; gives the requests that the remote didn't take, and
/// why.
pub fn send_waiting(
    ws: &Workspace,
    remote: &Remote<'_>,
    ids: &[SessionId],
) -> Result<Vec<(SessionId, String)>> {
    let mut unsent = Vec::new();
    for entry in ws.store().inbox(None)?.entries {
        let is_request = matches!(entry.inbox, Inbox::Request { .. });
        // What stands here under its id may be somebody else's.
        let Ok(Some(session)) = ws.store().load(entry.id()) else {
            continue;
        };
        let summary = &session.event.summary;
        if !ws.owns(summary) && is_home(ws, summary, remote) {
            // One that isn't taken is no reason to keep the others.
            match hand_in(ws, remote, &entry) {
                Err(Error::Git(error)) if is_request => return Err(error.into()),
                Err(Error::Refused { why, .. }) if is_request => {
                    if ids.is_empty() || ids.contains(entry.id()) {
                        unsent.push((entry.id().clone(), why));
                    }
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(unsent)
}
