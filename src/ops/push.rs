//! `push`: what this clone has of sessions, sent by object id; work first, then the logs that name it.

use std::collections::HashMap;

use gix::ObjectId;

use super::error::{Error, Result};
use super::fetch::is_cut;
use super::mode::Mode;
use super::own_name::contradiction;
use super::parcel::{Known, Line, Parcel, Sent};
use super::provenance;
use super::record::{TRIES, load};
use super::rejoin::{merge_home, rejoin};
use super::remotes::{chosen, home, refused};
use super::tracking::{Brought, What, bring, last_seen, names, note_sent};
use super::workspace::Workspace;
use crate::git::refs::{Expected, Target};
use crate::git::remote::{Lease, Pushed, Remote, RemoteFault, Update};
use crate::session::SessionId;
use crate::store::written::Written;
use crate::store::{Append, Session, names as refnames};

/// What is to be sent.
#[derive(Debug, Default)]
pub struct Push<'a> {
    /// The usual one, if absent.
    pub remote: Option<&'a str>,
    /// All, if empty.
    pub ids: &'a [SessionId],
    /// Where it is only shown, nothing is sent.
    pub mode: Mode,
}

/// What went.
#[derive(Debug)]
pub struct Report {
    pub remote: String,
    pub lines: Vec<Line>,
    /// Why the remote doesn't have the notes that are here, if it doesn't.
    pub notes: Option<String>,
}

/// How many sessions are sent without asking first what is there.
const FEW: usize = 8;
/// How often a log is sent again because another push of this clone came first.
const RIVALS: usize = 10;

/// Sends what the remote lacks.
///
/// # Errors
/// A remote that can't be talked to. What it refuses is told by session, and hinders no other.
pub fn push(ws: &mut Workspace, what: &Push<'_>) -> Result<Report> {
    ws.prepare()?;
    let ws = &*ws;
    let remote = chosen(ws, what.remote)?;
    let sessions = match what.ids {
        [] => ws.store().list()?.sessions,
        ids => ids.iter().map(|id| load(ws, id)).collect::<Result<_>>()?,
    };
    let report = send(ws, &remote, sessions, what.mode)?;
    if what.mode == Mode::Do {
        note_sent(ws, remote.name())?;
    }
    Ok(report)
}

/// Sends what this clone has of one session to the session's home, if it has one.
///
/// # Errors
/// A remote that can't be talked to, or that doesn't take the log.
pub fn hand_in(ws: &Workspace, id: &SessionId) -> Result<()> {
    let session = load(ws, id)?;
    let Some(remote) = home(ws, &session.event.summary)? else {
        return Ok(());
    };
    for line in send(ws, &remote, vec![session], Mode::Do)?.lines {
        if let Some(why) = line.log.refusal() {
            return Err(refused(id, &remote, why.to_owned()));
        }
    }
    Ok(())
}

/// Sends these sessions' work and logs.
pub fn send(ws: &Workspace, remote: &Remote<'_>, sessions: Vec<Session>, mode: Mode) -> Result<Report> {
    let known = match sessions.len() <= FEW && mode == Mode::Do {
        true => None,
        false => Some(Known::ask(ws, remote, &sessions, mode)?),
    };
    let here = works_here(ws, &sessions)?;
    let alone = sessions.len() == 1;
    let mut parcels = Vec::with_capacity(sessions.len());
    let mut lines = Vec::new();
    for session in sessions {
        let id = session.id().clone();
        let works = here.get(&id).cloned().unwrap_or_default();
        match Parcel::pack(ws, remote, session, works, known.as_ref(), mode) {
            Ok(parcel) => parcels.push(parcel),
            // One that can't be read keeps no other here.
            Err(error) if !alone => lines.push(Line {
                id,
                log: Sent::Refused(error.to_string()),
                work: None,
                holds: None,
            }),
            Err(error) => return Err(error),
        }
    }
    let notes = match mode {
        Mode::Show => None,
        Mode::Do => deliver(ws, remote, &mut parcels)?,
    };
    lines.extend(parcels.into_iter().map(Parcel::line));
    lines.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Report {
        remote: remote.name().to_owned(),
        lines,
        notes,
    })
}

/// The work references here of these sessions, read once where they are many.
fn works_here(ws: &Workspace, sessions: &[Session]) -> Result<HashMap<SessionId, Vec<(String, ObjectId)>>> {
    let prefixes = match sessions.len() <= FEW {
        true => sessions
            .iter()
            .map(|session| refnames::works(session.id()))
            .collect(),
        false => vec![refnames::WORKS.to_owned()],
    };
    let mut works: HashMap<SessionId, Vec<(String, ObjectId)>> = HashMap::new();
    for prefix in prefixes {
        for reference in ws.repo.refs().list(&prefix)? {
            let name = reference.name.to_string();
            if let (Some((id, _)), Target::Object(oid)) = (refnames::work_of(&name), reference.target) {
                works.entry(id).or_default().push((name, oid));
            }
        }
    }
    Ok(works)
}

/// Sends work and logs in one connection where the order can't matter, else in two; notes go along with what goes
/// last. Gives why the notes were not sent, if they were not.
fn deliver(ws: &Workspace, remote: &Remote<'_>, parcels: &mut [Parcel]) -> Result<Option<String>> {
    let works: Vec<Update> = parcels
        .iter()
        .flat_map(|parcel| &parcel.works)
        .map(|(name, oid)| update(name.clone(), *oid, Lease::FastForward))
        .collect();
    let logs: Vec<Update> = parcels
        .iter()
        .filter(|parcel| parcel.log_sent == Sent::Pending)
        .map(|parcel| update(refnames::log(parcel.session.id()), parcel.tip(), parcel.lease))
        .collect();
    let notes = match parcels {
        [] => Ok(None),
        _ => provenance::to_send(ws, remote),
    };
    let (notes, mut unsent) = match notes {
        Ok(notes) => (notes, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let together = parcels
        .iter()
        .all(|parcel| parcel.works.is_empty() || parcel.has_work);
    let mut sent: HashMap<String, Pushed> = HashMap::new();
    if !works.is_empty() && !logs.is_empty() && together {
        let all: Vec<Update> = works.iter().chain(&logs).cloned().collect();
        if let Ok(pushed) = push_with(remote, &all, notes.as_ref()) {
            sent.extend(pushed);
        }
    }
    if sent.is_empty() && !works.is_empty() {
        // A remote that takes no work (too big, too shallow) may well take the log.
        let notes = notes.as_ref().filter(|_| logs.is_empty());
        match push_with(remote, &works, notes) {
            Ok(pushed) => sent.extend(pushed),
            Err(error) if logs.is_empty() => return Err(error.into()),
            Err(error) => {
                let why = error.to_string();
                let refused = |work: Update| (work.name, Pushed::Refused(why.clone()));
                sent.extend(works.into_iter().map(refused));
            }
        }
    }
    if logs.iter().any(|log| !sent.contains_key(&log.name)) {
        let pushed = match push_with(remote, &logs, notes.as_ref()) {
            // Whatever is wrong with the notes, it keeps no log here.
            Err(error) if notes.is_some() && !is_final(&error) => {
                unsent = Some(error.to_string());
                remote.push(&logs)?
            }
            pushed => pushed?,
        };
        sent.extend(pushed);
    } else if let Some(notes) = notes.as_ref().filter(|notes| !sent.contains_key(&notes.name)) {
        match remote.push(std::slice::from_ref(notes)) {
            Ok(pushed) => sent.extend(pushed),
            Err(error) => unsent = Some(error.to_string()),
        }
    }
    let alone = parcels.len() == 1;
    for parcel in parcels {
        match settle(ws, remote, parcel, &sent) {
            Err(error) if !alone && !is_cut(&error) => parcel.log_sent = Sent::Refused(error.to_string()),
            settled => settled?,
        }
    }
    Ok(
        match notes
            .as_ref()
            .and_then(|notes| Some((notes, sent.get(&notes.name)?)))
        {
            Some((notes, pushed)) => provenance::settle(ws, remote, notes, pushed),
            None => unsent,
        },
    )
}

/// Pushes, and notes in the same connection.
fn push_with(
    remote: &Remote<'_>,
    updates: &[Update],
    notes: Option<&Update>,
) -> crate::git::Result<Vec<(String, Pushed)>> {
    let all: Vec<Update> = updates.iter().chain(notes).cloned().collect();
    remote.push(&all)
}

/// Whether it makes no difference to such an error what is sent.
fn is_final(error: &crate::git::Error) -> bool {
    let crate::git::Error::Remote { why, .. } = error else {
        return false;
    };
    matches!(
        why,
        RemoteFault::Silent(_) | RemoteFault::Denied | RemoteFault::Hash
    )
}

fn update(name: String, new: ObjectId, lease: Lease) -> Update {
    Update {
        name,
        new: Some(new),
        lease,
    }
}

/// Turns the remote's answer into what is true of the session, and lets our log follow its home event.
fn settle(
    ws: &Workspace,
    remote: &Remote<'_>,
    parcel: &mut Parcel,
    sent: &HashMap<String, Pushed>,
) -> Result<()> {
    if !parcel.works.is_empty() {
        let own = refnames::work(parcel.session.id(), ws.clone_id().unwrap_or_default());
        let outcomes: Vec<Sent> = parcel
            .works
            .iter()
            .map(|(name, _)| match sent.get(name) {
                Some(Pushed::Done) => Sent::Sent,
                Some(Pushed::UpToDate) => Sent::UpToDate,
                // Each clone alone writes its own, so what is there of another one is newer than what is here of it.
                Some(Pushed::Moved) if *name != own => Sent::UpToDate,
                Some(Pushed::Moved) => {
                    Sent::Refused("the remote has other work under this clone's name".to_owned())
                }
                Some(Pushed::Refused(why)) => Sent::Refused(why.clone()),
                None => Sent::Refused("the remote said nothing of it".to_owned()),
            })
            .collect();
        let worst = outcomes.iter().find(|sent| sent.refusal().is_some());
        let worst = worst.or(outcomes.iter().find(|sent| **sent == Sent::Sent));
        parcel.work_sent = worst.or(outcomes.first()).cloned();
    }
    if parcel.work_sent != Some(Sent::Sent) {
        parcel.holds = None;
    }
    let id = parcel.session.id().clone();
    let name = refnames::log(&id);
    let Some(pushed) = sent.get(&name) else {
        return Ok(());
    };
    parcel.log_sent = match pushed {
        Pushed::Done => Sent::Sent,
        Pushed::UpToDate => Sent::UpToDate,
        Pushed::Moved => {
            parcel.log_sent = overtaken(ws, remote, &parcel.session)?;
            return Ok(());
        }
        Pushed::Refused(why) => Sent::Refused(why.clone()),
    };
    // What was sent before, and is there by now, was remembered when it was brought.
    if matches!(pushed, Pushed::Done | Pushed::UpToDate) {
        if let Some(first) = &parcel.first {
            adopt(ws, &parcel.session, first)?;
        }
        remember(ws, remote, &id, parcel.tip())?;
    }
    Ok(())
}

/// Finds out what the remote has instead of what could not be sent. What another push of this clone has sent meanwhile
/// is brought together with ours, and both are sent.
fn overtaken(ws: &Workspace, remote: &Remote<'_>, ours: &Session) -> Result<Sent> {
    let id = ours.id();
    for _ in 0..RIVALS {
        let there = names(remote, std::slice::from_ref(id), What::Logs)?.logs;
        let there: Vec<(SessionId, ObjectId)> = there.into_iter().collect();
        let seen = last_seen(ws, remote.name())?;
        let theirs = match bring(ws, remote, &there, &seen)?.into_iter().next() {
            Some((_, Brought::Session(theirs))) => theirs,
            Some((_, Brought::SetAside(why) | Brought::Foreign(why))) => return Ok(Sent::Refused(why)),
            Some((_, Brought::Rewound)) => return Ok(Sent::Refused("its log was rewound there".to_owned())),
            None => return Ok(Sent::Refused("its log is gone there".to_owned())),
        };
        if let Err(error) = ws.store().check_same_root(ours, &theirs) {
            return Ok(Sent::Refused(error.to_string()));
        }
        if !ws.owns(&theirs.event.summary) || !ws.owns(&ours.event.summary) {
            return Ok(match ws.store().contains(&theirs, ours)? {
                true => Sent::Behind,
                false => Sent::WentOn,
            });
        }
        if let Some(why) = contradiction(ws, ours, &theirs)? {
            return Ok(Sent::Refused(why));
        }
        let joined = merge_home(ws, &theirs)?;
        let pushed = remote.push(&[update(refnames::log(id), joined.tip, Lease::FastForward)])?;
        let sent = match pushed.into_iter().next() {
            Some((_, Pushed::Done)) => Sent::Sent,
            Some((_, Pushed::UpToDate)) => Sent::UpToDate,
            Some((_, Pushed::Refused(why))) => return Ok(Sent::Refused(why)),
            Some((_, Pushed::Moved)) | None => continue,
        };
        remember(ws, remote, id, joined.tip)?;
        return Ok(sent);
    }
    Ok(Sent::WentOn)
}

/// Moves our log to the event that the remote has taken; what was recorded here meanwhile is merged with it.
pub fn adopt(ws: &Workspace, ours: &Session, taken: &Written) -> Result<()> {
    let mut at = ours.tip;
    for _ in 0..TRIES {
        let next = if at == ours.tip {
            taken.clone()
        } else {
            let other = ws.store().at(ours.id(), at)?;
            // Another push of this clone may have been faster.
            if ws.store().contains(&other, &taken.session)? {
                return Ok(());
            }
            rejoin(ws, &taken.session, &other)?.on(taken.clone())
        };
        match ws.store().advance(&next, Expected::At(at))? {
            Append::Done(_) => return Ok(()),
            Append::Moved(Some(now)) => at = now,
            Append::Moved(None) => return Err(Error::NotFound(ours.id().to_string())),
        }
    }
    Err(Error::Busy(ours.id().clone()))
}

/// Notes where the remote's log is now.
pub fn remember(ws: &Workspace, remote: &Remote<'_>, id: &SessionId, tip: ObjectId) -> Result<()> {
    let name = refnames::tracking(remote.name(), id);
    let seen = ws.repo.refs().get(&name)?;
    let expected = match seen {
        Some(Target::Object(oid)) if oid == tip => return Ok(()),
        Some(Target::Object(oid)) => Expected::At(oid),
        _ => Expected::Absent,
    };
    // Losing means that a fetch has seen something newer.
    ws.repo
        .refs()
        .update(&name, Some(tip), expected, ws.store().durability())?;
    Ok(())
}
