//! `forget`: work that must not be anywhere any more goes, is sent by nobody again, and the log says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Sandbox, Team};
use crate::{on_every_format, on_one_format};

/// An ended session whose work has a secret: committed, and beside it.
fn leak(sandbox: &Sandbox, id: &str) {
    let script = "echo secret > made.txt; git add made.txt; git commit -qm made; echo secret > left.txt
        echo secret; echo secret > \"$GIT_SESSION_STATE_DIR/state\"";
    sandbox.run_script(&format!("--id {id}"), script).ok();
}

fn works(sandbox: &Sandbox) -> String {
    sandbox.git("for-each-ref --format=%(refname) refs/session-work")
}

fn works_at_home(team: &Team) -> String {
    team.at_home("for-each-ref --format=%(refname) refs/session-work")
}

on_every_format! {
    fn forgotten_work_is_gone_here_and_at_home_and_nobody_sends_it_again(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        let (a, b, c) = (&team[0], &team[1], &team[2]);
        leak(a, "leak");
        a.session("push").ok();
        b.session("fetch --work").ok();
        c.session("fetch --work").ok();
        let (work, head) = (a.trailer("leak", "Work"), a.trailer("leak", "Head"));

        let run = a.session("forget leak");
        run.fails(1).says("confirmed").says("--yes");
        assert_eq!(a.trailer("leak", "Work"), work);
        b.session("forget --yes leak").fails(1).says("owned by another clone");

        let run = a.session("forget --yes leak");
        run.ok().says("its work is forgotten").says("on 'origin'");
        run.says("refs/heads/session/leak has commits of it").says("worktree").says("output.log");
        assert_eq!((works(a), works_at_home(&team)), (String::new(), String::new()));
        assert_eq!(a.trailer("leak", "Work"), "");
        assert_eq!(a.trailer("leak", "Forgotten"), work);
        assert_eq!(a.trailer("leak", "Head"), head);
        assert_eq!(a.state("leak"), "terminated");
        assert_eq!(team.tip_at_home("leak"), a.tip("leak"));

        // Whoever has it keeps it, and neither those who have heard of it send it nor the owner.
        b.session("fetch").ok();
        assert!(!works(b).is_empty());
        for clone in [a, b] {
            clone.session("push").ok();
            clone.session("sync").ok();
            clone.session("push origin leak").ok();
            assert_eq!(works_at_home(&team), "");
            clone.session("verify").ok();
            clone.session("verify --remote").ok();
        }
        // A clone that has not heard of it yet does, and it can be done again.
        c.session("push origin leak").exits(0);
        assert!(!works_at_home(&team).is_empty());
        a.session("verify --remote").exits(1).prints("has work of it again");
        let tip = a.tip("leak");
        a.session("forget --yes leak").ok().says("on 'origin'");
        assert_eq!(works_at_home(&team), "");
        assert_eq!(a.tip("leak"), tip);
        c.session("fetch").ok();
        c.session("push origin leak").ok();
        assert_eq!(works_at_home(&team), "");
    }

    fn what_is_asked_of_forgotten_work_is_told(sandbox: &Sandbox) {
        leak(sandbox, "leak");
        sandbox.session("forget --yes leak").ok();
        sandbox.session("diff leak").fails(1).says("the work of session 'leak' was forgotten");
        sandbox.session("restore leak").fails(1).says("was forgotten");
        sandbox.session("restore leak --at 2").fails(1).says("was forgotten");
        sandbox.session("resume leak").fails(1).says("terminated").says("retry");
        sandbox.session("show leak").ok().prints("work      forgotten");
        sandbox.session("log leak").ok().prints("its work was forgotten");
        sandbox.session("list --all").ok().prints("leak");
        sandbox.session("note leak -m later").ok();
        sandbox.session("diff leak").fails(1).says("was forgotten");
        sandbox.session("verify").ok();
        // Nothing keeps it any more, once what else has it is gone.
        sandbox.session("forget --yes --local leak").ok();
        sandbox.git("branch -q -D session/leak");
        sandbox.git("reflog expire --expire=now --all");
        sandbox.git("gc -q --prune=now");
        let blob = sandbox.command("sh").args(["-c", "echo secret | git hash-object --stdin"]).run().text();
        assert!(!sandbox.git_agrees(&format!("cat-file -e {blob}")));
        sandbox.session("verify").ok();
    }

    fn the_files_go_only_when_that_is_said(sandbox: &Sandbox) {
        leak(sandbox, "leak");
        let (tree, run) = (sandbox.worktree("leak"), sandbox.run_dir("leak"));
        sandbox.git_in(&tree, "switch -q session/leak");
        sandbox.session("forget --yes --local leak").fails(1).says("is on 'refs/heads/session/leak'");
        assert!(works(sandbox).contains("leak") && sandbox.trailer("leak", "Forgotten").is_empty());
        sandbox.git_in(&tree, "switch -q --detach");
        let json = sandbox.session("forget --yes --json leak").ok().json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["forgotten"].as_array().unwrap().len(), 1);
        assert_eq!(json["held"].as_array().unwrap().len(), 4);
        assert_eq!(json["session"]["id"], "leak");
        assert!(tree.exists() && run.join("output.log").exists());
        sandbox.session("forget --yes --local leak").ok().says("removed").says("has commits of it");
        assert!(!tree.exists() && !run.join("output.log").exists() && !run.join("state").exists());
        assert_eq!(fs::read_dir(sandbox.local().join("trash")).unwrap().count(), 0);
    }

    fn only_what_has_ended_is_forgotten_and_only_when_home_agrees(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let a = &team[0];
        let held = a.hold("--id runs");
        a.session("checkpoint runs").ok();
        a.session("forget --yes runs").fails(1).says("is running").says("terminate");
        a.let_end(&held, 0);
        leak(a, "leak");
        a.session("push").ok();
        let tip = a.tip("leak");

        let away = team.home().with_extension("away");
        fs::rename(team.home(), &away).unwrap();
        a.session("forget --yes leak").fails(128);
        assert_eq!(a.tip("leak"), tip);
        assert!(works(a).contains("leak"));
        fs::rename(&away, team.home()).unwrap();

        // A home that takes the log and lets nothing be deleted is told of.
        let hook = team.home().join("hooks/update");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, "#!/bin/sh\ncase $3 in *[!0]*) ;; *) echo nothing goes; exit 1 ;; esac\n").unwrap();
        fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
        a.session("forget --yes leak").exits(1).says("not all is forgotten on 'origin'").says("hook");
        assert!(!a.trailer("leak", "Forgotten").is_empty());
        assert!(!works(a).contains("leak"));
        fs::remove_file(&hook).unwrap();
        a.session("forget --yes leak").ok();
        assert!(!works_at_home(&team).contains("leak"));
        assert!(works_at_home(&team).contains("runs"));
    }

    fn what_was_never_sent_is_not_sent_to_be_forgotten(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id late -- sh -c 'echo secret > left.txt'");
        a.session("push").ok();
        a.session("start --offline late").ok();
        a.session("wait late").ok();
        // Another clone's word at home is merged first.
        a.session("note late -m here").ok();
        let work = a.trailer("late", "Work");
        a.session("forget --yes late").ok();
        assert_eq!(works_at_home(&team), "");
        assert_eq!(team.tip_at_home("late"), a.tip("late"));
        b.session("fetch").ok();
        assert_eq!(b.trailer("late", "Forgotten"), work);
        assert!(!b.git_agrees(&format!("cat-file -e {work}")));
    }

    fn work_at_another_remote_goes_too(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        leak(a, "leak");
        a.session("push").ok();
        let other = a.root().join("other.git");
        a.git(&format!("init -q --bare \"{}\"", other.display()));
        a.git(&format!("remote add other \"{}\"", other.display()));
        a.session("push other").ok();
        assert!(!a.git_in(&other, "for-each-ref refs/session-work").is_empty());
        a.session("forget --yes leak").ok().says("on 'other'");
        assert_eq!(a.git_in(&other, "for-each-ref refs/session-work"), "");
        assert_eq!(a.git_in(&other, "rev-parse refs/sessions/leak"), a.tip("leak"));
        a.session("push other").ok();
        assert_eq!(a.git_in(&other, "for-each-ref refs/session-work"), "");
    }

    fn an_owner_that_was_overtaken_sends_no_forgotten_work(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let held = a.hold("--id taken");
        a.order(&held, "echo secret > left.txt");
        a.session("checkpoint taken").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim --force taken").ok();
        b.session("terminate taken").ok();
        b.session("forget --yes taken").ok();
        b.session("push").ok();
        assert_eq!(works_at_home(&team), "");
        a.session("fetch").ok().says("taken over");
        assert!(!works(a).is_empty());
        a.session("sync").ok();
        assert_eq!(works_at_home(&team), "");
        assert_eq!(a.state("taken"), "terminated");
        b.session("sync").ok();
        assert_eq!(works_at_home(&team), "");
        assert_eq!(b.trailer("taken", "Work"), "");
    }
}

on_one_format! {
    fn several_are_forgotten_and_one_that_is_refused_costs_no_other(sandbox: &Sandbox) {
        for id in ["one", "two", "three"] {
            leak(sandbox, id);
        }
        sandbox.session("new --id begun -- true").ok();
        // What can't be found is found out before anything is done.
        sandbox.session("forget --yes one nobody").fails(1).says("no session 'nobody'");
        assert_ne!(sandbox.trailer("one", "Work"), "");
        let run = sandbox.session("forget --yes one begun two one");
        run.exits(1).says("session 'begun' is pending").says("one: its work is forgotten");
        run.says("two: its work is forgotten");
        assert_eq!(run.stderr.matches("one: its work is forgotten").count(), 1, "{run}");
        assert_eq!(works(sandbox).lines().count(), 1);
        let json = sandbox.session("forget --json --yes begun three").exits(1).json();
        assert_eq!(json["sessions"][0]["error"]["code"], "not-ended");
        assert_eq!(json["sessions"][1]["session"]["id"], "three");
        assert_eq!(works(sandbox), "");
    }

    fn nothing_is_forgotten_that_nobody_has(sandbox: &Sandbox) {
        let id = sandbox.new_session("--id never -- true");
        sandbox.end(&id);
        let tip = sandbox.tip(&id);
        sandbox.session("forget --yes never").ok().says("no work to forget");
        assert_eq!(sandbox.tip(&id), tip);
        sandbox.session("show never").ok();
    }
}
