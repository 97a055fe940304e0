//! What is said of a clone elsewhere that it did not do: its workers and its log go by what it did.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, Team, processes};
use crate::{on_every_format, on_one_format};

/// Puts an event on top of a session's log at home, past every check of our own: the newest one, changed by `sed`.
const FORGE: &str = r#"
set -eu
git log -1 --format=%B refs/sessions/$id >message
seq=$(sed -n 's/^Session-Seq: //p' message)
state=$(sed -n 's/^Session-State: //p' message)
sed -e "s/^Session-Seq: .*/Session-Seq: $((seq + 1))/" -e "s/^Session-From: .*/Session-From: $state/" \
    -e "$change" message >next
event=$(git commit-tree "refs/sessions/$id^{tree}" -p refs/sessions/$id -F next)
rm message next
git update-ref refs/sessions/$id $event
"#;

/// Forges an event of a session at home.
pub fn forge_at_home(team: &Team, id: &str, change: &str) {
    let forging = team[0].command("sh").args(["-c", FORGE]).within(&team.home());
    forging.env("id", id).env("change", change).run().ok();
}

const TERMINATE: &str = "s/^Session-Event: .*/Session-Event: terminate/; s/^Session-State: .*/Session-State: terminated\\nSession-Outcome: stopped/";
const SUSPEND: &str =
    "s/^Session-Event: .*/Session-Event: suspend/; s/^Session-State: .*/Session-State: suspended/";

on_every_format! {
    fn what_a_clone_did_not_do_is_not_followed_while_its_worker_lives(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let held = a.hold("--id live");
        a.session("push origin live").ok();
        forge_at_home(&team, "live", TERMINATE);
        let forged = team.tip_at_home("live");
        let refusal = "says of this clone what it did not do (event 4, terminate)";
        for line in ["fetch", "sync"] {
            a.session(line).exits(1).says(refusal);
            assert_eq!(a.state("live"), "running");
        }
        a.session("verify").exits(1).prints(refusal);
        // Whatever else is recorded here meanwhile leads nowhere else.
        a.session("note live -m still").ok();
        for line in ["sync", "push"] {
            a.session(line).exits(1).says("says of this clone");
        }
        assert_eq!(a.state("live"), "running");
        assert!(processes::is_alive(held.pid));
        assert_eq!(team.tip_at_home("live"), forged);
        // Its end is recorded, and both sides are one from then on.
        a.let_end(&held, 0);
        assert_eq!(a.trailer("live", "Outcome"), "exit:0");
        let ended = a.tip("live");
        a.session("sync").ok();
        assert_eq!(team.tip_at_home("live"), a.tip("live"));
        assert_eq!(a.state("live"), "terminated");
        for side in [&ended, &forged] {
            a.git(&format!("merge-base --is-ancestor {side} refs/sessions/live"));
        }
        a.session("verify").ok();
    }

    fn a_worker_that_is_said_to_be_suspended_can_be_stopped(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let held = a.hold("--id live");
        a.session("push origin live").ok();
        forge_at_home(&team, "live", SUSPEND);
        a.session("fetch").exits(1).says("its worker lives here");
        a.session("terminate live").ok();
        assert!(!processes::is_alive(held.pid));
        assert_eq!(a.state("live"), "terminated");
        a.session("sync").ok();
        assert_eq!(team.tip_at_home("live"), a.tip("live"));
        a.session("verify").ok();
    }
}

on_every_format! {
    fn a_worker_that_the_log_does_not_know_of_is_told_and_stopped(sandbox: &Sandbox) {
        let elsewhere = "s/^Session-Event: .*/Session-Event: claim/; s/^Session-State: .*/Session-State: suspended/; \
            s/^Session-Epoch: .*/Session-Epoch: 2/; s/^Session-Owner: .*/Session-Owner: somebody/; \
            s/^Session-Nonce: /Session-Reason: unobserved\\n&/";
        for (id, change, verb) in [
            ("ended", TERMINATE, "recover"),
            ("resting", SUSPEND, "recover --all"),
            ("stopped", TERMINATE, "terminate stopped"),
            ("taken", elsewhere, "recover taken"),
        ] {
            let team = Team::new(sandbox.format, 1);
            let a = &team[0];
            let held = a.hold(&format!("--id {id}"));
            a.session(&format!("push origin {id}")).ok();
            a.order(&held, "echo precious > file");
            forge_at_home(&team, id, change);
            // As stock git does it, with a refspec.
            a.git(&format!("fetch -q origin refs/sessions/{id}:refs/sessions/{id}"));
            assert!(processes::is_alive(held.pid));
            a.session("list --all").ok().prints("alive here");
            a.session("doctor").exits(1).prints("lives here, and its log says that it is");
            a.session(verb).ok();
            assert!(!processes::is_alive(held.pid));
            let work = a.git(&format!("for-each-ref --format=%(refname) refs/session-work/{id}"));
            assert_eq!(a.git(&format!("show {work}^1:file")), "precious");
            a.session("doctor").ok();
            a.session("verify").ok();
        }
    }
}

on_one_format! {
    fn a_worker_of_another_clone_of_the_same_name_is_not_lost(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.fifo("up");
        let run = a.session_command("run -d --id far -- sh -c").args(["echo on > \"$FIFOS/up\"; exec sleep 1000"]);
        run.env("GIT_SESSION_CLONE", "ci").run().ok();
        a.hear("up");
        let there = |clone: &Sandbox, line: &str| clone.session_command(line).env("GIT_SESSION_CLONE", "ci").run();
        there(a, "push origin far").ok();
        there(b, "fetch").ok();
        assert_eq!(there(b, "show --json far").ok().json()["session"]["stale"], serde_json::Value::Null);
        for line in ["recover far", "suspend far", "terminate far"] {
            there(b, line).exits(1).says("not started in this directory").says("claim --force far");
        }
        there(b, "recover --all");
        assert_eq!(b.state("far"), "running");
        // Whoever knows better takes it over, and says that nobody looked.
        there(b, "claim --force far").ok();
        assert_eq!((b.state("far").as_str(), b.trailer("far", "Reason").as_str()), ("suspended", "unobserved"));
        there(a, "sync").exits(1).says("its worker lives here");
        // A supervisor that has yet to hear that all is over is no worker.
        let run = fs::read(a.run_dir("far").join("run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        let supervisor = i32::try_from(run["supervisor"]["pid"].as_i64().unwrap()).unwrap();
        processes::signal(supervisor, Signal::STOP);
        there(a, "terminate far").ok();
        there(a, "sync").ok();
        processes::signal(supervisor, Signal::CONT);
    }

    fn a_copy_of_a_repository_of_the_same_name_leaves_its_workers_alone(sandbox: &Sandbox) {
        sandbox.fifo("up");
        let script = "echo $$ > \"$FIFOS/up\"; exec sleep 1000";
        let run = sandbox.session_command("run -d --id near -- sh -c").args([script]);
        run.env("GIT_SESSION_CLONE", "ci").run().ok();
        let pid: i32 = sandbox.hear("up").parse().unwrap();
        let copy = copied(sandbox);
        let there = |dir: &Path, line: &str| {
            sandbox.session_command(line).within(dir).env("GIT_SESSION_CLONE", "ci").run()
        };
        there(&copy, "terminate --kill near").exits(1).says("not started in this directory");
        assert!(processes::is_alive(pid));
        there(&sandbox.repo(), "terminate --kill near").ok();
    }

    fn a_copied_repository_has_no_worktree_of_the_other(sandbox: &Sandbox) {
        let mut held = sandbox.hold("--id both");
        sandbox.order(&held, "echo saved > saved.txt");
        sandbox.session("suspend both").ok();
        let original = sandbox.worktree("both");
        fs::write(original.join("mine.txt"), "never saved\n").unwrap();
        let copy = copied(sandbox);
        let there = |line: &str| sandbox.session_command(line).within(&copy).run();
        there("claim --offline both").ok();
        there("path both").fails(1);
        there("exec both -- pwd").fails(125);
        assert_eq!(there("show --json both").ok().json()["session"].get("worktree"), None);
        sandbox.fifo("again");
        let resumed = there("resume --trust both");
        resumed.ok();
        sandbox.meet(&mut held);
        let path = there("path both").ok().text();
        assert_ne!(Path::new(&path), original);
        assert_eq!(fs::read_to_string(Path::new(&path).join("saved.txt")).unwrap(), "saved\n");
        there("terminate --kill both").ok();
        let ended = there("show --json both").ok().json();
        assert_eq!(ended["session"]["unsaved"], serde_json::json!([]));
        assert_eq!(fs::read_to_string(original.join("mine.txt")).unwrap(), "never saved\n");
        sandbox.git_in(&original, "status");
        assert_eq!(sandbox.session("path both").ok().text(), original.to_str().unwrap());
        sandbox.end("both");
    }

    fn to_end_a_copied_session_says_nothing_of_the_others_worktree(sandbox: &Sandbox) {
        let held = sandbox.hold("--id both");
        sandbox.session(&format!("suspend {}", held.id)).ok();
        let copy = copied(sandbox);
        let there = |line: &str| sandbox.session_command(line).within(&copy).run();
        there("claim --offline both").ok();
        let run = there("terminate both");
        run.ok();
        assert!(!run.stderr.contains("not saved"), "{run}");
        sandbox.git_in(&sandbox.worktree("both"), "status");
        sandbox.end("both");
    }
}

/// Makes a copy of a repository, beside it, as a backup does.
fn copied(sandbox: &Sandbox) -> PathBuf {
    let copy = sandbox.root().join("copy");
    let status = Command::new("cp")
        .arg("-a")
        .arg(sandbox.repo())
        .arg(&copy)
        .status();
    assert!(status.unwrap().success());
    copy
}

on_every_format! {
    fn what_was_never_ours_is_not_rewound_when_it_moves(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let commit = |text: &str| team.at_home(&format!("commit-tree main^{{tree}} -m {text}"));
        for text in ["one", "two", "three"] {
            let foreign = commit(text);
            team.at_home(&format!("update-ref refs/sessions/other-tool {foreign}"));
            for line in ["fetch", "sync"] {
                let run = a.session(line);
                run.ok();
                assert!(!run.stderr.contains("rewound"), "{run}");
            }
        }
        a.session("fetch").ok().says("1 ref there is no session of ours");
    }

    fn a_good_log_is_followed_where_a_bad_one_had_been(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id good -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        let good = team.tip_at_home("good");
        forge_at_home(&team, "good", "s/^Session-Seq: .*/Session-Seq: 77/");
        b.session("fetch").exits(1).says("set aside");
        team.at_home(&format!("update-ref refs/sessions/good {good}"));
        b.session("fetch").ok();
        a.session("note good -m on").ok();
        a.session("push").ok();
        b.session("fetch").ok().says("updated");
        b.session("claim good").ok();
        b.session("verify").ok();
    }

    fn another_session_of_the_same_name_is_called_that(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        team[0].new_session("--id same -- true");
        team[0].session("push").ok();
        b.session("fetch").ok();
        let other = Team::new(sandbox.format, 1);
        other[0].new_session("--id same -- false");
        other[0].session("push").ok();
        team.at_home(&format!("fetch -q '{}' +refs/sessions/same:refs/sessions/same", other.home().display()));
        let run = b.session("fetch");
        run.exits(1).says("same: set aside").says("are two");
        assert!(!run.stderr.contains("rewound"), "{run}");
        let claim = b.session("claim same");
        claim.exits(1).says("can't be followed");
        assert!(!claim.stderr.contains("does not take it"), "{claim}");
    }
}

on_one_format! {
    fn a_renamed_remote_with_a_slash_is_noticed(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.git("remote rename origin team/x");
        a.new_session("--id one -- true");
        a.session("push team/x").ok();
        a.git("remote rename team/x team/y");
        a.session("doctor").exits(1).prints("as seen on 'team/x', a remote that is called 'team/y' now");
        a.session("doctor --repair").ok();
        let seen = a.git("for-each-ref --format=%(refname) refs/session-remotes");
        assert_eq!(seen, "refs/session-remotes/team%2Fy/one");
        // Which of two it is can't be told.
        let url = a.git("config remote.team/y.url");
        a.git(&format!("remote add first '{url}'"));
        a.git(&format!("remote add second '{url}'"));
        a.git("remote remove team/y");
        let run = a.session("doctor");
        run.prints("'team/y', which is no remote any more; first, second lead there");
    }

    fn a_remote_that_no_command_can_name_hides_no_home(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id one -- true");
        a.session("push").ok();
        a.git("config remote.-x.url /nowhere");
        a.session("claim one").ok();
        a.session("doctor").ok();
    }
}

on_one_format! {
    fn what_is_fixed_at_the_creation_is_changed_by_nobody(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id fixed -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        let good = team.tip_at_home("fixed");
        let base = a.trailer("fixed", "Base");
        for (change, what) in [
            ("s/^Session-Branch: .*/Session-Branch: --upload-pack=x/".to_owned(), "branch that can't be one"),
            ("s/^Session-Branch: .*/Session-Branch: main/".to_owned(), "changes the session's branch"),
            (format!("s/^Session-Base: {base}/Session-Base: {good}/"), "changes the session's base"),
            ("/^Session-Home: /d".to_owned(), "changes the session's home"),
        ] {
            forge_at_home(&team, "fixed", &format!("s/^Session-Event: .*/Session-Event: note/; {change}"));
            b.session("fetch").exits(1).says("not legal").says(what);
            assert_eq!(b.tip("fixed"), good);
            team.at_home(&format!("update-ref refs/sessions/fixed {good}"));
        }
        b.session("fetch").ok();
    }

    fn a_note_takes_no_work_away_and_names_no_other(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let held = a.hold("--id kept");
        a.order(&held, "echo precious > file");
        a.session("suspend kept").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        let good = team.tip_at_home("kept");
        let code = a.git("rev-parse main");
        let forget = format!("/^Session-Work: /d; s/^Session-Nonce: /Session-Forgotten: {code}\\n&/");
        for (change, what) in [
            ("/^Session-Work: /d", "changes the session's work"),
            (&format!("s/^Session-Work: .*/Session-Work: {code}/"), "changes the session's work"),
            (&format!("s/^Session-Head: .*/Session-Head: {good}/"), "changes the session's head"),
            (&forget, "forgets work that can't be forgotten by it"),
        ] {
            forge_at_home(&team, "kept", &format!("s/^Session-Event: .*/Session-Event: note/; {change}"));
            b.session("fetch").exits(1).says("not legal").says(what);
            assert_eq!(b.tip("kept"), good);
            team.at_home(&format!("update-ref refs/sessions/kept {good}"));
        }
        b.session("fetch").ok();
        a.session("terminate kept").ok();
        a.session("forget --yes kept").ok();
        b.session("fetch").ok();
        b.session("verify").ok();
    }

    fn a_branch_that_is_not_the_specifications_is_not_followed(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id fixed -- true");
        a.session("push").ok();
        let script = "git log -1 --format=%B $(git rev-list --max-parents=0 refs/sessions/fixed) >m; \
             sed -i 's/^Session-Branch: .*/Session-Branch: main/' m; \
             root=$(git commit-tree refs/sessions/fixed^{tree} -F m); rm m; git update-ref refs/sessions/fixed $root";
        a.command("sh").args(["-ec", script]).within(&team.home()).run().ok();
        b.session("fetch").exits(1).says("names another branch than the specification");
        assert_eq!(b.git("for-each-ref refs/sessions"), "");
    }
}

on_one_format! {
    fn a_remote_that_shows_another_repository_than_it_sends_to_is_called_that(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let other = Team::new(sandbox.format, 1);
        let a = &team[0];
        let second = other.home();
        a.git(&format!("config remote.origin.pushurl '{}'", second.display()));
        a.new_session("--id split -- true");
        a.session("push").ok();
        let run = a.session("claim split");
        run.exits(1).says("a claim needs a remote that is one").says(second.to_str().unwrap());
        assert!(!run.stderr.contains("another command"), "{run}");
    }

    fn of_several_urls_the_one_that_is_fetched_from_is_home(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let other = Team::new(sandbox.format, 1);
        let (a, b) = (&team[0], &team[1]);
        for url in [other.home(), team.home()] {
            a.git(&format!("config --add remote.origin.pushurl '{}'", url.display()));
        }
        a.new_session("--id several -- true");
        a.session("push").ok();
        assert_eq!(a.trailer("several", "Home"), team.home().to_str().unwrap());
        b.session("fetch").ok();
        b.session("claim several").ok();
        // Which one is away is told.
        fs::rename(other.home(), other.home().with_extension("away")).unwrap();
        a.session("fetch").ok();
        a.new_session("--id more -- true");
        a.session("push origin more").fails(128).says(other.home().to_str().unwrap());
        fs::rename(other.home().with_extension("away"), other.home()).unwrap();
    }

    fn a_home_that_was_told_is_not_called_untold_for_another_that_is_away(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let other = Team::new(sandbox.format, 1);
        let a = &team[0];
        for url in [team.home(), other.home()] {
            a.git(&format!("config --add remote.origin.pushurl '{}'", url.display()));
        }
        a.new_session("--id told -- true");
        a.session("push").ok();
        // It goes away just when home has learned that the session runs.
        let hook = format!(
            "#!/bin/sh\nwhile read -r old new name; do\n  state=$(git log -1 --format='%(trailers:key=Session-State,valueonly)' $new)\n  \
             if test \"$state\" = running && test -d \"{0}\"; then mv \"{0}\" \"{0}.away\"; fi\ndone\n",
            other.home().display()
        );
        let path = team.home().join("hooks/post-receive");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, hook).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let run = a.session("start told");
        run.ok().says("its home was told, but not all that is sent to: ").says(other.home().to_str().unwrap());
        assert!(!run.stderr.contains("not told"), "{run}");
        a.session("wait told").ok();
    }

    fn a_setting_that_means_nothing_keeps_doctor_from_nothing_else(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id one -- true");
        a.session("push").ok();
        a.git("config session.remoteTimeout bogus");
        a.session("doctor").exits(1).prints("session.remoteTimeout: ").prints("ok ");
    }
}
