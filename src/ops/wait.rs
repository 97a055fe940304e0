//! Waits until sessions have ended; of those that another clone owns, their home is asked now and then.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::{Error, Result};
use super::fetch::follow_home;
use super::record::{load, spec};
use super::recover::GRACE;
use super::relay;
use super::workspace::Workspace;
use crate::session::{Outcome, SessionId, State};
use crate::store::Session;
use crate::worker::wait_free;

/// The pause between two looks at a session that no process here will end.
const PAUSE: Duration = Duration::from_millis(200);
/// The first pause between two questions to a home; it doubles with each further one.
const ASK: Duration = Duration::from_secs(1);
/// The longest pause between two questions.
const LONGEST: Duration = Duration::from_secs(15);

/// What a wait came to.
#[derive(Debug)]
pub enum Waited {
    /// The session has ended.
    Ended(Session),
    /// It runs by its log, but nobody supervises it any more.
    Stale(Session),
    /// It runs elsewhere by its log, but its time was up long ago, and its home has not heard of its end.
    Overdue(Session),
    /// The time was up.
    Late(Session),
}

/// What is known of sessions that other clones own, and when their homes are asked again.
#[derive(Debug, Default)]
pub struct News {
    asked: HashMap<SessionId, Asked>,
}

#[derive(Debug)]
struct Asked {
    next: Instant,
    pause: Duration,
    /// Why home could not be asked the last time, if it couldn't.
    failed: Option<String>,
}

/// Whether news of the session comes from its home.
pub fn is_elsewhere(ws: &Workspace, session: &Session) -> bool {
    let summary = &session.event.summary;
    !ws.owns(summary) && summary.home.is_some()
}

/// Waits for one session; `waiting` is called once with what holds it up, where nothing here makes it go on, and
/// with the reason whenever its home can be asked no more.
///
/// # Errors
/// A home that no remote of this clone leads to. One that can't be reached is asked again.
pub fn wait(
    ws: &Workspace,
    id: &SessionId,
    until: Option<Instant>,
    mut waiting: impl FnMut(&Session, Option<&str>),
) -> Result<Waited> {
    let run_dir = ws.run_dir(id);
    let mut news = News::default();
    let mut told = false;
    loop {
        let session = match look(ws, id, &mut news, &mut waiting)? {
            Waited::Late(session) => session,
            over => return Ok(over),
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Waited::Late(session));
        }
        if session.event.summary.state == State::Running && ws.owns(&session.event.summary) {
            match run_dir.is_supervised()? {
                true => drop(wait_free(&run_dir.supervisor_lock(), left)?),
                false => thread::sleep(Duration::from_millis(5)),
            }
            continue;
        }
        if !std::mem::replace(&mut told, true) {
            waiting(&session, None);
        }
        thread::sleep(left.unwrap_or(PAUSE).min(PAUSE));
    }
}

/// Waits until the first of several has ended.
///
/// # Errors
/// As [`wait`].
pub fn wait_any(
    ws: &Workspace,
    ids: &[SessionId],
    until: Option<Instant>,
    mut waiting: impl FnMut(&Session, Option<&str>),
) -> Result<Waited> {
    let mut news = News::default();
    let mut told = false;
    loop {
        for id in ids {
            match look(ws, id, &mut news, &mut waiting)? {
                Waited::Late(session) if until.is_some_and(|until| until <= Instant::now()) => {
                    return Ok(Waited::Late(session));
                }
                Waited::Late(session) if !told => waiting(&session, None),
                Waited::Late(_) => {}
                over => return Ok(over),
            }
        }
        told = true;
        thread::sleep(PAUSE / 4);
    }
}

/// How it stands with a session now; [`Waited::Late`] means that it is still to be waited for.
fn look(
    ws: &Workspace,
    id: &SessionId,
    news: &mut News,
    waiting: &mut impl FnMut(&Session, Option<&str>),
) -> Result<Waited> {
    let mut session = load(ws, id)?;
    if session.event.summary.state != State::Terminated && is_elsewhere(ws, &session) {
        if news.ask(ws, &session, waiting)? {
            session = load(ws, id)?;
        }
        if session.event.summary.state == State::Running && news.is_overdue(ws, &session)? {
            return Ok(Waited::Overdue(session));
        }
    }
    match session.event.summary.state {
        State::Terminated => return Ok(Waited::Ended(session)),
        State::Running if ws.owns(&session.event.summary) => {
            let run_dir = ws.run_dir(id);
            if !run_dir.is_supervised()? && !run_dir.is_guarded()? && load(ws, id)?.tip == session.tip {
                return Ok(Waited::Stale(session));
            }
        }
        _ => {}
    }
    Ok(Waited::Late(session))
}

impl News {
    /// Asks the session's home and follows it, if it is time to; tells whether it was.
    fn ask(
        &mut self,
        ws: &Workspace,
        session: &Session,
        waiting: &mut impl FnMut(&Session, Option<&str>),
    ) -> Result<bool> {
        let id = session.id();
        let before = self.asked.get(id);
        if before.is_some_and(|asked| asked.next > Instant::now()) {
            return Ok(false);
        }
        let failed = match follow_home(ws, session) {
            Ok(failed) => failed,
            Err(Error::Git(error @ crate::git::Error::Remote { .. })) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Some(why) = failed.as_deref()
            && before.is_none_or(|before| before.failed.is_none())
        {
            waiting(session, Some(why));
        }
        let longest = LONGEST.min(relay::interval(ws)).max(ASK);
        let pause = before.map_or(ASK, |before| before.pause.saturating_mul(2).min(longest));
        let asked = Asked {
            next: Instant::now() + pause,
            pause,
            failed,
        };
        self.asked.insert(id.clone(), asked);
        Ok(true)
    }

    /// Whether its owner had the time that it takes to end it and to say so, and home, just asked, has heard nothing.
    fn is_overdue(&self, ws: &Workspace, session: &Session) -> Result<bool> {
        let heard = self
            .asked
            .get(session.id())
            .is_some_and(|asked| asked.failed.is_none());
        let Some(deadline) = session.event.summary.deadline.filter(|_| heard) else {
            return Ok(false);
        };
        let grace = spec(ws, session)?.limits.grace.unwrap_or(GRACE);
        let last = deadline.checked_add(grace.saturating_add(relay::interval(ws)));
        Ok(last.is_ok_and(|last| last < Timestamp::now()))
    }
}

/// The exit code that stands for an ended session.
pub fn exit_code(session: &Session) -> i32 {
    session
        .event
        .summary
        .outcome
        .as_ref()
        .map_or(125, Outcome::exit_code)
}
