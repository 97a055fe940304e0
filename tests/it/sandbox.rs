//! A repository of its own for each test, the real binary, and workers that do as they are told.
//!
//! A test waits for facts: a FIFO, a lock, the end of a process. What it started is gone when it ends.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

pub mod format;
pub mod held;
pub mod processes;
pub mod run;
pub mod servers;
pub mod small_disk;
pub mod team;
pub mod traces;
pub mod typed;

pub use format::{Format, Hash, Refs};
pub use held::Held;
pub use run::Run;
pub use servers::{Server, Transport};
pub use team::Team;

/// How long anything may take before the test gives it up: far more than a loaded machine needs.
pub const LONG: Duration = Duration::from_secs(120);

/// The variable that marks every process of a sandbox.
const MARK: &str = "TEST_SANDBOX";

/// The variable that chooses how processes are looked at.
const PLATFORM: &str = "GIT_SESSION_PLATFORM";

/// A repository, a home and a git configuration that nobody else has.
pub struct Sandbox {
    dir: Option<tempfile::TempDir>,
    root: PathBuf,
    pub format: Format,
    workers: AtomicUsize,
    broken: AtomicBool,
    fifos: Mutex<HashMap<String, Arc<fs::File>>>,
}

impl Sandbox {
    /// Makes a repository with one commit on `main`.
    pub fn new(format: Format) -> Sandbox {
        let sandbox = Sandbox::empty(format);
        sandbox.git("init -q -b main .");
        fs::write(sandbox.file("README"), "read me\n").unwrap();
        fs::write(sandbox.file("code.txt"), "one\ntwo\nthree\n").unwrap();
        fs::write(sandbox.file(".gitignore"), "*.ignored\n").unwrap();
        sandbox.git("add .");
        sandbox.git("commit -q -m 'the first commit'");
        sandbox
    }

    /// Makes the place for a repository, but none.
    pub fn empty(format: Format) -> Sandbox {
        let dir = tempfile::Builder::new().prefix("git-session-").tempdir().unwrap();
        // Spaces and quotes in every path, so that none can be forgotten.
        let root = dir.path().canonicalize().unwrap().join("it's a place");
        for name in ["home/.config", "fifos", "tmp", "repo"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let identity = "[user]\n\tname = A Developer\n\temail = dev@example.com\n";
        let quiet = "[advice]\n\tdetachedHead = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";
        fs::write(root.join("gitconfig"), format!("{identity}{quiet}")).unwrap();
        Sandbox {
            dir: Some(dir),
            root,
            format,
            workers: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            fifos: Mutex::default(),
        }
    }

    /// Leaves out the check of the repository at the end, for a test that breaks it itself.
    pub fn will_be_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Where everything of this test is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The main worktree.
    pub fn repo(&self) -> PathBuf {
        self.root.join("repo")
    }

    /// A path in the main worktree.
    pub fn file(&self, name: &str) -> PathBuf {
        self.repo().join(name)
    }

    /// The directory of what is local to this clone.
    pub fn local(&self) -> PathBuf {
        self.repo().join(".git/session")
    }

    /// The run directory of a session.
    pub fn run_dir(&self, id: &str) -> PathBuf {
        self.local().join("run").join(id)
    }

    /// The worktree of a session, in its usual place.
    pub fn worktree(&self, id: &str) -> PathBuf {
        self.root.join("repo.sessions").join(id)
    }

    /// The user's git configuration.
    pub fn config(&self, key: &str, value: &str) {
        self.command("git")
            .args(["config", "--global", key, value])
            .run()
            .ok();
    }

    /// A command with this sandbox's environment, in the main worktree.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Cmd {
        let mut command = Command::new(program);
        command.current_dir(self.repo()).env_clear();
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        Cmd {
            command,
            input: Stdio::null(),
        }
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = vec![
            ("PATH", std::env::var_os("PATH").unwrap()),
            ("HOME", self.root.join("home").into()),
            ("XDG_CONFIG_HOME", self.root.join("home/.config").into()),
            ("TMPDIR", self.root.join("tmp").into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", self.root.join("gitconfig").into()),
            ("GIT_CEILING_DIRECTORIES", self.root.clone().into()),
            ("FIFOS", self.root.join("fifos").into()),
            (MARK, self.root.clone().into()),
            // Neither may show in what is written or read back.
            ("TZ", "Asia/Kathmandu".into()),
            ("LC_ALL", "tr_TR.UTF-8".into()),
        ];
        environment.extend(self.format.environment());
        // The switch by which the whole suite runs on the portable form of the process code.
        environment.extend(std::env::var_os(PLATFORM).map(|form| (PLATFORM, form)));
        environment
    }

    /// Runs git with arguments as a shell would split them, and returns what it printed.
    pub fn git(&self, line: &str) -> String {
        self.git_in(&self.repo(), line)
    }

    /// Runs git somewhere else.
    pub fn git_in(&self, dir: &Path, line: &str) -> String {
        let run = self
            .command("git")
            .args(shell_words::split(line).unwrap())
            .within(dir)
            .run();
        run.ok().text()
    }

    /// Whether git succeeds.
    pub fn git_agrees(&self, line: &str) -> bool {
        let words = shell_words::split(line).unwrap();
        self.command("git").args(words).run().code == 0
    }

    /// Runs the binary with arguments as a shell would split them.
    pub fn session(&self, line: &str) -> Run {
        self.session_command(line).run()
    }

    /// The binary, to be run.
    pub fn session_command(&self, line: &str) -> Cmd {
        self.command(env!("CARGO_BIN_EXE_git-session"))
            .args(shell_words::split(line).unwrap())
    }

    /// Runs a script as a session in the foreground.
    pub fn run_script(&self, options: &str, script: &str) -> Run {
        self.session_command(&format!("run {options} -- sh -c"))
            .args([script])
            .run()
    }

    /// Records a session and returns its id.
    pub fn new_session(&self, options: &str) -> String {
        self.session(&format!("new {options}")).ok().text()
    }

    /// Ends a session for good.
    pub fn end(&self, id: &str) {
        self.session(&format!("terminate -q {id}")).ok();
    }

    /// Writes and commits a file in a worktree.
    pub fn commit_file(&self, dir: &Path, name: &str, text: &str) -> String {
        fs::write(dir.join(name), text).unwrap();
        self.git_in(dir, &format!("add -- '{name}'"));
        self.git_in(dir, &format!("commit -q -m 'change {name}'"));
        self.git_in(dir, "rev-parse HEAD")
    }

    /// The commit that a session's ref is at, as stock git says.
    pub fn tip(&self, id: &str) -> String {
        self.git(&format!("rev-parse --verify refs/sessions/{id}"))
    }

    /// A trailer of a session's newest event, as stock git reads it; empty if it has none.
    pub fn trailer(&self, id: &str, key: &str) -> String {
        let format = format!("%(contents:trailers:key=Session-{key},valueonly,separator=%x0a)");
        self.git(&format!("for-each-ref '--format={format}' refs/sessions/{id}"))
    }

    /// The state of a session, as stock git reads it.
    pub fn state(&self, id: &str) -> String {
        self.trailer(id, "State")
    }

    /// One trailer of every event of a session, oldest first.
    pub fn story(&self, id: &str, key: &str) -> Vec<String> {
        let format = format!("%(trailers:key=Session-{key},valueonly,separator=%x2c)");
        let log = self.git(&format!(
            "log --first-parent --reverse '--format={format}' refs/sessions/{id}"
        ));
        log.split('\n').map(str::to_owned).collect()
    }

    /// Every event of a session in order.
    pub fn events(&self, id: &str) -> Vec<String> {
        self.story(id, "Event")
    }

    /// A session as `show --json` has it.
    pub fn show(&self, id: &str) -> serde_json::Value {
        let mut json = self.session(&format!("show --json {id}")).ok().json();
        assert_eq!(json["schema"], 1);
        json["session"].take()
    }

    /// Asserts that stock git finds nothing wrong.
    pub fn assert_sound(&self) {
        let run = self
            .command("git")
            .args(["fsck", "--strict", "--no-dangling", "--no-progress"])
            .run();
        run.ok();
        assert_eq!(run.text(), "", "{run}");
        let complaints = run.stderr.lines().filter(|line| !line.starts_with("notice:"));
        assert_eq!(complaints.count(), 0, "{run}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let survivors = processes::with_variable("GIT_SESSION_STATE_DIR", &self.root);
        processes::kill_all(MARK, &self.root);
        if !thread::panicking() {
            assert!(survivors.is_empty(), "workers are left: {survivors:?}");
            if !self.broken.load(Ordering::Relaxed) && self.repo().join(".git").exists() {
                self.assert_sound();
            }
        }
        // A test may have left directories that nobody can write to.
        traces::make_writable(&self.root);
        if thread::panicking() && std::env::var_os("KEEP_SANDBOX").is_some() {
            let kept = self.dir.take().map(tempfile::TempDir::keep);
            eprintln!("kept: {kept:?}");
        }
    }
}

/// A command of a sandbox.
pub struct Cmd {
    command: Command,
    input: Stdio,
}

impl Cmd {
    /// Adds arguments.
    pub fn args<I>(mut self, args: I) -> Cmd
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.command.env(name, value);
        self
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Cmd {
        self.command.env_remove(name);
        self
    }

    /// Runs it in another directory.
    pub fn within(mut self, dir: &Path) -> Cmd {
        self.command.current_dir(dir);
        self
    }

    /// Gives it something to read.
    pub fn input(mut self, input: impl Into<Stdio>) -> Cmd {
        self.input = input.into();
        self
    }

    /// Gives access to everything else that can be set.
    pub fn inner(mut self, change: impl FnOnce(&mut Command)) -> Cmd {
        change(&mut self.command);
        self
    }

    /// Runs it to its end, and until nobody holds its output any more.
    pub fn run(self) -> Run {
        self.spawn().end()
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let line = line_of(&self.command);
        self.command
            .stdin(self.input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        Running { child, line }
    }
}

fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = command
        .get_args()
        .map(|arg| String::from_utf8_lossy(arg.as_bytes()).into_owned());
    shell_words::join([program.to_string_lossy().into_owned()].into_iter().chain(words))
}

/// A command that was started.
pub struct Running {
    pub child: Child,
    line: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for its end.
    pub fn end(self) -> Run {
        let Running { child, line } = self;
        let pid = child.id() as i32;
        let (done, end) = mpsc::channel();
        thread::spawn(move || done.send(child.wait_with_output()));
        match end.recv_timeout(LONG) {
            Ok(output) => Run::new(line, output.unwrap()),
            Err(_) => {
                processes::signal(pid, rustix::process::Signal::KILL);
                panic!("it takes too long, or something holds its output: {line}");
            }
        }
    }
}

/// Gives the result of something that may block, or fails when it takes too long.
pub fn in_time<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(act()));
    wait.recv_timeout(LONG)
        .unwrap_or_else(|_| panic!("it takes too long: {what}"))
}

/// Waits for a fact that can only be looked at, again and again.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "it takes too long: {what}");
        thread::yield_now();
    }
}

/// Waits until nobody holds a lock on a file.
pub fn wait_unlocked(path: &Path) {
    let Ok(file) = fs::File::open(path) else { return };
    in_time(&format!("{} gets free", path.display()), move || {
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
    });
}

impl Sandbox {
    fn next_worker(&self) -> usize {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a FIFO, which scripts find under `$FIFOS`.
    ///
    /// The test holds both its ends all the time. Otherwise a child that another test forks could hold one of them
    /// until its exec, and so let a script write to nobody, or read an end that is none.
    pub fn fifo(&self, name: &str) {
        let path = self.root.join("fifos").join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let both = fs::File::options().read(true).write(true).open(path).unwrap();
        self.fifos.lock().unwrap().insert(name.to_owned(), Arc::new(both));
    }

    fn ends(&self, name: &str) -> Arc<fs::File> {
        Arc::clone(&self.fifos.lock().unwrap()[name])
    }

    /// Waits for a line that a script writes to a FIFO.
    pub fn hear(&self, name: &str) -> String {
        let fifo = self.ends(name);
        in_time(&format!("hearing from {name}"), move || {
            // Byte by byte, since what comes after the line is for who listens next.
            let (mut line, mut byte) = (Vec::new(), [0]);
            loop {
                (&*fifo).read_exact(&mut byte).unwrap();
                match byte[0] {
                    b'\n' => return String::from_utf8(line).unwrap(),
                    other => line.push(other),
                }
            }
        })
    }

    /// Writes a line for whoever reads from a FIFO, now or later.
    pub fn tell(&self, name: &str, line: &str) {
        let line = format!("{line}\n");
        (&*self.ends(name)).write_all(line.as_bytes()).unwrap();
    }
}

/// How a session's work is looked at with stock git alone.
impl Sandbox {
    /// The snapshot in a session's newest work commit.
    ///
    /// It is the second parent, but the first in the first work commit of all, whose second is the base.
    pub fn snapshot(&self, id: &str) -> String {
        let mut works = self.story(id, "Work");
        works.retain(|work| !work.is_empty());
        works.dedup();
        let parent = if works.len() == 1 { 1 } else { 2 };
        self.git(&format!("rev-parse {}^{parent}", works.last().unwrap()))
    }

    /// The content of a file in a session's newest snapshot.
    pub fn saved(&self, id: &str, name: &str) -> String {
        self.git(&format!("show '{}:{name}'", self.snapshot(id)))
    }
}
