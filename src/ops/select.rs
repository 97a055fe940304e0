//! From what a person types to the session that is meant.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{Candidate, Error, Result};
use super::local::RunDir;
use super::standing::{is_missing, place, standing};
use super::workspace::Workspace;
use crate::session::{SessionId, State};
use crate::store::{Session, names};

/// Finds the session that a selector means: an id, a unique prefix of one, a branch, a worktree's path, `@` for the
/// session of this worktree, or `-` for the one with the newest event.
///
/// # Errors
/// What means none, or several: then the candidates are in the error.
pub fn select(ws: &Workspace, selector: &str, cwd: &Path) -> Result<Session> {
    let not_found = || Error::NotFound(selector.to_owned());
    match selector {
        // As of a variable that isn't set: neither every session nor the one of this directory is meant.
        "" => return Err(not_found()),
        "@" => return current(ws, cwd)?.ok_or(Error::NotInSession),
        "-" => return ws.store().newest()?.ok_or_else(not_found),
        _ => {}
    }
    let id = selector.parse::<SessionId>().ok();
    if let Some(id) = &id
        && let Some(session) = ws.store().load(id)?
    {
        return Ok(session);
    }
    let ids = ws.store().ids()?;
    let candidates: Vec<&SessionId> = ids
        .iter()
        .filter(|known| known.as_str().starts_with(selector))
        .collect();
    match candidates.as_slice() {
        [] => {}
        [only] => return ws.store().load(only)?.ok_or_else(not_found),
        _ => {
            let mut sessions = ws.store().list()?.sessions;
            sessions.retain(|session| session.id().as_str().starts_with(selector));
            return Err(ambiguous(selector, sessions));
        }
    }
    if let Some(session) = by_branch(ws, selector)? {
        return Ok(session);
    }
    by_path(ws, &cwd.join(selector))?.ok_or_else(not_found)
}

/// The session whose worktree `cwd` is in.
pub fn current(ws: &Workspace, cwd: &Path) -> Result<Option<Session>> {
    by_path(ws, ws.repo.workdir().unwrap_or(cwd))
}

fn by_branch(ws: &Workspace, selector: &str) -> Result<Option<Session>> {
    let short = selector.strip_prefix("refs/heads/").unwrap_or(selector);
    if let Some(id) = short.strip_prefix(names::BRANCHES).and_then(|id| id.parse().ok())
        && let Some(session) = ws.store().load(&id)?
        && session.event.summary.branch.as_deref() == Some(short)
    {
        return Ok(Some(session));
    }
    let mut sessions = ws.store().list()?.sessions;
    sessions.retain(|session| session.event.summary.branch.as_deref() == Some(short));
    one_of(selector, sessions)
}

/// Several ended sessions may have used one branch; one that has not ended is meant before them.
fn one_of(selector: &str, mut sessions: Vec<Session>) -> Result<Option<Session>> {
    let lives = |session: &Session| session.event.summary.state != State::Terminated;
    if sessions.iter().any(lives) {
        sessions.retain(lives);
    }
    if sessions.len() > 1 {
        return Err(ambiguous(selector, sessions));
    }
    Ok(sessions.pop())
}

/// Those that have not ended come first, since one of them is meant more often.
fn ambiguous(selector: &str, mut sessions: Vec<Session>) -> Error {
    sessions.sort_by_key(|session| {
        let has_ended = session.event.summary.state == State::Terminated;
        (has_ended, session.id().clone())
    });
    let candidates = sessions.into_iter().map(|session| Candidate {
        id: session.id().clone(),
        state: session.event.summary.state,
        title: session.event.summary.title.clone(),
    });
    Error::Ambiguous {
        selector: selector.to_owned(),
        candidates: candidates.collect(),
    }
}

fn by_path(ws: &Workspace, path: &Path) -> Result<Option<Session>> {
    let Ok(wanted) = path.canonicalize() else {
        return Ok(None);
    };
    // The directory is usually named after its session.
    let named = wanted
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok());
    let mut unread = None;
    for id in named.into_iter().chain(local_ids(ws)?) {
        match worktree_of(ws, &ws.run_dir(&id)) {
            Ok(Some(place)) if place == wanted => {
                if let Some(session) = ws.store().load(&id)? {
                    return Ok(Some(session));
                }
            }
            Ok(_) => {}
            // It may be the one; but if another is, it hinders nobody.
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    unread.map_or(Ok(None), Err)
}

/// Sessions that have files in this clone.
pub fn local_ids(ws: &Workspace) -> Result<Vec<SessionId>> {
    let dir = ws.repo.local_dir().join("run");
    let io = || Error::io(format!("'{}'", dir.display()));
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io()(error)),
    };
    let mut ids: Vec<SessionId> = Vec::new();
    for entry in entries {
        let name = entry.map_err(io())?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    ids.sort();
    Ok(ids)
}

/// Where a session's worktree is, if it is there; one that can't be looked at is where it was.
///
/// One that a killed command had only begun is none: what was written there would go when it is made anew.
pub fn worktree_of(ws: &Workspace, run_dir: &RunDir) -> Result<Option<PathBuf>> {
    let Some(place) = place(ws, run_dir)?.filter(|place| place.whole) else {
        return Ok(None);
    };
    match Path::new(place.path.as_os_str()).canonicalize() {
        Ok(path) if !is_missing(&place) => Ok(Some(path)),
        Err(_) if !is_missing(&place) => Ok(Some(place.path.as_os_str().into())),
        _ => Ok(standing(ws, run_dir)?.and_then(|found| found.path.canonicalize().ok())),
    }
}
