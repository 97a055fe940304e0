//! The repositories of a worktree's submodules, which outlive it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Worktree;
use crate::git::{Error, Result};

/// Moves the repositories of a worktree's submodules, if it has any, to `kept`, which is on the same file system.
pub fn take_modules(worktree: &Worktree, kept: &Path) -> Result<()> {
    move_modules(&worktree.git_dir.join("modules"), kept)
}

/// Gives them to a worktree that was made anew; without any nothing happens.
pub fn put_modules(worktree: &Worktree, kept: &Path) -> Result<()> {
    move_modules(kept, &worktree.git_dir.join("modules"))
}

/// Whether a worktree has repositories of submodules.
pub fn has_modules(worktree: &Worktree) -> bool {
    worktree.git_dir.join("modules").symlink_metadata().is_ok()
}

fn move_modules(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(format!(
            "cannot move '{}' to '{}'",
            from.display(),
            to.display()
        ))(error)),
        _ => Ok(()),
    }
}
