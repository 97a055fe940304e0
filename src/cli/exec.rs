use std::ffi::OsString;

use super::common::{one, open};
use super::error::Failure;
use crate::ops::exec::exec;

/// Run a command in a session's worktree
///
/// It runs in the foreground, with the session's environment; its exit code is passed through.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Report errors of our own as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let session = one(&ws, &self.session)?;
        Ok(exec(&ws, &session, &self.command)?)
    }
}
