//! Files that are about to become references or locks.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::git::{Error, Result};

/// The beginning of the names of files that are about to become locks or references.
const TEMPORARY: &str = "tmp_ref_";

pub(super) fn temporary(common: &Path) -> Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(common)
        .map_err(Error::io(format!("cannot write to '{}'", common.display())))
}

/// Removes temporary files that killed processes left.
pub(super) fn sweep(common: &Path) {
    let Ok(entries) = fs::read_dir(common) else { return };
    for entry in entries.flatten() {
        let old = entry.metadata().is_ok_and(|meta| {
            meta.modified()
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(3600)))
        });
        if old && entry.file_name().as_bytes().starts_with(TEMPORARY.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
