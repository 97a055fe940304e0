//! What git doesn't look at: permissions, empty directories, and what is neither file, directory nor link.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use gix::bstr::{BStr, BString, ByteSlice};

use super::Unsaved;
use super::manifest::{Name, Odd};

/// How many directories make a second thread worth it.
const MANY: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub struct Walk {
    pub odd: Odd,
    pub unsaved: Vec<Unsaved>,
}

/// Looks through a directory, without what is in `skip` (paths relative to it) and without `.git` at its top.
pub fn walk(root: &Path, skip: &HashSet<BString>) -> Walk {
    let mask = umask();
    let mut found = Walk::default();
    let mut queue = vec![BString::default()];
    // One thread goes on until there is enough for two.
    while queue.len() < MANY {
        let Some(dir) = queue.pop() else { break };
        look(root, dir.as_ref(), skip, mask, &mut found, &mut queue);
    }
    if !queue.is_empty() {
        let shared = Mutex::new(queue);
        let all = Mutex::new(&mut found);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut found = Walk::default();
                    let mut own = Vec::new();
                    loop {
                        let next = own.pop().or_else(|| shared.lock().ok()?.pop());
                        let Some(dir) = next else { break };
                        look(root, BStr::new(&dir), skip, mask, &mut found, &mut own);
                    }
                    if let Ok(mut all) = all.lock() {
                        all.add(found);
                    }
                });
            }
        });
    }
    found.odd.sort();
    found.unsaved.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

impl Walk {
    fn add(&mut self, other: Walk) {
        for (mode, mut paths) in other.odd.modes {
            self.odd.modes.entry(mode).or_default().append(&mut paths);
        }
        self.odd.empty_directories.extend(other.odd.empty_directories);
        self.unsaved.extend(other.unsaved);
    }
}

fn look(
    root: &Path,
    dir: &BStr,
    skip: &HashSet<BString>,
    mask: u32,
    found: &mut Walk,
    queue: &mut Vec<BString>,
) {
    let at = place(root, dir);
    let entries = match fs::read_dir(&at) {
        Ok(entries) => entries,
        Err(error) => return found.unsaved.push(Unsaved::new(dir, error)),
    };
    let mut empty = true;
    for entry in entries.flatten() {
        let file = entry.file_name();
        if dir.is_empty() && file == ".git" {
            continue;
        }
        empty = false;
        let path = join(dir, file.as_bytes());
        if skip.contains(&path) {
            continue;
        }
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            queue.push(path.clone());
        } else if let Some(what) = special(&meta) {
            found
                .unsaved
                .push(Unsaved::new(path, format!("a {what} can't be stored")));
            continue;
        }
        if let Some(mode) = odd_mode(&meta, mask) {
            found
                .odd
                .modes
                .entry(format!("{mode:04o}"))
                .or_default()
                .push(Name(path));
        }
    }
    if empty && !dir.is_empty() {
        found.odd.empty_directories.push(Name(dir.into()));
    }
}

/// Where a relative path of bytes is.
pub fn place(root: &Path, path: &BStr) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// A relative path with one more name.
pub fn join(dir: &BStr, name: &[u8]) -> BString {
    if dir.is_empty() {
        name.into()
    } else {
        [dir.as_bytes(), b"/", name].concat().into()
    }
}

/// What a file is, if a tree can't hold it.
pub fn special(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    if kind.is_fifo() {
        Some("FIFO")
    } else if kind.is_socket() {
        Some("socket")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("device")
    } else {
        None
    }
}

/// The permissions, where they are not what a new file, program or directory would get.
pub fn odd_mode(meta: &Metadata, mask: u32) -> Option<u32> {
    if meta.is_symlink() {
        return None;
    }
    let mode = meta.mode() & 0o7777;
    let runs = meta.is_dir() || mode & 0o100 != 0;
    let usual = if runs { 0o777 } else { 0o666 } & !mask;
    // A directory inherits the group bit from above, which is the file system's business.
    let counted = if meta.is_dir() { mode & 0o5777 } else { mode };
    (counted != usual).then_some(mode)
}

/// The process's file mode creation mask, which the system tells only by changing it.
pub fn umask() -> u32 {
    use std::sync::OnceLock;
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        let mask = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits()
    })
}
