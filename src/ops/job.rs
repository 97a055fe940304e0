//! What a worker is run with: its command, its environment, its files.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::error::{Error, Result};
use super::local::{RunDir, STATE_DIR};
use super::workers::{Word, read};
use crate::git::command::is_local_variable;
use crate::session::{Arg, Kind, SessionId, Spec};
use crate::worker::{Job, Lease};

/// One attempt at running a session's worker.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub id: &'a SessionId,
    pub spec: &'a Spec,
    pub run_dir: &'a RunDir,
    pub worktree: &'a Path,
    /// How many attempts there were since the launch, this one included.
    pub tries: u32,
}

impl Attempt<'_> {
    /// Gathers all of it; the job's lease is taken with it.
    ///
    /// # Errors
    /// A process of an earlier run that still holds the lease.
    pub fn job(&self, kind: Kind) -> Result<Job> {
        let lease = Lease::inheritable(&self.run_dir.job_lock(), Duration::from_secs(5))?;
        let inherit = lease.ok_or_else(|| Error::StillAlive {
            id: self.id.clone(),
            who: "a process of an earlier run holds job.lock".to_owned(),
        })?;
        Ok(Job {
            argv: self.command(kind),
            cwd: self.worktree.to_owned(),
            env: self.environment(kind)?,
            output: self.run_dir.output(),
            inherit,
        })
    }

    fn command(&self, kind: Kind) -> Vec<OsString> {
        let resumes = kind == Kind::Resume && !self.spec.resume.is_empty();
        let command = if resumes {
            &self.spec.resume
        } else {
            &self.spec.command
        };
        command.iter().map(|arg| self.expand(arg)).collect()
    }

    /// A placeholder is a whole argument, so that no value is ever split or joined to anything.
    fn expand(&self, arg: &Arg) -> OsString {
        let as_it_is = arg.as_os_str();
        let word = match as_it_is.to_str() {
            Some(word) if self.spec.template => word,
            _ => return as_it_is.to_owned(),
        };
        let text = |text: &Option<String>| OsString::from(text.clone().unwrap_or_default());
        match (word, read(word)) {
            ("{title}", _) => text(&self.spec.title),
            ("{issue}", _) => text(&self.spec.issue),
            ("{id}", _) => self.id.as_str().into(),
            ("{worktree}", _) => self.worktree.to_owned().into(),
            (_, Word::Quoted(inner)) => inner.into(),
            (_, Word::Placeholder | Word::Text) => as_it_is.to_owned(),
        }
    }

    fn environment(&self, kind: Kind) -> Result<Vec<(OsString, OsString)>> {
        let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"GIT_SESSION_");
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| {
                !is_ours(name) && !is_local_variable(name) && name != "PWD" && name != "OLDPWD"
            })
            .collect();
        // A name that stood there twice would mean either to one program and the other to the next.
        let mut set = |name: &str, value: OsString| {
            env.retain(|(known, _)| *known != *name);
            env.push((name.into(), value));
        };
        for (name, value) in self.run_dir.variables()? {
            set(&name, value.as_os_str().to_owned());
        }
        set("PWD", self.worktree.to_owned().into());
        set("GIT_SESSION_ID", self.id.as_str().into());
        set(STATE_DIR, self.run_dir.state().into());
        if kind == Kind::Resume || self.tries > 1 {
            set("GIT_SESSION_RESUMED", "1".into());
        }
        Ok(env)
    }
}
