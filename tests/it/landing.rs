//! Looking at what another clone has made of a session, and landing it.

use crate::on_every_format;
use crate::sandbox::Team;

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
}
