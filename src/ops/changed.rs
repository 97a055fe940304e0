//! How much a session's saved work changes: counted when it is saved, kept in the cache by the work's OID.

use std::fmt;
use std::fs;

use gix::ObjectId;
use serde::{Deserialize, Serialize};

use super::error::Result;
use super::files::make_private_dir;
use super::files::write_atomically;
use super::workspace::Workspace;
use crate::git::command::Running;
use crate::git::{Durability, objects};

/// Counts as `git diff --shortstat` gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub files: usize,
    pub insertions: usize,
    pub deletions: usize,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.files == 1 { "file" } else { "files" };
        write!(
            f,
            "{} {files} +{} -{}",
            self.files, self.insertions, self.deletions
        )
    }
}

impl Changed {
    /// What was counted when that work was saved.
    pub fn known(ws: &Workspace, work: ObjectId) -> Option<Changed> {
        let json = fs::read(ws.repo.local_dir().join("cache/changed").join(work.to_string())).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Begins to count what lies between two commits; none where there is nothing.
    pub fn start(ws: &Workspace, from: ObjectId, to: ObjectId) -> Result<Option<Running>> {
        let tree = |end| objects::tree_of(&ws.repo, end).unwrap_or(end);
        if tree(from) == tree(to) {
            return Ok(None);
        }
        let git = ws
            .repo
            .git()?
            .args([
                "diff-tree",
                "-r",
                "--numstat",
                "-z",
                "--no-renames",
                "--no-ext-diff",
                "--no-textconv",
            ])
            .args([from.to_string(), to.to_string()]);
        Ok(Some(git.start()?))
    }

    /// Reads what `git diff --numstat -z` says.
    pub fn of_numstat(output: &[u8]) -> Changed {
        let mut changed = Changed {
            files: 0,
            insertions: 0,
            deletions: 0,
        };
        for entry in output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let entry = String::from_utf8_lossy(entry);
            let mut counts = entry.split('\t').map(|count| count.parse().unwrap_or(0));
            changed.files += 1;
            changed.insertions += counts.next().unwrap_or(0);
            changed.deletions += counts.next().unwrap_or(0);
        }
        changed
    }

    /// Remembers it for the work that it was counted for.
    pub fn remember(&self, ws: &Workspace, work: ObjectId) -> Result<()> {
        let dir = ws.repo.local_dir().join("cache/changed");
        make_private_dir(&dir)?;
        write_atomically(
            &dir.join(work.to_string()),
            &serde_json::to_vec(self).unwrap_or_default(),
            Durability::Relaxed,
        )
    }
}
