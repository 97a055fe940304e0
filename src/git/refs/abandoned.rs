//! The lock on all references of a reftable, where the git that made it is dead.
//!
//! git has this file open from making it to replacing the table of contents with it. One that stays as it is, is ours,
//! and that no process has open will never be used by anybody.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::opened::{Opened, opened};
use crate::git::Repo;
use crate::git::repo::RefFormat;

/// How long a lock has to stay as it is: git writes some file names and is done.
const STAY: Duration = Duration::from_secs(2);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A look at the lock, again and again, by who waits for it.
#[derive(Default)]
pub(super) struct Watch {
    seen: Option<(Metadata, Instant)>,
}

impl Watch {
    /// Looks once more; removes the lock if it has been the same for two seconds and nobody can need it.
    ///
    /// In doubt it stays: who needs it then is told its name. Gives whether it is there as it was.
    pub(super) fn look(&mut self, lock: &Path) -> bool {
        match &self.seen {
            Some((seen, since)) if is(lock, seen) => {
                if since.elapsed() >= STAY {
                    remove(lock, seen);
                }
                true
            }
            _ => {
                self.seen = look(lock).map(|seen| (seen, Instant::now()));
                false
            }
        }
    }
}

/// The lock of a repository's references.
pub fn lock(repo: &Repo) -> PathBuf {
    repo.common_dir().join("reftable/tables.list.lock")
}

/// Waits a moment for whoever has the lock, and removes it if nobody can need it any more; does nothing where there is
/// none.
pub fn clear(repo: &Repo) {
    if repo.ref_format() != RefFormat::Reftable {
        return;
    }
    let lock = lock(repo);
    let mut watch = Watch::default();
    let start = Instant::now();
    watch.look(&lock);
    while watch.seen.is_some() && start.elapsed() <= STAY {
        thread::sleep(LOOK);
        if !watch.look(&lock) {
            return;
        }
    }
}

/// Whether the lock is there, and nobody can need it any more.
pub(super) fn is_abandoned(lock: &Path) -> bool {
    let dir = lock.parent().and_then(|dir| File::open(dir).ok());
    let stays = |seen: &Metadata| {
        let written = seen.modified().ok().and_then(|at| at.elapsed().ok());
        written.is_some_and(|age| age >= STAY)
    };
    let seen = look(lock).filter(stays);
    dir.zip(seen)
        .is_some_and(|(dir, seen)| is_nobodys(lock, &seen, &dir))
}

/// One of ours at a time, so that none takes the lock of somebody who came after it was removed.
fn remove(lock: &Path, seen: &Metadata) -> Option<()> {
    let dir = File::open(lock.parent()?).ok()?;
    rustix::fs::flock(&dir, FlockOperation::LockExclusive).ok()?;
    if is(lock, seen) && is_nobodys(lock, seen, &dir) && is(lock, seen) {
        fs::remove_file(lock).ok()?;
    }
    Some(())
}

/// Another user's processes can be looked at by root alone.
fn is_nobodys(lock: &Path, seen: &Metadata, dir: &File) -> bool {
    let own = rustix::process::geteuid().as_raw();
    (seen.uid() == own || own == 0) && opened(lock, seen.ino(), dir) == Opened::ByNobody
}

fn look(path: &Path) -> Option<Metadata> {
    path.symlink_metadata().ok().filter(Metadata::is_file)
}

/// Whether it is that file, and nobody has written to it.
fn is(path: &Path, seen: &Metadata) -> bool {
    let key = |meta: &Metadata| {
        (
            meta.dev(),
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.len(),
        )
    };
    look(path).is_some_and(|now| key(&now) == key(seen))
}
