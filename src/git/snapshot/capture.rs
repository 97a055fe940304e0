//! Takes a snapshot of a worktree that nobody is writing to.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::index::entry::Mode;
use gix::objs::tree::{Editor, Entry, EntryKind, EntryMode};
use gix::objs::{Kind, Tree, WriteTo};

use super::index::Index;
use super::manifest::{self, Manifest, Name, Odd};
use super::status::{Status, Tracked, status};
use super::store::{Stored, file_entry, is_reserved, store, write_tree};
use super::walk::{Skip, Walk, place, walk};
use super::{Unsaved, Work, index, midst, read};
use crate::git::batch::{Batch, FileError, Kept};
use crate::git::objects::{self, Object};
use crate::git::repo::parse_oid;
use crate::git::{Durability, Error, Repo, Result};

/// What is to be captured.
#[derive(Debug)]
pub struct Capture<'a> {
    pub worktree: &'a Path,
    /// The worktree's own git directory.
    pub git_dir: &'a Path,
    /// The commit that the work began from.
    pub base: Option<ObjectId>,
    /// The work commit before.
    pub previous: Option<ObjectId>,
    /// A directory that is stored beside the work.
    pub state_dir: Option<&'a Path>,
    /// A file that is stored beside the work.
    pub extra: Option<Extra<'a>>,
    pub signature: &'a Signature,
    pub message: &'a str,
    pub durability: Durability,
}

/// A file that is stored beside the work.
#[derive(Debug, Clone, Copy)]
pub struct Extra<'a> {
    /// Its name in the work commit's tree.
    pub name: &'a str,
    pub path: &'a Path,
    /// How many bytes of its end are stored at most.
    pub limit: u64,
}

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

/// The names under which directories are stored in a work commit's tree.
pub const STATE: &str = "worker-state";
pub const MIDST: &str = "git-state";
pub const NESTED: &str = "nested";
/// Blobs of files in conflict, which no other tree may hold.
const STAGES: &str = "stages";

/// Captures a worktree whole. What can't be captured is named in the result.
pub fn capture(repo: &Repo, what: &Capture<'_>) -> Result<Captured> {
    let mut batch = Batch::new(repo, what.durability);
    let previous = what.previous.map(|work| read(repo, work)).transpose()?;
    let gathered = gather(repo, what, previous.as_ref(), &mut batch)?;
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
        &format!("{}: snapshot\n", what.message),
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
pub fn differs(repo: &Repo, what: &Capture<'_>, work: ObjectId) -> Result<Option<String>> {
    let saved = read(repo, work)?;
    let mut batch = Batch::new(repo, Durability::Relaxed);
    let gathered = gather(repo, what, Some(&saved), &mut batch)?;
    let difference = if let Some(first) = gathered.unsaved.first() {
        Some(format!("{}: {}", first.path, first.why))
    } else if gathered.head != saved.head {
        Some("its HEAD has moved".to_owned())
    } else if gathered.tree != saved.tree {
        Some("its files have changed".to_owned())
    } else if gathered.index_tree != saved.index_tree {
        Some("its index has changed".to_owned())
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
            (MIDST, "what is half done there has changed"),
            (STAGES, "its conflicts have changed"),
        ] {
            if changed.is_none() && part(gathered.stored, name)? != part(saved.stored, name)? {
                changed = Some(what.to_owned());
            }
        }
        changed
    };
    Ok(difference)
}

/// Everything of a capture but its commits.
struct Gathered {
    head: Option<ObjectId>,
    index_tree: ObjectId,
    tree: ObjectId,
    /// The work commit's tree.
    stored: ObjectId,
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
    batch: &mut Batch<'_>,
) -> Result<Gathered> {
    let index_path = what.git_dir.join("index");
    let skip = Skip::default();
    let (status, walked, index) = thread::scope(|scope| {
        let walking = scope.spawn(|| walk(what.worktree, &skip));
        let status = status(repo, what.worktree);
        // Whatever git says, the walk comes to its end.
        skip.set(status.as_ref().map(not_walked).unwrap_or_default());
        let index = index::read(repo, &index_path, what.worktree);
        (status, walking.join().unwrap_or_else(|_| panicked()), index)
    });
    let status = status?;
    let walked = walked.without(&skip);
    let mut unsaved = walked.unsaved;
    let index = index.unwrap_or_else(|error| {
        unsaved.push(Unsaved::new("index", error));
        Index::default()
    });
    if let Some(previous) = previous {
        know(repo, batch, previous, &status);
    }
    let mut manifest = Manifest {
        format: 1,
        branch: status
            .branch
            .as_ref()
            .map(|name| Name([b"refs/heads/", name.as_slice()].concat().into())),
        odd: walked.odd,
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
        changed.sort();
        changed.dedup();
    }
    let tree = tree(
        batch,
        what.worktree,
        &status,
        index_tree,
        &changed,
        &mut manifest,
        &mut unsaved,
    )?;
    manifest.intent_to_add = index.intent_to_add;
    manifest.intent_modes = index.intent_modes;
    manifest.assume_unchanged = index.assume_unchanged.into_iter().map(|file| file.path).collect();
    manifest.skip_worktree = index.skip_worktree;
    manifest.conflicts = index.conflicts;
    manifest.references = midst::references(repo, what.worktree, what.git_dir)?;
    let extra = midst::commits(repo, what.git_dir, &manifest.references);
    let stored = stored(repo, what, &status, batch, manifest, &mut unsaved)?;
    Ok(Gathered {
        head: status.head,
        index_tree,
        tree,
        stored,
        extra,
        unsaved,
    })
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

/// A walk that came to nothing is named, not taken for an empty worktree.
fn panicked() -> Walk {
    Walk {
        odd: Odd::default(),
        unsaved: vec![Unsaved::new("", "its directories could not be looked through")],
    }
}

/// Blobs of the snapshot before are reachable, and needn't be written again.
fn know(repo: &Repo, batch: &mut Batch<'_>, previous: &Work, status: &Status) {
    let files = status
        .tracked
        .iter()
        .map(|file| &file.path)
        .chain(&status.untracked);
    for path in files.take(10_000) {
        let parts = path.split(|byte| *byte == b'/').map(BString::from);
        if let Ok(Some(entry)) = lookup(repo, previous.tree, parts) {
            batch.knows(entry);
        }
    }
}

fn lookup(repo: &Repo, root: ObjectId, parts: impl Iterator<Item = BString>) -> Result<Option<ObjectId>> {
    let mut at = root;
    for part in parts {
        match objects::tree(repo, at)?
            .entries
            .iter()
            .find(|entry| entry.filename == part)
        {
            Some(entry) => at = entry.oid,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn components(path: &BStr) -> impl Iterator<Item = &BStr> {
    path.split(|byte| *byte == b'/').map(ByteSlice::as_bstr)
}

/// The index as a tree: HEAD's, with what is staged.
fn index_tree(repo: &Repo, batch: &mut Batch<'_>, status: &Status) -> Result<ObjectId> {
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
fn tree(
    batch: &mut Batch<'_>,
    worktree: &Path,
    status: &Status,
    index_tree: ObjectId,
    changed: &[BString],
    manifest: &mut Manifest,
    unsaved: &mut Vec<Unsaved>,
) -> Result<ObjectId> {
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
                if submodule.commit || submodule.content {
                    let why = "a submodule with changes of its own is only in its own repository";
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

/// A file that git was told not to look at is changed if it isn't what the index has.
fn is_changed(repo: &Repo, worktree: &Path, file: &index::Assumed) -> bool {
    let path = place(worktree, file.path.0.as_ref());
    let Ok(meta) = path.symlink_metadata() else {
        return true;
    };
    let (kind, data) = if meta.is_symlink() {
        let target = std::fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes());
        (Mode::SYMLINK, target)
    } else if meta.is_file() && meta.mode() & 0o100 != 0 {
        (Mode::FILE_EXECUTABLE, std::fs::read(&path))
    } else {
        (Mode::FILE, std::fs::read(&path))
    };
    let same = |data| objects::id_of(repo, &Object::blob(data)).is_ok_and(|oid| oid == file.oid);
    kind != file.mode || !data.is_ok_and(same)
}

/// The work commit's own tree.
fn stored(
    repo: &Repo,
    what: &Capture<'_>,
    status: &Status,
    batch: &mut Batch<'_>,
    mut manifest: Manifest,
    unsaved: &mut Vec<Unsaved>,
) -> Result<ObjectId> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut directories = BTreeMap::new();
    let mut keep = |name: &str, stored: Stored, unsaved: &mut Vec<Unsaved>| {
        let within = |what: Unsaved| Unsaved {
            path: format!("{name}/{}", what.path).into(),
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
        entries.extend(keep(STATE, tree, unsaved).map(|oid| sub_tree(STATE, oid)));
    }
    let tree = store(batch, what.git_dir, &|path| midst::takes(path))?;
    entries.extend(
        keep(
            MIDST,
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
            continue;
        }
        let name = manifest.nested.len().to_string();
        let tree = store(batch, &root, &|_| true)?;
        if let Some(oid) = keep(&format!("{NESTED}/{name}"), tree, unsaved) {
            inner.push(sub_tree(&name, oid));
            manifest.nested.push(Name(path.clone()));
        }
    }
    if !inner.is_empty() {
        let tree = write_tree(batch, inner)?;
        entries.push(sub_tree(NESTED, tree));
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

/// Whether a directory is another worktree of the same repository, which has a life of its own.
fn is_our_worktree(repo: &Repo, root: &Path) -> bool {
    let content = std::fs::read(root.join(".git")).unwrap_or_default();
    let Some(target) = content.strip_prefix(b"gitdir: ") else {
        return false;
    };
    let target = PathBuf::from(target.trim().to_os_str_lossy().into_owned());
    root.join(target)
        .canonicalize()
        .is_ok_and(|dir| dir.starts_with(repo.common_dir()))
}
