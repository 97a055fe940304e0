//! `new`: writes a session's first event, and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use gix::ObjectId;

use super::branch;
use super::checkout::in_use;
use super::environment::variables;
use super::error::{Error, Result};
use super::machine::{host, random};
use super::records::Variables;
use super::trust::{self, Trust};
use super::workers;
use super::workspace::Workspace;
use crate::git::{self, worktree};
use crate::session::log::is_branch_name;
use crate::session::{Arg, Event, Limits, RecordOutput, SessionId, Spec, State, Summary};
use crate::store::{Append, Session, names};

/// What a new session is to be.
#[derive(Debug, Default)]
pub struct New {
    pub id: Option<SessionId>,
    pub title: Option<String>,
    pub issue: Option<String>,
    pub worker: Option<String>,
    /// A revision; HEAD, or an existing branch's tip, if absent.
    pub base: Option<String>,
    pub branch: Branch,
    pub worktree: Option<PathBuf>,
    pub labels: Vec<(String, String)>,
    /// Variables for the worker, with a value or with whatever the caller has at start.
    pub env: Vec<(String, Option<OsString>)>,
    pub timeout: Option<Duration>,
    pub grace: Option<Duration>,
    pub retries: Option<u32>,
    pub record_output: Option<RecordOutput>,
    pub command: Vec<OsString>,
}

/// Which branch the worktree is on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Branch {
    /// `session/<id>`, made at the start.
    #[default]
    Own,
    /// This one, made at the start unless it exists.
    Named(String),
    /// None: a detached HEAD.
    None,
}

/// How often a made-up id is tried again when it is taken.
const TRIES: usize = 5;

/// Writes a session down as pending.
///
/// # Errors
/// Everything that a start would stumble over and that can be known before: a base that isn't there, a branch that
/// is checked out elsewhere, a worker that isn't configured.
pub fn create(ws: &mut Workspace, new: New) -> Result<Session> {
    // A branch of that name is then the session's, and no reason of its own.
    if let Some(id) = &new.id
        && ws.store().load(id)?.is_some()
    {
        return Err(Error::IdTaken(id.clone()));
    }
    let spec = specify(ws, &new)?;
    record(ws, &new, spec, None)
}

/// `retry`: writes a new session that runs what another one ran, from the same base.
///
/// # Errors
/// Sessions that have not ended.
pub fn retry(ws: &mut Workspace, ended: &Session, trust: &Trust) -> Result<Session> {
    let summary = &ended.event.summary;
    if summary.state != State::Terminated {
        let what = format!("it is {}, and only what has ended is tried again", summary.state);
        return Err(Error::Lacking {
            id: summary.id.clone(),
            what,
        });
    }
    trust::check_retry(ws, ended, trust)?;
    let mut spec = ws.store().spec(ended)?;
    // It is started at once, and one that can't be is better not made.
    variables(&ws.run_dir(&summary.id), &spec)?;
    // The branch holds what the ended session did; the new one begins where that one began.
    let detached = spec.branch.is_none();
    spec.branch = None;
    spec.existing_branch = false;
    spec.worktree = None;
    let branch = if detached { Branch::None } else { Branch::Own };
    let hint = spec
        .title
        .clone()
        .unwrap_or_else(|| summary.id.as_str().to_owned());
    let new = New {
        title: Some(hint),
        branch,
        ..New::default()
    };
    let variables = ws.run_dir(&summary.id).variables()?;
    let session = record(ws, &new, spec, Some(&summary.id))?;
    if !variables.is_empty() {
        let run_dir = ws.run_dir(session.id());
        run_dir.make()?;
        run_dir.write_variables(&variables)?;
    }
    Ok(session)
}

fn specify(ws: &Workspace, new: &New) -> Result<Spec> {
    let worker = new
        .worker
        .as_deref()
        .map(|name| workers::configured(&ws.repo, name))
        .transpose()?;
    let worker = worker.unwrap_or_default();
    let mut command: Vec<Arg> = worker.command.iter().map(|arg| arg.as_str().into()).collect();
    let template = !command.is_empty();
    let typed = new.command.iter().cloned();
    match template {
        true => command.extend(typed.map(workers::as_typed).map(Arg::from)),
        false => command.extend(typed.map(Arg::from)),
    }
    if command
        .first()
        .is_none_or(|program| program.as_os_str().is_empty())
    {
        return Err(Error::NoCommand);
    }
    if new
        .timeout
        .or(worker.timeout)
        .is_some_and(|limit| limit.is_zero())
    {
        let option = match (&new.timeout, &new.worker) {
            (None, Some(name)) => workers::key(name, "timeout"),
            _ => "option --timeout".to_owned(),
        };
        let why = "with no time at all nothing can run; leave it out for no limit".to_owned();
        return Err(Error::Option { option, why });
    }
    let (base, branch, existing_branch) = base_and_branch(ws, new)?;
    let text = |text: &Option<String>| {
        text.as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Ok(Spec {
        command,
        resume: worker.resume.iter().map(|arg| arg.as_str().into()).collect(),
        template,
        worker: new.worker.clone(),
        title: text(&new.title),
        issue: text(&new.issue),
        base: Some(base.to_string()),
        branch,
        existing_branch,
        worktree: new.worktree.clone().map(|path| path.into_os_string().into()),
        environment: new.env.iter().map(|(name, _)| name.clone()).collect(),
        limits: Limits {
            timeout: new.timeout.or(worker.timeout),
            grace: new.grace.or(worker.grace),
            signal: worker.signal.map(|signal| signal.name().to_owned()),
            retries: new.retries.or(worker.retries).unwrap_or(0),
        },
        labels: new
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect(),
        record_output: new.record_output,
        ..Spec::default()
    })
}

fn base_and_branch(ws: &Workspace, new: &New) -> Result<(ObjectId, Option<String>, bool)> {
    let existing = match &new.branch {
        Branch::Named(name) => {
            check_branch_name(name)?;
            let full = names::full_branch(name);
            if let Some(path) = worktree::holder_of(&ws.repo, &full)? {
                return Err(in_use(ws, name.clone(), path)?);
            }
            let exists = ws.repo.refs().get(&full)?.is_some();
            if !exists {
                branch::check_free(ws, name)?;
            }
            exists
        }
        Branch::Own | Branch::None => false,
    };
    let base = match (&new.base, &new.branch) {
        (Some(base), _) => ws.repo.resolve_commit(base)?,
        (None, Branch::Named(name)) if existing => ws.repo.resolve_commit(&names::full_branch(name))?,
        (None, _) => ws.repo.resolve_commit("HEAD").map_err(|error| match error {
            git::Error::NoSuchCommit(_) => Error::Unborn,
            error => error.into(),
        })?,
    };
    let name = match &new.branch {
        Branch::Named(name) => Some(name.clone()),
        Branch::Own | Branch::None => None,
    };
    Ok((base, name, existing))
}

/// Checks a branch's short name as `git check-ref-format --branch` does.
fn check_branch_name(name: &str) -> Result<()> {
    match is_branch_name(name) {
        true => Ok(()),
        false => Err(Error::BadBranch(name.to_owned())),
    }
}

fn record(ws: &mut Workspace, new: &New, mut spec: Spec, parent: Option<&SessionId>) -> Result<Session> {
    if let Some(worktree) = &new.worktree
        && std::fs::read_dir(worktree).is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(Error::PathTaken(worktree.clone()));
    }
    ws.prepare()?;
    for _ in 0..TRIES {
        let id = match &new.id {
            Some(id) => id.clone(),
            None => made_up_id(new, &spec)?,
        };
        if new.branch == Branch::Own {
            let branch = names::branch(&id);
            if ws.repo.refs().get(&names::full_branch(&branch))?.is_some() {
                if new.id.is_some() {
                    return Err(Error::BranchExists { branch });
                }
                continue;
            }
            branch::check_free(ws, &branch)?;
            spec.branch = Some(branch);
        }
        let signed = ws.sign()?;
        let summary = summary(ws, &id, &spec, signed.stamp.at, parent);
        let illegal = |refused| Error::Illegal {
            id: id.clone(),
            refused,
        };
        let event = Event::create(summary, signed.stamp).map_err(illegal)?;
        match ws
            .store()
            .create(&event, &spec, [&signed.author, &signed.signature])?
        {
            Append::Done(session) => {
                keep_variables(ws, &id, &new.env)?;
                return Ok(*session);
            }
            Append::Moved(_) if new.id.is_some() => return Err(Error::IdTaken(id)),
            Append::Moved(_) => {}
        }
    }
    Err(Error::Lacking {
        id: new.id.clone().unwrap_or_else(|| SessionId::generate("", [0; 6])),
        what: "no id that is free was found".to_owned(),
    })
}

fn made_up_id(new: &New, spec: &Spec) -> Result<SessionId> {
    let mut bytes = [0; 6];
    random(&mut bytes)?;
    let branch = match &new.branch {
        Branch::Named(name) => Some(name.as_str()),
        Branch::Own | Branch::None => None,
    };
    let command = spec
        .command
        .first()
        .map(|program| program.to_string())
        .unwrap_or_default();
    let command = command.rsplit('/').next().unwrap_or_default();
    let title = new.title.as_deref().filter(|title| !title.trim().is_empty());
    Ok(SessionId::generate(title.or(branch).unwrap_or(command), bytes))
}

fn summary(
    ws: &Workspace,
    id: &SessionId,
    spec: &Spec,
    created: jiff::Timestamp,
    parent: Option<&SessionId>,
) -> Summary {
    let base = spec
        .base
        .as_deref()
        .and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok());
    let label = |(key, value): (&String, &serde_json::Value)| {
        (
            key.clone(),
            value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        )
    };
    Summary {
        id: id.clone(),
        state: State::Pending,
        epoch: 1,
        owner: ws.clone_id().unwrap_or_default().to_owned(),
        host: host(),
        created,
        branch: spec.branch.clone(),
        base,
        head: base,
        work: None,
        title: spec.title.clone(),
        worker: spec.worker.clone(),
        issue: spec.issue.clone(),
        labels: spec.labels.iter().map(label).collect(),
        parent: parent.cloned(),
        home: None,
        deadline: None,
        outcome: None,
        reason: None,
        unsaved: Vec::new(),
        frozen: false,
        other: Vec::new(),
    }
}

/// Values are kept where only this user reads them, and never in an object.
///
/// Not before the id is this session's: else they would be those of another one that gets it first, or at all.
fn keep_variables(ws: &Workspace, id: &SessionId, env: &[(String, Option<OsString>)]) -> Result<()> {
    let value = |(name, value): &(String, Option<OsString>)| Some((name.clone(), Arg::from(value.clone()?)));
    let variables: Variables = env.iter().filter_map(value).collect();
    let run_dir = ws.run_dir(id);
    if variables.is_empty() {
        return run_dir.clear_variables();
    }
    run_dir.make()?;
    run_dir.write_variables(&variables)
}
