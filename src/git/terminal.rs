//! The terminal that we are in the foreground of, lent to a child in a process group of its own.
//!
//! Only the foreground group may read from a terminal, and only that one is told of a Ctrl-C, so a child that may
//! ask for a password has to be it for as long as it lives.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal};

/// A terminal in whose foreground we are.
pub struct Terminal {
    tty: File,
    ours: Pid,
}

impl Terminal {
    /// The controlling terminal, if there is one and we are in its foreground.
    pub fn foreground() -> Option<Terminal> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let ours = rustix::process::getpgrp();
        (rustix::termios::tcgetpgrp(&tty).ok()? == ours).then_some(Terminal { tty, ours })
    }

    /// Makes a child that leads a group of its own take the terminal before it becomes another program.
    pub fn lend(&self, command: &mut Command) {
        let tty = self.tty.as_raw_fd();
        // SAFETY: only system calls that are async-signal-safe, on a descriptor that is open in the child.
        unsafe {
            command.pre_exec(move || {
                hand_over(tty, libc::getpid());
                Ok(())
            });
        }
    }

    /// Gives it to a child's group again, after that was stopped.
    pub fn give(&self, group: Pid) {
        hand_over(self.tty.as_raw_fd(), group.as_raw_nonzero().get());
    }

    /// Takes it back from a child's group; one that another has by now stays theirs.
    pub fn take_back(&self, group: Pid) {
        if rustix::termios::tcgetpgrp(&self.tty).is_ok_and(|has| has == group) {
            hand_over(self.tty.as_raw_fd(), self.ours.as_raw_nonzero().get());
        }
    }

    /// Stops our own job, as the key would have that stopped the child's; returns once somebody continues it.
    pub fn stop_with_child(&self) -> io::Result<()> {
        Ok(rustix::process::kill_process_group(self.ours, Signal::TSTP)?)
    }
}

/// Changes a terminal's foreground group, also from the background.
fn hand_over(tty: i32, group: i32) {
    // SAFETY: plain system calls on values of our own; who blocks SIGTTOU may do this from anywhere.
    unsafe {
        let mut ttou: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut ttou);
        libc::sigaddset(&raw mut ttou, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const ttou, &raw mut before);
        libc::tcsetpgrp(tty, group);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}
