//! What is shown, in every form, and that looking changes nothing.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use git_session::git::Repo;
use git_session::session::Kind;
use serde_json::json;

use crate::sandbox::{Format, Run, Sandbox, traces};
use crate::{logs, on_every_format, on_one_format};

/// A session with one commit, one change and one new file, still running.
fn busy(sandbox: &crate::sandbox::Sandbox, id: &str) -> crate::sandbox::Held {
    let held = sandbox.hold(&format!("--id {id} --title 'Be busy' --issue 42"));
    sandbox.commit_file(&sandbox.worktree(id), "new.txt", "new\n");
    sandbox.order(
        &held,
        "echo changed >> code.txt; echo fresh > fresh.txt; echo some output",
    );
    held
}

on_every_format! {
    fn the_last_one_is_the_one_that_was_written_last(sandbox: &Sandbox) {
        // All in a second or two: the times that events have tell no order.
        for round in 0..4 {
            let (first, second) = (format!("y{round}"), format!("a{round}"));
            sandbox.session(&format!("new --id {first} -- true")).ok();
            sandbox.session(&format!("terminate -q {first}")).ok();
            sandbox.session("show -").prints(&format!("session {first}\n"));
            sandbox.session(&format!("new --id {second} -- true")).ok();
            sandbox.session("show -").prints(&format!("session {second}\n"));
        }
    }

    fn the_beginning_of_an_id_is_enough_wherever_it_ends(sandbox: &Sandbox) {
        for id in ["fix-login-abc", "fix-logout-abc"] {
            sandbox.session(&format!("new --id {id} -- true")).ok();
        }
        for beginning in ["fix-login", "fix-login-", "fix-login-a"] {
            sandbox.session(&format!("show {beginning}")).ok().prints("session fix-login-abc\n");
        }
        for beginning in ["fix-log", "fix-", "f"] {
            let run = sandbox.session(&format!("show {beginning}"));
            run.fails(1).says("ambiguous").says("fix-login-abc").says("fix-logout-abc");
        }
        // As of a variable that isn't set, wherever that is.
        sandbox.session("start -q fix-login-").ok();
        let here = sandbox.worktree("fix-login-abc");
        for verb in ["show", "terminate"] {
            sandbox.session_command(verb).args([""]).within(&here).run().fails(1).says("no session ''");
        }
    }

    fn readers_leave_the_repository_byte_for_byte_as_it_was(sandbox: &Sandbox) {
        let held = busy(sandbox, "busy");
        sandbox.session("new --id pending -- true").ok();
        sandbox.session("run --id failed -- sh -c 'exit 1'").exits(1);
        let suspended = sandbox.hold("--id suspended");
        sandbox.session("suspend suspended").ok();
        sandbox.kill_supervisor(&suspended);
        let crashed = sandbox.hold("--id crashed");
        sandbox.kill_supervisor(&crashed);
        sandbox.kill_worker(&crashed);
        let before = traces::of(sandbox.root());
        for line in [
            "list",
            "list --all",
            "list --all --json",
            "list --porcelain -z",
            "list --format %(id)",
            "list --state running",
            "show busy",
            "show --json busy",
            "show failed",
            "show crashed",
            "log busy",
            "log --json busy",
            "log suspended",
            "output busy",
            "output --tail 1 failed",
            "diff busy",
            "diff --stat busy",
            "diff suspended",
            "path busy",
            "path --json busy",
            "",
        ] {
            for _ in 0..3 {
                sandbox.session(line).ok();
            }
        }
        let after = traces::of(sandbox.root());
        let changed: Vec<_> = after
            .iter()
            .filter(|(path, trace)| before.get(*path) != Some(trace))
            .collect();
        assert!(changed.is_empty(), "{changed:#?}");
        assert_eq!(after.len(), before.len());
        for id in [&held.id, "pending", "suspended", "crashed"] {
            sandbox.end(id);
        }
    }

    fn a_damaged_record_of_one_session_hides_no_other(sandbox: &Sandbox) {
        sandbox.run_script("--id apart --worktree ../elsewhere", "true").ok();
        let held = sandbox.hold("--id damaged");
        for name in ["run.json", "worktree.json"] {
            let record = sandbox.run_dir("damaged").join(name);
            let good = fs::read(&record).unwrap();
            fs::write(&record, "{ no record").unwrap();
            let table = sandbox.session("list --all").ok().stdout();
            assert!(table.contains("damaged") && table.contains("apart"), "{table}");
            let run = sandbox.session("list --all --json");
            run.ok().says("warning: damaged: ").says(&format!("{name}' can't be read"));
            let json = run.json();
            let sessions = json["sessions"].as_array().unwrap();
            let of = |id: &str| sessions.iter().find(|session| session["id"] == id).unwrap();
            assert_eq!(of("apart")["state"], "terminated");
            if name == "run.json" {
                assert_eq!(of("damaged")["stale"], serde_json::Value::Null);
            }
            sandbox.session("show ../elsewhere").ok().prints("session apart\n");
            let run = sandbox.session("doctor");
            run.exits(1).prints("problem  session damaged: ").prints(name);
            fs::write(&record, good).unwrap();
        }
        assert!(!sandbox.session("list").ok().stderr.contains("warning"));
        sandbox.let_end(&held, 0);
    }

    fn a_list_shows_what_has_not_ended_and_all_when_asked(sandbox: &Sandbox) {
        let held = busy(sandbox, "busy");
        sandbox.session("new --id young --title Later -- true").ok();
        sandbox.session("run --id done -- true").ok();
        let table = sandbox.session("").ok().stdout();
        let json = sandbox.session("--json").ok().stdout();
        assert_eq!(json, sandbox.session("list --json").ok().stdout());
        assert!(
            table.contains("busy") && table.contains("running") && table.contains("Be busy"),
            "{table}"
        );
        assert!(
            table.contains("young") && table.contains("pending") && !table.contains("done"),
            "{table}"
        );
        assert!(!table.contains('\u{1b}'), "{table}");
        let all = sandbox.session("list --all").ok().stdout();
        assert!(all.contains("done") && all.contains("exit:0"), "{all}");
        let ids = |line: &str| -> Vec<String> {
            let json = sandbox.session(line).ok().json();
            assert_eq!(json["schema"], 1);
            assert_eq!(json["skipped"], 0);
            let sessions = json["sessions"].as_array().unwrap();
            let mut ids: Vec<String> = sessions
                .iter()
                .map(|s| s["id"].as_str().unwrap().to_owned())
                .collect();
            ids.sort();
            ids
        };
        assert_eq!(ids("list --json"), ["busy", "young"]);
        assert_eq!(ids("list --json --all"), ["busy", "done", "young"]);
        assert_eq!(ids("list --json --state running"), ["busy"]);
        assert_eq!(ids("list --json --state terminated"), ["done"]);
        assert_eq!(ids("list --json --issue 42"), ["busy"]);
        assert_eq!(ids("list --json --worker nobody"), [""; 0]);
        sandbox.end(&held.id);
    }

    fn columns_stand_below_each_other_whatever_a_title_is_written_in(sandbox: &Sandbox) {
        sandbox.session("new --id one --title sixsix --branch topic/1 -- true").ok();
        sandbox.session("new --id two --title 日本語 --branch topic/2 -- true").ok();
        let table = sandbox.session("list").ok().stdout();
        let before = |branch: &str| {
            let line = table.lines().find(|line| line.contains(branch)).unwrap();
            line[..line.find(branch).unwrap()].chars().count()
        };
        // Each of the three characters takes two columns.
        assert_eq!(before("topic/1"), before("topic/2") + 3, "{table}");
    }

    fn a_session_in_json_says_what_the_contract_says(sandbox: &Sandbox) {
        let held = busy(sandbox, "busy");
        let json = sandbox.show("busy");
        assert_eq!(json["id"], "busy");
        assert_eq!(json["state"], "running");
        assert_eq!(json["here"], true);
        assert_eq!(json["stale"], false);
        assert_eq!(json["seq"], 2);
        assert_eq!(json["epoch"], 1);
        assert_eq!(json["owner"], sandbox.trailer("busy", "Owner"));
        assert_eq!(json["host"], sandbox.trailer("busy", "Host"));
        assert_eq!(json["created"], sandbox.trailer("busy", "Created"));
        assert!(json["updated"].as_str().unwrap().ends_with('Z'));
        assert_eq!(json["branch"], "session/busy");
        assert_eq!(json["base"], sandbox.git("rev-parse main"));
        assert_eq!(json["title"], "Be busy");
        assert_eq!(json["issue"], "42");
        assert_eq!(json["worktree"], sandbox.worktree("busy").to_str().unwrap());
        assert_eq!(json["command"][0], "sh");
        for absent in ["outcome", "reason", "parent", "home"] {
            assert_eq!(json.get(absent), None, "{absent}");
        }
        sandbox.end(&held.id);
        let json = sandbox.show("busy");
        assert_eq!(json["state"], "terminated");
        assert_eq!(json["outcome"], "stopped");
        assert_eq!(json.get("stale"), None);
        assert_eq!(json["work"], sandbox.trailer("busy", "Work"));
        assert_eq!(json["head"], sandbox.git("rev-parse session/busy"));
    }

    fn a_log_tells_who_when_and_why(sandbox: &Sandbox) {
        let held = sandbox.hold("--id told");
        sandbox.session("note told -m 'half way'").ok();
        sandbox.session("suspend told --reason lunch").ok();
        let json = sandbox.session("log --json told").ok().json();
        assert_eq!((&json["schema"], &json["id"]), (&json!(1), &json!("told")));
        let events = json["events"].as_array().unwrap();
        let column =
            |key: &str| -> Vec<&serde_json::Value> { events.iter().map(|event| &event[key]).collect() };
        assert_eq!(column("event"), ["create", "start", "note", "suspend"]);
        assert_eq!(column("state"), ["pending", "running", "running", "suspended"]);
        assert_eq!(column("seq"), [1, 2, 3, 4]);
        assert_eq!(events[2]["note"], "half way");
        assert_eq!(events[3]["reason"], "lunch");
        assert_eq!(events[3]["commit"], sandbox.tip("told"));
        assert!(events[0]["by"].as_str().unwrap().contains("A Developer"));
        let text = sandbox.session("log told").ok().stdout();
        for word in ["create", "suspend", "half way", "lunch", "A Developer"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        sandbox.end(&held.id);
    }

    fn a_diff_goes_from_base_to_work_with_what_is_not_committed(sandbox: &Sandbox) {
        let held = busy(sandbox, "busy");
        let while_running = sandbox.session("diff busy").ok().stdout();
        for line in ["+new", "+changed", "+fresh"] {
            assert!(while_running.contains(line), "{line}: {while_running}");
        }
        sandbox.session("suspend busy").ok();
        let suspended = sandbox.session("diff busy").ok().stdout();
        assert_eq!(suspended, while_running);
        fs::remove_dir_all(sandbox.worktree("busy")).unwrap();
        assert_eq!(sandbox.session("diff busy").ok().stdout(), while_running);
        let stat = sandbox.session("diff --stat busy").ok().stdout();
        assert!(
            stat.contains("fresh.txt") && stat.contains("3 files changed"),
            "{stat}"
        );
        sandbox.end(&held.id);
    }

    fn a_command_is_shown_as_it_would_be_typed(sandbox: &Sandbox) {
        let words: [&[u8]; 11] = [
            b"printf",
            b"%s\\n",
            b"it's",
            b"",
            b"a b",
            b"two\nlines'",
            b"\x1b[31m",
            "日本\u{202e}\u{9b}".as_bytes(),
            b"\xff9",
            b"$HOME `x` !",
            b"--",
        ];
        let run = sandbox.session_command("new --id typed --").args(words.map(OsStr::from_bytes)).run();
        run.ok();
        let shown = sandbox.session("show typed").ok().stdout();
        let line = shown.lines().find_map(|line| line.strip_prefix("  command")).unwrap();
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
        let script = format!("for word in {line}; do printf '%s\\0' \"$word\"; done");
        let bash = sandbox.command("bash").args(["-c", &script]).env("LC_ALL", "C.UTF-8").run();
        let expected = words.map(|word| [word, b"\0"].concat()).concat();
        assert_eq!(bash.ok().bytes, expected, "{line}");
    }

    fn a_diff_can_be_applied_with_all_that_is_in_it(sandbox: &Sandbox) {
        let script = "printf 'a\\0b' > picture; echo text > text; ln -s text link; rm code.txt; chmod +x README";
        sandbox.run_script("--id drawn", script).ok();
        let patch = sandbox.session("diff --binary drawn").ok().bytes.clone();
        let file = sandbox.root().join("tmp/patch");
        fs::write(&file, patch).unwrap();
        sandbox.command("git").args(["apply", "--index"]).args([&file]).run().ok();
        let tree = sandbox.git("write-tree");
        assert_eq!(tree, sandbox.git(&format!("rev-parse {}^{{tree}}", sandbox.snapshot("drawn"))));
        // A person has nothing of the bytes.
        let shown = sandbox.session("diff drawn").ok().stdout();
        assert!(shown.contains("Binary files /dev/null and b/picture differ"), "{shown}");
        sandbox.session("diff --binary --stat drawn").fails(129);
    }

    fn a_failed_session_shows_its_autopsy(sandbox: &Sandbox) {
        let script = "echo first; echo x > left.txt; git add left.txt; git commit -qm 'the last commit'; \
                      echo half >> code.txt; printf '\\ta\\\\b\\033[1m\\r\\n'; echo 'the last words' >&2; exit 7";
        sandbox.run_script("--id dead", script).exits(7);
        let text = sandbox.session("show dead").ok().stdout();
        // What a compiler says has tabs and paths in it; what steers a terminal is told.
        for word in ["exit:7", "the last words", "code.txt", "the last commit", "\n  \ta\\b\\x1b[1m\n"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}

on_one_format! {
    fn nobody_has_to_read_to_the_end(sandbox: &Sandbox) {
        sandbox.run_script("--id long", "seq 100000 | tee numbers").ok();
        for verb in ["diff long", "output long", "log long", "list --all --json"] {
            let script = format!("{{ \"$0\" {verb}; echo $? >../code; }} | head -c 1 >/dev/null");
            let run = sandbox.command("sh").args(["-c", &script, env!("CARGO_BIN_EXE_git-session")]).within(&sandbox.repo()).run();
            assert_eq!(run.ok().stderr, "", "{verb}");
            assert_eq!(fs::read_to_string(sandbox.root().join("code")).unwrap(), "0\n", "{verb}");
        }
    }

    fn a_reference_that_nobody_can_read_hides_no_other(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        sandbox.new_session("--id good -- true");
        let odd = sandbox.file(".git/refs/sessions/odd");
        std::os::unix::fs::symlink("odd", &odd).unwrap();
        sandbox.session("list").ok().prints("good").says("skipped: ").says("'refs/sessions/odd'");
        assert_eq!(sandbox.session("list --json").ok().json()["skipped"], 1);
        sandbox.session("note good -m more").ok();
        sandbox.session("show odd").exits(128);
    }

    fn output_is_shown_whole_or_its_end_and_can_be_followed(sandbox: &Sandbox) {
        let held = sandbox.hold("--id loud");
        sandbox.order(&held, "echo one; echo two; printf three");
        assert_eq!(sandbox.session("output loud").ok().bytes, b"one\ntwo\nthree");
        assert_eq!(sandbox.session("logs loud").ok().bytes, b"one\ntwo\nthree");
        assert_eq!(sandbox.session("output --tail 2 loud").ok().bytes, b"two\nthree");
        let mut following = sandbox.session_command("output -f loud").spawn();
        let mut output = following.child.stdout.take().unwrap();
        let mut seen = [0; 13];
        output.read_exact(&mut seen).unwrap();
        sandbox.order(&held, "echo; echo four");
        let mut more = [0; 6];
        output.read_exact(&mut more).unwrap();
        assert_eq!(&more, b"\nfour\n");
        sandbox.let_end(&held, 0);
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
        following.end().ok();
    }

    fn nothing_is_invented_for_an_id_that_nobody_has(sandbox: &Sandbox) {
        sandbox.session("run --id real -- echo hi").ok();
        for line in [
            "show",
            "log",
            "output",
            "output -f",
            "diff",
            "path",
            "start",
            "suspend",
            "resume",
            "terminate",
            "wait",
            "retry",
            "checkpoint",
            "restore",
            "recover",
            "note -m x",
        ] {
            let code = if line == "wait" { 125 } else { 1 };
            let run = sandbox.session(&format!("{line} nobody"));
            run.fails(code).says("nobody");
            if line == "output -f" {
                continue;
            }
            let json = sandbox
                .session(&format!("{line} --json nobody"))
                .exits(code)
                .json();
            assert_eq!(json["schema"], 1, "{line}");
            assert_eq!(json["error"]["code"], "not-found", "{line}");
        }
        sandbox.session("exec nobody -- echo hi").fails(125).says("nobody");
    }

    fn a_session_is_named_in_many_ways(sandbox: &Sandbox) {
        let held = sandbox.hold("--id alpha-one");
        sandbox.session("new --id alpha-two -- true").ok();
        sandbox.session("new --id beta -- true").ok();
        let found = |name: &str| sandbox.show(name)["id"].as_str().unwrap().to_owned();
        assert_eq!(found("alpha-one"), "alpha-one");
        assert_eq!(found("alpha-o"), "alpha-one");
        assert_eq!(found("b"), "beta");
        assert_eq!(found("session/alpha-one"), "alpha-one");
        let tree = sandbox.worktree("alpha-one");
        assert_eq!(found(&shell_words::join([tree.to_str().unwrap()])), "alpha-one");
        let here = sandbox.session_command("show --json @").within(&tree).run();
        assert_eq!(here.ok().json()["session"]["id"], "alpha-one");
        sandbox.session("show @").fails(1);
        sandbox
            .session("show alpha")
            .fails(1)
            .says("alpha-one")
            .says("alpha-two");
        sandbox.session("terminate --state pending").ok();
        assert_eq!(sandbox.state("beta"), "terminated");
        assert_eq!(sandbox.state("alpha-two"), "terminated");
        assert_eq!(sandbox.state("alpha-one"), "running");
        sandbox.session("terminate alpha-one").ok();
        let _ = held;
    }

    fn scripts_get_what_they_ask_for(sandbox: &Sandbox) {
        sandbox
            .session("new -q --id one --title 'a b' --issue 3 -- true")
            .ok();
        let line = "list --format='%(id) %(state) %(title)|%(issue)'";
        assert_eq!(sandbox.session(line).ok().text(), "one pending a b|3");
        sandbox
            .session("list --format='%(nonsense)'")
            .exits(129)
            .says("nonsense");
        let porcelain = sandbox.session("list --porcelain -z").ok().stdout();
        assert!(
            porcelain.contains('\0') && porcelain.contains("one"),
            "{porcelain:?}"
        );
        let events = sandbox.session("log --format='%(seq) %(event)' one").ok().text();
        assert_eq!(events, "1 create");
        assert!(
            sandbox
                .session("log --porcelain -z one")
                .ok()
                .stdout()
                .contains('\0')
        );
    }

    fn scripts_get_every_argument_by_itself_and_every_byte(sandbox: &Sandbox) {
        let root = OsStr::from_bytes(b"odd \xffroot");
        let place = sandbox.root().join(root).join("odd");
        sandbox
            .session_command("run --id odd --label a=1,2 --label b=3 --worktree")
            .args([place.as_os_str(), "--".as_ref(), "true".as_ref(), "a,b".as_ref(), "".as_ref()])
            .args([OsStr::from_bytes(b"\xffc\n")])
            .run()
            .ok();
        let fields = |name: &str, end: u8, run: &Run| -> Vec<Vec<u8>> {
            let lines = run.bytes.split(move |byte| *byte == end);
            let name = format!("{name} ");
            lines.filter_map(|line| line.strip_prefix(name.as_bytes()).map(<[u8]>::to_vec)).collect()
        };
        let run = sandbox.session("list --all --porcelain -z");
        assert_eq!(fields("command", 0, &run), [&b"true"[..], b"a,b", b"", b"\xffc\n"]);
        assert_eq!(fields("worktree", 0, &run), [place.as_os_str().as_bytes()]);
        assert_eq!(fields("labels", 0, &run), [&b"a=1,2"[..], b"b=3"]);
        let run = sandbox.session("list --all --porcelain");
        assert_eq!(fields("command", b'\n', &run), [&b"true"[..], b"a,b", b"", b"\\xffc\\n"]);
        let escaped = format!("{}/odd \\xffroot/odd", sandbox.root().display());
        assert_eq!(fields("worktree", b'\n', &run), [escaped.as_bytes()]);
        assert_eq!(sandbox.session("list --all --format='%(worktree)'").ok().text(), escaped);
    }

    fn a_path_can_be_changed_to_and_a_command_run_there(sandbox: &Sandbox) {
        let held = sandbox.hold("--id here");
        let tree = sandbox.worktree("here");
        assert_eq!(sandbox.session("path here").ok().text(), tree.to_str().unwrap());
        let run = sandbox.session("exec here -- sh -c 'pwd -P; echo \"$GIT_SESSION_ID\"; exit 6'");
        assert_eq!(run.exits(6).text(), format!("{}\nhere", tree.display()));
        sandbox.let_end(&held, 0);
    }

    fn git_finds_it_as_a_command_of_its_own(sandbox: &Sandbox) {
        sandbox.session("new --id one -- true").ok();
        let bin = std::path::Path::new(env!("CARGO_BIN_EXE_git-session"))
            .parent()
            .unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let run = sandbox
            .command("git")
            .args(["-C", sandbox.repo().to_str().unwrap(), "session", "list"])
            .within(sandbox.root())
            .env("PATH", path)
            .run();
        run.ok().prints("one");
    }

    fn a_reader_that_goes_away_is_no_error(sandbox: &Sandbox) {
        sandbox
            .session("run --id loud -- sh -c 'yes | head -n 100000'")
            .ok();
        let mut running = sandbox.session_command("output loud").spawn();
        let mut output = running.child.stdout.take().unwrap();
        output.read_exact(&mut [0; 2]).unwrap();
        drop(output);
        let run = running.end();
        assert_eq!(run.stderr, "", "{run}");
        assert!([0, 141].contains(&run.code), "{run}");
    }

    fn a_state_is_no_younger_for_what_only_adds_to_it(sandbox: &Sandbox) {
        let repo = Repo::open(&sandbox.repo()).unwrap();
        let session = logs::create(&repo, &logs::id("one"), "first");
        // Events of the log that another program makes count from 2027-01-15 08:00:00Z.
        let run = sandbox.session("show one");
        run.ok().prints("  since     2027-01-15 08:00:00Z (");
        assert!(!run.stdout().contains("updated"), "{run}");
        let noted = logs::step(&repo, &session, Kind::Note, 60, "second").unwrap();
        let homed = logs::step(&repo, &noted, Kind::Home, 120, "third").unwrap();
        sandbox.git(&format!("update-ref refs/sessions/one {}", homed.tip));
        let run = sandbox.session("show one");
        run.ok().prints("  since     2027-01-15 08:00:00Z (");
        run.prints("  updated   2027-01-15 08:02:00Z (");
        let started = logs::step(&repo, &homed, Kind::Start, 180, "fourth").unwrap();
        let again = logs::step(&repo, &started, Kind::Restart, 240, "fifth").unwrap();
        sandbox.git(&format!("update-ref refs/sessions/one {}", again.tip));
        let run = sandbox.session("show one");
        run.ok().prints("  since     2027-01-15 08:03:00Z (");
        run.prints("  updated   2027-01-15 08:04:00Z (");
        let table = sandbox.session("list").ok().stdout();
        assert!(table.contains(" UPDATED ") && !table.contains("AGE"), "{table}");
    }

    fn every_verb_speaks_json(sandbox: &Sandbox) {
        let json = |line: &str| {
            let json = sandbox.session(line).ok().json();
            assert_eq!(json["schema"], 1, "{line}: {json}");
            json
        };
        assert_eq!(json("new --json --id one -- sleep 1000")["session"]["id"], "one");
        assert_eq!(json("start --json one")["session"]["state"], "running");
        json("checkpoint --json one");
        json("suspend --json one");
        json("resume --json one");
        json("note --json one -m x");
        json("path --json one");
        json("diff --json one");
        json("output --json one");
        json("terminate --json one");
        json("retry --json one");
        json("terminate --json --state running");
        json("recover --json --all");
        json("prune --json -n");
        json("restore --json one");
    }
}

#[test]
fn what_cannot_be_written_is_not_called_written() {
    let sandbox = Sandbox::new(Format::PLAIN);
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let full = |line: &str| {
        let binary = env!("CARGO_BIN_EXE_git-session");
        let command = sandbox
            .command("sh")
            .args(["-c", "exec \"$@\" > /dev/full", "sh", binary]);
        command.args(shell_words::split(line).unwrap()).run()
    };
    let run = full("run --id told -- sh -c 'echo told; exit 3'");
    run.exits(3)
        .says("warning: cannot write to stdout: No space left on device\n");
    run.says("hint: 'git session output told' shows all that it wrote");
    for line in [
        "output told",
        "output -f told",
        "output -n 1 told",
        "list --all",
        "show --json told",
    ] {
        let run = full(line);
        run.fails(128);
        assert_eq!(
            run.stderr,
            "error: cannot write to stdout: No space left on device\n"
        );
    }
    sandbox
        .session("run -q --id kept --record-output -- echo kept")
        .ok();
    fs::remove_file(sandbox.run_dir("kept").join("output.log")).unwrap();
    full("output kept").fails(128);
    assert_eq!(sandbox.session("output kept").ok().text(), "kept");
}

#[test]
fn colours_are_for_terminals_and_who_wants_them() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.new_session("--id plain -- true");
    let shown = |setting: &str, variable: (&str, &str)| {
        let command = sandbox.session_command("list").env("GIT_CONFIG_COUNT", "1");
        let command = command
            .env("GIT_CONFIG_KEY_0", "color.ui")
            .env("GIT_CONFIG_VALUE_0", setting);
        command.env("TERM", "xterm").env(variable.0, variable.1).shown()
    };
    for setting in ["auto", "true", "always"] {
        assert!(shown(setting, ("NO_COLOR", "")).contains('\x1b'), "{setting}");
        assert!(!shown(setting, ("NO_COLOR", "1")).contains('\x1b'), "{setting}");
        assert!(!shown(setting, ("TERM", "dumb")).contains('\x1b'), "{setting}");
    }
    for setting in ["false", "never", "off"] {
        assert!(!shown(setting, ("NO_COLOR", "")).contains('\x1b'), "{setting}");
    }
    assert!(!sandbox.session("list").ok().stdout().contains('\x1b'));
}

#[test]
fn a_table_is_as_wide_as_the_program_that_shows_it_says() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.new_session(&format!("--id wide --title '{}' -- true", "x".repeat(200)));
    let widest = |columns: &str| {
        let table = sandbox
            .session_command("list")
            .env("COLUMNS", columns)
            .run()
            .ok()
            .stdout();
        table.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert_eq!(widest("60"), 60);
    for none in ["", "0", "wide"] {
        assert!(widest(none) > 200, "{none}");
    }
    let run = sandbox
        .session_command("list --porcelain")
        .env("COLUMNS", "60")
        .run();
    run.prints(&"x".repeat(200));
}
