//! git's own locks on references, so that one that a killed process of ours left is known for what it is.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::packed::PACKED;
use super::temporary::{sweep, temporary};
use crate::git::{Error, Result};

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
pub(super) const HOLDERS: [&str; 2] = [HOLDER, PACKED_HOLDER];

/// Whether directories were made for a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directories {
    Old,
    New,
}

/// git's lock on a reference: a second name of one file of ours, whose `flock` is held as long as the lock is.
///
/// One file for all locks, which is never removed, spares the file system two new ones for each update. Whoever has
/// its `flock` knows that every lock that is a name of it was left by a process that was killed.
pub(super) struct Lock {
    path: PathBuf,
    pub(super) directories: Directories,
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

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody else removes a lock whose flock is held, so this is still ours.
        let _ = fs::remove_file(&self.path);
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
