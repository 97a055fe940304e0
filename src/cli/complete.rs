//! What the completions of bash, zsh and fish ask for: answers come from the command line's own definitions.

use std::collections::BTreeSet;

use clap::builder::ValueHint;
use clap::{Arg, ArgAction, Command};

use super::common::open;
use super::error::Failure;
use super::out;
use crate::git::refs::Refs;
use crate::ops::{Error, Workspace};
use crate::render::escape;
use crate::session::State;
use crate::store::Session;

/// Tells the shell to complete a command of its own, from the word after `--` on.
const COMMAND: &str = ":command";
/// Tells the shell to complete directories.
const DIRECTORIES: &str = ":directories";

/// Say what may come next on a command line; called by the shells' completions
///
/// Prints a line for each answer: what may be typed, a tab, what it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The words after 'git session', the last one as far as it is typed
    #[arg(last = true, value_name = "WORD")]
    words: Vec<String>,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut root = super::command();
        root.build();
        let mut lines = String::new();
        for (value, about) in answers(&root, &self.words) {
            // A value that no line can hold can't be offered.
            if !value.contains(char::is_control) {
                lines.push_str(&format!("{value}\t{}\n", escape(&about)));
            }
        }
        out::data(lines.as_bytes());
        Ok(0)
    }
}

/// What is being typed.
enum Typing<'c> {
    /// An option's name.
    Option,
    /// An option's value, after this much of the word.
    Value(&'c Arg, String),
    /// What is no option; absent where the verb takes no more.
    Positional(Option<&'c Arg>),
    /// A command of the user's, after `--`.
    Foreign,
}

/// Where the last word stands.
struct Place<'c> {
    command: &'c Command,
    /// What was given before that is no option.
    given: Vec<&'c str>,
    typing: Typing<'c>,
}

fn place<'c>(root: &'c Command, words: &'c [String]) -> Place<'c> {
    let (word, before) = match words.split_last() {
        Some((word, before)) => (word.as_str(), before),
        None => ("", words),
    };
    let mut command = root;
    let mut given = Vec::new();
    let mut open: Option<&Arg> = None;
    for word in before {
        if open.take().is_some() {
            continue;
        }
        if word == "--" {
            let typing = Typing::Foreign;
            return Place {
                command,
                given,
                typing,
            };
        }
        if let Some(long) = word.strip_prefix("--") {
            open = long_option(command, long).filter(|arg| takes_next_word(arg));
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            open = open_short(command, letters);
        } else if let Some(verb) = command.find_subcommand(word).filter(|_| given.is_empty()) {
            command = verb;
        } else {
            given.push(word.as_str());
        }
    }
    let typing = match (open, word.split_once('=')) {
        (Some(arg), _) => Typing::Value(arg, String::new()),
        (None, Some((name, _))) if name.starts_with("--") => match long_option(command, &name[2..]) {
            Some(arg) => Typing::Value(arg, format!("{name}=")),
            None => Typing::Option,
        },
        (None, _) if word.starts_with('-') => Typing::Option,
        _ => Typing::Positional(positional(command, given.len())),
    };
    Place {
        command,
        given,
        typing,
    }
}

fn long_option<'c>(command: &'c Command, long: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long_and_visible_aliases()
            .is_some_and(|names| names.contains(&long))
    })
}

/// The option of a group of letters that waits for its value, if one does.
fn open_short<'c>(command: &'c Command, letters: &str) -> Option<&'c Arg> {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_short() == Some(letter))?;
        if takes_next_word(arg) {
            return letters.next().is_none().then_some(arg);
        }
    }
    None
}

fn takes_next_word(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn positional(command: &Command, at: usize) -> Option<&Arg> {
    let mut all = command.get_positionals().filter(|arg| !arg.is_last_set());
    let mut found = all.next()?;
    for _ in 0..at {
        match all.next() {
            Some(next) => found = next,
            None if matches!(found.get_action(), ArgAction::Append) => break,
            None => return None,
        }
    }
    Some(found)
}

fn answers(root: &Command, words: &[String]) -> Vec<(String, String)> {
    let place = place(root, words);
    match &place.typing {
        Typing::Foreign => vec![(COMMAND.to_owned(), String::new())],
        Typing::Option => options(place.command),
        Typing::Value(arg, prefix) => {
            let with_prefix = |(value, about)| (format!("{prefix}{value}"), about);
            let is_word = |value: &str| !value.starts_with(':');
            let values = values(arg).into_iter();
            values
                .map(|answer| {
                    if is_word(&answer.0) {
                        with_prefix(answer)
                    } else {
                        answer
                    }
                })
                .collect()
        }
        Typing::Positional(_) if place.command.has_subcommands() && place.given.is_empty() => {
            verbs(place.command)
        }
        Typing::Positional(_) if place.command.get_name() == "help" => verbs(root),
        Typing::Positional(Some(arg)) if arg.get_id() == "remote" => values(arg),
        Typing::Positional(Some(arg)) if names_a_session(arg) => {
            sessions(place.command.get_name(), &place.given)
        }
        Typing::Positional(_) => Vec::new(),
    }
}

fn verbs(root: &Command) -> Vec<(String, String)> {
    let shown = root.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .map(|verb| {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            (verb.get_name().to_owned(), about)
        })
        .collect()
}

fn options(command: &Command) -> Vec<(String, String)> {
    let shown = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    shown
        .filter_map(|arg| {
            let name = match (arg.get_long(), arg.get_short()) {
                (Some(long), _) => format!("--{long}"),
                (None, Some(short)) => format!("-{short}"),
                (None, None) => return None,
            };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((name, help))
        })
        .collect()
}

fn names_a_session(arg: &Arg) -> bool {
    arg.get_value_names()
        .is_some_and(|names| names.iter().any(|name| name == "SESSION"))
}

/// What an option's value may be; nothing where anything may.
fn values(arg: &Arg) -> Vec<(String, String)> {
    let plain = |value: &str| (value.to_owned(), String::new());
    match arg.get_id().as_str() {
        "state" => State::ALL.iter().map(|state| plain(state.word())).collect(),
        "record_output" => vec![
            ("tail".to_owned(), "the last 64 KiB".to_owned()),
            ("full".to_owned(), "all of it".to_owned()),
        ],
        "worker" => open().map_or_else(
            |_| Vec::new(),
            |ws| {
                let workers = crate::ops::workers::names(&ws.repo);
                workers.iter().map(|name| plain(name)).collect()
            },
        ),
        "remote" => open().map_or_else(
            |_| Vec::new(),
            |ws| {
                let remotes = ws.repo.remotes();
                remotes.iter().map(|remote| plain(&remote.to_string())).collect()
            },
        ),
        "branch" => refs(&["refs/heads/"]),
        "base" => refs(&["refs/heads/", "refs/tags/", "refs/remotes/"]),
        "issue" => issues(),
        _ if arg.get_value_hint() != ValueHint::Unknown => vec![plain(DIRECTORIES)],
        _ => arg
            .get_possible_values()
            .iter()
            .map(|value| plain(value.get_name()))
            .collect(),
    }
}

/// The short names of refs; none where they can't be read.
fn refs(prefixes: &[&str]) -> Vec<(String, String)> {
    let Ok(ws) = open() else { return Vec::new() };
    let list = |refs: &Refs<'_>, prefix: &str| {
        let found = refs.list(prefix).unwrap_or_default().into_iter();
        found
            .filter_map(|found| Some(found.name.to_string().strip_prefix(prefix)?.to_owned()))
            .collect::<Vec<_>>()
    };
    let refs = ws.repo.refs();
    let names = prefixes.iter().flat_map(|prefix| list(&refs, prefix));
    names.map(|name| (name, String::new())).collect()
}

fn all_sessions(ws: &Workspace) -> Vec<Session> {
    let listing = ws.store().list().map_err(Error::from);
    listing.map(|listing| listing.sessions).unwrap_or_default()
}

fn issues() -> Vec<(String, String)> {
    let Ok(ws) = open() else { return Vec::new() };
    let sessions = all_sessions(&ws);
    let issues: BTreeSet<&String> = sessions
        .iter()
        .filter_map(|session| session.event.summary.issue.as_ref())
        .collect();
    issues
        .into_iter()
        .map(|issue| (issue.clone(), String::new()))
        .collect()
}

/// Sessions that a verb can do something with: those that live before those that have ended, the newest first.
fn sessions(verb: &str, given: &[&str]) -> Vec<(String, String)> {
    let Ok(ws) = open() else { return Vec::new() };
    let mut sessions = all_sessions(&ws);
    sessions.retain(|session| {
        suits(verb, session.event.summary.state) && !given.contains(&session.id().as_str())
    });
    sessions.sort_by_key(|session| {
        let summary = &session.event.summary;
        let ended = summary.state == State::Terminated;
        (ended, std::cmp::Reverse(summary.created), summary.id.clone())
    });
    sessions
        .iter()
        .map(|session| {
            let summary = &session.event.summary;
            let about = match &summary.title {
                Some(title) => format!("{}: {title}", summary.state),
                None => summary.state.to_string(),
            };
            (summary.id.to_string(), about)
        })
        .collect()
}

fn suits(verb: &str, state: State) -> bool {
    match verb {
        "start" => state == State::Pending,
        "suspend" => state == State::Running,
        "resume" => state == State::Suspended,
        "checkpoint" => matches!(state, State::Running | State::Suspended),
        "terminate" => state != State::Terminated,
        "retry" | "prune" => state == State::Terminated,
        _ => true,
    }
}
