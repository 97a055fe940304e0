//! Sessions that were made to harm who fetches them: looking at them runs nothing, and what is put back stays inside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sandbox::{Format, Run, Sandbox, Team};
use crate::trust::handed_over;
use crate::{on_every_format, on_one_format};

/// Makes the newest work of a suspended session what a script says, and publishes that past every check of our own.
///
/// The script sets `index`, `tree`, `manifest` and `stored` (further lines of the work commit's tree).
const FORGE: &str = r#"
set -eu
tree() { printf "$1" | git mktree --missing; }
blob() { printf '%s' "$1" | git hash-object -w --stdin; }
commit() { git commit-tree "$@" -m x; }
old=$(git log -1 --format='%(trailers:key=Session-Work,valueonly)' refs/sessions/$id | head -n 1)
head=$(git log -1 --format='%(trailers:key=Session-Head,valueonly)' refs/sessions/$id | head -n 1)
index=$(git rev-parse "$head^{tree}")
tree=$index manifest='{}' stored=
eval "$attack"
saved=$(commit $tree -p $head -p $(commit $index -p $head))
work=$(commit $(tree "100644 blob $(blob "$manifest")\tmanifest.json\n$stored") -p $old -p $saved)
git log -1 --format=%B refs/sessions/$id >message
seq=$(sed -n 's/^Session-Seq: //p' message)
sed -e 's/^Session-Event: .*/Session-Event: checkpoint/' -e 's/^Session-From: .*/Session-From: suspended/' \
    -e "s/^Session-Seq: .*/Session-Seq: $((seq + 1))/" -e "s/^Session-Work: .*/Session-Work: $work/" message >next
event=$(git commit-tree "refs/sessions/$id^{tree}" -p refs/sessions/$id -F next)
rm message next
owner=$(git log -1 --format='%(trailers:key=Session-Owner,valueonly)' refs/sessions/$id | head -n 1)
git update-ref refs/sessions/$id $event
git push -q origin $work:refs/session-work/$id/$owner $event:refs/sessions/$id
"#;

fn forge(sandbox: &Sandbox, id: &str, attack: &str) {
    sandbox.will_be_broken();
    let forging = sandbox.command("sh").args(["-c", FORGE]);
    forging.env("id", id).env("attack", attack).run().ok();
}

/// A program that tells that it ran, for git to find it in every place where it looks for one.
struct Canary {
    told: PathBuf,
}

impl Canary {
    fn of(sandbox: &Sandbox) -> Canary {
        let told = sandbox.root().join("home/ran");
        let program = sandbox.root().join("home/canary");
        let script = format!("#!/bin/sh\necho \"$0 $*\" >> \"{}\"\ncat\n", told.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Canary { told }
    }

    /// The user's filters, textconvs, external differences and monitor.
    fn is_everywhere(&self, sandbox: &Sandbox) {
        let program = self.told.with_file_name("canary");
        let line = format!("'{}'", program.display().to_string().replace('\'', "'\\''"));
        for key in [
            "filter.evil.clean",
            "filter.evil.smudge",
            "diff.evil.textconv",
            "diff.evil.command",
        ] {
            sandbox.config(key, &line);
        }
        for key in ["diff.external", "core.fsmonitor", "core.sshCommand"] {
            sandbox.config(key, &line);
        }
        sandbox.config("diff.submodule", "diff");
        sandbox.config("fetch.recurseSubmodules", "true");
        for dir in [sandbox.file(".git/hooks"), sandbox.root().join("home/hooks")] {
            fs::create_dir_all(&dir).unwrap();
            for hook in [
                "post-checkout",
                "post-merge",
                "reference-transaction",
                "post-index-change",
                "pre-push",
                "pre-auto-gc",
                "fsmonitor-watchman",
            ] {
                fs::copy(&program, dir.join(hook)).unwrap();
            }
        }
        let hooks = sandbox.root().join("home/hooks");
        // For this repository alone: the remote has hooks of its own.
        sandbox.git(&format!(
            "config core.hooksPath {}",
            shell_words::quote(hooks.to_str().unwrap())
        ));
    }

    fn ran(&self) -> String {
        fs::read_to_string(&self.told).unwrap_or_default()
    }
}

/// Everything below a directory, by name with its content.
fn everything(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                found.push((path.clone(), Vec::new()));
                folders.push(path);
            } else {
                found.push((path.clone(), fs::read(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

/// Resumes a session in spite of all, and ends it again.
fn resumed(sandbox: &Sandbox, id: &str) -> Run {
    sandbox.fifo("up");
    let run = sandbox.session(&format!("resume --trust {id}"));
    if run.code == 0 {
        sandbox.hear("up");
    }
    run
}

on_every_format! {
    fn to_look_at_what_was_fetched_runs_nothing(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        fs::write(a.file(".gitattributes"), "* filter=evil diff=evil\n").unwrap();
        a.git("add .gitattributes");
        a.git("commit -q -m attributes");
        handed_over(&team, "bad");
        let canary = Canary::of(b);
        canary.is_everywhere(b);
        b.session("fetch").ok();
        b.session("fetch --work").ok();
        for line in ["list", "list --json", "show bad", "log bad", "diff bad", "diff --stat bad", "trust bad", "list --remote"] {
            b.session(line).ok();
        }
        b.session("diff bad").ok().prints("made.txt");
        b.session("trust --revoke bad").ok();
        b.session("restore bad").fails(1).says("not approved");
        b.session("resume bad").fails(1).says("not approved");
        b.session("claim bad").ok();
        b.session("sync").ok();
        assert_eq!(canary.ran(), "");
        assert_eq!(b.git("-c core.hooksPath=/dev/null -c core.fsmonitor=false worktree list").lines().count(), 1);
        // With approval the user's filters run, as in any checkout, and still no hook.
        resumed(b, "bad").ok();
        b.git("config core.hooksPath /dev/null");
        b.config("core.fsmonitor", "false");
        b.end("bad");
        let ran = canary.ran();
        assert!(!ran.is_empty());
        assert!(!ran.contains("hooks/"), "{ran}");
    }

    fn names_that_are_gits_own_or_lead_elsewhere_are_refused_whole(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        handed_over(&team, "bad");
        b.will_be_broken();
        let before = everything(b.root().join("repo.sessions").parent().unwrap().join("home").as_path());
        let evil = "evil=$(tree \"100755 blob $(blob evil)\\tpost-checkout\\n\");";
        for name in [".git", ".GIT", "git~1", ".git ", ".git.", "..", "."] {
            for inner in [
                format!("index=$(tree \"040000 tree $evil\\t{name}\\n\"); tree=$index"),
                format!("index=$(tree \"040000 tree $(tree \"040000 tree $evil\\t{name}\\n\")\\tdeep\\n\"); tree=$index"),
            ] {
                forge(a, "bad", &format!("{evil} {inner}"));
                b.session("fetch --work").ok();
                let run = b.session("restore --trust bad");
                // Windows' names are nothing to git here where it was told so.
                if run.code == 0 {
                    panic!("{name} was restored: {run}");
                }
                run.fails(128).says("invalid path");
                assert!(!b.root().join("repo.sessions").join("bad").exists());
            }
        }
        let tip = team.tip_at_home("bad");
        b.session("resume --trust bad").fails(128).says("invalid path");
        // It is suspended, as it was, and can be claimed.
        assert_eq!(b.state("bad"), "suspended");
        assert_ne!(team.tip_at_home("bad"), tip);
        assert_eq!(b.trailer("bad", "Intent"), "");
        let mut after = everything(&b.root().join("home"));
        after.retain(|(path, _)| !path.to_string_lossy().contains(".local"));
        assert_eq!(after, before);
    }

    fn a_branch_that_there_can_be_none_of_is_no_option_of_gits(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        handed_over(&team, "bad");
        b.will_be_broken();
        b.fifo("up");
        for branch in ["-m", "refs/heads/a..b"] {
            forge(a, "bad", &format!("manifest='{{\"branch\":\"{branch}\"}}'"));
            b.session("fetch").ok();
            let before = b.git("for-each-ref refs/heads refs/tags");
            let run = b.session("resume --trust bad");
            run.ok().says(&format!("not restored: {branch}: no branch can be called that"));
            b.hear("up");
            assert_eq!(b.git("for-each-ref refs/heads refs/tags"), before);
            assert_eq!(b.git("symbolic-ref HEAD"), "refs/heads/main");
            b.session("suspend bad").ok();
            b.session("push").ok();
            a.session("fetch").ok();
            a.session("resume --trust bad").ok();
            a.hear("up");
            a.session("suspend bad").ok();
        }
    }

    fn who_is_to_approve_a_session_is_told_the_branch_that_its_work_is_on(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        handed_over(&team, "bad");
        b.session("trust bad").ok();
        forge(a, "bad", "manifest='{\"branch\":\"refs/heads/release\"}'");
        b.session("fetch").ok();
        b.session("trust bad").ok().says("  work is on    release\n");
    }

    fn a_snapshot_with_more_files_than_anybody_can_count_holds_nobody_up(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        handed_over(&team, "bad");
        let files = "tree=$(tree \"100644 blob $(blob x)\\tfile\\n\");";
        let doubled = "for n in $(seq 48); do \
            tree=$(tree \"040000 tree $tree\\tone\\n040000 tree $tree\\tother\\n\"); done";
        forge(a, "bad", &format!("{files} {doubled}"));
        b.session("fetch --work").ok();
        b.new_session("--id good -- true");
        b.session("sync").ok().says("good: sent");
        b.session("push").ok();
        // Who asks what is in it is told that that can't be told.
        if sandbox.format == Format::PLAIN {
            b.session("trust bad").ok().says("too many files to be counted");
        }
        b.config("session.pushUntracked", "false");
        b.session("sync").ok();
        // Nor does one that is deeper than any stack.
        let deep = "for n in $(seq 1100); do tree=$(tree \"040000 tree $tree\\td\\n\"); done";
        forge(a, "bad", &format!("{files} {deep}"));
        b.session("fetch --work").ok();
        b.session("sync").ok();
        b.git("config --global --unset session.pushUntracked");
        b.session("sync").ok();
        b.end("good");
    }

    fn nothing_of_a_hostile_snapshot_gets_out_of_the_worktree_or_into_gits_hands(sandbox: &Sandbox) {
        let team = Team::new(sandbox.format, 2);
        let (a, b) = (&team[0], &team[1]);
        handed_over(&team, "bad");
        b.will_be_broken();
        let canary = Canary::of(b);
        let program = b.root().join("home/canary");
        // Where the links of the snapshot lead to.
        let outside = b.root().join("repo.sessions/outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("precious"), "precious\n").unwrap();
        let before = everything(&outside);
        b.git("config extensions.worktreeConfig true");
        let shell = format!("'{}'", program.display().to_string().replace('\'', "'\\''"));
        let config = a.root().join("home/evil.config");
        let values = [("core.fsmonitor", shell.as_str()), ("core.hooksPath", "hooks"), ("remote.x.url", "/nowhere"), ("remote.x.uploadpack", "evil")];
        for (key, value) in values {
            a.command("git").args(["config", "--file"]).args([&config]).args([key, value]).run().ok();
        }
        let attack = r#"
            evil=$(git hash-object -w "$HOME/evil.config")
            hook=$(blob 'touch ran')
            link=$(blob ../outside)
            code=$(git rev-parse "$head:code.txt")
            index=$(tree "100644 blob $code\tcode.txt\n120000 blob $link\tlink\n")
            files="100644 blob $code\tcode.txt\n120000 blob $link\tlink\n100644 blob $code\tplain\n120000 blob $(blob /etc/passwd)\tabsolute\n"
            tree=$(tree "$files")
            manifest='{"raw":["plain","absolute","../out","/abs","link/in",".git/hooks/x"],"deleted":["link/precious","../outside/precious"],
                "modes":{"4755":["plain"],"0777":["link/precious"]},"emptyDirectories":["link/made","../made","sub/.git/hooks/made"],
                "intentToAdd":["link/meant"],"nested":["sub","link"]}'
            hooks=$(tree "100755 blob $hook\tpost-checkout\n")
            none=$(tree "100644 blob $hook\t%%.gitkeep\n")
            git=$(tree "100644 blob $(blob 'ref: refs/heads/main')\tHEAD\n100644 blob $evil\tconfig\n040000 tree $hooks\thooks\n040000 tree $none\tobjects\n040000 tree $none\trefs\n")
            file=$(tree "100644 blob $(blob 'gitdir: ../evil')\t%%.git\n")
            sub=$(tree "040000 tree $git\t%%.git\n100644 blob $hook\tin it\n040000 tree $file\tdeep\n")
            rebase=$(tree "100644 blob $(blob 'exec touch ran')\tgit-rebase-todo\n100644 blob $hook\tstrategy\n")
            state=$(tree "040000 tree $hooks\thooks\n100644 blob $evil\tconfig\n100644 blob $evil\tconfig.worktree\n100644 blob $(blob ../evil)\tcommondir\n040000 tree $rebase\trebase-merge\n")
            worker=$(tree "120000 blob $(blob ../../../../..)\tup\n040000 tree $(tree "100644 blob $hook\tx\n")\t%%..\n")
            stored="040000 tree $(tree "040000 tree $sub\t0\n040000 tree $sub\t1\n")\tnested\n040000 tree $state\tgit-state\n040000 tree $worker\tworker-state\n"
        "#;
        forge(a, "bad", attack);
        b.session("fetch").ok();
        b.session("fetch --work").ok();
        b.session("trust bad").ok().says("sub");
        let run = resumed(b, "bad");
        run.ok();
        for named in [
            "../out",
            "/abs",
            "link/in",
            ".git/hooks/x",
            "../outside/precious",
            "link/meant",
            "sub/.git/hooks",
            "sub/.git/config: core.fsmonitor",
            "sub/.git/config: remote.x.uploadpack",
            "sub/deep/.git",
            "config.worktree: core.fsmonitor",
            "commondir",
            "exec touch ran",
            "strategy",
        ] {
            run.says(named);
        }
        let tree = b.worktree("bad");
        let git_dir = PathBuf::from(b.git_in(&tree, "rev-parse --absolute-git-dir"));
        b.git_in(&tree, "status");
        b.git_in(&tree.join("sub"), "status");
        b.git_in(&tree.join("sub"), "symbolic-ref HEAD");
        assert_eq!(canary.ran(), "");
        assert_eq!(everything(&outside), before);
        for name in ["hooks", "config", "rebase-merge/strategy"] {
            assert!(!git_dir.join(name).exists(), "{name}");
        }
        let todo = fs::read_to_string(git_dir.join("rebase-merge/git-rebase-todo")).unwrap();
        assert_eq!(todo, "# exec touch ran");
        assert!(!tree.join("sub/.git/hooks").exists());
        assert_eq!(b.git_in(&tree.join("sub"), "config --local remote.x.url"), "/nowhere");
        assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("../outside"));
        let mode = fs::metadata(tree.join("plain")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
        let made: Vec<_> = fs::read_dir(b.root().join("repo.sessions")).unwrap().collect();
        assert_eq!(made.len(), 2, "{made:?}");
        assert!(!b.run_dir("bad").join("x").exists());
        b.session("terminate -q bad").exits(0);
    }
}

on_one_format! {
    fn a_code_that_no_process_ends_with_is_not_passed_on(sandbox: &Sandbox) {
        sandbox.will_be_broken();
        sandbox.run_script("--id done", "true").ok();
        sandbox.session("wait done").ok();
        let end = sandbox.tip("done");
        for outcome in ["exit:256", "exit:-256", "signal:128", "signal:2147483647", "failed:0"] {
            let script = "git log -1 --format=%B $0 | sed \"s/^\\(Session-Outcome: \\).*/\\1$1/\" >message \
                && git commit-tree $0^{tree} -p $0^ -F message";
            let forged = sandbox.command("sh").args(["-c", script, &end, outcome]).run().ok().text();
            sandbox.git(&format!("update-ref refs/sessions/done {forged}"));
            sandbox.session("wait done").exits(125).says(outcome);
            sandbox.session("show done").ok().prints(outcome);
        }
    }
}
