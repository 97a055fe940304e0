//! Submodules of a worktree: told apart by where their repositories are, and put back from these.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};

use super::Unsaved;
use super::asking::{Refresh, status};
use super::manifest::{Module, Name};
use super::store::{Within, contained};
use super::walk::{join, place};
use crate::git::{Error, Repo, Result};

/// What the entries of an index for other repositories stand for, as far as something is there.
#[derive(Debug, Default)]
pub struct Modules {
    /// Those that hold their repository themselves, or have none: what is in them is nowhere else.
    pub whole: Vec<BString>,
    /// Those whose repository is in the worktree's own git directory.
    pub linked: Vec<Module>,
}

/// Looks at what is there at these paths.
pub fn look(worktree: &Path, git_dir: &Path, paths: &[Name]) -> Modules {
    let mut found = Modules::default();
    let kept = kept_in(git_dir).canonicalize();
    for Name(path) in paths {
        // What a link leads to is none of the worktree's, whatever it is.
        let Ok(root) = contained(worktree, path.as_ref(), Within::Worktree) else {
            continue;
        };
        if !root.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        let dot_git = root.join(".git");
        let is_file = dot_git.symlink_metadata().is_ok_and(|meta| meta.is_file());
        match is_file.then(|| linked(&root, &dot_git)).flatten() {
            Some(repository) => {
                let Ok(name) = repository.strip_prefix(kept.as_deref().unwrap_or(git_dir)) else {
                    continue;
                };
                found.linked.push(Module {
                    path: Name(path.clone()),
                    repository: Name(name.as_os_str().as_bytes().into()),
                    stored: false,
                });
            }
            // git doesn't look at what is in a submodule that isn't set up.
            None if fs::read_dir(&root).is_ok_and(|mut entries| entries.next().is_none()) => {}
            None => found.whole.push(path.clone()),
        }
    }
    found
}

/// Names the submodules whose repositories, in the worktree's own git directory, have commits that no remote of theirs
/// had when it was last seen.
///
/// `known` tells what a submodule was at where the work began: it was there before.
pub fn only_here(
    repo: &Repo,
    git_dir: &Path,
    linked: &[Module],
    known: &dyn Fn(&Name) -> Option<ObjectId>,
) -> Result<Vec<Unsaved>> {
    let kept = kept_in(git_dir);
    let mut unsaved = Vec::new();
    for name in repositories(&kept, BStr::new("")) {
        let module = linked.iter().find(|module| module.repository.0 == name);
        let known = module.and_then(|module| known(&module.path));
        let found = repo
            .git_in(&place(&kept, name.as_ref()))?
            // The directory that its configuration names may be gone.
            .args(["--git-dir", ".", "--work-tree", "."])
            .args(["rev-list", "--max-count=1", "--ignore-missing"])
            .args(["--exclude=refs/tags/*", "--all", "--not", "--remotes"])
            .args(known.map(|known| known.to_string()))
            .output()?;
        if !found.status.success() || !found.stdout.is_empty() {
            let path = module.map_or_else(
                || join(BStr::new("modules"), &name),
                |module| module.path.0.clone(),
            );
            unsaved.push(Unsaved::new(path, COMMITS));
        }
    }
    Ok(unsaved)
}

/// Why commits of a submodule are not saved.
pub const COMMITS: &str = "the commits of a submodule are only in its own repository";

/// The submodules of a worktree, and those in them, that are set up, each with a repository that it only names.
pub fn linked_modules(repo: &Repo, worktree: &Path) -> Result<Vec<BString>> {
    let listed = repo.git_in(worktree)?.args(["ls-files", "-z", "--stage"]).run()?;
    let mut found = Vec::new();
    for entry in listed.split(|byte| *byte == 0) {
        let Some((_, path)) = entry
            .strip_prefix(b"160000 ")
            .and_then(|entry| entry.split_once_str("\t"))
        else {
            continue;
        };
        let Ok(root) = contained(worktree, path.as_bstr(), Within::Worktree) else {
            continue;
        };
        let is_dir = root.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        let dot_git = root.join(".git");
        if is_dir && dot_git.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            let inner = linked_modules(repo, &root)?;
            found.push(path.into());
            found.extend(inner.iter().map(|inner| join(path.as_bstr(), inner)));
        }
    }
    Ok(found)
}

/// The repositories below a directory of such, by their paths in it.
fn repositories(kept: &Path, dir: &BStr) -> Vec<BString> {
    let Ok(entries) = fs::read_dir(place(kept, dir)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let path = join(dir, entry.file_name().as_bytes());
        let mut inner = path.clone();
        if entry.path().join("HEAD").is_file() {
            found.push(path);
            inner = join(inner.as_ref(), b"modules");
        }
        found.extend(repositories(kept, inner.as_ref()));
    }
    found.sort();
    found
}

/// Where git keeps the repositories of a worktree's submodules.
fn kept_in(git_dir: &Path) -> PathBuf {
    git_dir.join("modules")
}

/// The repository that a `.git` file names.
fn linked(root: &Path, dot_git: &Path) -> Option<PathBuf> {
    let content = fs::read(dot_git).ok()?;
    let target = content.strip_prefix(b"gitdir: ")?.trim_end();
    root.join(OsStr::from_bytes(target)).canonicalize().ok()
}

/// Which paths in a submodule are its work: all but its repository, and what is ignored in it.
pub fn work_of(repo: &Repo, root: &Path) -> impl Fn(&BStr) -> bool + use<> {
    let ignored = status(repo, root, Refresh::Nothing)
        .map(|status| status.ignored)
        .unwrap_or_default();
    move |path| {
        path != ".git"
            && !ignored
                .iter()
                .any(|ignored| ignored.trim_end_with(|c| c == '/') == path)
    }
}

/// Puts the files of submodules back, as their repositories' indexes have them, or where they are stored by `unstore`,
/// which gets the module's number; names those that can't be.
///
/// `git_dir` is none where a repository there would not be the submodule's.
pub fn put_back(
    repo: &Repo,
    worktree: &Path,
    git_dir: Option<&Path>,
    modules: &[Module],
    unstore: &dyn Fn(usize, &Path) -> Result<Vec<Unsaved>>,
) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    for (number, module) in modules.iter().enumerate() {
        let repository = git_dir.and_then(|dir| {
            let name = module.repository.0.as_ref();
            let found = contained(&kept_in(dir), name, Within::Stored).ok()?;
            found.join("HEAD").exists().then_some(found)
        });
        let Some(repository) = repository else {
            let why = "a submodule whose repository is not here; 'git submodule update --init' gets it";
            lost.push(Unsaved::new(module.path.0.clone(), why));
            continue;
        };
        let root = match contained(worktree, module.path.0.as_ref(), Within::Worktree) {
            Ok(root) => root,
            Err(error) => {
                lost.push(Unsaved::new(module.path.0.clone(), error));
                continue;
            }
        };
        link(repo, &root, &repository)?;
        if module.stored {
            lost.extend(unstore(number, &root)?.into_iter().map(|lost| Unsaved {
                path: format!("{}/{}", module.path.0, lost.path).into(),
                why: lost.why,
            }));
            continue;
        }
        let filled = repo
            .git_in(&root)?
            .args(["checkout-index", "--quiet", "--all", "--force"])
            .run();
        if let Err(error) = filled {
            lost.push(Unsaved::new(module.path.0.clone(), error));
        }
    }
    Ok(lost)
}

/// Lets a directory and a repository name each other, from where they are, as git does.
fn link(repo: &Repo, root: &Path, repository: &Path) -> Result<()> {
    let io = || Error::io(format!("cannot write to '{}'", root.display()));
    fs::create_dir_all(root).map_err(io())?;
    let (root, repository) = (
        root.canonicalize().map_err(io())?,
        repository.canonicalize().map_err(io())?,
    );
    let to = relative(&root, &repository);
    let content = [b"gitdir: ", to.as_os_str().as_bytes(), b"\n"].concat();
    fs::write(root.join(".git"), content).map_err(io())?;
    repo.git()?
        .args(["config", "--file"])
        .arg(repository.join("config"))
        .arg("core.worktree")
        .arg(relative(&repository, &root))
        .run()
        .map(|_| ())
}

/// The way from one directory to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components());
    let shared = shared.take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_is_in_the_worktree_itself_is_looked_at() {
        let (outside, worktree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [outside.path().join("er/.git"), worktree.path().join("plain/.git")] {
            fs::create_dir_all(dir).unwrap();
        }
        symlink(outside.path(), worktree.path().join("deep")).unwrap();
        symlink(outside.path().join("er"), worktree.path().join("near")).unwrap();
        fs::create_dir(worktree.path().join("waits")).unwrap();
        let fifo = worktree.path().join("waits/.git");
        rustix::fs::mkfifoat(rustix::fs::CWD, fifo, rustix::fs::Mode::RWXU).unwrap();
        let paths = ["plain", "near", "deep/er", "waits", "gone"].map(|path| Name(path.into()));
        let found = look(worktree.path(), outside.path(), &paths);
        assert_eq!(found.whole, ["plain", "waits"]);
        assert!(found.linked.is_empty());
    }
}
