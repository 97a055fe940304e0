//! Events signed by git's own means, and sessions that run only if they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Sandbox, Team, until};
use crate::{on_every_format, on_one_format};

/// Gives a clone a key of its own by which it signs events; none where there are no means to make one.
fn signs(sandbox: &Sandbox) -> Option<String> {
    let Ok(program) = which::which("ssh-keygen") else {
        assert!(std::env::var_os("CI").is_none(), "ssh-keygen is missing");
        eprintln!("skipped: there is no ssh-keygen");
        return None;
    };
    let key = sandbox.root().join("home/key");
    let made = sandbox
        .command(program)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "a key", "-f"])
        .args([&key])
        .run();
    made.ok();
    sandbox.config("gpg.format", "ssh");
    sandbox.config("user.signingKey", key.with_extension("pub").to_str().unwrap());
    sandbox.config("session.sign", "true");
    Some(fs::read_to_string(key.with_extension("pub")).unwrap())
}

/// Lets a clone know signers.
fn knows(sandbox: &Sandbox, signers: &[(&str, &str)]) {
    let path = sandbox.root().join("home/signers");
    let lines: String = signers.iter().map(|(who, key)| format!("{who} {key}")).collect();
    fs::write(&path, lines).unwrap();
    sandbox.config("gpg.ssh.allowedSignersFile", path.to_str().unwrap());
}

/// Ends what gpg leaves in the background, which would hold the directory.
struct Agent<'s>(&'s Sandbox);

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        self.0.command("gpgconf").args(["--kill", "all"]).run();
    }
}

/// Gives a clone an OpenPGP key of its own by which it signs events; none where there are no means to make one.
fn signs_by_gpg(sandbox: &Sandbox) -> Option<Agent<'_>> {
    if which::which("gpg").is_err() {
        assert!(std::env::var_os("CI").is_none(), "gpg is missing");
        eprintln!("skipped: there is no gpg");
        return None;
    }
    fs::create_dir_all(sandbox.root().join("home/.gnupg")).unwrap();
    fs::set_permissions(
        sandbox.root().join("home/.gnupg"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    let agent = Agent(sandbox);
    let who = sandbox.git("var GIT_COMMITTER_IDENT");
    let who = who.split_inclusive('>').next().unwrap();
    gpg(
        sandbox,
        &[
            "--passphrase",
            "",
            "--quick-generate-key",
            who,
            "ed25519",
            "sign",
            "never",
        ],
    );
    sandbox.config("session.sign", "true");
    Some(agent)
}

fn gpg(sandbox: &Sandbox, args: &[&str]) -> String {
    let run = sandbox
        .command("gpg")
        .args(["--batch", "--quiet"])
        .args(args)
        .run();
    run.ok().text()
}

on_one_format! {
    fn events_are_signed_by_gpg_where_git_uses_that(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let Some(_agent) = signs_by_gpg(a) else { return };
        let Some(_other) = signs_by_gpg(b) else { return };
        b.config("session.requireSignature", "true");
        a.new_session("--id well -- true");
        a.git("verify-commit refs/sessions/well");
        a.session("push").ok();
        b.session("fetch").ok();
        // Neither a key that is not there nor one that nobody vouches for is a known signer's.
        assert_eq!(b.show("well")["signature"], "unknown");
        let key = a.root().join("home/key.asc");
        gpg(a, &["--armor", "--output", key.to_str().unwrap(), "--export"]);
        gpg(b, &["--import", key.to_str().unwrap()]);
        assert_eq!(b.show("well")["signature"], "unknown");
        b.session("start --trust well").fails(1).says("signed by somebody unknown");
        let listed = gpg(a, &["--with-colons", "--list-keys"]);
        let print = listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
        let trust = b.root().join("home/trust");
        fs::write(&trust, format!("{print}6:\n")).unwrap();
        gpg(b, &["--import-ownertrust", trust.to_str().unwrap()]);
        assert_eq!(b.show("well")["signature"], "good");
        b.session("start --trust well").ok();
        b.session("wait well").ok();
    }
}

on_every_format! {
    fn an_event_is_signed_as_git_signs_commits(sandbox: &Sandbox) {
        let Some(key) = signs(sandbox) else { return };
        knows(sandbox, &[("dev@example.com", &key)]);
        sandbox.run_script("--id signed --title 'Ünsigned: ->'", "echo x > x.txt").ok();
        sandbox.session("note signed -m noted").ok();
        for commit in sandbox.git("log --format=%H refs/sessions/signed").lines() {
            sandbox.git(&format!("verify-commit {commit}"));
            assert!(!sandbox.git(&format!("cat-file commit {commit}")).contains("\nencoding "));
        }
        assert_eq!(sandbox.events("signed"), ["create", "start", "terminate", "note"]);
        // It is still known as this clone's own.
        assert!(sandbox.show("signed").get("trusted").is_none());
        sandbox.assert_sound();
    }

    fn without_a_key_nothing_is_written(sandbox: &Sandbox) {
        sandbox.config("session.sign", "true");
        sandbox.config("gpg.format", "ssh");
        sandbox.config("user.signingKey", "/nowhere/key");
        sandbox.session("new --id unsigned -- true").fails(128);
        assert_eq!(sandbox.git("for-each-ref refs/sessions"), "");
    }

    fn an_end_that_cant_be_signed_stays_what_it_was(sandbox: &Sandbox) {
        if signs(sandbox).is_none() {
            return;
        }
        let held = sandbox.hold("");
        let id = &held.id;
        let key = sandbox.root().join("home/key");
        fs::rename(&key, key.with_extension("away")).unwrap();
        sandbox.dismiss(&held, 3);
        until("its exit is written down", || sandbox.run_dir(id).join("exit.json").exists());
        // It had ended before somebody wanted it to, which can't be recorded either.
        for _ in 0..2 {
            sandbox.session(&format!("terminate {id}")).fails(128);
        }
        assert_eq!(sandbox.state(id), "running");
        fs::rename(key.with_extension("away"), key).unwrap();
        // Its supervisor tries again by itself, and may be faster.
        sandbox.session(&format!("terminate {id}"));
        assert_eq!(sandbox.trailer(id, "Outcome"), "exit:3");
    }

    fn what_is_not_well_signed_does_not_run_where_it_has_to_be(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        let Some(key) = signs(a) else { return };
        b.config("session.requireSignature", "true");
        a.new_session("--id well -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        assert_eq!(b.show("well")["signature"], "unknown");
        b.session("start --trust well").fails(1).says("signed by somebody unknown");
        knows(b, &[("person0@example.com", &key)]);
        assert_eq!(b.show("well")["signature"], "good");
        b.session("start well").fails(1).says("not approved");
        b.session("trust well").ok();
        b.session("start well").ok();
        b.session("wait well").ok();

        // One event of many is enough to refuse it.
        a.new_session("--id partly -- true");
        a.config("session.sign", "false");
        a.session("note partly -m unsigned").ok();
        a.config("session.sign", "true");
        a.session("note partly -m signed").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        assert_eq!(b.show("partly")["signature"], "missing");
        b.session("show partly").ok().prints("some of it not signed");
        let json = b.session("start --json --trust partly").exits(1).json();
        assert_eq!(json["error"]["code"], "unsigned");
        b.session("trust partly").fails(1).says("not signed");
        // A retry of it is no way around.
        a.session("terminate partly").ok();
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("retry --trust partly").fails(1).says("not signed");
    }

    fn a_merge_needs_no_signature(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 3);
        let (a, b, c) = (&team[0], &team[1], &team[2]);
        let (Some(first), Some(second)) = (signs(a), signs(b)) else { return };
        a.new_session("--id two -- true");
        a.session("push").ok();
        b.session("fetch").ok();
        b.session("claim --offline two").ok();
        b.session("note two -m there").ok();
        a.session("note two -m here").ok();
        for clone in [a, b, a] {
            clone.session("sync").ok();
        }
        assert_ne!(a.git("rev-list --merges refs/sessions/two"), "");
        knows(c, &[("person0@example.com", &first), ("person1@example.com", &second)]);
        c.config("session.requireSignature", "true");
        c.session("fetch").ok();
        assert_eq!(c.show("two")["signature"], "good");
        c.session("start --trust two").ok();
        c.session("wait two").ok();
    }
}
