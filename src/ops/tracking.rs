//! What a remote has, and what of it is a session of ours: fetched, checked, kept under `refs/session-remotes/`.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::iter::Peekable;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use jiff::Timestamp;

use super::error::Result;
use super::files::make_private_dir;
use super::files::write_atomically;
use super::workspace::Workspace;
use crate::git::refs::{Change, Expected, Outcome, Reference, Target};
use crate::git::remote::{Fetched, Remote, Wanted};
use crate::git::{Durability, objects};
use crate::session::SessionId;
use crate::store::{self, Session, names};

/// A remote's references that are about sessions.
#[derive(Debug, Default)]
pub struct Names {
    /// Logs, by id.
    pub logs: BTreeMap<SessionId, ObjectId>,
    /// Requests and superseded logs: whose, under which nonce, and the commit.
    pub inbox: Vec<(SessionId, String, ObjectId)>,
    /// Clones' work: whose session, which clone, and the commit.
    pub works: Vec<(SessionId, String, ObjectId)>,
    /// Which session made a commit.
    pub notes: Option<ObjectId>,
    /// Names that are no session's, which belong to somebody else.
    pub skipped: Vec<String>,
}

/// What of a remote is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Logs alone.
    Logs,
    /// Requests and superseded logs too.
    Inbox,
    /// Everything.
    Work,
}

/// Asks a remote for its names; of these sessions only, or of all if there are none, and always for its notes.
pub fn names(remote: &Remote<'_>, ids: &[SessionId], what: What) -> Result<Names> {
    let mut prefixes = vec![names::NOTES.to_owned()];
    if ids.is_empty() {
        prefixes.push(names::SESSIONS.to_owned());
        prefixes.extend((what != What::Logs).then(|| names::INBOXES.to_owned()));
        prefixes.extend((what == What::Work).then(|| names::WORKS.to_owned()));
    }
    for id in ids {
        prefixes.push(names::log(id));
        prefixes.extend((what != What::Logs).then(|| names::inboxes(id)));
        prefixes.extend((what == What::Work).then(|| names::works(id)));
    }
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let mut found = Names::default();
    let mut logs = Vec::new();
    for (name, oid) in remote.names(&prefixes)?.iter() {
        let oid = *oid;
        let rest = |prefix: &str| -> Option<(SessionId, String)> {
            let (id, rest) = name.strip_prefix(prefix)?.split_once('/')?;
            (!rest.contains('/')).then_some((id.parse().ok()?, rest.to_owned()))
        };
        if let Some(longer) = name.strip_prefix(names::NOTES) {
            if longer.is_empty() {
                found.notes = Some(oid);
            }
        } else if let Some(id) = name.strip_prefix(names::SESSIONS) {
            match id.parse::<SessionId>() {
                // A prefix asks for `a` and for `a-b` alike on some servers.
                Ok(id) if ids.is_empty() || ids.contains(&id) => {
                    logs.push((id, oid));
                }
                Ok(_) => {}
                Err(_) => found.skipped.push(name.clone()),
            }
        } else if let Some((id, nonce)) = rest(names::INBOXES) {
            found.inbox.push((id, nonce, oid));
        } else if let Some((id, clone)) = rest(names::WORKS) {
            found.works.push((id, clone, oid));
        } else {
            found.skipped.push(name.clone());
        }
    }
    found.logs = logs.into_iter().collect();
    Ok(found)
}

/// What came of one log that was fetched.
#[derive(Debug)]
pub enum Brought {
    /// It is a session of ours, whole and legal.
    Session(Box<Session>),
    /// The remote's log is not what it was when it was last seen.
    Rewound,
    /// It is no log that this version can follow; the reason is for people.
    SetAside(String),
    /// It is no session at all, but something of somebody else's that stands where sessions do.
    Foreign(String),
}

/// What is here of sessions and of what a remote had of them.
#[derive(Debug, Default)]
pub struct Here {
    /// Where the logs are.
    pub logs: BTreeMap<SessionId, ObjectId>,
    /// Where the remote's logs were when they were last seen.
    pub seen: BTreeMap<SessionId, ObjectId>,
}

impl Here {
    /// Reads it.
    pub fn read(ws: &Workspace, remote: &Remote<'_>) -> Result<Here> {
        Here::read_during(ws, remote, || ()).0
    }

    /// Reads it while something else is done that takes its time.
    pub fn read_during<T>(ws: &Workspace, remote: &Remote<'_>, act: impl FnOnce() -> T) -> (Result<Here>, T) {
        let seen = names::trackings(remote.name());
        let here = |listed: Vec<Vec<Reference>>| {
            let mut listed = listed.into_iter();
            Here {
                logs: by_id(listed.next().unwrap_or_default(), names::SESSIONS),
                seen: by_id(listed.next().unwrap_or_default(), &seen),
            }
        };
        let (here, done) = ws.repo.refs().list_during(&[names::SESSIONS, &seen], here, act);
        (here.map_err(Into::into), done)
    }
}

/// Looks into a map for ids that come in order, in one walk through it.
pub struct Walk<'m>(Peekable<btree_map::Iter<'m, SessionId, ObjectId>>);

impl<'m> Walk<'m> {
    pub fn through(map: &'m BTreeMap<SessionId, ObjectId>) -> Walk<'m> {
        Walk(map.iter().peekable())
    }

    /// Gives what the map has for an id, which is not before the one that was asked for last.
    pub fn at(&mut self, id: &SessionId) -> Option<ObjectId> {
        while self.0.next_if(|(found, _)| *found < id).is_some() {}
        let (found, oid) = self.0.peek()?;
        (*found == id).then_some(**oid)
    }
}

/// The references below a prefix that are called by the id of a session.
fn by_id(references: Vec<Reference>, prefix: &str) -> BTreeMap<SessionId, ObjectId> {
    let parse = |reference: Reference| {
        let id = reference.name.strip_prefix(prefix.as_bytes())?;
        match reference.target {
            Target::Object(oid) => Some((id.to_str().ok()?.parse().ok()?, oid)),
            _ => None,
        }
    };
    references.into_iter().filter_map(parse).collect()
}

/// Where the remote's logs were when they were last seen.
pub fn last_seen(ws: &Workspace, remote: &str) -> Result<BTreeMap<SessionId, ObjectId>> {
    let prefix = names::trackings(remote);
    Ok(by_id(ws.repo.refs().list(&prefix)?, &prefix))
}

/// Fetches logs that have changed, checks each, and gives what came of it.
///
/// `seen` is where the remote's logs were before. Of a log that goes on from ours only the rest is checked; what was
/// merely seen may have been set aside.
pub fn bring(
    ws: &Workspace,
    remote: &Remote<'_>,
    changed: &[(SessionId, ObjectId)],
    seen: &BTreeMap<SessionId, ObjectId>,
) -> Result<Vec<(SessionId, Brought)>> {
    bring_with(ws, remote, changed, seen, None)
}

/// The same, and in the same connection what another reference leads to.
pub fn bring_with(
    ws: &Workspace,
    remote: &Remote<'_>,
    changed: &[(SessionId, ObjectId)],
    seen: &BTreeMap<SessionId, ObjectId>,
    along: Option<&str>,
) -> Result<Vec<(SessionId, Brought)>> {
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<Wanted> = changed
        .iter()
        .filter(|(id, oid)| seen.get(id) != Some(oid))
        .map(|(id, _)| Wanted {
            from: names::log(id),
            to: names::tracking(remote.name(), id),
        })
        .collect();
    let fetched: HashMap<String, Fetched> = match wanted.is_empty() {
        true => HashMap::new(),
        false => remote.fetch_with(&wanted, along)?.into_iter().collect(),
    };
    // What came may be newer than what was asked for.
    let now = Here::read(ws, remote)?;
    let mut brought = Vec::with_capacity(changed.len());
    for (id, oid) in changed {
        let came = match fetched.get(&names::log(id)) {
            Some(Fetched::Rewound) => replaced(ws, remote, id, now.seen.get(id).copied(), *oid)?,
            Some(Fetched::Refused(why)) => Brought::SetAside(why.clone()),
            Some(Fetched::Done) | None => {
                let tip = *now.seen.get(id).unwrap_or(oid);
                check(ws, id, tip, now.logs.get(id).copied())
            }
        };
        brought.push((id.clone(), came));
    }
    Ok(brought)
}

/// Tells what [`bring`] would give of logs that have changed, of those that are here already; it writes nothing.
pub fn foresee(
    ws: &Workspace,
    changed: &[(SessionId, ObjectId)],
    here: &Here,
) -> Vec<(SessionId, Option<Brought>)> {
    let what = |id: &SessionId, there: ObjectId| {
        if !objects::exists(&ws.repo, there) {
            return None;
        }
        let seen = here.seen.get(id).filter(|seen| **seen != there);
        let goes_on = |seen: &ObjectId| objects::is_ancestor(&ws.repo, *seen, there).unwrap_or(false);
        let is_log = |seen: &ObjectId| matches!(check(ws, id, *seen, None), Brought::Session(_));
        match seen {
            Some(seen) if !goes_on(seen) && is_log(seen) => Some(Brought::Rewound),
            _ => Some(check(ws, id, there, here.logs.get(id).copied())),
        }
    };
    changed
        .iter()
        .map(|(id, there)| (id.clone(), what(id, *there)))
        .collect()
}

/// What it means that a log does not go on from where it was when it was last seen.
///
/// Nothing was rewound where nothing of ours had been: what another tool moves, or what was set aside, is seen anew.
fn replaced(
    ws: &Workspace,
    remote: &Remote<'_>,
    id: &SessionId,
    seen: Option<ObjectId>,
    there: ObjectId,
) -> Result<Brought> {
    let Some(seen) = seen else {
        return Ok(Brought::Rewound);
    };
    let before = ws.store().at(id, seen).and_then(|before| {
        ws.store().check(&before, None)?;
        Ok(before)
    });
    match before {
        Ok(before) => match ws.store().at(id, there) {
            Ok(now) => Ok(match ws.store().check_same_root(&before, &now) {
                Err(error @ store::Error::OtherRoot { .. }) => Brought::SetAside(error.to_string()),
                _ => Brought::Rewound,
            }),
            Err(_) => Ok(Brought::Rewound),
        },
        Err(store::Error::NotOurs { .. } | store::Error::Illegal { .. } | store::Error::OtherRoot { .. }) => {
            let name = names::tracking(remote.name(), id);
            let durability = ws.store().durability();
            let moved = ws
                .repo
                .refs()
                .update(&name, Some(there), Expected::At(seen), durability)?;
            Ok(match moved {
                Outcome::Done => check(ws, id, there, Here::read(ws, remote)?.logs.get(id).copied()),
                // Another fetch has seen something newer.
                Outcome::Moved(_) => {
                    Brought::SetAside("it was fetched by another command meanwhile".to_owned())
                }
            })
        }
        Err(_) => Ok(Brought::Rewound),
    }
}

/// What a log is that has come.
fn check(ws: &Workspace, id: &SessionId, tip: ObjectId, here: Option<ObjectId>) -> Brought {
    match checked(ws, id, tip, here) {
        Ok(session) => Brought::Session(Box::new(session)),
        Err(error @ store::Error::NotOurs { .. }) => Brought::Foreign(error.to_string()),
        Err(error) => Brought::SetAside(error.to_string()),
    }
}

/// Reads a log, and checks what ours doesn't have of it.
fn checked(ws: &Workspace, id: &SessionId, tip: ObjectId, here: Option<ObjectId>) -> store::Result<Session> {
    let known = here.and_then(|here| ws.store().at(id, here).ok());
    let session = ws.store().at(id, tip)?;
    ws.store().check(&session, known.as_ref())?;
    Ok(session)
}

/// What became of the memory of a log that its remote has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vanished {
    /// It was dropped: what it held is in the log here, or was none of a session.
    Dropped,
    /// It stays, since nothing else here has the events in it.
    Kept,
}

/// Drops the memory of logs that were seen before a remote was asked, and that it doesn't have any more.
///
/// Logs here stay. `asked` is what the remote was asked for; everything, if empty.
pub fn drop_vanished(
    ws: &Workspace,
    remote: &Remote<'_>,
    here: &Here,
    there: &Names,
    asked: &[SessionId],
) -> Result<Vec<(SessionId, Vanished)>> {
    let is_asked = |id: &SessionId| asked.is_empty() || asked.contains(id);
    let mut there = Walk::through(&there.logs);
    let mut gone: Vec<(&SessionId, &ObjectId)> = here
        .seen
        .iter()
        .filter(|(id, _)| there.at(id).is_none() && is_asked(id))
        .collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    // What is here was read while the remote answered, so it may be the newer news.
    let now = names(remote, asked, What::Logs)?;
    gone.retain(|(id, _)| !now.logs.contains_key(id));
    let (mut vanished, mut drops) = (Vec::new(), Vec::new());
    for (id, oid) in gone {
        let is_needed = match checked(ws, id, *oid, here.logs.get(id).copied()) {
            Ok(theirs) => {
                let ours = ws.store().load(id)?;
                !ours.is_some_and(|ours| ws.store().contains(&ours, &theirs).unwrap_or(false))
            }
            // What can't be read now may be all that there is.
            Err(store::Error::Git(_)) => true,
            Err(_) => false,
        };
        if is_needed {
            vanished.push((id.clone(), Vanished::Kept));
            continue;
        }
        let change = Change {
            name: names::tracking(remote.name(), id),
            new: None,
            expected: Expected::At(*oid),
        };
        drops.push((id, change));
    }
    let (ids, changes): (Vec<&SessionId>, Vec<Change>) = drops.into_iter().unzip();
    let dropped = ws.repo.refs().update_all(&changes, ws.store().durability())?;
    for (id, outcome) in ids.into_iter().zip(dropped) {
        // Losing means that it was seen again meanwhile.
        if let Outcome::Done = outcome? {
            vanished.push((id.clone(), Vanished::Dropped));
        }
    }
    Ok(vanished)
}

/// Notes that a remote has just been asked for everything that it has.
pub fn note_asked(ws: &Workspace, remote: &str) -> Result<()> {
    note(ws, remote, "fetched")
}

/// Notes that a remote was sent something, which is all that is known of one that was never asked.
pub fn note_sent(ws: &Workspace, remote: &str) -> Result<()> {
    note(ws, remote, "sent")
}

fn note(ws: &Workspace, remote: &str, what: &str) -> Result<()> {
    let dir = ws.repo.local_dir().join(what);
    make_private_dir(&dir)?;
    let name = names::encode(remote);
    // A remote that is a long URL has no name that a file could have; its news has no age then.
    if name.len() > 200 {
        return Ok(());
    }
    let path = dir.join(name);
    write_atomically(&path, b"", Durability::Relaxed)
}

/// When a remote was last asked for everything, or, if it never was, when it was last sent something, in whole seconds.
pub fn asked_at(ws: &Workspace, remote: &str) -> Option<Timestamp> {
    let when = |what: &str| {
        let path = ws.repo.local_dir().join(what).join(names::encode(remote));
        let changed = std::fs::metadata(path).ok()?.modified().ok()?;
        let changed = Timestamp::try_from(changed).ok()?;
        Timestamp::from_second(changed.as_second()).ok()
    };
    when("fetched").or_else(|| when("sent"))
}
