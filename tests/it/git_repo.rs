//! Real repositories in every format, made and looked at with stock git.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use git_session::git::{
    Durability, Repo,
    refs::{Expected, Outcome, Target},
};
use gix::{ObjectId, actor::Signature};

/// How a repository keeps its references and names its objects.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    pub refs: &'static str,
    pub hash: &'static str,
}

impl Format {
    /// What `git init` has when nothing is asked of it.
    pub const PLAIN: Format = Format {
        refs: "files",
        hash: "sha1",
    };

    /// The options that make `git init` use it; an older git doesn't know the one for files.
    pub fn options(self) -> Vec<String> {
        let refs = (self.refs != "files").then(|| format!("--ref-format={}", self.refs));
        [format!("--object-format={}", self.hash)]
            .into_iter()
            .chain(refs)
            .collect()
    }
}

/// Every format that the installed git has.
pub fn every_format() -> Vec<Format> {
    let refs = match crate::sandbox::format::has_reftable() {
        true => &["files", "reftable"][..],
        false => &["files"],
    };
    let formats = refs
        .iter()
        .flat_map(|refs| ["sha1", "sha256"].map(|hash| Format { refs, hash }));
    formats.collect()
}

/// Runs a test on a repository of each format.
pub fn formats(test: impl Fn(&Sandbox)) {
    for format in every_format() {
        eprintln!("on {format:?}");
        test(&Sandbox::new(format));
    }
}

/// Runs a test on repositories that keep their references in files.
pub fn files(test: impl Fn(&Sandbox)) {
    for format in every_format().into_iter().filter(|format| format.refs == "files") {
        eprintln!("on {format:?}");
        test(&Sandbox::new(format));
    }
}

/// The variables under which git knows nothing of who runs the tests, and where.
fn environment() -> Vec<(&'static str, String)> {
    let identity = |role: &str, what: &str| format!("{role} {what}");
    vec![
        ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_CONFIG_COUNT", "4".to_owned()),
        ("GIT_CONFIG_KEY_0", "protocol.file.allow".to_owned()),
        ("GIT_CONFIG_VALUE_0", "always".to_owned()),
        ("GIT_CONFIG_KEY_1", "init.defaultBranch".to_owned()),
        ("GIT_CONFIG_VALUE_1", "main".to_owned()),
        ("GIT_CONFIG_KEY_2", "advice.detachedHead".to_owned()),
        ("GIT_CONFIG_VALUE_2", "false".to_owned()),
        ("GIT_CONFIG_KEY_3", "advice.sparseIndexExpanded".to_owned()),
        ("GIT_CONFIG_VALUE_3", "false".to_owned()),
        ("GIT_AUTHOR_NAME", identity("An", "Author")),
        ("GIT_AUTHOR_EMAIL", "author@example.com".to_owned()),
        ("GIT_COMMITTER_NAME", identity("A", "Committer")),
        ("GIT_COMMITTER_EMAIL", "committer@example.com".to_owned()),
        ("GIT_EDITOR", "true".to_owned()),
        ("GIT_SEQUENCE_EDITOR", "true".to_owned()),
        ("LC_ALL", "C".to_owned()),
        ("TZ", "UTC".to_owned()),
    ]
}

/// Makes this process, whose children the library starts, as independent of its user as those of the tests.
fn be_hermetic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (name, value) in environment() {
            // SAFETY: all that reads the environment here goes through std, which has a lock for it.
            unsafe { std::env::set_var(name, value) };
        }
        for name in git_session::git::command::LOCAL_VARIABLES {
            // SAFETY: as above.
            unsafe { std::env::remove_var(name) };
        }
    });
}

/// A repository with one commit, in a directory of its own.
pub struct Sandbox {
    pub dir: tempfile::TempDir,
    pub format: Format,
}

impl Sandbox {
    pub fn new(format: Format) -> Self {
        let sandbox = Self::unborn(format);
        sandbox.write("file", "one\n");
        sandbox.git(["add", "."]);
        sandbox.git(["commit", "-q", "-m", "first"]);
        sandbox
    }

    /// A repository without a commit.
    pub fn unborn(format: Format) -> Self {
        be_hermetic();
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Self { dir, format };
        fs::create_dir(sandbox.root()).unwrap();
        let init = ["init", "-q"].map(str::to_owned);
        sandbox.git(init.into_iter().chain(format.options()));
        sandbox.git(["config", "gc.auto", "0"]);
        sandbox
    }

    /// The main worktree.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub fn git_dir(&self) -> PathBuf {
        self.root().join(".git")
    }

    /// A path beside the repository.
    pub fn beside(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(name.as_ref())
    }

    /// A directory for what is thrown away.
    pub fn trash(&self) -> PathBuf {
        let trash = self.beside("trash");
        fs::create_dir_all(&trash).unwrap();
        trash
    }

    pub fn repo(&self) -> Repo {
        Repo::open(&self.root()).unwrap()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.root().join(name), content);
    }

    pub fn git<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> String {
        git(&self.root(), args)
    }

    /// A new commit of HEAD's tree that no reference has.
    pub fn loose_commit(&self, message: &str) -> ObjectId {
        oid(&self.git(["commit-tree", "-m", message, "-p", "HEAD", "HEAD^{tree}"]))
    }

    pub fn head(&self) -> ObjectId {
        oid(&self.git(["rev-parse", "HEAD"]))
    }

    pub fn assert_sound(&self) {
        assert_sound(&self.root());
    }
}

/// Asserts that every object is there and as it should be.
pub fn assert_sound(dir: &Path) {
    let output = run(git_command(dir).args(["fsck", "--strict", "--no-dangling", "--no-progress"]));
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("notice:")).collect();
    assert!(output.status.success() && said.is_empty(), "{said:?}");
}

pub fn signature() -> Signature {
    Signature {
        name: "A Tester".into(),
        email: "tester@example.com".into(),
        time: gix::date::Time::new(1_700_000_000, 0),
    }
}

/// Moves a reference from wherever it is.
pub fn point(repo: &Repo, name: &str, to: ObjectId) {
    let expected = match repo.refs().get(name).unwrap() {
        Some(Target::Object(at)) => Expected::At(at),
        None => Expected::Absent,
        other => panic!("{name} is {other:?}"),
    };
    let outcome = repo.refs().update(name, Some(to), expected, Durability::Relaxed);
    assert_eq!(outcome.unwrap(), Outcome::Done);
}

pub fn git_command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    hermetic(&mut command);
    command.current_dir(dir).stdin(Stdio::null());
    command
}

pub fn hermetic(command: &mut Command) {
    command.envs(environment());
    for name in git_session::git::command::LOCAL_VARIABLES {
        command.env_remove(name);
    }
}

/// Runs git, which must succeed, and gives what it says without the line's end.
pub fn git<I: IntoIterator<Item: AsRef<OsStr>>>(dir: &Path, args: I) -> String {
    let output = run(git_command(dir).args(args));
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).trim_end_matches('\n').to_owned()
}

/// Runs git, which must succeed, and gives its bytes.
pub fn git_bytes<I: IntoIterator<Item: AsRef<OsStr>>>(dir: &Path, args: I) -> Vec<u8> {
    let output = run(git_command(dir).args(args));
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Runs a script of the shell in a directory; it ends at the first command that fails.
pub fn sh(dir: &Path, script: &str) {
    let mut command = Command::new("sh");
    hermetic(&mut command);
    command.args(["-e", "-c", script]).current_dir(dir);
    let output = run(command.stdin(Stdio::null()));
    assert!(
        output.status.success(),
        "{script}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn oid(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).unwrap()
}

/// Writes a file, and the directories that it is in.
pub fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The numbers of a sequence that has no order that anyone could see, the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A test of this binary in a process of its own, to be killed or measured.
pub fn again(module: &str, name: &str, dir: &Path) -> Command {
    let module = module.split_once("::").map_or("", |(_, module)| module);
    let mut command = Command::new(std::env::current_exe().unwrap());
    hermetic(&mut command);
    command.args(["--exact", &format!("{module}::{name}")]);
    command.args(["--ignored", "--nocapture", "--test-threads=1"]);
    command.env("REPOSITORY", dir).stdin(Stdio::null());
    command
}

/// The repository that a test in a process of its own was started for.
pub fn given() -> Option<PathBuf> {
    std::env::var_os("REPOSITORY").map(PathBuf::from)
}

/// Kills a process at a moment, and waits for its end.
pub fn kill_after(child: &mut Child, delay: Duration) {
    let start = Instant::now();
    while start.elapsed() < delay && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert!(status.signal() == Some(9) || status.success(), "{status}");
}

/// Starts a process and waits until it has said something.
pub fn until_heard(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    let mut byte = [0];
    while !said.ends_with(b"ready") {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{}", text(&said));
        said.push(byte[0]);
    }
    // What it says later must not stop it.
    thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    child
}

/// Does one thing again and again in a thread of its own until another is done, however that ends.
pub fn beside<T>(mut again: impl FnMut() + Send, act: impl FnOnce() -> T) -> T {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                again();
            }
        });
        let _done = Done(&done);
        act()
    })
}
