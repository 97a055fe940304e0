//! What a new process does between fork and exec: plain, async-signal-safe system calls, and no memory.

use std::{
    fs, io,
    os::fd::{BorrowedFd, RawFd},
};

use rustix::io::FdFlags;

/// Gives every signal its default again and unblocks all.
///
/// Ignored signals and the mask pass through exec: a job started from a script's background, where INT is
/// ignored, could otherwise not be asked to stop by INT.
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: signal(2) only changes a disposition, and none of the handlers that it takes away is needed in
        // a process that is about to exec. Numbers that don't exist or can't be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised by sigemptyset before it is used, and lives through the call.
    unsafe {
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Lets the coming exec close all of `open` but `keep`, which keep their numbers.
pub(super) fn inherit_only(keep: &[RawFd], open: &[RawFd]) -> io::Result<()> {
    for fd in open {
        // SAFETY: the descriptor is only named to the kernel, which refuses it when it isn't open any more.
        let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
        let _ = rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
    for fd in keep {
        // SAFETY: the caller's copy of the descriptor is open at the fork, and nothing closes it before the exec.
        let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
        rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
    }
    Ok(())
}

/// The descriptors beyond stderr, for [`inherit_only`]: what our own caller left open is among them.
///
/// Called before the fork, since it needs memory.
pub(super) fn open_fds() -> Vec<RawFd> {
    let fds: Vec<RawFd> = match fs::read_dir("/dev/fd") {
        Ok(dir) => dir
            .flatten()
            .filter_map(|fd| fd.file_name().to_str()?.parse().ok())
            .collect(),
        // Without a list, the usual limit's worth of them is tried.
        Err(_) => (0..1024).collect(),
    };
    fds.into_iter().filter(|fd| *fd > 2).collect()
}

/// Goes on in a child and lets the process that the caller waits for end, so that the child belongs to nobody.
pub(super) fn leave_parent() -> io::Result<()> {
    // SAFETY: this runs in the single thread of a process just made by the C library's own fork, which has put
    // its locks in order; we register no fork handlers, and the child only goes on to exec.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        // SAFETY: _exit runs no handlers and flushes nothing.
        _ => unsafe { libc::_exit(0) },
    }
}
