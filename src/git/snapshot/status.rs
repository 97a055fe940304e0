//! What git says of a worktree: `git status --porcelain=v2`, read.

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};

use super::Unsaved;
use crate::git::repo::parse_oid;
use crate::git::{Error, Result};

/// The status of a worktree.
#[derive(Debug, Default)]
pub struct Status {
    pub head: Option<ObjectId>,
    /// The branch's short name; none where HEAD is detached.
    pub branch: Option<BString>,
    pub tracked: Vec<Tracked>,
    /// Tracked files that are not as the index has them, though git says so.
    pub overlooked: Vec<BString>,
    pub conflicts: Vec<BString>,
    pub untracked: Vec<BString>,
    /// Directories that are repositories of their own.
    pub nested: Vec<BString>,
    /// Files, and directories with a `/` at their end.
    pub ignored: Vec<BString>,
    /// What git could not be asked about.
    pub unsaved: Vec<Unsaved>,
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
pub const GITLINK: u32 = 0o160000;

/// What git takes a submodule's directory for that nobody may enter, and of which it tells nothing more.
const CLOSED: u32 = 0o040000;

/// Reads what git says.
pub fn parse(output: &[u8]) -> Result<Status> {
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
