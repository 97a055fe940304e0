//! Looking at what another clone has made of a session, and landing it.

use crate::sandbox::Team;
use crate::{on_every_format, on_one_format};

on_every_format! {
    fn work_that_is_not_here_is_said_to_be_not_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session_command("run --id far -- sh -c").args(["echo made > made.txt; exit 3"]).run().exits(3);
        a.session("push").ok();
        b.session("fetch").ok();
        for verb in ["diff", "diff --stat", "diff --json"] {
            let run = b.session(&format!("{verb} far"));
            let run = run.exits(1);
            let told = format!("{}{}", run.stdout(), run.stderr);
            assert!(told.contains("the work of session 'far' is not here"), "{run}");
            assert!(told.contains("'git session fetch --work origin far' brings it"), "{run}");
        }
        b.session("show far").ok().prints(" (not here)");
        b.session("show --json far").ok();
        let path = b.session("restore --trust far").ok().text();
        assert_eq!(std::fs::read_to_string(std::path::Path::new(&path).join("made.txt")).unwrap(), "made\n");
        b.session("diff far").ok().prints("made.txt");
        let shown = b.session("show far");
        let work = shown.ok().stdout().lines().find(|line| line.contains("work  ")).unwrap().to_owned();
        assert!(!work.contains("not here"), "{shown}");
    }

    fn a_restore_without_a_remote_says_that_the_work_is_not_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session_command("run --id far -- sh -c").args(["echo made > made.txt"]).run().ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.git("remote remove origin");
        b.session("restore --trust far").fails(1).says("the work of session 'far' is not here");
    }

    fn the_branch_of_what_another_clone_finished_comes_with_its_work(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        let (a, b, c) = (&team[0], &team[1], &team[2]);
        let script = "exec sleep 1000";
        a.session_command("run -d --id land -- sh -c").args([script]).run().ok();
        a.commit_file(&a.worktree("land"), "one.txt", "one\n");
        a.session("suspend land").ok();
        a.session("push").ok();
        c.session("fetch --work").ok().says("land: branch 'session/land' is here now");
        b.session("fetch").ok();
        b.session("claim land").ok();
        assert!(b.git_agrees("rev-parse -q --verify refs/heads/session/land"));
        b.session("resume --trust land").ok();
        let tree = b.worktree("land");
        assert_eq!(b.git_in(&tree, "symbolic-ref HEAD"), "refs/heads/session/land");
        let done = b.commit_file(&tree, "two.txt", "two\n");
        b.session("terminate --kill land").ok();
        b.session("push").ok();

        // Where it is only behind it follows, and can be merged.
        c.session("fetch").ok();
        c.session("show land").ok().prints(", not the session's head)");
        c.session("fetch --work origin land").ok().says("land: branch 'session/land' follows");
        assert_eq!(c.git("rev-parse session/land"), done);
        let shown = c.session("show land");
        assert!(!shown.ok().stdout().contains("not the session's head"), "{shown}");
        c.git("merge -q session/land");
        assert!(c.repo().join("two.txt").exists());
        // One that was deleted after that stays deleted, as long as nothing new comes.
        c.git("branch -q -d session/land");
        c.session("fetch --work").ok();
        assert!(!c.git_agrees("rev-parse -q --verify refs/heads/session/land"));

        // A worktree that has it, and what somebody else committed to it, is left alone.
        let run = a.session("fetch --work");
        run.ok().says("branch 'session/land' stays behind: it is checked out at");
        c.git(&format!("update-ref refs/heads/session/land {}", c.git("commit-tree -m apart main^{tree}")));
        let before = c.git("rev-parse session/land");
        c.session("fetch --work origin land").ok().says("it has commits here that the session lacks");
        assert_eq!(c.git("rev-parse session/land"), before);
    }

    fn a_branch_of_another_name_is_never_made_by_a_fetch(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let script = "git commit -q --allow-empty -m one";
        a.session_command("run --id named --branch topic -- sh -c").args([script]).run().ok();
        a.session("push").ok();
        b.session("fetch --work").ok();
        assert!(!b.git_agrees("rev-parse -q --verify refs/heads/topic"));
        assert!(!b.git_agrees("rev-parse -q --verify refs/heads/session/named"));
        b.session("show named").ok().prints("topic (not here)");
    }

    fn a_command_that_is_not_here_claims_nothing(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id away -- /nowhere/at/all/agent");
        a.session("push").ok();
        b.session("fetch").ok();
        let before = team.tip_at_home("away");
        b.session("start --trust away").fails(127).says("'/nowhere/at/all/agent' not found").says("hint: ");
        assert_eq!((b.tip("away"), team.tip_at_home("away")), (before.clone(), before));
        assert_eq!(b.show("away")["here"], false);
    }

    fn a_branch_that_went_another_way_is_told_when_its_session_goes_on(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session("run -d --id forks -- sleep 1000").ok();
        a.commit_file(&a.worktree("forks"), "one.txt", "one\n");
        a.session("suspend --kill forks").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        let apart = b.git("commit-tree -m apart main^{tree}");
        b.git(&format!("update-ref refs/heads/session/forks {apart}"));
        b.session("resume --trust forks").ok().says("branch 'session/forks' has other commits here");
        b.session("terminate --kill forks").ok();
        b.session("show forks").ok().prints("not the session's head");
        assert_eq!(b.git("rev-parse session/forks"), apart);
    }

    fn a_branch_that_is_only_checked_out_elsewhere_is_not_said_to_have_other_commits(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session("run -d --id lags -- sleep 1000").ok();
        a.commit_file(&a.worktree("lags"), "one.txt", "one\n");
        a.session("suspend --kill lags").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.git("checkout -q -b session/lags");
        let before = b.git("rev-parse HEAD");
        let run = b.session("resume --trust lags");
        run.ok().says("branch 'session/lags' is checked out at '").says("so that HEAD is detached");
        b.session("terminate --kill lags").ok();
        assert_eq!(b.git("rev-parse session/lags"), before);
    }

    fn what_an_owner_that_is_gone_has_leaked_can_be_forgotten(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session_command("run --id leak -- sh -c").args(["echo secret > left.txt"]).run().ok();
        a.session("push").ok();
        b.session("fetch --work").ok();
        let refused = b.session("forget --yes leak");
        refused.fails(1).says("owned by another clone").says("'--force' does");
        let owner = b.trailer("leak", "Owner");
        b.session("forget --yes --force leak").ok().says("its work is forgotten");
        assert_eq!(team.at_home("for-each-ref refs/session-work/leak"), "");
        assert_eq!(b.trailer("leak", "Owner"), owner);
        b.session("log leak").ok().prints("by another clone than its owner's");
        b.session("verify").ok();
        // An owner that is not gone after all hears of it, and sends the work no more.
        a.session("fetch").ok();
        a.session("push").ok();
        assert_eq!(team.at_home("for-each-ref refs/session-work/leak"), "");
        a.session("diff leak").fails(1).says("was forgotten");
        a.session("verify").ok();
        let told = b.session("checkpoint leak");
        assert!(!told.fails(1).stderr.contains("session claim"), "{told}");
    }
}

on_every_format! {
    fn a_former_owners_worktree_goes_once_its_session_has_ended_elsewhere(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for id in ["clean", "dirty"] {
            a.session(&format!("run -d --id {id} -- sleep 1000")).ok();
            a.commit_file(&a.worktree(id), "one.txt", "one\n");
            std::fs::write(a.worktree(id).join("left.txt"), "left\n").unwrap();
            a.session(&format!("suspend --kill {id}")).ok();
        }
        a.session("push").ok();
        b.session("fetch").ok();
        let mut done = String::new();
        for id in ["clean", "dirty"] {
            b.session(&format!("resume --trust {id}")).ok();
            done = b.commit_file(&b.worktree(id), "two.txt", "two\n");
        }
        a.session("fetch").ok().says("taken over");
        a.session("prune").ok();
        assert!(a.worktree("clean").exists());
        for id in ["clean", "dirty"] {
            b.session(&format!("terminate --kill {id}")).ok();
        }
        b.session("push").ok();
        a.session("fetch --work").ok();
        std::fs::write(a.worktree("dirty").join("later.txt"), "later\n").unwrap();
        a.session("prune -n").ok();
        assert!(a.worktree("clean").exists());
        a.session("prune").ok();
        assert!(!a.worktree("clean").exists());
        assert!(a.worktree("dirty").join("later.txt").exists());
        // The branch is free, and where the session ended.
        a.git("switch -q session/clean");
        assert!(a.repo().join("two.txt").exists());
        assert_eq!(b.git("rev-parse session/dirty"), done);
        a.session("verify").ok();
    }
}

on_one_format! {
    fn a_relay_that_is_refused_for_good_ends_and_is_told_of(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id same -- true");
        a.session("push").ok();
        let run = b.session("run --push --id same -- true");
        run.ok();
        crate::sandbox::wait_unlocked(&b.run_dir("same").join("relay.lock"));
        let said = || std::fs::read_to_string(b.run_dir("same").join("relay.log")).unwrap_or_default();
        crate::sandbox::until("the relay says why", || said().contains("does not take it"));
        assert_eq!(team.tip_at_home("same"), a.tip("same"));
    }

    fn what_exists_neither_here_nor_there_is_not_found(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        for verb in ["fetch", "fetch --work", "sync", "push"] {
            team[0].session(&format!("{verb} origin nosuchid")).fails(1).says("there is no session 'nosuchid'");
        }
        team[0].session("fetch origin nosuchid").says("neither here nor on 'origin'").says("by its whole id");
    }

    fn a_session_in_the_place_of_a_remote_is_noticed(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        team[0].new_session("--id mine -- true");
        for verb in ["push", "fetch", "sync"] {
            let hint = format!("'git session {verb} origin mine'");
            team[0].session(&format!("{verb} mine")).fails(1).says("no remote 'mine'").says(&hint);
        }
        sandbox.session("push").fails(1).says("git remote add origin URL");
    }

    fn what_was_only_sent_has_an_age(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        team[0].new_session("--id mine -- true");
        team[0].session("push").ok();
        team[0].session("list --remote").ok().says("on origin, 0s ago");
    }

    fn a_home_that_no_remote_leads_to_is_named_before_going_on_without(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        team[0].new_session("--id mine -- true");
        team[0].session("push").ok();
        team[1].session("fetch").ok();
        team[1].git("remote rename origin other");
        team[1].git("remote set-url other /nowhere");
        team[1].session("start --trust mine").fails(1).says("session.home").says("--offline");
    }
}
