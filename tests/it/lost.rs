//! What is left when processes, records or directories go away at the wrong moment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use git_session::worker::Platform;
use rustix::process::{Pid, Signal};

use crate::sandbox::{Format, Refs, Sandbox, Team, in_time, processes};
use crate::{on_every_format, on_one_format};

/// Waits for something that only a look can tell.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < crate::sandbox::LONG,
            "it takes too long: {what}"
        );
        std::thread::yield_now();
    }
}

/// The letter by which the kernel tells what a process is doing.
fn doing(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim().chars().next()
}

/// A worker's processes that are alive.
fn marked(sandbox: &Sandbox) -> Vec<(i32, String)> {
    processes::with_variable("GIT_SESSION_STATE_DIR", sandbox.root())
}

/// Ends the command and everything in its process group at once, as a machine that goes down does.
fn kill_group(leader: i32) {
    rustix::process::kill_process_group(Pid::from_raw(leader).unwrap(), Signal::KILL).unwrap();
}

fn edit_record(sandbox: &Sandbox, id: &str, change: impl Fn(&mut serde_json::Value)) {
    let path = sandbox.run_dir(id).join("run.json");
    let mut record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    fs::write(path, serde_json::to_vec(&record).unwrap()).unwrap();
}

/// Lets checking out `slow.txt` hang, after saying so on the FIFO `checkout`, as long as the file `slow` is there.
fn make_checkouts_slow(sandbox: &Sandbox) {
    fs::write(sandbox.file(".gitattributes"), "slow.txt filter=slow\n").unwrap();
    fs::write(sandbox.file("slow.txt"), "slow\n").unwrap();
    sandbox.git("add .");
    sandbox.git("commit -q -m 'a slow file'");
    sandbox.fifo("checkout");
    let flag = sandbox.root().join("slow");
    fs::write(&flag, "").unwrap();
    let script = format!(
        "if test -e \"{0}\"; then echo hangs > \"$FIFOS/checkout\"; exec sleep 1000; fi; cat",
        flag.display()
    );
    sandbox.config("filter.slow.smudge", &script);
    sandbox.config("filter.slow.required", "true");
}

/// Starts a session, and kills that with all of its git while files are checked out.
fn kill_in_checkout(sandbox: &Sandbox, id: &str) {
    let starting = sandbox
        .session_command(&format!("start {id}"))
        .inner(|command| {
            command.process_group(0);
        })
        .spawn();
    assert_eq!(sandbox.hear("checkout"), "hangs");
    kill_group(starting.pid());
    starting.end();
    no_longer_slow(sandbox);
}

fn no_longer_slow(sandbox: &Sandbox) {
    fs::remove_file(sandbox.root().join("slow")).unwrap();
}

#[test]
fn a_change_in_a_reftable_is_finished_by_git_when_its_caller_is_killed_with_its_group() {
    let reftable = Format {
        refs: Refs::Reftable,
        ..Format::PLAIN
    };
    if !reftable.is_there() {
        return;
    }
    let sandbox = Sandbox::new(reftable);
    sandbox.session("new --id noted -- true").ok();
    sandbox.fifo("begins");
    sandbox.fifo("goes-on");
    let git = which::which("git").unwrap();
    let bin = sandbox.root().join("bin");
    fs::create_dir(&bin).unwrap();
    // It has all that it was told when it says so.
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' update-ref '*) cat >\"$FIFOS/told\"; echo now >\"$FIFOS/begins\"\n\
         read on <\"$FIFOS/goes-on\"; exec <\"$FIFOS/told\";; esac\nexec {} \"$@\"\n",
        shell_words::quote(git.to_str().unwrap())
    );
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let noting = sandbox.session_command("note noted -m text").env("PATH", path);
    let in_a_group = |command: &mut std::process::Command| {
        command.process_group(0);
    };
    let noting = noting.inner(in_a_group).spawn();
    assert_eq!(sandbox.hear("begins"), "now");
    kill_group(noting.pid());
    sandbox.tell("goes-on", "on");
    noting.end();
    let is_noted = || sandbox.story("noted", "Event").len() == 2;
    wait_until("the note is there", is_noted);
    sandbox.session("note noted -m another").ok();
}

/// Somebody commits, stages and leaves something in a worktree; gives the commit, and where that is.
fn work_by_hand(sandbox: &Sandbox, id: &str) -> (String, PathBuf) {
    let dir = sandbox.worktree(id);
    let write = |name: &str, text: &str| fs::write(dir.join(name), format!("{text}\n")).unwrap();
    write("done.txt", "done");
    sandbox.git_in(&dir, "add done.txt");
    sandbox.git_in(&dir, "commit -q --allow-empty -m 'by hand'");
    write("half.txt", "half");
    sandbox.git_in(&dir, "add half.txt");
    write("lost.txt", "lost");
    (sandbox.git_in(&dir, "rev-parse HEAD"), dir)
}

on_every_format! {
    fn what_was_committed_in_a_worktree_that_is_gone_is_saved_and_comes_back(sandbox: &Sandbox) {
        for (id, options) in [("branch", ""), ("apart", "--no-branch")] {
            let mut held = sandbox.hold(&format!("--id {id} {options}"));
            sandbox.order(&held, "echo checkpoint > untracked.txt");
            sandbox.session(&format!("checkpoint {id}")).ok();
            let script = "echo done > done.txt; git add done.txt; git commit -q -m done; echo half > half.txt; \
                          git add half.txt; echo lost > lost.txt";
            sandbox.order(&held, script);
            let head = sandbox.git_in(&sandbox.worktree(id), "rev-parse HEAD");
            sandbox.kill_supervisor(&held);
            processes::kill_and_wait(held.pid);
            let root = sandbox.worktree(id).parent().unwrap().to_owned();
            fs::remove_dir_all(&root).unwrap();
            fs::create_dir_all(root.join(format!(".{id}.again/somebody's"))).unwrap();
            sandbox.session(&format!("recover {id}")).ok();
            assert_eq!(fs::read_dir(&root).unwrap().count(), 2, "it is somebody else's");
            fs::remove_dir_all(root.join(format!(".{id}.again"))).unwrap();
            assert_eq!(sandbox.trailer(id, "Head"), head);
            let lost = sandbox.trailer(id, "Unsaved");
            let told = format!("it is gone; what was saved before it: 'git session restore --at 3 {id}'");
            assert!(lost.ends_with(&told), "{lost}");
            fs::remove_dir_all(sandbox.worktree(id)).unwrap();
            sandbox.git("worktree prune");
            sandbox.git("reflog expire --expire=now --all");
            sandbox.git("gc -q --prune=now");
            sandbox.resume(&mut held);
            sandbox.order(&held, "grep -q done done.txt && grep -q half half.txt");
            assert_eq!(sandbox.git_in(&sandbox.worktree(id), "status --short"), "A  half.txt");
            if id == "branch" {
                assert_eq!(sandbox.git_in(&sandbox.worktree(id), "symbolic-ref --short HEAD"), "session/branch");
            }
            sandbox.let_end(&held, 0);
        }
        // What the last snapshot had beside is still there, by its number.
        sandbox.session("restore branch --at 3").ok();
        let restored = sandbox.worktree("branch@3").join("untracked.txt");
        assert_eq!(fs::read_to_string(restored).unwrap(), "checkpoint\n");
    }

    fn what_went_with_a_worktree_that_is_gone_is_told_by_the_end_too(sandbox: &Sandbox) {
        for (id, options) in [("branch", ""), ("apart", "--no-branch")] {
            let held = sandbox.hold(&format!("--id {id} {options}"));
            sandbox.order(&held, "echo checkpoint > untracked.txt");
            sandbox.session(&format!("checkpoint {id}")).ok();
            sandbox.order(&held, "echo half > half.txt; git add half.txt; echo lost > lost.txt");
            sandbox.kill_supervisor(&held);
            processes::kill_and_wait(held.pid);
            fs::remove_dir_all(sandbox.worktree(id)).unwrap();
            // It is empty, and none of git's.
            fs::create_dir(sandbox.worktree(id)).unwrap();
            let way = format!("'git session restore --at 3 {id}'");
            sandbox.session(&format!("terminate {id}")).ok().says("neither committed nor staged: it is gone").says(&way);
            assert_eq!(sandbox.events(id), ["create", "start", "checkpoint", "suspend", "terminate"]);
            assert!(sandbox.trailer(id, "Unsaved").ends_with(&way));
            assert_eq!(sandbox.saved(id, "half.txt"), "half");
            let late = sandbox.worktree(id).join("late.txt");
            fs::write(&late, "late").unwrap();
            sandbox.session("prune").ok().says("keeps worktree").says("its files have changed");
            fs::remove_file(&late).unwrap();
            sandbox.session("prune").ok().says("removed worktree");
            sandbox.session(&format!("restore {id} --at 3")).ok();
            assert!(sandbox.worktree(&format!("{id}@3")).join("untracked.txt").exists());
        }
    }

    fn what_was_committed_in_a_frozen_sessions_worktree_that_is_gone_comes_back(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id ice --no-branch");
        sandbox.session("suspend --freeze ice").ok();
        let dir = sandbox.worktree("ice");
        fs::write(dir.join("done.txt"), "done\n").unwrap();
        sandbox.git_in(&dir, "add done.txt");
        sandbox.git_in(&dir, "commit -q -m done");
        let head = sandbox.git_in(&dir, "rev-parse HEAD");
        fs::remove_dir_all(&dir).unwrap();
        sandbox.resume(&mut held);
        assert_eq!(sandbox.git_in(&dir, "rev-parse HEAD"), head);
        sandbox.order(&held, "grep -q done done.txt");
        sandbox.let_end(&held, 0);
        // What it had lost is no fact of what it did since.
        assert_eq!(sandbox.trailer("ice", "Unsaved"), "");
    }

    fn what_was_committed_in_a_suspended_sessions_worktree_that_is_gone_comes_back(sandbox: &Sandbox) {
        for (id, options) in [("branch", ""), ("apart", "--no-branch")] {
            let mut held = sandbox.hold(&format!("--id {id} {options}"));
            sandbox.order(&held, "echo saved > untracked.txt");
            sandbox.session(&format!("suspend {id}")).ok();
            let (head, dir) = work_by_hand(sandbox, id);
            fs::remove_dir_all(&dir).unwrap();
            let way = format!("'git session restore --at 3 {id}'");
            let said = sandbox.resume(&mut held).stderr;
            assert!(said.contains("neither committed nor staged: it is gone") && said.contains(&way), "{said}");
            assert_eq!(sandbox.events(id), ["create", "start", "suspend", "checkpoint", "resume"]);
            assert_eq!(sandbox.git_in(&dir, "rev-parse HEAD"), head);
            sandbox.order(&held, "grep -q done done.txt && grep -q half half.txt");
            sandbox.session(&format!("suspend {id}")).ok();
            assert_eq!(sandbox.trailer(id, "Unsaved"), "");
            // As it is saved now, it comes back whole.
            fs::remove_dir_all(&dir).unwrap();
            let said = sandbox.resume(&mut held).stderr;
            assert!(!said.contains("warning"), "{said}");
            sandbox.let_end(&held, 0);
        }
    }

    fn what_went_with_a_worktree_that_is_gone_is_told_by_who_finds_out(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id gone");
        sandbox.kill_supervisor(&held);
        processes::kill_and_wait(held.pid);
        fs::remove_dir_all(sandbox.worktree("gone")).unwrap();
        let said = sandbox.resume(&mut held).stderr;
        assert!(said.contains("warning: not saved: what was in '"), "{said}");
        sandbox.session("suspend gone").ok();
        let said = sandbox.resume(&mut held).stderr;
        assert!(!said.contains("warning"), "{said}");
        sandbox.let_end(&held, 0);
    }

    fn the_end_of_a_session_lets_go_of_a_branch_whose_worktree_git_cannot_read(sandbox: &Sandbox) {
        let held = sandbox.hold("--id torn");
        sandbox.kill_supervisor(&held);
        processes::kill_and_wait(held.pid);
        let dir = sandbox.worktree("torn");
        fs::remove_file(dir.join(".git")).unwrap();
        sandbox.session("terminate torn").ok().says("git can't read it as a worktree");
        sandbox.git("branch -q -D session/torn");
        sandbox.session("prune").ok().says("torn: keeps worktree").says("git can't read it as a worktree");
        sandbox.git("worktree repair");
        sandbox.session("prune").ok().says("torn: keeps worktree").says("never saved");
        fs::remove_dir_all(&dir).unwrap();
        sandbox.session("prune").ok().says("torn: removed worktree");
        assert!(!sandbox.git("worktree list").contains("torn"));
    }

    fn what_is_saved_of_a_worktree_that_is_gone_comes_back_as_it_was(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id midst");
        let script = "git switch -q -c other; echo 1 > c; git add c; git commit -q -m 1; git switch -q -; echo 2 > c; git add c; \
                      git commit -q -m 2; git merge -q other; echo i > intended; git add -N intended; echo u > untracked";
        sandbox.order(&held, script);
        sandbox.session("suspend midst").ok();
        let dir = sandbox.worktree("midst");
        let status = sandbox.git_in(&dir, "status --porcelain");
        fs::remove_dir_all(&dir).unwrap();
        let said = sandbox.resume(&mut held).stderr;
        assert!(!said.contains("warning"), "{said}");
        assert_eq!(sandbox.git_in(&dir, "status --porcelain"), status);
        sandbox.order(&held, "grep -q u untracked && grep -q '<<<<<<<' c");
        sandbox.session("terminate midst").ok();
        fs::remove_dir_all(&dir).unwrap();
        sandbox.session("prune").ok().says("midst: removed worktree");
    }

    fn what_is_saved_of_a_worktree_that_is_gone_comes_back_where_its_branch_was_moved_too(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id moved");
        sandbox.order(&held, "echo u > untracked");
        sandbox.session("suspend moved").ok();
        fs::remove_dir_all(sandbox.worktree("moved")).unwrap();
        sandbox.commit_file(&sandbox.repo(), "later", "later\n");
        sandbox.git("update-ref refs/heads/session/moved main");
        let said = sandbox.resume(&mut held).stderr;
        assert!(said.contains("has other commits here"), "{said}");
        sandbox.order(&held, "grep -q u untracked && test ! -e later");
        assert_eq!(sandbox.git_in(&sandbox.worktree("moved"), "status --porcelain"), "?? untracked");
        sandbox.end("moved");
        let held = sandbox.hold("--id landed");
        sandbox.session(&format!("suspend {}", held.id)).ok();
        fs::remove_dir_all(sandbox.worktree("landed")).unwrap();
        sandbox.git("update-ref refs/heads/session/landed main");
        sandbox.session("terminate landed").ok();
        let pruned = sandbox.session("prune landed");
        assert!(!pruned.ok().stderr.contains("keeps"), "{pruned}");
        assert!(!sandbox.git("worktree list").contains("landed"));
    }

    fn a_commit_that_only_the_log_of_head_had_is_told_where_that_goes(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id left");
        sandbox.order(&held, "echo u > untracked");
        sandbox.session("suspend left").ok();
        let dir = sandbox.worktree("left");
        for step in ["switch -q --detach", "commit -q --allow-empty -m lone", "tag lone", "switch -q -"] {
            sandbox.git_in(&dir, step);
        }
        let lone = sandbox.git("rev-parse lone");
        sandbox.git("tag -d lone");
        fs::remove_dir_all(&dir).unwrap();
        let said = sandbox.resume(&mut held).stderr;
        assert!(said.contains(&format!("'git branch NAME {lone}' keeps it")), "{said}");
        sandbox.order(&held, "grep -q u untracked");
        sandbox.end("left");
    }

    fn what_was_committed_in_a_suspended_sessions_worktree_that_is_gone_is_saved_at_its_end(sandbox: &Sandbox) {
        let held = sandbox.hold("--id apart --no-branch");
        sandbox.session("suspend apart").ok();
        let (head, dir) = work_by_hand(sandbox, &held.id);
        fs::remove_dir_all(&dir).unwrap();
        sandbox.session("terminate apart").ok().says("neither committed nor staged: it is gone");
        assert_eq!(sandbox.trailer("apart", "Head"), head);
        assert_eq!(sandbox.saved("apart", "half.txt"), "half");
        sandbox.session("prune").ok().says("removed worktree");
    }

    fn what_was_committed_in_an_ended_sessions_worktree_that_is_gone_is_not_pruned(sandbox: &Sandbox) {
        sandbox.session("run --id over -- true").ok();
        let (head, dir) = work_by_hand(sandbox, "over");
        let elsewhere = sandbox.root().join("elsewhere");
        fs::rename(&dir, &elsewhere).unwrap();
        let kept = format!("what was committed or staged there, on {head}, is not saved");
        sandbox.session("prune").ok().says("over: keeps worktree").says(&kept);
        sandbox.git(&format!("worktree repair {}", shell_words::quote(elsewhere.to_str().unwrap())));
        fs::rename(&elsewhere, &dir).unwrap();
        sandbox.git(&format!("worktree repair {}", shell_words::quote(dir.to_str().unwrap())));
        sandbox.session("prune").ok().says("over: keeps worktree").says("it was changed since it was saved");
        fs::remove_dir_all(&dir).unwrap();
        let quoted = shell_words::quote(dir.to_str().unwrap()).into_owned();
        sandbox.git(&format!("worktree remove --force --force {quoted}"));
        sandbox.session("prune").ok().says("nothing to prune");
    }

    fn what_was_committed_in_a_worktree_that_cannot_be_made_again_stays_with_git(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id apart --no-branch");
        sandbox.kill_supervisor(&held);
        processes::kill_and_wait(held.pid);
        let (head, dir) = work_by_hand(sandbox, "apart");
        let root = dir.parent().unwrap().to_owned();
        fs::remove_dir_all(&root).unwrap();
        fs::write(&root, "in the way").unwrap();
        sandbox.session("recover").ok();
        let unsaved = "is not saved, and its directory, which is gone, can't be made again";
        assert!(sandbox.trailer("apart", "Unsaved").contains(unsaved));
        sandbox.session("resume apart").fails(1).says(unsaved);
        // Nothing of it goes with the end either.
        sandbox.session("new --id other -- true").ok();
        sandbox.session("prune").ok();
        assert_eq!(sandbox.git("rev-parse worktrees/apart/HEAD"), head);
        fs::remove_file(&root).unwrap();
        sandbox.resume(&mut held);
        assert_eq!(sandbox.git_in(&dir, "rev-parse HEAD"), head);
        sandbox.order(&held, "grep -q half half.txt");
        sandbox.session("suspend apart").ok();
        let (head, _) = work_by_hand(sandbox, "apart");
        fs::remove_dir_all(&root).unwrap();
        fs::write(&root, "in the way").unwrap();
        sandbox.session("terminate apart").ok().says(unsaved);
        sandbox.session("prune").ok().says("keeps worktree").says("is not saved");
        assert_eq!(sandbox.git("rev-parse worktrees/apart/HEAD"), head);
        fs::remove_file(&root).unwrap();
    }

    fn a_git_that_is_killed_with_its_worker_leaves_no_lock(sandbox: &Sandbox) {
        let held = sandbox.hold("--id locking");
        let mut locks = vec![sandbox.file(".git/index.lock")];
        let repo = shell_words::quote(sandbox.repo().to_str().unwrap()).into_owned();
        sandbox.order(&held, &format!("sleep 1000 | git -C {repo} update-index --stdin & true"));
        if sandbox.format.refs == Refs::Reftable {
            locks.push(sandbox.file(".git/reftable/tables.list.lock"));
            let prepare = r"printf 'start\ncreate refs/heads/never HEAD\nprepare\n'; sleep 1000";
            sandbox.order(&held, &format!("{{ {prepare}; }} | git update-ref --stdin >prepared & true"));
        }
        for lock in &locks {
            wait_until("a lock is held", || lock.exists());
        }
        sandbox.session("terminate --kill locking").ok();
        for lock in &locks {
            assert!(!lock.exists(), "{}", lock.display());
        }
        sandbox.git("update-index --refresh");
        sandbox.git("update-ref refs/heads/next HEAD");
        assert_eq!(sandbox.state("locking"), "terminated");
    }

    fn a_git_that_is_a_worker_is_stopped_like_any_other(sandbox: &Sandbox) {
        sandbox.config("alias.agent", "!sleep 1000");
        for how in ["", "--kill"] {
            for (verb, state) in [("suspend", "suspended"), ("terminate", "terminated")] {
                let id = format!("{verb}{how}");
                sandbox.session(&format!("run -d --id {id} -- git agent")).ok();
                sandbox.session(&format!("{verb} {how} {id}")).ok();
                assert_eq!(sandbox.state(&id), state);
                assert_eq!(sandbox.events(&id), ["create", "start", verb]);
            }
            assert_eq!(sandbox.trailer(&format!("terminate{how}"), "Outcome"), "stopped");
        }
    }
}

#[test]
fn the_lock_that_a_dead_git_left_on_all_references_is_in_nobodys_way() {
    let kind = |refs| Format {
        refs,
        ..Format::PLAIN
    };
    if !kind(Refs::Reftable).is_there() {
        return;
    }
    let team = Team::of(kind(Refs::Files), &[kind(Refs::Files), kind(Refs::Reftable)]);
    let (there, here) = (&team[0], &team[1]);
    there.new_session("--id theirs -- true");
    there.session("push").ok();
    here.new_session("--id ours -- true");
    let lock = here.file(".git/reftable/tables.list.lock");
    // Somebody has it, and so it stays, by name.
    let open = fs::File::create(&lock).unwrap();
    here.session("note ours -m refused")
        .exits(128)
        .says("tables.list.lock' exists");
    here.session("fetch")
        .exits(1)
        .says("theirs: set aside: cannot lock");
    drop(open);
    // Where nobody can tell who has it, too.
    let blind = here
        .session_command("note ours -m refused")
        .env("GIT_SESSION_PLATFORM", "posix");
    blind
        .run()
        .exits(128)
        .says("hint: if no git process is at work here, remove '");
    assert!(lock.exists());
    let first = fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name.as_os_str() == "pid:[4026531836]");
    if Platform::current() == Platform::Posix || !first {
        eprintln!("skipped: what others have open is told on Linux alone, outside of containers");
        here.session("note ours -m refused")
            .exits(128)
            .says("tables.list.lock' exists");
        assert!(lock.exists());
        return;
    }
    here.session("doctor")
        .prints("tables.list.lock' was left by a process that was killed");
    here.session("doctor --repair")
        .ok()
        .says("tables.list.lock' was removed");
    for line in ["note ours -m noted", "start ours", "fetch"] {
        fs::write(&lock, "").unwrap();
        here.session(line).ok();
        assert!(!lock.exists(), "{line}");
    }
    here.session("wait ours").ok();
    assert_eq!(here.state("theirs"), "pending");
}

on_one_format! {
    fn a_worktree_that_cannot_be_looked_at_is_neither_said_to_be_gone_nor_let_go(sandbox: &Sandbox) {
        for id in ["ends", "rests", "ended"] {
            sandbox.session(&format!("run -d --id {id} -- sleep 1000")).ok();
            std::fs::write(sandbox.worktree(id).join("new"), "text").unwrap();
        }
        sandbox.session("suspend rests").ok();
        sandbox.session("terminate ended").ok();
        // A link that leads to itself: nobody can say what is behind it.
        let root = sandbox.worktree("ends").parent().unwrap().to_owned();
        let away = root.with_extension("away");
        std::fs::rename(&root, &away).unwrap();
        std::os::unix::fs::symlink(&root, &root).unwrap();
        let run = sandbox.session("terminate ends");
        run.ok().says("not saved: everything: ").says("ends: terminated");
        assert!(!run.to_string().contains("it is gone"), "{run}");
        sandbox.session("resume rests").fails(128).says("rests/.git': ");
        sandbox.session("prune").exits(128).says("/.git': ");
        sandbox.session("doctor").exits(1).prints("the worktree of session ended can't be looked at");
        sandbox.session("list --json --all").ok();
        std::fs::remove_file(&root).unwrap();
        std::fs::rename(&away, &root).unwrap();
        sandbox.session("resume rests").ok();
        sandbox.end("rests");
        sandbox.session("recover ends").ok();
        sandbox.session("prune ended").ok().says("ended: removed worktree");
        sandbox.session("prune ends").ok().says("ends: keeps worktree").says("its work was never saved");
        assert_eq!(std::fs::read_to_string(sandbox.worktree("ends").join("new")).unwrap(), "text");
    }

    fn an_attempt_that_nobody_saw_end_does_not_end_as_the_one_before(sandbox: &Sandbox) {
        sandbox.fifo("up");
        let script = "test -e tried || { touch tried; exit 3; }; echo $$ $PPID > \"$FIFOS/up\"; exec sleep 1000";
        sandbox
            .session_command("run -d --id twice --retries 1 -- sh -c")
            .args([script])
            .run()
            .ok();
        let pids: Vec<i32> = sandbox.hear("up").split(' ').map(|pid| pid.parse().unwrap()).collect();
        wait_until("the restart is recorded", || sandbox.events("twice").len() == 3);
        processes::kill_and_wait(pids[1]);
        processes::kill_and_wait(pids[0]);
        sandbox.session("recover twice").ok();
        assert_eq!(sandbox.events("twice"), ["create", "start", "restart", "suspend"]);
        assert_eq!(sandbox.trailer("twice", "Reason"), "lost");
        assert_eq!(sandbox.trailer("twice", "Outcome"), "");
        sandbox.end("twice");
    }

    fn a_worktree_that_was_only_begun_is_made_anew(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        sandbox.new_session("--id begun -- sh -c 'cat slow.txt code.txt'");
        kill_in_checkout(sandbox, "begun");
        assert_eq!(sandbox.state("begun"), "pending");
        // Nobody is led into it: what was written there would go.
        sandbox.session("path begun").fails(1).says("has no worktree here").says("'git session start begun' makes it");
        sandbox.session("exec begun -- touch note.txt").fails(125).says("has no worktree here");
        assert_eq!(sandbox.show("begun").get("worktree"), None);
        sandbox.session("start begun").ok();
        sandbox.session("wait begun").exits(0);
        sandbox.session("output begun").prints("slow\none\ntwo\nthree\n");
    }

    fn a_directory_that_was_only_begun_is_made_anew(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        for (id, left) in [("named", Some("")), ("empty", None)] {
            sandbox.new_session(&format!("--id {id} -- cat code.txt"));
            fs::write(sandbox.root().join("slow"), "").unwrap();
            kill_in_checkout(sandbox, id);
            // As if git had been killed a moment earlier.
            let (dir, record) = (sandbox.worktree(id), sandbox.file(&format!(".git/worktrees/{id}")));
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
            if let Some(left) = left {
                fs::write(dir.join(".git"), left).unwrap();
            }
            for entry in fs::read_dir(&record).unwrap() {
                let entry = entry.unwrap();
                if !["gitdir", "locked"].contains(&entry.file_name().to_str().unwrap()) {
                    fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path())).unwrap();
                }
            }
            sandbox.session(&format!("start {id}")).ok();
            sandbox.session(&format!("wait {id}")).exits(0);
            sandbox.session(&format!("output {id}")).prints("one\ntwo\nthree\n");
        }
    }

    fn a_branch_that_was_only_begun_is_made_anew(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        sandbox.new_session("--id begun -- true");
        kill_in_checkout(sandbox, "begun");
        // As if git had been killed a moment earlier.
        let lock = sandbox.file(".git/refs/heads/session/begun.lock");
        fs::rename(sandbox.file(".git/refs/heads/session/begun"), &lock).unwrap();
        sandbox.session("start begun").ok();
        sandbox.session("wait begun").exits(0);
        assert!(!lock.exists());
    }

    fn a_worker_that_stands_still_is_always_known_to_do_so(sandbox: &Sandbox) {
        let held = sandbox.hold("--id watched");
        let intent = sandbox.run_dir("watched").join("intent.json");
        for _ in 0..10 {
            let mut checkpoint = sandbox.session_command("checkpoint watched").spawn();
            while checkpoint.child.try_wait().unwrap().is_none() {
                let unsaid = doing(held.pid) == Some('T') && !intent.exists() && doing(held.pid) == Some('T');
                assert!(!unsaid, "a checkpoint that were killed now would leave it stopped");
            }
            checkpoint.end().ok();
        }
        sandbox.let_end(&held, 0);
    }

    fn what_stood_still_before_a_checkpoint_does_so_after_it(sandbox: &Sandbox) {
        let held = sandbox.hold("--id halved");
        sandbox.fifo("child");
        sandbox.order(&held, "sleep 1000 & kill -STOP $!; echo $! >\"$FIFOS/child\"");
        let child: i32 = sandbox.hear("child").parse().unwrap();
        wait_until("the child stands still", || doing(child) == Some('T'));
        sandbox.session("checkpoint halved").ok();
        assert_eq!(doing(child), Some('T'));
        // The worker itself goes on.
        sandbox.let_end(&held, 0);
    }

    fn a_worktree_that_was_only_begun_goes_with_its_session(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        sandbox.new_session("--id begun -- true");
        kill_in_checkout(sandbox, "begun");
        sandbox.session("terminate begun").ok();
        assert_eq!(sandbox.trailer("begun", "Outcome"), "cancelled");
        assert_eq!(sandbox.trailer("begun", "Unsaved"), "");
        assert!(!sandbox.worktree("begun").exists());
        assert!(!sandbox.git("worktree list").contains("begun"));
        sandbox.session("doctor").ok();
        sandbox.git("branch -D session/begun");
    }

    fn work_that_was_only_begun_to_be_put_back_is_put_back_whole(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id back");
        sandbox.order(&held, "echo new > new.txt; echo changed > code.txt");
        sandbox.session("suspend back").ok();
        // Where a killed resume stood: the worktree is registered, and nothing is in it yet.
        let worktree = sandbox.worktree("back");
        for entry in fs::read_dir(&worktree).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != ".git" {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let record = sandbox.run_dir("back").join("worktree.json");
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains("\"whole\":true"), "{text}");
        fs::write(&record, text.replace("\"whole\":true", "\"whole\":false")).unwrap();
        sandbox.resume(&mut held);
        sandbox.order(&held, "grep -q new new.txt && grep -q changed code.txt && test -e README");
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.trailer("back", "Unsaved"), "");
    }

    fn a_worktree_that_was_only_begun_is_pruned_where_its_session_ended_elsewhere(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        make_checkouts_slow(a);
        a.new_session("--id begun -- true");
        kill_in_checkout(a, "begun");
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim --force begun").ok();
        b.session("terminate begun").ok();
        b.session("push").ok();
        a.session("fetch").ok();
        assert_eq!(a.state("begun"), "terminated");
        a.session("prune -n").ok().says("would remove");
        a.session("prune").ok().says("begun: removed worktree");
        assert!(!a.worktree("begun").exists());
        assert!(!a.git("worktree list").contains("begun"));
        a.session("doctor").ok();
    }

    fn what_somebody_made_where_a_worktree_was_only_begun_is_theirs(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        sandbox.new_session("--id begun -- true");
        kill_in_checkout(sandbox, "begun");
        let path = sandbox.worktree("begun");
        let quoted = shell_words::quote(path.to_str().unwrap()).into_owned();
        sandbox.git(&format!("worktree remove --force --force {quoted}"));
        sandbox.git(&format!("worktree add -q -b mine {quoted}"));
        fs::write(path.join("precious"), "mine").unwrap();
        sandbox.session("start begun").fails(1).says("exists already");
        sandbox.session("terminate begun").ok();
        sandbox.session("prune").ok();
        assert_eq!(fs::read_to_string(path.join("precious")).unwrap(), "mine");
        assert!(sandbox.git("worktree list").contains("[mine]"));
    }

    fn who_interrupts_a_run_before_its_worker_runs_ends_it(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        for (interrupt, state) in [("stop", "terminated"), ("suspend", "pending"), ("detach", "pending")] {
            sandbox.config("session.interrupt", interrupt);
            let running = sandbox
                .session_command(&format!("run --id {interrupt} -- true"))
                .inner(|command| {
                    command.process_group(0);
                })
                .spawn();
            assert_eq!(sandbox.hear("checkout"), "hangs");
            // As a terminal does it, for git and its filter too.
            let group = Pid::from_raw(running.pid()).unwrap();
            rustix::process::kill_process_group(group, Signal::INT).unwrap();
            running.end().exits(130);
            assert_eq!(sandbox.state(interrupt), state);
            assert_eq!(sandbox.git("worktree list").lines().count(), 1);
        }
        assert_eq!(sandbox.trailer("stop", "Outcome"), "cancelled");
        no_longer_slow(sandbox);
        sandbox.session("start suspend detach").ok();
        sandbox.session("wait suspend detach").ok();
    }

    fn a_restore_that_was_killed_is_named_as_what_it_is(sandbox: &Sandbox) {
        make_checkouts_slow(sandbox);
        no_longer_slow(sandbox);
        sandbox.run_script("--id done", "echo new > new.txt").ok();
        fs::write(sandbox.root().join("slow"), "").unwrap();
        let restoring = sandbox
            .session_command("restore done")
            .inner(|command| {
                command.process_group(0);
            })
            .spawn();
        assert_eq!(sandbox.hear("checkout"), "hangs");
        kill_group(restoring.pid());
        restoring.end();
        no_longer_slow(sandbox);
        let half = sandbox.worktree("done@3");
        let refused = sandbox.session("restore done");
        refused.fails(1).says("was begun by a restore, which is at work or was killed");
        let (_, hint) = refused.stderr.split_once("if none is at work: ").unwrap();
        sandbox.command("sh").args(["-c", hint]).run().ok();
        sandbox.session("restore done").ok();
        assert_eq!(fs::read_to_string(half.join("new.txt")).unwrap(), "new\n");
        // One that is whole is only in the way.
        sandbox.session("restore done").fails(1).says("exists already");
    }

    fn an_empty_directory_in_the_place_of_a_worktree_is_in_nobodys_way(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id emptied");
        sandbox.order(&held, "echo x > new.txt");
        sandbox.session("suspend emptied").ok();
        let dir = sandbox.worktree("emptied");
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        sandbox.session("exec emptied -- true").exits(125);
        sandbox.resume(&mut held);
        sandbox.order(&held, "grep -q x new.txt");
        sandbox.let_end(&held, 0);
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        sandbox.session("prune").ok().says("emptied: removed worktree");
        assert!(!sandbox.git("worktree list").contains("emptied"));
    }

    fn a_record_of_a_worktree_that_git_was_about_to_write_is_completed(sandbox: &Sandbox) {
        sandbox.new_session("--id any -- true");
        let record = sandbox.file(".git/worktrees/begun");
        fs::create_dir_all(&record).unwrap();
        fs::write(record.join("gitdir"), "/nowhere/begun/.git\n").unwrap();
        let file = fs::File::create(record.join("commondir")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(!sandbox.git_agrees("worktree list"));
        sandbox.session("recover").ok();
        assert!(sandbox.git_agrees("worktree list"));
        fs::remove_dir_all(record).unwrap();
    }

    fn a_lock_of_a_worker_that_goes_on_is_left_where_it_is(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id locking");
        sandbox.order(&held, "echo x > new.txt; touch \"$(git rev-parse --git-path index.lock)\"");
        sandbox.session("checkpoint locking").ok();
        assert_eq!(sandbox.saved("locking", "new.txt"), "x");
        sandbox.order(&held, "test -e \"$(git rev-parse --git-path index.lock)\"");
        sandbox.session("suspend locking").ok();
        sandbox.resume(&mut held);
        sandbox.order(&held, "git add new.txt && git commit -q -m work");
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.trailer("locking", "Unsaved"), "");
    }

    fn a_worktree_that_was_moved_is_found_again(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id moved");
        sandbox.order(&held, "echo x > new.txt");
        sandbox.session("suspend moved").ok();
        let there = sandbox.root().join("elsewhere");
        let here = sandbox.worktree("moved");
        sandbox.command("git").args(["worktree", "move", "--force", "--force"]).args([&here, &there]).run().ok();
        let path = sandbox.session("path moved");
        assert_eq!(Path::new(&path.text()), there);
        sandbox.resume(&mut held);
        sandbox.order(&held, "pwd > where.txt; echo y > new.txt");
        assert!(there.join("where.txt").exists());
        sandbox.session("terminate moved").ok();
        assert_eq!(sandbox.trailer("moved", "Unsaved"), "");
        assert_eq!(sandbox.saved("moved", "new.txt"), "y");
        sandbox.git("branch -D session/moved");
    }

    fn a_session_whose_local_files_are_gone_is_stopped_and_saved(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id robbed");
        sandbox.order(&held, "echo x > new.txt; setsid sleep 1000 & :");
        fs::remove_dir_all(sandbox.run_dir("robbed")).unwrap();
        assert_eq!(sandbox.show("robbed")["stale"], true);
        sandbox.session("suspend robbed").ok();
        assert_eq!(marked(sandbox), []);
        assert_eq!(sandbox.trailer("robbed", "Reason"), "lost");
        assert_eq!(sandbox.saved("robbed", "new.txt"), "x");
        sandbox.resume(&mut held);
        sandbox.order(&held, "grep -q x new.txt");
        sandbox.let_end(&held, 0);
        sandbox.git("branch -D session/robbed");
    }

    fn a_checkpoint_that_is_killed_in_its_pause_lets_the_worker_go_on(sandbox: &Sandbox) {
        let held = sandbox.hold("--id paused");
        sandbox.order(&held, "for n in 0 1 2 3 4 5 6 7 8 9; do head -c 3000000 /dev/urandom > big$n; done");
        sandbox.order(&held, "sleep 1000 & echo $! > \"$GIT_SESSION_STATE_DIR/child\"");
        let child = fs::read_to_string(sandbox.run_dir("paused").join("state/child")).unwrap();
        let child: i32 = child.trim().parse().unwrap();
        let checkpoint = sandbox.session_command("checkpoint paused").spawn();
        wait_until("the worker is paused", || doing(held.pid) == Some('T'));
        processes::signal(checkpoint.pid(), Signal::KILL);
        checkpoint.end();
        wait_until("the worker goes on", || doing(held.pid) != Some('T') && doing(child) != Some('T'));
        sandbox.order(&held, "true");
        sandbox.session("checkpoint paused").ok();
        sandbox.order(&held, "true");
        sandbox.let_end(&held, 0);
    }

    fn locks_of_ours_that_a_killed_command_left_do_not_outlast_the_next_one(sandbox: &Sandbox) {
        sandbox.new_session("--id one -- true");
        // Removing a reference takes both locks.
        sandbox.session("run --id gone -- true").ok();
        sandbox.session("prune --older-than 0s").ok();
        let left = [
            ("git-session.refs", "refs/heads/gone.lock"),
            ("git-session.refs", "refs/sessions/gone.lock"),
            ("git-session.packed-refs", "packed-refs.lock"),
        ];
        for (holder, lock) in left {
            fs::hard_link(sandbox.file(".git").join(holder), sandbox.file(".git").join(lock)).unwrap();
        }
        let others = sandbox.file(".git/refs/heads/others.lock");
        fs::write(&others, "").unwrap();
        sandbox.session("list").ok();
        assert!(sandbox.file(".git/packed-refs.lock").exists());
        sandbox.session("note one -m carry-on").ok();
        for (_, lock) in left {
            assert!(!sandbox.file(".git").join(lock).exists(), "{lock}");
        }
        assert!(others.exists());
        fs::remove_file(others).unwrap();
        sandbox.git("pack-refs --all");
    }

    fn a_checkpoint_does_not_forget_why_a_worker_was_stopped(sandbox: &Sandbox) {
        sandbox.hold("--id asked");
        let lock = sandbox.file(".git/refs/sessions/asked.lock");
        fs::write(&lock, "").unwrap();
        sandbox.session("suspend asked").exits(128);
        sandbox.session("checkpoint asked").exits(128);
        fs::remove_file(&lock).unwrap();
        wait_until("the end is recorded", || sandbox.state("asked") != "running");
        assert_eq!(sandbox.state("asked"), "suspended");
        sandbox.end("asked");
    }

    fn a_freeze_that_is_killed_leaves_nothing_stopped_in_a_running_session(sandbox: &Sandbox) {
        let held = sandbox.hold("--id chilled");
        sandbox.order(&held, "for n in 0 1 2 3 4 5 6 7 8 9; do head -c 3000000 /dev/urandom > big$n; done");
        let freezing = sandbox.session_command("suspend --freeze chilled").spawn();
        wait_until("the worker is stopped", || doing(held.pid) == Some('T'));
        processes::signal(freezing.pid(), Signal::KILL);
        freezing.end();
        if sandbox.state("chilled") == "suspended" {
            sandbox.session("resume chilled").ok();
        }
        wait_until("the worker goes on", || doing(held.pid) != Some('T'));
        sandbox.order(&held, "true");
        sandbox.let_end(&held, 0);
    }

    fn a_frozen_worker_that_is_killed_leaves_a_session_to_be_resumed(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id ice");
        sandbox.order(&held, "echo x > new.txt");
        sandbox.session("suspend --freeze ice").ok();
        assert_eq!(sandbox.show("ice")["frozen"], true);
        let gone = processes::on_end(held.supervisor);
        sandbox.kill_worker(&held);
        gone();
        assert_eq!(sandbox.show("ice")["frozen"], false);
        assert_eq!(sandbox.events("ice"), ["create", "start", "suspend", "checkpoint"]);
        sandbox.resume(&mut held);
        sandbox.order(&held, "grep -q x new.txt");
        sandbox.let_end(&held, 0);
    }

    fn a_frozen_session_that_lost_its_supervisor_is_resumed_without_its_processes(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id ice");
        sandbox.order(&held, "echo x > new.txt");
        sandbox.session("suspend --freeze ice").ok();
        let before = held.pid;
        sandbox.kill_supervisor(&held);
        sandbox.resume(&mut held);
        assert!(!processes::is_alive(before));
        assert_eq!(sandbox.events("ice"), ["create", "start", "suspend", "checkpoint", "resume"]);
        sandbox.let_end(&held, 0);
    }

    fn a_frozen_session_whose_worktree_is_gone_is_put_back_and_begins_anew(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id ice");
        sandbox.order(&held, "echo x > new.txt");
        sandbox.session("suspend --freeze ice").ok();
        let before = held.pid;
        fs::remove_dir_all(sandbox.worktree("ice")).unwrap();
        sandbox.resume(&mut held);
        assert!(!processes::is_alive(before));
        sandbox.order(&held, "grep -q x new.txt && test -e README");
        sandbox.let_end(&held, 0);
    }

    fn time_that_a_session_is_frozen_does_not_count(sandbox: &Sandbox) {
        let held = sandbox.hold("--id timed --timeout 2s --grace 1s");
        sandbox.session("suspend --freeze timed").ok();
        assert_eq!(sandbox.trailer("timed", "Deadline"), "");
        // Longer than the frozen session would have had.
        sandbox.session("run --timeout 3s --grace 0s -- sleep 1000").exits(124);
        assert_eq!(sandbox.state("timed"), "suspended");
        sandbox.session("resume timed").ok();
        assert_ne!(sandbox.trailer("timed", "Deadline"), "");
        sandbox.order(&held, "true");
        sandbox.session("wait timed").exits(124);
        assert_eq!(sandbox.trailer("timed", "Outcome"), "timeout");
    }

    fn a_shutdown_suspends_also_where_the_worker_is_asked_at_the_same_time(sandbox: &Sandbox) {
        for number in 0..5 {
            let mut held = sandbox.hold(&format!("--id down-{number}"));
            let gone = processes::on_end(held.supervisor);
            processes::signal(held.supervisor, Signal::TERM);
            processes::signal(held.pid, Signal::TERM);
            gone();
            let id = held.id.clone();
            assert_eq!(sandbox.events(&id), ["create", "start", "suspend"]);
            sandbox.resume(&mut held);
            sandbox.let_end(&held, 0);
        }
    }

    fn what_runs_where_we_can_not_look_is_left_alone(sandbox: &Sandbox) {
        let held = sandbox.hold("--id far");
        let run = sandbox.run_dir("far").join("run.json");
        let record = fs::read(&run).unwrap();
        processes::kill_and_wait(held.supervisor);
        for (field, value) in [("host", "another".into()), ("pid_namespace", 1.into())] {
            edit_record(sandbox, "far", |record| {
                for who in ["supervisor", "worker", "launcher"] {
                    let mut value: serde_json::Value = serde_json::Value::clone(&value);
                    std::mem::swap(&mut record[who][field], &mut value);
                }
            });
            let tip = sandbox.tip("far");
            for line in ["suspend far", "terminate far", "recover far", "checkpoint far"] {
                sandbox.session(line).fails(1);
            }
            assert_eq!(sandbox.show("far").get("stale"), Some(&serde_json::Value::Null));
            assert_eq!(sandbox.tip("far"), tip);
            assert!(processes::is_alive(held.pid));
            fs::write(&run, &record).unwrap();
        }
        sandbox.end("far");
        assert!(!processes::is_alive(held.pid));
    }

    fn a_reboot_leaves_a_session_to_be_resumed(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id booted");
        sandbox.order(&held, "echo x > new.txt");
        processes::kill_and_wait(held.supervisor);
        processes::kill_and_wait(held.pid);
        edit_record(sandbox, "booted", |record| {
            for who in ["supervisor", "worker", "launcher"] {
                record[who]["boot_id"] = "before".into();
                // Whoever has the number now is not it.
                record[who]["pid"] = std::process::id().into();
            }
        });
        assert_eq!(sandbox.show("booted")["stale"], true);
        sandbox.resume(&mut held);
        sandbox.order(&held, "grep -q x new.txt");
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.events("booted"), ["create", "start", "suspend", "resume", "terminate"]);
    }

    fn an_exit_that_was_written_down_is_what_is_recorded(sandbox: &Sandbox) {
        // The supervisor gets as far as the exit record and no further: somebody else has the session.
        let held = sandbox.hold("--id seen");
        let lock = fs::File::open(sandbox.run_dir("seen").join("op.lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let exit = sandbox.run_dir("seen").join("exit.json");
        sandbox.tell("on0", "exit 7");
        wait_until("the exit is written down", || exit.exists());
        assert_eq!(sandbox.show("seen")["stale"], false);
        sandbox.kill_supervisor(&held);
        drop(lock);
        assert_eq!(sandbox.show("seen")["stale"], true);
        sandbox.session("terminate seen").ok();
        assert_eq!(sandbox.trailer("seen", "Outcome"), "exit:7");
        sandbox.session("wait seen").exits(7);
    }

    fn whatever_a_worker_leaves_behind_is_stopped_before_the_session_has_ended(sandbox: &Sandbox) {
        let scripts = [
            "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; true",
            "(setsid env -u GIT_SESSION_STATE_DIR sleep 1000 &) ; true",
            "trap '' TERM; (trap '' TERM; while :; do sleep 1000; done) & :",
            "for n in 1 2 3; do (while :; do (sleep 0.01 &); done) & done; :",
        ];
        for script in scripts {
            let run = sandbox.run_script("--grace 1s", script);
            run.exits(0);
            assert_eq!(marked(sandbox), [], "{script}");
        }
    }

    fn an_unsupervised_worker_with_a_family_is_stopped_by_the_next_command(sandbox: &Sandbox) {
        let held = sandbox.hold("--id orphan --grace 1s");
        sandbox.order(&held, "trap '' TERM; (setsid sh -c 'sleep 1000 & sleep 1000' &) ; true");
        sandbox.kill_supervisor(&held);
        assert_eq!(sandbox.show("orphan")["stale"], true);
        assert_eq!(sandbox.state("orphan"), "running");
        sandbox.session("suspend orphan").ok();
        assert_eq!(marked(sandbox), []);
        assert_eq!(sandbox.events("orphan"), ["create", "start", "suspend"]);
        sandbox.end("orphan");
    }

    fn a_branch_that_was_deleted_is_made_again(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id bare");
        sandbox.order(&held, "echo x > new.txt; git add new.txt; git commit -q -m x");
        sandbox.git("update-ref -d refs/heads/session/bare");
        sandbox.session("suspend bare").ok();
        sandbox.resume(&mut held);
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.saved("bare", "new.txt"), "x");
    }

    fn a_session_can_be_ended_while_it_waits_for_its_next_attempt(sandbox: &Sandbox) {
        for (verb, state) in [("suspend", "suspended"), ("terminate", "terminated")] {
            let id = format!("backoff-{verb}");
            sandbox
                .session_command(&format!("run -d --id {id} --retries 10 -- sh -c"))
                .args(["exit 3"])
                .run()
                .ok();
            let record = sandbox.run_dir(&id).join("run.json");
            wait_until("it waits", || {
                fs::read_to_string(&record).is_ok_and(|text| text.contains("\"waiting\""))
            });
            sandbox.session(&format!("{verb} {id}")).ok();
            assert_eq!(sandbox.state(&id), state);
            crate::sandbox::wait_unlocked(&sandbox.run_dir(&id).join("supervisor.lock"));
            assert_eq!(sandbox.state(&id), state);
            if state == "suspended" {
                sandbox.end(&id);
            }
        }
    }

    fn a_full_disk_loses_nothing(sandbox: &Sandbox) {
        let small = sandbox.root().join("small");
        fs::create_dir(&small).unwrap();
        let mounted = sandbox
            .command("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .args([&small])
            .run();
        if mounted.code != 0 {
            eprintln!("skipped: a small file system can't be mounted: {}", mounted.stderr.trim());
            return;
        }
        let repo = small.join("repo");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| full_disk(sandbox, &repo)));
        processes::kill_all("GIT_SESSION_STATE_DIR", sandbox.root());
        in_time("unmounting", move || {
            while !std::process::Command::new("umount").arg(&small).status().unwrap().success() {}
        });
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    }
}

fn full_disk(sandbox: &Sandbox, repo: &Path) {
    fs::create_dir(repo).unwrap();
    sandbox.git_in(repo, "init -q -b main .");
    sandbox.git_in(repo, "commit -q --allow-empty -m first");
    let run = |line: &str| sandbox.session_command(line).within(repo).run();
    let fill = || {
        // To the last byte: what is left of a block would do for a small file.
        let mut full = fs::File::create(repo.join("../fill")).unwrap();
        while std::io::Write::write_all(&mut full, &[0; 512]).is_ok() {}
    };
    let free = || fs::remove_file(repo.join("../fill")).unwrap();
    let state = |id: &str| run(&format!("show {id} --json")).json()["session"]["state"].clone();

    run("new --id early -- true").ok();
    run("run -d --id late -- sleep 1000").ok();
    fs::write(repo.join("../repo.sessions/late/new.txt"), "x").unwrap();
    fill();
    for line in ["new --id none -- true", "note early -m text", "start early"] {
        let run = run(line);
        assert!([1, 128].contains(&run.code), "{run}");
        assert!(!run.stderr.contains("panicked"), "{run}");
    }
    run("list").ok();
    for line in ["suspend late", "terminate late"] {
        let run = run(line);
        assert!(!run.stderr.contains("panicked"), "{run}");
        assert_ne!(run.code, 0, "{run}");
    }
    free();
    run("recover --all").ok();
    run("start early").ok();
    run("wait early").exits(0);
    let late = state("late");
    if late == "suspended" {
        run("resume late").ok();
    }
    assert!(repo.join("../repo.sessions/late/new.txt").exists());
    run("terminate late").ok();
    sandbox.git_in(repo, "fsck --strict");
}
