//! Whether any process has a file open: on Linux from `/proc`; elsewhere nobody can tell.

use std::fs::File;
use std::path::Path;

/// Who has a file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    ByNobody,
    BySomebody,
    /// It can't be told: processes that can't be looked at may have it, or those of other machines.
    Unknown,
}

/// Looks for whoever has a file open, by its last name and its inode; `beside` is something on the same file system.
///
/// It is told only where all processes of the machine are seen, which is so in its first pid namespace.
/// `GIT_SESSION_PLATFORM=posix` asks for the form that systems other than Linux have.
pub(super) fn opened(path: &Path, inode: u64, beside: &File) -> Opened {
    #[cfg(target_os = "linux")]
    if std::env::var_os("GIT_SESSION_PLATFORM").is_none_or(|form| form != "posix") {
        return match linux::is_local(beside) && linux::sees_all() {
            true => linux::opened(path, inode).unwrap_or(Opened::Unknown),
            false => Opened::Unknown,
        };
    }
    let _ = (path, inode, beside);
    Opened::Unknown
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::Opened;

    /// File systems that are also other machines', by the numbers of statfs(2): NFS, SMB (three), AFS, Ceph, Lustre,
    /// GPFS, OCFS2, GFS2, 9P, and what a program provides (FUSE).
    const SHARED: [u32; 12] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x5346_414f,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x4750_4653,
        0x7461_636f,
        0x0116_1970,
        0x0102_1997,
        0x6573_5546,
    ];

    /// Whether only this machine's processes can have the file open.
    pub(super) fn is_local(file: &File) -> bool {
        rustix::fs::fstatfs(file).is_ok_and(|fs| {
            // The number has 32 bits, whatever the type that the system gives it.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let kind = fs.f_type as u32;
            !SHARED.contains(&kind)
        })
    }

    /// Whether `/proc` shows the processes of containers too: it is whole, and that of the kernel's first namespace.
    pub(super) fn sees_all() -> bool {
        let own = rustix::process::getpid().as_raw_pid();
        let first = |pid: String| {
            let link = fs::read_link(format!("/proc/{pid}/ns/pid"));
            link.is_ok_and(|name| name.as_os_str() == "pid:[4026531836]")
        };
        first("self".to_owned()) && first(own.to_string())
    }

    /// Looks at all processes.
    pub(super) fn opened(path: &Path, inode: u64) -> io::Result<Opened> {
        let mut answer = Opened::ByNobody;
        for dir in fs::read_dir("/proc")? {
            let dir = dir?;
            let name = dir.file_name();
            if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            match has_open(&dir.path(), path, inode) {
                Ok(true) => return Ok(Opened::BySomebody),
                Ok(false) => {}
                // A key agent lets nobody look; a git always does that is its user's.
                Err(_) if !is_git(&dir.path()) => {}
                Err(_) => answer = Opened::Unknown,
            }
        }
        Ok(answer)
    }

    /// Whether a process has it open, or is a git that stands still and so may be about to use it.
    fn has_open(process: &Path, path: &Path, inode: u64) -> io::Result<bool> {
        let fds = match fs::read_dir(process.join("fd")) {
            Err(error) if is_gone(&error) => return Ok(false),
            fds => fds?,
        };
        for fd in fds {
            let fd = match fd {
                Err(error) if is_gone(&error) => break,
                fd => fd?.path(),
            };
            // Only files of that name are looked at themselves: others may be where nobody answers.
            let found = fs::read_link(&fd).and_then(|target| match target.file_name() == path.file_name() {
                true => Ok(fs::metadata(&fd)?.ino() == inode),
                false => Ok(false),
            });
            match found {
                Ok(true) => return Ok(true),
                Err(error) if !is_gone(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(is_git(process) && stands_still(process))
    }

    fn is_git(process: &Path) -> bool {
        fs::read(process.join("comm")).is_ok_and(|name| name == b"git\n")
    }

    fn stands_still(process: &Path) -> bool {
        let stat = fs::read(process.join("stat")).unwrap_or_default();
        let end = stat.iter().rposition(|byte| *byte == b')').unwrap_or_default();
        matches!(stat.get(end + 2), Some(b'T' | b't'))
    }

    /// ESRCH comes when the process ends between open and read.
    fn is_gone(error: &io::Error) -> bool {
        error.kind() == ErrorKind::NotFound
            || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
    }
}
