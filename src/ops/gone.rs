//! A session's worktree that is not there: what is lost with it, and what git still has of it.

use std::collections::HashSet;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::BString;

use super::error::{Error, Result};
use super::local::RunDir;
use super::records::Place;
use super::standing::{is_missing, is_outdated, place, standing};
use super::workspace::Workspace;
use crate::git::objects;
use crate::git::refs::Target;
use crate::git::snapshot::{self, Name, Unsaved, Work};
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

/// Makes it again from its HEAD and its index, where something was committed or staged there that is not saved.
///
/// What is lost all the same is written down first, so that the event tells it whoever records that.
///
/// # Errors
/// A directory that can't be made again: git has what was in it all the same, until it is.
pub fn again(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<Option<Worktree>> {
    let Some(place) = whole(ws, session, run_dir)? else {
        return Ok(None);
    };
    let Some(left) = left(ws, session, &place)?.filter(|left| !left.is_saved) else {
        return Ok(None);
    };
    let made = worktree::make_again(&ws.repo, &left.worktree).map_err(|source| Error::GoneWorktree {
        path: left.worktree.path.clone(),
        source,
    })?;
    let way = match &left.saved {
        Some((work, saved)) if has_more(ws, saved, left.staged.into_iter().collect())? => {
            way(ws, session, *work)?
        }
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

/// What git has of a worktree whose directory is gone, and no snapshot.
pub struct Left {
    pub worktree: Worktree,
    /// Whether its HEAD and its index are.
    is_saved: bool,
    /// Commits that only the log of its HEAD has.
    pub behind: Vec<ObjectId>,
    /// The commit that its HEAD stands on.
    pub head: ObjectId,
    /// The files of which its index has something else than was saved.
    staged: Vec<BString>,
    /// The work that was last saved there or put there.
    saved: Option<(ObjectId, Work)>,
}

/// Tells what git has of it that is not saved, if its directory is gone.
pub fn left(ws: &Workspace, session: &Session, place: &Place) -> Result<Option<Left>> {
    let path = Path::new(place.path.as_os_str());
    if !is_missing(place) {
        return Ok(None);
    }
    let Some(worktree) = worktree::at(&ws.repo, path)?.filter(|found| !found.exists) else {
        return Ok(None);
    };
    let Some(head) = head(ws, &worktree)? else {
        return Ok(None);
    };
    let summary = &session.event.summary;
    let work = match is_outdated(ws, session, Some(place))? {
        true => place.saved(),
        false => summary.work,
    };
    let saved = match work {
        // What can't be read has saved nothing.
        Some(work) => snapshot::read(&ws.repo, work).ok().map(|saved| (work, saved)),
        None => None,
    };
    let (saved_head, index) = match (&saved, summary.base) {
        (Some((_, saved)), _) => (saved.head, saved.index_tree),
        (None, Some(base)) => (Some(base), objects::tree_of(&ws.repo, base)?),
        (None, None) => return Ok(None),
    };
    let manifest = saved
        .as_ref()
        .map(|(_, saved)| saved.manifest.clone())
        .unwrap_or_default();
    let unfinished = snapshot::as_saved(&ws.repo, &worktree.git_dir.join("index"), &manifest);
    let staged = match (worktree::staged_since(&ws.repo, &worktree, index), unfinished) {
        (Ok(staged), Ok(same)) => staged
            .into_iter()
            .filter(|path| !same.contains(&Name(path.clone())))
            .collect(),
        (Ok(staged), Err(_)) => staged,
        // An index that can't be read has nothing for anybody.
        (Err(_), Err(_)) => Vec::new(),
        (Err(error), Ok(_)) => return Err(error.into()),
    };
    // Nothing is lost of a branch; one that was moved meanwhile, as by a landing, is no work of a session that stands still.
    let stands_still = summary.state != State::Running && !summary.frozen;
    let is_on_branch = matches!(worktree.head, Head::Branch(_));
    let is_saved = staged.is_empty() && (saved_head == Some(head) || stands_still && is_on_branch);
    let behind = worktree::left_behind(&ws.repo, &worktree)?;
    Ok((!is_saved || !behind.is_empty()).then_some(Left {
        worktree,
        is_saved,
        behind,
        head,
        staged,
        saved,
    }))
}

/// What is told of a commit that only the log of a worktree's HEAD has.
pub fn left_behind(commit: ObjectId) -> Unsaved {
    let why = format!("HEAD has left it, and no branch has it: 'git branch NAME {commit}' keeps it");
    Unsaved::new(format!("commit {commit}"), why)
}

/// Whether a snapshot has what was never staged since: files in a state of their own, or what no index can have.
fn has_more(ws: &Workspace, saved: &Work, staged: HashSet<BString>) -> Result<bool> {
    let manifest = &saved.manifest;
    if !manifest.nested.is_empty() || !manifest.submodules.is_empty() {
        return Ok(true);
    }
    let own = worktree::changed_between(&ws.repo, saved.index_tree, saved.tree)?;
    Ok(own.iter().any(|name| !staged.contains(name)))
}

/// The way to a work, by the first event that names it.
fn way(ws: &Workspace, session: &Session, work: ObjectId) -> Result<String> {
    let history = ws.store().history(session)?;
    let first = history.iter().find(|(_, event)| event.summary.work == Some(work));
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
