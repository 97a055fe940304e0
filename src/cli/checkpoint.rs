use super::common::{Selection, Telling, open, warn_unsaved};
use super::error::Failure;
use crate::ops::stop::checkpoint;

/// Save the work of sessions that go on
///
/// A running worker is paused while the snapshot is taken.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session checkpoint fix-login
  git session checkpoint --state running")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        self.telling.each(&mut ws, chosen, |ws, session| {
            let done = checkpoint(ws, session.id())?;
            warn_unsaved(&done.event.summary.unsaved, "not saved");
            let (before, now) = (session.event.summary.state, done.event.summary.state);
            // What a crash left is put right first.
            let became = match before == now {
                true => String::new(),
                false => format!("nobody supervised it, so it is {now} now; "),
            };
            self.telling.say(&format!(
                "{}: {became}saved as event {}",
                done.id(),
                done.event.seq
            ));
            Ok(done)
        })
    }
}
