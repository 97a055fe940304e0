//! The trees of a snapshot: the index's, which is HEAD's with what is staged, and the worktree's, which is the index's
//! with what differs from it.

use std::path::Path;

use gix::ObjectId;
use gix::bstr::BString;
use gix::objs::tree::{Editor, EntryKind, EntryMode};
use gix::objs::{Kind, Tree, WriteTo};

use super::manifest::{Manifest, Name};
use super::modules::COMMITS;
use super::status::{Status, Tracked};
use super::store::{file_entry, is_reserved};
use super::walk::{components, place};
use super::{Unsaved, module_list};
use crate::git::batch::Batch;
use crate::git::objects::{self, Object};
use crate::git::{Error, Repo, Result};

/// The index as a tree: HEAD's, with what is staged.
pub fn index_tree(repo: &Repo, batch: &mut Batch<'_>, status: &Status) -> Result<ObjectId> {
    let (head_tree, root) = match status.head {
        Some(head) => {
            let id = objects::tree_of(repo, head)?;
            (Some(id), objects::tree(repo, id)?)
        }
        None => (None, Tree::default()),
    };
    let staged: Vec<&Tracked> = status.tracked.iter().filter(|file| file.staged).collect();
    if let (Some(tree), true) = (head_tree, staged.is_empty()) {
        return Ok(tree);
    }
    edit(batch, root, |editor| {
        // What is gone goes first: a directory may have come in the place of a file.
        for file in staged.iter().filter(|file| file.index.is_none()) {
            editor
                .remove(components(file.path.as_ref()))
                .map_err(Error::gix("cannot edit a tree"))?;
        }
        for file in &staged {
            if let Some((mode, oid)) = file.index {
                let kind = kind_of(mode)?;
                editor
                    .upsert(components(file.path.as_ref()), kind, oid)
                    .map_err(Error::gix("cannot edit a tree"))?;
            }
        }
        Ok(())
    })
}

fn kind_of(mode: u32) -> Result<EntryKind> {
    let mode =
        EntryMode::try_from(mode).map_err(|mode| Error::Malformed(format!("{mode:o} is no file mode")))?;
    Ok(mode.kind())
}

/// Edits a tree and adds what has changed to the batch.
fn edit(
    batch: &mut Batch<'_>,
    root: Tree,
    act: impl FnOnce(&mut Editor<'_>) -> Result<()>,
) -> Result<ObjectId> {
    let mut new = Vec::new();
    let hash = batch.object_hash();
    let id = {
        let mut editor = Editor::new(root, &*batch, hash);
        act(&mut editor)?;
        editor.write(|tree| -> Result<ObjectId> {
            let mut data = Vec::new();
            tree.write_to(&mut data)
                .map_err(Error::io("cannot make a tree"))?;
            let object = Object {
                kind: Kind::Tree,
                data,
            };
            let id = objects::hash(hash, &object)?;
            new.push(object);
            Ok(id)
        })?
    };
    for object in new {
        batch.add(object)?;
    }
    Ok(id)
}

/// The worktree as a tree: the index's, with what differs from it.
pub fn tree(
    batch: &mut Batch<'_>,
    worktree: &Path,
    status: &Status,
    index_tree: ObjectId,
    changed: &[BString],
    manifest: &mut Manifest,
    unsaved: &mut Vec<Unsaved>,
) -> Result<ObjectId> {
    let modules = manifest.submodules.iter();
    let linked: Vec<BString> = modules.map(|module| module.path.0.clone()).collect();
    let mut gone: Vec<BString> = Vec::new();
    let mut here: Vec<(BString, EntryKind, ObjectId)> = Vec::new();
    let mut raw = |batch: &mut Batch<'_>, path: &BString, unsaved: &mut Vec<Unsaved>| -> Result<()> {
        if components(path.as_ref()).any(is_reserved) {
            unsaved.push(Unsaved::new(
                path.clone(),
                "its name is one that git keeps for itself",
            ));
            return Ok(());
        }
        if let Some(why) = module_list::why_refused(batch.repo(), worktree, path.as_ref())? {
            unsaved.push(Unsaved::new(path.clone(), why));
            return Ok(());
        }
        if let Some((kind, oid)) = file_entry(batch, &place(worktree, path.as_ref()), path.as_ref(), unsaved)?
        {
            manifest.raw.push(Name(path.clone()));
            here.push((path.clone(), kind, oid));
        }
        Ok(())
    };
    for file in status.tracked.iter().filter(|file| file.unstaged) {
        match (file.submodule, file.exists) {
            (_, false) => gone.push(file.path.clone()),
            (Some(submodule), true) => {
                let is_whole = status.nested.contains(&file.path);
                let is_linked = linked.contains(&file.path);
                if !is_whole && submodule.commit {
                    unsaved.push(Unsaved::new(file.path.clone(), COMMITS));
                } else if !is_whole && !is_linked && submodule.content {
                    let why = "the changes of a submodule are only in its own directory";
                    unsaved.push(Unsaved::new(file.path.clone(), why));
                }
            }
            (None, true) => raw(batch, &file.path, unsaved)?,
        }
    }
    for path in &status.conflicts {
        match place(worktree, path.as_ref()).symlink_metadata() {
            Ok(meta) if !meta.is_dir() => raw(batch, path, unsaved)?,
            _ => gone.push(path.clone()),
        }
    }
    for path in changed {
        match place(worktree, path.as_ref()).symlink_metadata() {
            Ok(meta) if !meta.is_dir() => raw(batch, path, unsaved)?,
            _ => gone.push(path.clone()),
        }
    }
    for path in &status.untracked {
        raw(batch, path, unsaved)?;
    }
    manifest.raw.sort();
    manifest.deleted = gone.iter().cloned().map(Name).collect();
    if gone.is_empty() && here.is_empty() {
        return Ok(index_tree);
    }
    let root = batch.tree(index_tree)?;
    edit(batch, root, |editor| {
        for path in &gone {
            editor
                .remove(components(path.as_ref()))
                .map_err(Error::gix("cannot edit a tree"))?;
        }
        for (path, kind, oid) in &here {
            editor
                .upsert(components(path.as_ref()), *kind, *oid)
                .map_err(Error::gix("cannot edit a tree"))?;
        }
        Ok(())
    })
}
