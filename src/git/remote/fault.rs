//! What kind of trouble there was with a remote, told from what git said of it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::url::redact;

/// Why another repository could not be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteFault {
    /// There is nobody, or the connection broke.
    Unreachable,
    /// It said nothing for that long.
    Silent(Duration),
    /// It doesn't let us in.
    Denied,
    /// It names its objects by another hash than this repository.
    Hash,
    /// Something else, which only the text tells.
    Other,
}

impl fmt::Display for RemoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteFault::Unreachable => f.write_str("cannot be reached"),
            RemoteFault::Silent(patience) => write!(f, "said nothing for {patience:?}"),
            RemoteFault::Denied => f.write_str("denies access"),
            RemoteFault::Hash => f.write_str("names its objects by another hash than this repository"),
            RemoteFault::Other => f.write_str("could not be used"),
        }
    }
}

/// What git says of a repository with another hash.
const HASH: [&str; 4] = [
    "mismatched algorithms",
    "repository's hash algorithm",
    "repository's object format",
    "unknown object format",
];

/// What git, ssh, curl and hosts say to those whom they don't let in.
const DENIED: [&str; 14] = [
    "permission denied",
    "authentication failed",
    "could not read username",
    "could not read password",
    "terminal prompts disabled",
    "returned error: 401",
    "returned error: 403",
    "host key verification failed",
    "too many authentication failures",
    "access denied",
    "not exported",
    "dubious ownership",
    "service not enabled",
    "is not allowed to",
];

/// What they say when there is nobody, or not any longer.
const UNREACHABLE: [&str; 21] = [
    "unable to access",
    "unable to connect",
    "unable to look up",
    "could not resolve",
    "connection refused",
    "connection reset",
    "connection closed",
    "connection timed out",
    "no route to host",
    "network is unreachable",
    "does not appear to be a git repository",
    "could not read from remote repository",
    "no path specified",
    "not found",
    "hung up",
    "early eof",
    "unexpected disconnect",
    "remote helper",
    "aborted session",
    "rpc failed",
    "protocol error",
];

/// Tells the kind of trouble from what was said.
pub fn kind(said: &str) -> RemoteFault {
    let said = said.to_lowercase();
    let any = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if any(&HASH) {
        RemoteFault::Hash
    } else if any(&DENIED) {
        RemoteFault::Denied
    } else if any(&UNREACHABLE) {
        RemoteFault::Unreachable
    } else {
        RemoteFault::Other
    }
}

/// What git could not do with files here, and what the system said to that.
const WRITING: [&str; 6] = [
    "unable to write",
    "unable to create temporary file",
    "insufficient permission for adding an object",
    "unable to update local ref",
    "failed to write",
    "cannot create directory",
];
const BY_THE_SYSTEM: [&str; 6] = [
    "permission denied",
    "insufficient permission",
    "read-only file system",
    "no space left on device",
    "quota exceeded",
    "not a directory",
];

/// Whether a fetch failed since the repository here, whose directory is `common`, can't be written.
pub fn is_ours(said: &str, common: &Path) -> bool {
    let directory = format!("unable to create directory for {}/", common.display());
    let common = format!("'{}/", common.display());
    said.split("; ").any(|said| {
        let lower = said.to_lowercase();
        if lower.starts_with("remote: ") {
            return false;
        }
        said.contains(&directory)
            || BY_THE_SYSTEM.iter().any(|why| lower.contains(why))
                && (WRITING.iter().any(|what| lower.contains(what)) || said.contains(&common))
    })
}

/// What a child said on stderr, in one line: without progress, advice and credentials.
pub fn line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut kept: Vec<String> = Vec::new();
    let mut length = 0;
    for line in text.split('\n') {
        // What was overwritten on the terminal was progress.
        let line = line.rsplit('\r').find(|part| !part.trim().is_empty());
        let line = line.unwrap_or_default().trim();
        let line = ["fatal: ", "error: "]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))
            .unwrap_or(line);
        let boring = line.is_empty()
            || line.starts_with("hint:")
            || is_progress(line)
            || line.starts_with("From ")
            || line.starts_with("To ")
            || line == "Please make sure you have the correct access rights"
            || line == "and the repository exists.";
        let line = redact(line);
        if !boring && !kept.contains(&line) {
            length += line.len();
            kept.push(line);
        }
        if length > LONGEST {
            break;
        }
    }
    let mut line = kept.join("; ");
    if line.len() > LONGEST {
        let mut end = LONGEST;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

/// How many bytes of speech an error carries at most.
const LONGEST: usize = 2000;

/// Whether a line tells how far git is, here or on the remote.
pub fn is_progress(line: &str) -> bool {
    let line = line.strip_prefix("remote: ").unwrap_or(line).trim();
    if line.starts_with("Total ") || line.starts_with("Delta compression using") {
        return true;
    }
    let Some((title, rest)) = line.split_once(": ") else {
        return false;
    };
    let titled = title.ends_with("objects")
        || title.ends_with("deltas")
        || title.ends_with("references")
        || title.ends_with("connectivity")
        || title.ends_with("files");
    let counted = rest.trim_start().starts_with(|c: char| c.is_ascii_digit());
    titled && counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_trouble_is_told_from_the_text() {
        let cases = [
            (
                "mismatched algorithms: client sha1; server sha256",
                RemoteFault::Hash,
            ),
            (
                "git@host: Permission denied (publickey).; Could not read from remote repository.",
                RemoteFault::Denied,
            ),
            (
                "unable to access 'http://h/x/': The requested URL returned error: 403",
                RemoteFault::Denied,
            ),
            (
                "unable to access 'http://h/x/': Failed to connect to h port 1",
                RemoteFault::Unreachable,
            ),
            (
                "'/x' does not appear to be a git repository",
                RemoteFault::Unreachable,
            ),
            ("bad object 1234", RemoteFault::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_here_is_not_wrong_with_the_remote() {
        let common = Path::new("/home/me/a/.git");
        for ours in [
            "cannot lock ref 'refs/x': Unable to create '/home/me/a/.git/refs/x.lock': Permission denied",
            "unable to write loose object file: No space left on device; unpack-objects failed",
            "insufficient permission for adding an object to repository database .git/objects",
        ] {
            assert!(is_ours(ours, common), "{ours}");
        }
        for theirs in [
            "git@host: Permission denied (publickey).; Could not read from remote repository.",
            "remote: unable to write: No space left on device",
            "cannot lock ref 'refs/x': Unable to create '/home/me/a/.git/refs/x.lock': File exists.",
            "cannot open '/srv/home.git/HEAD': Permission denied",
        ] {
            assert!(!is_ours(theirs, common), "{theirs}");
        }
    }

    #[test]
    fn only_what_matters_is_kept_of_what_git_said() {
        let stderr = b"remote: Enumerating objects: 3, done.        \nReceiving objects:  50% (1/2)\rReceiving objects: 100% (2/2), done.\nDelta compression using up to 2 threads\nTotal 6 (delta 3), reused 0 (delta 0), pack-reused 0 (from 0)\nFrom ../x\nremote: too big\nfatal: no\nfatal: no\nhint: try\n";
        assert_eq!(line(stderr), "remote: too big; no");
    }
}
