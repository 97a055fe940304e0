//! What came from elsewhere runs here only once the user has approved it, exactly as it would run.

use std::collections::HashSet;
use std::path::PathBuf;

use gix::ObjectId;
use jiff::Timestamp;

use super::approvals::Key;
use super::checkout::short_branch;
use super::diff::difference;
use super::error::{Error, Result};
use super::record::spec;
use super::remotes::home;
use super::select::worktree_of;
use super::work;
use super::workspace::Workspace;
use crate::git::signature;
pub use crate::git::signature::Standing;
use crate::git::snapshot::{self, Source, Work};
use crate::session::{SessionId, Spec};
use crate::store::Session;

/// How far a session that came from elsewhere is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// As far as its user has approved it.
    #[default]
    Approved,
    /// As it is now: that is what approves it.
    Given,
    /// As it was when this was given, and no further.
    Only(Key),
}

/// What would run of a session that came from elsewhere, or of one that was derived from such a one.
#[derive(Debug)]
pub struct Subject {
    pub id: SessionId,
    pub spec: Spec,
    /// The newest event of somebody else's; of a derived session, that of the one it goes back to. None where that is
    /// not here any more.
    pub foreign: Option<Session>,
    /// The session with all of that log.
    log: Option<Session>,
    /// Whether it is another session, made here, that runs the same.
    pub derived: bool,
    /// Whose work the worktree would be made of.
    pub source: Source,
    key: Key,
    /// What is approved along with it: the same, run again from its base.
    again: Key,
}

/// What a session that may run is to be run as.
#[derive(Debug)]
pub struct Cleared {
    /// What a later look, at what came meanwhile, may go by.
    pub trust: Trust,
    /// Whose work the worktree would be made of.
    pub source: Source,
    /// Whether its specification is somebody else's.
    pub is_foreign: bool,
}

/// Finds what there is to be approved of a session; nothing where all of it was made here.
///
/// # Errors
/// A log or a specification that can't be read.
pub fn subject(ws: &Workspace, session: &Session) -> Result<Option<Subject>> {
    let own = ws.clone_id().unwrap_or_default();
    if let Some(foreign) = ws.store().newest_foreign(session, own)? {
        let spec = spec(ws, session)?;
        let there = &foreign.event.summary;
        let source = match session.event.summary.work == there.work {
            true => Source::Elsewhere,
            false => Source::Here,
        };
        let hex = |oid: Option<ObjectId>| oid.map(|oid| oid.to_string()).unwrap_or_default();
        let base = hex(session.event.summary.base);
        let (work, head) = (hex(there.work), hex(there.head));
        let start = match there.work {
            Some(_) => [b"work".as_slice(), work.as_bytes()],
            None => [b"head".as_slice(), head.as_bytes()],
        };
        let json = spec.to_json();
        let key = Key::of(&[b"session 1", &json, base.as_bytes(), start[0], start[1]])?;
        return Ok(Some(Subject {
            id: session.id().clone(),
            again: again(&spec)?,
            spec,
            foreign: Some(foreign),
            log: Some(session.clone()),
            derived: false,
            source,
            key,
        }));
    }
    match foreign_parent(ws, session)? {
        Parent::Here => Ok(None),
        Parent::Elsewhere(both) => derived(session.id(), spec(ws, session)?, Some(*both)).map(Some),
        Parent::Gone => derived(session.id(), spec(ws, session)?, None).map(Some),
    }
}

/// Finds what there is to be approved before a session is run again as a new one.
///
/// # Errors
/// As [`subject`].
pub fn subject_of_retry(ws: &Workspace, ended: &Session) -> Result<Option<Subject>> {
    let Some(subject) = subject(ws, ended)? else {
        return Ok(None);
    };
    let both = subject.foreign.zip(subject.log);
    derived(&subject.id, subject.spec, both).map(Some)
}

fn derived(id: &SessionId, spec: Spec, from: Option<(Session, Session)>) -> Result<Subject> {
    let again = again(&spec)?;
    let (foreign, log) = from.unzip();
    Ok(Subject {
        id: id.clone(),
        spec,
        foreign,
        log,
        derived: true,
        source: Source::Here,
        key: again.clone(),
        again,
    })
}

/// What is the same when a session is run again: everything but its branch and its place.
fn again(spec: &Spec) -> Result<Key> {
    let spec = Spec {
        branch: None,
        existing_branch: false,
        worktree: None,
        ..spec.clone()
    };
    Key::of(&[b"again 1", &spec.to_json()])
}

/// The session that another one, which was made here, tries again.
enum Parent {
    /// None, or one that was made here too.
    Here,
    /// The newest event of somebody else's, and the session.
    Elsewhere(Box<(Session, Session)>),
    /// What it was can't be told.
    Gone,
}

fn foreign_parent(ws: &Workspace, session: &Session) -> Result<Parent> {
    let own = ws.clone_id().unwrap_or_default();
    let mut seen = HashSet::from([session.id().clone()]);
    let mut next = session.event.summary.parent.clone();
    while let Some(id) = next {
        if !seen.insert(id.clone()) {
            return Ok(Parent::Gone);
        }
        let Some(parent) = ws.store().load(&id)? else {
            return Ok(Parent::Gone);
        };
        if let Some(foreign) = ws.store().newest_foreign(&parent, own)? {
            return Ok(Parent::Elsewhere(Box::new((foreign, parent))));
        }
        next = parent.event.summary.parent;
    }
    Ok(Parent::Here)
}

/// Refuses what came from elsewhere and was not approved, or is not signed where it has to be.
///
/// # Errors
/// [`Error::Untrusted`] and [`Error::Unsigned`].
pub fn check(ws: &Workspace, session: &Session, trust: &Trust) -> Result<Cleared> {
    clear(ws, subject(ws, session)?, trust)
}

/// As [`check`], for a session that is to be run again as a new one.
///
/// # Errors
/// As [`check`].
pub fn check_retry(ws: &Workspace, ended: &Session, trust: &Trust) -> Result<Cleared> {
    clear(ws, subject_of_retry(ws, ended)?, trust)
}

/// As [`check`], for some work of the session's alone; says whose it is.
///
/// # Errors
/// As [`check`].
pub fn check_restore(ws: &Workspace, session: &Session, work: ObjectId, trust: &Trust) -> Result<Source> {
    let own = ws.clone_id().unwrap_or_default();
    let mut next = Some(session.clone());
    // The work is theirs who named it first.
    while let Some(later) = next {
        let Some(foreign) = ws.store().newest_foreign(&later, own)? else {
            return Ok(Source::Here);
        };
        if foreign.event.summary.work == Some(work) {
            break;
        }
        next = ws.store().before(&foreign)?;
    }
    check(ws, session, trust)?;
    Ok(Source::Elsewhere)
}

/// Refuses work of another clone that no log names, unless the session may run here.
pub fn check_foreign(ws: &Workspace, session: &Session, trust: &Trust) -> Result<Source> {
    check(ws, session, trust)?;
    Ok(Source::Elsewhere)
}

fn clear(ws: &Workspace, subject: Option<Subject>, trust: &Trust) -> Result<Cleared> {
    let Some(subject) = subject else {
        return Ok(Cleared {
            trust: trust.clone(),
            source: Source::Here,
            is_foreign: false,
        });
    };
    subject.check_signatures(ws)?;
    let trusted = match trust {
        Trust::Given => true,
        Trust::Only(key) if *key == subject.key => true,
        Trust::Only(_) | Trust::Approved => subject.is_approved(),
    };
    if !trusted {
        return Err(Error::Untrusted { id: subject.id });
    }
    if *trust == Trust::Given {
        // It is given for this once also where no approval can be kept, as where there is no home.
        let _ = subject.approve();
    }
    Ok(Cleared {
        trust: Trust::Only(subject.key),
        source: subject.source,
        is_foreign: !subject.derived,
    })
}

impl Subject {
    /// Whether the user has approved exactly this.
    pub fn is_approved(&self) -> bool {
        self.key.is_approved()
    }

    /// Approves it, and that it is run again.
    pub fn approve(&self) -> Result<()> {
        let (id, at) = (&self.id, Timestamp::now());
        let what = format!("{at} session {id}: {}", self.spec.command_line());
        self.key.approve(&what)?;
        self.again.approve(&what)
    }

    /// Takes the approval back; whether there was one.
    pub fn revoke(&self) -> Result<bool> {
        let was_approved = self.key.revoke()?;
        Ok(self.again.revoke()? | was_approved)
    }

    /// Where it would run.
    pub fn place(&self, ws: &Workspace) -> Result<PathBuf> {
        let standing = worktree_of(ws, &ws.run_dir(&self.id))?;
        Ok(standing.unwrap_or_else(|| ws.worktree_root().join(self.id.as_str())))
    }

    /// Which files its work changes, as `git diff --stat` shows it; the work is fetched for it where that is needed.
    ///
    /// # Errors
    /// Work that can't be had.
    pub fn stat(&self, ws: &Workspace) -> Result<String> {
        let Some(foreign) = self.foreign.as_ref().filter(|_| !self.derived) else {
            return Ok(String::new());
        };
        let summary = &foreign.event.summary;
        if !work::is_here(ws, summary)
            && let Some(remote) = home(ws, summary)?
        {
            work::bring(ws, &remote, summary)?;
        }
        let options = [
            "--stat=100",
            "--stat-count=20",
            "--no-color",
            "--no-renames",
            "--ignore-submodules=all",
        ];
        let stat = difference(ws, foreign)?.summary(ws, &options)?;
        stat.ok_or_else(|| Error::Lacking {
            id: self.id.clone(),
            what: "its work has too many files to be counted".to_owned(),
        })
    }

    /// Repositories within its work, which no difference shows.
    ///
    /// # Errors
    /// Work that isn't here.
    pub fn nested(&self, ws: &Workspace) -> Result<Vec<String>> {
        let nested = self.work(ws)?.map(|work| work.manifest.nested);
        let nested = nested.unwrap_or_default();
        Ok(nested.iter().map(|name| name.0.to_string()).collect())
    }

    /// The branch that its work is on, if that is another than the session's own.
    ///
    /// # Errors
    /// Work that isn't here.
    pub fn other_branch(&self, ws: &Workspace) -> Result<Option<String>> {
        let work = self.work(ws)?;
        let branch = work.as_ref().and_then(short_branch);
        Ok(branch
            .filter(|branch| self.spec.branch.as_deref() != Some(branch))
            .map(str::to_owned))
    }

    /// The work that it would begin with.
    fn work(&self, ws: &Workspace) -> Result<Option<Work>> {
        let foreign = self.foreign.as_ref().filter(|_| !self.derived);
        let work = foreign.and_then(|foreign| foreign.event.summary.work);
        Ok(work.map(|work| snapshot::read(&ws.repo, work)).transpose()?)
    }

    /// What is trusted by who says so now.
    pub fn only(&self) -> Trust {
        Trust::Only(self.key.clone())
    }

    /// Checks what signatures others' events have, the worst counting; nothing where they need none.
    ///
    /// # Errors
    /// A log that can't be read, or git that can't be run.
    pub fn standing(&self, ws: &Workspace) -> Result<Option<Standing>> {
        if ws.repo.config_bool("session.requireSignature") != Some(true) {
            return Ok(None);
        }
        let Some(log) = &self.log else {
            return Ok(Some(Standing::Missing));
        };
        let own = ws.clone_id().unwrap_or_default();
        let events = ws.store().foreign(log, own)?;
        Ok(signature::check(&ws.repo, &events)?.into_iter().max())
    }

    /// Refuses what is not signed as `session.requireSignature` wants it.
    ///
    /// # Errors
    /// [`Error::Unsigned`].
    pub fn check_signatures(&self, ws: &Workspace) -> Result<()> {
        match self.standing(ws)? {
            None | Some(Standing::Good) => Ok(()),
            Some(standing) => Err(Error::Unsigned {
                id: self.id.clone(),
                why: match standing {
                    Standing::Missing => "not signed",
                    _ => "signed by somebody unknown",
                },
            }),
        }
    }
}
