use super::common::{Selection, Telling, launching, open};
use super::error::Failure;
use super::out;
use super::trust::Approving;
use crate::ops::create::retry;
use crate::ops::launch::start;

/// Run what ended sessions ran again, each as a new session
///
/// A new session begins from the same base, on a branch of its own, and names the old one as its parent. What the old
/// one did stays with that.
///
/// Returns at once, as 'run --detach' does, and prints the new session's id once its worker runs: 'git session output
/// -f' follows it, 'git session wait' tells how it ended. The worker's stdin is empty, and it has no terminal.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session wait $(git session retry run-the-tests)")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    #[command(flatten)]
    approving: Approving,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        self.telling.each(&mut ws, chosen, |ws, ended| {
            let trust = self.approving.ask_again(ws, ended, &self.telling)?;
            let session = retry(ws, ended, &trust)?;
            if !self.telling.json {
                out::data(format!("{}\n", session.id()).as_bytes());
            }
            let launched = start(ws, session.id(), launching(false, None, trust)?)?;
            Ok(launched.session)
        })
    }
}
