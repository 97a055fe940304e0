//! Remotes that are not as they should be: each is told in a clear line, and nothing here changes by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::sandbox::{Format, Run, Sandbox, Team, processes};
use crate::{on_every_format, on_one_format};

/// Every reference here but for the memory of remotes.
fn own(sandbox: &Sandbox) -> Vec<String> {
    let all = sandbox.git("for-each-ref '--format=%(refname) %(objectname)'");
    let is_own = |line: &&str| !line.starts_with("refs/session-remotes/");
    all.lines().filter(is_own).map(str::to_owned).collect()
}

/// Asserts that something leaves every reference of this clone's own where it is.
#[track_caller]
fn untouched(sandbox: &Sandbox, act: impl FnOnce() -> Run) -> Run {
    let before = own(sandbox);
    let run = act();
    assert_eq!(own(sandbox), before, "{run}");
    run
}

fn program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn hook(team: &Team, name: &str, script: &str) -> PathBuf {
    let path = team.home().join("hooks").join(name);
    program(&path, script);
    path
}

/// How many sessions were seen at the remote.
fn seen(sandbox: &Sandbox) -> usize {
    let json = sandbox.session("list --remote origin --json").ok().json();
    json["remotes"][0]["sessions"].as_array().map_or(0, Vec::len)
}

on_one_format! {
    fn a_remote_that_hides_sessions_takes_and_shows_none(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id shown -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        team.at_home("config transfer.hideRefs refs/sessions");
        a.session("note shown -m more").ok();
        a.new_session("--id hidden -- true");
        let run = untouched(a, || a.session("push"));
        run.exits(1).says("hidden: refused: ").says("shown: refused: ").says("hidden ref");
        let run = untouched(b, || b.session("fetch"));
        run.ok().says("shown: no longer there");
        untouched(b, || b.session("claim shown")).fails(1).says("has no such session");
        untouched(a, || a.session("claim shown")).fails(1).says("hidden ref");
        team.at_home("config --unset transfer.hideRefs");
        a.session("push").ok().says("hidden: sent").says("shown: sent");
    }

    fn one_that_is_locked_here_hinders_no_other(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for id in ["one", "two", "three"] {
            a.new_session(&format!("--id {id} -- true"));
        }
        a.session("push").ok();
        let lock = b.file(".git/refs/sessions/two.lock");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        let run = b.session("fetch");
        run.exits(1).says("one: new").says("three: new").says("two: set aside: ").says("two.lock' exists");
        fs::remove_file(&lock).unwrap();
        b.session("fetch").ok().says("two: new");
    }

    fn what_is_fetched_is_pressed_to_disk_unless_that_is_not_wanted(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id one -- true");
        a.session("push").ok();
        let trace = b.root().join("trace");
        for (wanted, fsync) in [("true", "core.fsync=loose-object,pack,pack-metadata,reference"), ("false", "core.fsync=none")] {
            b.config("session.fsync", wanted);
            a.session("note one -m more").ok();
            a.session("push").ok();
            b.session_command("fetch").env("GIT_TRACE2", &trace).run().ok();
            let traced = fs::read_to_string(&trace).unwrap();
            assert!(traced.contains(fsync), "{traced}");
            fs::remove_file(&trace).unwrap();
        }
    }

    fn a_remote_that_only_takes_or_only_shows_is_used_for_what_it_does(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        team.at_home("config uploadpack.hideRefs refs/sessions");
        a.new_session("--id dark -- true");
        a.session("push").ok().says("dark: sent");
        a.session("push").ok().says("1 session is up to date");
        a.session("note dark -m more").ok();
        a.session("push").ok().says("dark: sent");
        assert_eq!(team.tip_at_home("dark"), a.tip("dark"));
        untouched(b, || b.session("fetch")).ok().says("0 sessions");
        untouched(a, || a.session("start dark")).fails(1).says("it does not show what it is sent");
        team.at_home("config --unset uploadpack.hideRefs");
        team.at_home("config receive.hideRefs refs/sessions");
        b.session("fetch").ok().says("dark: new");
        a.session("note dark -m 'even more'").ok();
        untouched(a, || a.session("push")).exits(1).says("dark: refused: ").says("hidden ref");
        untouched(b, || b.session("claim dark")).fails(1).says("takes no update of what it shows");
        untouched(b, || b.session("fetch")).ok().says("up to date");
    }

    fn what_a_hook_refuses_keeps_nothing_else_from_its_way(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        for number in 0..12 {
            a.new_session(&format!("--id s-{number} -- true"));
        }
        let update = hook(&team, "update", "case $1 in */s-5) printf 'not \\033[31mthis\\n' >&2; exit 1;; esac");
        let run = a.session("push");
        run.exits(1).says("s-5: refused: hook declined: not \\x1b[31mthis");
        assert!(!run.stderr.contains('\u{1b}'), "{run}");
        for number in (0..12).filter(|number| *number != 5) {
            let id = format!("s-{number}");
            run.says(&format!("{id}: sent"));
            assert_eq!(team.tip_at_home(&id), a.tip(&id));
        }
        assert_eq!(a.events("s-5"), ["create"]);
        assert_eq!(team.tip_at_home("s-5"), "");
        fs::remove_file(update).unwrap();
        a.session("push").ok().says("s-5: sent").says("11 sessions are up to date");
    }

    fn a_remote_whose_hook_refuses_all_changes_nothing_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id first -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        let refuses = hook(&team, "pre-receive", "echo 'closed for today' >&2; exit 1");
        a.new_session("--id second -- true");
        untouched(a, || a.session("push")).exits(1).says("second: refused: ").says("closed for today");
        untouched(a, || a.session("sync")).exits(1).says("second: refused: ");
        untouched(b, || b.session("claim first")).fails(1).says("closed for today");
        let json = untouched(a, || a.session("push --json")).exits(1).json();
        assert_eq!(json["sessions"][1]["log"], "refused");
        // What is asked of another clone's session waits.
        b.session("note first -m asked").ok().says("closed for today");
        fs::remove_file(refuses).unwrap();
        b.session("sync").ok();
        a.session("sync").ok();
        assert!(a.story("first", "Note").contains(&"asked".to_owned()));
    }

    fn where_only_work_is_refused_the_log_goes(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let a = &team[0];
        let refuses = hook(&team, "update", "case $1 in refs/session-work/*) echo 'too much' >&2; exit 1;; esac");
        a.run_script("--id worked", "echo x > x.txt").ok();
        a.session("push").ok().says("worked: sent, work: not sent (").says("too much");
        assert_eq!(team.tip_at_home("worked"), a.tip("worked"));
        team[1].session("fetch").ok().says("worked: new");
        fs::remove_file(refuses).unwrap();
        a.session("push").ok().says("worked: up to date, work: sent");
    }

    fn work_that_cant_be_had_is_named_and_hinders_no_other(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        let (a, b, c) = (&team[0], &team[1], &team[2]);
        for id in ["one", "two"] {
            a.run_script(&format!("--id {id}"), "echo made > made.txt").ok();
        }
        a.session("push").ok();
        let script = "blob=$(echo evil | git hash-object -w --stdin)
            tree=$(printf '100644 blob %s\\t.git\\n' $blob | git mktree)
            git update-ref refs/session-work/one/evil $(git commit-tree -m x $tree)";
        a.command("sh").args(["-ec", script]).within(&team.home()).run().ok();
        b.git("config fetch.fsckObjects true");
        let run = b.session("fetch --work");
        run.exits(1).says("one: new").says("two: new").says("refs/session-work/one/evil: set aside: ");
        for id in ["one", "two"] {
            b.session(&format!("diff {id}")).ok().prints("made.txt");
        }
        let json = b.session("fetch --work --json").exits(1).json();
        assert_eq!(json["work"][0]["ref"], "refs/session-work/one/evil");
        // It is in the way of nobody who wants what the log names.
        c.git("config fetch.fsckObjects true");
        c.session("fetch").ok();
        let back = c.session("restore --trust one").ok().text();
        assert!(Path::new(&back).join("made.txt").exists());
    }

    fn a_remote_that_is_not_there_changes_nothing_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id here -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        fs::rename(team.home(), team.home().with_extension("away")).unwrap();
        a.session("note here -m more").ok();
        for verb in ["push", "fetch", "sync", "claim here"] {
            untouched(a, || a.session(verb)).fails(128).says("cannot be reached");
            let json = a.session(&format!("{verb} --json")).exits(128).json();
            assert!(json["error"]["code"].is_string(), "{json}");
        }
        untouched(b, || b.session("claim here")).fails(128).says("cannot be reached");
        assert_eq!(seen(b), 1);
    }

    fn a_home_that_is_gone_is_known_by_every_path_that_led_to_it(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let around = team.home().parent().unwrap().to_owned();
        std::os::unix::fs::symlink(&around, a.root().join("link")).unwrap();
        a.git("remote set-url origin '../link/home of all.git'");
        a.new_session("--id here -- true");
        a.session("push").ok();
        assert_eq!(a.trailer("here", "Home"), team.home().to_str().unwrap());
        fs::rename(team.home(), around.join("away")).unwrap();
        for path in ["../link/home of all.git", "./../repo/../link/./home of all.git/"] {
            a.git(&format!("remote set-url origin '{path}'"));
            untouched(a, || a.session("claim here")).fails(128).says("cannot be reached");
            a.session("doctor").ok().prints("every session's home is one of them");
        }
    }

    fn a_home_that_is_known_by_its_path_is_one_by_its_url_too(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let around = team.home().parent().unwrap().to_owned();
        std::os::unix::fs::symlink(team.home(), around.join("home.git")).unwrap();
        let home = around.join("home.git");
        a.git(&format!("remote set-url origin 'file://{}'", home.display()));
        a.new_session("--id here -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        b.git(&format!("remote set-url origin '{}'", home.display()));
        b.session("claim here").fails(1).says("which is no remote of this clone");
        fs::remove_file(&home).unwrap();
        fs::rename(team.home(), &home).unwrap();
        b.session("claim here").ok().says("owned by this clone");
        a.session("fetch").ok().says("here: taken over");
        fs::rename(&home, team.home()).unwrap();
    }

    fn a_remote_that_hangs_is_given_up(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id waits -- true");
        a.fifo("called");
        let ssh = a.root().join("home/ssh");
        program(&ssh, "echo $$ > \"$FIFOS/called\"; sleep 1000");
        a.git("remote add far ssh://nobody@nowhere.invalid/x.git");
        a.config("session.remoteTimeout", "1s");
        for verb in ["fetch far", "push far", "sync far"] {
            let run = untouched(a, || {
                let command = a.session_command(verb).env("GIT_SSH_COMMAND", format!("'{}'", ssh.display().to_string().replace('\'', "'\\''")));
                command.run()
            });
            run.fails(128).says("said nothing for 1s").says("'far'");
            // The whole group of it is gone, what it started too.
            let pid: i32 = a.hear("called").parse().unwrap();
            assert!(!processes::is_alive(pid));
            assert_eq!(processes::with_variable("TEST_SANDBOX", a.root()), []);
        }
        a.config("session.remoteTimeout", "soon");
        untouched(a, || a.session("fetch far")).fails(129).says("session.remoteTimeout");
    }

    fn a_remote_that_hangs_once_it_has_all_has_it(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id silent -- true");
        a.session("push").ok();
        a.session("note silent -m more").ok();
        a.config("session.remoteTimeout", "1s");
        let hangs = hook(&team, "reference-transaction", "test \"$1\" != committed || sleep 1000");
        untouched(a, || a.session("push")).fails(128).says("said nothing for 1s");
        fs::remove_file(hangs).unwrap();
        a.session("push").ok().says("1 session is up to date");
        assert_eq!(team.tip_at_home("silent"), a.tip("silent"));
    }
}

/// A hook by which the remote's receiving end is killed once it has moved a reference, before it tells so.
const DIES: &str = "case $1 in committed) kill -9 $PPID;; esac";

on_every_format! {
    fn a_push_whose_answer_is_lost_is_found_to_be_done(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id known -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        a.session("note known -m more").ok();
        let dies = hook(&team, "reference-transaction", DIES);
        untouched(a, || a.session("push")).fails(128).says("cannot be reached");
        assert_eq!(team.tip_at_home("known"), a.tip("known"));
        // A claim is told from what is there, whatever became of its answer.
        b.session("claim known").ok().says("owned by this clone");
        assert_eq!(team.tip_at_home("known"), b.tip("known"));
        fs::remove_file(dies).unwrap();
        b.session("push").ok().says("1 session is up to date");
        a.session("push").ok().says("the remote has newer events");
        a.session("fetch").ok();
        a.session("push").ok().says("1 session is up to date");
        assert_eq!(a.tip("known"), b.tip("known"));
    }

    fn a_first_push_whose_answer_is_lost_is_found_to_be_done(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let a = &team[0];
        a.run_script("--id first", "echo x > x.txt").ok();
        let dies = hook(&team, "reference-transaction", DIES);
        untouched(a, || a.session("push")).fails(128);
        let taken = team.tip_at_home("first");
        fs::remove_file(dies).unwrap();
        a.session("push").ok().says("up to date on origin");
        assert_eq!(team.tip_at_home("first"), taken);
        assert_eq!(a.tip("first"), taken);
        assert_eq!(a.events("first").iter().filter(|event| *event == "home").count(), 1);
        a.session("push").ok().says("1 session is up to date");
        team[1].session("fetch --work").ok().says("first: new");
        team[1].session("verify").ok();
    }

    fn many_first_pushes_whose_answer_is_lost_are_found_to_be_done(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let ids: Vec<String> = (0..10).map(|number| a.new_session(&format!("--id s-{number} -- true"))).collect();
        let dies = hook(&team, "reference-transaction", DIES);
        untouched(a, || a.session("push")).fails(128);
        let taken: Vec<String> = ids.iter().map(|id| team.tip_at_home(id)).collect();
        assert!(taken.iter().any(|tip| !tip.is_empty()));
        fs::remove_file(dies).unwrap();
        untouched(a, || a.session("push -n")).ok();
        a.session("push").ok();
        for (id, taken) in ids.iter().zip(taken) {
            assert_eq!(a.tip(id), team.tip_at_home(id));
            assert_eq!(a.events(id), ["create", "home"]);
            assert!(taken.is_empty() || taken == a.tip(id), "{id}");
        }
        a.session("push").ok().says("10 sessions are up to date");
    }

    fn a_log_that_git_alone_has_brought_there_gets_its_home_all_the_same(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id mirrored -- true");
        a.new_session("--id went-on -- true");
        a.git("push -q origin refs/sessions/*:refs/sessions/*");
        a.session("note went-on -m more").ok();
        b.session("fetch").ok().says("mirrored: new");
        // The first one finds out what is there.
        a.session("push");
        a.session("push").ok();
        for id in ["mirrored", "went-on"] {
            assert_eq!(team.tip_at_home(id), a.tip(id));
            assert_eq!(a.events(id).last().unwrap(), "home");
        }
        b.session("fetch").ok().says("mirrored: updated");
        b.session("claim mirrored went-on").ok();
    }

    fn a_log_that_was_rewound_at_the_remote_is_told_and_put_back(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id back -- true");
        a.new_session("--id other -- true");
        a.session("push").ok();
        a.session("note back -m one").ok();
        a.session("note back -m two").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        team.at_home("update-ref refs/sessions/back refs/sessions/back~2");
        a.session("note other -m more").ok();
        a.session("push origin other").ok();
        let run = untouched_but(b, "other", || b.session("fetch"));
        run.exits(1).says("back: set aside: its log was rewound there").says("other: updated");
        untouched(b, || b.session("claim back")).fails(1).says("rewound");
        // Whoever comes later sees what is there.
        team[2].session("fetch").ok().says("back: new");
        a.session("push").ok().says("back: sent");
        assert_eq!(team.tip_at_home("back"), a.tip("back"));
        b.session("fetch").ok().says("up to date");
        team[2].session("fetch").ok().says("back: updated");
    }

    fn another_session_of_the_same_name_is_refused_both_ways(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id twin -- true");
        a.session("push").ok();
        b.new_session("--id twin -- false");
        b.new_session("--id single -- true");
        let run = untouched(b, || b.session("fetch"));
        run.exits(1).says("twin: set aside: session 'twin' here and there are two");
        let run = b.session("push");
        run.exits(1).says("twin: refused: ").says("here and there are two").says("single: sent");
        assert_eq!(team.tip_at_home("twin"), a.tip("twin"));
        assert_eq!(b.events("twin"), ["create"]);
        let run = untouched(b, || b.session("sync"));
        run.exits(1).says("here and there are two");
        a.session("fetch").ok().says("single: new");
    }

    fn what_was_seen_at_the_remote_and_cannot_be_read_now_is_not_dropped(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id gone -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        let tip = b.tip("gone");
        b.git("update-ref refs/sessions/gone refs/sessions/gone^");
        team.at_home("update-ref -d refs/sessions/gone");
        let object = b.file(&format!(".git/objects/{}/{}", &tip[..2], &tip[2..]));
        let away = object.with_extension("away");
        fs::rename(&object, &away).unwrap();
        b.session("fetch").exits(1).says("gone: set aside: it is no longer there");
        fs::rename(&away, &object).unwrap();
        assert_eq!(b.git("rev-parse refs/session-remotes/origin/gone"), tip);
        b.session("fetch").exits(1).says("'refs/session-remotes/origin/gone' alone has what it was");
    }

    fn a_log_that_is_gone_at_the_remote_is_gone_from_what_was_seen_there_and_stays_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        for id in ["gone", "stays"] {
            a.new_session(&format!("--id {id} -- true"));
        }
        a.session("push").ok();
        b.session("fetch").ok();
        assert_eq!(seen(b), 2);
        team.at_home("update-ref -d refs/sessions/gone");
        // What others are asked about says nothing of the rest.
        untouched(b, || b.session("fetch origin stays")).ok();
        assert_eq!(seen(b), 2);
        untouched(b, || b.session("fetch -n")).ok();
        assert_eq!(seen(b), 2);
        untouched(b, || b.session("fetch")).ok().says("gone: no longer there");
        assert_eq!(seen(b), 1);
        untouched(b, || b.session("fetch")).ok();
        b.show("gone");
        a.session("push").ok().says("gone: sent");
        b.session("fetch").ok();
        assert_eq!(seen(b), 2);
    }
}

/// As [`untouched`], but for one session.
#[track_caller]
fn untouched_but(sandbox: &Sandbox, id: &str, act: impl FnOnce() -> Run) -> Run {
    let others = || -> Vec<String> {
        let name = format!("refs/sessions/{id} ");
        own(sandbox)
            .into_iter()
            .filter(|line| !line.starts_with(&name))
            .collect()
    };
    let before = others();
    let run = act();
    assert_eq!(others(), before, "{run}");
    run
}

/// What nobody but a forger writes: logs in the remote, event by event.
#[derive(Default)]
struct Forged(String);

impl Forged {
    /// Adds an event to a log; the first one begins it.
    fn event(&mut self, id: &str, text: &str) {
        let length = text.len();
        self.0 += &format!(
            "commit refs/sessions/{id}\ncommitter X <x@example.com> 1790000000 +0000\ndata {length}\n{text}\n"
        );
        if text.contains("Session-Event: create") {
            self.0 += "M 100644 inline session.json\ndata 20\n{\"command\":[\"true\"]}\n";
        }
    }

    fn publish(self, team: &Team) {
        let stream = team[0].root().join("tmp/stream");
        fs::write(&stream, self.0).unwrap();
        let git = team[0].command("git").args(["fast-import", "--quiet", "--force"]);
        let git = git.within(&team.home()).input(fs::File::open(stream).unwrap());
        git.run().ok();
    }
}

/// The text of an event of a session that waits.
fn text(id: &str, seq: usize, kind: &str, more: &str) -> String {
    let from = if seq == 1 { "" } else { "Session-From: pending\n" };
    format!(
        "session {id}: {kind}\n\nSession-Format: 1\nSession-Id: {id}\nSession-Event: {kind}\n{from}Session-State: pending\n\
         Session-Seq: {seq}\nSession-Epoch: 1\nSession-Owner: somebody\nSession-Host: far\n\
         Session-Created: 2026-11-22T07:00:00Z\nSession-Nonce: {id}{seq}\n{more}"
    )
}

on_every_format! {
    fn bad_refs_among_good_ones_hide_none_of_these(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        // The full number where it costs least.
        let count = if sandbox.format == Format::PLAIN { 500 } else { 50 };
        let each = count / 10;
        let mut forged = Forged::default();
        for number in 0..count {
            let id = format!("good-{number}");
            forged.event(&id, &text(&id, 1, "create", ""));
        }
        for number in 0..2 * each {
            let id = format!("gap-{number}");
            forged.event(&id, &text(&id, 1, "create", ""));
            forged.event(&id, &text(&id, 3, "note", ""));
            let id = format!("headless-{number}");
            forged.event(&id, "nothing of a session\n");
            forged.event(&id, &text(&id, 2, "note", ""));
        }
        forged.publish(&team);
        let file = a.root().join("tmp/file");
        fs::write(&file, "a file\n").unwrap();
        let blob = team.at_home(&format!("hash-object -w '{}'", file.display().to_string().replace('\'', "'\\''")));
        team.at_home("tag -a -m 'a tag' tag main");
        let objects = [
            ("blob", blob),
            ("tree", team.at_home("rev-parse main^{tree}")),
            ("commit", team.at_home("rev-parse main")),
            ("tag", team.at_home("rev-parse refs/tags/tag")),
            ("another", team.tip_at_home("good-7")),
            ("nested/within", team.tip_at_home("good-8")),
            ("UPPER", team.tip_at_home("good-9")),
        ];
        let mut input = String::new();
        for (name, oid) in &objects {
            for number in 0..each {
                input += &format!("create refs/sessions/{name}-{number} {oid}\n");
            }
        }
        let list = a.root().join("tmp/refs");
        fs::write(&list, input).unwrap();
        let git = a.command("git").args(["update-ref", "--stdin"]).within(&team.home());
        git.input(fs::File::open(&list).unwrap()).run().ok();

        let run = b.session("fetch");
        run.exits(1).says(&format!("good-{}: new", count - 1)).says("gap-0: set aside: the log of session 'gap-0' is not legal");
        run.says(&format!("{} refs there are no sessions of ours", 9 * each));
        assert_eq!(run.stderr.lines().count(), count + 2 * each + 1, "{run}");
        let run = b.session("list --json").ok().json();
        assert_eq!(run["sessions"].as_array().unwrap().len(), count);
        assert_eq!(run["skipped"], 0);
        // Again it is the same, and what is bad is sent on to nobody.
        let again = untouched(b, || b.session("fetch -q"));
        assert_eq!(again.exits(1).stderr.lines().count(), 2 * each, "{again}");
        untouched(b, || b.session("push")).ok().says(&format!("{count} sessions are up to date"));
        let verified = b.session("verify");
        assert_eq!(verified.exits(1).stdout().lines().count(), 2 * each, "{verified}");
        verified.says(&format!("{} refs are no session of ours", 7 * each));
    }
}

/// No byte of it that a terminal obeys, nor one that turns the direction of the text.
#[track_caller]
fn assert_harmless(run: &Run) {
    for text in [run.stdout(), run.stderr.clone()] {
        let is_bad =
            |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{202a}'..='\u{202e}').contains(c);
        assert_eq!(text.chars().find(is_bad), None, "{text:?}");
    }
}

on_one_format! {
    fn what_a_remote_says_does_nothing_to_the_terminal(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{202e}back\u{9b}31m";
        let mut forged = Forged::default();
        let fields = ["Title", "Branch", "Worker", "Issue", "Reason", "Note", "Label", "Unsaved", "Strange"];
        let more: String = fields.iter().map(|field| format!("Session-{field}: x={evil}\n")).collect();
        forged.event("odd", &text("odd", 1, "create", &more).replace("Session-Host: far", &format!("Session-Host: {evil}")));
        forged.event("odd", &text("odd", 2, "note", &more).replace("Session-Owner: somebody", &format!("Session-Owner: {evil}")));
        forged.event("ill", &text("ill", 1, "create", &more).replace("Session-State: pending", &format!("Session-State: {evil}")));
        // As much of it as git takes in a branch's name; with more the log isn't followed.
        let branch = "Session-Branch: x=\u{202e}back\u{9b}31m";
        let more = more.replace(&format!("Session-Branch: x={evil}"), branch);
        forged.event("own", &text("own", 1, "create", &more).replace("Session-Host: far", &format!("Session-Host: {evil}")));
        forged.publish(&team);
        hook(&team, "update", "printf '\\033[2J\\r\\302\\23331mno\\n' >&2; exit 1");
        let fetched = b.session("fetch");
        fetched.exits(1).says("own: new").says("odd: set aside: ");
        b.new_session("--id mine -- true");
        let lines = [
            "fetch", "fetch -q", "list", "list --all", "list --remote", "show own", "log own", "push", "sync", "diff own", "trust own",
            "verify", "doctor", "claim own", "note own -m x", "terminate own", "start own", "show odd", "claim odd",
            "path own", "start --offline own", "retry own",
        ];
        for line in lines {
            assert_harmless(&b.session(line));
        }
        b.session("push").exits(1).says("mine: refused: ").says("\\x1b[2J");
        b.session("show own").ok().prints("\\x1b[2J");
    }

    fn a_session_of_a_later_format_is_shown_and_never_written_to(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        let mut forged = Forged::default();
        let later = |seq, kind| text("later", seq, kind, "Session-Home: x\nSession-Unheard: of\n").replace("Session-Format: 1", "Session-Format: 7");
        forged.event("later", &text("later", 1, "create", ""));
        forged.event("later", &later(2, "note"));
        forged.event("plain", &text("plain", 1, "create", ""));
        forged.publish(&team);
        b.session("fetch").ok().says("later: new").says("plain: new");
        b.session("list").ok().prints("later");
        b.session("show later").ok();
        for line in ["claim later", "claim --offline later", "start later", "start --offline later", "note later -m x", "terminate later", "checkpoint later", "suspend later"] {
            untouched(b, || b.session(line)).fails(1);
        }
        untouched(b, || b.session("claim later")).fails(1).says("format 7");
        b.session("push").ok().says("up to date");
        // It goes on there, and here.
        let mut forged = Forged::default();
        forged.0 += "reset refs/sessions/later\nfrom refs/sessions/later^0\n";
        forged.event("later", &later(3, "note"));
        forged.publish(&team);
        b.session("fetch").ok().says("later: updated");
        assert_eq!(b.tip("later"), team.tip_at_home("later"));
    }

    fn a_log_of_a_hundred_thousand_events_is_fetched_and_shown(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        let mut forged = Forged::default();
        let base = format!("Session-Base: {}\n", b.git("rev-parse HEAD"));
        forged.event("long", &text("long", 1, "create", &base));
        for seq in 2..=100_000 {
            forged.event("long", &text("long", seq, "note", &format!("{base}Session-Note: {seq}\n")));
        }
        forged.event("short", &text("short", 1, "create", ""));
        forged.publish(&team);
        b.session("fetch").ok().says("long: new").says("short: new");
        b.session("fetch").ok().says("2 sessions are up to date");
        b.session("list").ok().prints("long");
        assert_eq!(b.show("long")["seq"], 100_000);
        let log = b.session("log long").ok().stdout();
        assert!(log.lines().count() >= 100_000);
        b.session("claim --offline long").ok();
        untouched(b, || b.session("note long -m more")).fails(1).says("which is the limit");
        // What the limit doesn't count goes on, and what must not be kept is forgotten.
        b.session("start --offline --trust long").ok();
        b.session("wait long").ok();
        let work = b.trailer("long", "Work");
        b.session("forget --yes long").ok();
        assert_eq!(b.trailer("long", "Forgotten"), work);
    }
}
