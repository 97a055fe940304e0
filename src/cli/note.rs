use super::common::{Asking, Telling, one, open};
use super::error::Failure;
use crate::ops::note::note;
use crate::ops::requests::Wish;
use crate::session::Ask;

/// Add a note to a session's log
///
/// It stays there for good, and is shown by 'git session log'. The session itself goes on as it was.
/// For a session that another clone owns, its owner is asked to write it down.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session note fix-login -m 'looks good, waits for a review'")]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
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
        let session = one(&ws, &self.session)?;
        let wish = Wish {
            ask: Ask::Note,
            reason: None,
            note: Some(self.message.trim().to_owned()),
        };
        if let Some(asked) = self.asking.ask(&mut ws, &session, wish, &self.telling)? {
            self.telling.show(&ws, asked)?;
            return Ok(0);
        }
        let done = note(&mut ws, session.id(), self.message.trim())?;
        self.telling
            .say(&format!("{}: noted as event {}", done.id(), done.event.seq));
        self.telling.show(&ws, done)?;
        Ok(0)
    }
}
