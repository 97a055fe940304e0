//! What the configuration says, from all its layers, as git would read it.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use gix::bstr::{BStr, BString, ByteSlice};

use super::{Error, Repo, Result};

impl Repo {
    /// A configuration value as git would give it.
    pub fn config(&self, key: &str) -> Option<String> {
        self.gix()
            .config_snapshot()
            .string(key)
            .map(|value| value.to_string())
    }

    /// A configuration value as a boolean; absent or unreadable is `None`.
    pub fn config_bool(&self, key: &str) -> Option<bool> {
        self.gix().config_snapshot().boolean(key)
    }

    /// As [`Repo::config_bool`], for the worktree whose own git directory that is.
    pub fn config_bool_in(&self, git_dir: &Path, key: &str) -> Option<bool> {
        let own = || {
            let path = git_dir.join("config.worktree");
            let file = gix::config::File::from_path_no_includes(path, gix::config::Source::Worktree).ok()?;
            file.boolean(key).ok()?
        };
        let has_own = self.config_bool("extensions.worktreeConfig") == Some(true);
        let own = has_own.then(own).flatten();
        own.or_else(|| self.config_bool(key))
    }

    /// Checks a value that is to be a boolean; one that is absent is none.
    ///
    /// # Errors
    /// [`Error::BadBoolean`].
    pub fn check_bool(&self, key: &str) -> Result<()> {
        let bad = |_| Error::BadBoolean {
            key: key.to_owned(),
            value: self.config(key).unwrap_or_default(),
        };
        self.gix()
            .config_snapshot()
            .try_boolean(key)
            .map(|_| ())
            .map_err(bad)
    }

    /// A configuration value that is a path, with `~` resolved; absent or [wrong](Repo::check_path) is `None`.
    pub fn config_path(&self, key: &str) -> Option<PathBuf> {
        self.gix().config_snapshot().trusted_path(key).ok()?
    }

    /// Checks a value that is to be a path; one that is absent is none.
    ///
    /// # Errors
    /// A home, or whatever else it begins with, that can't be told.
    pub fn check_path(&self, key: &str) -> Result<()> {
        let snapshot = self.gix().config_snapshot();
        let what = || format!("'{}'", self.config(key).unwrap_or_default());
        snapshot.trusted_path(key).map(|_| ()).map_err(Error::gix(what()))
    }

    /// Every key and value of one subsection, from all layers, the last of each key counting.
    pub fn config_section(&self, section: &str, subsection: &str) -> Vec<(String, String)> {
        let mut values: Vec<(String, String)> = Vec::new();
        let snapshot = self.gix().config_snapshot();
        let Some(sections) = snapshot.plumbing().sections_by_name(section) else {
            return values;
        };
        for section in sections {
            if section.header().subsection_name() != Some(BStr::new(subsection)) {
                continue;
            }
            for key in section.value_names() {
                let key = key.to_string();
                let value = section
                    .value(&key)
                    .map(|value| value.to_string())
                    .unwrap_or_default();
                values.retain(|(known, _)| !known.eq_ignore_ascii_case(&key));
                values.push((key, value));
            }
        }
        values
    }

    /// The subsections of a section, each once.
    pub fn config_subsections(&self, section: &str) -> Vec<String> {
        let snapshot = self.gix().config_snapshot();
        let Some(sections) = snapshot.plumbing().sections_by_name(section) else {
            return Vec::new();
        };
        let mut names: Vec<String> = sections
            .filter_map(|section| Some(section.header().subsection_name()?.to_string()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The names and emails, author's first, that commits of the user's would have; none where they aren't configured.
    ///
    /// The rules are those of git-commit(1): the environment, then `author` and `committer`, then `user`. gix knows
    /// them too, but asks for the time along with them, and looks through the whole time zone database for it.
    pub fn identities(&self) -> Option<[(BString, BString); 2]> {
        let snapshot = self.gix().config_snapshot();
        let value = |key: &str| snapshot.string(key);
        let one = |role: &str| {
            let part = |part: &str| {
                let variable = format!("GIT_{}_{}", role.to_uppercase(), part.to_uppercase());
                let set = std::env::var_os(variable).map(|value| BString::from(value.into_vec()));
                set.filter(|value| !value.trim().is_empty())
                    .or_else(|| value(&format!("{role}.{part}")))
                    .or_else(|| value(&format!("user.{part}")))
            };
            let email = part("email").or_else(|| Some(std::env::var_os("EMAIL")?.into_vec().into()))?;
            Some((clean(part("name")?), clean(email)))
        };
        Some([one("author")?, one("committer")?])
    }
}

/// A name or address without what would end it in a commit's header, as git leaves it out.
fn clean(mut text: BString) -> BString {
    text.retain(|byte| !matches!(byte, b'<' | b'>' | b'\n' | b'\0'));
    text.trim().into()
}

/// The keys and values of a configuration file that is none of the repository's; none where git can't read it.
pub fn entries(repo: &Repo, config: Vec<u8>) -> Result<Option<Vec<(BString, BString)>>> {
    let listed = repo
        .git()?
        .args(["config", "--file", "-", "--list", "-z"])
        .input(config)
        .output()?;
    if !listed.status.success() {
        return Ok(None);
    }
    let entries = listed
        .stdout
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty());
    let entries = entries
        .map(|entry| entry.split_once_str("\n").unwrap_or((entry, b"true")))
        .map(|(key, value)| (key.into(), value.into()));
    Ok(Some(entries.collect()))
}
