//! Linked worktrees: found, added, held, let go and removed.

mod add;
mod again;
mod hold;
mod locks;
mod modules;
mod trash;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};

pub use self::add::{Add, Checkout, Files, Hooks, add, clean_half_made, complete_begun};
pub use self::again::{changed_between, make_again, staged_since};
pub use self::hold::{begin_branch, detach_head, lock, mark, unlock};
pub use self::locks::{break_branch_lock, move_stale_locks};
pub use self::modules::{has_modules, put_modules, take_modules};
pub use self::trash::{discard, empty_trash, is_barely_begun, let_go_of_anothers, remove};
pub use super::reflog::{left_behind, made_commits};
use super::repo::{RefFormat, parse_oid};
use super::{Error, Repo, Result};

/// What a worktree's HEAD says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// On a branch, by its full name.
    Branch(BString),
    Detached(ObjectId),
    /// Nothing that can be read, as in a worktree that is half made.
    Unknown,
}

/// A linked worktree.
#[derive(Debug, Clone)]
pub struct Worktree {
    pub path: PathBuf,
    /// Its own directory below the common one's `worktrees`.
    pub git_dir: PathBuf,
    pub head: Head,
    /// Why it is locked, if it is.
    pub lock: Option<String>,
    /// Whether its directory is there and knows that it is this worktree.
    pub exists: bool,
}

/// Lists the linked worktrees.
pub fn list(repo: &Repo) -> Result<Vec<Worktree>> {
    let git_dirs = git_dirs(repo)?;
    if git_dirs.is_empty() {
        return Ok(Vec::new());
    }
    let heads = match repo.ref_format() {
        RefFormat::Files => Vec::new(),
        RefFormat::Reftable => heads(repo)?,
    };
    let mut found = Vec::new();
    for git_dir in git_dirs {
        if let Some(path) = path_of(&git_dir) {
            let known = heads.iter().find(|(at, _)| *at == path);
            // One that can't be looked at is none of ours as a rule, and hides no other.
            let exists = stands(&path, &git_dir).unwrap_or(true);
            found.push(read(repo, path, git_dir, exists, known.map(|(_, head)| head))?);
        }
    }
    Ok(found)
}

/// What all HEADs say, asked of git at once; those it can't read are left out, which are all while it trips over one
/// that is being made.
fn heads(repo: &Repo) -> Result<Vec<(PathBuf, Head)>> {
    let output = repo
        .git()?
        .args(["worktree", "list", "--porcelain", "-z"])
        .output()?
        .stdout;
    let mut found: Vec<(PathBuf, Head)> = Vec::new();
    let mut path = None;
    let mut oid = None;
    for line in output.split(|byte| *byte == 0) {
        if let Some(at) = line.strip_prefix(b"worktree ") {
            path = Some(PathBuf::from(OsStr::from_bytes(at)));
        } else if let Some(hex) = line.strip_prefix(b"HEAD ") {
            oid = parse_oid(hex).filter(|oid| !oid.is_null());
        } else if let Some(name) = line.strip_prefix(b"branch ") {
            found.extend(path.take().map(|path| (path, Head::Branch(name.into()))));
        } else if line == b"detached" {
            found.extend(
                path.take()
                    .zip(oid.take())
                    .map(|(path, oid)| (path, Head::Detached(oid))),
            );
        }
    }
    Ok(found)
}

/// Finds the linked worktree at a path, whether its directory is there or not.
///
/// # Errors
/// What can't be looked at, of which nothing is known.
pub fn at(repo: &Repo, path: &Path) -> Result<Option<Worktree>> {
    let wanted = resolve(path);
    // The directory's own word is enough where it has one; it may be a way that leads through the directory itself.
    if let Some(git_dir) = admin_of(&wanted)?.map(|git_dir| resolve(&git_dir))
        && path_of(&git_dir).is_some_and(|back| resolve(&back) == wanted)
        && git_dir.parent() == Some(repo.common_dir().join("worktrees").as_path())
    {
        return read(repo, wanted, git_dir, true, None).map(Some);
    }
    for git_dir in git_dirs(repo)? {
        if path_of(&git_dir).is_some_and(|found| resolve(&found) == wanted) {
            let exists = stands(&wanted, &git_dir)?;
            return read(repo, wanted, git_dir, exists, None).map(Some);
        }
    }
    Ok(None)
}

/// The directories that linked worktrees have below the common one's `worktrees`.
fn git_dirs(repo: &Repo) -> Result<Vec<PathBuf>> {
    let dir = repo.common_dir().join("worktrees");
    let io = || Error::io(format!("'{}'", dir.display()));
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io()(error)),
    };
    entries.map(|entry| Ok(entry.map_err(io())?.path())).collect()
}

/// Where a worktree's own directory says for what it was made, which is there for as long as the worktree, wherever
/// that is moved to; a lock is taken off for moving.
const MADE_FOR: &str = "made-for";

/// Finds the linked worktree that is locked for exactly this reason, or was [made](mark) for it.
pub fn made_for(repo: &Repo, reason: &str) -> Result<Option<Worktree>> {
    for git_dir in git_dirs(repo)? {
        let says =
            |name: &str| fs::read(git_dir.join(name)).is_ok_and(|text| text.trim() == reason.as_bytes());
        if (says("locked") || says(MADE_FOR))
            && let Some(path) = path_of(&git_dir)
        {
            let exists = stands(&path, &git_dir)?;
            return read(repo, path, git_dir, exists, None).map(Some);
        }
    }
    Ok(None)
}

fn read(
    repo: &Repo,
    path: PathBuf,
    git_dir: PathBuf,
    exists: bool,
    known: Option<&Head>,
) -> Result<Worktree> {
    let lock = fs::read(git_dir.join("locked"))
        .ok()
        .map(|why| String::from_utf8_lossy(&why).trim().to_owned());
    let half_made = lock.as_deref() == Some("initializing")
        || !fs::metadata(git_dir.join("commondir")).is_ok_and(|meta| meta.len() > 0);
    let head = match known {
        _ if half_made => Head::Unknown,
        Some(known) => known.clone(),
        None => head(repo, &git_dir)?,
    };
    Ok(Worktree {
        path,
        git_dir,
        head,
        lock,
        exists,
    })
}

/// Reads the HEAD of a worktree, or of the main one when given the common directory.
fn head(repo: &Repo, git_dir: &Path) -> Result<Head> {
    if repo.ref_format() == RefFormat::Files {
        let Ok(content) = fs::read(git_dir.join("HEAD")) else {
            return Ok(Head::Unknown);
        };
        return Ok(match content.strip_prefix(b"ref:") {
            Some(name) => Head::Branch(name.trim().into()),
            None => parse_oid(content.trim()).map_or(Head::Unknown, Head::Detached),
        });
    }
    let git = || Ok::<_, Error>(repo.git_in(git_dir)?.arg("--git-dir").arg(git_dir));
    let symbolic = git()?.args(["symbolic-ref", "--quiet", "HEAD"]).output()?;
    if symbolic.status.success() {
        return Ok(Head::Branch(symbolic.stdout.trim().into()));
    }
    let detached = git()?
        .args(["rev-parse", "--verify", "--quiet", "HEAD"])
        .output()?;
    Ok(parse_oid(detached.stdout.trim()).map_or(Head::Unknown, Head::Detached))
}

/// The worktree that an administrative directory belongs to.
fn path_of(git_dir: &Path) -> Option<PathBuf> {
    let content = fs::read(git_dir.join("gitdir")).ok()?;
    let dot_git = Path::new(OsStr::from_bytes(content.trim_end_with(|c| c == '\n')));
    if dot_git.is_absolute() {
        return dot_git.parent().map(Path::to_owned);
    }
    // With worktree.useRelativePaths it is seen from here, and a path with `..` in it compares with nothing.
    let mut path = git_dir.to_owned();
    for part in dot_git.parent()?.components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    Some(path)
}

/// The administrative directory that a worktree names in its `.git` file; none where there is no such file.
fn admin_of(path: &Path) -> Result<Option<PathBuf>> {
    let file = path.join(".git");
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::io(format!("'{}'", file.display()))(error)),
    };
    let target = content.strip_prefix(b"gitdir: ");
    Ok(target.map(|target| path.join(OsStr::from_bytes(target.trim_end_with(|c| c == '\n')))))
}

/// Whether what is at a path knows that it is the worktree with that administrative directory.
fn stands(path: &Path, git_dir: &Path) -> Result<bool> {
    let admin = admin_of(path)?;
    Ok(admin.is_some_and(|found| resolve(&found) == resolve(git_dir)))
}

/// Whether what stands at a path is a worktree of another repository, as of the one that this is a copy of.
pub fn is_anothers(repo: &Repo, path: &Path) -> bool {
    let Ok(Some(git_dir)) = admin_of(path).map(|git_dir| git_dir.map(|git_dir| resolve(&git_dir))) else {
        return false;
    };
    git_dir.is_dir() && git_dir.parent() != Some(repo.common_dir().join("worktrees").as_path())
}

/// The path without symbolic links, as far as it exists.
fn resolve(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Where a branch is checked out, or being rebased or bisected, so that no other worktree may have it.
pub fn holder_of(repo: &Repo, branch: &str) -> Result<Option<PathBuf>> {
    let on = Head::Branch(branch.into());
    let is_bare = repo.config_bool("core.bare").unwrap_or(false);
    if !is_bare && (head(repo, repo.common_dir())? == on || is_in_midst(repo.common_dir(), branch)) {
        return Ok(Some(repo.main_dir()));
    }
    let found = list(repo)?
        .into_iter()
        .find(|worktree| worktree.head == on || is_in_midst(&worktree.git_dir, branch));
    Ok(found.map(|worktree| worktree.path))
}

/// Whether a rebase or bisect that began on the branch will come back to it.
fn is_in_midst(git_dir: &Path, branch: &str) -> bool {
    let says = |file: &str, name: &str| {
        fs::read(git_dir.join(file)).is_ok_and(|content| content.trim() == name.as_bytes())
    };
    // One that the rebase takes along; the two lines after each name are where it comes from and goes to.
    let takes_along = || {
        fs::read(git_dir.join("rebase-merge/update-refs"))
            .is_ok_and(|content| content.lines().step_by(3).any(|name| name == branch.as_bytes()))
    };
    let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    takes_along()
        || says("rebase-merge/head-name", branch)
        || says("rebase-apply/head-name", branch)
        || says("BISECT_START", short)
}
