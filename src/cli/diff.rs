use serde_json::json;

use super::common::{one, open};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::diff::difference;
use crate::session::State;

/// Show what a session's work changes since its base
///
/// Uncommitted changes and untracked files are included: as they are in the worktree while the session runs, else as
/// they were saved. What another clone saved has to be here: 'git session fetch --work' brings it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session diff --stat fix-login
  git session diff --binary fix-login | git apply")]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// Only the files and how much changed in each
    #[arg(long)]
    stat: bool,
    /// Binary files whole too, as 'git apply' needs them
    #[arg(long, conflicts_with = "stat")]
    binary: bool,
    /// Print the two ends and the counts of what lies between as JSON
    #[arg(long, conflicts_with_all = ["stat", "binary"])]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let session = one(&ws, &self.session)?;
        let difference = difference(&ws, &session)?;
        let summary = &session.event.summary;
        if summary.state == State::Running && ws.owns(summary) && difference.saved().is_some() {
            let id = session.id();
            out::say(&format!(
                "warning: the worktree of session '{id}' is gone; this is what was saved"
            ));
        }
        if self.json {
            let changed = difference.count(&ws)?;
            out::json(&json!({
                "schema": 1, "id": session.id().as_str(), "from": difference.base().to_string(),
                "to": difference.saved().map(|to| to.to_string()),
                "files": changed.files, "insertions": changed.insertions, "deletions": changed.deletions,
            }));
            return Ok(0);
        }
        let options = [("--stat", self.stat), ("--binary", self.binary)];
        let options: Vec<&str> = options
            .iter()
            .filter(|option| option.1)
            .map(|option| option.0)
            .collect();
        let code = difference.git(&ws, &options)?.show().map_err(Error::from)?;
        Ok(if code == 0 { 0 } else { 128 })
    }
}
