//! A disk that can be filled.

use std::fs;
use std::path::PathBuf;

use super::Sandbox;

/// A file system of a megabyte, where the system lets us have one.
pub struct SmallDisk<'s> {
    sandbox: &'s Sandbox,
    dir: PathBuf,
}

impl<'s> SmallDisk<'s> {
    /// Puts it over a directory of the repository, which keeps its content.
    pub fn over(sandbox: &'s Sandbox, dir: &str) -> Option<SmallDisk<'s>> {
        let dir = sandbox.file(dir);
        let kept = tempfile::tempdir_in(sandbox.root().join("tmp")).unwrap();
        let copy = |from: PathBuf, to: PathBuf| {
            let copied = sandbox
                .command("cp")
                .args(["-a".into(), from.join("."), to])
                .run();
            copied.code == 0
        };
        let mounted = rustix::process::geteuid().is_root()
            && copy(dir.clone(), kept.path().to_owned())
            && sandbox
                .command("mount")
                .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"])
                .args([&dir])
                .run()
                .code
                == 0;
        if !mounted {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        let disk = SmallDisk { sandbox, dir };
        assert!(copy(kept.path().to_owned(), disk.dir.clone()));
        Some(disk)
    }

    /// Leaves no room at all.
    pub fn fill(&self) {
        fs::write(self.dir.join("filler"), vec![1; 2 << 20]).unwrap_err();
    }

    /// Makes room again.
    pub fn free(&self) {
        fs::remove_file(self.dir.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let saved = self.sandbox.root().join("tmp/saved");
        let _ = self
            .sandbox
            .command("cp")
            .args(["-a".as_ref(), self.dir.as_os_str(), saved.as_os_str()])
            .run();
        self.sandbox
            .command("umount")
            .args(["-l"])
            .args([&self.dir])
            .run();
        let _ = fs::remove_dir_all(&self.dir);
        let _ = fs::rename(saved, &self.dir);
    }
}
