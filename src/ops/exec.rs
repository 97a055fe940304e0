//! `exec`: a command of the user's own in a session's worktree.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::error::{Error, Result};
use super::select::worktree_of;
use super::workspace::Workspace;
use crate::git::command::LOCAL_VARIABLES;
use crate::session::Outcome;
use crate::store::Session;
use crate::worker::{End, find_program, foreground};

/// A line that was written for a shell, and given as the name of a program that isn't there.
///
/// It is none where the name is plainly a path: without what only shells read it begins with one, or it is in a
/// directory that is there; unless its first word is a program by itself.
pub fn for_a_shell(program: &OsStr, cwd: &Path) -> Option<String> {
    const MARKS: [char; 7] = [';', '&', '|', '<', '>', '$', '*'];
    let line = program.to_str()?;
    let first = line.split(' ').next().unwrap_or_default();
    let has_marks = line.contains(MARKS);
    if first == line && !has_marks {
        return None;
    }
    let path = std::env::var_os("PATH");
    if first != line && find_program(first.as_ref(), path.as_deref(), cwd).is_ok() {
        return Some(line.to_owned());
    }
    let begins_with_path = first.contains('/') && !has_marks;
    let directory = Path::new(line).parent().filter(|_| line.contains('/'));
    let is_path = begins_with_path || directory.is_some_and(|directory| cwd.join(directory).is_dir());
    (!is_path).then(|| line.to_owned())
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
        shell: command.first().and_then(|program| for_a_shell(program, &dir)),
    })?;
    Ok(match end {
        End::Code(code) => code,
        End::Signal(number) => Outcome::Signal(number).exit_code(),
    })
}
