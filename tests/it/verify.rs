//! `verify`: what is sound is said to be, and what is not is found.

use std::fs;
use std::path::PathBuf;

use git_session::git::Repo;
use git_session::session::Kind;

use crate::on_every_format;
use crate::sandbox::{Format, Run, Sandbox, Team};
use crate::{logs, on_one_format};

/// An ended session that committed one file and left another.
fn ended(sandbox: &Sandbox, id: &str) {
    let script = "echo 1 > made.txt; git add made.txt; git commit -qm made; echo 2 > left.txt";
    sandbox.run_script(&format!("--id {id}"), script).ok();
}

/// What is found, by code.
fn codes(run: &Run) -> Vec<String> {
    let json = run.json();
    assert_eq!(
        run.code,
        i32::from(json["findings"] != serde_json::json!([])),
        "{run}"
    );
    let code = |finding: &serde_json::Value| finding["code"].as_str().unwrap().to_owned();
    json["findings"].as_array().unwrap().iter().map(code).collect()
}

fn found(sandbox: &Sandbox, options: &str) -> Vec<String> {
    codes(&sandbox.session(&format!("verify --json {options}")))
}

/// Where an object is; they are all loose.
fn object(sandbox: &Sandbox, revision: &str) -> PathBuf {
    let hex = sandbox.git(&format!("rev-parse --verify '{revision}'"));
    sandbox.file(".git/objects").join(&hex[..2]).join(&hex[2..])
}

fn remove(path: PathBuf) {
    fs::remove_file(path).unwrap();
}

/// Writes the newest event anew with something else in it, and moves the log there.
fn forge(sandbox: &Sandbox, id: &str, from: &str, to: &str) {
    let commit = sandbox.git(&format!("cat-file commit refs/sessions/{id}"));
    assert!(commit.contains(from), "{commit}");
    let file = sandbox.root().join("tmp/forged");
    fs::write(&file, commit.replace(from, to) + "\n").unwrap();
    let forged = sandbox.git(&format!("hash-object -t commit -w \"{}\"", file.display()));
    sandbox.git(&format!("update-ref refs/sessions/{id} {forged}"));
}

on_every_format! {
    fn what_is_sound_is_said_to_be(sandbox: &Sandbox) {
        ended(sandbox, "done");
        sandbox.new_session("--id waits -- true");
        let held = sandbox.hold("--id runs");
        sandbox.session("checkpoint runs").ok();
        let run = sandbox.session("verify");
        run.ok().says("3 sessions checked, nothing is wrong");
        assert_eq!(run.text(), "");
        let json = sandbox.session("verify --json done").ok().json();
        assert_eq!(json["checked"], 1);
        sandbox.session("verify nobody").fails(1);
        sandbox.let_end(&held, 0);
        sandbox.git("gc -q --prune=now");
        assert_eq!(found(sandbox, ""), [""; 0]);
    }

    fn an_event_that_is_not_legal_is_named(sandbox: &Sandbox) {
        sandbox.new_session("--id good -- true");
        sandbox.new_session("--id bad -- true");
        sandbox.session("note bad -m one").ok();
        forge(sandbox, "bad", "Session-State: pending", "Session-State: running");
        let run = sandbox.session("verify");
        assert_eq!(run.exits(1).text(), "bad: its log is not legal: event 2 is a note that leads to running rather than pending");
        let json = sandbox.session("verify --json").json();
        assert_eq!(json["findings"][0]["id"], "bad");
        assert_eq!(json["findings"][0]["seq"], 2);
        assert_eq!(json["findings"][0]["code"], "illegal-log");
        sandbox.session("verify good").ok();
        assert_eq!(found(sandbox, "bad"), ["illegal-log"]);
    }

    fn refs_of_others_are_counted_and_no_finding(sandbox: &Sandbox) {
        sandbox.new_session("--id good -- true");
        sandbox.git("update-ref refs/sessions/theirs HEAD");
        sandbox.git("update-ref refs/sessions/blob HEAD:README");
        sandbox.git("update-ref refs/sessions/NOT-OURS HEAD");
        sandbox.git("update-ref refs/sessions/ne/sted HEAD");
        sandbox.git("update-ref refs/sessions/renamed refs/sessions/good");
        let run = sandbox.session("verify");
        run.ok().says("1 session checked, nothing is wrong; 5 refs are no session of ours");
    }

    fn a_session_whose_ref_was_taken_away_from_it_is_found(sandbox: &Sandbox) {
        ended(sandbox, "lost");
        sandbox.git("update-ref refs/sessions/lost HEAD");
        assert_eq!(found(sandbox, ""), ["unreadable"]);
    }

    fn work_that_is_not_whole_is_found(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        ended(sandbox, "hurt");
        ended(sandbox, "well");
        let snapshot = sandbox.snapshot("hurt");
        let left = object(sandbox, &format!("{snapshot}:left.txt"));
        // The other one has the same file, and shares it.
        let script = "echo 3 > only.txt";
        sandbox.run_script("--id torn", script).ok();
        assert_eq!(found(sandbox, ""), [""; 0]);
        let only = object(sandbox, &format!("{}:only.txt", sandbox.snapshot("torn")));
        remove(only);
        assert_eq!(found(sandbox, ""), ["broken-work"]);
        sandbox.session("verify").exits(1).prints("torn: its work").prints("is missing");
        // What is there and is not what its name says is no better.
        let made = object(sandbox, "session/well:made.txt");
        fs::set_permissions(&left, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::copy(&made, &left).unwrap();
        assert_eq!(found(sandbox, ""), ["broken-work"; 3]);
    }

    fn what_is_to_be_seen_in_the_place_of_a_commit_is_no_finding(sandbox: &Sandbox) {
        ended(sandbox, "grafted");
        sandbox.git("replace session/grafted main");
        assert_eq!(found(sandbox, ""), [""; 0]);
    }

    fn work_that_was_made_here_and_is_gone_is_found(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        ended(sandbox, "gone");
        let work = sandbox.trailer("gone", "Work");
        let name = sandbox.git("for-each-ref --format=%(refname) refs/session-work/gone");
        sandbox.git(&format!("update-ref -d {name}"));
        assert_eq!(found(sandbox, ""), ["unkept-work"]);
        sandbox.session("verify --repair").ok().says("keeps its work again");
        assert_eq!(sandbox.git(&format!("rev-parse {name}")), work);
        assert_eq!(found(sandbox, ""), [""; 0]);
        sandbox.git(&format!("update-ref -d {name}"));
        remove(object(sandbox, &work));
        assert_eq!(found(sandbox, ""), ["missing-work"]);
    }

    fn a_branch_whose_commit_is_gone_is_found(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        ended(sandbox, "well");
        sandbox.session("new --id hurt -- true").ok();
        let lone = sandbox.git("commit-tree -m lone HEAD^{tree}");
        sandbox.git(&format!("branch session/hurt {lone}"));
        assert_eq!(found(sandbox, ""), [""; 0]);
        remove(object(sandbox, "session/hurt"));
        assert_eq!(found(sandbox, ""), ["missing-branch"]);
    }

    fn a_cache_that_says_impossible_things_is_not_believed(sandbox: &Sandbox) {
        let id = sandbox.new_session("-- true");
        let record = format!("newest events: 0\n{} {} 0\n", sandbox.tip(&id), usize::MAX);
        fs::write(sandbox.local().join("cache/events"), record).unwrap();
        sandbox.session("list").ok().prints(&id);
    }

    fn a_log_that_lacks_an_event_is_found(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        sandbox.new_session("--id short -- true");
        sandbox.session("note short -m one").ok();
        remove(object(sandbox, "refs/sessions/short~1"));
        assert_eq!(found(sandbox, ""), ["unreadable"]);
        sandbox.session("note short -m two").exits(0);
        remove(object(sandbox, "refs/sessions/short"));
        assert_eq!(found(sandbox, ""), ["unreadable"]);
        fs::remove_file(sandbox.local().join("cache/events")).unwrap();
        assert_eq!(found(sandbox, ""), ["unreadable"]);
    }

    fn notes_say_nothing_false(sandbox: &Sandbox) {
        ended(sandbox, "noted");
        assert_eq!(found(sandbox, ""), [""; 0]);
        let note = |revision: &str, text: &str| {
            let git = ["notes", "--ref=sessions", "add", "-f", "-m", text, revision];
            sandbox.command("git").args(git).run().ok();
        };
        note("main", r#"{"session":"of-another-clone"}"#);
        assert_eq!(found(sandbox, ""), [""; 0]);
        note("main", r#"{"session":"noted"}"#);
        assert_eq!(found(sandbox, ""), ["notes"]);
        note("main", "made by hand");
        let run = sandbox.session("verify");
        run.exits(1).prints("refs/notes/sessions: the note of");
    }

    fn a_rewound_log_is_found_and_one_that_is_behind_is_not(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id back -- true");
        a.session("note back -m one").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        assert_eq!(found(a, "") , [""; 0]);
        let (tip, before) = (a.tip("back"), a.git("rev-parse refs/sessions/back~1"));
        a.git(&format!("update-ref refs/sessions/back {before}"));
        assert_eq!(found(a, ""), ["rewound"]);
        b.git(&format!("update-ref refs/sessions/back {before}"));
        assert_eq!(found(b, ""), [""; 0]);
        // What is written on top of a rewound log is another story than the one that was sent.
        a.session("note back -m other").ok();
        assert_eq!(found(a, ""), ["diverged"]);
        a.session("sync").ok();
        assert_eq!(found(a, "--remote"), [""; 0]);
        // At home, only who asks sees it.
        team.at_home(&format!("update-ref refs/sessions/back {tip}"));
        assert_eq!(found(a, ""), [""; 0]);
        assert_eq!(found(a, "--remote"), ["rewound"]);
        assert_eq!(found(a, "--remote=origin"), ["rewound"]);
        team.at_home("update-ref -d refs/sessions/back");
        assert_eq!(found(a, "--remote"), ["gone"]);
    }

    fn another_root_is_found(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        team[0].new_session("--id same -- true");
        team[0].session("push").ok();
        team[1].new_session("--id same -- false");
        team[1].session("fetch").exits(1);
        assert_eq!(found(&team[1], ""), ["other-root"]);
        // Seen there and not had here it is a session like any other.
        team[1].git("update-ref -d refs/sessions/same");
        assert_eq!(found(&team[1], ""), [""; 0]);
        team[1].session("fetch").ok();
        assert_eq!(found(&team[1], ""), [""; 0]);
    }

    fn work_that_was_never_fetched_is_no_finding_unless_it_is_nowhere(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        ended(&team[0], "afar");
        team[0].session("push").ok();
        team[1].session("fetch").ok();
        assert_eq!(found(&team[1], ""), [""; 0]);
        assert_eq!(found(&team[1], "--remote"), [""; 0]);
        let name = team.at_home("for-each-ref --format=%(refname) refs/session-work");
        team.at_home(&format!("update-ref -d {name}"));
        assert_eq!(found(&team[1], ""), [""; 0]);
        assert_eq!(found(&team[1], "--remote"), ["missing-work"]);
        assert_eq!(found(&team[0], "--remote"), [""; 0]);
        // With the work here nothing is missing, wherever it came from.
        team[0].session("push").ok();
        team[1].session("fetch --work").ok();
        team.at_home(&format!("update-ref -d {name}"));
        assert_eq!(found(&team[1], "--remote"), [""; 0]);
    }

    fn what_was_asked_here_and_not_answered_is_found(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id asked -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("note asked -m please").ok();
        // At home it waits for the next sync, which is as it should be.
        assert_eq!(found(a, "--remote"), [""; 0]);
        assert_eq!(found(b, "--remote"), [""; 0]);
        a.git("fetch -q origin 'refs/session-inbox/*:refs/session-inbox/*'");
        assert_eq!(found(a, ""), ["unanswered"]);
        a.session("sync").ok();
        assert_eq!(found(a, ""), [""; 0]);
    }

    fn what_nobody_can_answer_goes_by_the_commands_that_are_told(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id asked -- true");
        a.session("push").ok();
        a.git("push -q origin HEAD:refs/session-inbox/asked/junk");
        a.git("fetch -q origin 'refs/session-inbox/*:refs/session-inbox/*'");
        a.session("sync");
        assert_eq!(found(a, ""), ["unanswerable"]);
        let told = a.session("verify").exits(1).text();
        let commands: Vec<&str> = told.split('\'').filter(|part| part.starts_with("git ")).collect();
        let [sync, push, drop] = commands[..] else { panic!("{told}") };
        assert_eq!(sync, "git session sync");
        for command in [&push.replace("REMOTE", "origin"), drop] {
            a.git(command.strip_prefix("git ").unwrap());
        }
        assert_eq!(found(a, "--remote"), [""; 0]);
        assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "");
        assert_eq!(a.git("for-each-ref refs/session-inbox"), "");
    }

    fn repair_makes_anew_what_is_derived_and_lets_no_log_change(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id one -- true");
        a.new_session("--id two -- true");
        a.session("push").ok();
        a.git("config remote.old.url /nowhere");
        for id in ["one", "two"] {
            a.git(&format!("update-ref refs/session-remotes/old/{id} refs/sessions/{id}"));
        }
        a.session("note two -m later").ok();
        // What only that remote had must not go with it.
        a.git("update-ref refs/session-remotes/old/one HEAD");
        a.git("config --remove-section remote.old");
        let tips = a.git("for-each-ref refs/sessions");

        // A cache that lies, with a checksum that doesn't tell.
        let (one, two) = (a.tip("one"), a.tip("two"));
        let other = a.git(&format!("cat-file commit {two}")).replace("later", "LATER") + "\n";
        let record = format!("{two} {} {}\n{other}\n", other.len(), crc32fast::hash(other.as_bytes()));
        let cache = a.local().join("cache/events");
        let mut content = fs::read_to_string(&cache).unwrap();
        content += &record;
        fs::write(&cache, content).unwrap();
        a.session("log two").ok();
        assert!(found(a, "two").is_empty());
        assert_eq!(found(a, ""), ["cache"]);

        a.session("verify --repair").ok().says("cache").says("1 logs as they were seen at 'old'");
        assert_eq!(found(a, ""), [""; 0]);
        assert_eq!(a.git("for-each-ref refs/sessions"), tips);
        let left = a.git("for-each-ref --format=%(refname) refs/session-remotes");
        let expected = ["old/one", "origin/one", "origin/two"].map(|name| format!("refs/session-remotes/{name}"));
        assert_eq!(left.lines().collect::<Vec<_>>(), expected);
        assert_eq!(a.tip("one"), one);
        a.session("list").ok().prints("two");
    }
}

on_one_format! {
    fn many_refs_of_others_hide_nothing(sandbox: &Sandbox) {
        let repo = Repo::open(&sandbox.repo()).unwrap();
        for number in 0..500 {
            logs::create(&repo, &logs::id(&format!("good-{number}")), "word");
        }
        let head = sandbox.git("rev-parse HEAD");
        let input: String = (0..500).map(|number| format!("create refs/sessions/bad-{number} {head}\n")).collect();
        let file = sandbox.root().join("tmp/refs");
        fs::write(&file, input).unwrap();
        let update = sandbox.command("git").args(["update-ref", "--stdin"]);
        update.input(fs::File::open(&file).unwrap()).run().ok();
        let run = sandbox.session("verify");
        run.ok().says("500 sessions checked, nothing is wrong; 500 refs are no session of ours");
        forge(sandbox, "good-250", "Session-Seq: 1", "Session-Seq: 7");
        let run = sandbox.session("verify");
        assert_eq!(run.exits(1).text(), "good-250: its log is not legal: event 7 follows event 0");
    }

    fn what_is_found_is_one_line_whatever_it_says(sandbox: &Sandbox) {
        let repo = Repo::open(&sandbox.repo()).unwrap();
        let session = logs::create(&repo, &logs::id("odd"), "word");
        let next = logs::step(&repo, &session, Kind::Note, 1, "next").unwrap();
        sandbox.git(&format!("update-ref refs/sessions/odd {}", next.tip));
        forge(sandbox, "odd", "Session-Owner: here", "Session-Owner: \\x1b[31m\\nthere");
        let run = sandbox.session("verify");
        assert_eq!(run.exits(1).text().lines().count(), 1);
        assert!(!run.stdout().contains('\u{1b}'), "{run}");
        run.prints("\\x1b[31m\\nthere");
    }
}

#[test]
fn a_session_of_a_newer_format_is_no_finding() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.new_session("--id later -- true");
    forge(&sandbox, "later", "Session-Format: 1", "Session-Format: 2");
    assert_eq!(found(&sandbox, ""), [""; 0]);
}
