//! Named workers from git config: `[session-worker "agent"] command = …`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::error::{Error, Result};
use crate::git::Repo;
use crate::session::duration;
use crate::worker::{Signal, find_program};

/// The section of git config.
const SECTION: &str = "session-worker";
const KEYS: [&str; 6] = [
    "command",
    "resume",
    "suspendSignal",
    "grace",
    "timeout",
    "retries",
];

/// What is replaced by the session's values, where it is a whole argument.
const PLACEHOLDERS: [&str; 4] = ["{title}", "{issue}", "{id}", "{worktree}"];

/// A worker as configured, every value understood.
#[derive(Debug, Default)]
pub struct Configured {
    pub command: Vec<String>,
    pub resume: Vec<String>,
    pub signal: Option<Signal>,
    pub grace: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
}

/// The workers that are configured.
pub fn names(repo: &Repo) -> Vec<String> {
    repo.config_subsections(SECTION)
}

/// What something of a worker's is called in git config.
pub fn key(worker: &str, key: &str) -> String {
    format!("{SECTION}.{worker}.{key}")
}

/// Reads and checks a worker's configuration, when it is used.
///
/// # Errors
/// A worker that isn't there, an unknown key, a bad value, or a program that can't be found.
pub fn configured(repo: &Repo, name: &str) -> Result<Configured> {
    let values = repo.config_section(SECTION, name);
    if values.is_empty() {
        return Err(Error::UnknownWorker {
            name: name.to_owned(),
            known: names(repo),
        });
    }
    let mut worker = Configured::default();
    for (key, value) in values {
        let full = self::key(name, &key);
        let bad = |why: String| Error::Worker(format!("{full}: {why}"));
        let words = |text: &str| {
            let words = shell_words::split(text).map_err(|error| bad(format!("{error} in '{text}'")))?;
            match words.iter().find(|word| is_unknown_placeholder(word)) {
                Some(word) => Err(Error::Placeholder {
                    key: full.clone(),
                    word: word.clone(),
                    known: PLACEHOLDERS.join(", "),
                }),
                None => Ok(words),
            }
        };
        let time = |text: &str| duration::parse(text).map_err(|error| bad(error.to_string()));
        // git's keys have no case.
        match KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(&key)) {
            Some("command") => worker.command = words(&value)?,
            Some("resume") => worker.resume = words(&value)?,
            Some("suspendSignal") => {
                worker.signal = Some(
                    value
                        .parse()
                        .map_err(|error: crate::worker::SignalError| bad(error.to_string()))?,
                );
            }
            Some("grace") => worker.grace = Some(time(&value)?),
            Some("timeout") => worker.timeout = Some(time(&value)?),
            Some("retries") => {
                worker.retries = Some(
                    value
                        .parse()
                        .map_err(|_| bad(format!("'{value}' is not a number")))?,
                );
            }
            _ => {
                return Err(Error::Worker(format!(
                    "{full}: unknown key; known are {}",
                    KEYS.join(", ")
                )));
            }
        }
    }
    if worker.command.is_empty() {
        return Err(Error::Worker(format!("{} is missing", key(name, "command"))));
    }
    for command in [&worker.command, &worker.resume] {
        check_program(name, command)?;
    }
    Ok(worker)
}

/// What a command says by an argument.
#[derive(Debug, PartialEq, Eq)]
pub enum Word<'w> {
    /// A placeholder, or what looks like one: one pair of braces around a name.
    Placeholder,
    /// The same in more than one pair: it is text, less its outermost braces.
    Quoted(&'w str),
    /// Anything else stands for itself.
    Text,
}

/// Reads an argument of a worker's command.
pub fn read(word: &str) -> Word<'_> {
    let inside = |word| strip(word).filter(|inner| strip(inner).is_some());
    let mut name = word;
    while let Some(inner) = strip(name) {
        name = inner;
    }
    let mut letters = name.bytes();
    let is_name = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    match inside(word) {
        _ if !is_name || name == word => Word::Text,
        Some(inner) => Word::Quoted(inner),
        None => Word::Placeholder,
    }
}

fn strip(word: &str) -> Option<&str> {
    word.strip_prefix('{')?.strip_suffix('}')
}

/// An argument that was typed with a session, so that [`read`] finds in it what was typed.
pub fn as_typed(arg: OsString) -> OsString {
    match arg.to_str().map(|word| (word, read(word))) {
        Some((word, Word::Quoted(_))) => format!("{{{word}}}").into(),
        _ => arg,
    }
}

/// A slip in a name is better told than passed on as text.
fn is_unknown_placeholder(word: &str) -> bool {
    read(word) == Word::Placeholder && !PLACEHOLDERS.contains(&word)
}

/// A program with a relative path is looked for in the worktree, which isn't there yet.
fn check_program(worker: &str, command: &[String]) -> Result<()> {
    let Some(program) = command.first() else {
        return Ok(());
    };
    if program.contains('/') && !program.starts_with('/') {
        return Ok(());
    }
    let path = std::env::var_os("PATH");
    match find_program(program.as_ref(), path.as_deref(), Path::new("/")) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Worker(format!("worker '{worker}': {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_in_braces_is_a_placeholder() {
        for word in ["{title}", "{titel}", "{TITLE}", "{issue-url}", "{a_1}"] {
            assert_eq!(read(word), Word::Placeholder, "{word}");
        }
        for word in [
            "",
            "{}",
            "{{}}",
            "title",
            "{1}",
            "{ print }",
            "{a,b}",
            "x{title}",
            "{title",
            "{{title}",
            "{é}",
        ] {
            assert_eq!(read(word), Word::Text, "{word}");
        }
        assert_eq!(read("{{print}}"), Word::Quoted("{print}"));
        assert_eq!(read("{{{print}}}"), Word::Quoted("{{print}}"));
        assert_eq!(as_typed("{{print}}".into()), "{{{print}}}");
        assert_eq!(as_typed("{title}".into()), "{title}");
    }
}
