//! What came from elsewhere runs here only after its user has approved exactly that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::on_every_format;
use crate::sandbox::{Sandbox, Team};

/// A suspended session of the first clone with one changed file, which the second has fetched.
pub fn handed_over(team: &Team, id: &str) {
    let a = &team[0];
    a.fifo("up");
    let script = "test -e made.txt || echo made > made.txt; echo up > \"$FIFOS/up\"; exec sleep 1000";
    a.session_command(&format!("run -d --id {id} --title {id} -- sh -c"))
        .args([script])
        .run()
        .ok();
    a.hear("up");
    a.session(&format!("suspend {id}")).ok();
    a.session("push").ok();
    team[1].session("fetch").ok();
}

/// The tree that a file lists.
pub fn mktree(sandbox: &Sandbox, list: &std::path::Path) -> String {
    let list = fs::File::open(list).unwrap();
    let made = sandbox
        .command("git")
        .args(["mktree", "--missing"])
        .input(list)
        .run();
    made.ok().text()
}

/// Where approvals are.
fn approvals(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().join("home/.local/share/git-session/approved")
}

on_every_format! {
    fn on_a_terminal_one_is_shown_what_would_run_and_asked(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        handed_over(&team, "foreign");
        let before = (b.tip("foreign"), team.tip_at_home("foreign"));
        for answer in ["n\n", "\n", "what\n", "\u{4}"] {
            let (shown, code) = b.session_command("resume foreign").typed(answer);
            assert_eq!(code, 1, "{shown}");
            for part in ["sleep 1000", ".sessions/foreign", "made.txt", "Run it? [y/N]", "not approved"] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            assert_eq!((b.tip("foreign"), team.tip_at_home("foreign")), before);
            assert!(!b.worktree("foreign").exists());
        }
        // Nobody is asked whose output is for a program, or who wants to hear nothing.
        for options in ["--json", "-q"] {
            let (shown, code) = b.session_command(&format!("resume {options} foreign")).typed("y\n");
            assert_eq!(code, 1, "{shown}");
            assert!(!shown.contains("Run it?"), "{shown}");
        }
        b.fifo("up");
        let (shown, code) = b.session_command("resume foreign").typed("y\n");
        assert_eq!(code, 0, "{shown}");
        b.hear("up");
        assert_eq!(b.state("foreign"), "running");
        b.session("suspend foreign").ok();
        // What was approved once, and is the same, is not asked for again.
        assert_eq!(b.show("foreign")["trusted"], true);
        // Nor is anything that can't run any more.
        b.session("trust --revoke foreign").ok();
        b.session("terminate foreign").ok();
        let (shown, code) = b.session_command("resume foreign").typed("y\n");
        assert_eq!(code, 1, "{shown}");
        assert!(!shown.contains("Run it?"), "{shown}");
        assert!(shown.contains("cannot resume"), "{shown}");
    }

    fn who_is_asked_is_shown_the_first_of_very_many_files_and_how_many_there_are(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.fifo("up");
        let script = "for i in $(seq 10 39); do echo made > made$i.txt; done; echo up > \"$FIFOS/up\"; exec sleep 1000";
        a.session_command("run -d --id many -- sh -c").args([script]).run().ok();
        a.hear("up");
        a.session("suspend many").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        let (shown, _) = b.session_command("resume many").typed("n\n");
        for part in ["made10.txt", "made29.txt", "...", "30 files changed"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("made30.txt"), "{shown}");
    }

    fn what_was_fetched_does_not_run_unless_it_is_approved(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let b = &team[1];
        handed_over(&team, "foreign");
        let before = (b.tip("foreign"), team.tip_at_home("foreign"));
        b.session("resume foreign").fails(1).says("came from elsewhere").says("git session trust foreign");
        let json = b.session("resume --json foreign").exits(1).json();
        assert_eq!(json["error"]["code"], "untrusted");
        // Nothing was claimed, and nothing made.
        assert_eq!((b.tip("foreign"), team.tip_at_home("foreign")), before);
        assert!(!b.worktree("foreign").exists());
        assert_eq!(b.show("foreign")["trusted"], false);
        b.session("show foreign").ok().prints("no: it came from elsewhere");
        assert!(team[0].show("foreign").get("trusted").is_none());

        let told = b.session("trust foreign");
        told.ok().says("made.txt").says("sleep 1000").says("approved").says("Person 0");
        told.says("  title         foreign\n");
        assert_eq!(b.show("foreign")["trusted"], true);
        b.fifo("up");
        b.session("resume foreign").ok();
        b.hear("up");
        // What this clone adds to it needs no approval.
        fs::write(b.worktree("foreign").join("more.txt"), "more\n").unwrap();
        b.session("suspend foreign").ok();
        b.session("resume foreign").ok();
        b.hear("up");
        b.end("foreign");
    }

    fn an_approval_is_the_users_own_and_can_be_taken_back(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.new_session("--id once -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("trust once").ok();
        let dir = approvals(b);
        let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600);
            assert!(fs::read_to_string(&path).unwrap().contains("session once: true"));
        }
        b.session("trust --revoke once").ok().says("not approved any more");
        b.session("trust --revoke once").ok().says("was not approved");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        b.session("start once").fails(1).says("not approved");
        a.session("trust once").ok().says("made here");
        // Without a place for it, it holds for this once.
        b.session_command("start --trust once").without("HOME").run().ok();
        b.session("wait once").ok();
    }

    fn other_work_is_another_approval(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        handed_over(&team, "changes");
        b.session("trust changes").ok();
        a.session("resume changes").ok();
        a.hear("up");
        fs::write(a.worktree("changes").join("made.txt"), "changed\n").unwrap();
        a.session("suspend changes").ok();
        a.session("push").ok();
        // The claim brings what was not approved; it is taken back, and nothing ran.
        b.session("resume changes").fails(1).says("not approved");
        assert_eq!(b.show("changes")["trusted"], false);
        assert!(!b.worktree("changes").exists());
        b.session("resume --trust changes").ok();
        assert_eq!(fs::read_to_string(b.worktree("changes").join("made.txt")).unwrap(), "changed\n");
        b.end("changes");
    }

    fn a_retry_of_what_was_fetched_needs_approval_too(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        a.run_script("--id ended", "exit 3").exits(3);
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("retry ended").fails(1).says("not approved");
        assert_eq!(b.git("for-each-ref refs/sessions").lines().count(), 1);
        b.session("trust ended").ok();
        let id = b.session("retry ended").ok().text();
        b.session(&format!("wait {id}")).exits(3);
        // What is derived from it again still goes back to it.
        b.session("trust --revoke ended").ok();
        b.session(&format!("retry {id}")).fails(1).says("not approved");
        b.session(&format!("retry --trust {id}")).ok();
        b.session("wait -").exits(3);
        // Where it came from can't be told any more.
        b.session("trust --revoke ended").ok();
        let tip = b.tip("ended");
        b.git(&format!("update-ref -d refs/sessions/ended {tip}"));
        b.session(&format!("retry {id}")).fails(1).says("not approved");
    }

    fn nobody_makes_an_event_for_another_clone(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        b.new_session("--id theirs -- true");
        let owner = b.trailer("theirs", "Owner");
        let victim = b.tip("theirs");
        b.session("push").ok();
        a.session("fetch").ok();
        // A session with the second clone's name on it, which that clone did not write.
        let spec = "{\"command\":[\"touch\",\"ran\"],\"limits\":{}}";
        fs::write(a.file("session.json"), spec).unwrap();
        let blob = a.git("hash-object -w session.json");
        fs::write(a.file("tree"), format!("100644 blob {blob}\tsession.json\n")).unwrap();
        let tree = mktree(a, &a.file("tree"));
        let message = a.git(&format!("log -1 --format=%B {victim}"));
        for (id, text) in [("forged", message.replace("theirs", "forged")), ("again", message.replace("theirs", "again"))] {
            assert!(text.contains(&owner));
            fs::write(a.file("message"), text).unwrap();
            let commit = a.git(&format!("commit-tree {tree} -F message"));
            a.git(&format!("push -q origin {commit}:refs/sessions/{id}"));
        }
        b.session("fetch").ok().says("forged: new");
        assert_eq!(b.show("forged")["here"], true);
        assert_eq!(b.show("forged")["trusted"], false);
        b.session("start forged").fails(1).says("not approved");
        b.session("start theirs").ok();
        b.session("wait theirs").ok();
        // Nor for another step of one of its own.
        let tip = b.tip("theirs");
        b.session("push").ok();
        assert_eq!(team.tip_at_home("theirs"), tip);
    }
}
