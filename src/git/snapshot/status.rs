//! What git says of a worktree: `git status --porcelain=v2`, read.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};

use super::store::{Within, contained};
use crate::git::repo::parse_oid;
use crate::git::{Error, Repo, Result};

/// The status of a worktree.
#[derive(Debug, Default)]
pub struct Status {
    pub head: Option<ObjectId>,
    /// The branch's short name; none where HEAD is detached.
    pub branch: Option<BString>,
    pub tracked: Vec<Tracked>,
    pub conflicts: Vec<BString>,
    pub untracked: Vec<BString>,
    /// Directories that are repositories of their own.
    pub nested: Vec<BString>,
    /// Files, and directories with a `/` at their end.
    pub ignored: Vec<BString>,
}

impl Status {
    /// Whether files of a submodule are not as its own repository has them.
    pub fn is_changed_within(&self, path: &BString) -> bool {
        let changed = |file: &Tracked| file.submodule.is_some_and(|submodule| submodule.content);
        self.tracked
            .iter()
            .any(|file| file.path == *path && changed(file))
    }
}

/// A tracked file that is not the same in HEAD, index and worktree.
#[derive(Debug)]
pub struct Tracked {
    pub path: BString,
    /// Whether the index differs from HEAD.
    pub staged: bool,
    /// Whether the worktree differs from the index.
    pub unstaged: bool,
    /// What is in the index; none if it isn't there.
    pub index: Option<(u32, ObjectId)>,
    /// Whether the worktree has it.
    pub exists: bool,
    /// For a submodule, what is changed in it.
    pub submodule: Option<Submodule>,
    /// Whether it is a file or link in the place of a submodule.
    pub instead_of_module: bool,
}

/// The state of a submodule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submodule {
    pub commit: bool,
    pub content: bool,
}

/// The mode of a submodule in an index.
const GITLINK: u32 = 0o160000;

/// What git takes a submodule's directory for that nobody may enter, and of which it tells nothing more.
const CLOSED: u32 = 0o040000;

/// Asks git, which runs no file system monitor.
///
/// It may refresh what the index says of the files' times, as every `git status` does: an index that is as young as
/// its files, as after a checkout, would make each later look read them all.
///
/// Where git refuses, it is asked again in ways that it doesn't refuse: what these don't tell is found out otherwise.
pub fn status(repo: &Repo, worktree: &Path) -> Result<Status> {
    let refused = match beside_modules(repo, worktree, &[]) {
        Ok(status) => return Ok(status),
        Err(refused) => refused,
    };
    // Where a filter fails that git can't do without, what went through one is called modified, and so saved as it is.
    let without = without_filters(repo, worktree)?;
    if without.is_empty() {
        return Err(refused);
    }
    beside_modules(repo, worktree, &without).map_err(|_| refused)
}

/// Asks about all but the submodules that git refuses to look into: links in their places, about which it is asked by
/// themselves, and broken ones, which are repositories like any other.
fn beside_modules(repo: &Repo, worktree: &Path, options: &[OsString]) -> Result<Status> {
    let refused = match ask(repo, worktree, options, "none", &[]) {
        Ok(output) => return parse(&output),
        Err(refused) => refused,
    };
    let Ok(broken) = broken_modules(repo, worktree, options) else {
        return Err(refused);
    };
    let without = |file: &Tracked| [b":(top,exclude,literal)", file.path.as_slice()].concat();
    let mut left_out: Vec<OsString> = broken.iter().map(without).map(OsString::from_vec).collect();
    let Ok(shallow) = ask(repo, worktree, options, "dirty", &left_out) else {
        return Err(refused);
    };
    let mut links = parse(&shallow)?.tracked;
    links.retain(|file| file.instead_of_module);
    left_out.extend(links.iter().map(without).map(OsString::from_vec));
    if left_out.is_empty() {
        return Err(refused);
    }
    let mut status = parse(&ask(repo, worktree, options, "none", &left_out)?)?;
    status.nested.extend(broken.iter().map(|file| file.path.clone()));
    status.tracked.extend(broken.into_iter().chain(links));
    status.tracked.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(status)
}

/// The submodules in which `git status` fails, as git runs it there.
fn broken_modules(repo: &Repo, worktree: &Path, options: &[OsString]) -> Result<Vec<Tracked>> {
    let listed = repo.git_in(worktree)?.args(["ls-files", "-z", "--stage"]).run()?;
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
            .args(options)
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

/// Options by which git uses none of the filters that are configured.
fn without_filters(repo: &Repo, worktree: &Path) -> Result<Vec<OsString>> {
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
    Ok(options)
}

/// Asks once, with options for git itself, with what is not looked for in submodules, and about certain paths only.
fn ask(
    repo: &Repo,
    worktree: &Path,
    options: &[OsString],
    ignored_in_modules: &str,
    paths: &[OsString],
) -> Result<Vec<u8>> {
    repo.git_in(worktree)?
        .ending_with_us()
        .args(["-c", "status.relativePaths=false"])
        .args(options)
        .args(["status", "--porcelain=v2", "-z", "--branch", "--no-renames"])
        .args(["--untracked-files=all", "--ignored=matching"])
        .arg(format!("--ignore-submodules={ignored_in_modules}"))
        .arg("--")
        .args(paths)
        .run()
}

fn parse(output: &[u8]) -> Result<Status> {
    let strange = |line: &[u8]| Error::Malformed(format!("git status says '{}'", line.as_bstr()));
    let mut status = Status::default();
    for line in output.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_at(line.len().min(2));
        match kind {
            b"# " => {
                if let Some(oid) = rest.strip_prefix(b"branch.oid ") {
                    status.head = parse_oid(oid);
                } else if let Some(name) = rest.strip_prefix(b"branch.head ") {
                    // "(null)" is what git calls a HEAD that is a name for something else than a branch.
                    let is_branch = name != b"(detached)" && name != b"(null)";
                    status.branch = is_branch.then(|| name.into());
                }
            }
            b"1 " => {
                let mut file = tracked(rest).ok_or_else(|| strange(line))?;
                if file.submodule.is_some() && file.index.is_some_and(|(mode, _)| mode != GITLINK) {
                    // What git calls a submodule is a repository in the place of a file.
                    status.nested.push(file.path.clone());
                    (file.submodule, file.exists) = (None, false);
                }
                status.tracked.push(file);
            }
            b"u " => status.conflicts.push(
                rest.splitn(10, |byte| *byte == b' ')
                    .nth(9)
                    .ok_or_else(|| strange(line))?
                    .into(),
            ),
            b"? " => match rest.strip_suffix(b"/") {
                Some(dir) => status.nested.push(dir.into()),
                None => status.untracked.push(rest.into()),
            },
            b"! " => status.ignored.push(rest.into()),
            _ => return Err(strange(line)),
        }
    }
    Ok(status)
}

/// `XY sub mH mI mW hH hI path`
fn tracked(line: &[u8]) -> Option<Tracked> {
    let mut fields = line.splitn(8, |byte| *byte == b' ');
    let xy = fields.next()?;
    let sub = fields.next()?;
    let _head_mode = fields.next()?;
    let index_mode = octal(fields.next()?)?;
    let worktree_mode = octal(fields.next()?)?;
    let _head = fields.next()?;
    let index = parse_oid(fields.next()?)?;
    let path = fields.next()?.into();
    let is_module = sub.first() == Some(&b'S');
    let instead_of_module = is_module && ![0, GITLINK, CLOSED].contains(&worktree_mode);
    let submodule = (is_module && !instead_of_module).then(|| Submodule {
        commit: sub.get(1) == Some(&b'C'),
        content: sub.get(2) == Some(&b'M') || sub.get(3) == Some(&b'U') || worktree_mode == CLOSED,
    });
    // What is only intended to be added, and is gone, has a mode all the same.
    let is_there = index_mode != 0 && xy.first() != Some(&b'D');
    Some(Tracked {
        path,
        staged: xy.first() != Some(&b'.'),
        unstaged: xy.get(1) != Some(&b'.'),
        index: is_there.then_some((index_mode, index)),
        exists: worktree_mode != 0,
        submodule,
        instead_of_module,
    })
}

fn octal(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(text.to_str().ok()?, 8).ok()
}
