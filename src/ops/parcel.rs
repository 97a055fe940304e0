//! What of a session goes to a remote: its log, with a home event where this is the first time, and its work.

use std::collections::{BTreeMap, HashMap};

use gix::ObjectId;

use super::changed::Changed;
use super::error::Result;
use super::mode::Mode;
use super::record::propose;
use super::rejoin::regained;
use super::tracking::{Brought, What, bring, last_seen, names};
use super::work::is_forgotten;
use super::workspace::Workspace;
use crate::git::refs::Target;
use crate::git::remote::{Lease, Remote};
use crate::git::{self, objects, snapshot};
use crate::session::merge::Relation;
use crate::session::{Claim, Kind, SessionId};
use crate::store::written::Written;
use crate::store::{self, Session, names as refnames};

/// What became of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Sent,
    UpToDate,
    /// There is nothing to send: the remote has all of it, and newer events.
    Behind,
    /// It would go.
    Pending,
    /// It was not sent, since others wrote to it as well: once both sides are brought together, it can be.
    WentOn,
    /// It was not sent, for this reason.
    Refused(String),
}

impl Sent {
    /// Why it was not sent, if it was to be and wasn't.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Sent::WentOn => Some("it went on there too"),
            Sent::Refused(why) => Some(why),
            Sent::Sent | Sent::UpToDate | Sent::Behind | Sent::Pending => None,
        }
    }
}

/// What became of one session.
#[derive(Debug)]
pub struct Line {
    pub id: SessionId,
    pub log: Sent,
    /// Absent for a session that has none.
    pub work: Option<Sent>,
    /// What the work that went holds.
    pub holds: Option<Holds>,
}

/// What a work commit holds, for a person who wants to know what left the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holds {
    /// What differs from the base, if that was counted.
    pub changed: Option<Changed>,
    /// Files that git doesn't track.
    pub untracked: usize,
    /// Whether the worker's state directory is in it.
    pub state: bool,
}

/// What a remote has already.
pub struct Known {
    logs: BTreeMap<SessionId, ObjectId>,
    works: HashMap<String, ObjectId>,
    /// What is known of logs before they are sent: that there is nothing to send, or that they won't be taken.
    foreseen: BTreeMap<SessionId, Sent>,
    /// Sessions of which it has what this clone itself recorded, and sent without hearing that it had arrived.
    regained: BTreeMap<SessionId, Session>,
}

impl Known {
    /// Asks the remote for its names, and finds out which of these sessions went on there.
    pub fn ask(ws: &Workspace, remote: &Remote<'_>, sessions: &[Session], mode: Mode) -> Result<Known> {
        let there = names(remote, &[], What::Work)?;
        let mut known = Known {
            logs: there.logs,
            works: there
                .works
                .iter()
                .map(|(id, clone, oid)| (refnames::work(id, clone), *oid))
                .collect(),
            foreseen: BTreeMap::new(),
            regained: BTreeMap::new(),
        };
        let differs = |session: &&Session| {
            known
                .logs
                .get(session.id())
                .is_some_and(|tip| *tip != session.tip)
        };
        let ours: BTreeMap<&SessionId, &Session> = sessions
            .iter()
            .filter(differs)
            .map(|session| (session.id(), session))
            .collect();
        let changed: Vec<(SessionId, ObjectId)> = ours
            .keys()
            .filter_map(|id| Some(((*id).clone(), *known.logs.get(*id)?)))
            .collect();
        if mode == Mode::Show {
            for ((id, tip), ours) in changed.into_iter().zip(ours.values()) {
                known.foreseen.insert(id, foresee(ws, ours, tip));
            }
            return Ok(known);
        }
        let seen = last_seen(ws, remote.name())?;
        for (id, brought) in bring(ws, remote, &changed, &seen)? {
            if let (Brought::Session(theirs), Some(ours)) = (brought, ours.get(&id))
                && matches!(ws.store().contains(&theirs, ours), Ok(true))
            {
                if regained(ws, ours, &theirs)? {
                    known.regained.insert(id, *theirs);
                } else {
                    known.foreseen.insert(id, Sent::Behind);
                }
            }
        }
        Ok(known)
    }
}

/// What would become of a log that the remote has at `there`, told without fetching it.
fn foresee(ws: &Workspace, ours: &Session, there: ObjectId) -> Sent {
    // What is not here was recorded after what is; whether it goes on from ours is known once it has come.
    if !objects::exists(&ws.repo, there) {
        return Sent::Behind;
    }
    let store = ws.store();
    let owns = |session: &Session| ws.owns(&session.event.summary);
    let foreseen = || {
        let theirs = store.at(ours.id(), there)?;
        Ok(match store.relation(ours, &theirs)? {
            Relation::Same | Relation::Ahead => Sent::Pending,
            Relation::Behind => Sent::Behind,
            Relation::Diverged => {
                store.check_same_root(ours, &theirs)?;
                // What this clone alone recorded on both sides is brought together.
                match owns(ours) && owns(&theirs) {
                    true => Sent::Pending,
                    false => Sent::WentOn,
                }
            }
        })
    };
    foreseen().unwrap_or_else(|error: store::Error| Sent::Refused(error.to_string()))
}

/// A session on its way.
pub struct Parcel {
    pub session: Session,
    /// The log with its home event, where this is the first push.
    pub first: Option<Written>,
    /// What the remote's log may be before.
    pub lease: Lease,
    /// Clones' work references, with what is to be there.
    pub works: Vec<(String, ObjectId)>,
    pub log_sent: Sent,
    pub work_sent: Option<Sent>,
    pub holds: Option<Holds>,
    /// The remote has work of ours for this session already, so that its order after the log's can't leave a log
    /// there that names what the remote has nothing of.
    pub has_work: bool,
}

impl Parcel {
    /// Puts together what goes; `works` is what is here of all clones' work.
    pub fn pack(
        ws: &Workspace,
        remote: &Remote<'_>,
        mut session: Session,
        mut works: Vec<(String, ObjectId)>,
        known: Option<&Known>,
        mode: Mode,
    ) -> Result<Parcel> {
        if let Some(regained) = known.and_then(|known| known.regained.get(session.id())) {
            session = regained.clone();
        }
        let summary = &session.event.summary;
        // No clone sends it again, whatever it still has of it.
        if !works.is_empty() && is_forgotten(ws, &session)? {
            works.clear();
        }
        let mut work_sent = (!works.is_empty()).then_some(Sent::Pending);
        if let Some(known) = known {
            let own = refnames::work(session.id(), ws.clone_id().unwrap_or_default());
            works.retain(|(name, oid)| match known.works.get(name) {
                None => true,
                Some(there) if there == oid => false,
                // Each clone alone writes its own, so what is there of another one may be newer than what is here.
                Some(there) => {
                    mode == Mode::Do
                        || *name == own
                        || objects::exists(&ws.repo, *there)
                            && objects::is_ancestor(&ws.repo, *there, *oid).unwrap_or(false)
                }
            });
        }
        if works.is_empty() && work_sent.is_some() {
            work_sent = Some(Sent::UpToDate);
        }
        if let Some(why) = withheld(ws, &works) {
            works.clear();
            work_sent = Some(Sent::Refused(why));
        }
        let tip = known.and_then(|known| known.logs.get(session.id()));
        let log_sent = match known {
            // One that git alone has brought there still needs its home.
            Some(_) if tip == Some(&session.tip) && !(summary.home.is_none() && ws.owns(summary)) => {
                Sent::UpToDate
            }
            Some(known) => known.foreseen.get(session.id()).cloned().unwrap_or(Sent::Pending),
            None => Sent::Pending,
        };
        let first = match summary.home {
            None if ws.owns(summary) && mode == Mode::Do && log_sent == Sent::Pending => {
                let url = remote.public_url();
                Some(propose(ws, &session, Kind::Home, Claim::Plain, |event| {
                    event.summary.home = Some(url.clone());
                })?)
            }
            _ => None,
        };
        let holds = match summary.work.filter(|_| work_sent == Some(Sent::Pending)) {
            // It is told to people, and keeps nothing here where it can't be.
            Some(work) => holds(ws, work).unwrap_or_default(),
            None => None,
        };
        let lease = match &first {
            None => Lease::FastForward,
            Some(_) => first_lease(ws, remote, &session)?,
        };
        let has_work = !works.is_empty() && seen_work(ws, remote, session.id())?;
        Ok(Parcel {
            session,
            first,
            lease,
            works,
            log_sent,
            work_sent,
            holds,
            has_work,
        })
    }

    /// What became of it.
    pub fn line(self) -> Line {
        Line {
            id: self.session.id().clone(),
            log: self.log_sent,
            work: self.work_sent,
            holds: self.holds,
        }
    }

    /// What goes.
    pub fn tip(&self) -> ObjectId {
        self.first
            .as_ref()
            .map_or(self.session.tip, |written| written.session.tip)
    }
}

/// What a first push may find: nothing, or what git alone has brought there of this very log.
fn first_lease(ws: &Workspace, remote: &Remote<'_>, ours: &Session) -> Result<Lease> {
    let theirs = ws.store().load_tracking(remote.name(), ours.id());
    Ok(match theirs {
        Ok(Some(theirs)) if ws.store().contains(ours, &theirs)? => Lease::At(theirs.tip),
        _ => Lease::Absent,
    })
}

/// Whether an event of ours that the remote was last seen with names work.
fn seen_work(ws: &Workspace, remote: &Remote<'_>, id: &SessionId) -> Result<bool> {
    let Some(Target::Object(tip)) = ws.repo.refs().get(&refnames::tracking(remote.name(), id))? else {
        return Ok(false);
    };
    let seen = ws.store().at(id, tip);
    Ok(seen.is_ok_and(|seen| seen.event.summary.work.is_some() && ws.owns(&seen.event.summary)))
}

/// Why work stays here: the configuration withholds something that it holds, or that the work holds which it follows,
/// for that goes where it goes.
pub fn withheld(ws: &Workspace, works: &[(String, ObjectId)]) -> Option<String> {
    let off = |key: &str| ws.repo.config_bool(key) == Some(false);
    let (untracked, state) = (off("session.pushUntracked"), off("session.pushState"));
    if !untracked && !state {
        return None;
    }
    let look = |work: ObjectId| -> git::Result<Option<&str>> {
        for work in snapshot::line(&ws.repo, work)? {
            let saved = snapshot::read(&ws.repo, work)?;
            if untracked && snapshot::untracked(&ws.repo, &saved)? > 0 {
                return Ok(Some(
                    "session.pushUntracked is false, and it holds untracked files",
                ));
            }
            if state && snapshot::has_state(&ws.repo, &saved)? {
                return Ok(Some(
                    "session.pushState is false, and it holds the worker's state",
                ));
            }
        }
        Ok(None)
    };
    works.iter().find_map(|(_, work)| match look(*work) {
        Ok(why) => why.map(str::to_owned),
        // What can't be told apart is not sent.
        Err(error) => Some(format!("what is to be withheld of it can't be told: {error}")),
    })
}

/// What a work commit holds; none where it is not here.
fn holds(ws: &Workspace, work: ObjectId) -> Result<Option<Holds>> {
    let Ok(saved) = snapshot::read(&ws.repo, work) else {
        return Ok(None);
    };
    Ok(Some(Holds {
        changed: Changed::known(ws, work),
        untracked: snapshot::untracked(&ws.repo, &saved)?,
        state: snapshot::has_state(&ws.repo, &saved)?,
    }))
}
