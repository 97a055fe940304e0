//! `doctor`: how a clone stands is told, and what to do about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::sandbox::{Format, Refs, Sandbox, Team};
use crate::{on_every_format, on_one_format};

/// What is no more than it should be, as `code: message`.
fn told(sandbox: &Sandbox, options: &str) -> Vec<String> {
    let run = sandbox.session(&format!("doctor --json {options}"));
    let json = run.json();
    let lines = json["lines"].as_array().unwrap();
    let problems = lines.iter().filter(|line| line["level"] == "problem").count();
    assert_eq!(json["problems"], problems);
    assert_eq!(run.code, i32::from(problems > 0), "{run}");
    lines
        .iter()
        .filter(|line| line["level"] != "ok")
        .map(|line| {
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", word("level"), word("code"), word("message"))
        })
        .collect()
}

#[track_caller]
fn tells(sandbox: &Sandbox, options: &str, what: &str) {
    let told = told(sandbox, options);
    assert!(
        told.iter().any(|line| line.contains(what)),
        "'{what}' is not told: {told:#?}"
    );
}

/// Makes a file look as old as that.
fn age(path: &Path, seconds: u64) {
    let file = fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

fn hook(team: &Team, script: &str) {
    let hook = team.home().join("hooks/update");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
}

on_every_format! {
    fn a_clone_that_is_well_is_said_to_be_and_nothing_changes(sandbox: &Sandbox) {
        let run = sandbox.session("doctor");
        run.ok().prints("ok       git version").prints("no name yet");
        sandbox.new_session("--id one -- true");
        let before = crate::sandbox::traces::of(&sandbox.repo());
        let run = sandbox.session("doctor");
        let format = match sandbox.format.refs {
            Refs::Files => "kept as files",
            Refs::Reftable => "kept as reftable",
        };
        run.ok().prints(format).prints("this clone is").prints("1 session, 0 of them ended");
        assert!(!run.stdout().contains("problem"), "{run}");
        assert_eq!(told(sandbox, ""), [""; 0]);
        sandbox.session("doctor -q").ok();
        assert_eq!(crate::sandbox::traces::of(&sandbox.repo()), before);
    }

    fn a_copied_clone_is_explained(sandbox: &Sandbox) {
        sandbox.new_session("--id mine -- true");
        let ended = sandbox.new_session("--id ended -- true");
        sandbox.end(&ended);
        let copy = sandbox.root().join("copy");
        let status = Command::new("cp").arg("-a").arg(sandbox.repo()).arg(&copy).status();
        assert!(status.unwrap().success());
        let doctor = |options: &str| {
            sandbox.session_command(&format!("doctor {options}")).within(&copy).run()
        };
        let run = doctor("");
        run.exits(1).prints("this is a copy of the clone").prints("another directory").prints("and the other one owns mine").prints("claim --force");
        assert!(!run.stdout().contains("ended belong"), "{run}");
        let named = sandbox.session_command("doctor").within(&copy).env("GIT_SESSION_CLONE", "ci-7").run();
        named.ok().prints("'ci-7', as GIT_SESSION_CLONE says");
        sandbox.session("doctor").ok();
    }

    fn a_copied_clone_stops_no_worker_of_the_other(sandbox: &Sandbox) {
        let held = sandbox.hold("--id theirs");
        let copy = sandbox.root().join("copy");
        let status = Command::new("cp").arg("-a").arg(sandbox.repo()).arg(&copy).status();
        assert!(status.unwrap().success());
        let there = |line: &str| sandbox.session_command(line).within(&copy).run();
        there("claim --force theirs").ok();
        there("terminate --kill theirs").ok();
        // Had its worker been signalled, it would have been dead by now.
        sandbox.order(&held, "echo on > went");
        sandbox.let_end(&held, 0);
        assert_eq!(sandbox.trailer("theirs", "Outcome"), "exit:0");
        assert_eq!(sandbox.saved("theirs", "went"), "on");
    }

    fn a_lock_that_was_left_over_is_named_and_a_young_one_is_not(sandbox: &Sandbox) {
        sandbox.new_session("--id one -- true");
        let lock = sandbox.file(match sandbox.format.refs {
            Refs::Files => ".git/refs/sessions/one.lock",
            Refs::Reftable => ".git/reftable/tables.list.lock",
        });
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        // Somebody has it.
        let _open = fs::File::create(&lock).unwrap();
        assert_eq!(told(sandbox, ""), [""; 0]);
        age(&lock, 3600);
        tells(sandbox, "", ".lock' stands since 1h");
        // Whose it is can't be told, so it stays.
        sandbox.session("doctor --repair").exits(1);
        // What it keeps from being recorded says the same.
        let stopped = sandbox.session("note one -m here");
        stopped
            .exits(128)
            .says("hint: if no git process is at work here, remove '");
        assert!(lock.exists());
        fs::remove_file(&lock).unwrap();
    }

    fn a_session_that_nobody_supervises_is_named(sandbox: &Sandbox) {
        let held = sandbox.hold("--id left");
        assert_eq!(told(sandbox, ""), [""; 0]);
        sandbox.kill_supervisor(&held);
        tells(sandbox, "", "problem unsupervised: the worker of session left");
        sandbox.kill_worker(&held);
        tells(sandbox, "", "problem stale: nobody supervises session left");
        sandbox.session("doctor").exits(1).prints("git session recover left");
        sandbox.session("recover left").ok();
        assert_eq!(told(sandbox, ""), [""; 0]);
    }

    fn a_renamed_remote_gets_its_logs_back(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        for id in ["one", "two", "three"] {
            a.new_session(&format!("--id {id} -- true"));
        }
        a.session("push").ok();
        assert_eq!(told(a, ""), [""; 0]);
        let old = a.tip("two");
        a.git("remote rename origin up/stream");
        a.session("note two -m later").ok();
        a.session("push up/stream two").ok();
        tells(a, "", "3 logs as seen on 'origin', a remote that is called 'up/stream' now");
        a.session("doctor --repair").ok().says("3 logs as seen on 'origin' are called after 'up/stream' now");
        assert_eq!(told(a, ""), [""; 0]);
        let seen = |id: &str| a.git(&format!("rev-parse refs/session-remotes/up%2Fstream/{id}"));
        assert_eq!(a.git("for-each-ref refs/session-remotes/origin"), "");
        assert_eq!((seen("one"), seen("two")), (a.tip("one"), a.tip("two")));
        assert_ne!(old, a.tip("two"));
        a.session("fetch up/stream").ok().says("3 sessions are up to date");
        // A remote that is gone for good is something else.
        a.git("remote remove up/stream");
        let told = told(a, "");
        assert!(told.iter().any(|line| line.contains("hint renamed: 3 logs as seen on 'up/stream'")) || told.iter().any(|line| line.contains("no remote leads to")), "{told:#?}");
    }

    fn a_home_that_no_remote_leads_to_is_named(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id lost -- true");
        a.session("push").ok();
        a.git("remote set-url origin /nowhere/else");
        tells(a, "", "problem no-home: no remote leads to");
        a.git("config session.home origin");
        assert_eq!(told(a, ""), [""; 0]);
    }

    fn a_remote_that_takes_and_shows_sessions_is_said_to(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        team[0].new_session("--id one -- true");
        team[0].session("push").ok();
        let before = team.at_home("for-each-ref");
        for options in ["--remote", "--remote origin", "--remote=origin"] {
            let run = team[0].session(&format!("doctor {options}"));
            run.ok().prints("'origin' shows 1 session").prints("'refs/sessions/' takes and shows what it is sent");
            run.prints("'refs/session-work/'").prints("'refs/session-inbox/'");
        }
        assert_eq!(team.at_home("for-each-ref"), before);
        assert_eq!(team[0].git("for-each-ref --format=%(refname) refs/sessions"), "refs/sessions/one");
        team[0].session("doctor --remote nobody").fails(1).says("nobody");
    }

    fn a_remote_that_hides_or_refuses_sessions_is_explained(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id one -- true");
        a.session("push").ok();
        team.at_home("config uploadpack.hideRefs refs/sessions");
        tells(a, "--remote", "problem hidden: 'origin' showed 1 session before");
        tells(a, "--remote", "'refs/sessions/' takes what it is sent, and doesn't show it");
        team.at_home("config --unset uploadpack.hideRefs");
        team.at_home("config transfer.hideRefs refs/session-inbox");
        tells(a, "--remote", "'refs/session-inbox/' hides everything");
        team.at_home("config --unset transfer.hideRefs");
        assert_eq!(told(a, "--remote"), [""; 0]);
        hook(&team, "case $1 in refs/session-work/*) echo no work here; exit 1;; esac");
        tells(a, "--remote", "'refs/session-work/' takes nothing: hook declined: no work here");
        hook(&team, "case $3 in *[!0]*) ;; *) echo for ever; exit 1;; esac");
        tells(a, "--remote", "problem undeletable: 'origin' lets nothing be deleted: refs/sessions/PROBE-");
        // What could not be removed is taken for no session by anybody.
        a.session("fetch").ok().says("1 session is up to date");
        a.session("sync").ok();
        a.session("verify --remote").ok();
        let away = team.home().with_extension("away");
        fs::rename(team.home(), &away).unwrap();
        tells(a, "--remote", "problem remote: remote 'origin'");
        fs::rename(&away, team.home()).unwrap();
    }

    fn of_a_remote_that_stops_to_answer_nothing_is_said_that_was_not_seen(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id one -- true");
        a.session("push").ok();
        // Both end as soon as something of the trial is there.
        for program in ["upload-pack", "receive-pack"] {
            let script = a.file(program);
            let text = format!(
                "#!/bin/sh\ngit --git-dir=\"$1\" for-each-ref refs/sessions | grep -q PROBE && exit 1\nexec git {program} \"$@\"\n"
            );
            fs::write(&script, text).unwrap();
            fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
            let quoted = format!("\"{}\"", script.display());
            a.config(&format!("remote.origin.{}", program.replace('-', "")), &quoted);
        }
        let told = told(a, "--remote");
        assert!(told.iter().any(|line| line.starts_with("problem remote: remote 'origin'")), "{told:#?}");
        assert!(told.iter().any(|line| line.starts_with("problem undeletable: 'origin'")), "{told:#?}");
        assert!(!told.iter().any(|line| line.contains("doesn't show it")), "{told:#?}");
        assert_ne!(team.at_home("for-each-ref refs/sessions/PROBE*"), "");
    }

    fn what_is_half_made_or_nobodys_is_named(sandbox: &Sandbox) {
        sandbox.run_script("--id done", "echo 1 > left.txt").ok();
        tells(sandbox, "", "hint worktrees: 1 worktree of ended sessions");
        sandbox.session("prune").ok();
        assert_eq!(told(sandbox, ""), [""; 0]);
        let work = sandbox.trailer("done", "Work");
        sandbox.git(&format!("update-ref refs/session-work/nobody/clone {work}"));
        tells(sandbox, "", "hint work: there is work of sessions that are not here: nobody");
        sandbox.git("update-ref refs/sessions/theirs HEAD");
        tells(sandbox, "", "hint foreign: 1 ref is no session of ours");
        let half = sandbox.file(".git/worktrees/half");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("gitdir"), sandbox.root().join("half/.git").as_os_str().as_encoded_bytes()).unwrap();
        assert!(!told(sandbox, "").iter().any(|line| line.contains("half-made")));
        age(&half, 3600);
        tells(sandbox, "", "problem half-made: the worktree");
        fs::remove_dir_all(&half).unwrap();
    }
}

on_one_format! {
    fn a_setting_that_does_not_exist_is_named_with_the_one_that_is_meant(sandbox: &Sandbox) {
        sandbox.git("config session.worktreRoot /tmp");
        let run = sandbox.session("doctor");
        run.exits(1).prints("there is no setting 'session.worktreroot'").prints("'session.worktreeRoot' is meant");
        sandbox.git("config --unset session.worktreRoot");
        sandbox.git("config session.interrupt never");
        tells(sandbox, "", "never");
        sandbox.git("config --unset session.interrupt");
        sandbox.git("config session.remoteTimeout soon");
        tells(sandbox, "", "session.remoteTimeout");
        sandbox.git("config --unset session.remoteTimeout");
        sandbox.git("config session-worker.agent.comand true");
        tells(sandbox, "", "problem worker: session-worker.agent.comand: unknown key");
    }

    fn every_setting_of_the_manual_is_known(sandbox: &Sandbox) {
        let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/sections.roff")).unwrap();
        let keys: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix(".B session.")).collect();
        assert!(keys.len() > 8);
        for key in keys.iter().filter(|key| key.chars().all(|c| c.is_ascii_alphabetic())) {
            sandbox.git(&format!("config session.{key} true"));
        }
        let told = told(sandbox, "");
        assert!(!told.iter().any(|line| line.contains("there is no setting")), "{told:#?}");
    }

    fn a_lock_of_a_killed_process_of_ours_is_removed_when_that_is_asked_for(sandbox: &Sandbox) {
        sandbox.new_session("--id one -- true");
        let lock = sandbox.file(".git/refs/sessions/one.lock");
        fs::hard_link(sandbox.file(".git/git-session.refs"), &lock).unwrap();
        tells(sandbox, "", "was left by a process that was killed");
        sandbox.session("doctor").ok();
        assert!(lock.exists());
        sandbox.session("doctor --repair").ok().says("one.lock' was removed");
        assert!(!lock.exists());
        assert_eq!(told(sandbox, ""), [""; 0]);
    }
}

#[test]
fn a_session_that_runs_elsewhere_for_too_long_is_named() {
    let team = Team::new(Format::PLAIN, 2);
    let (a, b) = (&team[0], &team[1]);
    let held = a.hold("--id late --timeout 1h");
    a.session("push").ok();
    b.session("fetch").ok();
    assert_eq!(told(b, ""), [""; 0]);
    let commit = b.git("cat-file commit refs/sessions/late");
    let line = commit
        .lines()
        .find(|line| line.starts_with("Session-Deadline"))
        .unwrap();
    let file = b.root().join("tmp/late");
    fs::write(
        &file,
        commit.replace(line, "Session-Deadline: 2020-01-01T00:00:00Z") + "\n",
    )
    .unwrap();
    let late = b.git(&format!("hash-object -t commit -w \"{}\"", file.display()));
    b.git(&format!("update-ref refs/sessions/late {late}"));
    tells(b, "", "hint overdue: session late should have ended");
    a.let_end(&held, 0);
}
