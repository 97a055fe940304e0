//! What an operation can refuse, each with a code for programs.

use std::path::PathBuf;

use crate::session::{IdError, Refused, SessionId, State};
use crate::worker::{DetachError, LeaseError, PlatformError, ReadyError};
use crate::{git, store};

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// What a session does elsewhere that keeps it from being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Running,
    /// Its owner has said so, and not yet that it was done.
    AboutToRun,
    Frozen,
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Doing::Running => "running",
            Doing::AboutToRun => "about to run",
            Doing::Frozen => "frozen in memory",
        })
    }
}

/// What can go wrong in an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Git(#[from] git::Error),
    /// What is the store's own: what is git's is [`Error::Git`] wherever it comes from.
    #[error(transparent)]
    Store(store::Error),
    #[error(transparent)]
    Id(#[from] IdError),
    /// The table of states and events doesn't have this step.
    #[error("session '{id}': {refused}")]
    Illegal { id: SessionId, refused: Refused },
    #[error("there is no session '{0}'")]
    NotFound(String),
    /// A remote was asked, too.
    #[error("there is no session '{id}', neither here nor on '{remote}'")]
    Nowhere { id: SessionId, remote: String },
    #[error("'{selector}' is ambiguous: it may be {} sessions", candidates.len())]
    Ambiguous {
        selector: String,
        candidates: Vec<Candidate>,
    },
    #[error("session '{0}' exists already")]
    IdTaken(SessionId),
    /// It is another clone's to change.
    #[error("session '{id}' is owned by another clone, on '{host}'")]
    OwnedElsewhere {
        id: SessionId,
        host: String,
        /// Whether the table lets it be claimed, if only by force.
        claimable: bool,
    },
    #[error("'{0}' is not a legal branch name")]
    BadBranch(String),
    #[error("branch '{branch}' exists already")]
    BranchExists { branch: String },
    /// git can't have both.
    #[error("there can't be a branch '{branch}' beside '{other}'")]
    BranchInTheWay { branch: String, other: String },
    #[error("branch '{branch}' is checked out at '{}'{}", path.display(), by(holder))]
    BranchInUse {
        branch: String,
        path: PathBuf,
        /// The session whose worktree that is, if it is one's.
        holder: Option<(SessionId, State)>,
    },
    #[error("branch '{0}' does not exist")]
    NoBranch(String),
    #[error("'{}' exists already and is not empty", .0.display())]
    PathTaken(PathBuf),
    #[error("'{}' exists already", .0.display())]
    PathExists(PathBuf),
    /// Whether whoever began it is alive can't be told.
    #[error("'{}' was begun by a restore, which is at work or was killed", .0.display())]
    HalfRestored(PathBuf),
    /// The directory in which a worktree is to be made can't be made.
    #[error("cannot make '{}': {source}", dir.display())]
    NoPlace { dir: PathBuf, source: std::io::Error },
    #[error("git can't read the worktree at '{}', which is kept as it is: '{}' is broken", .path.display(), .head.display())]
    BrokenWorktree { path: PathBuf, head: PathBuf },
    /// git has what was committed and staged there, and nobody else.
    #[error("what was committed or staged in '{}' is not saved, and its directory, which is gone, can't be made again: {source}", .path.display())]
    GoneWorktree { path: PathBuf, source: git::Error },
    /// A worktree that would have to make room for the session's work as it is by now has what can't be saved.
    #[error(
        "session '{id}': its worktree here is from before it went on elsewhere, and has what can't be saved: {unsaved}"
    )]
    OlderWorktree {
        id: SessionId,
        path: PathBuf,
        unsaved: String,
    },
    /// A session could not be resumed, and not all that was in its worktree is in the one that it has now, if any.
    #[error("{source}; {what}")]
    Aside { what: String, source: Box<Error> },
    #[error("there is no commit yet to begin from")]
    Unborn,
    #[error("session '{id}' has no worktree here: {why}")]
    NoWorktree { id: SessionId, why: String },
    /// `@` was given somewhere else.
    #[error("this is no session's worktree")]
    NotInSession,
    #[error("no command is given")]
    NoCommand,
    /// A named worker is configured wrongly, or not at all.
    #[error("{0}")]
    Worker(String),
    #[error("worker '{name}' is not configured{}", others(known))]
    UnknownWorker { name: String, known: Vec<String> },
    /// What looks like a placeholder in a named worker's command, and is none.
    #[error("{key}: unknown placeholder '{word}'; known are {known}")]
    Placeholder {
        key: String,
        word: String,
        known: String,
    },
    /// An option, a setting or a variable, as it is called.
    #[error("{option}: {why}")]
    Option { option: String, why: String },
    #[error("environment variable '{0}' is not set")]
    NoVariable(String),
    /// The worker's exec failed.
    #[error("session '{id}' could not be started: {message}")]
    Exec {
        id: SessionId,
        code: i32,
        message: String,
        shell: Option<String>,
    },
    /// A command beside the worker could not be executed.
    #[error("{message}")]
    Command {
        code: i32,
        message: String,
        shell: Option<String>,
    },
    /// The supervisor said why it gave up.
    #[error("session '{id}': {message}")]
    Supervisor { id: SessionId, message: String },
    #[error("session '{id}': processes are still alive and can't be killed: {who}")]
    StillAlive { id: SessionId, who: String },
    /// What is known here says nothing about the worker.
    #[error("session '{id}': whether its worker is alive can't be told: {why}")]
    Unknown { id: SessionId, why: String },
    /// It runs in this clone's name, and nothing here tells of that.
    #[error("session '{0}': it was not started in this directory, which has no record of its run")]
    NotLaunchedHere(SessionId),
    #[error("another command is at work on session '{0}'")]
    Busy(SessionId),
    /// What was asked for came too late: the session went on meanwhile.
    #[error("session '{id}' changed meanwhile: it is {now}")]
    Changed { id: SessionId, now: String },
    #[error("session '{id}': {what}")]
    Lacking { id: SessionId, what: String },
    /// No remote is named, and none is the usual one.
    #[error("there is no remote to talk to")]
    NoRemote,
    /// It would have to be written down for as long as a session runs.
    #[error("the URL of '{0}' has credentials in it, which are not kept")]
    Secret(String),
    /// No remote of this clone leads to the session's home.
    #[error("session '{id}' has its home at '{url}', which is no remote of this clone")]
    NoHome { id: SessionId, url: String },
    /// What the session needs to go on can't be had.
    #[error("session '{id}': {what} is neither here nor on '{remote}'")]
    NoWork {
        id: SessionId,
        remote: String,
        what: String,
    },
    /// What is asked for needs the session's work, which has not come yet.
    #[error("the work of session '{id}' is not here")]
    WorkElsewhere {
        id: SessionId,
        /// The remote that may have it, if there is one.
        remote: Option<String>,
    },
    /// Another clone was faster, or had been.
    #[error("session '{id}' was claimed by another clone, on '{host}'")]
    ClaimLost { id: SessionId, host: String },
    /// It is not to be taken without force.
    #[error("session '{id}' is {doing} on '{host}'")]
    RunsElsewhere {
        id: SessionId,
        host: String,
        doing: Doing,
    },
    /// The remote said no.
    #[error("session '{id}': '{remote}' does not take it: {why}")]
    Refused {
        id: SessionId,
        remote: String,
        why: String,
    },
    /// It came from elsewhere, and its user has not said that it may run here.
    #[error("session '{id}' came from elsewhere, and what it would run is not approved")]
    Untrusted { id: SessionId },
    /// Its log is not signed as the configuration wants it.
    #[error("session '{id}' has events that are {why}, and session.requireSignature is set")]
    Unsigned { id: SessionId, why: &'static str },
    /// Only an ended session's work can be forgotten.
    #[error("session '{id}' is {state}, and may still get other work")]
    NotEnded { id: SessionId, state: State },
    /// There is no work to be had any more, on purpose.
    #[error("the work of session '{0}' was forgotten")]
    Forgotten(SessionId),
    /// The owner has not answered in time.
    #[error("session '{id}': no answer from '{host}' yet")]
    NoAnswer { id: SessionId, host: String },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("'{}' can't be read: {why}", path.display())]
    BadRecord { path: PathBuf, why: String },
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Detach(#[from] DetachError),
    #[error(transparent)]
    Ready(#[from] ReadyError),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        match error {
            store::Error::Git(error) => Error::Git(error),
            error => Error::Store(error),
        }
    }
}

fn others(known: &[String]) -> String {
    match known {
        [] => String::new(),
        known => format!("; there is {}", known.join(", ")),
    }
}

fn by(holder: &Option<(SessionId, State)>) -> String {
    match holder {
        Some((id, state)) => format!(", by session '{id}', which is {state}"),
        None => String::new(),
    }
}

/// One of the sessions that a selector may mean.
#[derive(Debug)]
pub struct Candidate {
    pub id: SessionId,
    pub state: State,
    pub title: Option<String>,
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io {
            what,
            source: git::of_the_system(source),
        }
    }

    /// Gives the word by which programs know this error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Git(error) => match error {
                git::Error::NotARepository(_) => "not-a-repository",
                git::Error::DubiousOwnership(_) => "dubious-ownership",
                git::Error::BareRepository(_) => "bare-repository",
                git::Error::BadBoolean { .. } => "bad-config",
                git::Error::NoGit { .. } => "no-git",
                git::Error::NoSuchCommit(_) => "no-such-commit",
                git::Error::Locked { .. } => "locked",
                git::Error::NoSuchRemote(_) => "no-such-remote",
                git::Error::Remote { .. } => "remote",
                _ => "git",
            },
            Error::Store(store::Error::Git(_)) => "git",
            Error::Store(store::Error::NotOurs { .. }) => "not-ours",
            Error::Store(store::Error::NewerFormat { .. }) => "newer-format",
            Error::Store(store::Error::Full(_)) => "log-full",
            Error::Store(store::Error::Illegal { .. }) => "illegal-log",
            Error::Store(store::Error::OtherRoot { .. }) => "other-root",
            Error::Store(store::Error::Spec { .. }) => "bad-specification",
            Error::Id(_) => "bad-id",
            Error::Illegal { .. } => "illegal-step",
            Error::NotFound(_) | Error::Nowhere { .. } => "not-found",
            Error::Ambiguous { .. } => "ambiguous",
            Error::IdTaken(_) => "id-taken",
            Error::OwnedElsewhere { .. } => "owned-elsewhere",
            Error::BadBranch(_) => "bad-branch",
            Error::BranchExists { .. } | Error::BranchInTheWay { .. } => "branch-exists",
            Error::BranchInUse { .. } => "branch-in-use",
            Error::NoBranch(_) => "no-such-branch",
            Error::PathTaken(_) | Error::PathExists(_) | Error::HalfRestored(_) => "path-taken",
            Error::BrokenWorktree { .. } => "broken-worktree",
            Error::GoneWorktree { .. } => "lacking",
            Error::Aside { source, .. } => source.code(),
            Error::Unborn => "no-commit",
            Error::NoWorktree { .. } => "no-worktree",
            Error::NotInSession => "not-found",
            Error::NoCommand => "no-command",
            Error::Worker(_) | Error::UnknownWorker { .. } | Error::Placeholder { .. } => "bad-worker",
            Error::Option { .. } => "bad-option",
            Error::NoVariable(_) => "no-variable",
            Error::Exec { .. } | Error::Command { .. } => "not-executable",
            Error::Supervisor { .. } => "supervisor",
            Error::StillAlive { .. } => "still-alive",
            Error::Unknown { .. } | Error::NotLaunchedHere(_) => "unknown",
            Error::Busy(_) => "busy",
            Error::Changed { .. } => "changed",
            Error::Lacking { .. } | Error::OlderWorktree { .. } => "lacking",
            Error::NoRemote => "no-remote",
            Error::Secret(_) => "secret",
            Error::NoHome { .. } => "no-home",
            Error::NoWork { .. } => "no-work",
            Error::WorkElsewhere { .. } => "work-elsewhere",
            Error::ClaimLost { .. } => "claim-lost",
            Error::RunsElsewhere { .. } => "runs-elsewhere",
            Error::Refused { .. } => "refused",
            Error::Untrusted { .. } => "untrusted",
            Error::Unsigned { .. } => "unsigned",
            Error::NotEnded { .. } => "not-ended",
            Error::Forgotten(_) => "forgotten",
            Error::NoAnswer { .. } => "no-answer",
            Error::Io { .. } | Error::NoPlace { .. } | Error::Lease(_) => "io",
            Error::BadRecord { .. } => "bad-record",
            Error::Platform(_) | Error::Detach(_) | Error::Ready(_) => "process",
        }
    }

    /// The exit code: 1 for what is refused or false, 128 for what is broken, the worker's own where it could not
    /// be executed, 129 for what was typed wrongly.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Exec { code, .. } | Error::Command { code, .. } => *code,
            Error::Aside { source, .. } => source.exit_code(),
            Error::Git(error) => match error {
                git::Error::NoSuchCommit(_) | git::Error::NoSuchRemote(_) => 1,
                _ => 128,
            },
            Error::Store(store::Error::Git(_) | store::Error::Spec { .. })
            | Error::Io { .. }
            | Error::NoPlace { .. }
            | Error::BadRecord { .. }
            | Error::Lease(_)
            | Error::Platform(_)
            | Error::Detach(_)
            | Error::Ready(_) => 128,
            Error::Id(_) | Error::BadBranch(_) | Error::Option { .. } | Error::NoCommand => 129,
            _ => 1,
        }
    }
}
