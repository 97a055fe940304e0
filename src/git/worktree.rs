//! Linked worktrees: added, found, locked, let go and removed.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};

pub use super::reflog::made_commits;
use super::refs::Target;
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

/// Lists the linked worktrees.
pub fn list(repo: &Repo) -> Result<Vec<Worktree>> {
    let dir = repo.common_dir().join("worktrees");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(format!("'{}'", dir.display()))(error)),
    };
    let heads = match repo.ref_format() {
        RefFormat::Files => Vec::new(),
        RefFormat::Reftable => heads(repo)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(format!("'{}'", dir.display())))?;
        if let Some(path) = path_of(&entry.path()) {
            let known = heads.iter().find(|(at, _)| *at == path);
            found.push(read(repo, path, entry.path(), known.map(|(_, head)| head))?);
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
pub fn at(repo: &Repo, path: &Path) -> Result<Option<Worktree>> {
    let wanted = resolve(path);
    // The directory's own word is enough where it has one; it may be a way that leads through the directory itself.
    if let Some(git_dir) = admin_of(&wanted).map(|git_dir| resolve(&git_dir))
        && path_of(&git_dir).is_some_and(|back| resolve(&back) == wanted)
        && git_dir.parent() == Some(repo.common_dir().join("worktrees").as_path())
    {
        return read(repo, wanted, git_dir, None).map(Some);
    }
    let dir = repo.common_dir().join("worktrees");
    let Ok(entries) = fs::read_dir(&dir) else {
        return Ok(None);
    };
    for entry in entries.flatten() {
        if path_of(&entry.path()).is_some_and(|found| resolve(&found) == wanted) {
            return read(repo, wanted, entry.path(), None).map(Some);
        }
    }
    Ok(None)
}

/// Where a worktree's own directory says for what it was made, which is there for as long as the worktree, wherever
/// that is moved to; a lock is taken off for moving.
const MADE_FOR: &str = "made-for";

/// Finds the linked worktree that is locked for exactly this reason, or was [made](mark) for it.
pub fn made_for(repo: &Repo, reason: &str) -> Result<Option<Worktree>> {
    let Ok(entries) = fs::read_dir(repo.common_dir().join("worktrees")) else {
        return Ok(None);
    };
    for entry in entries.flatten() {
        let says =
            |name: &str| fs::read(entry.path().join(name)).is_ok_and(|text| text.trim() == reason.as_bytes());
        if (says("locked") || says(MADE_FOR))
            && let Some(path) = path_of(&entry.path())
        {
            return read(repo, path, entry.path(), None).map(Some);
        }
    }
    Ok(None)
}

fn read(repo: &Repo, path: PathBuf, git_dir: PathBuf, known: Option<&Head>) -> Result<Worktree> {
    let lock = fs::read(git_dir.join("locked"))
        .ok()
        .map(|why| String::from_utf8_lossy(&why).trim().to_owned());
    let exists = admin_of(&path).is_some_and(|found| resolve(&found) == resolve(&git_dir));
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

/// The administrative directory that a worktree names in its `.git` file.
fn admin_of(path: &Path) -> Option<PathBuf> {
    let content = fs::read(path.join(".git")).ok()?;
    let target = content.strip_prefix(b"gitdir: ")?.trim_end_with(|c| c == '\n');
    Some(path.join(OsStr::from_bytes(target)))
}

/// Whether what stands at a path is a worktree of another repository, as of the one that this is a copy of.
pub fn is_anothers(repo: &Repo, path: &Path) -> bool {
    let Some(git_dir) = admin_of(path).map(|git_dir| resolve(&git_dir)) else {
        return false;
    };
    git_dir.is_dir() && git_dir.parent() != Some(repo.common_dir().join("worktrees").as_path())
}

/// Forgets the worktree that was at a path where another repository's is by now; nothing at the path is touched.
pub fn let_go_of_anothers(repo: &Repo, path: &Path, trash: &Path) -> Result<()> {
    match at(repo, path)? {
        Some(stale) if !stale.exists => discard(&stale.git_dir, trash),
        _ => Ok(()),
    }
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

/// Writes what git was about to write into a `commondir` when it was killed.
fn complete_begun(repo: &Repo) -> Result<()> {
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

/// How long git has a file of a few bytes open at most, or the lock of a reference: one write.
const ONE_WRITE: Duration = Duration::from_secs(1);

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

/// Locks a worktree against pruning, for a reason.
pub fn lock(_repo: &Repo, worktree: &Worktree, reason: &str) -> Result<()> {
    if worktree.lock.as_deref() == Some(reason) {
        return Ok(());
    }
    let path = worktree.git_dir.join("locked");
    fs::write(&path, reason).map_err(Error::io(format!("cannot write '{}'", path.display())))
}

/// Writes down for what a worktree was made, so that it is found again where it is moved to.
pub fn mark(worktree: &Worktree, reason: &str) -> Result<()> {
    let path = worktree.git_dir.join(MADE_FOR);
    fs::write(&path, reason).map_err(Error::io(format!("cannot write '{}'", path.display())))
}

/// Drops the lock against pruning, and the one that a killed process of ours left on HEAD as it let it go.
pub fn unlock(repo: &Repo, worktree: &Worktree) -> Result<()> {
    repo.refs().unlock_head_after_crash(&worktree.git_dir);
    let path = worktree.git_dir.join("locked");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove '{}'", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Lets HEAD go from its branch to that commit; index and files stay as they are.
pub fn detach_head(repo: &Repo, worktree: &Worktree, at: ObjectId) -> Result<()> {
    const WHY: &str = "session: parked";
    let log = || {
        let old = match head(repo, &worktree.git_dir)? {
            Head::Detached(old) => Some(old),
            Head::Branch(name) => match name.to_str().ok().map(|name| repo.refs().get(name)).transpose()? {
                Some(Some(Target::Object(old))) => Some(old),
                _ => None,
            },
            Head::Unknown => None,
        };
        let old = old.unwrap_or_else(|| repo.object_hash().null());
        let path = worktree.git_dir.join("logs/HEAD");
        log_head(repo, &path, old, at, WHY).map_err(Error::io(format!("cannot write '{}'", path.display())))
    };
    repo.refs().detach(&worktree.git_dir, at, WHY, log)
}

/// Adds an entry to HEAD's reflog, where there is one, as git does.
fn log_head(repo: &Repo, path: &Path, old: ObjectId, new: ObjectId, why: &str) -> std::io::Result<()> {
    let mut log = match OpenOptions::new().append(true).open(path) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (name, email) = match repo.identities() {
        Some([_, committer]) => committer,
        None => ("git-session".into(), "session@localhost".into()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    log.write_all(format!("{old} {new} {name} <{email}> {} +0000\t{why}\n", now.as_secs()).as_bytes())
}

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

/// Removes a worktree, its directory into `trash`.
///
/// A directory that has since become something else stays where it is.
pub fn remove(_repo: &Repo, worktree: &Worktree, trash: &Path) -> Result<()> {
    if worktree.exists || is_barely_begun(&worktree.path) {
        discard(&worktree.path, trash)?;
    }
    match fs::remove_dir_all(&worktree.git_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(format!(
            "cannot remove '{}'",
            worktree.git_dir.display()
        ))(error)),
        _ => Ok(()),
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
fn is_barely_begun(path: &Path) -> bool {
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
        removed.map_err(Error::io(format!("cannot remove '{}'", path.display())))?;
    }
    Ok(())
}

/// A name in the trash that nothing has yet.
fn unused(trash: &Path, name: &OsStr) -> PathBuf {
    (0u32..)
        .map(|number| {
            let mut name = name.to_owned();
            name.push(format!(".{}.{number}", std::process::id()));
            trash.join(name)
        })
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or_else(|| trash.join("worktree"))
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
