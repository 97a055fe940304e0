use super::common::{Chosen, Telling, one, open, warn_unsaved};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::own_name::lives_unsaid;
use crate::ops::recover::recover;
use crate::store::Session;

/// Find out what became of sessions after a crash, and record it
///
/// After a reboot, too. A worker that outlived its supervisor, or that lives against what its log says, is stopped first;
/// its work is saved. Nothing is started again. Without arguments
/// it looks at every session of this clone.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session recover fix-login
  git session recover --all")]
pub struct Args {
    /// Sessions: id, unique prefix, branch, worktree path, @ or -
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// Every session of this clone, which is the default
    #[arg(long, conflicts_with = "sessions")]
    all: bool,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let mut sessions: Vec<Session> = Vec::new();
        if self.sessions.is_empty() {
            sessions = ws.store().list().map_err(Error::from)?.sessions;
            sessions.retain(|session| {
                ws.owns(&session.event.summary) || lives_unsaid(&ws, session).unwrap_or(true)
            });
        }
        for selector in &self.sessions {
            sessions.push(one(&ws, selector)?);
        }
        let is_one = self.sessions.len() == 1;
        let chosen = Chosen { sessions, is_one };
        let mut found = 0;
        let code = self.telling.each(&mut ws, chosen, |ws, session| {
            match recover(ws, session.id())? {
                None => Ok(session.clone()),
                Some(recovered) => {
                    found += 1;
                    let after = recovered.session;
                    let summary = &after.event.summary;
                    warn_unsaved(&summary.unsaved, "not saved");
                    if let Some(work) = recovered.unsaid {
                        let id = after.id();
                        self.telling.say(&format!(
                            "{id}: a worker of it lived here against what its log says: it was stopped, and '{work}' has its work"
                        ));
                        return Ok(after);
                    }
                    let why = summary
                        .outcome
                        .as_ref()
                        .map(|outcome| outcome.to_string())
                        .or(summary.reason.clone());
                    let why =
                        why.map_or_else(String::new, |why| format!(" ({})", crate::render::escape(&why)));
                    self.telling.say(&format!(
                        "{}: was {}, is {}{why}",
                        after.id(),
                        session.event.summary.state,
                        summary.state
                    ));
                    Ok(after)
                }
            }
        })?;
        if found == 0 && code == 0 && !self.telling.quiet && !self.telling.json {
            out::say("nothing to recover");
        }
        Ok(code)
    }
}
