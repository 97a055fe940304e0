//! The whole round over every transport that git has, by real servers.

use std::path::Path;

use crate::sandbox::{Format, Hash, Refs, Running, Sandbox, Team, Transport};

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
