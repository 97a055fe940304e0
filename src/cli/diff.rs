use serde_json::json;

use super::common::{one, open};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::diff::{difference, shortstat};

/// Show what a session's work changes since its base
///
/// Uncommitted changes and untracked files are included: as they are in the worktree while the session runs, else as
/// they were saved.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// Only the files and how much changed in each
    #[arg(long)]
    stat: bool,
    /// Print the two ends and the counts of what lies between as JSON
    #[arg(long, conflicts_with = "stat")]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let ws = open()?;
        let session = one(&ws, &self.session)?;
        let (from, to) = difference(&ws, &session)?;
        if self.json {
            let changed = shortstat(&ws, from, to)?;
            out::json(&json!({
                "schema": 1, "id": session.id().as_str(), "from": from.to_string(), "to": to.to_string(),
                "files": changed.files, "insertions": changed.insertions, "deletions": changed.deletions,
            }));
            return Ok(0);
        }
        let mut git = ws.repo.git().map_err(Error::from)?;
        git = git.args(["diff", "--no-ext-diff", "--no-textconv"]);
        if self.stat {
            git = git.arg("--stat");
        }
        let code = git
            .args([from.to_string(), to.to_string()])
            .show()
            .map_err(Error::from)?;
        Ok(if code == 0 { 0 } else { 128 })
    }
}
