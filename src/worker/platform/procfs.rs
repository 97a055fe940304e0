//! The Linux form: `/proc`, as in proc(5).

use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
};

use super::{Entry, PlatformError, State};
use crate::worker::scan::Marker;

/// How often the directory is read for what came while it was read.
const ROUNDS: usize = 4;

/// The listing is old when its last process is looked at, so what has come meanwhile is looked at too: else
/// a job that hands on to a new process every millisecond would never be seen.
pub(super) fn table() -> Result<Vec<Entry>, PlatformError> {
    let mut table = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..ROUNDS {
        let before = seen.len();
        for dir in fs::read_dir("/proc").map_err(PlatformError::Proc)? {
            let name = dir.map_err(PlatformError::Proc)?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid.filter(|pid| seen.insert(*pid)) {
                table.extend(entry(pid)?);
            }
        }
        if seen.len() == before {
            break;
        }
    }
    Ok(table)
}

pub(super) fn entry(pid: i32) -> Result<Option<Entry>, PlatformError> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(parse(&stat)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(PlatformError::Proc(error)),
    }
}

pub(super) fn marked(table: &[Entry], marker: &Marker) -> HashSet<i32> {
    let own = rustix::process::geteuid().as_raw();
    let wanted = [marker.name.as_bytes(), b"=", marker.value.as_bytes()].concat();
    // The newest first: they may be the shortest-lived.
    table
        .iter()
        .rev()
        .filter(|entry| entry.state != State::Zombie)
        .filter(|entry| {
            let dir = format!("/proc/{}", entry.pid);
            fs::metadata(&dir).is_ok_and(|meta| meta.uid() == own)
                && fs::read(dir + "/environ")
                    .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|var| var == wanted))
        })
        .map(|entry| entry.pid)
        .collect()
}

/// The state of a process is that of its first thread; the others may still be on their way.
pub(super) fn all_threads_held(pid: i32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    tasks.flatten().all(|task| {
        fs::read(task.path().join("stat"))
            .ok()
            .and_then(|stat| parse(&stat))
            .is_none_or(|thread| thread.state != State::Moving)
    })
}

/// ESRCH comes when the process ends between open and read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Reads `pid (comm) state ppid pgrp …`, where comm may hold anything, parentheses and newlines too.
fn parse(stat: &[u8]) -> Option<Entry> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let fields: Vec<&str> = str::from_utf8(&stat[close + 1..])
        .ok()?
        .split_ascii_whitespace()
        .collect();
    // proc(5) counts from one and the state is its field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let threads: u32 = field(20)?.parse().ok()?;
    let state = match field(3)? {
        // A first thread that ended before the others looks like a zombie, yet the process lives.
        "Z" | "X" if threads <= 1 => State::Zombie,
        "T" | "t" => State::Stopped,
        _ => State::Moving,
    };
    Some(Entry {
        pid,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        state,
        start_time: field(22)?.parse().ok()?,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(comm: &str, state: char, threads: u32) -> String {
        format!("42 ({comm}) {state} 7 40 39 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 123456 0 0\n")
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let entry = parse(stat("a) Z 1 (b\n", 'S', 1).as_bytes()).unwrap();
        assert_eq!((entry.pid, entry.parent, entry.group), (42, 7, 40));
        assert_eq!(entry.start_time, 123456);
        assert_eq!(entry.name, "a) Z 1 (b\n");
        assert_eq!(entry.state, State::Moving);
    }

    #[test]
    fn a_process_whose_first_thread_ended_is_no_zombie() {
        let state = |stat: String| parse(stat.as_bytes()).unwrap().state;
        assert_eq!(state(stat("x", 'Z', 3)), State::Moving);
        assert_eq!(state(stat("x", 'Z', 1)), State::Zombie);
        assert_eq!(state(stat("x", 't', 1)), State::Stopped);
    }

    #[test]
    fn nonsense_is_no_process() {
        for text in ["", "42", "42 (x", ")(", "x (y) S 1 2", "42 (x) S 1"] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
