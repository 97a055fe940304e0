//! A worktree's work as commits, and back.
//!
//! A *snapshot* is shaped like git's stash: its tree is what the worktree has, tracked and untracked but not ignored;
//! its first parent is HEAD, its second a commit of the index, whose further parents are what a half-done merge or
//! rebase needs. A *work commit* follows the one before it, has the snapshot as its second parent (the first one has
//! the snapshot first and the base second) and holds in its own tree what no plain tree can say: [`Manifest`], the
//! directories that are stored whole, and git's own files of what is half done.

mod asking;
mod beside;
mod bring_back;
mod capture;
mod carried;
mod elsewhere;
mod find;
mod glance;
mod holds;
mod index;
mod manifest;
mod midst;
mod module_list;
mod modules;
mod overlooked;
mod restore;
mod status;
mod store;
mod trees;
mod walk;

use std::path::Path;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BString, ByteSlice};

use super::objects::{self};
use super::{Durability, Error, Repo, Result};

pub use capture::{Captured, Difference, capture, differs, has_file};
pub use holds::{has_state, holds_state, join, line, untracked};
pub use index::as_saved;
pub use manifest::{Manifest, Name};
pub use modules::linked_modules;
pub use restore::{Restored, restore};
pub use walk::join as within;

/// Something that a snapshot doesn't hold, or that could not be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    pub path: BString,
    pub why: String,
}

impl Unsaved {
    pub fn new(path: impl Into<BString>, why: impl ToString) -> Unsaved {
        Unsaved {
            path: path.into(),
            why: why.to_string(),
        }
    }
}

/// What is to be captured.
#[derive(Debug)]
pub struct Capture<'a> {
    pub worktree: &'a Path,
    /// The worktree's own git directory.
    pub git_dir: &'a Path,
    /// The commit that the work began from.
    pub base: Option<ObjectId>,
    /// The work commit before.
    pub previous: Option<ObjectId>,
    /// A directory that is stored beside the work.
    pub state_dir: Option<&'a Path>,
    /// A file that is stored beside the work.
    pub extra: Option<Extra<'a>>,
    pub signature: &'a Signature,
    pub message: &'a str,
    pub durability: Durability,
}

/// A file that is stored beside the work.
#[derive(Debug, Clone, Copy)]
pub struct Extra<'a> {
    /// Its name in the work commit's tree.
    pub name: &'a str,
    pub path: &'a Path,
    /// How many bytes of its end are stored at most.
    pub limit: u64,
}

/// A work commit, read.
#[derive(Debug)]
pub struct Work {
    pub snapshot: ObjectId,
    /// The snapshot's own tree: the files as they were.
    pub tree: ObjectId,
    pub head: Option<ObjectId>,
    pub index_tree: ObjectId,
    /// The work commit's tree.
    pub stored: ObjectId,
    /// The branch that HEAD was on, by its full name.
    pub branch: Option<BString>,
    pub manifest: Manifest,
}

/// Whose work is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was saved in this repository.
    Here,
    /// It came from somebody else: nothing of it may tell git what to run.
    Elsewhere,
}

/// How the message of a snapshot ends, and that of no work commit.
///
/// A work commit is told from the snapshot that may stand in its place among parents by more than its manifest: the
/// files of a snapshot may well have one of that name at their top.
const SNAPSHOT: &str = ": snapshot";

/// Reads a work commit.
///
/// # Errors
/// Commits that are none, those of a newer format, and those whose parts are not here.
pub fn read(repo: &Repo, work: ObjectId) -> Result<Work> {
    let strange = |what: &str| Error::Malformed(format!("{work} is no work commit: {what}"));
    let stored = objects::tree_of(repo, work)?;
    let json = objects::blob_in_tree(repo, stored, manifest::FILE)?.ok_or_else(|| strange("no manifest"))?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|error| strange(&error.to_string()))?;
    if manifest.format > manifest::FORMAT {
        let format = manifest.format;
        return Err(Error::Malformed(format!(
            "the work saved in {work} has format {format}, which only a newer version can read"
        )));
    }
    let parents = objects::parents(repo, work)?;
    // The first work commit has no work commit before it, so its first parent is the snapshot.
    let follows = match parents.first() {
        Some(first) => is_work(repo, *first)?,
        None => false,
    };
    let snapshot = *parents
        .get(usize::from(follows))
        .ok_or_else(|| strange("no snapshot"))?;
    let around = objects::parents(repo, snapshot)?;
    let (head, index) = match around.as_slice() {
        [head, index] => (Some(*head), *index),
        [index] => (None, *index),
        _ => return Err(strange("its snapshot has odd parents")),
    };
    Ok(Work {
        snapshot,
        tree: objects::tree_of(repo, snapshot)?,
        head,
        index_tree: objects::tree_of(repo, index)?,
        stored,
        branch: manifest.branch.as_ref().map(|name| name.0.clone()),
        manifest,
    })
}

/// Whether a commit is a work commit.
fn is_work(repo: &Repo, commit: ObjectId) -> Result<bool> {
    if objects::message(repo, commit)?
        .trim_end()
        .ends_with(SNAPSHOT.as_bytes())
    {
        return Ok(false);
    }
    let tree = objects::tree_of(repo, commit)?;
    Ok(objects::blob_in_tree(repo, tree, manifest::FILE)?.is_some())
}
