//! Finds every live process that belongs to a job.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    path::PathBuf,
};

use super::{
    identity::{ProcessId, own_pid},
    platform::{Entry, Platform, PlatformError, State},
};

/// What makes a process part of a job; each part that is known adds to what is found.
#[derive(Debug, Clone)]
pub struct Target {
    pub platform: Platform,
    /// The worker, leader of the job's process group, alive or not.
    pub leader: Option<ProcessId>,
    /// The supervisor: the ancestor of all, and the leader of the session that the group is in.
    pub supervisor: Option<ProcessId>,
    pub marker: Option<Marker>,
    /// The lease that all of the job's processes inherit; while it is held, the job isn't gone.
    pub lease: Option<PathBuf>,
    /// The name of a program that leaves something half done for others where it is killed without being asked.
    pub spared: Option<&'static str>,
}

/// An environment variable that only this job's processes have, with exactly this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub name: OsString,
    pub value: OsString,
}

/// A process that was found, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub id: ProcessId,
    /// The executable's short name, as the system shows it; it may hold anything.
    pub name: String,
    pub(super) parent: i32,
    pub(super) held: bool,
}

impl Process {
    /// A process of which only the identity is known.
    pub(super) fn named_by(id: ProcessId) -> Self {
        Self {
            id,
            name: String::new(),
            parent: 0,
            held: false,
        }
    }
}

impl Target {
    /// A target of which nothing is known, looked for in the [current](Platform::current) form.
    pub fn new() -> Self {
        Self::on(Platform::current())
    }

    /// A target of which nothing is known.
    pub fn on(platform: Platform) -> Self {
        Self {
            platform,
            leader: None,
            supervisor: None,
            marker: None,
            lease: None,
            spared: None,
        }
    }

    /// With the worker as leader of the process group.
    pub fn leader(mut self, leader: ProcessId) -> Self {
        self.leader = Some(leader);
        self
    }

    /// With the name of a program whose processes are asked, and get a moment, before they are killed.
    pub fn spared(mut self, name: &'static str) -> Self {
        self.spared = Some(name);
        self
    }

    /// With the supervisor whose descendants belong to the job.
    pub fn supervisor(mut self, supervisor: ProcessId) -> Self {
        self.supervisor = Some(supervisor);
        self
    }

    /// With the variable that the job's processes have in their environment.
    pub fn marker(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.marker = Some(Marker {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// With the lease that the job's processes inherit.
    pub fn lease(mut self, path: impl Into<PathBuf>) -> Self {
        self.lease = Some(path.into());
        self
    }
}

impl Default for Target {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds the live processes of a job: the group's members, the supervisor's descendants while it lives, those
/// with the marker, and all descendants of these.
///
/// Zombies, the caller and the supervisor are never among them. One pass over the table of processes is no
/// snapshot: who wants to be sure that nothing is left, looks again.
pub fn scan(target: &Target) -> Result<Vec<Process>, PlatformError> {
    let table = target.platform.table()?;
    let mut queue: Vec<i32> = Vec::new();
    if let Some(supervisor) = &target.supervisor
        && table.iter().any(|entry| supervisor.is(entry))
    {
        queue.push(supervisor.pid);
    }
    queue.extend(group(target, &table));
    if let Some(marker) = &target.marker {
        queue.extend(target.platform.marked(&table, marker)?);
    }

    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in &table {
        children.entry(entry.parent).or_default().push(entry.pid);
    }
    let mut found = HashSet::new();
    while let Some(pid) = queue.pop() {
        if found.insert(pid) {
            queue.extend(children.get(&pid).into_iter().flatten());
        }
    }

    let supervisor = target.supervisor.as_ref();
    Ok(table
        .iter()
        .filter(|entry| found.contains(&entry.pid))
        .filter(|entry| entry.state != State::Zombie && entry.pid != own_pid())
        .filter(|entry| supervisor.is_none_or(|supervisor| !supervisor.is(entry)))
        .map(|entry| Process {
            id: ProcessId::from_entry(target.platform, entry),
            name: entry.name.clone(),
            parent: entry.parent,
            held: target.platform.is_held(entry),
        })
        .collect())
}

/// The members of the leader's process group, where it is provably still that group.
///
/// A group keeps its number from being used again, but only while it has members. So the leader itself must be
/// there, as a zombie at least, or the member must be in the session that the supervisor made.
fn group(target: &Target, table: &[Entry]) -> Vec<i32> {
    let Some(leader) = &target.leader else {
        return Vec::new();
    };
    let proven = match table.iter().find(|entry| entry.pid == leader.pid) {
        Some(entry) if leader.is(entry) => true,
        Some(_) => return Vec::new(),
        None => false,
    };
    table
        .iter()
        .filter(|entry| entry.group == leader.pid)
        .filter(|entry| proven || in_session(target.supervisor.as_ref(), entry, leader))
        .map(|entry| entry.pid)
        .collect()
}

fn in_session(supervisor: Option<&ProcessId>, member: &Entry, leader: &ProcessId) -> bool {
    let Some(supervisor) = supervisor else {
        return false;
    };
    leader.is_from_here()
        && supervisor.is_from_here()
        && member.start_time >= leader.start_time
        && session_of(member.pid) == Some(supervisor.pid)
}

/// The session that a process is in, as setsid(2) made it; `None` when its leader is in an outer pid namespace.
fn session_of(pid: i32) -> Option<i32> {
    // SAFETY: getsid takes a number and touches no memory. The safe wrapper takes its 0 for a pid and panics.
    let session = unsafe { libc::getsid(pid) };
    (pid > 0 && session > 0).then_some(session)
}
