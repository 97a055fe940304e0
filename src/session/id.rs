//! The name of a session.

use std::fmt;
use std::str::FromStr;

/// The longest id, in characters.
const LONGEST: usize = 63;
/// How many random characters follow the slug.
const RANDOM: usize = 6;
/// RFC 4648 base32 in lower case: no two of its characters look alike.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A legal session id: `[a-z0-9][a-z0-9-]{0,62}`, not ending in `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

/// The text is no session id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a legal session id")]
pub struct IdError(pub String);

impl SessionId {
    /// Makes an id of a text that a person would recognise and random bytes, five bits of each of which are used.
    pub fn generate(hint: &str, random: [u8; RANDOM]) -> SessionId {
        let tail: String = random
            .iter()
            .map(|byte| char::from(BASE32[usize::from(byte % 32)]))
            .collect();
        let slug = slug(hint, 40);
        SessionId(if slug.is_empty() {
            format!("session-{tail}")
        } else {
            format!("{slug}-{tail}")
        })
    }

    /// Gives the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower-case letters and digits, everything between them as one `-`, at most `longest` characters.
fn slug(hint: &str, longest: usize) -> String {
    let mut slug = String::new();
    for c in hint.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
        if slug.len() >= longest {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let good = !text.is_empty()
            && text.len() <= LONGEST
            && text.bytes().all(legal)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good {
            Ok(SessionId(text.to_owned()))
        } else {
            Err(IdError(text.to_owned()))
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_legal_is_told_from_what_is_not() {
        for id in ["a", "0", "a-b", "fix-login-7k3q2a", &"x".repeat(63)] {
            assert!(id.parse::<SessionId>().is_ok(), "{id}");
        }
        for id in [
            "",
            "-a",
            "a-",
            "A",
            "a b",
            "a/b",
            "a.b",
            "é",
            "@",
            &"x".repeat(64),
        ] {
            assert!(id.parse::<SessionId>().is_err(), "{id}");
        }
    }

    #[test]
    fn a_made_id_is_legal_whatever_the_hint() {
        for hint in [
            "Fix the login page",
            "",
            "---",
            "été \u{202e}\n",
            &"word ".repeat(40),
        ] {
            let id = SessionId::generate(hint, [0, 31, 32, 255, 7, 200]);
            assert_eq!(id.as_str().parse(), Ok(id.clone()), "{hint}");
        }
        assert_eq!(
            SessionId::generate("Fix: the login", [0; 6]).as_str(),
            "fix-the-login-aaaaaa"
        );
    }
}
