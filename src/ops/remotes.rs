//! Which remote is meant, and which one is a session's home.

use super::error::{Error, Result};
use super::workspace::Workspace;
use crate::git::remote::Remote;
use crate::session::{SessionId, Summary, duration};

/// The remote that is named, or else the one that is used here: `session.remote`, the branch's, `origin`, the only one.
pub fn chosen<'w>(ws: &'w Workspace, name: Option<&str>) -> Result<Remote<'w>> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => usual(ws)?,
    };
    open(ws, &name)
}

fn open<'w>(ws: &'w Workspace, name: &str) -> Result<Remote<'w>> {
    let mut remote = ws.repo.remote(name)?.with_durability(ws.store().durability());
    if let Some(text) = ws.repo.config("session.remoteTimeout") {
        let limit = duration::parse(&text).map_err(|error| Error::Option {
            option: "session.remoteTimeout".to_owned(),
            why: error.to_string(),
        })?;
        remote = remote.with_patience((!limit.is_zero()).then_some(limit));
    }
    Ok(match ws.progress {
        Some(progress) => remote.with_progress(Box::new(progress)),
        None => remote,
    })
}

fn usual(ws: &Workspace) -> Result<String> {
    if let Some(name) = ws.repo.config("session.remote") {
        return Ok(name);
    }
    let of_branch = |branch: String| ws.repo.config(&format!("branch.{branch}.remote"));
    if let Some(name) = ws.repo.head_branch().and_then(of_branch)
        && name != "."
    {
        return Ok(name);
    }
    let remotes = ws.repo.remotes();
    match remotes.as_slice() {
        [only] => Ok(only.to_string()),
        several => several
            .iter()
            .find(|name| *name == "origin")
            .map(ToString::to_string)
            .ok_or(Error::NoRemote),
    }
}

/// The remote on which the session's ownership is decided; none for a session that was never pushed.
///
/// # Errors
/// A home that no remote of this clone has as its URL, unless `session.home` names the one that leads there.
pub fn home<'w>(ws: &'w Workspace, summary: &Summary) -> Result<Option<Remote<'w>>> {
    let Some(url) = &summary.home else {
        return Ok(None);
    };
    if let Some(name) = ws.repo.config("session.home") {
        return open(ws, &name).map(Some);
    }
    for name in ws.repo.remotes() {
        // One that git itself takes for an option leads nowhere, and hides no other.
        let name = name.to_string();
        if ws.repo.remote(&name).is_err() {
            continue;
        }
        let remote = open(ws, &name)?;
        if remote.leads_to(url, is_same_url) {
            return Ok(Some(remote));
        }
    }
    Err(Error::NoHome {
        id: summary.id.clone(),
        url: url.clone(),
    })
}

/// Whether that remote is the session's home.
pub fn is_home(ws: &Workspace, summary: &Summary, remote: &Remote<'_>) -> bool {
    let Some(url) = &summary.home else { return false };
    let named = ws.repo.config("session.home");
    let named = named.and_then(|name| ws.repo.remote(&name).ok());
    named.is_some_and(|named| named.name() == remote.name()) || remote.leads_to(url, is_same_url)
}

/// Whether what a remote is called is its URL or path, since it has no name: both are written in full.
pub fn is_bare(name: &str) -> bool {
    name.starts_with('/') || name.contains(':')
}

/// A slash or `.git` at the end makes no other repository, nor does a path that is written as a URL.
pub fn is_same_url(one: &str, other: &str) -> bool {
    let bare = |url: &str| -> String {
        let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'));
        let url = path.unwrap_or(url).trim_end_matches('/');
        url.strip_suffix(".git").unwrap_or(url).to_owned()
    };
    bare(one) == bare(other)
}

/// A remote that does not take what it was sent.
pub fn refused(id: &SessionId, remote: &Remote<'_>, why: String) -> Error {
    Error::Refused {
        id: id.clone(),
        remote: remote.name().to_owned(),
        why,
    }
}
