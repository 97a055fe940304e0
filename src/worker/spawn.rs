//! Starts a worker: in a process group of its own, on its own output file.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::OpenOptionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::io::Errno;

use super::{child, identity::ProcessId};

/// What execvp(3) searches where there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A command and all that it runs with.
#[derive(Debug)]
pub struct Job {
    /// The program, looked for as execvp(3) does (on the job's own PATH; a name with a slash, from `cwd`), and
    /// its arguments.
    pub argv: Vec<OsString>,
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The file that stdout and stderr are appended to; made with mode 0600.
    pub output: PathBuf,
    /// The one descriptor, beside those three, that the worker inherits; it keeps its number.
    pub inherit: OwnedFd,
}

/// A worker that runs, or has run: its exec succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The worker, which leads its process group.
    pub id: ProcessId,
}

/// A worker could not be executed.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("the command is empty")]
    Empty,
    #[error("the directory '{}' does not exist", .0.display())]
    NoDirectory(PathBuf),
    #[error("'{}' not found in PATH '{}'", program.display(), path.display())]
    NotOnPath { program: OsString, path: OsString },
    #[error("'{}' not found", .0.display())]
    NotFound(PathBuf),
    #[error("'{}' is not executable", .0.display())]
    NotExecutable(PathBuf),
    #[error("the interpreter that '{}' names does not exist", .0.display())]
    NoInterpreter(PathBuf),
    #[error("'{}' is not a program for this system", .0.display())]
    Format(PathBuf),
    /// The kernel's own reason: arguments too long, no more processes, a busy file.
    #[error("cannot execute '{}': {source}", program.display())]
    Refused { program: PathBuf, source: io::Error },
    #[error("cannot open the output file '{}': {source}", path.display())]
    Output { path: PathBuf, source: io::Error },
    #[error("an argument or variable holds a NUL byte")]
    Nul,
    /// It was started, but can't be recognised; it has been killed.
    #[error("cannot identify the new process: {0}")]
    Unidentified(#[source] io::Error),
}

impl SpawnError {
    /// The code by shell convention: 127 for what was not found, 126 for what could not be executed.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Empty | Self::NoDirectory(_) | Self::NotOnPath { .. } | Self::NotFound(_) => 127,
            _ => 126,
        }
    }
}

/// Starts the job and returns when its exec has succeeded.
///
/// The worker leads a process group of its own, reads from `/dev/null`, and begins with no signal ignored or
/// blocked. A file without `#!` is run by `/bin/sh`, as shells do. The caller reaps it ([`Watch`](super::Watch)).
pub fn spawn(job: Job) -> Result<Worker, SpawnError> {
    let program = job.argv.first().ok_or(SpawnError::Empty)?;
    if !job.cwd.is_dir() {
        return Err(SpawnError::NoDirectory(job.cwd));
    }
    let path = job.env.iter().rev().find(|(name, _)| name == "PATH");
    let program = find_program(program, path.map(|(_, path)| path.as_os_str()), &job.cwd)?;
    match start(&job, &program, &job.argv) {
        Err(error) if is(&error, Errno::NOEXEC) && is_text(&program) => {
            let mut argv = vec![OsString::from("sh"), program.clone().into_os_string()];
            argv.extend(job.argv.iter().skip(1).cloned());
            start(&job, Path::new("/bin/sh"), &argv)
        }
        started => started,
    }
    .map_err(|error| explain(error, program, &job))
}

/// Finds a program as execvp(3) would: on `path`, or, when its name has a slash, from `cwd`.
///
/// Errors tell what is missing from what is there but not executable.
pub fn find_program(program: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, SpawnError> {
    if program.is_empty() {
        return Err(SpawnError::Empty);
    }
    if program.as_bytes().contains(&b'/') {
        let file = cwd.join(program);
        return match fs::metadata(&file) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(SpawnError::NotExecutable(file)),
            Err(_) => Err(SpawnError::NotFound(file)),
            Ok(_) if is_executable(&file) => Ok(file),
            Ok(_) => Err(SpawnError::NotExecutable(file)),
        };
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut unusable = None;
    // An empty entry means the current directory, and joining it gives just that.
    for dir in std::env::split_paths(path) {
        let file = cwd.join(dir).join(program);
        if is_executable(&file) {
            return Ok(file);
        }
        if file.is_file() {
            unusable.get_or_insert(file);
        }
    }
    Err(match unusable {
        Some(file) => SpawnError::NotExecutable(file),
        None => SpawnError::NotOnPath {
            program: program.to_owned(),
            path: path.to_owned(),
        },
    })
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Why a start failed.
enum Failure {
    Nul,
    Output(io::Error),
    Exec(io::Error),
    Unidentified(io::Error),
}

fn start(job: &Job, program: &Path, argv: &[OsString]) -> Result<Worker, Failure> {
    let image = Image::new(program, argv, &job.env).ok_or(Failure::Nul)?;
    let output = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&job.output)
        .map_err(Failure::Output)?;
    let inherit = job.inherit.as_raw_fd();
    let strays = child::open_fds();
    let mut command = Command::new(program);
    command
        .current_dir(&job.cwd)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(Failure::Output)?)
        .stderr(output)
        .process_group(0);
    // SAFETY: the closure makes only async-signal-safe calls and allocates nothing; what the exec needs was
    // prepared before the fork.
    unsafe {
        command.pre_exec(move || {
            child::reset_signals();
            child::inherit_only(&[inherit], &strays)?;
            Err(image.exec())
        });
    }
    let started = command.spawn().map_err(Failure::Exec)?;
    let pid = i32::try_from(started.id()).unwrap_or_default();
    // Not reaped yet, it has its pid even when it has ended by now.
    match ProcessId::of(pid) {
        Ok(id) => Ok(Worker { id }),
        Err(error) => {
            let mut started = started;
            let _ = started.kill();
            let _ = started.wait();
            Err(Failure::Unidentified(error))
        }
    }
}

/// The arguments of execve(2), made before the fork.
///
/// The standard library's own exec gives a file that is no program to `/bin/sh`, whatever is in it, and so
/// would report as running what never could.
struct Image {
    program: CString,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    /// What the pointers point to.
    _strings: Vec<CString>,
}

// SAFETY: the pointers are to heap memory owned by `_strings`, which is never changed.
unsafe impl Send for Image {}
// SAFETY: as above; nothing is ever written through them.
unsafe impl Sync for Image {}

impl Image {
    /// `None` when something holds a NUL byte.
    fn new(program: &Path, argv: &[OsString], env: &[(OsString, OsString)]) -> Option<Self> {
        let mut strings = Vec::with_capacity(argv.len() + env.len());
        for argument in argv {
            strings.push(CString::new(argument.as_bytes()).ok()?);
        }
        for (name, value) in env {
            let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
            strings.push(CString::new(variable).ok()?);
        }
        let pointers = |strings: &[CString]| -> Vec<_> {
            let pointers = strings.iter().map(|string| string.as_ptr());
            pointers.chain([std::ptr::null()]).collect()
        };
        Some(Self {
            program: CString::new(program.as_os_str().as_bytes()).ok()?,
            argv: pointers(&strings[..argv.len()]),
            env: pointers(&strings[argv.len()..]),
            _strings: strings,
        })
    }

    /// Becomes the program; returns only when that failed.
    fn exec(&self) -> io::Error {
        // SAFETY: all three are NUL-terminated and live as long as self.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn is(failure: &Failure, errno: Errno) -> bool {
    matches!(failure, Failure::Exec(error) if error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether a shell would try the file as a script: no NUL in what it begins with, as bash decides it.
fn is_text(file: &Path) -> bool {
    let mut head = Vec::new();
    File::open(file).is_ok_and(|file| file.take(80).read_to_end(&mut head).is_ok())
        && !head
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default()
            .contains(&0)
}

fn explain(failure: Failure, program: PathBuf, job: &Job) -> SpawnError {
    let error = match failure {
        Failure::Nul => return SpawnError::Nul,
        Failure::Unidentified(error) => return SpawnError::Unidentified(error),
        Failure::Output(source) => {
            return SpawnError::Output {
                path: job.output.clone(),
                source,
            };
        }
        Failure::Exec(error) => error,
    };
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) if !job.cwd.is_dir() => SpawnError::NoDirectory(job.cwd.clone()),
        Some(Errno::NOENT) if program.exists() => SpawnError::NoInterpreter(program),
        Some(Errno::NOENT) => SpawnError::NotFound(program),
        Some(Errno::ACCESS) => SpawnError::NotExecutable(program),
        Some(Errno::NOEXEC) => SpawnError::Format(program),
        _ => SpawnError::Refused {
            program,
            source: error,
        },
    }
}
