//! What git ignores in a worktree: no snapshot has it.

use std::path::Path;

use gix::bstr::{BString, ByteSlice};

use super::error::Result;
use super::workspace::Workspace;
use crate::git::snapshot;
use crate::git::worktree::{self, Worktree};

/// Files and directories in a worktree that git ignores, also in its submodules.
pub fn ignored(ws: &Workspace, found: &Worktree) -> Result<Vec<BString>> {
    let mut names = ignored_in(ws, &found.path)?;
    if worktree::has_modules(found) {
        for module in snapshot::linked_modules(&ws.repo, &found.path)? {
            let inner = ignored_in(ws, &found.path.join(module.to_path_lossy()))?;
            names.extend(inner.iter().map(|name| snapshot::within(module.as_ref(), name)));
        }
    }
    Ok(names)
}

fn ignored_in(ws: &Workspace, path: &Path) -> Result<Vec<BString>> {
    let output = ws
        .repo
        .git_in(path)?
        .arg("--no-optional-locks")
        // Whatever a user has configured to be shown.
        .args(["status", "--porcelain", "-z", "--no-renames"])
        .args(["--untracked-files=all", "--ignored=matching"])
        .run()?;
    let entries = output.split(|byte| *byte == 0).filter(|entry| entry.len() > 3);
    let entries: Vec<(&[u8], &[u8])> = entries.map(|entry| (&entry[..2], &entry[3..])).collect();
    let is_hidden = |name: &[u8]| {
        let dir = [name, b"/"].concat();
        has_something(&path.join(name.to_path_lossy()))
            && !entries.iter().any(|(_, other)| other.starts_with(&dir))
    };
    let is_ignored = |entry: &&(&[u8], &[u8])| match entry.0 {
        b"!!" => true,
        // Where a tracked file was, git tells nothing of a directory that it ignores.
        [_, b'D'] | b"D " => is_hidden(entry.1),
        _ => false,
    };
    let names = entries.iter().filter(is_ignored);
    Ok(names
        .map(|(_, name)| name.strip_suffix(b"/").unwrap_or(name).into())
        .collect())
}

/// Whether it is a directory with anything but directories in it.
fn has_something(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    is_dir(path)
        && entries
            .map(|entry| entry.path())
            .any(|path| !is_dir(&path) || has_something(&path))
}

/// Whether it is a directory, and no link to one.
pub fn is_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}
