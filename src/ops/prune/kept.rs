//! Why a worktree is kept: all that is in it has to be saved.

use std::fmt;

use gix::ObjectId;

use crate::git::objects;
use crate::git::refs::Target;
use crate::git::snapshot::{self, Capture, Difference, Unsaved};
use crate::git::whole::{Broken, broken};
use crate::git::worktree::{self, Worktree};
use crate::ops::error::Result;
use crate::ops::gone;
use crate::ops::records::Place;
use crate::ops::standing::{is_locked_for, is_outdated};
use crate::ops::workspace::Workspace;
use crate::session::{SessionId, Summary};
use crate::store::{Session, names};
use crate::worker::{Probe, probe};

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

/// The reason for which a worktree stays; none if all that is in it is saved.
pub fn why_kept_here(
    ws: &Workspace,
    session: &Session,
    place: Option<&Place>,
    found: &Worktree,
) -> Result<Option<Kept>> {
    match ws.owns(&session.event.summary) && !is_outdated(ws, session, place)? {
        true => why_kept(ws, session, found),
        false => why_kept_of_another(ws, session, found),
    }
}

fn why_kept(ws: &Workspace, session: &Session, found: &Worktree) -> Result<Option<Kept>> {
    let summary = &session.event.summary;
    if let Some(kept) = locked_by_another(found, session.id()) {
        return Ok(Some(kept));
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
    if let Some(kept) = locked_by_another(found, id) {
        return Ok(Some(kept));
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
        Some(Difference::Unsaved(what)) => return Ok(Some(not_all(&what))),
        Some(Difference::Changed(how)) => {
            return Ok(Some(Kept::Unsaved(format!(
                "it was changed since it was saved: {how}"
            ))));
        }
        None => {}
    }
    if let Some(commit) = worktree::left_behind(&ws.repo, found)?.into_iter().next() {
        return Ok(Some(not_all(&gone::left_behind(commit))));
    }
    // What git lost of the saved work, as by a `git gc --prune=now` beside a commit, may still be in the worktree.
    let broken = broken(&ws.repo, &[(work, summary.base)])?;
    let unsaved =
        |broken: &Broken| Kept::Unsaved(format!("its saved work can't be read whole: {}", broken.why));
    Ok(broken.first().map(unsaved))
}

fn not_all(what: &Unsaved) -> Kept {
    Kept::Unsaved(format!("not all of it is saved: {}", line(what)))
}

fn line(what: &Unsaved) -> String {
    format!("{}: {}", what.path, what.why)
}

fn locked_by_another(found: &Worktree, id: &SessionId) -> Option<Kept> {
    let lock = found.lock.as_ref().filter(|_| !is_locked_for(found, id))?;
    Some(Kept::Used(format!("it is locked: {lock}")))
}

fn never_saved() -> Kept {
    Kept::Unsaved("its work was never saved".to_owned())
}

/// The reason for which that stays; none if all that is in it is saved.
pub fn why_gone_is_kept(
    ws: &Workspace,
    session: &Session,
    place: &Place,
    gone: &Worktree,
) -> Result<Option<Kept>> {
    if let Some(kept) = locked_by_another(gone, session.id()) {
        return Ok(Some(kept));
    }
    let left = gone::left(ws, session, place)?;
    Ok(left.map(|left| match left.behind.first() {
        Some(commit) => Kept::Used(format!("its directory is gone; {}", line(&gone::left_behind(*commit)))),
        None => Kept::Used(format!(
            "its directory is gone, and what was committed or staged there, on {0}, is not saved: 'git branch NAME {0}' \
             keeps the commits, 'git worktree repair PATH' brings back one that was moved to PATH, 'git worktree remove \
             --force --force' lets go of it",
            left.head
        )),
    }))
}
