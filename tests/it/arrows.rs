//! Who may call whom among the rooms under `src/`, and who may touch the outside world.

use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms that it may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("session", &[]),
    ("git", &[]),
    ("worker", &[]),
    ("store", &["session", "git"]),
    ("ops", &["session", "git", "worker", "store"]),
    ("render", &["session", "ops"]),
    ("cli", &["session", "git", "worker", "store", "ops", "render"]),
];

/// What a room must not mention at all, since it is pure or has not heard of it.
const STRANGERS: &[(&str, &[&str])] = &[
    (
        "session",
        &[
            "std::fs",
            "std::process",
            "std::env",
            "std::net",
            "std::thread",
            "std::path",
            "rustix",
            "libc",
            "tempfile",
            "which",
            "clap",
            "anyhow",
            "Timestamp::now",
            "SystemTime::now",
            "Instant::now",
            "gix::Repository",
            "gix::open",
            "gix::discover",
        ],
    ),
    ("git", &["clap", "anyhow", "println!", "eprintln!"]),
    ("worker", &["gix", "clap", "anyhow", "println!", "eprintln!"]),
    (
        "store",
        &["Command::new", "clap", "anyhow", "println!", "eprintln!"],
    ),
    (
        "ops",
        &["Command::new", "clap", "anyhow", "println!", "eprintln!"],
    ),
    (
        "render",
        &["Command::new", "std::fs", "clap", "println!", "eprintln!"],
    ),
];

struct Source {
    room: String,
    /// How many modules deep the file is: 1 for `src/room/mod.rs`.
    depth: usize,
    path: PathBuf,
    code: String,
}

/// Every file of every room, with comments and strings blanked.
fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&src).unwrap().to_owned();
            let parts: Vec<String> = inside
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if path.extension().is_none_or(|end| end != "rs") || parts == ["lib.rs"] || parts == ["main.rs"] {
                continue;
            }
            let module_file = parts.len() > 1 && parts.ends_with(&["mod.rs".to_owned()]);
            found.push(Source {
                room: parts[0].trim_end_matches(".rs").to_owned(),
                depth: parts.len() - usize::from(module_file),
                code: blank(&fs::read_to_string(&path).unwrap()),
                path: inside,
            });
        }
    }
    assert!(!found.is_empty());
    found
}

/// Replaces what is no code with spaces, line by line the same length in lines.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let keep_lines = |skipped: &[char], out: &mut String| {
        out.extend(skipped.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let skipped = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => rest
                .windows(2)
                .position(|two| two == ['*', '/'])
                .map_or(rest.len(), |end| end + 2),
            ['\'', '\\', _, '\'', ..] => 4,
            ['\'', _, '\'', ..] => 3,
            ['r', '#', '"', ..] => rest
                .windows(2)
                .position(|two| two == ['"', '#'])
                .map_or(rest.len(), |end| end + 2),
            ['"', ..] => {
                let mut end = 1;
                while end < rest.len() && rest[end] != '"' {
                    end += if rest[end] == '\\' { 2 } else { 1 };
                }
                (end + 1).min(rest.len())
            }
            _ => 0,
        };
        if skipped == 0 {
            out.push(chars[at]);
            at += 1;
        } else {
            keep_lines(&rest[..skipped], &mut out);
            at += skipped;
        }
    }
    out
}

/// The first names after every path that starts at the crate's root, with the line each is on.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let root_by_super = "super::".repeat(source.depth);
    for root in ["crate::", root_by_super.as_str()] {
        for (at, _) in source.code.match_indices(root) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
                continue;
            }
            let line = source.code[..at].matches('\n').count() + 1;
            for name in first_names(&source.code[at + root.len()..]) {
                found.push((line, name));
            }
        }
    }
    found
}

/// The first name of a path, or of each path in a group.
fn first_names(tail: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = tail.trim_start().strip_prefix('{') else {
        return vec![word(tail)];
    };
    let mut names = vec![word(group)];
    let mut open = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => names.push(word(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn every_room_imports_only_the_rooms_below_it() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == source.room) else {
            wrong.push(format!(
                "{}: there is no room '{}'",
                source.path.display(),
                source.room
            ));
            continue;
        };
        for (line, name) in imports(&source) {
            let is_room = ARROWS.iter().any(|(room, _)| *room == name);
            if is_room && name != source.room && !allowed.contains(&&*name) {
                wrong.push(format!(
                    "{}:{line}: {} imports {name}",
                    source.path.display(),
                    source.room
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_room_keeps_to_what_it_has_heard_of() {
    let mut wrong = Vec::new();
    for source in sources() {
        let strangers = STRANGERS.iter().filter(|(room, _)| *room == source.room);
        for stranger in strangers.flat_map(|(_, strangers)| *strangers) {
            for (at, _) in source.code.match_indices(stranger) {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + stranger.len()..].chars().next();
                let inside_a_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                let begins_path = !before.is_some_and(|c| c == ':' || c == '.');
                if begins_path && !inside_a_word(before) && (stranger.ends_with('!') || !inside_a_word(after))
                {
                    let line = source.code[..at].matches('\n').count() + 1;
                    wrong.push(format!(
                        "{}:{line}: {} has {stranger}",
                        source.path.display(),
                        source.room
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn processes_have_two_doors() {
    let doors: Vec<String> = sources()
        .iter()
        .filter(|source| source.room != "worker" && source.code.contains("Command::new"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(doors.iter().all(|path| path == "git/command.rs"), "{doors:?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let source = |code: &str, depth| Source {
        room: "a".into(),
        depth,
        path: "a.rs".into(),
        code: blank(code),
    };
    let names = |code: &str, depth| -> Vec<String> {
        imports(&source(code, depth))
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    };
    assert_eq!(names("use crate::git::refs;", 2), ["git"]);
    assert_eq!(names("use crate::{git::{a, b}, store};", 2), ["git", "store"]);
    assert_eq!(names("let x = crate::cli::main();", 2), ["cli"]);
    assert_eq!(names("use super::super::cli;", 2), ["cli"]);
    assert_eq!(names("use super::cli;", 1), ["cli"]);
    assert_eq!(names("use super::cli;", 2), [""; 0]);
    assert_eq!(names("// crate::cli\nlet a = \"crate::cli\";", 2), [""; 0]);
}
