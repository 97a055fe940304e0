//! `claim`: takes a session over, or makes sure that it still is ours, before anything of it runs here.
//!
//! Home decides: the claim is pushed onto home's tip with an exact lease and read back, and only then does the log here
//! follow. Of any number of clones that try, one wins.

use super::error::{Doing, Error, Result};
use super::fetch::{Fate, follow};
use super::mode::Mode;
use super::own_name::is_unseen;
use super::push::{adopt, remember, send};
use super::record::{load, propose};
use super::remotes::{home, refused};
use super::tracking::{Here, What, names};
use super::work;
use super::workspace::Workspace;
use crate::git::refs::Expected;
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::session::log::UNOBSERVED;
use crate::session::{self, Kind, SessionId, State};
use crate::store::written::Written;
use crate::store::{Append, Session, names as refnames};

/// How often the claim is made anew when home's log went on under the same owner.
const TRIES: usize = 10;
/// The word of a claim that a start or a resume is to follow.
pub const RUN: &str = "run";
/// The word of a claim that no home has confirmed.
pub const OFFLINE: &str = "offline";

/// How a session is claimed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claim {
    /// A start or a resume is to follow.
    pub run: bool,
    /// Also where a worker runs, or is about to, that can't be seen from here.
    pub force: bool,
    /// Without asking home.
    pub offline: bool,
}

/// Claims a session: at its home, or here alone where it has none.
///
/// A session that this clone owns and that has no home needs no claim; it is returned as it is.
///
/// # Errors
/// [`Error::ClaimLost`] names the winner; a running session needs force; work that isn't to be had is named.
pub fn claim(ws: &mut Workspace, id: &SessionId, how: Claim) -> Result<Session> {
    ws.prepare()?;
    let ws = &*ws;
    let session = load(ws, id)?;
    ws.store().check_writable(&session)?;
    let summary = &session.event.summary;
    if summary.home.is_none() && ws.owns(summary) && !(how.force && is_unseen(ws, &session)?) {
        return Ok(session);
    }
    if how.offline || summary.home.is_none() {
        return alone(ws, &session, how);
    }
    match home(ws, summary)? {
        Some(remote) => at_home(ws, &remote, id, how),
        None => alone(ws, &session, how),
    }
}

/// Claims without a home to ask, and says so in the event.
fn alone(ws: &Workspace, session: &Session, how: Claim) -> Result<Session> {
    check_work(session, work::is_here(ws, &session.event.summary), how)?;
    let claim = step(ws, session, how, Some(OFFLINE))?;
    match ws.store().advance(&claim, Expected::At(session.tip))? {
        Append::Done(_) => taken(ws, &claim.session),
        Append::Moved(_) => Err(Error::Busy(session.id().clone())),
    }
}

fn check_work(session: &Session, is_here: bool, how: Claim) -> Result<()> {
    if is_here || how.force {
        return Ok(());
    }
    Err(Error::Lacking {
        id: session.id().clone(),
        what: "its work is not here".to_owned(),
    })
}

fn at_home(ws: &Workspace, remote: &Remote<'_>, id: &SessionId, how: Claim) -> Result<Session> {
    let known = load(ws, id)?.event.summary.epoch;
    for _ in 0..TRIES {
        let ours = level(ws, remote, id)?;
        let summary = &ours.event.summary;
        // Somebody took it whom the caller did not know of; to take it from them is another decision.
        if summary.epoch > known && !ws.owns(summary) {
            return Err(Error::ClaimLost {
                id: id.clone(),
                host: summary.host.clone(),
            });
        }
        check_idle(ws, &ours, how)?;
        match work::bring(ws, remote, summary) {
            Err(_) if how.force => {}
            other => other?,
        }
        let claim = step(ws, &ours, how, None)?;
        let update = Update {
            name: refnames::log(id),
            new: Some(claim.session.tip),
            lease: Lease::At(ours.tip),
        };
        let pushed = remote.push(&[update]).map(|pushed| pushed.into_iter().next());
        // The answer may be lost, or be of another push: what home has is what counts.
        let now = names(remote, std::slice::from_ref(id), What::Logs)?;
        if now.logs.get(id) == Some(&claim.session.tip) {
            adopt(ws, &ours, &claim)?;
            remember(ws, remote, id, claim.session.tip)?;
            return taken(ws, &claim.session);
        }
        match pushed? {
            Some((_, Pushed::Refused(why))) => return Err(refused(id, remote, why)),
            // It shows the log to who fetches and hides it from who pushes.
            Some((_, Pushed::Moved)) if now.logs.get(id) == Some(&ours.tip) => {
                let why = "it takes no update of what it shows".to_owned();
                return Err(refused(id, remote, why));
            }
            Some((_, Pushed::Moved | Pushed::UpToDate | Pushed::Done)) | None => {}
        }
    }
    Err(Error::Busy(id.clone()))
}

/// Brings home's log and ours to the same event: theirs is followed, ours is sent where this clone is the owner.
fn level(ws: &Workspace, remote: &Remote<'_>, id: &SessionId) -> Result<Session> {
    let mut handed_in = false;
    for round in 0..TRIES {
        if round > 1
            && let Some((from, to)) = remote.ways()
        {
            let name = remote.name();
            let what =
                format!("'{name}' shows '{from}' and sends to '{to}': a claim needs a remote that is one");
            return Err(Error::Lacking { id: id.clone(), what });
        }
        let names = names(remote, std::slice::from_ref(id), What::Logs)?;
        let Some(theirs) = names.logs.get(id).copied() else {
            let ours = load(ws, id)?;
            if !ws.owns(&ours.event.summary) {
                let why = "it has no such session any more".to_owned();
                return Err(refused(id, remote, why));
            }
            if handed_in && remote.ways().is_none() {
                let why = "it does not show what it is sent".to_owned();
                return Err(refused(id, remote, why));
            }
            hand_in(ws, remote, ours)?;
            handed_in = true;
            continue;
        };
        let report = follow(ws, remote, &names, &Here::read(ws, remote)?, Mode::Do)?;
        for line in report.lines {
            if let Some(why) = line.fate.refusal() {
                let what = format!("its log on '{}' can't be followed: {why}", remote.name());
                return Err(Error::Lacking { id: id.clone(), what });
            }
            match line.fate {
                Fate::Fenced { host, .. } => return Err(Error::ClaimLost { id: id.clone(), host }),
                Fate::Diverged => {
                    let theirs = ws.store().at(id, theirs)?;
                    let merged = super::rejoin::merge_home(ws, &theirs)?;
                    hand_in(ws, remote, merged)?;
                }
                Fate::Ahead => hand_in(ws, remote, load(ws, id)?)?,
                _ => {}
            }
        }
        let ours = load(ws, id)?;
        if ours.tip == theirs {
            return Ok(ours);
        }
    }
    Err(Error::Busy(id.clone()))
}

/// Sends what this clone has of a session; a log that isn't taken is an error.
fn hand_in(ws: &Workspace, remote: &Remote<'_>, session: Session) -> Result<()> {
    let id = session.id().clone();
    for line in send(ws, remote, vec![session], Mode::Do)?.lines {
        if let Some(why) = line.log.refusal() {
            return Err(refused(&id, remote, why.to_owned()));
        }
    }
    Ok(())
}

/// Refuses a session that runs somewhere else, or may be about to.
fn check_idle(ws: &Workspace, session: &Session, how: Claim) -> Result<()> {
    let (event, summary) = (&session.event, &session.event.summary);
    if how.force || ws.owns(summary) {
        return Ok(());
    }
    let doing = match summary.state {
        State::Running => Doing::Running,
        _ if event.intent.as_deref() == Some(RUN) => Doing::AboutToRun,
        _ if summary.frozen => Doing::Frozen,
        _ => return Ok(()),
    };
    Err(Error::RunsElsewhere {
        id: session.id().clone(),
        host: summary.host.clone(),
        doing,
    })
}

/// Writes the claim onto a log's tip, without moving the log.
fn step(ws: &Workspace, session: &Session, how: Claim, word: Option<&str>) -> Result<Written> {
    let summary = &session.event.summary;
    let own = ws.owns(summary);
    let stranger = own && how.force && is_unseen(ws, session)?;
    let unseen = stranger
        || !own && (summary.frozen || session.event.intent.is_some() || summary.state == State::Running);
    // Force is for a worker that can't be seen; an owner sees its own, and stops it first.
    let kind = if how.force && (!own || stranger) {
        session::Claim::Forced
    } else {
        session::Claim::Plain
    };
    let clone = ws.clone_id().unwrap_or_default().to_owned();
    propose(ws, session, Kind::Claim, kind, |event| {
        if !own {
            event.summary.epoch = summary.epoch.saturating_add(1);
            event.summary.owner.clone_from(&clone);
        }
        // An owner that claims what is its own changes nothing of what is true of it.
        event.summary.frozen = own && !stranger && summary.frozen;
        event.summary.reason = unseen.then(|| UNOBSERVED.to_owned());
        event.intent = how.run.then(|| RUN.to_owned());
        event.claim = word.map(str::to_owned);
    })
}

/// What is left to be done once a claim is won.
fn taken(ws: &Workspace, claim: &Session) -> Result<Session> {
    work::take_over(ws, claim)?;
    load(ws, claim.id())
}

/// Gives up what a claim announced, when the start or resume that was to follow has failed.
///
/// Until this is sent, other clones take the session for one that is about to run.
pub fn stand_down(ws: &mut Workspace, id: &SessionId) -> Result<()> {
    let session = load(ws, id)?;
    if session.event.intent.as_deref() != Some(RUN) || !ws.owns(&session.event.summary) {
        return Ok(());
    }
    let offline = session.event.claim.as_deref() == Some(OFFLINE);
    claim(
        ws,
        id,
        Claim {
            offline,
            ..Claim::default()
        },
    )?;
    Ok(())
}
