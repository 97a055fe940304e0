//! What is written into a repository, read with stock git alone.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::sandbox::{Format, Sandbox};
use crate::{on_every_format, on_one_format};

/// Writes an event by hand, as another version would, and gives its commit.
fn write_event(sandbox: &Sandbox, id: &str, json: &str, message: &str) -> String {
    let file = sandbox.root().join("tmp/session.json");
    fs::write(&file, json).unwrap();
    let blob = sandbox.git(&format!("hash-object -w \"{}\"", file.display()));
    let index = sandbox.root().join("tmp/index");
    for line in [
        format!("update-index --add --cacheinfo 100644,{blob},session.json"),
        "write-tree".into(),
    ] {
        let run = sandbox
            .command("git")
            .args(shell_words::split(&line).unwrap())
            .env("GIT_INDEX_FILE", &index)
            .run();
        if line == "write-tree" {
            let tree = run.ok().text();
            let text = sandbox.root().join("tmp/message");
            fs::write(&text, message).unwrap();
            let commit = sandbox.git(&format!("commit-tree {tree} -F \"{}\"", text.display()));
            sandbox.git(&format!("update-ref refs/sessions/{id} {commit}"));
            fs::remove_file(&index).unwrap();
            return commit;
        }
        run.ok();
    }
    unreachable!()
}

fn created(id: &str, format: u32, more: &str) -> String {
    format!(
        "session {id}: created\n\nSession-Format: {format}\nSession-Id: {id}\nSession-Event: create\n\
         Session-State: pending\nSession-Seq: 1\nSession-Epoch: 1\nSession-Owner: somebody\n\
         Session-Host: afar\n\
         Session-Created: 2026-11-22T07:00:00Z\nSession-Nonce: 1\n{more}"
    )
}

on_every_format! {
    fn an_event_is_a_commit_on_the_one_before(sandbox: &Sandbox) {
        let held = sandbox.hold("--id told --title 'Tell it'");
        sandbox.session("note told -m 'so far so good'").ok();
        sandbox.session("terminate told").ok();
        let log = sandbox.git("log --first-parent --reverse --format=%H:%P:%T refs/sessions/told");
        let commits: Vec<Vec<&str>> = log.lines().map(|line| line.split(':').collect()).collect();
        assert_eq!(commits.len(), 4);
        assert_eq!(commits[0][1], "", "the log is an orphan");
        for pair in commits.windows(2) {
            assert_eq!(
                pair[1][1], pair[0][0],
                "each has the one before as its only parent"
            );
            assert_eq!(pair[1][2], pair[0][2], "the tree is reused");
        }
        assert_eq!(
            sandbox.git("ls-tree --name-only refs/sessions/told"),
            "session.json"
        );
        assert_eq!(sandbox.story("told", "Seq"), ["1", "2", "3", "4"]);
        assert_eq!(sandbox.story("told", "Epoch"), ["1"; 4]);
        assert_eq!(sandbox.story("told", "Format"), ["1"; 4]);
        assert_eq!(sandbox.story("told", "Id"), ["told"; 4]);
        assert_eq!(
            sandbox.story("told", "From"),
            ["", "pending", "running", "running"]
        );
        assert_eq!(sandbox.story("told", "Note"), ["", "", "so far so good", ""]);
        assert_eq!(sandbox.story("told", "Title"), ["Tell it"; 4]);
        let clone = fs::read_to_string(sandbox.local().join("clone")).unwrap();
        let owner = sandbox.trailer("told", "Owner");
        assert!(!owner.is_empty() && clone.contains(&owner), "{owner} {clone}");
        let mut nonces = sandbox.story("told", "Nonce");
        nonces.sort();
        nonces.dedup();
        assert_eq!(nonces.len(), 4);
        assert_eq!(held.id, "told");
    }

    fn the_trailers_stand_in_the_order_of_the_format(sandbox: &Sandbox) {
        let held = sandbox.hold("--id order --title T --issue 12 --label b=2 --label a=1");
        sandbox.session("suspend order --reason why").ok();
        let message = sandbox.git("log -1 --format=%B refs/sessions/order");
        let (subject, block) = message.split_once("\n\n").unwrap();
        assert_eq!(subject, "session order: running -> suspended");
        let keys: Vec<&str> = block
            .lines()
            .map(|line| line.split_once(": ").unwrap().0)
            .collect();
        let expected = [
            "Format", "Id", "Event", "From", "State", "Seq", "Epoch", "Owner", "Host", "Created", "Nonce",
            "Branch", "Base", "Head", "Work", "Title", "Issue", "Label", "Label", "Reason",
        ];
        assert_eq!(keys, expected.map(|key| format!("Session-{key}")));
        assert!(sandbox.trailer("order", "Created").ends_with('Z'));
        // Git itself takes the whole block for trailers.
        let parsed = sandbox.git("log -1 --format=%(trailers:only,unfold) refs/sessions/order");
        assert_eq!(parsed.lines().count(), expected.len());
        sandbox.end(&held.id);
    }

    fn stock_git_reads_a_session_as_a_story(sandbox: &Sandbox) {
        let held = sandbox.hold("--id tale");
        sandbox.session("suspend tale").ok();
        sandbox.session("new --id young -- true").ok();
        let story = sandbox.git("log --first-parent --format=%s refs/sessions/tale");
        let expected =
            "session tale: running -> suspended\nsession tale: pending -> running\nsession tale: created";
        assert_eq!(story, expected);
        let states = sandbox.git(
            "for-each-ref --format='%(refname:lstrip=2) \
             %(contents:trailers:key=Session-State,valueonly,separator=)' refs/sessions",
        );
        assert_eq!(states, "tale suspended\nyoung pending");
        sandbox.end(&held.id);
    }

    fn a_note_costs_one_object(sandbox: &Sandbox) {
        sandbox.new_session("--id cheap -- true");
        let objects = || {
            sandbox
                .git("cat-file --batch-all-objects --batch-check --unordered")
                .lines()
                .count()
        };
        let before = objects();
        sandbox.session("note cheap -m one").ok();
        assert_eq!(objects(), before + 1);
    }

    fn no_text_can_forge_a_trailer_or_steer_a_terminal(sandbox: &Sandbox) {
        let title = "a\n\nSession-State: terminated\nSession-Id: b\u{1b}[31m\u{202e}\\\t\u{9b}";
        sandbox
            .session_command("new --id honest --title")
            .args([title, "--", "true"])
            .run()
            .ok();
        assert_eq!(sandbox.state("honest"), "pending");
        assert_eq!(sandbox.trailer("honest", "Id"), "honest");
        let written = sandbox.trailer("honest", "Title");
        let expected = r"a\n\nSession-State: terminated\nSession-Id: b\x1b[31m\u{202e}\\\t\u{9b}";
        assert_eq!(written, expected);
        assert_eq!(sandbox.show("honest")["title"], title);
        for line in ["list", "show honest", "log honest"] {
            let shown = sandbox.session(line).ok().stdout();
            assert!(
                !shown.contains(['\u{1b}', '\u{202e}', '\u{9b}']),
                "{line}: {shown}"
            );
        }
        sandbox.session_command("note honest -m").args([title]).run().ok();
        assert_eq!(sandbox.trailer("honest", "Note"), expected);
        assert_eq!(sandbox.state("honest"), "pending");
    }

    fn a_place_with_a_newline_in_it_is_told_on_one_line(sandbox: &Sandbox) {
        let place = sandbox.root().join("two\nlines");
        let command = sandbox.session_command("run -d --id here --worktree");
        command.args([place.to_str().unwrap(), "--", "sleep", "1000"]).run().ok();
        sandbox.session("suspend here").ok();
        let run = sandbox.session("resume here");
        run.ok().says(r"two\nlines'");
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        sandbox.session("terminate here").ok();
    }

    fn the_specification_is_json_without_an_id_or_a_value(sandbox: &Sandbox) {
        sandbox.new_session(
            "--id spec --title T --issue 3 --label k=v --timeout 30m --retries 2 --env SECRET=hush \
             -- make 'a b'",
        );
        let json: serde_json::Value =
            serde_json::from_str(&sandbox.git("show refs/sessions/spec:session.json")).unwrap();
        assert_eq!(json["command"], serde_json::json!(["make", "a b"]));
        assert_eq!(json["title"], "T");
        assert_eq!(json["environment"], serde_json::json!(["SECRET"]));
        assert_eq!(json["limits"]["timeout"], "30m");
        assert_eq!(json["limits"]["retries"], 2);
        assert_eq!(json["labels"]["k"], "v");
        assert_eq!(json["base"], sandbox.git("rev-parse HEAD"));
        assert_eq!(json.get("id"), None);
        assert!(!json.to_string().contains("hush"));
    }

    fn what_somebody_else_put_there_is_skipped_counted_and_left_alone(sandbox: &Sandbox) {
        sandbox.new_session("--id ours -- true");
        let blob = sandbox.git("hash-object -w README");
        sandbox.git("tag -a -m tag annotated");
        sandbox.git("update-ref refs/sessions/plain HEAD");
        sandbox.git("update-ref refs/sessions/nested/one HEAD");
        sandbox.git(&format!("update-ref refs/sessions/blob {blob}"));
        sandbox.git("update-ref refs/sessions/tag annotated");
        sandbox.git("update-ref refs/sessions/UPPER HEAD");
        sandbox.git("symbolic-ref refs/sessions/symbolic refs/sessions/ours");
        // A log of ours under another name.
        sandbox.git("update-ref refs/sessions/another refs/sessions/ours");
        let before = sandbox.git("for-each-ref");
        let run = sandbox.session("list --json");
        let json = run.ok().json();
        let ids: Vec<&serde_json::Value> = json["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|session| &session["id"])
            .collect();
        assert_eq!(ids, ["ours"], "{run}");
        assert_eq!(json["skipped"], 7, "{run}");
        // Many are not a line each.
        sandbox.git("update-ref refs/sessions/plain-2 HEAD");
        sandbox.git("update-ref refs/sessions/nested/two HEAD");
        let run = sandbox.session("list");
        run.ok().says("skipped 2 refs like 'refs/sessions/plain': it is not a session of ours: the commit has no");
        run.says("skipped 3 refs like 'refs/sessions/UPPER': it is not a session of ours: it is no session's id");
        sandbox.git("update-ref -d refs/sessions/plain-2");
        sandbox.git("update-ref -d refs/sessions/nested/two");
        for id in ["plain", "blob", "tag", "nested/one", "another"] {
            for verb in ["show", "start", "terminate", "note -m x"] {
                let run = sandbox.session(&format!("{verb} {id}"));
                assert_ne!(run.code, 0, "{run}");
            }
        }
        sandbox.session("new --id plain -- true").fails(1);
        // It is there, though git lists none that points nowhere.
        sandbox.git("symbolic-ref refs/sessions/dangling refs/heads/gone");
        let run = sandbox.session("new --id dangling -- true");
        run.fails(1).says("'refs/sessions/dangling' is not a session of ours");
        assert_eq!(sandbox.git("symbolic-ref refs/sessions/dangling"), "refs/heads/gone");
        sandbox.git("symbolic-ref --delete refs/sessions/dangling");
        assert_eq!(sandbox.git("for-each-ref"), before);
    }

    fn one_broken_log_hides_no_other(sandbox: &Sandbox) {
        sandbox.new_session("--id good -- true");
        let message = created("torn", 1, "").replace("Session-Seq: 1", "Session-Seq: many");
        write_event(sandbox, "torn", "{}", &message);
        let json = sandbox.session("list --json").ok().json();
        assert_eq!(json["sessions"][0]["id"], "good");
        assert_eq!(json["skipped"], 1);
        sandbox.session("note torn -m x").fails(1);
    }

    fn what_this_version_does_not_know_survives_it(sandbox: &Sandbox) {
        let owned = sandbox.new_session("--id mine -- true");
        let owner = sandbox.trailer(&owned, "Owner");
        let json = "{\"command\":[\"true\"],\"colour\":{\"deep\":[1,2]}}\n";
        let message =
            created("odd", 1, "Session-Colour: red\nSession-Taste: \\x73weet\n").replace("somebody", &owner);
        let before = write_event(sandbox, "odd", json, &message);
        sandbox.session("note odd -m hello").ok();
        assert_eq!(sandbox.trailer("odd", "Colour"), "red");
        assert_eq!(sandbox.trailer("odd", "Taste"), "\\x73weet");
        assert_eq!(
            sandbox.git("show refs/sessions/odd:session.json"),
            json.trim_end()
        );
        assert_eq!(sandbox.git("rev-parse refs/sessions/odd^"), before);
    }

    fn a_newer_format_is_shown_and_never_written_to(sandbox: &Sandbox) {
        let owned = sandbox.new_session("--id mine -- true");
        let owner = sandbox.trailer(&owned, "Owner");
        let message = created("future", 2, "Session-Title: From tomorrow\n").replace("somebody", &owner);
        let before = write_event(sandbox, "future", "{\"command\":[\"true\"]}", &message);
        // With a step and an outcome that nobody knows today.
        let root = created("unheard-of", 2, "Session-Title: Unheard of\n").replace("somebody", &owner);
        write_event(sandbox, "unheard-of", "{\"command\":[\"true\"]}", &root);
        let step = root
            .replace("Event: create", "Event: dream\nSession-From: asleep")
            .replace("Seq: 1", "Seq: 2");
        let message = sandbox.root().join("tmp/step");
        fs::write(&message, format!("{step}Session-Outcome: evaporated\n")).unwrap();
        let tip = "refs/sessions/unheard-of";
        let odd = sandbox.git(&format!(
            "commit-tree '{tip}^{{tree}}' -p {tip} -F \"{}\"",
            message.display()
        ));
        sandbox.git(&format!("update-ref {tip} {odd}"));
        sandbox.session("list").ok().prints("From tomorrow").prints("Unheard of");
        for (id, before) in [("future", before), ("unheard-of", odd)] {
            for verb in ["show", "show --json", "log --json"] {
                sandbox.session(&format!("{verb} {id}")).ok().prints(id);
            }
            for verb in ["start", "terminate", "note -m x"] {
                sandbox.session(&format!("{verb} {id}")).fails(1).says("format 2");
            }
            assert_eq!(sandbox.tip(id), before);
        }
        sandbox.session("log unheard-of").ok().prints("unknown");
        // What claims to be of a format that is known has to make sense.
        let nonsense = step.replace("Format: 2", "Format: 1").replace("unheard-of", "nonsense");
        write_event(sandbox, "nonsense", "{\"command\":[\"true\"]}", &nonsense);
        sandbox.session("list").ok().says("nonsense");
    }

    fn a_session_owned_elsewhere_is_shown_and_not_touched(sandbox: &Sandbox) {
        let before = write_event(
            sandbox,
            "theirs",
            "{\"command\":[\"true\"]}",
            &created("theirs", 1, ""),
        );
        assert_eq!(sandbox.show("theirs")["here"], false);
        for verb in ["start", "terminate", "note -m x"] {
            sandbox.session(&format!("{verb} theirs")).fails(1).says("afar");
        }
        assert_eq!(sandbox.tip("theirs"), before);
    }

    fn a_log_that_does_not_begin_with_its_creation_is_not_shown_as_ours(sandbox: &Sandbox) {
        sandbox.new_session("--id cut -- true");
        sandbox.session("note cut -m second").ok();
        let cut = "git log -1 --format=%B refs/sessions/cut | git commit-tree 'refs/sessions/cut^{tree}'";
        sandbox
            .command("sh")
            .args(["-c", &format!("git update-ref refs/sessions/cut $({cut})")])
            .within(&sandbox.repo())
            .run()
            .ok();
        sandbox.session("log cut").fails(1).says("begin with its creation");
    }

    fn the_users_identity_and_no_encoding_header_are_written(sandbox: &Sandbox) {
        sandbox.config("i18n.commitEncoding", "ISO-8859-1");
        sandbox.new_session("--id named --title 'Grüße' -- true");
        let raw = sandbox.git("cat-file commit refs/sessions/named");
        assert!(raw.contains("\nauthor A Developer <dev@example.com> "), "{raw}");
        assert!(
            raw.contains("\ncommitter A Developer <dev@example.com> "),
            "{raw}"
        );
        assert!(!raw.contains("\nencoding "), "{raw}");
        assert!(raw.contains("Session-Title: Grüße"), "{raw}");
        let author = sandbox
            .session_command("new --id changed -- true")
            .env("GIT_AUTHOR_NAME", "Someone Else")
            .run();
        author.ok();
        assert!(
            sandbox
                .git("log -1 --format=%an refs/sessions/changed")
                .contains("Someone Else")
        );
        // Not every name is UTF-8; whose it is has to be told all the same.
        let old = sandbox.session_command("new --id old -- true");
        old.env("GIT_AUTHOR_NAME", OsStr::from_bytes(b"J\xf6rg")).run().ok();
        let raw = sandbox.command("git").args(["cat-file", "commit", "refs/sessions/old"]).run();
        let author = b"\nauthor J\xf6rg <dev@example.com> ";
        assert!(raw.bytes.windows(author.len()).any(|part| part == author), "{raw}");
    }

    fn without_an_identity_one_is_made_up(sandbox: &Sandbox) {
        fs::write(sandbox.root().join("gitconfig"), "").unwrap();
        sandbox.session("run --id ci -- true").ok();
        let who = sandbox.git("log -1 --format='%an <%ae> %cn <%ce>' refs/sessions/ci");
        assert_eq!(
            who,
            "git-session <session@localhost> git-session <session@localhost>"
        );
    }
}

on_one_format! {
    fn an_id_is_made_of_the_title_the_branch_or_the_command(sandbox: &Sandbox) {
        for (options, start) in [
            ("--title 'Fix: the Login!' -- true", "fix-the-login-"),
            ("--branch 'Topic/One' -- true", "topic-one-"),
            ("-- make test", "make-"),
        ] {
            let id = sandbox.new_session(options);
            assert!(id.starts_with(start), "{id}");
            let tail = &id[id.len() - 6..];
            assert!(
                tail.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{id}"
            );
        }
    }

    fn an_id_that_is_taken_is_refused(sandbox: &Sandbox) {
        sandbox.new_session("--id one -- true");
        let before = sandbox.tip("one");
        sandbox.session("new --id one -- false").fails(1).says("one");
        assert_eq!(sandbox.tip("one"), before);
    }
}

#[test]
fn the_formats_are_what_they_say() {
    let sandbox = Sandbox::new(Format::PLAIN);
    assert_eq!(sandbox.git("rev-parse --show-object-format"), "sha1");
    assert!(sandbox.file(".git/refs/heads/main").exists());
}
