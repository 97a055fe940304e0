//! From an error to what a person or a program is told: message, hint, exit code.

use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::out;
use crate::git;
use crate::ops::{Candidate, Doing, Error};
use crate::render::width::cut;
use crate::render::{escape, quote};

/// What ends a command early.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    message: String,
    hint: Option<String>,
    exit: i32,
}

impl Failure {
    /// A command line that can't be read, or a bad value on it.
    pub fn bad_usage(message: impl Into<String>) -> Failure {
        Failure {
            code: "usage",
            message: message.into(),
            hint: None,
            exit: 129,
        }
    }

    /// Something that is false or refused, exit code 1.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            hint: None,
            exit: 1,
        }
    }

    /// With a hint on what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With a hint where there is one.
    pub fn hinted(mut self, hint: Option<String>) -> Failure {
        self.hint = hint.or(self.hint);
        self
    }

    /// With a line more of hints.
    pub fn also(mut self, line: &str) -> Failure {
        self.hint = Some(match self.hint.take() {
            Some(hint) => format!("{hint}\n{line}"),
            None => line.to_owned(),
        });
        self
    }

    /// With another exit code.
    pub fn exit(mut self, exit: i32) -> Failure {
        self.exit = exit;
        self
    }

    /// As what a step says of a home that it could not ask.
    pub fn unless_offline(error: Error) -> Failure {
        let failure = Failure::of(&error);
        let error = match error {
            Error::Aside { source, .. } => *source,
            error => error,
        };
        match error {
            Error::NoHome { .. } => {
                let hint = failure.hint.clone().unwrap_or_default();
                failure.hint(format!("{hint}; '--offline' goes on without asking it"))
            }
            Error::Git(git::Error::Remote { .. }) => failure
                .hint("'--offline' goes on without asking the session's home, which may see it otherwise"),
            // The branch of a session that is there already is not for choosing.
            Error::BranchInUse { holder: None, .. } => {
                failure.hint("switch that worktree to another branch first")
            }
            Error::BranchInUse {
                holder: Some((id, _)),
                ..
            } => failure.hint(format!("'git session terminate {id}' lets go of it")),
            _ => failure,
        }
    }

    /// As what `run`, `wait` and `exec` say of themselves: 125, unless the command line or the command is to blame.
    pub fn into_our_own(mut self) -> Failure {
        if matches!(self.exit, 1 | 128) {
            self.exit = 125;
        }
        self
    }

    /// Tells it, on stdout as JSON where that was asked for, and gives the exit code.
    pub fn tell(&self, as_json: bool) -> i32 {
        if as_json {
            out::json(&json!({ "schema": 1, "error": self.to_json() }));
        } else {
            self.say();
        }
        self.exit
    }

    /// Tells it to a person and gives the exit code.
    pub fn say(&self) -> i32 {
        out::say(&format!("error: {}", escape(&self.message)));
        for line in self.hint.iter().flat_map(|hint| hint.lines()) {
            // What may be typed stays as it would be.
            out::say(&format!("hint: {line}"));
        }
        self.exit
    }

    /// Whether it is what this error is told as.
    pub fn tells(&self, error: &Error) -> bool {
        self.code == error.code() && self.message == without_numbers(&error.to_string())
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code.
    pub fn code(&self) -> i32 {
        self.exit
    }

    /// As a value of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        error
    }
}

impl Failure {
    /// What an operation's error is told as.
    pub fn of(error: &Error) -> Failure {
        Failure {
            code: error.code(),
            message: without_numbers(&error.to_string()),
            hint: hint(error),
            exit: error.exit_code(),
        }
    }
}

/// What the system says of an error, without the number that Rust adds to each.
pub fn without_numbers(text: &str) -> String {
    let mut pieces = text.split(" (os error ");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .strip_prefix(')')
        {
            Some(rest) => out += rest,
            None => out = format!("{out} (os error {piece}"),
        }
    }
    out
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::of(&error)
    }
}

fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::Aside { source, .. } => return hint(source),
        Error::NotInSession => "name a session by its id; 'git session list --all' shows them".to_owned(),
        Error::IdTaken(id) => format!("choose another one; 'git session show {id}' shows what has it"),
        Error::UnknownWorker { name, .. } => {
            format!("'git config session-worker.{name}.command COMMAND' makes it")
        }
        Error::Git(git::Error::NoSuchRemote(_)) => "'git remote' shows those that there are".to_owned(),
        Error::Nowhere { .. } => {
            "what is not here yet is named by its whole id; without names all sessions are brought".to_owned()
        }
        Error::NotFound(_) => "'git session list --all' shows every session".to_owned(),
        Error::Ambiguous { candidates, .. } => list(candidates),
        Error::Illegal { id, refused } => match (refused.from?, refused.kind) {
            (
                crate::session::State::Terminated,
                crate::session::Kind::Resume | crate::session::Kind::Start,
            ) => {
                format!("'git session retry {id}' runs it again, as a new session")
            }
            (crate::session::State::Suspended, crate::session::Kind::Start) => {
                format!("'git session resume {id}' lets it go on")
            }
            (crate::session::State::Pending, crate::session::Kind::Resume) => {
                format!("'git session start {id}' starts it")
            }
            _ => return None,
        },
        Error::BranchExists { branch } => format!("'--branch {branch}' uses the branch that is there"),
        Error::BranchInTheWay { .. } => "give another '--branch', or '--no-branch'".to_owned(),
        Error::BranchInUse { holder: None, .. } => {
            "switch that worktree to another branch, or give another '--branch'".to_owned()
        }
        Error::BranchInUse {
            holder: Some((id, _)),
            ..
        } => format!("'git session terminate {id}' lets go of it; or give another '--branch'"),
        Error::Unborn => "make a commit first, or give '--base'".to_owned(),
        Error::NoCommand => "give a command after '--', or a worker with '--worker'".to_owned(),
        Error::Placeholder { word, .. } => format!("'{{{word}}}' in the command passes '{word}' as it is"),
        Error::NoVariable(name) => format!("set it, or give '--env {name}=VALUE' when the session is made"),
        Error::Exec {
            shell: Some(line), ..
        }
        | Error::Command {
            shell: Some(line), ..
        } => {
            let line = quote(line.as_bytes());
            format!("no shell reads a command, unless one is given: -- sh -c {line}")
        }
        Error::Exec { code: 126, .. } => {
            "a command is an executable file, or goes after the program that reads it: -- sh FILE".to_owned()
        }
        Error::Exec { .. } => {
            "a name is looked for in PATH; a path counts from the session's worktree, which begins with what is \
             committed"
                .to_owned()
        }
        Error::StillAlive { .. } => "end them by other means, then try again".to_owned(),
        Error::NotLaunchedHere(id) => format!(
            "another clone of this one's name runs it; 'git session claim --force {id}' takes it over unseen"
        ),
        Error::Unknown { .. } => "try it where the worker was started".to_owned(),
        Error::NoPlace { .. } => {
            "'git config session.worktreeRoot DIR' says where worktrees are made, '--worktree' where one is".to_owned()
        }
        Error::PathTaken(_) => {
            "for a new session '--worktree' names another place; else move away what is there, or, if it is a worktree \
             whose .git is gone, let 'git worktree repair' bring that back"
                .to_owned()
        }
        Error::BrokenWorktree { .. } => {
            "write 'ref: refs/heads/BRANCH' or a commit's id there, or move the worktree away, to go on with what was \
             saved last"
                .to_owned()
        }
        Error::GoneWorktree { path, .. } => format!(
            "to let go of that, and go on with what was saved: git worktree remove --force --force {}",
            quote(path.as_os_str().as_bytes())
        ),
        Error::OlderWorktree { path, .. } => format!(
            "commits of a submodule are saved once they are pushed from there ('git push' in it); whatever else is named \
             has to be moved out of '{}' or removed first",
            path.display()
        ),
        Error::PathExists(_) => "'--to' names another place".to_owned(),
        Error::HalfRestored(path) => {
            format!(
                "to remove it, if none is at work: git worktree remove --force --force {}",
                quote(path.as_os_str().as_bytes())
            )
        }
        Error::NoRemote => {
            "'git remote add origin URL' adds one; of several, name one or set session.remote".to_owned()
        }
        Error::Secret(url) => {
            format!(
                "leave them to git's credential helpers, or 'git remote add' a name for '{url}' and give that"
            )
        }
        Error::NoHome { url, .. } => {
            format!("'git remote add' it, or let session.home name the remote that leads to '{url}'")
        }
        Error::NoWork { .. } => "let its owner push, or fetch the branch that it began from".to_owned(),
        Error::WorkElsewhere { id, remote } => match remote {
            Some(remote) => format!("'git session fetch --work {remote} {id}' brings it"),
            None => "'git remote add' a remote that has it, then 'git session fetch --work'".to_owned(),
        },
        Error::ClaimLost { id, .. } => {
            format!(
                "'git session show {id}' shows it as it is now; 'git session claim {id}' takes it from them, \
                 with '--force' even where it runs"
            )
        }
        Error::RunsElsewhere { id, doing, .. } => {
            // What is suspended already can't be asked to be.
            let ask = match doing {
                Doing::Running => format!("'git session suspend {id}' asks for it"),
                Doing::Frozen => format!("'git session resume {id}' and then 'suspend' there let go of it"),
                Doing::AboutToRun => "'git session fetch' shows what comes of that".to_owned(),
            };
            format!("{ask}; 'git session claim --force {id}' takes it unseen")
        }
        Error::NotEnded { id, .. } => format!("'git session terminate {id}' ends it"),
        Error::NoAnswer { id, .. } => {
            format!("'git session sync' there answers, 'git session log {id}' here shows it after a fetch")
        }
        Error::Untrusted { id } => {
            format!(
                "look at it with 'git session show {id}', then 'git session trust {id}', or give '--trust'"
            )
        }
        Error::Unsigned { id, .. } => {
            format!("'git log --show-signature refs/sessions/{id}' tells whose they are")
        }
        Error::OwnedElsewhere {
            id, claimable: true, ..
        } => format!("'git session claim {id}' takes it over"),
        Error::Git(git::Error::DubiousOwnership(path)) => {
            format!(
                "to trust it: git config --global --add safe.directory {}",
                quote(path.as_os_str().as_bytes())
            )
        }
        Error::Git(git::Error::BareRepository(path)) => {
            let dir = quote(path.as_os_str().as_bytes());
            format!("'git --git-dir={dir} session' names it")
        }
        Error::Git(git::Error::Unusable { .. }) => {
            "git itself can't use it either, until its configuration is mended".to_owned()
        }
        Error::Git(git::Error::Locked { path, .. }) => {
            format!("if no git process is at work here, remove '{}'", path.display())
        }
        _ => return None,
    })
}

/// Sessions with what tells them apart, a line each, as many as are read at a glance.
fn list(candidates: &[Candidate]) -> String {
    const SHOWN: usize = 10;
    let shown = &candidates[..candidates.len().min(SHOWN)];
    let widest = shown.iter().map(|one| one.id.as_str().len()).max();
    let mut lines = vec!["the candidates are:".to_owned()];
    for one in shown {
        let (id, state) = (one.id.as_str(), one.state.word());
        // What is in a title makes no lines of its own.
        let words: Vec<&str> = one
            .title
            .iter()
            .flat_map(|title| title.split_whitespace())
            .collect();
        let title = words.join(" ");
        let line = format!("  {id:0$}  {state:10}  {title}", widest.unwrap_or(0));
        lines.push(cut(line.trim_end(), WIDTH).into_owned());
    }
    if candidates.len() > shown.len() {
        lines.push(format!("  and {} more", candidates.len() - shown.len()));
    }
    lines.join("\n")
}

/// What a line has room for behind its `hint: ` on a usual terminal.
const WIDTH: usize = 74;
