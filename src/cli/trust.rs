use std::io::{IsTerminal, Write};

use super::common::{Selection, Telling, open_remotely};
use super::error::Failure;
use super::out;
use crate::ops::Workspace;
use crate::ops::trust::{Subject, Trust, subject, subject_of_retry};
use crate::render::paint::Paint;
use crate::render::proposal::{Facts, proposal};
use crate::session::State;
use crate::store::Session;

/// Approve that sessions that came from elsewhere run here
///
/// What is approved is exactly what would run now: the command, the worker, the names of environment variables and the
/// work that it begins with. With another command or other work it is asked for anew; what this clone adds to it needs
/// no approval. Approvals are this user's, and kept outside of the repository. Shows what is approved.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session trust fix-login
  git session trust --revoke fix-login")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    /// Take the approval back
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(self.telling.quiet)?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        self.telling.each(&mut ws, chosen, |ws, session| {
            let id = session.id();
            match subject(ws, session)? {
                None => self
                    .telling
                    .say(&format!("{id}: made here, which needs no approval")),
                Some(subject) if self.revoke => {
                    let told = match subject.revoke()? {
                        true => "not approved any more",
                        false => "was not approved",
                    };
                    self.telling.say(&format!("{id}: {told}"));
                }
                Some(subject) => {
                    subject.check_signatures(ws)?;
                    if !self.telling.quiet && !self.telling.json {
                        tell(ws, &subject)?;
                    }
                    subject.approve()?;
                    self.telling.say(&format!("{id}: approved"));
                }
            }
            Ok(session.clone())
        })
    }
}

/// How a verb that runs something learns that it may.
#[derive(Debug, clap::Args)]
pub struct Approving {
    /// Approve what it is now, should it have come from elsewhere
    #[arg(long)]
    trust: bool,
}

impl Approving {
    /// What was given on the command line.
    pub fn given(&self) -> Trust {
        match self.trust {
            true => Trust::Given,
            false => Trust::Approved,
        }
    }

    /// Asks on a terminal about a session that would run.
    pub fn ask(&self, ws: &Workspace, session: &Session, telling: &Telling) -> Result<Trust, Failure> {
        // What has ended is refused, whatever the answer would be.
        let has_ended = session.event.summary.state == State::Terminated;
        if has_ended || !self.may_ask(telling) {
            return Ok(self.given());
        }
        answer(ws, subject(ws, session)?)
    }

    /// Asks on a terminal about a session that would run again as a new one.
    pub fn ask_again(&self, ws: &Workspace, ended: &Session, telling: &Telling) -> Result<Trust, Failure> {
        if !self.may_ask(telling) {
            return Ok(self.given());
        }
        answer(ws, subject_of_retry(ws, ended)?)
    }

    fn may_ask(&self, telling: &Telling) -> bool {
        let heard = !self.trust && !telling.quiet && !telling.json;
        heard && std::io::stdin().is_terminal() && out::is_terminal()
    }
}

fn answer(ws: &Workspace, subject: Option<Subject>) -> Result<Trust, Failure> {
    let Some(subject) = subject.filter(|subject| !subject.is_approved()) else {
        return Ok(Trust::Approved);
    };
    subject.check_signatures(ws)?;
    tell(ws, &subject)?;
    // Whoever is not there to read it won't answer either.
    let _ = write!(std::io::stderr(), "Run it? [y/N] ");
    let mut said = String::new();
    let _ = std::io::stdin().read_line(&mut said);
    if !matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(Trust::Approved);
    }
    subject.approve()?;
    Ok(subject.only())
}

fn tell(ws: &Workspace, subject: &Subject) -> Result<(), Failure> {
    let place = subject.place(ws)?;
    let stat = subject
        .stat(ws)
        .unwrap_or_else(|error| format!(" can't be told: {error}"));
    let branch = subject.other_branch(ws).unwrap_or_default();
    let facts = Facts {
        place: &place,
        stat: &stat,
        nested: &subject.nested(ws).unwrap_or_default(),
        branch: branch.as_deref(),
    };
    for line in proposal(subject, &facts, Paint::Off).lines() {
        out::say(line);
    }
    Ok(())
}
