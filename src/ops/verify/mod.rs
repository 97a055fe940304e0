//! `verify`: whether all that is recorded here is legal, whole, and what it says.
//!
//! Logs are replayed and merges made anew; what was seen at remotes, inboxes, work and notes are compared with them.
//! Nothing is written, and no remote is asked, unless that is wanted.

mod logs;
mod notes;
mod remote;
mod repair;
mod work;

use std::collections::HashMap;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::error::Result;
use super::workspace::Workspace;
use crate::git::refs::Target;
use crate::session::SessionId;
use crate::store::{Session, names};

/// What is to be verified.
#[derive(Debug, Default)]
pub struct Verify<'a> {
    /// All sessions, if empty.
    pub ids: &'a [SessionId],
    pub ask: Ask<'a>,
    pub repair: Repair,
}

/// Which remotes are asked.
#[derive(Debug, Clone, Copy, Default)]
pub enum Ask<'a> {
    #[default]
    Nobody,
    /// Each session's home.
    Homes,
    /// One remote for all sessions.
    One(&'a str),
}

/// Whether what can be worked out again is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repair {
    #[default]
    Never,
    Derived,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Absent for what is no session's.
    pub id: Option<SessionId>,
    /// The number of the event, where it is about one.
    pub seq: Option<u64>,
    /// The word by which programs know it.
    pub code: &'static str,
    pub message: String,
}

impl Finding {
    fn of(id: &SessionId, code: &'static str, message: impl Into<String>) -> Finding {
        Finding {
            id: Some(id.clone()),
            seq: None,
            code,
            message: message.into(),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many sessions were looked at.
    pub checked: usize,
    /// How many refs in their namespace are somebody else's.
    pub skipped: usize,
    pub findings: Vec<Finding>,
    /// What was made anew, a line each.
    pub repaired: Vec<String>,
}

/// What is here of sessions.
struct Here {
    /// Those whose newest event can be read.
    sessions: Vec<Session>,
    /// Where their logs were when they were last seen, by remote.
    seen: HashMap<SessionId, Vec<(String, ObjectId)>>,
    /// Clones' work, by session: whose it is, and where.
    works: HashMap<SessionId, Vec<(String, ObjectId)>>,
}

/// Looks at sessions and all that belongs to them.
///
/// # Errors
/// What kept it from looking at all; whatever is wrong with one session is a [`Finding`].
pub fn verify(ws: &mut Workspace, what: &Verify<'_>) -> Result<Report> {
    let mut report = Report::default();
    if what.repair == Repair::Derived {
        ws.prepare()?;
        report.repaired = repair::before(ws)?;
    }
    let ws = &*ws;
    let here = look(ws, what.ids, &mut report)?;
    report.checked = here.sessions.len();
    for session in &here.sessions {
        logs::verify(ws, session, &here, &mut report.findings);
    }
    if what.ids.is_empty() {
        logs::only_elsewhere(ws, &here, &mut report);
        notes::verify(ws, &here, &mut report.findings);
        let false_ones = ws.store().false_in_cache();
        report.findings.extend(false_ones.first().map(|first| Finding {
            id: None,
            seq: None,
            code: "cache",
            message: format!(
                "the cache of newest events has {} that are other ones, as of {first}",
                false_ones.len()
            ),
        }));
    }
    let unkept = work::verify(ws, &here, &mut report.findings)?;
    if what.repair == Repair::Derived {
        repair::keep(ws, &unkept, &mut report)?;
    }
    remote::verify(ws, &here, what.ask, &mut report.findings)?;
    report.findings.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(report)
}

/// Lists what is here; refs that can't be read are findings where something tells that they were sessions.
fn look(ws: &Workspace, ids: &[SessionId], report: &mut Report) -> Result<Here> {
    let wanted = |id: &SessionId| ids.is_empty() || ids.contains(id);
    let mut here = Here {
        sessions: Vec::new(),
        seen: HashMap::new(),
        works: HashMap::new(),
    };
    let refs = ws.repo.refs();
    for reference in refs.list(names::REMOTES)? {
        let tracked = reference.name.to_str().ok().and_then(names::tracked);
        if let (Some((remote, id)), Target::Object(tip)) = (tracked, reference.target)
            && wanted(&id)
        {
            here.seen.entry(id).or_default().push((remote, tip));
        }
    }
    let targets: HashMap<Vec<u8>, Target> = refs
        .list(names::SESSIONS)?
        .into_iter()
        .map(|reference| (reference.name.into(), reference.target))
        .collect();
    let listing = ws.store().list()?;
    // After the logs: work is there before they name it.
    for reference in refs.list(names::WORKS)? {
        let work = reference.name.to_str().ok().and_then(names::work_of);
        if let (Some((id, clone)), Target::Object(tip)) = (work, reference.target)
            && wanted(&id)
        {
            here.works.entry(id).or_default().push((clone.to_owned(), tip));
        }
    }
    for (name, why) in listing.skipped {
        let id = name.to_str().ok().and_then(|name| names::session_of(name).ok());
        let Some(id) = id.filter(&wanted) else {
            report.skipped += usize::from(ids.is_empty());
            continue;
        };
        let missing = match targets.get(name.as_bytes()) {
            Some(Target::Object(tip)) => !crate::git::objects::exists(&ws.repo, *tip),
            _ => false,
        };
        // What has left traces here was a session of ours once, whatever its ref says now.
        let is_known = here.seen.contains_key(&id)
            || here.works.contains_key(&id)
            || ws.run_dir(&id).path().join("worktree.json").exists();
        match missing || is_known {
            true => report.findings.push(Finding::of(&id, "unreadable", why)),
            false => report.skipped += 1,
        }
    }
    here.sessions = listing.sessions;
    here.sessions.retain(|session| wanted(session.id()));
    Ok(here)
}
