//! Starts a process that belongs to nobody: the supervisor, which outlives its caller and its caller's terminal.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::child;

/// What to start.
#[derive(Debug)]
pub struct Detach {
    /// The program, by its path, and its arguments.
    pub argv: Vec<OsString>,
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The file that stderr is appended to, made with mode 0600; without one it is `/dev/null`.
    pub log: Option<PathBuf>,
    /// Descriptors that the process inherits under their own numbers. All others are closed to it.
    pub keep: Vec<OwnedFd>,
}

/// The process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    #[error("the command is empty")]
    Empty,
    #[error("cannot make a pipe: {0}")]
    Pipe(#[source] io::Error),
    #[error("cannot open the log file '{}': {source}", path.display())]
    Log { path: PathBuf, source: io::Error },
    #[error("cannot start '{}' in the background: {source}", program.display())]
    Start { program: OsString, source: io::Error },
}

/// No message came.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// It ended, or closed the pipe, without a word.
    #[error("the background process ended before it was ready")]
    Died,
    #[error("the background process was not ready in time")]
    Late,
    #[error("cannot read from the background process: {0}")]
    Read(#[source] io::Error),
}

/// The caller's end of the pipe on which the detached process says that it is ready.
#[derive(Debug)]
pub struct Ready {
    pipe: File,
}

/// The detached process's end of that pipe.
#[derive(Debug)]
pub struct Reporter {
    pipe: File,
}

/// Starts a process in a session of its own, which it leads, as nobody's child, and returns when its exec has
/// succeeded.
///
/// Its stdin is `/dev/null`; its stdout is the pipe on which it reports, until it takes that with
/// [`Reporter::from_stdout`]. It begins with no signal ignored or blocked. A session leader, it can find the
/// session's members by its own pid, and must not open terminals.
pub fn detach(what: Detach) -> Result<Ready, DetachError> {
    let (program, arguments) = what.argv.split_first().ok_or(DetachError::Empty)?;
    let (read, write) = io::pipe().map_err(DetachError::Pipe)?;
    let log = match &what.log {
        None => Stdio::null(),
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| DetachError::Log {
                path: path.clone(),
                source,
            })?
            .into(),
    };
    let keep: Vec<RawFd> = what.keep.iter().map(AsRawFd::as_raw_fd).collect();
    let strays = child::open_fds();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&what.cwd)
        .env_clear()
        .envs(what.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(log);
    // SAFETY: the closure makes only async-signal-safe calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            child::leave_parent()?;
            rustix::process::setsid()?;
            child::reset_signals();
            child::inherit_only(&keep, &strays)
        });
    }
    let failed = |source| DetachError::Start {
        program: program.clone(),
        source,
    };
    // What is waited for here is the process in between, which ends at once.
    command.spawn().map_err(failed)?.wait().map_err(failed)?;
    Ok(Ready {
        pipe: OwnedFd::from(read).into(),
    })
}

/// Takes a descriptor that was inherited under this number; children of ours don't inherit it.
///
/// Errors where there is no such descriptor, or where it is one of the first three.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: fcntl tells whether it is open before it is taken, and nobody else in this process has taken it:
    // the caller does so once, at its start.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

impl Ready {
    /// Waits until the process has reported, at most for `limit`, and gives back what it said.
    ///
    /// A message is whole when it has arrived up to the end of the pipe; a process that is killed in the middle
    /// of a long one leaves a part.
    pub fn wait(mut self, limit: Option<Duration>) -> Result<Vec<u8>, ReadyError> {
        let start = Instant::now();
        let mut message = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = match limit {
                None => None,
                Some(limit) => Some(
                    Timespec::try_from(limit.saturating_sub(start.elapsed()))
                        .map_err(|_| ReadyError::Late)?,
                ),
            };
            let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Ok(0) => return Err(ReadyError::Late),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(ReadyError::Read(error.into())),
            }
            match self.pipe.read(&mut buffer) {
                Ok(0) if message.is_empty() => return Err(ReadyError::Died),
                Ok(0) => return Ok(message),
                Ok(count) => message.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadyError::Read(error)),
            }
        }
    }
}

impl Reporter {
    /// Takes the pipe from stdout, which is `/dev/null` from then on. Its children do not inherit it.
    pub fn from_stdout() -> io::Result<Self> {
        let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(Self { pipe: pipe.into() })
    }

    /// Sends the message and closes the pipe. A caller that no longer waits is no error.
    pub fn report(mut self, message: &[u8]) -> io::Result<()> {
        match self.pipe.write_all(message) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }
}
