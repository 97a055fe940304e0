//! Runs a command to its end on the caller's own terminal: what a user asks for beside a job, not a part of it.

use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::Command,
};

use super::{
    spawn::{SpawnError, find_program},
    watch::End,
};

/// Runs it, and gives how it ended.
///
/// The program is looked for as execvp(3) does, a name with a slash from `cwd`. It has the caller's environment, less
/// `unset`, with `set`.
pub fn foreground(
    command: &[OsString],
    cwd: &Path,
    unset: &[&str],
    set: &[(&str, OsString)],
) -> Result<End, SpawnError> {
    let (program, arguments) = command.split_first().ok_or(SpawnError::Empty)?;
    let path = std::env::var_os("PATH");
    let found = find_program(program, path.as_deref(), cwd)?;
    let mut child = Command::new(&found);
    child.arg0(program).args(arguments).current_dir(cwd);
    for name in unset {
        child.env_remove(name);
    }
    child.envs(set.iter().map(|(name, value)| (name, value)));
    let refused = |source: io::Error| SpawnError::Refused {
        program: found,
        source,
    };
    let status = child.status().map_err(refused)?;
    Ok(match status.code() {
        Some(code) => End::Code(code),
        None => End::Signal(status.signal().unwrap_or_default()),
    })
}
