use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::common::{Telling, number, open};
use super::error::Failure;
use super::out;
use crate::ops::create::{Branch, New, create};
use crate::session::{RecordOutput, SessionId, duration};

/// Create a session without starting it
///
/// Writes the session's first event, and nothing else: no branch, no worktree, no process. Prints its id.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session new --title 'Fix login' -- make test
  git session new --worker agent --base v1.2 --branch fix-login")]
pub struct Args {
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    telling: Telling,
}

/// What a session is to be; shared by `new` and `run`.
#[derive(Debug, clap::Args)]
pub struct What {
    /// What it is for, one line; the id is made from it
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    title: Option<String>,
    /// The issue or ticket that it belongs to
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    issue: Option<String>,
    /// A worker from git config (session-worker.NAME.command); further arguments are added to its command
    #[arg(short, long, value_name = "NAME")]
    worker: Option<String>,
    /// The commit to begin from [default: HEAD, or the tip of an existing --branch]
    #[arg(long, value_name = "REV", allow_hyphen_values = true)]
    base: Option<String>,
    /// The branch to work on, new or existing [default: session/ID]
    #[arg(
        short,
        long,
        value_name = "NAME",
        conflicts_with = "no_branch",
        allow_hyphen_values = true
    )]
    branch: Option<String>,
    /// Work on a detached HEAD
    #[arg(long)]
    no_branch: bool,
    /// Where the worktree is made [default: REPO.sessions/ID, or below session.worktreeRoot]
    #[arg(long, value_name = "PATH")]
    worktree: Option<PathBuf>,
    /// The session's id: a-z, 0-9 and -, at most 63 characters
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A label, for programs; may be given several times, of one KEY the last counts
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// An environment variable for the worker; without a value, the caller's at each start. No value is written to git
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = clap::builder::OsStringValueParser::new())]
    env: Vec<OsString>,
    /// How long one attempt may run, like 90s, 30m or 1h30m [default: the worker's own, or none]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// How long the worker may take to end when it is stopped, before it is killed [default: the worker's own, or 10s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    grace: Option<Duration>,
    /// How many more attempts follow a failure, after a pause that doubles from 1s [default: the worker's own, or 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u32>)]
    retries: Option<u32>,
    /// Keep the worker's output with its work: 'tail', the last 64 KiB, or 'full' [default: tail, where HOW is left out]
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "tail", value_parser = record_output)]
    record_output: Option<RecordOutput>,
    /// The command and its arguments; no shell reads them
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl What {
    /// Gives it to the operation, every value checked.
    pub fn into_new(self) -> Result<New, Failure> {
        let id = match self.id {
            Some(id) => Some(id.parse::<SessionId>().map_err(|error| {
                Failure::bad_usage(error.to_string())
                    .hint("an id is made of a-z, 0-9 and '-', begins with a letter or digit, doesn't end with '-' and has at most 63 characters")
            })?),
            None => None,
        };
        let branch = match (self.branch, self.no_branch) {
            (Some(name), _) => Branch::Named(name),
            (None, true) => Branch::None,
            (None, false) => Branch::Own,
        };
        let worktree = match self.worktree {
            Some(path) => Some(super::common::cwd()?.join(path)),
            None => None,
        };
        Ok(New {
            id,
            title: self.title,
            issue: self.issue,
            worker: self.worker,
            base: self.base,
            branch,
            worktree,
            labels: self.label,
            env: self.env.iter().map(variable).collect::<Result<_, _>>()?,
            timeout: self.timeout,
            grace: self.grace,
            retries: self.retries,
            record_output: self.record_output,
            command: self.command,
        })
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}

fn variable(text: &OsString) -> Result<(String, Option<OsString>), Failure> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = text.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
        None => (bytes, None),
    };
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err(Failure::bad_usage(format!(
            "option --env: '{}' is not NAME or NAME=VALUE",
            text.display()
        ))),
    }
}

fn record_output(text: &str) -> Result<RecordOutput, String> {
    match text {
        "tail" => Ok(RecordOutput::Tail),
        "full" => Ok(RecordOutput::Full),
        _ => Err("it is 'tail' or 'full'".to_owned()),
    }
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open()?;
        let session = create(&mut ws, self.what.into_new()?)?;
        if !self.telling.json {
            out::data(format!("{}\n", session.id()).as_bytes());
        }
        self.telling.show(&ws, session)?;
        Ok(0)
    }
}
