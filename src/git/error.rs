use std::path::PathBuf;

use gix::ObjectId;

use super::command::{MINIMUM, Version};
use super::remote::RemoteFault;

/// The result of anything in this room.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between us and git.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no repository at or above the directory.
    #[error("not a git repository (or any of the parent directories): {}", .0.display())]
    NotARepository(PathBuf),
    /// The repository belongs to another user and isn't in `safe.directory`.
    #[error("detected dubious ownership in repository at '{}'", .0.display())]
    DubiousOwnership(PathBuf),
    /// A bare repository that nobody named, where the user wants them to be named.
    #[error("cannot use bare repository '{}' (safe.bareRepository is 'explicit')", .0.display())]
    BareRepository(PathBuf),
    /// The repository is one that git can't use either.
    #[error("'{}': {why}", dir.display())]
    Unusable {
        dir: PathBuf,
        /// In git's words.
        why: String,
    },
    /// A configuration value that should be a boolean.
    #[error("bad boolean config value '{value}' for '{key}'")]
    BadBoolean { key: String, value: String },
    /// No git executable, or one that is too old or doesn't answer.
    #[error("git {}.{} or later is needed{}, and {found}", minimum.0, minimum.1, why(minimum))]
    NoGit { minimum: Version, found: String },
    /// A git child ended with something else than success.
    #[error("git {verb}: {message}")]
    Command {
        /// The subcommand that was run.
        verb: String,
        /// Its exit code; absent if a signal ended it.
        code: Option<i32>,
        /// What it said on stderr, without `fatal:` and `error:`.
        message: String,
    },
    /// A revision that names nothing here.
    #[error("'{0}' is not a commit in this repository")]
    NoSuchCommit(String),
    /// A reference is locked by another program and stays so.
    #[error("cannot lock '{name}': '{}' exists", .path.display())]
    Locked {
        /// The reference.
        name: String,
        /// The lock file that stands in the way.
        path: PathBuf,
    },
    /// A reference of that name can't exist beside another one, like `a` beside `a/b`.
    #[error("cannot create '{0}': another reference is in the way")]
    RefConflict(String),
    /// A reference was to name an object that is not here.
    #[error("cannot move '{name}' to {id}, which is not here")]
    NoSuchObject {
        /// The reference.
        name: String,
        /// The object.
        id: ObjectId,
    },
    /// Neither a remote of that name is configured, nor is it a URL or a path.
    #[error("no remote '{0}'")]
    NoSuchRemote(String),
    /// Another repository could not be talked to.
    #[error("remote '{remote}'{} {why}{}", beside(.remote, .url), after(.said))]
    Remote {
        /// The remote's name, or its URL without credentials where it has none.
        remote: String,
        /// Its URL without credentials.
        url: String,
        /// What kind of trouble it is.
        why: RemoteFault,
        /// What git and the remote said of it, in one line without credentials.
        said: String,
    },
    /// What came from elsewhere can't be written here; what git said of that.
    #[error("this repository can't be written: {0}")]
    Unwritable(String),
    /// The file system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The reason.
        source: std::io::Error,
    },
    /// gix said no.
    #[error("{what}: {}", chain(source.as_ref()))]
    Gix {
        /// What was being done.
        what: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Data in the repository is not what it should be.
    #[error("{0}")]
    Malformed(String),
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io {
            what,
            source: of_the_system(source),
        }
    }

    /// Wraps an error of gix with what was being done.
    pub fn gix<E>(what: impl Into<String>) -> impl FnOnce(E) -> Error
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| Error::Gix {
            what,
            source: source.into(),
        }
    }
}

/// The system's own error: that of a temporary file names the file too, of which nobody has heard.
pub fn of_the_system(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    let number = text
        .split_once(" (os error ")
        .and_then(|(_, rest)| rest.split_once(") at path "))
        .and_then(|(number, _)| number.parse().ok());
    number.map_or(error, std::io::Error::from_raw_os_error)
}

/// A remote's URL, where that isn't its name already.
fn beside(remote: &str, url: &str) -> String {
    if remote == url {
        String::new()
    } else {
        format!(" ({url})")
    }
}

/// What a newer git than usual is needed for.
fn why(minimum: &Version) -> &'static str {
    match *minimum == MINIMUM {
        true => "",
        false => " for references in a reftable",
    }
}

/// What was said, if anything was.
fn after(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}

/// An error with what it comes from, which gix's own text leaves out.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    // A chain may be told in several lines; an error is one.
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}
