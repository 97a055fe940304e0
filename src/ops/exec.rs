//! `exec`: a command of the user's own in a session's worktree.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use super::error::{Error, Result};
use super::select::worktree_of;
use super::workspace::Workspace;
use crate::git::command::scrub;
use crate::store::Session;
use crate::worker::find_program;

/// Runs it to its end, on the caller's own terminal.
///
/// It doesn't get the variable by which the worker's descendants are found: it is the user's, and not stopped with
/// the session.
pub fn exec(ws: &Workspace, session: &Session, command: &[OsString]) -> Result<ExitStatus> {
    let id = session.id();
    let (program, arguments) = command.split_first().ok_or(Error::NoCommand)?;
    let why = || Error::NoWorktree {
        id: id.clone(),
        why: "it was removed, or never made".to_owned(),
    };
    let dir = worktree_of(&ws.run_dir(id))?.ok_or_else(why)?;
    let path = std::env::var_os("PATH");
    let found = find_program(program, path.as_deref(), &dir).map_err(|error| Error::Exec {
        id: id.clone(),
        code: error.exit_code(),
        message: error.to_string(),
    })?;
    let mut child = Command::new(&found);
    scrub(&mut child);
    child
        .arg0(program)
        .args(arguments)
        .current_dir(&dir)
        .env("PWD", &dir)
        .env("GIT_SESSION_ID", id.as_str());
    child.status().map_err(|source| Error::Exec {
        id: id.clone(),
        code: 126,
        message: format!("cannot execute '{}': {source}", found.display()),
    })
}
