//! A session's work on its way between clones: sent with its log, brought when it is needed.

use std::collections::{BTreeSet, HashMap};

use gix::ObjectId;
use gix::bstr::{BStr, BString};

use super::error::{Error, Result};
use super::remotes::{chosen, home};
use super::workspace::Workspace;
use crate::git::objects;
use crate::git::refs::{Expected, Target};
use crate::git::remote::{Fetched, Remote, Wanted};
use crate::git::{snapshot, whole};
use crate::session::{SessionId, State, Summary};
use crate::store::{Session, names};

/// The reference to what this clone itself has saved of a session's work, and the newest of that.
pub fn own(ws: &Workspace, id: &SessionId) -> Result<(String, Option<ObjectId>)> {
    let name = names::work(id, ws.clone_id().unwrap_or_default());
    let own = match ws.repo.refs().get(&name)? {
        Some(Target::Object(own)) => Some(own),
        _ => None,
    };
    Ok((name, own))
}

/// Whether the work that the log names can be put back from what is here.
///
/// A fetch that was cut leaves what had come: the commit, and not all that it needs. What a reference has came whole.
pub fn is_here(ws: &Workspace, summary: &Summary) -> bool {
    let wanted = summary.work.or(summary.head).or(summary.base);
    if !wanted.is_none_or(|oid| objects::exists(&ws.repo, oid)) {
        return false;
    }
    let Some(work) = summary.work else { return true };
    let has = |tip: ObjectId| objects::is_ancestor(&ws.repo, work, tip).unwrap_or(false);
    let works = ws
        .repo
        .refs()
        .list(&names::works(&summary.id))
        .unwrap_or_default();
    works
        .iter()
        .any(|reference| matches!(reference.target, Target::Object(tip) if has(tip)))
        || whole::is_complete(&ws.repo, work, names::ALL).unwrap_or(false)
}

/// Refuses what needs the work that the log names where that has not come yet.
///
/// # Errors
/// [`Error::WorkElsewhere`] names the remote that may have it.
pub fn check_here(ws: &Workspace, summary: &Summary) -> Result<()> {
    match is_here(ws, summary) {
        true => Ok(()),
        false => Err(elsewhere(ws, summary)),
    }
}

/// Fetches the work that the log names from wherever it may be had, if it is not here.
///
/// # Errors
/// As [`check_here`] where no remote is to be asked, else as [`bring`].
pub fn need(ws: &Workspace, summary: &Summary) -> Result<()> {
    if is_here(ws, summary) {
        return Ok(());
    }
    match source(ws, summary) {
        Some(remote) => bring(ws, &remote, summary),
        None => Err(elsewhere(ws, summary)),
    }
}

/// Brings this clone's work reference onto the work that was taken over, so that what follows follows it.
pub fn take_over(ws: &Workspace, claim: &Session) -> Result<()> {
    let (id, summary) = (claim.id(), &claim.event.summary);
    let Some(work) = summary.work.filter(|_| is_here(ws, summary)) else {
        return Ok(());
    };
    let (name, own) = own(ws, id)?;
    let durability = ws.store().durability();
    let update = |new, expected| ws.repo.refs().update(&name, Some(new), expected, durability);
    match own {
        None => update(work, Expected::Absent)?,
        Some(own) if objects::is_ancestor(&ws.repo, work, own)? => return Ok(()),
        Some(own) if objects::is_ancestor(&ws.repo, own, work)? => update(work, Expected::At(own))?,
        Some(own) => {
            let message = format!("work of session {id}, taken over");
            let signature = ws.sign()?.signature;
            snapshot::join(&ws.repo, work, own, &signature, &message, durability, |joined| {
                update(joined, Expected::At(own))
            })?
        }
    };
    Ok(())
}

/// Whether a session's log says that its work was forgotten; after that it can't have got any other.
///
/// # Errors
/// Logs that can't be read.
pub fn is_forgotten(ws: &Workspace, session: &Session) -> Result<bool> {
    if session.event.summary.state != State::Terminated {
        return Ok(false);
    }
    let mut found = false;
    ws.store()
        .every_event(session, |_, event| found |= !event.forgotten.is_empty())?;
    Ok(found)
}

/// Refuses a session whose work was forgotten.
pub fn check_not_forgotten(ws: &Workspace, session: &Session) -> Result<()> {
    match is_forgotten(ws, session)? {
        true => Err(Error::Forgotten(session.id().clone())),
        false => Ok(()),
    }
}

fn elsewhere(ws: &Workspace, summary: &Summary) -> Error {
    Error::WorkElsewhere {
        id: summary.id.clone(),
        remote: source(ws, summary).map(|remote| remote.name().to_owned()),
    }
}

/// The session's home, or else the usual remote.
fn source<'w>(ws: &'w Workspace, summary: &Summary) -> Option<Remote<'w>> {
    let home = home(ws, summary).ok().flatten();
    home.or_else(|| chosen(ws, None).ok())
}

/// Fetches the work that the log names, if it is not here.
///
/// # Errors
/// Work, or a base, that the remote doesn't have either: [`Error::NoWork`] says what is missing.
pub fn bring(ws: &Workspace, remote: &Remote<'_>, summary: &Summary) -> Result<()> {
    if is_here(ws, summary) {
        return Ok(());
    }
    let prefix = names::works(&summary.id);
    let there: Vec<(SessionId, String, ObjectId)> = remote
        .names(&[prefix.as_str()])?
        .iter()
        .filter_map(|(name, oid)| {
            let clone = name.strip_prefix(&prefix)?.to_owned();
            Some((summary.id.clone(), clone, *oid))
        })
        .collect();
    let came = bring_all(ws, remote, &there)?;
    if is_here(ws, summary) {
        return Ok(());
    }
    if let Some((name, why)) = came.set_aside.into_iter().next() {
        return Err(crate::git::Error::Malformed(format!("'{name}': {why}")).into());
    }
    // A session that never ran has a base and no work; the remote may have it on some branch.
    if let (None, Some(base)) = (summary.work, summary.head.or(summary.base))
        && remote.fetch_objects(&[base.to_string()]).is_ok()
        && is_here(ws, summary)
    {
        return Ok(());
    }
    let what = match summary.work {
        Some(work) => format!("its work {work}"),
        None => format!(
            "its base {}",
            summary.base.map(|oid| oid.to_string()).unwrap_or_default()
        ),
    };
    Err(Error::NoWork {
        id: summary.id.clone(),
        remote: remote.name().to_owned(),
        what,
    })
}

/// What came of clones' work.
#[derive(Debug, Default)]
pub struct Came {
    /// Whose work is here now that was not, or was older.
    pub whose: BTreeSet<SessionId>,
    /// References that could not be had, and why.
    pub set_aside: Vec<(String, String)>,
}

/// Fetches clones' work references that are not here, each under its own name.
pub fn bring_all(
    ws: &Workspace,
    remote: &Remote<'_>,
    there: &[(SessionId, String, ObjectId)],
) -> Result<Came> {
    let own = ws.clone_id().unwrap_or_default();
    let prefix = match there {
        [] => return Ok(Came::default()),
        [(id, ..)] => names::works(id),
        _ => names::WORKS.to_owned(),
    };
    let here: HashMap<BString, Target> = ws
        .repo
        .refs()
        .list(&prefix)?
        .into_iter()
        .map(|reference| (reference.name, reference.target))
        .collect();
    let mut wanted = Vec::new();
    let mut came = Came::default();
    for (id, clone, oid) in there {
        let name = names::work(id, clone);
        let here = here.get(BStr::new(&name));
        // Ours has one writer, which is us; it comes only where it was lost.
        let is_wanted = match clone == own {
            true => here.is_none(),
            false => here != Some(&Target::Object(*oid)),
        };
        if is_wanted {
            came.whose.insert(id.clone());
            wanted.push(Wanted {
                from: name.clone(),
                to: name,
            });
        }
    }
    if wanted.is_empty() {
        return Ok(came);
    }
    for (name, fetched) in remote.fetch(&wanted)? {
        if let Fetched::Refused(why) = fetched {
            came.set_aside.push((name, why));
        }
    }
    Ok(came)
}
