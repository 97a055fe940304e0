//! Settings of ours: which there are, and what is wrong with those that can't be read.

use super::error::{Error, Result};
use crate::git::Repo;
use crate::session::duration;

/// Every setting of ours.
pub const KEYS: [&str; 13] = [
    "session.autoSync",
    "session.fsync",
    "session.home",
    "session.hooks",
    "session.interrupt",
    "session.pushState",
    "session.pushUntracked",
    "session.remote",
    "session.remoteTimeout",
    "session.requireSignature",
    "session.sign",
    "session.syncInterval",
    "session.worktreeRoot",
];

const BOOLEANS: [&str; 7] = [
    "session.autoSync",
    "session.fsync",
    "session.hooks",
    "session.pushState",
    "session.pushUntracked",
    "session.requireSignature",
    "session.sign",
];

const DURATIONS: [&str; 2] = ["session.remoteTimeout", "session.syncInterval"];

const PATHS: [&str; 1] = ["session.worktreeRoot"];

/// What is wrong with booleans, durations and paths, an error each.
pub fn wrong(repo: &Repo) -> Vec<Error> {
    let booleans = BOOLEANS.iter().filter_map(|key| repo.check_bool(key).err());
    let durations = DURATIONS.iter().filter_map(|key| {
        let error = duration::parse(&repo.config(key)?).err()?;
        Some(Error::Option {
            option: (*key).to_owned(),
            why: error.to_string(),
        })
    });
    let paths = PATHS.iter().filter_map(|key| {
        let error = repo.check_path(key).err()?;
        Some(Error::Option {
            option: (*key).to_owned(),
            why: error.to_string(),
        })
    });
    booleans.map(Error::from).chain(durations).chain(paths).collect()
}

/// Refuses to go on with a setting that says nothing: what was meant by it is not what would be done.
pub fn check(repo: &Repo) -> Result<()> {
    wrong(repo).into_iter().next().map_or(Ok(()), Err)
}
