//! URLs of other repositories: rewritten as git does, and shown without what is secret in them.

use std::path::{Component, Path, PathBuf};

use gix::bstr::{BStr, ByteSlice};

use crate::git::Repo;

/// Which way a URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Fetch,
    Push,
}

/// The URLs of a configured remote before they are rewritten; none if it isn't one.
///
/// An empty one takes back those before it.
pub fn configured(repo: &Repo, name: &str, key: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let snapshot = repo.gix().config_snapshot();
    for section in snapshot
        .plumbing()
        .sections_by_name("remote")
        .into_iter()
        .flatten()
    {
        if section.header().subsection_name() != Some(BStr::new(name)) {
            continue;
        }
        for url in section.values(key) {
            if url.is_empty() {
                urls.clear();
            } else {
                urls.push(url.to_str_lossy().into_owned());
            }
        }
    }
    urls
}

/// Applies `url.<base>.insteadOf`, or for pushes `pushInsteadOf` before it; the longest beginning wins.
pub fn rewritten(repo: &Repo, url: &str, way: Way) -> String {
    let rule = |key: &str| {
        let snapshot = repo.gix().config_snapshot();
        let mut best: Option<(usize, String)> = None;
        for section in snapshot.plumbing().sections_by_name("url").into_iter().flatten() {
            let Some(base) = section.header().subsection_name() else {
                continue;
            };
            for from in section.values(key) {
                let from = from.to_str_lossy();
                if let Some(rest) = url.strip_prefix(from.as_ref())
                    && best.as_ref().is_none_or(|(length, _)| *length < from.len())
                {
                    best = Some((from.len(), format!("{}{rest}", base.to_str_lossy())));
                }
            }
        }
        best.map(|(_, url)| url)
    };
    let pushed = if way == Way::Push {
        rule("pushInsteadOf")
    } else {
        None
    };
    pushed
        .or_else(|| rule("insteadOf"))
        .unwrap_or_else(|| url.to_owned())
}

/// A URL without user, password, query and fragment, so that it is no secret, and is the same for all who reach the
/// repository as different users; a path here is made absolute from `base`.
pub fn public(url: &str, base: &Path) -> String {
    if let Some((helper, address)) = url.split_once("::")
        && helper.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return redact(&format!("{helper}::{address}"));
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        if scheme.eq_ignore_ascii_case("file") {
            return url.to_owned();
        }
        let bare = without_password(rest);
        let bare = &bare[..bare.find(['?', '#']).unwrap_or(bare.len())];
        return format!("{scheme}://{}", bare.trim_end_matches('/'));
    }
    if is_scp_like(url) {
        return redact(without_user(url)).trim_end_matches('/').to_owned();
    }
    let path = resolved(&base.join(url));
    path.to_str().map_or_else(|| url.to_owned(), str::to_owned)
}

/// A path without links and dots, also where nothing is there any more: a directory that is gone keeps its name.
fn resolved(path: &Path) -> PathBuf {
    let found = path
        .ancestors()
        .find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, mut resolved)) = found else {
        return path.to_owned();
    };
    for part in path.strip_prefix(above).unwrap_or(path).components() {
        match part {
            Component::ParentDir => _ = resolved.pop(),
            part => resolved.push(part),
        }
    }
    resolved
}

/// Whether it is `host:path` rather than a path here, as git tells them apart.
pub fn is_scp_like(url: &str) -> bool {
    match (url.find(':'), url.find('/')) {
        (Some(colon), Some(slash)) => colon < slash,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// An authority and what follows, without the user in it.
fn without_user(rest: &str) -> &str {
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => &rest[at + 1..],
        None => rest,
    }
}

/// The same of what follows `://`, also where the password has a sign in it by which the authority ends: what git takes
/// for a host and a broken port.
fn without_password(rest: &str) -> &str {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match authority.rsplit_once(':') {
        Some((host, port)) if !authority.contains('@') && !host.starts_with('[') && !is_port(port) => {
            rest.rfind('@').map_or(rest, |at| &rest[at + 1..])
        }
        _ => without_user(rest),
    }
}

/// Whether a URL has a password, or what may be one: a user of a website may be a token.
pub fn has_secret(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let bare = without_password(rest);
    let user = &rest[..rest.len() - bare.len()];
    let is_web = scheme.to_ascii_lowercase().contains("http");
    user.contains(':') || is_web && (bare.contains(['?', '#']) || !user.is_empty())
}

/// Text that others wrote, without the credentials of the URLs in it.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | '<' | '>' | '`'))
            .unwrap_or(after.len());
        // A sign that ends the URL in a sentence may well be part of its query.
        let end = match after[..end].contains('?') {
            true => after.find(char::is_whitespace).unwrap_or(after.len()),
            false => end,
        };
        let url = without_password(&after[..end]);
        let query = url.find(['?', '#']).unwrap_or(url.len());
        out.push_str(&url[..query]);
        // What stands behind the URL in a sentence is no part of its query.
        if query < url.len() {
            let bare = url[query..].trim_end_matches(['\'', '"', '>', ':', ',', ';', '`']);
            out.push_str(&url[query + bare.len()..]);
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    without_odd_users(&out)
}

/// The same for what is no URL and was meant to be one: `scheme:/user@host` and `helper::user@host`.
fn without_odd_users(text: &str) -> String {
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let token = |token: &str| {
        let found = ["::", ":/"].into_iter().find_map(|sign| token.split_once(sign));
        match found {
            Some((word, rest)) if is_word(word) && !rest.starts_with('/') => {
                let begin = &token[..token.len() - rest.len()];
                format!("{begin}{}", without_user(rest))
            }
            _ => token.to_owned(),
        }
    };
    let ends = |c: char| c.is_whitespace() || matches!(c, '\'' | '"');
    text.split_inclusive(ends).map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_no_credentials() {
        let cases = [
            ("https://user:tok@host/x", "https://host/x"),
            ("https://user:p@ss@host:8443/x/", "https://host:8443/x"),
            ("https://host/x?private_token=1#a", "https://host/x"),
            ("ssh://git@host:22/x.git", "ssh://host:22/x.git"),
            ("git@host:team/x.git", "host:team/x.git"),
            ("host:x", "host:x"),
            ("host:team/a@b", "host:team/a@b"),
            ("https://host/a@b/c", "https://host/a@b/c"),
            ("https://host:8443/a@b/c", "https://host:8443/a@b/c"),
            ("https://[::1]/a@b", "https://[::1]/a@b"),
            ("https://user:p/a?s#s@host/x", "https://host/x"),
            ("/srv/a@b?c", "/srv/a@b?c"),
            ("file:///srv/a@b", "file:///srv/a@b"),
            ("x/../y:z", "/base/y:z"),
            ("../y", "/y"),
            ("ext::sh -c https://u:p@h/x", "ext::sh -c https://h/x"),
        ];
        for (url, expected) in cases {
            assert_eq!(public(url, Path::new("/base")), expected, "{url}");
        }
    }

    #[test]
    fn a_url_has_a_secret_where_it_lets_somebody_in() {
        for url in [
            "https://u:p@h/x",
            "ssh://u:p/q@h/x",
            "https://token@h/x",
            "ssh://u:p@h/x",
            "http://h/x?token=1",
        ] {
            assert!(has_secret(url), "{url}");
        }
        for url in [
            "https://h/x",
            "ssh://git@h/x",
            "git@h:x",
            "/srv/a@b?c",
            "file:///srv/a@b",
        ] {
            assert!(!has_secret(url), "{url}");
        }
    }

    #[test]
    fn text_is_passed_on_without_credentials() {
        let cases = [
            (
                "unable to access 'https://u:s3cret@host/x?token=s3cret/': no",
                "unable to access 'https://host/x': no",
            ),
            (
                "two: https://a:s3cret@h/x, ssh://s3cret@h",
                "two: https://h/x, ssh://h",
            ),
            (
                "unable to access 'https://u:s3/cret@host/x/': no",
                "unable to access 'https://host/x/': no",
            ),
            ("https://u:s3?cret@host/x: no; a@b", "https://host/x: no; a@b"),
            ("https://h/x?s3cret: it is gone", "https://h/x: it is gone"),
            (
                "no remote 'http://h/t?tok=a\"s3cret' there",
                "no remote 'http://h/t' there",
            ),
            ("no remote 'http:/u:s3cret@h/x'", "no remote 'http:/h/x'"),
            ("'foo::u:s3cret@h/x': no", "'foo::h/x': no"),
            ("git@host: no; host:a@b/c", "git@host: no; host:a@b/c"),
            ("nothing in a@b here ://", "nothing in a@b here ://"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }
}
