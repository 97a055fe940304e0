//! A worktree that stands from before its session went on elsewhere: it makes room, and nothing in it is lost.

use std::path::{Component, Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};

use super::error::{Error, Result};
use super::settle::save;
use super::workspace::{Workspace, random_word};
use crate::git::snapshot::{self, Capture};
use crate::git::worktree::{self, Worktree};
use crate::store::Session;

/// A worktree that was moved out of the way.
#[derive(Debug)]
pub struct Aside {
    dir: PathBuf,
    /// Files and directories that git ignores, which no snapshot holds.
    ignored: Vec<BString>,
}

impl Aside {
    /// Moves a worktree out of the way; what was changed in it since `old` is saved first, on this clone's work.
    ///
    /// # Errors
    /// Changes that can't be saved whole: then the worktree stays where it is.
    pub fn put(ws: &Workspace, session: &Session, found: Worktree, old: ObjectId) -> Result<Aside> {
        let signed = ws.sign()?;
        let capture = Capture {
            worktree: &found.path,
            git_dir: &found.git_dir,
            base: session.event.summary.base,
            previous: Some(old),
            state_dir: None,
            extra: None,
            signature: &signed.signature,
            message: "aside",
            durability: ws.store().durability(),
        };
        if snapshot::differs(&ws.repo, &capture, old)?.is_some() {
            let unsaved = save(ws, session)?;
            if !unsaved.is_empty() {
                let what = format!(
                    "its worktree here is from before it went on elsewhere, and has what can't be saved: {}",
                    unsaved.join(", ")
                );
                return Err(Error::Lacking {
                    id: session.id().clone(),
                    what,
                });
            }
        }
        let ignored = ignored(ws, &found.path)?;
        let mut name = found.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", random_word(6)?));
        let dir = found.path.with_file_name(name);
        let io = Error::io(format!("cannot move '{}' away", found.path.display()));
        std::fs::rename(&found.path, &dir).map_err(io)?;
        let gone = Worktree {
            exists: false,
            ..found
        };
        worktree::remove(&ws.repo, &gone, &ws.trash())?;
        Ok(Aside { dir, ignored })
    }

    /// Puts what git ignores into the new worktree, where that has nothing in its place, and lets the rest go; where
    /// something had no place, the old directory stays.
    pub fn give_back(self, ws: &Workspace, path: &Path) -> Result<()> {
        let mut all = true;
        for name in &self.ignored {
            let name = name.to_path_lossy();
            let (from, to) = (self.dir.join(&name), path.join(&name));
            let free = to.symlink_metadata().is_err() && is_within(path, &name);
            all &= free && std::fs::rename(&from, &to).is_ok();
        }
        if all {
            worktree::discard(&self.dir, &ws.trash())?;
        }
        Ok(())
    }
}

/// Whether the directory of a path in a worktree is really in it: what was put back may have links on the way.
fn is_within(root: &Path, name: &Path) -> bool {
    let mut at = root.to_owned();
    let mut dirs = name.parent().into_iter().flat_map(Path::components);
    dirs.all(|part| {
        at.push(part);
        matches!(part, Component::Normal(_)) && at.symlink_metadata().is_ok_and(|meta| meta.is_dir())
    })
}

/// Files and directories in a worktree that git ignores.
pub fn ignored(ws: &Workspace, path: &Path) -> Result<Vec<BString>> {
    let output = ws
        .repo
        .git_in(path)?
        .arg("--no-optional-locks")
        .args(["status", "--porcelain", "-z", "--ignored=traditional"])
        .run()?;
    let names = output.split(|byte| *byte == 0);
    Ok(names
        .filter_map(|entry| entry.strip_prefix(b"!! "))
        .map(|name| name.strip_suffix(b"/").unwrap_or(name).into())
        .collect())
}
