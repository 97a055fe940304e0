//! Several clones of one repository, each with a home, a user and paths of its own, and the remote that they share.

use std::ops::Index;
use std::path::PathBuf;

use super::{Format, Sandbox, Server, Transport};

/// Clones and their remote.
pub struct Team {
    clones: Vec<Sandbox>,
    /// What leads from the clones to the remote.
    pub server: Server,
    dir: tempfile::TempDir,
}

impl Team {
    /// Makes a bare repository of one format, and clones of it of these formats: each is `origin` to all of them.
    pub fn of(home: Format, clones: &[Format]) -> Team {
        Team::over(Transport::Path, home, clones)
    }

    /// The same, where the clones reach the repository by a transport that is there.
    pub fn over(transport: Transport, home: Format, clones: &[Format]) -> Team {
        let mut team = Team::alone(transport, home);
        for format in clones {
            team.join(*format, "");
        }
        team
    }

    /// Makes a bare repository without clones.
    pub fn alone(transport: Transport, home: Format) -> Team {
        let dir = tempfile::Builder::new()
            .prefix("git-session-home-")
            .tempdir()
            .unwrap();
        let path = home_in(&dir);
        let first = Sandbox::new(home);
        first.git_in(
            first.root(),
            &format!("init -q --bare -b main '{}'", path.display()),
        );
        first.git(&format!("push -q '{}' main", path.display()));
        Team {
            clones: Vec::new(),
            server: Server::start(transport, &path),
            dir,
        }
    }

    /// Makes another clone, with options of `git clone`.
    pub fn join(&mut self, format: Format, options: &str) -> &Sandbox {
        let number = self.clones.len();
        let sandbox = Sandbox::empty(format);
        self.server.admit(&sandbox);
        sandbox.git(&format!("clone -q {options} '{}' .", self.server.url()));
        sandbox.config("user.name", &format!("Person {number}"));
        sandbox.config("user.email", &format!("person{number}@example.com"));
        self.clones.push(sandbox);
        &self.clones[number]
    }

    /// As many clones of one format as there are to be, of a home of the same.
    pub fn new(format: Format, clones: usize) -> Team {
        Team::of(format, &vec![format; clones])
    }

    /// Where the remote is.
    pub fn home(&self) -> PathBuf {
        home_in(&self.dir)
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

fn home_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().canonicalize().unwrap().join("home of all.git")
}

impl Index<usize> for Team {
    type Output = Sandbox;

    fn index(&self, number: usize) -> &Sandbox {
        &self.clones[number]
    }
}
