//! One look at a worktree instead of two, where the index proves most of its files to be what they were: git is asked
//! about the others alone.
//!
//! What is taken for unchanged has the very times, owner, size, inode and mode that git wrote down, which is stricter
//! than git is itself. Wherever anything is out of the ordinary, git looks at everything.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::bstr::{BStr, BString, ByteSlice};
use gix::index::entry::stat::Options;
use gix::index::entry::{Flags, Mode, Stage};
use gix::index::{Entry, File};

use super::asking::{self, Refresh};
use super::overlooked::{STRICT, overlooked, stat_of};
use super::status::{Status, parse};
use super::walk::{Walk, each_directory, holds_git, join, kind, list, mode_of, odd_mode, special, umask};
use crate::git::{Repo, objects};

/// How many tracked files git is asked about at most: each is compared with all that it has in its index.
const TOUCHED: usize = 100;
/// How deep directories may be of which git tracks nothing.
const DEPTH: usize = 16;

/// The status of a worktree, and what git doesn't look at; none if git has to look at everything.
pub fn glance(
    repo: &Repo,
    worktree: &Path,
    git_dir: &Path,
    index: &File,
    refresh: Refresh,
) -> Option<(Status, Walk)> {
    if !is_plain(repo, git_dir, index) {
        return None;
    }
    let glance = Glance {
        worktree,
        index,
        mask: umask(),
        seen: index.entries().iter().map(|_| AtomicBool::default()).collect(),
        odd: AtomicBool::default(),
    };
    let found = each_directory(|dir, found, queue| glance.look(dir, found, queue));
    let mut found = found.into_iter().fold(Found::default(), Found::and);
    let missing = index.entries().iter().zip(&glance.seen);
    let missing = missing.filter(|(_, seen)| !seen.load(Ordering::Relaxed));
    found
        .touched
        .extend(missing.map(|(entry, _)| entry.path(index).into()));
    if glance.odd.into_inner() || found.touched.len() > TOUCHED {
        return None;
    }
    if found.touched.is_empty() {
        // git has to be asked for something, for it tells where HEAD is as well.
        found.touched.push(index.entries().first()?.path(index).into());
    }
    let asked = asking::tracked(repo, worktree, &found.touched, refresh).ok()?;
    let asked = asked.start().ok()?;
    let mut status = Status::default();
    let sorted = sort_out(repo, worktree, found.new, &mut status, &mut found.walk);
    let of_tracked = parse(&asked.finish().ok()?).ok()?;
    sorted?;
    // What is staged beside these files would have gone unseen, were the index not what HEAD has.
    let head_tree = objects::tree_of(repo, of_tracked.head?).ok()?;
    let is_head = index.tree().is_some_and(|tree| tree.id == head_tree);
    if !is_head || !of_tracked.conflicts.is_empty() || !of_tracked.nested.is_empty() {
        return None;
    }
    let touched = found.touched.iter();
    let touched = touched.filter_map(|path| index.entry_by_path(path.as_ref()));
    let overlooked = overlooked(repo, worktree, index, &of_tracked, touched);
    Some((
        Status {
            overlooked,
            untracked: status.untracked,
            ignored: status.ignored,
            ..of_tracked
        },
        found.walk,
    ))
}

/// Whether an index has nothing but files that git looks at, and says which tree they are.
fn is_plain(repo: &Repo, git_dir: &Path, index: &File) -> bool {
    let special = Flags::INTENT_TO_ADD | Flags::SKIP_WORKTREE | Flags::ASSUME_VALID;
    let is_file = |mode| matches!(mode, Mode::FILE | Mode::FILE_EXECUTABLE | Mode::SYMLINK);
    let count = index.tree().and_then(|tree| tree.num_entries);
    let odd_names = ["core.ignoreCase", "core.precomposeUnicode"];
    count.is_some_and(|count| count as usize == index.entries().len())
        && index.link().is_none()
        && !index.is_sparse()
        && !git_dir.join("info/sparse-checkout").exists()
        && odd_names
            .iter()
            .all(|key| repo.config_bool_in(git_dir, key) != Some(true))
        && index.entries().iter().all(|entry| {
            is_file(entry.mode) && entry.stage() == Stage::Unconflicted && !entry.flags.intersects(special)
        })
}

struct Glance<'a> {
    worktree: &'a Path,
    index: &'a File,
    mask: u32,
    /// Which entries of the index have a file.
    seen: Vec<AtomicBool>,
    /// Whether there is something that git should look at itself.
    odd: AtomicBool,
}

#[derive(Default)]
struct Found {
    walk: Walk,
    /// Tracked files that are not as the index has them.
    touched: Vec<BString>,
    new: Vec<New>,
}

/// Something that is not tracked, nor has anything tracked in it.
struct New {
    path: BString,
    mode: u32,
}

impl Found {
    fn and(mut self, other: Found) -> Found {
        self.walk.add(other.walk);
        self.touched.extend(other.touched);
        self.new.extend(other.new);
        self
    }
}

impl Glance<'_> {
    /// Looks at a directory in which something is tracked.
    fn look(&self, dir: &BStr, found: &mut Found, queue: &mut VecDeque<BString>) {
        let is_top = dir.is_empty();
        let below = self.below(dir);
        let mut path = join(dir, b"");
        let start = path.len();
        let mut empty = true;
        let listed = list(self.worktree, dir, |name, meta| {
            if name == b".git" {
                if !is_top {
                    self.odd.store(true, Ordering::Relaxed);
                }
                return;
            }
            empty = false;
            path.truncate(start);
            path.extend_from_slice(name);
            let mode = mode_of(meta);
            if holds_git(name, mode) {
                self.odd.store(true, Ordering::Relaxed);
            }
            let is_dir = kind(mode).is_dir();
            let entries = &self.index.entries()[below.clone()];
            match entries.binary_search_by(|entry| entry.path(self.index).cmp(path.as_bstr())) {
                Ok(_) if special(mode).is_some() => self.odd.store(true, Ordering::Relaxed),
                Ok(at) if !is_dir => {
                    self.seen[below.start + at].store(true, Ordering::Relaxed);
                    if !self.is_unchanged(&entries[at], meta) {
                        found.touched.push(path.clone());
                    }
                    if odd_mode(mode, self.mask).is_some() {
                        found.walk.note(path.clone(), mode, self.mask);
                    }
                }
                _ if is_dir && !self.below(path.as_ref()).is_empty() => {
                    found.walk.note(path.clone(), mode, self.mask);
                    queue.push_back(path.clone());
                }
                _ => found.new.push(New {
                    path: path.clone(),
                    mode,
                }),
            }
        });
        if listed.is_err() {
            self.odd.store(true, Ordering::Relaxed);
        } else if empty && !is_top {
            found.walk.note_empty(dir);
        }
    }

    /// Which entries of the index are in a directory.
    fn below(&self, dir: &BStr) -> std::ops::Range<usize> {
        let entries = self.index.entries();
        if dir.is_empty() {
            return 0..entries.len();
        }
        let dir = join(dir, b"");
        let start = entries.partition_point(|entry| entry.path(self.index) < dir);
        let inside = entries[start..].partition_point(|entry| entry.path(self.index).starts_with(&dir));
        start..start + inside
    }

    /// Whether a file is what it was when git last looked at it, which was not in the moment of the change.
    fn is_unchanged(&self, entry: &Entry, meta: &rustix::fs::Stat) -> bool {
        let mode = mode_of(meta);
        let kind = kind(mode);
        let is_kind = match entry.mode {
            Mode::FILE => kind.is_file() && mode & 0o100 == 0,
            Mode::FILE_EXECUTABLE => kind.is_file() && mode & 0o100 != 0,
            _ => kind.is_symlink(),
        };
        // A file system that keeps whole seconds has no other time for what was changed later in the same one.
        let racy = Options {
            use_nsec: meta.st_mtime_nsec != 0,
            ..STRICT
        };
        // The size of nothing is also git's mark for a file that it has to read again.
        let is_marked = entry.stat.size == 0 && !entry.id.is_empty_blob();
        is_kind
            && !is_marked
            && entry.stat.matches(&stat_of(meta), STRICT)
            && !entry.stat.is_racy(self.index.timestamp(), racy)
    }
}

/// Tells what is ignored from what is only not tracked, in which it looks further.
fn sort_out(
    repo: &Repo,
    worktree: &Path,
    mut new: Vec<New>,
    status: &mut Status,
    walk: &mut Walk,
) -> Option<()> {
    let mask = umask();
    for _ in 0..DEPTH {
        if new.is_empty() {
            status.untracked.sort();
            return Some(());
        }
        let paths: Vec<&BString> = new.iter().map(|new| &new.path).collect();
        let ignored = ignored_by(repo, worktree, &paths)?;
        let mut inner = Vec::new();
        for (New { path, mode }, by) in new.into_iter().zip(ignored) {
            if special(mode).is_some() {
                walk.note(path, mode, mask);
                continue;
            }
            if by.is_some() {
                status.ignored.push(path);
                continue;
            }
            walk.note(path.clone(), mode, mask);
            if !kind(mode).is_dir() {
                status.untracked.push(path);
            } else {
                let (mut is_empty, mut is_odd) = (true, false);
                list(worktree, path.as_ref(), |name, meta| {
                    is_empty = false;
                    is_odd |= name == b".git" || holds_git(name, mode_of(meta));
                    inner.push(New {
                        path: join(path.as_ref(), name),
                        mode: mode_of(meta),
                    });
                })
                .ok()?;
                if is_odd {
                    return None;
                }
                if is_empty {
                    walk.note_empty(path.as_ref());
                }
            }
        }
        new = inner;
    }
    None
}

/// The file that has git ignore each; none for what git doesn't ignore.
pub fn ignored_by(repo: &Repo, worktree: &Path, paths: &[&BString]) -> Option<Vec<Option<BString>>> {
    let mut input = Vec::new();
    for path in paths {
        // What begins with a colon would be magic.
        input.extend_from_slice(b"./");
        input.extend_from_slice(path);
        input.push(0);
    }
    let asked = repo.git_in(worktree).ok()?.ending_with_us();
    let asked = asked.args([
        "check-ignore",
        "--no-index",
        "--stdin",
        "-z",
        "--verbose",
        "--non-matching",
    ]);
    let output = asked.input(input).output().ok()?;
    // 1 says that none is.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return None;
    }
    // Source, line, pattern and path of each.
    let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    let told: Vec<Option<BString>> = fields
        .chunks_exact(4)
        .zip(paths)
        .filter(|(fields, path)| fields[3].strip_prefix(b"./") == Some(path.as_slice()))
        .map(|(fields, _)| {
            let is_ignored = !fields[2].is_empty() && !fields[2].starts_with(b"!");
            is_ignored.then(|| fields[0].into())
        })
        .collect();
    (told.len() == paths.len()).then_some(told)
}
