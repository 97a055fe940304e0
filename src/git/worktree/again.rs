//! A worktree whose directory is gone, made again from what git still has of it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Worktree;
use crate::git::{Error, Repo, Result};

/// Makes the directory of a worktree again, with the files that its index has; HEAD and index stay as they are.
///
/// It appears whole or not at all.
pub fn make_again(repo: &Repo, gone: &Worktree) -> Result<()> {
    let io = || Error::io(format!("cannot make '{}'", gone.path.display()));
    let parent = gone.path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(io())?;
    let dir = gone.path.with_file_name(half_made(gone));
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io()(error)),
        _ => fs::create_dir(&dir).map_err(io())?,
    }
    repo.git_in(&dir)?
        .arg("--git-dir")
        .arg(&gone.git_dir)
        .arg("--work-tree")
        .arg(&dir)
        .args(["checkout-index", "--all", "--quiet"])
        .run()?;
    let link = [b"gitdir: ", gone.git_dir.as_os_str().as_bytes(), b"\n"].concat();
    fs::write(dir.join(".git"), link).map_err(io())?;
    fs::rename(&dir, &gone.path).map_err(io())
}

/// What it is called until it is whole; the next command begins anew where one was killed.
fn half_made(gone: &Worktree) -> OsString {
    let mut name = OsString::from(".");
    name.push(gone.path.file_name().unwrap_or_default());
    name.push(".again");
    name
}
