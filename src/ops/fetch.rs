//! `fetch`: what others recorded, seen here; logs that went on are followed.

use std::collections::BTreeSet;

use gix::ObjectId;

use super::branch::{self, Followed};
use super::error::{Error, Result};
use super::fence;
use super::mode::Mode;
use super::own_name::contradiction;
use super::provenance;
use super::remotes::{chosen, home, is_home};
use super::select::local_ids;
use super::tracking::{
    Brought, Here, Names, Vanished, Walk, What, bring_with, drop_vanished, foresee, names, note_asked,
};
use super::work::take_over;
use super::workspace::Workspace;
use crate::git;
use crate::git::refs::Expected;
use crate::git::remote::{Remote, RemoteFault};
use crate::session::merge::Relation;
use crate::session::{Kind, SessionId};
use crate::store::names::{NOTES, work};
use crate::store::{self, Append, Session};

/// What is to be fetched.
#[derive(Debug, Default)]
pub struct Fetch<'a> {
    /// The usual one, if absent.
    pub remote: Option<&'a str>,
    /// All, if empty.
    pub ids: &'a [SessionId],
    /// The uncommitted work too, of every clone that has some.
    pub work: bool,
    /// Where it is only shown, nothing is fetched.
    pub mode: Mode,
}

/// What came.
#[derive(Debug)]
pub struct Report {
    pub remote: String,
    pub lines: Vec<Line>,
    /// How many logs are the same here and there.
    pub unchanged: usize,
    /// Names there that are no session's.
    pub skipped: usize,
    /// What was not taken of the remote's notes.
    pub notes: provenance::Brought,
    /// What became of the branches of sessions whose work came.
    pub branches: Vec<(SessionId, Followed)>,
    /// References to work that could not be had, and why.
    pub works_set_aside: Vec<(String, String)>,
}

impl Report {
    /// Adds what is not there any more.
    pub fn vanish(&mut self, vanished: Vec<(SessionId, Vanished)>) {
        let line = |(id, what)| {
            let fate = match what {
                Vanished::Dropped => Fate::Gone,
                Vanished::Kept => {
                    let name = crate::store::names::tracking(&self.remote, &id);
                    Fate::Refused(format!(
                        "it is no longer there, and '{name}' alone has what it was"
                    ))
                }
            };
            Line { id, fate }
        };
        let gone: Vec<Line> = vanished.into_iter().map(line).collect();
        self.lines.extend(gone);
        self.lines.sort_by(|a, b| a.id.cmp(&b.id));
    }
}

/// What became of one session.
#[derive(Debug)]
pub struct Line {
    pub id: SessionId,
    pub fate: Fate,
}

/// What became of a log that differs from ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was not here before.
    New,
    /// Ours went on to where theirs is.
    Updated,
    /// Ours has what theirs lacks: it waits for a push.
    Ahead,
    /// Both have what the other lacks: `sync` merges them.
    Diverged,
    /// Both had what the other lacked, and a merge of the two is what ours is now.
    Merged,
    /// Another clone owns it by now; ours was stopped, its work, if it had any, kept by this reference, and follows home.
    Fenced { host: String, work: Option<String> },
    /// The remote doesn't have it any more; ours stays.
    Gone,
    /// It would come.
    Pending,
    /// It is not followed, since ours was changed meanwhile: it is the next time.
    ChangedHere,
    /// It is not followed, for this reason; ours stays as it is.
    Refused(String),
}

impl Fate {
    /// Whether what others did came with it.
    fn is_new(&self) -> bool {
        matches!(self, Fate::New | Fate::Updated | Fate::Fenced { .. })
    }

    /// Why it is not followed, if it isn't.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Fate::ChangedHere => Some("it was changed here meanwhile"),
            Fate::Refused(why) => Some(why),
            _ => None,
        }
    }
}

/// Fetches what has changed on a remote and follows it.
///
/// # Errors
/// A remote that can't be talked to. A log that can't be followed is a [`Fate`], and hinders no other.
pub fn fetch(ws: &mut Workspace, what: &Fetch<'_>) -> Result<Report> {
    ws.prepare()?;
    let ws = &*ws;
    let remote = chosen(ws, what.remote)?;
    let asked = if what.work { What::Work } else { What::Logs };
    let (here, names) = Here::read_during(ws, &remote, || names(&remote, what.ids, asked));
    let (here, names) = (here?, names?);
    check_known(&remote, &here, &names, what.ids)?;
    let mut report = follow(ws, &remote, &names, &here, what.mode)?;
    if what.mode == Mode::Do {
        report.vanish(drop_vanished(ws, &remote, &here, &names, what.ids)?);
    }
    if what.ids.is_empty() && what.mode == Mode::Do {
        note_asked(ws, remote.name())?;
    }
    if what.work && what.mode == Mode::Do {
        let super::work::Came { mut whose, set_aside } = super::work::bring_all(ws, &remote, &names.works)?;
        report.works_set_aside = set_aside;
        whose.extend(what.ids.iter().cloned());
        whose.extend(
            report
                .lines
                .iter()
                .filter(|line| line.fate.is_new())
                .map(|line| line.id.clone()),
        );
        report.branches = branches(ws, whose)?;
    }
    Ok(report)
}

/// Refuses ids of sessions that exist neither here nor there.
pub fn check_known(remote: &Remote<'_>, here: &Here, names: &Names, ids: &[SessionId]) -> Result<()> {
    let is_known = |id: &SessionId| {
        here.logs.contains_key(id) || here.seen.contains_key(id) || names.logs.contains_key(id)
    };
    match ids.iter().find(|id| !is_known(id)) {
        None => Ok(()),
        Some(id) => Err(Error::Nowhere {
            id: id.clone(),
            remote: remote.name().to_owned(),
        }),
    }
}

/// Lets the branches of other clones' sessions follow.
fn branches(ws: &Workspace, ids: BTreeSet<SessionId>) -> Result<Vec<(SessionId, Followed)>> {
    let mut found = Vec::new();
    for id in ids {
        let Ok(Some(session)) = ws.store().load(&id) else {
            continue;
        };
        if !ws.owns(&session.event.summary)
            && let Some(followed) = branch::follow(ws, &session)?
        {
            found.push((id, followed));
        }
    }
    Ok(found)
}

/// Fetches those of the named logs that differ from ours, and moves ours to where they are.
pub fn follow(ws: &Workspace, remote: &Remote<'_>, names: &Names, here: &Here, mode: Mode) -> Result<Report> {
    let Here { logs: local, seen } = here;
    let mut report = Report {
        remote: remote.name().to_owned(),
        lines: Vec::new(),
        unchanged: 0,
        skipped: names.skipped.len(),
        notes: provenance::Brought::default(),
        branches: Vec::new(),
        works_set_aside: Vec::new(),
    };
    let (mut ours, mut theirs) = (Walk::through(local), Walk::through(seen));
    let mut differs = |id: &SessionId, oid: ObjectId| {
        ours.at(id) != Some(oid) || (mode == Mode::Do && theirs.at(id) != Some(oid))
    };
    let changed: Vec<(SessionId, ObjectId)> = names
        .logs
        .iter()
        .filter(|(id, oid)| differs(id, **oid))
        .map(|(id, oid)| (id.clone(), *oid))
        .collect();
    report.unchanged = names.logs.len() - changed.len();
    let mut moves: Vec<(Session, Expected)> = Vec::new();
    let mut fates: Vec<Fate> = Vec::new();
    let brought = match mode {
        Mode::Show => foresee(ws, &changed, here),
        Mode::Do => {
            let along = provenance::is_wanted(ws, remote, names.notes)?.then_some(NOTES);
            let brought = bring_with(ws, remote, &changed, seen, along)?.into_iter();
            brought.map(|(id, brought)| (id, Some(brought))).collect()
        }
    };
    for (id, brought) in brought {
        let theirs = match brought {
            None => {
                let fate = Fate::Pending;
                report.lines.push(Line { id, fate });
                continue;
            }
            Some(Brought::Session(theirs)) => *theirs,
            Some(Brought::Rewound) => {
                let why = "its log was rewound there".to_owned();
                report.lines.push(Line {
                    id,
                    fate: Fate::Refused(why),
                });
                continue;
            }
            Some(Brought::Foreign(_)) if !is_session(ws, &id, local.get(&id)) => {
                report.skipped += 1;
                continue;
            }
            Some(Brought::SetAside(why) | Brought::Foreign(why)) => {
                report.lines.push(Line {
                    id,
                    fate: Fate::Refused(why),
                });
                continue;
            }
        };
        let ours = match local.get(&id) {
            None => None,
            Some(tip) => match ws.store().at(&id, *tip) {
                Ok(ours) => Some(ours),
                Err(error) => {
                    let why = error.to_string();
                    report.lines.push(Line {
                        id,
                        fate: Fate::Refused(why),
                    });
                    continue;
                }
            },
        };
        // One that can't give way to its new owner, say, hinders no other.
        let step = match step(ws, remote, ours, &theirs, mode) {
            Err(error) if !is_cut(&error) => Step::Told(Fate::Refused(error.to_string())),
            step => step?,
        };
        match step {
            Step::Nothing => report.unchanged += 1,
            Step::Move(..) if mode == Mode::Show => {
                let fate = Fate::Pending;
                report.lines.push(Line { id, fate });
            }
            Step::Told(fate) => report.lines.push(Line { id, fate }),
            Step::Move(expected, fate) => {
                moves.push((theirs, expected));
                fates.push(fate);
            }
        }
    }
    if mode == Mode::Show {
        return Ok(report);
    }
    let alone = names.logs.len() == 1;
    let moved = ws.store().advance_all(&moves)?;
    for (((session, _), moved), fate) in moves.iter().zip(moved).zip(fates) {
        let fate = match moved {
            Ok(Append::Done(_)) => {
                // A claim of ours that was killed before it could follow; what is not kept is told by verify.
                if session.event.kind == Kind::Claim && ws.owns(&session.event.summary) {
                    let _ = take_over(ws, session);
                }
                fate
            }
            Ok(Append::Moved(_)) => Fate::ChangedHere,
            // One on which somebody's lock stays, say, hinders no other.
            Err(error) if !alone => Fate::Refused(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        report.lines.push(Line {
            id: session.id().clone(),
            fate,
        });
    }
    for id in local_ids(ws)? {
        let Some(tip) = names.logs.get(&id) else { continue };
        let fate = match fence::fence_unsaid(ws, remote, &id, *tip) {
            Ok(None) => continue,
            Ok(Some(session)) => fenced(ws, &session)?,
            Err(error) => Fate::Refused(error.to_string()),
        };
        match report.lines.iter_mut().find(|line| line.id == id) {
            Some(line) => line.fate = fate,
            None => {
                report.unchanged = report.unchanged.saturating_sub(1);
                report.lines.push(Line { id, fate });
            }
        }
    }
    report.lines.sort_by(|a, b| a.id.cmp(&b.id));
    report.notes = provenance::bring(ws, remote, names.notes)?;
    Ok(report)
}

/// What is told of a session that `theirs` says is another clone's, and that was stopped here.
fn fenced(ws: &Workspace, theirs: &Session) -> Result<Fate> {
    let work = work(theirs.id(), ws.clone_id().unwrap_or_default());
    let is_there = ws.repo.refs().get(&work)?.is_some();
    Ok(Fate::Fenced {
        host: theirs.event.summary.host.clone(),
        work: is_there.then_some(work),
    })
}

/// Whether what stands here under an id is a session, and not something of somebody else's.
fn is_session(ws: &Workspace, id: &SessionId, tip: Option<&ObjectId>) -> bool {
    let read = |tip: &ObjectId| ws.store().at(id, *tip);
    tip.is_some_and(|tip| !matches!(read(tip), Err(store::Error::NotOurs { .. })))
}

/// Whether the remote is not there any more, so that nothing else can be had of it either.
pub fn is_cut(error: &Error) -> bool {
    let Error::Git(git::Error::Remote { why, .. }) = error else {
        return false;
    };
    matches!(why, RemoteFault::Unreachable | RemoteFault::Silent(_))
}

/// What is to be done with one log.
enum Step {
    Nothing,
    Told(Fate),
    Move(Expected, Fate),
}

fn step(
    ws: &Workspace,
    remote: &Remote<'_>,
    ours: Option<Session>,
    theirs: &Session,
    mode: Mode,
) -> Result<Step> {
    let Some(ours) = ours else {
        return Ok(Step::Move(Expected::Absent, Fate::New));
    };
    if ours.tip == theirs.tip {
        return Ok(Step::Nothing);
    }
    let relation = ws.store().relation(&ours, theirs)?;
    if relation == Relation::Diverged
        && let Err(error) = ws.store().check_same_root(&ours, theirs)
    {
        return Ok(Step::Told(Fate::Refused(error.to_string())));
    }
    if matches!(relation, Relation::Behind | Relation::Diverged)
        && let Some(why) = contradiction(ws, &ours, theirs)?
    {
        return Ok(Step::Told(Fate::Refused(why)));
    }
    let summary = &theirs.event.summary;
    let lost = ws.owns(&ours.event.summary) && !ws.owns(summary);
    Ok(match relation {
        Relation::Same => Step::Nothing,
        Relation::Ahead => Step::Told(Fate::Ahead),
        Relation::Behind | Relation::Diverged if lost && is_home(ws, summary, remote) => {
            if mode == Mode::Show {
                return Ok(Step::Told(Fate::Pending));
            }
            fence::fence(ws, remote, &ours, theirs)?;
            Step::Told(fenced(ws, theirs)?)
        }
        Relation::Behind => Step::Move(Expected::At(ours.tip), Fate::Updated),
        Relation::Diverged if !ws.owns(summary) && is_home(ws, summary, remote) => {
            if mode == Mode::Show {
                return Ok(Step::Told(Fate::Pending));
            }
            fence::give_way(ws, remote, &ours, theirs)?;
            Step::Told(Fate::Updated)
        }
        Relation::Diverged => Step::Told(Fate::Diverged),
    })
}

/// Follows the session's log at its home; gives why that can't be, if it can't.
pub fn follow_home(ws: &Workspace, session: &Session) -> Result<Option<String>> {
    let Some(remote) = home(ws, &session.event.summary)? else {
        return Ok(None);
    };
    let names = names(&remote, std::slice::from_ref(session.id()), What::Logs)?;
    let report = follow(ws, &remote, &names, &Here::read(ws, &remote)?, Mode::Do)?;
    let refusal = |line: &Line| line.fate.refusal().map(str::to_owned);
    Ok(report.lines.iter().find_map(refusal))
}
