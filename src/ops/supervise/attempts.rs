//! A supervisor's attempts: the first, and those after one that failed.

use std::time::{Duration, Instant};

use super::ends::{LATEST, SOON};
use super::{Next, Supervisor};
use crate::git::Durability;
use crate::ops::error::{Error, Result};
use crate::ops::job::Attempt;
use crate::ops::launch::Report;
use crate::ops::machine::random_word;
use crate::ops::record::{load, propose, record};
use crate::ops::records::Phase;
use crate::ops::recover::ladder;
use crate::ops::settle::{End, settle};
use crate::session::{Claim, Kind, Outcome, State};
use crate::store::{self, Session};
use crate::worker::{self, SpawnError, Wake, spawn};

/// The pause before the second attempt; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

impl Supervisor {
    /// A start or a resume, as the log stands.
    pub(super) fn first_step(&self) -> Result<Kind> {
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
    pub(super) fn begin(&mut self, kind: Kind, last: Option<&Outcome>) -> Result<Report> {
        let mut run = self.run.clone();
        run.tries += 1;
        if kind == Kind::Restart {
            // What the last attempt left must not be taken for the end of this one.
            run.attempt = random_word(16)?;
            run.phase = Phase::Launching;
            self.run_dir.write_run(&run, self.ws.store().durability())?;
        }
        self.run = run;
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
            self.end(Outcome::Failed(code), message.clone())?;
        }
        Ok(Report::NotExecuted { code, message })
    }

    fn end(&self, outcome: Outcome, reason: String) -> Result<()> {
        let end = End {
            outcome: Some(outcome),
            reason: Some(reason),
            ..End::default()
        };
        settle(&self.ws, &self.id, Kind::Terminate, &end).map(drop)
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

    /// Waits a while, then starts the next attempt, unless somebody ended the session meanwhile; one that can't be
    /// recorded, as where the disk is full, is tried again later.
    pub(super) fn try_again(&mut self, last: &Outcome) -> Result<Next> {
        let doublings = self.run.tries.saturating_sub(1).min(16);
        let mut pause = BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
        let mut is_told = false;
        loop {
            if let Some(next) = self.pause(pause)? {
                return Ok(next);
            }
            let Some((_guard, session)) = self.turn()? else {
                return Ok(Next::Over);
            };
            let tries = self.run.tries;
            let error = match self.restart(&session, last) {
                Ok(Report::Runs) => return Ok(Next::GoOn),
                Ok(_) => return Ok(Next::Over),
                // No waiting helps a log that is full.
                Err(error @ Error::Store(store::Error::Full(_))) => {
                    self.end(last.clone(), error.to_string())?;
                    return Ok(Next::Over);
                }
                Err(error) => error,
            };
            if !is_told {
                (self.complain)(&error);
                is_told = true;
            }
            (self.run.tries, self.run.phase, self.run.worker) = (tries, Phase::Waiting, None);
            // What is there says as much, only not what we wait for.
            let _ = self.run_dir.write_run(&self.run, Durability::Relaxed);
            pause = pause.saturating_mul(2).clamp(SOON, LATEST);
        }
    }

    /// Starts the next attempt once it is known that it can be recorded: what can't would have to be stopped again.
    fn restart(&mut self, session: &Session, last: &Outcome) -> Result<Report> {
        propose(&self.ws, session, Kind::Restart, Claim::Plain, |_| {})?;
        self.begin(Kind::Restart, Some(last))
    }

    /// Waits, unless something happens by which the run is over.
    fn pause(&mut self, pause: Duration) -> Result<Option<Next>> {
        let until = Instant::now() + pause;
        loop {
            match self.watch.wait(Some(until)).map_err(Error::io("cannot wait"))? {
                Wake::Deadline => return Ok(None),
                Wake::Asked(signal) => return self.shut_down(signal).map(Some),
                Wake::Nudged => {
                    if let Next::Over = self.look()? {
                        return Ok(Some(Next::Over));
                    }
                }
                Wake::Exited(_) | Wake::Stopped => {}
            }
        }
    }
}
