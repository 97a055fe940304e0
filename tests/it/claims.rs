//! Who owns a session: claims, of which one wins, and what becomes of an owner that is none any more.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use crate::on_every_format;
use crate::sandbox::{Format, Team, processes, until};

/// A pending session of the first clone, which all others have fetched.
fn known_to_all(team: &Team, id: &str, command: &str) {
    team[0]
        .session_command(&format!("new --id {id} -- sh -c"))
        .args([command])
        .run()
        .ok();
    team[0].session("push").ok();
    for other in &team.all()[1..] {
        other.session("fetch").ok();
    }
}

on_every_format! {
    fn a_session_whose_variables_are_not_here_is_not_claimed(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let mut held = a.hold("--id needy --env TOKEN=secret");
        a.session("suspend needy").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        let before = team.tip_at_home("needy");
        b.session("resume --trust needy").fails(1).says("TOKEN");
        assert_eq!(team.tip_at_home("needy"), before);
        assert_eq!(b.tip("needy"), before);
        a.resume(&mut held);
        a.end("needy");
    }

    fn a_claim_makes_another_clone_the_owner(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        known_to_all(&team, "mine", "true");
        team[1].session("claim mine").ok().says("owned by this clone");
        assert_eq!(team[1].events("mine"), ["create", "home", "claim"]);
        assert_eq!(team[1].trailer("mine", "Epoch"), "2");
        assert_eq!(team.tip_at_home("mine"), team[1].tip("mine"));
        // The first owner learns of it before anything runs.
        team[0].session("start mine").fails(1).says("claimed by another clone");
        assert_eq!(team[0].tip("mine"), team[1].tip("mine"));
        team[0].session("note mine -m late").ok().says("asked");
    }

    fn what_comes_from_another_clone_runs_only_where_that_is_said(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        known_to_all(&team, "foreign", "echo ran > ran.txt");
        let before = team.tip_at_home("foreign");
        b.session("start foreign").fails(1).says("not approved").says("--trust");
        assert_eq!(team.tip_at_home("foreign"), before);
        assert!(!b.worktree("foreign").exists());
        // To own it is not to trust it, and to try it again isn't either.
        b.session("claim foreign").ok();
        b.session("start foreign").fails(1).says("not approved");
        assert!(!b.worktree("foreign").exists());
        b.session("terminate foreign").ok();
        b.session("retry foreign").exits(1).says("not approved");
        assert_eq!(b.git("for-each-ref refs/heads/session"), "");
        b.session("retry --trust foreign").ok();
    }

    fn whoever_lost_a_claim_is_told_how_to_take_it_from_the_winner(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        known_to_all(&team, "prize", "true");
        team[1].session("claim prize").ok();
        let run = team[2].session("claim prize");
        run.fails(1).says("was claimed by another clone, on '");
        run.says("hint: 'git session show prize' shows it as it is now; 'git session claim prize' takes it from them, ");
        assert_eq!(team[2].trailer("prize", "Epoch"), "2");
        team[2].session("claim prize").ok();
        assert_eq!(team.tip_at_home("prize"), team[2].tip("prize"));
    }

    fn of_many_clones_that_claim_at_once_one_wins(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 9);
        known_to_all(&team, "race", "true");
        let running: Vec<_> = team.all()[1..]
            .iter()
            .map(|clone| clone.session_command("claim race").spawn())
            .collect();
        let ends: Vec<_> = running.into_iter().map(|claim| claim.end()).collect();
        let won = ends.iter().filter(|end| end.code == 0).count();
        let told: Vec<String> = ends.iter().map(ToString::to_string).collect();
        assert_eq!(won, 1, "{told:#?}");
        for lost in ends.iter().filter(|end| end.code != 0) {
            lost.fails(1).says("claimed by another clone");
        }
        // What was lost leaves nothing behind: the next push and fetch of each are clean, and all see one tip.
        for clone in team.all() {
            clone.session("push").ok();
            clone.session("fetch").ok();
            assert_eq!(clone.tip("race"), team.tip_at_home("race"));
        }
        let work = team.at_home("for-each-ref refs/session-work refs/session-inbox");
        assert_eq!(work, "");
    }

    fn who_may_not_take_a_session_is_told_what_can_be_done(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.session("run -d --id ice -- sleep 1000").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim ice").fails(1).says("hint: 'git session suspend ice' asks for it");
        a.session("suspend --freeze ice").ok();
        a.session("push").ok();
        // A request to suspend what is suspended would be refused.
        let run = b.session("claim ice");
        run.fails(1).says("is frozen in memory on").says("hint: 'git session resume ice' and then 'suspend' there let go");
        a.session("terminate ice").ok();
    }

    fn a_running_session_is_taken_by_force_only_and_its_old_owner_is_fenced(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.fifo("up");
        let script = "echo half > half.txt; echo up > \"$FIFOS/up\"; exec sleep 1000";
        a.session_command("run -d --id stolen -- sh -c").args([script]).run().ok();
        a.hear("up");
        a.session("checkpoint stolen").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim stolen").fails(1).says("running on").says("--force");
        b.session("claim --force stolen").ok();
        assert_eq!(b.state("stolen"), "suspended");
        assert_eq!(b.trailer("stolen", "Reason"), "unobserved");
        b.session("show stolen").ok().prints("not confirmed stopped");

        // The old owner goes on working until it learns of it; what it did then is not lost.
        std::fs::write(a.worktree("stolen").join("later.txt"), "later\n").unwrap();
        a.session("note stolen -m 'still at it'").ok();
        a.session("fetch").ok().says("taken over");
        assert_eq!(a.tip("stolen"), b.tip("stolen"));
        assert!(!a.git("for-each-ref refs/session-work/stolen").is_empty());
        let inbox = team.at_home("for-each-ref --format=%(refname) refs/session-inbox/stolen");
        assert_eq!(inbox.lines().count(), 1, "{inbox}");

        // The new owner merges it: nothing that was recorded is unreachable.
        b.session("sync").ok().says("stolen: merged");
        let all = team.at_home("log --format=%s refs/sessions/stolen");
        assert!(all.contains("note while running"), "{all}");
        assert!(all.contains("running -> suspended"), "{all}");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox/stolen"), "");
        a.session("fetch").ok();
        assert_eq!(a.tip("stolen"), b.tip("stolen"));
        let kept = team.at_home("for-each-ref --format=%(refname) refs/session-work/stolen");
        assert_eq!(kept.lines().count(), 2, "{kept}");

        // No event names it, and it can be put back all the same; not so what is nobody's work.
        let fenced = a.git("for-each-ref --format=%(refname) refs/session-work/stolen");
        let back = a.session(&format!("restore --work {fenced} stolen")).ok().text();
        assert_eq!(std::fs::read_to_string(format!("{back}/later.txt")).unwrap(), "later\n");
        assert_eq!(std::fs::read_to_string(format!("{back}/half.txt")).unwrap(), "half\n");
        a.session("restore --work main stolen").fails(1).says("no clone's work has");
        // On another clone it runs git's filters over what somebody else made.
        b.session("fetch --work origin stolen").ok();
        b.session(&format!("restore --work {fenced} stolen")).fails(1).says("not approved");
        let back = b.session(&format!("restore --trust --work {fenced} stolen")).ok().text();
        assert_eq!(std::fs::read_to_string(format!("{back}/later.txt")).unwrap(), "later\n");
    }

    fn an_owner_whose_log_git_itself_has_moved_is_fenced_all_the_same(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        let (a, b) = (&team[0], &team[1]);
        let held = a.hold("");
        let id = &held.id;
        a.session("push").ok();
        b.session("fetch").ok();
        b.session(&format!("claim --force {id}")).ok();
        std::fs::write(a.worktree(id).join("later.txt"), "later\n").unwrap();
        a.git("fetch -q origin refs/sessions/*:refs/sessions/*");
        assert_eq!(a.tip(id), b.tip(id));
        // To look changes nothing, and another remote has no say.
        a.session("fetch -n").ok();
        a.git(&format!("clone -q --mirror '{}' ../mirror.git", team.home().display()));
        a.git("remote add mirror ../mirror.git");
        a.session("fetch mirror").ok().says("up to date");
        assert!(processes::is_alive(held.pid));
        let run = a.session("fetch --json");
        let line = &run.ok().json()["sessions"][0];
        assert_eq!(line["result"], "fenced");
        assert!(!processes::is_alive(held.pid));
        a.session("fetch").ok().says("1 session is up to date");
        assert_eq!(a.tip(id), b.tip(id));
        let kept = line["work"].as_str().unwrap();
        assert_eq!(team.at_home(&format!("rev-parse {kept}")), a.git(&format!("rev-parse {kept}")));
        let back = a.session(&format!("restore --work {kept} {id}")).ok().text();
        assert_eq!(std::fs::read_to_string(format!("{back}/later.txt")).unwrap(), "later\n");
    }

    fn an_owner_that_cant_give_way_hinders_no_other_session(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        known_to_all(&team, "apart", "true");
        known_to_all(&team, "other", "true");
        b.session("claim apart").ok();
        b.new_session("--id news -- true");
        b.session("note other -m asked").ok();
        b.session("push").ok();
        a.session("note apart -m 'not there'").ok();
        let before = a.tip("apart");
        let hook = team.home().join("hooks/update");
        let script = "#!/bin/sh\ncase $1 in refs/session-inbox/*) echo 'no letters' >&2; exit 1;; esac\n";
        std::fs::write(&hook, script).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = a.session("fetch");
        run.exits(1).says("apart: set aside: ").says("no letters").says("news: new");
        a.session("sync").exits(1).says("apart: set aside: ").says("other: note, as ");
        assert_eq!(a.tip("apart"), before);
        std::fs::remove_file(&hook).unwrap();
        let run = a.session("fetch");
        run.ok().says("apart: taken over");
        // It had no work that could be put back.
        assert!(!run.to_string().contains("session-work"), "{run}");
        assert_eq!(a.tip("apart"), b.tip("apart"));
    }

    fn who_waits_for_an_owner_asks_home_first_who_that_is(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let mut held = a.hold("--id moves");
        a.session("suspend moves").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.fifo("up0");
        b.fifo("on0");
        b.session("resume --trust moves").ok();
        b.meet(&mut held);
        // It is suspended, and a's own, as far as that knows.
        assert_eq!((a.state("moves").as_str(), &a.show("moves")["here"]), ("suspended", &true.into()));
        let asking = a.session_command("terminate --wait moves").spawn();
        until("it is asked", || !team.at_home("for-each-ref refs/session-inbox").is_empty());
        assert_eq!(b.state("moves"), "running");
        until("b has answered", || {
            b.session("sync").ok();
            b.state("moves") == "terminated"
        });
        b.session("sync").ok();
        asking.end().ok().says("moves: asked '").says("has done it");
        assert_eq!(a.tip("moves"), b.tip("moves"));
        // What still is its own needs no home that answers.
        a.new_session("--id stays -- true");
        a.session("push").ok();
        std::fs::rename(team.home(), team.home().with_extension("away")).unwrap();
        let run = a.session("terminate --wait stays");
        run.ok().says("its home was not asked whose it is").says("stays: terminated (cancelled)");
        std::fs::rename(team.home().with_extension("away"), team.home()).unwrap();
    }

    fn who_waits_for_an_owner_outlasts_a_home_that_is_down(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        known_to_all(&team, "asked", "true");
        let away = team.home().with_extension("away");
        std::fs::rename(team.home(), &away).unwrap();
        let mut asking = b.session_command("note asked -m 'from afar' --wait").spawn();
        let mut said = BufReader::new(asking.child.stderr.take().unwrap());
        for expected in ["is asked at the next sync", "its home can't be asked"] {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            assert!(line.contains(expected), "{line}");
        }
        std::fs::rename(&away, team.home()).unwrap();
        until("a has answered", || {
            a.session("sync").ok();
            a.events("asked").contains(&"answer".to_owned())
        });
        asking.end().ok();
        assert_eq!(a.story("asked", "Note")[2], "from afar");
        assert_eq!(a.tip("asked"), b.tip("asked"));
    }

    fn what_is_asked_of_the_owner_is_done_and_answered(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let held = a.hold("");
        a.session("push").ok();
        b.session("fetch").ok();
        let id = &held.id;
        b.session(&format!("note {id} -m 'from afar'")).ok().says("asked");
        b.session(&format!("terminate {id} --reason 'no longer needed'")).ok().says("asked");
        assert_eq!(a.state(id), "running");
        a.session("sync").ok();
        assert_eq!(a.state(id), "terminated");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "");
        b.session("fetch").ok();
        assert_eq!(b.state(id), "terminated");
        let log = b.session(&format!("log --json {id}")).ok().json();
        let events = log["events"].as_array().unwrap();
        let answers: Vec<_> = events.iter().filter(|event| event["event"] == "answer").collect();
        assert_eq!(answers.len(), 2);
        assert!(events.iter().any(|event| event["note"] == "from afar"));
        assert!(events.iter().any(|event| event["reason"] == "no longer needed"));
        // Doing it again finds nothing to do.
        let before = a.tip(id);
        a.session("sync").ok();
        assert_eq!(a.tip(id), before);
        b.session(&format!("terminate {id}")).fails(1).says("terminated");
    }

    fn what_was_done_by_a_command_that_was_killed_is_not_refused_afterwards(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for name in ["up", "asked", "on"] {
            a.fifo(name);
        }
        let script = "trap 'echo asked > \"$FIFOS/asked\"; read x < \"$FIFOS/on\"; exit 0' TERM; \
                      echo up > \"$FIFOS/up\"; while :; do sleep 0.01; done";
        a.session_command("run -d --id slow --grace 100s -- sh -c").args([script]).run().ok();
        a.hear("up");
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("suspend slow").ok().says("asked");
        let sync = a.session_command("sync").spawn();
        a.hear("asked");
        processes::kill_and_wait(sync.pid());
        a.tell("on", "");
        until("the session is suspended", || a.state("slow") == "suspended");
        a.session("sync").ok();
        let answers = a.story("slow", "Note");
        assert!(answers.contains(&"done: suspend".to_owned()), "{answers:?}");
        b.session("fetch").ok();
        assert_eq!(b.state("slow"), "suspended");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "");
        a.session("terminate slow").ok();
    }

    fn a_bad_entry_of_an_inbox_keeps_no_other_from_its_answer(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        known_to_all(&team, "asked", "true");
        // The log of another session that has the same name, and something that is no session at all.
        let other = Team::new(sandbox.format, 1);
        known_to_all(&other, "asked", "false");
        let strange = other[0].tip("asked");
        let home = other.home();
        team.at_home(&format!(
            "fetch -q '{}' refs/sessions/asked:refs/session-inbox/asked/{strange}",
            home.display()
        ));
        team.at_home("update-ref refs/session-inbox/asked/blank refs/heads/main");
        team[1].session("note asked -m 'all the same'").ok();
        team[0].session("sync").ok().says("left alone");
        assert!(team[0].story("asked", "Note").contains(&"all the same".to_owned()));
        assert!(!team[0].events("asked").contains(&"merge".to_owned()));
        let left = team.at_home("for-each-ref --format=%(refname) refs/session-inbox");
        assert_eq!(left.lines().count(), 2, "{left}");
    }

    fn what_nobody_can_answer_is_named_and_is_not_carried_out(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        known_to_all(&team, "asked", "true");
        // What b asks stays at b, and comes to a as others would have made it.
        team.at_home("config transfer.hideRefs refs/session-inbox");
        b.session("terminate asked").ok().says("asked at the next sync");
        team.at_home("config --unset transfer.hideRefs");
        let name = b.git("for-each-ref --format=%(refname) refs/session-inbox");
        let message = b.git(&format!("log -1 --format=%B {name}"));
        let nonce = name.rsplit('/').next().unwrap();
        let put = |word: &str, from: &str, to: &str| {
            let made = message.replace(from, to).replace(nonce, &format!("{nonce}{word}"));
            assert_ne!(made, message);
            let tree = format!("commit-tree {name}^{{tree}} -p {name}^ -m {}", shell_words::quote(&made));
            let commit = b.git(&tree);
            b.git(&format!("push -q origin {commit}:refs/session-inbox/asked/{nonce}{word}"));
        };
        put("f", "Session-Format: 1", "Session-Format: 7");
        put("e", "Session-Epoch: 1", "Session-Epoch: 99");
        put("u", "Session-Request: terminate", "Session-Request: explode");
        b.git(&format!("update-ref -d {name}"));
        let said = ["it is of format 7", "it is about epoch 99", "explode"];
        for _ in 0..2 {
            let run = a.session("sync");
            run.ok();
            for text in said {
                run.says(text);
            }
            assert_eq!(run.stderr.matches("left alone").count(), 3, "{run}");
        }
        assert_eq!(a.state("asked"), "pending");
        assert!(!a.events("asked").contains(&"answer".to_owned()));
        let verified = a.session("verify");
        verified.exits(1).prints("leaves");
        for text in said {
            verified.prints(text);
        }
    }

    fn a_superseded_log_that_is_not_merged_is_no_promise(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        known_to_all(&team, "asked", "true");
        let other = Team::new(sandbox.format, 1);
        known_to_all(&other, "asked", "false");
        let strange = other[0].tip("asked");
        let home = other.home();
        team.at_home(&format!(
            "fetch -q '{}' refs/sessions/asked:refs/session-inbox/asked/{strange}",
            home.display()
        ));
        a.session("sync").ok().says("left alone");
        let run = a.session("verify");
        run.exits(1).prints("leaves it alone");
        assert!(!run.stdout().contains("wait to be merged"), "{run}");
    }

    fn a_request_that_is_not_taken_is_told_by_each_sync_and_harms_no_terminal(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        known_to_all(&team, "asked", "true");
        let hook = team.home().join("hooks/update");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        let script = "#!/bin/sh\ncase $1 in refs/session-inbox/*) printf '\\033[31mno\\342\\200\\256x\\302\\233y\\n' >&2; exit 1;; esac\n";
        std::fs::write(&hook, script).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let asked = b.session("note asked -m hello");
        asked.ok().says("asked at the next sync");
        let waiting = b.session("sync");
        waiting.exits(1).says("asked: request not sent (");
        let json = b.session("sync --json");
        assert_eq!(json.exits(1).json()["unsent"][0]["id"], "asked");
        for run in [&asked, &waiting, &json] {
            let all = format!("{}{}", run.stdout(), run.stderr);
            assert!(!all.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{all:?}");
        }
        std::fs::remove_file(&hook).unwrap();
        b.session("sync").ok().says("asked: asked '").says("' to note that");
        b.session("terminate asked").ok();
        let json = b.session("sync --json").ok().json();
        assert_eq!(json["asked"].as_array().unwrap().len(), 0, "what was sent already is not told again: {json}");
        team[0].session("sync").ok();
        assert!(team[0].story("asked", "Note").contains(&"hello".to_owned()));
    }

    fn what_could_not_be_asked_in_time_is_answered_by_who_asked_and_owns_it_now(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        known_to_all(&team, "waits", "true");
        let away = team.home().with_extension("away");
        std::fs::rename(team.home(), &away).unwrap();
        b.session("note waits -m 'do it soon'").ok().says("asked at the next sync");
        std::fs::rename(&away, team.home()).unwrap();
        b.session("claim waits").ok();
        b.session("verify").exits(1).prints("not answered");
        b.session("sync").ok().says("was refused");
        assert_eq!(b.events("waits").last().unwrap(), "answer");
        b.session("verify").ok();
        assert_eq!(b.git("for-each-ref refs/session-inbox"), "");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "");
        let before = b.tip("waits");
        b.session("sync").ok();
        assert_eq!(b.tip("waits"), before);
    }

    fn a_request_of_an_earlier_epoch_is_refused(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        known_to_all(&team, "late", "true");
        team[1].session("note late -m 'meant for the first'").ok().says("asked");
        team[2].session("claim late").ok();
        team[2].session("sync").ok();
        let log = team[2].session("log --json late").ok().json();
        let last = log["events"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["event"], "answer");
        assert!(last["note"].as_str().unwrap().starts_with("refused"), "{last}");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "");
    }

    fn an_owner_that_has_a_home_asks_it_before_it_starts(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        known_to_all(&team, "asks", "true");
        let away = team.home().with_extension("away");
        std::fs::rename(team.home(), &away).unwrap();
        let before = a.tip("asks");
        a.session("start asks").fails(128).says("--offline");
        assert_eq!(a.tip("asks"), before);
        a.session("start --offline asks").ok().says("unconfirmed");
        a.session("wait asks").ok();
        assert!(a.story("asks", "Claim").contains(&"offline".to_owned()));
        std::fs::rename(&away, team.home()).unwrap();
        a.session("push").ok();
        assert_eq!(team.tip_at_home("asks"), a.tip("asks"));
    }

    fn logs_that_went_on_in_two_places_end_as_one(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        known_to_all(&team, "two", "true");
        // Both believe to be the owner: one took it without asking home.
        team[1].session("claim --offline two").ok().says("unconfirmed");
        team[1].session("note two -m there").ok();
        team[0].session("note two -m here").ok();
        team[0].session("sync").ok();
        team[1].session("sync").ok();
        team[0].session("sync").ok();
        for clone in team.all() {
            clone.session("sync").ok();
            clone.session("fetch").ok();
        }
        for clone in team.all() {
            assert_eq!(clone.tip("two"), team.tip_at_home("two"));
            assert_eq!(clone.trailer("two", "Owner"), team[0].trailer("two", "Owner"));
        }
        let all = team.at_home("log --format=%(trailers:key=Session-Note,valueonly,separator=) refs/sessions/two");
        assert!(all.contains("here") && all.contains("there"), "{all}");
    }
}

#[test]
fn clones_of_every_format_share_one_home() {
    let mixed = |refs| Format {
        refs,
        ..Format::PLAIN
    };
    let formats = [
        mixed(crate::sandbox::Refs::Files),
        mixed(crate::sandbox::Refs::Reftable),
    ];
    if !formats[1].is_there() {
        return;
    }
    for home in formats {
        let team = Team::of(home, &formats);
        known_to_all(&team, "mixed", "echo done > done.txt");
        team[1].session("start --trust mixed").ok();
        team[1].session("wait mixed").ok();
        team[1].session("push").ok();
        team[0].session("fetch").ok();
        assert_eq!(team[0].tip("mixed"), team[1].tip("mixed"));
        team[0].session("fetch --work").ok();
        team[0].session("diff mixed").ok().prints("done.txt");
    }
}
