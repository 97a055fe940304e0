//! What a worker gets, what becomes of it and its descendants, and workers with a name.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{processes, traces};
use crate::{on_every_format, on_one_format};

on_every_format! {
    fn a_worker_knows_its_session_and_nothing_of_gits_own(sandbox: &Sandbox) {
        let run = sandbox
            .session_command("run --id env -- env")
            .env("GIT_DIR", sandbox.file(".git"))
            .env("GIT_INDEX_FILE", sandbox.file(".git/index"))
            .env("GIT_WORK_TREE", sandbox.repo())
            .env("GIT_PREFIX", "sub/")
            .env("GIT_SESSION_ID", "outer")
            .env("GIT_SESSION_CALLER", "outer")
            .env("FROM_THE_CALLER", "yes")
            .run();
        run.ok();
        let lines: Vec<String> = run.stdout().lines().map(str::to_owned).collect();
        let value = |name: &str| {
            let start = format!("{name}=");
            lines
                .iter()
                .find_map(|line| line.strip_prefix(&start))
                .map(str::to_owned)
        };
        assert_eq!(value("GIT_SESSION_ID").as_deref(), Some("env"));
        assert_eq!(value("FROM_THE_CALLER").as_deref(), Some("yes"));
        for name in [
            "GIT_DIR",
            "GIT_INDEX_FILE",
            "GIT_WORK_TREE",
            "GIT_PREFIX",
            "GIT_SESSION_RESUMED",
            "GIT_SESSION_CALLER",
        ] {
            assert_eq!(value(name), None, "{name}");
        }
        let state = value("GIT_SESSION_STATE_DIR").unwrap();
        assert_eq!(std::path::Path::new(&state), sandbox.run_dir("env").join("state"));
    }

    fn a_worker_is_told_when_it_was_resumed(sandbox: &Sandbox) {
        let mut held = sandbox.hold("");
        sandbox.order(
            &held,
            "test -z \"$GIT_SESSION_RESUMED\" && test -d \"$GIT_SESSION_STATE_DIR\"",
        );
        sandbox.session(&format!("suspend {}", held.id)).ok();
        sandbox.resume(&mut held);
        sandbox.order(&held, "test -n \"$GIT_SESSION_RESUMED\"");
        sandbox.let_end(&held, 0);
    }

    fn values_of_the_environment_reach_the_worker_and_no_object(sandbox: &Sandbox) {
        let secret = "correct-horse-battery";
        let script = "echo \"$GIVEN $TAKEN\"; exit 1";
        let run = sandbox
            .session_command(&format!(
                "run --id secretive --env GIVEN={secret} --env TAKEN -- sh -c"
            ))
            .args([script])
            .env("TAKEN", secret)
            .run();
        run.exits(1).prints(&format!("{secret} {secret}"));
        let objects = sandbox.git("cat-file --batch-all-objects --batch --unordered");
        assert!(objects.contains("secretive") && !objects.contains(secret));
        assert!(!sandbox.git("for-each-ref").contains(secret));
        let holders = traces::files_with(&sandbox.repo(), secret);
        let names: Vec<&str> = holders
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        for (path, name) in holders.iter().zip(&names) {
            assert!(["env.json", "output.log"].contains(name), "{names:?}");
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o077,
                0,
                "{name}"
            );
        }
        assert_eq!(
            fs::metadata(sandbox.local()).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    fn values_for_a_session_that_came_to_nothing_are_nobody_elses(sandbox: &Sandbox) {
        sandbox.git("config session.sign true");
        sandbox.git("config gpg.format ssh");
        sandbox.git("config user.signingKey /nowhere");
        let secret = "correct-horse-battery";
        sandbox.session(&format!("new --id late --env GIVEN={secret} -- true")).exits(128);
        assert_eq!(traces::files_with(&sandbox.repo(), secret), [""; 0].map(std::path::PathBuf::from));
        sandbox.git("config session.sign false");
        // As an older version left them.
        fs::create_dir_all(sandbox.run_dir("late")).unwrap();
        fs::write(sandbox.run_dir("late").join("env.json"), format!("{{\"GIVEN\":\"{secret}\"}}")).unwrap();
        let run = sandbox.session("run --id late -- env");
        assert!(!run.ok().stdout().contains(secret), "{run}");
    }

    fn no_variable_is_given_to_a_worker_twice(sandbox: &Sandbox) {
        let options = "--id once --env PWD=/ --env GIT_SESSION_ID=other --env GIT_SESSION_STATE_DIR=/";
        // Not a shell, which would make one of two by itself.
        let run = sandbox.session(&format!("run {options} -- env"));
        let said = run.ok().stdout();
        for (name, value) in [
            ("PWD", sandbox.worktree("once")),
            ("GIT_SESSION_ID", "once".into()),
            ("GIT_SESSION_STATE_DIR", sandbox.run_dir("once").join("state")),
        ] {
            let prefix = format!("{name}=");
            let values: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
            assert_eq!(values, [value.to_str().unwrap()], "{name}");
        }
    }

    fn a_worker_does_not_run_without_a_variable_whose_value_cannot_be_read(sandbox: &Sandbox) {
        sandbox.session("new --id deprived --env GIVEN=value -- true").ok();
        fs::write(sandbox.run_dir("deprived").join("env.json"), r#"{"GIVEN":7}"#).unwrap();
        sandbox.session("start deprived").exits(128).says("env.json' can't be read");
        assert_eq!(sandbox.state("deprived"), "pending");
    }

    fn a_variable_that_is_not_set_leaves_no_session_behind(sandbox: &Sandbox) {
        let run = sandbox.session("run --id unset --env NOBODY_SETS_THIS -- true");
        run.fails(125).says("'NOBODY_SETS_THIS' is not set");
        sandbox.session("show unset").fails(1);
        let ended = sandbox.session_command("run --id ended --env NOBODY_SETS_THIS -- true").env("NOBODY_SETS_THIS", "1").run();
        ended.ok();
        // As on another clone, where values don't come along.
        fs::remove_file(sandbox.run_dir("ended").join("env.json")).unwrap();
        let before = sandbox.git("for-each-ref refs/sessions");
        sandbox.session("retry ended").fails(1).says("'NOBODY_SETS_THIS' is not set");
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), before);
        // Who only makes one may set it when it is started.
        sandbox.session("new --id later --env NOBODY_SETS_THIS -- true").ok();
    }

    fn the_whole_process_tree_ends_with_the_session(sandbox: &Sandbox) {
        let held = sandbox.hold("--grace 200ms");
        sandbox.fifo("strays");
        // In the group, in a session of its own, and deaf to being asked.
        let strays = "sleep 1000 & sh -c 'trap \"\" TERM; sleep 1000' & \
                      setsid sh -c 'echo $$ > \"$FIFOS/strays\"; exec sleep 1000' &";
        sandbox.tell("on0", strays);
        let stray: i32 = sandbox.hear("strays").parse().unwrap();
        sandbox.hear("up0");
        let before = processes::with_variable("GIT_SESSION_STATE_DIR", sandbox.root());
        assert!(before.len() >= 4, "{before:?}");
        sandbox.session(&format!("terminate {}", held.id)).ok();
        assert!(!processes::is_alive(stray));
        assert_eq!(
            processes::with_variable("GIT_SESSION_STATE_DIR", sandbox.root()),
            []
        );
        assert_eq!(sandbox.state(&held.id), "terminated");
    }

    fn descendants_that_outlive_a_normal_end_are_stopped_and_named(sandbox: &Sandbox) {
        // Until its exec it would go by the shell's name.
        let script = "setsid sleep 1234 & until grep -qx sleep /proc/$!/comm; do :; done; exit 0";
        let run = sandbox.run_script("--id parent", script);
        run.ok();
        assert_eq!(sandbox.trailer("parent", "Outcome"), "exit:0");
        assert_eq!(
            processes::with_variable("GIT_SESSION_STATE_DIR", sandbox.root()),
            []
        );
        let message = sandbox.git("log -1 --format=%B refs/sessions/parent");
        assert!(message.contains("sleep"), "{message}");
    }

    fn no_end_is_recorded_while_the_worker_lives(sandbox: &Sandbox) {
        sandbox.fifo("up");
        sandbox.fifo("asked");
        sandbox.fifo("on");
        let script = "trap 'echo asked > \"$FIFOS/asked\"; read x < \"$FIFOS/on\"; exit 0' TERM; \
                      echo up > \"$FIFOS/up\"; while :; do sleep 1000 & wait; done";
        sandbox
            .session_command("run -d --grace 1h --id slow -- sh -c")
            .args([script])
            .run()
            .ok();
        sandbox.hear("up");
        let ending = sandbox.session_command("terminate slow").spawn();
        sandbox.hear("asked");
        assert_eq!(sandbox.state("slow"), "running");
        assert_ne!(
            processes::with_variable("GIT_SESSION_STATE_DIR", sandbox.root()),
            []
        );
        sandbox.tell("on", "");
        ending.end().ok();
        assert_eq!(sandbox.state("slow"), "terminated");
    }
}

on_one_format! {
    fn a_worker_reads_nothing_and_stands_in_its_worktree(sandbox: &Sandbox) {
        let run = sandbox.run_script("--id place", "pwd -P; cat; echo end");
        let expected = format!("{}\nend", sandbox.worktree("place").display());
        assert_eq!(run.ok().text(), expected);
    }

    fn arguments_and_output_are_bytes(sandbox: &Sandbox) {
        use std::os::unix::ffi::OsStrExt;
        let odd = std::ffi::OsStr::from_bytes(b"a\xff\n b'c\"");
        let run = sandbox
            .session_command("run --id bytes -- printf %s")
            .args([odd])
            .run();
        assert_eq!(run.ok().bytes, odd.as_bytes());
        assert_eq!(sandbox.session("output bytes").ok().bytes, odd.as_bytes());
    }

    fn a_value_that_is_missing_is_refused(sandbox: &Sandbox) {
        let id = sandbox.new_session("--env NOT_THERE -- true");
        let before = sandbox.tip(&id);
        sandbox.session(&format!("start {id}")).fails(1).says("NOT_THERE");
        assert_eq!(sandbox.tip(&id), before);
    }

    fn a_detached_worker_holds_nothing_of_its_caller(sandbox: &Sandbox) {
        // The pipes of this command are read to their end, while the worker still lives.
        let held = sandbox.hold("");
        sandbox.order(&held, "test \"$(readlink /proc/$$/fd/0)\" = /dev/null");
        // SAFETY: getsid takes a number and touches no memory; it gives 0 where the leader can't be seen.
        let session = |pid: i32| unsafe { libc::getsid(pid) };
        assert_ne!(session(held.supervisor), session(std::process::id() as i32));
        assert_eq!(session(held.supervisor), held.supervisor);
        sandbox.let_end(&held, 0);
    }

    fn a_named_worker_gets_whole_arguments_for_its_placeholders(sandbox: &Sandbox) {
        let script = "printf \"%s\\n\" \"$@\"; test -n \"$GIT_SESSION_RESUMED\" || kill -STOP $$";
        sandbox.config(
            "session-worker.agent.command",
            &format!(
                "sh -c '{}' sh {{title}} {{issue}} {{id}} {{worktree}} {{title}}x",
                script.replace("; test -n \"$GIT_SESSION_RESUMED\" || kill -STOP $$", "")
            ),
        );
        let run = sandbox.session("run --worker agent --id named --title 'a \"b\" $c; d' --issue 5");
        let tree = sandbox.worktree("named");
        let expected = format!("a \"b\" $c; d\n5\nnamed\n{}\n{{title}}x", tree.display());
        assert_eq!(run.ok().text(), expected);
        assert_eq!(sandbox.trailer("named", "Worker"), "agent");
    }

    fn a_named_worker_is_resumed_its_own_way(sandbox: &Sandbox) {
        sandbox.fifo("up");
        sandbox.config(
            "session-worker.agent.command",
            "sh -c 'echo up > \"$FIFOS/up\"; exec sleep 1000'",
        );
        sandbox.config("session-worker.agent.resume", "echo resumed {id}");
        sandbox.session("run -d --worker agent --id twice").ok();
        sandbox.hear("up");
        sandbox.session("suspend twice").ok();
        sandbox.session("resume twice").ok();
        sandbox.session("wait twice").ok();
        sandbox.session("output twice").ok().prints("resumed twice");
    }

    fn a_named_worker_is_asked_to_stop_its_own_way(sandbox: &Sandbox) {
        sandbox.fifo("up");
        sandbox.fifo("never");
        sandbox.config(
            "session-worker.agent.command",
            "sh -c 'trap \"echo interrupted; exit 0\" INT; trap \"\" TERM; echo up > \"$FIFOS/up\"; \
             read x < \"$FIFOS/never\"'",
        );
        sandbox.config("session-worker.agent.suspendSignal", "INT");
        sandbox.config("session-worker.agent.grace", "1h");
        sandbox.session("run -d --worker agent --id polite").ok();
        sandbox.hear("up");
        sandbox.session("suspend polite").ok();
        sandbox.session("output polite").ok().prints("interrupted");
        sandbox.end("polite");
    }

    fn a_named_worker_is_checked_when_it_is_used(sandbox: &Sandbox) {
        let cases = [
            ("command", "no-such-agent --now", "no-such-agent"),
            ("suspendSignal", "LOUD", "LOUD"),
            ("grace", "soon", "soon"),
            ("timeout", "later", "later"),
            ("retries", "often", "often"),
            ("comand", "true", "comand"),
        ];
        for (key, value, told) in cases {
            let name = format!("agent-{key}").to_lowercase();
            if key != "command" {
                sandbox.config(&format!("session-worker.{name}.command"), "true");
            }
            sandbox.config(&format!("session-worker.{name}.{key}"), value);
            let run = sandbox.session(&format!("run -d --worker {name}"));
            run.fails(125).says(told).says(&name);
            assert_eq!(sandbox.git("for-each-ref refs/sessions"), "", "{key}");
        }
        let run = sandbox.session("run -d --worker agent-command");
        run.says("PATH");
        sandbox
            .session("run -d --worker nobody")
            .fails(125)
            .says("nobody");
    }

    fn a_worker_is_not_told_who_made_the_commit_whose_hook_started_it(sandbox: &Sandbox) {
        let started = |id: &str, index: &str| {
            sandbox
                .session_command(&format!("run --id {id} --env GIT_COMMITTER_DATE -- sh -c"))
                .args(["echo ${GIT_AUTHOR_NAME-none} ${GIT_AUTHOR_DATE-none} ${GIT_COMMITTER_DATE-none} ${GIT_EDITOR-none}"])
                .env("GIT_AUTHOR_NAME", "Hooked")
                .env("GIT_AUTHOR_DATE", "1700000001 +0000")
                .env("GIT_COMMITTER_DATE", "1700000002 +0000")
                .env("GIT_EDITOR", ":")
                .env(index, sandbox.repo().join(".git/index"))
                .run()
                .ok()
                .text()
        };
        // What is asked for by name comes along.
        assert_eq!(started("hooked", "GIT_INDEX_FILE"), "none none 1700000002 +0000 none");
        assert_eq!(started("meant", "NO_INDEX"), "Hooked 1700000001 +0000 1700000002 +0000 :");
    }

    fn what_is_about_to_leave_is_neither_stopped_nor_named(sandbox: &Sandbox) {
        let script = "(trap '' HUP; sleep 0.05; echo left > \"$GIT_SESSION_STATE_DIR/left\") > /dev/null 2>&1 &";
        sandbox.run_script("--id brief", script).ok();
        assert_eq!(sandbox.trailer("brief", "Reason"), "");
        assert!(sandbox.run_dir("brief").join("state/left").exists());
    }
}
