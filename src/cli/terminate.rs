use super::common::{Asking, Selection, Telling, open, warn_unsaved};
use super::error::Failure;
use super::suspend::Stopping;
use crate::ops::stop::terminate;
use crate::session::Ask;

/// End sessions for good, their work saved
///
/// The worker is stopped, its work saved, and the worktree parked: the branch can be switched to, merged and deleted.
/// A session that another clone owns is asked for: its owner ends it at its next sync.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session terminate fix-login --reason 'done by hand'
  git session terminate --kill --state running")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    #[command(flatten)]
    stop: Stopping,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        let stop = self.stop.stop();
        self.telling.each(&mut ws, chosen, |ws, session| {
            let wish = self.stop.wish(Ask::Terminate);
            if let Some(asked) = self.asking.ask(ws, session, wish, &self.telling)? {
                return Ok(asked);
            }
            let done = terminate(ws, session.id(), &stop)?;
            let summary = &done.event.summary;
            warn_unsaved(&summary.unsaved, "not saved");
            let outcome = summary
                .outcome
                .as_ref()
                .map(|outcome| format!(" ({outcome})"))
                .unwrap_or_default();
            self.telling.say(&format!("{}: terminated{outcome}", done.id()));
            Ok(done)
        })
    }
}
