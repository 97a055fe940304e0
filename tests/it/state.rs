//! Work that is saved and comes back as it was.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::on_every_format;
use crate::sandbox::{Held, Sandbox, Team, traces};

/// What git says of a worktree: HEAD, index, status, and every file that is no part of git's own.
fn picture(sandbox: &Sandbox, tree: &Path) -> (String, Vec<(String, String)>) {
    let said = [
        "symbolic-ref -q HEAD",
        "rev-parse HEAD",
        "ls-files -s -t",
        "status --porcelain=v2 -uall",
        "diff",
        "diff --cached",
    ]
    .map(|line| {
        let words = shell_words::split(line).unwrap();
        sandbox.command("git").args(words).within(tree).run().stdout()
    })
    .join("\n--\n");
    let files = traces::of(tree).into_iter().filter_map(|(path, trace)| {
        let name = path
            .strip_prefix(tree)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .escape_ascii()
            .to_string();
        // The time of a file is not part of the promise.
        let trace = trace
            .split('.')
            .next()
            .unwrap()
            .rsplit_once(' ')
            .map_or(trace.clone(), |(kept, _)| kept.to_owned());
        (!name.starts_with(".git")).then_some((name, trace))
    });
    (said, files.collect())
}

fn untidy(sandbox: &Sandbox, tree: &Path) {
    sandbox.commit_file(tree, "committed.txt", "committed\n");
    fs::write(tree.join("code.txt"), "staged\n").unwrap();
    sandbox.git_in(tree, "add code.txt");
    fs::write(tree.join("code.txt"), "staged and changed\n").unwrap();
    fs::remove_file(tree.join("README")).unwrap();
    fs::write(tree.join("new staged.txt"), "new\n").unwrap();
    sandbox.git_in(tree, "add 'new staged.txt'");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    fs::write(tree.join("deep/er/untracked.bin"), [0, 255, 13, 10, 0]).unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"odd \xff\nname")), "odd").unwrap();
    fs::write(tree.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("nowhere/at all", tree.join("link")).unwrap();
}

fn suspend_and_lose(sandbox: &Sandbox, held: &mut Held) {
    let run = sandbox.session(&format!("suspend {}", held.id));
    run.ok();
    fs::remove_dir_all(sandbox.worktree(&held.id)).unwrap();
    sandbox.resume(held);
}

on_every_format! {
    fn a_worktree_that_is_gone_comes_back_as_it_was(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id lost");
        let tree = sandbox.worktree("lost");
        untidy(sandbox, &tree);
        let before = picture(sandbox, &tree);
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(sandbox.trailer("lost", "Unsaved"), "");
        sandbox.end("lost");
    }

    fn a_submodule_comes_back_with_what_was_changed_in_it(sandbox: &Sandbox) {
        let library = Sandbox::new(sandbox.format);
        let mut held = sandbox.hold("--id whole");
        let tree = sandbox.worktree("whole");
        sandbox.config("protocol.file.allow", "always");
        let url = shell_words::quote(library.repo().to_str().unwrap()).into_owned();
        for name in ["clean", "dirty", "moved"] {
            sandbox.git_in(&tree, &format!("submodule add -q {url} {name}"));
        }
        sandbox.git_in(&tree, "commit -q -m libraries");
        let dirty = tree.join("dirty");
        fs::write(dirty.join("code.txt"), "changed\n").unwrap();
        fs::write(dirty.join("new.txt"), "staged\n").unwrap();
        sandbox.git_in(&dirty, "add new.txt");
        fs::remove_file(dirty.join("README")).unwrap();
        fs::write(dirty.join("notes"), "untracked\n").unwrap();
        fs::set_permissions(dirty.join("notes"), fs::Permissions::from_mode(0o600)).unwrap();
        sandbox.git_in(&tree.join("moved"), "switch -q -c deeper");
        sandbox.commit_file(&tree.join("moved"), "deep.txt", "deep\n");
        let before = picture(sandbox, &tree);
        let staged = sandbox.git_in(&dirty, "diff --cached");
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(sandbox.git_in(&dirty, "diff --cached"), staged);
        assert_eq!(sandbox.git_in(&tree.join("moved"), "symbolic-ref --short HEAD"), "deeper");
        // That it was saved here alone is all that is to be said.
        let unsaved = sandbox.story("whole", "Unsaved").concat();
        assert!(unsaved.starts_with("moved: ") && !unsaved.contains("dirty"), "{unsaved}");
        sandbox.session("restore whole --at 3").ok().says("clean");
        sandbox.end("whole");
    }

    fn what_stands_in_the_place_of_a_submodule_comes_back(sandbox: &Sandbox) {
        let library = Sandbox::new(sandbox.format);
        let mut held = sandbox.hold("--id instead");
        let tree = sandbox.worktree("instead");
        sandbox.config("protocol.file.allow", "always");
        let url = shell_words::quote(library.repo().to_str().unwrap()).into_owned();
        for name in ["file", "gone", "link", "still"] {
            sandbox.git_in(&tree, &format!("submodule add -q {url} {name}"));
        }
        sandbox.git_in(&tree, "commit -q -m libraries");
        for name in ["file", "gone", "link"] {
            fs::rename(tree.join(name), sandbox.root().join(name)).unwrap();
        }
        // From here on `git status` refuses.
        symlink(sandbox.root().join("link"), tree.join("link")).unwrap();
        fs::write(tree.join("file"), "no submodule\n").unwrap();
        fs::write(tree.join("still/code.txt"), "changed\n").unwrap();
        fs::write(tree.join("draft"), "untracked\n").unwrap();
        let before = picture(sandbox, &tree);
        let run = sandbox.session("suspend instead");
        assert_eq!(run.ok().stderr, "instead: suspended\n");
        fs::remove_dir_all(&tree).unwrap();
        sandbox.resume(&mut held);
        assert_eq!(picture(sandbox, &tree), before);
        sandbox.end("instead");
    }

    fn what_is_in_a_submodule_that_git_does_not_look_into_comes_back(sandbox: &Sandbox) {
        let library = Sandbox::new(sandbox.format);
        sandbox.config("protocol.file.allow", "always");
        let url = shell_words::quote(library.repo().to_str().unwrap()).into_owned();
        let is_root = rustix::process::geteuid().is_root();
        // Each with what becomes of it, where "$M" is its repository.
        let modules = [
            ("bare", "rm .git"),
            // Nobody else can look into it.
            ("closed", if is_root { "chmod 000 ." } else { "true" }),
            ("config", "echo '[broken' >> \"$M/config\""),
            ("empty", ": > .git"),
            ("fine", "true"),
            ("gone", "rm -rf \"$M\""),
            ("headless", ": > \"$M/HEAD\""),
            ("index", "echo junk > \"$M/index\""),
            ("misled", "git config --file \"$M/config\" core.worktree ../../nowhere"),
            ("no-repository", "rm .git; mkdir .git"),
            ("nowhere", "echo 'gitdir: /nowhere' > .git"),
        ];
        for (name, _) in &modules[1..] {
            sandbox.git(&format!("submodule add -q {url} {name}"));
        }
        sandbox.git("commit -q -m modules");
        let mut held = sandbox.hold("--id broken");
        let tree = sandbox.worktree("broken");
        sandbox.git_in(&tree, "submodule update -q --init");
        // One that is staged only.
        sandbox.git_in(&tree, &format!("submodule add -q {url} bare"));
        for (name, script) in modules {
            let at = tree.join(name);
            fs::write(at.join("code.txt"), "changed\n").unwrap();
            fs::write(at.join("draft"), name).unwrap();
            let script = format!("M=$(git rev-parse --absolute-git-dir); {script}");
            sandbox.command("sh").args(["-c", &script]).within(&at).run().ok();
        }
        let index = sandbox.git_in(&tree, "ls-files --stage");
        sandbox.session("suspend broken").ok();
        let unsaved = sandbox.trailer("broken", "Unsaved");
        assert!(!unsaved.contains("everything"), "{unsaved}");
        traces::make_writable(&tree);
        fs::remove_dir_all(&tree).unwrap();
        sandbox.resume(&mut held);
        assert_eq!(sandbox.git_in(&tree, "ls-files --stage"), index);
        for (name, _) in modules {
            traces::make_writable(&tree.join(name));
            let read = |file: &str| fs::read_to_string(tree.join(name).join(file)).unwrap();
            assert_eq!((read("code.txt").as_str(), read("draft").as_str()), ("changed\n", name));
        }
        assert_eq!(sandbox.git_in(&tree.join("fine"), "status --porcelain"), " M code.txt\n?? draft");
        sandbox.end("broken");
    }

    fn a_repository_that_was_added_as_it_is_is_stored_whole(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id embedded");
        let tree = sandbox.worktree("embedded");
        let inner = tree.join("inner");
        fs::create_dir(&inner).unwrap();
        sandbox.git_in(&inner, "init -q");
        let commit = sandbox.commit_file(&inner, "only.txt", "only here\n");
        sandbox.git_in(&tree, "add inner");
        fs::write(inner.join("only.txt"), "changed\n").unwrap();
        let before = picture(sandbox, &tree);
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(sandbox.git_in(&inner, "rev-parse HEAD"), commit);
        assert_eq!(sandbox.trailer("embedded", "Unsaved"), "");
        sandbox.end("embedded");
    }

    fn a_branch_that_has_no_commit_yet_comes_back_without_one(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id orphan");
        let tree = sandbox.worktree("orphan");
        sandbox.git_in(&tree, "switch -q --orphan pages");
        fs::write(tree.join("index.html"), "staged\n").unwrap();
        sandbox.git_in(&tree, "add index.html");
        fs::write(tree.join("draft.html"), "untracked\n").unwrap();
        let before = picture(sandbox, &tree);
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(sandbox.git("for-each-ref refs/heads/pages"), "");
        sandbox.session("restore orphan --at 3").ok();
        let beside = sandbox.root().join("repo.sessions/orphan@3");
        assert_eq!(picture(sandbox, &beside), before);
        // Its first commit has no parent.
        sandbox.git_in(&tree, "commit -q -m first");
        assert_eq!(sandbox.git("rev-list --count pages"), "1");
        sandbox.end("orphan");
        assert_eq!(sandbox.git("rev-list --count pages"), "1");
    }

    fn a_worktree_that_git_cannot_read_is_neither_removed_nor_called_gone(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id broken");
        let tree = sandbox.worktree("broken");
        fs::write(tree.join("draft"), "nowhere else\n").unwrap();
        let head = sandbox.repo().join(".git/worktrees/broken/HEAD");
        let whole = fs::read(&head).unwrap();
        // As a power failure leaves it.
        fs::write(&head, "").unwrap();
        let told = format!("git can't read what is at '{}' as one", tree.display());
        sandbox.session("checkpoint broken").fails(1).says(&told);
        let told = format!("what is in '{}': git can't read it as a worktree", tree.display());
        sandbox.session("suspend broken").ok().says(&told);
        assert_eq!(sandbox.trailer("broken", "Unsaved"), told);
        sandbox.session("resume broken").fails(1).says("which is kept as it is").says("hint: write 'ref:");
        assert_eq!(fs::read_to_string(tree.join("draft")).unwrap(), "nowhere else\n");
        fs::write(&head, &whole).unwrap();
        sandbox.resume(&mut held);
        fs::write(&head, "").unwrap();
        sandbox.session("terminate broken").ok().says(&told);
        sandbox.session("prune broken").ok();
        assert_eq!(fs::read_to_string(tree.join("draft")).unwrap(), "nowhere else\n");
        fs::write(&head, &whole).unwrap();
    }

    fn an_index_that_git_cannot_read_is_named_and_all_else_is_saved(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id torn");
        let tree = sandbox.worktree("torn");
        let commit = sandbox.commit_file(&tree, "committed.txt", "committed\n");
        fs::write(tree.join("code.txt"), "changed\n").unwrap();
        fs::write(tree.join("draft"), "nowhere else\n").unwrap();
        fs::remove_file(tree.join("README")).unwrap();
        // As a power failure leaves it.
        fs::write(sandbox.repo().join(".git/worktrees/torn/index"), "").unwrap();
        sandbox.session("suspend torn").ok();
        let unsaved = sandbox.trailer("torn", "Unsaved");
        assert!(unsaved.starts_with("index: git status: ") && unsaved.lines().count() == 1, "{unsaved}");
        fs::remove_dir_all(&tree).unwrap();
        sandbox.resume(&mut held);
        assert_eq!(sandbox.git_in(&tree, "rev-parse session/torn"), commit);
        assert_eq!(sandbox.git_in(&tree, "status --porcelain"), " D README\n M code.txt\n?? draft");
        sandbox.end("torn");
    }

    fn a_head_that_names_no_branch_makes_none(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id tagged");
        let tree = sandbox.worktree("tagged");
        sandbox.git_in(&tree, "tag somewhere");
        sandbox.git_in(&tree, "symbolic-ref HEAD refs/tags/somewhere");
        let before = sandbox.git("for-each-ref --format=%(refname) refs/heads");
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(sandbox.git("for-each-ref --format=%(refname) refs/heads"), before);
        assert_eq!(sandbox.git_in(&tree, "rev-parse HEAD"), sandbox.git("rev-parse somewhere"));
        sandbox.end("tagged");
    }

    fn a_fifo_in_the_place_of_a_tracked_file_is_named_and_not_waited_for(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id fifo");
        let tree = sandbox.worktree("fifo");
        sandbox.git_in(&tree, "update-index --assume-unchanged README");
        let script = "rm README code.txt; mkfifo README code.txt; mkdir -p odd; mkfifo odd/.git";
        sandbox.command("sh").args(["-c", script]).within(&tree).run().ok();
        suspend_and_lose(sandbox, &mut held);
        let unsaved = sandbox.story("fifo", "Unsaved").join(" ");
        for name in ["README: a FIFO", "code.txt: a FIFO", "odd/.git: a FIFO"] {
            assert!(unsaved.contains(name), "{unsaved}");
        }
        // What was there before is better than nothing.
        assert_eq!(fs::read_to_string(tree.join("README")).unwrap(), "read me\n");
        sandbox.end("fifo");
    }

    fn another_worktree_within_a_sessions_own_is_named_and_never_pruned(sandbox: &Sandbox) {
        let held = sandbox.hold("--id outer");
        let tree = sandbox.worktree("outer");
        sandbox.git_in(&tree, "worktree add -q --detach inner");
        fs::write(tree.join("inner/draft"), "nowhere else\n").unwrap();
        sandbox.end(&held.id);
        let unsaved = sandbox.trailer("outer", "Unsaved");
        assert!(unsaved.starts_with("inner: it is another worktree"), "{unsaved}");
        sandbox.session("prune --discard-ignored");
        assert_eq!(fs::read_to_string(tree.join("inner/draft")).unwrap(), "nowhere else\n");
    }

    fn a_submodule_that_the_index_has_no_more_is_saved_with_its_files(sandbox: &Sandbox) {
        let inner = sandbox.root().join("inner");
        sandbox.git_in(sandbox.root(), "init -q inner");
        sandbox.commit_file(&inner, "file", "clean\n");
        let mut held = sandbox.hold("--id module");
        let tree = sandbox.worktree("module");
        sandbox.git_in(&tree, "-c protocol.file.allow=always submodule add -q ../../inner sub");
        sandbox.git_in(&tree, "rm -q --cached sub");
        fs::write(tree.join("sub/file"), "dirty\n").unwrap();
        let before = picture(sandbox, &tree);
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(sandbox.git_in(&tree.join("sub"), "status --porcelain"), " M file");
        sandbox.end("module");
    }

    fn a_worktree_that_is_there_is_gone_on_with(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id there");
        let tree = sandbox.worktree("there");
        untidy(sandbox, &tree);
        fs::write(tree.join("build.ignored"), "kept, though nobody saves it").unwrap();
        let before = picture(sandbox, &tree);
        sandbox.session("suspend there").ok();
        // What a person changes in between is theirs.
        sandbox.resume(&mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert!(tree.join("build.ignored").exists());
        sandbox.end("there");
    }

    fn a_snapshot_has_the_shape_of_a_stash(sandbox: &Sandbox) {
        let held = sandbox.hold("--id shape");
        let tree = sandbox.worktree("shape");
        untidy(sandbox, &tree);
        fs::write(tree.join("secret.ignored"), "not saved").unwrap();
        let head = sandbox.git_in(&tree, "rev-parse HEAD");
        let index = sandbox.git_in(&tree, "write-tree");
        sandbox.session("suspend shape").ok();
        let work = sandbox.trailer("shape", "Work");
        let snapshot = sandbox.snapshot("shape");
        assert_eq!(sandbox.git(&format!("rev-parse {snapshot}^1")), head);
        assert_eq!(sandbox.git(&format!("rev-parse {snapshot}^2^{{tree}}")), index);
        assert_eq!(sandbox.saved("shape", "code.txt"), "staged and changed");
        let files = sandbox.git(&format!("ls-tree -r --name-only {snapshot}"));
        assert!(
            files.contains("deep/er/untracked.bin") && !files.contains("README"),
            "{files}"
        );
        assert!(!files.contains("secret.ignored"), "{files}");
        // The chain begins at the base, which so travels with it.
        let base = sandbox.trailer("shape", "Base");
        assert_eq!(sandbox.git(&format!("rev-parse {work}^2")), base);
        let owner = sandbox.trailer("shape", "Owner");
        assert_eq!(
            sandbox.git(&format!("rev-parse refs/session-work/shape/{owner}")),
            work
        );
        sandbox.end(&held.id);
    }

    fn a_checkpoint_saves_the_work_of_a_running_worker_and_lets_it_run(sandbox: &Sandbox) {
        let held = sandbox.hold("--id going");
        let tree = sandbox.worktree("going");
        untidy(sandbox, &tree);
        let before = picture(sandbox, &tree);
        sandbox.session("checkpoint going").ok();
        assert_eq!(sandbox.state("going"), "running");
        assert_eq!(sandbox.events("going"), ["create", "start", "checkpoint"]);
        assert_eq!(picture(sandbox, &tree), before);
        let work = sandbox.trailer("going", "Work");
        assert_eq!(sandbox.saved("going", "code.txt"), "staged and changed");
        sandbox.order(&held, "true");
        // What is the same is not written twice.
        sandbox.session("checkpoint going").ok();
        assert_eq!(sandbox.trailer("going", "Work"), work);
        fs::write(tree.join("one more"), "").unwrap();
        sandbox.session("checkpoint going").ok();
        let next = sandbox.trailer("going", "Work");
        assert_eq!(sandbox.git(&format!("rev-parse {next}^1")), work);
        sandbox.let_end(&held, 0);
    }

    fn the_workers_own_state_comes_back_too(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id mind");
        sandbox.order(
            &held,
            "mkdir \"$GIT_SESSION_STATE_DIR/d\"; echo thought > \"$GIT_SESSION_STATE_DIR/d/memory\"",
        );
        sandbox.session("suspend mind").ok();
        let work = sandbox.trailer("mind", "Work");
        assert_eq!(
            sandbox.git(&format!("show {work}:worker-state/d/memory")),
            "thought"
        );
        fs::remove_dir_all(sandbox.run_dir("mind").join("state")).unwrap();
        fs::remove_dir_all(sandbox.worktree("mind")).unwrap();
        sandbox.resume(&mut held);
        sandbox.order(&held, "grep -q thought \"$GIT_SESSION_STATE_DIR/d/memory\"");
        sandbox.let_end(&held, 0);
    }

    fn any_recorded_snapshot_can_be_restored_beside_the_others(sandbox: &Sandbox) {
        let held = sandbox.hold("--id past");
        let tree = sandbox.worktree("past");
        fs::write(tree.join("code.txt"), "first\n").unwrap();
        sandbox.session("checkpoint past").ok();
        fs::write(tree.join("code.txt"), "second\n").unwrap();
        sandbox.session("suspend past").ok();
        sandbox.session("restore past --at 3").ok();
        let first = sandbox.root().join("repo.sessions/past@3");
        assert_eq!(fs::read_to_string(first.join("code.txt")).unwrap(), "first\n");
        assert_eq!(sandbox.git_in(&first, "rev-parse --abbrev-ref HEAD"), "HEAD");
        let place = sandbox.root().join("a new place");
        sandbox
            .session_command("restore past --to")
            .args([&place])
            .run()
            .ok();
        assert_eq!(fs::read_to_string(place.join("code.txt")).unwrap(), "second\n");
        // Never over anything that is there.
        sandbox
            .session_command("restore past --to")
            .args([&place])
            .run()
            .fails(1)
            .says("a new place");
        sandbox.session("restore past --at 3").fails(1);
        sandbox.session("restore past --at 99").fails(1);
        assert_eq!(fs::read_to_string(tree.join("code.txt")).unwrap(), "second\n");
        sandbox.end(&held.id);
    }

    fn an_ended_session_gives_its_work_back(sandbox: &Sandbox) {
        let held = sandbox.hold("--id over");
        untidy(sandbox, &sandbox.worktree("over"));
        sandbox.end(&held.id);
        fs::remove_dir_all(sandbox.worktree("over")).unwrap();
        sandbox.git("worktree prune");
        sandbox.git("branch -q -D session/over");
        let place = sandbox.root().join("again");
        sandbox
            .session_command("restore over --to")
            .args([&place])
            .run()
            .ok();
        assert_eq!(
            fs::read(place.join("deep/er/untracked.bin")).unwrap(),
            [0, 255, 13, 10, 0]
        );
        assert_eq!(fs::read(place.join("committed.txt")).unwrap(), b"committed\n");
    }

    fn a_merge_in_progress_comes_back_with_its_conflicts(sandbox: &Sandbox) {
        sandbox.git("switch -q -c theirs");
        sandbox.commit_file(&sandbox.repo(), "code.txt", "theirs\n");
        sandbox.git("switch -q main");
        let mut held = sandbox.hold("--id merging");
        let tree = sandbox.worktree("merging");
        sandbox.commit_file(&tree, "code.txt", "ours\n");
        assert_eq!(
            sandbox
                .command("git")
                .args(["merge", "-q", "theirs"])
                .within(&tree)
                .run()
                .code,
            1
        );
        let before = picture(sandbox, &tree);
        let unmerged = sandbox.git_in(&tree, "ls-files -u");
        assert!(!unmerged.is_empty());
        sandbox.session("suspend merging").ok();
        let unsaved = sandbox.trailer("merging", "Unsaved");
        if unsaved.is_empty() {
            fs::remove_dir_all(tree.clone()).unwrap();
        }
        sandbox.resume(&mut held);
        assert_eq!(picture(sandbox, &tree), before);
        fs::write(tree.join("code.txt"), "both\n").unwrap();
        sandbox.order(&held, "git add code.txt && git commit -q --no-edit");
        assert_eq!(
            sandbox.git_in(&tree, "rev-parse HEAD^2"),
            sandbox.git("rev-parse theirs")
        );
        sandbox.let_end(&held, 0);
    }

    fn what_a_tree_cannot_hold_comes_back_or_is_named(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id odd");
        let tree = sandbox.worktree("odd");
        fs::create_dir_all(tree.join("empty/dir")).unwrap();
        fs::write(tree.join("private"), "mode").unwrap();
        fs::set_permissions(tree.join("private"), fs::Permissions::from_mode(0o640)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), 0o600.into()).unwrap();
        sandbox.git_in(&tree, "init -q nested");
        let nested = tree.join("nested");
        sandbox.commit_file(&nested, "inner.txt", "inner\n");
        sandbox.git_in(&tree, "update-index --skip-worktree README");
        sandbox.git_in(&tree, "update-index --assume-unchanged code.txt");
        let run = sandbox.session("suspend odd");
        run.ok();
        let unsaved = sandbox.trailer("odd", "Unsaved");
        // What was named is still there, and what was not named can go.
        for line in unsaved.lines() {
            assert!(run.stderr.contains(line), "'{line}' is not told\n{run}");
        }
        if unsaved.contains("nested") || unsaved.contains("pipe") {
            assert!(nested.join("inner.txt").exists());
        } else {
            fs::remove_dir_all(&tree).unwrap();
        }
        sandbox.resume(&mut held);
        assert!(tree.join("empty/dir").is_dir());
        assert_eq!(
            fs::metadata(tree.join("private")).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read(nested.join("inner.txt")).unwrap(), b"inner\n");
        assert!(sandbox.git_in(&tree, "ls-files -v").contains("S README"));
        assert!(sandbox.git_in(&tree, "ls-files -v").contains("h code.txt"));
        sandbox.session("terminate odd").ok();
        if sandbox.trailer("odd", "Unsaved").contains("nested") {
            sandbox.session("prune");
            assert!(nested.join("inner.txt").exists());
        }
    }

    fn filters_and_line_ends_are_kept(sandbox: &Sandbox) {
        sandbox.config("filter.rot.clean", "tr a-z b-za");
        sandbox.config("filter.rot.smudge", "tr b-za a-z");
        fs::write(
            sandbox.file(".gitattributes"),
            "*.rot filter=rot\n*.dos text eol=crlf\n",
        )
        .unwrap();
        fs::write(sandbox.file("a.rot"), "abc\n").unwrap();
        fs::write(sandbox.file("a.dos"), "one\r\ntwo\r\n").unwrap();
        sandbox.git("add .");
        sandbox.git("commit -q -m attributes");
        let mut held = sandbox.hold("--id filtered");
        let tree = sandbox.worktree("filtered");
        fs::write(tree.join("b.rot"), "xyz\n").unwrap();
        fs::write(tree.join("b.dos"), "mixed\r\nends\n").unwrap();
        fs::write(tree.join("a.dos"), "changed\nends\r\n").unwrap();
        let before = picture(sandbox, &tree);
        suspend_and_lose(sandbox, &mut held);
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(fs::read(tree.join("b.dos")).unwrap(), b"mixed\r\nends\n");
        assert_eq!(fs::read(tree.join("a.rot")).unwrap(), b"abc\n");
        sandbox.end("filtered");
    }

    fn a_filter_that_fails_keeps_nothing_from_being_saved(sandbox: &Sandbox) {
        sandbox.config("filter.rot.clean", "tr a-z b-za");
        sandbox.config("filter.rot.smudge", "tr b-za a-z");
        sandbox.config("filter.rot.required", "true");
        fs::write(sandbox.file(".gitattributes"), "*.rot filter=rot\n").unwrap();
        sandbox.commit_file(&sandbox.repo(), "a.rot", "abc\n");
        sandbox.git("add .gitattributes");
        sandbox.commit_file(&sandbox.repo(), "b.rot", "kept\n");
        let mut held = sandbox.hold("--id unfiltered");
        let tree = sandbox.worktree("unfiltered");
        fs::write(tree.join("b.rot"), "changed\n").unwrap();
        fs::write(tree.join("new.rot"), "new\n").unwrap();
        let before = picture(sandbox, &tree);
        sandbox.config("filter.rot.clean", "false");
        suspend_and_lose(sandbox, &mut held);
        sandbox.config("filter.rot.clean", "tr a-z b-za");
        assert_eq!(picture(sandbox, &tree), before);
        assert_eq!(sandbox.trailer("unfiltered", "Unsaved"), "");
        sandbox.end("unfiltered");
    }

    fn what_is_stored_raw_comes_back_without_the_filter(sandbox: &Sandbox) {
        sandbox.config("filter.rot.clean", "tr a-z b-za");
        sandbox.config("filter.rot.smudge", "tr b-za a-z");
        sandbox.config("filter.rot.required", "true");
        fs::write(sandbox.file(".gitattributes"), "*.rot filter=rot\n").unwrap();
        sandbox.commit_file(&sandbox.repo(), "gone.rot", "gone\n");
        sandbox.git("add .gitattributes");
        sandbox.commit_file(&sandbox.repo(), "b.rot", "kept\n");
        sandbox.commit_file(&sandbox.repo(), "plain.txt", "plain\n");
        let mut held = sandbox.hold("--id raw");
        let tree = sandbox.worktree("raw");
        fs::write(tree.join("b.rot"), "changed\n").unwrap();
        fs::write(tree.join("new.rot"), "new\n").unwrap();
        fs::remove_file(tree.join("gone.rot")).unwrap();
        sandbox.git_in(&tree, "update-index --skip-worktree README");
        fs::remove_file(tree.join("README")).unwrap();
        let before = picture(sandbox, &tree);
        sandbox.session("suspend raw").ok();
        sandbox.config("filter.rot.smudge", "false");
        fs::remove_dir_all(&tree).unwrap();
        sandbox.resume(&mut held);
        assert_eq!(picture(sandbox, &tree), before);
        // What is not, can't be put back: nothing runs without it.
        sandbox.session("suspend raw").ok();
        fs::write(tree.join("b.rot"), "kept\n").unwrap();
        sandbox.session("checkpoint raw").ok();
        fs::remove_dir_all(&tree).unwrap();
        sandbox.session("resume raw").fails(128).says("b.rot: smudge filter rot failed");
        assert_eq!(sandbox.state("raw"), "suspended");
        sandbox.config("filter.rot.smudge", "tr b-za a-z");
        sandbox.resume(&mut held);
        assert_eq!(fs::read_to_string(tree.join("b.rot")).unwrap(), "kept\n");
        sandbox.end("raw");
    }

    fn a_sparse_worktree_stays_sparse(sandbox: &Sandbox) {
        fs::create_dir(sandbox.file("far")).unwrap();
        sandbox.commit_file(&sandbox.repo(), "far/away.txt", "far\n");
        let mut held = sandbox.hold("--id sparse");
        let tree = sandbox.worktree("sparse");
        sandbox.git_in(&tree, "sparse-checkout set --no-cone '/*' '!/far'");
        assert!(!tree.join("far/away.txt").exists());
        let run = sandbox.session("suspend sparse");
        run.ok();
        if sandbox.trailer("sparse", "Unsaved").is_empty() {
            fs::remove_dir_all(&tree).unwrap();
        }
        sandbox.resume(&mut held);
        assert_eq!(sandbox.git_in(&tree, "status --porcelain"), "");
        assert_eq!(sandbox.git_in(&tree, "ls-files far"), "far/away.txt");
        sandbox.end("sparse");
    }

    fn a_sparse_worktree_stays_sparse_on_another_clone(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session("run -d --id sparse -- sleep 1000").ok();
        let tree = a.worktree("sparse");
        fs::create_dir(tree.join("far")).unwrap();
        a.commit_file(&tree, "far/away.txt", "far\n");
        a.git_in(&tree, "sparse-checkout set --no-cone '/*' '!/far'");
        a.session("suspend sparse").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("resume --trust sparse").ok();
        let other = b.worktree("sparse");
        assert!(!other.join("far").exists());
        assert_eq!(b.git_in(&other, "status --porcelain"), "");
        assert_eq!(b.git_in(&other, "config core.sparseCheckout"), "true");
        assert_eq!(b.git_in(&b.repo(), "status --porcelain"), "");
        b.session("terminate --kill sparse").ok();
    }

    fn a_worktree_that_cannot_be_put_back_keeps_the_command_from_running(sandbox: &Sandbox) {
        let held = sandbox.hold("--id homeless");
        sandbox.session("suspend homeless").ok();
        let tree = sandbox.worktree("homeless");
        fs::remove_dir_all(&tree).unwrap();
        fs::write(&tree, "somebody else's file").unwrap();
        let before = sandbox.tip("homeless");
        sandbox.session("resume homeless").fails(1).says("homeless");
        assert_eq!(sandbox.tip("homeless"), before);
        assert_eq!(fs::read(&tree).unwrap(), b"somebody else's file");
        fs::remove_file(&tree).unwrap();
        sandbox.end(&held.id);
    }

    fn a_worktree_that_was_moved_is_found_or_named_and_loses_nothing(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id moved");
        let tree = sandbox.worktree("moved");
        sandbox.order(&held, "echo x > new.txt");
        sandbox.session("suspend moved").ok();
        let place = sandbox.root().join("moved away");
        sandbox.git("worktree unlock moved");
        sandbox.git(&format!("worktree move moved \"{}\"", place.display()));
        let run = sandbox.session("resume moved");
        if run.code != 0 {
            run.fails(1).says("moved away");
            assert_eq!(sandbox.state("moved"), "suspended");
            sandbox.git(&format!(
                "worktree move \"{}\" \"{}\"",
                place.display(),
                tree.display()
            ));
            sandbox.session("resume moved").ok();
        }
        sandbox.meet(&mut held);
        sandbox.order(&held, "test -f new.txt");
        sandbox.end("moved");
    }
}
