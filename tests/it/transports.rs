//! The whole round over every transport that git has, by real servers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::sandbox::servers::{OTHER_PASSWORD, OTHER_USER, PASSWORD, USER};
use crate::sandbox::{Format, Hash, Refs, Running, Sandbox, Team, Transport};
use crate::sandbox::{traces, until, wait_unlocked};

/// Makes a test for each transport, and for each kind of repository at its other end.
macro_rules! over_every_transport {
    ($($test:ident)*) => {$(
        mod $test {
            use crate::sandbox::{Format, Hash, Refs, Transport};

            over_every_transport!(@one $test path Path);
            over_every_transport!(@one $test file File);
            over_every_transport!(@one $test daemon Daemon);
            over_every_transport!(@one $test http Http);
            over_every_transport!(@one $test ssh Ssh);
        }
    )*};
    (@one $test:ident $name:ident $transport:ident) => {
        mod $name {
            use super::*;

            over_every_transport!(@home $test $transport files_sha1 Files Sha1);
            over_every_transport!(@home $test $transport files_sha256 Files Sha256);
            over_every_transport!(@home $test $transport reftable_sha1 Reftable Sha1);
            over_every_transport!(@home $test $transport reftable_sha256 Reftable Sha256);
        }
    };
    (@home $test:ident $transport:ident $name:ident $refs:ident $hash:ident) => {
        #[test]
        fn $name() {
            let home = Format { refs: Refs::$refs, hash: Hash::$hash };
            if home.is_there() && Transport::$transport.is_there() {
                super::super::$test(Transport::$transport, home);
            }
        }
    };
}

over_every_transport! {
    a_session_makes_the_whole_round
}

/// Makes a test for each of some transports.
macro_rules! over {
    ($test:ident: $($name:ident $transport:ident),*) => {
        mod $test {
            use crate::sandbox::Transport;

            $(
                #[test]
                fn $name() {
                    if Transport::$transport.is_there() {
                        super::$test(Transport::$transport);
                    }
                }
            )*
        }
    };
}

over!(another_hash_at_the_other_end_is_named: path Path, file File, daemon Daemon, http Http, ssh Ssh);
over!(a_push_whose_server_is_killed_is_pushed_again: daemon Daemon, http Http, ssh Ssh);
over!(what_is_broken_here_or_refused_there_keeps_no_other_here: path Path, daemon Daemon, http Http, ssh Ssh);
over!(shallow_clones_hand_over_to_each_other: file File, http Http);
over!(credentials_in_a_url_are_shown_and_kept_nowhere: basic Basic);
over!(a_wrong_password_is_an_error_that_asks_nobody: basic Basic);

/// What the sessions here run: it says that it is up, and stays.
const STAYS: &str = "echo \"life $GIT_SESSION_RESUMED\" >> \"$GIT_SESSION_STATE_DIR/lives\"; \
                     echo up > \"$FIFOS/up\"; exec sleep 1000";

/// Starts a session with work of every kind that is not committed.
fn begin(clone: &Sandbox, id: &str) {
    clone.fifo("up");
    let run = clone.session_command(&format!("run -d --id {id} -- sh -c"));
    run.args([STAYS]).run().ok();
    clone.hear("up");
    let tree = clone.worktree(id);
    clone.commit_file(&tree, "made.txt", "made\n");
    std::fs::write(tree.join("code.txt"), "staged\n").unwrap();
    std::fs::write(tree.join("added"), b"\0\xff\r\nno line's end").unwrap();
    clone.git_in(&tree, "add code.txt added");
    clone.git_in(&tree, "rm -q README");
    std::fs::write(tree.join("code.txt"), "staged and changed\n").unwrap();
    std::fs::write(tree.join("new file"), "untracked\n").unwrap();
    std::os::unix::fs::symlink("new file", tree.join("link")).unwrap();
}

/// Everything of a worktree that has to be the same elsewhere.
fn work(clone: &Sandbox, tree: &Path) -> (Vec<String>, Vec<(std::path::PathBuf, String)>) {
    let git = [
        "rev-parse HEAD",
        "symbolic-ref HEAD",
        "ls-files --stage",
        "status --porcelain=v2 --untracked-files=all",
    ];
    let said = git.iter().map(|line| clone.git_in(tree, line)).collect();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(tree).unwrap() {
        let path = entry.unwrap().path();
        let name: std::path::PathBuf = path.file_name().unwrap().into();
        if path.is_symlink() {
            files.push((name, format!("-> {:?}", std::fs::read_link(&path).unwrap())));
        } else if name != Path::new(".git") {
            files.push((name, format!("{:?}", std::fs::read(&path).unwrap())));
        }
    }
    files.sort();
    (said, files)
}

fn a_session_makes_the_whole_round(transport: Transport, home: Format) {
    let of = |refs| Format { refs, ..home };
    let other = if of(Refs::Reftable).is_there() {
        Refs::Reftable
    } else {
        Refs::Files
    };
    let clones = match home.hash {
        Hash::Sha1 => [of(Refs::Files), of(other), of(other)],
        Hash::Sha256 => [of(other), of(Refs::Files), of(Refs::Files)],
    };
    let team = Team::over(transport, home, &clones);
    let a = &team[0];
    begin(a, "moves");
    let left = work(a, &a.worktree("moves"));
    a.session("suspend moves").ok();
    a.session("push").ok().says("moves: sent").says("work: sent");
    assert_eq!(team.tip_at_home("moves"), a.tip("moves"));

    // Both others see it and want it.
    let others = [&team[1], &team[2]];
    for clone in others {
        clone.fifo("up");
        clone.session("fetch --work").ok().says("moves: new");
        assert_eq!(clone.tip("moves"), a.tip("moves"));
    }
    let runs = others.map(|clone| clone.session_command("resume --trust moves").spawn());
    let runs = runs.map(Running::end);
    let (b, c, lost) = match runs[0].code {
        0 => (others[0], others[1], &runs[1]),
        _ => (others[1], others[0], &runs[0]),
    };
    let mut codes = runs.each_ref().map(|run| run.code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{} {}", runs[0], runs[1]);
    lost.fails(1);
    c.session("resume --trust moves").fails(1);
    b.hear("up");
    assert_eq!(work(b, &b.worktree("moves")), left);
    let lives = std::fs::read_to_string(b.run_dir("moves").join("state/lives")).unwrap();
    assert_eq!(lives, "life \nlife 1\n");
    assert_eq!(team.tip_at_home("moves"), b.tip("moves"));
    c.session("fetch").ok();
    let listed = c.session("list --remote --format '%(id) %(here) %(state)'");
    assert_eq!(listed.ok().text(), "moves false running");

    // Back to where it began.
    b.commit_file(&b.worktree("moves"), "made there.txt", "made there\n");
    std::fs::write(b.worktree("moves").join("new file"), "changed there\n").unwrap();
    let left = work(b, &b.worktree("moves"));
    b.session("push").ok();
    a.session("sync").ok().says("taken over");
    assert_eq!(a.state("moves"), "running");
    assert_eq!(a.show("moves")["here"], false);

    // It is not a's any more: its owner is asked, and answers.
    a.session("suspend moves --reason 'the night comes'").ok();
    b.session("sync").ok();
    assert_eq!(b.state("moves"), "suspended");
    a.session("sync").ok();
    assert_eq!(a.state("moves"), "suspended");
    assert_eq!(a.trailer("moves", "Reason"), b.trailer("moves", "Reason"));
    assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "");

    a.session("resume --trust moves").ok();
    a.hear("up");
    assert_eq!(work(a, &a.worktree("moves")), left);
    a.end("moves");
    a.session("push").ok();
    for clone in [b, c] {
        clone.session("sync").ok();
        assert_eq!(clone.state("moves"), "terminated");
        assert_eq!(clone.tip("moves"), a.tip("moves"));
    }
    assert_eq!(team.tip_at_home("moves"), a.tip("moves"));
    team.at_home("fsck --strict --no-dangling --no-progress");
}

fn another_hash_at_the_other_end_is_named(transport: Transport) {
    let sha256 = Format {
        hash: Hash::Sha256,
        ..Format::PLAIN
    };
    for (here, there) in [(Format::PLAIN, sha256), (sha256, Format::PLAIN)] {
        let team = Team::over(transport, there, &[there]);
        let theirs = team[0].new_session("--id theirs -- true");
        team[0].session("push").ok();
        let clone = Sandbox::new(here);
        team.server.admit(&clone);
        clone.git(&format!("remote add origin '{}'", team.server.url()));
        clone.new_session("--id mine -- true");
        let before = traces::of(&clone.file(".git/refs"));
        for line in [
            "fetch",
            "push",
            "sync",
            "push -n",
            "push origin mine",
            "fetch --work origin theirs",
        ] {
            let run = clone.session(line);
            run.fails(128).says("names its objects by another hash");
        }
        let json = clone.session("fetch --json");
        assert_eq!(json.exits(128).json()["error"]["code"], "remote");
        assert_eq!(traces::of(&clone.file(".git/refs")), before);
        assert_eq!(team.tip_at_home("mine"), "");
        assert_eq!(team.tip_at_home("theirs"), team[0].tip(&theirs));
        // The worker doesn't suffer from it.
        clone.session("run --push --id ran -- true").ok();
        assert_eq!(clone.state("ran"), "terminated");
    }
}

/// Lets the repository's hook say that it was called for a reference of some kind, and then wait for ever.
fn stop_in(team: &Team, hook: &str, prefix: &str) {
    let fifo = team[0].root().join("fifos/called");
    let script = format!(
        "#!/bin/sh\nwhile read old new name; do\ncase $name in {prefix}*) echo $name > {}; exec sleep 1000;; esac\ndone\n",
        shell_words::quote(fifo.to_str().unwrap())
    );
    let path = team.home().join("hooks").join(hook);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn a_push_whose_server_is_killed_is_pushed_again(transport: Transport) {
    let mut team = Team::over(transport, Format::PLAIN, &[Format::PLAIN; 2]);
    team[0].fifo("called");
    for (number, (hook, prefix)) in [
        ("pre-receive", "refs/sessions/"),
        ("post-receive", "refs/sessions/"),
        ("pre-receive", "refs/session-work/"),
        ("post-receive", "refs/session-work/"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("cut-{number}");
        team[0]
            .session(&format!("run --id {id} -- sh -c 'echo made > made.txt'"))
            .ok();
        let mut expected = team[0].events(&id);
        expected.push("home".to_owned());
        // The first time its home is recorded; later there is no more work to send.
        let times = if prefix == "refs/sessions/" { 2 } else { 1 };
        for time in 1..=times {
            eprintln!("{hook} for {prefix}, time {time}");
            stop_in(&team, hook, prefix);
            let push = team[0].session_command("push").spawn();
            assert!(team[0].hear("called").starts_with(prefix));
            team.server.kill();
            let push = push.end();
            // Servers may tell what became of it before the hook after it has ended.
            if push.code != 0 || hook == "pre-receive" {
                push.fails(128).says("cannot be reached");
            }
            std::fs::remove_file(team.home().join("hooks").join(hook)).unwrap();
            team[0].session("push").fails(128).says("cannot be reached");
            team.server.come_back();
            team[0].session("push").ok();
            assert_eq!(team.tip_at_home(&id), team[0].tip(&id));
            team[0].session("push").ok().says("up to date");
            team[0].session(&format!("note {id} -m more")).ok();
            expected.push("note".to_owned());
        }
        team[0].session("push").ok();
        assert_eq!(team[0].events(&id), expected);
    }
    // So many that the remote is asked first.
    let many: Vec<String> = (0..9)
        .map(|number| team[0].new_session(&format!("--id many-{number} -- true")))
        .collect();
    stop_in(&team, "post-receive", "refs/sessions/many");
    let push = team[0].session_command("push").spawn();
    team[0].hear("called");
    team.server.kill();
    push.end();
    std::fs::remove_file(team.home().join("hooks/post-receive")).unwrap();
    team.server.come_back();
    team[0].session("push").ok().says("13 sessions are up to date");
    for id in many {
        assert_eq!(team[0].events(&id), ["create", "home"]);
        assert_eq!(team.tip_at_home(&id), team[0].tip(&id));
    }
    team[1].session("fetch --work").ok();
    for number in 0..4 {
        team[1]
            .session(&format!("diff cut-{number}"))
            .ok()
            .prints("made.txt");
    }
    team.at_home("fsck --strict --no-dangling --no-progress");
}

fn what_is_broken_here_or_refused_there_keeps_no_other_here(transport: Transport) {
    let team = Team::over(transport, Format::PLAIN, &[Format::PLAIN]);
    let a = &team[0];
    a.will_be_broken();
    let ids = ["big", "first", "lacks", "last", "torn"];
    for id in ids {
        a.run_script(&format!("--id {id}"), &format!("echo {id} > made.txt"))
            .ok();
    }
    // As hosts do that look at what they get: they take all of a push, or nothing.
    let hook = team.home().join("hooks/pre-receive");
    let script = "#!/bin/sh\n! grep -q refs/session-work/big/ || { echo 'it is too big' >&2; exit 1; }\n";
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = "cd .git/objects; mv pack packs; mkdir pack
        find packs -name '*.pack' | while read pack; do git unpack-objects -q < $pack; done
        for lost in $(echo lacks | git hash-object --stdin) $(git rev-parse refs/sessions/torn~1); do
        rm -f $(echo $lost | sed 's,..,&/,'); done";
    a.command("sh").args(["-ec", script]).run().ok();
    let run = a.session("push");
    run.exits(1)
        .says("big: sent, work: not sent (pre-receive hook declined: it is too big)");
    run.says("first: sent, work: sent").says("last: sent, work: sent");
    run.says("lacks: sent, work: not sent (")
        .says("unable to read")
        .says("torn: refused: ");
    for id in ["big", "first", "lacks", "last"] {
        assert_eq!(team.tip_at_home(id), a.tip(id));
    }
    let works = team.at_home("for-each-ref --format=%(refname) refs/session-work");
    assert_eq!(works.lines().count(), 2, "{works}");
    a.session("push").exits(1).says("2 sessions are up to date");
    a.session("sync").exits(1).says("2 sessions are up to date");
    team.at_home("fsck --strict --no-dangling --no-progress");
}

fn shallow_clones_hand_over_to_each_other(transport: Transport) {
    let mut team = Team::over(transport, Format::PLAIN, &[Format::PLAIN]);
    for name in ["second", "third"] {
        team[0].commit_file(&team[0].repo(), name, "of the history\n");
    }
    team[0].git("push -q origin main");
    for _ in 0..2 {
        team.join(Format::PLAIN, "--depth 1");
    }
    let (whole, a, b) = (&team[0], &team[1], &team[2]);
    for clone in [a, b] {
        assert_eq!(clone.git("rev-list --count HEAD"), "1");
    }
    begin(a, "moves");
    let left = work(a, &a.worktree("moves"));
    a.session("suspend moves").ok();
    a.session("push").ok().says("work: sent");
    b.fifo("up");
    b.session("fetch --work").ok();
    b.session("resume --trust moves").ok();
    b.hear("up");
    assert_eq!(work(b, &b.worktree("moves")), left);
    b.commit_file(&b.worktree("moves"), "made there.txt", "made there\n");
    let left = work(b, &b.worktree("moves"));
    b.session("suspend moves").ok();
    b.session("push").ok().says("work: sent");
    a.session("fetch").ok();
    a.session("resume --trust moves").ok();
    a.hear("up");
    assert_eq!(work(a, &a.worktree("moves")), left);
    a.end("moves");
    a.session("push").ok();
    whole.session("fetch --work").ok();
    whole.session("diff moves").ok().prints("made there.txt");

    // What began before a shallow history does is brought with what it needs.
    whole.fifo("up");
    whole
        .session_command("run -d --id old --base HEAD~2 -- sh -c")
        .args([STAYS])
        .run()
        .ok();
    whole.hear("up");
    std::fs::write(whole.worktree("old").join("new file"), "untracked\n").unwrap();
    let left = work(whole, &whole.worktree("old"));
    whole.session("suspend old").ok();
    whole.session("push").ok().says("work: sent");
    b.session("fetch --work").ok().says("old: new");
    b.session("resume --trust old").ok();
    b.hear("up");
    assert_eq!(work(b, &b.worktree("old")), left);
    b.end("old");
    for clone in [whole, a, b] {
        clone.session("sync").ok();
        clone.session("verify").ok();
        clone.session("verify --remote").ok();
    }
    team.at_home("fsck --strict --no-dangling --no-progress");
}

fn credentials_in_a_url_are_shown_and_kept_nowhere(transport: Transport) {
    let mut team = Team::over(transport, Format::PLAIN, &[Format::PLAIN; 2]);
    let people = [(USER, PASSWORD), (OTHER_USER, OTHER_PASSWORD)];
    let secrets = [
        PASSWORD,
        OTHER_PASSWORD,
        &format!("{USER}:"),
        &format!("{OTHER_USER}:"),
    ];
    let url = |(user, password)| team.server.url_as(&format!("{user}:{password}@"));
    for (clone, person) in team.all().iter().zip(people) {
        let rule = format!("url.{}.insteadOf", url(people[0]));
        clone.git(&format!("config --global --unset {rule}"));
        clone.git(&format!("remote set-url origin {}", url(person)));
    }
    let (a, b) = (&team[0], &team[1]);
    let told = |clone: &Sandbox, line: &str, code: i32| {
        let run = clone.session(line);
        run.exits(code);
        for secret in secrets {
            assert!(
                !run.stdout().contains(secret) && !run.stderr.contains(secret),
                "{run}"
            );
        }
    };
    let direct = [url(people[0]), url(people[1])];
    begin(a, "moves");
    told(a, "push -n", 0);
    told(a, "push --json", 0);
    told(a, "suspend moves", 0);
    told(a, &format!("push {}", direct[0]), 0);
    told(a, "push", 0);
    b.fifo("up");
    told(b, &format!("fetch -n {}", direct[1]), 0);
    told(b, &format!("fetch {}", direct[1]), 0);
    told(b, "fetch --work", 0);
    told(b, "resume --trust moves", 0);
    b.hear("up");
    told(a, "fetch", 0);
    told(a, "terminate moves", 0);
    told(b, "sync", 0);
    told(a, "sync --json", 0);
    told(a, &format!("run --push={} --id none -- true", direct[0]), 125);
    a.fifo("end");
    let run = a
        .session_command("run --push --id sent -- sh -c")
        .args(["read line < \"$FIFOS/end\""])
        .spawn();
    until("the home has it", || !team.tip_at_home("sent").is_empty());
    a.tell("end", "now");
    run.end().ok();
    wait_unlocked(&a.run_dir("sent").join("relay.lock"));
    for clone in [a, b] {
        for line in [
            "list --all",
            "list --remote",
            "list --remote --json",
            "list --all --json",
            "show moves",
            "show --json moves",
            "log moves",
            "log --json moves",
            "doctor",
            "doctor --remote",
            "doctor --json",
            "verify --remote",
        ] {
            told(clone, line, 0);
        }
    }
    team.server.kill();
    for line in ["push", "fetch", "sync", "fetch --json"] {
        told(&team[0], line, 128);
    }
    told(&team[0], &format!("fetch {}", direct[0]), 128);
    told(&team[0], "doctor --remote", 1);
    let places = [
        team[0].repo().join(".git"),
        team[1].repo().join(".git"),
        team.home(),
    ];
    for dir in places {
        let objects = team[0]
            .command("git")
            .args(["cat-file", "--batch-all-objects", "--batch"])
            .within(&dir)
            .run();
        for secret in secrets {
            let bytes = &objects.ok().bytes;
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
            let mut files = traces::files_with(&dir, secret);
            files.retain(|path| *path != dir.join("config"));
            assert!(files.is_empty(), "{files:?}");
        }
    }
}

fn a_wrong_password_is_an_error_that_asks_nobody(transport: Transport) {
    let team = Team::over(transport, Format::PLAIN, &[Format::PLAIN]);
    let a = &team[0];
    a.new_session("--id mine -- true");
    let rule = format!("url.{}", team.server.url_as(&format!("{USER}:{PASSWORD}@")));
    a.git(&format!("config --global --remove-section '{rule}'"));
    let before = traces::of(&a.file(".git/refs"));
    // Whoever runs the tests may have a terminal, but nobody shall be asked there.
    let session = |line: &str| {
        let words = shell_words::split(line).unwrap();
        a.command("setsid")
            .args(["-w", env!("CARGO_BIN_EXE_git-session")])
            .args(words)
    };
    for (who, line) in [
        ("ada:wrongPassw0rd@", "push"),
        ("ada:wrongPassw0rd@", "fetch"),
        ("ada@", "fetch"),
        ("", "sync"),
        ("", "push"),
    ] {
        a.git(&format!("remote set-url origin {}", team.server.url_as(who)));
        for prompt in ["0", "1"] {
            let run = session(line).env("GIT_TERMINAL_PROMPT", prompt).run();
            run.fails(128).says("denies access");
            assert!(!run.stderr.contains("wrongPassw0rd"), "{run}");
        }
        assert_eq!(traces::of(&a.file(".git/refs")), before);
    }
    let json = session("fetch --json").run();
    assert_eq!(json.exits(128).json()["error"]["code"], "remote");
    // Somebody else may know the password.
    let askpass = a.root().join("askpass");
    let script = format!("#!/bin/sh\ncase $1 in User*) echo {USER};; *) echo {PASSWORD};; esac\n");
    std::fs::write(&askpass, script).unwrap();
    std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o755)).unwrap();
    session("push")
        .env("GIT_ASKPASS", &askpass)
        .run()
        .ok()
        .says("mine: sent");
}
