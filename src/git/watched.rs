//! A git child whose silence has an end: it, and all that it started, is gone when it says nothing for too long.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitIdOptions};

use super::command::{Cmd, end_with_us};
use super::terminal::Terminal;
use super::{Error, Result};

/// How often a child is looked at that says nothing.
const TICK: Duration = Duration::from_millis(100);
/// How long a group has after TERM before it gets KILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long a killed group is waited for, whose dead nobody may have reaped yet.
const BURIAL: Duration = Duration::from_secs(1);
/// How much of what a child says on stderr is kept at most, in bytes: a remote may talk without end.
const SPEECH: usize = 16 << 20;
/// How much is read from a pipe before the other one has its turn: more than one holds.
const TURN: usize = 2 << 20;

/// How a child is watched.
pub struct Watch<'w> {
    /// The longest silence; none has no end.
    pub patience: Option<Duration>,
    /// Gets what the child says on stderr, as it comes.
    pub heard: &'w mut dyn FnMut(&[u8]),
    /// Gets all that the child has written to stdout, each time that more has come.
    pub written: &'w mut dyn FnMut(&[u8]),
}

/// How a watched child ended.
pub enum Ended {
    ByItself(Output),
    /// It was silent for too long, and was ended with its whole group.
    Silent(Duration),
}

impl Cmd {
    /// Runs to the end, or to the end of our patience, in a process group of its own.
    ///
    /// The child gets the terminal for that time if it is ours to give, and may ask there for passwords.
    ///
    /// # Errors
    /// [`Error::Io`] if git could not be started or talked to.
    pub fn watched(self, watch: Watch<'_>) -> Result<Ended> {
        let (mut command, verb, input) = self.into_parts();
        let what = format!("git {verb}");
        let terminal = Terminal::foreground();
        prepare(&mut command, terminal.as_ref(), !input.is_empty());
        let child = command.spawn().map_err(Error::io(what.clone()))?;
        let group = Pid::from_child(&child);
        let mut running = Running {
            child,
            group,
            terminal,
            ended: None,
        };
        let ended = running.attend(&input, watch).map_err(Error::io(what));
        let interrupted = matches!(&ended, Ok(Ended::ByItself(output))
            if output.status.signal() == Some(Signal::INT.as_raw()));
        let had_terminal = running.terminal.is_some();
        drop(running);
        if interrupted && had_terminal {
            // The key was meant for us as well, who weren't in the foreground.
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::INT);
        }
        ended
    }
}

impl Cmd {
    /// Runs to the end; none where it says nothing for that long, and was ended with its whole group.
    ///
    /// # Errors
    /// As [`Cmd::watched`].
    pub fn output_within(self, patience: Duration) -> Result<Option<Output>> {
        let watch = Watch {
            patience: Some(patience),
            heard: &mut |_| (),
            written: &mut |_| (),
        };
        Ok(match self.watched(watch)? {
            Ended::ByItself(output) => Some(output),
            Ended::Silent(_) => None,
        })
    }
}

fn prepare(command: &mut Command, terminal: Option<&Terminal>, fed: bool) {
    command
        .stdin(if fed { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // It might wait for a remote for ever.
    end_with_us(command);
    if let Some(terminal) = terminal {
        match std::env::var_os("GIT_TERMINAL_PROMPT") {
            Some(users) => command.env("GIT_TERMINAL_PROMPT", users),
            None => command.env_remove("GIT_TERMINAL_PROMPT"),
        };
        terminal.lend(command);
    }
}

/// A child at work; its group doesn't outlive this.
struct Running {
    child: Child,
    group: Pid,
    terminal: Option<Terminal>,
    ended: Option<ExitStatus>,
}

impl Running {
    fn attend(&mut self, input: &[u8], watch: Watch<'_>) -> io::Result<Ended> {
        let mut stdin = self.child.stdin.take();
        let mut stdout = self.child.stdout.take();
        let mut stderr = self.child.stderr.take();
        for end in [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let (mut out, mut said, mut fed) = (Vec::new(), Vec::new(), 0);
        let mut alive_at = Instant::now();
        loop {
            let ready = ready(
                stdin.as_ref().map(AsFd::as_fd),
                [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)],
            )?;
            if feed(&mut stdin, input, &mut fed) {
                alive_at = Instant::now();
            }
            let heard = said.len();
            let (wrote, spoke) = (drain(&mut stdout, &mut out)?, drain(&mut stderr, &mut said)?);
            if wrote {
                (watch.written)(&out);
            }
            if spoke {
                (watch.heard)(&said[heard..]);
                if said.len() > SPEECH {
                    said.drain(..said.len() - SPEECH / 2);
                }
            }
            if wrote || spoke {
                alive_at = Instant::now();
            }
            if stdout.is_none() && stderr.is_none() {
                // It has nothing more to say, and so is about to end.
                thread::sleep(Duration::from_micros(100));
            } else if ready {
                continue;
            }
            if let Some(status) = self.child.try_wait()? {
                self.ended = Some(status);
                // Somebody whom it left behind may hold its pipes; what is in them by now is all that counts.
                let heard = said.len();
                drain(&mut stdout, &mut out)?;
                drain(&mut stderr, &mut said)?;
                (watch.written)(&out);
                (watch.heard)(&said[heard..]);
                return Ok(Ended::ByItself(Output {
                    status,
                    stdout: out,
                    stderr: said,
                }));
            }
            if self.was_stopped()? {
                alive_at = Instant::now();
            }
            if let Some(patience) = watch.patience
                && alive_at.elapsed() >= patience
            {
                return Ok(Ended::Silent(patience));
            }
        }
    }

    /// Follows a child whose user stopped it at the terminal, and goes on with it afterwards.
    fn was_stopped(&self) -> io::Result<bool> {
        let Some(terminal) = &self.terminal else {
            return Ok(false);
        };
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let stopped = rustix::process::waitid(rustix::process::WaitId::Pid(self.group), options)?;
        if stopped.is_none() {
            return Ok(false);
        }
        terminal.take_back(self.group);
        terminal.stop_with_child()?;
        terminal.give(self.group);
        rustix::process::kill_process_group(self.group, Signal::CONT)?;
        Ok(true)
    }

    /// Ends the child and everybody in its group.
    fn end(&mut self) {
        for (signal, wait) in [(Signal::TERM, GRACE), (Signal::KILL, BURIAL)] {
            let _ = rustix::process::kill_process_group(self.group, signal);
            // Who is stopped hears a signal only then.
            let _ = rustix::process::kill_process_group(self.group, Signal::CONT);
            let start = Instant::now();
            while start.elapsed() < wait {
                let _ = self.child.try_wait();
                if rustix::process::test_kill_process_group(self.group).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end();
        }
        if let Some(terminal) = &self.terminal {
            terminal.take_back(self.group);
        }
    }
}

/// Waits for a moment until one of the pipes has something to do.
fn ready(write: Option<BorrowedFd<'_>>, read: [Option<BorrowedFd<'_>>; 2]) -> io::Result<bool> {
    let mut ends: Vec<PollFd<'_>> = read
        .iter()
        .flatten()
        .map(|end| PollFd::from_borrowed_fd(*end, PollFlags::IN))
        .collect();
    if ends.is_empty() {
        return Ok(false);
    }
    ends.extend(write.map(|end| PollFd::from_borrowed_fd(end, PollFlags::OUT)));
    let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
    match rustix::event::poll(&mut ends, Some(&tick)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes what the pipe takes; closes it after the last byte, or when nobody reads any more.
fn feed(pipe: &mut Option<impl Write>, input: &[u8], fed: &mut usize) -> bool {
    let Some(open) = pipe else { return false };
    match open.write(&input[*fed..]) {
        Ok(count) => {
            *fed += count;
            if *fed >= input.len() {
                *pipe = None;
            }
            count > 0
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            false
        }
        Err(_) => {
            *pipe = None;
            false
        }
    }
}

/// Reads what there is, of a pipe that is filled faster a part; forgets it at its end.
fn drain(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let before = into.len();
    let mut buffer = [0; 16 * 1024];
    while let Some(open) = pipe.as_mut().filter(|_| into.len() - before < TURN) {
        match open.read(&mut buffer) {
            Ok(0) => *pipe = None,
            Ok(count) => into.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(into.len() > before)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::git::command::{Git, MINIMUM};

    #[test]
    fn who_talks_without_end_fills_no_memory() {
        let git = Git::find(Path::new(""), MINIMUM).unwrap();
        let alias = "alias.talk=!yes 'and so on' | head -c 40000000 >&2; echo over >&2; echo done";
        let (mut heard, mut nothing) = (0, |_: &[u8]| ());
        let watch = Watch {
            patience: None,
            heard: &mut |bytes| heard += bytes.len(),
            written: &mut nothing,
        };
        let ended = git.at(Path::new("/")).args(["-c", alias, "talk"]).watched(watch);
        let Ok(Ended::ByItself(output)) = ended else {
            panic!("it was said to be silent")
        };
        assert!(output.stderr.len() <= SPEECH + TURN);
        assert!(output.stderr.ends_with(b"on\nover\n") || output.stderr.ends_with(b"over\n"));
        assert_eq!((heard, output.stdout.as_slice()), (40_000_005, &b"done\n"[..]));
    }
}
