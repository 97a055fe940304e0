//! The supervisor's wait: asleep until its worker ends or stops, a signal comes, or a deadline passes.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{WaitOptions, WaitStatus},
};
use signal_hook::{SigId, flag, low_level};

use super::{signal::Signal, spawn::Worker};

/// The longest single sleep, so that no deadline is too far for the system call.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By a signal of this number.
    Signal(i32),
}

/// Why the supervisor woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The worker ended and has been reaped; its pid may be in other hands from now on.
    Exited(End),
    /// The worker was stopped by a signal.
    Stopped,
    /// TERM, INT or HUP came.
    Asked(Signal),
    /// USR1 came.
    Nudged,
    /// The deadline passed.
    Deadline,
}

/// Takes over the process's handling of CHLD, TERM, INT, HUP and USR1 while it exists.
#[derive(Debug)]
pub struct Watch {
    pipe: UnixStream,
    worker: Option<i32>,
    asked: Vec<(Signal, Arc<AtomicBool>)>,
    nudged: Arc<AtomicBool>,
    hooks: Vec<SigId>,
}

impl Watch {
    /// Takes over the signals. Made before the worker is started, so that none is lost.
    pub fn new() -> io::Result<Self> {
        let (pipe, wake) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let mut watch = Self {
            pipe,
            worker: None,
            asked: Vec::new(),
            nudged: Arc::default(),
            hooks: Vec::new(),
        };
        watch
            .hooks
            .push(flag::register(Signal::USR1.number(), watch.nudged.clone())?);
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let asked = Arc::<AtomicBool>::default();
            watch.hooks.push(flag::register(signal.number(), asked.clone())?);
            watch.asked.push((signal, asked));
        }
        // The pipe comes after the flags: actions run in the order of registration, and who is woken must
        // find the flag set.
        let numbers = [Signal::USR1, Signal::TERM, Signal::INT, Signal::HUP].map(Signal::number);
        for number in numbers.into_iter().chain([libc::SIGCHLD]) {
            let hook = low_level::pipe::register(number, wake.try_clone()?)?;
            watch.hooks.push(hook);
        }
        Ok(watch)
    }

    /// Names the worker whose end and stops are to be told; all other children are reaped in silence.
    pub fn follow(&mut self, worker: &Worker) {
        self.worker = Some(worker.id.pid);
    }

    /// Sleeps until there is something to tell. What happened before is told first, each thing once.
    ///
    /// Reaps every child that has ended, adopted orphans too, so no other thread may be waiting for one of its
    /// own. The deadline is of the monotonic clock.
    pub fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Wake> {
        loop {
            self.drain()?;
            if let Some(wake) = self.reap()? {
                return Ok(wake);
            }
            for (signal, asked) in &self.asked {
                if asked.swap(false, Ordering::SeqCst) {
                    return Ok(Wake::Asked(*signal));
                }
            }
            if self.nudged.swap(false, Ordering::SeqCst) {
                return Ok(Wake::Nudged);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Wake::Deadline);
            }
            self.sleep(left)?;
        }
    }

    /// Whether TERM, INT or HUP came and was not told yet; it still will be.
    pub fn asked(&self) -> Option<Signal> {
        let came = |asked: &&(Signal, Arc<AtomicBool>)| asked.1.load(Ordering::SeqCst);
        self.asked.iter().find(came).map(|(signal, _)| *signal)
    }

    /// Whether any child is left, ended ones that were not told yet included.
    pub fn has_children(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};

        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::All, look), Err(Errno::CHILD))
    }

    fn sleep(&self, left: Option<Duration>) -> io::Result<()> {
        let left = left
            .map(|left| Timespec::try_from(left.min(LONGEST)))
            .transpose()
            .map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Empties the pipe, before the flags and children are looked at: what comes later wakes again.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&mut self) -> io::Result<Option<Wake>> {
        let mut wake = None;
        loop {
            match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if Some(pid.as_raw_nonzero().get()) == self.worker => {
                    if let Some(end) = end(status) {
                        self.worker = None;
                        wake = Some(Wake::Exited(end));
                    } else if status.stopped() {
                        wake = Some(Wake::Stopped);
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) | Err(Errno::CHILD) => return Ok(wake),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for hook in self.hooks.drain(..) {
            low_level::unregister(hook);
        }
    }
}

fn end(status: WaitStatus) -> Option<End> {
    let code = status.exit_status().map(End::Code);
    code.or_else(|| status.terminating_signal().map(End::Signal))
}
