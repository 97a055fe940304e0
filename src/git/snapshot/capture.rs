//! Takes a snapshot of a worktree that nobody is writing to.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::index::File;
use gix::index::entry::Mode;

use super::asking::{Refresh, status};
use super::beside::stored;
use super::carried::carry;
use super::find::Finder;
use super::glance::glance;
use super::index::Index;
use super::manifest::{self, MIDST, Manifest, NESTED, Name, STAGES, SUBMODULES};
use super::overlooked::overlooked;
use super::status::Status;
use super::trees::{index_tree, tree};
use super::walk::{Walk, place, walk};
use super::{Capture, SNAPSHOT, Unsaved, Work, index, midst, modules, read};
use crate::git::batch::{Batch, Kept};
use crate::git::objects::{self, Object};
use crate::git::{Error, Repo, Result};

/// What was captured.
pub struct Captured {
    /// The work commit: a new one, or the one before if nothing has changed since.
    pub work: ObjectId,
    pub snapshot: ObjectId,
    pub head: Option<ObjectId>,
    pub unsaved: Vec<Unsaved>,
    /// To be released once a reference has moved to `work`; none if nothing new was written.
    pub kept: Option<Kept>,
}

/// Why a worktree is not what a work commit holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has something that no snapshot can hold.
    Unsaved(Unsaved),
    /// It was changed since, and how.
    Changed(String),
}

/// Captures a worktree whole. What can't be captured is named in the result.
pub fn capture(repo: &Repo, what: &Capture<'_>) -> Result<Captured> {
    let mut batch = Batch::new(repo, what.durability);
    let previous = what.previous.map(|work| read(repo, work)).transpose()?;
    let gathered = gather(repo, what, previous.as_ref(), Refresh::Index, &mut batch)?;
    if let (Some(work), Some(before)) = (what.previous, &previous)
        && gathered.is(before)
    {
        let (snapshot, head) = (before.snapshot, before.head);
        return Ok(Captured {
            work,
            snapshot,
            head,
            unsaved: gathered.unsaved,
            kept: None,
        });
    }
    let commit = |batch: &mut Batch<'_>, tree, parents: &[ObjectId], message: &str| {
        batch.add(objects::commit(
            tree,
            parents,
            what.signature,
            what.signature,
            message.as_bytes(),
        ))
    };
    let around: Vec<ObjectId> = gathered.head.into_iter().chain(gathered.extra).collect();
    let index = commit(
        &mut batch,
        gathered.index_tree,
        &around,
        &format!("{}: index\n", what.message),
    )?;
    let around: Vec<ObjectId> = gathered.head.into_iter().chain([index]).collect();
    let snapshot = commit(
        &mut batch,
        gathered.tree,
        &around,
        &format!("{}{SNAPSHOT}\n", what.message),
    )?;
    let line: Vec<ObjectId> = match what.previous {
        Some(previous) => vec![previous, snapshot],
        None => std::iter::once(snapshot).chain(what.base).collect(),
    };
    let work = commit(&mut batch, gathered.stored, &line, &format!("{}\n", what.message))?;
    let kept = Some(batch.finish()?);
    Ok(Captured {
        work,
        snapshot,
        head: gathered.head,
        unsaved: gathered.unsaved,
        kept,
    })
}

/// Tells what a worktree has that a work commit lacks; none if all of it is saved there.
///
/// The branch doesn't count: a worktree that was let go has none.
pub fn differs(repo: &Repo, what: &Capture<'_>, work: ObjectId) -> Result<Option<Difference>> {
    let saved = read(repo, work)?;
    let mut batch = Batch::of_names(repo);
    let mut gathered = gather(repo, what, Some(&saved), Refresh::Nothing, &mut batch)?;
    if !gathered.unsaved.is_empty() {
        return Ok(Some(Difference::Unsaved(gathered.unsaved.swap_remove(0))));
    }
    let difference = if gathered.head != saved.head {
        Some("its HEAD has moved".to_owned())
    } else if gathered.tree != saved.tree {
        Some("its files have changed".to_owned())
    } else if gathered.index_tree != saved.index_tree {
        Some("its index has changed".to_owned())
    } else if gathered
        .references
        .iter()
        .any(|(name, oid)| name.starts_with("refs/") && saved.manifest.references.get(name) != Some(oid))
    {
        Some("references of its own have changed".to_owned())
    } else {
        // What is in these may be nowhere else.
        let part = |tree: ObjectId, name: &str| -> Result<Option<ObjectId>> {
            let entries = batch.tree(tree)?.entries;
            Ok(entries
                .iter()
                .find(|entry| entry.filename == name)
                .map(|entry| entry.oid))
        };
        let mut changed = None;
        for (name, what) in [
            (NESTED, "a repository in it has changed"),
            (SUBMODULES, "a submodule in it has changed"),
            (MIDST, "what is half done there has changed"),
            (STAGES, "its conflicts have changed"),
        ] {
            if changed.is_none() && part(gathered.stored, name)? != part(saved.stored, name)? {
                changed = Some(what.to_owned());
            }
        }
        changed
    };
    Ok(difference.map(Difference::Changed))
}

/// Whether a snapshot has a file of a worktree just as it is, raw.
///
/// # Errors
/// A work commit that can't be read.
pub fn has_file(repo: &Repo, work: ObjectId, worktree: &Path, path: &BStr) -> Result<bool> {
    let saved = read(repo, work)?;
    let found = Finder::of(repo).find(saved.tree, path)?;
    let is_unchanged = |entry: gix::objs::tree::Entry| {
        let file = index::Assumed {
            path: Name(path.into()),
            oid: entry.oid,
            mode: entry.mode.into(),
        };
        !is_changed(repo, worktree, &file)
    };
    Ok(found.is_some_and(is_unchanged))
}

/// Everything of a capture but its commits.
struct Gathered {
    head: Option<ObjectId>,
    index_tree: ObjectId,
    tree: ObjectId,
    /// The work commit's tree.
    stored: ObjectId,
    /// References that only the worktree has.
    references: BTreeMap<String, String>,
    /// Commits that what is half done needs.
    extra: Vec<ObjectId>,
    unsaved: Vec<Unsaved>,
}

impl Gathered {
    fn is(&self, work: &Work) -> bool {
        let ours = (self.head, self.index_tree, self.tree, self.stored);
        ours == (work.head, work.index_tree, work.tree, work.stored)
    }
}

fn gather(
    repo: &Repo,
    what: &Capture<'_>,
    previous: Option<&Work>,
    refresh: Refresh,
    batch: &mut Batch<'_>,
) -> Result<Gathered> {
    let index = index::open(&what.git_dir.join("index"), repo.object_hash());
    let file = index.as_ref().ok().and_then(Option::as_ref);
    let (mut status, mut walked) = look(repo, what, file, refresh)?;
    if let Some(previous) = previous {
        carry(repo, what.worktree, previous, &mut status);
    }
    if let Ok(Some(file)) = &index
        && repo.config_bool_in(what.git_dir, "core.fileMode") == Some(false)
    {
        walked.add_turned(what.worktree, index::files(file));
    }
    let index = index.and_then(|file| index::read(repo, file.as_ref(), what.worktree));
    let (index, error) = match index {
        Ok(index) => (index, None),
        Err(error) => (Index::default(), Some(Unsaved::new("index", error))),
    };
    let mut modules = modules::look(what.worktree, what.git_dir, &index.modules);
    modules
        .linked
        .retain(|module| !status.nested.contains(&module.path.0));
    let walked = walked.without(&index.modules.into_iter().map(|Name(path)| path).collect());
    let mut unsaved = walked.unsaved;
    // What git says of an index that it can't read is all that there is to be said.
    unsaved.extend(error.filter(|_| status.unsaved.is_empty()));
    unsaved.append(&mut status.unsaved);
    status.nested.extend(unlisted(modules.whole, walked.repositories));
    if let Some(previous) = previous {
        know(repo, batch, previous, &status);
    }
    let mut manifest = Manifest {
        format: manifest::FORMAT,
        branch: status
            .branch
            .as_ref()
            .map(|name| Name([b"refs/heads/", name.as_slice()].concat().into())),
        odd: walked.odd,
        submodules: modules.linked,
        ..Manifest::default()
    };
    let index_tree = index_tree(repo, batch, &status)?;
    let mut changed: Vec<BString> = index
        .assume_unchanged
        .iter()
        .filter(|file| is_changed(repo, what.worktree, file))
        .map(|file| file.path.0.clone())
        .collect();
    if !what.git_dir.join("info/sparse-checkout").exists() {
        // Where a checkout is sparse, git itself looks for files that are there all the same.
        let here = |path: &&BString| place(what.worktree, path.as_bstr()).is_file();
        let skipped = index.skip_worktree.iter().map(|Name(path)| path);
        changed.extend(skipped.filter(here).cloned());
    }
    changed.extend(status.overlooked.iter().cloned());
    changed.sort();
    changed.dedup();
    let tree = tree(
        batch,
        what.worktree,
        &status,
        index_tree,
        &changed,
        &mut manifest,
        &mut unsaved,
    )?;
    let base = what.base.and_then(|base| objects::tree_of(repo, base).ok());
    let before = |Name(path): &Name| {
        let found = Finder::of(repo).find(base?, path.as_ref()).ok()?;
        Some(found?.oid)
    };
    let only_here = modules::only_here(repo, what.git_dir, &manifest.submodules, &before)?;
    for commits in only_here {
        if !unsaved.contains(&commits) {
            unsaved.push(commits);
        }
    }
    manifest.intent_to_add = index.intent_to_add;
    manifest.intent_modes = index.intent_modes;
    manifest.assume_unchanged = index.assume_unchanged.into_iter().map(|file| file.path).collect();
    manifest.skip_worktree = index.skip_worktree;
    manifest.conflicts = index.conflicts;
    let references = midst::references(repo, what.worktree, what.git_dir)?;
    let extra = midst::commits(repo, what.git_dir, &references);
    manifest.references.clone_from(&references);
    let stored = stored(repo, what, &status, batch, manifest, &mut unsaved)?;
    Ok(Gathered {
        head: status.head,
        index_tree,
        tree,
        stored,
        references,
        extra,
        unsaved,
    })
}

/// Looks at everything in the worktree.
///
/// # Errors
/// What `git status` refuses, and files at which it would wait.
fn look(repo: &Repo, what: &Capture<'_>, index: Option<&File>, refresh: Refresh) -> Result<(Status, Walk)> {
    if let Some(index) = index
        && let Some(seen) = glance(repo, what.worktree, what.git_dir, index, refresh)
    {
        return Ok(seen);
    }
    let walked = walk(what.worktree);
    if let Some(path) = walked.holding_git.first() {
        return Err(Error::Malformed(format!("git would wait for ever at '{path}'")));
    }
    let mut status = status(repo, what.worktree, refresh)?;
    if let Some(index) = index {
        status.overlooked = overlooked(repo, what.worktree, index, &status, index.entries().iter());
    }
    let walked = walked.without(&not_walked(&status));
    Ok((status, walked))
}

/// The repositories that are not among what git calls untracked: tracked themselves, or in the midst of tracked files,
/// each but once, with all that is in it.
fn unlisted(mut all: Vec<BString>, found: Vec<BString>) -> Vec<BString> {
    let is_in = |path: &BString, dir: &BString| {
        path.strip_prefix(dir.as_slice())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    for path in found {
        if !all.iter().any(|dir| is_in(&path, dir)) {
            all.push(path);
        }
    }
    all
}

/// What has permissions and directories of its own: ignored files, nested repositories, submodules.
fn not_walked(status: &Status) -> HashSet<BString> {
    let ignored = status
        .ignored
        .iter()
        .map(|path| path.strip_suffix(b"/").unwrap_or(path).into());
    let modules = status
        .tracked
        .iter()
        .filter(|file| file.submodule.is_some())
        .map(|file| file.path.clone());
    ignored
        .chain(status.nested.iter().cloned())
        .chain(modules)
        .collect()
}

/// Blobs of the snapshot before are reachable, and needn't be written again.
fn know(repo: &Repo, batch: &mut Batch<'_>, previous: &Work, status: &Status) {
    let files = status
        .tracked
        .iter()
        .map(|file| &file.path)
        .chain(&status.untracked);
    let mut finder = Finder::of(repo);
    for path in files.take(10_000) {
        if let Ok(Some(entry)) = finder.find(previous.tree, path.as_ref()) {
            batch.knows(entry.oid);
        }
    }
}

/// A file that git was told not to look at is changed if it isn't what the index has.
fn is_changed(repo: &Repo, worktree: &Path, file: &index::Assumed) -> bool {
    let path = place(worktree, file.path.0.as_ref());
    let Ok(meta) = path.symlink_metadata() else {
        return true;
    };
    let (kind, data) = if meta.is_symlink() {
        let target = std::fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes());
        (Mode::SYMLINK, target)
    } else if !meta.is_file() {
        return true;
    } else if meta.mode() & 0o100 != 0 {
        (Mode::FILE_EXECUTABLE, std::fs::read(&path))
    } else {
        (Mode::FILE, std::fs::read(&path))
    };
    let same = |data| objects::id_of(repo, &Object::blob(data)).is_ok_and(|oid| oid == file.oid);
    kind != file.mode || !data.is_ok_and(same)
}
