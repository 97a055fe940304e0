//! `forget`: an ended session's work goes away here and at its remotes, and the log says so.
//!
//! The log goes first: whoever sees it sends none of that work again, and only then are the references removed that
//! keep it. What was taken from a reference can be taken away for good by a garbage collection alone.

mod held;
mod log;

use gix::ObjectId;
use gix::bstr::ByteSlice;

pub use held::Holder;

use super::error::{Error, Result};
use super::record::{TRIES, load};
use super::remotes::{chosen, home};
use super::tracking::{What, names};
use super::workspace::Workspace;
use crate::git::refs::{Expected, Outcome, Target};
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::session::{SessionId, State};
use crate::store::{Session, names as refnames};

/// What becomes of the files that hold the work beside git: the parked worktree, the output, the worker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Files {
    #[default]
    Keep,
    Remove,
}

/// Whose sessions are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whose {
    /// This clone's alone.
    #[default]
    Ours,
    /// Another clone's too, whose owner may be gone; the log says so, and whose it is stays what it was.
    Anybodys,
}

/// What was forgotten, and what was not.
#[derive(Debug)]
pub struct Report {
    pub session: Session,
    /// The work that the log says is forgotten.
    pub forgotten: Vec<ObjectId>,
    /// References that were removed here.
    pub here: Vec<String>,
    pub remotes: Vec<AtRemote>,
    /// Files and directories that were removed.
    pub files: Vec<String>,
    /// What still holds the work, or some of it.
    pub held: Vec<Holder>,
}

impl Report {
    /// The exit code: 1 where a remote still has something of the work.
    pub fn exit_code(&self) -> i32 {
        i32::from(self.remotes.iter().any(|remote| remote.left.is_some()))
    }
}

/// What became of the work at a remote.
#[derive(Debug)]
pub struct AtRemote {
    pub name: String,
    /// References that were removed.
    pub removed: Vec<String>,
    /// Why something of it is still there, if it is.
    pub left: Option<String>,
}

/// Checks that a session's work may be forgotten here.
///
/// # Errors
/// Sessions of other clones, unless it is forced, and those that have not ended.
pub fn check(ws: &Workspace, session: &Session, whose: Whose) -> Result<()> {
    if whose == Whose::Ours {
        ws.check_owned(session)?;
    }
    let state = session.event.summary.state;
    match state {
        State::Terminated => Ok(()),
        _ => Err(Error::NotEnded {
            id: session.id().clone(),
            state,
        }),
    }
}

/// Forgets a session's work.
///
/// # Errors
/// As [`check`]; a home that can't be reached or does not take the log: then nothing was removed anywhere.
pub fn forget(ws: &mut Workspace, id: &SessionId, files: Files, whose: Whose) -> Result<Report> {
    ws.prepare()?;
    let ws = &*ws;
    let guard = ws.run_dir(id).guard(id)?;
    check(ws, &load(ws, id)?, whose)?;
    if files == Files::Remove {
        held::check_unused(ws, id)?;
    }
    let home = home(ws, &load(ws, id)?.event.summary)?;
    let forgotten = log::say_so(ws, home.as_ref(), id, whose)?;
    let session = load(ws, id)?;
    let mut remotes = Vec::new();
    if let Some(home) = &home {
        remotes.push(at_remote(ws, home, &session));
    }
    for other in elsewhere(ws, id, home.as_ref())? {
        let mut done = at_remote(ws, &other, &session);
        if done.left.is_none() {
            // Home's log says it; that this one's doesn't is worth a word, since its clones may send the work again.
            done.left = send_log(&other, &session).err();
        }
        remotes.push(done);
    }
    let here = here(ws, id)?;
    let files = match files {
        Files::Remove => held::remove(ws, id, &guard)?,
        Files::Keep => Vec::new(),
    };
    let held = held::holders(ws, &session, &forgotten)?;
    Ok(Report {
        session,
        forgotten,
        here,
        remotes,
        files,
        held,
    })
}

/// The other remotes that were seen with the session.
fn elsewhere<'w>(ws: &'w Workspace, id: &SessionId, home: Option<&Remote<'_>>) -> Result<Vec<Remote<'w>>> {
    let mut found = Vec::new();
    for name in ws.store().tracked_remotes()? {
        let is_home = home.is_some_and(|home| home.name() == name);
        let is_seen = ws.repo.refs().get(&refnames::tracking(&name, id))?.is_some();
        if !is_home && is_seen && ws.repo.remotes().iter().any(|known| *known == name) {
            found.push(chosen(ws, Some(&name))?);
        }
    }
    Ok(found)
}

fn send_log(remote: &Remote<'_>, session: &Session) -> std::result::Result<(), String> {
    let update = Update {
        name: refnames::log(session.id()),
        new: Some(session.tip),
        lease: Lease::FastForward,
    };
    let pushed = remote.push(&[update]).map_err(|error| error.to_string())?;
    match pushed.into_iter().next() {
        Some((_, Pushed::Done | Pushed::UpToDate)) => Ok(()),
        Some((_, Pushed::Refused(why))) => Err(format!("its log was not sent: {why}")),
        Some((_, Pushed::Moved)) | None => Err("its log was not sent: it went on there".to_owned()),
    }
}

/// Removes every clone's work at a remote, each where it was seen.
fn at_remote(ws: &Workspace, remote: &Remote<'_>, session: &Session) -> AtRemote {
    let mut done = AtRemote {
        name: remote.name().to_owned(),
        removed: Vec::new(),
        left: None,
    };
    if let Err(why) = remove_there(remote, session.id(), &mut done.removed) {
        done.left = Some(why);
        return done;
    }
    // Whoever looks next has to see what is there now.
    let _ = super::push::remember(ws, remote, session.id(), session.tip);
    done
}

fn remove_there(
    remote: &Remote<'_>,
    id: &SessionId,
    removed: &mut Vec<String>,
) -> std::result::Result<(), String> {
    let mut why = String::new();
    for _ in 0..TRIES {
        let there = names(remote, std::slice::from_ref(id), What::Work).map_err(|error| error.to_string())?;
        let updates: Vec<Update> = there
            .works
            .iter()
            .filter(|(of, _, _)| of == id)
            .map(|(id, clone, oid)| Update {
                name: refnames::work(id, clone),
                new: None,
                lease: Lease::At(*oid),
            })
            .collect();
        if updates.is_empty() {
            return Ok(());
        }
        let mut refused = false;
        for (name, pushed) in remote.push(&updates).map_err(|error| error.to_string())? {
            match pushed {
                Pushed::Done => removed.push(name),
                // Another clone was at it meanwhile: it is looked at again.
                Pushed::UpToDate | Pushed::Moved => why = format!("'{name}' moves"),
                Pushed::Refused(reason) => {
                    refused = true;
                    why = format!("'{name}' is not removed: {reason}");
                }
            }
        }
        if refused {
            break;
        }
    }
    Err(why)
}

/// Removes every clone's work here.
fn here(ws: &Workspace, id: &SessionId) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for _ in 0..TRIES {
        let works = ws.repo.refs().list(&refnames::works(id))?;
        if works.is_empty() {
            return Ok(removed);
        }
        for work in works {
            let name = work.name.to_str_lossy().into_owned();
            let Target::Object(at) = work.target else {
                return Err(crate::git::Error::Malformed(format!("'{name}' is no plain reference")).into());
            };
            let (refs, durability) = (ws.repo.refs(), ws.store().durability());
            if refs.update(&name, None, Expected::At(at), durability)? == Outcome::Done {
                removed.push(name);
            }
        }
    }
    Err(Error::Busy(id.clone()))
}
