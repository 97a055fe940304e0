//! A worktree, and a worker's state, from before their session went on elsewhere: they make room, and nothing in them
//! is lost.

use std::path::{Component, Path, PathBuf};

use gix::bstr::{BString, ByteSlice};

use super::error::{Error, Result};
use super::local::RunDir;
use super::machine::random_word;
use super::records::Place;
use super::settle::save;
use super::work;
use super::workspace::Workspace;
use crate::git::snapshot::{self, Capture, Unsaved};
use crate::git::worktree::{self, Worktree};
use crate::store::Session;

/// Moves the worker's state out of the way that is from before its session went on elsewhere; gives where it is, if
/// nothing else has it.
///
/// # Errors
/// Directories that can't be moved, and work that can't be read.
pub fn put_state(
    ws: &Workspace,
    run_dir: &RunDir,
    session: &Session,
    place: Option<&Place>,
) -> Result<Option<PathBuf>> {
    let state = run_dir.state();
    if std::fs::read_dir(&state).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(None);
    }
    let (_, own) = work::own(ws, session.id())?;
    for saved in place.and_then(Place::saved).into_iter().chain(own) {
        if snapshot::holds_state(&ws.repo, &state, saved).unwrap_or(false) {
            worktree::discard(&state, &ws.trash())?;
            return Ok(None);
        }
    }
    let kept = run_dir.path().join(format!("state.{}", random_word(6)?));
    match std::fs::rename(&state, &kept) {
        Ok(()) => Ok(Some(kept)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot move '{}' away", state.display()))(
            error,
        )),
    }
}

/// A worktree that was moved out of the way.
#[derive(Debug)]
pub struct Aside {
    dir: PathBuf,
    /// Files and directories that git ignores, which no snapshot holds.
    ignored: Vec<BString>,
    /// What was in it, which no event names, and how to have it again.
    saved: Option<Unsaved>,
}

impl Aside {
    /// Moves a worktree out of the way; what was changed in it since it was saved is saved first, on this clone's work.
    ///
    /// # Errors
    /// Changes that can't be saved whole: then the worktree stays where it is.
    pub fn put(ws: &Workspace, session: &Session, found: Worktree, place: Option<&Place>) -> Result<Aside> {
        let old = place.and_then(Place::saved);
        let signed = ws.sign()?;
        let capture = Capture {
            worktree: &found.path,
            git_dir: &found.git_dir,
            base: session.event.summary.base,
            previous: old,
            state_dir: None,
            extra: None,
            signature: &signed.signature,
            message: "aside",
            durability: ws.store().durability(),
        };
        let is_saved = match old {
            Some(old) => snapshot::differs(&ws.repo, &capture, old)?.is_none(),
            None => false,
        };
        let mut saved = None;
        if !is_saved {
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
            let id = session.id();
            saved = work::own(ws, id)?.1.map(|work| {
                let why = format!(
                    "it was changed here since: 'git session restore --work {work} {id}' puts that back"
                );
                Unsaved::new("an older worktree", why)
            });
        }
        let ignored = ignored(ws, &found)?;
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
        Ok(Aside { dir, ignored, saved })
    }

    /// Tells where what git ignores is, if anything, since there is no new worktree to put it into.
    pub fn without_place(self, ws: &Workspace, error: Error) -> Error {
        if self.ignored.is_empty() {
            // It is the error that is told; what stays is saved.
            let _ = worktree::discard(&self.dir, &ws.trash());
            return error;
        }
        Error::Aside {
            dir: self.dir,
            source: Box::new(error),
        }
    }

    /// Puts what git ignores into the new worktree, where that has nothing in its place, and lets the rest go; where
    /// something had no place, the old directory stays. Each is given, and what was saved of it.
    pub fn give_back(self, ws: &Workspace, path: &Path) -> Result<Vec<Unsaved>> {
        let mut left = Vec::new();
        for name in self.ignored {
            let inner = name.to_path_lossy();
            let (from, to) = (self.dir.join(&inner), path.join(&inner));
            let free = to.symlink_metadata().is_err() && is_within(path, &inner);
            if !free || std::fs::rename(&from, &to).is_err() {
                let why = format!(
                    "git ignores it, and it has no place there: it is in '{}'",
                    from.display()
                );
                left.push(Unsaved::new(name, why));
            }
        }
        if left.is_empty() {
            worktree::discard(&self.dir, &ws.trash())?;
        }
        left.extend(self.saved);
        Ok(left)
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

/// Files and directories in a worktree that git ignores, also in its submodules.
pub fn ignored(ws: &Workspace, found: &Worktree) -> Result<Vec<BString>> {
    let mut names = ignored_in(ws, &found.path)?;
    if worktree::has_modules(found) {
        for module in snapshot::linked_modules(&ws.repo, &found.path)? {
            let inner = ignored_in(ws, &found.path.join(module.to_path_lossy()))?;
            names.extend(inner.iter().map(|name| snapshot::within(module.as_ref(), name)));
        }
    }
    Ok(names)
}

fn ignored_in(ws: &Workspace, path: &Path) -> Result<Vec<BString>> {
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
