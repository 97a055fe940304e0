//! The branch of a session that has ended, once it is merged.

use super::{Finding, Kept, Prune, What};
use crate::git::refs::{Expected, Outcome, Target};
use crate::git::worktree;
use crate::ops::error::Result;
use crate::ops::mode::Mode;
use crate::ops::records::Place;
use crate::ops::workspace::Workspace;
use crate::store::{Session, names};

/// A branch that was made for the session goes when all that is on it is in the main worktree's HEAD.
pub fn merged_branch(
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
