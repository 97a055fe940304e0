//! The name of a session.

use std::fmt;
use std::str::FromStr;

/// The longest id, in characters.
const LONGEST: usize = 63;
/// The longest slug, so that a list has room for more than ids.
const SLUG: usize = 24;
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
        let slug = slug(hint);
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

/// The first words in lower-case letters and digits, with one `-` between them; only a first word is ever cut.
fn slug(hint: &str) -> String {
    let hint = hint.to_ascii_lowercase();
    let words = hint.split(|c: char| !c.is_ascii_alphanumeric());
    let mut slug = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if slug.is_empty() {
            slug.push_str(&word[..word.len().min(SLUG)]);
        } else if slug.len() + 1 + word.len() <= SLUG {
            slug.push('-');
            slug.push_str(word);
        } else {
            break;
        }
    }
    slug
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
        assert_eq!(
            SessionId::generate("A title that says everything about it", [0; 6]).as_str(),
            "a-title-that-says-aaaaaa"
        );
    }
}
