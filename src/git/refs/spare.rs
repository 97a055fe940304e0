//! The file that held a reference's value before its present one, kept to be written with the next.
//!
//! A new file for each value, renamed over the old one, is a file made and one deleted, and a file system may be slow
//! to make files where many were deleted: ext4 passes over each of them for a minute. So two files change places.
//!
//! Somebody may still be reading what was a reference a moment ago, and must not see it change. A write lease, as in
//! fcntl(2), is had only while nobody else has the file open, and it has ended before the file is a reference again, so
//! that no reader of one waits for it. Who has looked the file up and not opened it yet is not seen by a lease: for
//! such a one the file is only ever written with later values of the same reference. Where anything about that can't
//! be had, a new file is made, as ever.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Where it is, in the common directory; there is one at most, named after its reference.
const DIRECTORY: &str = "git-session.spare";

fn place(common: &Path, path: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    path.strip_prefix(common).unwrap_or(path).hash(&mut hasher);
    common.join(DIRECTORY).join(format!("{:016x}", hasher.finish()))
}

/// The spare file with a reference's next value in it.
pub(super) struct Spare {
    file: File,
    place: PathBuf,
}

impl Spare {
    /// Writes the value of a loose reference to its spare file; none if that can't be had.
    ///
    /// The caller holds the reference's lock, and the `flock` under which all our updates are.
    pub(super) fn write(common: &Path, path: &Path, value: &[u8]) -> Option<Spare> {
        let place = place(common, path);
        let file = system::write(&place, path, value).ok()?;
        Some(Spare { file, place })
    }

    /// Presses the value to disk: neither the length nor anything else that is needed to read it has changed.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Makes the file the reference, and what that was the spare file; tells whether that could be done.
    ///
    /// A machine that goes down before the value is on disk may leave what the file had before: a value that the
    /// reference had.
    pub(super) fn exchange(self, path: &Path) -> bool {
        system::exchange(&self.place, path).is_ok()
    }
}

/// Puts a new file in a loose reference's place, and keeps the old one to be the spare; tells whether that could be done.
pub(super) fn replace(common: &Path, new: &Path, path: &Path) -> bool {
    if system::exchange(new, path).is_err() {
        return false;
    }
    // The reference has its value; what fails from here on leaves a temporary file.
    let _ = keep(new, &place(common, path));
    true
}

fn keep(old: &Path, place: &Path) -> io::Result<()> {
    let directory = place.parent().unwrap_or(place);
    match fs::symlink_metadata(directory) {
        Ok(meta) if meta.is_dir() => remove_others(directory, place)?,
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(_) => fs::create_dir(directory)?,
    }
    fs::rename(old, place)
}

fn remove_others(directory: &Path, place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        let is_ours = |name: &str| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if entry.file_name().to_str().is_some_and(is_ours) && entry.path() != place {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::{File, Metadata, OpenOptions};
    use std::io::{Error, ErrorKind, Result};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    pub fn write(spare: &Path, path: &Path, value: &[u8]) -> Result<File> {
        // Neither somebody's lease on it nor a FIFO of that name is waited for.
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(spare)?;
        lease(&file, libc::F_WRLCK)?;
        let written = match is_alike(&file, path, value.len())? {
            true => file.write_all_at(value, 0),
            false => Err(ErrorKind::InvalidData.into()),
        };
        lease(&file, libc::F_UNLCK)?;
        written.map(|()| file)
    }

    pub fn exchange(one: &Path, other: &Path) -> Result<()> {
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    /// Whether nobody could tell the two files apart once one is written, and nothing else is a name of the spare one.
    fn is_alike(spare: &File, path: &Path, length: usize) -> Result<bool> {
        let (spare, now) = (spare.metadata()?, path.symlink_metadata()?);
        let traits = |of: &Metadata| (of.mode(), of.uid(), of.gid());
        Ok(now.is_file()
            && traits(&spare) == traits(&now)
            && spare.nlink() == 1
            && spare.len() == length as u64)
    }

    /// Takes a lease, or ends one.
    fn lease(file: &File, kind: libc::c_int) -> Result<()> {
        /// Which signal tells of somebody who waits; absent from libc.
        const F_SETSIG: libc::c_int = 10;
        let fd = file.as_raw_fd();
        // SAFETY: these calls take numbers and touch no memory. The signal is one that is ignored unless a program asks
        // for it, since the default one would end it.
        let done = unsafe {
            libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0 && libc::fcntl(fd, libc::F_SETLEASE, kind) == 0
        };
        if done { Ok(()) } else { Err(Error::last_os_error()) }
    }
}

/// Elsewhere a file can't be had alone, nor can two change places: a new one is made for each value.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io::{ErrorKind, Result};
    use std::path::Path;

    pub fn write(_: &Path, _: &Path, _: &[u8]) -> Result<File> {
        Err(ErrorKind::Unsupported.into())
    }

    pub fn exchange(_: &Path, _: &Path) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}
