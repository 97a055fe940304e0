//! Where a session's worktree is: found by what is written down here, or by what git has of it.

use std::io::ErrorKind;
use std::path::Path;

use super::error::Result;
use super::local::RunDir;
use super::own_name::was_launched_here;
use super::records::Place;
use super::workspace::Workspace;
use crate::git::worktree::{self, Head, Worktree};
use crate::session::{Arg, SessionId};
use crate::store::Session;

/// What the reason begins with for which a session's worktree is locked.
const LOCKED: &str = "session ";

/// Why a worktree is locked, for `git worktree list`.
pub fn reason(id: &SessionId) -> String {
    format!("{LOCKED}{id}")
}

/// The session whose worktree is locked for that reason, if it is one's.
pub fn session_of(reason: &str) -> Option<SessionId> {
    reason.strip_prefix(LOCKED)?.parse().ok()
}

/// Whether a worktree is locked as this session's, and by nobody else.
pub fn is_locked_for(worktree: &Worktree, id: &SessionId) -> bool {
    worktree.lock.as_ref().is_some_and(|lock| *lock == reason(id))
}

/// Where the session's worktree is, or was; none where that is another repository's, since this one is a copy of it.
pub fn place(ws: &Workspace, run_dir: &RunDir) -> Result<Option<Place>> {
    let is_ours = |place: &Place| !worktree::is_anothers(&ws.repo, Path::new(place.path.as_os_str()));
    Ok(run_dir.place()?.filter(is_ours))
}

/// The session's worktree, if it is there whole: where it was made, or where `git worktree move` has put it.
pub fn standing(ws: &Workspace, run_dir: &RunDir) -> Result<Option<Worktree>> {
    let is_there = |worktree: &Worktree| worktree.exists && worktree.head != Head::Unknown;
    match place(ws, run_dir)? {
        Some(place) if !place.whole => return Ok(None),
        Some(place) => {
            let found = worktree::at(&ws.repo, Path::new(place.path.as_os_str()))?.filter(is_there);
            if found.is_some() || place.parked {
                return Ok(found);
            }
        }
        None => {}
    }
    // What it was made with tells whose it is.
    let Some(id) = run_dir.id() else { return Ok(None) };
    Ok(worktree::made_for(&ws.repo, &reason(&id))?.filter(is_there))
}

/// Whether what is here of a session that doesn't run is from before it went on elsewhere: its work is not what was
/// last put here or saved from here, and its newest run was not here.
pub fn is_outdated(ws: &Workspace, session: &Session, place: Option<&Place>) -> Result<bool> {
    let Some(work) = session.event.summary.work else {
        return Ok(false);
    };
    Ok(place.and_then(Place::saved) != Some(work) && !was_launched_here(ws, session)?)
}

/// The same of a worktree, of which is known that it is there.
pub fn has_older_worktree(ws: &Workspace, session: &Session) -> Result<bool> {
    is_outdated(ws, session, ws.run_dir(session.id()).place()?.as_ref())
}

/// Where somebody has moved the worktree of an ended session, which is theirs since.
pub fn moved_since(ws: &Workspace, run_dir: &RunDir) -> Result<Option<Worktree>> {
    let place = place(ws, run_dir)?.filter(|place| place.parked && is_missing(place));
    let (Some(_), Some(id)) = (place, run_dir.id()) else {
        return Ok(None);
    };
    let found = worktree::made_for(&ws.repo, &reason(&id))?;
    Ok(found.filter(|worktree| worktree.exists))
}

/// Whether nothing at all is where the worktree was, or a directory without anything in it, which somebody made there
/// since; else it may be one that git, or nobody, can read.
pub fn is_missing(place: &Place) -> bool {
    let path = Path::new(place.path.as_os_str());
    match path.symlink_metadata() {
        Ok(found) => {
            found.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
        }
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// Writes down where the worktree is when it isn't where the record says, or when the record is gone.
pub fn find_again(ws: &Workspace, run_dir: &RunDir) -> Result<()> {
    let place = place(ws, run_dir)?;
    if place.as_ref().is_some_and(|place| !is_missing(place)) {
        return Ok(());
    }
    let Some(found) = standing(ws, run_dir)? else {
        return Ok(());
    };
    let path = Arg::from(found.path.as_os_str().to_owned());
    run_dir.write_place(&match place {
        Some(place) => Place { path, ..place },
        None => Place {
            path,
            made_branch: true,
            whole: true,
            parked: false,
            noted: 0,
            work: None,
            lost: None,
        },
    })
}
