//! A session's worktree that is not there: what is lost with it, and what git still has of it.

use std::collections::HashSet;
use std::path::Path;

use gix::ObjectId;

use super::error::Result;
use super::local::RunDir;
use super::records::Place;
use super::standing::{is_missing, place, standing};
use super::workspace::Workspace;
use crate::git::objects;
use crate::git::refs::Target;
use crate::git::snapshot::{self, Work};
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

/// Makes it again from its HEAD and its index, where something was committed or staged there since the last snapshot.
///
/// What is lost all the same is written down first, so that the event tells it whoever records that.
pub fn again(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<Option<Worktree>> {
    let Some(place) = whole(ws, session, run_dir)?.filter(is_missing) else {
        return Ok(None);
    };
    let path = Path::new(place.path.as_os_str());
    let Some(gone) = worktree::at(&ws.repo, path)?.filter(|found| !found.exists) else {
        return Ok(None);
    };
    let Some(head) = head(ws, &gone)? else {
        return Ok(None);
    };
    let summary = &session.event.summary;
    let saved = match summary.work {
        Some(work) => Some(snapshot::read(&ws.repo, work)?),
        None => None,
    };
    let (saved_head, index) = match (&saved, summary.base) {
        (Some(saved), _) => (saved.head, saved.index_tree),
        (None, Some(base)) => (Some(base), objects::tree_of(&ws.repo, base)?),
        (None, None) => return Ok(None),
    };
    let Ok(staged) = worktree::staged_since(&ws.repo, &gone, index) else {
        return Ok(None);
    };
    if saved_head == Some(head) && staged.is_empty() {
        return Ok(None);
    }
    let Ok(made) = worktree::make_again(&ws.repo, &gone) else {
        return Ok(None);
    };
    let way = match saved {
        Some(saved) if has_more(ws, &saved, staged.into_iter().collect())? => way(ws, session)?,
        _ => String::new(),
    };
    let lost = Some(format!(
        "what was in '{}' and neither committed nor staged: it is gone{way}",
        place.path
    ));
    run_dir.write_place(&Place { lost, ..place })?;
    made.put()?;
    standing(ws, run_dir)
}

/// Whether a snapshot has what was never staged since: files in a state of their own, or what no index can have.
fn has_more(ws: &Workspace, saved: &Work, staged: HashSet<gix::bstr::BString>) -> Result<bool> {
    let manifest = &saved.manifest;
    if !manifest.nested.is_empty() || !manifest.submodules.is_empty() {
        return Ok(true);
    }
    let own = worktree::changed_between(&ws.repo, saved.index_tree, saved.tree)?;
    Ok(own.iter().any(|name| !staged.contains(name)))
}

/// The way to what was saved last.
fn way(ws: &Workspace, session: &Session) -> Result<String> {
    let work = session.event.summary.work;
    let history = ws.store().history(session)?;
    let first = history.iter().find(|(_, event)| event.summary.work == work);
    let way = first.map(|(_, event)| {
        let (id, seq) = (session.id(), event.seq);
        format!("; what was saved before it: 'git session restore --at {seq} {id}'")
    });
    Ok(way.unwrap_or_default())
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
