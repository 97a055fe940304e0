//! Puts a snapshot back into a worktree that was made for it.

use std::fs;
use std::path::Path;

use gix::bstr::BStr;

use super::capture::{MIDST, NESTED, STATE};
use super::manifest::{Name, Odd};
use super::store::{apply, contained, unstore, write_file};
use super::walk::place;
use super::{Unsaved, Work, read};
use crate::git::objects;
use crate::git::repo::RefFormat;
use crate::git::{Error, Repo, Result, worktree};

/// What was put back.
#[derive(Debug, Default)]
pub struct Restored {
    /// What could not be, by name.
    pub unrestored: Vec<Unsaved>,
}

/// Puts a work commit back: index, files, what was half done, and the state directory.
///
/// The worktree is new, made at the work's HEAD without files. Tracked files that were unmodified go through git's
/// filters as with any checkout; all others are written byte for byte.
pub fn restore(repo: &Repo, work: gix::ObjectId, path: &Path, state_dir: Option<&Path>) -> Result<Restored> {
    let work = read(repo, work)?;
    let mut lost = Vec::new();
    let found = worktree::at(repo, path)?;
    if let Some(found) = &found {
        lost.extend(bring_back(repo, &work, MIDST, &found.git_dir)?);
    }
    checkout(repo, &work, path)?;
    for Name(gone) in &work.manifest.deleted {
        match contained(path, gone.as_ref()) {
            Ok(place) => remove(path, &place),
            Err(error) => lost.push(Unsaved::new(gone.clone(), error)),
        }
    }
    for Name(raw) in &work.manifest.raw {
        if let Err(why) = write_raw(repo, &work, path, raw.as_ref())? {
            lost.push(Unsaved::new(raw.clone(), why));
        }
    }
    for (number, Name(nested)) in work.manifest.nested.iter().enumerate() {
        match contained(path, nested.as_ref()) {
            Ok(place) => lost.extend(bring_back(repo, &work, &format!("{NESTED}/{number}"), &place)?),
            Err(error) => lost.push(Unsaved::new(nested.clone(), error)),
        }
    }
    lost.extend(flags(repo, &work, path)?);
    if let Some(found) = &found {
        lost.extend(references(repo, &work, path, &found.git_dir)?);
    }
    lost.extend(apply(&work.manifest.odd, path));
    if let Some(state) = state_dir {
        lost.extend(bring_back_state(repo, &work, state)?);
    }
    // What was written has times of its own; git looks at it once here rather than with every later command.
    repo.git_in(path)?
        .args(["update-index", "-q", "--refresh"])
        .output()?;
    Ok(Restored { unrestored: lost })
}

/// Writes a stored directory out; one that was empty or absent is made empty, except for git's own.
fn bring_back(repo: &Repo, work: &Work, name: &str, to: &Path) -> Result<Vec<Unsaved>> {
    let mut tree = Some(work.stored);
    for part in name.split('/') {
        tree = match tree {
            Some(id) => objects::tree(repo, id)?
                .entries
                .iter()
                .find(|entry| entry.filename == part)
                .map(|entry| entry.oid),
            None => None,
        };
    }
    if tree.is_none() && name == MIDST {
        return Ok(Vec::new());
    }
    let none = Odd::default();
    unstore(
        repo,
        tree,
        work.manifest.directories.get(name).unwrap_or(&none),
        to,
    )
}

/// Writes the state directory out, unless it has anything: then it is newer than the snapshot.
fn bring_back_state(repo: &Repo, work: &Work, state: &Path) -> Result<Vec<Unsaved>> {
    if fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(Vec::new());
    }
    let lost = bring_back(repo, work, STATE, state)?;
    let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    fs::set_permissions(state, private).map_err(Error::io(format!("'{}'", state.display())))?;
    Ok(lost)
}

fn checkout(repo: &Repo, work: &Work, path: &Path) -> Result<()> {
    repo.git_in(path)?
        .arg("read-tree")
        .arg(work.index_tree.to_string())
        .run()?;
    if !work.manifest.skip_worktree.is_empty() {
        let names = lines(&work.manifest.skip_worktree);
        repo.git_in(path)?
            .args(["update-index", "-z", "--skip-worktree", "--stdin"])
            .input(names)
            .run()?;
    }
    repo.git_in(path)?
        .args(["checkout-index", "--all", "--force", "--quiet"])
        .run()?;
    Ok(())
}

fn lines(names: &[Name]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|Name(name)| [name.as_slice(), b"\0"].concat())
        .collect()
}

/// Removes a file, and the directories that become empty by it.
fn remove(root: &Path, place: &Path) {
    // A file that a filter kept from appearing is gone already.
    let _ = fs::remove_file(place);
    let mut dir = place.parent();
    while let Some(at) = dir.filter(|at| *at != root && at.starts_with(root)) {
        if fs::remove_dir(at).is_err() {
            return;
        }
        dir = at.parent();
    }
}

/// Writes one file of the snapshot as it was; says why not, where that isn't possible.
fn write_raw(repo: &Repo, work: &Work, root: &Path, path: &BStr) -> Result<std::result::Result<(), String>> {
    let mut tree = work.tree;
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let entries = objects::tree(repo, tree)?.entries;
        let Some(entry) = entries.iter().find(|entry| entry.filename == part) else {
            return Ok(Err("it is not in the snapshot".to_owned()));
        };
        if parts.peek().is_some() {
            tree = entry.oid;
            continue;
        }
        let place = match contained(root, path) {
            Ok(place) => place,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let data = objects::read(repo, entry.oid)?.data;
        let written = place
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| write_file(&place, entry.mode.kind(), &data));
        return Ok(written.map_err(|error| error.to_string()));
    }
    Ok(Err("it has no name".to_owned()))
}

/// Conflicts and flags of the index.
fn flags(repo: &Repo, work: &Work, path: &Path) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    let manifest = &work.manifest;
    if !manifest.conflicts.is_empty() {
        let null = repo.object_hash().null();
        let mut input = Vec::new();
        for conflict in &manifest.conflicts {
            input.extend_from_slice(format!("0 {null}\t").as_bytes());
            input.extend_from_slice(&conflict.path.0);
            input.push(0);
        }
        for conflict in &manifest.conflicts {
            input.extend_from_slice(
                format!("{} {} {}\t", conflict.mode, conflict.oid, conflict.stage).as_bytes(),
            );
            input.extend_from_slice(&conflict.path.0);
            input.push(0);
        }
        repo.git_in(path)?
            .args(["update-index", "-z", "--index-info"])
            .input(input)
            .run()?;
    }
    if !manifest.intent_to_add.is_empty() {
        // One whose file is gone has nothing that could be added.
        let here = |name: &&Name| place(path, name.0.as_ref()).symlink_metadata().is_ok();
        let (names, gone): (Vec<&Name>, Vec<&Name>) = manifest.intent_to_add.iter().partition(here);
        lost.extend(
            gone.iter()
                .map(|name| Unsaved::new(name.0.clone(), "an intent to add a file that is gone")),
        );
        let names: Vec<Name> = names.into_iter().cloned().collect();
        if !names.is_empty() {
            repo.git_in(path)?
                .env("GIT_LITERAL_PATHSPECS", "1")
                .args([
                    "add",
                    "--intent-to-add",
                    "--force",
                    "--pathspec-from-file=-",
                    "--pathspec-file-nul",
                ])
                .input(lines(&names))
                .run()?;
        }
    }
    if !manifest.assume_unchanged.is_empty() {
        let names = lines(&manifest.assume_unchanged);
        repo.git_in(path)?
            .args(["update-index", "-z", "--assume-unchanged", "--stdin"])
            .input(names)
            .run()?;
    }
    Ok(lost)
}

/// References that only the worktree has.
fn references(repo: &Repo, work: &Work, path: &Path, git_dir: &Path) -> Result<Vec<Unsaved>> {
    let mut lost = Vec::new();
    for (name, oid) in &work.manifest.references {
        let is_pseudo = !name.contains('/');
        if is_pseudo && !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            lost.push(Unsaved::new(name.as_str(), "no name of a reference"));
            continue;
        }
        if is_pseudo && repo.ref_format() == RefFormat::Files {
            let written = fs::write(git_dir.join(name), format!("{oid}\n"));
            lost.extend(written.err().map(|error| Unsaved::new(name.as_str(), error)));
            continue;
        }
        let own = ["refs/bisect/", "refs/worktree/", "refs/rewritten/"];
        if !is_pseudo && !own.iter().any(|prefix| name.starts_with(prefix)) {
            lost.push(Unsaved::new(name.as_str(), "no reference of a worktree's own"));
            continue;
        }
        let git = repo.git_in(path)?.args(["update-ref", "--no-deref", name, oid]);
        if let Err(error) = git.run() {
            lost.push(Unsaved::new(name.as_str(), error));
        }
    }
    Ok(lost)
}
