//! A repository with what we know of ourselves in it: which clone, whose name, where our files are.

use std::path::{Path, PathBuf};

use gix::actor::Signature;
use gix::bstr::BString;
use jiff::Timestamp;

use super::clone::Clone;
use super::error::{Error, Result};
use super::files::make_private_dir;
use super::local::RunDir;
use super::machine::{random, random_word};
use super::settings;
use crate::git::Repo;
use crate::git::refs::leftover;
use crate::git::worktree;
use crate::session::event::Stamp;
use crate::session::{SessionId, State, Summary};
use crate::store::seal::Seal;
use crate::store::{Session, Store};

/// An opened repository and our place in it.
pub struct Workspace {
    pub repo: Repo,
    clone: Option<Clone>,
    /// Is given what git says of its progress while it talks to a remote.
    pub progress: Option<fn(&[u8])>,
    /// Whether a step may start the session's relay. A supervisor's may not: that would be taken for a stray of its
    /// worker, and it waits for the supervisor's end by itself.
    pub relays: bool,
}

/// Who writes an event, when, and the same as git's signature.
pub struct Signed {
    pub stamp: Stamp,
    pub author: Signature,
    /// The committer's.
    pub signature: Signature,
}

impl Workspace {
    /// Opens the repository that git would use in `dir`, for reading: nothing is written.
    pub fn discover(dir: &Path) -> Result<Workspace> {
        Workspace::of(Repo::discover(dir)?)
    }

    /// Opens the repository whose common git directory is `common_dir`.
    pub fn open(common_dir: &Path) -> Result<Workspace> {
        Workspace::of(Repo::open(common_dir)?)
    }

    fn of(repo: Repo) -> Result<Workspace> {
        let clone = Clone::known(&repo.local_dir())?;
        Ok(Workspace {
            repo,
            clone,
            progress: None,
            relays: false,
        })
    }

    /// Makes our directory and this clone's identity, where they are missing, and finds git before it is needed.
    pub fn prepare(&mut self) -> Result<()> {
        self.prepare_files()?;
        // Where it can't be done, git says what it trips over.
        let _ = worktree::complete_begun(&self.repo);
        self.repo.remember_git()?;
        Ok(())
    }

    /// As [`Workspace::prepare`], for what may well be done without git.
    ///
    /// # Errors
    /// Settings that can't be read, too.
    pub fn prepare_files(&mut self) -> Result<()> {
        settings::check(&self.repo)?;
        leftover::clear(&self.repo);
        self.make_files()
    }

    /// Makes our directory and this clone's identity, whatever the settings say.
    pub fn make_files(&mut self) -> Result<()> {
        let local = self.repo.local_dir();
        for dir in [
            local.clone(),
            local.join("run"),
            local.join("cache"),
            local.join("trash"),
        ] {
            make_private_dir(&dir)?;
        }
        let mut key = [0; 32];
        random(&mut key)?;
        Seal::establish(&local, key)?;
        if self.clone.is_none() {
            self.clone = Some(Clone::establish(&local)?);
        }
        Ok(())
    }

    /// The sessions here.
    pub fn store(&self) -> Store<'_> {
        Store::new(&self.repo)
    }

    /// Whether what is local to this clone may be looked at; to others it is closed.
    pub fn is_readable(&self) -> bool {
        Clone::check_readable(&self.repo.local_dir()).is_ok()
    }

    /// This clone's id; none before anything was ever written here.
    pub fn clone_id(&self) -> Option<&str> {
        self.clone.as_ref().map(|clone| clone.id.as_str())
    }

    /// Whether it is the environment that says which clone this is.
    pub fn is_named(&self) -> bool {
        self.clone.as_ref().is_some_and(Clone::is_named)
    }

    /// Whether this clone may append to a session's log.
    pub fn owns(&self, summary: &Summary) -> bool {
        self.clone_id() == Some(summary.owner.as_str())
    }

    /// Refuses sessions that another clone owns, or that a newer version wrote.
    pub fn check_owned(&self, session: &Session) -> Result<()> {
        self.store().check_writable(session)?;
        let summary = &session.event.summary;
        if self.owns(summary) {
            return Ok(());
        }
        if self.clone.is_none() {
            Clone::check_readable(&self.repo.local_dir())?;
        }
        Err(Error::OwnedElsewhere {
            id: summary.id.clone(),
            host: summary.host.clone(),
            claimable: summary.state != State::Terminated,
        })
    }

    /// Where a session's local files are.
    pub fn run_dir(&self, id: &SessionId) -> RunDir {
        RunDir::new(self.repo.local_dir().join("run").join(id.as_str()))
    }

    /// The directory that sessions' worktrees are made in.
    pub fn worktree_root(&self) -> PathBuf {
        if let Some(root) = self.repo.config_path("session.worktreeRoot") {
            return self.repo.main_dir().join(root);
        }
        let main = self.repo.main_dir();
        let mut name = main.file_name().unwrap_or_default().to_owned();
        name.push(".sessions");
        main.with_file_name(name)
    }

    /// What is moved out of the way before it is deleted.
    pub fn trash(&self) -> PathBuf {
        self.repo.local_dir().join("trash")
    }

    /// The user's identity and the present time, with a nonce for one event.
    pub fn sign(&self) -> Result<Signed> {
        let nobody = || (BString::from("git-session"), BString::from("session@localhost"));
        let people = self.repo.identities().unwrap_or_else(|| [nobody(), nobody()]);
        let time = crate::git::time::now();
        let [author, signature] = people.map(|(name, email)| Signature { name, email, time });
        let at = Timestamp::from_second(time.seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let by = format!("{} <{}>", signature.name, signature.email);
        Ok(Signed {
            author,
            stamp: Stamp {
                at,
                by,
                nonce: random_word(16)?,
            },
            signature,
        })
    }
}
