//! What a work commit's own tree holds beside the snapshot: the manifest, and directories that are stored whole.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::objs::tree::{Entry, EntryKind};

use super::manifest::{self, MIDST, Manifest, NESTED, Name, Odd, STAGES, STATE, SUBMODULES};
use super::status::Status;
use super::store::{Stored, store, write_tree};
use super::walk::{join, place};
use super::{Capture, Extra, Unsaved, midst, modules};
use crate::git::batch::{Batch, FileError};
use crate::git::objects::Object;
use crate::git::repo::parse_oid;
use crate::git::{Error, Repo, Result};

/// The work commit's own tree.
pub fn stored(
    repo: &Repo,
    what: &Capture<'_>,
    status: &Status,
    batch: &mut Batch<'_>,
    mut manifest: Manifest,
    unsaved: &mut Vec<Unsaved>,
) -> Result<ObjectId> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut directories = BTreeMap::new();
    let mut keep = |name: &str, shown: &BStr, stored: Stored, unsaved: &mut Vec<Unsaved>| {
        let within = |what: Unsaved| Unsaved {
            path: join(shown, &what.path),
            why: what.why,
        };
        unsaved.extend(stored.unsaved.into_iter().map(within));
        if !stored.odd.is_empty() {
            directories.insert(name.to_owned(), stored.odd);
        }
        stored.tree
    };
    if let Some(state) = what.state_dir {
        let tree = store(batch, state, &|_| true)?;
        entries.extend(keep(STATE, STATE.into(), tree, unsaved).map(|oid| sub_tree(STATE, oid)));
    }
    let tree = store(batch, what.git_dir, &|path| midst::takes(path))?;
    entries.extend(
        keep(
            MIDST,
            MIDST.into(),
            Stored {
                odd: Odd::default(),
                ..tree
            },
            unsaved,
        )
        .map(|oid| sub_tree(MIDST, oid)),
    );
    let mut inner = Vec::new();
    for path in &status.nested {
        let root = place(what.worktree, path.as_ref());
        if is_our_worktree(repo, &root) {
            let why = "it is another worktree of this repository, with a life of its own";
            unsaved.push(Unsaved::new(path.clone(), why));
            continue;
        }
        let name = manifest.nested.len().to_string();
        let tree = store(batch, &root, &|_| true)?;
        let has_nothing = tree.tree.is_none() && tree.odd.is_empty();
        let kept = keep(&format!("{NESTED}/{name}"), path.as_ref(), tree, unsaved);
        if !has_nothing {
            inner.extend(kept.map(|oid| sub_tree(&name, oid)));
            manifest.nested.push(Name(path.clone()));
        }
    }
    if !inner.is_empty() {
        let tree = write_tree(batch, inner)?;
        entries.push(sub_tree(NESTED, tree));
    }
    let mut inner = Vec::new();
    for (number, module) in manifest.submodules.iter_mut().enumerate() {
        module.stored = status.is_changed_within(&module.path.0);
        if !module.stored {
            continue;
        }
        let root = place(what.worktree, module.path.0.as_ref());
        let tree = store(batch, &root, &modules::work_of(repo, &root))?;
        let name = number.to_string();
        let kept = keep(
            &format!("{SUBMODULES}/{name}"),
            module.path.0.as_ref(),
            tree,
            unsaved,
        );
        inner.extend(kept.map(|oid| sub_tree(&name, oid)));
    }
    if !inner.is_empty() {
        let tree = write_tree(batch, inner)?;
        entries.push(sub_tree(SUBMODULES, tree));
    }
    let mut stages: Vec<Entry> = Vec::new();
    for conflict in &manifest.conflicts {
        let Some(oid) = parse_oid(conflict.oid.as_bytes()) else {
            continue;
        };
        let is_blob = conflict.mode != "160000";
        if is_blob && !stages.iter().any(|entry| entry.oid == oid) {
            stages.push(Entry {
                mode: EntryKind::Blob.into(),
                filename: conflict.oid.as_str().into(),
                oid,
            });
        }
    }
    if !stages.is_empty() {
        let tree = write_tree(batch, stages)?;
        entries.push(sub_tree(STAGES, tree));
    }
    if let Some(extra) = &what.extra
        && let Some(oid) = end_of(batch, extra, unsaved)?
    {
        entries.push(Entry {
            mode: EntryKind::Blob.into(),
            filename: extra.name.into(),
            oid,
        });
    }
    manifest.directories = directories;
    let mut json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Error::Malformed(format!("the manifest can't be written: {error}")))?;
    json.push(b'\n');
    let oid = batch.add(Object::blob(json))?;
    entries.push(Entry {
        mode: EntryKind::Blob.into(),
        filename: manifest::FILE.into(),
        oid,
    });
    write_tree(batch, entries)
}

/// Stores a file's end; one that isn't there is nothing.
fn end_of(batch: &mut Batch<'_>, extra: &Extra<'_>, unsaved: &mut Vec<Unsaved>) -> Result<Option<ObjectId>> {
    let mut read = || -> std::result::Result<ObjectId, FileError> {
        let mut file = File::open(extra.path).map_err(FileError::Read)?;
        let size = file.metadata().map_err(FileError::Read)?.len();
        if size <= extra.limit {
            return batch.add_file(&mut file);
        }
        file.seek(SeekFrom::Start(size - extra.limit))
            .map_err(FileError::Read)?;
        let mut end = Vec::new();
        file.take(extra.limit)
            .read_to_end(&mut end)
            .map_err(FileError::Read)?;
        batch.add(Object::blob(end)).map_err(FileError::Git)
    };
    match read() {
        Ok(oid) => Ok(Some(oid)),
        Err(FileError::Read(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(FileError::Read(error)) => {
            unsaved.push(Unsaved::new(extra.name, error));
            Ok(None)
        }
        Err(FileError::Git(error)) => Err(error),
    }
}

fn sub_tree(name: &str, oid: ObjectId) -> Entry {
    Entry {
        mode: EntryKind::Tree.into(),
        filename: name.into(),
        oid,
    }
}

/// Whether a directory is another worktree of the same repository; submodules are none.
fn is_our_worktree(repo: &Repo, root: &Path) -> bool {
    let file = root.join(".git");
    // A FIFO would keep its reader waiting.
    let content = match file.symlink_metadata() {
        Ok(meta) if meta.is_file() => std::fs::read(file).unwrap_or_default(),
        _ => return false,
    };
    let Some(target) = content.strip_prefix(b"gitdir: ") else {
        return false;
    };
    let target = PathBuf::from(OsStr::from_bytes(target.trim_end()));
    let Ok(worktrees) = repo.common_dir().join("worktrees").canonicalize() else {
        return false;
    };
    root.join(target)
        .canonicalize()
        .is_ok_and(|dir| dir.parent() == Some(&worktrees))
}
