//! Other repositories, by git itself: their names, what they have, what they are sent.
//!
//! Every child is watched; it runs no hook and follows no configuration that would make it do more
//! than it is told. What git says is passed on without credentials.

mod fault;
mod fetch;
mod push;
mod url;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};

pub use fault::RemoteFault;
pub use fetch::{Fetched, Wanted};
pub use push::{Lease, Pushed, Update};

use super::command::Cmd;
use super::repo::parse_oid;
use super::watched::{Ended, Watch};
use super::{Durability, Error, Repo, Result};
use url::Way;

/// How long a remote may say nothing, where nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a line of progress may be, in bytes.
const LINE: usize = 64 << 10;

/// Gets lines of progress as they come.
pub type Progress = Box<dyn Fn(&[u8])>;

/// Another repository: a configured remote, or a bare URL or path.
pub struct Remote<'r> {
    repo: &'r Repo,
    name: String,
    /// What git is told: the name in the configuration, or the URL or path that was given.
    address: String,
    url: String,
    push_urls: Vec<String>,
    configured: bool,
    patience: Option<Duration>,
    durability: Durability,
    progress: Option<Progress>,
    /// What was listed last, which is what gets fetched.
    seen: RefCell<Rc<Vec<(String, ObjectId)>>>,
}

impl Repo {
    /// The names of the configured remotes, in order.
    pub fn remotes(&self) -> Vec<BString> {
        let snapshot = self.gix().config_snapshot();
        let mut names: Vec<BString> = snapshot
            .plumbing()
            .sections_by_name("remote")
            .into_iter()
            .flatten()
            .filter(|section| section.value("url").is_some())
            .filter_map(|section| Some(section.header().subsection_name()?.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// A configured remote by its name, or any other repository by its URL or path.
    ///
    /// A relative path starts where a configured one does, in the main worktree; if nothing is there, in the current
    /// directory.
    ///
    /// # Errors
    /// [`Error::NoSuchRemote`].
    pub fn remote(&self, name: &str) -> Result<Remote<'_>> {
        let unknown = || Error::NoSuchRemote(url::redact(name));
        if name.is_empty() || name.starts_with('-') || name.contains(['\0', '\n']) {
            return Err(unknown());
        }
        let urls = url::configured(self, name, "url");
        let (configured, url) = match urls.first() {
            Some(url) => (true, url.clone()),
            None if name.contains(['/', ':']) || matches!(name, "." | "..") => (false, self.placed(name)),
            None => return Err(unknown()),
        };
        let pushed = match url::configured(self, name, "pushurl") {
            explicit if !explicit.is_empty() => explicit
                .iter()
                .map(|url| url::rewritten(self, url, Way::Fetch))
                .collect(),
            _ if configured => urls
                .iter()
                .map(|url| url::rewritten(self, url, Way::Push))
                .collect(),
            _ => vec![url::rewritten(self, &url, Way::Push)],
        };
        let mut remote = Remote {
            repo: self,
            name: String::new(),
            address: String::new(),
            url: url::rewritten(self, &url, Way::Fetch),
            push_urls: pushed,
            configured,
            patience: Some(PATIENCE),
            durability: Durability::Durable,
            progress: None,
            seen: RefCell::default(),
        };
        (remote.name, remote.address) = match configured {
            true => (name.to_owned(), name.to_owned()),
            false => (url::public(&url, &self.main_dir()), url),
        };
        Ok(remote)
    }

    /// A path that somebody typed, as one that holds wherever git runs.
    fn placed(&self, name: &str) -> String {
        let is_path = !name.contains("://") && !name.contains("::") && !url::is_scp_like(name);
        if is_path
            && !self.main_dir().join(name).exists()
            && let Ok(path) = PathBuf::from(name).canonicalize()
            && let Some(path) = path.to_str()
        {
            return path.to_owned();
        }
        name.to_owned()
    }
}

impl Remote<'_> {
    /// Its name in the configuration, or else the URL or path that was given, without what is secret in it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the URL that was given has what lets its user in; what git's configuration knows doesn't count.
    pub fn is_secret(&self) -> bool {
        !self.configured && url::has_secret(&self.address)
    }

    /// Where is fetched from, after `insteadOf`; it may hold credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where is pushed to, after `insteadOf` and `pushInsteadOf`; more than one where the remote has several.
    pub fn push_urls(&self) -> &[String] {
        &self.push_urls
    }

    /// Where is pushed to, without user, password, query and fragment: who reaches the same repository as another user
    /// gets the same. Of several that is the one that is fetched from too, or else the first.
    pub fn public_url(&self) -> String {
        match self.push_urls.first() {
            Some(first) if !self.push_urls.contains(&self.url) => self.public(first),
            _ => self.public(&self.url),
        }
    }

    /// Whether a URL, as [`Remote::public_url`] gives it, is this remote's in the eyes of `is_same`: the first of those
    /// that are pushed to counts too.
    pub fn leads_to(&self, url: &str, is_same: impl Fn(&str, &str) -> bool) -> bool {
        is_same(&self.public_url(), url)
            || self
                .push_urls
                .first()
                .is_some_and(|first| is_same(&self.public(first), url))
    }

    /// Where is fetched from and where is pushed to, if these have different names.
    pub fn ways(&self) -> Option<(String, String)> {
        let (from, to) = (self.public(&self.url), self.public_url());
        (from != to).then_some((from, to))
    }

    fn public(&self, url: &str) -> String {
        url::public(url, &self.repo.main_dir())
    }

    /// Hands on progress, in lines that end as they did, with `\r` or `\n`; what the remote says is among them, and
    /// is not escaped.
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Says how long it may say nothing; none is for ever.
    pub fn with_patience(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    /// Says whether what is fetched is pressed to disk, as it is unless told otherwise.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Lists its references whose names begin with one of the prefixes; names that aren't UTF-8 or legal are left out.
    ///
    /// # Errors
    /// [`Error::Remote`].
    pub fn names(&self, prefixes: &[&str]) -> Result<Rc<Vec<(String, ObjectId)>>> {
        let listed = Rc::new(self.list(prefixes)?);
        self.seen.replace(Rc::clone(&listed));
        Ok(listed)
    }

    fn list(&self, prefixes: &[&str]) -> Result<Vec<(String, ObjectId)>> {
        let patterns = prefixes.iter().map(|prefix| format!("{}*", literal(prefix)));
        let git = self
            .git(&[])?
            .args(["ls-remote", "--quiet", "--refs", "--end-of-options"]);
        let hash = self.repo.object_hash();
        let (mut listed, mut other, mut read) = (Vec::new(), None, 0);
        // Each line is looked at while git still writes the next.
        let mut written = |all: &[u8]| {
            while let Some(end) = all[read..].find_byte(b'\n') {
                let line = &all[read..read + end];
                read += end + 1;
                let Some((hex, name)) = line.split_once_str("\t") else {
                    continue;
                };
                let Some(oid) = parse_oid(hex) else { continue };
                if oid.kind() != hash {
                    other = Some(oid.kind());
                }
                // git's patterns match the end of a name as well.
                if let Ok(name) = name.to_str()
                    && prefixes.iter().any(|prefix| name.starts_with(prefix))
                    && gix::validate::reference::name(name.into()).is_ok()
                {
                    listed.push((name.to_owned(), oid));
                }
            }
        };
        let output = self.run_with(git.arg(&self.address).args(patterns), &mut written)?;
        if !output.status.success() {
            return Err(self.broken(&output));
        }
        if let Some(other) = other {
            return Err(self.fault(RemoteFault::Hash, format!("it is {other}, this is {hash}")));
        }
        Ok(listed)
    }

    /// A git command that does no more than it is told.
    fn git(&self, config: &[(&str, &str)]) -> Result<Cmd> {
        let mut all = vec![
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("color.ui", "false"),
            ("color.transport", "false"),
        ];
        all.extend_from_slice(config);
        // A relative URL starts in the main worktree, wherever we are.
        self.repo.git_from_main(&all)
    }

    fn run(&self, git: Cmd) -> Result<Output> {
        self.run_with(git, &mut |_| ())
    }

    /// Runs git, and hands on all that it has written each time that more has come.
    fn run_with(&self, git: Cmd, written: &mut dyn FnMut(&[u8])) -> Result<Output> {
        let mut pending = Vec::new();
        let mut heard = |bytes: &[u8]| {
            let Some(progress) = &self.progress else { return };
            pending.extend_from_slice(bytes);
            while let Some(end) = pending.find_byteset(b"\r\n") {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line);
                if fault::is_progress(&text) || text.starts_with("remote: ") {
                    progress(url::redact(&text).as_bytes());
                }
            }
            // It is none that anybody would read.
            if pending.len() > LINE {
                pending.clear();
            }
        };
        let watch = Watch {
            patience: self.patience,
            heard: &mut heard,
            written,
        };
        match git.watched(watch)? {
            Ended::ByItself(output) => Ok(output),
            Ended::Silent(patience) => Err(self.fault(RemoteFault::Silent(patience), String::new())),
        }
    }

    /// The error for a child that did not succeed.
    fn broken(&self, output: &Output) -> Error {
        let said = fault::line(&output.stderr);
        match said.is_empty() {
            true => self.fault(RemoteFault::Other, output.status.to_string()),
            false => self.fault(fault::kind(&said), said),
        }
    }

    fn fault(&self, why: RemoteFault, said: String) -> Error {
        self.fault_of(self.public(&self.url), why, said)
    }

    /// The error for a push that did not succeed, with the URL that it is about.
    fn broken_push(&self, output: &Output) -> Error {
        let Error::Remote { why, said, .. } = self.broken(output) else {
            return self.broken(output);
        };
        let urls: Vec<String> = self.push_urls.iter().map(|url| self.public(url)).collect();
        let named = urls.iter().find(|url| said.contains(url.as_str()));
        let url = named.or(urls.first()).cloned().unwrap_or_default();
        self.fault_of(url, why, said)
    }

    fn fault_of(&self, url: String, why: RemoteFault, said: String) -> Error {
        Error::Remote {
            remote: if self.configured {
                self.name.clone()
            } else {
                url.clone()
            },
            url,
            why,
            said,
        }
    }
}

/// A prefix as a pattern that means nothing else.
fn literal(prefix: &str) -> String {
    let mut out = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
