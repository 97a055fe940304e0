//! A command on a terminal of its own, and what somebody types there.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{Cmd, in_time};

impl Cmd {
    /// Runs it on a terminal on which these lines are typed; gives what is to be read there, and its exit code.
    pub fn typed(self, lines: &str) -> (String, i32) {
        self.on_terminal(lines, false)
    }

    /// Runs it on a terminal that gets its data too; gives what is to be read there.
    pub fn shown(self) -> String {
        self.on_terminal("", true).0
    }

    fn on_terminal(self, lines: &str, with_data: bool) -> (String, i32) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())))
            .unwrap();
        let mut ours = File::from(ours);
        ours.write_all(lines.as_bytes()).unwrap();
        let mut child = None;
        let cmd = self.inner(|command| {
            let data = match with_data {
                true => theirs.try_clone().unwrap().into(),
                false => Stdio::null(),
            };
            command
                .stdin(theirs.try_clone().unwrap())
                .stdout(data)
                .stderr(theirs);
            child = Some(command.spawn().unwrap());
        });
        // The terminal ends once nobody has it open any more.
        drop(cmd);
        let shown = thread::spawn(move || {
            let mut shown = Vec::new();
            let _ = ours.read_to_end(&mut shown);
            String::from_utf8_lossy(&shown).into_owned()
        });
        let mut child = child.unwrap();
        let status = in_time("a command on a terminal ends", move || child.wait().unwrap());
        let shown = in_time("its terminal is closed", move || shown.join().unwrap());
        (shown, status.code().unwrap_or(-1))
    }
}
