//! A worktree whose directory is gone, made again from what git still has of it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::BString;
use tempfile::TempDir;

use super::Worktree;
use crate::git::{Error, Repo, Result};

/// A worktree's directory that is made again and not yet in its place.
#[derive(Debug)]
pub struct Again {
    dir: TempDir,
    to: PathBuf,
}

/// Makes the directory of a worktree again, with the files that its index has; HEAD and index stay as they are.
///
/// It appears whole or not at all. What a command leaves that is killed in the midst of it is a directory of a name that
/// nobody else has, and stays: nothing tells it from somebody's own.
pub fn make_again(repo: &Repo, gone: &Worktree) -> Result<Again> {
    let io = || Error::io(format!("cannot make '{}'", gone.path.display()));
    let parent = gone.path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(io())?;
    let mut name = OsString::from(".");
    name.push(gone.path.file_name().unwrap_or_default());
    name.push(".");
    let dir = tempfile::Builder::new()
        .prefix(&name)
        .permissions(fs::Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(io())?;
    repo.git_in(dir.path())?
        .arg("--git-dir")
        .arg(&gone.git_dir)
        .arg("--work-tree")
        .arg(dir.path())
        .args(["checkout-index", "--all", "--quiet"])
        .run()?;
    let link = [b"gitdir: ", gone.git_dir.as_os_str().as_bytes(), b"\n"].concat();
    fs::write(dir.path().join(".git"), link).map_err(io())?;
    let to = gone.path.clone();
    Ok(Again { dir, to })
}

impl Again {
    /// Puts it where it was, where nothing is, or a directory without anything in it.
    pub fn put(self) -> Result<()> {
        let io = Error::io(format!("cannot make '{}'", self.to.display()));
        fs::rename(self.dir.path(), &self.to).map_err(io)
    }
}

/// The files of which the index of a worktree has something else than a tree; its directory may be gone.
pub fn staged_since(repo: &Repo, worktree: &Worktree, tree: ObjectId) -> Result<Vec<BString>> {
    let listed = repo
        .git_in(&worktree.git_dir)?
        .arg("--git-dir")
        .arg(&worktree.git_dir)
        .args(["diff-index", "--cached", "--name-only", "-z", "--no-renames"])
        .args(["--ignore-submodules=none", &tree.to_string(), "--"])
        .run()?;
    Ok(names(&listed))
}

/// The files of which two trees have different things.
pub fn changed_between(repo: &Repo, from: ObjectId, to: ObjectId) -> Result<Vec<BString>> {
    let listed = repo
        .git()?
        .args(["diff-tree", "-r", "--name-only", "-z", "--no-renames"])
        .args(["--ignore-submodules=none", &from.to_string(), &to.to_string()])
        .run()?;
    Ok(names(&listed))
}

fn names(listed: &[u8]) -> Vec<BString> {
    let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(BString::from).collect()
}
