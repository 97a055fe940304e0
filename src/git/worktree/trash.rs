//! Worktrees are removed by being moved away, to be deleted when there is time.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Worktree, at};
use crate::git::{Error, Repo, Result};

/// Removes a worktree: its directory, and then its own git directory, into `trash`.
///
/// A directory that has since become something else stays where it is. What git knows of a worktree goes at once, since
/// with half of it git takes the worktree for a broken one.
pub fn remove(_repo: &Repo, worktree: &Worktree, trash: &Path) -> Result<()> {
    if worktree.exists || is_barely_begun(&worktree.path) {
        discard(&worktree.path, trash)?;
    }
    match discard(&worktree.git_dir, trash) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes a directory: into `trash` where that is on the same file system, so that it takes no time.
pub fn discard(dir: &Path, trash: &Path) -> Result<()> {
    let aside = unused(trash, dir.file_name().unwrap_or_default());
    match fs::rename(dir, &aside) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            fs::remove_dir_all(dir).map_err(Error::io(format!("cannot remove '{}'", dir.display())))
        }
        Err(error) => Err(Error::io(format!("cannot move '{}' away", dir.display()))(error)),
    }
}

/// Whether a directory holds at most the `.git` file that git had made, and not yet written, when it was killed.
pub fn is_barely_begun(path: &Path) -> bool {
    let is_unwritten = |entry: fs::DirEntry| {
        entry.file_name() == ".git"
            && entry
                .metadata()
                .is_ok_and(|meta| meta.is_file() && meta.len() == 0)
    };
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
        && fs::read_dir(path).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_unwritten)))
}

/// Deletes what was moved to the trash.
pub fn empty_trash(trash: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(trash) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            // Somebody else empties it, too.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(Error::io(format!("cannot remove '{}'", path.display())))?,
        }
    }
    Ok(())
}

/// How much of a name is kept in the trash: with what is added to it, it has to be one still.
const NAME: usize = 200;

/// What the next name in the trash is made different by.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name in the trash that nothing has yet.
pub(super) fn unused(trash: &Path, name: &OsStr) -> PathBuf {
    let name = OsStr::from_bytes(&name.as_bytes()[..name.len().min(NAME)]);
    // Not from the first one on each time: many may have one name.
    std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|number| {
            let mut name = name.to_owned();
            name.push(format!(".{}.{number}", std::process::id()));
            trash.join(name)
        })
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| trash.join("worktree"))
}

/// Forgets the worktree that was at a path where another repository's is by now; nothing at the path is touched.
pub fn let_go_of_anothers(repo: &Repo, path: &Path, trash: &Path) -> Result<()> {
    match at(repo, path)? {
        Some(stale) if !stale.exists => discard(&stale.git_dir, trash),
        _ => Ok(()),
    }
}
