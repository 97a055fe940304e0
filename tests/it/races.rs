//! Several clients at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::on_every_format;
use crate::sandbox::Sandbox;

fn assert_gapless(sandbox: &Sandbox, id: &str, events: usize) {
    let expected: Vec<String> = (1..=events).map(|seq| seq.to_string()).collect();
    assert_eq!(sandbox.story(id, "Seq"), expected);
}

/// Runs the same command several times at once and gives the exit codes.
fn at_once(sandbox: &Sandbox, count: usize, line: impl Fn(usize) -> String) -> Vec<i32> {
    let running: Vec<_> = (0..count)
        .map(|number| sandbox.session_command(&line(number)).spawn())
        .collect();
    let codes = running.into_iter().map(|running| {
        let run = running.end();
        assert!([0, 1].contains(&run.code), "{run}");
        assert!(!run.stderr.contains("panicked"), "{run}");
        run.code
    });
    codes.collect()
}

on_every_format! {
    fn packs_that_come_while_a_worker_runs_keep_no_end_from_being_recorded(sandbox: &Sandbox) {
        let packs = ".git/objects/pack/pack";
        let make_packs = |word: &str| {
            let script = "for n in $(seq 40); do echo $0$n | git hash-object -w --stdin | \
                          git pack-objects -q $1; done; git rev-list --objects --all | \
                          git pack-objects -q $1; git prune-packed";
            sandbox.command("sh").args(["-ec", script, word, packs]).run().ok();
        };
        make_packs("before");
        let held = sandbox.hold("--id held");
        sandbox.order(&held, "echo new > new.txt; git add new.txt; git commit -qm new");
        // What is to be read at the end is in a pack that is newer than the supervisor, and so are many others.
        make_packs("meanwhile");
        sandbox.dismiss(&held, 0);
        sandbox.session("wait --timeout 30s held").ok();
        assert_eq!(sandbox.saved("held", "new.txt"), "new");
    }

    fn no_note_is_lost_when_many_are_written_at_once(sandbox: &Sandbox) {
        sandbox.new_session("--id busy -- true");
        let codes = at_once(sandbox, 12, |number| format!("note busy -m 'note {number}'"));
        let written = codes.iter().filter(|code| **code == 0).count();
        assert_eq!(written, 12);
        assert_gapless(sandbox, "busy", 13);
        let mut notes = sandbox.story("busy", "Note");
        notes.retain(|note| !note.is_empty());
        notes.sort();
        notes.dedup();
        assert_eq!(notes.len(), 12);
    }

    fn nothing_is_lost_while_refs_are_packed(sandbox: &Sandbox) {
        for number in 0..4 {
            sandbox.new_session(&format!("--id busy-{number} -- true"));
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // That it finds a ref locked now and then is its own affair.
                    sandbox.git_agrees("pack-refs --all");
                }
            });
            let writers: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn(move || {
                        for note in 0..15 {
                            sandbox.session(&format!("note busy-{number} -m {note}")).ok();
                        }
                    })
                })
                .collect();
            let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(ends.iter().all(Result::is_ok));
        });
        for number in 0..4 {
            assert_gapless(sandbox, &format!("busy-{number}"), 16);
        }
    }

    fn a_session_is_started_once(sandbox: &Sandbox) {
        sandbox.new_session("--id once -- sleep 1000");
        let codes = at_once(sandbox, 4, |_| "start once".to_owned());
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        assert_eq!(sandbox.events("once"), ["create", "start"]);
        sandbox.end("once");
    }

    fn an_id_is_given_once(sandbox: &Sandbox) {
        let codes = at_once(sandbox, 4, |_| "new --id one -- true".to_owned());
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        assert_eq!(sandbox.events("one"), ["create"]);
    }

    fn of_two_that_end_it_differently_both_are_told_the_truth(sandbox: &Sandbox) {
        let held = sandbox.hold("--id torn");
        let suspending = sandbox.session_command("suspend torn").spawn();
        let ending = sandbox.session_command("terminate torn").spawn();
        let (suspended, ended) = (suspending.end(), ending.end());
        ended.ok();
        match suspended.code {
            0 => assert_eq!(
                sandbox.events("torn"),
                ["create", "start", "suspend", "terminate"]
            ),
            _ => {
                suspended.fails(1);
                assert_eq!(sandbox.events("torn"), ["create", "start", "terminate"]);
            }
        }
        assert!(!crate::sandbox::processes::is_alive(held.pid));
    }

    fn sessions_start_and_end_side_by_side(sandbox: &Sandbox) {
        // Git itself gives up when another process writes to a reftable for too long.
        let script = "echo x > new.txt; git add new.txt; until git commit -q -m work; do :; done";
        let running: Vec<_> = (0..6)
            .map(|number| {
                let line = format!("run --id side-{number} -- sh -c");
                sandbox.session_command(&line).args([script]).spawn()
            })
            .collect();
        for run in running {
            run.end().ok();
        }
        for number in 0..6 {
            let id = format!("side-{number}");
            assert_eq!(sandbox.events(&id), ["create", "start", "terminate"]);
            let commit = sandbox.git(&format!("rev-parse session/{id}"));
            assert_eq!(sandbox.trailer(&id, "Head"), commit);
            let note = sandbox.git(&format!("notes --ref=sessions show {commit}"));
            assert!(note.contains(&id), "{note}");
        }
    }

    fn what_is_published_survives_a_collector_beside_it(sandbox: &Sandbox) {
        let held = sandbox.hold("--id kept");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    sandbox.git_agrees("gc -q --prune=now");
                }
            });
            let writer = scope.spawn(|| {
                for round in 0..8 {
                    let name = sandbox.worktree("kept").join(format!("{round}.txt"));
                    std::fs::write(name, format!("round {round}\n")).unwrap();
                    sandbox.session("checkpoint kept").ok();
                    sandbox.session("note kept -m round").ok();
                }
            });
            let end = writer.join();
            done.store(true, Ordering::Relaxed);
            assert!(end.is_ok());
        });
        sandbox.assert_sound();
        assert_gapless(sandbox, "kept", 18);
        assert_eq!(sandbox.saved("kept", "7.txt"), "round 7");
        sandbox.end(&held.id);
    }
}
