//! The packs that are ours: known by name, cleaned up behind the dead, and merged when there are many.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::objects::sync;
use super::{Durability, Error, Repo, Result};

/// What a `.keep` of ours says.
pub(super) const KEEP: &[u8] = b"git-session: kept until the snapshot is published\n";
/// The beginning of the name of a pack that is being written. Not `tmp_`: such files are taken away by `git prune`.
pub(super) const TEMPORARY: &str = "git-session_pack_";
/// How many small packs of ours are merged; `git gc --auto` begins at 50 of anybody's.
const MANY: usize = 16;
/// Packs from this size on are left alone.
const LARGE: u64 = 32 << 20;

/// Where the packs that are ours are known by empty files of their names. Beside the packs, git would take such files
/// for garbage.
fn marks(repo: &Repo) -> PathBuf {
    repo.local_dir().join("packs")
}

pub(super) fn mark(repo: &Repo, name: &str) -> Result<()> {
    let dir = marks(repo);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.and_then(|()| File::create(dir.join(name)))
        .map(|_| ())
        .map_err(Error::io(format!("cannot write to '{}'", dir.display())))
}

/// Cleans up behind killed processes of ours, and merges our small packs once there are many.
///
/// Neither has to succeed: the next one tries again.
pub fn tidy(repo: &Repo, durability: Durability) {
    let dir = repo.common_dir().join("objects/pack");
    remove_leftovers(&dir);
    let mut small: Vec<String> = Vec::new();
    let Ok(marks) = fs::read_dir(marks(repo)) else {
        return;
    };
    for mark in marks.flatten() {
        let name = mark.file_name().to_string_lossy().into_owned();
        if !name.starts_with("pack-") {
            continue;
        }
        match fs::metadata(dir.join(format!("{name}.pack"))) {
            Ok(meta) if meta.len() < LARGE && !dir.join(format!("{name}.keep")).exists() => small.push(name),
            Ok(_) => {}
            Err(_) => drop(fs::remove_file(mark.path())),
        }
    }
    // A collection that is at work reads the packs that it found when it began.
    if small.len() >= MANY && !collector(repo).exists() {
        let _ = merge(repo, &dir, &small, durability);
    }
}

/// The file that says that a garbage collection is at work.
pub fn collector(repo: &Repo) -> PathBuf {
    repo.common_dir().join("gc.pid")
}

/// Makes one pack of several, and removes these only when it is there, and on disk.
fn merge(repo: &Repo, dir: &Path, names: &[String], durability: Durability) -> Result<()> {
    let lock = marks(repo).join("lock");
    let lock = File::create(&lock).map_err(Error::io(format!("'{}'", lock.display())))?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let input: String = names.iter().map(|name| format!("{name}.pack\n")).collect();
    // If a collection takes one of the packs away meanwhile, git says so and nothing is changed.
    let output = repo
        .git()?
        .args(["pack-objects", "--quiet", "--stdin-packs"])
        .arg(dir.join("pack"))
        .input(input)
        .run()?;
    let merged = format!("pack-{}", String::from_utf8_lossy(&output).trim());
    if !dir.join(format!("{merged}.idx")).exists() {
        return Ok(());
    }
    mark(repo, &merged)?;
    if durability == Durability::Durable {
        // git does so for the files unless it is told not to, and for their names never.
        for extension in ["pack", "idx"] {
            sync(&dir.join(format!("{merged}.{extension}")))?;
        }
        sync(dir)?;
    }
    if collector(repo).exists() {
        return Ok(());
    }
    for name in names.iter().filter(|name| **name != merged) {
        // The index first: without it git doesn't see the pack.
        for extension in ["idx", "pack", "rev"] {
            let _ = fs::remove_file(dir.join(format!("{name}.{extension}")));
        }
        let _ = fs::remove_file(marks(repo).join(name));
    }
    Ok(())
}

/// Removes `.keep` files and unfinished packs that killed processes of ours left, once they are an hour old.
fn remove_leftovers(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_keep = path.extension().is_some_and(|extension| extension == "keep");
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let old = || {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 3600))
        };
        let ours = || is_unfinished || fs::read(&path).is_ok_and(|content| content == KEEP);
        if (is_keep || is_unfinished) && old() && ours() {
            let _ = fs::remove_file(path);
        }
    }
}
