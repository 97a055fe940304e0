//! A system that doesn't show its processes for a moment, or takes its time: nothing is left as it was never said to be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::on_one_format;
use crate::sandbox::{Cmd, Sandbox, until};

/// A `ps` that fails once there is a file, which has the pid of a process that is to be stopped by then.
struct Ps<'s> {
    sandbox: &'s Sandbox,
    fails: PathBuf,
    path: String,
}

impl<'s> Ps<'s> {
    fn of(sandbox: &'s Sandbox) -> Ps<'s> {
        let (dir, fails) = (sandbox.root().join("home/bin"), sandbox.root().join("home/fails"));
        let usual = std::env::var("PATH").unwrap();
        let real = which::which("ps").unwrap();
        let script = format!(
            "#!/bin/sh\n\
             if pid=$(cat \"{fails}\" 2>/dev/null) && grep -qs '^State:.*T' /proc/$pid/status; then\n\
             rm \"{fails}\"; echo 'out of order' >&2; exit 1; fi\n\
             exec \"{real}\" \"$@\"\n",
            fails = fails.display(),
            real = real.display(),
        );
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ps"), script).unwrap();
        fs::set_permissions(dir.join("ps"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{usual}", dir.display());
        Ps { sandbox, fails, path }
    }

    /// Lets it take its time, as on a machine that has other things to do.
    fn slow_down(&self) {
        let ps = self.sandbox.root().join("home/bin/ps");
        let script = fs::read_to_string(&ps)
            .unwrap()
            .replacen("exec ", "sleep 0.3\nexec ", 1);
        fs::write(&ps, script).unwrap();
    }

    /// The binary, to be run where processes are seen by that `ps` alone.
    fn session(&self, line: &str) -> Cmd {
        let command = self.sandbox.session_command(line);
        command
            .env("GIT_SESSION_PLATFORM", "posix")
            .env("PATH", &self.path)
    }

    /// Starts a worker that does nothing; gives its pid.
    fn start(&self, options: &str) -> String {
        self.sandbox.fifo("up");
        let run = self.session(&format!("run -d {options} -- sh -c"));
        run.args(["echo $$ > \"$FIFOS/up\"; exec sleep 1000"]).run().ok();
        self.sandbox.hear("up")
    }

    fn fail_once_stopped(&self, pid: &str) {
        fs::write(&self.fails, pid).unwrap();
    }
}

fn is_stopped(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().any(|line| line.starts_with("State:\tT"))
}

on_one_format! {
    fn a_freeze_that_fails_leaves_no_process_stopped(sandbox: &Sandbox) {
        let ps = Ps::of(sandbox);
        let pid = ps.start("--id warm");
        ps.fail_once_stopped(&pid);
        ps.session("suspend --freeze warm").run().fails(128).says("out of order");
        assert!(!is_stopped(&pid));
        assert_eq!(sandbox.state("warm"), "running");
        assert!(!sandbox.run_dir("warm").join("intent.json").exists());
        ps.session("terminate --kill warm").run().ok();
    }

    fn a_freeze_takes_place_however_long_a_look_takes(sandbox: &Sandbox) {
        let ps = Ps::of(sandbox);
        let pid = ps.start("--id slow");
        ps.slow_down();
        ps.session("suspend --freeze slow").run().ok();
        assert!(is_stopped(&pid));
        ps.session("resume slow").run().ok();
        ps.session("terminate --kill slow").run().ok();
    }

    fn a_supervisor_outlasts_a_look_that_fails(sandbox: &Sandbox) {
        let ps = Ps::of(sandbox);
        let pid = ps.start("--id timed --timeout 2s");
        // It has to look when its time is up, and can't, unless this machine is so slow that it is up already.
        sandbox.command("kill").args(["-STOP", &pid]).run();
        ps.fail_once_stopped(&pid);
        let log = sandbox.run_dir("timed").join("supervisor.log");
        let has_failed = || fs::read_to_string(&log).is_ok_and(|said| said.contains("out of order"));
        until("the look has failed", || has_failed() || sandbox.state("timed") == "terminated");
        ps.session("wait timed").run().exits(124);
        assert_eq!(sandbox.trailer("timed", "Outcome"), "timeout");
    }
}
