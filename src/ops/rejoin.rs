//! Brings together what one clone recorded on both sides of a fork of its own log, so that no step of it is undone.

use super::error::{Error, Result};
use super::own_name::contradiction;
use super::record::{TRIES, load};
use super::workspace::Workspace;
use crate::git::refs::Expected;
use crate::session::event::Stamp;
use crate::session::merge::Relation;
use crate::session::{Claim, Kind, Summary};
use crate::store::written::Written;
use crate::store::{Append, Session};

/// Merges our log into home's side, whose state the merge has.
///
/// A log forks within one clone when an event was sent to the home, which decides on it first, while the session went
/// on here. Where home's side took no step of its own meanwhile, ours are taken again on top of the merge: what was
/// observed here is what is true.
///
/// # Errors
/// As [`Store::merge`](crate::store::Store::merge).
pub fn rejoin(ws: &Workspace, mainline: &Session, ours: &Session) -> Result<Written> {
    let mut joined = ws.store().merge(mainline, ours)?;
    for step in steps_apart(ws, mainline, ours)? {
        let signed = ws.sign()?;
        // It happened when and by whom it is said to have happened.
        let stamp = Stamp {
            at: step.event.at,
            by: step.event.by.clone(),
            nonce: signed.stamp.nonce,
        };
        let kind = step.event.kind;
        let illegal = |refused| Error::Illegal {
            id: step.id().clone(),
            refused,
        };
        let onto = &joined.session;
        let mut event = onto.event.step(kind, Claim::Plain, stamp).map_err(illegal)?;
        event.note.clone_from(&step.event.note);
        event.request.clone_from(&step.event.request);
        event.summary = Summary {
            state: event.summary.state,
            epoch: event.summary.epoch,
            owner: event.summary.owner,
            home: event.summary.home,
            ..step.event.summary.clone()
        };
        let by = [&signed.author, &signed.signature];
        joined = ws.store().write_event(onto, &event, by)?.on(joined);
    }
    Ok(joined)
}

/// Brings the log here together with home's, whose side is the mainline.
pub fn merge_home(ws: &Workspace, theirs: &Session) -> Result<Session> {
    let id = theirs.id();
    for _ in 0..TRIES {
        let ours = load(ws, id)?;
        let moved = match ws.store().relation(&ours, theirs)? {
            Relation::Same | Relation::Ahead => return Ok(ours),
            Relation::Behind => {
                let moves = [(theirs.clone(), Expected::At(ours.tip))];
                ws.store().advance_all(&moves)?.into_iter().next().transpose()?
            }
            Relation::Diverged => {
                let merged = rejoin(ws, theirs, &ours)?;
                Some(ws.store().advance(&merged, Expected::At(ours.tip))?)
            }
        };
        if let Some(Append::Done(session)) = moved {
            return Ok(*session);
        }
    }
    Err(Error::Busy(id.clone()))
}

/// Lets our log follow one that only this clone went on with, whose acknowledgement never came.
pub fn regained(ws: &Workspace, ours: &Session, theirs: &Session) -> Result<bool> {
    if !ws.owns(&ours.event.summary) || !ws.owns(&theirs.event.summary) {
        return Ok(false);
    }
    if contradiction(ws, ours, theirs)?.is_some() {
        return Ok(false);
    }
    let moves = [(theirs.clone(), Expected::At(ours.tip))];
    let moved = ws.store().advance_all(&moves)?.pop();
    Ok(matches!(moved.transpose()?, Some(Append::Done(_))))
}

/// The steps that only our side took, oldest first; none where the other side took any, or is another owner's.
fn steps_apart(ws: &Workspace, mainline: &Session, ours: &Session) -> Result<Vec<Session>> {
    let (theirs, summary) = (&mainline.event.summary, &ours.event.summary);
    if !ws.owns(theirs) || !ws.owns(summary) || theirs.epoch != summary.epoch {
        return Ok(Vec::new());
    }
    let store = ws.store();
    let mut steps = Vec::new();
    let mut next = Some(ours.clone());
    let fork = loop {
        let Some(session) = next else {
            return Ok(Vec::new());
        };
        if store.contains(mainline, &session)? {
            break session;
        }
        match session.event.kind {
            Kind::Claim => return Ok(Vec::new()),
            kind if kind.is_transition() || kind == Kind::Checkpoint => steps.push(session.clone()),
            _ => {}
        }
        next = store.before(&session)?;
    };
    let mut next = Some(mainline.clone());
    while let Some(session) = next.filter(|session| session.event.seq > fork.event.seq) {
        if session.event.kind.is_transition() || session.event.kind == Kind::Checkpoint {
            return Ok(Vec::new());
        }
        next = store.before(&session)?;
    }
    steps.reverse();
    Ok(steps)
}
