//! Which variables reach a session's supervisor and its worker.

use std::ffi::OsString;

use super::error::{Error, Result};
use super::local::RunDir;
use super::records::Variables;
use crate::git::command::{in_a_hook, is_local_variable, is_of_a_commit};
use crate::session::{Arg, Spec};

/// Refuses variables that are given by name alone and that the caller doesn't have.
pub fn check_variables(named: &[(String, Option<OsString>)]) -> Result<()> {
    let is_missing =
        |(name, value): &&(String, Option<OsString>)| value.is_none() && std::env::var_os(name).is_none();
    match named.iter().find(is_missing) {
        Some((name, _)) => Err(Error::NoVariable(name.clone())),
        None => Ok(()),
    }
}

/// Values for every variable that the specification names, from those kept here or else from the caller.
pub fn variables(run_dir: &RunDir, spec: &Spec) -> Result<Variables> {
    let mut values = run_dir.variables()?;
    for name in &spec.environment {
        if values.contains_key(name) {
            continue;
        }
        let value = std::env::var_os(name).ok_or_else(|| Error::NoVariable(name.clone()))?;
        values.insert(name.clone(), Arg::from(value));
    }
    Ok(values)
}

/// The caller's environment without git's variables and without those of a session that it may run in.
pub fn supervisor_environment() -> Vec<(OsString, OsString)> {
    let ours = |name: &OsString| {
        let name = name.as_encoded_bytes();
        // These two configure us, and are not of the session that we may be called from.
        name.starts_with(b"GIT_SESSION_") && name != b"GIT_SESSION_CLONE" && name != b"GIT_SESSION_PLATFORM"
    };
    let in_a_hook = in_a_hook();
    let of_git = |name: &OsString, value: &OsString| {
        is_local_variable(name) || (in_a_hook && is_of_a_commit(name, value))
    };
    std::env::vars_os()
        .filter(|(name, value)| !ours(name) && !of_git(name, value))
        .collect()
}
