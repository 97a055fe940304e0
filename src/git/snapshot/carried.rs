//! Untracked files that git ignores by what this machine alone says (`core.excludesFile`, `info/exclude`), in work that
//! may come from one that doesn't: the next snapshot has what the one before had.

use std::collections::HashSet;
use std::path::Path;

use gix::bstr::BString;

use super::Work;
use super::find::Finder;
use super::glance::ignored_by;
use super::manifest::Name;
use super::status::Status;
use super::store::{Within, contained};
use super::walk::is_among;
use crate::git::Repo;

/// Takes them for untracked, as they were; a `.gitignore` goes where the work goes, so what that ignores is left out.
pub fn carry(repo: &Repo, worktree: &Path, previous: &Work, status: &mut Status) {
    let bare = |path: &BString| BString::from(path.strip_suffix(b"/").unwrap_or(path));
    let ignored: HashSet<BString> = status.ignored.iter().map(bare).collect();
    let is_here = |path: &BString| {
        let place = contained(worktree, path.as_ref(), Within::Worktree);
        let found = place.and_then(|place| place.symlink_metadata());
        found.is_ok_and(|meta| meta.is_file() || meta.is_symlink())
    };
    let mut finder = Finder::of(repo);
    let mut was_tracked =
        |path: &BString| !matches!(finder.find(previous.index_tree, path.as_ref()), Ok(None));
    let had = previous.manifest.raw.iter().map(|Name(path)| path);
    let had: Vec<&BString> = had
        .filter(|path| is_among(path.as_ref(), &ignored) && is_here(path) && !was_tracked(path))
        .collect();
    if had.is_empty() {
        return;
    }
    let Some(by) = ignored_by(repo, worktree, &had) else {
        return;
    };
    let goes_along = |file: &BString| !file.starts_with(b"/") && file.ends_with(b".gitignore");
    let carried = had.into_iter().zip(by);
    let carried = carried.filter(|(_, by)| by.as_ref().is_some_and(|by| !goes_along(by)));
    status.untracked.extend(carried.map(|(path, _)| path.clone()));
    status.untracked.sort();
}
