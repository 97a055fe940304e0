//! What a work commit's own tree holds beside the snapshot, put back: directories that are stored whole, and git's own
//! files of what is half done.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::tree::{Entry, EntryKind};

use super::manifest::{MIDST, NESTED, Odd, STATE};
use super::store::{Takes, unescape, unstore};
use super::{Source, Unsaved, Work, elsewhere, midst};
use crate::git::config::entries;
use crate::git::objects;
use crate::git::{Error, Repo, Result};

/// Writes a nested repository out; of somebody else's, nothing comes that would tell git what to run.
pub fn bring_back_nested(
    repo: &Repo,
    work: &Work,
    number: usize,
    source: Source,
    to: &Path,
) -> Result<Vec<Unsaved>> {
    let name = format!("{NESTED}/{number}");
    if source == Source::Here {
        return bring_back(repo, work, &name, to, ALL);
    }
    let mut lost = bring_back(repo, work, &name, to, &elsewhere::takes_nested)?;
    let configs: Vec<BString> = lost
        .extract_if(.., |lost| elsewhere::is_config(lost.path.as_ref()))
        .map(|lost| lost.path)
        .collect();
    for path in configs {
        let file = to.join(OsStr::from_bytes(&path));
        let Some(entries) = entries(repo, blob_at(repo, work, &format!("{name}/{path}"))?)? else {
            lost.push(Unsaved::new(path, "it can't be read"));
            continue;
        };
        for (key, value) in entries {
            if elsewhere::takes_key(key.as_ref()) {
                repo.git()?
                    .args(["config", "--add", "--file"])
                    .arg(&file)
                    .arg(OsStr::from_bytes(&key))
                    .arg(OsStr::from_bytes(&value))
                    .run()?;
            } else {
                lost.push(Unsaved::new(format!("{path}: {key}"), FOREIGN_CONFIG));
            }
        }
    }
    Ok(lost)
}

/// Why configuration is left out.
const FOREIGN_CONFIG: &str = "configuration is not taken from a snapshot";

/// Writes a stored directory out; one that was empty or absent is made empty, except for git's own.
pub fn bring_back(repo: &Repo, work: &Work, name: &str, to: &Path, takes: Takes) -> Result<Vec<Unsaved>> {
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
        takes,
    )
}

/// Writes the state directory out, whole or not at all, unless it has anything: then it is newer than the snapshot.
pub fn bring_back_state(repo: &Repo, work: &Work, state: &Path) -> Result<Vec<Unsaved>> {
    if fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(Vec::new());
    }
    let mut part = state.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    // What a killed command had begun.
    match fs::remove_dir_all(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(format!("cannot remove '{}'", part.display()))(error));
        }
        _ => {}
    }
    let lost = bring_back(repo, work, STATE, part, ALL)?;
    let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    fs::set_permissions(part, private).map_err(Error::io(format!("'{}'", part.display())))?;
    fs::rename(part, state).map_err(Error::io(format!("cannot make '{}'", state.display())))?;
    Ok(lost)
}

/// Takes everything: it was saved here.
pub const ALL: Takes = &|_, _| true;

/// Git's own files of what is half done, and how the checkout is sparse; nothing else gets into a git directory.
pub fn half_done(
    repo: &Repo,
    work: &Work,
    source: Source,
    path: &Path,
    git_dir: &Path,
) -> Result<Vec<Unsaved>> {
    let is_ours = source == Source::Here;
    let takes = |path: &BStr, kind| {
        kind != EntryKind::Link
            && path != CONFIG
            && midst::takes(path)
            && (is_ours || elsewhere::takes_half_done(path))
    };
    let mut lost = bring_back(repo, work, MIDST, git_dir, &takes)?;
    let todo = git_dir.join(elsewhere::TODO);
    if !is_ours && let Ok(content) = fs::read(&todo) {
        let (kept, commands) = elsewhere::without_commands(&content);
        let why = "it is somebody else's command";
        lost.extend(
            commands
                .iter()
                .map(|command| Unsaved::new(format!("{}: {command}", elsewhere::TODO), why)),
        );
        fs::write(&todo, kept).map_err(Error::io(format!("'{}'", todo.display())))?;
    }
    let Some(config) = lost.iter().position(|lost| lost.path == CONFIG) else {
        return Ok(lost);
    };
    // Of a configuration, which may say what is to be executed, only what is known to be harmless is taken.
    lost.remove(config);
    let Some(entries) = entries(repo, blob_at(repo, work, &format!("{MIDST}/{CONFIG}"))?)? else {
        lost.push(Unsaved::new(CONFIG, "it can't be read"));
        return Ok(lost);
    };
    let is_known = |key: &BString| SPARSE.iter().any(|known| key == known.as_bytes());
    let has_own = entries.iter().any(|(key, _)| is_known(key)) && have_own_config(repo, path)?;
    for (key, value) in entries {
        if !is_known(&key) {
            lost.push(Unsaved::new(format!("{CONFIG}: {key}"), FOREIGN_CONFIG));
        } else if !has_own {
            lost.push(Unsaved::new(format!("{CONFIG}: {key}"), SHARED_CONFIG));
        } else {
            repo.git_in(path)?
                .args(["config", "--worktree"])
                .arg(OsStr::from_bytes(&key))
                .arg(OsStr::from_bytes(&value))
                .run()?;
        }
    }
    Ok(lost)
}

/// Lets worktrees have configurations of their own, as git does for the first checkout that is made sparse; false where
/// the common one has what would hold for all of them then.
fn have_own_config(repo: &Repo, path: &Path) -> Result<bool> {
    const EXTENSION: &str = "extensions.worktreeConfig";
    if repo.config_bool(EXTENSION) == Some(true) {
        return Ok(true);
    }
    if repo.config_bool("core.bare") == Some(true) || repo.config("core.worktree").is_some() {
        return Ok(false);
    }
    repo.git_in(path)?.args(["config", EXTENSION, "true"]).run()?;
    Ok(true)
}

/// The worktree's own configuration.
const CONFIG: &str = "config.worktree";
const SHARED_CONFIG: &str = "this repository has one configuration for all worktrees";
const SPARSE: [&str; 3] = ["core.sparsecheckout", "core.sparsecheckoutcone", "index.sparse"];

/// The content of a file that is stored in a directory; nothing if it isn't there.
fn blob_at(repo: &Repo, work: &Work, path: &str) -> Result<Vec<u8>> {
    let mut oid = work.stored;
    for part in path.split('/') {
        let entries = objects::tree(repo, oid)?.entries;
        let is_it = |entry: &&Entry| unescape(entry.filename.as_bstr()) == part;
        match entries.iter().find(is_it) {
            Some(entry) => oid = entry.oid,
            None => return Ok(Vec::new()),
        }
    }
    Ok(objects::read(repo, oid)?.data)
}
