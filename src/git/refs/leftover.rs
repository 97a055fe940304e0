//! Lock files that stand in a repository, and whose they are.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::abandoned;
use super::lock::{HOLDERS, MARKER, unlock_after_crash};
use crate::git::Repo;

/// A lock file.
#[derive(Debug, Clone)]
pub struct Leftover {
    pub path: PathBuf,
    pub age: Duration,
    pub whose: Whose,
}

/// Who made a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A process of ours that is dead, or a git that made the lock of a reftable: whoever wants the reference next removes it.
    Dead,
    /// A process of ours that is alive.
    Alive,
    /// Another program; whether it is alive can't be told.
    Unknown,
}

/// Lists the locks on references, indexes, configuration and objects, by path.
pub fn leftover(repo: &Repo) -> Vec<Leftover> {
    let common = repo.common_dir();
    let mut found = Vec::new();
    look(common, 0, &mut found);
    // That of git's maintenance.
    look(&common.join("objects"), 0, &mut found);
    look(&common.join("reftable"), 0, &mut found);
    // A worktree has its own index, and in a reftable its own HEAD.
    look(&common.join("worktrees"), 2, &mut found);
    look(&common.join("refs"), usize::MAX, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    let tables = abandoned::lock(repo);
    let of_tables = found.iter_mut().filter(|lock| lock.path == tables);
    for lock in of_tables.filter(|_| abandoned::is_abandoned(&tables)) {
        lock.whose = Whose::Dead;
    }
    found
}

/// Removes the locks that killed processes of ours left, whatever they are on: stock git would wait for them.
///
/// All of them are names of two files, by which it is known at once that there are none.
pub fn clear(repo: &Repo) {
    let common = repo.common_dir();
    let is_left = |holder: &&str| {
        let holder = common.join(holder);
        let has_names = holder.symlink_metadata().is_ok_and(|meta| meta.nlink() > 1);
        has_names && whose(&holder) == Whose::Dead
    };
    if !HOLDERS.iter().any(is_left) {
        return;
    }
    let left = leftover(repo);
    for lock in left.into_iter().filter(|lock| lock.whose == Whose::Dead) {
        unlock_after_crash(common, &lock.path.with_extension(""));
    }
}

/// Looks into a directory, and so many levels below it.
fn look(dir: &Path, depth: usize, found: &mut Vec<Leftover>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, Ok(meta)) = (entry.path(), entry.path().symlink_metadata()) else {
            continue;
        };
        if meta.is_dir() {
            if depth > 0 {
                look(&path, depth - 1, found);
            }
        } else if entry.file_name().as_bytes().ends_with(b".lock") {
            let age = meta.modified().ok().and_then(|at| at.elapsed().ok());
            found.push(Leftover {
                age: age.unwrap_or_default(),
                whose: whose(&path),
                path,
            });
        }
    }
}

fn whose(path: &Path) -> Whose {
    let is_ours = fs::read(path).is_ok_and(|content| content == MARKER);
    let Some(file) = File::open(path).ok().filter(|_| is_ours) else {
        return Whose::Unknown;
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Whose::Dead,
        Err(_) => Whose::Alive,
    }
}
