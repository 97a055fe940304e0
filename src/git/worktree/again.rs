//! A worktree whose directory is gone, made again from what git still has of it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Worktree;
use crate::git::{Error, Repo, Result};

/// Makes the directory of a worktree again, with the files that its index has; HEAD and index stay as they are.
///
/// It appears whole or not at all. What a command leaves that is killed in the midst of it is a directory of a name that
/// nobody else has, and stays: nothing tells it from somebody's own.
pub fn make_again(repo: &Repo, gone: &Worktree) -> Result<()> {
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
    fs::rename(dir.path(), &gone.path).map_err(io())
}
