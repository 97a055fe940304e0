//! A worktree, and a worker's state, from before their session went on elsewhere: they make room, and nothing in them
//! is lost.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};

use super::error::{Error, Result};
use super::ignored::{ignored, is_dir};
use super::local::RunDir;
use super::machine::random_word;
use super::records::{Aside, Place};
use super::settle::save;
use super::work;
use super::workspace::Workspace;
use crate::git::snapshot::{self, Capture, Unsaved};
use crate::git::worktree::{self, Worktree};
use crate::session::{Arg, SessionId};
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
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot move '{}' away", state.display()))(
            error,
        )),
    }
}

/// Moves a worktree out of the way; what was changed in it since it was saved is saved first, on this clone's work, and
/// what git ignores in it, which no snapshot holds, is kept beside, until it is [given back](give_back).
///
/// # Errors
/// Changes that can't be saved whole: then the worktree stays where it is.
pub fn put(ws: &Workspace, session: &Session, found: Worktree, place: Option<&Place>) -> Result<()> {
    let id = session.id();
    let run_dir = ws.run_dir(id);
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
        Some(old) => {
            snapshot::differs(&ws.repo, &capture, old)?.is_none()
                && worktree::left_behind(&ws.repo, &found)?.is_empty()
        }
        None => false,
    };
    let mut work = old;
    if !is_saved {
        let unsaved = save(ws, session)?;
        if !unsaved.is_empty() {
            return Err(Error::OlderWorktree {
                id: id.clone(),
                path: found.path,
                unsaved: unsaved.join(", "),
            });
        }
        work = work::own(ws, id)?.1;
    }
    let mut name = found.path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", random_word(6)?));
    let dir = found.path.with_file_name(name);
    let ignored = ignored(ws, &found)?;
    let arg = |name: &BString| Arg::from(name.to_path_lossy().into_owned().into_os_string());
    let aside = Aside {
        of: run_dir.inode(),
        dir: Arg::from(dir.clone().into_os_string()),
        ignored: ignored.iter().map(arg).collect(),
        work: work.map(|work| work.to_string()),
        untold: work != old,
    };
    // Written first, so that the next command knows what a killed one had begun.
    let mut asides = run_dir.asides()?;
    asides.retain(|before| before.is_there() || before.work != aside.work);
    asides.push(aside);
    run_dir.write_asides(&asides, ws.store().durability())?;
    let io = Error::io(format!("cannot move '{}' away", found.path.display()));
    std::fs::rename(&found.path, &dir).map_err(io)?;
    let gone = Worktree {
        exists: false,
        ..found
    };
    worktree::remove(&ws.repo, &gone, &ws.trash())?;
    if ignored.is_empty() {
        worktree::discard(&dir, &ws.trash())?;
    } else {
        keep_alone(ws, &dir, BStr::new(""), &ignored.into_iter().collect());
    }
    Ok(())
}

/// Lets all go but these paths and what is in them; what can't be moved stays.
fn keep_alone(ws: &Workspace, root: &Path, dir: &BStr, kept: &BTreeSet<BString>) {
    for path in entries(root, dir) {
        if kept.contains(&path) {
            continue;
        }
        match leads_to(&path, kept) {
            true => keep_alone(ws, root, path.as_ref(), kept),
            false => drop(worktree::discard(&root.join(path.to_path_lossy()), &ws.trash())),
        }
    }
}

/// Puts what git ignored in worktrees that were moved out of the way into the one that is there now, where that has
/// nothing in its place; the rest stays where it is. That is given, and what was saved of them that nobody was told of.
pub fn give_back(ws: &Workspace, id: &SessionId, path: &Path) -> Result<Vec<Unsaved>> {
    let run_dir = ws.run_dir(id);
    let mut asides = run_dir.asides()?;
    if asides.is_empty() {
        return Ok(Vec::new());
    }
    let mut left = Vec::new();
    for aside in &asides {
        let back = Back {
            ws,
            from: Path::new(aside.dir.as_os_str()),
            to: path,
            work: aside.work(),
        };
        let before = left.len();
        for name in &aside.ignored {
            back.put(name.as_os_str().as_bytes().as_bstr(), &mut left);
        }
        remove_empty(back.from);
        if aside.is_there() && left.len() == before {
            left.push(aside.rest());
        }
        left.extend(aside.saved(id));
    }
    asides.retain(|aside| aside.untold || aside.is_there());
    run_dir.write_asides(&asides, ws.store().durability())?;
    Ok(left)
}

/// What is given back, from where and whereto.
struct Back<'a> {
    ws: &'a Workspace,
    from: &'a Path,
    to: &'a Path,
    /// The work that has all that is not ignored, and some that is.
    work: Option<ObjectId>,
}

impl Back<'_> {
    fn put(&self, name: &BStr, left: &mut Vec<Unsaved>) {
        let inner = name.to_path_lossy();
        let (from, to) = (self.from.join(&inner), self.to.join(&inner));
        let Ok(meta) = from.symlink_metadata() else {
            // A command that was killed has put it back, or somebody has taken it.
            return;
        };
        let is_within = make_way(self.to, &inner);
        let there = to.symlink_metadata();
        if is_within && there.is_err() && std::fs::rename(&from, &to).is_ok() {
            return;
        }
        // Two repositories don't become one.
        let is_plain = meta.is_dir() && from.join(".git").symlink_metadata().is_err();
        if is_within && is_plain && there.is_ok_and(|there| there.is_dir()) {
            for path in entries(self.from, name) {
                self.put(path.as_ref(), left);
            }
            return;
        }
        // The snapshot may have it all the same, as it came from where it wasn't ignored.
        let repo = &self.ws.repo;
        let is_saved = |work| snapshot::has_file(repo, work, self.from, name).unwrap_or(false);
        if self.work.is_some_and(is_saved) && worktree::discard(&from, &self.ws.trash()).is_ok() {
            return;
        }
        let why = format!(
            "git ignores it, and it has no place there: it is in '{}'",
            from.display()
        );
        left.push(Unsaved::new(name, why));
    }
}

/// Notes that what was changed in worktrees that are aside was told.
pub fn told(ws: &Workspace, id: &SessionId) -> Result<()> {
    let run_dir = ws.run_dir(id);
    let mut asides = run_dir.asides()?;
    if asides.iter().all(|aside| !aside.untold) {
        return Ok(());
    }
    asides.retain(Aside::is_there);
    for aside in &mut asides {
        aside.untold = false;
    }
    run_dir.write_asides(&asides, ws.store().durability())
}

/// What is aside of a session, and how to have it again.
pub fn left(ws: &Workspace, id: &SessionId) -> Result<Vec<Unsaved>> {
    let mut left = Vec::new();
    for aside in ws.run_dir(id).asides()? {
        left.extend(aside.is_there().then(|| aside.rest()));
        left.extend(aside.saved(id));
    }
    Ok(left)
}

/// The same, with the worker's state, which a resume tells of once.
pub fn all_left(ws: &Workspace, id: &SessionId) -> Result<Vec<Unsaved>> {
    let mut left = left(ws, id)?;
    let states = ws.run_dir(id).older_states();
    left.extend(states.iter().map(|kept| older_state(kept)));
    Ok(left)
}

/// What is told of a worker's state that was moved out of the way.
pub fn older_state(kept: &Path) -> Unsaved {
    let why = format!(
        "what was here of it is nowhere else, and now in '{}'",
        kept.display()
    );
    Unsaved::new("the worker's state", why)
}

/// Names what is aside in an error, which may be the last word on it.
pub fn named(what: Vec<Unsaved>, error: Error) -> Error {
    if what.is_empty() {
        return error;
    }
    let what = what.iter().map(|what| format!("{}: {}", what.path, what.why));
    Error::Aside {
        what: what.collect::<Vec<_>>().join("; "),
        source: Box::new(error),
    }
}

impl Aside {
    /// The work commit that has what was in it.
    fn work(&self) -> Option<ObjectId> {
        ObjectId::from_hex(self.work.as_ref()?.as_bytes()).ok()
    }

    /// Whether anything of it is kept beside.
    pub fn is_there(&self) -> bool {
        Path::new(self.dir.as_os_str()).symlink_metadata().is_ok()
    }

    /// What git ignored in it.
    pub fn ignored(&self) -> Vec<BString> {
        let names = self.ignored.iter();
        names.map(|name| name.as_os_str().as_bytes().into()).collect()
    }

    /// Whether only that is kept.
    pub fn is_ignored_alone(&self) -> bool {
        let ignored = self.ignored().into_iter().collect();
        is_alone(Path::new(self.dir.as_os_str()), BStr::new(""), &ignored)
    }

    fn rest(&self) -> Unsaved {
        let why = format!("what git ignores in it is in '{}'", self.dir);
        Unsaved::new("an older worktree", why)
    }

    fn saved(&self, id: &SessionId) -> Option<Unsaved> {
        let work = self.work.as_ref().filter(|_| self.untold)?;
        let why =
            format!("it was changed here since: 'git session restore --work {work} {id}' puts that back");
        Some(Unsaved::new("an older worktree", why))
    }
}

/// Whether a directory holds nothing but these paths, what is in them, and what leads to them.
fn is_alone(root: &Path, dir: &BStr, kept: &BTreeSet<BString>) -> bool {
    entries(root, dir)
        .iter()
        .all(|path| kept.contains(path) || (leads_to(path, kept) && is_alone(root, path.as_ref(), kept)))
}

/// Whether one of these paths is in that directory.
fn leads_to(dir: &BString, paths: &BTreeSet<BString>) -> bool {
    let inner = BString::from([dir.as_slice(), b"/"].concat());
    let next = paths.range::<BString, _>(&inner..).next();
    next.is_some_and(|path| path.starts_with(&inner))
}

/// What is in a directory below another, by its paths from there; nothing in what is no directory.
fn entries(root: &Path, dir: &BStr) -> Vec<BString> {
    let path = root.join(dir.to_path_lossy());
    if !is_dir(&path) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| snapshot::within(dir, entry.file_name().as_bytes()))
        .collect()
}

/// Removes a directory and those in it, but for those in which anything else is.
fn remove_empty(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // One with something in it stays.
    let _ = std::fs::remove_dir(dir);
}

/// Makes the directories that lead to a path in a worktree; tells whether they are really in it: what was put back may
/// have links on the way.
fn make_way(root: &Path, name: &Path) -> bool {
    let mut at = root.to_owned();
    let mut dirs = name.parent().into_iter().flat_map(Path::components);
    dirs.all(|part| {
        at.push(part);
        let is_free = || matches!(at.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound);
        matches!(part, Component::Normal(_)) && (is_dir(&at) || is_free() && std::fs::create_dir(&at).is_ok())
    })
}
