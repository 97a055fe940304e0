//! Sessions as they are seen from here: their newest event, and what is derived from this clone's files.

use std::collections::HashSet;
use std::path::PathBuf;

use gix::ObjectId;
use jiff::Timestamp;

use super::changed::Changed;
use super::error::Result;
use super::own_name::{lives_unsaid, was_launched_here};
use super::record::load;
use super::records::Phase;
use super::select::{local_ids, worktree_of};
use super::standing::has_older_worktree;
use super::workspace::Workspace;
use super::{aside, trust, work};
use crate::git::refs::Target;
use crate::git::signature::Standing;
use crate::git::snapshot::Unsaved;
use crate::session::{SessionId, Spec, State};
use crate::store::{Session, names};
use crate::worker::{Probe, probe};

/// A session and what is derived, never recorded.
#[derive(Debug)]
pub struct View {
    pub session: Session,
    /// This clone is the owner.
    pub here: bool,
    /// Pending or running here, launched, and nobody supervises it any more; absent where that can't be, or can't be
    /// told.
    pub stale: Option<bool>,
    /// Stale, and processes of the worker are alive.
    pub unsupervised: bool,
    /// How its worker ended, where its supervisor has not recorded that yet, as on a full disk; lists don't look.
    pub ended: Option<String>,
    /// A worker of it lives here, and its log says otherwise.
    pub unsaid: bool,
    /// Running elsewhere, past its deadline.
    pub overdue: bool,
    /// Where its worktree is, if there is one here.
    pub worktree: Option<PathBuf>,
    /// What is there is from before the session went on elsewhere, as far as that was looked at.
    pub outdated: bool,
    /// What is kept here of it from before it went on elsewhere, beside its worktree, as far as that was looked at.
    pub aside: Vec<Unsaved>,
    /// Since when it is in its state, as far as its log is here and was looked at.
    pub since: Option<Timestamp>,
    /// How much its saved work changes, where that was counted.
    pub changed: Option<Changed>,
    /// Whether it may run here, and what its signatures are worth, where it came from elsewhere; lists don't look.
    pub origin: Option<Origin>,
    /// Whether its work was forgotten, as far as that was looked at.
    pub forgotten: bool,
    /// The work that its log names is not here, as far as that was looked at.
    pub work_elsewhere: bool,
    /// Where its branch is here, where that is looked at and not where its head is.
    pub astray: Option<Astray>,
    /// What it runs; absent where a list doesn't need it, or where it can't be read.
    pub spec: Option<Box<Spec>>,
}

/// What there is to say of a session that came from elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The user has approved it as it is.
    pub trusted: bool,
    /// The worst of its events' signatures, where they are required.
    pub signature: Option<Standing>,
}

/// Where a branch is that is not where its session's head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Astray {
    /// There is no such branch here.
    Absent,
    At(ObjectId),
}

/// How much of a session is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What a table shows.
    Row,
    /// The worktree and the specification too.
    Full,
}

/// Which sessions a list shows.
#[derive(Debug, Default)]
pub struct Filter {
    /// Those that have ended, too.
    pub all: bool,
    pub states: Vec<State>,
    pub issue: Option<String>,
    pub worker: Option<String>,
    /// Only these; all others if empty.
    pub ids: Vec<SessionId>,
}

/// Sessions, oldest first, and how many refs in their namespace are none.
#[derive(Debug)]
pub struct Overview {
    pub views: Vec<View>,
    pub skipped: Vec<(gix::bstr::BString, String)>,
    /// Sessions among them whose files here can't be read, and why: what these tell is unknown.
    pub unread: Vec<(SessionId, String)>,
}

/// Looks at one session.
pub fn view(ws: &Workspace, session: Session, depth: Depth) -> Result<View> {
    let mut view = plain(ws, session, Timestamp::now());
    look(ws, &mut view, ws.is_readable())?;
    if depth == Depth::Full {
        deepen(ws, &mut view)?;
        view.origin = origin(ws, &view.session);
        view.work_elsewhere = !work::is_here(ws, &view.session.event.summary);
        view.outdated = view.worktree.is_some() && has_older_worktree(ws, &view.session)?;
        if ws.is_readable() {
            view.aside = aside::all_left(ws, view.session.id())?;
        }
        view.astray = astray(ws, &view.session)?;
        view.since = since(ws, &view.session);
    }
    Ok(view)
}

/// The time of the newest event that led to the state; notes, checkpoints and the like only add to it.
fn since(ws: &Workspace, session: &Session) -> Option<Timestamp> {
    let store = ws.store();
    let mut newest = session.clone();
    while newest.event.from == Some(session.event.summary.state) {
        newest = store.before(&newest).ok()??;
    }
    Some(newest.event.at)
}

/// A running worker's branch goes ahead of what is recorded, and a pending session has none yet.
fn astray(ws: &Workspace, session: &Session) -> Result<Option<Astray>> {
    let summary = &session.event.summary;
    let (Some(branch), Some(head)) = (&summary.branch, summary.head) else {
        return Ok(None);
    };
    if matches!(summary.state, State::Pending | State::Running) {
        return Ok(None);
    }
    Ok(match ws.repo.refs().get(&names::full_branch(branch))? {
        Some(Target::Object(tip)) if tip == head => None,
        Some(Target::Object(tip)) => Some(Astray::At(tip)),
        Some(_) => None,
        None => Some(Astray::Absent),
    })
}

/// What can't be told, as of a log that is not here whole, is not trusted.
fn origin(ws: &Workspace, session: &Session) -> Option<Origin> {
    match trust::subject(ws, session) {
        Ok(None) => None,
        Ok(Some(subject)) => Some(Origin {
            trusted: subject.is_approved(),
            signature: subject.standing(ws).unwrap_or(Some(Standing::Unknown)),
        }),
        Err(_) => Some(Origin {
            trusted: false,
            signature: None,
        }),
    }
}

/// Looks at all sessions that the filter lets through.
pub fn list(ws: &Workspace, filter: &Filter, depth: Depth) -> Result<Overview> {
    let listing = ws.store().list()?;
    let local: HashSet<SessionId> = match ws.is_readable() {
        true => local_ids(ws)?.into_iter().collect(),
        false => HashSet::new(),
    };
    let now = Timestamp::now();
    let mut views = Vec::with_capacity(listing.sessions.len());
    let mut unread = Vec::new();
    for session in listing
        .sessions
        .into_iter()
        .filter(|session| filter.lets_through(session))
    {
        let is_local = local.contains(session.id());
        let mut view = plain(ws, session, now);
        let mut seen = look(ws, &mut view, is_local);
        // It may have ended, and been settled, between the two looks.
        if !filter.lets_through(&view.session) {
            continue;
        }
        if depth == Depth::Full {
            seen = seen.and(deepen(ws, &mut view));
        }
        if let Err(error) = seen {
            unread.push((view.session.id().clone(), error.to_string()));
        }
        views.push(view);
    }
    sort(&mut views);
    Ok(Overview {
        views,
        skipped: listing.skipped,
        unread,
    })
}

/// What was seen of sessions on a remote.
#[derive(Debug)]
pub struct Seen {
    pub remote: String,
    /// When it was last asked; absent where that isn't known any more.
    pub at: Option<Timestamp>,
    pub overview: Overview,
}

/// Looks at what was last seen on a remote, or on each, without talking to it.
pub fn list_remote(ws: &Workspace, remote: Option<&str>, filter: &Filter) -> Result<Vec<Seen>> {
    let remotes = match remote {
        Some(name) => vec![ws.repo.remote(name)?.name().to_owned()],
        None => asked_remotes(ws)?,
    };
    let now = Timestamp::now();
    let look = |remote: String| {
        let listing = ws.store().list_tracking(&remote)?;
        let mut views: Vec<View> = listing
            .sessions
            .into_iter()
            .filter(|session| filter.lets_through(session))
            .map(|session| plain(ws, session, now))
            .collect();
        sort(&mut views);
        let overview = Overview {
            views,
            skipped: listing.skipped,
            unread: Vec::new(),
        };
        let at = super::tracking::asked_at(ws, &remote);
        Ok(Seen { remote, at, overview })
    };
    remotes.into_iter().map(look).collect()
}

/// The remotes of which anything was seen, be it only that they have no session.
fn asked_remotes(ws: &Workspace) -> Result<Vec<String>> {
    let mut names = ws.store().tracked_remotes()?;
    let configured = ws.repo.remotes().into_iter().map(|name| name.to_string());
    names.extend(configured.filter(|name| super::tracking::asked_at(ws, name).is_some()));
    names.sort();
    names.dedup();
    Ok(names)
}

/// A session by its log alone.
fn plain(ws: &Workspace, session: Session, now: Timestamp) -> View {
    let summary = &session.event.summary;
    let here = ws.owns(summary);
    let late = summary.deadline.is_some_and(|deadline| deadline < now);
    let overdue = !here && summary.state == State::Running && late;
    View {
        session,
        here,
        stale: None,
        unsupervised: false,
        ended: None,
        unsaid: false,
        overdue,
        worktree: None,
        outdated: false,
        aside: Vec::new(),
        since: None,
        changed: None,
        origin: None,
        forgotten: false,
        work_elsewhere: false,
        astray: None,
        spec: None,
    }
}

fn sort(views: &mut [View]) {
    views.sort_by(|a, b| {
        let key = |view: &View| view.session.event.summary.created;
        key(a)
            .cmp(&key(b))
            .then_with(|| a.session.id().cmp(b.session.id()))
    });
}

impl Filter {
    fn lets_through(&self, session: &Session) -> bool {
        let summary = &session.event.summary;
        let state = match self.states.as_slice() {
            [] => self.all || !self.ids.is_empty() || summary.state != State::Terminated,
            states => states.contains(&summary.state),
        };
        state
            && (self.ids.is_empty() || self.ids.contains(&summary.id))
            && self
                .issue
                .as_ref()
                .is_none_or(|issue| summary.issue.as_ref() == Some(issue))
            && self
                .worker
                .as_ref()
                .is_none_or(|worker| summary.worker.as_ref() == Some(worker))
    }
}

/// Adds what this clone's files tell.
fn look(ws: &Workspace, view: &mut View, is_local: bool) -> Result<()> {
    let here = view.here;
    let work = view.session.event.summary.work;
    view.changed = work.and_then(|work| Changed::known(ws, work));
    if is_local && here {
        view.stale = staleness(ws, &view.session)?;
        if view.stale == Some(true) {
            // What was settled in between is not stale; the second look is at the later truth.
            let session = load(ws, view.session.id())?;
            if session.tip != view.session.tip {
                let work = session.event.summary.work;
                view.changed = work.and_then(|work| Changed::known(ws, work));
                view.session = session;
                view.stale = None;
                view.stale = staleness(ws, &view.session)?;
            }
        }
    }
    if view.stale == Some(true) {
        view.unsupervised = probe(&ws.run_dir(view.session.id()).job_lock())? == Probe::Held;
    }
    view.unsaid = is_local && view.stale != Some(true) && lives_unsaid(ws, &view.session)?;
    let state = view.session.event.summary.state;
    if here && !is_local && matches!(state, State::Pending | State::Running) {
        view.stale = unrecorded(ws, &view.session)?;
    }
    Ok(())
}

/// Whether a launch was left alone; a command that is at work on the session will see to it.
fn staleness(ws: &Workspace, session: &Session) -> Result<Option<bool>> {
    if !matches!(session.event.summary.state, State::Pending | State::Running) {
        return Ok(None);
    }
    let run_dir = ws.run_dir(session.id());
    let Some(run) = run_dir.run()? else {
        return unrecorded(ws, session);
    };
    if super::recover::check_known(session.id(), &run).is_err() {
        return Ok(None);
    }
    Ok(Some(!run_dir.is_supervised()? && !run_dir.is_guarded()?))
}

/// The same of one that has no record: if it was launched here, the files of this clone were lost, and nobody will record
/// its end; else it is another clone's of the same name, and can't be told.
fn unrecorded(ws: &Workspace, session: &Session) -> Result<Option<bool>> {
    Ok(match session.event.summary.state {
        State::Running => was_launched_here(ws, session)?.then_some(true),
        _ => Some(false),
    })
}

fn deepen(ws: &Workspace, view: &mut View) -> Result<()> {
    view.spec = ws.store().spec(&view.session).ok().map(Box::new);
    // An ended session that had work names it, unless that is no more.
    view.forgotten =
        view.session.event.summary.work.is_none() && work::is_forgotten(ws, &view.session).unwrap_or(false);
    if ws.is_readable() {
        let run_dir = ws.run_dir(view.session.id());
        view.worktree = worktree_of(ws, &run_dir)?;
        if view.stale == Some(false)
            && let Some(run) = run_dir.run()?
            // Before the next attempt of one that failed there is nothing to be recorded.
            && run.phase == Phase::Executed
        {
            view.ended = run_dir.exit(&run.attempt)?.map(|exit| exit.outcome);
        }
    }
    Ok(())
}
