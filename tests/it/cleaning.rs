//! What may go, what stays, and what is said before.

use std::fs;

use crate::on_every_format;
use crate::sandbox::traces;

on_every_format! {
    fn a_worktree_stays_whose_saved_work_has_lost_something(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        let script = "echo precious > only.txt && git add only.txt && git commit -qm only";
        sandbox.run_script("--id broken", script).ok();
        let blob = sandbox.git("rev-parse session/broken:only.txt");
        let (dir, name) = blob.split_at(2);
        std::fs::remove_file(sandbox.repo().join(".git/objects").join(dir).join(name)).unwrap();
        for line in ["prune -n", "prune", "prune --discard-ignored --older-than 0s"] {
            sandbox.session(line).ok().says("keeps worktree").says("can't be read whole");
        }
        let file = sandbox.worktree("broken").join("only.txt");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "precious\n");
        // It comes back from there.
        sandbox.git_in(&sandbox.worktree("broken"), "hash-object -w only.txt");
        sandbox.session("prune").ok().says("removed worktree");
    }

    fn prune_removes_the_worktrees_of_ended_sessions_alone(sandbox: &Sandbox) {
        sandbox
            .run_script(
                "--id done",
                "echo x > new.txt; git add new.txt; git commit -q -m x; echo y > left.txt",
            )
            .ok();
        let running = sandbox.hold("--id running");
        let suspended = sandbox.hold("--id suspended");
        sandbox.session("suspend suspended").ok();
        let before = traces::of(sandbox.root());
        sandbox.session("prune -n").ok().says("done");
        assert_eq!(traces::of(sandbox.root()).len(), before.len());
        assert!(sandbox.worktree("done").exists());
        sandbox.session("prune").ok();
        assert!(!sandbox.worktree("done").exists());
        assert!(sandbox.worktree("running").exists() && sandbox.worktree("suspended").exists());
        assert_eq!(
            sandbox
                .git("worktree list --porcelain")
                .matches("worktree ")
                .count(),
            3
        );
        // Everything is still to be had.
        assert_eq!(sandbox.state("done"), "terminated");
        assert_eq!(sandbox.saved("done", "left.txt"), "y");
        assert_eq!(sandbox.git("show session/done:new.txt"), "x");
        sandbox.end(&running.id);
        sandbox.end(&suspended.id);
    }

    fn a_look_at_what_would_go_changes_nothing(sandbox: &Sandbox) {
        sandbox.run_script("--id done", "echo x > left.txt").ok();
        // For git the file is to be read again, and the index to be told of its new time.
        let file = fs::File::open(sandbox.worktree("done").join("README")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let before = traces::of(sandbox.root());
        sandbox.session("prune -n").ok().says("done: would remove");
        assert_eq!(traces::of(sandbox.root()), before);
    }

    fn several_may_clean_up_at_once(sandbox: &Sandbox) {
        sandbox.new_session("--id one -- true");
        for _ in 0..3 {
            for number in 0..400 {
                fs::create_dir_all(sandbox.local().join(format!("trash/old.{number}/inner"))).unwrap();
            }
            let running = [(); 3].map(|()| sandbox.session_command("prune").spawn());
            for running in running {
                running.end().ok();
            }
        }
        assert_eq!(fs::read_dir(sandbox.local().join("trash")).unwrap().count(), 0);
    }

    fn a_worktree_goes_however_long_its_name_is(sandbox: &Sandbox) {
        let name = "n".repeat(250);
        sandbox.run_script(&format!("--id long --worktree ../{name}"), "echo x > left.txt").ok();
        sandbox.session("prune").ok().says("long: removed worktree");
        assert!(!sandbox.root().join(name).exists());
    }

    fn what_goes_wrong_with_one_session_hinders_no_other(sandbox: &Sandbox) {
        sandbox.run_script("--id apart --worktree ../away/apart", "true").ok();
        sandbox.run_script("--id near", "true").ok();
        // Nobody can tell what is behind a link to itself.
        let away = sandbox.root().join("away");
        fs::rename(&away, away.with_extension("kept")).unwrap();
        std::os::unix::fs::symlink(&away, &away).unwrap();
        let run = sandbox.session("prune");
        assert!(run.code != 0 && run.stderr.contains("error: "), "{run}");
        assert!(run.stderr.contains("near: removed worktree"), "{run}");
        assert!(!sandbox.worktree("near").exists());
        let told = sandbox.session("prune --json");
        let told: serde_json::Value = serde_json::from_str(&told.stdout()).unwrap();
        assert_eq!(told["failed"][0]["id"], "apart", "{told}");
    }

    fn a_worktree_that_its_ended_session_still_holds_is_let_go_and_goes(sandbox: &Sandbox) {
        sandbox.run_script("--id done", "echo x > left.txt").ok();
        // As if who recorded the end had been killed right after it.
        let worktree = sandbox.worktree("done");
        sandbox.git_in(&worktree, "switch -q session/done");
        sandbox.git_in(&worktree, "worktree lock --reason 'session done' .");
        let record = sandbox.run_dir("done").join("worktree.json");
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains("\"parked\":true"), "{text}");
        fs::write(&record, text.replace("\"parked\":true", "\"parked\":false")).unwrap();
        sandbox.session("prune").ok().says("done: removed worktree");
        assert!(!worktree.exists());
        assert_eq!(sandbox.saved("done", "left.txt"), "x");
    }

    fn ignored_files_are_named_with_their_size_and_kept_unless_discarded(sandbox: &Sandbox) {
        sandbox
            .run_script(
                "--id built",
                "head -c 5000 /dev/zero > build.ignored; echo x > ok.txt",
            )
            .ok();
        let run = sandbox.session("prune");
        assert!(
            run.stderr.contains("build.ignored") || run.stdout().contains("build.ignored"),
            "{run}"
        );
        assert!(format!("{run}").contains("4 KiB"), "{run}");
        assert!(sandbox.worktree("built").join("build.ignored").exists());
        let run = sandbox.session("prune --discard-ignored");
        assert!(
            run.ok().stderr.contains("build.ignored") || run.stdout().contains("build.ignored"),
            "{run}"
        );
        assert!(!sandbox.worktree("built").exists());
    }

    fn ignored_files_are_kept_whatever_status_is_told_to_show(sandbox: &Sandbox) {
        for shown in ["no", "all"] {
            sandbox.config("status.showUntrackedFiles", shown);
            sandbox.run_script(&format!("--id {shown}-built"), "mkdir -p deep/er; echo x > deep/er/build.ignored").ok();
            let kept = "it has ignored files: deep/er/build.ignored (2 bytes)";
            sandbox.session("prune").ok().says(kept);
            assert!(sandbox.worktree(&format!("{shown}-built")).join("deep/er/build.ignored").exists());
        }
    }

    fn a_commit_that_only_the_log_of_head_has_is_named_and_kept(sandbox: &Sandbox) {
        let script = "git checkout -q $(git commit-tree -m foreign HEAD^{tree}); git switch -q -; \
                      git switch -q --detach; git commit -q --allow-empty -m one; git switch -q -c two; \
                      git commit -q --amend --allow-empty -m two; git switch -q session/left; \
                      git switch -q --detach; echo x > x; git add x; git commit -q -m lone; git rev-parse HEAD > ../lone; \
                      git switch -q -; git commit -q --allow-empty -m kept; git commit -q --amend --allow-empty -m kept";
        let run = sandbox.run_script("--id left", script);
        let lone = fs::read_to_string(sandbox.worktree("left").with_file_name("lone")).unwrap();
        let named = format!("commit {}: HEAD has left it", lone.trim());
        run.ok().says(&named);
        assert!(sandbox.trailer("left", "Unsaved").starts_with(&named));
        sandbox.session("prune").ok().says("left: keeps worktree").says(&named);
        sandbox.git(&format!("branch lone {lone}"));
        sandbox.session("prune").ok().says("left: removed worktree");
    }

    fn ignored_files_where_tracked_ones_were_are_kept_too(sandbox: &Sandbox) {
        let repo = sandbox.repo();
        std::os::unix::fs::symlink("code.txt", repo.join("modules.ignored")).unwrap();
        sandbox.git("add -f modules.ignored");
        sandbox.git("commit -q -m link");
        let script = "rm code.txt modules.ignored; mkdir code.txt modules.ignored; \
                      echo x > code.txt/build.ignored; echo x > modules.ignored/module";
        sandbox.run_script("--id built", script).ok();
        let kept = "it has ignored files: modules.ignored, code.txt/build.ignored (4 bytes)";
        sandbox.session("prune").ok().says(kept);
        assert!(sandbox.worktree("built").join("modules.ignored/module").exists());
    }

    fn ignored_files_in_submodules_are_named_and_kept_too(sandbox: &Sandbox) {
        let library = crate::sandbox::Sandbox::new(sandbox.format);
        library.commit_file(&library.repo(), "code", "code\n");
        sandbox.config("protocol.file.allow", "always");
        let url = shell_words::quote(library.repo().to_str().unwrap()).into_owned();
        let held = sandbox.hold("--id deep");
        let tree = sandbox.worktree("deep");
        sandbox.git_in(&tree, &format!("submodule add -q {url} sub"));
        sandbox.git_in(&tree, "commit -q -m library");
        sandbox.order(&held, "head -c 5000 /dev/zero > sub/build.ignored");
        sandbox.end("deep");
        let kept = "it has ignored files: sub/build.ignored (4 KiB)";
        sandbox.session("prune").ok().says(kept);
        assert!(tree.join("sub/build.ignored").exists());
        sandbox.session("prune --discard-ignored").ok().says("deep: removed worktree");
        assert!(!tree.exists());
    }

    fn what_was_changed_after_the_end_is_not_removed(sandbox: &Sandbox) {
        sandbox.session("run --id late -- true").ok();
        fs::write(sandbox.worktree("late").join("afterthought.txt"), "mine").unwrap();
        let run = sandbox.session("prune");
        assert!(
            sandbox.worktree("late").join("afterthought.txt").exists(),
            "{run}"
        );
        run.says("late");
    }

    fn only_merged_branches_of_sessions_that_ended_long_ago_go(sandbox: &Sandbox) {
        let script = "echo x > $GIT_SESSION_ID; git add $GIT_SESSION_ID; git commit -q -m x";
        sandbox.run_script("--id merged", script).ok();
        sandbox.run_script("--id unmerged", script).ok();
        sandbox.git("branch -q mine session/merged");
        sandbox.run_script("--id borrowed --branch mine", "true").ok();
        sandbox.git("merge -q session/merged");
        sandbox.session("prune").ok();
        assert!(sandbox.git_agrees("rev-parse --verify -q refs/heads/session/merged"));
        sandbox.session("prune --older-than 1d").ok();
        assert!(sandbox.git_agrees("rev-parse --verify -q refs/heads/session/merged"));
        sandbox.session("prune --older-than 0s").ok();
        assert!(!sandbox.git_agrees("rev-parse --verify -q refs/heads/session/merged"));
        assert!(sandbox.git_agrees("rev-parse --verify -q refs/heads/session/unmerged"));
        // Not made by a session, so not a session's to delete.
        assert!(sandbox.git_agrees("rev-parse --verify -q refs/heads/mine"));
        assert_eq!(sandbox.state("merged"), "terminated");
    }

    fn a_branch_with_no_commit_of_its_own_is_not_taken_for_merged_work(sandbox: &Sandbox) {
        let held = sandbox.hold("--id empty");
        fs::write(sandbox.worktree("empty").join("only.txt"), "uncommitted\n").unwrap();
        sandbox.end(&held.id);
        sandbox.session("prune --older-than 0s").ok();
        assert_eq!(sandbox.saved("empty", "only.txt"), "uncommitted");
    }

    fn somebody_elses_worktree_in_the_same_place_is_not_ours(sandbox: &Sandbox) {
        sandbox.session("run --id gone -- true").ok();
        let tree = sandbox.worktree("gone");
        sandbox
            .command("git")
            .args(["worktree", "remove", "--force"])
            .args([&tree])
            .run()
            .ok();
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("precious.txt"), "mine").unwrap();
        sandbox.session("prune").exits(0);
        assert_eq!(fs::read(tree.join("precious.txt")).unwrap(), b"mine");
    }

    fn a_worktree_in_which_somebody_works_again_is_left_alone(sandbox: &Sandbox) {
        sandbox.session("run --id taken -- true").ok();
        let tree = sandbox.worktree("taken");
        let commit = sandbox.commit_file(&tree, "more.txt", "more\n");
        sandbox.session("prune");
        assert!(tree.exists());
        assert_eq!(sandbox.git_in(&tree, "rev-parse HEAD"), commit);
    }
}
