//! The steps of a session's life, and what they pass on.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;

use git_session::git::Repo;
use git_session::session::Kind;
use git_session::store::Store;
use rustix::process::{Pid, Signal};

use crate::sandbox::{Running, Sandbox, processes, until};
use crate::{logs, on_every_format, on_one_format};

on_every_format! {
    fn a_session_lives_from_new_to_terminate(sandbox: &Sandbox) {
        sandbox.fifo("up");
        let script = "echo up > \"$FIFOS/up\"; exec sleep 1000";
        let id = sandbox
            .session_command("new --title 'Fix the login page' -- sh -c")
            .args([script])
            .run()
            .ok()
            .text();
        assert!(id.starts_with("fix-the-login-page-"), "{id}");
        assert_eq!(sandbox.state(&id), "pending");

        let started = sandbox.session(&format!("start {id}"));
        assert_eq!(started.ok().text(), id);
        sandbox.hear("up");
        assert_eq!(sandbox.state(&id), "running");

        sandbox.session(&format!("suspend {id} --reason lunch")).ok();
        assert_eq!(sandbox.state(&id), "suspended");
        assert_eq!(sandbox.trailer(&id, "Reason"), "lunch");

        sandbox.session(&format!("resume {id}")).ok();
        sandbox.hear("up");
        assert_eq!(sandbox.state(&id), "running");

        sandbox.session(&format!("terminate {id}")).ok();
        assert_eq!(sandbox.state(&id), "terminated");
        assert_eq!(sandbox.trailer(&id, "Outcome"), "stopped");

        assert_eq!(
            sandbox.events(&id),
            ["create", "start", "suspend", "resume", "terminate"]
        );
        assert_eq!(
            sandbox.story(&id, "State"),
            ["pending", "running", "suspended", "running", "terminated"]
        );
    }

    fn new_records_the_session_and_does_nothing_else(sandbox: &Sandbox) {
        let id = sandbox.new_session("--id quiet -- true");
        assert_eq!(id, "quiet");
        assert_eq!(sandbox.git("branch --list"), "* main");
        assert!(!sandbox.root().join("repo.sessions").exists());
        assert_eq!(
            sandbox
                .git("worktree list --porcelain")
                .matches("worktree ")
                .count(),
            1
        );
    }

    fn a_worker_that_ends_by_itself_ends_its_session(sandbox: &Sandbox) {
        let id = sandbox.session("run -d -- sh -c 'exit 3'").ok().text();
        sandbox.session(&format!("wait {id}")).exits(3);
        assert_eq!(sandbox.events(&id), ["create", "start", "terminate"]);
        assert_eq!(sandbox.trailer(&id, "Outcome"), "exit:3");
    }

    fn every_illegal_step_is_refused_and_leaves_the_ref_alone(sandbox: &Sandbox) {
        let pending = sandbox.new_session("--id pending -- true");
        let running = sandbox.hold("--id running");
        let suspended = sandbox.hold("--id suspended");
        sandbox.session("suspend suspended").ok();
        sandbox.session("run --id ended -- true").ok();
        let ids = [pending.as_str(), "running", "suspended", "ended"];
        let states = ["pending", "running", "suspended", "terminated"];
        let illegal = [
            (0, ["suspend", "resume", "checkpoint"].as_slice()),
            (1, &["start", "resume"]),
            (2, &["start", "suspend"]),
            (3, &["start", "suspend", "resume", "checkpoint", "terminate"]),
        ];
        for (at, verbs) in illegal {
            let (id, state) = (ids[at], states[at]);
            for verb in verbs {
                let before = sandbox.tip(id);
                sandbox
                    .session(&format!("{verb} {id}"))
                    .fails(1)
                    .says(verb)
                    .says(state);
                assert_eq!(sandbox.tip(id), before, "{verb} {id}");
                let run = sandbox.session(&format!("{verb} --json {id}"));
                assert_eq!(run.exits(1).json()["error"]["code"], "illegal-step", "{run}");
                assert_eq!(sandbox.tip(id), before, "{verb} {id}");
            }
        }
        assert!(processes::is_alive(running.pid));
        sandbox.end("running");
        sandbox.end(&suspended.id);
    }

    fn what_was_never_started_is_cancelled(sandbox: &Sandbox) {
        let id = sandbox.new_session("-- true");
        sandbox.session(&format!("stop {id}")).ok();
        assert_eq!(sandbox.trailer(&id, "Outcome"), "cancelled");
        assert_eq!(sandbox.events(&id), ["create", "terminate"]);
    }

    fn a_suspended_session_can_be_ended(sandbox: &Sandbox) {
        let held = sandbox.hold("");
        sandbox.session(&format!("suspend {}", held.id)).ok();
        sandbox
            .session(&format!("terminate {} --reason 'no longer wanted'", held.id))
            .ok();
        assert_eq!(sandbox.trailer(&held.id, "Outcome"), "stopped");
        assert_eq!(sandbox.trailer(&held.id, "Reason"), "no longer wanted");
    }

    fn a_retry_is_a_new_session_that_names_the_one_before(sandbox: &Sandbox) {
        let first = sandbox
            .session("run -d --title 'Try it' --issue 7 -- sh -c 'exit 4'")
            .ok()
            .text();
        sandbox.session(&format!("wait {first}")).exits(4);
        let before = sandbox.tip(&first);
        let second = sandbox.session(&format!("retry {first}")).ok().text();
        assert_ne!(second, first);
        sandbox.session(&format!("wait {second}")).exits(4);
        assert_eq!(sandbox.trailer(&second, "Parent"), first);
        assert_eq!(sandbox.trailer(&second, "Title"), "Try it");
        assert_eq!(sandbox.trailer(&second, "Issue"), "7");
        assert_eq!(sandbox.tip(&first), before);
    }

    fn retries_are_attempts_of_one_session(sandbox: &Sandbox) {
        let script = "echo try >> \"$FIFOS/tries\"; test \"$(wc -l < \"$FIFOS/tries\")\" -ge 3";
        let run = sandbox.run_script("--id again --retries 5", script);
        run.ok();
        assert_eq!(
            sandbox.events("again"),
            ["create", "start", "restart", "restart", "terminate"]
        );
        assert_eq!(
            sandbox.story("again", "Outcome"),
            ["", "", "exit:1", "exit:1", "exit:0"]
        );
    }

    fn frozen_processes_stay_in_memory_and_go_on(sandbox: &Sandbox) {
        let held = sandbox.hold("");
        sandbox.session(&format!("suspend --freeze {}", held.id)).ok();
        assert_eq!(sandbox.state(&held.id), "suspended");
        assert_eq!(sandbox.trailer(&held.id, "Frozen"), "true");
        assert!(processes::is_alive(held.pid));
        sandbox.session(&format!("resume {}", held.id)).ok();
        assert_eq!(sandbox.state(&held.id), "running");
        assert_eq!(sandbox.trailer(&held.id, "Frozen"), "");
        // The same shell answers.
        sandbox.order(&held, &format!("test $$ = {}", held.pid));
        sandbox.let_end(&held, 0);
    }
}

on_one_format! {
    fn what_waits_for_its_next_attempt_is_not_said_to_be_unrecorded(sandbox: &Sandbox) {
        sandbox.session("run -d --id again --retries 9 -- sh -c 'exit 3'").ok();
        let record = sandbox.run_dir("again").join("run.json");
        until("it waits for some time", || {
            let is_waiting = std::fs::read_to_string(&record).is_ok_and(|run| run.contains("\"waiting\""));
            is_waiting && sandbox.events("again").len() >= 4
        });
        assert!(sandbox.run_dir("again").join("exit.json").exists());
        let show = sandbox.session("show again");
        assert!(!show.ok().text().contains("not recorded"), "{show}");
        sandbox.session("terminate again").ok();
    }

    fn a_log_that_has_no_room_for_another_attempt_ends_with_the_last_one(sandbox: &Sandbox) {
        sandbox.git("config session.fsync false");
        let id = sandbox.new_session("--id full --retries 3 -- sh -c 'exit 3'");
        let repo = Repo::open(&sandbox.repo()).unwrap();
        let store = Store::new(&repo);
        let mut session = store.load(&id.parse().unwrap()).unwrap().unwrap();
        let before = session.tip;
        for number in 0..10_000 {
            session = logs::step(&repo, &session, Kind::Note, number, &number.to_string()).unwrap();
        }
        sandbox.git(&format!("update-ref refs/sessions/full {} {before}", session.tip));
        sandbox.session("start full").ok();
        sandbox.session("wait full").exits(3);
        assert_eq!(sandbox.trailer("full", "Outcome"), "exit:3");
        assert!(sandbox.trailer("full", "Reason").contains("which is the limit"));
    }

    fn run_passes_the_exit_code_through(sandbox: &Sandbox) {
        std::fs::write(sandbox.file("not-a-program"), "no").unwrap();
        let place = sandbox.file("not-a-program");
        let cases = [
            ("sh -c 'exit 0'", 0, "exit:0"),
            ("sh -c 'exit 3'", 3, "exit:3"),
            ("sh -c 'exit 255'", 255, "exit:255"),
            ("sh -c 'kill -KILL $$'", 137, "signal:9"),
            ("no-such-program-anywhere", 127, "failed:127"),
            (&shell_words::join([place.to_str().unwrap()]), 126, "failed:126"),
        ];
        for (number, (command, code, outcome)) in cases.into_iter().enumerate() {
            let id = format!("case-{number}");
            sandbox
                .session(&format!("run --id {id} -- {command}"))
                .exits(code);
            assert_eq!(sandbox.trailer(&id, "Outcome"), outcome, "{command}");
            assert_eq!(sandbox.state(&id), "terminated", "{command}");
            sandbox.session(&format!("wait {id}")).exits(code);
        }
    }

    fn our_own_failure_is_125_so_that_a_bisection_skips(sandbox: &Sandbox) {
        sandbox
            .session("run --base no-such-commit -- true")
            .fails(125)
            .says("no-such-commit");
    }

    fn a_time_limit_holds_in_the_foreground_and_when_detached(sandbox: &Sandbox) {
        sandbox
            .session("run --id near --timeout 300ms -- sleep 1000")
            .exits(124);
        assert_eq!(sandbox.trailer("near", "Outcome"), "timeout");
        sandbox
            .session("run -d --id far --timeout 300ms -- sleep 1000")
            .ok();
        sandbox.session("wait far").exits(124);
        assert_eq!(sandbox.trailer("far", "Outcome"), "timeout");
        assert!(sandbox.story("far", "Deadline")[1].ends_with('Z'));
    }

    fn run_detached_prints_the_id_alone_and_returns_while_the_worker_runs(sandbox: &Sandbox) {
        let held = sandbox.hold("--id here");
        assert_eq!(held.id, "here");
        assert_eq!(sandbox.state("here"), "running");
        sandbox.let_end(&held, 0);
    }

    fn a_run_that_somebody_suspends_tells_nothing_of_its_command(sandbox: &Sandbox) {
        let mut running = sandbox.session_command("run --id here -- sh -c").args(["echo up; exec sleep 1000"]).spawn();
        let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().map(Result::unwrap).as_deref(), Some("up"));
        sandbox.session("suspend here").ok();
        running.end().fails(125).says("suspended by another command").says("git session resume here");
    }

    fn run_follows_the_output_while_it_comes(sandbox: &Sandbox) {
        sandbox.fifo("on");
        let script = "echo first; echo trouble >&2; read x < \"$FIFOS/on\"; echo last";
        let mut running = sandbox.session_command("run -- sh -c").args([script]).spawn();
        let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().map(Result::unwrap);
        assert_eq!(next().as_deref(), Some("first"));
        assert_eq!(next().as_deref(), Some("trouble"));
        sandbox.tell("on", "");
        assert_eq!(next().as_deref(), Some("last"));
        assert_eq!(next(), None);
        running.end().ok();
    }

    fn an_interrupted_run_ends_the_session_and_tells_how_to_go_on(sandbox: &Sandbox) {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let id = format!("stopped-by-{code}");
            sandbox.fifo(&id);
            let script = format!("echo kept > new.txt; echo up > \"$FIFOS/{id}\"; exec sleep 1000");
            let running = sandbox
                .session_command(&format!("run --id {id} -- sh -c"))
                .args([script])
                .spawn();
            sandbox.hear(&id);
            processes::signal(running.pid(), signal);
            running.end().exits(code).says(&format!("'git session restore {id}'"));
            assert_eq!(sandbox.state(&id), "terminated");
            assert_eq!(sandbox.trailer(&id, "Outcome"), "stopped");
            assert_eq!(sandbox.saved(&id, "new.txt"), "kept");
        }
    }

    fn a_session_outlives_the_terminal_that_it_was_started_in(sandbox: &Sandbox) {
        sandbox.fifo("up");
        sandbox.fifo("on");
        let script = "read x || echo nothing is said to it; (: < /dev/tty) 2> /dev/null || echo no terminal; echo up > \"$FIFOS/up\"; read x < \"$FIFOS/on\"; exit 7";
        let running = through_git(sandbox, "--id lives-on", script);
        sandbox.hear("up");
        signal_all(running.pid(), Signal::HUP);
        sandbox.tell("on", "");
        sandbox.session("wait lives-on").exits(7);
        running.end();
        sandbox.session("output lives-on").ok().prints("nothing is said to it\nno terminal\n");
    }

    fn a_signal_that_git_passes_on_is_no_second_one(sandbox: &Sandbox) {
        for (choice, state) in [("stop", "terminated"), ("suspend", "suspended")] {
            sandbox.config("session.interrupt", choice);
            sandbox.fifo(choice);
            let script = format!(
                "trap 'echo bye; exit 0' TERM; echo up > \"$FIFOS/{choice}\"; while :; do sleep 0.05; done"
            );
            let running = through_git(sandbox, &format!("--id {choice} --grace 1h"), &script);
            sandbox.hear(choice);
            signal_all(running.pid(), Signal::INT);
            running.end().exits(130);
            sandbox.session(&format!("output {choice}")).ok().prints("bye");
            assert_eq!(sandbox.state(choice), state);
            assert_ne!(sandbox.trailer(choice, "Outcome"), "signal:9");
        }
    }

    fn a_second_interrupt_kills_at_once_and_is_recorded_as_what_was_asked(sandbox: &Sandbox) {
        for (choice, state, outcome) in [("stop", "terminated", "stopped"), ("suspend", "suspended", "")] {
            sandbox.config("session.interrupt", choice);
            sandbox.fifo(choice);
            let script = format!("trap '' TERM; echo up > \"$FIFOS/{choice}\"; while :; do sleep 0.05; done");
            let running = through_git(sandbox, &format!("--id {choice} --grace 1h"), &script);
            sandbox.hear(choice);
            signal_all(running.pid(), Signal::INT);
            let pid = running.pid();
            until("the session stands", || {
                signal_all(pid, Signal::INT);
                sandbox.state(choice) == state
            });
            running.end().exits(130);
            assert_eq!(sandbox.trailer(choice, "Outcome"), outcome);
        }
    }

    fn an_interrupt_while_work_is_saved_costs_nothing_of_it(sandbox: &Sandbox) {
        for name in ["up", "saving", "go"] {
            sandbox.fifo(name);
        }
        let filter = "if mkdir \"$FIFOS/once\" 2>/dev/null; then echo in > \"$FIFOS/saving\"; read line < \"$FIFOS/go\"; fi; cat";
        sandbox.config("filter.slow.clean", filter);
        let script = "echo '*.txt filter=slow' > .gitattributes; echo precious > work.txt; echo up > \"$FIFOS/up\"; exec sleep 1000";
        let running = through_git(sandbox, "--id kept", script);
        sandbox.hear("up");
        signal_all(running.pid(), Signal::INT);
        sandbox.hear("saving");
        signal_all(running.pid(), Signal::INT);
        sandbox.tell("go", "now");
        running.end().exits(130).says("kept: stopped, its work saved\n");
        assert_eq!(sandbox.saved("kept", "work.txt"), "precious");
    }

    fn an_interrupted_run_suspends_or_detaches_where_that_is_configured(sandbox: &Sandbox) {
        for (choice, state) in [("suspend", "suspended"), ("detach", "running")] {
            sandbox.config("session.interrupt", choice);
            sandbox.fifo(choice);
            let script = format!("echo up > \"$FIFOS/{choice}\"; exec sleep 1000");
            let running = sandbox
                .session_command(&format!("run --id {choice} -- sh -c"))
                .args([script])
                .spawn();
            sandbox.hear(choice);
            processes::signal(running.pid(), Signal::INT);
            running.end().exits(130);
            assert_eq!(sandbox.state(choice), state);
            sandbox.end(choice);
        }
    }

    fn wait_is_for_all_or_for_any_or_for_so_long(sandbox: &Sandbox) {
        sandbox.session("run --id good -- true").ok();
        sandbox.session("run --id bad -- sh -c 'exit 9'").exits(9);
        let held = sandbox.hold("--id held");
        sandbox.session("wait good good").exits(0);
        sandbox.session("wait good bad").exits(1);
        sandbox.session("wait --any held bad").exits(9);
        sandbox.session("wait --timeout 100ms held").exits(124);
        let waiting = sandbox.session_command("wait held").spawn();
        sandbox.let_end(&held, 5);
        waiting.end().exits(5);
    }

    fn several_sessions_get_the_same_note(sandbox: &Sandbox) {
        for id in ["one", "two", "three"] {
            sandbox.session(&format!("new --id {id} -- true")).ok();
        }
        sandbox.session("note one nobody -m first").fails(1).says("nobody");
        assert_eq!(sandbox.events("one"), ["create"]);
        let run = sandbox.session("note one two one -m first");
        run.ok().says("one: noted as event 2").says("two: noted as event 2");
        assert_eq!(sandbox.events("one"), ["create", "note"]);
        let told = sandbox.session("note --state pending --json -m second").ok().json();
        assert_eq!(told["sessions"].as_array().map(Vec::len), Some(3));
        for id in ["one", "two", "three"] {
            assert_eq!(sandbox.trailer(id, "Note"), "second");
        }
        let told = sandbox.session("note one --json -m third").ok().json();
        assert_eq!(told["session"]["id"], "one");
        // Where none is named there is a list, however many there happen to be.
        sandbox.session("terminate -q two three").ok();
        for (line, count) in [
            ("note --state pending --json -m fourth", 1),
            ("suspend --state running --json", 0),
            ("recover --json", 3),
        ] {
            let told = sandbox.session(line).ok().json();
            assert_eq!(told["sessions"].as_array().map(Vec::len), Some(count), "{line}");
        }
    }

    fn several_sessions_are_all_tried_and_the_worst_code_counts(sandbox: &Sandbox) {
        sandbox.session("run --id ended -- true").ok();
        let first = sandbox.hold("--id first");
        let second = sandbox.hold("--id second");
        sandbox
            .session("suspend first ended second")
            .exits(1)
            .says("ended");
        assert_eq!(sandbox.state(&first.id), "suspended");
        assert_eq!(sandbox.state(&second.id), "suspended");
        // One that can't be found is known before anything happens.
        sandbox
            .session("terminate first nobody second")
            .fails(1)
            .says("nobody");
        assert_eq!(sandbox.state("first"), "suspended");
        sandbox.session("terminate first second").ok();
    }

    fn a_worker_that_ignores_being_asked_is_killed_after_its_grace(sandbox: &Sandbox) {
        sandbox.fifo("up");
        let script = "trap '' TERM; echo $$ > \"$FIFOS/up\"; while :; do sleep 1000; done";
        let id = sandbox
            .session_command("run -d --grace 200ms -- sh -c")
            .args([script])
            .run()
            .ok()
            .text();
        let pid = sandbox.hear("up").parse().unwrap();
        sandbox.session(&format!("terminate {id}")).ok();
        assert!(!processes::is_alive(pid));
    }

    fn nobody_waits_for_a_grace_when_told_to_kill(sandbox: &Sandbox) {
        sandbox.fifo("up");
        let script = "trap '' TERM; echo $$ > \"$FIFOS/up\"; while :; do sleep 1000; done";
        let id = sandbox
            .session_command("run -d --grace 1h -- sh -c")
            .args([script])
            .run()
            .ok()
            .text();
        let pid = sandbox.hear("up").parse().unwrap();
        sandbox.session(&format!("terminate --kill {id}")).ok();
        assert!(!processes::is_alive(pid));
    }
}

/// Starts `git session run` as a shell does: git and what it starts are a process group.
fn through_git(sandbox: &Sandbox, options: &str, script: &str) -> Running {
    let dir = Path::new(env!("CARGO_BIN_EXE_git-session")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([dir.to_owned()].into_iter().chain(std::env::split_paths(&path)));
    sandbox
        .command("git")
        .args(["session", "run"])
        .args(options.split(' '))
        .args(["--", "sh", "-c", script])
        .env("PATH", path.unwrap())
        .inner(|command| {
            command.process_group(0);
            // What is started in the background of a shell without job control ignores the signal, and git with it.
            // SAFETY: signal(2) is async-signal-safe.
            unsafe {
                command.pre_exec(|| {
                    libc::signal(libc::SIGINT, libc::SIG_DFL);
                    Ok(())
                });
            }
        })
        .spawn()
}

/// What a terminal does when one presses Ctrl-C.
fn signal_all(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        let _ = rustix::process::kill_process_group(group, signal);
    }
}
