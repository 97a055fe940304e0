//! `restore`: a recorded snapshot in a new directory of its own.

use std::path::PathBuf;

use gix::ObjectId;

use super::error::{Error, Result};
use super::forget::check_not_forgotten;
use super::trust::{self, Trust};
use super::work;
use super::workspace::Workspace;
use crate::git::snapshot::{self, Unsaved};
use crate::git::worktree::{self, Add, Checkout, Files, Hooks};
use crate::store::Session;

/// A snapshot that was put back.
#[derive(Debug)]
pub struct Restored {
    pub path: PathBuf,
    /// The event that it belongs to.
    pub seq: u64,
    pub work: ObjectId,
    pub unrestored: Vec<Unsaved>,
}

/// Puts the work of a session, as it was at an event, into a directory that isn't there yet.
///
/// The directory becomes a worktree with a detached HEAD, so nothing that exists is touched.
///
/// # Errors
/// Sessions without work at that event, work that is neither here nor to be fetched, and directories that exist.
pub fn restore(
    ws: &mut Workspace,
    session: &Session,
    at: Option<u64>,
    to: Option<PathBuf>,
    trust: &Trust,
) -> Result<Restored> {
    let id = session.id();
    check_not_forgotten(ws, session)?;
    let history = ws.store().history(session)?;
    let wanted = at.unwrap_or(u64::MAX);
    let lacking = |what: String| Error::Lacking { id: id.clone(), what };
    if at.is_some_and(|at| !history.iter().any(|(_, event)| event.seq == at)) {
        return Err(lacking(format!("it has no event {wanted}")));
    }
    let found = history
        .iter()
        .rev()
        .find(|(_, event)| event.seq <= wanted && event.summary.work.is_some());
    let Some((event, work)) = found.and_then(|(_, event)| Some((event, event.summary.work?))) else {
        return Err(lacking("no work was saved by then".to_owned()));
    };
    let seq = event.seq;
    let path = to.unwrap_or_else(|| ws.worktree_root().join(format!("{id}@{seq}")));
    if path.symlink_metadata().is_ok() {
        return Err(Error::PathExists(path));
    }
    // git's filters are run on what the files hold.
    let source = trust::check_restore(ws, session, work, trust)?;
    ws.prepare()?;
    work::need(ws, &event.summary)?;
    let saved = snapshot::read(&ws.repo, work)?;
    let head = saved
        .head
        .ok_or_else(|| lacking("its snapshot has no HEAD".to_owned()))?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io(format!("cannot make '{}'", parent.display())))?;
    }
    let reason = format!("restoring session {id}");
    let (checkout, files, hooks) = (Checkout::Detached(head), Files::None, Hooks::Skip);
    let add = Add {
        path: &path,
        checkout,
        reason: &reason,
        files,
        lock_fds: &[],
        hooks,
    };
    worktree::add(&ws.repo, &add)?;
    let made = worktree::at(&ws.repo, &path)?.ok_or_else(|| lacking("its worktree is gone".to_owned()))?;
    let restored = match snapshot::restore(&ws.repo, work, source, &path, None) {
        Ok(restored) => restored,
        Err(error) => {
            worktree::remove(&ws.repo, &made, &ws.trash())?;
            return Err(error.into());
        }
    };
    worktree::unlock(&ws.repo, &made)?;
    Ok(Restored {
        path,
        seq,
        work,
        unrestored: restored.unrestored,
    })
}
