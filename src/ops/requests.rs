//! What clones ask of each other: a request is put into the session's inbox at its home, and its owner answers in the
//! log. Either side may be offline; what could not be sent waits here for the next `sync`.

use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::fetch::follow_home;
use super::inbox::{hand_in, send_waiting};
use super::machine::{host, random_word};
use super::record::{load, record};
use super::remotes::{home, is_home};
use super::stop::{Stop, suspend, terminate};
use super::workspace::Workspace;
use crate::git;
use crate::git::refs::Outcome;
use crate::git::remote::{Fetched, Remote, Wanted};
use crate::session::event::FORMAT;
use crate::session::{Ask, Event, Kind, Request, SessionId, State, Summary};
use crate::store::inbox::Entry;
use crate::store::{Session, names as refnames};

/// How often home is asked for an answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a nonce is, in characters.
const NONCE: usize = 26;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Wish {
    pub ask: Ask,
    pub reason: Option<String>,
    pub note: Option<String>,
}

/// A request that was made.
#[derive(Debug)]
pub struct Asked {
    pub nonce: String,
    /// The owner's host.
    pub host: String,
    /// Why it waits here instead of at home, if it does.
    pub waits: Option<String>,
}

/// What an owner has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Why it refused, if it did.
    pub refused: Option<String>,
}

/// A request that was answered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub id: SessionId,
    pub nonce: String,
    pub ask: Ask,
    /// Who asked.
    pub host: String,
    /// Why it was refused, if it was.
    pub refused: Option<String>,
}

/// Asks the owner of a session for something.
///
/// # Errors
/// Sessions without a home, where nobody would find the request, and ended ones.
pub fn ask(ws: &mut Workspace, id: &SessionId, what: &Wish) -> Result<Asked> {
    ws.prepare()?;
    let ws = &*ws;
    let session = load(ws, id)?;
    let summary = &session.event.summary;
    let Some(remote) = home(ws, summary)? else {
        return Err(Error::OwnedElsewhere {
            id: id.clone(),
            host: summary.host.clone(),
            claimable: summary.state != State::Terminated,
        });
    };
    super::record::check(&session, what.ask.kind())?;
    let signed = ws.sign()?;
    let request = Request {
        format: FORMAT,
        id: id.clone(),
        ask: what.ask,
        epoch: summary.epoch,
        seq: session.event.seq,
        owner: ws.clone_id().unwrap_or_default().to_owned(),
        host: host(),
        nonce: random_word(NONCE)?,
        reason: what.reason.clone(),
        note: what.note.clone(),
        at: signed.stamp.at,
        by: signed.stamp.by,
    };
    let (entry, outcome) = ws
        .store()
        .ask(&session, &request, [&signed.author, &signed.signature])?;
    if let Outcome::Moved(_) = outcome {
        return Err(Error::Busy(id.clone()));
    }
    let waits = hand_in(ws, &remote, &entry).err().map(|error| error.to_string());
    Ok(Asked {
        nonce: request.nonce,
        host: summary.host.clone(),
        waits,
    })
}

/// Asks home whether a session still is this clone's; gives why that can't be told, if it can't.
///
/// # Errors
/// A session that can't be read.
pub fn is_ours(ws: &mut Workspace, id: &SessionId) -> Result<(bool, Option<String>)> {
    ws.prepare()?;
    let ws = &*ws;
    let unknown = match follow_home(ws, &load(ws, id)?) {
        Ok(why) => why,
        Err(error) => Some(error.to_string()),
    };
    Ok((ws.owns(&load(ws, id)?.event.summary), unknown))
}

/// Waits until the owner has answered. A home that is down is asked again, and first told to `deaf`.
///
/// # Errors
/// No answer within `limit`, where one is given.
pub fn wait(
    ws: &Workspace,
    id: &SessionId,
    asked: &Asked,
    limit: Option<Duration>,
    mut deaf: impl FnMut(&str),
) -> Result<Reply> {
    let begun = Instant::now();
    let (mut waits, mut failed) = (asked.waits.is_some(), false);
    loop {
        let failure = match listen(ws, id, &mut waits) {
            Ok(failure) => failure,
            Err(Error::Git(error @ git::Error::Remote { .. })) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Some(why) = failure.as_deref().filter(|_| !failed) {
            deaf(why);
        }
        failed = failure.is_some();
        if let Some(reply) = answered(ws, &load(ws, id)?, &asked.nonce)? {
            return Ok(reply);
        }
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            return Err(Error::NoAnswer {
                id: id.clone(),
                host: asked.host.clone(),
            });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Follows the session's log at its home, and sends there what still waits here; gives why it can't be followed.
fn listen(ws: &Workspace, id: &SessionId, waits: &mut bool) -> Result<Option<String>> {
    let session = load(ws, id)?;
    let failure = follow_home(ws, &session)?;
    if *waits && let Some(remote) = home(ws, &session.event.summary)? {
        *waits = !send_waiting(ws, &remote, std::slice::from_ref(id))?.is_empty();
    }
    Ok(failure)
}

/// The answer that a log has to a request.
fn answered(ws: &Workspace, session: &Session, nonce: &str) -> Result<Option<Reply>> {
    let refusal = |event: Event| {
        let note = event.note.filter(|_| event.kind == Kind::Answer)?;
        note.strip_prefix(REFUSED).map(str::to_owned)
    };
    Ok(found(ws, session, nonce)?.map(|event| Reply {
        refused: refusal(event),
    }))
}

/// The last event that says of a request that it is carried out or refused: the answer, or else the step itself.
fn found(ws: &Workspace, session: &Session, nonce: &str) -> Result<Option<Event>> {
    let history = ws.store().history(session)?;
    let is_it = |event: &Event| event.request.as_deref() == Some(nonce);
    Ok(history.into_iter().rev().map(|(_, event)| event).find(is_it))
}

/// What is in the inboxes of this clone's sessions.
#[derive(Debug, Default)]
pub struct Brought {
    pub entries: Vec<Entry>,
    /// What nobody can answer, by name with the reason.
    pub left: Vec<(String, String)>,
}

/// Why a request can be neither carried out nor refused here, if that is so.
pub fn why_left(request: &Request, now: &Summary) -> Option<String> {
    if request.is_newer_format() {
        let format = request.format;
        return Some(format!(
            "it is of format {format}, which a newer version can answer"
        ));
    }
    (request.epoch > now.epoch).then(|| {
        format!(
            "it is about epoch {}, and what is known here ends with {}",
            request.epoch, now.epoch
        )
    })
}

/// How an answer begins that is a refusal.
const REFUSED: &str = "refused: ";

/// Brings what others put into the inboxes of sessions that this clone owns, of these only, or of all if there are none.
///
/// What this clone itself had to say to an owner, before it became that, is among it. What can't be had, or means
/// nothing here, is named with the reason.
pub fn bring(
    ws: &Workspace,
    remote: &Remote<'_>,
    inbox: &[(SessionId, String, gix::ObjectId)],
    ids: &[SessionId],
) -> Result<Brought> {
    let is_for_us = |id: &SessionId| {
        // What stands here under that id may be somebody else's.
        let session = ws.store().load(id).ok().flatten();
        session.is_some_and(|session| {
            let summary = &session.event.summary;
            ws.owns(summary) && is_home(ws, summary, remote)
        })
    };
    let mut wanted = Vec::new();
    for (id, nonce, _) in inbox {
        if is_for_us(id) {
            let name = refnames::inbox(id, nonce);
            wanted.push(Wanted {
                from: name.clone(),
                to: name,
            });
        }
    }
    let mut brought = Brought::default();
    if !wanted.is_empty() {
        for (name, fetched) in remote.fetch(&wanted)? {
            match fetched {
                Fetched::Done => {}
                Fetched::Rewound => brought.left.push((name, "it is another one here".to_owned())),
                Fetched::Refused(why) => brought.left.push((name, why)),
            }
        }
    }
    let all = ws.store().inbox(None)?;
    for entry in all.entries {
        let id = entry.id();
        if (ids.is_empty() || ids.contains(id)) && is_for_us(id) {
            brought.entries.push(entry);
        }
    }
    for (name, why) in all.skipped {
        let name = name.to_string();
        let Some((id, _)) = refnames::inbox_of(&name) else {
            continue;
        };
        if (ids.is_empty() || ids.contains(&id)) && is_for_us(&id) {
            brought.left.push((name, why));
        }
    }
    Ok(brought)
}

/// Carries out a request, or refuses it, and answers in the log; one that was answered before isn't again.
pub fn answer(ws: &mut Workspace, request: &Request) -> Result<Option<Answer>> {
    let session = load(ws, &request.id)?;
    if let Some(what) = why_left(request, &session.event.summary) {
        let id = request.id.clone();
        return Err(Error::Lacking { id, what });
    }
    let found = found(ws, &session, &request.nonce)?;
    if found.as_ref().is_some_and(|event| event.kind == Kind::Answer) {
        return Ok(None);
    }
    let done = match request.is_outdated(&session.event.summary) {
        // It was carried out by a command that was killed before it could answer.
        _ if found.is_some() => Ok(()),
        true => Err("ownership was taken after it was made".to_owned()),
        false => match carry_out(ws, request) {
            Ok(()) => Ok(()),
            // What is only so at the moment is no answer: the request stays, and the next sync tries again.
            Err(error @ Error::Busy(_)) => return Err(error),
            Err(error) if error.exit_code() != 1 => return Err(error),
            Err(error) => Err(error.to_string()),
        },
    };
    let text = match &done {
        Ok(()) => format!("done: {}", request.ask),
        Err(why) => format!("{REFUSED}{why}"),
    };
    record(ws, &request.id, Kind::Answer, |event| {
        event.request = Some(request.nonce.clone());
        event.note = Some(text.clone());
    })?;
    Ok(Some(Answer {
        id: request.id.clone(),
        nonce: request.nonce.clone(),
        ask: request.ask,
        host: request.host.clone(),
        refused: done.err(),
    }))
}

fn carry_out(ws: &mut Workspace, request: &Request) -> Result<()> {
    let reason = request.reason.clone();
    let stop = Stop {
        reason: reason.or_else(|| Some(format!("asked for by {} on '{}'", request.by, request.host))),
        request: Some(request.nonce.clone()),
        ..Stop::default()
    };
    match request.ask {
        Ask::Terminate => terminate(ws, &request.id, &stop)?,
        Ask::Suspend => suspend(ws, &request.id, &stop)?,
        Ask::Note => {
            let Some(text) = request.note.clone().filter(|text| !text.is_empty()) else {
                let (id, what) = (request.id.clone(), "the note has no text".to_owned());
                return Err(Error::Lacking { id, what });
            };
            record(ws, &request.id, Kind::Note, |event| {
                event.note = Some(text.clone());
                event.request = Some(request.nonce.clone());
            })?
        }
    };
    Ok(())
}
