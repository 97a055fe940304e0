use std::time::Duration;

use super::common::{Asking, Selection, Telling, open, warn_unsaved};
use super::error::Failure;
use crate::ops::record::load;
use crate::ops::requests::Wish;
use crate::ops::stop::{How, Stop, suspend};
use crate::ops::{Error, Workspace};
use crate::session::{Ask, SessionId, duration};

/// Stop sessions and save their work, to be resumed
///
/// The worker and all that it started are asked to end, and killed if they don't within the grace. Saved are commits,
/// staged, unstaged and untracked files, and the worker's own state directory; what can't be saved is named.
/// A session that another clone owns is asked for: its owner suspends it at its next sync.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session suspend fix-login --reason 'the train leaves'
  git session suspend --state running")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    #[command(flatten)]
    stop: Stopping,
    /// Keep the processes in memory, stopped, instead of ending them
    #[arg(long, conflicts_with_all = ["grace", "kill"])]
    freeze: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    telling: Telling,
}

/// How a worker is stopped; shared by `suspend` and `terminate`.
#[derive(Debug, clap::Args)]
pub struct Stopping {
    /// Why, for the log
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub reason: Option<String>,
    /// How long it may take to end before it is killed [default: the session's own, or 10s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub grace: Option<Duration>,
    /// Kill it at once; a git that it has running is asked first, for a second
    #[arg(long, conflicts_with = "grace")]
    pub kill: bool,
}

impl Stopping {
    /// The same for a session that another clone owns, which decides by itself how it is done.
    pub fn wish(&self, ask: Ask) -> Wish {
        Wish {
            ask,
            reason: self.reason.clone(),
            note: None,
        }
    }

    /// Gives it to the operation.
    pub fn stop(&self) -> Stop {
        let how = if self.kill { How::Kill } else { How::Ask };
        Stop {
            reason: self.reason.clone(),
            grace: self.grace,
            how,
            ..Stop::default()
        }
    }
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        let mut stop = self.stop.stop();
        if self.freeze {
            stop.how = How::Freeze;
        }
        self.telling.each(&mut ws, chosen, |ws, session| {
            let wish = self.stop.wish(Ask::Suspend);
            if let Some(asked) = self.asking.ask(ws, session, wish, &self.telling)? {
                return Ok(asked);
            }
            let done = suspend(ws, session.id(), &stop).map_err(|error| match error {
                Error::Illegal { ref id, .. } if is_frozen(ws, id) => Failure::of(&error).hint(format!(
                    "it is frozen, its processes in memory; to end them, 'git session resume {id}' first"
                )),
                _ => error.into(),
            })?;
            warn_unsaved(&done.event.summary.unsaved, "not saved");
            let how = if self.freeze { "frozen" } else { "suspended" };
            self.telling.say(&format!("{}: {how}", done.id()));
            Ok(done)
        })
    }
}

fn is_frozen(ws: &Workspace, id: &SessionId) -> bool {
    load(ws, id).is_ok_and(|session| session.event.summary.frozen)
}
