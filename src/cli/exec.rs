use std::ffi::OsString;

use super::common::{one, open, worktree_hint};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::exec::exec;
use crate::ops::select::worktree_of;
use crate::ops::standing::has_older_worktree;

/// Run a command in a session's worktree
///
/// It runs in the foreground, with the session's environment, and with the terminal and the stdin that you have; its
/// exit code is passed through.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  N         the command's own
  125       nothing is known of the command, which was not run
  126, 127  it could not be executed, or was not found
  128+N     signal N ended it
  129       the command line can't be understood

Examples:
  git session exec fix-login -- git status --short
  git session exec fix-login -- sh -c 'make && make test'")]
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
        self.go().map_err(Failure::into_our_own)
    }

    fn go(self) -> Result<i32, Failure> {
        let ws = open()?;
        let session = one(&ws, &self.session)?;
        if has_older_worktree(&ws, &session)? && worktree_of(&ws, &ws.run_dir(session.id()))?.is_some() {
            let id = session.id();
            out::say(&format!(
                "warning: the worktree of '{id}' is from before it went on elsewhere"
            ));
        }
        exec(&ws, &session, &self.command).map_err(|error| match error {
            Error::NoWorktree { .. } => Failure::of(&error).hinted(worktree_hint(&session)),
            error => error.into(),
        })
    }
}
