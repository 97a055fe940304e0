//! Notes that are only ever added to, in parallel and beside stock git.

use std::thread;

use git_session::git::{Durability::Relaxed, notes::append};
use gix::ObjectId;

use crate::git_repo::{Sandbox, formats, git_bytes, git_command, oid, run, signature, text};

const NOTES: &str = "refs/notes/things";

fn add(sandbox: &Sandbox, lines: &[(ObjectId, String)]) {
    append(
        &sandbox.repo(),
        NOTES,
        lines,
        &signature(),
        "notes: added\n",
        Relaxed,
    )
    .unwrap();
}

fn note(sandbox: &Sandbox, commit: ObjectId) -> String {
    sandbox.git(["notes", "--ref", NOTES, "show", &commit.to_string()])
}

fn count(sandbox: &Sandbox) -> String {
    sandbox.git(["rev-list", "--count", NOTES])
}

#[test]
fn appends_in_parallel_are_all_there() {
    formats(|sandbox| {
        let head = sandbox.head();
        let threads = if sandbox.format.refs == "files" { 50 } else { 12 };
        thread::scope(|scope| {
            for number in 0..threads {
                scope.spawn(move || add(sandbox, &[(head, format!("line {number}"))]));
            }
        });
        let note = note(sandbox, head);
        let mut lines: Vec<&str> = note.lines().collect();
        lines.sort_unstable();
        let mut wanted: Vec<String> = (0..threads).map(|number| format!("line {number}")).collect();
        wanted.sort_unstable();
        assert_eq!(lines, wanted);
        sandbox.assert_sound();
    });
}

#[test]
fn a_line_that_is_there_is_not_added_again() {
    formats(|sandbox| {
        let (head, other) = (sandbox.head(), sandbox.loose_commit("other"));
        add(
            sandbox,
            &[(head, "one".into()), (head, "one".into()), (other, "two".into())],
        );
        add(sandbox, &[(head, "one".into()), (other, "two".into())]);
        assert_eq!(count(sandbox), "1", "nothing new makes no commit");
        add(sandbox, &[(head, "one".into()), (head, "three".into())]);
        assert_eq!(
            (note(sandbox, head), note(sandbox, other)),
            ("one\nthree".into(), "two".into())
        );
        assert_eq!(count(sandbox), "2");
        sandbox.assert_sound();
    });
}

#[test]
fn a_note_without_an_end_of_line_stays_a_line_of_its_own() {
    formats(|sandbox| {
        let head = sandbox.head();
        let blob = sandbox.dir.path().join("blob");
        std::fs::write(&blob, "a line of somebody else's").unwrap();
        let blob = sandbox.git(["hash-object", "-w", blob.to_str().unwrap()]);
        sandbox.git(["notes", "--ref", NOTES, "add", "-C", &blob]);
        add(sandbox, &[(head, "ours".into())]);
        assert_eq!(note(sandbox, head), "a line of somebody else's\nours");
    });
}

#[test]
fn a_tree_that_has_fanned_out_keeps_its_shape_and_what_is_no_note() {
    formats(|sandbox| {
        // Many commits in one stream, each of them with a note by git.
        let mut stream = String::new();
        for number in 0..300 {
            stream += &format!(
                "commit refs/heads/many\nmark :{}\ncommitter A <a@example.com> {number} +0000\ndata 1\nx\n",
                number + 1
            );
        }
        stream += &format!("commit {NOTES}\ncommitter A <a@example.com> 0 +0000\ndata 1\nn\n");
        for number in 0..300 {
            stream += &format!("N inline :{}\ndata 2\ng\n\n", number + 1);
        }
        let file = sandbox.beside("stream");
        std::fs::write(&file, stream).unwrap();
        let mut import = git_command(&sandbox.root());
        import
            .args(["fast-import", "--quiet"])
            .stdin(std::fs::File::open(&file).unwrap());
        let output = run(&mut import);
        assert!(output.status.success(), "{}", text(&output.stderr));
        // A tree of notes may hold what is none, and git keeps it.
        let blob = sandbox.git(["rev-parse", "HEAD:file"]);
        let tree = sandbox.git(["rev-parse", &format!("{NOTES}^{{tree}}")]);
        sandbox.git(["read-tree", &tree]);
        sandbox.git([
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("100644,{blob},README"),
        ]);
        let tree = sandbox.git(["write-tree"]);
        let commit = sandbox.git(["commit-tree", "-m", "no note", "-p", NOTES, &tree]);
        sandbox.git(["update-ref", NOTES, &commit]);
        let paths = || {
            text(&git_bytes(
                &sandbox.root(),
                ["ls-tree", "-r", "--name-only", NOTES],
            ))
        };
        let before = paths();
        assert!(before.lines().any(|path| path.contains('/')), "it has fanned out");
        let commits = sandbox.git(["rev-list", "refs/heads/many"]);
        let lines: Vec<(ObjectId, String)> = commits
            .lines()
            .take(20)
            .map(|commit| (oid(commit), "ours".to_owned()))
            .collect();
        add(sandbox, &lines);
        assert_eq!(paths(), before);
        for (commit, _) in &lines {
            assert_eq!(note(sandbox, *commit), "g\nours");
        }
        // A new one is found by git, wherever it was put.
        let head = sandbox.head();
        add(sandbox, &[(head, "new".into())]);
        assert_eq!(note(sandbox, head), "new");
        let listed = sandbox.git(["notes", "--ref", NOTES, "list"]);
        assert_eq!(listed.lines().count(), 301);
        // What git does next has all of it.
        sandbox.git([
            "notes",
            "--ref",
            NOTES,
            "append",
            "-m",
            "git's",
            &head.to_string(),
        ]);
        assert_eq!(note(sandbox, head), "new\n\ngit's");
        assert!(paths().lines().any(|path| path == "README"));
        sandbox.git(["read-tree", "HEAD"]);
        sandbox.assert_sound();
    });
}
