//! Linked worktrees: added, found, locked, let go and removed.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};

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
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(format!("'{}'", dir.display())))?;
        if let Some(path) = path_of(&entry.path()) {
            found.push(read(repo, path, entry.path())?);
        }
    }
    Ok(found)
}

/// Finds the linked worktree at a path, whether its directory is there or not.
pub fn at(repo: &Repo, path: &Path) -> Result<Option<Worktree>> {
    let wanted = resolve(path);
    // The directory's own word is enough where it has one.
    if let Some(git_dir) = admin_of(&wanted)
        && path_of(&git_dir).is_some_and(|back| resolve(&back) == wanted)
        && resolve(&git_dir).parent() == Some(repo.common_dir().join("worktrees").as_path())
    {
        return read(repo, wanted, git_dir).map(Some);
    }
    let dir = repo.common_dir().join("worktrees");
    let Ok(entries) = fs::read_dir(&dir) else {
        return Ok(None);
    };
    for entry in entries.flatten() {
        if path_of(&entry.path()).is_some_and(|found| resolve(&found) == wanted) {
            return read(repo, wanted, entry.path()).map(Some);
        }
    }
    Ok(None)
}

/// Finds the linked worktree that is locked for exactly this reason.
pub fn locked_as(repo: &Repo, reason: &str) -> Result<Option<Worktree>> {
    let Ok(entries) = fs::read_dir(repo.common_dir().join("worktrees")) else {
        return Ok(None);
    };
    for entry in entries.flatten() {
        let says = |lock: Vec<u8>| lock.trim() == reason.as_bytes();
        if fs::read(entry.path().join("locked")).is_ok_and(says)
            && let Some(path) = path_of(&entry.path())
        {
            return read(repo, path, entry.path()).map(Some);
        }
    }
    Ok(None)
}

fn read(repo: &Repo, path: PathBuf, git_dir: PathBuf) -> Result<Worktree> {
    let lock = fs::read(git_dir.join("locked"))
        .ok()
        .map(|why| String::from_utf8_lossy(&why).trim().to_owned());
    let exists = admin_of(&path).is_some_and(|found| resolve(&found) == resolve(&git_dir));
    let half_made = lock.as_deref() == Some("initializing") || !git_dir.join("commondir").exists();
    let head = if half_made {
        Head::Unknown
    } else {
        head(repo, &git_dir)?
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
    let dot_git = git_dir.join(OsStr::from_bytes(content.trim_end_with(|c| c == '\n')));
    dot_git.parent().map(Path::to_owned)
}

/// The administrative directory that a worktree names in its `.git` file.
fn admin_of(path: &Path) -> Option<PathBuf> {
    let content = fs::read(path.join(".git")).ok()?;
    let target = content.strip_prefix(b"gitdir: ")?.trim_end_with(|c| c == '\n');
    Some(path.join(OsStr::from_bytes(target)))
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
    let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    says("rebase-merge/head-name", branch)
        || says("rebase-apply/head-name", branch)
        || says("BISECT_START", short)
}

/// Makes a worktree by `git worktree add`, locked from its first moment.
pub fn add(repo: &Repo, add: &Add<'_>) -> Result<()> {
    let mut git = repo.git()?;
    if add.hooks == Hooks::Skip {
        git = repo.git_with(&[("core.hooksPath", "/dev/null")])?;
    }
    git = git.args(["worktree", "add", "--quiet", "--lock", "--reason", add.reason]);
    if add.files == Files::None {
        git = git.arg("--no-checkout");
    }
    git = match add.checkout {
        Checkout::NewBranch { name, .. } => git.args(["--no-track", "-b", name]),
        Checkout::Branch(_) => git,
        Checkout::Detached(_) => git.arg("--detach"),
    };
    git = git.arg("--end-of-options").arg(add.path);
    git = match add.checkout {
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

/// How long git holds the lock of a reference at most: one write.
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
    let Ok(seen) = lock.symlink_metadata() else {
        return Ok(());
    };
    let age = seen.modified().ok().and_then(|time| time.elapsed().ok());
    thread::sleep(ONE_WRITE.saturating_sub(age.unwrap_or_default()));
    match lock.symlink_metadata() {
        Ok(still) if (still.dev(), still.ino()) == (seen.dev(), seen.ino()) => {
            let aside = unused(trash, lock.file_name().unwrap_or_default());
            fs::rename(&lock, aside).map_err(Error::io(format!("cannot move '{}' away", lock.display())))
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

/// Drops the lock.
pub fn unlock(_repo: &Repo, worktree: &Worktree) -> Result<()> {
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
    if repo.ref_format() == RefFormat::Reftable {
        return repo
            .git_in(&worktree.git_dir)?
            .arg("--git-dir")
            .arg(&worktree.git_dir)
            .args(["update-ref", "--no-deref", "-m", WHY, "HEAD"])
            .arg(at.to_string())
            .run()
            .map(|_| ());
    }
    let old = match head(repo, &worktree.git_dir)? {
        Head::Detached(old) => old,
        Head::Branch(name) => match name.to_str().ok().map(|name| repo.refs().get(name)).transpose()? {
            Some(Some(Target::Object(old))) => old,
            _ => repo.object_hash().null(),
        },
        Head::Unknown => repo.object_hash().null(),
    };
    let path = worktree.git_dir.join("HEAD");
    let lock = worktree.git_dir.join("HEAD.lock");
    let io = || Error::io(format!("cannot write '{}'", path.display()));
    let mut file = match File::create_new(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let name = "HEAD".to_owned();
            return Err(Error::Locked { name, path: lock });
        }
        Err(error) => return Err(io()(error)),
    };
    let written = file
        .write_all(format!("{at}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| log_head(repo, worktree, old, at, WHY))
        .and_then(|()| fs::rename(&lock, &path));
    if written.is_err() {
        let _ = fs::remove_file(&lock);
    }
    written.map_err(io())
}

/// Adds an entry to HEAD's reflog, where there is one, as git does.
fn log_head(
    repo: &Repo,
    worktree: &Worktree,
    old: ObjectId,
    new: ObjectId,
    why: &str,
) -> std::io::Result<()> {
    let log = OpenOptions::new()
        .append(true)
        .open(worktree.git_dir.join("logs/HEAD"));
    let mut log = match log {
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

/// Removes a worktree: its directory into `trash` where that is on the same file system, so that it takes no time.
pub fn remove(_repo: &Repo, worktree: &Worktree, trash: &Path) -> Result<()> {
    if worktree.path.symlink_metadata().is_ok() {
        let aside = unused(trash, worktree.path.file_name().unwrap_or_default());
        match fs::rename(&worktree.path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                let io = Error::io(format!("cannot remove '{}'", worktree.path.display()));
                fs::remove_dir_all(&worktree.path).map_err(io)?;
            }
            Err(error) => {
                return Err(Error::io(format!(
                    "cannot move '{}' away",
                    worktree.path.display()
                ))(error));
            }
        }
    }
    match fs::remove_dir_all(&worktree.git_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(format!(
            "cannot remove '{}'",
            worktree.git_dir.display()
        ))(error)),
        _ => Ok(()),
    }
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
/// The caller knows that nothing of the worktree's processes is alive.
pub fn move_stale_locks(worktree: &Worktree, trash: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(&worktree.git_dir) else {
        return Ok(Vec::new());
    };
    let mut moved = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && path.extension() == Some(OsStr::new("lock"))
        {
            fs::rename(&path, unused(trash, &entry.file_name()))
                .map_err(Error::io(format!("cannot move '{}' away", path.display())))?;
            moved.push(path);
        }
    }
    Ok(moved)
}

/// Steps of a rebase that make a commit, as git calls them in reflog messages.
const STEPS: [&[u8]; 7] = [
    b"pick",
    b"reword",
    b"edit",
    b"squash",
    b"fixup",
    b"continue",
    b"merge",
];

/// Whether a commit was made here rather than moved to, by the message that git writes into the reflog: what was run,
/// perhaps a step in parentheses, a colon, and what came of it.
fn is_made(message: &BStr) -> bool {
    let (what, outcome) = message.split_once_str(": ").unwrap_or((message, b""));
    let verb = what.split(|byte| *byte == b' ').next().unwrap_or_default();
    let step = what
        .strip_suffix(b")")
        .and_then(|what| Some(what.rsplit_once_str(" (")?.1));
    match (verb, step) {
        (b"commit", _) => true,
        (b"rebase" | b"pull", Some(step)) => STEPS.contains(&step),
        (b"cherry-pick" | b"revert" | b"rebase", _) => what == verb && outcome != b"fast-forward",
        (b"am", _) => what == verb,
        (b"merge" | b"pull", _) => !outcome.starts_with(b"Fast-forward"),
        _ => false,
    }
}

/// The commits that were made in a worktree, oldest first, by the entries of its HEAD's reflog after the first `seen`;
/// with them the number of entries there are.
pub fn made_commits(repo: &Repo, worktree: &Worktree, seen: usize) -> Result<(Vec<ObjectId>, usize)> {
    let entries = head_log(repo, worktree)?;
    let count = entries.len();
    let mut made: Vec<ObjectId> = Vec::new();
    // A log that was cut is read from its beginning: a note that is there already isn't added again.
    let skip = if count < seen { 0 } else { seen };
    for (oid, message) in entries.into_iter().skip(skip) {
        let made_here = is_made(message.as_ref());
        if made_here && !oid.is_null() && !made.contains(&oid) && super::objects::exists(repo, oid) {
            made.push(oid);
        }
    }
    Ok((made, count))
}

/// The entries of the HEAD's reflog, oldest first: where it came to, and why.
fn head_log(repo: &Repo, worktree: &Worktree) -> Result<Vec<(ObjectId, BString)>> {
    if repo.ref_format() == RefFormat::Files {
        let Ok(content) = fs::read(worktree.git_dir.join("logs/HEAD")) else {
            return Ok(Vec::new());
        };
        let entry = |line: &[u8]| {
            let (fields, message) = line.split_once_str("\t").unwrap_or((line, b""));
            let oid = parse_oid(fields.split(|byte| *byte == b' ').nth(1)?)?;
            Some((oid, BString::from(message)))
        };
        return Ok(content.lines().filter_map(entry).collect());
    }
    let output = repo
        .git_in(&worktree.git_dir)?
        .arg("--git-dir")
        .arg(&worktree.git_dir)
        .args(["log", "--walk-reflogs", "--format=%H%x00%gs", "HEAD", "--"])
        .output()?;
    let entry = |line: &[u8]| {
        let (oid, message) = line.split_once_str("\0")?;
        Some((parse_oid(oid)?, BString::from(message)))
    };
    let mut entries: Vec<_> = output.stdout.lines().filter_map(entry).collect();
    entries.reverse();
    Ok(entries)
}
