//! What holds forgotten work beside the references that were removed.

use std::path::PathBuf;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use crate::git::{objects, snapshot, worktree};
use crate::ops::error::{Error, Result};
use crate::ops::local::{Guard, RunDir};
use crate::ops::standing::standing;
use crate::ops::workspace::Workspace;
use crate::session::SessionId;
use crate::store::Session;

/// Something that holds forgotten work, or some of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A reference with commits that the session made, by its full name.
    Reference(String),
    /// The parked worktree.
    Worktree(PathBuf),
    /// The worker's output, its state, or what is kept of an older worktree.
    File(PathBuf),
}

/// How many commits references are searched for.
const MOST: usize = 500;

/// Finds what holds it here.
pub fn holders(ws: &Workspace, session: &Session, forgotten: &[ObjectId]) -> Result<Vec<Holder>> {
    let mut held: Vec<Holder> = references(ws, session, forgotten)?
        .into_iter()
        .map(Holder::Reference)
        .collect();
    let run_dir = ws.run_dir(session.id());
    if let Some(found) = standing(ws, &run_dir)? {
        held.push(Holder::Worktree(found.path));
    }
    let has_some = |path: &PathBuf| match path.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0),
    };
    held.extend(files(&run_dir)?.into_iter().filter(has_some).map(Holder::File));
    Ok(held)
}

/// The worker's output and state, and what is kept of older worktrees.
fn files(run_dir: &RunDir) -> Result<Vec<PathBuf>> {
    let asides = run_dir.asides()?;
    let asides = asides.iter().map(|aside| PathBuf::from(aside.dir.as_os_str()));
    Ok([vec![run_dir.output()], run_dir.states(), asides.collect()].concat())
}

/// The references that have a commit which the session made.
fn references(ws: &Workspace, session: &Session, forgotten: &[ObjectId]) -> Result<Vec<String>> {
    let summary = &session.event.summary;
    let read = |work: &ObjectId| snapshot::read(&ws.repo, *work).ok()?.head;
    let mut heads: Vec<ObjectId> = forgotten.iter().filter_map(read).chain(summary.head).collect();
    heads.retain(|head| objects::exists(&ws.repo, *head));
    let Some(base) = summary.base.filter(|base| objects::exists(&ws.repo, *base)) else {
        return Ok(Vec::new());
    };
    if heads.is_empty() {
        return Ok(Vec::new());
    }
    let mut input: String = heads.iter().map(|head| format!("{head}\n")).collect();
    input += &format!("^{base}\n");
    let git = ws
        .repo
        .git()?
        .args(["rev-list", "--topo-order", "--reverse", "--stdin"]);
    let listed = git.input(input).run()?;
    let contains: Vec<String> = listed
        .lines()
        .take(MOST)
        .map(|hex| format!("--contains={}", hex.to_str_lossy()))
        .collect();
    if contains.is_empty() {
        return Ok(Vec::new());
    }
    let git = ws.repo.git()?.args(["for-each-ref", "--format=%(refname)"]);
    let found = git.args(contains).run()?;
    Ok(found
        .lines()
        .map(|name| name.to_str_lossy().into_owned())
        .collect())
}

/// Refuses to take away a worktree that somebody has locked, or that is on a branch and so in use.
pub fn check_unused(ws: &Workspace, id: &SessionId) -> Result<()> {
    let Some(found) = standing(ws, &ws.run_dir(id))? else {
        return Ok(());
    };
    let why = match (&found.lock, &found.head) {
        (Some(lock), _) => format!("is locked: {lock}"),
        (None, worktree::Head::Branch(name)) => format!("is on '{name}' by now"),
        (None, _) => return Ok(()),
    };
    let what = format!("its worktree '{}' {why}", found.path.display());
    Err(Error::Lacking { id: id.clone(), what })
}

/// Removes the parked worktree, the output and the worker's state, and names what went.
///
/// # Errors
/// As [`check_unused`].
pub fn remove(ws: &Workspace, id: &SessionId, _guard: &Guard) -> Result<Vec<String>> {
    let run_dir = ws.run_dir(id);
    let mut gone = Vec::new();
    check_unused(ws, id)?;
    if let Some(found) = standing(ws, &run_dir)? {
        worktree::remove(&ws.repo, &found, &ws.trash())?;
        run_dir.clear_place()?;
        gone.push(found.path.display().to_string());
    }
    for path in files(&run_dir)? {
        if path.symlink_metadata().is_ok() {
            worktree::discard(&path, &ws.trash())?;
            gone.push(path.display().to_string());
        }
    }
    run_dir.write_asides(&[], ws.store().durability())?;
    worktree::empty_trash(&ws.trash())?;
    Ok(gone)
}
