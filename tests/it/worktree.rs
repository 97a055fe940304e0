//! Worktrees that are made, found, let go and removed, beside stock git.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use git_session::git::{
    Error,
    worktree::{
        Add, Checkout, Files, Head, Hooks, Worktree, add, at, clean_half_made, detach_head, holder_of, list,
        lock, made_commits, move_stale_locks, remove, unlock,
    },
};

use crate::git_repo::{Numbers, Sandbox, formats, git, git_command, kill_after, sh};

fn make(sandbox: &Sandbox, path: &Path, checkout: Checkout<'_>) -> Worktree {
    let repo = sandbox.repo();
    let new = Add {
        path,
        checkout,
        reason: "in use",
        files: Files::Checkout,
        lock_fds: &[],
        hooks: Hooks::Skip,
    };
    add(&repo, &new).unwrap();
    at(&repo, path).unwrap().unwrap()
}

fn detached(sandbox: &Sandbox, name: &str) -> Worktree {
    make(sandbox, &sandbox.beside(name), Checkout::Detached(sandbox.head()))
}

#[test]
fn worktrees_are_made_and_found_under_any_name() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let names: [&[u8]; 4] = [b"plain", b"with space", b"new\nline", b"bad\xffbyte"];
        sandbox.git(["branch", "there"]);
        // git itself reads back only the first line of a path.
        for (number, name) in names
            .into_iter()
            .filter(|name| !name.contains(&b'\n'))
            .enumerate()
        {
            let path = sandbox.beside(OsStr::from_bytes(name));
            let new = format!("new-{number}");
            let branch = Checkout::NewBranch {
                name: &new,
                at: sandbox.head(),
            };
            let found = make(sandbox, &path, branch);
            assert_eq!(found.head, Head::Branch(format!("refs/heads/{new}").into()));
            assert_eq!((found.lock.as_deref(), found.exists), (Some("in use"), true));
            assert_eq!(fs::read(path.join("file")).unwrap(), b"one\n");
            assert_eq!(
                holder_of(&repo, &format!("refs/heads/{new}")).unwrap(),
                Some(found.path)
            );
        }
        let there = make(sandbox, &sandbox.beside("there"), Checkout::Branch("there"));
        assert_eq!(there.head, Head::Branch("refs/heads/there".into()));
        let detached = detached(sandbox, "detached");
        assert_eq!(detached.head, Head::Detached(sandbox.head()));
        assert_eq!(list(&repo).unwrap().len(), 5);
        assert!(at(&repo, &sandbox.beside("none")).unwrap().is_none());
        assert!(
            at(&repo, &sandbox.root()).unwrap().is_none(),
            "the main one is no linked one"
        );
        fs::remove_dir_all(&there.path).unwrap();
        assert!(!at(&repo, &there.path).unwrap().unwrap().exists);
    });
}

#[test]
fn the_lock_is_the_one_that_git_knows() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let found = detached(sandbox, "tree");
        let told = || sandbox.git(["worktree", "list", "--porcelain"]);
        assert!(told().contains("\nlocked in use"));
        unlock(&repo, &found).unwrap();
        unlock(&repo, &found).unwrap();
        assert!(!told().contains("locked"));
        let found = at(&repo, &found.path).unwrap().unwrap();
        lock(&repo, &found, "again").unwrap();
        assert!(told().contains("\nlocked again"));
    });
}

#[test]
fn a_branch_is_held_where_it_is_checked_out_or_will_be_again() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let holder = |name: &str| {
            let found = holder_of(&repo, &format!("refs/heads/{name}")).unwrap();
            found.map(|path| path.canonicalize().unwrap())
        };
        let main = sandbox.root().canonicalize().unwrap();
        assert_eq!(holder("main"), Some(main.clone()));
        assert_eq!(holder("none"), None);
        let path = sandbox.beside("tree");
        let new = Checkout::NewBranch {
            name: "side",
            at: sandbox.head(),
        };
        make(sandbox, &path, new);
        let path = path.canonicalize().unwrap();
        assert_eq!(holder("side"), Some(path.clone()));
        sh(
            &path,
            "for n in 1 2 3 4; do echo $n > n; git add n; git commit -qm $n; done",
        );
        sh(
            &path,
            "GIT_SEQUENCE_EDITOR='sed -i -e 1s/pick/edit/' git rebase -q -i HEAD~2 2>/dev/null",
        );
        assert_eq!(holder("side"), Some(path.clone()), "in a rebase");
        sh(
            &path,
            "git rebase --abort; git bisect start HEAD HEAD~4 >/dev/null",
        );
        assert_eq!(holder("side"), Some(path.clone()), "in a bisection");
        sh(
            &path,
            "git bisect reset >/dev/null 2>&1; git checkout -q --detach",
        );
        assert_eq!(holder("side"), None);
        sh(
            &main,
            "git checkout -q side; GIT_SEQUENCE_EDITOR='sed -i -e 1s/pick/edit/' git rebase -q -i HEAD~2 2>/dev/null",
        );
        assert_eq!(holder("side"), Some(main), "in a rebase of the main worktree");
    });
}

#[test]
fn what_a_killed_git_left_half_made_is_cleaned() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        for number in 0..300 {
            sandbox.write(&format!("many/{number}"), "x\n");
        }
        sandbox.git(["add", "."]);
        sandbox.git(["commit", "-qm", "many"]);
        let mut numbers = Numbers(0x5eed);
        let path = sandbox.beside("tree");
        for _ in 0..15 {
            let mut command = git_command(&sandbox.root());
            command
                .args([
                    "worktree", "add", "-q", "--lock", "--reason", "in use", "--detach",
                ])
                .arg(&path);
            let mut child = command.stderr(Stdio::piped()).process_group(0).spawn().unwrap();
            let group = rustix::process::Pid::from_child(&child);
            let mut said = child.stderr.take().unwrap();
            kill_after(&mut child, Duration::from_micros(numbers.below(12_000)));
            // What it had started goes with it; only then is its stderr at an end.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            said.read_to_end(&mut Vec::new()).unwrap();
            clean_half_made(&repo, &path, &sandbox.trash()).unwrap();
            if let Some(found) = at(&repo, &path).unwrap() {
                assert!(found.exists && found.head != Head::Unknown);
                remove(&repo, &found, &sandbox.trash()).unwrap();
            }
            // What was killed before it had a name of its own is in nobody's way.
            if path.exists() {
                fs::remove_dir(&path).unwrap();
            }
            let made = detached(sandbox, "tree");
            assert_eq!(git(&path, ["status", "--porcelain"]), "");
            remove(&repo, &made, &sandbox.trash()).unwrap();
        }
        sandbox.assert_sound();
    });
}

#[test]
fn a_head_is_let_go_and_the_branch_is_free() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let path = sandbox.beside("tree");
        let new = Checkout::NewBranch {
            name: "side",
            at: sandbox.head(),
        };
        let found = make(sandbox, &path, new);
        sh(&path, "echo changed > file; echo s > staged; git add staged");
        let before = git(&path, ["status", "--porcelain"]);
        detach_head(&repo, &found, sandbox.head()).unwrap();
        assert_eq!(
            at(&repo, &path).unwrap().unwrap().head,
            Head::Detached(sandbox.head())
        );
        assert_eq!(git(&path, ["status", "--porcelain"]), before);
        assert_eq!(
            git(&path, ["log", "-g", "-1", "--format=%gs %H", "HEAD"]),
            format!("session: parked {}", sandbox.head())
        );
        sandbox.git(["switch", "-q", "side"]);
        sandbox.git(["switch", "-q", "main"]);
        sandbox.git(["branch", "-d", "side"]);
        sandbox.assert_sound();
        if sandbox.format.refs == "files" {
            fs::write(found.git_dir.join("HEAD.lock"), "").unwrap();
            let error = detach_head(&repo, &found, sandbox.head()).unwrap_err();
            assert!(matches!(error, Error::Locked { .. }), "{error}");
        }
    });
}

#[test]
fn what_git_has_of_a_worktree_goes_at_once() {
    formats(|sandbox| {
        let found = detached(sandbox, "removed");
        let trash = sandbox.trash();
        remove(&sandbox.repo(), &found, &trash).unwrap();
        assert!(!found.path.exists() && !found.git_dir.exists());
        let moved = fs::read_dir(&trash).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(moved.filter(|path| path.join("commondir").exists()).count(), 1);
        // What is no more is removed without a word.
        remove(
            &sandbox.repo(),
            &Worktree {
                exists: false,
                ..found
            },
            &trash,
        )
        .unwrap();
    });
}

#[test]
fn a_head_that_was_let_go_halfway_is_no_obstacle() {
    formats(|sandbox| {
        if sandbox.format.refs != "files" {
            return;
        }
        let repo = sandbox.repo();
        let new = Checkout::NewBranch {
            name: "side",
            at: sandbox.head(),
        };
        let found = make(sandbox, &sandbox.beside("tree"), new);
        let lock = found.git_dir.join("HEAD.lock");
        let leave = || fs::hard_link(repo.common_dir().join("git-session.refs"), &lock).unwrap();
        detach_head(&repo, &found, sandbox.head()).unwrap();
        assert!(!lock.exists());
        leave();
        detach_head(&repo, &found, sandbox.head()).unwrap();
        assert!(!lock.exists());
        leave();
        unlock(&repo, &found).unwrap();
        assert!(!lock.exists());
        sh(&found.path, "git switch -q side");
    });
}

#[test]
fn a_removal_follows_no_link() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let outside = sandbox.beside("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "").unwrap();
        let found = detached(sandbox, "tree");
        std::os::unix::fs::symlink(&outside, found.path.join("link")).unwrap();
        remove(&repo, &found, &sandbox.trash()).unwrap();
        git_session::git::worktree::empty_trash(&sandbox.trash()).unwrap();
        assert!(outside.join("precious").exists());
        assert_eq!(fs::read_dir(sandbox.trash()).unwrap().count(), 0);
        assert_eq!(sandbox.git(["worktree", "list"]).lines().count(), 1);
        // The worktree was moved away, and a link is in its place.
        let found = detached(sandbox, "other");
        fs::rename(&found.path, sandbox.beside("moved")).unwrap();
        std::os::unix::fs::symlink(&outside, &found.path).unwrap();
        remove(&repo, &found, &sandbox.trash()).unwrap();
        git_session::git::worktree::empty_trash(&sandbox.trash()).unwrap();
        assert!(outside.join("precious").exists());
    });
}

#[test]
fn locks_that_a_dead_process_left_are_moved_aside() {
    formats(|sandbox| {
        let found = detached(sandbox, "tree");
        for name in ["index.lock", "HEAD.lock"] {
            fs::write(found.git_dir.join(name), "half").unwrap();
        }
        let mut moved = move_stale_locks(&found, &sandbox.trash()).unwrap();
        moved.sort();
        let names: Vec<_> = moved.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["HEAD.lock", "index.lock"]);
        assert_eq!(fs::read_dir(sandbox.trash()).unwrap().count(), 2);
        sh(&found.path, "echo x > file; git commit -qam x");
    });
}

#[test]
fn commits_that_were_made_here_are_told_from_those_that_came() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        sandbox.git(["branch", "side"]);
        sh(
            &sandbox.root(),
            "for n in 1 2 3; do echo $n > up$n; git add .; git commit -qm up$n; done",
        );
        let path = sandbox.beside("tree");
        make(sandbox, &path, Checkout::Branch("side"));
        let mut seen = 0;
        let mut subjects = |script: &str| -> Vec<String> {
            sh(&path, script);
            let found = at(&repo, &path).unwrap().unwrap();
            let (made, now) = made_commits(&repo, &found, seen).unwrap();
            seen = now;
            made.iter()
                .map(|oid| git(&path, ["log", "-1", "--format=%s", &oid.to_string()]))
                .collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(subjects("true"), none);
        assert_eq!(
            subjects("echo a > a; git add .; git commit -qm 'one: checkout and (start)'"),
            ["one: checkout and (start)"]
        );
        assert_eq!(subjects("git commit -q --amend -m 'one again'"), ["one again"]);
        assert_eq!(
            subjects("git checkout -q -b fast main~2; git reset -q --hard main~1; git checkout -q side"),
            none
        );
        assert_eq!(
            subjects("git checkout -q fast; git merge -q --ff-only main; git checkout -q side"),
            none
        );
        assert_eq!(
            subjects(
                "git checkout -q --detach main~2; git pull -q --ff-only .. main 2>/dev/null || git pull -q --ff-only . main; git checkout -q side"
            ),
            none
        );
        assert_eq!(subjects("git cherry-pick main >/dev/null"), ["up3"]);
        assert_eq!(
            subjects("git revert --no-edit HEAD >/dev/null"),
            ["Revert \"up3\""]
        );
        assert_eq!(subjects("git merge -q -m merged main"), ["merged"]);
        assert_eq!(subjects("git reset -q --hard HEAD~1"), none);
        let rebased = subjects("git rebase -q main");
        assert!(rebased.contains(&"one again".to_owned()), "{rebased:?}");
        assert_eq!(
            subjects("git format-patch -q -1 -o ../patches HEAD; git reset -q --hard HEAD~1; git am -q ../patches/*").len(),
            1
        );
        assert_eq!(
            subjects("echo p > p; git add p; git commit -qm 'merge fast-forward'; git checkout -q main~0"),
            ["merge fast-forward"]
        );
    });
}

#[test]
fn a_path_is_found_whatever_links_lead_to_it() {
    formats(|sandbox| {
        let found = detached(sandbox, "tree");
        let link = sandbox.beside("link");
        std::os::unix::fs::symlink(sandbox.dir.path(), &link).unwrap();
        let through: PathBuf = link.join("tree");
        let same = at(&sandbox.repo(), &through).unwrap().unwrap();
        assert_eq!(
            same.git_dir.canonicalize().unwrap(),
            found.git_dir.canonicalize().unwrap()
        );
    });
}
