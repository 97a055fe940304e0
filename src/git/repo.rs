//! An opened repository.

use std::cell::OnceCell;
use std::path::{Component, Path, PathBuf};

use gix::ObjectId;
use gix::bstr::BStr;
use gix::config::Source;
use gix::config::file::Metadata;
use gix::odb::store::init::Slots;

use super::command::{Cmd, Git, MINIMUM, MINIMUM_FOR_REFTABLE};
use super::refs::Refs;
use super::{Error, Result, given};

/// How a repository keeps its references (`extensions.refStorage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefFormat {
    /// Loose files and `packed-refs`.
    Files,
    /// The binary format, which gix neither reads nor writes.
    Reftable,
}

/// How many packs a process can know. gix makes room for those that are there when a repository is opened and for a tenth
/// more; but a supervisor lives for days, and sees packs come and take the place of others.
const ROOM_FOR_PACKS: Slots = Slots::AsNeededByDiskState {
    multiplier: 4.0,
    minimum: 256,
};

/// Without the programs that git runs for those who use it by hand: hooks, and what watches the files.
fn quiet(git: Cmd) -> Cmd {
    git.args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
}

/// How a repository is opened: not where its owner isn't trusted, and with what `git -c` was given.
fn as_git_does() -> gix::open::Options {
    gix::open::Options::default()
        .bail_if_untrusted(true)
        .object_store_slots(ROOM_FOR_PACKS)
        .config_overrides(given::settings())
}

/// An opened repository.
pub struct Repo {
    gix: gix::Repository,
    common_dir: PathBuf,
    ref_format: RefFormat,
    git: OnceCell<Git>,
}

impl Repo {
    /// Opens the repository that git would use in `dir`, honouring `GIT_DIR` and its kin.
    ///
    /// # Errors
    /// [`Error::NotARepository`], [`Error::DubiousOwnership`], or what gix says of a broken one.
    pub fn discover(dir: &Path) -> Result<Repo> {
        let trust = gix::sec::trust::Mapping {
            full: as_git_does(),
            reduced: as_git_does(),
        };
        let upwards = gix::discover::upwards::Options {
            match_ceiling_dir_or_error: false,
            ..Default::default()
        };
        let gix = gix::ThreadSafeRepository::discover_with_environment_overrides_opts(dir, upwards, trust)
            .map_err(|source| discovery_error(dir, source))?;
        let repo = Self::from_gix(gix.to_thread_local())?;
        repo.check_named()?;
        Ok(repo)
    }

    /// Refuses a bare repository that was merely come across, where `safe.bareRepository` says so: it may be one that
    /// somebody put into a tree, with a configuration of his.
    fn check_named(&self) -> Result<()> {
        let is_git_dir = |part: Component<'_>| part.as_os_str() == ".git";
        if self.workdir().is_some()
            || std::env::var_os("GIT_DIR").is_some()
            || self.common_dir.components().any(is_git_dir)
        {
            return Ok(());
        }
        // As git does: what the repository itself says of this doesn't count.
        let is_users = |meta: &Metadata| !matches!(meta.source, Source::Local | Source::Worktree);
        let config = self.gix.config_snapshot();
        match config.plumbing().string_filter("safe.bareRepository", is_users) {
            Some(allowed) if allowed == "explicit" => Err(Error::BareRepository(self.common_dir.clone())),
            _ => Ok(()),
        }
    }

    /// Opens the repository whose git directory, or worktree, is `path`.
    ///
    /// # Errors
    /// As [`Repo::discover`].
    pub fn open(path: &Path) -> Result<Repo> {
        let gix = gix::open_opts(path, as_git_does()).map_err(|source| discovery_error(path, source))?;
        Self::from_gix(gix)
    }

    fn from_gix(mut gix: gix::Repository) -> Result<Repo> {
        // The environment may point at another index; ours is always the worktree's own.
        gix.object_cache_size_if_unset(0);
        // As with git, a namespace is for who serves a repository, and hooks that are run there inherit it.
        gix.clear_namespace();
        let common_dir = gix
            .common_dir()
            .canonicalize()
            .map_err(Error::io(format!("'{}'", gix.common_dir().display())))?;
        check_extensions(&gix, &common_dir)?;
        let reftable = gix
            .config_snapshot()
            .string("extensions.refStorage")
            .is_some_and(|format| format == BStr::new("reftable"));
        let ref_format = if reftable {
            RefFormat::Reftable
        } else {
            RefFormat::Files
        };
        Ok(Repo {
            gix,
            common_dir,
            ref_format,
            git: OnceCell::new(),
        })
    }

    /// The repository as gix knows it.
    pub fn gix(&self) -> &gix::Repository {
        &self.gix
    }

    /// The git directory that all worktrees share, absolute and without symbolic links.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The worktree we are in; none in a bare repository or inside a git directory.
    pub fn workdir(&self) -> Option<&Path> {
        self.gix.workdir()
    }

    /// The directory that people call the repository: the main worktree, or the bare directory itself.
    pub fn main_dir(&self) -> PathBuf {
        match (self.common_dir.file_name(), self.common_dir.parent()) {
            (Some(name), Some(parent)) if name == ".git" => parent.to_owned(),
            _ => self.common_dir.clone(),
        }
    }

    /// The hash that names this repository's objects.
    pub fn object_hash(&self) -> gix::hash::Kind {
        self.gix.object_hash()
    }

    /// This repository's references.
    pub fn refs(&self) -> Refs<'_> {
        Refs::of(self)
    }

    /// The format that the references are kept in.
    pub fn ref_format(&self) -> RefFormat {
        self.ref_format
    }

    /// A directory of ours in the common git directory, for what is local to this clone.
    pub fn local_dir(&self) -> PathBuf {
        self.common_dir.join("session")
    }

    /// A git command that runs in this repository's common git directory, without hooks.
    ///
    /// # Errors
    /// [`Error::NoGit`].
    pub fn git(&self) -> Result<Cmd> {
        self.git_with(&[])
    }

    /// As [`Repo::git`], with the repository's hooks.
    ///
    /// # Errors
    /// [`Error::NoGit`].
    pub fn git_with_hooks(&self) -> Result<Cmd> {
        let git = self.executable()?.at(&self.common_dir);
        Ok(git.arg("--git-dir").arg(&self.common_dir))
    }

    /// As [`Repo::git`], with configuration of its own.
    ///
    /// # Errors
    /// [`Error::NoGit`].
    pub fn git_with(&self, config: &[(&str, &str)]) -> Result<Cmd> {
        let mut git = quiet(self.executable()?.at(&self.common_dir));
        for (key, value) in config {
            git = git.arg("-c").arg(format!("{key}={value}"));
        }
        Ok(git.arg("--git-dir").arg(&self.common_dir))
    }

    /// As [`Repo::git_with`], from the main worktree, where a remote's relative path starts.
    ///
    /// # Errors
    /// [`Error::NoGit`].
    pub fn git_from_main(&self, config: &[(&str, &str)]) -> Result<Cmd> {
        let mut git = self.executable()?.at(&self.main_dir());
        for (key, value) in config {
            git = git.arg("-c").arg(format!("{key}={value}"));
        }
        Ok(git.arg("--git-dir").arg(&self.common_dir))
    }

    /// A git command that runs in a worktree, as a user's would but for hooks.
    ///
    /// # Errors
    /// [`Error::NoGit`].
    pub fn git_in(&self, worktree: &Path) -> Result<Cmd> {
        Ok(quiet(self.executable()?.at(worktree)))
    }

    /// Finds git before anything is written, and remembers that it is good.
    ///
    /// # Errors
    /// [`Error::NoGit`].
    pub fn remember_git(&self) -> Result<()> {
        self.executable()?
            .remember(&self.local_dir().join("cache").join("git"));
        Ok(())
    }

    fn executable(&self) -> Result<&Git> {
        if let Some(git) = self.git.get() {
            return Ok(git);
        }
        let minimum = match self.ref_format {
            RefFormat::Files => MINIMUM,
            RefFormat::Reftable => MINIMUM_FOR_REFTABLE,
        };
        let git = Git::find(&self.local_dir().join("cache").join("git"), minimum)?;
        Ok(self.git.get_or_init(|| git))
    }

    /// The short name of the branch that HEAD is on; none where it is detached.
    pub fn head_branch(&self) -> Option<String> {
        // HEAD is read as it stands: on reftable it is a file with a fixed text, and git is asked.
        if self.ref_format() == RefFormat::Reftable {
            let dir = self.workdir().unwrap_or(&self.common_dir).to_owned();
            let command = self
                .git_in(&dir)
                .ok()?
                .args(["symbolic-ref", "--quiet", "--short", "HEAD"]);
            let output = command.output().ok()?.stdout;
            let name = String::from_utf8_lossy(&output).trim().to_owned();
            return (!name.is_empty()).then_some(name);
        }
        let name = self.gix.head_name().ok()??;
        Some(name.shorten().to_string())
    }

    /// Resolves a revision to a commit.
    ///
    /// # Errors
    /// [`Error::NoSuchCommit`].
    pub fn resolve_commit(&self, revision: &str) -> Result<ObjectId> {
        let unknown = || Error::NoSuchCommit(revision.to_owned());
        // For the rest gix doesn't always find what git does: it takes other times for the same words, and knows no
        // abbreviated SHA-256.
        let is_name = revision == "HEAD" || (revision.starts_with("refs/") && !revision.contains("@{"));
        let id = if self.ref_format() == RefFormat::Reftable || !is_name {
            let dir = self.workdir().unwrap_or(&self.common_dir).to_owned();
            let output = self
                .git_in(&dir)?
                .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
                .arg(revision)
                .output()?;
            parse_oid(output.stdout.trim_ascii()).ok_or_else(unknown)?
        } else {
            let found = self.gix.rev_parse_single(BStr::new(revision));
            found.map_err(|_| unknown())?.detach()
        };
        let object = self.gix.find_object(id).map_err(|_| unknown())?;
        let commit = object.peel_to_kind(gix::object::Kind::Commit);
        Ok(commit.map_err(|_| unknown())?.id)
    }
}

/// Reads an object id in hexadecimal.
pub fn parse_oid(hex: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(hex).ok()
}

/// Refuses a repository that is extended in a way that neither we nor git know: gix reads and writes it all the same.
fn check_extensions(gix: &gix::Repository, common_dir: &Path) -> Result<()> {
    const KNOWN: [&str; 8] = [
        "noop",
        "noop-v1",
        "objectFormat",
        "partialClone",
        "preciousObjects",
        "refStorage",
        "relativeWorktrees",
        "worktreeConfig",
    ];
    let config = gix.config_snapshot();
    let sections = config.plumbing().sections_by_name("extensions");
    let is_known = |name: &str| KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known));
    let mut sections = sections.into_iter().flatten();
    if sections.all(|section| section.value_names().all(|name| is_known(&name.to_string()))) {
        return Ok(());
    }
    match in_gits_words(common_dir) {
        Err(Error::Command { message, .. }) => Err(Error::Unusable {
            dir: common_dir.to_owned(),
            why: message,
        }),
        _ => Ok(()),
    }
}

fn discovery_error(dir: &Path, source: gix::Error) -> Error {
    // gix has one error type; what git calls "dubious ownership" and "not a repository" is told by its text.
    let text = format!("{source:?} {source}");
    if text.contains("Could not find a git repository in") {
        return Error::NotARepository(dir.to_owned());
    }
    // gix takes a worktree that is nowhere for somebody else's, and has its own words for a broken configuration.
    match in_gits_words(dir) {
        Err(Error::Command { message, .. }) if message.starts_with("not a git repository") => {
            let named = std::env::var_os(GIT_DIR).map(PathBuf::from);
            return Error::NotARepository(named.unwrap_or_else(|| dir.to_owned()));
        }
        Err(Error::Command { message, .. }) if !message.contains("dubious ownership") => {
            return Error::Unusable {
                dir: dir.to_owned(),
                why: message,
            };
        }
        _ if text.contains("considered unsafe") => return Error::DubiousOwnership(dir.to_owned()),
        _ => {}
    }
    Error::Gix {
        what: format!("'{}'", dir.display()),
        source: source.into(),
    }
}

/// Where the user says that the repository is.
const GIT_DIR: &str = "GIT_DIR";

/// What git has against the repository that it would use in `dir`.
fn in_gits_words(dir: &Path) -> Result<()> {
    let git = Git::find(Path::new(""), MINIMUM)?.at(dir);
    let git = match std::env::var_os(GIT_DIR) {
        Some(named) => git.env(GIT_DIR, named),
        None => git,
    };
    git.args(["rev-parse", "--git-dir"]).run().map(|_| ())
}
