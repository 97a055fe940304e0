use super::common::{Selection, Telling, launching, open_remotely, warn_unsent};
use super::error::Failure;
use super::out;
use super::trust::Approving;
use crate::ops::launch::start;

/// Start pending sessions
///
/// Makes the branch and the worktree of each and launches its worker in the background. Prints a session's id once its
/// worker runs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session start fix-login
  git session start --state pending")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
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
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        self.telling.each(&mut ws, chosen, |ws, session| {
            let trust = self.approving.ask(ws, session, &self.telling)?;
            let how = launching(self.offline, None, trust)?;
            let launched = start(ws, session.id(), how).map_err(Failure::unless_offline)?;
            warn_unsent(&launched);
            if !self.telling.json {
                out::data(format!("{}\n", session.id()).as_bytes());
            }
            Ok(launched.session)
        })
    }
}
