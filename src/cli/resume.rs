use super::common::{Selection, Telling, launching, open_remotely, warn_unsaved, warn_unsent};
use super::error::Failure;
use super::out;
use super::trust::Approving;
use crate::ops::branch::Left;
use crate::ops::launch::resume;

/// Let suspended sessions go on
///
/// The worktree is used as it stands; where it is gone, it is put back as it was saved. The worker's resume command
/// runs, or else its command again, with GIT_SESSION_RESUMED set. A frozen session's processes simply go on.
///
/// A worktree from before the session went on in another clone makes room: what was changed in it since it was saved is
/// saved first, and what git ignores in it goes into the new one, or is named and kept beside it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session resume fix-login
  git session resume --state suspended")]
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
            let launched = resume(ws, session.id(), how).map_err(Failure::unless_offline)?;
            warn_unsent(&launched);
            warn_unsaved(&launched.unsaved, "not saved");
            let lost: Vec<String> = launched
                .unrestored
                .iter()
                .map(|what| format!("{}: {}", what.path, what.why))
                .collect();
            warn_unsaved(&lost, "not restored");
            if let Some((branch, why)) = &launched.detached_from {
                let id = session.id();
                let why = match why {
                    Left::CheckedOut(path) => format!("is checked out at '{}'", path.display()),
                    Left::Apart => "has other commits here".to_owned(),
                };
                let says = format!("branch '{branch}' {why}, so that HEAD is detached in its worktree");
                out::say(&format!("warning: {id}: {}", crate::render::escape(&says)));
            }
            self.telling.say(&format!(
                "{}: running in '{}'",
                session.id(),
                crate::render::escape(&launched.worktree.to_string_lossy())
            ));
            Ok(launched.session)
        })
    }
}
