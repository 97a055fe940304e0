//! `prune`: removes parked worktrees and merged branches of ended sessions, and only what is saved.

mod branch;
mod kept;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gix::bstr::{BString, ByteSlice};
use jiff::Timestamp;

use self::branch::merged_branch;
pub use self::kept::Kept;
use self::kept::{why_gone_is_kept, why_kept_here};
use super::branch::follow;
use super::error::{Error, Result};
use super::ignored::ignored;
use super::mode::Mode;
use super::placing::{begun_before, is_somebodys_own};
use super::record::load;
use super::records::Place;
use super::recover::reconcile;
use super::select::local_ids;
use super::size::{human, size_of};
use super::standing::{is_locked_for, is_missing, moved_since, standing};
use super::workspace::Workspace;
use crate::git::worktree::{self, Worktree};
use crate::session::{SessionId, State};
use crate::store::Session;

/// What is to be pruned.
#[derive(Debug, Default)]
pub struct Prune {
    /// Only these sessions; all ended ones of this clone if empty.
    pub ids: Vec<SessionId>,
    /// Only sessions that ended longer ago; their merged branches go too.
    pub older_than: Option<Duration>,
    pub mode: Mode,
    pub ignored: Ignored,
}

/// What becomes of a worktree that has ignored files, which no snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ignored {
    #[default]
    Keep,
    Discard,
}

/// One thing that was, or would be, removed or kept.
#[derive(Debug)]
pub struct Finding {
    pub id: SessionId,
    pub what: What,
    /// Why it is kept; none if it goes.
    pub kept: Option<Kept>,
    /// Ignored files in it, which no snapshot holds.
    pub ignored: Option<String>,
}

/// What a finding is about.
#[derive(Debug)]
pub enum What {
    Worktree(PathBuf),
    Branch(String),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Pruned {
    pub findings: Vec<Finding>,
    /// Sessions with which it could not be done, which are in nobody else's way.
    pub failed: Vec<(SessionId, Error)>,
}

/// Looks at ended sessions and removes what may go.
///
/// # Errors
/// What concerns no session alone.
pub fn prune(ws: &mut Workspace, prune: &Prune) -> Result<Pruned> {
    let ids = if prune.ids.is_empty() {
        local_ids(ws)?
    } else {
        prune.ids.clone()
    };
    if prune.mode == Mode::Do {
        ws.prepare()?;
        // What an earlier prune was killed over.
        worktree::empty_trash(&ws.trash())?;
    }
    let mut pruned = Pruned::default();
    for id in ids {
        if let Err(error) = prune_one(ws, &id, prune, &mut pruned.findings) {
            pruned.failed.push((id, error));
        }
    }
    if prune.mode == Mode::Do {
        worktree::empty_trash(&ws.trash())?;
    }
    Ok(pruned)
}

fn prune_one(ws: &Workspace, id: &SessionId, prune: &Prune, findings: &mut Vec<Finding>) -> Result<()> {
    let Some(session) = ws.store().load(id)? else {
        return Ok(());
    };
    if !is_due(&session, prune.older_than) {
        return Ok(());
    }
    let run_dir = ws.run_dir(id);
    let guard = match prune.mode {
        Mode::Do => Some(run_dir.guard(id)?),
        Mode::Show => None,
    };
    if let Some(guard) = guard.as_ref().filter(|_| ws.owns(&session.event.summary))
        && run_dir.place()?.is_some_and(|place| !place.parked)
    {
        // Who recorded the end was killed before it let the worktree go; where that still can't be done, why it is
        // kept is said below.
        let _ = reconcile(ws, guard, id);
    }
    let session = load(ws, id)?;
    let place = run_dir.place()?;
    let finding = |path, kept, ignored| Finding {
        id: id.clone(),
        what: What::Worktree(path),
        kept,
        ignored,
    };
    if let Some(half) = place.as_ref().filter(|place| !place.whole && !place.parked) {
        let path = PathBuf::from(half.path.as_os_str());
        let is_theirs = is_somebodys_own(ws, &run_dir, &path)?;
        if prune.mode == Mode::Do {
            if !is_theirs {
                begun_before(ws, &run_dir, session.event.summary.branch.as_deref())?;
            }
            run_dir.clear_place()?;
        }
        findings.extend((!is_theirs).then(|| finding(path, None, None)));
        return Ok(());
    }
    if let Some(found) = standing(ws, &run_dir)? {
        let ignored = ignored_files(&found.path, &ignored(ws, &found)?);
        let mut kept = why_kept_here(ws, &session, place.as_ref(), &found)?;
        if prune.ignored == Ignored::Keep && kept.is_none() && ignored.is_some() {
            kept = Some(Kept::HasIgnored);
        }
        let is_parked = place.as_ref().is_some_and(|place| place.parked);
        if kept.is_some() && prune.mode == Mode::Do && is_parked && is_locked_for(&found, id) {
            // Whoever parked it could not read it.
            worktree::unlock(&ws.repo, &found)?;
        }
        if kept.is_none() && prune.mode == Mode::Do {
            worktree::remove(&ws.repo, &found, &ws.trash())?;
            run_dir.clear_place()?;
            if !ws.owns(&session.event.summary) {
                // What held the branch is gone, so that it can follow to where the session ended.
                follow(ws, &session)?;
            }
        }
        findings.push(finding(found.path, kept, ignored));
    }
    if let Some((place, alone)) = without_worktree(ws, place.as_ref())? {
        let kept = match is_missing(place) {
            true => why_gone_is_kept(ws, &session, place, &alone)?,
            false => Some(Kept::Unsaved(
                "git can't read it as a worktree: 'git worktree repair' brings back a '.git' that is gone; else what \
                 is there has to be moved away"
                    .to_owned(),
            )),
        };
        if kept.is_none() && prune.mode == Mode::Do {
            worktree::remove(&ws.repo, &alone, &ws.trash())?;
            run_dir.clear_place()?;
        }
        findings.push(finding(alone.path, kept, None));
    }
    prune_asides(ws, id, prune, findings)?;
    if let Some(moved) = moved_since(ws, &run_dir)? {
        let free = "it was moved there since; 'git worktree remove' removes it";
        let kept = why_kept_here(ws, &session, place.as_ref(), &moved)?;
        findings.push(finding(
            moved.path,
            Some(kept.unwrap_or(Kept::Used(free.to_owned()))),
            None,
        ));
    }
    if prune.older_than.is_some() && ws.owns(&session.event.summary) {
        findings.extend(merged_branch(ws, &session, place.as_ref(), prune)?);
    }
    Ok(())
}

/// What is kept of worktrees from before the session went on elsewhere: all else that was in them is saved.
fn prune_asides(ws: &Workspace, id: &SessionId, prune: &Prune, findings: &mut Vec<Finding>) -> Result<()> {
    let run_dir = ws.run_dir(id);
    for aside in run_dir.asides()?.iter().filter(|aside| aside.is_there()) {
        let dir = PathBuf::from(aside.dir.as_os_str());
        let kept = match prune.ignored {
            _ if !aside.is_ignored_alone() => Some(Kept::Used(
                "it is from before the session went on elsewhere, and has more than what git ignored in it"
                    .to_owned(),
            )),
            Ignored::Keep => Some(Kept::HasIgnored),
            Ignored::Discard => None,
        };
        let ignored = ignored_files(&dir, &aside.ignored());
        if kept.is_none() && prune.mode == Mode::Do {
            worktree::discard(&dir, &ws.trash())?;
        }
        findings.push(Finding {
            id: id.clone(),
            what: What::Worktree(dir),
            kept,
            ignored,
        });
    }
    Ok(())
}

/// What git still has of a parked worktree in whose place nothing is, or something that it can't read as one; that with
/// repositories of submodules stays.
fn without_worktree<'p>(ws: &Workspace, place: Option<&'p Place>) -> Result<Option<(&'p Place, Worktree)>> {
    let Some(place) = place.filter(|place| place.parked) else {
        return Ok(None);
    };
    let found = worktree::at(&ws.repo, Path::new(place.path.as_os_str()))?.filter(|found| !found.exists);
    let found = found.filter(|found| !is_missing(place) || !worktree::has_modules(found));
    Ok(found.map(|found| (place, found)))
}

fn is_due(session: &Session, older_than: Option<Duration>) -> bool {
    let event = &session.event;
    let age = Duration::try_from(Timestamp::now().duration_since(event.at)).unwrap_or_default();
    event.summary.state == State::Terminated && older_than.is_none_or(|limit| age >= limit)
}

/// Ignored files and directories with their size, in words; none if there are none.
fn ignored_files(root: &Path, names: &[BString]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let size = names
        .iter()
        .map(|name| size_of(&root.join(name.to_path_lossy())))
        .sum();
    let first: Vec<String> = names
        .iter()
        .take(3)
        .map(|name| name.to_str_lossy().into_owned())
        .collect();
    let more = if names.len() > 3 { ", …" } else { "" };
    Some(format!("{}{more} ({})", first.join(", "), human(size)))
}
