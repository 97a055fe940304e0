//! How an attempt ends: seen, kept and recorded, whoever ended it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Next, Supervisor};
use crate::git::Durability;
use crate::ops::error::{Error, Result};
use crate::ops::intent::intent;
use crate::ops::local::RunDir;
use crate::ops::records::{Exit, Intent, IntentKind, Phase};
use crate::ops::recover::{GRACE, decide, ladder};
use crate::ops::settle::{End, settle, still_alive};
use crate::session::{Kind, Outcome, State};
use crate::store::Session;
use crate::worker::{self, End as Exited, Signal, Wake};

/// How long those that a worker leaves behind may take to go by themselves, as what git does after a commit.
const PARTING: Duration = Duration::from_millis(500);
/// How long until what could not be killed is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long until what could not even be begun is tried again.
const LATER: Duration = Duration::from_secs(5);
/// How long until what could not be recorded is tried again; it doubles with each further time.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// The longest pause between two such tries.
pub(super) const LATEST: Duration = Duration::from_secs(30);

/// An end that was seen and is not in the log yet, as where the disk is full.
pub(super) struct Unrecorded {
    exit: Exit,
    seen: Seen,
    /// What it was for, where that was our own doing.
    intent: Option<Intent>,
    /// When it is tried again.
    pub(super) at: Instant,
    pause: Duration,
}

/// Whether an end was observed, or only that nothing of the worker is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Yes,
    No,
}

impl Supervisor {
    /// The worker has ended: that is kept until it is recorded.
    pub(super) fn ended(&mut self, end: Exited) -> Result<Next> {
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
    pub(super) fn record_end(&mut self) -> Result<Next> {
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
    pub(super) fn put_off(&mut self, error: Error) -> Result<Next> {
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

    /// Goes on after something that could not be done, as long as there is a session: without us nobody would see how its
    /// worker ends.
    pub(super) fn bear(&self, error: Error) -> Result<Next> {
        if self.unrecorded.is_some() || matches!(error, Error::NotFound(_)) {
            return Err(error);
        }
        (self.complain)(&error);
        Ok(Next::GoOn)
    }

    /// The same for what the worker is to be ended by, which is tried again.
    pub(super) fn later(&mut self, error: Error) -> Result<Next> {
        let next = self.bear(error)?;
        self.deadline = Some(Instant::now() + LATER);
        Ok(next)
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

    /// The system or a person ends the supervisor: the session is suspended, to be resumed after the reboot.
    pub(super) fn shut_down(&mut self, signal: Signal) -> Result<Next> {
        self.leaving = Some(signal);
        if self.unrecorded.is_some() {
            return self.record_end();
        }
        self.bring_down(IntentKind::Suspend, Some(shutdown_reason(signal)))
    }

    pub(super) fn time_out(&mut self) -> Result<Next> {
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
        let intent = intent(&self.run, kind, reason, grace);
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
