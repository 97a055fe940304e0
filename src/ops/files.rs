//! Files and directories of ours: written whole or not at all, and read by nobody else.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Error, Result};
use crate::git::Durability;

/// Reads a record; none where there is none, or nothing of it.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let json = match fs::read(path) {
        // A power cut leaves empty, or full of zeros, what had not reached the disk.
        Ok(json) if json.iter().all(|byte| *byte == 0) => return Ok(None),
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("'{}'", path.display()))(error)),
    };
    let bad = |error: serde_json::Error| Error::BadRecord {
        path: path.to_owned(),
        why: error.to_string(),
    };
    serde_json::from_slice(&json).map(Some).map_err(bad)
}

/// Writes a record, as [`write_atomically`] does.
pub fn write_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let json = serde_json::to_vec(value).map_err(|error| Error::BadRecord {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    write_atomically(path, &json, durability)
}

/// Replaces a file, mode 0600: a process that is killed leaves the old one or the new one, and so does a machine that
/// loses power where it is durable.
pub fn write_atomically(path: &Path, content: &[u8], durability: Durability) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut temp = tempfile::NamedTempFile::new_in(dir)?;
        temp.write_all(content)?;
        if durability == Durability::Durable {
            temp.as_file().sync_all()?;
        }
        temp.persist(path).map_err(|error| error.error)?;
        match durability {
            Durability::Durable => File::open(dir)?.sync_all(),
            Durability::Relaxed => Ok(()),
        }
    };
    write().map_err(Error::io(format!("cannot write '{}'", path.display())))
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove '{}'", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Makes a directory that only its owner may enter; one that is there stays as it is.
pub fn make_private_dir(dir: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::Io {
            what: format!("cannot make '{}'", dir.display()),
            source: error,
        }),
        _ => Ok(()),
    }
}
