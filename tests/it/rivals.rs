//! Two clients on one session, and readers who look on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::on_every_format;
use crate::sandbox::{Held, Sandbox, processes};

/// Runs both at once; neither breaks, and what is refused is refused with a reason.
fn both(sandbox: &Sandbox, one: &str, other: &str) -> (i32, i32) {
    let first = sandbox.session_command(one).spawn();
    let second = sandbox.session_command(other).spawn();
    let codes = [first.end(), second.end()].map(|run| {
        assert!([0, 1].contains(&run.code), "{run}");
        assert!(run.code == 0 || run.stderr.starts_with("error: "), "{run}");
        run.code
    });
    (codes[0], codes[1])
}

/// The log has every event, and what it says last is true.
fn assert_true(sandbox: &Sandbox, held: &Held) {
    let seqs = sandbox.story(&held.id, "Seq");
    let expected: Vec<String> = (1..=seqs.len()).map(|seq| seq.to_string()).collect();
    assert_eq!(seqs, expected);
    sandbox.session(&format!("log {} --json", held.id)).ok();
    let alive = processes::with_variable("GIT_SESSION_STATE_DIR", &sandbox.run_dir(&held.id));
    assert_eq!(
        !alive.is_empty(),
        sandbox.state(&held.id) == "running",
        "{alive:?}"
    );
}

/// Runs something while refs are packed again and again.
fn while_packing(sandbox: &Sandbox, act: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                sandbox.git_agrees("pack-refs --all");
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

on_every_format! {
    fn of_any_two_that_change_a_session_each_does_it_or_says_why_not(sandbox: &Sandbox) {
        let pairs = [
            ("suspend", "suspend"),
            ("suspend", "terminate"),
            ("checkpoint", "terminate"),
            ("checkpoint", "suspend"),
            ("suspend --freeze", "terminate"),
            ("suspend --freeze", "suspend"),
            ("terminate", "note -m text"),
            ("recover", "terminate"),
        ];
        while_packing(sandbox, || {
            for (number, (one, other)) in pairs.into_iter().enumerate() {
                let held = sandbox.hold(&format!("--id pair-{number}"));
                let id = &held.id;
                let line = |verb: &str| match verb.split_once(' ') {
                    Some((verb, rest)) => format!("{verb} {id} {rest}"),
                    None => format!("{verb} {id}"),
                };
                let codes = both(sandbox, &line(one), &line(other));
                assert!(codes.0 == 0 || codes.1 == 0, "{one} and {other}: {codes:?}");
                if sandbox.show(id)["frozen"] == false {
                    assert_true(sandbox, &held);
                }
                if sandbox.state(id) != "terminated" {
                    sandbox.end(id);
                }
            }
        });
    }

    fn a_session_is_resumed_once_at_a_time(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id again");
        for round in 0..3 {
            sandbox.session("suspend again").ok();
            let codes = both(sandbox, "resume again", "resume again");
            assert_eq!(codes.0 + codes.1, 1, "round {round}");
            sandbox.meet(&mut held);
            assert_true(sandbox, &held);
        }
        sandbox.end("again");
    }

    fn a_worker_that_ends_while_it_is_ended_leaves_one_end(sandbox: &Sandbox) {
        for number in 0..3 {
            let held = sandbox.hold(&format!("--id end-{number}"));
            sandbox.tell(&format!("on{number}"), "exit 3");
            let run = sandbox.session(&format!("terminate end-{number}"));
            assert!([0, 1].contains(&run.code), "{run}");
            assert_eq!(sandbox.events(&held.id), ["create", "start", "terminate"]);
            let outcome = sandbox.trailer(&held.id, "Outcome");
            assert!(["exit:3", "stopped"].contains(&outcome.as_str()), "{outcome}");
            assert_true(sandbox, &held);
        }
    }

    fn a_session_goes_on_and_off_without_a_pause(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id blink");
        for _ in 0..5 {
            sandbox.session("suspend blink").ok();
            sandbox.resume(&mut held);
        }
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.events("blink").len(), 13);
    }

    fn a_reader_never_calls_stale_what_is_being_started_or_stopped(sandbox: &Sandbox) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let list = sandbox.session("list --all --json").json();
                    for session in list["sessions"].as_array().unwrap() {
                        assert_ne!(session["stale"], true, "{session}");
                    }
                }
            });
            for number in 0..4 {
                let mut held = sandbox.hold(&format!("--id live-{number}"));
                sandbox.session(&format!("suspend live-{number}")).ok();
                sandbox.resume(&mut held);
                sandbox.let_end(&held, 0);
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
    }
}
