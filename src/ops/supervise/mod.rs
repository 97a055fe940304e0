//! The supervisor: one detached process a session, which starts the worker, waits, and records its end.

mod attempts;
mod ends;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::ends::Unrecorded;
use super::error::{Error, Result};
use super::launch::Report;
use super::local::{Guard, RunDir};
use super::record::{load, spec};
use super::records::Run;
use super::recover::release;
use super::standing::standing;
use super::workspace::Workspace;
use crate::git::Durability;
use crate::git::repo::parse_oid;
use crate::session::{Outcome, SessionId, Spec, State};
use crate::store::Session;
use crate::worker::{self, ProcessId, Reporter, Signal, Wake, Watch, become_subreaper};

/// How long we wait for the guard before we look whether there is still a run to wait for.
const TURN: Duration = Duration::from_millis(100);

/// What a supervisor is started with.
#[derive(Debug)]
pub struct Supervise {
    pub id: SessionId,
    pub common_dir: PathBuf,
    /// Held for our life.
    pub lock: OwnedFd,
    /// Where what can't be recorded is told.
    pub complain: fn(&Error),
    /// A copy of the launcher's guard, held until the worker's start is recorded.
    pub guard: OwnedFd,
}

/// Runs a session to the end of its run.
///
/// # Errors
/// What kept it from recording the truth; the next command that looks at the session finds it out.
pub fn supervise(what: Supervise) -> Result<()> {
    let io = |source| Error::Io {
        what: "the supervisor's start".to_owned(),
        source,
    };
    let reporter = Reporter::from_stdout().map_err(io)?;
    let mut supervisor = match Supervisor::new(&what) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            return report(
                reporter,
                &Report::Refused {
                    message: error.to_string(),
                },
            );
        }
    };
    let first = match supervisor.first_step() {
        Ok(kind) => kind,
        Err(error) => {
            return report(
                reporter,
                &Report::Refused {
                    message: error.to_string(),
                },
            );
        }
    };
    let told = match supervisor.begin(first, None) {
        Ok(told) => told,
        Err(error) => {
            return report(
                reporter,
                &Report::Refused {
                    message: error.to_string(),
                },
            );
        }
    };
    let runs = matches!(told, Report::Runs);
    report(reporter, &told)?;
    drop(what.guard);
    if runs { supervisor.watch_over() } else { Ok(()) }
}

fn report(reporter: Reporter, report: &Report) -> Result<()> {
    let json = serde_json::to_vec(report).unwrap_or_default();
    reporter
        .report(&json)
        .map_err(Error::io("cannot report to the launcher"))
}

struct Supervisor {
    ws: Workspace,
    id: SessionId,
    run_dir: RunDir,
    run: Run,
    spec: Spec,
    worktree: PathBuf,
    watch: Watch,
    complain: fn(&Error),
    /// When the present attempt's time is up.
    deadline: Option<Instant>,
    /// The deadline that the log had when that was computed.
    recorded: Option<Timestamp>,
    /// We were asked to go by this: no further attempt is made.
    leaving: Option<Signal>,
    /// How the present attempt ended, until that is recorded.
    unrecorded: Option<Unrecorded>,
}

/// Whether the run goes on after something happened.
enum Next {
    GoOn,
    /// The attempt failed, and another one is left.
    Again(Outcome),
    Over,
}

impl Supervisor {
    fn new(what: &Supervise) -> Result<Supervisor> {
        let id = &what.id;
        let io = |source| Error::Io {
            what: "the supervisor's start".to_owned(),
            source,
        };
        become_subreaper().map_err(io)?;
        let watch = Watch::new().map_err(io)?;
        let ws = Workspace::open(&what.common_dir)?;
        let session = load(&ws, id)?;
        ws.check_owned(&session)?;
        let run_dir = ws.run_dir(id);
        let gone = |what: &str| Error::Lacking {
            id: id.clone(),
            what: what.to_owned(),
        };
        let mut run = run_dir.run()?.ok_or_else(|| gone("its run record is gone"))?;
        // What the launcher has looked at is what runs, whatever came into the log since.
        let onto = parse_oid(run.onto.as_bytes()).ok_or_else(|| gone("its run record says nothing"))?;
        let spec = spec(&ws, &ws.store().at(id, onto).map_err(Error::from)?)?;
        let worktree = standing(&ws, &run_dir)?
            .ok_or_else(|| gone("its worktree is gone"))?
            .path;
        run.supervisor = Some(ProcessId::current().map_err(io)?);
        run_dir.write_run(&run, Durability::Relaxed)?;
        Ok(Supervisor {
            ws,
            id: id.clone(),
            run_dir,
            run,
            spec,
            worktree,
            watch,
            complain: what.complain,
            deadline: None,
            recorded: None,
            leaving: None,
            unrecorded: None,
        })
    }

    fn target(&self) -> worker::Target {
        self.run_dir.target(Some(&self.run))
    }

    /// Sleeps until something happens, and sees to it, until the run is over.
    fn watch_over(mut self) -> Result<()> {
        worker::give_back_code();
        loop {
            let until = self
                .unrecorded
                .as_ref()
                .map_or(self.deadline, |unrecorded| Some(unrecorded.at));
            let wake = self.watch.wait(until).map_err(Error::io("cannot wait"))?;
            let step = match wake {
                Wake::Exited(end) => self.ended(end),
                Wake::Asked(signal) => self.shut_down(signal).or_else(|error| self.later(error)),
                // The worker is no more: all that is left to be done is to record that.
                _ if self.unrecorded.is_some() => self.record_end(),
                // Whoever wants us to look says so again.
                Wake::Stopped | Wake::Nudged => self.look().or_else(|error| self.bear(error)),
                Wake::Deadline => self.time_out().or_else(|error| self.later(error)),
            };
            let mut next = step.or_else(|error| self.put_off(error))?;
            while let Next::Again(outcome) = next {
                next = self.try_again(&outcome).or_else(|error| self.put_off(error))?;
            }
            if matches!(next, Next::Over) {
                return Ok(());
            }
        }
    }

    /// The guard, and the session with it, once it is our turn; nothing if the run is over by then.
    ///
    /// Who launches the next run has the guard and waits for our lock. So what is over must be seen without the guard.
    fn turn(&self) -> Result<Option<(Guard, Session)>> {
        loop {
            let is_ours = |run: Run| run.attempt == self.run.attempt;
            if !self.run_dir.run()?.is_some_and(is_ours) {
                return Ok(None);
            }
            if let Some(guard) = self.run_dir.guard_within(TURN)? {
                return Ok(self.current()?.map(|session| (guard, session)));
            }
        }
    }

    /// The session, as long as this run is the one that it is in.
    fn current(&self) -> Result<Option<Session>> {
        let ours = self
            .run_dir
            .run()?
            .is_some_and(|run| run.attempt == self.run.attempt);
        let session = load(&self.ws, &self.id)?;
        let lasts = match session.event.summary.state {
            State::Running => true,
            State::Suspended => session.event.summary.frozen,
            State::Pending | State::Terminated => false,
        };
        Ok((ours && lasts && self.ws.owns(&session.event.summary)).then_some(session))
    }

    /// The worker was stopped, or somebody says that something changed.
    fn look(&mut self) -> Result<Next> {
        let Some((_guard, session)) = self.turn()? else {
            return Ok(Next::Over);
        };
        if session.event.summary.state == State::Running {
            release(&self.run_dir, &self.run)?;
        }
        if session.event.summary.deadline != self.recorded {
            // A session that was frozen gets its time anew, as with every resume.
            self.recorded = session.event.summary.deadline;
            let timeout = self.recorded.and(self.spec.limits.timeout);
            self.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        }
        Ok(Next::GoOn)
    }
}
