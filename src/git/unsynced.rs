//! What was written and may be in memory alone, until something may be seen that builds on it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::{Error, Result};

/// Files and directories that are yet to be pressed to disk.
#[derive(Debug, Default)]
pub struct Unsynced {
    paths: Vec<PathBuf>,
}

impl Unsynced {
    /// Remembers one.
    pub fn add(&mut self, path: PathBuf) {
        self.paths.push(path);
    }

    /// Presses all of them to disk.
    pub fn sync(&self) -> Result<()> {
        match self.paths.split_first() {
            Some((first, others)) => at_once(|| one(first), others),
            None => Ok(()),
        }
    }

    /// Presses all of them to disk, and something else with them.
    pub fn sync_with(&self, other: impl FnOnce() -> io::Result<()>) -> Result<()> {
        at_once(
            || other().map_err(Error::io("cannot sync a reference")),
            &self.paths,
        )
    }
}

/// All at the same time: a file system with a journal writes it once for everybody who waits for that, and one without
/// writes them side by side.
fn at_once(here: impl FnOnce() -> Result<()>, others: &[PathBuf]) -> Result<()> {
    thread::scope(|scope| {
        let beside = |path| thread::Builder::new().spawn_scoped(scope, move || one(path));
        let others: Vec<_> = others.iter().map(|path| (path, beside(path))).collect();
        let mut done = here();
        for (path, thread) in others {
            // Where there is no thread to be had, this one does it.
            let synced = thread.ok().and_then(|thread| thread.join().ok());
            done = done.and(synced.unwrap_or_else(|| one(path)));
        }
        done
    })
}

fn one(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(format!("cannot sync '{}'", path.display())))
}
