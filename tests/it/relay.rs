//! Steps that are sent by themselves while a session runs, without holding up its worker.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use git_session::ops::{Workspace, relay};

use crate::sandbox::{Sandbox, Team, wait_unlocked};
use crate::{on_every_format, on_one_format};

/// Waits until the session's relay has nothing more to do.
fn wait_for_relay(clone: &Sandbox, id: &str) {
    wait_unlocked(&clone.run_dir(id).join("relay.lock"));
}

on_every_format! {
    fn each_step_is_sent_while_the_session_runs(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.fifo("up");
        a.fifo("end");
        let script = "echo done > done.txt; echo up > \"$FIFOS/up\"; read line < \"$FIFOS/end\"; exit 3";
        let run = a.session_command("run --push --id sent -- sh -c").args([script]).spawn();
        a.hear("up");
        // The home learns of it while it runs.
        crate::sandbox::until("the home has the session", || !team.tip_at_home("sent").is_empty());
        b.session("fetch").ok();
        assert_eq!(b.state("sent"), "running");
        a.tell("end", "now");
        run.end().exits(3);
        crate::sandbox::until("the home has its end", || team.tip_at_home("sent") == a.tip("sent"));
        wait_for_relay(a, "sent");
        b.session("fetch --work").ok();
        assert_eq!(b.trailer("sent", "Outcome"), "exit:3");
        b.session("diff sent").ok().prints("done.txt");
    }

    fn a_remote_that_is_down_costs_nothing_but_a_retry(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let away = team.home().with_extension("away");
        std::fs::rename(team.home(), &away).unwrap();
        a.session("run --push --id later -- true").ok();
        assert_eq!(a.state("later"), "terminated");
        let is_told = || a.session("show later").stderr.contains("warning: later: not sent yet: ");
        crate::sandbox::until("it is told", is_told);
        std::fs::rename(&away, team.home()).unwrap();
        crate::sandbox::until("it is sent", || team.tip_at_home("later") == a.tip("later"));
        wait_for_relay(a, "later");
        assert!(!is_told());
    }

    fn what_a_remote_does_not_take_is_told_at_the_end(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let hook = team.home().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\nprintf '\\033[31mclosed for today' >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        a.fifo("end");
        let run = a.session_command("run --push --id kept -- sh -c").args(["read line < \"$FIFOS/end\""]).spawn();
        let log = a.run_dir("kept").join("relay.log");
        crate::sandbox::until("the relay has given up", || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains("error: "))
        });
        wait_for_relay(a, "kept");
        a.tell("end", "now");
        let run = run.end();
        run.ok().says("warning: kept: not sent yet: ").says(" \\x1b[31mclosed for today\n");
        run.says("hint: 'git session push' tries again, and says what came of it\n");
        wait_for_relay(a, "kept");
    }

    fn a_session_that_is_sent_by_itself_answers_by_itself(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.config("session.autoSync", "true");
        a.config("session.syncInterval", "1s");
        let held = a.hold("");
        crate::sandbox::until("the home has it", || !team.tip_at_home(&held.id).is_empty());
        b.session("fetch").ok();
        b.session(&format!("suspend {} --wait=100s", held.id)).ok().says("has done it");
        assert_eq!(b.state(&held.id), "suspended");
        assert_eq!(a.state(&held.id), "suspended");
        wait_for_relay(a, &held.id);
    }
}

#[test]
fn a_remote_that_does_not_exist_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::new(crate::sandbox::Format::PLAIN);
    sandbox
        .session("run --push=nowhere --id none -- true")
        .fails(125)
        .says("nowhere");
    sandbox
        .session("run --push --id none -- true")
        .fails(125)
        .says("no remote");
    assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
}

on_one_format! {
    fn steps_go_to_the_sessions_home_where_the_usual_remote_is_another(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id far -- true");
        a.session("push origin far").ok();
        a.git("init -q --bare ../other.git");
        a.git("remote add other ../other.git");
        a.config("session.remote", "other");
        a.config("session.autoSync", "true");
        a.session("start far").ok();
        a.session("wait far").ok();
        crate::sandbox::until("the home has its end", || team.tip_at_home("far") == a.tip("far"));
        wait_for_relay(a, "far");
        assert_eq!(a.git("ls-remote other refs/sessions/*"), "");
    }

    fn a_remote_is_not_asked_without_a_pause(sandbox: &Sandbox) {
        for (text, seconds) in [("0", 1), ("10ms", 1), ("90", 90), ("2m", 120)] {
            sandbox.git(&format!("config session.syncInterval {text}"));
            let ws = Workspace::discover(&sandbox.repo()).unwrap();
            assert_eq!(relay::interval(&ws), Duration::from_secs(seconds), "{text}");
        }
    }
}
