//! A hold on one process: proven before each signal, and waited for.

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    identity::{ProcessId, to_pid},
    platform::{Platform, PlatformError, State},
    scan::Process,
    signal::Signal,
};

/// How long the ends that come together are gathered before the caller looks again.
const GATHER: Duration = Duration::from_millis(10);
/// The pauses between two looks where the system can't tell us of an end.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The most processes that one descriptor each is spent on; the limit on them is often 1024.
const MANY: usize = 256;

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Delivered,
    /// There is no such process any more.
    Gone,
    /// The process is not ours to signal.
    Refused,
}

pub(super) struct Handle {
    pub process: Process,
    platform: Platform,
    /// Names the process itself, whatever becomes of its pid.
    #[cfg(target_os = "linux")]
    pidfd: Option<OwnedFd>,
}

/// Takes a hold on each; on more than [`MANY`] without descriptors that stay open.
pub(super) fn open(platform: Platform, processes: Vec<Process>) -> Vec<Handle> {
    let few = processes.len() <= MANY;
    let hold = |process: Process| Handle {
        #[cfg(target_os = "linux")]
        pidfd: few.then(|| pidfd(platform, &process)).flatten(),
        process,
        platform,
    };
    processes.into_iter().map(hold).collect()
}

impl Handle {
    /// Sends a signal, if the pid still stands for the process that was found.
    ///
    /// The pidfd is opened before the proof is read, so it can't name a later process of that pid; where there
    /// are none, a race of microseconds remains.
    pub fn send(&self, signal: Signal) -> Result<Sent, PlatformError> {
        #[cfg(target_os = "linux")]
        let opened = match &self.pidfd {
            Some(_) => None,
            None => pidfd(self.platform, &self.process),
        };
        let Some(pid) = to_pid(self.process.id.pid) else {
            return Ok(Sent::Gone);
        };
        match self.platform.entry(self.process.id.pid)? {
            Some(entry) if self.process.id.is(&entry) && entry.state != State::Zombie => {}
            _ => return Ok(Sent::Gone),
        }
        #[cfg(target_os = "linux")]
        let sent = match self.pidfd.as_ref().or(opened.as_ref()) {
            Some(pidfd) => rustix::process::pidfd_send_signal(pidfd, signal.raw()),
            None => rustix::process::kill_process(pid, signal.raw()),
        };
        #[cfg(not(target_os = "linux"))]
        let sent = rustix::process::kill_process(pid, signal.raw());
        Ok(match sent {
            Ok(()) => Sent::Delivered,
            Err(Errno::SRCH) => Sent::Gone,
            Err(_) => Sent::Refused,
        })
    }
}

/// Sends a signal to one process, if it is certainly the one that is meant; tells whether it got it.
pub fn signal_one(id: &ProcessId, signal: Signal) -> bool {
    let process = Process::named_by(id.clone());
    open(Platform::current(), vec![process])
        .iter()
        .any(|handle| matches!(handle.send(signal), Ok(Sent::Delivered)))
}

/// `None` in the POSIX form, on kernels before 5.3, and when the process is gone.
#[cfg(target_os = "linux")]
fn pidfd(platform: Platform, process: &Process) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};

    let pid = to_pid(process.id.pid).filter(|_| platform == Platform::Linux)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until at least one of the processes has ended, and a moment longer for those that end with it.
///
/// Drops the ended ones from the list; returns at `until` in any case.
pub(super) fn wait_for_ends(handles: &mut Vec<Handle>, until: Instant) -> Result<(), PlatformError> {
    let all = handles.len();
    let mut until = until;
    let mut pause = PAUSES.0;
    while !handles.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if !poll(handles, left) {
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSES.1);
            look(handles)?;
        }
        if handles.len() < all {
            until = until.min(Instant::now() + GATHER);
        }
    }
    Ok(())
}

/// Waits on pidfds, where all have one; they become readable when the process ends.
#[cfg(target_os = "linux")]
fn poll(handles: &mut Vec<Handle>, left: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};

    let ended: Vec<bool> = {
        let mut fds = Vec::with_capacity(handles.len());
        for handle in handles.iter() {
            let Some(pidfd) = &handle.pidfd else {
                return false;
            };
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(_) => fds.iter().map(|fd| !fd.revents().is_empty()).collect(),
            Err(Errno::INTR) => return true,
            Err(_) => return false,
        }
    };
    let mut ended = ended.into_iter();
    handles.retain(|_| !ended.next().unwrap_or_default());
    true
}

#[cfg(not(target_os = "linux"))]
fn poll(_: &mut Vec<Handle>, _: Duration) -> bool {
    false
}

/// Drops the ended ones by one look at the whole table.
fn look(handles: &mut Vec<Handle>) -> Result<(), PlatformError> {
    let Some(platform) = handles.first().map(|handle| handle.platform) else {
        return Ok(());
    };
    let table: HashMap<i32, _> = platform
        .table()?
        .into_iter()
        .map(|entry| (entry.pid, entry))
        .collect();
    handles.retain(|handle| {
        table
            .get(&handle.process.id.pid)
            .is_some_and(|entry| handle.process.id.is(entry) && entry.state != State::Zombie)
    });
    Ok(())
}
