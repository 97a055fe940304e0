//! What was written and may be in memory alone, until something may be seen that builds on it.

use std::fs::File;
use std::path::{Path, PathBuf};

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

    /// Presses all of them to disk, one after the other: a file system with a journal writes it for the first of them,
    /// and a thread for each would take longer to make than the others then wait.
    pub fn sync(&self) -> Result<()> {
        self.paths.iter().try_for_each(|path| one(path))
    }
}

fn one(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(format!("cannot sync '{}'", path.display())))
}
