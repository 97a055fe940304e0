//! A directory stored whole, as a tree, whatever is in it: names that git keeps for itself are escaped.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::tree::{Entry, EntryKind};
use gix::objs::{Kind, WriteTo};

use super::Unsaved;
use super::manifest::{Name, Odd};
use super::walk::{join, odd_mode, special, umask};
use crate::git::batch::{Batch, FileError};
use crate::git::objects::{self, Object};
use crate::git::{Error, Repo, Result};

/// What a directory became.
#[derive(Debug)]
pub struct Stored {
    /// None if the directory is empty, or isn't there.
    pub tree: Option<ObjectId>,
    pub odd: Odd,
    pub unsaved: Vec<Unsaved>,
}

/// Stores a directory; `takes` says which of its paths (relative to it) are wanted.
pub fn store(batch: &mut Batch<'_>, root: &Path, takes: &dyn Fn(&BStr) -> bool) -> Result<Stored> {
    let mut stored = Stored {
        tree: None,
        odd: Odd::default(),
        unsaved: Vec::new(),
    };
    if root.is_dir() {
        stored.tree = directory(
            batch,
            root,
            BStr::new(""),
            takes,
            &mut stored.odd,
            &mut stored.unsaved,
        )?;
    }
    stored.odd.sort();
    Ok(stored)
}

fn directory(
    batch: &mut Batch<'_>,
    at: &Path,
    path: &BStr,
    takes: &dyn Fn(&BStr) -> bool,
    odd: &mut Odd,
    unsaved: &mut Vec<Unsaved>,
) -> Result<Option<ObjectId>> {
    let mut entries = Vec::new();
    let found = match fs::read_dir(at) {
        Ok(found) => found,
        Err(error) => {
            unsaved.push(Unsaved::new(path, error));
            return Ok(None);
        }
    };
    let mut empty = true;
    for entry in found {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                unsaved.push(Unsaved::new(path, error));
                break;
            }
        };
        let file = entry.file_name();
        let inner = join(path, file.as_bytes());
        if !takes(inner.as_ref()) {
            continue;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // One that is gone by now was not there.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                unsaved.push(Unsaved::new(inner, error));
                continue;
            }
        };
        empty = false;
        if let Some(what) = special(meta.mode()) {
            unsaved.push(Unsaved::new(inner, format!("a {what} can't be stored")));
            continue;
        }
        let oid = if meta.is_dir() {
            directory(batch, &entry.path(), inner.as_ref(), takes, odd, unsaved)?
                .map(|oid| (EntryKind::Tree, oid))
        } else {
            file_entry(batch, &entry.path(), inner.as_ref(), unsaved)?
        };
        if let Some(mode) = odd_mode(meta.mode(), umask()) {
            odd.modes
                .entry(format!("{mode:04o}"))
                .or_default()
                .push(Name(inner));
        }
        if let Some((kind, oid)) = oid {
            entries.push(Entry {
                mode: kind.into(),
                filename: escape(file.as_bytes()),
                oid,
            });
        }
    }
    if empty && !path.is_empty() {
        odd.empty_directories.push(Name(path.into()));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    write_tree(batch, entries).map(Some)
}

/// Writes a tree of entries in any order.
pub fn write_tree(batch: &mut Batch<'_>, mut entries: Vec<Entry>) -> Result<ObjectId> {
    entries.sort();
    let mut data = Vec::new();
    gix::objs::Tree { entries }
        .write_to(&mut data)
        .map_err(Error::io("cannot make a tree"))?;
    batch.add(Object {
        kind: Kind::Tree,
        data,
    })
}

/// Adds a file or symbolic link as it is; one that can't be read is named.
///
/// What is neither is nothing, and not opened: a FIFO would keep its reader waiting.
pub fn file_entry(
    batch: &mut Batch<'_>,
    at: &Path,
    path: &BStr,
    unsaved: &mut Vec<Unsaved>,
) -> Result<Option<(EntryKind, ObjectId)>> {
    let mut read = || -> std::result::Result<Option<(EntryKind, ObjectId)>, FileError> {
        let meta = at.symlink_metadata().map_err(FileError::Read)?;
        if meta.is_symlink() {
            let target = fs::read_link(at).map_err(FileError::Read)?;
            let blob = Object::blob(target.as_os_str().as_bytes().to_vec());
            return Ok(Some((EntryKind::Link, batch.add(blob).map_err(FileError::Git)?)));
        }
        if !meta.is_file() {
            return Ok(None);
        }
        let kind = if meta.mode() & 0o100 != 0 {
            EntryKind::BlobExecutable
        } else {
            EntryKind::Blob
        };
        let mut file = File::open(at).map_err(FileError::Read)?;
        Ok(Some((kind, batch.add_file(&mut file)?)))
    };
    match read() {
        Ok(entry) => Ok(entry),
        Err(FileError::Read(error)) => {
            unsaved.push(Unsaved::new(path, error));
            Ok(None)
        }
        Err(FileError::Git(error)) => Err(error),
    }
}

/// A name that a tree may hold: what git, or a file system, could take for `.git` or a file of git's is marked.
fn escape(name: &[u8]) -> BString {
    if name.starts_with(b"%") || is_gits(name) {
        [b"%", name].concat().into()
    } else {
        name.into()
    }
}

/// The name that a tree's entry stands for.
pub fn unescape(name: &BStr) -> &BStr {
    name.strip_prefix(b"%").unwrap_or(name).as_bstr()
}

/// Whether a name is one of git's, also as case-folding file systems and those that drop characters see it.
///
/// The rules are those of `git fsck` (`hasDotgit`); a few names more than these are marked, which costs nothing.
fn is_gits(name: &[u8]) -> bool {
    let plain: Vec<u8> = name
        .iter()
        .filter(|byte| byte.is_ascii())
        .map(u8::to_ascii_lowercase)
        .collect();
    plain.starts_with(b".git") || plain.starts_with(b"git~") || matches!(name, b"." | b"..")
}

/// Names that `git fsck` refuses in a tree; those of git's own files, like `.gitignore`, are none of them.
pub fn is_reserved(name: &BStr) -> bool {
    let plain: Vec<u8> = name
        .iter()
        .filter(|byte| byte.is_ascii())
        .map(u8::to_ascii_lowercase)
        .collect();
    let bare = plain.trim_end_with(|c| c == ' ' || c == '.');
    let cut = bare.split(|byte| *byte == b':').next().unwrap_or_default();
    is_gits(name) && (cut == b".git" || cut == b"git~1" || matches!(name.as_bytes(), b"." | b".."))
}

/// Writes a stored directory out below `root`, which is made; what is there of the same name is replaced.
///
/// `takes` says what may be written: a work commit may come from anybody.
pub fn unstore(
    repo: &Repo,
    tree: Option<ObjectId>,
    odd: &Odd,
    root: &Path,
    takes: Takes,
) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    if root.is_symlink() {
        return Ok(vec![Unsaved::new(
            root.as_os_str().as_bytes(),
            "a symbolic link is in its place",
        )]);
    }
    fs::create_dir_all(root).map_err(Error::io(format!("cannot make '{}'", root.display())))?;
    if let Some(tree) = tree {
        write_out(repo, tree, root, BStr::new(""), takes, &mut lost)?;
    }
    lost.extend(apply(odd, root, Within::Stored));
    Ok(lost)
}

/// Whether a path with something of that kind is wanted.
pub type Takes<'a> = &'a dyn Fn(&BStr, EntryKind) -> bool;

fn write_out(
    repo: &Repo,
    tree: ObjectId,
    at: &Path,
    path: &BStr,
    takes: Takes,
    lost: &mut Vec<Unsaved>,
) -> Result<()> {
    for entry in objects::tree(repo, tree)?.entries {
        let name = unescape(entry.filename.as_bstr());
        let inner = join(path, name);
        // A tree from elsewhere must not lead out of the directory.
        if name.is_empty()
            || name.contains(&b'/')
            || name.contains(&0)
            || matches!(name.as_bytes(), b"." | b"..")
        {
            lost.push(Unsaved::new(inner, "an illegal name"));
            continue;
        }
        if !takes(inner.as_ref(), entry.mode.kind()) {
            lost.push(Unsaved::new(inner, "it has no place there"));
            continue;
        }
        let place = at.join(std::ffi::OsStr::from_bytes(name));
        match entry.mode.kind() {
            EntryKind::Tree => {
                let made = match place.symlink_metadata() {
                    Ok(meta) if meta.is_dir() => Ok(()),
                    Ok(_) => fs::remove_file(&place).and_then(|()| fs::create_dir(&place)),
                    Err(_) => fs::create_dir(&place),
                };
                match made {
                    Ok(()) => write_out(repo, entry.oid, &place, inner.as_ref(), takes, lost)?,
                    Err(error) => lost.push(Unsaved::new(inner, error)),
                }
            }
            EntryKind::Commit => lost.push(Unsaved::new(inner, "a submodule")),
            kind => {
                let data = objects::read(repo, entry.oid)?.data;
                if let Err(error) = write_file(&place, kind, &data) {
                    lost.push(Unsaved::new(inner, error));
                }
            }
        }
    }
    Ok(())
}

/// Writes a file, program or symbolic link in the place of whatever file is there.
pub fn write_file(place: &Path, kind: EntryKind, data: &[u8]) -> std::io::Result<()> {
    if let Ok(meta) = place.symlink_metadata() {
        if meta.is_dir() {
            fs::remove_dir(place)?;
        } else {
            fs::remove_file(place)?;
        }
    }
    if kind == EntryKind::Link {
        return std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(data), place);
    }
    // What was removed just now can't be a link any more, and a new one is refused.
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(place)?;
    std::io::Write::write_all(&mut file, data)?;
    if kind == EntryKind::BlobExecutable {
        file.set_permissions(fs::Permissions::from_mode(0o777 & !umask()))?;
    }
    Ok(())
}

/// Makes empty directories and sets odd permissions, the deepest first, so that a directory that is closed is closed
/// last.
pub fn apply(odd: &Odd, root: &Path, within: Within) -> Vec<Unsaved> {
    let mut lost = Vec::new();
    for Name(path) in &odd.empty_directories {
        let made = contained(root, path.as_ref(), within).and_then(fs::create_dir_all);
        if let Err(error) = made {
            lost.push(Unsaved::new(path.clone(), error));
        }
    }
    let mut modes: Vec<(&BString, u32)> = Vec::new();
    for (mode, paths) in &odd.modes {
        let Ok(mode) = u32::from_str_radix(mode, 8) else {
            continue;
        };
        modes.extend(paths.iter().map(|Name(path)| (path, mode & 0o7777)));
    }
    modes.sort_by(|a, b| b.0.cmp(a.0));
    for (path, mode) in modes {
        let set = contained(root, path.as_ref(), within).and_then(|place| {
            if place.symlink_metadata()?.is_symlink() {
                return Err(std::io::Error::other("it is a symbolic link"));
            }
            fs::set_permissions(place, fs::Permissions::from_mode(mode))
        });
        if let Err(error) = set {
            lost.push(Unsaved::new(path.clone(), error));
        }
    }
    lost
}

/// What a path is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// A worktree, whose `.git` is not for snapshots to write.
    Worktree,
    /// A directory that is stored whole.
    Stored,
}

/// Where a relative path is, if none of its parts leads elsewhere: no `..`, nothing absolute, no link on the way.
pub fn contained(root: &Path, path: &BStr, within: Within) -> std::io::Result<std::path::PathBuf> {
    let mut place = root.to_owned();
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() || matches!(part, b"." | b"..") || part.contains(&0) {
            return Err(std::io::Error::other("it leads out of the worktree"));
        }
        if within == Within::Worktree && is_reserved(part.as_bstr()) {
            return Err(std::io::Error::other("its name is one that git keeps for itself"));
        }
        place.push(std::ffi::OsStr::from_bytes(part));
        if parts.peek().is_some() && place.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return Err(std::io::Error::other("a symbolic link is in the way"));
        }
    }
    Ok(place)
}
