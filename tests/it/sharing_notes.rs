//! The notes that say which session made a commit, on their way between clones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Sandbox, Team, traces};
use crate::{on_every_format, on_one_format};

const NOTES: &str = "refs/notes/sessions";

/// Runs a session that makes a commit, and gives the commit.
fn commit_by(clone: &Sandbox, id: &str) -> String {
    // On a busy machine the tables of references may be locked for longer than git waits for them by itself.
    let git = "git -c reftable.lockTimeout=-1";
    let script = format!("echo {id} > {id}.txt && git add {id}.txt && {git} commit -qm {id}");
    clone.run_script(&format!("-q --id {id}"), &script).ok();
    clone.git(&format!("rev-parse session/{id}"))
}

/// What a note says; empty if there is none.
fn note(clone: &Sandbox, commit: &str) -> String {
    let words = ["notes", "--ref", NOTES, "show", commit];
    clone.command("git").args(words).run().text()
}

fn line(id: &str) -> String {
    format!("{{\"session\":\"{id}\"}}")
}

fn tip(clone: &Sandbox) -> String {
    clone.git(&format!("for-each-ref '--format=%(objectname)' {NOTES}"))
}

fn tip_at_home(team: &Team) -> String {
    team.at_home(&format!("for-each-ref '--format=%(objectname)' {NOTES}"))
}

/// Notes at home that somebody made by other means: what is at each path of their tree.
fn plant(team: &Team, files: &[(&str, &[u8])]) -> String {
    let somebody = &team[0];
    let index = somebody.root().join("index of another");
    let git = |words: &[&str]| {
        somebody
            .command("git")
            .env("GIT_INDEX_FILE", &index)
            .within(&team.home())
            .args(words)
    };
    let _ = fs::remove_file(&index);
    for (path, bytes) in files {
        let file = somebody.root().join("bytes");
        fs::write(&file, bytes).unwrap();
        let blob = git(&["hash-object", "-w", file.to_str().unwrap()])
            .run()
            .ok()
            .text();
        let entry = format!("100644,{blob},{path}");
        git(&["update-index", "--add", "--cacheinfo", &entry]).run().ok();
    }
    let tree = git(&["write-tree"]).run().ok().text();
    let commit = git(&["commit-tree", "-m", "notes", &tree]).run().ok().text();
    git(&["update-ref", NOTES, &commit]).run().ok();
    commit
}

/// Counts a clone's connections to its remote from now on.
struct Connections<'a>(&'a Sandbox);

impl<'a> Connections<'a> {
    fn of(clone: &'a Sandbox) -> Connections<'a> {
        for (key, program) in [
            ("uploadpack", "git-upload-pack"),
            ("receivepack", "git-receive-pack"),
        ] {
            let path = clone.root().join(program);
            let log = clone.root().join("connections");
            let script = format!(
                "#!/bin/sh\necho {key} >> \"{}\"\nexec {program} \"$@\"\n",
                log.display()
            );
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            // git hands it to a shell.
            let quoted = shell_words::quote(path.to_str().unwrap()).into_owned();
            clone.config(&format!("remote.origin.{key}"), &quoted);
        }
        Connections(clone)
    }

    /// How many there were since the last look.
    fn count(&self) -> usize {
        let log = self.0.root().join("connections");
        let lines = fs::read_to_string(&log).unwrap_or_default().lines().count();
        let _ = fs::remove_file(log);
        lines
    }
}

on_every_format! {
    fn a_note_is_where_its_session_was_fetched(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let commit = commit_by(a, "made");
        a.session("push").ok();
        assert_eq!(tip_at_home(&team), tip(a));
        b.session("fetch").ok();
        assert_eq!(tip(b), tip(a));
        // The commit itself did not come; its note is here all the same.
        let list = b.git("notes --ref refs/notes/sessions list");
        assert!(list.ends_with(&commit), "{list}");
        b.session("fetch --work").ok();
        assert_eq!(note(b, &commit), line("made"));
        b.session("verify").ok();
    }

    fn what_two_clones_wrote_comes_together_in_both(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let (first, second) = (commit_by(a, "first"), commit_by(b, "second"));
        a.session("push").ok();
        let pushed = b.session("push");
        pushed.ok().says("second: sent");
        assert!(!pushed.stderr.contains("notes:"), "{pushed}");
        assert_eq!(tip_at_home(&team), tip(b));
        a.session("fetch --work").ok();
        b.session("fetch --work").ok();
        for clone in team.all() {
            assert_eq!(tip(clone), tip_at_home(&team));
            assert_eq!(note(clone, &first), line("first"));
            assert_eq!(note(clone, &second), line("second"));
            clone.session("verify").ok();
            clone.assert_sound();
        }
        // Both at once, and each with sync alone.
        let (third, fourth) = (commit_by(a, "third"), commit_by(b, "fourth"));
        a.session("sync").ok();
        b.session("sync").ok();
        a.session("sync").ok();
        assert_eq!((tip(a), tip(b)), (tip_at_home(&team), tip_at_home(&team)));
        for (commit, id) in [(&first, "first"), (&second, "second"), (&third, "third"), (&fourth, "fourth")] {
            let list = a.git("notes --ref refs/notes/sessions list");
            assert!(list.contains(commit.as_str()), "{id}: {list}");
        }
    }
}

on_one_format! {
    fn notes_of_one_commit_are_brought_together_line_by_line(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let head = a.git("rev-parse HEAD");
        for (clone, text) in [(a, "{\"session\":\"a\",\"later\":[1]}"), (b, "{\"session\":\"b\"}")] {
            clone.command("git").args(["notes", "--ref", NOTES, "append", "-m", text, "HEAD"]).run().ok();
            clone.new_session(&format!("--id of-{} -- true", clone.git("config user.name").replace(' ', "-").to_lowercase()));
            clone.session("push").ok();
        }
        a.session("fetch").ok();
        for clone in team.all() {
            let found = note(clone, &head);
            let mut lines: Vec<&str> = found.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["{\"session\":\"a\",\"later\":[1]}", "{\"session\":\"b\"}"]);
        }
        assert_eq!(tip(a), tip(b));
    }

    fn notes_in_directories_meet_notes_without(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let commit = commit_by(a, "deep");
        let head = a.git("rev-parse HEAD");
        let deep = format!("{}/{}/{}", &commit[..2], &commit[2..4], &commit[4..]);
        let other = format!("{}/{}", &head[..2], &head[2..]);
        plant(&team, &[
            (&deep, b"{\"session\":\"elsewhere\"}\n"),
            (&other, b"{\"session\":\"elsewhere\"}\n"),
        ]);
        a.session("push").ok();
        assert_eq!(note(a, &commit), format!("{}\n{}", line("deep"), line("elsewhere")));
        assert_eq!(note(a, &head), line("elsewhere"));
        b.session("fetch --work").ok();
        assert_eq!(note(b, &commit), note(a, &commit));
        assert_eq!((tip(a), tip(b)), (tip_at_home(&team), tip_at_home(&team)));
        a.assert_sound();
    }

    fn notes_cost_no_connection_of_their_own(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        commit_by(a, "one");
        let connections = Connections::of(a);
        // Work before the log that names it, and the notes with the latter.
        a.session("push origin one").ok();
        assert_eq!(connections.count(), 2);
        assert_eq!(tip_at_home(&team), tip(a));
        a.session("note one -m more").ok();
        a.session("push origin one").ok();
        let usual = connections.count();
        // A log that goes on together with new notes.
        commit_by(a, "two");
        a.session("push origin two").ok();
        assert_eq!(connections.count(), 2);
        a.session("note two -m more").ok();
        a.session("push origin two").ok();
        assert_eq!(connections.count(), usual);

        let connections = Connections::of(b);
        b.session("fetch").ok();
        assert_eq!(connections.count(), 2, "names, and logs and notes together");
        assert_eq!(tip(b), tip(a));
        let before = traces::of(&b.repo());
        b.session("fetch origin two").ok();
        assert_eq!(connections.count(), 1);
        assert_eq!(traces::of(&b.repo()), before);
    }

    fn a_remote_that_takes_no_notes_gets_the_sessions(sandbox: &Sandbox) {
        for hook in [
            // Refuses the reference alone, everything that is pushed with it, and says why.
            ("update", "case \"$1\" in refs/notes/*) echo 'no notes here'; exit 1;; esac"),
            ("pre-receive", "if grep -q refs/notes/; then echo 'no notes here'; exit 1; fi"),
        ] {
            let team = Team::new(sandbox.format, 1);
            let a = &team[0];
            let path = team.home().join("hooks").join(hook.0);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\n{}\n", hook.1)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            commit_by(a, "sent");
            let pushed = a.session("push");
            pushed.ok().says("sent: sent, work: sent").says("notes: not sent (").says("no notes here");
            assert_eq!(team.tip_at_home("sent"), a.tip("sent"));
            assert_eq!(tip_at_home(&team), "");
            let json = a.session("push --json").ok().json();
            assert_eq!(json["notes"], "refused");
            assert!(json["notesReason"].as_str().unwrap().contains("declined"), "{json}");
            // It takes them some day.
            fs::remove_file(path).unwrap();
            let json = a.session("push --json").ok().json();
            assert!(json.get("notes").is_none(), "{json}");
            assert_eq!(tip_at_home(&team), tip(a));
        }
    }

    fn notes_that_are_broken_here_keep_no_session_here(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.will_be_broken();
        commit_by(a, "whole");
        let tree = a.git(&format!("rev-parse {NOTES}^{{tree}}"));
        fs::remove_file(a.repo().join(".git/objects").join(&tree[..2]).join(&tree[2..])).unwrap();
        a.session("push").ok().says("whole: sent, work: sent").says("notes: not sent (");
        assert_eq!(team.tip_at_home("whole"), a.tip("whole"));
        a.session("fetch").ok();
    }

    fn a_remotes_notes_that_are_none_break_nothing(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        commit_by(b, "mine");
        let own = tip(b);
        for (number, what) in ["HEAD:README", "HEAD^{tree}", "a tag"].into_iter().enumerate() {
            let id = format!("good-{number}");
            a.new_session(&format!("--id {id} -- true"));
            a.session(&format!("push origin {id}")).ok();
            let what = match what {
                "a tag" => {
                    team.at_home("-c user.name=T -c user.email=t@example.com tag -f -m x tagged main");
                    team.at_home("rev-parse tagged")
                }
                what => team.at_home(&format!("rev-parse main{}", what.trim_start_matches("HEAD"))),
            };
            // What git itself would refuse to write there.
            fs::create_dir_all(team.home().join("refs/notes")).unwrap();
            fs::write(team.home().join(NOTES), format!("{what}\n")).unwrap();
            let fetched = b.session("fetch");
            fetched.ok().says(&format!("{id}: new")).says("notes: set aside: ").says("no commit");
            let again = b.session("fetch");
            assert!(!again.ok().stderr.contains("notes:"), "{again}");
            assert_eq!(tip(b), own);
            let pushed = b.session("push");
            pushed.ok().says("notes: not sent (the remote's can't be merged: ");
            assert_eq!(team.tip_at_home("mine"), b.tip("mine"));
        }
        b.session("verify").ok();
        fs::remove_file(team.home().join(NOTES)).unwrap();
        b.session("fetch").ok();
        b.session("push").ok();
        assert_eq!(tip_at_home(&team), own);
    }

    fn lines_that_are_no_notes_of_ours_are_left_out(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let commit = commit_by(a, "mine");
        let mut bad = b"{\"session\":\"fine\",\"later\":{\"than\":\"this\"}}\nno json\n{\"session\":\"NO ID\"}\n".to_vec();
        bad.extend_from_slice("{\"session\":\"steers\",\"x\":\"\u{9b}31m\u{202e}\"}\n\u{1b}[31mred\n".as_bytes());
        bad.extend_from_slice(b"{\"session\":\"bytes\",\"x\":\"\xff\"}\n");
        let huge = vec![b'x'; 3 << 20];
        let unknown = "1".repeat(commit.len());
        let other = "2".repeat(commit.len());
        plant(&team, &[
            (&commit, &bad),
            (&unknown, b"{\"session\":\"unknown\"}\n"),
            (&other, &huge),
            ("README", b"no note\n"),
            ("12/not hex", b"no note\n"),
        ]);
        let fetched = a.session("fetch");
        fetched.ok().says("notes: 8 lines left out that name no session");
        assert!(!fetched.stderr.contains(['\u{1b}', '\u{9b}']), "{fetched}");
        let wanted = format!("{}\n{}", line("mine"), "{\"session\":\"fine\",\"later\":{\"than\":\"this\"}}");
        assert_eq!(note(a, &commit), wanted);
        let listed = a.git("notes --ref refs/notes/sessions list");
        assert_eq!(listed.lines().count(), 2, "{listed}");
        assert!(listed.contains(&unknown));
        a.session("verify").ok();
        a.assert_sound();
        // Nothing of it is looked at twice, and what was left out stays in the history of what is pushed.
        let before = tip(a);
        assert!(!a.session("fetch").ok().stderr.contains("notes:"));
        assert_eq!(tip(a), before);
        a.session("push").ok();
        assert_eq!(tip_at_home(&team), before);
        b.session("fetch --work").ok();
        assert_eq!(tip(b), before);
        b.session("verify").ok();
    }

    fn a_remote_with_bad_lines_alone_gives_nothing(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        plant(&team, &[(&a.git("rev-parse HEAD"), b"hello\n")]);
        a.session("fetch").ok().says("notes: 1 line left out");
        assert_eq!(tip(a), "");
        let commit = commit_by(a, "later");
        a.session("push").ok();
        assert_eq!(tip_at_home(&team), tip(a));
        assert_eq!(note(a, &commit), line("later"));
    }

    fn a_tree_that_repeats_itself_without_end_is_set_aside(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.new_session("--id good -- true");
        a.session("push").ok();
        let file = a.root().join("line");
        fs::write(&file, "{\"session\":\"a\"}\n").unwrap();
        let words = ["hash-object", "-w", file.to_str().unwrap()];
        let blob = a.command("git").args(words).within(&team.home()).run().ok().text();
        let make = |lines: String| {
            let path = a.root().join("tree");
            fs::write(&path, lines).unwrap();
            let input = fs::File::open(path).unwrap();
            a.command("git").args(["mktree"]).within(&team.home()).input(input).run().ok().text()
        };
        let leaf: String = (0..256).map(|n| format!("100644 blob {blob}\t{n:02x}\n")).collect();
        let mut tree = make(leaf);
        for _ in 0..19 {
            let lines: String = (0..256).map(|n| format!("040000 tree {tree}\t{n:02x}\n")).collect();
            tree = make(lines);
        }
        let commit = team.at_home(&format!("-c user.name=T -c user.email=t@example.com commit-tree -m x {tree}"));
        team.at_home(&format!("update-ref {NOTES} {commit}"));
        a.session("fetch").ok().says("notes: set aside: ").says("entries");
        a.session("note good -m more").ok();
        a.session("push").ok().says("good: sent");
    }

    fn what_was_removed_there_comes_back(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let commit = commit_by(a, "stays");
        a.session("push").ok();
        // Somebody rewrites them without this one, and starts anew.
        plant(&team, &[(&"3".repeat(commit.len()), b"{\"session\":\"new\"}\n")]);
        a.session("fetch").ok();
        assert_eq!(note(a, &commit), line("stays"));
        a.session("push").ok();
        a.session("note stays -m more").ok();
        a.session("push").ok();
        assert_eq!(tip_at_home(&team), tip(a));
        let there = team.at_home(&format!("ls-tree -r --name-only {NOTES}"));
        assert_eq!(there.lines().count(), 2, "{there}");
    }

    fn notes_that_others_write_meanwhile_are_lost_by_nobody(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 4);
        let made: Vec<String> = (0..4).map(|n| commit_by(&team[n], &format!("by-{n}"))).collect();
        let running: Vec<_> = team.all().iter().map(|clone| clone.session_command("push").spawn()).collect();
        for push in running {
            push.end().ok();
        }
        for clone in team.all() {
            clone.session("sync").ok();
        }
        let there = team.at_home(&format!("ls-tree -r --name-only {NOTES}")).replace('/', "");
        for commit in &made {
            assert!(there.contains(commit.as_str()), "{there}");
        }
    }

    fn a_dry_run_leaves_notes_where_they_are(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        commit_by(a, "dry");
        let before = traces::of(&a.repo());
        a.session("push -n").ok();
        assert_eq!(traces::of(&a.repo()), before);
        assert_eq!(tip_at_home(&team), "");
        a.session("push").ok();
        b.session("list").ok();
        b.session("fetch -n").ok();
        assert_eq!(tip(b), "");
    }

    fn a_run_that_is_pushed_by_itself_sends_its_notes(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        a.run_script("-q --push --id auto", "echo x > x && git add x && git commit -qm x").ok();
        crate::sandbox::until("the home has the notes", || tip_at_home(&team) == tip(a) && !tip(a).is_empty());
        crate::sandbox::wait_unlocked(&a.run_dir("auto").join("relay.lock"));
    }

    fn a_shallow_clone_adds_its_notes_to_those_at_home(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let first = commit_by(a, "deep");
        a.commit_file(&a.repo(), "more", "more\n");
        a.git("push -q origin main");
        a.session("push").ok();
        let b = Sandbox::empty(sandbox.format);
        b.git(&format!("clone -q --depth 1 'file://{}' .", team.home().display()));
        let second = commit_by(&b, "shallow");
        b.session("push").ok().says("shallow: sent");
        a.session("fetch --work").ok();
        assert_eq!(note(a, &first), line("deep"));
        let list = a.git("notes --ref refs/notes/sessions list");
        assert!(list.contains(&second), "{list}");
        assert_eq!(tip(a), tip(&b));
    }
}
