//! Worktrees of sessions that somebody moves or removes.

use std::fs;
use std::path::Path;

use shell_words::quote;

use crate::sandbox::Sandbox;
use crate::{on_every_format, on_one_format};

on_every_format! {
    fn a_worktree_that_is_moved_is_followed(sandbox: &Sandbox) {
        let held = sandbox.hold("--id mover");
        let to = moved(sandbox, "mover", "elsewhere");
        sandbox.order(&held, "echo new > new.txt");
        assert_eq!(sandbox.session("path mover").ok().text(), to);
        assert_eq!(sandbox.session("exec mover -- pwd").ok().text(), to);
        sandbox.session("diff --stat mover").ok().prints("new.txt");
        let run = sandbox.session("suspend mover");
        assert!(!run.ok().stderr.contains("gone"), "{run}");
        assert_eq!(sandbox.saved("mover", "new.txt"), "new");
        let mut held = held;
        sandbox.resume(&mut held);
        assert_eq!(sandbox.session("path mover").ok().text(), to);
        let to = moved(sandbox, "mover", "once more");
        sandbox.order(&held, "echo newer > new.txt");
        sandbox.session("terminate mover").ok();
        assert_eq!(sandbox.saved("mover", "new.txt"), "newer");
        // It is let go there.
        sandbox.git("switch -q session/mover");
        sandbox.git("switch -q main");
        sandbox.session("prune mover").ok();
        assert!(!Path::new(&to).exists());
    }
}

on_one_format! {
    fn what_was_committed_in_a_submodule_outlasts_its_worktree(sandbox: &Sandbox) {
        let library = sandbox.root().join("library");
        fs::create_dir(&library).unwrap();
        sandbox.git_in(&library, "init -q -b main");
        sandbox.git_in(&library, "commit -q --allow-empty -m first");
        sandbox.config("protocol.file.allow", "always");
        sandbox.git(&format!("submodule add -q {} sub", quoted(&library)));
        sandbox.git("commit -q -m sub");
        let mut held = sandbox.hold("--id diver");
        sandbox.order(&held, "git submodule update -q --init && git -C sub commit -q --allow-empty -m deep");
        let worktree = sandbox.worktree("diver");
        let commit = sandbox.git_in(&worktree.join("sub"), "rev-parse HEAD");
        sandbox.session("suspend diver").ok().says("sub");
        fs::remove_dir_all(&worktree).unwrap();
        sandbox.resume(&mut held);
        sandbox.order(&held, "git submodule update -q --init");
        sandbox.git_in(&worktree.join("sub"), &format!("cat-file -e {commit}"));
        // Ended without it, it is kept all the same.
        fs::remove_dir_all(&worktree).unwrap();
        sandbox.session("terminate diver").ok();
        sandbox.session("prune").ok();
        let kept = sandbox.run_dir("diver").join("modules/sub");
        sandbox.git(&format!("--work-tree . --git-dir {} cat-file -e {commit}", quoted(&kept)));
    }

    fn what_was_committed_in_a_submodule_is_named_also_where_the_branch_has_it(sandbox: &Sandbox) {
        let library = sandbox.root().join("library");
        fs::create_dir(&library).unwrap();
        sandbox.git_in(&library, "init -q -b main");
        sandbox.git_in(&library, "commit -q --allow-empty -m first");
        sandbox.config("protocol.file.allow", "always");
        for name in ["same", "staged", "done", "aside", "back"] {
            sandbox.git(&format!("submodule add -q {} {name}", quoted(&library)));
        }
        sandbox.git("commit -q -m modules");
        let held = sandbox.hold("--id diver");
        let worktree = sandbox.worktree("diver");
        sandbox.git_in(&worktree, "submodule update -q --init");
        for name in ["staged", "done", "aside"] {
            sandbox.git_in(&worktree.join(name), "switch -q -c deeper");
            sandbox.git_in(&worktree.join(name), "commit -q --allow-empty -m deep");
        }
        sandbox.git_in(&worktree, "add done");
        sandbox.git_in(&worktree, "commit -q -m deeper");
        sandbox.git_in(&worktree, "add staged");
        sandbox.git_in(&worktree.join("aside"), "switch -q --detach HEAD~");
        // What others have is nothing to be afraid for.
        sandbox.git_in(&library, "commit -q --allow-empty -m second");
        sandbox.git_in(&worktree, "submodule update -q --remote back");
        sandbox.git_in(&worktree, "add back");
        sandbox.session("suspend diver").ok();
        let why = "the commits of a submodule are only in its own repository";
        let named = ["aside", "done", "staged"].map(|name| format!("{name}: {why}"));
        assert_eq!(sandbox.trailer("diver", "Unsaved"), named.join("\n"));
        sandbox.end(&held.id);
        sandbox.session("prune").ok();
        sandbox.git_in(&worktree.join("aside"), "rev-parse --verify deeper");
    }

    fn a_worktree_that_is_gone_is_said_to_be(sandbox: &Sandbox) {
        let held = sandbox.hold("--id bare");
        sandbox.order(&held, "echo saved > new.txt");
        sandbox.session("checkpoint bare").ok();
        fs::remove_dir_all(sandbox.worktree("bare")).unwrap();
        let events = sandbox.events("bare");
        sandbox.session("checkpoint bare").fails(1).says("it was removed");
        assert_eq!(sandbox.events("bare"), events);
        sandbox.session("diff bare").ok().prints("new.txt");
        sandbox.session("diff bare").says("the worktree of session 'bare' is gone");
        sandbox.end("bare");
    }

    fn prune_takes_what_git_has_of_a_parked_worktree_that_is_gone(sandbox: &Sandbox) {
        sandbox.run_script("--id lost", "echo x > new.txt").ok();
        fs::remove_dir_all(sandbox.worktree("lost")).unwrap();
        sandbox.session("prune -n").ok().says("lost");
        assert!(sandbox.git("worktree list").contains("lost"));
        sandbox.session("prune").ok().says("lost");
        assert!(!sandbox.git("worktree list").contains("lost"));
        sandbox.session("prune").ok().says("nothing to prune");
    }

    fn a_worktree_that_was_moved_after_the_end_is_mentioned_and_kept(sandbox: &Sandbox) {
        sandbox.session("run --id over -- true").ok();
        let to = sandbox.root().join("mine now");
        sandbox.git(&format!("worktree move {} {}", quoted(&sandbox.worktree("over")), quoted(&to)));
        for _ in 0..2 {
            let told = format!("over: keeps worktree '{}': it was moved there", to.display());
            sandbox.session("prune").ok().says(&told);
        }
        sandbox.git(&format!("worktree remove {}", quoted(&to)));
        sandbox.session("prune").ok().says("nothing to prune");
    }

    fn a_branch_that_was_made_for_a_session_stays_so_when_its_worktree_is_put_back(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id first");
        sandbox.session("suspend first").ok();
        fs::remove_dir_all(sandbox.worktree("first")).unwrap();
        sandbox.resume(&mut held);
        sandbox.end("first");
        sandbox.session("prune --older-than 0s").ok();
        assert!(!sandbox.git_agrees("rev-parse -q --verify session/first"));
    }

    fn a_branch_in_use_is_no_reason_for_options_that_resume_lacks(sandbox: &Sandbox) {
        sandbox.hold("--id guest");
        sandbox.session("suspend guest").ok();
        sandbox.git(&format!("worktree remove -f -f {}", quoted(&sandbox.worktree("guest"))));
        sandbox.git("switch -q session/guest");
        let run = sandbox.session("resume guest");
        run.fails(1).says("hint: switch that worktree to another branch first");
        assert!(!run.stderr.contains("--branch"), "{run}");
        sandbox.git("switch -q main");
        sandbox.end("guest");
    }

    fn outside_a_sessions_worktree_there_is_no_current_one(sandbox: &Sandbox) {
        sandbox.session("show @").fails(1).says("this is no session's worktree");
    }
}

/// Moves a worktree as its user does, and gives its new path.
fn moved(sandbox: &Sandbox, id: &str, name: &str) -> String {
    let from = sandbox.session(&format!("path {id}")).ok().text();
    let to = sandbox.root().join(name);
    sandbox.git(&format!("worktree unlock {}", quote(&from)));
    sandbox.git(&format!("worktree move {} {}", quote(&from), quoted(&to)));
    to.canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn quoted(path: &Path) -> String {
    quote(path.to_str().unwrap()).into_owned()
}
