//! `restore`: a recorded snapshot in a new directory of its own.

use std::path::PathBuf;

use gix::ObjectId;

use super::checkout;
use super::error::{Error, Result};
use super::trust::{self, Trust};
use super::work;
use super::workspace::Workspace;
use crate::git::objects;
use crate::git::refs::Target;
use crate::git::snapshot::{self, Unsaved};
use crate::git::worktree::{self, Add, Checkout, Files, Hooks};
use crate::session::Event;
use crate::store::{Session, names};

/// Which of a session's work is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// As it was at an event.
    At(u64),
    /// The newest that the log names.
    Newest,
    /// A work commit that a clone's work reference has, whether the log names it or not: what an owner had that was
    /// taken over.
    Work(ObjectId),
}

/// A snapshot that was put back.
#[derive(Debug)]
pub struct Restored {
    pub path: PathBuf,
    /// The event that it belongs to, if it was asked for by that.
    pub seq: Option<u64>,
    pub work: ObjectId,
    pub unrestored: Vec<Unsaved>,
}

/// Puts the work of a session, as it was at an event, into a directory that isn't there yet.
///
/// The directory becomes a worktree with a detached HEAD, so nothing that exists is touched.
///
/// # Errors
/// Sessions without work at that event, work that is neither here nor to be fetched, and directories that exist.
pub fn restore(
    ws: &mut Workspace,
    session: &Session,
    which: Which,
    to: Option<PathBuf>,
    trust: &Trust,
) -> Result<Restored> {
    let id = session.id();
    work::check_not_forgotten(ws, session)?;
    let lacking = |what: String| Error::Lacking { id: id.clone(), what };
    let (summary, seq, work) = match which {
        Which::Work(work) => (None, None, work),
        Which::At(_) | Which::Newest => {
            let (event, work) = recorded(ws, session, which)?;
            (Some(event.summary), Some(event.seq), work)
        }
    };
    let name = match seq {
        Some(seq) => format!("{id}@{seq}"),
        None => format!("{id}@{}", work.to_hex_with_len(12)),
    };
    let path = to.unwrap_or_else(|| ws.worktree_root().join(name));
    let reason = format!("restoring session {id}");
    if path.symlink_metadata().is_ok() {
        let found = worktree::at(&ws.repo, &path).unwrap_or_default();
        return Err(match found.and_then(|found| found.lock) {
            Some(lock) if lock == reason => Error::HalfRestored(path),
            _ => Error::PathExists(path),
        });
    }
    // git's filters are run on what the files hold.
    let source = match which {
        Which::At(_) | Which::Newest => trust::check_restore(ws, session, work, trust)?,
        Which::Work(_) => match whose(ws, session, work)? {
            Whose::Ours => trust::check_restore(ws, session, work, trust)?,
            Whose::Others => trust::check_foreign(ws, session, trust)?,
            Whose::Nobodys => return Err(lacking(format!("no clone's work has {work}"))),
        },
    };
    ws.prepare()?;
    if let Some(summary) = &summary {
        work::need(ws, summary)?;
    }
    let saved = snapshot::read(&ws.repo, work)?;
    let unborn = checkout::unborn(ws, &saved)?;
    let head = saved
        .head
        .or(session.event.summary.base)
        .ok_or_else(|| lacking("its snapshot has no HEAD".to_owned()))?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io(format!("cannot make '{}'", parent.display())))?;
    }
    let (checkout, files, hooks) = (Checkout::Detached(head), Files::None, Hooks::Skip);
    let add = Add {
        path: &path,
        checkout,
        reason: &reason,
        files,
        lock_fds: &[],
        hooks,
    };
    worktree::add(&ws.repo, &add)?;
    let made = worktree::at(&ws.repo, &path)?.ok_or_else(|| lacking("its worktree is gone".to_owned()))?;
    let restored = snapshot::restore(&ws.repo, work, source, &path, None)
        .and_then(|restored| checkout::begin_branch(ws, &path, unborn.as_deref()).map(|()| restored));
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            worktree::remove(&ws.repo, &made, &ws.trash())?;
            return Err(error.into());
        }
    };
    worktree::unlock(&ws.repo, &made)?;
    Ok(Restored {
        path: path.canonicalize().unwrap_or(path),
        seq,
        work,
        unrestored: restored.unrestored,
    })
}

/// The work that the log names, and the event that does.
fn recorded(ws: &Workspace, session: &Session, which: Which) -> Result<(Event, ObjectId)> {
    let lacking = |what: String| Error::Lacking {
        id: session.id().clone(),
        what,
    };
    let history = ws.store().history(session)?;
    let wanted = match which {
        Which::At(seq) if !history.iter().any(|(_, event)| event.seq == seq) => {
            let last = history.last().map_or(0, |(_, event)| event.seq);
            return Err(lacking(format!("it has no event {seq}; the last one is {last}")));
        }
        Which::At(seq) => seq,
        _ => u64::MAX,
    };
    let found = history.into_iter().rev().find_map(|(_, event)| {
        let work = event.summary.work.filter(|_| event.seq <= wanted)?;
        Some((event, work))
    });
    found.ok_or_else(|| {
        lacking(match which {
            Which::At(seq) => format!("no work was saved by event {seq}"),
            _ => "no work was saved yet".to_owned(),
        })
    })
}

/// Whose work reference has a commit.
enum Whose {
    /// This clone's alone.
    Ours,
    /// Another clone's, too.
    Others,
    Nobodys,
}

fn whose(ws: &Workspace, session: &Session, work: ObjectId) -> Result<Whose> {
    let own = names::work(session.id(), ws.clone_id().unwrap_or_default());
    let mut whose = Whose::Nobodys;
    // What it began from is an ancestor too.
    if snapshot::read(&ws.repo, work).is_err() {
        return Ok(whose);
    }
    for reference in ws.repo.refs().list(&names::works(session.id()))? {
        let Target::Object(tip) = reference.target else {
            continue;
        };
        if objects::is_ancestor(&ws.repo, work, tip).unwrap_or(false) {
            match reference.name == own {
                true => whose = Whose::Ours,
                false => return Ok(Whose::Others),
            }
        }
    }
    Ok(whose)
}
