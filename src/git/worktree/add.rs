//! A worktree is made by git, however that is disturbed or killed.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::locks::ONE_WRITE;
use super::{Head, at, remove};
use crate::git::refs::Target;
use crate::git::{Error, Repo, Result};

/// What is checked out.
#[derive(Debug, Clone, Copy)]
pub enum Checkout<'a> {
    NewBranch { name: &'a str, at: ObjectId },
    Branch(&'a str),
    Detached(ObjectId),
}

/// Whether files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    Checkout,
    None,
}

/// Whether the repository's hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hooks {
    Run,
    Skip,
}

/// A worktree to be made.
#[derive(Debug)]
pub struct Add<'a> {
    pub path: &'a Path,
    pub checkout: Checkout<'a>,
    /// Why it is locked from its first moment.
    pub reason: &'a str,
    pub files: Files,
    /// Leases that the child holds too, so that nobody runs beside it should we die first.
    pub lock_fds: &'a [BorrowedFd<'a>],
    pub hooks: Hooks,
}

/// How long git is tried again while it trips over what others are making.
const PATIENCE: Duration = Duration::from_secs(5);

/// What git says then.
const IN_THE_WAY: [&str; 3] = ["/commondir: ", "cannot lock references", "reftable: transaction"];

/// Makes a worktree by `git worktree add`, locked from its first moment.
///
/// Git looks at every other worktree, and gives up where one has a `commondir` that is made and not yet written. That
/// is tried again, and one that stays so is completed, since all of git would trip over it for ever. Tried again is
/// also what found the tables of the binary format locked.
pub fn add(repo: &Repo, add: &Add<'_>) -> Result<()> {
    let start = Instant::now();
    let mut checkout = add.checkout;
    let new = match checkout {
        Checkout::NewBranch { name, at } => {
            let full = format!("refs/heads/{name}");
            repo.refs().get(&full)?.is_none().then_some((name, full, at))
        }
        _ => None,
    };
    loop {
        match try_add(repo, add, checkout) {
            Err(Error::Command { message, .. })
                if start.elapsed() < PATIENCE && IN_THE_WAY.iter().any(|text| message.contains(text)) =>
            {
                if let Some((name, full, at)) = &new
                    && repo.refs().get(full)? == Some(Target::Object(*at))
                {
                    checkout = Checkout::Branch(name);
                }
                complete_begun(repo)?;
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Writes what git was about to write into a `commondir` when it was killed: all of git that looks at every worktree
/// trips over an empty one, and so does garbage collection.
pub fn complete_begun(repo: &Repo) -> Result<()> {
    let Ok(entries) = fs::read_dir(repo.common_dir().join("worktrees")) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path().join("commondir");
        let left = path.symlink_metadata().is_ok_and(|meta| {
            let age = meta.modified().ok().and_then(|time| time.elapsed().ok());
            meta.len() == 0 && age.is_some_and(|age| age > ONE_WRITE)
        });
        if left {
            fs::write(&path, "../..\n").map_err(Error::io(format!("cannot write '{}'", path.display())))?;
        }
    }
    Ok(())
}

fn try_add(repo: &Repo, add: &Add<'_>, checkout: Checkout<'_>) -> Result<()> {
    repo.refs().clear_abandoned();
    let mut git = match add.hooks {
        Hooks::Run => repo.git_with_hooks()?,
        Hooks::Skip => repo.git()?,
    };
    git = git.args(["worktree", "add", "--quiet", "--lock", "--reason", add.reason]);
    if add.files == Files::None {
        git = git.arg("--no-checkout");
    }
    git = match checkout {
        Checkout::NewBranch { name, .. } => git.args(["--no-track", "-b", name]),
        Checkout::Branch(_) => git,
        Checkout::Detached(_) => git.arg("--detach"),
    };
    git = git.arg("--end-of-options").arg(add.path);
    git = match checkout {
        Checkout::NewBranch { at, .. } | Checkout::Detached(at) => git.arg(at.to_string()),
        Checkout::Branch(name) => git.arg(name),
    };
    for fd in add.lock_fds {
        git = git.holding(*fd);
    }
    git.run().map(|_| ())
}

/// Removes what a killed `git worktree add` left at a path; a worktree that is whole stays.
pub fn clean_half_made(repo: &Repo, path: &Path, trash: &Path) -> Result<()> {
    let Some(found) = at(repo, path)? else {
        return Ok(());
    };
    if found.head == Head::Unknown || !found.exists {
        remove(repo, &found, trash)?;
    }
    Ok(())
}
