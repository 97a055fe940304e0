//! What a work commit holds beyond what git tracks, and how two lines of work become one.

use std::collections::HashSet;

use gix::ObjectId;
use gix::actor::Signature;

use super::beside::STATE;
use super::{Work, is_work, read};
use crate::git::batch::Batch;
use crate::git::objects;
use crate::git::{Durability, Repo, Result};

/// All work commits that go where one goes: itself first, then those that it follows or joins.
///
/// # Errors
/// A commit that is not here, or can't be read.
pub fn line(repo: &Repo, work: ObjectId) -> Result<Vec<ObjectId>> {
    let mut line = vec![work];
    let mut seen = HashSet::from([work]);
    let mut at = 0;
    while let Some(commit) = line.get(at) {
        for parent in objects::parents(repo, *commit)? {
            if seen.insert(parent) && objects::exists(repo, parent) && is_work(repo, parent)? {
                line.push(parent);
            }
        }
        at += 1;
    }
    Ok(line)
}

/// How many untracked files a snapshot has.
pub fn untracked(repo: &Repo, work: &Work) -> Result<usize> {
    added(repo, work.tree, Some(work.index_tree))
}

/// Counts the files of a tree that another one lacks.
fn added(repo: &Repo, tree: ObjectId, beside: Option<ObjectId>) -> Result<usize> {
    if beside == Some(tree) {
        return Ok(0);
    }
    let beside = beside.map(|tree| objects::tree(repo, tree)).transpose()?;
    let mut count = 0;
    for entry in objects::tree(repo, tree)?.entries {
        let found = beside
            .iter()
            .flat_map(|tree| &tree.entries)
            .find(|other| other.filename == entry.filename);
        count += match (entry.mode.is_tree(), found) {
            (true, found) => {
                let inner = found.filter(|found| found.mode.is_tree()).map(|found| found.oid);
                added(repo, entry.oid, inner)?
            }
            (false, Some(_)) => 0,
            (false, None) => 1,
        };
    }
    Ok(count)
}

/// Whether the worker's state directory is stored with it.
pub fn has_state(repo: &Repo, work: &Work) -> Result<bool> {
    let entries = objects::tree(repo, work.stored)?.entries;
    Ok(entries.iter().any(|entry| entry.filename == STATE))
}

/// Makes a work commit that says what `work` says and has another line of work for a parent too, so that neither is
/// left behind.
///
/// The caller moves a reference onto it and only then lets it go.
pub fn join<T>(
    repo: &Repo,
    work: ObjectId,
    other: ObjectId,
    signature: &Signature,
    message: &str,
    durability: Durability,
    publish: impl FnOnce(ObjectId) -> Result<T>,
) -> Result<T> {
    let saved = read(repo, work)?;
    let parents = [work, saved.snapshot, other];
    let mut batch = Batch::new(repo, durability);
    let joined = batch.add(objects::commit(
        saved.stored,
        &parents,
        signature,
        signature,
        format!("{message}\n").as_bytes(),
    ))?;
    let kept = batch.finish()?;
    let published = publish(joined)?;
    kept.release(repo)?;
    Ok(published)
}
