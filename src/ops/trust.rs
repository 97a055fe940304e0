//! What was fetched carries commands: nothing of it runs unless its user says so.

use std::collections::HashSet;

use super::error::{Error, Result};
use super::workspace::Workspace;
use crate::session::SessionId;
use crate::store::Session;

/// Refuses a session that another clone had a part in, or that tries such a one again.
///
/// # Errors
/// [`Error::Untrusted`] names the host that it comes from.
pub fn check(ws: &Workspace, session: &Session) -> Result<()> {
    let mut seen: HashSet<SessionId> = HashSet::new();
    let mut next = Some(session.clone());
    while let Some(session) = next {
        let history = ws.store().history(&session)?;
        if let Some((_, event)) = history.iter().rev().find(|(_, event)| !ws.owns(&event.summary)) {
            return Err(Error::Untrusted {
                id: session.id().clone(),
                host: event.summary.host.clone(),
            });
        }
        // What is tried again is the same command.
        next = match &session.event.summary.parent {
            Some(parent) if seen.insert(parent.clone()) => ws.store().load(parent)?,
            _ => None,
        };
    }
    Ok(())
}
