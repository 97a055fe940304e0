//! The place of a session's worktree: recorded, made, cleared of what a killed command left, and let go.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use gix::ObjectId;

use super::error::{Error, Result};
use super::gone;
use super::local::{Guard, RunDir};
use super::records::Place;
use super::standing::{is_locked_for, is_missing, place, reason, standing};
use super::workspace::Workspace;
use crate::git::refs::Target;
use crate::git::worktree::{self, Add, Checkout, Files, Head, Hooks, Worktree};
use crate::session::{Arg, SessionId, Spec};
use crate::store::Session;
use crate::worker::Lease;

/// What a command that was killed left of its plan; what it had only begun is removed.
pub fn begun_before(ws: &Workspace, run_dir: &RunDir, branch: Option<&str>) -> Result<Option<Place>> {
    if let Some(copied) = run_dir.place()?
        && place(ws, run_dir)?.is_none()
    {
        worktree::let_go_of_anothers(&ws.repo, Path::new(copied.path.as_os_str()), &ws.trash())?;
        run_dir.clear_place()?;
    }
    let place = place(ws, run_dir)?;
    if let Some(place) = &place {
        let path = Path::new(place.path.as_os_str());
        // What stands there and has no `.git` file of ours is somebody else's, unless git was killed over writing that.
        if !is_missing(place)
            && (place.whole || !worktree::is_barely_begun(path))
            && worktree::at(&ws.repo, path)?.is_some_and(|found| !found.exists)
        {
            return Err(Error::PathTaken(path.to_owned()));
        }
        // One that was whole is no less so when its HEAD is broken, as by a power failure: all that is in it may be
        // nowhere else.
        let broken = worktree::at(&ws.repo, path)?.filter(|found| found.head == Head::Unknown);
        if let Some(broken) = broken.filter(|_| place.whole && !is_missing(place)) {
            return Err(Error::BrokenWorktree {
                path: path.to_owned(),
                head: broken.git_dir.join("HEAD"),
            });
        }
        // What was committed in submodules may be nowhere else.
        if let Some(gone) = worktree::at(&ws.repo, path)?.filter(|found| !place.whole || !found.exists) {
            worktree::take_modules(&gone, &run_dir.modules())?;
        }
        match place.whole {
            true => worktree::clean_half_made(&ws.repo, path, &ws.trash())?,
            false if is_somebodys_own(ws, run_dir, path)? => return Err(Error::PathTaken(path.to_owned())),
            // No worker was ever in it, and it was not there before.
            false => {
                if let Some(half) = worktree::at(&ws.repo, path)? {
                    worktree::remove(&ws.repo, &half, &ws.trash())?;
                }
                if let Some(name) = place.made_branch.then_some(branch).flatten() {
                    worktree::break_branch_lock(&ws.repo, name, &ws.trash())?;
                }
            }
        }
    }
    Ok(place)
}

/// Whether a worktree stands there that was made by somebody else, after ours was begun and went.
pub fn is_somebodys_own(ws: &Workspace, run_dir: &RunDir, path: &Path) -> Result<bool> {
    let found = worktree::at(&ws.repo, path)?.filter(|found| found.exists && found.head != Head::Unknown);
    let is_ours = |found: &Worktree| run_dir.id().is_some_and(|id| is_locked_for(found, &id));
    Ok(found.is_some_and(|found| !is_ours(&found)))
}

/// Notes that all that belongs into the worktree is there.
pub fn finished(run_dir: &RunDir, work: Option<ObjectId>) -> Result<()> {
    let work = work.map(|work| work.to_string());
    match run_dir.place()? {
        Some(place) => run_dir.write_place(&Place {
            whole: true,
            work: work.or(place.work),
            ..place
        }),
        None => Ok(()),
    }
}

/// Where a session is to have its worktree.
pub fn planned_path(ws: &Workspace, id: &SessionId, spec: &Spec) -> PathBuf {
    match &spec.worktree {
        Some(path) => ws.repo.main_dir().join(path.as_os_str()),
        None => ws.worktree_root().join(id.as_str()),
    }
}

/// Where a worktree is put back that isn't where it was: beside the one of the repository that this is a copy of, if
/// that stands in its place.
pub fn path_again(ws: &Workspace, id: &SessionId, spec: &Spec) -> PathBuf {
    let beside = ws.worktree_root();
    let clone = ws.clone_id().unwrap_or_default();
    let places = [planned_path(ws, id, spec), beside.join(id.as_str())];
    let free = places
        .into_iter()
        .find(|path| !worktree::is_anothers(&ws.repo, path));
    free.unwrap_or_else(|| beside.join(format!("{id}@{clone}")))
}

/// Makes a worktree, after a record of it.
///
/// # Errors
/// A path that is taken, and a directory that can't be made.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing that git worktree add is told"
)]
pub fn add(
    ws: &Workspace,
    run_dir: &RunDir,
    guard: &Guard,
    id: &SessionId,
    path: &Path,
    checkout: Checkout<'_>,
    made_branch: bool,
    files: Files,
) -> Result<()> {
    let free = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) if error.kind() == ErrorKind::NotADirectory => false,
        Err(error) => return Err(Error::io(format!("'{}'", path.display()))(error)),
    };
    if !free {
        return Err(Error::PathTaken(path.to_owned()));
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| Error::NoPlace {
            dir: parent.to_owned(),
            source,
        })?;
    }
    // Written first, so that the next command knows what a killed one had begun.
    let place = Place {
        path: Arg::from(path.as_os_str().to_owned()),
        made_branch,
        whole: false,
        parked: false,
        noted: 0,
        work: None,
        lost: None,
    };
    run_dir.write_place(&place)?;
    let hooks = match ws.repo.config_bool("session.hooks") {
        Some(true) => Hooks::Run,
        _ => Hooks::Skip,
    };
    // Two at once read each other's half-made directories.
    let alone = Lease::acquire_blocking(&ws.repo.local_dir().join("worktrees.lock"))?;
    let reason = reason(id);
    let add = Add {
        path,
        checkout,
        reason: &reason,
        files,
        lock_fds: &[guard.lease.as_fd(), alone.as_fd()],
        hooks,
    };
    worktree::add(&ws.repo, &add)?;
    if let Some(made) = worktree::at(&ws.repo, path)? {
        worktree::mark(&made, add.reason)?;
        worktree::put_modules(&made, &run_dir.modules())?;
    }
    Ok(())
}

/// Lets the worktree of an ended session go: HEAD no longer holds the branch, and the lock is dropped. Where its
/// directory is gone, and git has of it what is not saved, it stays locked.
pub fn park(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<()> {
    let before = place(ws, run_dir)?;
    let left = match &before {
        Some(place) => gone::left(ws, session, place)?,
        None => None,
    };
    if let (Some(place), Some(left)) = (&before, left) {
        let_branch_go(ws, &left.worktree)?;
        return run_dir.write_place(&Place {
            parked: true,
            ..place.clone()
        });
    }
    let place = match begun_before(ws, run_dir, None) {
        // There is nothing of ours that could be let go.
        Err(Error::PathTaken(_) | Error::BrokenWorktree { .. }) => before,
        place => place?,
    };
    let Some(place) = place else {
        return Ok(());
    };
    if let Some(found) = standing(ws, run_dir)? {
        let_branch_go(ws, &found)?;
        worktree::unlock(&ws.repo, &found)?;
    } else if let Some(found) = worktree::at(&ws.repo, Path::new(place.path.as_os_str()))?
        && !found.exists
    {
        let_branch_go(ws, &found)?;
    }
    let path = match standing(ws, run_dir)? {
        Some(found) => Arg::from(found.path.as_os_str().to_owned()),
        None => place.path.clone(),
    };
    run_dir.write_place(&Place {
        path,
        parked: true,
        ..place
    })
}

/// Puts its HEAD on the bare commit, so that the branch can be checked out elsewhere.
fn let_branch_go(ws: &Workspace, found: &Worktree) -> Result<()> {
    if let Head::Branch(name) = &found.head
        && let Some(Target::Object(tip)) = ws.repo.refs().get(&name.to_string())?
    {
        worktree::detach_head(&ws.repo, found, tip)?;
    }
    Ok(())
}
