//! A session's worktree that is not there: what is lost with it, and what git still has of it.

use std::path::Path;

use gix::ObjectId;

use super::error::Result;
use super::local::RunDir;
use super::records::Place;
use super::standing::{is_missing, place, standing};
use super::workspace::Workspace;
use crate::git::refs::Target;
use crate::git::snapshot;
use crate::git::worktree::{self, Head, Worktree};
use crate::session::State;
use crate::store::Session;

/// What is lost with it, if anything.
pub fn lost(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<Option<String>> {
    Ok(whole(ws, session, run_dir)?.map(|place| {
        let path = &place.path;
        match is_missing(&place) {
            true => format!("what was in '{path}' since the last snapshot: it is gone"),
            false => format!("what is in '{path}': git can't read it as a worktree"),
        }
    }))
}

/// Makes it again from its HEAD and its index, where something was committed there since the last snapshot; gives what
/// is lost all the same.
pub fn again(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<Option<(Worktree, String)>> {
    let Some(place) = whole(ws, session, run_dir)?.filter(is_missing) else {
        return Ok(None);
    };
    let path = Path::new(place.path.as_os_str());
    let Some(gone) = worktree::at(&ws.repo, path)?.filter(|found| !found.exists) else {
        return Ok(None);
    };
    let head = head(ws, &gone)?;
    if head.is_none() || head == saved_head(ws, session)? || worktree::make_again(&ws.repo, &gone).is_err() {
        return Ok(None);
    }
    let lost = format!(
        "what was in '{}' and neither committed nor staged: it is gone",
        place.path
    );
    Ok(standing(ws, run_dir)?.map(|found| (found, lost)))
}

/// Where it was whole: a session that never had one has nothing to lose, and one that was only begun nothing that is
/// not saved.
fn whole(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<Option<Place>> {
    let is_pending = session.event.summary.state == State::Pending;
    Ok(place(ws, run_dir)?.filter(|place| place.whole && !is_pending))
}

/// The commit that its HEAD stands on.
fn head(ws: &Workspace, gone: &Worktree) -> Result<Option<ObjectId>> {
    Ok(match &gone.head {
        Head::Detached(head) => Some(*head),
        Head::Branch(name) => match ws.repo.refs().get(&name.to_string())? {
            Some(Target::Object(tip)) => Some(tip),
            _ => None,
        },
        Head::Unknown => None,
    })
}

/// The commit that it stood on when its work was last saved, or that it began from.
fn saved_head(ws: &Workspace, session: &Session) -> Result<Option<ObjectId>> {
    let summary = &session.event.summary;
    match summary.work {
        Some(work) => Ok(snapshot::read(&ws.repo, work)?.head),
        None => Ok(summary.base),
    }
}
