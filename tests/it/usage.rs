//! What is said to somebody whose command line can't be read.

use crate::on_one_format;
use crate::sandbox::Sandbox;

/// What is said of a command line: two lines, the error and the hint.
fn said(sandbox: &Sandbox, line: &str) -> (String, String) {
    told(sandbox, line, 129)
}

/// The same of what isn't there.
fn told(sandbox: &Sandbox, line: &str, code: i32) -> (String, String) {
    let run = sandbox.session(line);
    run.exits(code);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let [error, hint] = lines[..] else { panic!("{run}") };
    let without = |line: &str, head: &str| line.strip_prefix(head).expect(line).to_owned();
    (without(error, "error: "), without(hint, "hint: "))
}

on_one_format! {
    fn a_command_without_its_dashes_is_shown_with_them(sandbox: &Sandbox) {
        for (typed, meant) in [
            ("run echo hi", "run -- echo hi"),
            ("run -t echo echo hi", "run -t echo -- echo hi"),
            ("new make -j4", "new -- make -j4"),
            ("exec x ls -l", "exec x -- ls -l"),
            ("note x hello world", "note x -m 'hello world'"),
        ] {
            let (_, hint) = said(sandbox, typed);
            assert!(hint.ends_with(&format!(": git session {meant}")), "{typed}: {hint}");
        }
    }

    fn a_note_without_a_session_is_not_told_to_have_no_text(sandbox: &Sandbox) {
        let (error, hint) = said(sandbox, "note -m text");
        assert_eq!(error, "missing: <SESSION>...");
        assert_eq!(hint, "'git session note -h' shows what it takes");
    }

    fn where_to_go_is_told_to_git(sandbox: &Sandbox) {
        for typed in ["-C /tmp list", "list -C /tmp", "show -C/tmp x"] {
            let (_, hint) = said(sandbox, typed);
            assert_eq!(hint, "where to go is git's own option: 'git -C DIR session'", "{typed}");
        }
    }

    fn a_slip_in_a_verb_is_told_by_the_verb_that_was_meant(sandbox: &Sandbox) {
        for (typed, verb, meant) in [
            ("runn -- true", "runn", "run"),
            ("runn --title x -- true", "runn", "run"),
            ("help runn", "runn", "run"),
            ("stp --kill fix", "stp", "stop"),
        ] {
            let (error, hint) = told(sandbox, typed, 1);
            assert_eq!(error, format!("no verb '{verb}'"), "{typed}");
            assert_eq!(hint, format!("did you mean '{meant}'?"), "{typed}");
        }
        let (error, hint) = told(sandbox, "spawn --fast -- true", 1);
        assert_eq!(error, "no verb 'spawn'");
        assert_eq!(hint, "'git session -h' shows the verbs");
    }

    fn a_word_that_is_neither_verb_nor_session_is_not_found(sandbox: &Sandbox) {
        for (typed, word, meant) in [
            ("lits", "lits", "did you mean 'list'?"),
            ("stp fix", "stp", "did you mean 'stop'?"),
            ("termniate x y", "termniate", "did you mean 'terminate'?"),
            ("lits --all", "lits", "did you mean 'list'?"),
            ("nothing", "nothing", "'git session -h' shows the verbs, 'git session list --all' the sessions"),
        ] {
            let (error, hint) = told(sandbox, typed, 1);
            assert_eq!(error, format!("no verb and no session '{word}'"), "{typed}");
            assert_eq!(hint, meant, "{typed}");
            let json = sandbox.session(&format!("{typed} --json")).exits(1).json();
            assert_eq!(json["error"]["code"], "not-found", "{typed}");
        }
        sandbox.session("new --id there -- true").ok();
        sandbox.session("there lits").fails(1).says("there is no session 'lits'");
        sandbox.session("list nothing").fails(1).says("there is no session 'nothing'");
    }

    fn what_means_several_is_told_with_what_tells_them_apart(sandbox: &Sandbox) {
        let long = "It is too long ".repeat(9);
        sandbox.session("new --id fix-a --title ended -- true").ok();
        sandbox.end("fix-a");
        sandbox.session_command("new --id fix-login --title").args([&long]).args(["--", "true"]).run().ok();
        sandbox.session("new --id fix-x -- true").ok();
        let run = sandbox.session("show fix");
        run.exits(1);
        let lines: Vec<&str> = run.stderr.lines().collect();
        let [error, head, first, second, third] = lines[..] else { panic!("{run}") };
        assert_eq!(error, "error: 'fix' is ambiguous: it may be 3 sessions");
        assert_eq!(head, "hint: the candidates are:");
        assert!(first.starts_with("hint:   fix-login  pending     It is too long It") && first.ends_with('…'), "{run}");
        assert!(first.chars().count() <= 80, "{run}");
        assert_eq!(second, "hint:   fix-x      pending");
        assert_eq!(third, "hint:   fix-a      terminated  ended");
        let json = sandbox.session("show --json fix").exits(1).json();
        assert_eq!(json["error"]["code"], "ambiguous");
        assert!(json["error"]["hint"].as_str().unwrap().contains("fix-x"), "{json}");

        for number in 0..9 {
            sandbox.session(&format!("new --id fix-{number} --branch shared -- true")).ok();
        }
        sandbox.session("show fix").exits(1).says("it may be 12 sessions\n").says("hint:   and 2 more\n");
        sandbox.session("show shared").exits(1).says("hint:   fix-0  pending\n").says("hint:   fix-8  pending\n");
    }

    fn a_session_that_is_called_almost_like_a_verb_is_listed(sandbox: &Sandbox) {
        sandbox.session("new --id runn -- true").ok();
        sandbox.session("runn").ok().prints("runn");
    }

    fn what_is_wrong_is_one_line_for_programs_too(sandbox: &Sandbox) {
        for line in ["new --nonsense -- true", "note x", "list --state odd", "show a b", "diff --staat"] {
            let (error, _) = said(sandbox, line);
            let json = sandbox.session(&line.replacen(' ', " --json ", 1)).exits(129).json();
            assert_eq!(json["error"]["message"], error.as_str(), "{line}");
        }
        let (error, _) = said(sandbox, "list --state odd");
        assert!(error.ends_with("pending, running, suspended, terminated"), "{error}");
        let (error, _) = said(sandbox, "run --timeout soon -- true");
        assert!(error.contains("seconds like 90"), "{error}");
        assert_eq!(said(sandbox, "diff --staat").1, "did you mean '--stat'?");
        let (error, _) = said(sandbox, "show x \u{1b}[1m");
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    fn a_text_may_begin_with_a_dash(sandbox: &Sandbox) {
        sandbox.session("new --id dashes --title -dash --issue -7 -- true").ok();
        assert_eq!(sandbox.trailer("dashes", "Title"), "-dash");
        sandbox.session("new --branch -x -- true").fails(129).says("'-x' is not a legal branch name");
        sandbox.session("new --base -x -- true").fails(1).says("-x");
        assert!(said(sandbox, "new --retries -1 -- true").0.contains("'-1' for '--retries <N>'"));
    }

    fn help_has_help(sandbox: &Sandbox) {
        let help = sandbox.session("help").ok().text();
        assert_eq!(sandbox.session("help -h").ok().text(), help);
        assert_eq!(sandbox.session("help --help").ok().text(), help);
    }

    fn a_line_for_a_shell_is_not_the_name_of_a_program(sandbox: &Sandbox) {
        sandbox.session("new --id made -- true").ok();
        sandbox.session("run --id there -- true").ok();
        for line in ["run --", "exec there --"] {
            let run = sandbox.session_command(line).args(["echo hi && ls"]).run();
            run.fails(127).says("sh -c 'echo hi && ls'");
        }
        let run = sandbox.session("exec there -- no-such-program");
        run.fails(127);
        assert!(run.stderr.starts_with("error: 'no-such-program' not found"), "{run}");
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
    }

    fn a_path_with_a_space_in_it_is_no_line_for_a_shell(sandbox: &Sandbox) {
        let script = "#!/bin/sh\nmkdir 'my tools'; printf '#!/bin/sh\\n' > tool; chmod +x tool";
        sandbox.run_script("--id there", script).ok();
        for path in ["/no/such tool", "./my tools/x", "./not there/x -v", "my tools/x"] {
            let run = sandbox.session_command("exec there --").args([path]).run();
            run.fails(127).says("not found");
            assert!(!run.stderr.contains("sh -c"), "{run}");
        }
        let run = sandbox.session_command("run --").args(["/no/such tool"]).run();
        assert!(run.stderr.contains("found") && !run.stderr.contains("sh -c"), "{run}");
        for line in ["./tool -v", "/no/such/tool && ls", "echo /tmp/x", "ls;pwd"] {
            let run = sandbox.session_command("exec there --").args([line]).run();
            run.fails(127).says("hint: no shell reads a command, unless one is given: -- sh -c");
        }
    }

    fn who_holds_a_branch_is_told(sandbox: &Sandbox) {
        sandbox.session("new --id later --branch shared -- true").ok();
        let held = sandbox.hold("--id first --branch shared");
        let run = sandbox.session("new --branch shared -- true");
        run.fails(1).says("', by session 'first', which is running\n");
        run.says("hint: 'git session terminate first' lets go of it; or give another '--branch'\n");
        let run = sandbox.session("start later");
        run.fails(1).says("', by session 'first', which is running\n");
        run.says("hint: 'git session terminate first' lets go of it\n");
        sandbox.session("suspend first").ok();
        sandbox.session("new --branch shared -- true").fails(1).says("which is suspended\n");
        sandbox.session("terminate first").ok();
        drop(held);
        sandbox.git("switch -q shared");
        let run = sandbox.session("start later");
        run.fails(1).says("hint: switch that worktree to another branch first\n");
        assert!(!run.stderr.contains("by session"), "{run}");
    }

    fn what_ends_a_frozen_session_is_told(sandbox: &Sandbox) {
        let held = sandbox.hold("--id cold");
        sandbox.session("suspend --freeze cold").ok();
        let run = sandbox.session("suspend cold");
        run.fails(1).says("cannot suspend a session that is suspended").says("hint: it is frozen, ");
        sandbox.session("resume cold").ok();
        sandbox.session("suspend cold").ok();
        let run = sandbox.session("suspend cold").fails(1).stderr.clone();
        assert!(!run.contains("hint"), "{run}");
        drop(held);
    }

    fn how_ignored_files_are_pruned_is_told(sandbox: &Sandbox) {
        sandbox.run_script("--id left", "echo kept > .gitignore; echo x > kept; git add .; git commit -qm made").ok();
        for line in ["prune -n", "prune"] {
            sandbox.session(line).ok().says("it has ignored files: ").says("hint: '--discard-ignored' removes");
        }
        let run = sandbox.session("prune --discard-ignored");
        assert!(!run.ok().stderr.contains("hint"), "{run}");
    }

    fn how_a_worktree_goes_that_was_changed_after_its_end_is_told(sandbox: &Sandbox) {
        sandbox.session("run --id left -- true").ok();
        let tree = sandbox.worktree("left");
        std::fs::write(tree.join("later"), "later\n").unwrap();
        let run = sandbox.session("prune");
        run.ok().says("it was changed since it was saved").says("hint: 'git switch -c BRANCH' there");
        // As it is told.
        sandbox.git_in(&tree, "switch -q -c kept");
        sandbox.commit_file(&tree, "later", "later\n");
        sandbox.session("prune").ok().says("'git worktree remove --force PATH' removes the rest");
        sandbox.command("git").args(["worktree", "remove", "--force"]).args([&tree]).run().ok();
        let run = sandbox.session("prune");
        assert!(!run.ok().stderr.contains("hint"), "{run}");
        assert_eq!(sandbox.git("show kept:later"), "later");
    }

    fn a_place_that_is_taken_is_left_by_the_option_of_that_verb(sandbox: &Sandbox) {
        sandbox.session("run --id there -- true").ok();
        sandbox.session("restore there").ok();
        let run = sandbox.session("restore there");
        run.fails(1).says("exists already\n").says("hint: '--to' names another place\n");
        let run = sandbox.session("run --worktree . -- true");
        // What is in the way is somebody's, and here even the repository.
        run.fails(125).says("hint: for a new session '--worktree' names another place; else move away");
        std::fs::create_dir(sandbox.root().join("taken")).unwrap();
        let run = sandbox.session_command("restore there --to").args([sandbox.root().join("taken")]).run();
        run.fails(1).says("exists already\n");
    }

    fn without_any_session_the_first_is_shown(sandbox: &Sandbox) {
        for line in ["", "list", "list --all", "list --state running"] {
            sandbox.session(line).ok().says("no sessions yet; 'git session run -- COMMAND'");
        }
        sandbox.session("run -- true").ok();
        sandbox.session("").ok().says("no sessions; --all shows");
        sandbox.session("list --state running").ok().says("no sessions\n");
        sandbox.session("doctor").prints("there is no remote");
    }

    fn what_nobody_supervises_leads_to_recover(sandbox: &Sandbox) {
        let held = sandbox.hold("--id lost");
        sandbox.kill_supervisor(&held);
        sandbox.session("show lost").ok().says("hint: 'git session recover lost'");
        sandbox.kill_worker(&held);
        sandbox.session("show lost").ok().says("hint: 'git session recover lost'");
        assert_eq!(sandbox.session("show --json lost").ok().stderr, "");
    }

    fn a_placeholder_that_stands_for_nothing_is_refused(sandbox: &Sandbox) {
        sandbox.config("session-worker.agent.command", "true {titel}");
        let run = sandbox.session("new --worker agent");
        run.fails(1).says("unknown placeholder '{titel}'; known are {title}, {issue}, {id}, {worktree}");
        for name in ["{TITLE}", "{issue-url}", "{print}"] {
            sandbox.config("session-worker.agent.command", &format!("true '{name}'"));
            let run = sandbox.session("new --worker agent");
            run.fails(1).says(&format!("unknown placeholder '{name}'"));
            run.says(&format!("hint: '{{{name}}}' in the command passes '{name}' as it is\n"));
        }
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
        sandbox.config("session-worker.agent.command", "true {title} a{b}c {} '{\"a\":1}' '{ print }'");
        sandbox.session("run --worker agent").ok();
        // What is given on the command line is the user's own.
        sandbox.session("run --worker agent -- {nope}").ok();
        sandbox.config("session-worker.agent.command", "printf '%s\\n' {{print}} {{{print}}} {{}} {id}");
        let run = sandbox.session("run --worker agent --id quoted -- {nope} {{nope}} {{{nope}}}");
        assert_eq!(run.ok().text(), "{print}\n{{print}}\n{{}}\nquoted\n{nope}\n{{nope}}\n{{{nope}}}");
    }

    fn who_waits_for_nothing_is_told_so_at_once(sandbox: &Sandbox) {
        sandbox.session("wait --any --state running").exits(125).says("error: no session of this clone is running");
        for verb in ["wait", "suspend", "start", "resume", "terminate", "checkpoint", "retry"] {
            let run = sandbox.session(&format!("{verb} --state suspended"));
            run.ok().says("no session of this clone is suspended\n");
        }
        assert_eq!(sandbox.session("suspend -q --state running").ok().stderr, "");
        assert_eq!(sandbox.session("recover").ok().stderr, "nothing to recover\n");
    }

    fn a_number_is_asked_for_in_words(sandbox: &Sandbox) {
        for line in ["output --tail x one", "restore --at=-1 one", "run --retries -1 -- true"] {
            let (error, _) = said(sandbox, line);
            assert!(error.ends_with(": a whole number is needed, like 0, 3 or 20"), "{error}");
        }
    }

    fn what_is_not_there_is_told_with_what_is(sandbox: &Sandbox) {
        sandbox.session("run -q --id one -- true").ok();
        for (line, code, hint) in [
            ("show @", 1, "name a session by its id; 'git session list --all' shows them"),
            ("new --id one -- true", 1, "choose another one; 'git session show one' shows what has it"),
            ("new --worker agent", 1, "'git config session-worker.agent.command COMMAND' makes it"),
            ("push nowhere", 1, "'git remote' shows those that there are"),
            ("run -- /etc/passwd", 126, "a command is an executable file, or goes after the program that reads it"),
            ("run -- ./not-committed", 127, "a name is looked for in PATH; a path counts from the session's worktree"),
        ] {
            let (error, told) = told(sandbox, line, code);
            assert!(told.starts_with(hint), "{line}: {error}: {told}");
        }
        sandbox.session("prune one").ok();
        for (line, code) in [("path one", 1), ("exec one -- true", 125)] {
            let (_, hint) = told(sandbox, line, code);
            assert_eq!(hint, "'git session restore one' puts its saved work into a new directory");
        }
        let (_, hint) = told(sandbox, "restore --work refs/session-work/one/other one", 1);
        assert_eq!(hint, "'git for-each-ref refs/session-work/one' shows what there is");
        let there = sandbox.session("restore --to ../nearby/../restored one").ok().text().to_owned();
        assert!(there.ends_with("/restored") && !there.contains(".."), "{there}");
        sandbox.session("new --id still -- true").ok();
        for line in ["path still", "exec still -- true"] {
            sandbox.session(line).says("hint: 'git session start still' makes it\n");
        }
        sandbox.session("restore --at 9 one").fails(1).says("it has no event 9; the last one is 3");
        sandbox.session("restore --at 1 one").fails(1).says("no work was saved by event 1");
        sandbox.session("new --id young -- true").ok();
        sandbox.session("restore young").fails(1).says("no work was saved yet");
    }

    fn several_are_started_and_run_again_at_once(sandbox: &Sandbox) {
        for id in ["one", "two"] {
            sandbox.session(&format!("new --id {id} -- true")).ok();
        }
        assert_eq!(sandbox.session("start one two").ok().text(), "one\ntwo");
        sandbox.session("wait one two").ok();
        let again = sandbox.session("retry --json one two").ok().json();
        let ids: Vec<&str> = again["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(again["sessions"][1]["parent"], "two");
        sandbox.session(&format!("wait {}", ids.join(" "))).ok();
        // What can't be started keeps nothing else from it.
        sandbox.session("new --id three -- true").ok();
        assert_eq!(sandbox.session("start one three").exits(1).text(), "three");
        sandbox.session("wait three").ok();
    }
}
