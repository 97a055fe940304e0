use super::common::{Telling, one, open};
use super::error::Failure;
use crate::ops::note::note;

/// Add a note to a session's log
///
/// It stays there for good, and is shown by 'git session log'. The session itself goes on as it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// The text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: String,
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
        let done = note(&mut ws, session.id(), self.message.trim())?;
        self.telling
            .say(&format!("{}: noted as event {}", done.id(), done.event.seq));
        self.telling.show(&ws, done)?;
        Ok(0)
    }
}
