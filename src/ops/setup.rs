//! `setup`: files put where other programs find them, and notes that `git log` shows.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::{Error, Result};
use crate::git::Repo;
use crate::store::names;

/// The settings by which `git log` shows our notes and a rebase takes them along.
const NOTES: [&str; 2] = ["notes.displayRef", "notes.rewriteRef"];

/// Our notes as a pattern: of a name that nothing has yet git would warn at each `git log` and each rebase.
const PATTERN: &str = "refs/notes/session[s]";

/// How something stands that can be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there, as this version would make it.
    Current,
    /// It is there and different, or only in part.
    Outdated,
    Missing,
}

impl Standing {
    /// Gives the word that programs know it by.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Current => "current",
            Standing::Outdated => "outdated",
            Standing::Missing => "missing",
        }
    }

    /// How several things stand together.
    pub fn of(all: impl IntoIterator<Item = Standing>) -> Standing {
        let together = |a: Standing, b: Standing| if a == b { a } else { Standing::Outdated };
        all.into_iter().reduce(together).unwrap_or(Standing::Current)
    }
}

/// A file by its name, with what belongs in it.
pub type File = (&'static str, &'static str);

/// How files stand in a directory.
pub fn files(dir: &Path, files: &[File]) -> Result<Standing> {
    let each = files.iter().map(|(name, text)| file(&dir.join(name), text));
    Ok(Standing::of(each.collect::<Result<Vec<_>>>()?))
}

fn file(path: &Path, text: &str) -> Result<Standing> {
    match fs::read(path) {
        Ok(known) if known == text.as_bytes() => Ok(Standing::Current),
        Ok(_) => Ok(Standing::Outdated),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Standing::Missing)
        }
        Err(error) => Err(Error::io(format!("cannot read '{}'", path.display()))(error)),
    }
}

/// Writes those files that are not current, each whole or not at all.
pub fn install(dir: &Path, files: &[File]) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::io(format!("cannot make '{}'", dir.display())))?;
    for (name, text) in files {
        let path = dir.join(name);
        if file(&path, text)? != Standing::Current {
            write(dir, &path, text).map_err(Error::io(format!("cannot write '{}'", path.display())))?;
        }
    }
    Ok(())
}

fn write(dir: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut temp = tempfile::Builder::new()
        .prefix(".git-session-")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(dir)?;
    temp.write_all(text.as_bytes())?;
    temp.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether `git log` shows our notes in this repository, and a rebase takes them along.
pub fn notes(repo: &Repo) -> Result<Standing> {
    let missing = missing_notes(repo)?;
    Ok(match missing.len() {
        0 => Standing::Current,
        all if all == NOTES.len() => Standing::Missing,
        _ => Standing::Outdated,
    })
}

/// Adds the settings that are missing to the repository's own configuration.
pub fn show_notes(repo: &Repo) -> Result<()> {
    for key in missing_notes(repo)? {
        repo.git()?.args(["config", "--add", key, PATTERN]).run()?;
    }
    Ok(())
}

fn missing_notes(repo: &Repo) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for key in NOTES {
        let values = repo.git()?.args(["config", "--get-all", key]).output()?.stdout;
        let values = String::from_utf8_lossy(&values);
        if !values
            .lines()
            .any(|value| [PATTERN, names::NOTES, "refs/notes/*"].contains(&value))
        {
            missing.push(key);
        }
    }
    Ok(missing)
}
