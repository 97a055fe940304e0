//! What several verbs share: where we are, what selectors mean, how results are told.

use std::path::PathBuf;

use serde_json::json;

use super::error::Failure;
use super::out;
use crate::ops::view::{Depth, view};
use crate::ops::{Error, Workspace, select};
use crate::render::fields;
use crate::session::State;
use crate::store::Session;

/// The directory that the command was called in.
pub fn cwd() -> Result<PathBuf, Failure> {
    let io = Error::io("cannot tell the current directory");
    Ok(std::env::current_dir().map_err(io)?)
}

/// Opens the repository that we are in.
pub fn open() -> Result<Workspace, Failure> {
    Ok(Workspace::discover(&cwd()?)?)
}

/// Finds the one session that a selector means.
pub fn one(ws: &Workspace, selector: &str) -> Result<Session, Failure> {
    Ok(select::select(ws, selector, &cwd()?)?)
}

/// Several sessions, by name or by state.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Sessions: id, unique prefix, branch, worktree path, @ (this worktree's) or - (the last one)
    #[arg(value_name = "SESSION", required_unless_present = "state")]
    pub sessions: Vec<String>,
    /// Every session of this clone in this state
    #[arg(long, value_name = "STATE", conflicts_with = "sessions")]
    pub state: Option<State>,
}

impl Selection {
    /// Resolves all of them before anything is done.
    pub fn resolve(&self, ws: &Workspace) -> Result<Vec<Session>, Failure> {
        let Some(state) = self.state else {
            let mut found: Vec<Session> = Vec::new();
            for selector in &self.sessions {
                let session = one(ws, selector)?;
                if !found.iter().any(|known| known.id() == session.id()) {
                    found.push(session);
                }
            }
            return Ok(found);
        };
        let mut sessions = ws.store().list().map_err(Error::from)?.sessions;
        sessions.retain(|session| session.event.summary.state == state && ws.owns(&session.event.summary));
        Ok(sessions)
    }
}

/// How a verb that changes something tells it.
#[derive(Debug, clap::Args)]
pub struct Telling {
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,
}

impl Telling {
    /// Says a line to a person who wants to hear it.
    pub fn say(&self, line: &str) {
        if !self.quiet && !self.json {
            out::say(line);
        }
    }

    /// Prints a session as JSON, if that was asked for.
    pub fn show(&self, ws: &Workspace, session: Session) -> Result<(), Failure> {
        if self.json {
            let view = view(ws, session, Depth::Full)?;
            out::json(&json!({ "schema": 1, "session": fields::session(&view) }));
        }
        Ok(())
    }

    /// Does something to each of several sessions; all are tried, the worst exit code counts.
    pub fn each(
        &self,
        ws: &mut Workspace,
        sessions: Vec<Session>,
        mut act: impl FnMut(&mut Workspace, &Session) -> Result<Session, Failure>,
    ) -> Result<i32, Failure> {
        if self.json && sessions.len() == 1 {
            let done = act(ws, &sessions[0])?;
            self.show(ws, done)?;
            return Ok(0);
        }
        let mut worst = 0;
        let mut results = Vec::new();
        for session in &sessions {
            match act(ws, session) {
                Ok(done) if self.json => {
                    let view = view(ws, done, Depth::Full)?;
                    results.push(serde_json::Value::Object(fields::session(&view)));
                }
                Ok(_) => {}
                Err(failure) if self.json => {
                    worst = worst.max(failure.code());
                    results.push(json!({ "id": session.id().as_str(), "error": failure.to_json() }));
                }
                Err(failure) => worst = worst.max(failure.say()),
            }
        }
        if self.json {
            out::json(&json!({ "schema": 1, "sessions": results }));
        }
        Ok(worst)
    }
}

/// Tells what of a session's work could not be saved, or put back.
pub fn warn_unsaved(lines: &[String], what: &str) {
    for line in lines {
        out::say(&format!("warning: {what}: {}", crate::render::escape(line)));
    }
}

/// Our own executable, by which a supervisor is started.
pub fn program() -> Result<std::ffi::OsString, Failure> {
    let path = std::env::current_exe().map_err(Error::io("cannot find our own executable"))?;
    Ok(path.into_os_string())
}
