//! A repository for what people type into a shell: commands run as they stand, in an environment that nobody shares.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home and a repository named `shop` with one commit on `main`; its sessions end with it.
pub struct Scratch {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::with(&[])
    }

    /// With more variables in the environment.
    pub fn with(variables: &[(&'static str, &'static str)]) -> Scratch {
        let scratch = Scratch {
            variables: variables.to_vec(),
            dir: tempfile::Builder::new().prefix("git-session-").tempdir().unwrap(),
        };
        fs::create_dir_all(scratch.home()).unwrap();
        fs::create_dir_all(scratch.repo()).unwrap();
        let config = "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n";
        fs::write(scratch.home().join(".gitconfig"), config).unwrap();
        fs::write(scratch.repo().join("shop.txt"), "apples\n").unwrap();
        scratch.ok("git init -q && git add . && git commit -qm 'Open the shop'");
        scratch
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("shop")
    }

    /// A program that finds `git session` and has this home.
    pub fn command(&self, program: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_git-session")).parent().unwrap();
        let mut path = vec![binary.to_owned()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let mut command = Command::new(program);
        command
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.home())
            .env("TMPDIR", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_PAGER", "cat")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null());
        if let Some(form) = std::env::var_os("GIT_SESSION_PLATFORM") {
            command.env("GIT_SESSION_PLATFORM", form);
        }
        command
    }

    /// Runs a script of bash.
    pub fn bash(&self, script: &str) -> Output {
        let mut bash = self.command("bash");
        bash.args(["--norc", "--noprofile", "-c", script])
            .output()
            .unwrap()
    }

    /// Runs a script that has to succeed, and gives what it printed.
    pub fn ok(&self, script: &str) -> String {
        let output = self.bash(script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}\n{stdout}{stderr}");
        stdout
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for state in ["running", "suspended"] {
            self.bash(&format!("git session terminate -q --kill --state {state}"));
        }
    }
}
