use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::common::{launching, not_sent, open, warn_unsaved};
use super::error::Failure;
use super::new::What;
use super::out;
use crate::git::command::keep_apart;
use crate::ops::create::create;
use crate::ops::environment::check_variables;
use crate::ops::follow::{Followed, follow};
use crate::ops::interrupt::Interrupt;
use crate::ops::launch::start;
use crate::ops::relay::{Push, unsent};
use crate::ops::stop::{Stop, suspend, terminate};
use crate::ops::trust::Trust;
use crate::ops::view::{Depth, view};
use crate::ops::wait::exit_code;
use crate::ops::{Error, Workspace, record};
use crate::render::fields;
use crate::session::{SessionId, State};
use crate::worker::{Signal, on_signal};

/// Create a session, start it, follow its output and wait for its end
///
/// The worker's exit code is passed through. Its stdin is empty and it has no terminal: what waits for input ends at
/// once, so a coding agent is to be run in the mode that prints and asks nothing.
///
/// Ctrl-C, or the signal TERM, ends the session, its work saved, unless session.interrupt says suspend or detach; a
/// second one kills the worker at once. Closing the terminal ends nothing: the session runs on, as with --detach. Nor
/// does Ctrl-Z stop the worker, but only what shows its output.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  N         the worker's own
  124       its time limit was reached
  125       nothing is known of it, as once suspended; bisect skips it
  126, 127  it could not be executed, or was not found
  128+N     signal N ended it; 130 after Ctrl-C, 143 once stopped
  129       the command line can't be understood

Examples:
  git session run -- make test
  git session run -- sh -c 'make && make test'
  git session run -d --worker agent --title 'Fix login'")]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Return once the worker runs, and print the session's id alone
    #[arg(short, long, visible_alias = "background")]
    detach: bool,
    /// Send each step to a remote while it runs, without holding up the worker [default: where 'push' sends]
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true)]
    push: Option<Option<String>>,
    /// Don't say how the session ended
    #[arg(short, long)]
    quiet: bool,
    /// Print the session as JSON: once it runs with --detach, else when it has ended, without the output
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        // What keeps a followed command from running says nothing about it, so that `git bisect run` skips.
        self.go().map_err(Failure::into_our_own)
    }

    fn go(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let interrupt = Interrupt::configured(&ws)?;
        let signals = Arc::new(Signals::default());
        if !self.detach {
            signals.listen().map_err(Error::io("cannot wait for signals"))?;
        }
        let push = self.push.map(|remote| remote.map_or(Push::Usual, Push::To));
        if let Some(push) = &push {
            push.check(&ws)?;
        }
        let new = self.what.into_new()?;
        // Before anything is made that would only be left behind.
        check_variables(&new.env)?;
        let session = match create(&mut ws, new) {
            // git, which is asked, gets the signal too.
            Err(_) if signals.have_come() => return Ok(128 + signals.first()),
            session => session?,
        };
        let id = session.id().clone();
        let started = start(&mut ws, &id, launching(false, push, Trust::Approved)?);
        if started.is_err() && signals.have_come() && is_pending(&ws, &id) {
            return never_ran(&mut ws, &id, interrupt, &signals);
        }
        let started = started.map_err(|error| left(&ws, &id, error.into()));
        if self.detach {
            let launched = started?;
            match self.json {
                true => show(&ws, launched.session)?,
                false => out::data(format!("{id}\n").as_bytes()),
            }
            return Ok(0);
        }
        started?;
        let run_dir = ws.run_dir(&id);
        let shown = !self.json;
        let sink = |bytes: &[u8]| {
            if shown {
                out::stream(bytes);
            }
        };
        let followed = follow(&run_dir, 0, sink, || signals.have_come())?;
        // The worker goes on whoever reads it, and so does its exit code.
        if let Err(failure) = out::streamed() {
            out::say(&format!("warning: {}", failure.message()));
            out::say(&format!(
                "hint: 'git session output {id}' shows all that it wrote"
            ));
        }
        match followed {
            Followed::Enough => interrupted(&mut ws, &id, interrupt, &signals),
            Followed::Over => ended(&ws, &id, self.quiet, self.json),
        }
    }
}

/// What could not be started may be waiting for the next try.
fn left(ws: &Workspace, id: &SessionId, failure: Failure) -> Failure {
    match is_pending(ws, id) {
        true => failure.also(&format!(
            "session '{id}' is pending: 'git session start {id}' tries again, 'git session stop {id}' gives it up"
        )),
        false => failure,
    }
}

fn is_pending(ws: &Workspace, id: &SessionId) -> bool {
    record::load(ws, id).is_ok_and(|session| session.event.summary.state == State::Pending)
}

fn show(ws: &Workspace, session: crate::store::Session) -> Result<(), Failure> {
    let view = view(ws, session, Depth::Full)?;
    out::json(&json!({ "schema": 1, "session": fields::session(&view) }));
    Ok(())
}

/// The supervisor has gone: what it recorded is what counts.
fn ended(ws: &Workspace, id: &SessionId, quiet: bool, as_json: bool) -> Result<i32, Failure> {
    let session = record::load(ws, id)?;
    let summary = &session.event.summary;
    match summary.state {
        State::Terminated => {
            if !quiet {
                warn_unsaved(&summary.unsaved, "not saved");
            }
            let failed = summary
                .outcome
                .as_ref()
                .is_some_and(|outcome| !outcome.is_success());
            if failed && !quiet && !as_json {
                let outcome = summary
                    .outcome
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                out::say(&format!("{id}: terminated ({outcome})"));
            }
            if let Some(why) = unsent(ws, id)?
                && !quiet
            {
                not_sent(id, &why);
            }
            let code = exit_code(&session);
            if as_json {
                show(ws, session)?;
            }
            Ok(code)
        }
        State::Running => {
            let message = format!("session '{id}' lost its supervisor");
            let hint = format!("'git session recover {id}' finds out what is true");
            Err(Failure::refused("stale", message).hint(hint).exit(125))
        }
        state => {
            let message = format!("session '{id}' was {state} by another command");
            Err(Failure::refused("changed", message).hint(format!("'git session resume {id}' lets it go on")))
        }
    }
}

/// What Ctrl-C and TERM do.
fn interrupted(
    ws: &mut Workspace,
    id: &SessionId,
    interrupt: Interrupt,
    signals: &Signals,
) -> Result<i32, Failure> {
    let code = 128 + signals.first();
    if interrupt == Interrupt::Detach {
        out::say(&format!("{id}: still running"));
        out::say(&format!(
            "hint: 'git session output -f {id}' follows it, 'git session stop {id}' ends it"
        ));
        return Ok(code);
    }
    keep_apart();
    out::say(&format!("{id}: stopping; again to kill it at once"));
    let stop = Stop {
        reason: Some("interrupted".to_owned()),
        hurry: Some(Arc::clone(&signals.again)),
        ..Stop::default()
    };
    let stopped = match interrupt {
        Interrupt::Suspend => suspend(ws, id, &stop),
        Interrupt::Stop | Interrupt::Detach => terminate(ws, id, &stop),
    };
    match stopped {
        Ok(session) => {
            let unsaved = &session.event.summary.unsaved;
            warn_unsaved(unsaved, "not saved");
            let saved = match unsaved.is_empty() {
                true => "its work saved",
                false => "its work saved but for that",
            };
            if session.event.summary.state == State::Suspended {
                out::say(&format!("{id}: suspended, {saved}"));
                out::say(&format!("hint: 'git session resume {id}' lets it go on"));
            } else {
                out::say(&format!("{id}: stopped, {saved}"));
                out::say(&format!(
                    "hint: 'git session diff {id}' shows the work, 'git session restore {id}' puts it into a new directory, \
                     'git session retry {id}' runs it again from its base"
                ));
            }
            Ok(code)
        }
        // The worker was faster than the signal.
        Err(Error::Illegal { .. } | Error::Changed { .. }) => ended(ws, id, false, false),
        Err(error) => Err(error.into()),
    }
}

/// What Ctrl-C and TERM do while git is at work on the worktree, which gets them too, and no worker has run.
fn never_ran(
    ws: &mut Workspace,
    id: &SessionId,
    interrupt: Interrupt,
    signals: &Signals,
) -> Result<i32, Failure> {
    keep_apart();
    if interrupt == Interrupt::Stop {
        let stop = Stop {
            reason: Some("interrupted".to_owned()),
            ..Stop::default()
        };
        terminate(ws, id, &stop)?;
        out::say(&format!("{id}: cancelled, nothing had run"));
    } else {
        out::say(&format!("{id}: pending, nothing has run"));
        out::say(&format!(
            "hint: 'git session start {id}' starts it, 'git session stop {id}' gives it up"
        ));
    }
    Ok(128 + signals.first())
}

/// How soon after the first signal another one is no second word of the user, but the same one again: git, which is
/// asked to end with us, passes on to us what it gets, and so may whoever has started it.
const ECHO: Duration = Duration::from_secs(1);

/// The signals that have come.
#[derive(Default)]
struct Signals {
    first: AtomicUsize,
    /// Whether it was said twice.
    again: Arc<AtomicBool>,
}

impl Signals {
    fn listen(self: &Arc<Self>) -> std::io::Result<()> {
        let start = Instant::now();
        let since = Arc::new(AtomicU64::new(0));
        for signal in [Signal::INT, Signal::TERM] {
            let (signals, since) = (Arc::clone(self), Arc::clone(&since));
            let number = usize::try_from(signal.number()).unwrap_or_default();
            on_signal(signal, move || {
                let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                if signals.first.load(Ordering::SeqCst) == 0 {
                    since.store(now, Ordering::SeqCst);
                    signals.first.store(number, Ordering::SeqCst);
                } else if Duration::from_millis(now - since.load(Ordering::SeqCst).min(now)) >= ECHO {
                    signals.again.store(true, Ordering::SeqCst);
                }
            })?;
        }
        Ok(())
    }

    fn have_come(&self) -> bool {
        self.first.load(Ordering::SeqCst) != 0
    }

    fn first(&self) -> i32 {
        i32::try_from(self.first.load(Ordering::SeqCst)).unwrap_or_default()
    }
}
