//! git itself, and locks that stand in its way.

use std::time::Duration;

use gix::bstr::ByteSlice;
use rustix::fs::{Access, access};

use super::Report;
use crate::git::RefFormat;
use crate::git::refs::leftover::{Whose, leftover};
use crate::ops::workspace::Workspace;
use crate::session::duration::brief;

/// How long a lock may stand before somebody is told of it.
const SOON: Duration = Duration::from_secs(30);

pub fn look(ws: &Workspace, report: &mut Report) {
    let version = ws.repo.git().and_then(|git| git.arg("version").run());
    match version {
        Ok(text) => report.ok("git", text.trim().to_str_lossy()),
        Err(error) => report.problem("git", error.to_string()),
    };
    let format = match ws.repo.ref_format() {
        RefFormat::Files => "files",
        RefFormat::Reftable => "reftable",
    };
    let hash = ws.repo.object_hash();
    report.ok(
        "format",
        format!("references are kept as {format}, objects are named by {hash}"),
    );
}

/// Names directories of the repository that have to be written for anything to be recorded, and can't be.
pub fn directories(ws: &Workspace, report: &mut Report) {
    let common = ws.repo.common_dir();
    let refs = match ws.repo.ref_format() {
        RefFormat::Files => "refs",
        RefFormat::Reftable => "reftable",
    };
    let local = ws.repo.local_dir();
    let mut dirs = vec![common.to_owned(), common.join("objects"), common.join(refs)];
    dirs.extend([
        local.clone(),
        local.join("run"),
        local.join("cache"),
        local.join("trash"),
    ]);
    for dir in dirs {
        // What is not there yet is made when it is needed.
        let Ok(meta) = std::fs::metadata(&dir) else {
            continue;
        };
        let why = match meta.is_dir() {
            true => access(&dir, Access::WRITE_OK | Access::EXEC_OK)
                .err()
                .map(|error| std::io::Error::from(error).to_string()),
            false => Some("it is no directory".to_owned()),
        };
        if let Some(why) = why {
            let message = format!("'{}' can't be written: {why}", dir.display());
            report
                .problem("directory", message)
                .but("see whose it is, and whether its file system is mounted for writing");
        }
    }
}

/// Names locks that nobody seems to hold any more.
pub fn locks(ws: &Workspace, report: &mut Report) {
    let mut none = true;
    for lock in leftover(&ws.repo) {
        let (path, age) = (lock.path.display(), brief(lock.age));
        match lock.whose {
            Whose::Alive => continue,
            Whose::Unknown if lock.age < SOON => continue,
            Whose::Dead => report
                .hint("lock", format!("'{path}' was left by a process that was killed"))
                .but("the next step that needs it removes it, and so does 'git session doctor --repair'"),
            Whose::Unknown => report
                .problem("lock", format!("'{path}' stands since {age} ago"))
                .but("if no git process is at work here, remove it"),
        }
        none = false;
    }
    if none {
        report.ok("locks", "no lock is left over");
    }
}

/// Removes the locks that dead processes of ours left on references.
pub fn unlock(ws: &Workspace, repaired: &mut Vec<String>) {
    for lock in leftover(&ws.repo) {
        let name = lock.path.strip_prefix(ws.repo.common_dir()).ok();
        let name = name.and_then(|path| path.to_str()?.strip_suffix(".lock"));
        let Some(name) = name.filter(|_| lock.whose == Whose::Dead) else {
            continue;
        };
        ws.repo.refs().unlock_after_crash(name);
        ws.repo.refs().clear_abandoned();
        if lock.path.symlink_metadata().is_err() {
            repaired.push(format!("'{}' was removed", lock.path.display()));
        }
    }
}
