//! What an index says beyond one version of each file: flags, conflicts, and which are no files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gix::bstr::{BStr, ByteSlice};
use gix::index::entry::{Flags, Mode, Stage};
use gix::index::{Entry, File};

use super::manifest::{Conflict, Manifest, Name};
use crate::git::{Error, Repo, Result};

/// The flags, conflicts and submodules of an index.
#[derive(Debug, Default)]
pub struct Index {
    pub intent_to_add: Vec<Name>,
    pub intent_modes: BTreeMap<String, Vec<Name>>,
    pub assume_unchanged: Vec<Assumed>,
    pub skip_worktree: Vec<Name>,
    pub conflicts: Vec<Conflict>,
    /// What is a repository of its own.
    pub modules: Vec<Name>,
}

/// A file whose changes git was told not to look for.
#[derive(Debug)]
pub struct Assumed {
    pub path: Name,
    pub oid: gix::ObjectId,
    pub mode: Mode,
}

/// Reads the file of an index; none if it isn't there.
pub fn open(path: &Path, hash: gix::hash::Kind) -> Result<Option<File>> {
    if !path.exists() {
        return Ok(None);
    }
    let what = || format!("'{}'", path.display());
    // One thread is fast enough, and asking how many there could be is slower than reading a small index.
    let options = gix::index::decode::Options {
        thread_limit: Some(1),
        ..Default::default()
    };
    File::at(path, hash, true, options)
        .map(Some)
        .map_err(Error::gix(what()))
}

/// The plain files of an index, each with whether it is a program.
pub fn files(file: &File) -> impl Iterator<Item = (&BStr, bool)> {
    let plain = [Mode::FILE, Mode::FILE_EXECUTABLE];
    let entries = file.entries().iter();
    let is_file = move |entry: &&Entry| entry.stage() == Stage::Unconflicted && plain.contains(&entry.mode);
    entries
        .filter(is_file)
        .map(|entry| (entry.path(file), entry.mode == Mode::FILE_EXECUTABLE))
}

/// Tells what is in an index; in one that isn't there is nothing.
pub fn read(repo: &Repo, file: Option<&File>, worktree: &Path) -> Result<Index> {
    let mut index = Index::default();
    let Some(file) = file else {
        return Ok(index);
    };
    for entry in file.entries() {
        let interesting = Flags::INTENT_TO_ADD | Flags::SKIP_WORKTREE | Flags::ASSUME_VALID;
        let is_plain = !entry.flags.intersects(interesting) && entry.stage() == Stage::Unconflicted;
        if is_plain && entry.mode != Mode::COMMIT {
            continue;
        }
        let path = Name(entry.path(file).into());
        if entry.mode == Mode::COMMIT && index.modules.last() != Some(&path) {
            index.modules.push(path.clone());
        }
        if entry.stage() != Stage::Unconflicted {
            index.conflicts.push(conflict(entry, file));
            continue;
        }
        if entry.flags.contains(Flags::INTENT_TO_ADD) {
            index.intent_to_add.push(path.clone());
            if entry.mode != Mode::FILE {
                let mode = format!("{:06o}", entry.mode.bits());
                index.intent_modes.entry(mode).or_default().push(path.clone());
            }
        }
        if entry.flags.contains(Flags::ASSUME_VALID) {
            index.assume_unchanged.push(Assumed {
                path: path.clone(),
                oid: entry.id,
                mode: entry.mode,
            });
        }
        if entry.mode == Mode::DIR {
            // A sparse index has directories, which only git can take apart.
            index.skip_worktree = skipped(repo, worktree)?;
        } else if entry.flags.contains(Flags::SKIP_WORKTREE) && !file.is_sparse() {
            index.skip_worktree.push(path);
        }
    }
    Ok(index)
}

/// The files of an index that are in conflict, or only intended to be added, just as a manifest has them.
pub fn as_saved(repo: &Repo, index: &Path, manifest: &Manifest) -> Result<BTreeSet<Name>> {
    let Some(file) = open(index, repo.object_hash())? else {
        return Ok(BTreeSet::new());
    };
    let mut conflicts: BTreeMap<Name, Vec<Conflict>> = BTreeMap::new();
    let mut same = BTreeSet::new();
    let intended: BTreeSet<&Name> = manifest.intent_to_add.iter().collect();
    for entry in file.entries() {
        let path = Name(entry.path(&file).into());
        if entry.stage() != Stage::Unconflicted {
            conflicts.entry(path).or_default().push(conflict(entry, &file));
        } else if entry.flags.contains(Flags::INTENT_TO_ADD) && intended.contains(&path) {
            same.insert(path);
        }
    }
    let mut saved: BTreeMap<&Name, Vec<&Conflict>> = BTreeMap::new();
    for conflict in &manifest.conflicts {
        saved.entry(&conflict.path).or_default().push(conflict);
    }
    conflicts.retain(|path, now| {
        saved
            .get(path)
            .is_some_and(|saved| now.iter().eq(saved.iter().copied()))
    });
    same.extend(conflicts.into_keys());
    Ok(same)
}

fn conflict(entry: &Entry, file: &File) -> Conflict {
    Conflict {
        path: Name(entry.path(file).into()),
        stage: entry.stage_raw(),
        mode: format!("{:06o}", entry.mode.bits()),
        oid: entry.id.to_string(),
    }
}

fn skipped(repo: &Repo, worktree: &Path) -> Result<Vec<Name>> {
    let output = repo.git_in(worktree)?.args(["ls-files", "-z", "-t"]).run()?;
    let names = output
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"S "));
    Ok(names.map(|name| Name(name.as_bstr().into())).collect())
}
