use super::common::{Telling, one, open, program};
use super::error::Failure;
use super::out;
use crate::ops::launch::start;

/// Start a pending session
///
/// Makes its branch and worktree and launches its worker in the background. Prints the session's id once the worker
/// runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let session = one(&ws, &self.session)?;
        let launched = start(&mut ws, session.id(), program()?)?;
        if !self.telling.json {
            out::data(format!("{}\n", session.id()).as_bytes());
        }
        self.telling.show(&ws, launched.session)?;
        Ok(0)
    }
}
