use std::time::{Duration, Instant};

use serde_json::json;

use super::common::{Selection, open};
use super::error::Failure;
use super::out;
use crate::ops::Error;
use crate::ops::view::{Depth, view};
use crate::ops::wait::{Waited, exit_code, wait, wait_any};
use crate::render::fields;
use crate::session::duration;
use crate::store::Session;

/// Wait until sessions have ended
///
/// The exit code is the worker's own; of several, 0 if all are 0, else 1. A timeout is 124, what tells nothing about
/// the command 125.
#[derive(Debug, clap::Args)]
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
        let ws = open()?;
        let sessions = self.sessions.resolve(&ws)?;
        let until = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let speaks = !self.quiet && !self.json;
        let waiting = |session: &Session| {
            if speaks {
                out::say(&format!(
                    "{}: {}, waiting",
                    session.id(),
                    session.event.summary.state
                ));
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
