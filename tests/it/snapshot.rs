//! Snapshots that hold a worktree whole, and put it back as it was.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use git_session::git::{
    Durability::Relaxed,
    Repo,
    snapshot::{Capture, Captured, Difference, Source, Unsaved, capture, differs, read, restore},
    worktree::{self, Add, Checkout, Files, Hooks},
};
use gix::ObjectId;

use crate::git_repo::{
    Format, Sandbox, assert_sound, every_format, formats, git, git_command, point, run, sh, signature, text,
};

const WORK: &str = "refs/kept/work";

/// A linked worktree on a branch of its own.
fn linked(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.beside("linked tree");
    sandbox.git(["worktree", "add", "-q", "-b", "side", path.to_str().unwrap()]);
    path
}

fn what<'a>(
    path: &'a Path,
    git_dir: &'a Path,
    previous: Option<ObjectId>,
    signature: &'a gix::actor::Signature,
) -> Capture<'a> {
    Capture {
        worktree: path,
        git_dir,
        base: None,
        previous,
        state_dir: None,
        extra: None,
        signature,
        message: "work",
        durability: Relaxed,
    }
}

fn take(repo: &Repo, path: &Path, previous: Option<ObjectId>) -> Captured {
    let found = worktree::at(repo, path).unwrap().unwrap();
    capture(repo, &what(path, &found.git_dir, previous, &signature())).unwrap()
}

/// Captures a worktree and gives the work commit, which a reference has from then on.
fn save(sandbox: &Sandbox, path: &Path) -> (ObjectId, Vec<Unsaved>) {
    let repo = sandbox.repo();
    let captured = take(&repo, path, None);
    point(&repo, WORK, captured.work);
    if let Some(kept) = captured.kept {
        kept.release(&repo).unwrap();
    }
    (captured.work, captured.unsaved)
}

/// Throws a worktree away and puts the work back in its place, with nothing left that a collector would take.
fn bring_back(sandbox: &Sandbox, path: &Path, work: ObjectId) -> Vec<Unsaved> {
    sh(path, "chmod -R u+rwx .");
    fs::remove_dir_all(path).unwrap();
    sandbox.git(["worktree", "prune"]);
    sandbox.git([
        "-c",
        "gc.reflogExpireUnreachable=now",
        "gc",
        "--quiet",
        "--prune=now",
    ]);
    let repo = sandbox.repo();
    let saved = read(&repo, work).unwrap();
    let checkout = match (&saved.branch, saved.head) {
        (Some(branch), Some(_)) => {
            Checkout::Branch(std::str::from_utf8(&branch["refs/heads/".len()..]).unwrap())
        }
        (_, Some(head)) => Checkout::Detached(head),
        (_, None) => panic!("there is no HEAD"),
    };
    let add = Add {
        path,
        checkout,
        reason: "being restored",
        files: Files::None,
        lock_fds: &[],
        hooks: Hooks::Skip,
    };
    worktree::add(&repo, &add).unwrap();
    let restored = restore(&repo, work, Source::Here, path, None).unwrap();
    restored.unrestored
}

/// Everything that can be seen of a worktree, by git and without.
fn look(path: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let asked: [&[&str]; 6] = [
        &["status", "--porcelain=v2", "-z", "--branch", "--ignored"],
        &["status"],
        &["diff", "--binary"],
        &["diff", "--binary", "--cached"],
        &["ls-files", "-z", "--stage", "-v", "--full-name"],
        &["for-each-ref", "refs/bisect", "refs/worktree", "refs/rewritten"],
    ];
    for args in asked {
        let mut command = git_command(path);
        let output = run(command.arg("--no-optional-locks").args(args));
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stdout);
        // How a HEAD came to be detached is in the reflog, which stays with the old worktree.
        let on = |line: &&str| !line.starts_with("HEAD detached") && *line != "Not currently on any branch.";
        let said: Vec<&str> = said.split('\n').filter(on).collect();
        seen.insert(args.join(" "), said.join("\n").escape_debug().to_string());
    }
    files(path, path, &mut seen);
    seen
}

fn files(root: &Path, dir: &Path, seen: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .escape_ascii()
            .to_string();
        // git writes its own index anew, and that is all that may be different in a nested repository.
        if name == ".git" {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let mode = meta.mode();
        if meta.is_dir() {
            seen.insert(name, format!("{mode:o}"));
            files(root, &path, seen);
        } else if meta.is_symlink() {
            seen.insert(name, format!("-> {:?}", fs::read_link(&path).unwrap()));
        } else if meta.is_file() {
            let content = fs::read(&path).unwrap();
            seen.insert(name, format!("{mode:o} {}", content.escape_ascii()));
        }
    }
}

fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, when: &str) {
    let keys = before.keys().chain(after.keys());
    let mut different: Vec<String> = keys
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{key}:\n  {:?}\n  {:?}", before.get(key), after.get(key)))
        .collect();
    different.dedup();
    assert!(different.is_empty(), "{when}:\n{}", different.join("\n"));
}

/// What every scenario begins with: files of several kinds, and branches that conflict.
const BASE: &str = r#"
    mkdir -p dir/sub; printf 'a\n' > a; printf 'b\n' > b; printf 'c\n' > dir/c; printf 'd\n' > dir/sub/d
    printf '#!/bin/sh\n' > run; chmod +x run; ln -s a link; printf '*.ignored\n' > .gitignore
    git add .; git commit -qm base
    git branch other; git checkout -q other
    printf 'other\n' > a; git rm -q b; printf 'new\n' > new; git add .; git commit -qm 'other 1'
    printf 'other 2\n' > dir/c; git add .; git commit -qm 'other 2'
    git checkout -q main
"#;

/// Makes the base, lets a script work in a linked worktree, saves it, throws it away, puts it back, and lets another
/// script go on; what that comes to is the same as in a worktree that was never away.
fn there_and_back(name: &str, work: &str, then: &[&str]) {
    formats(|sandbox| {
        let outcomes = if then.is_empty() { &[""] } else { then };
        for then in outcomes {
            let sandbox = Sandbox::new(sandbox.format);
            sh(&sandbox.root(), BASE);
            let path = linked(&sandbox);
            sh(&path, work);
            let before = look(&path);
            let (saved, unsaved) = save(&sandbox, &path);
            assert_eq!(unsaved, [], "{name}");
            assert_same(
                &before,
                &look(&path),
                &format!("{name}: a capture changes nothing"),
            );
            let unrestored = bring_back(&sandbox, &path, saved);
            assert_eq!(unrestored, [], "{name}");
            assert_same(&before, &look(&path), name);
            assert_sound(&path);
            sh(&path, then);
        }
    });
}

#[test]
fn staged_unstaged_untracked_and_deleted_files_come_back() {
    there_and_back(
        "changes of all kinds",
        r#"
        printf 'staged\n' > a; git add a; printf 'and more\n' >> a
        git rm -q --cached b; rm dir/c; chmod -x run; chmod +x dir/sub/d; ln -sfn b link
        printf 'u\n' > untracked; mkdir -p deep/er empty/est; printf 'u\n' > deep/er/untracked; ln -s nowhere deep/dangling
        printf 'i\n' > x.ignored; rm x.ignored
        printf 's\n' > staged-then-gone; git add staged-then-gone; rm staged-then-gone
        printf 'nothing' > 'no newline'; : > nothing; git add nothing
        "#,
        &[],
    );
}

#[test]
fn files_directories_and_links_in_the_place_of_one_another_come_back() {
    there_and_back(
        "unstaged types",
        r#"
        rm a; mkdir a; printf 'x\n' > a/x
        rm -r dir; printf 'file\n' > dir
        rm link; printf 'file\n' > link; rm b; ln -s dir b
        "#,
        &[],
    );
    there_and_back(
        "staged types",
        r#"
        rm a; mkdir a; printf 'x\n' > a/x; rm -r dir; ln -s a dir; rm link; mkdir link; printf 'y\n' > link/y
        git add -A; rm -r a; printf 'again\n' > a; rm dir; mkdir dir; printf 'z\n' > dir/z
        "#,
        &[],
    );
    there_and_back(
        "a directory that is a link",
        "rm -r dir; mkdir real; printf 'other c\n' > real/c; ln -s real dir",
        &[],
    );
}

#[test]
fn what_the_index_was_told_comes_back() {
    there_and_back(
        "intent to add, also beside others",
        "printf 'n\n' > n; git add -N n; ln -s x l; printf 'g\n' > g; git add -N l g; rm l g; printf 'm\n' > m; git add m; mkdir e; printf 'o\n' > e/o; git add -N e/o",
        &["git add n e/o; git commit -qm all; git show HEAD:n >/dev/null"],
    );
    there_and_back(
        "intent to add what was committed, and is gone",
        "git rm -q --cached link a; git add -N link a; rm link a; mkdir link; printf 'in\n' > link/in",
        &["git add -A; git commit -qm all; git show HEAD:link/in >/dev/null"],
    );
    there_and_back(
        "assume unchanged",
        r#"
        git update-index --assume-unchanged a dir/c; printf 'changed\n' > a
        git update-index --assume-unchanged b; rm b
        "#,
        &[],
    );
    there_and_back(
        "skip worktree",
        "git update-index --skip-worktree a dir/c; rm a; printf 'mine\n' > dir/c",
        &[],
    );
    there_and_back(
        "sparse by cone",
        "git sparse-checkout set dir/sub; printf 'x\n' > dir/sub/d",
        &["git sparse-checkout disable; test -e dir/c"],
    );
    there_and_back(
        "sparse index",
        "git sparse-checkout set --sparse-index dir/sub",
        &["git sparse-checkout disable; test -e dir/c"],
    );
    there_and_back(
        "sparse by pattern",
        "git sparse-checkout set --no-cone /a '/dir/c'; printf 'y\n' >> a",
        &[],
    );
}

#[test]
fn a_merge_with_conflicts_can_be_concluded_and_given_up() {
    let work = r#"
        printf 'ours\n' > a; printf 'ours\n' >> b; printf 'ours new\n' > new; git add .; git commit -qm ours
        git merge other || true; printf 'half solved\n' > a; printf 'u\n' > untracked
    "#;
    there_and_back(
        "merge",
        work,
        &[
            "git merge --abort; test \"$(cat a)\" = ours; test -e b",
            "git add -A; git merge --continue; test \"$(git rev-list --parents -1 HEAD | wc -w)\" = 3",
            "git checkout --merge a; grep -q '<<<<<<<' a",
        ],
    );
}

#[test]
fn a_rebase_can_be_continued_and_given_up() {
    let work = r#"
        printf 'ours\n' > a; git add .; git commit -qm ours
        printf 'later\n' > later; git add .; git commit -qm later
        git rebase other || true; printf 'solved\n' > a
    "#;
    there_and_back(
        "rebase",
        work,
        &[
            "git rebase --abort; test \"$(cat a)\" = ours; test \"$(git symbolic-ref HEAD)\" = refs/heads/side",
            "git add a; git rebase --continue; test \"$(git symbolic-ref HEAD)\" = refs/heads/side; test \"$(git rev-list --count other..HEAD)\" = 2",
            "git rebase --skip; test -e later",
        ],
    );
    let work = r#"
        for n in 1 2 3; do printf "$n\n" > n$n; git add .; git commit -qm $n; done
        GIT_SEQUENCE_EDITOR='sed -i -e "2s/pick/edit/"' git rebase -i HEAD~3; printf 'edited\n' > n2; git add n2
        printf 'unstaged\n' > n1
    "#;
    there_and_back(
        "interactive rebase",
        work,
        &[
            "git checkout n1; git rebase --continue; test \"$(git show HEAD:n2)\" = edited; test -e n3",
            "git rebase --abort; test \"$(cat n2)\" = 2; test -e n3",
        ],
    );
    let work = r#"
        printf 'ours\n' > a; git add .; git commit -qm ours; printf 'dirty\n' > dir/sub/d
        git rebase --autostash other || true
    "#;
    there_and_back(
        "rebase with autostash",
        work,
        &["git rebase --abort; test \"$(cat dir/sub/d)\" = dirty; test \"$(cat a)\" = ours"],
    );
}

#[test]
fn picks_reverts_and_mailed_patches_can_be_continued_and_given_up() {
    let ours = "printf 'ours\n' > a; git add .; git commit -qm ours;";
    let pick = format!("{ours} git cherry-pick other~1 other || true");
    there_and_back(
        "cherry-pick",
        &pick,
        &[
            "printf 's\n' > a; git rm -q --cached b || true; git add -A; git cherry-pick --continue; grep -q 'other 2' dir/c",
            "git cherry-pick --abort; test \"$(cat a)\" = ours",
        ],
    );
    let pick = format!("{pick}; git branch -qD other");
    there_and_back(
        "cherry-pick from a branch that is gone since",
        &pick,
        &[
            "printf 's\n' > a; git rm -q --cached b || true; git add -A; git cherry-pick --continue; grep -q 'other 2' dir/c",
        ],
    );
    let rebase = r#"
        printf 'n\n' > n; git add .; git commit -qm n
        GIT_SEQUENCE_EDITOR='sed -i -e "1s/pick/edit/"' git rebase -i HEAD~1
        printf "pick $(git rev-parse other)\n" >> "$(git rev-parse --git-path rebase-merge/git-rebase-todo)"
        git branch -qD other
    "#;
    there_and_back(
        "rebase that is to pick from a branch that is gone since",
        rebase,
        &["git rebase --continue; grep -q 'other 2' dir/c; test -e n"],
    );
    let revert = format!("{ours} printf 'more\n' > a; git commit -qam more; git revert HEAD~1 || true");
    there_and_back(
        "revert",
        &revert,
        &[
            "printf 's\n' > a; git add a; git revert --continue; git log -1 --format=%s | grep -q Revert",
            "git revert --abort; test \"$(cat a)\" = more",
        ],
    );
    let am = format!("{ours} git format-patch -q -o ../patches main..other; git am -3 ../patches/* || true");
    there_and_back(
        "am",
        &am,
        &[
            "git am --abort; test \"$(cat a)\" = ours",
            "printf 's\n' > a; git add -A; git am --continue; grep -q 'other 2' dir/c",
        ],
    );
}

#[test]
fn a_bisection_goes_on() {
    let work = r#"
        for n in 1 2 3 4 5 6 7 8; do printf "$n\n" > n; git add .; git commit -qm $n; done
        git bisect start HEAD HEAD~8 >/dev/null; git bisect good >/dev/null
    "#;
    there_and_back(
        "bisect",
        work,
        &[
            "git bisect bad >/dev/null; git bisect log | grep -q bad",
            "git bisect reset; test \"$(git symbolic-ref HEAD)\" = refs/heads/side",
        ],
    );
}

#[test]
fn names_of_any_bytes_come_back() {
    there_and_back(
        "names",
        r#"
        n=$(printf 'new\nline'); b=$(printf 'bad\377byte'); printf 't\n' > "$n"; printf 't\n' > "$b"; git add .; git commit -qm names
        printf 'u\n' > "$n"; printf 'u\n' > "$b"; printf 'v\n' > "$n.untracked"; printf 'v\n' > "$b.untracked"
        mkdir "$b.dir" "$n.dir" "$n.empty"; printf 'w\n' > "$b.dir/f"; printf 'w\n' > "$n.dir/f"; git add "$n.dir"; git add -N "$b.dir/f"
        printf 'x\n' > '"quoted"'; printf 'x\n' > ':(magic)'; printf 'x\n' > '*'; printf 'x\n' > ' lead'; printf 'x\n' > 'trail '; printf 'x\n' > -dash
        "#,
        &[],
    );
}

#[test]
fn permissions_come_back() {
    there_and_back(
        "permissions",
        r#"
        chmod 600 a; chmod 444 b; chmod 700 run; chmod 700 dir; printf 'u\n' > u; chmod 600 u
        mkdir closed empty; printf 'x\n' > closed/x; chmod 555 closed; chmod 700 empty; chmod 755 dir/sub/d
        "#,
        &["chmod 755 closed"],
    );
    there_and_back(
        "permissions that git doesn't look at",
        r#"
        git config core.fileMode false; chmod +x a dir/c; printf 'changed\n' > dir/c; chmod -x run
        printf 'u\n' > u; chmod +x u; printf 's\n' > s; git add s; git update-index --chmod=+x s
        "#,
        &["git config core.fileMode true; test \"$(git diff --name-only a run s | wc -l)\" = 3"],
    );
    formats(|sandbox| {
        sh(&sandbox.root(), BASE);
        let path = linked(sandbox);
        sh(
            &path,
            "git config extensions.worktreeConfig true; git config --worktree core.fileMode false; chmod +x a",
        );
        let (saved, unsaved) = save(sandbox, &path);
        assert_eq!(unsaved, []);
        bring_back(sandbox, &path, saved);
        sh(&path, "test -x a");
    });
}

#[test]
fn lines_and_filters_are_as_git_left_them() {
    there_and_back(
        "eol",
        r#"
        git config core.autocrlf true; rm -r ./* .gitignore; git checkout -q .
        printf '*.txt text eol=crlf\n*.bin -text\n' > .gitattributes; printf 'one\r\ntwo\r\n' > x.txt; printf 'a\r\nb\n' > y.bin
        printf 'plain\r\n' > plain; git add . 2>/dev/null; git commit -qm eol; rm x.txt plain .gitattributes; git checkout -q .
        printf 'mixed\r\nlf\n' > a; printf 'three\r\nlf\n' > dir/c
        "#,
        &["grep -q \"$(printf 'one\\r')\" x.txt"],
    );
    there_and_back(
        "filter",
        r#"
        git config filter.rot.clean 'tr a-z n-za-m'; git config filter.rot.smudge 'tr a-z n-za-m'; git config filter.rot.required true
        printf '*.rot filter=rot\n' > .gitattributes; printf 'secret\n' > x.rot; printf 'other\n' > y.rot; git add .; git commit -qm rot
        printf 'changed\n' > y.rot; printf 'untracked\n' > z.rot
        "#,
        &["test \"$(cat x.rot)\" = secret; test \"$(git show HEAD:x.rot)\" = frperg"],
    );
}

#[test]
fn a_nested_repository_comes_back_whole() {
    there_and_back(
        "nested",
        r#"
        git init -q nested; cd nested; printf 'n\n' > n; git add .; git commit -qm n; printf 'dirty\n' > n; printf 'u\n' > u
        git branch b; git pack-refs --all; printf 'x\n' > .gitignore; mkdir empty
        "#,
        &[
            "cd nested; git fsck --strict; test \"$(git status --porcelain | wc -l)\" = 3; git rev-parse -q --verify b; test -d empty",
        ],
    );
}

#[test]
fn repositories_in_the_midst_of_what_is_tracked_come_back_whole() {
    there_and_back(
        "made around tracked files, and in the place of one",
        r#"
        git -C dir init -q; git -C dir add .; git -C dir commit -qm inner; printf 'u\n' > dir/u
        rm a; git init -q a; git -C a commit -q --allow-empty -m 'in place'
        mkdir broken; printf 'gitdir: nowhere\n' > broken/.git; printf 'x\n' > broken/x
        "#,
        &[
            "git -C dir fsck --strict; test \"$(git -C dir status --porcelain)\" = '?? u'; git -C a rev-parse -q HEAD",
        ],
    );
    there_and_back(
        "tracked as if they were submodules",
        r#"
        hash=$(git rev-parse --show-object-format)
        for name in clean ahead; do git init -q --object-format=$hash $name; git -C $name commit -q --allow-empty -m one; git add $name; done
        git commit -qm both; git -C ahead commit -q --allow-empty -m two; printf 'u\n' > ahead/u
        "#,
        &["git -C clean rev-parse -q HEAD; test \"$(git -C ahead log --format=%s -1)\" = two"],
    );
}

#[test]
fn what_is_in_a_submodule_that_was_never_set_up_comes_back() {
    there_and_back(
        "submodules without a repository",
        r#"
        for name in bare hollow more; do git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),$name; done
        mkdir -p bare hollow/only/empty more; printf 'x\n' > more/x; chmod 600 more/x
        "#,
        &["git commit -qm modules"],
    );
}

#[test]
fn a_detached_head_comes_back() {
    there_and_back(
        "detached",
        "git checkout -q --detach other; printf 'x\n' > a",
        &[],
    );
    there_and_back(
        "a commit that only HEAD has",
        "git checkout -q --detach; printf 'x\n' > a; git commit -qam x",
        &["git log -1 --format=%s | grep -q x"],
    );
}

#[test]
fn a_worktree_without_a_commit_is_captured_and_comes_back() {
    formats(|sandbox| {
        let path = sandbox.beside("orphan");
        // Older ones have no `git worktree add --orphan`.
        let add = || {
            let detached = ["worktree", "add", "-q", "--detach"].map(OsStr::new);
            sandbox.git(detached.into_iter().chain([path.as_os_str()]));
            sh(&path, "git checkout -q --orphan orphan; git rm -rfq .");
        };
        add();
        sh(
            &path,
            "printf 's\n' > staged; git add staged; printf 'u\n' > untracked; mkdir empty",
        );
        let before = look(&path);
        let (work, unsaved) = save(sandbox, &path);
        assert_eq!(unsaved, []);
        fs::remove_dir_all(&path).unwrap();
        sandbox.git(["worktree", "prune"]);
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        add();
        assert_eq!(
            restore(&sandbox.repo(), work, Source::Here, &path, None)
                .unwrap()
                .unrestored,
            []
        );
        assert_same(&before, &look(&path), "unborn");
        sandbox.assert_sound();
    });
}

#[test]
fn a_manifest_of_the_project_itself_is_a_file_like_any_other() {
    formats(|sandbox| {
        fs::write(sandbox.root().join("manifest.json"), r#"{"format": 1}"#).unwrap();
        sandbox.git(["add", "manifest.json"]);
        sandbox.git(["commit", "-qm", "a project: snapshot"]);
        let path = linked(sandbox);
        fs::write(path.join("new"), "first").unwrap();
        let (repo, base, signature) = (sandbox.repo(), Some(sandbox.head()), signature());
        let git_dir = worktree::at(&repo, &path).unwrap().unwrap().git_dir;
        let first = what(&path, &git_dir, None, &signature);
        let first = capture(&repo, &Capture { base, ..first }).unwrap();
        assert_eq!(read(&repo, first.work).unwrap().snapshot, first.snapshot);
        fs::write(path.join("new"), "second").unwrap();
        let second = what(&path, &git_dir, Some(first.work), &signature);
        let second = capture(&repo, &Capture { base, ..second }).unwrap();
        assert_eq!(read(&repo, second.work).unwrap().snapshot, second.snapshot);
        point(&repo, WORK, second.work);
        assert_eq!(bring_back(sandbox, &path, second.work), []);
        assert_eq!(fs::read_to_string(path.join("new")).unwrap(), "second");
    });
}

#[test]
fn what_only_this_machine_ignores_stays_in_the_work() {
    formats(|sandbox| {
        sh(&sandbox.root(), BASE);
        let path = linked(sandbox);
        sh(
            &path,
            "mkdir notes; printf 'one\n' > notes/n; printf 'l\n' > x.log; printf 'b\n' > built",
        );
        let (first, _) = save(sandbox, &path);
        sh(
            &sandbox.root(),
            "mkdir -p .git/info; printf 'notes/\nx.log\nnew\n' > .git/info/exclude",
        );
        sh(
            &path,
            "printf 'built\n' >> .gitignore; printf 'two\n' > notes/n; rm x.log; printf 'n\n' > new",
        );
        let repo = sandbox.repo();
        let found = worktree::at(&repo, &path).unwrap().unwrap();
        let signature = signature();
        // Where something is staged, git looks at everything.
        for also in ["true", "printf 's\n' > staged; git add staged"] {
            sh(&path, also);
            let next = take(&repo, &path, Some(first));
            let snapshot = next.snapshot.to_string();
            assert_eq!(sandbox.git(["show", &format!("{snapshot}:notes/n")]), "two");
            let names = sandbox.git(["ls-tree", "-r", "--name-only", &snapshot]);
            let left_out = ["x.log", "built", "new"];
            assert!(!names.lines().any(|name| left_out.contains(&name)), "{names}");
            let capture = what(&path, &found.git_dir, None, &signature);
            assert_eq!(differs(&repo, &capture, next.work).unwrap(), None);
        }
    });
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    formats(|sandbox| {
        sh(&sandbox.root(), BASE);
        let path = linked(sandbox);
        sh(
            &path,
            "printf 'x\n' >> a; printf 'y\n' > b; git add b; printf 'u\n' > u; mkdir empty; chmod 600 run",
        );
        let (work, _) = save(sandbox, &path);
        let count = || sandbox.git(["count-objects", "-v"]);
        let before = count();
        let repo = sandbox.repo();
        let again = take(&repo, &path, Some(work));
        assert_eq!((again.work, again.kept.is_none()), (work, true));
        assert_eq!(count(), before);
        let found = worktree::at(&repo, &path).unwrap().unwrap();
        let signature = signature();
        let capture = what(&path, &found.git_dir, None, &signature);
        assert_eq!(differs(&repo, &capture, work).unwrap(), None);
        for (change, what) in [
            (
                "git init -q inner; printf 'x\n' > inner/x",
                "a repository in it has changed",
            ),
            (
                "git update-ref refs/worktree/kept $(git commit-tree -m kept 'HEAD^{tree}')",
                "references of its own have changed",
            ),
            ("git add u", "its index has changed"),
            ("printf 'z\n' >> u", "its files have changed"),
            ("git commit -qm u", "its HEAD has moved"),
        ] {
            sh(&path, change);
            assert_eq!(
                differs(&repo, &capture, work).unwrap(),
                Some(Difference::Changed(what.to_owned()))
            );
        }
        let next = take(&repo, &path, Some(work));
        point(&repo, WORK, next.work);
        next.kept.unwrap().release(&repo).unwrap();
        assert_eq!(read(&repo, next.work).unwrap().snapshot, next.snapshot);
        let parents = sandbox.git(["log", "-1", "--format=%P", WORK]);
        assert_eq!(parents, format!("{work} {}", next.snapshot));
        sandbox.assert_sound();
    });
}

#[test]
fn what_no_tree_can_hold_is_named() {
    formats(|sandbox| {
        let path = linked(sandbox);
        sh(
            &path,
            "mkfifo pipe; mkdir .GIT; printf 'x\n' > .GIT/x; printf 'y\n' > git~1; printf 'z\n' > .gitmodules-not
            ln -s a .gitmodules; mkdir -p in/.gitmodules; printf 'x\n' > in/.gitmodules/x; mkdir sub; printf 'x\n' > sub/.gitmodules",

        );
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        let (_, unsaved) = save(sandbox, &path);
        let named: Vec<String> = unsaved
            .iter()
            .map(|unsaved| format!("{}: {}", unsaved.path, unsaved.why))
            .collect();
        for what in [
            "pipe: a FIFO",
            "socket: a socket",
            ".GIT/x: its name",
            "git~1: its name",
            ".gitmodules: git refuses",
            "in/.gitmodules/x: git refuses",
        ] {
            assert!(
                named.iter().any(|named| named.starts_with(what)),
                "{what}: {named:?}"
            );
        }
        assert_eq!(named.len(), 6, "{named:?}");
        sandbox.assert_sound();
    });
}

#[test]
fn a_list_of_submodules_that_git_refuses_is_named_and_others_are_saved() {
    let url = |url: &str| format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n");
    let fine = [
        url("https://user@example.com:8080/a/b.git?x=%20#y"),
        url("../../other.git"),
        url("git@example.com:a/b.git"),
        url("/a/local path"),
        "# nothing\n".to_owned(),
    ];
    let broken = [
        format!("{}<<<<<<< HEAD\n\turl = -x\n", url("./a")),
        "[submodule \"\n".to_owned(),
    ];
    let refused = [
        url("-u./payload"),
        url("https://example.com/%0ahost=x"),
        url("\"a\\n./b\"").replace("\"a", "\"../a%0A"),
        url("../..//x"),
        url("../:x"),
        url("https:///x"),
        url("http::example.com"),
        url("https://example.com:99999/x"),
        url("https://exa mple.com/x"),
        url("https://example.com/%zz"),
        url("https://example.com/../x"),
        url("x").replace("path = x", "path = -x"),
        url("x").replace("path = x", "update = !touch x"),
        url("x").replace("\"x\"", "\"../../x\""),
        url("x").replace("\"x\"", "\"\""),
        format!("{}<<<<<<< HEAD\n", url("-x")),
    ];
    let sandbox = Sandbox::new(Format::PLAIN);
    let path = linked(&sandbox);
    fs::create_dir(path.join("sub")).unwrap();
    let of = |all: &[String], is_refused| -> Vec<(String, bool)> {
        all.iter().map(|content| (content.clone(), is_refused)).collect()
    };
    let all = [of(&fine, false), of(&broken, false), of(&refused, true)].concat();
    for (content, is_refused) in all {
        for name in [".gitmodules", "sub/.GitModules"] {
            // What git says of the same file in a repository without anything else.
            let judge = Sandbox::new(Format::PLAIN);
            fs::write(judge.root().join(".gitmodules"), &content).unwrap();
            judge.git(["add", "."]);
            judge.git(["commit", "-q", "-m", "list"]);
            let agrees = git_command(&judge.root())
                .args(["fsck", "--strict"])
                .output()
                .unwrap();
            // Older ones refuse less.
            assert!(agrees.status.success() || is_refused, "{content}");
            fs::write(path.join(name), &content).unwrap();
            let (_, unsaved) = save(&sandbox, &path);
            let named = unsaved.iter().any(|unsaved| unsaved.path == name);
            assert_eq!(named, is_refused, "{name}: {content}");
            let agrees = git_command(&path).args(["fsck", "--strict"]).output().unwrap();
            assert!(agrees.status.success(), "{name}: {content}");
            fs::remove_file(path.join(name)).unwrap();
        }
    }
}

#[test]
fn commits_of_a_submodule_are_named_and_its_files_are_saved() {
    formats(|sandbox| {
        let inner = Sandbox::new(sandbox.format);
        let path = linked(sandbox);
        let url = inner.root();
        git(
            &path,
            [
                OsStr::new("submodule"),
                OsStr::new("add"),
                OsStr::new("-q"),
                url.as_os_str(),
                OsStr::new("sub"),
            ],
        );
        sh(&path, "git commit -qm sub");
        let (_, unsaved) = save(sandbox, &path);
        assert_eq!(unsaved, []);
        sh(&path, "printf 'dirty\n' > sub/file");
        let repo = sandbox.repo();
        let dirty = take(&repo, &path, None);
        let named: Vec<_> = dirty
            .unsaved
            .iter()
            .map(|unsaved| unsaved.path.to_string())
            .collect();
        assert_eq!(named, [""; 0]);
        sh(&path, "cd sub; git commit -qam moved");
        let moved = take(&repo, &path, None);
        let named: Vec<_> = moved
            .unsaved
            .iter()
            .map(|unsaved| unsaved.path.to_string())
            .collect();
        assert_eq!(named, ["sub"]);
    });
}

#[test]
fn the_state_of_a_worker_comes_back() {
    formats(|sandbox| {
        let path = linked(sandbox);
        let state = sandbox.beside("state");
        let script = "mkdir -p s/.git s/empty; cd s; printf 'x\n' > .git/config; printf 'y\n' > %y; ln -s / root; chmod 600 %y";
        fs::create_dir(&state).unwrap();
        sh(&state, script);
        let repo = sandbox.repo();
        let found = worktree::at(&repo, &path).unwrap().unwrap();
        let signature = signature();
        let capture_of = Capture {
            state_dir: Some(&state),
            ..what(&path, &found.git_dir, None, &signature)
        };
        let captured = capture(&repo, &capture_of).unwrap();
        point(&repo, WORK, captured.work);
        captured.kept.unwrap().release(&repo).unwrap();
        let mut before = BTreeMap::new();
        files(&state, &state, &mut before);
        let config = fs::read(state.join("s/.git/config")).unwrap();
        fs::remove_dir_all(&state).unwrap();
        restore(&repo, captured.work, Source::Here, &path, Some(&state)).unwrap();
        let mut after = BTreeMap::new();
        files(&state, &state, &mut after);
        assert_same(&before, &after, "state");
        assert_eq!(fs::read(state.join("s/.git/config")).unwrap(), config);
        sandbox.assert_sound();
    });
}

/// A work commit as nobody's program would make it, with all its parts.
fn forge(sandbox: &Sandbox, script: &str) -> ObjectId {
    let dir = sandbox.root();
    sh(
        &dir,
        &format!(
            r#"
            blob() {{ printf '%s' "$1" | git hash-object -w --stdin; }}
            tree() {{ printf '%b' "$1" | git mktree; }}
            raw() {{ printf '%s %s\0' "$1" "$2"; printf '%s' "$3" | sed 's/../\\x&/g' | xargs -0 printf '%b'; }}
            odd() {{ : > raw; while test $# -gt 0; do raw "$1" "$2" "$3" >> raw; shift 3; done
                git hash-object -t tree -w --literally raw; rm raw; }}
            evil=$(blob evil)
            index=$(git rev-parse HEAD^{{tree}}); tree=$index; midst=; manifest='{{}}'
            {script}
            i=$(git commit-tree -m index -p HEAD $index); s=$(git commit-tree -m snapshot -p HEAD -p $i $tree)
            stored=$(tree "100644 blob $(blob "$manifest")\tmanifest.json\n$midst")
            git update-ref {WORK} $(git commit-tree -m work -p $s -p HEAD $stored)
            "#
        ),
    );
    crate::git_repo::oid(&sandbox.git(["rev-parse", WORK]))
}

#[test]
fn work_of_a_newer_format_is_not_taken_for_what_it_may_no_longer_mean() {
    formats(|sandbox| {
        let known = forge(sandbox, r#"manifest='{"format": 1}'"#);
        assert_eq!(read(&sandbox.repo(), known).unwrap().manifest.format, 1);
        let newer = forge(sandbox, r#"manifest='{"format": 2}'"#);
        let error = read(&sandbox.repo(), newer).unwrap_err().to_string();
        let expected = format!("the work saved in {newer} has format 2, which only a newer version can read");
        assert_eq!(error, expected);
    });
}

#[test]
fn a_hostile_work_commit_writes_nothing_outside() {
    let attacks = [
        r#"tree=$(odd 40000 .. $(tree "100644 blob $evil\tx")); manifest='{"raw":["../x"],"deleted":["../repo/file"]}'"#,
        r#"tree=$(odd 40000 .git $(odd 40000 hooks $(tree "100755 blob $evil\tx"))); manifest='{"raw":[".git/hooks/x"],"deleted":[".git"]}'"#,
        r#"tree=$(odd 40000 .Git $(tree "100755 blob $evil\tx")); manifest='{"raw":[".Git/x"]}'"#,
        r#"link=$(blob ../outside); index=$(tree "120000 blob $link\td"); tree=$(tree "040000 tree $(tree "100644 blob $evil\tx")\td")
           manifest='{"raw":["d/x"],"deleted":["d/precious"],"modes":{"0777":["d/precious","d"]},"emptyDirectories":["d/new","../new",".git/new"]}'"#,
        r#"link=$(blob ../outside); index=$(tree "120000 blob $link\td"); tree=$index
           manifest='{"nested":["d"]}'; midst="040000 tree $(tree "040000 tree $(tree "100644 blob $evil\tx")\t0")\tnested\n""#,
        r#"manifest='{"nested":[".git"]}'; midst="040000 tree $(tree "040000 tree $(tree "100644 blob $evil\tconfig")\t0")\tnested\n""#,
        r#"midst="040000 tree $(tree "100644 blob $evil\tHEAD\n100644 blob $evil\tcommondir\n040000 tree $(tree "100755 blob $evil\tpost-checkout")\thooks")\tgit-state\n""#,
        r#"midst="040000 tree $(tree "120000 blob $(blob ../../../../outside/precious)\tMERGE_MSG")\tgit-state\n""#,
        r#"midst="040000 tree $(tree "100644 blob $(blob '[core]
            fsmonitor = touch ../outside/x')\tconfig.worktree")\tgit-state\n""#,
        r#"manifest="{\"references\":{\"HEAD\":\"$(git rev-parse HEAD)\",\"refs/heads/main\":\"$(git rev-parse HEAD^{tree})\",\"refs/bisect/../heads/x\":\"$(git rev-parse HEAD)\"}}""#,
    ];
    for format in every_format() {
        for attack in attacks {
            let sandbox = Sandbox::new(format);
            let outside = sandbox.beside("outside");
            fs::create_dir(&outside).unwrap();
            fs::write(outside.join("precious"), "precious").unwrap();
            sandbox.git(["config", "extensions.worktreeConfig", "true"]);
            let work = forge(&sandbox, attack);
            let path = sandbox.beside("victim");
            sandbox.git([
                "worktree",
                "add",
                "-q",
                "--no-checkout",
                "--detach",
                path.to_str().unwrap(),
            ]);
            let git_dir = worktree::at(&sandbox.repo(), &path).unwrap().unwrap().git_dir;
            let mut before = BTreeMap::new();
            files(&outside, &outside, &mut before);
            let dot_git = fs::read(path.join(".git")).unwrap();
            let own = ["HEAD", "commondir", "gitdir"].map(|name| fs::read(git_dir.join(name)).unwrap());
            let refs = sandbox.git(["for-each-ref"]);
            let beside = |sandbox: &Sandbox| {
                let mut names: Vec<_> = fs::read_dir(sandbox.dir.path())
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name())
                    .collect();
                names.sort();
                names
            };
            let around = beside(&sandbox);
            let restored = restore(&sandbox.repo(), work, Source::Here, &path, None).unwrap();
            assert!(
                !restored.unrestored.is_empty(),
                "what isn't taken is named: {attack}"
            );
            git_command(&path).arg("status").output().unwrap();
            let mut after = BTreeMap::new();
            files(&outside, &outside, &mut after);
            assert_same(&before, &after, attack);
            assert_eq!(beside(&sandbox), around, "{attack}");
            assert_eq!(fs::read(path.join(".git")).unwrap(), dot_git, "{attack}");
            let now = ["HEAD", "commondir", "gitdir"].map(|name| fs::read(git_dir.join(name)).unwrap());
            assert_eq!(now, own, "{attack}");
            assert!(
                !git_dir.join("hooks").exists() && !git_dir.join("new").exists(),
                "{attack}"
            );
            assert_eq!(sandbox.git(["for-each-ref"]), refs, "{attack}");
            assert!(sandbox.root().join("file").exists(), "{attack}");
        }
    }
}

/// One edit of a worktree.
fn edit(number: u8, name: u8, content: u8) -> String {
    let name = [
        "a",
        "b",
        "dir",
        "dir/c",
        "dir/sub",
        "dir/sub/d",
        "run",
        "link",
        "n e w",
    ][usize::from(name) % 9];
    let make = format!("rm -rf '{name}'; mkdir -p \"$(dirname '{name}')\" && ");
    let edit = match number % 9 {
        0 => format!("{make} printf '{content}\\n' > '{name}'"),
        1 => format!("rm -rf '{name}'"),
        2 => format!("{make} ln -s '{content}' '{name}'"),
        3 => format!("{make} mkdir -p '{name}' && printf '{content}\\n' > '{name}/in'"),
        4 => format!("git add -A -- '{name}'"),
        5 => format!("git rm -rq --cached -- '{name}'"),
        6 => format!("test -L '{name}' || chmod u+x '{name}'"),
        7 => "git commit -qm edited".to_owned(),
        _ => format!("git add -N -- '{name}'"),
    };
    // Many of them make no sense, and do nothing then.
    format!("{{ {edit}; }} >/dev/null 2>&1 || true\n")
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 12, failure_persistence: None, max_shrink_iters: 20, ..Default::default()
    })]

    #[test]
    fn whatever_was_edited_comes_back(
        edits in proptest::collection::vec((0u8..9, 0u8..9, 0u8..4), 1..25),
        format in proptest::sample::select(every_format()),
    ) {
        let sandbox = Sandbox::new(format);
        sh(&sandbox.root(), BASE);
        let path = linked(&sandbox);
        let script: String = edits.iter().map(|(number, name, content)| edit(*number, *name, *content)).collect();
        sh(&path, &script);
        let before = look(&path);
        let (work, unsaved) = save(&sandbox, &path);
        assert_eq!(unsaved, [], "{script}");
        let unrestored = bring_back(&sandbox, &path, work);
        assert_eq!(unrestored, [], "{script}");
        assert_same(&before, &look(&path), &script);
        assert_sound(&path);
    }
}
