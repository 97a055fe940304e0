//! The supervisor: one detached process a session, which starts the worker, waits, and records its end.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::checkout;
use super::error::{Error, Result};
use super::job::Attempt;
use super::launch::Report;
use super::local::{Exit, Guard, Intent, IntentKind, Phase, Run, RunDir};
use super::record::{load, record, spec};
use super::recover::{GRACE, decide, ladder, release, until};
use super::settle::{End, settle, still_alive};
use super::workspace::{Workspace, random_word};
use crate::git::Durability;
use crate::git::repo::parse_oid;
use crate::session::{Kind, Outcome, SessionId, Spec, State};
use crate::store::Session;
use crate::worker::{
    self, End as Exited, ProcessId, Reporter, Signal, SpawnError, Wake, Watch, become_subreaper, spawn,
};

/// The pause before the second attempt; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How long we wait for the guard before we look whether there is still a run to wait for.
const TURN: Duration = Duration::from_millis(100);
/// How long those that a worker leaves behind may take to go by themselves, as what git does after a commit.
const PARTING: Duration = Duration::from_millis(500);
/// How long until what could not be killed is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long until an end that could not be recorded is tried again; it doubles with each further time.
const SOON: Duration = Duration::from_secs(1);
/// The longest pause between two such tries.
const LATEST: Duration = Duration::from_secs(30);

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

/// An end that was seen and is not in the log yet, as where the disk is full.
struct Unrecorded {
    exit: Exit,
    seen: Seen,
    /// What it was for, where that was our own doing.
    intent: Option<Intent>,
    /// When it is tried again.
    at: Instant,
    pause: Duration,
}

/// Whether an end was observed, or only that nothing of the worker is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Yes,
    No,
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
        let worktree = checkout::standing(&ws, &run_dir)?
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

    /// A start or a resume, as the log stands.
    fn first_step(&self) -> Result<Kind> {
        let state = load(&self.ws, &self.id)?.event.summary.state;
        match state {
            State::Pending => Ok(Kind::Start),
            State::Suspended => Ok(Kind::Resume),
            State::Running | State::Terminated => Err(Error::Changed {
                id: self.id.clone(),
                now: state.to_string(),
            }),
        }
    }

    /// Starts an attempt and records it; the guard is held by us or by our launcher.
    fn begin(&mut self, kind: Kind, last: Option<&Outcome>) -> Result<Report> {
        self.run.tries += 1;
        if kind == Kind::Restart {
            // What the last attempt left must not be taken for the end of this one.
            self.run.attempt = random_word(16)?;
            self.run.phase = Phase::Launching;
            self.run_dir.write_run(&self.run, self.ws.store().durability())?;
        }
        // Without it everything works that works on a disk with room.
        let _ = self.run_dir.reserve();
        let worker = match spawn(self.attempt().job(kind)?) {
            Ok(worker) => worker,
            Err(error) => return self.not_executed(kind, error),
        };
        self.watch.follow(&worker);
        self.run.phase = Phase::Executed;
        self.run.worker = Some(worker.id.clone());
        let timeout = self.spec.limits.timeout;
        let recorded = self
            .run_dir
            .write_run(&self.run, Durability::Relaxed)
            .and_then(|()| {
                record(&self.ws, &self.id, kind, |event| {
                    event.summary.outcome = last.cloned();
                    event.summary.deadline = timeout.and_then(|timeout| event.at.checked_add(timeout).ok());
                })
            });
        match recorded {
            Ok(session) => self.recorded = session.event.summary.deadline,
            Err(error) => {
                // What can't be recorded as running must not run.
                worker::stop(&self.target(), ladder(&self.spec, None, false))?;
                if kind != Kind::Restart {
                    self.run_dir.clear_run()?;
                }
                return Err(error);
            }
        }
        self.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(Report::Runs)
    }

    /// An exec that failed ends a session that was to start; a suspended one stays as it is.
    fn not_executed(&self, kind: Kind, error: SpawnError) -> Result<Report> {
        let (code, message) = (error.exit_code(), error.to_string());
        if kind == Kind::Resume {
            self.run_dir.clear_run()?;
        } else {
            let (outcome, reason) = (Some(Outcome::Failed(code)), Some(message.clone()));
            settle(
                &self.ws,
                &self.id,
                Kind::Terminate,
                &End {
                    outcome,
                    reason,
                    ..End::default()
                },
            )?;
        }
        Ok(Report::NotExecuted { code, message })
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            id: &self.id,
            spec: &self.spec,
            run_dir: &self.run_dir,
            worktree: &self.worktree,
            tries: self.run.tries,
        }
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
                Wake::Asked(signal) => self.shut_down(signal),
                // The worker is no more: all that is left to be done is to record that.
                _ if self.unrecorded.is_some() => self.record_end(),
                Wake::Stopped | Wake::Nudged => self.look(),
                Wake::Deadline => self.time_out(),
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

    /// The worker has ended: that is kept until it is recorded.
    fn ended(&mut self, end: Exited) -> Result<Next> {
        let exit = self.exit(end);
        let intent = self.shutting_down(&exit);
        self.keep(exit, Seen::Yes, intent);
        self.record_end()
    }

    fn keep(&mut self, exit: Exit, seen: Seen, intent: Option<Intent>) {
        self.unrecorded = Some(Unrecorded {
            exit,
            seen,
            intent,
            at: Instant::now(),
            pause: SOON,
        });
    }

    /// The end is written down at once, the strays are stopped, the truth is recorded.
    fn record_end(&mut self) -> Result<Next> {
        let Some(ended) = &mut self.unrecorded else {
            return Ok(Next::GoOn);
        };
        write_down(&self.run_dir, ended);
        // Where orphans come to us, no child is left exactly when no descendant is.
        if worker::Platform::current() == worker::Platform::Posix || self.watch.has_children() {
            let target = self.run_dir.target(Some(&self.run));
            worker::wait_gone(&target, PARTING)?;
            let stopped = worker::stop(&target, ladder(&self.spec, None, false))?;
            for stray in &stopped.signalled {
                let told = format!("{} ({})", stray.name, stray.id.pid);
                if Some(&stray.id) != self.run.worker.as_ref() && !ended.exit.strays.contains(&told) {
                    ended.exit.strays.push(told);
                }
            }
            write_down(&self.run_dir, ended);
            if let Some(error) = still_alive(&self.id, &stopped) {
                (self.complain)(&error);
                ended.at = Instant::now() + AGAIN;
                return Ok(Next::GoOn);
            }
        }
        let (exit, own) = (ended.exit.clone(), ended.intent.clone());
        let Some((_guard, session)) = self.turn()? else {
            return Ok(Next::Over);
        };
        let intent = self.run_dir.intent(&self.run.attempt, exit.at)?.or(own);
        self.settle(&session, intent.as_ref(), &exit)
    }

    /// What could not be recorded is kept and tried again later, as long as there is a session.
    fn put_off(&mut self, error: Error) -> Result<Next> {
        let Some(ended) = &mut self.unrecorded else {
            return Err(error);
        };
        if matches!(error, Error::NotFound(_)) {
            return Err(error);
        }
        if ended.pause == SOON {
            (self.complain)(&error);
        }
        ended.at = Instant::now() + ended.pause;
        ended.pause = ended.pause.saturating_mul(2).min(LATEST);
        Ok(Next::GoOn)
    }

    /// At a shutdown all processes are asked to end at the same time: a worker that was faster than we is no failure.
    fn shutting_down(&self, exit: &Exit) -> Option<Intent> {
        let Ok(outcome) = exit.outcome.parse::<Outcome>();
        let signal = self
            .leaving
            .or(self.watch.asked())
            .filter(|_| !outcome.is_success())?;
        Some(Intent {
            attempt: self.run.attempt.clone(),
            kind: IntentKind::Suspend,
            reason: Some(shutdown_reason(signal)),
            request: None,
            until: exit.at,
        })
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

    fn exit(&self, end: Exited) -> Exit {
        let outcome = match end {
            Exited::Code(code) => Outcome::Exit(code),
            Exited::Signal(number) => Outcome::Signal(number),
        };
        let attempt = self.run.attempt.clone();
        Exit {
            attempt,
            outcome: outcome.to_string(),
            at: Timestamp::now(),
            strays: Vec::new(),
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

    fn settle(&mut self, session: &Session, intent: Option<&Intent>, exit: &Exit) -> Result<Next> {
        if session.event.summary.state == State::Suspended {
            // The frozen processes are no more; the session stays suspended, with what they left.
            settle(&self.ws, &self.id, Kind::Checkpoint, &End::default())?;
            self.run_dir.clear_run()?;
            return Ok(Next::Over);
        }
        let (kind, end) = decide(intent, exit);
        if let Some(outcome) = &end.outcome
            && outcome.is_failure()
            && self.run.tries <= self.spec.limits.retries
            && self.leaving.is_none()
        {
            self.run.phase = Phase::Waiting;
            self.run.worker = None;
            self.run_dir.write_run(&self.run, Durability::Relaxed)?;
            self.run_dir.clear_intent()?;
            self.unrecorded = None;
            return Ok(Next::Again(outcome.clone()));
        }
        settle(&self.ws, &self.id, kind, &end)?;
        Ok(Next::Over)
    }

    /// Waits a while, then starts the next attempt, unless somebody ended the session meanwhile.
    fn try_again(&mut self, last: &Outcome) -> Result<Next> {
        let doublings = self.run.tries.saturating_sub(1).min(16);
        let pause = BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
        let until = Instant::now() + pause;
        loop {
            match self.watch.wait(Some(until)).map_err(Error::io("cannot wait"))? {
                Wake::Deadline => break,
                Wake::Asked(signal) => return self.shut_down(signal),
                Wake::Nudged => {
                    if let Next::Over = self.look()? {
                        return Ok(Next::Over);
                    }
                }
                Wake::Exited(_) | Wake::Stopped => {}
            }
        }
        let Some((guard, _)) = self.turn()? else {
            return Ok(Next::Over);
        };
        let told = self.begin(Kind::Restart, Some(last))?;
        drop(guard);
        Ok(if matches!(told, Report::Runs) {
            Next::GoOn
        } else {
            Next::Over
        })
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

    /// The system or a person ends the supervisor: the session is suspended, to be resumed after the reboot.
    fn shut_down(&mut self, signal: Signal) -> Result<Next> {
        self.leaving = Some(signal);
        if self.unrecorded.is_some() {
            return self.record_end();
        }
        self.bring_down(IntentKind::Suspend, Some(shutdown_reason(signal)))
    }

    fn time_out(&mut self) -> Result<Next> {
        self.deadline = None;
        match self.leaving {
            // It could not be stopped when we were asked to go, which is not its time being up.
            Some(signal) => self.shut_down(signal),
            None => self.bring_down(IntentKind::Timeout, None),
        }
    }

    /// Ends the worker for a reason of our own, and records it.
    fn bring_down(&mut self, kind: IntentKind, reason: Option<String>) -> Result<Next> {
        let Some((guard, session)) = self.turn()? else {
            return Ok(Next::Over);
        };
        if session.event.summary.state == State::Suspended && kind == IntentKind::Timeout {
            return Ok(Next::GoOn);
        }
        if let Some(end) = self.reaped(Instant::now())? {
            drop(guard);
            return self.ended(end);
        }
        let grace = self.spec.limits.grace.unwrap_or(GRACE);
        let attempt = self.run.attempt.clone();
        let intent = Intent {
            attempt,
            kind,
            reason,
            request: None,
            until: until(grace),
        };
        // It is for those who come after us if we are killed; where there is no room for it, the worker is stopped anyway.
        if let Err(error) = self.run_dir.write_intent(&intent) {
            (self.complain)(&error);
        }
        let stopped = worker::stop(&self.target(), ladder(&self.spec, None, false))?;
        if let Some(error) = still_alive(&self.id, &stopped) {
            (self.complain)(&error);
            self.run_dir.clear_intent()?;
            self.deadline = Instant::now().checked_add(AGAIN);
            return Ok(Next::GoOn);
        }
        let end = match self.run.phase {
            Phase::Executed => self.reaped(Instant::now() + GRACE)?,
            Phase::Launching | Phase::Waiting => None,
        };
        let seen = if end.is_some() { Seen::Yes } else { Seen::No };
        let exit = self.exit(end.unwrap_or(Exited::Signal(15)));
        self.keep(exit.clone(), seen, Some(intent.clone()));
        self.unrecorded
            .iter()
            .for_each(|ended| write_down(&self.run_dir, ended));
        self.settle(&session, Some(&intent), &exit)
    }

    /// The worker's end, if it comes before `until`; what else comes meanwhile doesn't matter any more.
    fn reaped(&mut self, until: Instant) -> Result<Option<Exited>> {
        loop {
            match self.watch.wait(Some(until)).map_err(Error::io("cannot wait"))? {
                Wake::Exited(end) => return Ok(Some(end)),
                Wake::Deadline => return Ok(None),
                // The run is being ended already; it only must not begin anew.
                Wake::Asked(signal) => self.leaving = Some(signal),
                Wake::Stopped | Wake::Nudged => {}
            }
        }
    }
}

/// Keeps an end that was observed for those who come after us.
///
/// Where there is no room for it there may be for the event, which is what counts; strays are stopped anyway.
fn write_down(run_dir: &RunDir, ended: &Unrecorded) {
    if ended.seen == Seen::Yes {
        let _ = run_dir.write_exit(&ended.exit);
    }
}

fn shutdown_reason(signal: Signal) -> String {
    format!("its supervisor was ended by {}", signal.name())
}

impl AsFd for Guard {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.lease.as_fd()
    }
}
