//! Sessions that come back to a clone in which they were before: what stands there is from before they went on elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::on_every_format;
use crate::sandbox::{Held, Sandbox, Team};

/// The id of the session.
const ID: &str = "moves";

/// A session that two clones have worked on, the first one first, and that the second one has suspended and sent.
fn handed_back(team: &Team) -> Held {
    let (a, b) = (&team[0], &team[1]);
    let held = a.hold("--id moves");
    a.order(
        &held,
        "echo here > made.txt; echo here > \"$GIT_SESSION_STATE_DIR/memory\"",
    );
    a.session("suspend moves").ok();
    a.session("push").ok();
    b.fifo("up0");
    b.fifo("on0");
    b.session("fetch").ok();
    let mut there = held.clone();
    b.session("resume --trust moves").ok();
    b.meet(&mut there);
    b.order(
        &there,
        "echo there > made.txt; echo there > \"$GIT_SESSION_STATE_DIR/memory\"; git commit -q --allow-empty -m 'made there'",
    );
    b.session("suspend moves").ok();
    b.session("push").ok();
    a.session("fetch").ok().says("taken over");
    held
}

/// Lets git's own hook for references be a script, in worktrees too; gives where it is.
fn hooked(sandbox: &Sandbox, script: &str) -> PathBuf {
    sandbox.config("session.hooks", "true");
    fs::create_dir_all(sandbox.file(".git/hooks")).unwrap();
    let hook = sandbox.file(".git/hooks/reference-transaction");
    fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    hook
}

/// The command after `git session` that is named in what was said.
fn hint_in(said: &str) -> String {
    let (_, hint) = said
        .split_once("'git session restore")
        .unwrap_or_else(|| panic!("{said}"));
    format!("restore{}", hint.split('\'').next().unwrap())
}

/// Lets the session go on where it began, with what the other clone has left.
fn goes_on(team: &Team, held: &mut Held) -> String {
    let a = &team[0];
    let said = a.session("resume --trust moves").ok().to_string();
    a.meet(held);
    a.order(held, "test \"$(cat made.txt)\" = there");
    a.order(held, "test \"$(cat \"$GIT_SESSION_STATE_DIR/memory\")\" = there");
    a.end(ID);
    said
}

on_every_format! {
    fn the_workers_state_comes_back_too(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let said = goes_on(&team, &mut held);
        assert!(!said.contains("warning"), "{said}");
    }

    fn where_it_cannot_be_put_back_it_is_told_where_ignored_files_are(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let a = &team[0];
        fs::write(a.file(".git/info/exclude"), "*.ign\n").unwrap();
        fs::write(a.worktree(ID).join("x.ign"), "mine alone\n").unwrap();
        fs::create_dir_all(a.worktree(ID).join("only/here")).unwrap();
        fs::write(a.worktree(ID).join("only/here/y.ign"), "deep\n").unwrap();
        let hook = hooked(a, "exit 1");
        let refused = a.session("resume --trust moves");
        refused.fails(128);
        let told = "what git ignores in it is in '";
        let (_, rest) = refused.stderr.split_once(told).unwrap();
        let (dir, _) = rest.rsplit_once('\'').unwrap();
        assert_eq!(fs::read_to_string(Path::new(dir).join("x.ign")).unwrap(), "mine alone\n");
        a.session("show moves").ok().prints(dir);
        fs::remove_file(hook).unwrap();
        let said = goes_on(&team, &mut held);
        assert!(!said.contains("warning"), "{said}");
        // It is where it was, and nothing is left beside.
        assert_eq!(fs::read_to_string(a.worktree(ID).join("x.ign")).unwrap(), "mine alone\n");
        assert_eq!(fs::read_to_string(a.worktree(ID).join("only/here/y.ign")).unwrap(), "deep\n");
        assert!(!Path::new(dir).exists());
        assert!(!a.session("show moves").ok().text().contains("aside"));
    }

    fn what_was_changed_since_is_named_where_nothing_can_be_put_back(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let a = &team[0];
        fs::write(a.worktree(ID).join("made.txt"), "changed since\n").unwrap();
        let hook = hooked(a, "exit 1");
        let refused = a.session("resume --trust moves");
        refused.fails(128);
        let hint = hint_in(&refused.stderr);
        a.session("show moves").ok().prints(&hint);
        assert!(a.show(ID)["aside"].to_string().contains(&hint));
        fs::remove_file(hook).unwrap();
        let said = goes_on(&team, &mut held);
        assert_eq!(hint_in(&said), hint);
        let back = a.session(&hint).ok().text();
        assert_eq!(fs::read_to_string(format!("{back}/made.txt")).unwrap(), "changed since\n");
        assert!(!a.session("show moves").ok().text().contains(&hint));
    }

    fn a_commit_that_only_the_log_of_head_has_is_named_first(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let (a, dir) = (&team[0], team[0].worktree(ID));
        a.git_in(&dir, "switch -q --detach");
        a.git_in(&dir, "commit -q --allow-empty -m lone");
        let lone = a.git_in(&dir, "rev-parse HEAD");
        a.git_in(&dir, "switch -q -");
        a.session("resume --trust moves").fails(1).says(&format!("'git branch NAME {lone}' keeps it"));
        a.git(&format!("branch lone {lone}"));
        goes_on(&team, &mut held);
    }

    fn what_was_committed_since_in_a_worktree_that_is_gone_is_named_too(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let a = &team[0];
        let dir = a.worktree(ID);
        a.git_in(&dir, "switch -q --detach");
        fs::write(dir.join("made.txt"), "changed since\n").unwrap();
        fs::write(dir.join("left.txt"), "left\n").unwrap();
        a.git_in(&dir, "commit -q -a --allow-empty -m since");
        a.git_in(&dir, "add made.txt");
        fs::remove_dir_all(&dir).unwrap();
        let said = goes_on(&team, &mut held);
        assert!(said.contains("neither committed nor staged: it is gone"), "{said}");
        let back = a.session(&hint_in(&said)).ok().text();
        assert_eq!(fs::read_to_string(format!("{back}/made.txt")).unwrap(), "changed since\n");
        assert_eq!(a.git_in(Path::new(&back), "log -1 --format=%s"), "since");
        assert_eq!(a.git("fsck --connectivity-only --unreachable"), "");
    }

    fn what_was_changed_since_is_named_where_its_command_is_not_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.commit_file(&a.repo(), "work.sh", "#!/bin/sh\nexec sleep 1000\n");
        a.git("update-index --chmod=+x work.sh");
        a.git("commit -q -m executable");
        a.git("reset -q --hard");
        a.session("run -d --id moves -- ./work.sh").ok();
        a.session("suspend moves").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("resume --trust moves").ok();
        fs::remove_file(b.worktree(ID).join("work.sh")).unwrap();
        b.session("suspend moves").ok();
        b.session("push").ok();
        a.session("fetch").ok();
        fs::write(a.worktree(ID).join("made.txt"), "changed since\n").unwrap();
        let refused = a.session("resume --trust moves");
        refused.fails(127);
        let hint = hint_in(&refused.stderr);
        a.session("show moves").ok().prints(&hint);
        let again = a.session("resume --trust moves");
        again.fails(127).says(&hint);
    }

    fn whoever_comes_after_a_resume_that_was_killed_has_all_again(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let a = &team[0];
        fs::write(a.file(".git/info/exclude"), "*.ign\n").unwrap();
        fs::create_dir_all(a.worktree(ID).join("deep/er")).unwrap();
        fs::write(a.worktree(ID).join("deep/er/x.ign"), "mine alone\n").unwrap();
        fs::write(a.worktree(ID).join("made.txt"), "changed since\n").unwrap();
        // Whoever runs the git that runs the hook.
        let hook = hooked(a, "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); exit 1");
        let killed = a.session("resume --trust moves");
        assert_ne!(killed.code, 0);
        fs::remove_file(hook).unwrap();
        let hint = hint_in(&a.session("show moves").ok().to_string());
        let said = goes_on(&team, &mut held);
        assert_eq!(hint_in(&said), hint);
        let back = a.session(&hint).ok().text();
        assert_eq!(fs::read_to_string(format!("{back}/made.txt")).unwrap(), "changed since\n");
        assert_eq!(fs::read_to_string(a.worktree(ID).join("deep/er/x.ign")).unwrap(), "mine alone\n");
    }

    fn what_has_no_place_stays_until_it_is_pruned(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        fs::write(a.file(".git/info/exclude"), "build\n").unwrap();
        let mut held = a.hold("--id moves");
        a.order(&held, "mkdir build; echo mine > build/here; echo mine > build/both");
        a.session("suspend moves").ok();
        a.session("push").ok();
        b.fifo("up0");
        b.fifo("on0");
        b.session("fetch").ok();
        let mut there = held.clone();
        b.session("resume --trust moves").ok();
        b.meet(&mut there);
        b.order(&there, "mkdir build; echo theirs > build/both");
        b.session("suspend moves").ok();
        b.session("push").ok();
        a.session("fetch").ok();
        let said = a.session("resume --trust moves").ok().to_string();
        a.meet(&mut held);
        a.order(&held, "test $(cat build/here) = mine && test $(cat build/both) = theirs");
        let (_, rest) = said.split_once("has no place there: it is in '").expect(&said);
        let (file, _) = rest.lines().next().unwrap().rsplit_once('\'').unwrap();
        assert!(said.contains("build/both") && !said.contains("build/here"), "{said}");
        assert_eq!(fs::read_to_string(file).unwrap(), "mine\n");
        let dir = Path::new(file).ancestors().nth(2).unwrap();
        a.session("show moves").ok().prints(dir.to_str().unwrap());
        a.end(ID);
        a.session("prune").ok().says(&format!("keeps worktree '{}'", dir.display()));
        assert_eq!(fs::read_to_string(file).unwrap(), "mine\n");
        // What somebody has put there since is none of ours.
        fs::write(dir.join("new"), "new\n").unwrap();
        a.session("prune --discard-ignored").ok().says("more than what git ignored");
        fs::remove_file(dir.join("new")).unwrap();
        a.session("prune -n --discard-ignored").ok().says("would remove");
        assert_eq!(fs::read_to_string(file).unwrap(), "mine\n");
        a.session("prune --discard-ignored").ok().says("removed");
        assert!(!dir.exists());
    }

    fn the_workers_state_comes_back_too_where_the_worktree_is_gone(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        fs::remove_dir_all(team[0].worktree(ID)).unwrap();
        // What a command left that was killed while it put state back.
        let part = team[0].run_dir(ID).join("state.part");
        fs::create_dir(&part).unwrap();
        fs::write(part.join("memory"), "half").unwrap();
        goes_on(&team, &mut held);
        assert!(!part.exists());
    }

    fn state_that_was_never_saved_is_kept_beside_what_comes(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let run_dir = team[0].run_dir(ID);
        fs::write(run_dir.join("state/thought"), "mine alone\n").unwrap();
        let hook = hooked(&team[0], "exit 1");
        let refused = team[0].session("resume --trust moves");
        refused.fails(128);
        fs::remove_file(hook).unwrap();
        goes_on(&team, &mut held);
        let names = fs::read_dir(&run_dir).unwrap().map(|entry| entry.unwrap().path());
        let kept = names.into_iter().find(|path| path.to_string_lossy().contains("/state."));
        let kept = kept.expect("nothing is kept");
        assert_eq!(fs::read_to_string(kept.join("thought")).unwrap(), "mine alone\n");
        refused.says(kept.to_str().unwrap());
        team[0].session("show moves").ok().prints(kept.to_str().unwrap());

        team[0].session("forget --yes --local moves").ok();
        assert!(!kept.exists());
    }

    fn what_was_changed_since_in_an_older_worktree_is_saved_and_named(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let a = &team[0];
        fs::write(a.worktree(ID).join("made.txt"), "changed since\n").unwrap();
        let said = goes_on(&team, &mut held);
        let (_, hint) = said.split_once("'git session ").expect("nothing is named");
        let back = a.session(hint.split('\'').next().unwrap()).ok().text();
        assert_eq!(fs::read_to_string(format!("{back}/made.txt")).unwrap(), "changed since\n");
    }

    fn a_file_that_only_the_other_machine_ignores_comes_back(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let ignored = b.root().join("ignored");
        fs::write(&ignored, "made.txt\n").unwrap();
        b.config("core.excludesFile", ignored.to_str().unwrap());
        let mut held = handed_back(&team);
        goes_on(&team, &mut held);
        a.session("diff moves").ok().prints("+there");
    }

    fn a_file_that_this_machine_ignores_has_its_place_each_time(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let ignored = a.root().join("ignored");
        fs::write(&ignored, "from-there\n").unwrap();
        a.config("core.excludesFile", ignored.to_str().unwrap());
        let held = handed_back(&team);
        let (mut here, mut there) = (held.clone(), held);
        for word in ["one", "two", "three"] {
            b.session("fetch").ok();
            b.session("resume --trust moves").ok();
            b.meet(&mut there);
            b.order(&there, &format!("mkdir -p from-there; echo {word} > from-there/file"));
            b.session("suspend moves").ok();
            b.session("push").ok();
            a.session("fetch").ok();
            let said = a.session("resume --trust moves").ok().to_string();
            a.meet(&mut here);
            a.order(&here, &format!("test $(cat from-there/file) = {word}"));
            assert!(!said.contains("warning"), "{said}");
            a.session("suspend moves").ok();
            a.session("push").ok();
        }
        let beside = fs::read_dir(a.worktree(ID).parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1);
    }

    fn a_worktree_of_which_no_record_is_here_is_no_newer(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        fs::remove_file(team[0].run_dir(ID).join("worktree.json")).unwrap();
        goes_on(&team, &mut held);
    }

    fn who_ends_it_ends_what_the_other_has_left(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        handed_back(&team);
        let a = &team[0];
        let work = team[1].trailer(ID, "Work");
        a.session("claim moves").ok();
        a.session("terminate moves").ok();
        assert_eq!(a.trailer(ID, "Work"), work);
        a.session("diff moves").ok().prints("+there");
        // Who merges it gets what was committed there.
        assert_eq!(a.git("log -1 --format=%s session/moves"), "made there");
        // What is in it was saved when it was suspended here.
        a.session("prune").ok().says(ID);
        assert!(!a.worktree(ID).exists());
    }

    fn what_was_changed_since_in_an_older_worktree_is_kept_after_the_end(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        handed_back(&team);
        let a = &team[0];
        fs::write(a.worktree(ID).join("made.txt"), "changed since\n").unwrap();
        a.session("claim moves").ok();
        a.session("terminate moves").ok();
        a.session("diff moves").ok().prints("+there");
        a.session("prune").ok().says("it was changed since it was saved");
        assert!(a.worktree(ID).join("made.txt").exists());
    }

    fn an_older_worktree_is_said_to_be_one(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let mut held = handed_back(&team);
        let (a, b) = (&team[0], &team[1]);
        let older = "from before it went on elsewhere";
        a.session("show moves").ok().prints(older);
        a.session("exec moves -- cat made.txt").ok().prints("here").says(older);
        assert!(!b.session("show moves").ok().text().contains(older));
        goes_on(&team, &mut held);
        assert!(!a.session("show moves").ok().text().contains(older));
        assert!(!a.session("exec moves -- cat made.txt").ok().to_string().contains(older));
    }

    fn an_older_worktree_is_not_saved_as_its_work(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        handed_back(&team);
        let a = &team[0];
        a.session("claim moves").ok();
        let tip = a.tip(ID);
        a.session("checkpoint moves").fails(1).says("is from before it went on elsewhere");
        assert_eq!(a.tip(ID), tip);
    }

    fn where_no_worktree_was_ever_made_nothing_is_said_to_be_saved(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        handed_back(&team);
        let c = &team[2];
        c.session("fetch").ok();
        c.session("claim moves").ok();
        let tip = c.tip(ID);
        c.session("checkpoint moves").fails(1).says("none was made, and nothing is there to be saved");
        assert_eq!(c.tip(ID), tip);
    }
}
