//! Appends events; notes that come in between are no obstacle.

use super::error::{Error, Result};
use super::workspace::Workspace;
use crate::session::{Claim, Event, Kind, SessionId, Spec, State};
use crate::store::written::Written;
use crate::store::{Append, Session};

/// How often a step is tried again after another event came first.
pub(super) const TRIES: usize = 200;

/// Loads a session that must exist.
pub fn load(ws: &Workspace, id: &SessionId) -> Result<Session> {
    ws.store()
        .load(id)?
        .ok_or_else(|| Error::NotFound(id.to_string()))
}

/// Checks that the table has a step, before anything is done for it.
pub fn check(session: &Session, kind: Kind) -> Result<State> {
    let illegal = |refused| Error::Illegal {
        id: session.id().clone(),
        refused,
    };
    crate::session::state::next(Some(session.event.summary.state), kind, Claim::Plain).map_err(illegal)
}

/// Appends one event, on top of whatever was written meanwhile.
///
/// # Errors
/// Steps that the table refuses by then, sessions of other clones, and what can't be written.
pub fn record(ws: &Workspace, id: &SessionId, kind: Kind, change: impl Fn(&mut Event)) -> Result<Session> {
    for _ in 0..TRIES {
        let session = load(ws, id)?;
        ws.check_owned(&session)?;
        let signed = ws.sign()?;
        let illegal = |refused| Error::Illegal {
            id: id.clone(),
            refused,
        };
        let mut event = session
            .event
            .step(kind, Claim::Plain, signed.stamp)
            .map_err(illegal)?;
        event.summary.host = super::machine::host();
        change(&mut event);
        if let Append::Done(session) =
            ws.store()
                .append(&session, &event, [&signed.author, &signed.signature])?
        {
            if ws.relays {
                super::relay::nudge(ws, id);
            }
            return Ok(*session);
        }
    }
    Err(Error::Busy(id.clone()))
}

/// Writes the next event of a log without moving it: a home decides first whether it holds.
///
/// # Errors
/// Steps that the table refuses.
pub fn propose(
    ws: &Workspace,
    onto: &Session,
    kind: Kind,
    claim: Claim,
    change: impl Fn(&mut Event),
) -> Result<Written> {
    ws.store().check_writable(onto)?;
    let signed = ws.sign()?;
    let illegal = |refused| Error::Illegal {
        id: onto.id().clone(),
        refused,
    };
    let mut event = onto.event.step(kind, claim, signed.stamp).map_err(illegal)?;
    event.summary.host = super::machine::host();
    change(&mut event);
    Ok(ws
        .store()
        .write_event(onto, &event, [&signed.author, &signed.signature])?)
}

/// Loads a session's specification.
pub fn spec(ws: &Workspace, session: &Session) -> Result<Spec> {
    Ok(ws.store().spec(session)?)
}
