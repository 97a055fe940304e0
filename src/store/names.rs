//! Where a session's refs are.

use std::fmt::Write;

use crate::session::{IdError, SessionId};

/// Logs: `refs/sessions/<id>`.
pub const SESSIONS: &str = "refs/sessions/";
/// What each clone made: `refs/session-work/<id>/<clone>`.
pub const WORKS: &str = "refs/session-work/";
/// Requests and superseded tips: `refs/session-inbox/<id>/<nonce>`.
pub const INBOXES: &str = "refs/session-inbox/";
/// Remotes' logs when last seen: `refs/session-remotes/<remote>/<id>`.
pub const REMOTES: &str = "refs/session-remotes/";
/// What all of these begin with.
pub const ALL: &str = "refs/session";
/// Provenance.
pub const NOTES: &str = "refs/notes/sessions";
/// The prefix of branches that we name.
pub const BRANCHES: &str = "session/";

/// The ref of a session's log.
pub fn log(id: &SessionId) -> String {
    format!("{SESSIONS}{id}")
}

/// The session whose log a ref is.
///
/// # Errors
/// Refs elsewhere, nested ones and those with an illegal name.
pub fn session_of(refname: &str) -> Result<SessionId, IdError> {
    refname.strip_prefix(SESSIONS).unwrap_or(refname).parse()
}

/// The ref of a clone's work on a session.
pub fn work(id: &SessionId, clone: &str) -> String {
    format!("{WORKS}{id}/{clone}")
}

/// The prefix of every clone's work on a session.
pub fn works(id: &SessionId) -> String {
    format!("{WORKS}{id}/")
}

/// The session and the clone whose work a ref is.
pub fn work_of(refname: &str) -> Option<(SessionId, &str)> {
    pair(refname.strip_prefix(WORKS)?)
}

/// The ref of one request, or of one superseded tip.
pub fn inbox(id: &SessionId, nonce: &str) -> String {
    format!("{INBOXES}{id}/{nonce}")
}

/// The prefix of everything that was put in a session's inbox.
pub fn inboxes(id: &SessionId) -> String {
    format!("{INBOXES}{id}/")
}

/// The session in whose inbox a ref is, and its name there.
pub fn inbox_of(refname: &str) -> Option<(SessionId, &str)> {
    pair(refname.strip_prefix(INBOXES)?)
}

fn pair(tail: &str) -> Option<(SessionId, &str)> {
    let (id, rest) = tail.split_once('/')?;
    let is_name = !rest.is_empty() && !rest.contains('/');
    Some((id.parse().ok()?, rest)).filter(|_| is_name)
}

/// The ref of a session's log as it was last seen at a remote.
pub fn tracking(remote: &str, id: &SessionId) -> String {
    format!("{}{id}", trackings(remote))
}

/// The prefix of everything that was seen at a remote.
pub fn trackings(remote: &str) -> String {
    format!("{REMOTES}{}/", encode(remote))
}

/// The remote and the session of a tracking ref; none for what we would not have called so.
pub fn tracked(refname: &str) -> Option<(String, SessionId)> {
    let (encoded, id) = refname.strip_prefix(REMOTES)?.split_once('/')?;
    let remote = decode(encoded).filter(|remote| encode(remote) == encoded)?;
    Some((remote, id.parse().ok()?))
}

/// Percent-encodes a remote's name, so that it is one legal part of a ref's name, whatever it holds.
///
/// Letters, digits, `-` and `_` stay, and so does a dot that git allows there: one that is neither the first nor the
/// last character, nor next to another dot, nor the beginning of a last `.lock`.
pub fn encode(remote: &str) -> String {
    let bytes = remote.as_bytes();
    let mut out = String::with_capacity(remote.len());
    for (at, byte) in bytes.iter().enumerate() {
        let is_plain = match byte {
            b'.' => {
                let rest = &bytes[at + 1..];
                at > 0 && !rest.is_empty() && bytes[at - 1] != b'.' && rest[0] != b'.' && rest != b"lock"
            }
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        if is_plain {
            out.push(char::from(*byte));
        } else {
            // A String can't refuse what is written to it.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decode(encoded: &str) -> Option<String> {
    let mut bytes = encoded.bytes();
    let mut out = Vec::with_capacity(encoded.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// The short name of the branch that a session gets when none is asked for.
pub fn branch(id: &SessionId) -> String {
    format!("{BRANCHES}{id}")
}

/// The full name of a branch.
pub fn full_branch(short: &str) -> String {
    format!("refs/heads/{short}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> SessionId {
        "one".parse().unwrap()
    }

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(tracking("origin", &id()), "refs/session-remotes/origin/one");
        assert_eq!(
            tracking("git.example", &id()),
            "refs/session-remotes/git.example/one"
        );
        assert_eq!(tracking("a/b", &id()), "refs/session-remotes/a%2Fb/one");
        assert_eq!(tracking("x%y", &id()), "refs/session-remotes/x%25y/one");
    }

    #[test]
    fn what_we_would_not_have_called_so_is_not_ours() {
        for name in [
            "refs/session-remotes/a%2fb/one",
            "refs/session-remotes/%61/one",
            "refs/session-remotes/a%/one",
            "refs/session-remotes/%FF/one",
            "refs/session-remotes/a/b/one",
            "refs/session-remotes/a/ONE",
            "refs/remotes/a/one",
        ] {
            assert_eq!(tracked(name), None, "{name}");
        }
    }

    #[test]
    fn works_and_inboxes_are_told_by_their_names() {
        assert_eq!(work_of(&work(&id(), "clone")), Some((id(), "clone")));
        assert_eq!(inbox_of(&inbox(&id(), "word")), Some((id(), "word")));
        for name in [
            "refs/session-inbox/one",
            "refs/session-inbox/one/",
            "refs/session-inbox/one/a/b",
        ] {
            assert_eq!(inbox_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_remotes_name_comes_back_and_is_one_legal_part_of_a_name(
            remote in "[^\u{0}]{1,20}|[./@{~^:?*\\[\\\\ %lock-]{1,12}|\\PC{0,4}\\.lock"
        ) {
            let name = tracking(&remote, &id());
            prop_assert!(gix::validate::reference::name(name.as_str().into()).is_ok(), "{}", name);
            prop_assert_eq!(name.matches('/').count(), 3);
            prop_assert_eq!(tracked(&name), Some((remote, id())));
        }
    }
}
