//! What the files of a session in this clone say.

use std::collections::BTreeMap;

use gix::ObjectId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::session::Arg;
use crate::worker::ProcessId;

/// A launch that is under way or alive, or whose end is not recorded yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Which launch this is.
    pub attempt: String,
    pub phase: Phase,
    /// The log's tip when it was launched.
    pub onto: String,
    pub supervisor: Option<ProcessId>,
    pub worker: Option<ProcessId>,
    /// How many attempts there were since the launch, this one included.
    pub tries: u32,
    /// The inode of the run directory, which a copy of it doesn't have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<u64>,
    /// Who launched it, so that another namespace or host is known for what it is.
    pub launcher: ProcessId,
}

/// How far a launch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// No exec was observed.
    Launching,
    /// The worker's exec has succeeded.
    Executed,
    /// Between an attempt that failed and the next.
    Waiting,
}

/// What somebody asked for, written before the first signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub attempt: String,
    pub kind: IntentKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The nonce of the request that is carried out by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// After this moment it means nothing: whoever wrote it would have finished.
    pub until: Timestamp,
}

/// What a stop is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentKind {
    Suspend,
    Terminate,
    Timeout,
    /// Stopped processes are to stay in memory, suspended.
    Freeze,
    /// Stopped for a snapshot, to go on at once.
    Pause,
}

/// How the worker of an attempt ended, as its parent saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exit {
    pub attempt: String,
    pub outcome: String,
    pub at: Timestamp,
    /// Descendants that outlived it and were stopped.
    #[serde(default)]
    pub strays: Vec<String>,
}

/// Where the worktree is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub path: Arg,
    /// Whether the branch was made for the session, rather than found.
    pub made_branch: bool,
    /// Whether all that belongs into it was put there; else a killed command had only begun.
    pub whole: bool,
    /// Whether the session has ended and let it go.
    #[serde(default)]
    pub parked: bool,
    /// How many entries of its HEAD's reflog are already noted.
    #[serde(default)]
    pub noted: usize,
    /// The work commit that it was last saved as or made from; absent before either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    /// What was lost with its directory, where it was made again since; absent once the session has run in that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

impl Place {
    /// The work commit, if it was saved or made from one.
    pub fn saved(&self) -> Option<ObjectId> {
        ObjectId::from_hex(self.work.as_ref()?.as_bytes()).ok()
    }
}

/// A worktree from before its session went on elsewhere, which was moved out of the way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Aside {
    /// The inode of the run directory, which a copy of it doesn't have.
    pub of: Option<u64>,
    /// Where what git ignored in it is, as long as that has no other place.
    pub dir: Arg,
    /// Files and directories in it that git ignored, which no snapshot holds.
    pub ignored: Vec<Arg>,
    /// The work commit that has what was in it.
    pub work: Option<String>,
    /// Whether it was changed since it was saved, and nobody was told yet what has that.
    pub untold: bool,
}

/// What a session's relay is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relay {
    /// Our own executable.
    pub program: Arg,
    /// The usual one, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Whether others are listened to as well.
    #[serde(default)]
    pub both_ways: bool,
}

/// Values of environment variables that were given with the command line.
pub type Variables = BTreeMap<String, Arg>;
