//! What is said of a clone elsewhere that it did not do: its workers and its log go by what it did.

use crate::on_every_format;
use crate::sandbox::{Team, processes};

/// Puts an event on top of a session's log at home, past every check of our own: the newest one, changed by `sed`.
const FORGE: &str = r#"
set -eu
git log -1 --format=%B refs/sessions/$id >message
seq=$(sed -n 's/^Session-Seq: //p' message)
state=$(sed -n 's/^Session-State: //p' message)
sed -e "s/^Session-Seq: .*/Session-Seq: $((seq + 1))/" -e "s/^Session-From: .*/Session-From: $state/" \
    -e "$change" message >next
event=$(git commit-tree "refs/sessions/$id^{tree}" -p refs/sessions/$id -F next)
rm message next
git update-ref refs/sessions/$id $event
"#;

/// Forges an event of a session at home.
pub fn forge_at_home(team: &Team, id: &str, change: &str) {
    let forging = team[0].command("sh").args(["-c", FORGE]).within(&team.home());
    forging.env("id", id).env("change", change).run().ok();
}

const TERMINATE: &str = "s/^Session-Event: .*/Session-Event: terminate/; s/^Session-State: .*/Session-State: terminated\\nSession-Outcome: stopped/";
const SUSPEND: &str =
    "s/^Session-Event: .*/Session-Event: suspend/; s/^Session-State: .*/Session-State: suspended/";

on_every_format! {
    fn what_a_clone_did_not_do_is_not_followed_while_its_worker_lives(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let held = a.hold("--id live");
        a.session("push origin live").ok();
        forge_at_home(&team, "live", TERMINATE);
        let forged = team.tip_at_home("live");
        let refusal = "says of this clone what it did not do (event 4, terminate)";
        for line in ["fetch", "sync"] {
            a.session(line).exits(1).says(refusal);
            assert_eq!(a.state("live"), "running");
        }
        a.session("verify").exits(1).prints(refusal);
        // Whatever else is recorded here meanwhile leads nowhere else.
        a.session("note live -m still").ok();
        for line in ["sync", "push"] {
            a.session(line).exits(1).says("says of this clone");
        }
        assert_eq!(a.state("live"), "running");
        assert!(processes::is_alive(held.pid));
        assert_eq!(team.tip_at_home("live"), forged);
        // Its end is recorded, and both sides are one from then on.
        a.let_end(&held, 0);
        assert_eq!(a.trailer("live", "Outcome"), "exit:0");
        let ended = a.tip("live");
        a.session("sync").ok();
        assert_eq!(team.tip_at_home("live"), a.tip("live"));
        assert_eq!(a.state("live"), "terminated");
        for side in [&ended, &forged] {
            a.git(&format!("merge-base --is-ancestor {side} refs/sessions/live"));
        }
        a.session("verify").ok();
    }

    fn a_worker_that_is_said_to_be_suspended_can_be_stopped(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 1);
        let a = &team[0];
        let held = a.hold("--id live");
        a.session("push origin live").ok();
        forge_at_home(&team, "live", SUSPEND);
        a.session("fetch").exits(1).says("its worker lives here");
        a.session("terminate live").ok();
        assert!(!processes::is_alive(held.pid));
        assert_eq!(a.state("live"), "terminated");
        a.session("sync").ok();
        assert_eq!(team.tip_at_home("live"), a.tip("live"));
        a.session("verify").ok();
    }
}
