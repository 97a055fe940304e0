//! The files backend, in process: loose files over `packed-refs`, with a compare-and-swap under git's own locks.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};
use gix::hash::Kind as Hash;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::packed::{PACKED, Packed, entry};
use super::spare::{self, Spare};
use super::{Expected, Outcome, Reference, Target};
use crate::git::repo::parse_oid;
use crate::git::unsynced::Unsynced;
use crate::git::{Durability, Error, Result};

/// What a lock of ours says, so that one that a killed process left is known for what it is.
pub(super) const MARKER: &[u8] = b"git-session: held by flock(2), stale when that is free\n";
/// How long a lock of others is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long another update of ours is waited for, which takes a moment unless its process is stopped.
const HELD_PATIENCE: Duration = Duration::from_secs(10);
/// How often directories that vanish under us are made again.
const TRIES: usize = 100;
/// The files that locks are names of, in the common directory.
pub(super) const HOLDER: &str = "git-session.refs";
const PACKED_HOLDER: &str = "git-session.packed-refs";
/// The beginning of the names of files that are about to become locks or references.
const TEMPORARY: &str = "tmp_ref_";

pub fn get(common: &Path, hash: Hash, name: &str) -> Result<Option<Target>> {
    match loose(&common.join(name), hash)? {
        Some(target) => Ok(Some(target)),
        // Read after the loose file: what is packed meanwhile is found here.
        None => Ok(Packed::read(common)?.find(name)),
    }
}

/// Lists what is below each of the prefixes.
pub fn list(common: &Path, hash: Hash, prefixes: &[&str]) -> Result<Vec<Vec<Reference>>> {
    let mut loose = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        let mut found = Vec::new();
        walk(
            &common.join(prefix),
            hash,
            prefix.trim_end_matches('/').as_bytes(),
            &mut found,
        )?;
        loose.push(found);
    }
    // As above.
    let packed = Packed::read(common)?;
    let both = prefixes.iter().zip(loose);
    Ok(both
        .map(|(prefix, loose)| merged(&packed, prefix, loose))
        .collect())
}

fn merged(packed: &Packed, prefix: &str, mut found: Vec<Reference>) -> Vec<Reference> {
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let mut all = Vec::with_capacity(found.len());
    let mut loose = found.into_iter().peekable();
    for reference in packed.starting_with(prefix) {
        while let Some(first) = loose.next_if(|first| first.name < reference.name) {
            all.push(first);
        }
        // A loose file counts before the packed one of its name.
        if loose.peek().is_none_or(|first| first.name != reference.name) {
            all.push(reference);
        }
    }
    all.extend(loose);
    all
}

fn walk(dir: &Path, hash: Hash, prefix: &[u8], found: &mut Vec<Reference>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(Error::io(format!("'{}'", dir.display()))(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io(format!("'{}'", dir.display())))?;
        let file = entry.file_name();
        if file.as_bytes().ends_with(b".lock") {
            continue;
        }
        let name: BString = [prefix, b"/", file.as_bytes()].concat().into();
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, hash, &name, found)?;
        } else if let Some(target) = loose(&path, hash)? {
            found.push(Reference { name, target });
        }
    }
    Ok(())
}

/// Reads a loose file; none if there is none.
pub(super) fn loose(path: &Path, hash: Hash) -> Result<Option<Target>> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::io(format!("'{}'", path.display()))(error)),
    };
    if let Some(name) = content.strip_prefix(b"ref:") {
        return Ok(Some(Target::Symbolic(name.trim().into())));
    }
    Ok(Some(match parse_oid(content.trim_end()) {
        Some(oid) if !oid.is_null() && oid.kind() == hash => Target::Object(oid),
        _ => Target::Broken,
    }))
}

pub fn update(
    common: &Path,
    hash: Hash,
    name: &str,
    new: Option<ObjectId>,
    expected: Expected,
    durability: Durability,
    before: &Unsynced,
) -> Result<Outcome> {
    let path = common.join(name);
    let lock = Lock::take(common, &path, name)?;
    let (old, actual) = match loose(&path, hash)? {
        Some(target) => (Old::Loose, Some(target)),
        None => (Old::Elsewhere, Packed::read(common)?.find(name)),
    };
    let as_expected = match (&actual, expected) {
        (None, Expected::Absent) => true,
        (Some(Target::Object(actual)), Expected::At(oid)) => *actual == oid,
        _ => false,
    };
    if !as_expected {
        return Ok(Outcome::Moved(match actual {
            Some(Target::Object(oid)) => Some(oid),
            _ => None,
        }));
    }
    match new {
        Some(new) => {
            if actual.is_none()
                && (path.is_dir() && !remove_empty_dirs(&path) || Packed::read(common)?.bars(name))
            {
                return Err(Error::RefConflict(name.to_owned()));
            }
            write(common, &path, new, old, lock.directories, durability, before)?;
        }
        None => {
            before.sync()?;
            remove(common, &path, name, durability)?;
            drop(lock);
            remove_empty_parents(common, &path);
        }
    }
    Ok(Outcome::Done)
}

/// Makes the HEAD of a worktree that commit itself, once `log` has said so, under the lock on it.
pub fn detach(common: &Path, head: &Path, at: ObjectId, log: impl FnOnce() -> Result<()>) -> Result<()> {
    let lock = Lock::take(common, head, "HEAD")?;
    log()?;
    let before = Unsynced::default();
    write(
        common,
        head,
        at,
        Old::Elsewhere,
        lock.directories,
        Durability::Durable,
        &before,
    )
}

fn write(
    common: &Path,
    path: &Path,
    new: ObjectId,
    old: Old,
    directories: Directories,
    durability: Durability,
    before: &Unsynced,
) -> Result<()> {
    let io = || Error::io(format!("cannot write '{}'", path.display()));
    let value = format!("{new}\n");
    if old == Old::Loose
        && let Some(spare) = Spare::write(common, path, value.as_bytes())
    {
        match durability {
            Durability::Durable => before.sync_with(|| spare.sync())?,
            Durability::Relaxed => before.sync()?,
        }
        if spare.exchange(path) {
            return sync_dirs(common, path, directories, durability);
        }
    }
    let mut temp = temporary(common)?;
    temp.write_all(value.as_bytes()).map_err(io())?;
    match durability {
        Durability::Durable => before.sync_with(|| temp.as_file().sync_all())?,
        Durability::Relaxed => before.sync()?,
    }
    if old == Old::Loose && spare::replace(common, temp.path(), path) {
        return sync_dirs(common, path, directories, durability);
    }
    if path.is_dir() {
        // Empty directories are left behind by references below that were packed or removed.
        remove_empty_dirs(path);
    }
    temp.persist(path).map_err(|error| io()(error.error))?;
    sync_dirs(common, path, directories, durability)
}

fn remove(common: &Path, path: &Path, name: &str, durability: Durability) -> Result<()> {
    let packed_path = common.join(PACKED);
    let _lock = Lock::take(common, &packed_path, PACKED)?;
    let packed = Packed::read(common)?;
    if packed.find(name).is_some() {
        let io = || Error::io(format!("cannot write '{}'", packed_path.display()));
        let mut temp = temporary(common)?;
        let mut skipping = false;
        for line in packed.content.lines_with_terminator() {
            match entry(line.trim_end_with(|c| c == '\n')) {
                Some((found, _)) => skipping = found == name.as_bytes(),
                // A peeled value goes with the reference before it.
                None if line.starts_with(b"^") => {}
                None => skipping = false,
            }
            if !skipping {
                temp.write_all(line).map_err(io())?;
            }
        }
        if durability == Durability::Durable {
            temp.as_file().sync_all().map_err(io())?;
        }
        temp.persist(&packed_path).map_err(|error| io()(error.error))?;
        sync_dirs(common, &packed_path, Directories::Old, durability)?;
    }
    match fs::remove_file(path) {
        // A packed one may have an empty directory in its loose place.
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
            return Err(Error::io(format!("cannot remove '{}'", path.display()))(error));
        }
        _ => sync_dirs(common, path, Directories::Old, durability)?,
    }
    // A log would be that of the next one of this name, and bar every one below it.
    let log = common.join("logs").join(name);
    match fs::remove_file(&log) {
        Ok(()) => remove_empty_parents(&common.join("logs"), &log),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
            ) => {}
        Err(error) => return Err(Error::io(format!("cannot remove '{}'", log.display()))(error)),
    }
    Ok(())
}

/// Removes the directories of a file that are empty now, but for the two uppermost, as git does.
fn remove_empty_parents(top: &Path, path: &Path) {
    let below = path
        .strip_prefix(top)
        .map_or(0, |below| below.components().count());
    for dir in path.ancestors().skip(1).take(below.saturating_sub(3)) {
        if fs::remove_dir(dir).is_err() {
            return;
        }
    }
}

/// Makes a name last that was written or removed in a directory, and that directory itself where it is new.
pub(super) fn sync_dirs(
    common: &Path,
    path: &Path,
    directories: Directories,
    durability: Durability,
) -> Result<()> {
    if durability == Durability::Relaxed {
        return Ok(());
    }
    let mut dir = path.parent();
    while let Some(at) = dir {
        match File::open(at).and_then(|dir| dir.sync_all()) {
            // A concurrent pack-refs may have removed a directory that is empty by now.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(format!("'{}'", at.display()))(error));
            }
            _ => {}
        }
        if at == common || directories == Directories::Old {
            return Ok(());
        }
        dir = at.parent();
    }
    Ok(())
}

/// Where a reference's value was before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Loose,
    Elsewhere,
}

/// Whether directories were made for a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directories {
    Old,
    New,
}

pub(super) fn temporary(common: &Path) -> Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(common)
        .map_err(Error::io(format!("cannot write to '{}'", common.display())))
}

pub(super) fn remove_empty_dirs(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || !remove_empty_dirs(&entry.path()) {
            return false;
        }
    }
    fs::remove_dir(dir).is_ok()
}

/// git's lock on a reference: a second name of one file of ours, whose `flock` is held as long as the lock is.
///
/// One file for all locks, which is never removed, spares the file system two new ones for each update. Whoever has
/// its `flock` knows that every lock that is a name of it was left by a process that was killed.
pub(super) struct Lock {
    path: PathBuf,
    directories: Directories,
    _held: File,
}

impl Lock {
    pub(super) fn take(common: &Path, path: &Path, name: &str) -> Result<Lock> {
        let lock = lock_of(path);
        let io = || Error::io(format!("cannot make '{}'", lock.display()));
        // The packed references are locked while a reference is, so they have a file of their own.
        let holder = common.join(if name == PACKED { PACKED_HOLDER } else { HOLDER });
        let start = Instant::now();
        let mut pause = Duration::from_micros(200);
        let mut tries = 0;
        let mut directories = Directories::Old;
        loop {
            let held = hold(common, &holder, name)?;
            match fs::hard_link(&holder, &lock) {
                Ok(()) => {
                    return Ok(Lock {
                        path: lock,
                        directories,
                        _held: held,
                    });
                }
                Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                    directories = Directories::New;
                    let parent = lock.parent().unwrap_or(common);
                    match fs::create_dir_all(parent) {
                        Err(error)
                            if matches!(
                                error.kind(),
                                ErrorKind::AlreadyExists | ErrorKind::NotADirectory
                            ) =>
                        {
                            return Err(Error::RefConflict(name.to_owned()));
                        }
                        // One on the way was removed from under us, since it was empty.
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Err(io()(error)),
                        Ok(()) => {}
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotADirectory => {
                    return Err(Error::RefConflict(name.to_owned()));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if is_same(&held, &lock) {
                        fs::remove_file(&lock).map_err(io())?;
                        sweep(common);
                        continue;
                    }
                    if start.elapsed() >= PATIENCE {
                        return Err(Error::Locked {
                            name: name.to_owned(),
                            path: lock,
                        });
                    }
                    // Others need not wait for a lock that is in the way of this reference alone.
                    drop(held);
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                Err(error) => return Err(io()(error)),
            }
        }
    }
}

/// The lock on the reference that is at a path.
fn lock_of(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    PathBuf::from(lock)
}

/// Takes the `flock` of the file that locks are names of; makes the file where it is missing.
pub(super) fn hold(common: &Path, holder: &Path, name: &str) -> Result<File> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    let io = || Error::io(format!("cannot lock '{}'", holder.display()));
    loop {
        match File::open(holder) {
            Ok(file) => {
                while let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    if !matches!(error, Errno::INTR | Errno::WOULDBLOCK) {
                        return Err(io()(error.into()));
                    }
                    if start.elapsed() >= HELD_PATIENCE {
                        return Err(Error::Locked {
                            name: name.to_owned(),
                            path: holder.to_owned(),
                        });
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(2));
                }
                // One that was removed by hand meanwhile keeps nobody away.
                if is_same(&file, holder) {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // It has its content from its first moment.
                let mut temp = temporary(common)?;
                temp.write_all(MARKER).map_err(io())?;
                match fs::hard_link(temp.path(), holder) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io()(error)),
                    _ => {}
                }
            }
            Err(error) => return Err(io()(error)),
        }
    }
}

/// Whether an open file is the one at a path.
fn is_same(file: &File, path: &Path) -> bool {
    let ids = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => ids(ours) == ids(there),
        _ => false,
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody else removes a lock whose flock is held, so this is still ours.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the lock that a killed process of ours left on the reference at a path.
pub fn unlock_after_crash(common: &Path, path: &Path) {
    let lock = lock_of(path);
    if lock.symlink_metadata().is_ok() {
        clear_stale(common, &lock);
    }
}

/// Removes a lock that a killed process of ours left; tells whether there is a reason to try again at once.
fn clear_stale(common: &Path, lock: &Path) -> bool {
    let file = match File::open(lock) {
        Ok(file) => file,
        // Gone, unless it is a link that leads nowhere.
        Err(_) => return lock.symlink_metadata().is_err(),
    };
    let ours = fs::read(lock).is_ok_and(|content| content == MARKER);
    if !ours || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    // Under its flock the name can't be taken away by another cleaner and made anew in between.
    if !is_same(&file, lock) {
        return true;
    }
    sweep(common);
    fs::remove_file(lock).is_ok()
}

/// Removes temporary files that killed processes left.
fn sweep(common: &Path) {
    let Ok(entries) = fs::read_dir(common) else { return };
    for entry in entries.flatten() {
        let old = entry.metadata().is_ok_and(|meta| {
            meta.modified()
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(3600)))
        });
        if old && entry.file_name().as_bytes().starts_with(TEMPORARY.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
