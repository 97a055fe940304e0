//! Which clone this is: a random id, and the place that it was made for.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::files::write_atomically;
use super::machine::random_word;
use crate::git::Durability;

/// Sets the id where the directory is made anew each time, as in CI.
const OVERRIDE: &str = "GIT_SESSION_CLONE";

/// A clone's identity. It holds only in the directory and on the machine that it was made for: what was moved keeps
/// it, a copy doesn't.
#[derive(Debug, Serialize, Deserialize)]
pub struct Clone {
    pub id: String,
    inode: u64,
    machine: String,
}

/// Whose the identity is that is written down here.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// The environment says which clone this is.
    Named(String),
    /// It was made for this place.
    Ours(String),
    /// It came along with a copy, and doesn't hold here.
    Copy { id: String, elsewhere: Elsewhere },
    /// There is none yet.
    New,
}

/// Where an identity was made that doesn't hold here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    Machine,
    Directory,
}

/// Tells how the identity that is written down here stands to this place.
pub fn standing(local: &Path) -> Result<Standing> {
    if let Some(known) = Clone::known(local)? {
        return Ok(match known.is_named() {
            true => Standing::Named(known.id),
            false => Standing::Ours(known.id),
        });
    }
    let written = fs::read(local.join("clone")).ok();
    let Some(clone) = written.and_then(|json| serde_json::from_slice::<Clone>(&json).ok()) else {
        return Ok(Standing::New);
    };
    Ok(Standing::Copy {
        elsewhere: match clone.machine == machine() {
            true => Elsewhere::Directory,
            false => Elsewhere::Machine,
        },
        id: clone.id,
    })
}

impl Clone {
    /// Whether the environment names it, wherever it is.
    pub fn is_named(&self) -> bool {
        self.machine.is_empty()
    }

    /// Reads the identity, if there is one that holds here.
    pub fn known(local: &Path) -> Result<Option<Clone>> {
        if let Some(id) = std::env::var_os(OVERRIDE).filter(|id| !id.is_empty()) {
            // What isn't UTF-8 is none either, and has to be shown all the same.
            let id = id.to_string_lossy().into_owned();
            if !id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                || id.starts_with('-')
            {
                let why = format!("'{id}' is not made of letters, digits and '-'");
                return Err(Error::Option {
                    option: OVERRIDE.to_owned(),
                    why,
                });
            }
            return Ok(Some(Clone {
                id,
                inode: 0,
                machine: String::new(),
            }));
        }
        let path = local.join("clone");
        let json = match fs::read(&path) {
            Ok(json) => json,
            // Whoever may not look into our directory reads somebody else's repository, as no clone of ours.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::io(format!("'{}'", path.display()))(error)),
        };
        let clone: Clone = serde_json::from_slice(&json).map_err(|error| Error::BadRecord {
            path,
            why: error.to_string(),
        })?;
        Ok((clone.inode == inode(local)? && clone.machine == machine()).then_some(clone))
    }

    /// Refuses a directory that may not be looked into, where it can't be told whose clone it is.
    pub fn check_readable(local: &Path) -> Result<()> {
        let path = local.join("clone");
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Error::io(format!("'{}'", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes a new identity. Of several that try at once, all end with the same.
    pub fn establish(local: &Path) -> Result<Clone> {
        let lock = crate::worker::Lease::acquire_blocking(&local.join("lock"))?;
        if let Some(clone) = Clone::known(local)? {
            return Ok(clone);
        }
        leave_runs(local)?;
        let clone = Clone {
            id: random_word(16)?,
            inode: inode(local)?,
            machine: machine(),
        };
        let json = serde_json::to_vec(&clone).unwrap_or_default();
        write_atomically(&local.join("clone"), &json, Durability::Durable)?;
        drop(lock);
        Ok(clone)
    }
}

/// Puts the records of runs out of sight that came along with a copy: the processes in them are the other clone's, to
/// be stopped by nobody here.
fn leave_runs(local: &Path) -> Result<()> {
    let dir = local.join("run");
    let io = || Error::io(format!("'{}'", dir.display()));
    let runs = match fs::read_dir(&dir) {
        Ok(runs) => runs,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io()(error)),
    };
    for run in runs {
        let record = run.map_err(io())?.path().join("run.json");
        let aside = local.join("trash").join(format!("run-{}", random_word(16)?));
        match fs::rename(&record, aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let what = format!("cannot move '{}' away", record.display());
                return Err(Error::io(what)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The inode of the common git directory, which a move keeps and a copy doesn't.
fn inode(local: &Path) -> Result<u64> {
    let common = local.parent().unwrap_or(local);
    let meta = fs::metadata(common).map_err(Error::io(format!("'{}'", common.display())))?;
    Ok(meta.ino())
}

fn machine() -> String {
    fs::read_to_string("/etc/machine-id")
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|id| !id.is_empty())
        .unwrap_or_else(super::machine::host)
}
