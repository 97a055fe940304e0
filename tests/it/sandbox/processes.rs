//! Processes as the system shows them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::in_time;

/// The processes in whose environment a variable begins with a path.
pub fn with_variable(name: &str, path: &Path) -> Vec<(i32, String)> {
    let mut start = name.as_bytes().to_vec();
    start.push(b'=');
    start.extend_from_slice(path.as_os_str().as_bytes());
    let mut found = Vec::new();
    let Ok(table) = fs::read_dir("/proc") else {
        return found;
    };
    for entry in table.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(&start))
        {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = OsStr::from_bytes(&line).to_string_lossy().replace('\0', " ");
            found.push((pid, line));
        }
    }
    found
}

/// Kills everything that has a variable, until nothing has.
pub fn kill_all(name: &str, path: &Path) {
    for _ in 0..100 {
        let found = with_variable(name, path);
        if found.is_empty() {
            return;
        }
        for (pid, _) in found {
            kill_and_wait(pid);
        }
    }
}

/// A process and all that descend from it, as far as the system still knows.
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name, which may hold anything, stands in brackets; the state and the parent follow it.
        let parent = status.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(child), Some(parent)) = (child, parent.and_then(|parent| parent.parse().ok())) {
            parents.push((child, parent));
        }
    }
    let mut found: Vec<i32> = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = parents.iter().filter(|(_, its)| *its == parent);
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found
}

/// Sends a signal; that there is nobody to get it is no matter.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Kills a process and waits until it is dead.
pub fn kill_and_wait(pid: i32) {
    let end = on_end(pid);
    signal(pid, Signal::KILL);
    end();
}

/// Gives a function that waits for the end of a process that is there now.
pub fn on_end(pid: i32) -> impl FnOnce() {
    let raw = Pid::from_raw(pid).unwrap();
    let handle = rustix::process::pidfd_open(raw, PidfdFlags::empty()).ok();
    move || {
        if let Some(handle) = handle {
            in_time(&format!("process {pid} ends"), move || {
                let mut ends = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
                rustix::io::retry_on_intr(|| rustix::event::poll(&mut ends, None)).unwrap();
            });
        }
    }
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}
