//! Asking git for a worktree's status, in one way after another where it refuses.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use gix::bstr::{BString, ByteSlice};

use super::Unsaved;
use super::status::{GITLINK, Status, Tracked, parse};
use super::store::{Within, contained};
use crate::git::command::Cmd;
use crate::git::repo::parse_oid;
use crate::git::{Error, Repo, Result};

/// What becomes of the index where git finds that a file has other times and the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It is told, as by every `git status`: one that is as young as its files, as after a checkout, would make each
    /// later look read them all.
    Index,
    Nothing,
}

impl Refresh {
    fn options(self) -> &'static [&'static str] {
        match self {
            Refresh::Index => &[],
            Refresh::Nothing => &["--no-optional-locks"],
        }
    }
}

/// Asks git, which runs no file system monitor.
///
/// Where git refuses, it is asked again in ways that it doesn't refuse: what these don't tell is found out otherwise,
/// or named.
pub fn status(repo: &Repo, worktree: &Path, refresh: Refresh) -> Result<Status> {
    let way = Way {
        options: refresh.options().iter().map(OsString::from).collect(),
        index: None,
    };
    let refused = match beside_modules(repo, worktree, &way) {
        Ok(status) => return Ok(status),
        Err(refused) => refused,
    };
    // Where a filter fails that git can't do without, what went through one is called modified, and so saved as it is.
    let without = without_filters(repo, worktree)?;
    if !without.options.is_empty()
        && let Ok(status) = beside_modules(repo, worktree, &without)
    {
        return Ok(status);
    }
    match beside_index(repo, worktree, &refused, [way, without]) {
        Some(status) => Ok(status),
        None => Err(refused),
    }
}

/// The command that asks about tracked files alone, by their paths.
pub fn tracked(repo: &Repo, worktree: &Path, paths: &[BString], refresh: Refresh) -> Result<Cmd> {
    let git = repo.git_in(worktree)?.ending_with_us();
    Ok(git
        .args(["-c", "status.relativePaths=false"])
        .args(refresh.options())
        // Threads that look ahead at the whole index would only be in the way.
        .args(["-c", "core.preloadIndex=false", "--literal-pathspecs"])
        .args(["status", "--porcelain=v2", "-z", "--branch", "--no-renames"])
        .args(["--untracked-files=no", "--ignore-submodules=none", "--"])
        .args(paths.iter().map(|path| OsStr::from_bytes(path))))
}

/// How git is asked.
struct Way {
    /// Options for git itself.
    options: Vec<OsString>,
    /// An index in the place of the worktree's own.
    index: Option<PathBuf>,
}

impl Way {
    fn git(&self, repo: &Repo, worktree: &Path) -> Result<Cmd> {
        let git = repo.git_in(worktree)?.args(&self.options);
        Ok(match &self.index {
            Some(index) => git.env("GIT_INDEX_FILE", index),
            None => git,
        })
    }

    /// Asks once, with what is not looked for in submodules, and about certain paths only.
    fn ask(
        &self,
        repo: &Repo,
        worktree: &Path,
        ignored_in_modules: &str,
        paths: &[OsString],
    ) -> Result<Vec<u8>> {
        self.git(repo, worktree)?
            .ending_with_us()
            .args(["-c", "status.relativePaths=false"])
            .args(["status", "--porcelain=v2", "-z", "--branch", "--no-renames"])
            .args(["--untracked-files=all", "--ignored=matching"])
            .arg(format!("--ignore-submodules={ignored_in_modules}"))
            .arg("--")
            .args(paths)
            .run()
    }
}

/// Asks about all but the submodules that git refuses to look into: links in their places, about which it is asked by
/// themselves, and broken ones, which are repositories like any other.
fn beside_modules(repo: &Repo, worktree: &Path, way: &Way) -> Result<Status> {
    let refused = match way.ask(repo, worktree, "none", &[]) {
        Ok(output) => return parse(&output),
        Err(refused) => refused,
    };
    let Ok(broken) = broken_modules(repo, worktree, way) else {
        return Err(refused);
    };
    let without = |file: &Tracked| [b":(top,exclude,literal)", file.path.as_slice()].concat();
    let mut left_out: Vec<OsString> = broken.iter().map(without).map(OsString::from_vec).collect();
    let Ok(shallow) = way.ask(repo, worktree, "dirty", &left_out) else {
        return Err(refused);
    };
    let mut links = parse(&shallow)?.tracked;
    links.retain(|file| file.instead_of_module);
    left_out.extend(links.iter().map(without).map(OsString::from_vec));
    if left_out.is_empty() {
        return Err(refused);
    }
    let mut status = parse(&way.ask(repo, worktree, "none", &left_out)?)?;
    status.nested.extend(broken.iter().map(|file| file.path.clone()));
    status.tracked.extend(broken.into_iter().chain(links));
    status.tracked.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(status)
}

/// The submodules in which `git status` fails, as git runs it there.
fn broken_modules(repo: &Repo, worktree: &Path, way: &Way) -> Result<Vec<Tracked>> {
    let listed = way
        .git(repo, worktree)?
        .args(["ls-files", "-z", "--stage"])
        .run()?;
    let modules = listed.split(|byte| *byte == 0).filter_map(|entry| {
        let (oid, path) = entry.strip_prefix(b"160000 ")?.split_once_str(" 0\t")?;
        Some((parse_oid(oid)?, path.as_bstr()))
    });
    let mut broken = Vec::new();
    for (oid, path) in modules {
        let Ok(root) = contained(worktree, path, Within::Worktree) else {
            continue;
        };
        let is_dir = root.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        if !is_dir || root.join(".git").symlink_metadata().is_err() {
            continue;
        }
        let status = repo
            .git_in(&root)?
            .args(&way.options)
            .args(["--git-dir", ".git", "status", "--porcelain=v2"])
            .output()?;
        if !status.status.success() {
            broken.push(Tracked {
                path: path.into(),
                // Whether it is so is not known, and makes no difference.
                staged: true,
                unstaged: false,
                index: Some((GITLINK, oid)),
                exists: true,
                submodule: None,
                instead_of_module: false,
            });
        }
    }
    Ok(broken)
}

/// Without the filters that are configured.
fn without_filters(repo: &Repo, worktree: &Path) -> Result<Way> {
    let configured = repo
        .git_in(worktree)?
        .args(["config", "--name-only", "-z", "--get-regexp", r"^filter\."])
        .output()?;
    let keys = configured.stdout.split(|byte| *byte == 0);
    let filters: BTreeSet<&[u8]> = keys.filter_map(|key| Some(key.rsplit_once_str(".")?.0)).collect();
    let mut options = Vec::new();
    for filter in filters {
        for setting in ["clean=", "process=", "required=false"] {
            let option = [filter, b".", setting.as_bytes()].concat();
            options.extend(["-c".into(), OsString::from_vec(option)]);
        }
    }
    if !options.is_empty() {
        // What is true without filters must not stay in the index.
        options.push("--no-optional-locks".into());
    }
    Ok(Way { options, index: None })
}

/// Asks with an index that is as HEAD, for one that git can't read, as after a power failure: that is named.
///
/// Where a checkout is sparse, that would tell of files that are gone.
fn beside_index(repo: &Repo, worktree: &Path, refused: &Error, ways: [Way; 2]) -> Option<Status> {
    let is_sparse = ["config", "--type=bool", "core.sparseCheckout"];
    let is_sparse = repo.git_in(worktree).ok()?.args(is_sparse).output().ok()?;
    if is_sparse.stdout.trim() == b"true" {
        return None;
    }
    let dir = tempfile::tempdir().ok()?;
    for mut way in ways {
        way.index = Some(dir.path().join("index"));
        let as_head = |what: &str| way.git(repo, worktree)?.args(["read-tree", what]).run();
        if as_head("HEAD").or_else(|_| as_head("--empty")).is_ok()
            && let Ok(mut status) = beside_modules(repo, worktree, &way)
        {
            status.unsaved.push(Unsaved::new("index", refused));
            return Some(status);
        }
    }
    None
}
