//! What is kept and done while there is no room.

use std::fs;

use crate::sandbox::{Format, Sandbox, processes, small_disk::SmallDisk, until};

#[test]
fn an_end_on_a_full_disk_is_recorded_once_there_is_room() {
    let sandbox = Sandbox::new(Format::PLAIN);
    let held = sandbox.hold("--id squeezed");
    {
        let Some(disk) = SmallDisk::over(&sandbox, ".git/objects") else {
            sandbox.end(&held.id);
            return;
        };
        disk.fill();
        sandbox.dismiss(&held, 3);
        let log = sandbox.run_dir("squeezed").join("supervisor.log");
        until("the end can't be recorded", || {
            fs::read_to_string(&log).is_ok_and(|said| said.contains("space"))
        });
        assert_eq!(sandbox.state("squeezed"), "running");
        let show = sandbox.session("show squeezed");
        show.ok()
            .prints("running, its worker ended with exit:3, which is not recorded yet")
            .says("supervisor.log");
        assert_eq!(sandbox.show("squeezed")["ended"], "exit:3");
        disk.free();
        until("the end is recorded", || {
            sandbox.state("squeezed") == "terminated"
        });
        let show = sandbox.session("show squeezed");
        assert!(!show.ok().text().contains("not recorded"), "{show}");
        assert_eq!(sandbox.trailer("squeezed", "Outcome"), "exit:3");
    }
}

#[test]
fn an_attempt_that_cannot_be_recorded_is_made_once_there_is_room() {
    let sandbox = Sandbox::new(Format::PLAIN);
    let mut held = sandbox.hold("--id squeezed --retries 1");
    {
        let Some(disk) = SmallDisk::over(&sandbox, ".git/objects") else {
            sandbox.end(&held.id);
            return;
        };
        disk.fill();
        sandbox.dismiss(&held, 3);
        let log = sandbox.run_dir("squeezed").join("supervisor.log");
        until("the next attempt can't be recorded", || {
            fs::read_to_string(&log).is_ok_and(|said| said.contains("space"))
        });
        assert_eq!(sandbox.events("squeezed"), ["create", "start"]);
        disk.free();
        sandbox.meet(&mut held);
        until("it is recorded", || sandbox.events("squeezed").len() == 3);
        assert_eq!(sandbox.trailer("squeezed", "Outcome"), "exit:3");
        // It was the last one.
        sandbox.let_end(&held, 4);
        assert_eq!(
            sandbox.events("squeezed"),
            ["create", "start", "restart", "terminate"]
        );
    }
}

#[test]
fn what_is_stopped_on_a_full_disk_is_recorded_as_stopped_once_there_is_room() {
    for (verb, state) in [("terminate", "terminated"), ("suspend", "suspended")] {
        let sandbox = Sandbox::new(Format::PLAIN);
        let Some(disk) = SmallDisk::over(&sandbox, ".git") else {
            return;
        };
        let held = sandbox.hold("--id squeezed");
        disk.fill();
        let run = sandbox.session(&format!("{verb} squeezed"));
        run.fails(128).says("space");
        // It is the file that is to be written which is named, and once.
        assert_eq!(run.stderr.matches(".git").count(), 1, "{run}");
        assert!(!processes::is_alive(held.pid));
        assert_eq!(sandbox.state("squeezed"), "running");
        disk.free();
        until("the end is recorded", || sandbox.state("squeezed") == state);
        let outcome = if verb == "terminate" { "stopped" } else { "" };
        assert_eq!(sandbox.trailer("squeezed", "Outcome"), outcome);
    }
}

#[test]
fn what_is_held_on_a_full_disk_goes_on() {
    for (verb, state) in [("checkpoint", "running"), ("suspend --freeze", "suspended")] {
        let sandbox = Sandbox::new(Format::PLAIN);
        let Some(disk) = SmallDisk::over(&sandbox, ".git") else {
            return;
        };
        let held = sandbox.hold("--id squeezed");
        let before = sandbox.tip("squeezed");
        disk.fill();
        sandbox
            .session(&format!("{verb} squeezed"))
            .fails(128)
            .says("space");
        assert_eq!(sandbox.tip("squeezed"), before);
        sandbox.order(&held, "echo work > draft");
        disk.free();
        sandbox.session(&format!("{verb} squeezed")).ok();
        assert_eq!(sandbox.state("squeezed"), state);
        if state == "suspended" {
            // As long as there is no room, it stays as it is.
            disk.fill();
            sandbox.session("resume squeezed").fails(128).says("space");
            assert_eq!(sandbox.trailer("squeezed", "Frozen"), "true");
            assert!(processes::is_alive(held.pid));
            disk.free();
            sandbox.session("resume squeezed").ok();
            sandbox.order(&held, "true");
        }
        sandbox.let_end(&held, 0);
    }
}

#[test]
fn what_was_changed_in_a_worktree_is_found_out_on_a_full_disk() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.run_script("--id done", "true").ok();
    fs::write(sandbox.worktree("done").join("large"), vec![1; 20 << 20]).unwrap();
    let Some(disk) = SmallDisk::over(&sandbox, ".git/objects") else {
        return;
    };
    disk.fill();
    let keeps = "done: keeps worktree";
    sandbox
        .session("prune -n")
        .ok()
        .says(keeps)
        .says("its files have changed");
    sandbox.session("prune").ok().says(keeps);
    disk.free();
}
