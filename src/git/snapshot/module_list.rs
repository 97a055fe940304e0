//! What `git fsck` refuses of a `.gitmodules`, wherever in a tree it is: it has been used to make other clones run
//! things, so a snapshot that had one could not be sent.

use std::fs;
use std::path::Path;

use gix::bstr::{BStr, ByteSlice};
use gix::validate::path::component;

use super::walk::{components, place};
use crate::git::config::entries;
use crate::git::{Repo, Result};

/// Why git refuses a file's name or content; nothing for what is no list of submodules.
///
/// Some few that git would take are refused too.
pub fn why_refused(repo: &Repo, worktree: &Path, path: &BStr) -> Result<Option<&'static str>> {
    const NO_FILE: &str = "git refuses what is called '.gitmodules' and is no file";
    const CONTENT: &str = "git refuses a '.gitmodules' that says such things";
    let mut parts = components(path).map(is_its_name);
    let is_last = parts.next_back().unwrap_or_default();
    if parts.any(|is_it| is_it) {
        return Ok(Some(NO_FILE));
    }
    let at = place(worktree, path);
    Ok(match at.symlink_metadata() {
        Ok(meta) if is_last && meta.is_symlink() => Some(NO_FILE),
        // One that can't be read is named for that.
        Ok(meta) if is_last && meta.is_file() => match fs::read(at) {
            Ok(content) if is_refused(repo, &content)? => Some(CONTENT),
            _ => None,
        },
        _ => None,
    })
}

/// Whether some file system takes a name for `.gitmodules`.
fn is_its_name(name: &BStr) -> bool {
    let everywhere = component::Options {
        protect_windows: false,
        protect_hfs: true,
        protect_ntfs: true,
    };
    matches!(
        gix::validate::path::component(name, Some(component::Mode::Symlink), everywhere),
        Err(component::Error::SymlinkedGitModules)
    )
}

/// The rules of `fsck_blob` in git's `fsck.c`, which reads as far as it can.
fn is_refused(repo: &Repo, content: &[u8]) -> Result<bool> {
    let listed = match entries(repo, content.to_vec())? {
        Some(listed) => Some(listed),
        None => entries(repo, before_error(repo, content)?)?,
    };
    let Some(listed) = listed else { return Ok(true) };
    let of_modules = listed.iter().filter_map(|(key, value)| {
        let (name, variable) = key.strip_prefix(b"submodule.")?.rsplit_once_str(".")?;
        Some((name, variable, value))
    });
    Ok(of_modules.into_iter().any(|(name, variable, value)| {
        let leads_out = |part: &[u8]| part == b"..";
        let is_bad = match variable {
            b"url" => is_bad_url(value),
            b"path" => value.starts_with(b"-"),
            b"update" => value.starts_with(b"!"),
            _ => false,
        };
        is_bad
            || name.is_empty()
            || name
                .split_str(b"/")
                .flat_map(|part| part.split_str(b"\\"))
                .any(leads_out)
    }))
}

/// The lines before the first one that can't be read.
fn before_error(repo: &Repo, content: &[u8]) -> Result<Vec<u8>> {
    let refused = repo
        .git()?
        .args(["config", "--file", "-", "--list"])
        .input(content.to_vec())
        .output()?;
    let number = refused
        .stderr
        .split_once_str("bad config line ")
        .and_then(|(_, rest)| rest.split_once_str(" ")?.0.to_str().ok()?.parse().ok());
    let before = number.map_or(0, |number: usize| number.saturating_sub(1));
    Ok(content
        .lines_with_terminator()
        .take(before)
        .collect::<Vec<_>>()
        .concat())
}

/// The rules of `check_submodule_url`, and no line end however a URL is read.
fn is_bad_url(url: &[u8]) -> bool {
    let mut rest = url;
    while let Some(after) = [&b"./"[..], b"../", b".\\", b"..\\"]
        .iter()
        .find_map(|step| rest.strip_prefix(*step))
    {
        rest = after;
    }
    let over_http = ["http", "https", "ftp", "ftps"].iter().find_map(|scheme| {
        let rest = url.strip_prefix(scheme.as_bytes())?;
        rest.strip_prefix(b"::")
            .or(rest.starts_with(b"://").then_some(url))
    });
    url.starts_with(b"-")
        || url.contains(&b'\n')
        || url.to_ascii_lowercase().contains_str("%0a")
        || rest.len() < url.len() && (rest.starts_with(b":") || rest.starts_with(b"/"))
        || over_http.is_some_and(|url| !is_normal(url))
}

/// Whether a URL has a host, a port that is one, and a path that doesn't climb.
fn is_normal(url: &[u8]) -> bool {
    let Some((_, rest)) = url.split_once_str("://") else {
        return false;
    };
    let end = rest.find_byteset("/?#").unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once_str("@").map_or(authority, |(_, host)| host);
    let (host, port) = match host.rsplit_once_str(":") {
        Some((host, port)) if !port.contains(&b']') => (host, port),
        _ => (host, &b""[..]),
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(byte);
    let is_port = port.is_empty()
        || port
            .to_str()
            .is_ok_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let climbs = |path: Vec<u8>| path.split_str(b"/").any(|part| part == b"..");
    !host.is_empty() && host.iter().all(is_host) && is_port && decoded(path).is_some_and(|path| !climbs(path))
}

/// A text without its percent signs; none where one of them is not followed by two digits.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut parts = text.split_str(b"%");
    let mut plain = parts.next()?.to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let digits = digits?.to_str().ok()?;
        plain.push(u8::from_str_radix(digits, 16).ok()?);
        plain.extend_from_slice(&part[2..]);
    }
    Some(plain)
}
