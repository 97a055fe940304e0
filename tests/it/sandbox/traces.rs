//! What stands on disk, to tell whether anything changed.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Everything under a directory: kind, mode, time and content of each path.
pub fn of(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    walk(dir, &mut |path, meta| {
        let content = if meta.is_symlink() {
            format!("{:?}", fs::read_link(path).unwrap())
        } else if meta.is_file() {
            let mut hasher = DefaultHasher::new();
            fs::read(path).unwrap_or_default().hash(&mut hasher);
            format!("{:x} {}.{}", hasher.finish(), meta.mtime(), meta.mtime_nsec())
        } else {
            String::new()
        };
        found.insert(path.to_owned(), format!("{:o} {content}", meta.mode()));
    });
    found
}

/// Every file under a directory that holds some text.
pub fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(dir, &mut |path, meta| {
        let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        if meta.is_file() && fs::read(path).is_ok_and(|bytes| holds(&bytes)) {
            found.push(path.to_owned());
        }
    });
    found
}

/// Makes every directory writable for its owner, so that it can be removed.
pub fn make_writable(dir: &Path) {
    walk(dir, &mut |path, meta| {
        if meta.is_dir() && meta.mode() & 0o700 != 0o700 {
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        }
    });
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    let Ok(meta) = fs::symlink_metadata(dir) else {
        return;
    };
    visit(dir, &meta);
    if meta.is_dir() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            walk(&entry.path(), visit);
        }
    }
}
