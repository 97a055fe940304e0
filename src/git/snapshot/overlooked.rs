//! Files that git takes for unmodified by what it compares of their times, which is whole seconds as a rule and less
//! where it is told so, and that are not.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gix::bstr::{BStr, BString, ByteSlice};
use gix::index::entry::stat::{Options, Time};
use gix::index::entry::{Mode, Stage, Stat};
use gix::index::{Entry, File};
use rustix::fs::{AtFlags, CWD, statat};

use super::status::Status;
use super::walk::place;
use crate::git::objects::{self, Object};
use crate::git::repo::parse_oid;
use crate::git::{Repo, Result};

/// All that an index knows of a file, each part of which counts.
pub const STRICT: Options = Options {
    trust_ctime: true,
    check_stat: true,
    use_nsec: true,
    use_stdev: false,
};

/// What an index would say of a file: it has no more than 32 bits of each.
pub fn stat_of(meta: &rustix::fs::Stat) -> Stat {
    let time = |secs, nsecs| Time {
        secs: secs as u32,
        nsecs: nsecs as u32,
    };
    Stat {
        mtime: time(meta.st_mtime, meta.st_mtime_nsec),
        ctime: time(meta.st_ctime, meta.st_ctime_nsec),
        dev: 0,
        ino: meta.st_ino as u32,
        uid: meta.st_uid,
        gid: meta.st_gid,
        size: meta.st_size as u32,
    }
}

/// Finds them among these entries of an index.
pub fn overlooked<'a>(
    repo: &Repo,
    worktree: &Path,
    index: &'a File,
    status: &Status,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<BString> {
    let told = status.tracked.iter().filter(|file| file.unstaged);
    let told: HashSet<&BStr> = told.map(|file| file.path.as_ref()).collect();
    let mut other = Vec::new();
    for entry in entries {
        let path = entry.path(index);
        let is_file = matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE | Mode::SYMLINK);
        if is_file
            && entry.stage() == Stage::Unconflicted
            && !told.contains(path)
            && let Ok(meta) = statat(CWD, place(worktree, path), AtFlags::SYMLINK_NOFOLLOW)
            && !entry.stat.matches(&stat_of(&meta), STRICT)
            && !has_content(repo, worktree, path, entry)
        {
            other.push((path, entry.id));
        }
    }
    // What a filter or line endings made of it may still be what is in the index.
    let paths: Vec<&[u8]> = other.iter().map(|(path, _)| path.as_bytes()).collect();
    let cleaned = cleaned(repo, worktree, &paths).unwrap_or_default();
    let is_same = |at: usize, id: &gix::ObjectId| cleaned.get(at) == Some(&Some(*id));
    let changed = other.iter().enumerate().filter(|(at, (_, id))| !is_same(*at, id));
    changed.map(|(_, (path, _))| (*path).to_owned()).collect()
}

/// Whether a file has just what the index says.
fn has_content(repo: &Repo, worktree: &Path, path: &BStr, entry: &Entry) -> bool {
    let at = place(worktree, path);
    let Ok(meta) = at.symlink_metadata() else {
        return true;
    };
    let content = match meta.is_symlink() {
        true => std::fs::read_link(&at).map(|target| target.as_os_str().as_bytes().to_vec()),
        false if !meta.is_file() => return true,
        false => std::fs::read(&at),
    };
    content.is_ok_and(|content| objects::id_of(repo, &Object::blob(content)).is_ok_and(|id| id == entry.id))
}

/// What git would store of each.
fn cleaned(repo: &Repo, worktree: &Path, paths: &[&[u8]]) -> Result<Vec<Option<gix::ObjectId>>> {
    if paths.is_empty()
        || paths
            .iter()
            .any(|path| path.contains(&b'\n') || path.starts_with(b"\""))
    {
        return Ok(Vec::new());
    }
    let asked = repo.git_in(worktree)?.ending_with_us();
    let asked = asked.args(["hash-object", "--stdin-paths"]);
    let told = asked.input(paths.join(&b"\n"[..])).run()?;
    Ok(told.lines().map(parse_oid).collect())
}
