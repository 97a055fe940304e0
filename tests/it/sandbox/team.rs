//! Several clones of one repository, each with a home, a user and paths of its own, and the remote that they share.

use std::ops::Index;
use std::path::{Path, PathBuf};

use super::{Format, Sandbox};

/// Clones and their remote.
pub struct Team {
    clones: Vec<Sandbox>,
    dir: tempfile::TempDir,
}

impl Team {
    /// Makes a bare repository of one format, and clones of it of these formats: each is `origin` to all of them.
    pub fn of(home: Format, clones: &[Format]) -> Team {
        let dir = tempfile::Builder::new()
            .prefix("git-session-home-")
            .tempdir()
            .unwrap();
        let path = dir.path().canonicalize().unwrap().join("home of all.git");
        let first = Sandbox::new(home);
        first.git_in(
            first.root(),
            &format!("init -q --bare -b main '{}'", path.display()),
        );
        first.git(&format!("push -q '{}' main", path.display()));
        let clones = clones
            .iter()
            .enumerate()
            .map(|(number, format)| Team::clone(&path, *format, number))
            .collect();
        Team { clones, dir }
    }

    /// As many clones of one format as there are to be, of a home of the same.
    pub fn new(format: Format, clones: usize) -> Team {
        Team::of(format, &vec![format; clones])
    }

    fn clone(home: &Path, format: Format, number: usize) -> Sandbox {
        let sandbox = Sandbox::empty(format);
        sandbox.git(&format!("clone -q '{}' .", home.display()));
        sandbox.config("user.name", &format!("Person {number}"));
        sandbox.config("user.email", &format!("person{number}@example.com"));
        sandbox
    }

    /// Where the remote is.
    pub fn home(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("home of all.git")
    }

    /// Runs git in the remote.
    pub fn at_home(&self, line: &str) -> String {
        self[0].git_in(&self.home(), line)
    }

    /// Where a session's log is at the remote; empty if it isn't there.
    pub fn tip_at_home(&self, id: &str) -> String {
        self.at_home(&format!(
            "for-each-ref '--format=%(objectname)' refs/sessions/{id}"
        ))
    }

    /// The clones.
    pub fn all(&self) -> &[Sandbox] {
        &self.clones
    }
}

impl Index<usize> for Team {
    type Output = Sandbox;

    fn index(&self, number: usize) -> &Sandbox {
        &self.clones[number]
    }
}
