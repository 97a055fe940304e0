//! A session's worktree: made for a start, found or put back for a resume.

use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::aside::{self, put_state};
use super::branch::{self, Left};
use super::error::{Error, Result};
use super::gone;
use super::local::Guard;
use super::placing::{add, begun_before, finished, path_again, planned_path};
use super::records::Place;
use super::standing::{is_outdated, place, reason, session_of, standing};
use super::workspace::Workspace;
use crate::git::refs::{Expected, Outcome as Moved, Target};
use crate::git::snapshot::{self, Source, Unsaved, Work};
use crate::git::worktree::{self, Checkout, Files};
use crate::git::{self, objects};
use crate::session::Spec;
use crate::session::log::is_branch_name;
use crate::store::{Session, names};

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
    let mut unrestored = Vec::new();
    if outdated {
        let lost = before.as_ref().and_then(|place| place.lost.clone());
        unrestored.extend(lost.map(|lost| Unsaved::new("an older worktree", lost)));
        if let Some(found) = standing(ws, &run_dir)? {
            aside::put(ws, session, found, before.as_ref())?;
        }
        let kept = put_state(ws, &run_dir, session, before.as_ref())?;
        unrestored.extend(kept.as_deref().map(aside::older_state));
    } else if let Some(found) = standing(ws, &run_dir)? {
        worktree::lock(&ws.repo, &found, &reason(id))?;
        if let Some(place) = before.filter(|place| place.lost.is_some()) {
            run_dir.write_place(&Place { lost: None, ..place })?;
        }
        // A command that was killed may have got no further.
        unrestored.extend(aside::give_back(ws, id, &found.path)?);
        return Ok(Ready {
            unrestored,
            path: found.path,
            detached_from: None,
        });
    }
    // Its log of HEAD goes.
    let left = match &before {
        Some(place) => gone::left(ws, session, place)?,
        None => None,
    };
    unrestored.extend(
        left.into_iter()
            .flat_map(|left| left.behind)
            .map(gone::left_behind),
    );
    let mut ready = put_back(ws, session, spec, guard, source, before)?;
    unrestored.extend(aside::give_back(ws, id, &ready.path)?);
    ready.unrestored.splice(0..0, unrestored);
    Ok(ready)
}

/// Makes the worktree of a suspended session anew, as it was saved; `before` says where it was.
fn put_back(
    ws: &Workspace,
    session: &Session,
    spec: &Spec,
    guard: &Guard,
    source: Source,
    before: Option<Place>,
) -> Result<Ready> {
    let id = session.id();
    let run_dir = ws.run_dir(id);
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
    let short = short_branch(&saved);
    let mut unrestored = Vec::new();
    if let (Some(name), None) = (&saved.branch, short) {
        let why = "no branch can be called that, so HEAD is detached";
        unrestored.push(Unsaved::new(name.clone(), why));
    }
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
    let Some(short) = short_branch(saved).filter(|_| saved.head.is_none()) else {
        return Ok(None);
    };
    let full = names::full_branch(short);
    Ok(ws.repo.refs().get(&full)?.is_none().then_some(full))
}

/// The branch that HEAD was on, unless there can be none of that name: a snapshot may come from anybody, and git takes
/// some names for options.
pub fn short_branch(saved: &Work) -> Option<&str> {
    let full = saved.branch.as_ref()?.to_str().ok()?;
    full.strip_prefix("refs/heads/")
        .filter(|name| is_branch_name(name))
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
