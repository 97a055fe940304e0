//! A worktree is kept from being pruned, and lets its branch go.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::{Head, MADE_FOR, Worktree, head};
use crate::git::refs::Target;
use crate::git::{Error, Repo, Result};

/// Locks a worktree against pruning, for a reason.
pub fn lock(_repo: &Repo, worktree: &Worktree, reason: &str) -> Result<()> {
    if worktree.lock.as_deref() == Some(reason) {
        return Ok(());
    }
    let path = worktree.git_dir.join("locked");
    fs::write(&path, reason).map_err(Error::io(format!("cannot write '{}'", path.display())))
}

/// Writes down for what a worktree was made, so that it is found again where it is moved to.
pub fn mark(worktree: &Worktree, reason: &str) -> Result<()> {
    let path = worktree.git_dir.join(MADE_FOR);
    fs::write(&path, reason).map_err(Error::io(format!("cannot write '{}'", path.display())))
}

/// Drops the lock against pruning, and the one that a killed process of ours left on HEAD as it let it go.
pub fn unlock(repo: &Repo, worktree: &Worktree) -> Result<()> {
    repo.refs().unlock_head_after_crash(&worktree.git_dir);
    let path = worktree.git_dir.join("locked");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove '{}'", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Lets HEAD go from its branch to that commit; index and files stay as they are.
pub fn detach_head(repo: &Repo, worktree: &Worktree, at: ObjectId) -> Result<()> {
    const WHY: &str = "session: parked";
    let log = || {
        let old = match head(repo, &worktree.git_dir)? {
            Head::Detached(old) => Some(old),
            Head::Branch(name) => match name.to_str().ok().map(|name| repo.refs().get(name)).transpose()? {
                Some(Some(Target::Object(old))) => Some(old),
                _ => None,
            },
            Head::Unknown => None,
        };
        let old = old.unwrap_or_else(|| repo.object_hash().null());
        let path = worktree.git_dir.join("logs/HEAD");
        log_head(repo, &path, old, at, WHY).map_err(Error::io(format!("cannot write '{}'", path.display())))
    };
    repo.refs().detach(&worktree.git_dir, at, WHY, log)
}

/// Lets HEAD be on a branch, by its full name, that begins with the next commit; index and files stay as they are.
pub fn begin_branch(repo: &Repo, path: &Path, branch: &str) -> Result<()> {
    repo.git_in(path)?
        .args(["symbolic-ref", "-m", "session: put back", "HEAD", branch])
        .run()
        .map(|_| ())
}

/// Adds an entry to HEAD's reflog, where there is one, as git does.
fn log_head(repo: &Repo, path: &Path, old: ObjectId, new: ObjectId, why: &str) -> std::io::Result<()> {
    let mut log = match OpenOptions::new().append(true).open(path) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (name, email) = match repo.identities() {
        Some([_, committer]) => committer,
        None => ("git-session".into(), "session@localhost".into()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    log.write_all(format!("{old} {new} {name} <{email}> {} +0000\t{why}\n", now.as_secs()).as_bytes())
}
