//! Branches, worktrees and notes, as stock git sees them.

use crate::on_every_format;
use crate::sandbox::traces;

on_every_format! {
    fn the_branch_begins_at_the_base_that_was_recorded(sandbox: &Sandbox) {
        let base = sandbox.git("rev-parse HEAD");
        let id = sandbox.new_session("--id later -- sh -c 'git rev-parse HEAD'");
        sandbox.commit_file(&sandbox.repo(), "more.txt", "more\n");
        sandbox.session("start later").ok();
        sandbox.session("wait later").ok();
        assert_eq!(sandbox.trailer(&id, "Base"), base);
        assert_eq!(sandbox.trailer(&id, "Branch"), "session/later");
        assert_eq!(sandbox.git("rev-parse refs/heads/session/later"), base);
        assert_eq!(sandbox.session("output later").ok().text(), base);
    }

    fn a_running_session_has_a_locked_worktree_on_its_branch(sandbox: &Sandbox) {
        let held = sandbox.hold("--id here");
        let tree = sandbox.worktree("here");
        assert_eq!(
            sandbox.git_in(&tree, "symbolic-ref HEAD"),
            "refs/heads/session/here"
        );
        assert_eq!(sandbox.git_in(&tree, "status --porcelain"), "");
        let list = sandbox.git("worktree list --porcelain");
        let entry = list
            .split("\n\n")
            .find(|entry| entry.contains("repo.sessions/here"))
            .unwrap();
        assert!(entry.contains("\nlocked"), "{entry}");
        assert_eq!(sandbox.session("path here").ok().text(), tree.to_str().unwrap());
        sandbox.let_end(&held, 0);
    }

    fn an_ended_sessions_branch_can_be_switched_to_merged_and_deleted(sandbox: &Sandbox) {
        let held = sandbox.hold("--id done");
        let commit = sandbox.commit_file(&sandbox.worktree("done"), "done.txt", "done\n");
        sandbox.session("terminate done").ok();
        assert_eq!(sandbox.trailer(&held.id, "Head"), commit);
        sandbox.git("switch -q session/done");
        sandbox.git("switch -q main");
        sandbox.git("merge -q session/done");
        sandbox.git("branch -d session/done");
        // The parked worktree stands where it was, and holds what it held.
        let tree = sandbox.worktree("done");
        assert_eq!(std::fs::read(tree.join("done.txt")).unwrap(), b"done\n");
        assert_eq!(sandbox.git_in(&tree, "rev-parse HEAD"), commit);
        assert_eq!(sandbox.git_in(&tree, "status --porcelain"), "");
        assert!(!sandbox.git("worktree list --porcelain").contains("\nlocked"));
    }

    fn a_branch_that_git_cannot_have_beside_another_is_refused(sandbox: &Sandbox) {
        sandbox.git("branch deep/er");
        for (name, other) in [("main/sub", "main"), ("main/sub/sub", "main"), ("deep", "deep/er")] {
            let run = sandbox.session(&format!("new --branch {name} -- true"));
            run.fails(1).says(&format!("a branch '{name}' beside '{other}'")).says("hint: ");
        }
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
        sandbox.new_session("--id late -- true");
        sandbox.git("branch session");
        sandbox.session("start late").fails(1).says("'session/late' beside 'session'");
        sandbox.session("new -- true").fails(1).says("beside 'session'");
        sandbox.git("branch -d session");
        sandbox.session("start late").ok();
        sandbox.session("wait late").ok();
    }

    fn an_existing_branch_is_worked_on(sandbox: &Sandbox) {
        sandbox.git("branch topic");
        let held = sandbox.hold("--id on-topic --branch topic");
        let commit = sandbox.commit_file(&sandbox.worktree("on-topic"), "a.txt", "a\n");
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.git("rev-parse refs/heads/topic"), commit);
        assert_eq!(sandbox.git("branch --list 'session/*'"), "");
    }

    fn a_branch_that_is_checked_out_elsewhere_is_refused_before_anything_is_done(sandbox: &Sandbox) {
        let elsewhere = sandbox.root().join("else where");
        sandbox.git(&format!("worktree add -q -b taken \"{}\"", elsewhere.display()));
        let before = traces::of(&sandbox.repo().join(".git/refs"));
        let run = sandbox.session("run -d --branch taken -- true");
        run.fails(125).says("taken").says("else where");
        assert_eq!(traces::of(&sandbox.repo().join(".git/refs")), before);
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
        assert!(!sandbox.root().join("repo.sessions").exists());
        let main = sandbox.session("run -d --branch main -- true");
        main.fails(125)
            .says("main")
            .says(sandbox.repo().to_str().unwrap());
    }

    fn a_session_may_have_no_branch(sandbox: &Sandbox) {
        sandbox
            .session("run --id bare --no-branch -- git rev-parse --abbrev-ref HEAD")
            .ok()
            .prints("HEAD");
        assert_eq!(sandbox.git("branch --list"), "* main");
        assert_eq!(sandbox.trailer("bare", "Branch"), "");
    }

    fn a_detached_workers_commits_are_kept_by_a_ref(sandbox: &Sandbox) {
        let script = "echo x > x && git add x && git commit -q -m x && git rev-parse HEAD";
        let commit = sandbox.run_script("--id loose --no-branch", script).ok().text();
        sandbox.session("prune").ok();
        sandbox.git("reflog expire --expire=now --all");
        sandbox.git("gc -q --prune=now");
        assert_eq!(sandbox.git(&format!("cat-file -t {commit}")), "commit");
    }

    fn a_worktree_can_be_put_elsewhere(sandbox: &Sandbox) {
        let place = sandbox.root().join("my own place");
        sandbox
            .session_command("run --id own --worktree")
            .args([place.as_os_str()])
            .args(["--", "pwd"])
            .run()
            .ok()
            .prints("my own place");
        let root = sandbox.root().join("all of them");
        sandbox.config("session.worktreeRoot", root.to_str().unwrap());
        sandbox
            .session("run --id other -- pwd")
            .ok()
            .prints("all of them/");
    }

    fn a_base_is_named_in_all_of_gits_ways(sandbox: &Sandbox) {
        sandbox.commit_file(&sandbox.repo(), "second.txt", "second\n");
        sandbox.git("tag -a -m tagged tagged HEAD~1");
        let short = sandbox.git("rev-parse --short HEAD");
        for base in [
            "@",
            "main@{0}",
            "main@{1}",
            "main@{now}",
            "main@{noon}",
            "main@{2001-01-01}",
            "HEAD^{/first}",
            ":/the first",
            "tagged",
            "heads/main~1",
            &short,
        ] {
            let named = sandbox.command("git").args(["rev-parse", base]).run();
            let meant = sandbox.git(&format!("rev-parse {}^0", named.ok().text()));
            let run = sandbox.session_command("new --json").args([&format!("--base={base}"), "--", "true"]).run();
            assert_eq!(run.ok().json()["session"]["base"], meant, "{base}");
        }
    }

    fn who_has_no_place_for_a_worktree_is_told_of_the_setting_and_of_what_waits(sandbox: &Sandbox) {
        let root = sandbox.root().join("no place");
        std::os::unix::fs::symlink(sandbox.root().join("nowhere/at/all"), &root).unwrap();
        sandbox.config("session.worktreeRoot", root.to_str().unwrap());
        for line in ["run --id waits -- pwd", "run -d --id waits-too -- pwd"] {
            let run = sandbox.session(line);
            run.fails(125).says("error: cannot make '").says("hint: 'git config session.worktreeRoot DIR'");
            run.says("hint: session 'waits").says(" is pending: 'git session start waits");
        }
        sandbox.session("start waits").fails(128).says("session.worktreeRoot");
        sandbox.git("config --global --unset session.worktreeRoot");
        sandbox.session("start waits waits-too").ok();
        sandbox.session("wait waits waits-too").ok();
    }

    fn commits_made_in_the_worktree_are_told_from_those_pulled(sandbox: &Sandbox) {
        sandbox.git("switch -q -c upstream");
        let pulled = sandbox.commit_file(&sandbox.repo(), "theirs.txt", "theirs\n");
        sandbox.git("switch -q main");
        let held = sandbox.hold("--id author");
        let tree = sandbox.worktree("author");
        let first = sandbox.commit_file(&tree, "first.txt", "first\n");
        sandbox.git_in(&tree, "merge -q --no-edit upstream");
        let merged = sandbox.git_in(&tree, "rev-parse HEAD");
        let last = sandbox.commit_file(&tree, "last.txt", "last\n");
        sandbox.session("terminate author").ok();
        for commit in [&first, &merged, &last] {
            let note = sandbox.git(&format!("notes --ref=sessions show {commit}"));
            let json: serde_json::Value = serde_json::from_str(&note).unwrap();
            assert!(json.to_string().contains("author"), "{json}");
        }
        assert!(!sandbox.git_agrees(&format!("notes --ref=sessions show {pulled}")));
        assert!(!sandbox.git_agrees(&format!(
            "notes --ref=sessions show {}",
            sandbox.trailer(&held.id, "Base")
        )));
    }

    fn setup_makes_git_show_and_keep_the_notes_only_when_asked(sandbox: &Sandbox) {
        sandbox
            .run_script("--id author", "echo x > x && git add x && git commit -q -m x")
            .ok();
        assert!(!sandbox.git("log session/author").contains("author\""));
        sandbox.session("setup --notes").ok();
        let shown = sandbox.git("log -1 session/author");
        assert!(shown.contains("sessions") && shown.contains("author"), "{shown}");
        sandbox.git("switch -q session/author");
        sandbox.git("commit -q --amend -m again");
        assert!(sandbox.git_agrees("notes --ref=sessions show HEAD"));
    }

    fn the_repository_may_be_bare(sandbox: &Sandbox) {
        let bare = sandbox.root().join("bare.git");
        sandbox.git(&format!("clone -q --bare . \"{}\"", bare.display()));
        let run = sandbox
            .session_command("run --id inside -- git rev-parse --abbrev-ref HEAD")
            .within(&bare)
            .run();
        run.ok().prints("session/inside");
        assert!(
            sandbox
                .git_in(&bare, "for-each-ref refs/sessions")
                .contains("inside")
        );
        sandbox.git_in(&bare, "fsck --strict");
    }
}
