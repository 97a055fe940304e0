//! Ends a run, or saves in its midst: snapshot, event, notes and parking, in that order.

use gix::ObjectId;

use super::changed::Changed;
use super::error::{Error, Result};
use super::gone;
use super::local::RunDir;
use super::placing::park;
use super::record::{load, record};
use super::records::Place;
use super::standing::{is_outdated, place, standing};
use super::work;
use super::workspace::Workspace;
use crate::git::command::Running;
use crate::git::refs::{Expected, Outcome as Moved};
use crate::git::snapshot::{self, Capture, Captured, Extra};
use crate::git::{self, notes, worktree};
use crate::session::{Event, Kind, Outcome, RecordOutput, SessionId, State};
use crate::store::{Session, names};

/// The name under which a worker's output is kept with its work.
pub const OUTPUT: &str = "output.log";
/// How much of it is its tail, in bytes.
const TAIL: u64 = 64 * 1024;

/// What is true of a run that is no more, or that stands still.
#[derive(Debug, Clone, Default)]
pub struct End {
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
    /// The nonce of the request that is carried out by it.
    pub request: Option<String>,
    /// The processes are kept in memory.
    pub frozen: bool,
}

/// Records a suspend, a terminate or a checkpoint with the work as it is now.
///
/// Nobody may be writing to the worktree, and the caller holds the session's guard.
///
/// # Errors
/// Illegal steps, and an event that can't be written. Work that can't be saved is named in the event instead; the
/// worktree is kept then.
pub fn settle(ws: &Workspace, id: &SessionId, kind: Kind, end: &End) -> Result<Session> {
    let run_dir = ws.run_dir(id);
    let before = load(ws, id)?;
    super::record::check(&before, kind)?;
    let living = end.frozen || (kind == Kind::Checkpoint && before.event.summary.state == State::Running);
    let locks = if living { Locks::Keep } else { Locks::MoveAside };
    let mut failed = false;
    let saved = match try_save(ws, &before, &run_dir, kind, locks) {
        Ok(saved) => saved,
        // A checkpoint is nothing but what it saves; a worker that has ended is recorded all the same.
        Err(error) if kind == Kind::Checkpoint => return Err(error),
        Err(error) => {
            failed = true;
            Saved {
                captured: None,
                lost: Vec::new(),
                unsaved: vec![format!("everything: {error}")],
            }
        }
    };
    let session = record(ws, id, kind, |event| {
        if kind.is_transition() {
            event.summary.outcome = end.outcome.clone();
            event.summary.reason = end.reason.clone();
            event.request = end.request.clone();
        }
        event.summary.frozen = end.frozen;
        saved.tell(event);
    })?;
    let Some(captured) = saved.captured else {
        match finish(ws, &session, &run_dir) {
            // What keeps the worktree from being looked at is told by the event; notes and parking can be done later.
            Err(_) if failed => forget_run(&session, &run_dir)?,
            finished => finished?,
        }
        return Ok(session);
    };
    if let Some(place) = place(ws, &run_dir)? {
        let work = Some(captured.work.to_string());
        if place.work != work {
            run_dir.write_place(&Place { work, ..place })?;
        }
    }
    let (work, counting) = release(ws, &before, captured)?;
    finish(ws, &session, &run_dir)?;
    counting.finish(ws, work)?;
    Ok(session)
}

/// Does what follows an event and can be done again: notes, parking, and forgetting a launch that is over.
pub fn finish(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<()> {
    note_commits(ws, session, run_dir)?;
    if session.event.summary.state == State::Terminated {
        park(ws, session, run_dir)?;
    }
    forget_run(session, run_dir)
}

/// Forgets a launch that is over, and what was asked of one that isn't.
fn forget_run(session: &Session, run_dir: &RunDir) -> Result<()> {
    match session.event.summary.state {
        State::Terminated => run_dir.clear_run(),
        State::Suspended if session.event.summary.frozen => run_dir.clear_intent(),
        State::Suspended => run_dir.clear_run(),
        // An intent that is still there belongs to whoever lets the processes go on.
        State::Pending | State::Running => Ok(()),
    }
}

/// What becomes of locks in the worktree's git directory.
#[derive(Clone, Copy)]
enum Locks {
    /// The processes that took them go on later, and then want to find them.
    Keep,
    /// All processes that could have taken them are dead.
    MoveAside,
}

/// What a look at the worktree gave.
struct Saved {
    captured: Option<Captured>,
    /// Lines for the event on what went with the worktree's directory.
    lost: Vec<String>,
    /// Lines for the event on what is there and not saved.
    unsaved: Vec<String>,
}

impl Saved {
    fn tell(&self, event: &mut Event) {
        // Where nothing was there to be looked at, what could not be saved before still isn't.
        if self.captured.is_some() || !self.lost.is_empty() || !self.unsaved.is_empty() {
            event.summary.unsaved = [self.lost.as_slice(), &self.unsaved].concat();
        }
        if let Some(captured) = &self.captured {
            event.summary.work = Some(captured.work);
            event.summary.head = captured.head.or(event.summary.head);
        }
    }
}

/// Saves what the worktree has on this clone's work reference, without an event; gives what could not be saved.
pub fn save(ws: &Workspace, session: &Session) -> Result<Vec<String>> {
    let run_dir = ws.run_dir(session.id());
    let saved = try_save(ws, session, &run_dir, Kind::Checkpoint, Locks::Keep)?;
    let Some(captured) = saved.captured else {
        return Ok([saved.lost, saved.unsaved].concat());
    };
    let (work, counting) = release(ws, session, captured)?;
    counting.finish(ws, work)?;
    Ok(saved.unsaved)
}

/// Takes a snapshot and moves this clone's work ref to it.
fn try_save(ws: &Workspace, session: &Session, run_dir: &RunDir, kind: Kind, locks: Locks) -> Result<Saved> {
    let summary = &session.event.summary;
    let stands_still = matches!(summary.state, State::Pending | State::Suspended) && !summary.frozen;
    let before = place(ws, run_dir)?;
    let outdated = stands_still && run_dir.run()?.is_none() && is_outdated(ws, session, before.as_ref())?;
    let found = match standing(ws, run_dir)? {
        None if !outdated && matches!(locks, Locks::MoveAside) => gone::again(ws, session, run_dir)?,
        found => found,
    };
    let lost_before = place(ws, run_dir)?.and_then(|place| place.lost);
    let Some(found) = found else {
        let lost = gone::lost(ws, session, run_dir)?;
        return Ok(Saved {
            captured: None,
            lost: lost_before.into_iter().chain(lost).collect(),
            unsaved: Vec::new(),
        });
    };
    if outdated && kind != Kind::Checkpoint {
        // What is in it was saved before the session went on elsewhere, and is no part of its work now; whoever took it
        // over may have been killed before a reference had its work.
        work::take_over(ws, session)?;
        return Ok(Saved {
            captured: None,
            lost: Vec::new(),
            unsaved: Vec::new(),
        });
    }
    if let Locks::MoveAside = locks {
        worktree::move_stale_locks(&found, &ws.trash())?;
    }
    let (name, own) = work::own(ws, &summary.id)?;
    let signed = ws.sign()?;
    let state = run_dir.state();
    let output = run_dir.output();
    let mut captured = snapshot::capture(
        &ws.repo,
        &Capture {
            worktree: &found.path,
            git_dir: &found.git_dir,
            base: summary.base,
            previous: own.or(summary.work),
            state_dir: Some(&state),
            extra: recorded_output(ws, session, kind)?.map(|limit| Extra {
                name: OUTPUT,
                path: &output,
                limit,
            }),
            signature: &signed.signature,
            message: &format!("work of session {}", summary.id),
            durability: ws.store().durability(),
        },
    )?;
    let to = captured.work;
    let moved = || move_work(ws, &name, own, to);
    match &mut captured.kept {
        Some(kept) => kept.moving(&ws.repo, moved)?,
        None => moved()?,
    }
    let left = worktree::left_behind(&ws.repo, &found)?;
    let unsaved = captured
        .unsaved
        .iter()
        .cloned()
        .chain(left.into_iter().map(gone::left_behind))
        .map(|what| format!("{}: {}", what.path, what.why))
        .collect();
    Ok(Saved {
        captured: Some(captured),
        lost: lost_before.into_iter().collect(),
        unsaved,
    })
}

/// How much of the output is to be kept with the work, in bytes; none if it isn't.
fn recorded_output(ws: &Workspace, session: &Session, kind: Kind) -> Result<Option<u64>> {
    if kind != Kind::Terminate {
        return Ok(None);
    }
    Ok(ws
        .store()
        .spec(session)?
        .record_output
        .map(|record| match record {
            RecordOutput::Tail => TAIL,
            RecordOutput::Full => u64::MAX,
        }))
}

/// Lets what was written go, now that a reference reaches it, and begins to count what the work changes.
///
/// Not sooner: a process beside it holds up what has to be on disk, and finds less than there is while a collection
/// takes things away.
fn release(ws: &Workspace, session: &Session, captured: Captured) -> Result<(ObjectId, Counting)> {
    let Captured {
        work, snapshot, kept, ..
    } = captured;
    if let Some(kept) = kept {
        kept.release(&ws.repo)?;
    }
    let base = session.event.summary.base;
    let counting = match base.filter(|_| Changed::known(ws, work).is_none()) {
        Some(base) => Counting::Begun(Changed::start(ws, base, snapshot)?),
        None => Counting::Known,
    };
    Ok((work, counting))
}

/// How far the count of what a work changes is, for lists, which read no trees.
enum Counting {
    Known,
    /// None where there is nothing to count.
    Begun(Option<Running>),
}

impl Counting {
    fn finish(self, ws: &Workspace, work: ObjectId) -> Result<()> {
        let changed = match self {
            Counting::Known => return Ok(()),
            Counting::Begun(None) => Changed::default(),
            Counting::Begun(Some(running)) => match running.finish() {
                Ok(output) => Changed::of_numstat(&output),
                // What is saved is saved, also where nobody can count it.
                Err(_) => return Ok(()),
            },
        };
        changed.remember(ws, work)
    }
}

/// The guard keeps others of this clone away, so losing here means that somebody else writes to our ref.
fn move_work(ws: &Workspace, name: &str, from: Option<ObjectId>, to: ObjectId) -> git::Result<()> {
    if from == Some(to) {
        return Ok(());
    }
    let expected = from.map_or(Expected::Absent, Expected::At);
    match ws
        .repo
        .refs()
        .update(name, Some(to), expected, ws.store().durability())?
    {
        Moved::Done => Ok(()),
        Moved::Moved(_) => Err(git::Error::Malformed(format!(
            "'{name}' was moved by somebody else"
        ))),
    }
}

/// Writes down which session made the commits of its worktree.
fn note_commits(ws: &Workspace, session: &Session, run_dir: &RunDir) -> Result<()> {
    let Some(place) = place(ws, run_dir)? else {
        return Ok(());
    };
    let Some(found) = standing(ws, run_dir)? else {
        return Ok(());
    };
    let (commits, seen) = worktree::made_commits(&ws.repo, &found, place.noted)?;
    if seen == place.noted {
        return Ok(());
    }
    if !commits.is_empty() {
        let line = serde_json::json!({ "session": session.id().as_str() }).to_string();
        let lines: Vec<_> = commits.into_iter().map(|commit| (commit, line.clone())).collect();
        let signed = ws.sign()?;
        let message = format!("notes of session {}", session.id());
        notes::append(
            &ws.repo,
            names::NOTES,
            &lines,
            &signed.signature,
            &message,
            ws.store().durability(),
        )?;
        if ws.relays {
            super::relay::nudge(ws, session.id());
        }
    }
    run_dir.write_place(&Place { noted: seen, ..place })
}

/// Says who is still alive, for an error.
pub fn still_alive(id: &SessionId, stopped: &crate::worker::Stopped) -> Option<Error> {
    if stopped.survivors.is_empty() && !stopped.unseen {
        return None;
    }
    let mut who: Vec<String> = stopped
        .survivors
        .iter()
        .map(|process| format!("{} ({})", process.name, process.id.pid))
        .collect();
    if stopped.unseen {
        who.push("whoever holds job.lock, which can't be seen".to_owned());
    }
    Some(Error::StillAlive {
        id: id.clone(),
        who: who.join(", "),
    })
}
