//! The man pages are what the command line's definitions say, byte for byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap_mangen::Man;
use git_session::render::fields;

use crate::scratch::Scratch;

/// Rewrites the pages instead of comparing them.
const UPDATE: &str = "UPDATE_MAN";

const EXIT_STATUS: &str = ".SH \"EXIT STATUS\"\n";

/// What a verb's page says that has no codes of its own.
const USUAL_CODES: &str = "\
0 if all is done, 1 if something was refused or not found, 128 if something is broken, 129 if the command line can\\(aqt
be understood.
";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// Every page by its file's name.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = git_session::cli::command().disable_help_subcommand(true);
    command.build();
    let verbs = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .cloned();
    let mut pages: Vec<_> = verbs
        .map(|verb| page(verb, "SEE ALSO", ".BR git\\-session (1)\n"))
        .collect();
    pages.push(page(command, "", &sections()));
    pages
}

fn page(mut command: clap::Command, heading: &str, end: &str) -> (String, Vec<u8>) {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let has_verbs = command.has_subcommands();
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    let aliases = match aliases.as_slice() {
        [] => String::new(),
        aliases => format!(".PP\nAlso known as {}.\n", aliases.join(", ")),
    };
    // The page's name has said the first sentence.
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    if let Some(long) = command.get_long_about().map(ToString::to_string)
        && let Some(rest) = long.strip_prefix(&about)
    {
        command = command.long_about(rest.trim_start_matches('.').trim_start().to_owned());
    }
    let last = command.get_after_long_help().map(ToString::to_string);
    let usage = command.render_usage().to_string().replacen("Usage: ", "", 1);
    let man = Man::new(command.override_usage(usage).subcommand_help_heading("VERBS"));
    // Neither a date nor a version, so that a page changes only when what it says does. No hyphenation and no
    // stretched lines, since names would be torn apart.
    let title = name.to_uppercase().replace('-', "\\-");
    let mut text =
        format!(".TH {title} 1 \"\" \"git\\-session\" \"Git Session Manual\"\n.nh\n.ad l\n").into_bytes();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    text.extend_from_slice(aliases.as_bytes());
    if has_verbs {
        man.render_subcommands_section(&mut text).unwrap();
    }
    man.render_options_section(&mut text).unwrap();
    // The main page has examples of its own.
    let last = last.filter(|_| !has_verbs);
    let last = last.as_deref().map(last_sections).unwrap_or_default();
    if !has_verbs && !last.contains(EXIT_STATUS) {
        text.extend_from_slice(format!("{EXIT_STATUS}{USUAL_CODES}").as_bytes());
    }
    text.extend_from_slice(last.as_bytes());
    if !heading.is_empty() {
        text.extend_from_slice(format!(".SH \"{heading}\"\n").as_bytes());
    }
    text.extend_from_slice(end.as_bytes());
    (format!("{name}.1"), text)
}

/// What stands at the end of a verb's help, as sections: a heading with a colon, then lines that are set in.
fn last_sections(help: &str) -> String {
    let mut out = String::new();
    for block in help.split("\n\n") {
        let (heading, lines) = block.split_once(":\n").unwrap();
        let heading = match heading {
            "Exit codes" => "EXIT STATUS",
            "Examples" => "EXAMPLES",
            other => panic!("'{other}' is no section of ours"),
        };
        // A page that is 80 columns wide sets them in by 7.
        assert!(lines.lines().all(|line| line.len() <= 72), "{lines}");
        let lines = lines
            .replace('\\', "\\e")
            .replace('-', "\\-")
            .replace('\'', "\\(aq");
        out += &format!(".SH \"{heading}\"\n.nf\n{lines}\n.fi\n");
    }
    out
}

/// What the main page says beyond its options, with the lists of fields filled in.
fn sections() -> String {
    let written = fs::read_to_string(directory().join("sections.roff")).unwrap();
    written
        .replace("@SESSION_FIELDS@", &fields::SESSION.join(", "))
        .replace("@EVENT_FIELDS@", &fields::EVENT.join(", "))
}

#[test]
fn every_verb_has_examples_that_can_be_read() {
    let mut root = git_session::cli::command();
    let verbs: Vec<_> = root
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .cloned()
        .collect();
    for verb in verbs {
        let name = verb.get_name().to_owned();
        let help = verb
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").expect(&name);
        for line in examples.lines() {
            // What a shell makes of it, and with it, is left out.
            let begin = line.find(&format!("git session {name}")).expect(line);
            let ends = match line.contains("$(") {
                true => [" && git ", " | ", ")"].as_slice(),
                false => [" && git ", " | "].as_slice(),
            };
            let end = ends.iter().filter_map(|end| line[begin..].find(end)).min();
            let line = &line[begin..end.map_or(line.len(), |end| begin + end)];
            let words = shell_words::split(line.strip_prefix("git ").unwrap()).expect(line);
            if let Err(error) = root.try_get_matches_from_mut(words) {
                panic!("{line}: {error}");
            }
        }
    }
}

#[test]
fn man_pages_are_what_the_command_line_says() {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::from(["sections.roff".to_owned()]);
    for (name, text) in pages() {
        let path = directory().join(&name);
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&path, &text).unwrap();
        } else if fs::read(&path).ok().as_deref() != Some(text.as_slice()) {
            wrong.push(format!("man/{name} is not what the command line says"));
        }
        known.insert(name);
    }
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !known.contains(&name) {
            wrong.push(format!("man/{name} belongs to no verb"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{UPDATE}=1 cargo test man_pages rewrites them",
        wrong.join("\n")
    );
}

/// Every string of the program that begins so, up to what can't be part of a name.
fn names(prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let quoted = format!("\"{prefix}");
            for (at, _) in text.match_indices(&quoted) {
                let rest = &text[at + quoted.len()..];
                let end = rest
                    .find(|c: char| !c.is_ascii_alphabetic() && c != '_')
                    .unwrap_or(0);
                // A prefix alone is no name, nor is what goes on after this.
                if end > 0 && rest[end..].starts_with('"') {
                    found.insert(format!("{prefix}{}", &rest[..end]));
                }
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn every_setting_and_variable_is_in_the_manual() {
    let manual = fs::read_to_string(directory().join("sections.roff")).unwrap();
    for prefix in ["session.", "GIT_SESSION_"] {
        for name in names(prefix) {
            assert!(manual.contains(&name), "man/sections.roff lacks {name}");
        }
    }
}

/// A section of the main page, as far as words go.
fn section(heading: &str) -> String {
    let all = sections()
        .replace("\\-", "-")
        .replace("\\(dq", "\"")
        .replace("\\(aq", "'");
    let all = all.replace("\\fI", "").replace("\\fR", "");
    let (_, rest) = all.split_once(&format!(".SH {heading}\n")).unwrap();
    rest.split("\n.SH ").next().unwrap().to_owned()
}

#[test]
fn the_examples_of_the_main_page_go_together() {
    let shop = Scratch::new();
    shop.ok("printf 'test:\\n\\techo tested\\n' > Makefile && git add . && git commit -qm make");
    shop.ok("git config session-worker.agent.command 'sleep 600'");
    shop.ok("git init -q --bare ../home.git && git remote add origin ../home.git");
    let mut count = 0;
    for line in section("EXAMPLES")
        .lines()
        .filter_map(|line| line.strip_prefix(".B "))
    {
        if line.contains("fetch") {
            shop.ok("git session push -q");
        }
        // Nobody ends what is followed.
        let line = line.replace("output -f", "output");
        shop.ok(&line.replace("ID", "$(git session list --all --format '%(id)' fix-login)"));
        count += 1;
    }
    assert_eq!(count, 7);
}

/// Every name in a value, at any depth, but for those of labels, which are the user's.
fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(pairs) => {
            for (key, value) in pairs {
                found.insert(key.clone());
                if key != "labels" {
                    keys(value, found);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn every_name_in_json_is_in_the_manual() {
    let shop = Scratch::new();
    shop.ok("git init -q --bare ../home.git && git remote add origin ../home.git");
    let mut found = BTreeSet::new();
    for line in [
        "doctor",
        "run --id done --label a=b -- touch file",
        "run --id failed -- false",
        "run --id missing -- /nowhere",
        "note -m text done",
        "suspend done failed",
        "wait done",
        "show failed",
        "log done",
        "output done",
        "diff done",
        "path done",
        "restore done",
        "push",
        "fetch",
        "sync",
        "list --all",
        "list --remote",
        "prune -n",
        "verify",
        "verify nobody",
        "forget --yes done",
        "setup",
    ] {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let output = shop.bash(&format!("git session {verb} --json {rest}"));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect(line);
        assert_eq!(value["schema"], 1, "{line}");
        keys(&value, &mut found);
    }
    let manual = section("JSON");
    let words: BTreeSet<&str> = manual.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let missing: Vec<_> = found.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "man/sections.roff lacks {missing:?}");
    assert!(found.len() > 60, "{found:?}");
}
