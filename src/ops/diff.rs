//! What a session's work changes: from its base to its worktree as it is, or as it was saved.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gix::ObjectId;
use tempfile::TempDir;

use super::changed::Changed;
use super::error::{Error, Result};
use super::standing::standing;
use super::work;
use super::workspace::Workspace;
use crate::git::command::{Cmd, refused};
use crate::git::snapshot;
use crate::session::State;
use crate::store::Session;

/// How long a summary of what differs may take: trees that repeat themselves can have more files than anybody has the
/// time to count.
const PATIENCE: Duration = Duration::from_secs(20);

/// The two ends of a difference.
#[derive(Debug)]
pub enum Difference {
    /// Both are commits.
    Saved { from: ObjectId, to: ObjectId },
    /// The other end is a worktree as it is now, seen through a copy of its index.
    Live {
        from: ObjectId,
        worktree: PathBuf,
        index: TempDir,
    },
}

/// Finds what is to be compared: the newest snapshot, or a running session's worktree.
///
/// Nothing is written to the repository.
///
/// # Errors
/// A session without a base, one whose work was forgotten or is not here, git that can't be run.
pub fn difference(ws: &Workspace, session: &Session) -> Result<Difference> {
    let summary = &session.event.summary;
    let id = summary.id.clone();
    let from = summary.base.ok_or_else(|| Error::Lacking {
        id: id.clone(),
        what: "it has no base".to_owned(),
    })?;
    if summary.state == State::Running
        && ws.owns(summary)
        && let Some(found) = standing(ws, &ws.run_dir(&summary.id))?
    {
        let index = tempfile::tempdir().map_err(Error::io("cannot make a temporary directory"))?;
        let real = found.git_dir.join("index");
        if real.exists() {
            fs::copy(&real, index.path().join("index"))
                .map_err(Error::io(format!("'{}'", real.display())))?;
        }
        // git writes the empty blob for a file that is only known by name; it goes into a store of its own.
        let info = index.path().join("objects/info");
        let mut alternate = ws
            .repo
            .common_dir()
            .join("objects")
            .into_os_string()
            .into_encoded_bytes();
        alternate.push(b'\n');
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(info.join("alternates"), alternate))
            .map_err(Error::io("cannot write to a temporary directory"))?;
        let live = Difference::Live {
            from,
            worktree: found.path,
            index,
        };
        // Untracked files become known by name, without their content.
        live.command(ws)?
            .args(["add", "--all", "--intent-to-add"])
            .run()?;
        return Ok(live);
    }
    if summary.work.is_none() {
        work::check_not_forgotten(ws, session)?;
    }
    work::check_here(ws, summary)?;
    let to = match summary.work {
        Some(work) => snapshot::read(&ws.repo, work)?.snapshot,
        None if summary.state == State::Pending => from,
        None => summary.head.unwrap_or(from),
    };
    Ok(Difference::Saved { from, to })
}

impl Difference {
    /// A `git diff` of it with these options.
    pub fn git(&self, ws: &Workspace, options: &[&str]) -> Result<Cmd> {
        let git = self
            .command(ws)?
            .args(["diff", "--no-ext-diff", "--no-textconv"])
            .args(options);
        Ok(match self {
            Difference::Saved { from, to } => git.args([from.to_string(), to.to_string()]),
            Difference::Live { from, .. } => git.arg(from.to_string()),
        })
    }

    /// What `git diff` says with options by which it says it all at once; none where that takes too long.
    ///
    /// # Errors
    /// Git that can't be run, or fails.
    pub fn summary(&self, ws: &Workspace, options: &[&str]) -> Result<Option<String>> {
        let Some(output) = self.git(ws, options)?.output_within(PATIENCE)? else {
            return Ok(None);
        };
        match output.status.success() {
            true => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            false => Err(refused("diff".to_owned(), &output).into()),
        }
    }

    /// Whether there is nothing between the ends, as far as that is known without looking.
    pub fn is_empty(&self) -> bool {
        matches!(self, Difference::Saved { from, to } if from == to)
    }

    /// The end that is a commit beside the base.
    pub fn saved(&self) -> Option<ObjectId> {
        match self {
            Difference::Saved { to, .. } => Some(*to),
            Difference::Live { .. } => None,
        }
    }

    /// The base.
    pub fn base(&self) -> ObjectId {
        match self {
            Difference::Saved { from, .. } | Difference::Live { from, .. } => *from,
        }
    }

    /// Counts what lies between.
    pub fn count(&self, ws: &Workspace) -> Result<Changed> {
        Ok(Changed::of_numstat(
            &self.git(ws, &["--numstat", "-z", "--no-renames"])?.run()?,
        ))
    }

    fn command(&self, ws: &Workspace) -> Result<Cmd> {
        Ok(match self {
            Difference::Saved { .. } => ws.repo.git()?,
            Difference::Live { worktree, index, .. } => ws
                .repo
                .git_in(worktree)?
                .env("GIT_INDEX_FILE", index.path().join("index"))
                .env("GIT_OBJECT_DIRECTORY", index.path().join("objects"))
                .env("GIT_OPTIONAL_LOCKS", "0"),
        })
    }
}
