use super::common::{Asking, Selection, Telling, open};
use super::error::Failure;
use crate::ops::note::note;
use crate::ops::requests::Wish;
use crate::session::Ask;

/// Add a note to the log of sessions
///
/// It stays there for good, and is shown by 'git session log'. The session itself goes on as it was.
/// For a session that another clone owns, its owner is asked to write it down.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session note fix-login -m 'looks good, waits for a review'
  git session note --state suspended -m 'resume after the release'")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    /// The text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: String,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        if self.message.trim().is_empty() {
            return Err(Failure::bad_usage("the note is empty"));
        }
        let mut ws = open()?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        let text = self.message.trim();
        self.telling.each(&mut ws, chosen, |ws, session| {
            let wish = Wish {
                ask: Ask::Note,
                reason: None,
                note: Some(text.to_owned()),
            };
            if let Some(asked) = self.asking.ask(ws, session, wish, &self.telling)? {
                return Ok(asked);
            }
            let done = note(ws, session.id(), text)?;
            self.telling
                .say(&format!("{}: noted as event {}", done.id(), done.event.seq));
            Ok(done)
        })
    }
}
