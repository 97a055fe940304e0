use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::common::{one, open};
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
            let id = session.id();
            let message = format!("session '{id}' has no worktree here");
            let hint = format!("'git session restore {id}' puts its saved work into a new directory");
            return Err(Failure::refused("no-worktree", message).hint(hint));
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
