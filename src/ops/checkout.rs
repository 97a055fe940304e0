//! A session's worktree: made for a start, found or put back for a resume, let go when it has ended.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use gix::ObjectId;

use super::aside::{Aside, put_state};
use super::branch::{self, Left};
use super::error::{Error, Result};
use super::local::{Guard, Place, RunDir};
use super::standing::{is_missing, is_outdated, place, reason, session_of, standing};
use super::workspace::Workspace;
use crate::git::refs::{Expected, Outcome as Moved, Target};
use crate::git::snapshot::{self, Source, Unsaved, Work};
use crate::git::worktree::{self, Add, Checkout, Files, Head, Hooks};
use crate::git::{self, objects};
use crate::session::log::is_branch_name;
use crate::session::{Arg, SessionId, Spec};
use crate::store::{Session, names};
use crate::worker::Lease;

/// A worktree that is ready for the worker.
#[derive(Debug)]
pub struct Ready {
    pub path: PathBuf,
    /// What of the saved work could not be put back.
    pub unrestored: Vec<Unsaved>,
    /// The branch that it was on, and why HEAD is detached instead.
    pub detached_from: Option<(String, Left)>,
}

/// Tells that a branch is checked out, and by which session, if it is one that has not let go of it.
pub fn in_use(ws: &Workspace, branch: String, path: PathBuf) -> Result<Error> {
    let lock = worktree::at(&ws.repo, &path)?.and_then(|found| found.lock);
    let holder = match lock.as_deref().and_then(session_of) {
        Some(id) => ws.store().load(&id)?,
        None => None,
    };
    let holder = holder.map(|session| (session.id().clone(), session.event.summary.state));
    Ok(Error::BranchInUse { branch, path, holder })
}

/// Makes or finds the worktree of a pending session.
///
/// # Errors
/// Before any side effect: a branch that is checked out elsewhere or exists already, a path that is taken.
pub fn for_start(ws: &Workspace, session: &Session, spec: &Spec, guard: &Guard) -> Result<Ready> {
    let id = session.id();
    let run_dir = ws.run_dir(id);
    if let Some(found) = standing(ws, &run_dir)? {
        worktree::lock(&ws.repo, &found, &reason(id))?;
        return Ok(Ready {
            path: found.path,
            unrestored: Vec::new(),
            detached_from: None,
        });
    }
    let begun = begun_before(ws, &run_dir, spec.branch.as_deref())?;
    let base = session.event.summary.base.ok_or(Error::Unborn)?;
    let full = spec.branch.as_deref().map(names::full_branch);
    let exists = match &full {
        Some(full) => ws.repo.refs().get(full)?.is_some(),
        None => false,
    };
    let (checkout, made_branch) = match &full {
        None => (Checkout::Detached(base), false),
        Some(full) if exists => {
            let branch = spec.branch.clone().unwrap_or_default();
            if let Some(path) = worktree::holder_of(&ws.repo, full)? {
                return Err(in_use(ws, branch, path)?);
            }
            let made_by_us = begun.as_ref().is_some_and(|place| place.made_branch);
            if !spec.existing_branch && !made_by_us {
                return Err(Error::BranchExists { branch });
            }
            (Checkout::Branch(branch_name(spec)), made_by_us)
        }
        Some(_) if spec.existing_branch => return Err(Error::NoBranch(branch_name(spec).to_owned())),
        Some(_) => {
            let name = branch_name(spec);
            branch::check_free(ws, name)?;
            (Checkout::NewBranch { name, at: base }, true)
        }
    };
    let path = planned_path(ws, id, spec);
    add(
        ws,
        &run_dir,
        guard,
        id,
        &path,
        checkout,
        made_branch,
        Files::Checkout,
    )?;
    finished(&run_dir, None)?;
    Ok(Ready {
        path,
        unrestored: Vec::new(),
        detached_from: None,
    })
}

/// Finds the worktree of a suspended session, or puts it back as it was saved.
///
/// `source` says whose work that is.
pub fn for_resume(
    ws: &Workspace,
    session: &Session,
    spec: &Spec,
    guard: &Guard,
    source: Source,
) -> Result<Ready> {
    let id = session.id();
    let run_dir = ws.run_dir(id);
    let before = place(ws, &run_dir)?;
    let outdated = is_outdated(ws, session, before.as_ref())?;
    let (mut aside, mut unrestored) = (None, Vec::new());
    if outdated {
        if let Some(found) = standing(ws, &run_dir)? {
            aside = Some(Aside::put(ws, session, found, before.as_ref())?);
        }
        if let Some(kept) = put_state(ws, &run_dir, session, before.as_ref())? {
            let why = format!(
                "what was here of it is nowhere else, and now in '{}'",
                kept.display()
            );
            unrestored.push(Unsaved::new("the worker's state", why));
        }
    } else if let Some(found) = standing(ws, &run_dir)? {
        worktree::lock(&ws.repo, &found, &reason(id))?;
        return Ok(Ready {
            path: found.path,
            unrestored: Vec::new(),
            detached_from: None,
        });
    }
    begun_before(ws, &run_dir, spec.branch.as_deref())?;
    let made_before = before.as_ref().is_some_and(|place| place.made_branch);
    let path = before
        .map(|place| PathBuf::from(place.path.as_os_str()))
        .unwrap_or_else(|| path_again(ws, id, spec));
    let summary = &session.event.summary;
    let Some(work) = summary.work else {
        let head = summary.head.or(summary.base).ok_or(Error::Unborn)?;
        let (checkout, made, why) = attach(ws, spec.branch.as_deref(), head)?;
        let made = made || made_before;
        let detached_from = spec.branch.clone().zip(why);
        add(ws, &run_dir, guard, id, &path, checkout, made, Files::Checkout)?;
        finished(&run_dir, None)?;
        return Ok(Ready {
            path,
            unrestored: Vec::new(),
            detached_from,
        });
    };
    let saved = snapshot::read(&ws.repo, work)?;
    let head = saved
        .head
        .or(summary.head)
        .or(summary.base)
        .ok_or(Error::Unborn)?;
    let branch = saved.branch.as_ref().map(|name| name.to_string());
    let short = branch
        .as_deref()
        .map(|full| full.strip_prefix("refs/heads/").unwrap_or(full));
    let unborn = unborn(ws, &saved)?;
    let (checkout, made, why) = match unborn {
        Some(_) => (Checkout::Detached(head), false, None),
        None => attach(ws, short, head)?,
    };
    let made = made || made_before;
    let detached_from = short.map(str::to_owned).zip(why);
    add(ws, &run_dir, guard, id, &path, checkout, made, Files::None)?;
    let restored = snapshot::restore(&ws.repo, work, source, &path, Some(&run_dir.state()))
        .and_then(|restored| begin_branch(ws, &path, unborn.as_deref()).map(|()| restored));
    match restored {
        Ok(restored) => {
            finished(&run_dir, Some(work))?;
            if let Some(aside) = aside {
                unrestored.extend(aside.give_back(ws, &path)?);
            }
            unrestored.extend(restored.unrestored);
            Ok(Ready {
                path,
                unrestored,
                detached_from,
            })
        }
        Err(error) => {
            // What is only half there must not be taken for the session's work; all of it is in the snapshot.
            if let Some(half) = worktree::at(&ws.repo, &path)? {
                worktree::take_modules(&half, &run_dir.modules())?;
                worktree::remove(&ws.repo, &half, &ws.trash())?;
            }
            Err(error.into())
        }
    }
}

/// The full name of the branch that HEAD was on where nothing was committed on it yet, as long as nobody has made it.
pub fn unborn(ws: &Workspace, saved: &Work) -> Result<Option<String>> {
    let Some(full) = saved.branch.as_ref().filter(|_| saved.head.is_none()) else {
        return Ok(None);
    };
    let full = full.to_string();
    let is_legal = full.strip_prefix("refs/heads/").is_some_and(is_branch_name);
    Ok((is_legal && ws.repo.refs().get(&full)?.is_none()).then_some(full))
}

/// Puts the HEAD of a worktree on a branch that begins with its next commit, if there is to be one.
pub fn begin_branch(ws: &Workspace, path: &Path, unborn: Option<&str>) -> git::Result<()> {
    match unborn {
        Some(full) => worktree::begin_branch(&ws.repo, path, full),
        None => Ok(()),
    }
}

fn branch_name(spec: &Spec) -> &str {
    spec.branch.as_deref().unwrap_or_default()
}

/// The branch, where it is free and has nothing that the work lacks, and whether it is made; else the bare commit, and
/// why.
fn attach<'a>(
    ws: &Workspace,
    branch: Option<&'a str>,
    head: ObjectId,
) -> Result<(Checkout<'a>, bool, Option<Left>)> {
    let Some(name) = branch else {
        return Ok((Checkout::Detached(head), false, None));
    };
    let full = names::full_branch(name);
    let apart = |why| Ok((Checkout::Detached(head), false, Some(why)));
    let tip = match ws.repo.refs().get(&full)? {
        None => return Ok((Checkout::NewBranch { name, at: head }, true, None)),
        Some(Target::Object(tip)) => tip,
        Some(_) => return apart(Left::Apart),
    };
    let path = worktree::holder_of(&ws.repo, &full)?;
    if tip == head {
        let branch = name.to_owned();
        return match path {
            Some(path) => Err(in_use(ws, branch, path)?),
            None => Ok((Checkout::Branch(name), false, None)),
        };
    }
    if !objects::is_ancestor(&ws.repo, tip, head)? {
        return apart(Left::Apart);
    }
    if let Some(path) = path {
        return apart(Left::CheckedOut(path));
    }
    // The work went on elsewhere: the branch follows, as a pull would let it.
    let durability = ws.store().durability();
    let moved = ws
        .repo
        .refs()
        .update(&full, Some(head), Expected::At(tip), durability)?;
    match moved {
        Moved::Done => Ok((Checkout::Branch(name), false, None)),
        Moved::Moved(_) => apart(Left::Apart),
    }
}

/// What a command that was killed left of its plan; what it had only begun is removed.
fn begun_before(ws: &Workspace, run_dir: &RunDir, branch: Option<&str>) -> Result<Option<Place>> {
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
        if path.symlink_metadata().is_ok()
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

/// Notes that all that belongs into the worktree is there.
fn finished(run_dir: &RunDir, work: Option<ObjectId>) -> Result<()> {
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

fn planned_path(ws: &Workspace, id: &SessionId, spec: &Spec) -> PathBuf {
    match &spec.worktree {
        Some(path) => ws.repo.main_dir().join(path.as_os_str()),
        None => ws.worktree_root().join(id.as_str()),
    }
}

/// Where a worktree is put back that isn't where it was: beside the one of the repository that this is a copy of, if
/// that stands in its place.
fn path_again(ws: &Workspace, id: &SessionId, spec: &Spec) -> PathBuf {
    let beside = ws.worktree_root();
    let clone = ws.clone_id().unwrap_or_default();
    let places = [planned_path(ws, id, spec), beside.join(id.as_str())];
    let free = places
        .into_iter()
        .find(|path| !worktree::is_anothers(&ws.repo, path));
    free.unwrap_or_else(|| beside.join(format!("{id}@{clone}")))
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing that git worktree add is told"
)]
fn add(
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

/// Lets the worktree of an ended session go: HEAD no longer holds the branch, and the lock is dropped.
pub fn park(ws: &Workspace, run_dir: &RunDir) -> Result<()> {
    let place = match begun_before(ws, run_dir, None) {
        // There is nothing of ours that could be let go.
        Err(Error::PathTaken(_) | Error::BrokenWorktree { .. }) => place(ws, run_dir)?,
        place => place?,
    };
    let Some(place) = place else {
        return Ok(());
    };
    if let Some(found) = standing(ws, run_dir)? {
        if let Head::Branch(name) = &found.head
            && let Some(Target::Object(tip)) = ws.repo.refs().get(&name.to_string())?
        {
            worktree::detach_head(&ws.repo, &found, tip)?;
        }
        worktree::unlock(&ws.repo, &found)?;
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
