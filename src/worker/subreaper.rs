//! Orphans come to the supervisor instead of to init, where the system can do that.

use std::io;

/// Makes the calling process the parent of every orphan among its descendants.
///
/// Does nothing, successfully, where the system has no subreapers (everywhere but Linux). It is a property of
/// the process, is not inherited by children and survives an exec; see `PR_SET_CHILD_SUBREAPER` in prctl(2).
pub fn become_subreaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}
