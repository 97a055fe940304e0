//! Signatures of commits, made and checked by git alone: ssh, gpg or x509, as it is configured.

use gix::ObjectId;
use gix::actor::SignatureRef;
use gix::bstr::ByteSlice;

use super::objects::{self, Object};
use super::repo::parse_oid;
use super::{Error, Repo, Result};

/// What a commit's signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Good, and by a signer whom git's configuration knows.
    Good,
    /// By somebody unknown, expired, revoked, or of something else.
    Unknown,
    /// There is none.
    Missing,
}

impl Standing {
    /// Gives its word.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Good => "good",
            Standing::Unknown => "unknown",
            Standing::Missing => "missing",
        }
    }
}

/// Signs a commit with the committer's key, as `git commit -S` does; its tree and parents are in the repository.
///
/// # Errors
/// What git says where there is no key; a commit that git would not have written so, as with an odd name in it.
pub fn sign(repo: &Repo, commit: &Object) -> Result<Object> {
    let parsed = gix::objs::CommitRef::from_bytes(&commit.data, repo.object_hash())
        .map_err(Error::gix("a commit that is to be signed"))?;
    let people = [
        ("AUTHOR", parsed.author().map_err(Error::gix("an author"))?),
        (
            "COMMITTER",
            parsed.committer().map_err(Error::gix("a committer"))?,
        ),
    ];
    let mut git = repo.git_with(&[("i18n.commitEncoding", "UTF-8")])?;
    for (role, SignatureRef { name, email, time }) in people {
        git = git
            .env(&format!("GIT_{role}_NAME"), name.to_os_str_lossy().into_owned())
            .env(&format!("GIT_{role}_EMAIL"), email.to_os_str_lossy().into_owned())
            .env(&format!("GIT_{role}_DATE"), format!("@{time}"));
    }
    git = git.args(["commit-tree", "-S"]);
    for parent in parsed.parents() {
        git = git.arg("-p").arg(parent.to_string());
    }
    let made = git
        .arg(parsed.tree().to_string())
        .input(parsed.message.to_vec())
        .run()?;
    let id = parse_oid(made.trim())
        .ok_or_else(|| Error::Malformed("git commit-tree gave no commit".to_owned()))?;
    let signed = objects::read(repo, id)?;
    if bare(&signed.data) != commit.data {
        let why = "git signed another commit than the one it was given; user.name may be one that it changes";
        return Err(Error::Malformed(why.to_owned()));
    }
    Ok(signed)
}

/// Checks the signatures of commits, and gives what each is worth, in their order.
///
/// # Errors
/// Commits that are not here.
pub fn check(repo: &Repo, commits: &[ObjectId]) -> Result<Vec<Standing>> {
    let mut standings = Vec::with_capacity(commits.len());
    let mut signed = String::new();
    for commit in commits {
        let data = objects::read(repo, *commit)?.data;
        let standing = match bare(&data).len() == data.len() {
            true => Standing::Missing,
            false => Standing::Unknown,
        };
        if standing == Standing::Unknown {
            signed.push_str(&format!("{commit}\n"));
        }
        standings.push(standing);
    }
    if signed.is_empty() {
        return Ok(standings);
    }
    let output = repo
        .git_with(&[("log.showSignature", "false")])?
        .args([
            "log",
            "--no-walk=unsorted",
            "--stdin",
            "--no-color",
            "--no-notes",
            "--no-decorate",
        ])
        .arg("--format=%H %G?")
        .input(signed)
        .run()?;
    for line in output.lines() {
        if let Some(hex) = line.strip_suffix(b" G")
            && let Some(good) = parse_oid(hex)
        {
            let of = commits.iter().zip(&mut standings);
            of.filter(|(commit, _)| **commit == good)
                .for_each(|(_, standing)| *standing = Standing::Good);
        }
    }
    Ok(standings)
}

/// A commit's content without the signatures that may be in its header.
pub fn bare(commit: &[u8]) -> Vec<u8> {
    let (header, message) = match commit.find("\n\n") {
        Some(end) => commit.split_at(end + 1),
        None => (commit, &b""[..]),
    };
    let mut bare = Vec::with_capacity(commit.len());
    let mut within = false;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let begins = line.starts_with(b"gpgsig ") || line.starts_with(b"gpgsig-sha256 ");
        within = begins || within && line.starts_with(b" ");
        if !within {
            bare.extend_from_slice(line);
        }
    }
    bare.extend_from_slice(message);
    bare
}
