//! The one door to the git executable: scrubbed environment, one error shape.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Error, Result};

/// The oldest git that has what we use (`git rev-list --stdin-packs`, `worktree add --lock --reason`).
pub const MINIMUM: Version = (2, 34);
/// The oldest that knows references in a reftable.
pub const MINIMUM_FOR_REFTABLE: Version = (2, 45);

/// The first two numbers of a version.
pub type Version = (u32, u32);

/// Variables that git sets for its children and that tie them to one repository; see
/// `git rev-parse --local-env-vars`. Configuration given by `git -c` is left: it is the user's.
pub const LOCAL_VARIABLES: [&str; 17] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REFLOG_ACTION",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// A git executable that was found and is new enough.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
}

impl Git {
    /// Finds git on the PATH, which has to be of a version at least.
    ///
    /// A version that was good once is [remembered](Git::remember) in `memo` under the executable's identity, so
    /// that a child process is saved.
    ///
    /// # Errors
    /// [`Error::NoGit`] names the minimum and what was found.
    pub fn find(memo: &Path, minimum: Version) -> Result<Git> {
        let unfit = |found: String| Error::NoGit { minimum, found };
        let program = which::which("git").map_err(|_| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            unfit(format!("there is no git in PATH ({})", path.to_string_lossy()))
        })?;
        let identity = identity(&program);
        if std::fs::read(memo).is_ok_and(|known| known == identity) {
            return Ok(Git { program });
        }
        let output = Command::new(&program)
            .arg("version")
            .output()
            .map_err(|e| unfit(format!("{} can't be run: {e}", program.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .trim()
            .strip_prefix("git version ")
            .unwrap_or(text.trim())
            .to_owned();
        match parse_version(&version) {
            Some(found) if found >= minimum => {}
            _ => return Err(unfit(format!("{} is '{version}'", program.display()))),
        }
        Ok(Git { program })
    }

    /// Remembers in `memo` that this git is good; readers don't.
    pub fn remember(&self, memo: &Path) {
        let known = identity(&self.program);
        if std::fs::read(memo).is_ok_and(|before| before == known) {
            return;
        }
        // A memo that can't be written costs the next command a child, nothing else.
        let _ = std::fs::write(memo, known);
    }

    /// A git command to be run in `dir`.
    pub fn at(&self, dir: &Path) -> Cmd {
        let mut command = Command::new(&self.program);
        scrub(&mut command);
        command.current_dir(dir).stdin(Stdio::null());
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        Cmd {
            command,
            verb: String::new(),
            input: None,
        }
    }
}

/// Has a child that only tells us something end where the thread that starts it is killed, where the system can do
/// that: left alone it would hold locks that the next command takes for those of the dead.
pub(super) fn end_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let signal = Some(rustix::process::Signal::TERM);
            Ok(rustix::process::set_parent_process_death_signal(signal)?)
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Removes git's own variables from a child's environment.
fn scrub(command: &mut Command) {
    for name in LOCAL_VARIABLES {
        command.env_remove(name);
    }
}

/// Whether a variable is one of those that git sets for its children, and so must not reach a worker.
pub fn is_local_variable(name: &OsStr) -> bool {
    LOCAL_VARIABLES.iter().any(|local| name == OsStr::new(local))
}

/// Whether git sets a variable like that for the hooks of a commit: who made it and when, and that nobody is to be
/// asked for a message. In any other environment than [a hook's](in_a_hook) it is the user's own.
pub fn is_of_a_commit(name: &OsStr, value: &OsStr) -> bool {
    const COMMIT: [&str; 4] = [
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_AUTHOR_DATE",
        "GIT_COMMITTER_DATE",
    ];
    COMMIT.iter().any(|known| name == *known) || (name == "GIT_EDITOR" && value == ":")
}

/// Whether we are called from a hook of a commit, which gets the index that is committed.
pub fn in_a_hook() -> bool {
    std::env::var_os("GIT_INDEX_FILE").is_some()
}

fn identity(program: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    let mut known = program.as_os_str().as_bytes().to_vec();
    if let Ok(meta) = std::fs::metadata(program) {
        known.extend_from_slice(format!("\0{} {} {}", meta.len(), meta.mtime(), meta.ino()).as_bytes());
    }
    known
}

fn parse_version(version: &str) -> Option<Version> {
    let mut parts = version.split(['.', ' ', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// One git command.
pub struct Cmd {
    command: Command,
    verb: String,
    input: Option<Vec<u8>>,
}

impl Cmd {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        let arg = arg.as_ref();
        if self.verb.is_empty() && !arg.as_encoded_bytes().starts_with(b"-") && !self.after_option() {
            self.verb = arg.to_string_lossy().into_owned();
        }
        self.command.arg(arg);
        self
    }

    /// Whether the last argument was an option whose value is not a subcommand.
    fn after_option(&self) -> bool {
        self.command
            .get_args()
            .last()
            .is_some_and(|last| last == "-c" || last == "--git-dir")
    }

    /// Adds several arguments.
    pub fn args<I>(self, args: I) -> Cmd
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        args.into_iter().fold(self, Cmd::arg)
    }

    /// Sets a variable in the child's environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Cmd {
        self.command.env(name, value.into());
        self
    }

    /// Feeds the child's standard input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Cmd {
        self.input = Some(bytes.into());
        self
    }

    /// Lets the child hold `lock` too, so that nobody runs beside it should we die first.
    pub fn holding(mut self, lock: BorrowedFd<'_>) -> Cmd {
        let fd: RawFd = lock.as_raw_fd();
        // SAFETY: fcntl is async-signal-safe, and the descriptor is open in the child, which is a copy of us.
        unsafe {
            self.command.pre_exec(move || {
                let lock = BorrowedFd::borrow_raw(fd);
                rustix::io::fcntl_setfd(lock, rustix::io::FdFlags::empty())?;
                Ok(())
            });
        }
        self
    }

    /// Keeps the child from signals to our process group: what is done in a moment is finished, so that it leaves no lock
    /// of which nobody could tell whose it was.
    pub fn apart(mut self) -> Cmd {
        self.command.process_group(0);
        self
    }

    /// Ends the child where we are killed, on a system that can do that: it is one that only tells us something.
    pub fn ending_with_us(mut self) -> Cmd {
        end_with_us(&mut self.command);
        self
    }

    /// Gives the command, its verb and what it is fed, to be run by others.
    pub(super) fn into_parts(self) -> (Command, String, Vec<u8>) {
        (self.command, self.verb, self.input.unwrap_or_default())
    }

    /// Runs to the end, whatever the exit code.
    ///
    /// # Errors
    /// [`Error::Io`] if git could not be started or talked to.
    pub fn output(mut self) -> Result<Output> {
        self.listen();
        let what = format!("git {}", self.verb);
        let Some(input) = self.input.take() else {
            return self.command.output().map_err(Error::io(what));
        };
        self.command.stdin(Stdio::piped());
        let mut child = self.command.spawn().map_err(Error::io(what.clone()))?;
        let mut stdin = child.stdin.take();
        // A thread feeds the child, since it may answer before it has read everything.
        let feeder = std::thread::Builder::new().spawn(move || match stdin.as_mut() {
            Some(pipe) => pipe.write_all(&input),
            None => Ok(()),
        });
        let feeder = match feeder {
            Ok(feeder) => feeder,
            // Where there can be no more threads it was told nothing.
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(Error::io(what)(error));
            }
        };
        let output = child.wait_with_output().map_err(Error::io(what))?;
        // A child that ends before it read all has said why on stderr; its exit code tells.
        let _ = feeder.join();
        Ok(output)
    }

    /// Takes what the child says, and keeps it apart where that is wanted.
    fn listen(&mut self) {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if APART.load(Ordering::SeqCst) {
            self.command.process_group(0);
        }
    }

    /// Runs to the end and returns stdout.
    ///
    /// # Errors
    /// [`Error::Command`] with what git said, unless it exits with 0.
    pub fn run(self) -> Result<Vec<u8>> {
        let verb = self.verb.clone();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(refused(verb, &output))
    }
}

/// Whether children are kept from what a terminal sends.
static APART: AtomicBool = AtomicBool::new(false);

/// Keeps further children of this process from the signals of its terminal, once it has caught one itself and still has
/// work to save: pressed again, Ctrl-C would end what saves it.
pub fn keep_apart() {
    APART.store(true, Ordering::SeqCst);
}

/// A git child that is at work while its caller does something else.
pub struct Running {
    child: std::process::Child,
    verb: String,
}

impl Running {
    /// Waits for its end and returns stdout.
    ///
    /// # Errors
    /// As [`Cmd::run`].
    pub fn finish(self) -> Result<Vec<u8>> {
        let output = self
            .child
            .wait_with_output()
            .map_err(Error::io(format!("git {}", self.verb)))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(refused(self.verb, &output))
        }
    }
}

impl Cmd {
    /// Starts and returns at once.
    pub fn start(mut self) -> Result<Running> {
        self.listen();
        let child = self
            .command
            .spawn()
            .map_err(Error::io(format!("git {}", self.verb)))?;
        Ok(Running {
            child,
            verb: self.verb,
        })
    }

    /// Runs to the end on the caller's own stdout and stderr; gives the exit code, 0 also where nobody reads any more.
    pub fn show(mut self) -> Result<i32> {
        let what = format!("git {}", self.verb);
        let status = self.command.status().map_err(Error::io(what))?;
        let unread = status.signal() == Some(rustix::process::Signal::PIPE.as_raw());
        Ok(if unread { 0 } else { status.code().unwrap_or(128) })
    }
}

/// The error for a git child that ended with something else than success.
pub fn refused(verb: String, output: &Output) -> Error {
    let text = String::from_utf8_lossy(&output.stderr);
    let message: Vec<&str> = text
        .lines()
        .map(|line| {
            line.strip_prefix("fatal: ")
                .or_else(|| line.strip_prefix("error: "))
                .unwrap_or(line)
        })
        .filter(|line| !line.trim().is_empty() && !line.starts_with("hint:"))
        .collect();
    let message = if message.is_empty() {
        output.status.to_string()
    } else {
        message.join("; ")
    };
    Error::Command {
        verb,
        code: output.status.code(),
        message,
    }
}
