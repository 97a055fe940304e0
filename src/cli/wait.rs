use std::time::{Duration, Instant};

use serde_json::json;

use super::common::{Selection, Telling, nothing_in, open_remotely};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::view::{Depth, view};
use crate::ops::wait::{Waited, exit_code, is_elsewhere, wait, wait_any};
use crate::render::{escape, fields};
use crate::session::duration;
use crate::store::Session;

/// Wait until sessions have ended
///
/// The exit code is the worker's own; of several, 0 if all are 0, else 1. A timeout is 124, what tells nothing about
/// the command 125. The home of a session that another clone owns is asked now and then; should that session be overdue
/// there, with a grace and session.syncInterval gone by since its time was up, that is 125.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  N         the worker's own; of several 0 if all are 0, else 1
  124       a time limit was reached: that of --timeout, or its own
  125       nothing is known of the command: never ran, stale or overdue
  126, 127  it could not be executed, or was not found
  128+N     signal N ended it; 143 once stopped
  129       the command line can't be understood

Examples:
  git session wait fix-login && git merge session/fix-login-3f7q2a
  git session wait --any --timeout 1h --state running")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    /// Only until the first has ended; the exit code is that one's
    #[arg(long)]
    any: bool,
    /// Give up after this time, with exit code 124
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Print the ended sessions as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        self.go().map_err(Failure::into_our_own)
    }

    fn go(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(true)?;
        // The first one's exit code is not to be had where there is none.
        let telling = Telling {
            quiet: self.quiet || self.any,
            json: self.json,
        };
        let sessions = self.sessions.resolve(&ws, &telling)?.sessions;
        if let (true, true, Some(state)) = (self.any, sessions.is_empty(), self.sessions.state) {
            return Err(Failure::refused("not-found", nothing_in(state)));
        }
        if sessions.iter().any(|session| is_elsewhere(&ws, session)) {
            ws.prepare()?;
        }
        let until = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let speaks = !self.quiet && !self.json;
        let waiting = |session: &Session, deaf: Option<&str>| {
            let (id, summary) = (session.id(), &session.event.summary);
            let said = match deaf {
                Some(why) => format!("{id}: its home can't be asked: {why}"),
                None if ws.owns(summary) => format!("{id}: {}, waiting", summary.state),
                None => format!("{id}: {} on '{}', waiting", summary.state, summary.host),
            };
            if speaks {
                out::say(&escape(&said));
            }
        };
        let mut ended = Vec::new();
        if self.any {
            let ids: Vec<_> = sessions.iter().map(|session| session.id().clone()).collect();
            ended.push(over(wait_any(&ws, &ids, until, waiting)?)?);
        } else {
            for session in &sessions {
                ended.push(over(wait(&ws, session.id(), until, waiting)?)?);
            }
        }
        let code = match ended.as_slice() {
            [only] => exit_code(only),
            several => i32::from(several.iter().any(|session| exit_code(session) != 0)),
        };
        if self.json {
            let all = ended.into_iter().map(|session| {
                let view = view(&ws, session, Depth::Full)?;
                Ok(serde_json::Value::Object(fields::session(&view)))
            });
            let all = all.collect::<Result<Vec<_>, Error>>()?;
            out::json(&json!({ "schema": 1, "sessions": all }));
        } else if speaks {
            for session in &ended {
                let outcome = session.event.summary.outcome.as_ref();
                let outcome = outcome.map_or_else(String::new, |outcome| format!(" ({outcome})"));
                out::say(&format!("{}: terminated{outcome}", session.id()));
            }
        }
        Ok(code)
    }
}

fn over(waited: Waited) -> Result<Session, Failure> {
    match waited {
        Waited::Ended(session) => Ok(session),
        Waited::Late(session) => {
            let message = format!(
                "session '{}' is still {}",
                session.id(),
                session.event.summary.state
            );
            Err(Failure::refused("timeout", message).exit(124))
        }
        Waited::Overdue(session) => {
            let (id, host) = (session.id(), &session.event.summary.host);
            let message = format!(
                "session '{id}' is overdue on '{host}': its time was up, and nobody says how it ended"
            );
            let hint = format!("if that machine is gone, 'git session claim --force {id}' takes it over");
            Err(Failure::refused("overdue", message).hint(hint).exit(125))
        }
        Waited::Stale(session) => {
            let message = format!(
                "session '{}' is running by its log, but nobody supervises it",
                session.id()
            );
            let hint = format!("'git session recover {}' finds out what is true", session.id());
            Err(Failure::refused("stale", message).hint(hint).exit(125))
        }
    }
}
