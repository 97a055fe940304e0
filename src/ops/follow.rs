//! A worker's output, as it grows.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::error::{Error, Result};
use super::local::RunDir;
use super::settle::OUTPUT;
use super::workspace::Workspace;
use crate::git::objects;
use crate::store::Session;
use crate::worker::wait_free;

/// The pause between two looks at a file that may have grown.
const PAUSE: Duration = Duration::from_millis(20);
const CHUNK: usize = 64 * 1024;

/// Why following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Nobody supervises the session any more.
    Over,
    /// The caller wants no more.
    Enough,
}

/// Hands on what is in the output from `from` on, and what comes, until the supervisor has gone.
pub fn follow(
    run_dir: &RunDir,
    from: u64,
    mut sink: impl FnMut(&[u8]),
    mut enough: impl FnMut() -> bool,
) -> Result<Followed> {
    let (gone, wait) = mpsc::channel();
    let lock = run_dir.supervisor_lock();
    let waiting = move || {
        let free = wait_free(&lock, None);
        // Nobody may be listening any more.
        let _ = gone.send(free);
    };
    let waiter = thread::Builder::new().spawn(waiting);
    waiter.map_err(Error::io("the output can't be followed"))?;
    let path = run_dir.output();
    let mut at = from;
    loop {
        at = copy(&path, at, &mut sink)?;
        if enough() {
            return Ok(Followed::Enough);
        }
        match wait.recv_timeout(PAUSE) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(free) => {
                free?;
                copy(&path, at, &mut sink)?;
                return Ok(Followed::Over);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Followed::Over),
        }
    }
}

/// Hands on what the file has from `at` on, a piece at a time; gives the place where it ended.
pub fn copy(path: &Path, at: u64, sink: &mut impl FnMut(&[u8])) -> Result<u64> {
    let io = || Error::io(format!("'{}'", path.display()));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(at),
        Err(error) => return Err(io()(error)),
    };
    file.seek(SeekFrom::Start(at)).map_err(io())?;
    let mut buffer = vec![0; CHUNK];
    let mut at = at;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(at),
            Ok(count) => {
                sink(&buffer[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io()(error)),
        }
    }
}

/// What was recorded of the output with the session's work; none if nothing was, or the work is not here.
pub fn recorded(ws: &Workspace, session: &Session) -> Result<Option<Vec<u8>>> {
    let work = session.event.summary.work;
    let Some(work) = work.filter(|work| objects::exists(&ws.repo, *work)) else {
        return Ok(None);
    };
    let tree = objects::tree_of(&ws.repo, work)?;
    Ok(objects::blob_in_tree(&ws.repo, tree, OUTPUT)?)
}

/// The last `lines` lines of what was recorded.
pub fn tail(bytes: &[u8], lines: usize) -> &[u8] {
    // The newline at the very end closes the last line, it doesn't begin another.
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => &[],
        Some(before) => match ends.nth(before) {
            Some((at, _)) => &bytes[at + 1..],
            None => bytes,
        },
    }
}

/// The place in the file from which its last `lines` lines begin, read from the end.
pub fn tail_start(path: &Path, lines: usize) -> Result<u64> {
    let io = || Error::io(format!("'{}'", path.display()));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(io()(error)),
    };
    let end = file.seek(SeekFrom::End(0)).map_err(io())?;
    if lines == 0 {
        return Ok(end);
    }
    let mut at = end;
    let mut left = lines;
    let mut buffer = vec![0; CHUNK];
    while at > 0 {
        let size = at.min(CHUNK as u64);
        at -= size;
        let piece = &mut buffer[..size as usize];
        file.seek(SeekFrom::Start(at)).map_err(io())?;
        file.read_exact(piece).map_err(io())?;
        for (offset, byte) in piece.iter().enumerate().rev() {
            let place = at + offset as u64;
            // The newline at the very end closes the last line, it doesn't begin another.
            if *byte == b'\n' && place + 1 != end {
                left -= 1;
                if left == 0 {
                    return Ok(place + 1);
                }
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn the_last_lines_are_whole() {
        for (text, lines, wanted) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 1, "c"),
            ("a\nb\n", 2, "a\nb\n"),
            ("a\n", 9, "a\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(
                tail(text.as_bytes(), lines),
                wanted.as_bytes(),
                "{text:?} {lines}"
            );
        }
    }
}
