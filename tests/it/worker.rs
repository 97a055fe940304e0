//! The worker room with real processes. Tests wait for facts (a FIFO, a lock, a wait status), never for time.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use git_session::worker::{
    Detach, DetachError, End, Job, Ladder, Lease, Liveness, Platform, Probe, Process, ProcessId, ReadyError,
    Reporter, Signal, SpawnError, Target, Unsure, Wake, Watch, Worker, become_subreaper, detach,
    find_program, freeze, probe, scan, spawn, stop, thaw, wait_free,
};
use rustix::process::{Pid, WaitOptions};

const LONG: Duration = Duration::from_secs(60);

// --- the sandbox -----------------------------------------------------------------------------------------

/// A directory with FIFOs, in which jobs run.
struct Sandbox {
    dir: tempfile::TempDir,
    platform: Platform,
}

impl Sandbox {
    fn new(platform: Platform) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, platform }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn fifo(self, name: &str) -> Self {
        rustix::fs::mkfifoat(rustix::fs::CWD, self.path(name), 0o600.into()).unwrap();
        self
    }

    /// Waits for a line on a FIFO.
    fn hear(&self, name: &str) -> String {
        let path = self.path(name);
        in_time(move || fs::read_to_string(path).unwrap())
    }

    /// Lets whoever reads the FIFO go on.
    fn tell(&self, name: &str) {
        let path = self.path(name);
        in_time(move || fs::write(path, "go\n").unwrap());
    }

    fn job(&self, script: &str) -> Job {
        self.run(&["sh", "-c", script])
    }

    fn run(&self, argv: &[&str]) -> Job {
        Job {
            argv: argv.iter().map(OsString::from).collect(),
            cwd: self.dir.path().to_owned(),
            env: vec![
                ("PATH".into(), std::env::var_os("PATH").unwrap()),
                ("JOB_MARKER".into(), self.mark()),
            ],
            output: self.path("output.log"),
            inherit: Lease::inheritable(&self.path("job.lock"), LONG).unwrap().unwrap(),
        }
    }

    fn spawn(&self, script: &str) -> Worker {
        spawn(self.job(script)).unwrap()
    }

    fn mark(&self) -> OsString {
        self.path("mark").into_os_string()
    }

    fn identify(&self, pid: i32) -> ProcessId {
        ProcessId::seen_by(self.platform, pid).unwrap()
    }

    fn by_group(&self, worker: &Worker) -> Target {
        Target::on(self.platform).leader(self.identify(worker.id.pid))
    }

    fn by_marker(&self) -> Target {
        Target::on(self.platform).marker("JOB_MARKER", self.mark())
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("output.log")).unwrap()
    }

    fn assert_all_gone(&self, target: &Target) {
        assert_eq!(scan(target).unwrap(), []);
        let free = wait_free(&self.path("job.lock"), Some(LONG)).unwrap();
        assert!(free, "the inherited lock is still held");
    }
}

/// Nothing that a test started outlives it, however the test ends.
impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = stop(&Target::new().marker("JOB_MARKER", self.mark()), Ladder::Kill);
    }
}

fn forms(test: impl Fn(Platform)) {
    #[cfg(target_os = "linux")]
    test(Platform::Linux);
    test(Platform::Posix);
}

fn in_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(act()));
    wait.recv_timeout(LONG).expect("it takes too long")
}

fn wait_status(worker: &Worker, options: WaitOptions) -> rustix::process::WaitStatus {
    let pid = Pid::from_raw(worker.id.pid);
    rustix::process::waitpid(pid, options).unwrap().unwrap().1
}

fn ask(signal: Signal) -> Ladder {
    Ladder::Ask { signal, grace: LONG }
}

fn names(processes: &[Process]) -> Vec<&str> {
    let mut names: Vec<&str> = processes.iter().map(|process| &*process.name).collect();
    names.sort_unstable();
    names
}

fn kill(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Runs a test in a process of its own: what it does to its process would disturb the others.
macro_rules! alone {
    ($(fn $name:ident() $body:block)*) => {$(
        #[test]
        fn $name() {
            if std::env::var_os("ALONE").is_some_and(|name| name == stringify!($name)) {
                $body
            } else {
                let output = again(stringify!($name)).output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
        }
    )*};
}

/// This test binary, to run one test that finds itself alone.
fn again(name: &str) -> Command {
    let full = match module_path!().split_once("::") {
        Some((_, module)) => format!("{module}::{name}"),
        None => name.to_owned(),
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &full, "--nocapture", "--test-threads=1"]);
    command.env("ALONE", name);
    command
}

// --- who a process is ------------------------------------------------------------------------------------

#[test]
fn a_process_is_told_from_every_other() {
    forms(|platform| {
        let own = ProcessId::seen_by(platform, std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        let check = |change: &dyn Fn(&mut ProcessId)| {
            let mut other = own.clone();
            change(&mut other);
            other.check()
        };
        assert_eq!(check(&|id| id.start_time += 60), Liveness::Gone);
        assert_eq!(check(&|id| id.pid = i32::MAX), Liveness::Gone);
        assert_eq!(check(&|id| id.pid = 0), Liveness::Gone);
        assert_eq!(check(&|id| id.pid = -1), Liveness::Gone);
        let other_host = Liveness::Unknown(Unsure::OtherHost);
        assert_eq!(check(&|id| id.host = "elsewhere".into()), other_host);
        if platform != Platform::Posix {
            assert_eq!(check(&|id| id.boot_id = "another".into()), Liveness::Gone);
            let other_namespace = Liveness::Unknown(Unsure::OtherNamespace);
            assert_eq!(check(&|id| id.pid_namespace += 1), other_namespace);
        }
        let json = serde_json::to_string(&own).unwrap();
        assert_eq!(serde_json::from_str::<ProcessId>(&json).unwrap(), own);
    });
}

#[test]
fn a_zombie_is_gone() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform);
        let worker = sandbox.spawn("exit 3");
        let lock = sandbox.path("job.lock");
        assert!(wait_free(&lock, Some(LONG)).unwrap());
        // Descriptors are closed a little before the end, so the end itself is waited for, without reaping.
        let pid = Pid::from_raw(worker.id.pid).unwrap();
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        let id = sandbox.identify(worker.id.pid);
        assert_eq!(id.check(), Liveness::Gone);
        assert_eq!(scan(&sandbox.by_group(&worker)).unwrap(), []);
        wait_status(&worker, WaitOptions::empty());
        assert_eq!(id.check(), Liveness::Gone);
        let error = ProcessId::seen_by(platform, worker.id.pid).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn a_group_whose_number_is_in_other_hands_is_left_alone() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up").fifo("on");
        let worker = sandbox.spawn("echo up > up; read x < on; exit 7");
        sandbox.hear("up");
        let mut reused = sandbox.identify(worker.id.pid);
        reused.start_time -= 60;
        let stopped = stop(&Target::on(platform).leader(reused), Ladder::Kill).unwrap();
        assert!(stopped.signalled.is_empty() && stopped.survivors.is_empty());
        sandbox.tell("on");
        let status = wait_status(&worker, WaitOptions::empty());
        assert_eq!(status.exit_status(), Some(7));
    });
}

// --- leases ----------------------------------------------------------------------------------------------

#[test]
fn a_lease_is_held_until_dropped_and_readers_make_nothing() {
    let sandbox = Sandbox::new(Platform::current());
    let path = sandbox.path("a.lock");
    assert_eq!(probe(&path).unwrap(), Probe::Absent);
    assert!(wait_free(&path, None).unwrap());
    assert!(!path.exists());

    let lease = Lease::acquire(&path, Duration::ZERO).unwrap().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(probe(&path).unwrap(), Probe::Held);
    let start = Instant::now();
    assert!(Lease::acquire(&path, Duration::ZERO).unwrap().is_none());
    assert!(
        start.elapsed() < Duration::from_millis(400),
        "a holder is no reader"
    );
    assert!(Lease::inheritable(&path, Duration::ZERO).unwrap().is_none());
    assert!(!wait_free(&path, Some(Duration::from_millis(20))).unwrap());

    thread::scope(|scope| {
        let waits = [None, Some(LONG)].map(|limit| {
            scope.spawn({
                let path = &path;
                move || wait_free(path, limit).unwrap()
            })
        });
        let taker = scope.spawn(|| Lease::acquire(&path, LONG).unwrap().is_some());
        drop(lease);
        assert!(waits.into_iter().all(|wait| wait.join().unwrap()));
        assert!(taker.join().unwrap());
    });
    drop(Lease::acquire_blocking(&path).unwrap());
    assert_eq!(probe(&path).unwrap(), Probe::Free);
    let error = Lease::acquire(&path.join("x"), Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("a.lock/x"));
}

#[test]
fn readers_never_make_a_taker_believe_it_held() {
    let sandbox = Sandbox::new(Platform::current());
    let path = sandbox.path("a.lock");
    fs::write(&path, "").unwrap();
    let stop_reading = AtomicBool::new(false);
    let reading = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                probe(&path).unwrap();
                reading.wait();
                while !stop_reading.load(Ordering::Relaxed) {
                    probe(&path).unwrap();
                }
            });
        }
        reading.wait();
        let taken = (0..300).all(|_| Lease::acquire(&path, Duration::ZERO).unwrap().is_some());
        stop_reading.store(true, Ordering::Relaxed);
        assert!(taken);
    });
}

#[test]
fn a_lease_on_a_removed_file_is_taken_anew() {
    let sandbox = Sandbox::new(Platform::current());
    let path = sandbox.path("a.lock");
    let old = Lease::acquire_blocking(&path).unwrap();
    thread::scope(|scope| {
        let taker = scope.spawn(|| Lease::acquire_blocking(&path).unwrap());
        fs::remove_file(&path).unwrap();
        drop(old);
        let lease = taker.join().unwrap();
        assert_eq!(probe(&path).unwrap(), Probe::Held);
        drop(lease);
    });
}

#[test]
fn an_inherited_lease_is_held_until_the_last_descendant_ends() {
    let sandbox = Sandbox::new(Platform::current()).fifo("up").fifo("on");
    let lock = sandbox.path("job.lock");
    let worker = sandbox.spawn("(setsid sh -c 'echo up > up; read x < on' &)");
    wait_status(&worker, WaitOptions::empty());
    sandbox.hear("up");
    assert_eq!(probe(&lock).unwrap(), Probe::Held);
    sandbox.tell("on");
    assert!(wait_free(&lock, Some(LONG)).unwrap());
}

// --- starting --------------------------------------------------------------------------------------------

#[test]
fn a_worker_appends_its_output_and_leads_a_clean_group() {
    let sandbox = Sandbox::new(Platform::current());
    let worker = sandbox.spawn("echo out; echo err >&2; read x || echo eof; exit 5");
    assert_eq!(wait_status(&worker, WaitOptions::empty()).exit_status(), Some(5));
    let worker = sandbox.spawn("echo $$ $(ps -o pgid= -p $$); env | grep -c .");
    wait_status(&worker, WaitOptions::empty());
    let pid = worker.id.pid;
    // PATH, the marker and what the shell itself adds (PWD).
    assert_eq!(sandbox.output(), format!("out\nerr\neof\n{pid} {pid}\n3\n"));
    let mode = fs::metadata(sandbox.path("output.log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_inherits_one_descriptor_and_no_signal_settings() {
    let sandbox = Sandbox::new(Platform::Linux);
    let stray = File::open(sandbox.dir.path()).unwrap();
    let job = sandbox.run(&["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]);
    wait_status(&spawn(job).unwrap(), WaitOptions::empty());
    for line in sandbox.output().lines() {
        let set = u64::from_str_radix(line.split_once(":\t").unwrap().1, 16).unwrap();
        // The C library keeps the signals 32 and 33 to itself and changes neither.
        assert_eq!(set & !(0b11 << 31), 0, "{line}");
    }
    let job = sandbox.job("ls /proc/$$/fd; exit");
    let fd = job.inherit.as_raw_fd();
    fs::remove_file(sandbox.path("output.log")).unwrap();
    wait_status(&spawn(job).unwrap(), WaitOptions::empty());
    // In the order of ls, where 11 may come before 2.
    let mut inherited: Vec<i32> = sandbox.output().lines().map(|fd| fd.parse().unwrap()).collect();
    inherited.sort_unstable();
    assert_eq!(inherited, [0, 1, 2, fd]);
    drop(stray);
}

#[test]
fn what_cannot_be_executed_is_told_apart() {
    let sandbox = Sandbox::new(Platform::current());
    let file = |name: &str, text: &[u8], mode: u32| {
        fs::write(sandbox.path(name), text).unwrap();
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    file("plain", b"echo hi\n", 0o644);
    file("lost", b"#!/no/such/interpreter\n", 0o755);
    file("alien", b"\x7fELF\x01\0\0\0 no program", 0o755);
    let refusal = |argv: &[&str]| {
        let error = spawn(sandbox.run(argv)).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let dir = sandbox.dir.path().display();

    let (code, message) = refusal(&["no-such-tool"]);
    assert_eq!(code, 127);
    let path = std::env::var("PATH").unwrap();
    assert_eq!(message, format!("'no-such-tool' not found in PATH '{path}'"));
    assert_eq!(refusal(&["./none"]), (127, format!("'{dir}/./none' not found")));
    assert_eq!(refusal(&[""]).0, 127);
    assert_eq!(refusal(&[]).0, 127);
    assert_eq!(
        refusal(&["./plain"]),
        (126, format!("'{dir}/./plain' is not executable"))
    );
    assert_eq!(refusal(&["./plain/x"]).0, 127);
    assert_eq!(refusal(&["/"]), (126, "'/' is not executable".into()));
    let (code, message) = refusal(&["./lost"]);
    assert_eq!((code, message.contains("interpreter")), (126, true), "{message}");
    let (code, message) = refusal(&["./alien"]);
    assert_eq!(
        (code, message.contains("not a program")),
        (126, true),
        "{message}"
    );
    let huge = "x".repeat(64 << 20);
    assert_eq!(refusal(&["true", &huge]).0, 126);
    assert_eq!(refusal(&["true", "a\0b"]).0, 126);

    let mut job = sandbox.run(&["true"]);
    job.cwd = sandbox.path("gone");
    let error = spawn(job).unwrap_err();
    assert_eq!(error.exit_code(), 127);
    assert_eq!(
        error.to_string(),
        format!("the directory '{dir}/gone' does not exist")
    );
    let mut job = sandbox.run(&["true"]);
    job.output = sandbox.path("gone/output.log");
    assert!(matches!(spawn(job), Err(SpawnError::Output { .. })));
}

#[test]
fn a_program_is_found_on_the_jobs_own_path() {
    let sandbox = Sandbox::new(Platform::current());
    let file = |name: &str, mode: u32| {
        fs::create_dir_all(sandbox.path(name).parent().unwrap()).unwrap();
        fs::write(sandbox.path(name), "echo found $0 $1\n").unwrap();
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    file("a/tool", 0o644);
    file("b/tool", 0o755);
    let cwd = sandbox.dir.path();
    let find = |path: &str| find_program("tool".as_ref(), Some(path.as_ref()), cwd);
    assert_eq!(find("a:b").unwrap(), cwd.join("b/tool"));
    assert!(matches!(find("a:c"), Err(SpawnError::NotExecutable(file)) if file == cwd.join("a/tool")));
    assert!(matches!(find("c"), Err(SpawnError::NotOnPath { .. })));
    assert!(find_program("sh".as_ref(), None, cwd).is_ok());

    let mut job = sandbox.run(&["tool", "it"]);
    job.env[0].1 = "b".into();
    let worker = spawn(job).unwrap();
    assert!(wait_status(&worker, WaitOptions::empty()).exited());
    assert_eq!(sandbox.output(), format!("found {}/b/tool it\n", cwd.display()));
}

// --- finding and stopping --------------------------------------------------------------------------------

#[test]
fn a_group_is_asked_and_goes() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up");
        let worker = sandbox.spawn("sleep 1000 & sleep 1000 & echo up > up; wait");
        sandbox.hear("up");
        let target = sandbox.by_group(&worker);
        assert_eq!(scan(&target).unwrap().len(), 3);
        let stopped = stop(&target, ask(Signal::TERM)).unwrap();
        assert!(!stopped.killed && stopped.survivors.is_empty());
        assert_eq!(stopped.signalled.len(), 3);
        assert_eq!(
            wait_status(&worker, WaitOptions::empty()).terminating_signal(),
            Some(15)
        );
        sandbox.assert_all_gone(&target);
    });
}

#[test]
fn descendants_that_daemonised_are_found_by_the_marker() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up");
        // One in a session of its own, one that then dropped its environment but is that one's child.
        let worker = sandbox
            .spawn("(setsid sh -c 'env -i sleep 1000 & echo up > up; wait' &) ; (sleep 1000 &) ; exit 0");
        wait_status(&worker, WaitOptions::empty());
        sandbox.hear("up");
        let target = sandbox.by_marker().leader(worker.id);
        let stopped = stop(&target, ask(Signal::TERM)).unwrap();
        assert!(!stopped.killed && stopped.survivors.is_empty());
        assert_eq!(stopped.signalled.len(), 3);
        sandbox.assert_all_gone(&target);
    });
}

#[test]
fn the_marker_counts_whole_and_only_in_the_environment() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up").fifo("on");
        let mark = sandbox.mark().into_string().unwrap();
        // The marker as an argument, and as the beginning of another value.
        let script = format!("echo up > up; read x < on # JOB_MARKER={mark} ");
        let mut job = sandbox.job(&script);
        job.env[1].1 = format!("{mark}2").into();
        let worker = spawn(job).unwrap();
        sandbox.hear("up");
        assert_eq!(scan(&sandbox.by_marker()).unwrap(), []);
        sandbox.tell("on");
        wait_status(&worker, WaitOptions::empty());
    });
}

#[test]
fn what_ignores_the_signal_is_killed() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up");
        let worker = sandbox.spawn("trap '' TERM; echo up > up; while :; do sleep 0.05; done");
        sandbox.hear("up");
        let target = sandbox.by_marker().leader(sandbox.identify(worker.id.pid));
        let ladder = Ladder::Ask {
            signal: Signal::TERM,
            grace: Duration::from_millis(100),
        };
        let stopped = stop(&target, ladder).unwrap();
        assert!(stopped.killed && stopped.survivors.is_empty());
        assert_eq!(
            wait_status(&worker, WaitOptions::empty()).terminating_signal(),
            Some(9)
        );
        sandbox.assert_all_gone(&target);
    });
}

#[test]
fn the_workers_own_signal_reaches_it_and_its_clean_up_is_left_to_finish() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform)
            .fifo("up")
            .fifo("cleaning")
            .fifo("other")
            .fifo("on");
        let worker = sandbox.spawn(
            "clean() { sh -c 'echo > cleaning; read x < on; echo saved'; exit 0; }\n\
             trap clean INT\n\
             sh -c 'trap \"\" INT; read x < other' &\n\
             echo up > up; while :; do sleep 0.05; done",
        );
        sandbox.hear("up");
        let target = sandbox.by_group(&worker);
        thread::scope(|scope| {
            let stopping = scope.spawn(|| stop(&target, ask(Signal::INT)).unwrap());
            sandbox.hear("cleaning");
            // The end of another process makes the ladder look again.
            sandbox.tell("other");
            sandbox.tell("on");
            let stopped = stopping.join().unwrap();
            assert!(!stopped.killed && stopped.survivors.is_empty());
        });
        assert_eq!(wait_status(&worker, WaitOptions::empty()).exit_status(), Some(0));
        assert_eq!(sandbox.output(), "saved\n");
    });
}

#[test]
fn more_processes_than_descriptors_are_stopped() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up");
        let worker = sandbox
            .spawn("i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i + 1)); done; echo up > up; wait");
        sandbox.hear("up");
        let target = sandbox.by_group(&worker).lease(sandbox.path("job.lock"));
        let stopped = stop(&target, ask(Signal::TERM)).unwrap();
        assert!(!stopped.killed && stopped.survivors.is_empty() && !stopped.unseen);
        assert_eq!(stopped.signalled.len(), 301);
        wait_status(&worker, WaitOptions::empty());
        sandbox.assert_all_gone(&target);
    });
}

#[test]
fn a_stopped_process_takes_the_signal_too() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform);
        let worker = sandbox.spawn("trap 'echo bye; exit 4' TERM; kill -STOP $$; exit 1");
        assert!(wait_status(&worker, WaitOptions::UNTRACED).stopped());
        let stopped = stop(&sandbox.by_group(&worker), ask(Signal::TERM)).unwrap();
        assert!(!stopped.killed && stopped.survivors.is_empty());
        assert_eq!(wait_status(&worker, WaitOptions::empty()).exit_status(), Some(4));
        assert_eq!(sandbox.output(), "bye\n");
    });
}

// A chain of processes that live for a millisecond is faster than `ps`.
#[cfg(target_os = "linux")]
#[test]
fn a_job_that_keeps_forking_is_killed() {
    let sandbox = Sandbox::new(Platform::Linux).fifo("up");
    let hop = "trap '' TERM; echo 'sh hop & exit' > hop; (setsid sh hop &); echo up > up";
    let worker = sandbox.spawn(hop);
    sandbox.hear("up");
    wait_status(&worker, WaitOptions::empty());
    let target = sandbox.by_marker().lease(sandbox.path("job.lock"));
    let stopped = stop(&target, Ladder::Kill).unwrap();
    assert!(stopped.survivors.is_empty() && !stopped.unseen);
    sandbox.assert_all_gone(&target);
}

#[test]
fn nothing_to_stop_is_no_error() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform);
        let stopped = stop(&sandbox.by_marker(), ask(Signal::TERM)).unwrap();
        assert!(stopped.survivors.is_empty() && stopped.signalled.is_empty() && !stopped.killed);
        assert_eq!(scan(&Target::on(platform)).unwrap(), []);
    });
}

#[test]
fn a_frozen_job_stands_still_until_thawed() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up").fifo("tick");
        let worker = sandbox.spawn(
            "sh -c 'kill -STOP $$; echo continued' & sleep 1000 &\n\
             echo up > up; while :; do echo tick > tick; done",
        );
        sandbox.hear("up");
        let target = sandbox.by_group(&worker);
        let frozen = freeze(&target, || true).unwrap();
        assert_eq!(names(&frozen.moving), [""; 0]);
        assert!(frozen.stopped.len() >= 2);
        assert!(wait_status(&worker, WaitOptions::UNTRACED).stopped());
        let again = freeze(&target, || true).unwrap();
        assert_eq!((again.stopped, again.moving), (vec![], vec![]));
        assert_eq!(thaw(&target).unwrap().len(), 3);
        assert!(sandbox.hear("tick").starts_with("tick"));
        let stopped = stop(&target, Ladder::Kill).unwrap();
        assert!(stopped.killed && stopped.survivors.is_empty());
        wait_status(&worker, WaitOptions::empty());
    });
}

#[test]
fn a_job_goes_on_until_it_may_stand_where_it_stands() {
    forms(|platform| {
        let sandbox = Sandbox::new(platform).fifo("up");
        let worker = sandbox.spawn("touch held; trap 'rm -f held' CONT; echo up > up; while :; do :; done");
        sandbox.hear("up");
        let target = sandbox.by_group(&worker);
        let held = sandbox.path("held");
        let frozen = freeze(&target, || !held.exists()).unwrap();
        assert_eq!(names(&frozen.moving), [""; 0]);
        assert!(!held.exists());
        assert!(wait_status(&worker, WaitOptions::UNTRACED).stopped());
        // What can't be otherwise is no reason not to hold it.
        thaw(&target).unwrap();
        let frozen = freeze(&target, || false).unwrap();
        assert_eq!(names(&frozen.moving), [""; 0]);
        let stopped = stop(&target, Ladder::Kill).unwrap();
        assert!(stopped.killed && stopped.survivors.is_empty());
        wait_status(&worker, WaitOptions::empty());
    });
}

/// A shell that ignores INT and HUP and then becomes the command, as `nohup … &` in a script does.
fn ignoring(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT HUP; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

#[test]
fn a_worker_can_be_interrupted_whatever_its_caller_ignores() {
    let name = "a_worker_can_be_interrupted_whatever_its_caller_ignores";
    if std::env::var_os("ALONE").is_some_and(|alone| alone == name) {
        let sandbox = Sandbox::new(Platform::current());
        let worker = sandbox.spawn("kill -INT $$; exit 1");
        let status = wait_status(&worker, WaitOptions::empty());
        assert_eq!(status.terminating_signal(), Some(Signal::INT.number()));
    } else {
        let output = ignoring(&again(name)).env("ALONE", name).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

alone! {
    fn a_subreaper_finds_every_descendant_and_leaves_no_zombie() {
        forms(|platform| {
            become_subreaper().unwrap();
            let mut watch = Watch::new().unwrap();
            let sandbox = Sandbox::new(platform).fifo("up");
            // Without the group, without the marker, without a parent.
            let worker = sandbox.spawn(
                "(env -i PATH=\"$PATH\" setsid sh -c 'sleep 1000 & echo up > up; wait' &)",
            );
            watch.follow(&worker);
            assert_eq!(watch.wait(None).unwrap(), Wake::Exited(End::Code(0)));
            sandbox.hear("up");
            let own = sandbox.identify(std::process::id() as i32);
            let target = Target::on(platform).supervisor(own);
            assert_eq!(scan(&target).unwrap().len(), 2);
            let stopped = stop(&target, ask(Signal::TERM)).unwrap();
            assert!(!stopped.killed && stopped.survivors.is_empty());
            sandbox.assert_all_gone(&target);
            assert_eq!(watch.wait(Some(Instant::now())).unwrap(), Wake::Deadline);
            let children = rustix::process::wait(WaitOptions::NOHANG);
            assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD);
        });
    }

    fn a_supervisor_is_told_what_happens() {
        let sandbox = Sandbox::new(Platform::current()).fifo("on");
        let mut watch = Watch::new().unwrap();
        let own = std::process::id() as i32;
        let worker = sandbox.spawn("(exit 9); kill -STOP $$; read x < on; kill -USR2 $$");
        watch.follow(&worker);
        assert_eq!(watch.wait(None).unwrap(), Wake::Stopped);
        kill(worker.id.pid, rustix::process::Signal::CONT);
        for (signal, wake) in [
            (rustix::process::Signal::TERM, Wake::Asked(Signal::TERM)),
            (rustix::process::Signal::INT, Wake::Asked(Signal::INT)),
            (rustix::process::Signal::HUP, Wake::Asked(Signal::HUP)),
            (rustix::process::Signal::USR1, Wake::Nudged),
        ] {
            kill(own, signal);
            assert_eq!(watch.wait(None).unwrap(), wake);
        }
        assert_eq!(watch.wait(Some(Instant::now())).unwrap(), Wake::Deadline);
        sandbox.tell("on");
        assert_eq!(watch.wait(None).unwrap(), Wake::Exited(End::Signal("USR2".parse::<Signal>().unwrap().number())));
        assert_eq!(watch.wait(Some(Instant::now())).unwrap(), Wake::Deadline);
    }

    fn an_end_before_the_wait_is_told_with_the_signal_after_it() {
        let sandbox = Sandbox::new(Platform::current());
        let mut watch = Watch::new().unwrap();
        let worker = sandbox.spawn("kill -TERM $PPID; exit 3");
        let pid = Pid::from_raw(worker.id.pid).unwrap();
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        watch.follow(&worker);
        assert_eq!(watch.wait(None).unwrap(), Wake::Exited(End::Code(3)));
        assert_eq!(watch.wait(None).unwrap(), Wake::Asked(Signal::TERM));
    }

    fn a_deadline_is_one_wake_up() {
        let mut watch = Watch::new().unwrap();
        let switches = || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt"));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0)
        };
        let before = switches();
        let start = Instant::now();
        let limit = Duration::from_millis(300);
        assert_eq!(watch.wait(Some(start + limit)).unwrap(), Wake::Deadline);
        assert!(start.elapsed() >= limit);
        assert!(switches() - before <= 2);
    }

    fn a_detached_process_reports_and_belongs_to_nobody() {
        if let Some(dir) = std::env::var_os("DETACHED") {
            let reporter = Reporter::from_stdout().unwrap();
            println!("goes nowhere");
            reporter.report(b"ready").unwrap();
            fs::write(Path::new(&dir).join("done"), "").unwrap();
            return;
        }
        let sandbox = Sandbox::new(Platform::current());
        let supervisor = again("a_detached_process_reports_and_belongs_to_nobody");
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        env.push(("DETACHED".into(), sandbox.dir.path().into()));
        let argv = [supervisor.get_program()].into_iter().chain(supervisor.get_args());
        let ready = detach(Detach {
            argv: argv.map(OsString::from).collect(),
            cwd: "/".into(),
            env,
            log: Some(sandbox.path("log")),
            keep: vec![],
        })
        .unwrap();
        // The process in between was reaped.
        let children = rustix::process::wait(WaitOptions::NOHANG);
        assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD);
        let message = ready.wait(Some(LONG)).unwrap();
        // What comes before it is the test harness's own speech.
        assert!(message.ends_with(b"ready"), "{}", String::from_utf8_lossy(&message));
        assert!(!String::from_utf8_lossy(&message).contains("nowhere"));
    }
}

fn detach_and_end(fifos: &Path) {
    let kept = File::open(fifos).unwrap();
    // A descriptor that the caller's own caller left open, and one that is to be kept.
    let stray = rustix::io::dup(&kept).unwrap();
    assert!(
        !rustix::io::fcntl_getfd(&stray)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    let keep = OwnedFd::from(kept);
    let script = "echo $$ $(ps -o pid= -o ppid= -o sid= -p $$); ls /proc/$$/fd; exec > /dev/null; \
                  read x < $FIFOS/on; echo done > $FIFOS/done";
    let number = keep.as_raw_fd();
    let env = ["PATH", "FIFOS"].map(|name| (name.into(), std::env::var_os(name).unwrap()));
    let ready = detach(Detach {
        argv: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
        cwd: "/".into(),
        env: env.to_vec(),
        log: None,
        keep: vec![keep],
    })
    .unwrap();
    let message = String::from_utf8(ready.wait(Some(LONG)).unwrap()).unwrap();
    let mut lines = message.lines();
    let ids: Vec<u32> = lines
        .next()
        .unwrap()
        .split(' ')
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!((ids.len(), ids[0], ids[3]), (4, ids[1], ids[1]), "{message}");
    assert_ne!(ids[2], std::process::id());
    let number = number.to_string();
    assert_eq!(lines.collect::<Vec<_>>(), ["0", "1", "2", &number]);
    drop(stray);
}

#[test]
fn a_caller_in_a_command_substitution_returns_while_the_detached_lives() {
    if let Some(fifos) = std::env::var_os("FIFOS") {
        return detach_and_end(Path::new(&fifos));
    }
    let sandbox = Sandbox::new(Platform::current()).fifo("on").fifo("done");
    let mut caller = again("a_caller_in_a_command_substitution_returns_while_the_detached_lives");
    caller.env("FIFOS", sandbox.dir.path());
    // This returns when the pipes of stdout and stderr are closed in every process that had them.
    let output = in_time(move || caller.output().unwrap());
    assert!(output.status.success(), "{output:?}");
    sandbox.tell("on");
    assert_eq!(sandbox.hear("done"), "done\n");
}

#[test]
fn a_detached_process_that_fails_is_told_apart() {
    let sandbox = Sandbox::new(Platform::current()).fifo("on");
    let start = |argv: &[&str]| {
        detach(Detach {
            argv: argv.iter().map(OsString::from).collect(),
            cwd: sandbox.dir.path().to_owned(),
            env: vec![("JOB_MARKER".into(), sandbox.mark())],
            log: None,
            keep: vec![],
        })
    };
    assert!(matches!(start(&[]), Err(DetachError::Empty)));
    assert!(matches!(
        start(&["/no/such/program"]),
        Err(DetachError::Start { .. })
    ));
    let died = start(&["/bin/sh", "-c", "exit 3"]).unwrap();
    assert!(matches!(died.wait(Some(LONG)), Err(ReadyError::Died)));
    let late = start(&["/bin/sh", "-c", "read x < on"]).unwrap();
    assert!(matches!(late.wait(Some(Duration::ZERO)), Err(ReadyError::Late)));
    sandbox.tell("on");
    let whole = start(&["/bin/sh", "-c", "printf 'one '; printf two"]).unwrap();
    assert_eq!(whole.wait(None).unwrap(), b"one two");
}

alone! {
    fn a_group_is_known_by_its_session_when_both_leaders_are_gone() {
        if let Some(dir) = std::env::var_os("DETACHED") {
            let reporter = Reporter::from_stdout().unwrap();
            let platform = if std::env::var_os("FORM").is_some_and(|form| form == "Posix") {
                Platform::Posix
            } else {
                Platform::current()
            };
            // The worker ends and leaves one in its group, which has dropped the marker.
            let dir = Path::new(&dir);
            let worker = spawn(Job {
                argv: ["sh", "-c", "env -i sleep 1000 &"].map(OsString::from).to_vec(),
                cwd: dir.to_owned(),
                env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
                output: dir.join("output.log"),
                inherit: Lease::inheritable(&dir.join("job.lock"), LONG).unwrap().unwrap(),
            })
            .unwrap();
            let ids = [worker.id.pid, std::process::id() as i32]
                .map(|pid| ProcessId::seen_by(platform, pid).unwrap());
            wait_status(&worker, WaitOptions::empty());
            let _supervisor = Lease::acquire_blocking(&dir.join("supervisor.lock")).unwrap();
            reporter.report(&[b"=", &*serde_json::to_vec(&ids).unwrap()].concat()).unwrap();
            std::process::exit(0);
        }
        forms(|platform| {
            let sandbox = Sandbox::new(platform);
            let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
            env.push(("DETACHED".into(), sandbox.dir.path().into()));
            env.push(("FORM".into(), format!("{platform:?}").into()));
            let supervisor = again("a_group_is_known_by_its_session_when_both_leaders_are_gone");
            let argv = [supervisor.get_program()].into_iter().chain(supervisor.get_args());
            let ready = detach(Detach {
                argv: argv.map(OsString::from).collect(),
                cwd: "/".into(),
                env,
                log: Some(sandbox.path("log")),
                keep: vec![],
            })
            .unwrap();
            let message = ready.wait(Some(LONG)).unwrap();
            let start = message.iter().position(|byte| *byte == b'=').unwrap() + 1;
            let [leader, supervisor]: [ProcessId; 2] =
                serde_json::from_slice(&message[start..]).unwrap();
            assert!(wait_free(&sandbox.path("supervisor.lock"), Some(LONG)).unwrap());
            assert!(!leader.is_alive());
            let alone = Target::on(platform).leader(leader);
            assert_eq!(scan(&alone).unwrap(), []);
            let target = alone.supervisor(supervisor);
            let stopped = stop(&target, ask(Signal::TERM)).unwrap();
            assert!(!stopped.killed && stopped.survivors.is_empty());
            // It may not have become a sleep yet.
            assert_eq!(stopped.signalled.len(), 1);
            sandbox.assert_all_gone(&target);
        });
    }
}
