use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::json;

use super::common::{cwd, number, one, open_remotely, warn_unsaved};
use super::error::Failure;
use super::out;
use super::trust::Approving;
use crate::ops::Error;
use crate::ops::restore::{Which, restore};
use crate::render::fields::path_value;

/// Put a session's saved work into a new directory
///
/// The directory becomes a worktree with a detached HEAD; staged, unstaged and untracked changes are what they were.
/// Work that another clone saved and that is not here yet is fetched.
/// Prints where it is. 'git worktree remove' takes it away again, and needs '--force' where the work is not committed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session restore fix-login
  git session restore --at 3 --to ../as-it-was fix-login
  git session restore --work refs/session-work/fix-login/4xjqs fix-login")]
pub struct Args {
    /// The session: id, unique prefix, branch, worktree path, @ or -
    session: String,
    /// The work as it was at this event; see 'git session log' [default: the newest]
    #[arg(long, value_name = "SEQ", value_parser = number::<u64>)]
    at: Option<u64>,
    /// A work commit that a reference below refs/session-work/ID/ has, as that of a clone from which the session was taken
    #[arg(long, value_name = "REV", conflicts_with = "at")]
    work: Option<String>,
    /// The directory, which may not exist yet [default: ID@SEQ or ID@COMMIT beside the session's own]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    approving: Approving,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(self.json)?;
        let session = one(&ws, &self.session)?;
        let to = match self.to {
            Some(to) => Some(cwd()?.join(to)),
            None => None,
        };
        let trust = self.approving.given();
        let which = match (self.at, &self.work) {
            (Some(seq), _) => Which::At(seq),
            (None, Some(revision)) => {
                let commit = ws.repo.resolve_commit(revision).map_err(Error::from);
                let hint = format!(
                    "'git for-each-ref refs/session-work/{}' shows what there is",
                    session.id()
                );
                Which::Work(commit.map_err(|error| Failure::of(&error).hint(hint))?)
            }
            (None, None) => Which::Newest,
        };
        let restored = restore(&mut ws, &session, which, to, &trust)?;
        let lost: Vec<String> = restored
            .unrestored
            .iter()
            .map(|what| format!("{}: {}", what.path, what.why))
            .collect();
        warn_unsaved(&lost, "not restored");
        if self.json {
            let mut value = json!({
                "schema": 1, "id": session.id().as_str(), "work": restored.work.to_string(),
                "path": path_value(restored.path.as_os_str()), "unrestored": lost,
            });
            if let Some(seq) = restored.seq {
                value["seq"] = json!(seq);
            }
            out::json(&value);
        } else {
            out::data(&[restored.path.as_os_str().as_bytes(), b"\n"].concat());
        }
        Ok(0)
    }
}
