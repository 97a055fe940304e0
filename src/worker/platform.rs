//! What the system tells about processes, in two forms behind one small interface.

#[cfg(target_os = "linux")]
mod procfs;
mod ps;

use std::{collections::HashSet, io, sync::OnceLock};

#[cfg(target_os = "linux")]
use super::identity;
use super::scan::Marker;

/// How processes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// `/proc`: start times in clock ticks, environments, pidfds.
    #[cfg(target_os = "linux")]
    Linux,
    /// `ps` and `kill`: start times in seconds, environments where `ps eww` shows them.
    Posix,
}

/// The table of processes can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// `/proc` is missing or closed.
    #[error("cannot read /proc: {0}")]
    Proc(#[source] io::Error),
    /// `ps` couldn't be run.
    #[error("cannot run ps: {0}")]
    Ps(#[source] io::Error),
    /// `ps` ran and said something we don't understand.
    #[error("ps answers in an unknown form: {0}")]
    Answer(String),
}

/// What a process is doing, as far as stopping it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Moving,
    Stopped,
    /// Ended and not yet reaped: gone, for all that matters here.
    Zombie,
}

/// One line of the table of processes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub state: State,
    /// Clock ticks since boot on Linux, seconds since 1970 in the POSIX form.
    pub start_time: u64,
    pub name: String,
}

impl Platform {
    /// The system's own form, or the POSIX one where `GIT_SESSION_PLATFORM=posix` asks for it or `/proc` is closed.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Platform> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            #[cfg(target_os = "linux")]
            if std::env::var_os("GIT_SESSION_PLATFORM").is_none_or(|form| form != "posix")
                && identity::boot_id().is_some()
            {
                return Self::Linux;
            }
            Self::Posix
        })
    }

    /// Every process that the caller may see, zombies too.
    pub(super) fn table(self) -> Result<Vec<Entry>, PlatformError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux => procfs::table(),
            Self::Posix => ps::table(),
        }
    }

    /// One process, or `None` when there is none with that pid.
    pub(super) fn entry(self, pid: i32) -> Result<Option<Entry>, PlatformError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux => procfs::entry(pid),
            Self::Posix => ps::entry(pid),
        }
    }

    /// The pids among `table` whose environment has the marker; those that can't be read are left out.
    pub(super) fn marked(self, table: &[Entry], marker: &Marker) -> Result<HashSet<i32>, PlatformError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux => Ok(procfs::marked(table, marker)),
            Self::Posix => ps::marked(marker),
        }
    }

    /// Whether no thread of the process can run before it is continued.
    pub(super) fn is_held(self, entry: &Entry) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux => entry.state == State::Stopped && procfs::all_threads_held(entry.pid),
            Self::Posix => entry.state == State::Stopped,
        }
    }
}
