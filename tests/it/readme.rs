//! What the README shows is what happens: its commands are run, and what they print is compared.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::recipes::block;
use crate::scratch::Scratch;

/// Writes what was printed into the README instead of comparing it.
const UPDATE: &str = "UPDATE_README";

/// The sessions that the README makes; the last six characters are others each time.
const IDS: [&str; 3] = [
    "count-the-apples-w5e6dk",
    "fix-the-login-page-3f7q2a",
    "run-the-tests-kd2vh4",
];

/// A command as it is shown, and what it is shown to print.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The steps of every block of the kind `console`, in order.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
            continue;
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                shown: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ").filter(|_| step.shown.is_empty()) {
                Some(more) => step.command += &format!("\n{more}"),
                None => step.shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Each id as it is shown, with the one that was really made.
fn ids(shop: &Scratch) -> Vec<(&'static str, String)> {
    let real = shop.ok("git session list --all --format '%(id)'");
    let made = |shown: &&'static str| {
        let title = &shown[..shown.len() - 6];
        Some((*shown, real.lines().find(|id| id.starts_with(title))?.to_owned()))
    };
    IDS.iter().filter_map(made).collect()
}

/// What stays the same from one run to the next: neither object names nor times, nor the width of columns.
fn essence(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = lines
        .iter()
        .map(|line| line.split_whitespace().map(plain).collect::<Vec<_>>().join(" "))
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

fn plain(word: &str) -> String {
    let clock = |word: &str| {
        word.len() >= 8
            && word
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'Z')
    };
    if clock(word) && word.contains(':') {
        return "TIME".to_owned();
    }
    let mut out = String::new();
    for piece in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let bare = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let end = &piece[bare.len()..];
        let digits = bare.bytes().filter(u8::is_ascii_digit).count();
        let is_hex = bare.len() >= 7 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_date = bare.len() == 10 && digits == 8;
        let is_age = bare.starts_with(|c: char| c.is_ascii_digit())
            && bare.ends_with(['s', 'm', 'h', 'd'])
            && bare.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c));
        let word = match bare {
            _ if is_hex => "HEX",
            _ if is_date => "DATE",
            _ if is_age => "AGE",
            bare => bare,
        };
        let _ = write!(out, "{word}{end}");
    }
    out
}

/// Runs a command as it would be typed, and gives what a terminal would show, as on Ada's laptop.
fn run(shop: &Scratch, command: &str) -> Vec<String> {
    let mut command = command.to_owned();
    for (shown, real) in ids(shop) {
        command = command.replace(shown, &real);
    }
    let output = shop.bash(&format!("exec 2>&1\n{command}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let at = shop.repo().parent().unwrap().canonicalize().unwrap();
    let mut text = text
        .replace(&at.join("home").display().to_string(), "/home/ada")
        .replace(&at.display().to_string(), "/home/ada")
        .replace(&format!("on {host}\n"), "on laptop\n");
    for (shown, real) in ids(shop) {
        text = text.replace(&real, shown);
    }
    text.trim_end().lines().map(str::to_owned).collect()
}

#[test]
fn the_readme_shows_what_happens() {
    walk(&Scratch::new());
}

#[test]
fn the_readme_shows_what_happens_with_the_other_formats() {
    // The README is of a repository as git makes it by itself.
    if std::env::var_os(UPDATE).is_some() {
        return;
    }
    walk(&Scratch::with(&[
        ("GIT_DEFAULT_REF_FORMAT", "reftable"),
        ("GIT_DEFAULT_HASH", "sha256"),
    ]));
}

/// Does what a newcomer does.
fn walk(shop: &Scratch) {
    let text = readme();
    shop.ok(&format!(
        "set -e\ncd .. && rm -r shop\n{}",
        block("sh", "git init")
    ));
    let mut printed = Vec::new();
    for step in steps(&text) {
        let update = std::env::var_os(UPDATE).is_some();
        let until = Instant::now() + Duration::from_secs(if update { 2 } else { 60 });
        let mut now = run(shop, &step.command);
        // A worker takes its time; looking at its output changes nothing, so it is looked at again.
        while step.command.starts_with("git session output")
            && essence(&now) != essence(&step.shown)
            && Instant::now() < until
        {
            std::thread::yield_now();
            now = run(shop, &step.command);
        }
        if !update {
            assert_eq!(
                essence(&now).join("\n"),
                essence(&step.shown).join("\n"),
                "\n$ {}\nprints now:\n{}\n{UPDATE}=1 cargo test readme writes it into the README",
                step.command,
                now.join("\n")
            );
        }
        printed.push(now);
    }
    if std::env::var_os(UPDATE).is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        fs::write(path, rewritten(&text, printed)).unwrap();
    }
}

/// The README with what the commands print now.
fn rewritten(text: &str, printed: Vec<Vec<String>>) -> String {
    let mut printed = printed.into_iter();
    let mut out = String::new();
    let mut next: Vec<String> = Vec::new();
    let (mut inside, mut in_command) = (false, false);
    for line in text.lines() {
        let is_command = inside && line.starts_with("$ ");
        let goes_on = inside && in_command && line.starts_with("> ");
        if !goes_on && (is_command || line.starts_with("```")) {
            next.drain(..).for_each(|line| out += &format!("{line}\n"));
        }
        if line.starts_with("```") {
            inside = line == "```console";
        }
        if is_command {
            next = printed.next().unwrap_or_default();
        }
        in_command = is_command || goes_on;
        if !inside || in_command || line.starts_with("```") {
            out += &format!("{line}\n");
        }
    }
    out
}

#[test]
fn the_readme_names_every_verb() {
    let text = readme();
    let missing: Vec<String> = git_session::cli::command()
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        .map(|verb| verb.get_name().to_owned())
        .filter(|verb| !text.contains(&format!("`{verb}`")))
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_session_goes_from_clone_to_clone_as_the_readme_says() {
    let shop = Scratch::new();
    shop.ok("git config session-worker.agent.command 'sleep 600'");
    // One that has ended has a name that begins with the same word as in the tour.
    shop.ok("git session run -q --title 'Fix the login page' -- true");
    shop.ok("git init -q --bare ../home.git && git remote add origin ../home.git");
    shop.ok("git push -q origin HEAD && git clone -q ../home.git ../laden");
    shop.ok(&format!("set -e\n{}", block("sh", "git session suspend")));
    let at_home = "git -C ../home.git for-each-ref --format='%(refname)' refs/sessions";
    let sent = shop.ok(at_home);
    assert!(
        sent.starts_with("refs/sessions/sort-the-pears-") && sent.lines().count() == 1,
        "{sent}"
    );
    // There is nobody who could be asked.
    let there = block("sh", "git session resume").replace("resume ", "resume --trust ");
    shop.ok(&format!("set -e\ncd ../laden\n{there}"));
    let seen = "git -C ../laden session list --format '%(state) %(here) %(title)'";
    assert_eq!(shop.ok(seen), "running true Sort the pears\n");
    shop.ok("git -C ../laden session terminate -q sort");
}

#[test]
fn a_session_in_ci_passes_the_exit_code_through_without_an_identity() {
    let shop = Scratch::new();
    shop.ok("rm ~/.gitconfig");
    let output = shop.bash("GIT_SESSION_CLONE=ci-1-test git session run --id ci-test -- sh -c 'exit 3'");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let seen = "git log -1 --format='%(trailers:key=Session-Outcome,valueonly,separator=) \
                %(trailers:key=Session-Owner,valueonly,separator=)' refs/sessions/ci-test";
    assert_eq!(shop.ok(seen).trim(), "exit:3 ci-1-test");
    // What is kept of it can be read in any repository.
    shop.ok("git bundle create -q session.bundle --glob='refs/sessions/*'");
    shop.ok("git init -q ../other && git -C ../other fetch -q ../shop/session.bundle 'refs/*:refs/*'");
    assert_eq!(
        shop.ok("git -C ../other session list --all --format '%(id)'"),
        "ci-test\n"
    );
}
