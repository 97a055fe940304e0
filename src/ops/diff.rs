//! What a session's work changes: from its base to its worktree as it is, or as it was saved.

use gix::ObjectId;

use super::changed::Changed;
use super::checkout::standing;
use super::error::{Error, Result};
use super::workspace::Workspace;
use crate::git::snapshot;
use crate::session::State;
use crate::store::Session;

/// Finds what is to be compared.
///
/// The newest snapshot is what an ended or suspended session's work is; a running one's is in its worktree, of which
/// a tree is made without touching its index.
pub fn difference(ws: &Workspace, session: &Session) -> Result<(ObjectId, ObjectId)> {
    let summary = &session.event.summary;
    let id = summary.id.clone();
    let base = summary.base.ok_or_else(|| Error::Lacking {
        id: id.clone(),
        what: "it has no base".to_owned(),
    })?;
    if summary.state == State::Running
        && ws.owns(summary)
        && let Some(found) = standing(ws, &ws.run_dir(&summary.id))?
    {
        return Ok((base, snapshot::tree_of_worktree(&ws.repo, &found.path)?));
    }
    match summary.work {
        Some(work) => Ok((base, snapshot::read(&ws.repo, work)?.snapshot)),
        None if summary.state == State::Pending => Ok((base, base)),
        None => Ok((base, summary.head.unwrap_or(base))),
    }
}

/// Counts what lies between two trees.
pub fn shortstat(ws: &Workspace, from: ObjectId, to: ObjectId) -> Result<Changed> {
    Changed::between(ws, from, to)
}
