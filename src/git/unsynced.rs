//! What was written and may be in memory alone, until something may be seen that builds on it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::{Error, Result};

/// Files and directories that are yet to be pressed to disk.
#[derive(Debug, Default)]
pub struct Unsynced {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Unsynced {
    /// Remembers a file.
    pub fn add_file(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// Remembers a directory.
    pub fn add_directory(&mut self, path: PathBuf) {
        self.directories.push(path);
    }

    /// Presses all of them to disk.
    pub fn sync(&self) -> Result<()> {
        match self.files.split_first() {
            Some((first, others)) => at_once(|| self.sync_first(first), others, one),
            None => self.sync_directories(),
        }
    }

    /// Presses all of them to disk, and something else with them.
    pub fn sync_with(&self, other: impl FnOnce() -> io::Result<()>) -> Result<()> {
        if self.files.is_empty() {
            self.sync_directories()?;
        }
        let first = self.files.first();
        at_once(
            || other().map_err(Error::io("cannot sync a reference")),
            &self.files,
            |path| match Some(path) == first.map(PathBuf::as_path) {
                true => self.sync_first(path),
                false => one(path),
            },
        )
    }

    /// A file, and the directories: with a file that was made in one of them they are on disk as a rule.
    fn sync_first(&self, file: &Path) -> Result<()> {
        one(file)?;
        self.sync_directories()
    }

    fn sync_directories(&self) -> Result<()> {
        self.directories.iter().try_for_each(|path| one(path))
    }
}

/// All at the same time: a file system with a journal writes it once for everybody who waits for that.
fn at_once(
    here: impl FnOnce() -> Result<()>,
    paths: &[PathBuf],
    sync: impl Fn(&Path) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let sync = &sync;
        let beside = |path| thread::Builder::new().spawn_scoped(scope, move || sync(path));
        let others: Vec<_> = paths.iter().map(|path| (path, beside(path))).collect();
        let mut done = here();
        for (path, thread) in others {
            // Where there is no thread to be had, this one does it.
            let synced = thread.ok().and_then(|thread| thread.join().ok());
            done = done.and(synced.unwrap_or_else(|| sync(path)));
        }
        done
    })
}

fn one(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(format!("cannot sync '{}'", path.display())))
}
