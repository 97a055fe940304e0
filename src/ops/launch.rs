//! `start` and `resume`: worktree, run record, supervisor, and the word that the worker runs.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::aside;
use super::branch::Left;
use super::checkout;
use super::claim::{Claim, claim, stand_down};
use super::environment::{supervisor_environment, variables};
use super::error::{Error, Result};
use super::exec::for_a_shell;
use super::frozen::{melt, thaw};
use super::gone;
use super::local::{Guard, RunDir};
use super::machine::random_word;
use super::push;
use super::record::{check, load, spec};
use super::records::{Phase, Run, Variables};
use super::recover::{check_unless_stale, reconcile};
use super::relay::{Push, arrange};
use super::remotes::home;
use super::settle::{End, settle};
use super::standing::{is_outdated, place, standing};
use super::tracking::{What, names};
use super::trust::{self, Trust};
use super::workspace::Workspace;
use crate::git;
use crate::git::snapshot::Unsaved;
use crate::session::{Arg, Kind, SessionId, Spec};
use crate::store::Session;
use crate::worker::{Detach, Lease, Ready, detach, find_program, wait_free};

/// The verb by which a supervisor is started.
pub const SUPERVISE: &str = "supervise";

/// How long the supervisor of a run that is over may take to go.
const GOODBYE: Duration = Duration::from_secs(30);

/// A session whose worker runs, or has run.
#[derive(Debug)]
pub struct Launched {
    pub session: Session,
    pub worktree: PathBuf,
    /// What could not be saved of a run before, as was found out just now.
    pub unsaved: Vec<String>,
    /// What of the saved work could not be put back.
    pub unrestored: Vec<Unsaved>,
    /// The branch that its work was on, and why HEAD is detached instead.
    pub detached_from: Option<(String, Left)>,
    /// What was not told that it runs, if something wasn't.
    pub unsent: Option<Unsent>,
}

/// Where a start could not be sent to, and why.
#[derive(Debug)]
pub enum Unsent {
    /// The session's home does not know yet.
    Home(String),
    /// Home knows; another repository that the remote sends to as well doesn't.
    Beside(String),
    /// Home was not asked, since that was not wanted: it may see otherwise whose the session is.
    Unasked,
}

/// How a session comes to run here.
#[derive(Debug, Default)]
pub struct How {
    /// Our own executable.
    pub program: OsString,
    /// Without asking the session's home whether it is still ours.
    pub offline: bool,
    /// Where its steps are sent from now on.
    pub push: Option<Push>,
    /// Whether it may run, should it have come from elsewhere.
    pub trust: Trust,
}

/// What a supervisor says when its worker runs, or never will.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    Runs,
    /// The exec failed, with its code by shell convention.
    NotExecuted {
        code: i32,
        message: String,
    },
    Refused {
        message: String,
    },
}

/// Starts a pending session.
pub fn start(ws: &mut Workspace, id: &SessionId, how: How) -> Result<Launched> {
    launch(ws, id, how, Kind::Start)
}

/// Resumes a suspended one, where it stands or put back as it was saved.
pub fn resume(ws: &mut Workspace, id: &SessionId, how: How) -> Result<Launched> {
    launch(ws, id, how, Kind::Resume)
}

/// Claims the session where others may have an eye on it, lets it run, and lets its home know.
fn launch(ws: &mut Workspace, id: &SessionId, how: How, kind: Kind) -> Result<Launched> {
    let before = load(ws, id)?;
    let shared = !ws.owns(&before.event.summary) || before.event.summary.home.is_some();
    let mut trust = how.trust;
    if shared {
        ready(ws, id, kind)?;
        // Also here, so that nothing is claimed that then doesn't run.
        let session = load(ws, id)?;
        trust = trust::check(ws, &session, &trust)?.trust;
        let in_memory = session.event.summary.frozen && ws.owns(&session.event.summary);
        if !in_memory {
            check_program(ws, &session, kind)?;
            variables(&ws.run_dir(id), &spec(ws, &session)?)?;
        }
        claim(
            ws,
            id,
            Claim {
                run: true,
                force: false,
                offline: how.offline,
            },
        )?;
    }
    let launched = launch_here(ws, id, how.program.clone(), kind, &trust);
    if launched.is_err() && shared {
        // It is the failure that is told; what can't be taken back now, the next claim takes back.
        let _ = stand_down(ws, id);
    }
    let mut launched = launched?;
    if launched.unsaved == before.event.summary.unsaved {
        // It was told when it was recorded.
        launched.unsaved.clear();
    }
    if shared && how.offline {
        let has_home = launched.session.event.summary.home.is_some();
        launched.unsent = has_home.then_some(Unsent::Unasked);
    } else if shared {
        let sent = push::hand_in(ws, id);
        launched.unsent = sent.err().map(|error| unsent(ws, &launched.session, &error));
    }
    arrange(ws, id, how.program, how.push.as_ref())?;
    launched.session = load(ws, id)?;
    // Where that can't be noted, it is told again.
    let _ = aside::told(ws, id);
    Ok(launched)
}

/// Home is asked only where it is another repository that was in the way.
fn unsent(ws: &Workspace, runs: &Session, error: &Error) -> Unsent {
    let why = error.to_string();
    match error {
        Error::Git(git::Error::Remote { url, .. }) if is_told(ws, runs, url).unwrap_or(false) => {
            Unsent::Beside(why)
        }
        _ => Unsent::Home(why),
    }
}

/// Whether home has the step, or one after it, by which the session runs; `url` is what could not be reached.
fn is_told(ws: &Workspace, runs: &Session, url: &str) -> Result<bool> {
    let id = runs.id();
    let Some(home) = home(ws, &runs.event.summary)?.filter(|home| home.public_url() != url) else {
        return Ok(false);
    };
    let there = names(&home, std::slice::from_ref(id), What::Logs)?;
    match there.logs.get(id) {
        // What was sent is ours, so it is here.
        Some(tip) => Ok(ws.store().contains(&ws.store().at(id, *tip)?, runs)?),
        None => Ok(false),
    }
}

/// Checks the step before anything is asked of anybody, and records what happened before.
fn ready(ws: &mut Workspace, id: &SessionId, kind: Kind) -> Result<()> {
    let session = load(ws, id)?;
    if !ws.owns(&session.event.summary) {
        check(&session, kind)?;
        // Where no home decides, both could run it: to claim it is a decision of its own.
        return match session.event.summary.home {
            Some(_) => Ok(()),
            None => ws.check_owned(&session),
        };
    }
    check_unless_stale(ws, &session, kind)?;
    ws.prepare()?;
    let guard = ws.run_dir(id).guard(id)?;
    let session = reconcile(ws, &guard, id)?;
    check(&session, kind).map(drop)
}

/// Refuses a command that isn't here, before others are told that it runs.
///
/// A program with a relative path is looked for in the worktree, which may not be there yet.
fn check_program(ws: &Workspace, session: &Session, kind: Kind) -> Result<()> {
    let spec = spec(ws, session)?;
    let command = match kind {
        Kind::Resume if !spec.resume.is_empty() => &spec.resume,
        _ => &spec.command,
    };
    let Some(program) = command.first().map(Arg::as_os_str) else {
        return Ok(());
    };
    let bytes = program.as_encoded_bytes();
    let is_relative = bytes.contains(&b'/') && !bytes.starts_with(b"/");
    let is_placeholder = spec.template && bytes.starts_with(b"{");
    // Its own PATH is known only when it runs.
    if is_relative || is_placeholder || spec.environment.iter().any(|name| name == "PATH") {
        return Ok(());
    }
    let path = std::env::var_os("PATH");
    match find_program(program, path.as_deref(), Path::new("/")) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Exec {
            id: session.id().clone(),
            code: error.exit_code(),
            message: error.to_string(),
            shell: for_a_shell(program, Path::new("/")),
        }),
    }
}

fn launch_here(
    ws: &mut Workspace,
    id: &SessionId,
    program: OsString,
    kind: Kind,
    trust: &Trust,
) -> Result<Launched> {
    let session = load(ws, id)?;
    ws.check_owned(&session)?;
    check_unless_stale(ws, &session, kind)?;
    ws.prepare()?;
    let run_dir = ws.run_dir(id);
    let guard = guard_alone(&run_dir, id)?;
    let mut session = reconcile(ws, &guard, id)?;
    check(&session, kind)?;
    if kind == Kind::Resume
        && let Some(run) = run_dir.run()?
        && run_dir.is_supervised()?
    {
        if standing(ws, &run_dir)?.is_some() {
            let session = thaw(ws, &run_dir, &run, &session)?;
            let worktree = standing(ws, &run_dir)?.map(|found| found.path);
            return Ok(Launched {
                session,
                worktree: worktree.unwrap_or_default(),
                unsaved: Vec::new(),
                unrestored: aside::left(ws, id)?,
                detached_from: None,
                unsent: None,
            });
        }
        session = melt(ws, &run_dir, &run, id)?;
    }
    if kind == Kind::Resume {
        session = regain(ws, &run_dir, session)?;
    }
    let cleared = trust::check(ws, &session, trust)?;
    let mut spec = spec(ws, &session)?;
    if cleared.is_foreign {
        // Its creator's place may be anything here.
        spec.worktree = None;
    }
    let variables = variables(&run_dir, &spec)?;
    let ready = match kind {
        Kind::Start => checkout::for_start(ws, &session, &spec, &guard)?,
        _ => checkout::for_resume(ws, &session, &spec, &guard, cleared.source)
            .map_err(|error| aside::named(aside::all_left(ws, id).unwrap_or_default(), error))?,
    };
    let unrestored = ready.unrestored.clone();
    let unsaved = session.event.summary.unsaved.clone();
    let launched = run(ws, &guard, &session, program, &spec, variables, ready)
        .map_err(|error| aside::named(unrestored, error))?;
    Ok(Launched { unsaved, ..launched })
}

/// Has a worktree again whose directory is gone, where git has of it what is not saved, and records that.
fn regain(ws: &Workspace, run_dir: &RunDir, session: Session) -> Result<Session> {
    gone::again(ws, &session, run_dir)?;
    let place = place(ws, run_dir)?;
    let lost = place.as_ref().and_then(|place| place.lost.as_ref());
    let is_told = lost.is_none_or(|lost| session.event.summary.unsaved.contains(lost));
    if is_told || is_outdated(ws, &session, place.as_ref())? {
        return Ok(session);
    }
    settle(ws, session.id(), Kind::Checkpoint, &End::default())
}

/// Lets the worker run in a worktree that is ready.
fn run(
    ws: &Workspace,
    guard: &Guard,
    session: &Session,
    program: OsString,
    spec: &Spec,
    variables: Variables,
    ready: checkout::Ready,
) -> Result<Launched> {
    let id = session.id();
    let run_dir = ws.run_dir(id);
    if !variables.is_empty() {
        run_dir.write_variables(&variables)?;
    }
    let pipe = hand_over(ws, &run_dir, guard, session, program)?;
    let report = pipe.wait(None)?;
    let bad = |error: serde_json::Error| Error::Supervisor {
        id: id.clone(),
        message: error.to_string(),
    };
    let report: Report = serde_json::from_slice(&report).map_err(bad)?;
    match report {
        Report::Runs => {
            let session = load(ws, id)?;
            Ok(Launched {
                session,
                worktree: ready.path,
                unsaved: Vec::new(),
                unrestored: ready.unrestored,
                detached_from: ready.detached_from,
                unsent: None,
            })
        }
        Report::NotExecuted { code, message } => Err(Error::Exec {
            id: id.clone(),
            code,
            message,
            shell: spec
                .command
                .first()
                .and_then(|program| for_a_shell(program.as_os_str(), &ready.path)),
        }),
        Report::Refused { message } => Err(Error::Supervisor {
            id: id.clone(),
            message,
        }),
    }
}

/// Takes the guard once the supervisor of a run that is over has gone; it needs the guard for its last look.
fn guard_alone(run_dir: &RunDir, id: &SessionId) -> Result<Guard> {
    loop {
        let guard = run_dir.guard(id)?;
        if run_dir.run()?.is_some() || !run_dir.is_supervised()? {
            return Ok(guard);
        }
        drop(guard);
        if !wait_free(&run_dir.supervisor_lock(), Some(GOODBYE))? {
            return Err(Error::Busy(id.clone()));
        }
    }
}

/// Writes the run record and starts the supervisor, which holds both locks from its first moment.
fn hand_over(
    ws: &Workspace,
    run_dir: &RunDir,
    guard: &Guard,
    session: &Session,
    program: OsString,
) -> Result<Ready> {
    let io = |error: std::io::Error| Error::Io {
        what: "the supervisor's locks".to_owned(),
        source: error,
    };
    let lease = Lease::inheritable(&run_dir.supervisor_lock(), Duration::from_secs(5))?;
    let supervisor_lock = lease.ok_or_else(|| Error::Busy(session.id().clone()))?;
    let guard_copy = guard.lease.as_fd().try_clone_to_owned().map_err(io)?;
    run_dir.clear_run()?;
    let run = Run {
        dir: run_dir.inode(),
        attempt: random_word(16)?,
        phase: Phase::Launching,
        onto: session.tip.to_string(),
        supervisor: None,
        worker: None,
        tries: 0,
        launcher: crate::worker::ProcessId::current().map_err(io)?,
    };
    run_dir.write_run(&run, ws.store().durability())?;
    let fd = |fd: &OwnedFd| OsString::from(fd.as_raw_fd().to_string());
    let argv = vec![
        program,
        SUPERVISE.into(),
        session.id().as_str().into(),
        ws.repo.common_dir().as_os_str().to_owned(),
        fd(&supervisor_lock),
        fd(&guard_copy),
    ];
    Ok(detach(Detach {
        argv,
        cwd: ws.repo.common_dir().to_owned(),
        env: supervisor_environment(),
        log: Some(run_dir.supervisor_log()),
        keep: vec![supervisor_lock, guard_copy],
    })?)
}
