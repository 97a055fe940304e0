//! `exec`: a command of the user's own in a session's worktree.

use std::ffi::{OsStr, OsString};

use super::error::{Error, Result};
use super::select::worktree_of;
use super::workspace::Workspace;
use crate::git::command::LOCAL_VARIABLES;
use crate::session::Outcome;
use crate::store::Session;
use crate::worker::{End, foreground};

/// A line that was written for a shell, and given as the name of a program.
pub fn for_a_shell(program: &OsStr) -> Option<String> {
    let line = program.to_str()?;
    let marks = [' ', ';', '&', '|', '<', '>', '$', '*'];
    line.contains(marks).then(|| line.to_owned())
}

/// Runs it to its end, on the caller's own terminal, and gives its exit code.
///
/// It doesn't get the variable by which the worker's descendants are found: it is the user's, and not stopped with
/// the session.
pub fn exec(ws: &Workspace, session: &Session, command: &[OsString]) -> Result<i32> {
    let id = session.id();
    let why = || Error::NoWorktree {
        id: id.clone(),
        why: "it was removed, or never made".to_owned(),
    };
    let dir = worktree_of(ws, &ws.run_dir(id))?.ok_or_else(why)?;
    let set = [
        ("PWD", dir.clone().into_os_string()),
        ("GIT_SESSION_ID", id.as_str().into()),
    ];
    let end = foreground(command, &dir, &LOCAL_VARIABLES, &set).map_err(|error| Error::Command {
        code: error.exit_code(),
        message: error.to_string(),
        shell: command.first().and_then(|program| for_a_shell(program)),
    })?;
    Ok(match end {
        End::Code(code) => code,
        End::Signal(number) => Outcome::Signal(number).exit_code(),
    })
}
