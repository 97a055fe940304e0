//! What several verbs share: where we are, what selectors mean, how results are told.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::error::Failure;
use super::out;
use crate::ops::launch::{How, Launched, Unsent};
use crate::ops::record::load;
use crate::ops::relay::Push;
use crate::ops::remotes::chosen;
use crate::ops::requests::{self, Wish};
use crate::ops::trust::Trust;
use crate::ops::view::{Depth, view};
use crate::ops::{Error, Workspace, select};
use crate::render::fields;
use crate::session::{SessionId, State, duration};
use crate::store::Session;

/// The directory that the command was called in.
pub fn cwd() -> Result<PathBuf, Failure> {
    let io = Error::io("cannot tell the current directory");
    Ok(std::env::current_dir().map_err(io)?)
}

/// Opens the repository that we are in.
pub fn open() -> Result<Workspace, Failure> {
    let mut ws = Workspace::discover(&cwd()?)?;
    ws.relays = true;
    Ok(ws)
}

/// Opens the repository to talk to remotes; git's progress is shown on a terminal.
pub fn open_remotely(quiet: bool) -> Result<Workspace, Failure> {
    let mut ws = open()?;
    if !quiet && out::is_terminal() {
        ws.progress = Some(out::progress);
    }
    Ok(ws)
}

/// The ids of the sessions that selectors mean, each once.
pub fn ids(ws: &Workspace, selectors: &[String]) -> Result<Vec<SessionId>, Failure> {
    let mut found: Vec<SessionId> = Vec::new();
    for selector in selectors {
        let session = one(ws, selector)?;
        if !found.contains(session.id()) {
            found.push(session.id().clone());
        }
    }
    Ok(found)
}

/// What the verbs that talk to one remote have in common.
#[derive(Debug, clap::Args)]
pub struct Exchange {
    /// The remote; else session.remote, the current branch's, or origin
    remote: Option<String>,
    /// Only these sessions, as they are called here, or by their id
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print what came of each session as JSON
    #[arg(long)]
    pub json: bool,
}

impl Exchange {
    /// Opens the repository that we are in.
    ///
    /// # Errors
    /// A session in the place of a remote: the hint is where this verb wants it.
    pub fn open(&self, verb: &str) -> Result<Workspace, Failure> {
        let ws = open_remotely(self.quiet || self.json)?;
        if let Some(name) = &self.remote
            && let Err(error) = ws.repo.remote(name)
        {
            let failure = Failure::of(&error.into());
            return Err(match select::select(&ws, name, &cwd()?) {
                Ok(_) => {
                    let usual =
                        chosen(&ws, None).map_or("REMOTE".to_owned(), |usual| usual.name().to_owned());
                    failure.hint(format!(
                        "the remote comes first: 'git session {verb} {usual} {name}'"
                    ))
                }
                Err(_) => failure,
            });
        }
        Ok(ws)
    }

    /// The remote that is named.
    pub fn remote(&self) -> Option<&str> {
        self.remote.as_deref()
    }

    /// The ids of the sessions that are here.
    pub fn ids(&self, ws: &Workspace) -> Result<Vec<SessionId>, Failure> {
        ids(ws, &self.sessions)
    }

    /// The ids of the sessions, where what means nothing here may be the id of one elsewhere.
    pub fn ids_anywhere(&self, ws: &Workspace) -> Result<Vec<SessionId>, Failure> {
        let find = |selector: &String| match select::select(ws, selector, &cwd()?) {
            Ok(session) => Ok(session.id().clone()),
            Err(Error::NotFound(_)) => Ok(selector.parse().map_err(Error::from)?),
            Err(error) => Err(error.into()),
        };
        self.sessions.iter().map(find).collect()
    }
}

/// Finds the one session that a selector means.
pub fn one(ws: &Workspace, selector: &str) -> Result<Session, Failure> {
    Ok(select::select(ws, selector, &cwd()?)?)
}

/// What brings the worktree of a session that has none here.
pub fn worktree_hint(session: &Session) -> Option<String> {
    let (id, summary) = (session.id(), &session.event.summary);
    match summary.state {
        State::Pending => Some(format!("'git session start {id}' makes it")),
        State::Suspended => Some(format!("'git session resume {id}' puts it back")),
        State::Terminated if summary.work.is_some() => Some(format!(
            "'git session restore {id}' puts its saved work into a new directory"
        )),
        State::Running | State::Terminated => None,
    }
}

/// Reads a count.
pub fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    let wrong = |_| "a whole number is needed, like 0, 3 or 20".to_owned();
    text.parse().map_err(wrong)
}

/// Several sessions, by name or by state.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Sessions: id, unique prefix, branch, worktree path, @ (this worktree's) or - (the last one)
    #[arg(value_name = "SESSION", required_unless_present = "state")]
    pub sessions: Vec<String>,
    /// Every session of this clone in this state: pending, running, suspended or terminated
    #[arg(long, value_name = "STATE", conflicts_with = "sessions")]
    pub state: Option<State>,
}

/// The sessions that are meant.
pub struct Chosen {
    pub sessions: Vec<Session>,
    /// Whether one was named. JSON has that one alone; all others are a list, however many there happen to be.
    pub is_one: bool,
}

impl Selection {
    /// Resolves all of them before anything is done, and says it where a state has none.
    pub fn resolve(&self, ws: &Workspace, telling: &Telling) -> Result<Chosen, Failure> {
        let Some(state) = self.state else {
            let mut found: Vec<Session> = Vec::new();
            for selector in &self.sessions {
                let session = one(ws, selector)?;
                if !found.iter().any(|known| known.id() == session.id()) {
                    found.push(session);
                }
            }
            let is_one = found.len() == 1;
            let sessions = found;
            return Ok(Chosen { sessions, is_one });
        };
        let mut sessions = ws.store().list().map_err(Error::from)?.sessions;
        sessions.retain(|session| session.event.summary.state == state && ws.owns(&session.event.summary));
        if sessions.is_empty() {
            telling.say(&nothing_in(state));
        }
        let is_one = false;
        Ok(Chosen { sessions, is_one })
    }
}

/// What is said where a state that was asked for has no session.
pub fn nothing_in(state: State) -> String {
    format!("no session of this clone is {state}")
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
        chosen: Chosen,
        mut act: impl FnMut(&mut Workspace, &Session) -> Result<Session, Failure>,
    ) -> Result<i32, Failure> {
        let Chosen { sessions, is_one } = chosen;
        if self.json && is_one {
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

/// Warns that a session's steps are not all sent, and why.
pub fn not_sent(id: &SessionId, why: &str) {
    // The relay's log has it escaped already, backslashes too.
    let why = crate::render::escape(why).replace(r"\\", r"\");
    out::say(&format!("warning: {id}: not sent yet: {why}"));
    out::say("hint: 'git session push' tries again, and says what came of it");
}

/// What to do about a session that another clone owns: that clone is asked.
#[derive(Debug, clap::Args)]
pub struct Asking {
    /// Ask the session's home whose it is, and wait for the answer of another clone that owns it, for so long (30s, 10m)
    /// or for ever
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = duration::parse)]
    wait: Option<Option<Duration>>,
}

impl Asking {
    /// Asks the owner, if that is another clone that can be asked; the session as it is then, if so.
    pub fn ask(
        &self,
        ws: &mut Workspace,
        session: &Session,
        wish: Wish,
        telling: &Telling,
    ) -> Result<Option<Session>, Failure> {
        let (id, summary) = (session.id(), &session.event.summary);
        if summary.home.is_none() {
            return Ok(None);
        }
        if ws.owns(summary) {
            // Who wants to wait for another clone knows of one that has taken it over.
            if self.wait.is_none() {
                return Ok(None);
            }
            let (ours, unknown) = requests::is_ours(ws, id)?;
            if let Some(why) = unknown {
                let why = crate::render::escape(&why);
                out::say(&format!(
                    "warning: {id}: its home was not asked whose it is: {why}"
                ));
            }
            if ours {
                return Ok(None);
            }
        }
        let asked = requests::ask(ws, id, &wish)?;
        let host = crate::render::escape(&asked.host);
        match &asked.waits {
            None => telling.say(&format!("{id}: asked '{host}' to {}", wish.ask.phrase())),
            Some(why) => telling.say(&format!(
                "{id}: '{host}' is asked at the next sync: {}",
                crate::render::escape(why)
            )),
        }
        if let Some(limit) = self.wait {
            let answer = requests::wait(ws, id, &asked, limit, |why| {
                let why = crate::render::escape(why);
                telling.say(&format!("{id}: its home can't be asked: {why}"));
            })?;
            if let Some(why) = answer.refused {
                let message = format!("session '{id}': '{}' refused: {why}", asked.host);
                return Err(Failure::refused("request-refused", message));
            }
            telling.say(&format!("{id}: '{host}' has done it"));
        }
        Ok(Some(load(ws, id)?))
    }
}

/// How a session comes to run.
pub fn launching(offline: bool, push: Option<Push>, trust: Trust) -> Result<How, Failure> {
    Ok(How {
        program: program()?,
        offline,
        push,
        trust,
    })
}

/// Tells who doesn't know yet that a session runs.
pub fn warn_unsent(launched: &Launched) {
    let (what, why) = match &launched.unsent {
        None => return,
        Some(Unsent::Home(why)) => ("its home was not told", why.as_str()),
        Some(Unsent::Beside(why)) => ("its home was told, but not all that is sent to", why.as_str()),
        Some(Unsent::Unasked) => ("unconfirmed", "its home was not asked whose it is"),
    };
    let id = launched.session.id();
    out::say(&format!("warning: {id}: {what}: {}", crate::render::escape(why)));
}

/// Our own executable, by which a supervisor is started.
pub fn program() -> Result<std::ffi::OsString, Failure> {
    let path = std::env::current_exe().map_err(Error::io("cannot find our own executable"))?;
    Ok(path.into_os_string())
}
