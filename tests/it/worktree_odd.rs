//! Worktrees that are gone, begun, replaced by something else, or made beside others.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    thread,
    time::UNIX_EPOCH,
};

use crate::git_repo::{Sandbox, files, formats, git, git_command, oid, run, sh};
use git_session::git::{
    Repo,
    worktree::{self, Add, Checkout, Files, Head, Hooks, Worktree},
};

const REASON: &str = "a test has it";

/// What makes something else of a directory.
type Make<'a> = &'a dyn Fn(&Path);

fn plan<'a>(path: &'a Path, checkout: Checkout<'a>) -> Add<'a> {
    Add {
        path,
        checkout,
        reason: REASON,
        files: Files::Checkout,
        lock_fds: &[],
        hooks: Hooks::Skip,
    }
}

/// Makes a worktree beside the repository, on a new branch of its name.
fn added(sandbox: &Sandbox, name: &str) -> Worktree {
    let path = sandbox.beside(name);
    let at = sandbox.head();
    let repo = sandbox.repo();
    worktree::add(&repo, &plan(&path, Checkout::NewBranch { name, at })).unwrap();
    found(&repo, &path)
}

fn found(repo: &Repo, path: &Path) -> Worktree {
    worktree::at(repo, path).unwrap().unwrap()
}

fn branch(name: &str) -> Head {
    Head::Branch(format!("refs/heads/{name}").into())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap()
}

#[test]
fn a_list_has_every_worktree_wherever_it_is_and_whatever_it_is_on() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        assert!(worktree::list(&repo).unwrap().is_empty());
        let head = sandbox.head();
        let odd = sandbox.beside(OsStr::from_bytes(b"odd \xff\n dir"));
        worktree::add(&repo, &plan(&odd, Checkout::Detached(head))).unwrap();
        added(sandbox, "topic");
        let gone = added(sandbox, "gone");
        fs::remove_dir_all(&gone.path).unwrap();
        // What git has only begun to make.
        fs::create_dir(sandbox.git_dir().join("worktrees/begun")).unwrap();
        let mut list = worktree::list(&repo).unwrap();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        let list: Vec<_> = list
            .into_iter()
            .map(|one| (one.path, one.head, one.lock, one.exists))
            .collect();
        let lock = || Some(REASON.to_owned());
        let root = real(sandbox.dir.path());
        assert_eq!(
            list,
            [
                (root.join("gone"), branch("gone"), lock(), false),
                (
                    root.join(odd.file_name().unwrap()),
                    Head::Detached(head),
                    lock(),
                    true
                ),
                (root.join("topic"), branch("topic"), lock(), true),
            ]
        );
    });
}

#[test]
fn a_worktree_is_found_by_any_path_to_it() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let topic = added(sandbox, "topic");
        symlink(&topic.path, sandbox.beside("link")).unwrap();
        for name in ["link", "repo/../topic", "topic/"] {
            assert_eq!(
                found(&repo, &sandbox.beside(name)).git_dir,
                topic.git_dir,
                "{name}"
            );
        }
        for name in ["repo", "other", "topic/below"] {
            assert!(
                worktree::at(&repo, &sandbox.beside(name)).unwrap().is_none(),
                "{name}"
            );
        }
        fs::remove_dir_all(&topic.path).unwrap();
        let topic = found(&repo, &sandbox.beside("topic"));
        assert_eq!((topic.exists, topic.head), (false, branch("topic")));
        let locked = worktree::made_for(&repo, REASON).unwrap().unwrap();
        assert_eq!(locked.git_dir, topic.git_dir);
    });
}

#[test]
fn a_worktree_with_relative_paths_is_as_any_other() {
    files(|sandbox| {
        let topic = added(sandbox, "topic");
        fs::write(topic.git_dir.join("gitdir"), "../../../../topic/.git\n").unwrap();
        fs::write(topic.path.join(".git"), "gitdir: ../repo/.git/worktrees/topic\n").unwrap();
        let repo = sandbox.repo();
        let list = worktree::list(&repo).unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(
            (&list[0].path, list[0].exists),
            (&real(&sandbox.beside("topic")), true)
        );
        assert_eq!(found(&repo, &topic.path).git_dir, topic.git_dir);
        fs::remove_dir_all(&topic.path).unwrap();
        assert!(!found(&repo, &topic.path).exists);
    });
}

#[test]
fn a_branch_is_held_where_git_says_so() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let holder = |name: &str| worktree::holder_of(&repo, &format!("refs/heads/{name}")).unwrap();
        let topic = added(sandbox, "topic");
        let dir = &topic.path;
        assert_eq!(holder("main"), Some(real(&sandbox.root())));
        assert_eq!(holder("topic").as_ref(), Some(dir));
        assert_eq!(holder("other"), None);
        sh(
            dir,
            "for n in 1 2 3; do echo $n >$n; git add $n; git commit -qm $n; git branch b$n; done",
        );
        // In the midst of a rebase, HEAD is on no branch.
        run(git_command(dir).args(["rebase", "--update-refs", "--exec", "false", "HEAD~3"]));
        assert_eq!(
            found(&repo, dir).head,
            Head::Detached(oid(&git(dir, ["rev-parse", "HEAD"])))
        );
        for name in ["topic", "b2"] {
            assert_eq!(holder(name).as_ref(), Some(dir), "{name}");
            let refused = run(git_command(&sandbox.root()).args(["branch", "-D", name]));
            assert!(!refused.status.success(), "git says the same of {name}");
        }
        git(dir, ["rebase", "--abort"]);
        git(dir, ["bisect", "start", "HEAD", "HEAD~3"]);
        assert_eq!(holder("topic").as_ref(), Some(dir));
        git(dir, ["bisect", "reset"]);
        // It is held by a worktree whose directory is not there, too.
        fs::remove_dir_all(dir).unwrap();
        assert_eq!(holder("topic").as_ref(), Some(dir));
        // From another worktree the answer is the same.
        let other = added(sandbox, "other");
        let there = Repo::open(&other.path).unwrap();
        let main = worktree::holder_of(&there, "refs/heads/main").unwrap();
        assert_eq!(main, Some(real(&sandbox.root())));
    });
}

#[test]
fn a_worktree_is_added_in_every_way_and_locked_from_the_first_moment() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let head = sandbox.head();
        sh(
            &sandbox.root(),
            "printf '#!/bin/sh\\ntouch ../hooked\\n' >.git/hooks/post-checkout
             chmod +x .git/hooks/post-checkout",
        );
        let new = added(sandbox, "new");
        assert_eq!(
            (&new.head, new.lock.as_deref(), new.exists),
            (&branch("new"), Some(REASON), true)
        );
        assert_eq!(git(&new.path, ["status", "--porcelain"]), "");
        sandbox.git(["branch", "old"]);
        let path = sandbox.beside("an old one");
        worktree::add(&repo, &plan(&path, Checkout::Branch("old"))).unwrap();
        assert_eq!(found(&repo, &path).head, branch("old"));
        let path = sandbox.beside("bare");
        let bare = Add {
            files: Files::None,
            ..plan(&path, Checkout::Detached(head))
        };
        worktree::add(&repo, &bare).unwrap();
        assert_eq!(found(&repo, &path).head, Head::Detached(head));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing but .git");
        let hooked = sandbox.beside("hooked");
        assert!(!hooked.exists());
        let path = sandbox.beside("with hooks");
        let with = Add {
            hooks: Hooks::Run,
            ..plan(&path, Checkout::Detached(head))
        };
        worktree::add(&repo, &with).unwrap();
        assert!(hooked.exists());
        // What git refuses leaves nothing behind.
        let path = sandbox.beside("refused");
        worktree::add(&repo, &plan(&path, Checkout::Branch("main"))).unwrap_err();
        assert!(worktree::at(&repo, &path).unwrap().is_none() && !path.exists());
        sandbox.assert_sound();
    });
}

#[test]
fn worktrees_are_added_in_parallel() {
    formats(|sandbox| {
        let names: Vec<String> = (0..12).map(|number| format!("topic-{number}")).collect();
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| added(sandbox, name));
            }
        });
        assert_eq!(worktree::list(&sandbox.repo()).unwrap().len(), names.len());
    });
}

#[test]
fn a_worktree_that_git_was_killed_at_is_not_in_the_way_of_others() {
    formats(|sandbox| {
        let begun = added(sandbox, "begun");
        // So it is between the making and the writing of the file, and after a loss of power.
        let commondir = fs::File::create(begun.git_dir.join("commondir")).unwrap();
        commondir.set_modified(UNIX_EPOCH).unwrap();
        assert_eq!(found(&sandbox.repo(), &begun.path).head, Head::Unknown);
        assert_eq!(worktree::list(&sandbox.repo()).unwrap().len(), 1);
        assert_eq!(added(sandbox, "topic").head, branch("topic"));
    });
}

#[test]
fn a_directory_that_has_become_something_else_is_never_removed() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let trash = sandbox.trash();
        let kinds: [(&str, Make<'_>); 4] = [
            ("files", &|path| sh(path, "echo mine >notes")),
            ("a repository", &|path| {
                sh(path, "git init -q . && echo mine >notes")
            }),
            ("another worktree", &|path| {
                fs::remove_dir(path).unwrap();
                git(
                    &sandbox.root(),
                    [
                        OsStr::new("worktree"),
                        "add".as_ref(),
                        "-qf".as_ref(),
                        path.as_ref(),
                    ],
                );
                sh(path, "echo mine >notes");
            }),
            ("a link", &|path| {
                fs::remove_dir(path).unwrap();
                let behind = path.with_extension("behind");
                fs::create_dir(&behind).unwrap();
                fs::write(behind.join("notes"), "mine\n").unwrap();
                symlink(behind, path).unwrap();
            }),
        ];
        for (number, (kind, make)) in kinds.into_iter().enumerate() {
            let topic = added(sandbox, &format!("topic-{number}"));
            fs::remove_dir_all(&topic.path).unwrap();
            fs::create_dir(&topic.path).unwrap();
            // git itself would not make a second one of that path while the first is locked.
            worktree::unlock(&repo, &topic).unwrap();
            make(&topic.path);
            worktree::clean_half_made(&repo, &topic.path, &trash).unwrap();
            if let Some(again) = worktree::at(&repo, &topic.path)
                .unwrap()
                .filter(|one| !one.exists)
            {
                worktree::remove(&repo, &again, &trash).unwrap();
            }
            assert_eq!(fs::read(topic.path.join("notes")).unwrap(), b"mine\n", "{kind}");
        }
        // What git knew of the worktrees is all that went.
        for moved in fs::read_dir(&trash).unwrap() {
            let moved = moved.unwrap().path();
            assert!(moved.join("commondir").exists() && !moved.join("notes").exists());
        }
    });
}

#[test]
fn locks_that_a_dead_process_left_in_its_worktree_are_moved_aside_and_named() {
    formats(|sandbox| {
        let trash = sandbox.trash();
        let topic = added(sandbox, "topic");
        let mut own = vec![topic.git_dir.join("index.lock")];
        if sandbox.format.refs == "files" {
            own.push(topic.git_dir.join("HEAD.lock"));
        } else {
            own.push(topic.git_dir.join("reftable/tables.list.lock"));
        }
        let common = sandbox.git_dir().join("index.lock");
        for lock in own.iter().chain([&common]) {
            fs::write(lock, "").unwrap();
        }
        let refused = run(git_command(&topic.path).args(["commit", "-q", "--allow-empty", "-m", "a"]));
        assert!(!refused.status.success());
        let mut moved = worktree::move_stale_locks(&topic, &trash).unwrap();
        moved.sort();
        own.sort();
        assert_eq!(moved, own);
        assert_eq!(fs::read_dir(&trash).unwrap().count(), own.len());
        assert!(common.exists(), "it is not the worktree's own");
        git(&topic.path, ["commit", "-q", "--allow-empty", "-m", "a"]);
        assert_eq!(
            worktree::move_stale_locks(&topic, &trash).unwrap(),
            Vec::<PathBuf>::new()
        );
    });
}

#[test]
fn a_reflog_that_is_cut_or_names_what_is_gone_is_read_as_far_as_it_goes() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let topic = added(sandbox, "topic");
        sh(
            &topic.path,
            "git commit -q --allow-empty -m lost; git reset -q --hard HEAD~1",
        );
        let lost = git(&topic.path, ["rev-parse", "HEAD@{1}"]);
        sh(&topic.path, "git commit -q --allow-empty -m kept");
        let kept = oid(&git(&topic.path, ["rev-parse", "HEAD"]));
        let object: OsString = format!("objects/{}/{}", &lost[..2], &lost[2..]).into();
        fs::remove_file(sandbox.git_dir().join(object)).unwrap();
        let (made, count) = worktree::made_commits(&repo, &topic, 0).unwrap();
        assert_eq!(made, [kept]);
        sh(&topic.path, "git reflog expire --expire=now --all");
        assert_eq!(worktree::made_commits(&repo, &topic, count).unwrap(), (vec![], 0));
    });
}
