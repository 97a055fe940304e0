//! `prune`: removes parked worktrees and merged branches of ended sessions, and only what is saved.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};
use jiff::Timestamp;

use super::branch;
use super::error::{Error, Result};
use super::gone;
use super::ignored::ignored;
use super::mode::Mode;
use super::placing::begun_before;
use super::record::load;
use super::records::Place;
use super::recover::reconcile;
use super::select::local_ids;
use super::settle::left_behind;
use super::standing::{is_locked_for, is_missing, is_outdated, moved_since, standing};
use super::workspace::Workspace;
use crate::git::objects;
use crate::git::refs::{Expected, Outcome, Target};
use crate::git::snapshot::{self, Capture, Difference, Unsaved};
use crate::git::whole::{Broken, broken};
use crate::git::worktree::{self, Worktree};
use crate::session::{SessionId, State, Summary};
use crate::store::{Session, names};
use crate::worker::{Probe, probe};

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

/// Why something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Of a worktree, all but ignored files is saved.
    HasIgnored,
    /// It holds what was never saved.
    Unsaved(String),
    /// It is in use, or can't be told to be of no use.
    Used(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::HasIgnored => f.write_str("it has ignored files"),
            Kept::Unsaved(why) | Kept::Used(why) => f.write_str(why),
        }
    }
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
    if let Some(half) = place.as_ref().filter(|place| !place.whole && !place.parked) {
        let path = PathBuf::from(half.path.as_os_str());
        if prune.mode == Mode::Do {
            begun_before(ws, &run_dir, session.event.summary.branch.as_deref())?;
            run_dir.clear_place()?;
        }
        findings.push(Finding {
            id: id.clone(),
            what: What::Worktree(path),
            kept: None,
            ignored: None,
        });
        return Ok(());
    }
    if let Some(found) = standing(ws, &run_dir)? {
        let ignored = ignored_files(&found.path, &ignored(ws, &found)?);
        let is_current = ws.owns(&session.event.summary) && !is_outdated(ws, &session, place.as_ref())?;
        let mut kept = match is_current {
            true => why_kept(ws, &session, &found)?,
            false => why_kept_of_another(ws, &session, &found)?,
        };
        if prune.ignored == Ignored::Keep && kept.is_none() && ignored.is_some() {
            kept = Some(Kept::HasIgnored);
        }
        if kept.is_none() && prune.mode == Mode::Do {
            worktree::remove(&ws.repo, &found, &ws.trash())?;
            run_dir.clear_place()?;
            if !ws.owns(&session.event.summary) {
                // What held the branch is gone, so that it can follow to where the session ended.
                branch::follow(ws, &session)?;
            }
        }
        findings.push(Finding {
            id: id.clone(),
            what: What::Worktree(found.path),
            kept,
            ignored,
        });
    }
    if let Some(unreadable) = unreadable(ws, place.as_ref())? {
        let why = "git can't read it as a worktree: 'git worktree repair' brings back a '.git' that is gone; else \
                   what is there has to be moved away";
        findings.push(Finding {
            id: id.clone(),
            what: What::Worktree(unreadable.path),
            kept: Some(Kept::Unsaved(why.to_owned())),
            ignored: None,
        });
    }
    if let Some(gone) = gone_since(ws, place.as_ref())? {
        let kept = why_gone_is_kept(ws, &session, place.as_ref(), &gone)?;
        if kept.is_none() && prune.mode == Mode::Do {
            worktree::remove(&ws.repo, &gone, &ws.trash())?;
            run_dir.clear_place()?;
        }
        findings.push(Finding {
            id: id.clone(),
            what: What::Worktree(gone.path),
            kept,
            ignored: None,
        });
    }
    prune_asides(ws, id, prune, findings)?;
    if let Some(moved) = moved_since(ws, &run_dir)? {
        findings.push(Finding {
            id: id.clone(),
            what: What::Worktree(moved.path),
            kept: Some(Kept::Used(
                "it was moved there since; 'git worktree remove' removes it".to_owned(),
            )),
            ignored: None,
        });
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

/// A parked worktree in whose place something is that git can't read as one.
fn unreadable(ws: &Workspace, place: Option<&Place>) -> Result<Option<Worktree>> {
    let Some(place) = place.filter(|place| place.parked && !is_missing(place)) else {
        return Ok(None);
    };
    let found = worktree::at(&ws.repo, Path::new(place.path.as_os_str()))?;
    Ok(found.filter(|found| !found.exists))
}

/// What git still has of a parked worktree whose directory somebody removed; that with repositories of submodules
/// stays.
fn gone_since(ws: &Workspace, place: Option<&Place>) -> Result<Option<Worktree>> {
    let Some(place) = place.filter(|place| place.parked) else {
        return Ok(None);
    };
    if !is_missing(place) {
        return Ok(None);
    }
    let found = worktree::at(&ws.repo, Path::new(place.path.as_os_str()))?;
    Ok(found.filter(|found| !found.exists && !worktree::has_modules(found)))
}

/// The reason for which that stays; none if all that is in it is saved.
fn why_gone_is_kept(
    ws: &Workspace,
    session: &Session,
    place: Option<&Place>,
    gone: &Worktree,
) -> Result<Option<Kept>> {
    if gone.lock.is_some() && !is_locked_for(gone, session.id()) {
        return Ok(gone.lock.as_deref().map(locked));
    }
    let left = match place {
        Some(place) => gone::left(ws, session, place)?,
        None => None,
    };
    Ok(left.map(|left| {
        Kept::Unsaved(format!(
            "its directory is gone, and what was committed or staged there, on {}, is not saved: 'git worktree repair' \
             brings back one that was moved, 'git worktree remove --force --force' lets go of it",
            left.head
        ))
    }))
}

fn is_due(session: &Session, older_than: Option<Duration>) -> bool {
    let event = &session.event;
    let age = Duration::try_from(Timestamp::now().duration_since(event.at)).unwrap_or_default();
    event.summary.state == State::Terminated && older_than.is_none_or(|limit| age >= limit)
}

/// The reason for which a worktree stays; none if all that is in it is saved.
fn why_kept(ws: &Workspace, session: &Session, found: &Worktree) -> Result<Option<Kept>> {
    let summary = &session.event.summary;
    if found.lock.is_some() && !is_locked_for(found, session.id()) {
        return Ok(found.lock.as_deref().map(locked));
    }
    let Some(work) = summary.work else {
        return Ok(Some(never_saved()));
    };
    why_changed(ws, summary, found, work)
}

/// The same for a worktree that a former owner has left: it holds what that one saved before another clone went on.
fn why_kept_of_another(ws: &Workspace, session: &Session, found: &Worktree) -> Result<Option<Kept>> {
    let id = session.id();
    let run_dir = ws.run_dir(id);
    if found.lock.is_some() && !is_locked_for(found, id) {
        return Ok(found.lock.as_deref().map(locked));
    }
    if run_dir.is_supervised()? || probe(&run_dir.job_lock())? == Probe::Held {
        return Ok(Some(Kept::Used("its worker is alive".to_owned())));
    }
    let place = run_dir.place()?;
    let Some(work) = place.and_then(|place| ObjectId::from_hex(place.work?.as_bytes()).ok()) else {
        return Ok(Some(never_saved()));
    };
    let mut is_kept = false;
    for reference in ws.repo.refs().list(&names::works(id))? {
        if let Target::Object(newest) = reference.target {
            is_kept = is_kept || objects::is_ancestor(&ws.repo, work, newest)?;
        }
    }
    if !is_kept {
        return Ok(Some(never_saved()));
    }
    why_changed(ws, &session.event.summary, found, work)
}

/// What is in a worktree that its saved work has otherwise, or no more; none if it is that work.
fn why_changed(ws: &Workspace, summary: &Summary, found: &Worktree, work: ObjectId) -> Result<Option<Kept>> {
    let signed = ws.sign()?;
    let capture = Capture {
        worktree: &found.path,
        git_dir: &found.git_dir,
        base: summary.base,
        previous: Some(work),
        state_dir: None,
        extra: None,
        signature: &signed.signature,
        message: "prune",
        durability: ws.store().durability(),
    };
    // What an event calls unsaved is told by what is there now: some of it is gone, and some was saved since.
    match snapshot::differs(&ws.repo, &capture, work)? {
        Some(Difference::Unsaved(Unsaved { path, why })) => {
            return Ok(Some(Kept::Unsaved(format!(
                "not all of it is saved: {path}: {why}"
            ))));
        }
        Some(Difference::Changed(how)) => {
            return Ok(Some(Kept::Unsaved(format!(
                "it was changed since it was saved: {how}"
            ))));
        }
        None => {}
    }
    if let Some(commit) = worktree::left_behind(&ws.repo, found)?.into_iter().next() {
        let what = left_behind(commit);
        return Ok(Some(Kept::Unsaved(format!("not all of it is saved: {what}"))));
    }
    // What git lost of the saved work, as by a `git gc --prune=now` beside a commit, may still be in the worktree.
    let broken = broken(&ws.repo, &[(work, summary.base)])?;
    let unsaved =
        |broken: &Broken| Kept::Unsaved(format!("its saved work can't be read whole: {}", broken.why));
    Ok(broken.first().map(unsaved))
}

fn locked(lock: &str) -> Kept {
    Kept::Used(format!("it is locked: {lock}"))
}

fn never_saved() -> Kept {
    Kept::Unsaved("its work was never saved".to_owned())
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

/// What a directory and all below it take, in bytes.
pub fn size_of(path: &Path) -> u64 {
    let Ok(meta) = path.symlink_metadata() else {
        return 0;
    };
    if !meta.is_dir() {
        return meta.len();
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| size_of(&entry.path())).sum()
}

/// A size for people.
pub fn human(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// A branch that was made for the session goes when all that is on it is in the main worktree's HEAD.
fn merged_branch(
    ws: &Workspace,
    session: &Session,
    place: Option<&Place>,
    prune: &Prune,
) -> Result<Option<Finding>> {
    let id = session.id().clone();
    let Some(name) = session.event.summary.branch.clone() else {
        return Ok(None);
    };
    let full = names::full_branch(&name);
    let own = place.is_none_or(|place| place.made_branch) && !ws.store().spec(session)?.existing_branch;
    let tip = match ws.repo.refs().get(&full)? {
        Some(Target::Object(tip)) if own => tip,
        _ => return Ok(None),
    };
    let merged = ws
        .repo
        .git()?
        .args(["merge-base", "--is-ancestor"])
        .args([tip.to_string(), "HEAD".to_owned()])
        .output()?
        .status
        .success();
    let holder = worktree::holder_of(&ws.repo, &full)?;
    let kept = match (merged, holder) {
        (false, _) => Some("it is not merged into HEAD".to_owned()),
        (true, Some(path)) => Some(format!("it is checked out at '{}'", path.display())),
        (true, None) => None,
    }
    .map(Kept::Used);
    if kept.is_none() && prune.mode == Mode::Do {
        let durability = ws.store().durability();
        let removed = ws
            .repo
            .refs()
            .update(&full, None, Expected::At(tip), durability)?;
        if let Outcome::Moved(_) = removed {
            let kept = Some(Kept::Used("it moved meanwhile".to_owned()));
            let ignored = None;
            return Ok(Some(Finding {
                id,
                what: What::Branch(name),
                kept,
                ignored,
            }));
        }
    }
    Ok(Some(Finding {
        id,
        what: What::Branch(name),
        kept,
        ignored: None,
    }))
}
