//! What a work commit holds beyond what git tracks, and how two lines of work become one.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use gix::ObjectId;
use gix::actor::Signature;

use super::find::by_name;
use super::manifest::STATE;
use super::store::store;
use super::{Work, is_work, read};
use crate::git::batch::Batch;
use crate::git::objects;
use crate::git::{Durability, Error, Repo, Result};

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
///
/// # Errors
/// Trees that are not here, or deeper than any that git takes.
pub fn untracked(repo: &Repo, work: &Work) -> Result<usize> {
    let known = HashMap::new();
    Added { repo, known }.count(work.tree, Some(work.index_tree), 0)
}

/// How deep trees may be; git itself goes no deeper than twice that (`core.maxTreeDepth`).
const DEEPEST: usize = 1024;

/// Counts the files of trees that others lack.
struct Added<'r> {
    repo: &'r Repo,
    /// Trees that repeat themselves can have more entries than anybody has the time to count, so each is looked at once.
    known: HashMap<(ObjectId, Option<ObjectId>), usize>,
}

impl Added<'_> {
    fn count(&mut self, tree: ObjectId, beside: Option<ObjectId>, depth: usize) -> Result<usize> {
        if beside == Some(tree) {
            return Ok(0);
        }
        if let Some(known) = self.known.get(&(tree, beside)) {
            return Ok(*known);
        }
        if depth > DEEPEST {
            return Err(Error::Malformed(format!("tree {tree} is too deep in others")));
        }
        let others = beside.map(|tree| objects::tree(self.repo, tree)).transpose()?;
        let others = others.map(by_name).unwrap_or_default();
        let mut count: usize = 0;
        for entry in objects::tree(self.repo, tree)?.entries {
            let more = match (entry.mode.is_tree(), others.get(&entry.filename)) {
                (true, found) => {
                    let inner = found.filter(|found| found.mode.is_tree()).map(|found| found.oid);
                    self.count(entry.oid, inner, depth + 1)?
                }
                (false, Some(_)) => 0,
                (false, None) => 1,
            };
            count = count.saturating_add(more);
        }
        self.known.insert((tree, beside), count);
        Ok(count)
    }
}

/// Whether the worker's state directory is stored with it.
pub fn has_state(repo: &Repo, work: &Work) -> Result<bool> {
    let entries = objects::tree(repo, work.stored)?.entries;
    Ok(entries.iter().any(|entry| entry.filename == STATE))
}

/// Whether a worker's state directory is stored with it just as it is.
pub fn holds_state(repo: &Repo, state: &Path, work: ObjectId) -> Result<bool> {
    let work = read(repo, work)?;
    let stored = store(&mut Batch::of_names(repo), state, &|_| true)?;
    let entries = objects::tree(repo, work.stored)?.entries;
    let saved = entries.iter().find(|entry| entry.filename == STATE);
    let odd = work.manifest.directories.get(STATE).cloned().unwrap_or_default();
    Ok(stored.unsaved.is_empty() && stored.tree == saved.map(|entry| entry.oid) && stored.odd == odd)
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
    publish: impl Fn(ObjectId) -> Result<T>,
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
    let mut kept = batch.finish()?;
    let published = kept.moving(repo, || publish(joined))?;
    kept.release(repo)?;
    Ok(published)
}
