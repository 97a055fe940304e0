//! What is said of a command line that can't be read: one line on what is wrong, one on what was meant.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::Failure;
use super::{Cli, Verb};
use crate::render::quote;

/// From what the parser says of the words after `git session`.
pub fn usage(error: &clap::Error, words: &[OsString]) -> Failure {
    let verb = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    if error.kind() == ErrorKind::InvalidSubcommand {
        let name = named(error, ContextKind::InvalidSubcommand);
        return no_verb(name.first().map_or(verb, |name| name));
    }
    if !verb.starts_with('-') && !is_verb(verb) {
        let has_command = words.iter().any(|word| word == "--");
        if has_command || alike(verb).is_some() {
            return no_verb(verb);
        }
    }
    let (message, hint) = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let missing = named(error, ContextKind::InvalidArg).join(" and ");
            // What follows the first session may be the text, of which nothing says so.
            let text = words.get(2).filter(|_| missing.starts_with("--message"));
            let hint = text.and_then(|text| misplaced(verb, words, &text.to_string_lossy()));
            (format!("missing: {missing}"), hint)
        }
        ErrorKind::UnknownArgument => {
            let unknown = named(error, ContextKind::InvalidArg).join(" ");
            let hint = match named(error, ContextKind::SuggestedArg).first() {
                Some(option) => Some(format!("did you mean '{option}'?")),
                None => misplaced(verb, words, &unknown),
            };
            (format!("unexpected argument '{unknown}'"), hint)
        }
        _ => (first_lines(error), None),
    };
    let shows = if is_verb(verb) {
        format!("'git session {verb} -h' shows what it takes")
    } else {
        "'git session -h' shows the verbs".to_owned()
    };
    Failure::bad_usage(message).hint(hint.unwrap_or(shows))
}

/// What was meant for a verb, and is none. As with git itself, that is something that is not found.
fn no_verb(word: &str) -> Failure {
    missing("no verb", word, "'git session -h' shows the verbs")
}

/// A first word that could have been either, unless a command follows it.
pub fn neither(word: &str, words: &[OsString]) -> Failure {
    if words.iter().any(|word| word == "--") {
        return no_verb(word);
    }
    let both = "'git session -h' shows the verbs, 'git session list --all' the sessions";
    missing("no verb and no session", word, both)
}

fn missing(what: &str, word: &str, otherwise: &str) -> Failure {
    let hint = alike(word).map(|verb| format!("did you mean '{verb}'?"));
    Failure::refused("not-found", format!("{what} '{word}'")).hint(hint.unwrap_or(otherwise.to_owned()))
}

/// The verb that a word may be a slip of: a letter too many, too few, wrong, or two that changed places.
fn alike(word: &str) -> Option<String> {
    let root = Cli::command();
    let verbs = root.get_subcommands().filter(|verb| !verb.is_hide_set());
    let names = verbs.flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()));
    let distances = names.map(|name| (strsim::osa_distance(word, name), name));
    let allowed = if word.chars().count() > 5 { 2 } else { 1 };
    let near = distances.filter(|(distance, _)| (1..=allowed).contains(distance));
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

fn is_verb(word: &str) -> bool {
    Cli::command().find_subcommand(word).is_some() || word == "help"
}

/// Where a word belongs: an option of git's before our name, what is no option behind what a command or a text goes
/// after.
fn misplaced(verb: &str, words: &[OsString], unknown: &str) -> Option<String> {
    if unknown.starts_with("-C") {
        return Some("where to go is git's own option: 'git -C DIR session'".to_owned());
    }
    if unknown.starts_with('-') {
        return None;
    }
    let (before, what) = match verb {
        "run" | "new" | "exec" => ("--", "the command goes after '--'"),
        "note" => ("-m", "the text goes after '-m'"),
        _ => return None,
    };
    let places = words.iter().enumerate().filter(|(_, word)| *word == unknown);
    // After a '--' that became an option's value nobody knows what was meant.
    let places = places.filter(|(at, _)| !words[..*at].iter().any(|word| word == "--"));
    let lines = places.map(|(at, _)| {
        let mut line = words[..at].to_vec();
        line.push(before.into());
        match before {
            "-m" => line.push(words[at..].join(OsStr::new(" "))),
            _ => line.extend_from_slice(&words[at..]),
        }
        line
    });
    // A word may also be an option's value: the place is right where the line can be read.
    let line = lines.into_iter().find(|line| Verb::alone(line).is_some());
    let line: Vec<String> = line?.iter().map(|word| quote(word.as_bytes())).collect();
    Some(format!("{what}: git session {}", line.join(" ")))
}

/// What an error names.
fn named(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(name)) => vec![name.clone()],
        Some(ContextValue::Strings(names)) => names.clone(),
        _ => Vec::new(),
    }
}

/// The parser's own words on what is wrong, without its advice.
fn first_lines(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let advice = ["\n\n  tip: ", "\n\nUsage: ", "\n\nFor more information"];
    let end = advice.iter().filter_map(|begin| text.find(begin)).min();
    let text = &text[..end.unwrap_or(text.len())];
    let lines = text.strip_prefix("error: ").unwrap_or(text).lines();
    lines
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end()
        .to_owned()
}
