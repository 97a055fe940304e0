//! What an owner does that learns that it is none any more: it stops, keeps its work, and follows home.

use gix::ObjectId;

use super::error::{Error, Result};
use super::local::Guard;
use super::own_name::lives_unsaid;
use super::parcel::withheld;
use super::record::load;
use super::recover::reconcile;
use super::remotes::is_home;
use super::stop::stand_still;
use super::work;
use super::workspace::Workspace;
use crate::git::refs::Expected;
use crate::git::remote::{Lease, Remote, Update};
use crate::session::SessionId;
use crate::store::{Append, Session};

/// Stops the worker of a session that home says is another clone's, keeps its work on this clone's work reference, and
/// follows home.
///
/// The guard is taken, so a command that is at work on the session is waited for.
pub fn fence(ws: &Workspace, remote: &Remote<'_>, ours: &Session, theirs: &Session) -> Result<Session> {
    let id = ours.id();
    let guard: Guard = ws.run_dir(id).guard(id)?;
    let ours = load(ws, id)?;
    if !ws.owns(&ours.event.summary) {
        return Ok(ours);
    }
    let reason = format!("fenced: taken over on '{}'", theirs.event.summary.host);
    let ours = stand_still(ws, &guard, id, &reason)?;
    send_work(ws, remote, theirs)?;
    give_way(ws, remote, &ours, theirs)
}

/// The same where the log here is home's already, since stock git moved it past every check: only the worker is left to
/// be stopped. Nothing is done, and given, where none lives here.
pub fn fence_unsaid(
    ws: &Workspace,
    remote: &Remote<'_>,
    id: &SessionId,
    tip: ObjectId,
) -> Result<Option<Session>> {
    let run_dir = ws.run_dir(id);
    if run_dir.run()?.is_none() {
        return Ok(None);
    }
    let ours = load(ws, id)?;
    let summary = &ours.event.summary;
    if ours.tip != tip || ws.owns(summary) || !is_home(ws, summary, remote) || !lives_unsaid(ws, &ours)? {
        return Ok(None);
    }
    let guard = run_dir.guard(id)?;
    let ours = reconcile(ws, &guard, id)?;
    send_work(ws, remote, &ours)?;
    Ok(Some(ours))
}

/// Sends what this clone has of the work: whoever owns the session now may want it. That it can't be sent is no reason
/// to go on.
fn send_work(ws: &Workspace, remote: &Remote<'_>, theirs: &Session) -> Result<()> {
    let (name, own) = work::own(ws, theirs.id())?;
    if let Some(work) = own
        && !work::is_forgotten(ws, theirs)?
        && withheld(ws, &[(name.clone(), work)]).is_none()
    {
        let _ = remote.push(&[Update {
            name,
            new: Some(work),
            lease: Lease::FastForward,
        }]);
    }
    Ok(())
}

/// Follows home where the log here has what home's lacks: that goes into the inbox first, to be merged by the owner.
pub fn give_way(ws: &Workspace, remote: &Remote<'_>, ours: &Session, theirs: &Session) -> Result<Session> {
    if !ws.store().contains(theirs, ours)? {
        ws.store().check_same_root(ours, theirs)?;
        let entry = ws.store().supersede(ours)?;
        super::inbox::hand_in(ws, remote, &entry)?;
    }
    follow(ws, theirs, ours)
}

/// Moves the log here to home's, which may be no fast-forward: what it leaves behind was kept first.
fn follow(ws: &Workspace, theirs: &Session, ours: &Session) -> Result<Session> {
    let moved = ws
        .store()
        .advance_all(&[(theirs.clone(), Expected::At(ours.tip))])?;
    match moved.into_iter().next() {
        Some(Ok(Append::Done(session))) => Ok(*session),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(Append::Moved(_))) | None => Err(Error::Busy(ours.id().clone())),
    }
}
