//! Remotes: those that have another name by now, and homes that no remote leads to.

use std::collections::BTreeMap;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::{Report, count, few};
use crate::git::refs::{Expected, Outcome, Target};
use crate::ops::error::{Error, Result};
use crate::ops::remotes::{home, is_bare, is_same_url};
use crate::ops::workspace::Workspace;
use crate::session::{SessionId, State};
use crate::store::{Session, names};

pub fn look(ws: &Workspace, sessions: &[Session], report: &mut Report) -> Result<()> {
    let before = report.lines.len();
    for (old, (seen, now)) in gone(ws)? {
        let logs = count(seen.len(), "log", "logs");
        match now {
            Now::Called(new) => report
                .problem(
                    "renamed",
                    format!("{logs} as seen on '{old}', a remote that is called '{new}' now"),
                )
                .but("'git session doctor --repair' gives them the new name"),
            Now::OneOf(names) => report
                .hint(
                    "renamed",
                    format!("{logs} as seen on '{old}', which is no remote any more; {} lead there", few(&names)),
                )
                .but("'git session fetch' of one sees them anew, 'git session verify --repair' lets the old ones go"),
            Now::Gone => report
                .hint(
                    "renamed",
                    format!("{logs} as seen on '{old}', which is no remote any more"),
                )
                .but("'git session verify --repair' lets them go"),
        }
    }
    let mut lost: BTreeMap<&str, Vec<&Session>> = BTreeMap::new();
    let mut leads: BTreeMap<&str, bool> = BTreeMap::new();
    for session in sessions {
        let summary = &session.event.summary;
        let Some(url) = summary.home.as_deref() else {
            continue;
        };
        let is_known = match leads.get(url) {
            Some(known) => *known,
            None => {
                let known = match home(ws, summary) {
                    // A setting that means nothing is told as that.
                    Ok(_) | Err(Error::Option { .. }) => true,
                    Err(Error::NoHome { .. } | Error::Git(_)) => false,
                    Err(error) => return Err(error),
                };
                leads.insert(url, known);
                known
            }
        };
        if !is_known {
            lost.entry(url).or_default().push(session);
        }
    }
    for (url, sessions) in lost {
        let ids: Vec<String> = sessions.iter().map(|session| session.id().to_string()).collect();
        let message = format!("no remote leads to '{url}', the home of {}", few(&ids));
        let matters = |session: &&Session| {
            let summary = &session.event.summary;
            ws.owns(summary) && summary.state != State::Terminated
        };
        let line = match sessions.iter().any(matters) {
            true => report.problem("no-home", message),
            false => report.hint("no-home", message),
        };
        line.but("'git remote add' it, or let session.home name the remote that leads there");
    }
    if report.lines.len() == before {
        let message = match ws.repo.remotes().len() {
            0 => "there is no remote, and no session has a home".to_owned(),
            some => {
                let remotes = count(some, "remote", "remotes");
                format!("{remotes}, and every session's home is one of them")
            }
        };
        report.ok("remotes", message);
    }
    Ok(())
}

type Seen = Vec<(SessionId, ObjectId)>;

/// What became of a remote that is configured no more.
enum Now {
    Called(String),
    /// Several lead to where it did, and which of them had its name can't be told.
    OneOf(Vec<String>),
    Gone,
}

/// What was seen at remotes that are configured no more, each with what became of its remote.
fn gone(ws: &Workspace) -> Result<BTreeMap<String, (Seen, Now)>> {
    let configured = ws.repo.remotes();
    let mut found: BTreeMap<String, Seen> = BTreeMap::new();
    for reference in ws.repo.refs().list(names::REMOTES)? {
        let tracked = reference.name.to_str().ok().and_then(names::tracked);
        let (Some((remote, id)), Target::Object(tip)) = (tracked, reference.target) else {
            continue;
        };
        if !is_bare(&remote) && !configured.iter().any(|name| *name == remote) {
            found.entry(remote).or_default().push((id, tip));
        }
    }
    found
        .into_iter()
        .map(|(old, seen)| {
            let now = new_name(ws, &seen)?;
            Ok((old, (seen, now)))
        })
        .collect()
}

/// The remote that the homes of most of these sessions lead to.
fn new_name(ws: &Workspace, seen: &Seen) -> Result<Now> {
    let mut urls: BTreeMap<String, usize> = BTreeMap::new();
    for (id, tip) in seen {
        let session = ws.store().at(id, *tip);
        if let Some(url) = session
            .ok()
            .and_then(|session| session.event.summary.home.clone())
        {
            *urls.entry(url).or_default() += 1;
        }
    }
    let Some((url, _)) = urls.into_iter().max_by_key(|(_, count)| *count) else {
        return Ok(Now::Gone);
    };
    let leads_there = |name: &String| {
        let remote = ws.repo.remote(name);
        remote.is_ok_and(|remote| remote.leads_to(&url, is_same_url))
    };
    let names = ws.repo.remotes().into_iter().map(|name| name.to_string());
    let mut candidates: Vec<String> = names.filter(leads_there).collect();
    if candidates.len() > 1 {
        // What was asked under its own name is not the one that had another.
        let asked = ws.store().tracked_remotes()?;
        let others: Vec<String> = candidates
            .iter()
            .filter(|name| !asked.contains(name))
            .cloned()
            .collect();
        if others.len() == 1 {
            candidates = others;
        }
    }
    Ok(match candidates.len() {
        0 => Now::Gone,
        1 => Now::Called(candidates.remove(0)),
        _ => Now::OneOf(candidates),
    })
}

/// Gives what was seen at renamed remotes the new name; of two that were seen the later one stays.
pub fn move_renamed(ws: &Workspace, repaired: &mut Vec<String>) -> Result<()> {
    for (old, (seen, now)) in gone(ws)? {
        let Now::Called(new) = now else { continue };
        let mut moved = 0;
        for (id, tip) in seen {
            if take(ws, &new, &id, tip)? {
                let (refs, durability) = (ws.repo.refs(), ws.store().durability());
                let name = names::tracking(&old, &id);
                refs.update(&name, None, Expected::At(tip), durability)?;
                moved += 1;
            }
        }
        let logs = count(moved, "log", "logs");
        repaired.push(format!("{logs} as seen on '{old}' are called after '{new}' now"));
    }
    Ok(())
}

/// Whether all that was seen is kept under the new name.
fn take(ws: &Workspace, remote: &str, id: &SessionId, tip: ObjectId) -> Result<bool> {
    let name = names::tracking(remote, id);
    let (refs, durability) = (ws.repo.refs(), ws.store().durability());
    let expected = match refs.get(&name)? {
        None => Expected::Absent,
        Some(Target::Object(there)) => {
            let (Ok(there), Ok(seen)) = (ws.store().at(id, there), ws.store().at(id, tip)) else {
                return Ok(false);
            };
            if ws.store().contains(&there, &seen)? {
                return Ok(true);
            }
            if !ws.store().contains(&seen, &there)? {
                return Ok(false);
            }
            Expected::At(there.tip)
        }
        Some(_) => return Ok(false),
    };
    Ok(refs.update(&name, Some(tip), expected, durability)? == Outcome::Done)
}
