//! What git doesn't look at: permissions, empty directories, what is neither file, directory nor link, and repositories
//! in the midst of what it tracks.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use gix::bstr::{BStr, BString, ByteSlice};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode, Stat, openat, statat};
use rustix::io::Errno;

use super::Unsaved;
use super::manifest::{Name, Odd};

/// What was found.
#[derive(Debug, Default)]
pub struct Walk {
    pub odd: Odd,
    pub unsaved: Vec<Unsaved>,
    /// Directories that have a `.git`, and that git takes for plain ones, since it tracks files in them or finds the
    /// repository broken.
    pub repositories: Vec<BString>,
    /// Files at which git would wait, perhaps for ever.
    pub holding_git: Vec<BString>,
}

/// What git reads in any directory that it looks into, and would wait for were it a FIFO.
const READ_BY_GIT: [&[u8]; 2] = [b".gitignore", b".gitattributes"];

/// Whether git would wait for what is called so, perhaps for ever.
pub fn holds_git(name: &[u8], mode: u32) -> bool {
    READ_BY_GIT.contains(&name) && special(mode).is_some()
}

/// Whether a path, or a directory that it is in, is among some.
pub fn is_among(path: &BStr, paths: &HashSet<BString>) -> bool {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    !paths.is_empty()
        && (paths.contains(path)
            || ends
                .into_iter()
                .any(|(end, _)| paths.contains(path[..end].as_bstr())))
}

/// How many directories are known before a second thread begins.
const MANY: usize = 64;

/// Looks through a directory, without `.git` at its top.
pub fn walk(root: &Path) -> Walk {
    let mask = umask();
    let found = each_directory(|dir, found, queue| look(root, dir, mask, found, queue));
    found.into_iter().fold(Walk::default(), |mut all, found| {
        all.add(found);
        all
    })
}

/// Looks at a directory, its own first, and at all that `look` puts into the queue; gives what each of its threads
/// found.
pub fn each_directory<T: Default + Send>(
    look: impl Fn(&BStr, &mut T, &mut VecDeque<BString>) + Sync,
) -> Vec<T> {
    let mut first = T::default();
    let mut tops = VecDeque::from([BString::default()]);
    while tops.len() < MANY {
        let Some(dir) = tops.pop_front() else {
            return vec![first];
        };
        look(dir.as_ref(), &mut first, &mut tops);
    }
    let next = AtomicUsize::new(0);
    let look_on = || {
        let mut found = T::default();
        let mut below = VecDeque::new();
        while let Some(top) = tops.get(next.fetch_add(1, Ordering::Relaxed)) {
            below.push_back(top.clone());
            while let Some(dir) = below.pop_back() {
                look(dir.as_ref(), &mut found, &mut below);
            }
        }
        found
    };
    thread::scope(|scope| {
        // Where there can be no more threads this one does it all.
        let other = thread::Builder::new().spawn_scoped(scope, look_on);
        let ours = look_on();
        let others = other.map_or_else(
            |_| T::default(),
            |other| other.join().unwrap_or_else(|panic| resume_unwind(panic)),
        );
        vec![first, ours, others]
    })
}

impl Walk {
    /// Adds tracked files that are programs though the index says that they are none, or the other way round: git doesn't
    /// look where it was told not to.
    ///
    /// Where the file system keeps no permissions, what it says of them is nothing that anybody has set.
    pub fn add_turned<'a>(&mut self, root: &Path, tracked: impl Iterator<Item = (&'a BStr, bool)>) {
        let mask = umask();
        let mut keeps = None;
        for (path, runs) in tracked {
            let Ok(meta) = place(root, path).symlink_metadata() else {
                continue;
            };
            let is_turned = meta.is_file() && (meta.mode() & 0o100 != 0) != runs;
            // What is odd anyway was found by the walk.
            if is_turned
                && odd_mode(meta.mode(), mask).is_none()
                && *keeps.get_or_insert_with(|| keeps_modes(root))
            {
                let mode = format!("{:04o}", meta.mode() & 0o7777);
                self.odd.modes.entry(mode).or_default().push(Name(path.into()));
            }
        }
    }

    /// Adds what another walk found.
    pub fn add(&mut self, other: Walk) {
        for (mode, paths) in other.odd.modes {
            self.odd.modes.entry(mode).or_default().extend(paths);
        }
        self.odd.empty_directories.extend(other.odd.empty_directories);
        self.unsaved.extend(other.unsaved);
        self.repositories.extend(other.repositories);
        self.holding_git.extend(other.holding_git);
    }

    /// Takes down what git doesn't see of an entry.
    pub fn note(&mut self, path: BString, mode: u32, mask: u32) {
        if let Some(what) = special(mode) {
            let why = format!("a {what} can't be stored");
            self.unsaved.push(Unsaved::new(path, why));
        } else if let Some(mode) = odd_mode(mode, mask) {
            let paths = self.odd.modes.entry(format!("{mode:04o}")).or_default();
            paths.push(Name(path));
        }
    }

    /// Takes down a directory that has nothing in it.
    pub fn note_empty(&mut self, dir: &BStr) {
        self.odd.empty_directories.push(Name(dir.into()));
    }

    /// Leaves out some paths and what is in them, and puts the rest in an order that doesn't depend on the file system.
    pub fn without(mut self, left_out: &HashSet<BString>) -> Walk {
        for paths in self.odd.modes.values_mut() {
            paths.retain(|Name(path)| !is_among(path.as_ref(), left_out));
        }
        self.odd.modes.retain(|_, paths| !paths.is_empty());
        self.odd
            .empty_directories
            .retain(|Name(path)| !is_among(path.as_ref(), left_out));
        self.unsaved
            .retain(|what| !is_among(what.path.as_ref(), left_out));
        self.odd.sort();
        self.unsaved.sort_by(|a, b| a.path.cmp(&b.path));
        self.repositories
            .retain(|path| !is_among(path.as_ref(), left_out));
        self.repositories.sort();
        self
    }
}

fn look(root: &Path, dir: &BStr, mask: u32, found: &mut Walk, queue: &mut VecDeque<BString>) {
    let mut empty = true;
    let listed = list(root, dir, |name, meta| {
        if name == b".git" {
            if !dir.is_empty() {
                empty = false;
                found.repositories.push(dir.into());
            }
            return;
        }
        empty = false;
        let mode = mode_of(meta);
        let is_dir = kind(mode).is_dir();
        // Of most files there is nothing to be told, and so no path to be made.
        if !is_dir && special(mode).is_none() && odd_mode(mode, mask).is_none() {
            return;
        }
        let path = join(dir, name);
        if holds_git(name, mode) {
            found.holding_git.push(path.clone());
        }
        if is_dir {
            queue.push_back(path.clone());
        }
        found.note(path, mode, mask);
    });
    match listed {
        Err(error) => found.unsaved.push(Unsaved::new(dir, error)),
        Ok(()) if empty && !dir.is_empty() => found.note_empty(dir),
        Ok(()) => {}
    }
}

/// Gives each entry of a directory with what lstat(2) says of it.
///
/// # Errors
/// A directory of which some entries can't be told, so that none of them passes for absent.
pub fn list(root: &Path, dir: &BStr, mut each: impl FnMut(&[u8], &Stat)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let at = openat(CWD, place(root, dir), flags, Mode::empty())?;
    for entry in Dir::read_from(&at)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(meta) => each(name.to_bytes(), &meta),
            // One that is gone by now was not there.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Where a relative path of bytes is.
pub fn place(root: &Path, path: &BStr) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// The names that a relative path is made of.
pub fn components(path: &BStr) -> impl DoubleEndedIterator<Item = &BStr> {
    path.split(|byte| *byte == b'/').map(ByteSlice::as_bstr)
}

/// A relative path with one more name.
pub fn join(dir: &BStr, name: &[u8]) -> BString {
    if dir.is_empty() {
        name.into()
    } else {
        [dir.as_bytes(), b"/", name].concat().into()
    }
}

/// The mode of a file, which some systems keep in fewer bits.
#[allow(clippy::unnecessary_cast)]
pub fn mode_of(meta: &Stat) -> u32 {
    meta.st_mode as u32
}

/// The kind of file that a mode tells of.
#[allow(clippy::unnecessary_cast)]
pub fn kind(mode: u32) -> FileType {
    FileType::from_raw_mode(mode as RawMode)
}

/// What a file of that mode is, if a tree can't hold it.
pub fn special(mode: u32) -> Option<&'static str> {
    match kind(mode) {
        FileType::Fifo => Some("FIFO"),
        FileType::Socket => Some("socket"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("device"),
        _ => None,
    }
}

/// The permissions, where they are not what a new file, program or directory would get.
pub fn odd_mode(mode: u32, mask: u32) -> Option<u32> {
    let kind = kind(mode);
    if kind.is_symlink() {
        return None;
    }
    let mode = mode & 0o7777;
    let runs = kind.is_dir() || mode & 0o100 != 0;
    let usual = if runs { 0o777 } else { 0o666 } & !mask;
    // A directory inherits the group bit from above, which is the file system's business.
    let counted = if kind.is_dir() { mode & 0o5777 } else { mode };
    (counted != usual).then_some(mode)
}

/// Whether the file system keeps permissions, found out as `git init` does, by the file that makes this a worktree.
fn keeps_modes(root: &Path) -> bool {
    let file = root.join(".git");
    let mode = || Some(file.symlink_metadata().ok().filter(Metadata::is_file)?.mode() & 0o7777);
    let Some(before) = mode() else { return false };
    let set = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).is_ok();
    let keeps = set(before ^ 0o100) && mode() == Some(before ^ 0o100);
    set(before) && keeps
}

/// The process's file mode creation mask, which the system tells only by changing it.
pub fn umask() -> u32 {
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits()
    })
}
