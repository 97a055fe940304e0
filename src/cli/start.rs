use super::common::{Telling, launching, one, open_remotely, warn_unsent};
use super::error::Failure;
use super::out;
use super::trust::Approving;
use crate::ops::launch::start;

/// Start a pending session
///
/// Makes its branch and worktree and launches its worker in the background. Prints the session's id once the worker
/// runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// Without asking the session's home whether it is still this clone's
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    approving: Approving,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(true)?;
        let session = one(&ws, &self.session)?;
        let trust = self.approving.ask(&ws, &session, &self.telling)?;
        let how = launching(self.offline, None, trust)?;
        let launched = start(&mut ws, session.id(), how).map_err(Failure::unless_offline)?;
        warn_unsent(&launched);
        if !self.telling.json {
            out::data(format!("{}\n", session.id()).as_bytes());
        }
        self.telling.show(&ws, launched.session)?;
        Ok(0)
    }
}
