//! Repositories to measure in, and commands that are timed there.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where all places are.
///
/// For minutes after a file was deleted ext4 passes over it again and again while it makes others near by, which says
/// nothing of either side. So no place goes before the last row was measured, and each lies apart from what was
/// deleted before: directories below a "top directory" are spread over the disk, see chattr(1).
static ALL: OnceLock<TempDir> = OnceLock::new();

fn all() -> &'static TempDir {
    ALL.get_or_init(|| {
        let all = tempfile::Builder::new().prefix("git-session-bench-").tempdir();
        let all = all.expect("a directory");
        // Where that isn't to be had, there is nothing to be spread.
        let _ = Command::new("chattr")
            .arg("+T")
            .arg(all.path())
            .stderr(Stdio::null())
            .status();
        all
    })
}

/// Removes all places.
pub fn remove() {
    if let Some(all) = ALL.get() {
        let _ = fs::remove_dir_all(all.path());
    }
}

/// A repository in a directory of its own.
pub struct Place {
    root: PathBuf,
}

impl Place {
    fn empty() -> Place {
        let dir = tempfile::tempdir_in(all().path()).expect("a directory").keep();
        let root = dir.canonicalize().expect("its path");
        let config = "[user]\nname = B\nemail = b@example.com\n[gc]\nauto = 0\n[maintenance]\nauto = false\n";
        fs::write(root.join("gitconfig"), config).expect("a configuration");
        fs::create_dir(root.join("repo")).expect("a directory");
        let place = Place { root };
        place.git("init -q -b main").time();
        place
    }

    /// A repository of a few files.
    pub fn small() -> Place {
        Place::with_files(10)
    }

    /// A repository of many files.
    pub fn large(files: usize) -> Place {
        Place::with_files(files)
    }

    fn with_files(files: usize) -> Place {
        let place = Place::empty();
        let mut stream =
            String::from("commit refs/heads/main\ncommitter B <b@example.com> 1700000000 +0000\ndata 1\nx\n");
        for number in 0..files {
            let text = format!(
                "file {number}\n{}",
                "a line like many others\n".repeat(number % 50)
            );
            let name = file_name(number);
            stream.push_str(&format!("M 100644 inline {name}\ndata {}\n{text}\n", text.len()));
        }
        place.git("fast-import --quiet").input(stream.as_bytes()).time();
        place.git("reset -q --hard").time();
        place
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.root.join("repo")
    }

    /// A path beside the repository, for a command line.
    pub fn beside(&self, name: &str) -> String {
        shell_words::quote(&self.root.join(name).to_string_lossy()).into_owned()
    }

    /// A session's worktree.
    pub fn worktree(&self, id: &str) -> PathBuf {
        self.root.join("repo.sessions").join(id)
    }

    /// Removes a directory beside the repository, if it is there.
    pub fn remove_all(&self, name: &str) {
        let _ = fs::remove_dir_all(self.root.join(name));
        self.git("worktree prune").time();
    }

    /// A git command in the repository.
    pub fn git(&self, line: &str) -> Timed {
        self.command("git", line)
    }

    /// A command of ours in the repository.
    pub fn session(&self, line: &str) -> Timed {
        self.command(env!("CARGO_BIN_EXE_git-session"), line)
    }

    fn command(&self, program: &str, line: &str) -> Timed {
        let words = shell_words::split(line).expect("words");
        let mut command = Command::new(program);
        command.args(words).current_dir(self.repo()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.root).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", self.root.join("gitconfig"));
        Timed {
            command,
            input: Vec::new(),
        }
    }

    /// Makes sessions as many clones would, and packs their refs.
    pub fn fill(&self, sessions: usize) {
        self.session("new --id seed --title 'Fix the login page' -- make test")
            .time();
        let raw = self.git("cat-file commit refs/sessions/seed").timed_output().0;
        let message = raw
            .split_once("\n\n")
            .map(|(_, message)| message)
            .unwrap_or_default();
        let spec = self
            .git("cat-file blob refs/sessions/seed:session.json")
            .timed_output()
            .0;
        let mut stream = String::new();
        for number in 1..sessions {
            let name = format!("session-{number}");
            let message = format!("{}\n", message.replace("seed", &name));
            let spec = format!("{}\n", spec.replace("seed", &name));
            stream.push_str(&format!(
                "commit refs/sessions/{name}\ncommitter B <b@example.com> 1700000000 +0000\n\
                 data {}\n{message}\nM 100644 inline session.json\ndata {}\n{spec}\n",
                message.len(),
                spec.len()
            ));
        }
        self.git("fast-import --quiet").input(stream.as_bytes()).time();
        self.git("pack-refs --all").time();
    }

    /// Modifies twenty files of a worktree and makes twenty new ones.
    pub fn edit(&self, tree: &Path, text: &str) {
        for number in 0..20 {
            let changed = format!("{text}, file {number}\n");
            fs::write(tree.join(file_name(number * 37)), &changed).expect("a file to change");
            fs::write(tree.join(format!("new-{number}.txt")), &changed).expect("a new file");
        }
    }

    /// What a script would do to save uncommitted work.
    pub fn stock_snapshot(&self, tree: &Path) -> Duration {
        let git_dir = self
            .git("rev-parse --absolute-git-dir")
            .within(tree)
            .timed_output()
            .0;
        let start = Instant::now();
        let index = self.root.join("copied-index");
        fs::copy(Path::new(&git_dir).join("index"), &index).expect("a copied index");
        for line in ["add -A", "write-tree"] {
            self.git(line).within(tree).env("GIT_INDEX_FILE", &index).time();
        }
        start.elapsed()
    }
}

fn file_name(number: usize) -> String {
    format!("dir{}/sub{}/file{number}.txt", number % 40, number / 40 % 25)
}

/// A command to be timed.
pub struct Timed {
    command: Command,
    input: Vec<u8>,
}

impl Timed {
    /// Gives it something to read.
    pub fn input(mut self, bytes: &[u8]) -> Timed {
        self.input = bytes.to_vec();
        self
    }

    /// Runs it in another directory.
    pub fn within(mut self, dir: &Path) -> Timed {
        self.command.current_dir(dir);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &Path) -> Timed {
        self.command.env(name, value);
        self
    }

    /// Starts it, with nobody to read what it prints.
    pub fn start(mut self) -> Child {
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().expect("a process")
    }

    /// Runs it to its end and gives the time from before the fork.
    pub fn time(self) -> Duration {
        self.timed_output().1
    }

    /// Runs it to its end and gives what it printed, too.
    pub fn timed_output(mut self) -> (String, Duration) {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = self.command.spawn().expect("a process");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(&self.input).expect("that it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("its end");
        let time = start.elapsed();
        assert!(
            output.status.success(),
            "{:?}: {}",
            self.command,
            String::from_utf8_lossy(&output.stderr)
        );
        (
            String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
            time,
        )
    }
}
