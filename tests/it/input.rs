//! What can be wrong with what we are given.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::on_one_format;
use crate::sandbox::{Format, Refs, Sandbox, small_disk::SmallDisk, traces};
use crate::scratch::Scratch;

on_one_format! {
    fn a_repository_that_git_cannot_use_is_told_of_in_gits_words(sandbox: &Sandbox) {
        let config = sandbox.file(".git/config");
        let good = fs::read_to_string(&config).unwrap();
        for (bad, what) in [
            ("[core]\n\tworktree = ../../gone\n", "cannot chdir to '../../gone'"),
            ("[broken\n", "bad config line"),
            ("[core]\n\trepositoryFormatVersion = 9\n", "repo version"),
            ("[core]\n\trepositoryFormatVersion = 1\n[extensions]\n\tfuture = true\n", "future"),
        ] {
            fs::write(&config, format!("{good}{bad}")).unwrap();
            let git = sandbox.command("git").args(["status"]).run();
            assert!(git.stderr.contains(what), "{git}");
            sandbox.session("list").fails(128).says(what).says("hint: git itself");
        }
        fs::write(&config, good).unwrap();
        let nowhere = |command: &mut std::process::Command| {
            command.env("GIT_DIR", "/nowhere");
        };
        let run = sandbox.session_command("list").inner(nowhere).run();
        run.fails(128).says("not a git repository").says("/nowhere");
    }

    fn a_setting_that_says_nothing_is_refused_before_anything_is_done(sandbox: &Sandbox) {
        let id = sandbox.new_session("-- true");
        let before = sandbox.tip(&id);
        for key in ["fsync", "hooks", "autoSync", "pushState", "pushUntracked", "sign", "requireSignature"] {
            sandbox.config(&format!("session.{key}"), "maybe");
            let what = format!("bad boolean config value 'maybe' for 'session.{key}'");
            sandbox.session("new -- true").fails(128).says(&what);
            sandbox.session(&format!("start {id}")).fails(128).says(&what);
            sandbox.session(&format!("note {id} -m x")).fails(128).says(&what);
            sandbox.session("doctor").exits(1).prints(&what);
            sandbox.session("doctor --repair").exits(1).prints(&what);
            sandbox.session(&format!("show {id}")).ok();
            for good in ["off", "0", "", "yes"] {
                sandbox.config(&format!("session.{key}"), good);
                assert!(!sandbox.session("doctor").stdout().contains("bad boolean"));
            }
            sandbox.git(&format!("config --global --unset session.{key}"));
        }
        sandbox.config("session.syncInterval", "often");
        sandbox.session(&format!("start {id}")).fails(129).says("error: session.syncInterval: ");
        sandbox.git("config --global --unset session.syncInterval");
        sandbox.config("session.worktreeRoot", "~nobody-of-that-name/trees");
        let what = "session.worktreeRoot: '~nobody-of-that-name/trees'";
        sandbox.session(&format!("start {id}")).fails(129).says(what);
        sandbox.session("doctor").exits(1).prints(what);
        assert_eq!(sandbox.tip(&id), before);
        assert_eq!(sandbox.git("for-each-ref refs/sessions --format=%(refname)").lines().count(), 1);
    }

    fn a_name_of_a_clone_that_is_none_is_refused(sandbox: &Sandbox) {
        for name in [&b"two words"[..], b"-a", b"caf\xe9"] {
            let run = sandbox.session_command("new -- true").env("GIT_SESSION_CLONE", OsStr::from_bytes(name)).run();
            run.fails(129).says("error: GIT_SESSION_CLONE: ");
        }
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
    }

    fn of_labels_with_one_key_the_last_counts(sandbox: &Sandbox) {
        sandbox.session("new --id labelled --label a=1 --label b=2 --label a=3 -- true").ok();
        assert_eq!(sandbox.show("labelled")["labels"], serde_json::json!({ "a": "3", "b": "2" }));
    }

    fn outside_a_repository_there_is_nothing_to_do(sandbox: &Sandbox) {
        let elsewhere = sandbox.root().join("home");
        for line in ["list", "new -- true", "show x", "", "recover --all", "prune"] {
            let run = sandbox.session_command(line).within(&elsewhere).run();
            run.fails(128).says("not a git repository");
        }
        let run = sandbox.session_command("run -- true").within(&elsewhere).run();
        run.fails(125).says("not a git repository");
        assert_eq!(traces::of(&elsewhere).len(), 2);
    }

    fn ids_that_are_not_legal_are_refused(sandbox: &Sandbox) {
        for id in [
            "Upper",
            "a/b",
            "-a",
            "a-",
            "a b",
            "a.b",
            "..",
            "é",
            "@",
            "",
            &"x".repeat(64),
        ] {
            let run = sandbox
                .session_command("new")
                .args([&format!("--id={id}"), "--", "true"])
                .run();
            run.fails(129);
        }
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
    }

    fn what_could_never_run_is_refused_at_once(sandbox: &Sandbox) {
        sandbox.session("new -- ''").fails(129).says("no command");
        sandbox.session("new --timeout 0 -- true").fails(129).says("error: option --timeout: with no time");
        sandbox.config("session-worker.brief.command", "true");
        sandbox.config("session-worker.brief.timeout", "0");
        sandbox.session("new --worker brief").fails(129).says("error: session-worker.brief.timeout: with no time");
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
    }

    fn an_id_that_is_taken_is_the_reason_before_its_branch(sandbox: &Sandbox) {
        sandbox.session("run --id taken -- true").ok();
        for options in ["", "--branch session/taken", "--no-branch"] {
            let run = sandbox.session(&format!("new --id taken {options} -- true"));
            run.fails(1).says("'taken'");
            assert!(!run.stderr.contains("branch"), "{run}");
        }
    }

    fn branches_that_are_not_legal_are_refused(sandbox: &Sandbox) {
        for branch in ["a..b", "-x", "a b", "a~1", "x.lock", "/x", "@{x", "HEAD", ""] {
            let run = sandbox
                .session_command("new")
                .args([&format!("--branch={branch}"), "--", "true"])
                .run();
            run.fails(run.code);
            assert!([1, 128, 129].contains(&run.code), "{run}");
        }
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
    }

    fn a_base_that_does_not_resolve_is_refused(sandbox: &Sandbox) {
        let blob = sandbox.git("hash-object -w README");
        for base in [
            "nowhere",
            "HEAD~99",
            "--all",
            "-1",
            &blob,
            "main:README",
            "0000000000000000000000000000000000000001",
        ] {
            let run = sandbox
                .session_command("new")
                .args([&format!("--base={base}"), "--", "true"])
                .run();
            run.fails(1).says(base);
        }
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
    }

    fn what_cannot_be_understood_is_a_matter_of_usage(sandbox: &Sandbox) {
        for line in [
            "new --nonsense -- true",
            "list --state odd",
            "run --timeout soon -- true",
            "new",
            "note x",
            "run",
            "new --label nothing -- true",
            "new --env = -- true",
            "run --retries many -- true",
        ] {
            let run = sandbox.session(line);
            run.exits(129);
            assert!(run.stderr.starts_with("error: "), "{run}");
            assert_eq!(run.text(), "", "{run}");
        }
        let json = sandbox.session("list --json --nonsense").exits(129).json();
        assert_eq!(json["error"]["code"], "usage");
        sandbox.session("-h").ok();
        sandbox.session("--version").ok().prints("git-session");
    }

    fn an_argument_that_starts_with_a_dash_is_only_an_argument(sandbox: &Sandbox) {
        let run = sandbox
            .session_command("run --id dash --title=--title -- printf %s,")
            .args(["-n", "--", "-rf"])
            .run();
        assert_eq!(run.ok().text(), "-n,--,-rf,");
        assert_eq!(sandbox.trailer("dash", "Title"), "--title");
        sandbox.session("show -- --upload-pack=x").fails(1);
        sandbox.session("note dash -m=-x").ok();
    }

    fn who_closes_a_stream_gets_nothing_written_elsewhere(sandbox: &Sandbox) {
        sandbox.session("run --id shut -- true").ok();
        let look = "test -c /dev/fd/0 && test -c /dev/fd/1 && test -c /dev/fd/2 && echo yes > all";
        let run = sandbox
            .command("sh")
            .args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh", env!("CARGO_BIN_EXE_git-session")])
            .args(["exec", "shut", "--", "sh", "-c", look])
            .run();
        run.ok();
        assert!(sandbox.worktree("shut").join("all").exists());
    }

    fn a_hooks_environment_does_not_lead_astray(sandbox: &Sandbox) {
        let other = Sandbox::new(Format::PLAIN);
        let hook = sandbox.file(".git/hooks/post-commit");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        let binary = env!("CARGO_BIN_EXE_git-session");
        let script = format!(
            "#!/bin/sh\nexec {} run --id hooked -- sh -c 'git rev-parse --show-toplevel; env'\n",
            shell_words::quote(binary)
        );
        fs::write(&hook, script).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        sandbox.git("commit -q --allow-empty -m hook");
        let output = sandbox.session("output hooked").ok().stdout();
        assert!(
            output.starts_with(sandbox.worktree("hooked").to_str().unwrap()),
            "{output}"
        );
        assert!(
            !output.contains("GIT_INDEX_FILE=") && !output.contains("GIT_DIR="),
            "{output}"
        );
        let run = sandbox
            .session_command("new --id there -- true")
            .env("GIT_DIR", other.file(".git"))
            .env("GIT_INDEX_FILE", sandbox.file(".git/index"))
            .run();
        run.ok();
        assert_eq!(other.state("there"), "pending");
        // As of a hook on a server.
        let run = sandbox.session_command("run --id spaced -- true").env("GIT_NAMESPACE", "space").run();
        run.ok();
        assert_eq!(sandbox.state("spaced"), "terminated");
        assert_eq!(sandbox.git("for-each-ref refs/sessions/there"), "");
    }

    fn a_worktree_deleted_under_a_running_worker_loses_nothing_that_was_committed(sandbox: &Sandbox) {
        let held = sandbox.hold("--id hollow");
        let commit = sandbox.commit_file(&sandbox.worktree("hollow"), "a.txt", "a\n");
        fs::remove_dir_all(sandbox.worktree("hollow")).unwrap();
        sandbox.session("show hollow").ok().prints("  worktree  gone\n");
        sandbox.session("diff hollow").ok();
        sandbox.session("terminate hollow").ok();
        assert_eq!(sandbox.state("hollow"), "terminated");
        assert_eq!(sandbox.git("rev-parse session/hollow"), commit);
        assert!(!crate::sandbox::processes::is_alive(held.pid));
    }

    fn two_thousand_sessions_are_listed(sandbox: &Sandbox) {
        let id = sandbox.new_session("--id seed -- true");
        let raw = sandbox.git(&format!("cat-file commit refs/sessions/{id}"));
        let tree = sandbox.git(&format!("rev-parse refs/sessions/{id}^{{tree}}"));
        let message = raw.split_once("\n\n").unwrap().1;
        let mut stream = String::new();
        for number in 0..2000 {
            let name = format!("many-{number}");
            let message = format!("{}\n", message.replace("seed", &name));
            stream.push_str(&format!(
                "commit refs/sessions/{name}\ncommitter A <a@example.com> 1700000000 +0000\n\
                 data {}\n{message}\nM 040000 {tree} \n",
                message.len()
            ));
        }
        let file = sandbox.root().join("tmp/stream");
        fs::write(&file, stream).unwrap();
        sandbox
            .command("git")
            .args(["fast-import", "--quiet"])
            .input(fs::File::open(&file).unwrap())
            .run()
            .ok();
        let json = sandbox.session("list --json").ok().json();
        assert_eq!(json["sessions"].as_array().unwrap().len(), 2001);
        sandbox.git("pack-refs --all");
        let json = sandbox.session("list --json").ok().json();
        assert_eq!(json["sessions"].as_array().unwrap().len(), 2001);
        assert_eq!(sandbox.show("many-1999")["id"], "many-1999");
        sandbox.session("show many-199").ok();
        sandbox.session("show many-").fails(1);
    }

    fn a_very_long_output_is_neither_held_nor_lost(sandbox: &Sandbox) {
        // A hole of two gigabytes stands for as many bytes, so that it costs no disk.
        let script = "truncate -s 2G \"$GIT_SESSION_STATE_DIR/../output.log\"; echo; echo the end; exit 1";
        let run = sandbox
            .session_command("run -d --id huge -- sh -c")
            .args([script])
            .run();
        run.ok();
        sandbox.session("wait huge").exits(1);
        let tail = sandbox.session("output --tail 1 huge").ok().stdout();
        assert!(tail.ends_with("the end\n"), "{} bytes", tail.len());
        let shown = sandbox.session("show huge").ok().stdout();
        assert!(shown.len() < 100_000);
    }

    fn an_environment_without_a_home_is_enough(sandbox: &Sandbox) {
        let run = sandbox
            .session_command("run --id homeless -- true")
            .without("HOME")
            .without("XDG_CONFIG_HOME")
            .without("TMPDIR")
            .run();
        run.ok();
        let run = sandbox
            .session_command("list")
            .env("HOME", "/nowhere/at/all")
            .without("XDG_CONFIG_HOME")
            .run();
        run.ok();
    }

    fn without_git_the_minimum_is_named(sandbox: &Sandbox) {
        let run = sandbox
            .session_command("run -- true")
            .env("PATH", "/nowhere")
            .run();
        let (minimum, old) = match sandbox.format.refs {
            Refs::Files => ("2.34", "2.20.1"),
            // An older one would say of such a repository that it has no commit.
            Refs::Reftable => ("2.45", "2.39.5"),
        };
        run.fails(125).says(minimum);
        let fake = sandbox.root().join("fake");
        fs::create_dir(&fake).unwrap();
        fs::write(fake.join("git"), format!("#!/bin/sh\necho git version {old}\n")).unwrap();
        fs::set_permissions(fake.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        let run = sandbox.session_command("run -- true").env("PATH", &fake).run();
        run.fails(125).says(minimum).says(old);
    }
}

#[test]
fn a_repository_without_a_commit_says_what_is_missing() {
    let sandbox = Sandbox::empty(Format::PLAIN);
    sandbox.git("init -q -b main .");
    assert_eq!(
        sandbox.session("list --json").ok().json()["sessions"],
        serde_json::json!([])
    );
    let run = sandbox.session("new --id early -- true");
    if run.code != 0 {
        run.fails(1).says("no commit");
        assert_eq!(sandbox.git("for-each-ref"), "");
    }
}

#[test]
fn a_broken_repository_is_an_error_not_a_crash() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.will_be_broken();
    sandbox.new_session("--id one -- true");
    let tip = sandbox.tip("one");
    let object = sandbox.file(&format!(".git/objects/{}/{}", &tip[..2], &tip[2..]));
    fs::set_permissions(&object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&object, "no object").unwrap();
    sandbox.session("show one").fails(128).says(&tip);
    sandbox.session("list --json").ok();
    fs::write(sandbox.file(".git/refs/sessions/two"), "not an oid\n").unwrap();
    sandbox.session("list").ok();
    sandbox.session("new --id three -- true").ok();
    fs::write(sandbox.file(".git/config"), "[core\nbroken").unwrap();
    sandbox.session("list").fails(128);
}

/// Runs as somebody else, if we may: root may do everything, which would test nothing.
fn as_nobody(sandbox: &Sandbox, line: &str) -> crate::sandbox::Run {
    use std::os::unix::process::CommandExt;
    let mut command = sandbox.session_command(line);
    if rustix::process::geteuid().is_root() {
        command = command.inner(|command| {
            command.uid(65534).gid(65534);
        });
    }
    command.run()
}

/// Opens a sandbox to everybody, and gives the repository to whoever `as_nobody` runs as.
fn hand_over(sandbox: &Sandbox) {
    let mut open = Some(sandbox.root());
    while let Some(dir) = open.filter(|dir| *dir != std::env::temp_dir()) {
        let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o755));
        open = dir.parent().filter(|parent| parent.parent().is_some());
    }
    if rustix::process::geteuid().is_root() {
        for path in traces::of(&sandbox.repo()).keys() {
            std::os::unix::fs::lchown(path, Some(65534), Some(65534)).unwrap();
        }
    }
}

#[test]
fn a_repository_that_cannot_be_written_to_can_be_read() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.new_session("--id seen -- true");
    hand_over(&sandbox);
    let dirs: Vec<_> = traces::of(&sandbox.repo())
        .into_keys()
        .filter(|path| path.is_dir())
        .collect();
    for dir in &dirs {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    }
    as_nobody(&sandbox, "list").ok().prints("seen");
    as_nobody(&sandbox, "show seen").ok();
    as_nobody(&sandbox, "log seen").ok();
    let run = as_nobody(&sandbox, "note seen -m x");
    run.fails(128).says("ermission");
    let run = as_nobody(&sandbox, "new --id more -- true");
    run.fails(128).says("ermission");
    let run = as_nobody(&sandbox, "run -- true");
    run.fails(125).says("ermission");
    // As people know it.
    assert!(!run.stderr.contains("os error"), "{run}");
    for dir in &dirs {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        for path in traces::of(&sandbox.repo()).keys() {
            std::os::unix::fs::lchown(path, Some(0), Some(0)).unwrap();
        }
    }
    assert_eq!(sandbox.events("seen"), ["create"]);
}

#[test]
fn what_cannot_be_written_here_is_no_remotes_fault() {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.git("init -q --bare home.git");
    sandbox.git("remote add origin home.git");
    sandbox.new_session("--id one -- true");
    sandbox.session("push origin").ok();
    sandbox.session("note one -m x").ok();
    sandbox.session("push origin").ok();
    let before = sandbox.git("rev-parse refs/sessions/one~1");
    for name in ["refs/sessions/one", "refs/session-remotes/origin/one"] {
        sandbox.git(&format!("update-ref {name} {before}"));
    }
    // What is fetched is not here any more.
    sandbox.git("reflog expire --expire=now --all");
    sandbox.git("gc -q --prune=now");
    hand_over(&sandbox);
    for part in ["objects", "refs"] {
        let dirs: Vec<_> = traces::of(&sandbox.file(".git").join(part))
            .into_keys()
            .filter(|path| path.is_dir())
            .chain([sandbox.file(".git").join(part)])
            .collect();
        for dir in &dirs {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
        }
        for line in ["fetch origin", "sync origin"] {
            let run = as_nobody(&sandbox, line);
            run.fails(128).says("this repository can't be written");
            assert!(!run.stderr.contains("denies access"), "{run}");
            assert!(!run.stderr.contains("set aside"), "{run}");
        }
        let run = as_nobody(&sandbox, "doctor");
        run.exits(1).prints(&format!("/.git/{part}' can't be written"));
        for dir in &dirs {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    as_nobody(&sandbox, "fetch origin").ok().says("updated");
    if rustix::process::geteuid().is_root() {
        for path in traces::of(&sandbox.repo()).keys() {
            std::os::unix::fs::lchown(path, Some(0), Some(0)).unwrap();
        }
    }
}

#[test]
fn another_users_repository_is_refused_as_git_refuses_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a repository to somebody else");
        return;
    }
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.new_session("--id seen -- true");
    sandbox.session("run -q --id failed -- false").exits(1);
    hand_over(&sandbox);
    for path in traces::of(&sandbox.repo()).keys() {
        std::os::unix::fs::lchown(path, Some(12345), Some(12345)).unwrap();
    }
    let run = as_nobody(&sandbox, "list");
    run.fails(128).says("dubious ownership");
    as_nobody(&sandbox, "run -- true")
        .fails(125)
        .says("dubious ownership");
    sandbox.config("safe.directory", sandbox.repo().to_str().unwrap());
    fs::set_permissions(
        sandbox.root().join("gitconfig"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    // What is local to that clone is no business of ours, nor needed to look at its sessions.
    for id in ["seen", "failed"] {
        for line in ["list --all", "list --all --json", "show", "show --json", "log"] {
            as_nobody(&sandbox, &format!("{line} {id}")).ok();
        }
    }
    as_nobody(&sandbox, "diff failed").ok();
    let run = as_nobody(&sandbox, "terminate seen");
    run.fails(128).says("ermission");
    for path in traces::of(&sandbox.repo()).keys() {
        std::os::unix::fs::lchown(path, Some(0), Some(0)).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let sandbox = Sandbox::new(Format::PLAIN);
    let held = sandbox.hold("--id squeezed");
    {
        let Some(_disk) = SmallDisk::over(&sandbox, ".git/objects") else {
            sandbox.end(&held.id);
            return;
        };
        let big: Vec<u8> = (0..600_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        fs::write(sandbox.worktree("squeezed").join("big.bin"), &big).unwrap();
        let before = sandbox.tip("squeezed");
        let run = sandbox.session("checkpoint squeezed");
        run.fails(128).says("space");
        assert_eq!(sandbox.tip("squeezed"), before);
        assert!(crate::sandbox::processes::is_alive(held.pid));
        sandbox.order(&held, "rm big.bin");
        sandbox.session("checkpoint squeezed").ok();
        sandbox.session("terminate squeezed").ok();
        assert_eq!(sandbox.state("squeezed"), "terminated");
    }
    assert_eq!(sandbox.state("squeezed"), "terminated");
}

#[test]
fn what_git_is_told_by_an_option_counts_as_any_setting() {
    let shop = Scratch::new();
    shop.ok("git init -q --bare ../home.git && git remote add origin ../home.git");
    let place = shop.ok(
        "git -c session.worktreeRoot=../there -c user.name='Somebody Else' session run --id given -- \
         sh -c 'pwd; echo x > untracked'",
    );
    assert!(place.ends_with("/there/given\n"), "{place}");
    // The end was recorded by a process in the background.
    let who = shop.ok("git log --format=%an refs/sessions/given");
    assert_eq!(who, "Somebody Else\n".repeat(3));
    assert_eq!(
        shop.ok("git -c session-worker.it.command='echo it' session run --worker it"),
        "it\n"
    );
    let bad = shop.bash("git -c session.sign=maybe session new -- true");
    assert_eq!(bad.status.code(), Some(128), "{bad:?}");
    // What is to stay here stays.
    shop.ok("git -c session.pushUntracked=false session push origin given");
    assert_eq!(
        shop.ok("git -C ../home.git for-each-ref --format='%(refname)'"),
        "refs/sessions/given\n"
    );
    shop.ok("git session push -q origin given");
    assert!(
        shop.ok("git -C ../home.git for-each-ref")
            .contains("refs/session-work/given/")
    );
}

#[test]
fn a_bare_repository_that_nobody_named_is_refused_as_git_refuses_it() {
    let shop = Scratch::new();
    shop.ok("git clone -q --bare . ../bare.git && cd ../bare.git && git session new --id seen -- true");
    shop.ok("git config --global safe.bareRepository explicit");
    // What it says itself doesn't count.
    shop.ok("cd ../bare.git && git --git-dir=. config safe.bareRepository all");
    for line in ["list", "new -- true"] {
        let run = shop.bash(&format!("cd ../bare.git && git session {line}"));
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(128), "{said}");
        assert!(said.starts_with("error: cannot use bare repository '"), "{said}");
        let hint = said.split_once("hint: '").unwrap().1;
        let named = shop.ok(&hint.replace(" session' names it", " session list --format '%(id)'"));
        assert_eq!(named, "seen\n");
    }
    let place = shop.ok("cd ../bare.git && git --git-dir=. session run --id named -- pwd");
    assert!(place.ends_with("/bare.git.sessions/named\n"), "{place}");
    // The directory of a repository with a worktree is none of these.
    shop.ok("cd .git && git session list");
}
