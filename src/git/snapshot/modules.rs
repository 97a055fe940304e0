//! Submodules of a worktree: told apart by where their repositories are, and put back from these.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::bstr::{BString, ByteSlice};

use super::Unsaved;
use super::manifest::{Module, Name};
use super::store::{Within, contained};
use super::walk::place;
use crate::git::{Repo, Result};

/// What the entries of an index for other repositories stand for, as far as something is there.
#[derive(Debug, Default)]
pub struct Modules {
    /// Those that hold their repository themselves: it is nowhere else.
    pub whole: Vec<BString>,
    /// Those whose repository is in the worktree's own git directory.
    pub linked: Vec<Module>,
}

/// Looks at what is there at these paths.
pub fn look(worktree: &Path, git_dir: &Path, paths: &[Name]) -> Modules {
    let mut found = Modules::default();
    let kept = kept_in(git_dir).canonicalize();
    for Name(path) in paths {
        let root = place(worktree, path.as_ref());
        let dot_git = root.join(".git");
        let Ok(meta) = dot_git.symlink_metadata() else {
            continue;
        };
        if meta.is_dir() {
            found.whole.push(path.clone());
        } else if let Some(repository) = linked(&root, &dot_git)
            && let Ok(name) = repository.strip_prefix(kept.as_deref().unwrap_or(git_dir))
        {
            found.linked.push(Module {
                path: Name(path.clone()),
                repository: Name(name.as_os_str().as_bytes().into()),
            });
        }
    }
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

/// Puts the files of submodules back as their repositories' indexes have them; names those that can't be.
///
/// `git_dir` is none where a repository there would not be the submodule's.
pub fn put_back(
    repo: &Repo,
    worktree: &Path,
    git_dir: Option<&Path>,
    modules: &[Module],
) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    for module in modules {
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
        let root = match contained(worktree, module.path.0.as_ref(), Within::Worktree)
            .and_then(|root| link(&root, &repository).map(|()| root))
        {
            Ok(root) => root,
            Err(error) => {
                lost.push(Unsaved::new(module.path.0.clone(), error));
                continue;
            }
        };
        repo.git()?
            .args(["config", "--file"])
            .arg(repository.join("config"))
            .arg("core.worktree")
            .arg(&root)
            .run()?;
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

fn link(root: &Path, repository: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let content = [b"gitdir: ", repository.as_os_str().as_bytes(), b"\n"].concat();
    fs::write(root.join(".git"), content)
}
