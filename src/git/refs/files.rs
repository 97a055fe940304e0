//! The files backend, in process: loose files over `packed-refs`, with a compare-and-swap under git's own locks.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};
use gix::hash::Kind as Hash;
use rustix::io::Errno;

use super::lock::{Directories, Lock};
use super::packed::{PACKED, Packed, entry};
use super::spare::{self, Spare};
use super::temporary::temporary;
use super::{Expected, Outcome, Reference, Target};
use crate::git::repo::parse_oid;
use crate::git::unsynced::Unsynced;
use crate::git::{Durability, Error, Result};

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
        } else if let Some(target) = loose_in_list(&path, hash)? {
            found.push(Reference { name, target });
        }
    }
    Ok(())
}

/// As [`loose`], where one that nobody can read, as a link to itself, is broken like one that says nothing: it hides no
/// other.
fn loose_in_list(path: &Path, hash: Hash) -> Result<Option<Target>> {
    let closed = [Errno::LOOP, Errno::ACCESS].map(|errno| Some(errno.raw_os_error()));
    match loose(path, hash) {
        Err(Error::Io { source, .. }) if closed.contains(&source.raw_os_error()) => Ok(Some(Target::Broken)),
        read => read,
    }
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
        before.sync()?;
        if durability == Durability::Durable {
            spare.sync().map_err(io())?;
        }
        if spare.exchange(path) {
            return sync_dirs(common, path, directories, durability);
        }
    }
    let mut temp = temporary(common)?;
    temp.write_all(value.as_bytes()).map_err(io())?;
    before.sync()?;
    if durability == Durability::Durable {
        temp.as_file().sync_all().map_err(io())?;
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
