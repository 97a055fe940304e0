//! Lock files that the dead left, told from those of the living.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Worktree;
use super::trash::unused;
use crate::git::repo::RefFormat;
use crate::git::{Error, Repo, Result};

/// How long git has a file of a few bytes open at most, or the lock of a reference: one write.
pub(super) const ONE_WRITE: Duration = Duration::from_secs(1);

/// Moves away the lock that a killed `git worktree add` of ours left on the branch that it was making.
///
/// The caller knows that it was to be made and that no child of ours is at it any more; who else might be making that
/// very branch has a second to do so.
pub fn break_branch_lock(repo: &Repo, branch: &str, trash: &Path) -> Result<()> {
    if repo.ref_format() != RefFormat::Files {
        return Ok(());
    }
    let lock = repo.common_dir().join(format!("refs/heads/{branch}.lock"));
    if is_left(&lock) {
        move_away(&lock, trash)?;
    }
    Ok(())
}

/// Whether a lock is there and stays there, until it is older than anything that a living process needs it for.
fn is_left(lock: &Path) -> bool {
    let Ok(seen) = lock.symlink_metadata() else {
        return false;
    };
    let age = seen.modified().ok().and_then(|time| time.elapsed().ok());
    thread::sleep(ONE_WRITE.saturating_sub(age.unwrap_or_default()));
    let still = lock.symlink_metadata();
    still.is_ok_and(|still| (still.dev(), still.ino()) == (seen.dev(), seen.ino()))
}

fn move_away(lock: &Path, trash: &Path) -> Result<()> {
    match fs::rename(lock, unused(trash, lock.file_name().unwrap_or_default())) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("cannot move '{}' away", lock.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Moves the lock files that a dead process left in a worktree's own directory to the trash, and names them.
///
/// The caller knows that nothing of the worktree's processes is alive; a git of ours whose caller was killed may be
/// for a moment, and has that.
pub fn move_stale_locks(worktree: &Worktree, trash: &Path) -> Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    // The second is where the HEAD of a worktree is in the binary format.
    for dir in [worktree.git_dir.clone(), worktree.git_dir.join("reftable")] {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && path.extension() == Some(OsStr::new("lock")) && is_left(&path) {
                move_away(&path, trash)?;
                moved.push(path);
            }
        }
    }
    Ok(moved)
}
