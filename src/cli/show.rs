use jiff::Timestamp;
use serde_json::json;

use super::common::{not_sent, one, open};
use super::error::Failure;
use super::out;
use crate::ops::autopsy::autopsy;
use crate::ops::relay::unsent;
use crate::ops::view::{Depth, view};
use crate::render::{card, fields};

/// Show one session in full, and how it failed
///
/// 'since' is when it came into its state, 'updated' when something was added to that, as by a note or a checkpoint.
/// Of a session that failed, its last output, what its work changes and its last commit are shown too.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session show fix-login
  git session show --json @")]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let session = one(&ws, &self.session)?;
        let autopsy = autopsy(&ws, &session)?;
        let view = view(&ws, session, Depth::Full)?;
        if self.json {
            let mut session = fields::session(&view);
            if let Some(autopsy) = autopsy {
                session.insert(
                    "autopsy".to_owned(),
                    json!({ "output": autopsy.output, "changed": autopsy.changed, "lastCommit": autopsy.last_commit }),
                );
            }
            out::json(&json!({ "schema": 1, "session": session }));
        } else {
            out::data(card::card(&view, autopsy.as_ref(), Timestamp::now(), out::paint(&ws.repo)).as_bytes());
            if view.stale == Some(true) {
                out::say(&format!(
                    "hint: 'git session recover {}' finds out what became of it",
                    view.session.id()
                ));
            }
            if let Ok(Some(why)) = unsent(&ws, view.session.id()) {
                not_sent(view.session.id(), &why);
            }
            if view.ended.is_some() {
                let log = ws.run_dir(view.session.id()).supervisor_log();
                out::say(&format!(
                    "hint: its supervisor tries that again and again; what hinders it is told in '{}'",
                    log.display()
                ));
            }
        }
        Ok(0)
    }
}
