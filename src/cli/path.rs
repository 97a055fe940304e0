use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::common::{one, open, worktree_hint};
use super::error::Failure;
use super::out;
use crate::ops::select::worktree_of;
use crate::render::fields::path_value;

/// Print where a session's worktree is
///
/// Where it has none here, nothing is printed, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  cd \"$(git session path fix-login)\"")]
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
        let Some(path) = worktree_of(&ws, &ws.run_dir(session.id()))? else {
            let message = format!("session '{}' has no worktree here", session.id());
            let failure = Failure::refused("no-worktree", message);
            return Err(failure.hinted(worktree_hint(&session)));
        };
        if self.json {
            out::json(
                &json!({ "schema": 1, "id": session.id().as_str(), "path": path_value(path.as_os_str()) }),
            );
        } else {
            out::data(&[path.as_os_str().as_bytes(), b"\n"].concat());
        }
        Ok(0)
    }
}
