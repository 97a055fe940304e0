//! What a user has approved of what came from elsewhere: a file for each, outside of every repository.
//!
//! A file's name is the hash of what was approved, so that anything else, be it only a bit of it, is not approved.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::files::write_atomically;
use crate::git::Durability;
use crate::session::text::escape;
use crate::store::seal::sha256;

/// The hash of something that may be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Hashes what is said by its parts; where one ends and the next begins counts too.
    pub fn of(parts: &[&[u8]]) -> Result<Key> {
        let lengths: Vec<[u8; 8]> = parts
            .iter()
            .map(|part| (part.len() as u64).to_be_bytes())
            .collect();
        let pieces: Vec<&[u8]> = lengths
            .iter()
            .zip(parts)
            .flat_map(|(length, part)| [&length[..], part])
            .collect();
        let digest = sha256(&pieces)?;
        Ok(Key(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn path(&self) -> Option<PathBuf> {
        Some(directory()?.join(&self.0))
    }

    /// Whether this user approved it. A file of somebody else's is no approval.
    pub fn is_approved(&self) -> bool {
        let uid = rustix::process::geteuid().as_raw();
        self.path()
            .and_then(|path| path.symlink_metadata().ok())
            .is_some_and(|meta| meta.is_file() && meta.uid() == uid)
    }

    /// Approves it; `what` is for people who look at the file.
    pub fn approve(&self, what: &str) -> Result<()> {
        let path = self.path().ok_or_else(no_place)?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(Error::io(format!("cannot make '{}'", dir.display())))?;
        write_atomically(
            &path,
            format!("{}\n", escape(what)).as_bytes(),
            Durability::Relaxed,
        )
    }

    /// Takes an approval back; whether there was one.
    pub fn revoke(&self) -> Result<bool> {
        let path = self.path().ok_or_else(no_place)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(format!("cannot remove '{}'", path.display()))(error)),
        }
    }
}

/// `$XDG_DATA_HOME/git-session/approved`, by default below `~/.local/share`.
fn directory() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("git-session/approved"))
}

fn no_place() -> Error {
    let source = std::io::Error::new(ErrorKind::NotFound, "neither XDG_DATA_HOME nor HOME is set");
    Error::io("there is no place for approvals")(source)
}
