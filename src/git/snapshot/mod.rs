//! A worktree's work as commits, and back.

use std::fs;
use std::path::Path;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BString, ByteSlice};

use super::objects::{self, Object};
use super::repo::parse_oid;
use super::{Durability, Error, Repo, Result};

pub use super::objects::Kept;

/// What is to be captured.
#[derive(Debug)]
pub struct Capture<'a> {
    pub worktree: &'a Path,
    pub base: Option<ObjectId>,
    pub previous: Option<ObjectId>,
    pub state_dir: Option<&'a Path>,
    pub signature: &'a Signature,
    pub message: &'a str,
    pub durability: Durability,
}

/// What was captured.
pub struct Captured {
    pub work: ObjectId,
    pub snapshot: ObjectId,
    pub head: Option<ObjectId>,
    pub branch: Option<BString>,
    pub unsaved: Vec<Unsaved>,
    pub kept: Option<Kept>,
}

/// Something that a snapshot doesn't hold.
#[derive(Debug, Clone)]
pub struct Unsaved {
    pub path: BString,
    pub why: String,
}

/// What was put back.
#[derive(Debug, Default)]
pub struct Restored {
    pub unrestored: Vec<Unsaved>,
}

/// What a work commit holds.
#[derive(Debug)]
pub struct Work {
    pub snapshot: ObjectId,
    pub head: Option<ObjectId>,
    pub branch: Option<BString>,
}

pub fn capture(repo: &Repo, what: &Capture<'_>) -> Result<Captured> {
    let git = || repo.git_in(what.worktree);
    let head = parse_oid(git()?.args(["rev-parse", "--verify", "HEAD"]).run()?.trim());
    let branch = git()?.args(["symbolic-ref", "--quiet", "HEAD"]).output()?.stdout;
    let branch = (!branch.is_empty()).then(|| BString::from(branch.trim()));
    let oid = |bytes: Vec<u8>| {
        parse_oid(bytes.trim()).ok_or_else(|| Error::Malformed("git gave no object id".to_owned()))
    };
    let index_tree = oid(git()?.arg("write-tree").run()?)?;
    let tree = tree_of_worktree(repo, what.worktree)?;
    let parents: Vec<ObjectId> = head.into_iter().collect();
    let index = objects::commit(index_tree, &parents, what.signature, what.signature, b"index\n");
    let index_id = objects::id_of(repo, &index)?;
    let mut parents: Vec<ObjectId> = head.into_iter().collect();
    parents.push(index_id);
    let snapshot = objects::commit(
        tree,
        &parents,
        what.signature,
        what.signature,
        what.message.as_bytes(),
    );
    let snapshot_id = objects::id_of(repo, &snapshot)?;
    let manifest = serde_json::json!({"format":1,"branch":branch.as_ref().map(|b| b.to_string())});
    let blob = Object::blob(manifest.to_string().into_bytes());
    let work_tree = objects::tree_of_one("manifest.json", objects::id_of(repo, &blob)?);
    let parents: Vec<ObjectId> = match what.previous {
        Some(previous) => vec![previous, snapshot_id],
        None => std::iter::once(snapshot_id).chain(what.base).collect(),
    };
    let work = objects::commit(
        objects::id_of(repo, &work_tree)?,
        &parents,
        what.signature,
        what.signature,
        what.message.as_bytes(),
    );
    let work_id = objects::id_of(repo, &work)?;
    objects::publish(
        repo,
        &[index, snapshot, blob, work_tree, work],
        what.durability,
        || Ok(()),
    )?;
    Ok(Captured {
        work: work_id,
        snapshot: snapshot_id,
        head,
        branch,
        unsaved: Vec::new(),
        kept: None,
    })
}

/// What a worktree has that a work commit lacks; none if it has nothing.
pub fn differs(repo: &Repo, what: &Capture<'_>, work: ObjectId) -> Result<Option<String>> {
    let saved = read(repo, work)?;
    let tree = tree_of_worktree(repo, what.worktree)?;
    let parsed = repo.gix().find_commit(saved.snapshot).map_err(Error::gix("x"))?;
    Ok((parsed.tree_id().map_err(Error::gix("x"))?.detach() != tree).then(|| "files".to_owned()))
}

/// The tree of a worktree as it is, made without touching its index.
pub fn tree_of_worktree(repo: &Repo, worktree: &Path) -> Result<ObjectId> {
    let temp = tempfile::tempdir().map_err(Error::io("a temporary directory"))?;
    let index = temp.path().join("index");
    let real = repo
        .git_in(worktree)?
        .args(["rev-parse", "--git-path", "index"])
        .run()?;
    let real = worktree.join(real.trim().to_path_lossy());
    if real.exists() {
        fs::copy(&real, &index).map_err(Error::io("cannot copy the index"))?;
    }
    repo.git_in(worktree)?
        .env("GIT_INDEX_FILE", &index)
        .args(["add", "-A"])
        .run()?;
    let tree = repo
        .git_in(worktree)?
        .env("GIT_INDEX_FILE", &index)
        .arg("write-tree")
        .run()?;
    parse_oid(tree.trim()).ok_or_else(|| Error::Malformed("git gave no object id".to_owned()))
}

pub fn read(repo: &Repo, work: ObjectId) -> Result<Work> {
    let parents = objects::parents(repo, work)?;
    let lack = || Error::Malformed(format!("{work} is no work commit"));
    let snapshot = match objects::parents(repo, *parents.first().ok_or_else(lack)?)?.len() {
        _ => parents[parents.len() - 1],
    };
    let manifest = objects::blob_in_tree(repo, work, "manifest.json").unwrap_or_default();
    let _ = manifest;
    Ok(Work {
        snapshot,
        head: objects::parents(repo, snapshot)?.first().copied(),
        branch: None,
    })
}

pub fn restore(repo: &Repo, work: ObjectId, worktree: &Path, _state: Option<&Path>) -> Result<Restored> {
    let work = read(repo, work)?;
    repo.git_in(worktree)?
        .args(["read-tree", "-u", "--reset"])
        .arg(work.snapshot.to_string())
        .run()?;
    repo.git_in(worktree)?.args(["read-tree", "HEAD"]).run()?;
    Ok(Restored::default())
}
