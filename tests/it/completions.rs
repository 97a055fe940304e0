//! What the shells offer after `git session` and `git-session`.

use std::process::Command;

use crate::scratch::Scratch;

/// A running, a pending and an ended session.
fn shop() -> Scratch {
    let shop = Scratch::new();
    shop.ok("git session run -d --id runs --title 'It: runs' --issue 42 -- sleep 1000");
    shop.ok("git session new --id waits --title 'It waits' -- true");
    shop.ok("git session run --id ended -- true");
    shop
}

/// What is answered to a command line's words, without the descriptions.
fn answers(shop: &Scratch, words: &[&str]) -> Vec<String> {
    let mut ask = shop.command("git-session");
    let output = ask.args(["complete", "--"]).args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.split_once('\t').unwrap().0.to_owned())
        .collect()
}

/// Whether a shell is here; says so if it isn't.
fn has(shell: &str) -> bool {
    let found = Command::new(shell).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {shell} is not installed");
    }
    found
}

#[test]
fn completion_answers_what_may_come_next() {
    let shop = shop();
    shop.ok("git config session-worker.agent.command true");
    let verbs = answers(&shop, &[""]);
    assert!(verbs.contains(&"suspend".to_owned()) && !verbs.contains(&"complete".to_owned()));
    let all = answers(&shop, &["show", ""]);
    assert_eq!((all.len(), all[2].as_str()), (3, "ended"));
    assert_eq!(answers(&shop, &["suspend", ""]), ["runs"]);
    assert_eq!(answers(&shop, &["start", ""]), ["waits"]);
    assert_eq!(answers(&shop, &["retry", ""]), ["ended"]);
    assert_eq!(answers(&shop, &["stop", "runs", ""]), ["waits"]);
    assert_eq!(answers(&shop, &["show", "runs", ""]), [""; 0]);
    assert_eq!(answers(&shop, &["output", "-fn", "5", ""]).len(), 3);
    assert_eq!(answers(&shop, &["run", "--worker", ""]), ["agent"]);
    assert_eq!(answers(&shop, &["run", "--title", ""]), [""; 0]);
    assert_eq!(answers(&shop, &["list", "--issue", ""]), ["42"]);
    assert_eq!(answers(&shop, &["list", "--state=r"])[1], "--state=running");
    assert_eq!(answers(&shop, &["run", "--base", "m"])[0], "main");
    assert_eq!(answers(&shop, &["restore", "--to", ""]), [":directories"]);
    assert_eq!(answers(&shop, &["exec", "runs", "--", "make", ""]), [":command"]);
    shop.ok("git remote add near ../near.git && git remote add far ../far.git");
    for verb in ["push", "fetch", "sync"] {
        assert_eq!(answers(&shop, &[verb, ""]), ["far", "near"]);
    }
    assert_eq!(answers(&shop, &["push", "near", ""]).len(), 3);
    assert_eq!(
        answers(&shop, &["list", "--remote=n"]),
        ["--remote=far", "--remote=near"]
    );
    assert!(answers(&shop, &["show", "-"]).contains(&"--json".to_owned()));
}

/// What bash would put on the command line, by the scripts as they are installed.
fn bash(shop: &Scratch, words: &str, prelude: &str, function: &str) -> String {
    shop.ok(&format!(
        "{prelude}
        . ~/.local/share/bash-completion/completions/git-session
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE=\"${{COMP_WORDS[*]}}\"
        COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; COMP_KEY=9
        {function} \"${{COMP_WORDS[0]}}\" \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
        IFS='|'; echo \"${{COMPREPLY[*]}}\""
    ))
    .trim_end_matches('\n')
    .to_owned()
}

#[test]
fn bash_completes_git_session_alone() {
    let shop = shop();
    let told = shop.ok("git session setup --completions bash 2>&1");
    let line = told.split_once("~/.bashrc: ").expect(&told).1.to_owned();
    assert!(
        shop.ok(&format!("{line}\ncomplete -p git-session"))
            .contains("__git_session_main")
    );
    let ask = |words| bash(&shop, words, "", "__git_session_main");
    assert_eq!(ask("git-session susp"), "suspend ");
    assert_eq!(ask("git-session suspend ''"), "runs ");
    assert_eq!(ask("git-session list --state = s"), "suspended ");
    assert_eq!(ask("git-session exec runs -- ls shop.t"), "shop.txt");
    let registered =
        shop.ok(". ~/.local/share/bash-completion/completions/git-session; complete -p git-session");
    assert!(registered.contains("__git_session_main"));
}

#[test]
fn bash_completes_session_within_the_completion_of_git() {
    let git = "/usr/share/bash-completion/completions/git";
    if !std::path::Path::new(git).exists() {
        eprintln!("skipped: {git} is not installed");
        return;
    }
    let shop = shop();
    shop.ok("git session setup -q --completions bash");
    let ask = |words| bash(&shop, words, &format!(". {git}"), "__git_wrap__git_main");
    assert_eq!(ask("git session susp"), "suspend ");
    assert_eq!(ask("git session suspend ''"), "runs ");
    assert_eq!(ask("git -C ../shop session start ''"), "waits ");
}

#[test]
fn zsh_completes_git_session() {
    if !has("zsh") {
        return;
    }
    let shop = shop();
    shop.ok("git session setup -q --completions zsh");
    // A real line editor on a terminal of its own; what it writes is waited for.
    let script = r#"
        zmodload zsh/zpty
        zpty shell "TERM=dumb zsh -f -i"
        zpty -w shell "PS1= fpath=(~/.local/share/zsh/site-functions \$fpath); autoload -U compinit && compinit -u; print re''ady"
        zpty -r shell seen '*ready*'
        for line in "git-session suspend " "git session start "; do
            zpty -w -n shell "$line"$'\t'
            zpty -r shell seen '*(runs|waits)*'
            print -r -- "$seen"
            zpty -w -n shell $'\C-u'
        done
        zpty -d shell"#;
    let output = shop
        .command("timeout")
        .args(["60", "zsh", "-fc", script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("git-session suspend runs"), "{output:?}");
    assert!(text.contains("git session start waits"), "{output:?}");
}

#[test]
fn fish_completes_git_session() {
    if !has("fish") {
        return;
    }
    let shop = shop();
    shop.ok("git session setup -q --completions fish");
    let ask_from = |dir: &str, line: &str| {
        let mut fish = shop.command("fish");
        let output = fish
            .args(["-c", &format!("cd {dir}; complete -C '{line}'")])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let ask = |line: &str| ask_from(".", line);
    assert_eq!(ask("git-session suspend "), "runs\trunning: It: runs\n");
    assert_eq!(ask("git session start "), "waits\tpending: It waits\n");
    assert_eq!(
        ask_from("..", "git -C shop session start "),
        "waits\tpending: It waits\n"
    );
    assert_eq!(
        ask("git session susp"),
        "suspend\tStop sessions and save their work, to be resumed\n"
    );
}

#[test]
fn setup_says_what_it_did_and_does_it_once() {
    let shop = Scratch::new();
    let standing = |options: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&shop.ok(&format!("git session setup --json {options}"))).unwrap();
        let items = json["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| {
                (
                    item["before"].as_str().unwrap().to_owned(),
                    item["changed"] == true,
                )
            })
            .collect::<Vec<_>>()
    };
    let expect = |before: &str, changed, count| vec![(before.to_owned(), changed); count];
    let all = "--man --man-dir ../man --completions bash --completions zsh --completions fish --notes";
    assert_eq!(standing(&format!("-n {all}")), expect("missing", false, 5));
    assert_eq!(standing(all), expect("missing", true, 5));
    assert_eq!(standing(all), expect("current", false, 5));
    shop.ok("echo more >> ../man/git-session.1; rm ../man/git-session-run.1");
    assert_eq!(standing("--man --man-dir ../man"), expect("outdated", true, 1));
    assert_eq!(standing("--man --man-dir ../man"), expect("current", false, 1));
    // Every page of the tree is among them.
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/man");
    shop.ok(&format!("diff -r -x sections.roff '{pages}' ../man"));
    // A note that git log shows and a rebase takes along; as long as there is none, neither says anything about it.
    let amended = |note: &str| {
        let script =
            "git commit -q --amend -m again && git rebase -q --force-rebase --root && git log -1 --format=%N";
        assert_eq!(shop.ok(&format!("({script}) 2>&1")).trim(), note);
    };
    amended("");
    shop.ok("git notes --ref sessions add -m who");
    amended("who");
}
