//! Processes that are killed, machines that go away, and what the next command makes of it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Held, Sandbox, processes, wait_unlocked};
use crate::{on_every_format, on_one_format};

/// Kills both, the supervisor first, so that nobody records how the worker ended.
fn crash(sandbox: &Sandbox, held: &Held) {
    sandbox.kill_supervisor(held);
    sandbox.kill_worker(held);
}

/// Every lock file that git or we would wait for.
fn locks(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let traces = crate::sandbox::traces::of(&sandbox.repo().join(".git"));
    let own = sandbox.local();
    traces
        .into_keys()
        .filter(|path| path.extension().is_some_and(|end| end == "lock") && !path.starts_with(&own))
        .collect()
}

/// Replaces one piece of text in a session's run record.
fn edit_record(sandbox: &Sandbox, id: &str, from: &str, to: &str) {
    let path = sandbox.run_dir(id).join("run.json");
    let record = fs::read_to_string(&path).unwrap();
    assert!(record.contains(from), "'{from}' is not in {record}");
    fs::write(path, record.replace(from, to)).unwrap();
}

on_every_format! {
    fn a_worker_that_outlives_its_supervisor_is_stopped_before_anything_is_recorded(sandbox: &Sandbox) {
        let held = sandbox.hold("--id orphan");
        sandbox.order(&held, "echo kept > kept.txt");
        sandbox.kill_supervisor(&held);
        assert!(processes::is_alive(held.pid));
        let before = sandbox.tip("orphan");
        assert_eq!(sandbox.show("orphan")["stale"], true);
        assert!(sandbox.session("list").ok().stdout().contains("unsupervised"));
        // A note stops nothing and decides nothing.
        sandbox.session("note orphan -m 'how odd'").ok();
        assert!(processes::is_alive(held.pid));
        assert_eq!(sandbox.state("orphan"), "running");
        assert_ne!(sandbox.tip("orphan"), before);

        sandbox.session("recover orphan").ok();
        assert!(!processes::is_alive(held.pid));
        assert_eq!(sandbox.state("orphan"), "suspended");
        assert_eq!(sandbox.trailer("orphan", "Reason"), "lost");
        assert_eq!(sandbox.saved("orphan", "kept.txt"), "kept");
        sandbox.end("orphan");
    }

    fn a_checkpoint_says_that_it_found_a_worker_without_its_supervisor(sandbox: &Sandbox) {
        let held = sandbox.hold("--id orphan");
        sandbox.session("checkpoint orphan").ok().says("orphan: saved as event 3\n");
        sandbox.kill_supervisor(&held);
        let said = "orphan: nobody supervised it, so it is suspended now; saved as event 5\n";
        sandbox.session("checkpoint orphan").ok().says(said);
        sandbox.session("show orphan").ok().prints("suspended");
        sandbox.session("log orphan").ok().prints("reason   lost: nobody supervised it any more\n");
        sandbox.end("orphan");
    }

    fn a_worker_that_is_killed_ends_its_session_with_the_signal(sandbox: &Sandbox) {
        let held = sandbox.hold("--id victim");
        sandbox.kill_worker(&held);
        sandbox.session("wait victim").exits(137);
        assert_eq!(sandbox.trailer("victim", "Outcome"), "signal:9");
    }

    fn a_session_that_lost_both_is_stale_and_can_be_resumed(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id lost");
        sandbox.order(
            &held,
            "echo half > half.txt; echo state > \"$GIT_SESSION_STATE_DIR/memory\"",
        );
        crash(sandbox, &held);
        assert_eq!(sandbox.show("lost")["stale"], true);
        assert_eq!(sandbox.state("lost"), "running");
        sandbox.session("recover --all").ok();
        assert_eq!(sandbox.state("lost"), "suspended");
        assert_eq!(sandbox.show("lost").get("stale"), None);
        fs::remove_dir_all(sandbox.worktree("lost")).unwrap();
        sandbox.resume(&mut held);
        sandbox.order(
            &held,
            "grep -q half half.txt && grep -q state \"$GIT_SESSION_STATE_DIR/memory\"",
        );
        sandbox.let_end(&held, 0);
        assert_eq!(
            sandbox.events("lost"),
            ["create", "start", "suspend", "resume", "terminate"]
        );
    }

    fn what_cannot_be_read_of_one_session_is_told_and_hides_no_other(sandbox: &Sandbox) {
        sandbox.new_session("--id good -- true");
        let held = sandbox.hold("--id odd");
        let record = sandbox.run_dir("odd").join("run.json");
        let text = fs::read_to_string(&record).unwrap();
        fs::write(&record, "{").unwrap();
        let why = "warning: odd: ";
        sandbox.session("list").ok().prints("good").prints("odd").says(why);
        let listed = sandbox.session("list --json").ok().says(why).json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 2, "{listed}");
        assert_eq!(sandbox.session("list --format '%(id) %(stale)'").ok().stdout(), "good false\nodd \n");
        sandbox.session("doctor").exits(1).prints("problem  session odd: ");
        // Another clone's, for all that can be told, and so nobody's to pass over.
        let all = sandbox.session_command("recover --all").env("GIT_SESSION_CLONE", "another");
        all.run().exits(128).says("run.json");
        fs::write(&record, text).unwrap();
        let run = sandbox.local().join("run");
        fs::rename(&run, sandbox.local().join("away")).unwrap();
        fs::write(&run, "").unwrap();
        for verb in ["list", "prune", "doctor"] {
            sandbox.session(verb).exits(128).says("session/run'");
        }
        fs::remove_file(&run).unwrap();
        fs::rename(sandbox.local().join("away"), &run).unwrap();
        sandbox.let_end(&held, 0);
    }

    fn every_verb_that_changes_a_stale_session_first_records_what_is_true(sandbox: &Sandbox) {
        let mut resumed = sandbox.hold("--id resumed");
        let ended = sandbox.hold("--id ended");
        let suspended = sandbox.hold("--id suspended");
        for held in [&resumed, &ended, &suspended] {
            crash(sandbox, held);
        }
        sandbox.resume(&mut resumed);
        assert_eq!(
            sandbox.events("resumed"),
            ["create", "start", "suspend", "resume"]
        );
        sandbox.let_end(&resumed, 0);
        sandbox.session("terminate ended").ok();
        assert_eq!(
            sandbox.events("ended"),
            ["create", "start", "suspend", "terminate"]
        );
        // What was asked for is what has become true.
        let run = sandbox.session("suspend suspended");
        assert!([0, 1].contains(&run.code), "{run}");
        assert_eq!(sandbox.events("suspended"), ["create", "start", "suspend"]);
        assert_eq!(sandbox.trailer("suspended", "Reason"), "lost");
        sandbox.end("suspended");
    }

    fn a_reboot_is_a_crash_of_both(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id rebooted");
        crash(sandbox, &held);
        // The POSIX form knows no boot; there the processes are merely gone.
        let record = fs::read_to_string(sandbox.run_dir("rebooted").join("run.json")).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        if !boot.is_empty() && record.contains(boot.trim()) {
            edit_record(
                sandbox,
                "rebooted",
                boot.trim(),
                "00000000-0000-0000-0000-000000000000",
            );
        }
        assert_eq!(sandbox.show("rebooted")["stale"], true);
        sandbox.resume(&mut held);
        sandbox.let_end(&held, 0);
    }

    fn a_process_that_got_a_dead_workers_number_is_left_alone(sandbox: &Sandbox) {
        let held = sandbox.hold("--id reused");
        let mut innocent = sandbox
            .command("sleep")
            .args(["1000"])
            .inner(|command| {
                use std::os::unix::process::CommandExt;
                command.process_group(0);
            })
            .spawn();
        crash(sandbox, &held);
        edit_record(
            sandbox,
            "reused",
            &format!("\"pid\":{}", held.pid),
            &format!("\"pid\":{}", innocent.pid()),
        );
        // The POSIX form tells start times by the second, and both began in the same one.
        edit_record(sandbox, "reused", "\"start_time\":", "\"start_time\":1");
        assert_eq!(sandbox.show("reused")["stale"], true);
        sandbox.session("terminate reused").ok();
        assert!(processes::is_alive(innocent.pid()));
        innocent.child.kill().unwrap();
        innocent.end();
    }

    fn locks_that_a_dead_worker_left_in_its_worktree_are_no_obstacle(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id messy");
        let admin = sandbox.git_in(&sandbox.worktree("messy"), "rev-parse --absolute-git-dir");
        for name in ["index.lock", "HEAD.lock"] {
            fs::write(std::path::Path::new(&admin).join(name), "").unwrap();
        }
        sandbox.order(&held, "echo x > new.txt");
        crash(sandbox, &held);
        sandbox.resume(&mut held);
        sandbox.order(&held, "git add new.txt && git commit -q -m done");
        sandbox.let_end(&held, 0);
        assert_eq!(locks(sandbox), [""; 0].map(std::path::PathBuf::from));
    }

    fn a_supervisor_that_dies_with_its_worker_loses_no_exit_code_that_was_seen(sandbox: &Sandbox) {
        // The worker has ended and nobody is left to ask: what the record says counts.
        let held = sandbox.hold("--id seen");
        processes::signal(held.supervisor, Signal::STOP);
        sandbox.tell("on0", "exit 0");
        sandbox.kill_supervisor(&held);
        sandbox.session("recover seen").ok();
        assert!(["suspended", "terminated"].contains(&sandbox.state("seen").as_str()));
        if sandbox.state("seen") == "suspended" {
            sandbox.end("seen");
        }
    }

    fn what_would_be_recovered_twice_is_recovered_once(sandbox: &Sandbox) {
        let held = sandbox.hold("--id once");
        crash(sandbox, &held);
        let running: Vec<_> = (0..4)
            .map(|_| sandbox.session_command("recover --all").spawn())
            .collect();
        for run in running {
            run.end().ok();
        }
        assert_eq!(sandbox.events("once"), ["create", "start", "suspend"]);
        sandbox.end("once");
    }
}

/// Lets a command run for a part of the time that it takes, and kills it then.
fn kill_at(sandbox: &Sandbox, line: &str, after: Duration) {
    let mut running = sandbox.session_command(line).spawn();
    let start = Instant::now();
    // The moment itself is what is tested, so there is no fact to wait for.
    while start.elapsed() < after && running.child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    let end = processes::on_end(running.pid());
    processes::signal(running.pid(), Signal::KILL);
    end();
    // A supervisor that it started may hold nothing of it, but may still be at work.
    drop(running);
}

/// Kills a command at moments spread over its whole length; each time the next commands find their way.
fn survives_at_any_moment(sandbox: &Sandbox, prepare: impl Fn(&Sandbox, &str), verb: &str) {
    const MOMENTS: u32 = 10;
    prepare(sandbox, "measure");
    let start = Instant::now();
    sandbox.session(&format!("{verb} measure")).ok();
    let whole = start.elapsed();
    sandbox.session("terminate measure");
    for moment in 0..MOMENTS {
        let id = format!("at-{moment}");
        prepare(sandbox, &id);
        kill_at(sandbox, &format!("{verb} {id}"), whole * moment / MOMENTS);
        let run = sandbox.session("recover --all");
        run.ok();
        wait_unlocked(&sandbox.run_dir(&id).join("op.lock"));
        let state = sandbox.state(&id);
        let again = sandbox.session(&format!("{verb} {id}"));
        assert!([0, 1].contains(&again.code), "killed in {state}\n{again}");
        if sandbox.state(&id) != "terminated" {
            sandbox.session(&format!("terminate {id}")).ok();
        }
        assert_eq!(sandbox.state(&id), "terminated");
        let seqs = sandbox.story(&id, "Seq");
        let expected: Vec<String> = (1..=seqs.len()).map(|seq| seq.to_string()).collect();
        assert_eq!(seqs, expected);
        sandbox.assert_sound();
        let list = sandbox.git("worktree list --porcelain");
        assert!(!list.contains("prunable"), "{list}");
    }
    assert_eq!(locks(sandbox), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(
        processes::with_variable("GIT_SESSION_STATE_DIR", sandbox.root()),
        []
    );
}

on_every_format! {
    fn a_start_may_be_killed_at_any_moment(sandbox: &Sandbox) {
        let prepare = |sandbox: &Sandbox, id: &str| {
            sandbox.new_session(&format!("--id {id} -- sleep 1000"));
        };
        survives_at_any_moment(sandbox, prepare, "start");
    }

    fn a_suspend_may_be_killed_at_any_moment(sandbox: &Sandbox) {
        let prepare = |sandbox: &Sandbox, id: &str| {
            sandbox.session(&format!("run -d --id {id} -- sleep 1000")).ok();
            fs::write(sandbox.worktree(id).join("new.txt"), "new").unwrap();
        };
        survives_at_any_moment(sandbox, prepare, "suspend");
    }

    fn a_resume_may_be_killed_at_any_moment(sandbox: &Sandbox) {
        let prepare = |sandbox: &Sandbox, id: &str| {
            sandbox.session(&format!("run -d --id {id} -- sleep 1000")).ok();
            fs::write(sandbox.worktree(id).join("new.txt"), "new").unwrap();
            sandbox.session(&format!("suspend {id}")).ok();
            fs::remove_dir_all(sandbox.worktree(id)).unwrap();
        };
        survives_at_any_moment(sandbox, prepare, "resume");
    }

    fn a_terminate_may_be_killed_at_any_moment(sandbox: &Sandbox) {
        let prepare = |sandbox: &Sandbox, id: &str| {
            sandbox.session(&format!("run -d --id {id} -- sleep 1000")).ok();
            sandbox.commit_file(&sandbox.worktree(id), "done.txt", "done");
        };
        survives_at_any_moment(sandbox, prepare, "terminate");
    }
}

on_one_format! {
    fn a_job_lock_that_cannot_be_looked_at_may_well_be_held(sandbox: &Sandbox) {
        let held = sandbox.hold("--id locked");
        crash(sandbox, &held);
        let lock = sandbox.run_dir("locked").join("job.lock");
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink("job.lock", &lock).unwrap();
        sandbox.session("recover locked").fails(1).says("job.lock");
        assert_eq!(sandbox.state("locked"), "running");
        fs::remove_file(&lock).unwrap();
        sandbox.session("recover locked").ok();
        assert_eq!(sandbox.state("locked"), "suspended");
    }

    fn a_worker_may_kill_its_own_supervisor(sandbox: &Sandbox) {
        sandbox.fifo("up");
        let script = "trap '' TERM; kill -KILL $PPID; echo $$ > \"$FIFOS/up\"; exec sleep 1000";
        sandbox
            .session_command("run -d --id traitor -- sh -c")
            .args([script])
            .run();
        let pid: i32 = sandbox.hear("up").parse().unwrap();
        sandbox.session("recover --all").ok();
        assert!(!processes::is_alive(pid));
        sandbox.session("terminate traitor").ok();
    }

    fn a_supervisor_that_is_asked_to_end_suspends_or_ends_nothing_unsaid(sandbox: &Sandbox) {
        let held = sandbox.hold("--id asked");
        sandbox.order(&held, "echo x > new.txt");
        let end = processes::on_end(held.supervisor);
        processes::signal(held.supervisor, Signal::TERM);
        end();
        assert!(!processes::is_alive(held.pid));
        let state = sandbox.state("asked");
        assert!(["suspended", "terminated"].contains(&state.as_str()), "{state}");
        assert_eq!(sandbox.saved("asked", "new.txt"), "x");
        if state == "suspended" {
            sandbox.end("asked");
        }
    }
}
