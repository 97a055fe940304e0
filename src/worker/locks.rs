//! Lock files that a job's processes have open when they are ended: who is killed can't remove them any more, and others
//! would wait for them for ever.
//!
//! What the system doesn't tell of open files, as in the POSIX form, is left where it is.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    handle::{Handle, Sent},
    platform::{Platform, PlatformError, State},
    signal::Signal,
};

/// How long processes may take to stand still before they are looked at as they are.
const PATIENCE: Duration = Duration::from_millis(100);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// Where lock files of a job's processes may be.
#[derive(Debug, Clone)]
pub struct Locks {
    /// Files in it, and in what is below, whose names end with `.lock`.
    pub below: PathBuf,
    /// What is in this directory means something to others.
    pub but_for: PathBuf,
    /// Where they go: a directory on the same file system.
    pub trash: PathBuf,
}

/// A lock file that a process had open.
pub(super) struct Held {
    path: PathBuf,
    /// Keeps its inode from becoming another file's.
    file: File,
}

impl Locks {
    /// What each of these has open, as they stand still; they are stopped for it, and stay so.
    pub(super) fn held(&self, platform: Platform, handles: &[&Handle]) -> Result<Vec<Held>, PlatformError> {
        let Some((below, but_for)) = real(&self.below).zip(real(&self.but_for)) else {
            return Ok(Vec::new());
        };
        stand_still(platform, handles)?;
        let pids = handles.iter().map(|handle| handle.process.id.pid);
        let files = pids.flat_map(|pid| {
            platform.open_files(pid, &|path| {
                path.extension().is_some_and(|end| end == "lock")
                    && path.starts_with(&below)
                    && !path.starts_with(&but_for)
            })
        });
        Ok(files.map(|(path, file)| Held { path, file }).collect())
    }

    /// Moves away those of the dead that are still what they had open. One that can't be moved is met, and named, by
    /// whoever needs it next.
    pub(super) fn move_left(&self, held: &[Held]) {
        for Held { path, file } in held {
            let Ok(was) = file.metadata() else { continue };
            let is_it = |is: fs::Metadata| (is.dev(), is.ino()) == (was.dev(), was.ino());
            if path.symlink_metadata().is_ok_and(is_it) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let _ = fs::rename(path, self.trash.join(format!("{name}.{}", was.ino())));
            }
        }
    }
}

/// The name by which the system has a directory.
fn real(dir: &Path) -> Option<PathBuf> {
    dir.canonicalize().ok()
}

/// Stops each, and returns when all stand still or have had the time for it.
fn stand_still(platform: Platform, handles: &[&Handle]) -> Result<(), PlatformError> {
    let start = Instant::now();
    let mut moving = Vec::new();
    for handle in handles {
        if handle.send(Signal::STOP)? == Sent::Delivered {
            moving.push(handle.process.id.pid);
        }
    }
    while !moving.is_empty() && start.elapsed() < PATIENCE {
        let mut still = Vec::new();
        for pid in moving {
            let entry = platform.entry(pid)?;
            if entry.is_some_and(|entry| entry.state == State::Moving) {
                still.push(pid);
            }
        }
        moving = still;
        if !moving.is_empty() {
            thread::sleep(LOOK);
        }
    }
    Ok(())
}
