//! The branch of a session that ran elsewhere: made here, or let follow, as a pull would let it.

use std::path::PathBuf;

use super::error::{Error, Result};
use super::workspace::Workspace;
use crate::git::objects;
use crate::git::refs::{Expected, Outcome, Target};
use crate::git::worktree;
use crate::session::State;
use crate::store::{Session, names};

/// What became of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// It was not here, and is now where the session's head is.
    Made,
    /// It was behind the session's head, and is there now.
    Moved,
    /// It stands elsewhere, for this reason.
    Left(Left),
}

/// Why a branch is not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    CheckedOut(PathBuf),
    /// It has commits that the session lacks, or is no plain branch.
    Apart,
}

/// Refuses to make a branch where git can't have one of that name beside another.
///
/// # Errors
/// [`Error::BranchInTheWay`].
pub fn check_free(ws: &Workspace, short: &str) -> Result<()> {
    match ws.repo.refs().in_the_way(&names::full_branch(short))? {
        None => Ok(()),
        Some(other) => Err(Error::BranchInTheWay {
            branch: short.to_owned(),
            other: other.to_string().replacen(&names::full_branch(""), "", 1),
        }),
    }
}

/// Lets the branch that is named after a session be where the session's head is, if it was not here or only behind.
///
/// Nothing is done to any other branch, nor for a session that has no commits of its own or that runs here; none where
/// there was nothing to do.
///
/// # Errors
/// References that can't be read or written.
pub fn follow(ws: &Workspace, session: &Session) -> Result<Option<Followed>> {
    let summary = &session.event.summary;
    let name = names::branch(session.id());
    let runs_here = ws.owns(summary) && summary.state == State::Running;
    let Some(head) = summary.head.filter(|head| Some(*head) != summary.base) else {
        return Ok(None);
    };
    if runs_here || summary.branch.as_deref() != Some(&name) || !objects::exists(&ws.repo, head) {
        return Ok(None);
    }
    let full = names::full_branch(&name);
    let (expected, done) = match ws.repo.refs().get(&full)? {
        None => (Expected::Absent, Followed::Made),
        Some(Target::Object(tip)) if tip == head => return Ok(None),
        Some(Target::Object(tip)) if objects::is_ancestor(&ws.repo, tip, head)? => {
            (Expected::At(tip), Followed::Moved)
        }
        Some(_) => return Ok(Some(Followed::Left(Left::Apart))),
    };
    if let Some(path) = worktree::holder_of(&ws.repo, &full)? {
        return Ok(Some(Followed::Left(Left::CheckedOut(path))));
    }
    let durability = ws.store().durability();
    let moved = ws.repo.refs().update(&full, Some(head), expected, durability)?;
    Ok(Some(match moved {
        Outcome::Done => done,
        Outcome::Moved(_) => Followed::Left(Left::Apart),
    }))
}
