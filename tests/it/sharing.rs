//! Sessions on their way between clones: pushed, fetched, seen and followed elsewhere.

use crate::sandbox::Team;
use crate::{on_every_format, on_one_format};

on_every_format! {
    fn a_session_that_is_pushed_is_seen_where_it_is_fetched(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let id = team[0].new_session("--id seen --title 'Seen by all' -- true");
        let pushed = team[0].session("push");
        pushed.ok().says("seen: sent");
        assert_eq!(team[0].events(&id), ["create", "home"]);
        assert_eq!(team.tip_at_home(&id), team[0].tip(&id));

        team[1].session("fetch").ok().says("seen: new");
        assert_eq!(team[1].tip(&id), team[0].tip(&id));
        let seen = team[1].show(&id);
        assert_eq!(seen["title"], "Seen by all");
        assert_eq!(seen["here"], false);
        assert_eq!(team[0].show(&id)["here"], true);
        let home = format!("\n  home      {}\n", seen["home"].as_str().unwrap());
        team[1].session(&format!("show {id}")).ok().prints(&home);
        team[0].session("push").ok().says("1 session is up to date");
        team[1].session("fetch").ok().says("1 session is up to date");
    }

    fn steps_that_follow_are_followed(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let id = team[0].new_session("--id goes-on -- true");
        team[0].session("push").ok();
        team[1].session("fetch").ok();
        team[0].session(&format!("note {id} -m first")).ok();
        team[0].session(&format!("note {id} -m second")).ok();
        team[0].session("push").ok().says("goes-on: sent");
        team[1].session("fetch").ok().says("goes-on: updated");
        assert_eq!(team[1].events(&id), ["create", "home", "note", "note"]);
        let tracking = format!("rev-parse refs/session-remotes/origin/{id}");
        assert_eq!(team[1].git(&tracking), team[0].tip(&id));
        assert_eq!(team[0].git(&tracking), team[0].tip(&id));
    }

    fn a_suspended_session_goes_on_elsewhere_with_all_its_work(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.fifo("up");
        b.fifo("up");
        let script = "echo \"$GIT_SESSION_RESUMED\" >> \"$GIT_SESSION_STATE_DIR/lives\"; echo up > \"$FIFOS/up\"; exec sleep 1000";
        a.session_command("run -d --id moves -- sh -c").args([script]).run().ok();
        a.hear("up");
        let tree = a.worktree("moves");
        a.commit_file(&tree, "made.txt", "made\n");
        std::fs::write(tree.join("code.txt"), "staged\n").unwrap();
        a.git_in(&tree, "add code.txt");
        std::fs::write(tree.join("code.txt"), "staged and changed\n").unwrap();
        std::fs::write(tree.join("new file"), "untracked\n").unwrap();
        a.session("suspend moves").ok();
        a.session("push").ok().says("work: sent");

        b.session("fetch").ok();
        b.session("resume --trust moves").ok();
        b.hear("up");
        let other = b.worktree("moves");
        assert_eq!(b.git_in(&other, "rev-parse HEAD"), a.git_in(&tree, "rev-parse HEAD"));
        assert_eq!(b.git_in(&other, "status --porcelain"), a.git_in(&tree, "status --porcelain"));
        assert_eq!(b.git_in(&other, "symbolic-ref HEAD"), "refs/heads/session/moves");
        assert_eq!(std::fs::read_to_string(other.join("code.txt")).unwrap(), "staged and changed\n");
        assert_eq!(b.git_in(&other, "show :code.txt"), "staged");
        assert_eq!(std::fs::read_to_string(other.join("new file")).unwrap(), "untracked\n");
        assert_eq!(std::fs::read_to_string(b.run_dir("moves").join("state/lives")).unwrap(), "\n1\n");
        assert_eq!(b.show("moves")["here"], true);
        assert_eq!(b.show("moves")["epoch"], 2);
        assert_eq!(team.tip_at_home("moves"), b.tip("moves"));

        // And back.
        b.commit_file(&other, "made there.txt", "made there\n");
        std::fs::write(other.join("new file"), "changed there\n").unwrap();
        b.session("suspend moves").ok();
        b.session("push").ok();
        a.session("fetch").ok().says("taken over");
        std::fs::write(tree.join("kept.ignored"), "mine\n").unwrap();
        a.session("resume --trust moves").ok();
        a.hear("up");
        assert_eq!(a.git_in(&tree, "rev-parse HEAD"), b.git_in(&other, "rev-parse HEAD"));
        assert_eq!(a.git_in(&tree, "symbolic-ref HEAD"), "refs/heads/session/moves");
        assert_eq!(std::fs::read_to_string(tree.join("new file")).unwrap(), "changed there\n");
        assert_eq!(std::fs::read_to_string(tree.join("kept.ignored")).unwrap(), "mine\n");
        assert_eq!(a.show("moves")["epoch"], 3);
        a.end("moves");
        a.session("push").ok();
        b.session("fetch").ok();
        assert_eq!(b.state("moves"), "terminated");
    }

    fn work_of_which_only_a_part_came_is_fetched_again(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let mut held = a.hold("--id moves");
        a.order(&held, "head -c 3000000 /dev/urandom > big");
        a.session("suspend moves").ok();
        a.session("push").ok();
        let big = std::fs::read(a.worktree("moves").join("big")).unwrap();
        b.session("fetch").ok();
        b.config("remote.origin.uploadpack", "cut() { git-upload-pack \"$@\" | dd bs=4096 count=400 status=none; }; cut");
        b.session("fetch --work").exits(1);
        b.session("resume --trust moves").exits(128);
        let work = a.trailer("moves", "Work");
        assert_eq!(b.git(&format!("cat-file -t {work}")), "commit");
        assert_eq!(b.git("for-each-ref refs/session-work"), "");
        b.session("verify").ok();
        b.session("show moves").ok().prints("(not here)");
        b.git("config --global --unset remote.origin.uploadpack");
        b.fifo("up0");
        b.fifo("on0");
        b.session("resume --trust moves").ok();
        b.meet(&mut held);
        assert_eq!(std::fs::read(b.worktree("moves").join("big")).unwrap(), big);
        b.git("gc -q");
        b.end("moves");
    }

    fn work_of_another_clone_that_went_on_is_not_said_to_be_refused(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session("run -d --id goes -- sleep 1000").ok();
        std::fs::write(a.worktree("goes").join("new file"), "one\n").unwrap();
        a.session("checkpoint goes").ok();
        a.session("push").ok();
        b.session("fetch --work").ok();
        std::fs::write(a.worktree("goes").join("new file"), "two\n").unwrap();
        a.session("terminate --kill goes").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        let run = b.session("push -n");
        assert!(!run.ok().to_string().contains("would be sent"), "{run}");
        let run = b.session("push");
        assert!(!run.ok().to_string().contains("not sent"), "{run}");
    }

    fn a_remotes_sessions_are_listed_as_they_were_seen(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        b.session("list --remote").ok().says("no remote was ever asked");
        b.session("fetch").ok();
        b.session("list --remote").ok().says("no sessions on origin, 0s ago");
        let json = b.session("list --remote --json").ok().json();
        assert_eq!(json["remotes"][0]["sessions"].as_array().unwrap().len(), 0, "{json}");
        a.session("run --id over --title Over -- true").ok();
        a.session("new --id waits --title Waits -- true").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        let before = crate::sandbox::traces::of(&b.repo());
        b.session("list --remote").ok().prints("over").prints("waits").says("on origin, 0s ago");
        let json = b.session("list --remote origin --json").ok().json();
        assert_eq!(json["remotes"][0]["remote"], "origin");
        let asked = json["remotes"][0]["asked"].as_str().unwrap();
        assert!(asked.ends_with('Z') && !asked.contains('.'), "as all other times: {asked}");
        assert_eq!(json["remotes"][0]["sessions"].as_array().unwrap().len(), 2);
        let lines = b.session("list --remote origin --format '%(id) %(here) %(state)'").ok().text();
        assert_eq!(lines, "over false terminated\nwaits false pending");
        b.session("list --remote nowhere").fails(1).says("nowhere");
        assert_eq!(crate::sandbox::traces::of(&b.repo()), before);
    }

    fn what_is_withheld_does_not_go_with_later_work_that_lacks_it(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.session("run -d --id discreet -- sleep 1000").ok();
        a.session("checkpoint discreet").ok();
        a.session("push").ok().says("work: sent");
        let sent = team.at_home("for-each-ref refs/session-work");
        let secrets = [
            ("session.pushUntracked", a.worktree("discreet").join("secret")),
            ("session.pushState", a.run_dir("discreet").join("state/secret")),
        ];
        for (setting, secret) in secrets {
            a.config(setting, "false");
            std::fs::write(&secret, "secret\n").unwrap();
            a.session("checkpoint discreet").ok();
            std::fs::remove_file(&secret).unwrap();
            std::fs::write(a.worktree("discreet").join("code.txt"), setting).unwrap();
            a.session("checkpoint discreet").ok();
            a.session("push").ok().says(&format!("work: not sent ({setting} is false"));
            assert_eq!(team.at_home("for-each-ref refs/session-work"), sent);
            a.config(setting, "true");
        }
        a.session("push").ok().says("work: sent");
        a.end("discreet");
    }

    fn what_is_withheld_does_not_go_to_who_took_the_session_over(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.config("session.pushUntracked", "false");
        a.session("run -d --id discreet -- sleep 1000").ok();
        a.session("push").ok();
        std::fs::write(a.worktree("discreet").join("secret"), "secret\n").unwrap();
        b.session("fetch").ok();
        b.session("claim --force discreet").ok();
        a.session("fetch").ok().says("taken over");
        assert_eq!(team.at_home("for-each-ref refs/session-work"), "");
        assert_ne!(a.git("for-each-ref refs/session-work"), "");
    }

    fn a_dry_run_sends_and_writes_nothing(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.session("run --id dry -- sh -c 'echo x > x.txt'").ok();
        let before = crate::sandbox::traces::of(&a.repo());
        a.session("push -n").ok().says("dry: would be sent, work: would be sent");
        assert_eq!(crate::sandbox::traces::of(&a.repo()), before);
        assert_eq!(team.tip_at_home("dry"), "");
    }

    fn a_dry_run_says_nothing_would_be_sent_where_others_went_on(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for id in ["same", "sends", "lags", "forks", "foreign"] {
            a.new_session(&format!("--id {id} -- true"));
        }
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim lags forks").ok();
        a.session("note sends forks -m here").ok();
        team.at_home("update-ref refs/sessions/foreign main");
        let before = crate::sandbox::traces::of(&a.repo());
        let newer = "the remote has newer events ('git session fetch' brings them)";
        let run = a.session("push -n");
        run.exits(1).says("foreign: refused: ").says("is not a session of ours");
        run.says(&format!("lags: {newer}")).says(&format!("forks: {newer}")).says("sends: would be sent");
        run.says("1 session is up to date");
        assert_eq!(crate::sandbox::traces::of(&a.repo()), before);
        // It is known better once it was seen.
        a.session("push").exits(1).says("forks: refused: it went on there too ('git session sync' brings").says("sends: sent");
        let run = a.session("push -n");
        run.exits(1).says("forks: refused: it went on there too").says(&format!("lags: {newer}"));
        a.session("sync origin lags forks").ok();
        let run = a.session("push -n origin lags forks");
        run.ok().says("2 sessions are up to date");
    }

    fn a_dry_run_of_a_fetch_says_what_the_fetch_then_does(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for id in ["same", "ahead", "lags", "forks", "rewound"] {
            a.new_session(&format!("--id {id} -- true"));
        }
        a.session("push").ok();
        b.session("fetch").ok();
        a.session("note ahead forks -m here").ok();
        b.session("claim lags forks").ok();
        b.new_session("--id news -- true");
        b.session("push").ok();
        let root = a.git("rev-list --max-parents=0 refs/sessions/rewound");
        team.at_home(&format!("update-ref refs/sessions/rewound {root}"));
        team.at_home("update-ref refs/sessions/foreign main");
        let before = crate::sandbox::traces::of(&a.repo());
        let run = a.session("fetch -n");
        run.exits(1).says("ahead: not sent yet").says("rewound: set aside: its log was rewound there");
        run.says("1 session is up to date");
        for id in ["lags", "forks", "news"] {
            run.says(&format!("{id}: would be fetched"));
        }
        assert_eq!(crate::sandbox::traces::of(&a.repo()), before);
        a.session("fetch").exits(1).says("ahead: not sent yet").says("rewound: set aside").says("news: new");
        // What has come and is not followed would not be fetched again.
        let run = a.session("fetch -n");
        run.exits(1).says("rewound: set aside").says("4 sessions are up to date").says("1 ref there is no session");
        assert!(!run.to_string().contains("would be fetched"), "{run}");
    }

    fn what_is_somebody_elses_here_and_there_keeps_no_session_from_its_news(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id ours -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("note ours -m asked").ok();
        team.at_home("update-ref refs/sessions/alien main");
        a.git("fetch -q origin refs/sessions/*:refs/sessions/*");
        // Not even where there is a letter for it, or it goes on there.
        team.at_home("update-ref refs/session-inbox/alien/letter main");
        let next = a.commit_file(&a.repo(), "next", "next\n");
        a.git("push -q origin main");
        team.at_home(&format!("update-ref refs/sessions/alien {next}"));
        a.session("fetch").ok().says("1 session is up to date").says("1 ref there is no session of ours");
        a.session("sync").ok().says("ours: note, as '").says("ours: sent");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox/ours"), "");
    }

    fn of_many_sessions_those_that_went_on_elsewhere_are_told_and_hinder_no_other(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for number in 0..10 {
            a.new_session(&format!("--id many-{number} -- true"));
        }
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim many-0 many-1").ok();
        a.session("note many-2 -m more").ok();
        let pushed = a.session("push");
        pushed.ok().says("many-0: the remote has newer events").says("many-1: the remote");
        pushed.says("many-2: sent").says("7 sessions are up to date");
        assert_eq!(team.tip_at_home("many-2"), a.tip("many-2"));
    }

    fn what_git_ignores_does_not_leave_the_worktree_by_a_link(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let script = "test -n \"$GIT_SESSION_RESUMED\" || { mkdir build; echo t > build/t; git add build/t; }; echo up > \"$FIFOS/up\"; exec sleep 1000";
        a.fifo("up");
        b.fifo("up");
        a.session_command("run -d --id linked -- sh -c").args([script]).run().ok();
        a.hear("up");
        a.session("suspend linked").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("resume linked --trust").ok();
        b.hear("up");
        let outside = a.root().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::remove_dir_all(b.worktree("linked").join("build")).unwrap();
        std::os::unix::fs::symlink(&outside, b.worktree("linked").join("build")).unwrap();
        b.session("suspend linked").ok();
        b.session("push").ok();
        std::fs::write(a.worktree("linked").join("build/kept.ignored"), "mine\n").unwrap();
        a.session("fetch").ok();
        let resumed = a.session("resume linked --trust").ok().to_string();
        a.hear("up");
        assert!(a.worktree("linked").join("build").is_symlink());
        let left: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [""; 0]);
        // It is kept in the old directory.
        let kept = crate::sandbox::traces::files_with(&a.root().join("repo.sessions"), "mine");
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(resumed.contains(kept[0].to_str().unwrap()), "{resumed}");
        a.end("linked");
    }
}

/// Makes the home wait in a hook, before or after it has taken what is sent, until it is told to go on.
fn make_home_wait(team: &Team, hook: &str) {
    team[0].fifo("there");
    team[0].fifo("go");
    let path = team.home().join("hooks").join(hook);
    let fifos = team[0].root().join("fifos");
    let quoted = shell_words::quote(fifos.to_str().unwrap()).into_owned();
    let script = format!("#!/bin/sh\ncd {quoted} && echo there > there && read line < go\n");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

on_every_format! {
    fn a_session_that_ends_while_it_is_first_sent_has_ended(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let held = a.hold("--id meanwhile");
        make_home_wait(&team, "pre-receive");
        let push = a.session_command("push").spawn();
        a.hear("there");
        a.let_end(&held, 3);
        std::fs::remove_file(team.home().join("hooks/pre-receive")).unwrap();
        a.tell("go", "on");
        push.end().ok();
        assert_eq!(a.events("meanwhile"), ["create", "start", "home", "merge", "terminate"]);
        assert_eq!(a.show("meanwhile")["outcome"], "exit:3");
        a.session("wait meanwhile").exits(3);
        a.session("push").ok();
        b.session("fetch --work").ok();
        assert_eq!(b.tip("meanwhile"), a.tip("meanwhile"));
        b.session("wait meanwhile").exits(3);
        b.session("diff meanwhile").ok();
        for clone in team.all() {
            clone.session("verify").ok();
        }
    }
}

on_one_format! {
    fn a_sync_tells_what_came(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id told -- true");
        a.session("push").ok();
        assert_eq!(b.session("sync").ok().stderr, "told: new\n1 session is up to date on origin\n");
        a.session("note told -m news").ok();
        a.session("push").ok();
        assert_eq!(b.session("sync").ok().stderr, "told: updated\n1 session is up to date on origin\n");
        assert_eq!(b.session("sync").ok().stderr, "1 session is up to date on origin\n");
        assert_eq!(b.session("sync -q").ok().stderr, "");
    }

    fn what_is_not_here_of_a_failed_sessions_output_is_not_called_nothing(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.run_script("--id kept --record-output", "echo it broke; exit 3").exits(3);
        a.run_script("--id unkept", "echo it broke; exit 3").exits(3);
        a.session("push").ok();
        b.session("fetch").ok();
        for id in ["kept", "unkept"] {
            b.session(&format!("show {id}")).ok().prints("last output\n  (not here)\n");
        }
        b.session("fetch --work").ok();
        b.session("show kept").ok().prints("last output\n  it broke\n");
        b.session("show unkept").ok().prints("last output\n  (not here)\n");
        assert_eq!(b.show("kept")["autopsy"]["output"][0], "it broke");
        assert!(b.show("unkept")["autopsy"]["output"].is_null());
    }

    fn a_push_that_was_killed_undoes_no_step_that_came_after_it(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let mut held = a.hold("--id later");
        make_home_wait(&team, "post-receive");
        let push = a.session_command("push").spawn();
        a.hear("there");
        crate::sandbox::processes::kill_and_wait(push.pid());
        std::fs::remove_file(team.home().join("hooks/post-receive")).unwrap();
        a.tell("go", "on");
        push.end();
        a.session("suspend later").ok();
        a.resume(&mut held);
        a.let_end(&held, 4);
        a.session("sync").ok().says("later: merged");
        assert_eq!(
            a.events("later"),
            ["create", "start", "home", "merge", "suspend", "resume", "terminate"]
        );
        a.session("wait later").exits(4);
        assert_eq!(team.tip_at_home("later"), a.tip("later"));
        a.session("verify").ok();
    }

    fn a_claim_that_was_killed_after_home_had_taken_it_is_finished_by_a_sync(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let held = a.hold("--id taken");
        a.order(&held, "echo work > made.txt");
        a.session("suspend taken").ok();
        a.session("push").ok();
        b.session("fetch --work").ok();
        make_home_wait(&team, "post-receive");
        let claim = b.session_command("claim taken").spawn();
        a.hear("there");
        crate::sandbox::processes::kill_and_wait(claim.pid());
        std::fs::remove_file(team.home().join("hooks/post-receive")).unwrap();
        a.tell("go", "on");
        claim.end();
        assert_eq!(b.show("taken")["here"], false);
        let there = team.tip_at_home("taken");
        b.git(&format!("update-ref refs/session-remotes/origin/taken {there}"));
        b.session("verify").ok();
        b.session("sync").ok();
        assert_eq!(b.show("taken")["here"], true);
        assert_eq!(b.git("for-each-ref refs/session-work/taken").lines().count(), 2);
        b.session("verify").ok();
    }

    fn two_first_pushes_of_one_clone_end_with_one_log(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let held = a.hold("--id twice");
        make_home_wait(&team, "post-receive");
        let slow = a.session_command("push").spawn();
        a.hear("there");
        std::fs::remove_file(team.home().join("hooks/post-receive")).unwrap();
        a.let_end(&held, 3);
        a.session("push").ok().says("twice: sent");
        let after = a.tip("twice");
        assert_eq!(a.events("twice"), ["create", "start", "home", "merge", "terminate"]);
        assert_eq!(team.tip_at_home("twice"), after);
        a.tell("go", "on");
        slow.end().ok();
        assert_eq!((a.tip("twice"), team.tip_at_home("twice")), (after.clone(), after));
        a.session("verify").ok();
    }

    fn a_wait_bears_a_home_that_is_away(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id far -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        let away = team.home().with_extension("away");
        std::fs::rename(team.home(), &away).unwrap();
        let waited = b.session("wait --timeout 100ms far");
        waited.exits(124).says("far: its home can't be asked: ").says("still pending");
        let quiet = b.session("wait -q --timeout 100ms far");
        assert!(!quiet.exits(124).stderr.contains("asked"), "{quiet}");
        std::fs::rename(&away, team.home()).unwrap();
        let waiting = b.session_command("wait --any far").spawn();
        a.session("terminate far").ok();
        a.session("push").ok();
        waiting.end().exits(125);
        assert_eq!(b.tip("far"), a.tip("far"));
    }
}
