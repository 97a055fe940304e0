//! What is half done in a worktree: git's own files of a merge, rebase, cherry-pick, revert, bisect or am.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};

use crate::git::objects;
use crate::git::repo::{RefFormat, parse_oid};
use crate::git::{Repo, Result};

/// Files of a worktree's own git directory that say what is half done, or how it is laid out.
const FILES: [&str; 15] = [
    "MERGE_HEAD",
    "MERGE_MSG",
    "MERGE_MODE",
    "MERGE_RR",
    "MERGE_AUTOSTASH",
    "SQUASH_MSG",
    "BISECT_LOG",
    "BISECT_NAMES",
    "BISECT_START",
    "BISECT_TERMS",
    "BISECT_ANCESTORS_OK",
    "BISECT_RUN",
    "BISECT_FIRST_PARENT",
    "config.worktree",
    "info/sparse-checkout",
];
const DIRECTORIES: [&str; 3] = ["rebase-merge", "rebase-apply", "sequencer"];
/// References that are files in one format and records in the other.
pub const PSEUDO: [&str; 5] = [
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "ORIG_HEAD",
    "BISECT_EXPECTED_REV",
];

/// Namespaces that each worktree has for itself.
const OWN: [&str; 3] = ["refs/bisect", "refs/worktree", "refs/rewritten"];

/// Whether a path in the git directory belongs to what is half done.
pub fn takes(path: &BStr) -> bool {
    let within = |dir: &str| {
        path == dir
            || path
                .strip_prefix(dir.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
    };
    path == "info" || FILES.iter().any(|file| path == *file) || DIRECTORIES.into_iter().any(within)
}

/// The references that only this worktree has, by name.
pub fn references(repo: &Repo, worktree: &Path, git_dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let busy = DIRECTORIES
        .iter()
        .chain(&["BISECT_LOG", "MERGE_HEAD"])
        .any(|name| git_dir.join(name).exists());
    match repo.ref_format() {
        RefFormat::Files => {
            for name in PSEUDO {
                let content = fs::read(git_dir.join(name)).ok();
                if let Some(oid) = content.and_then(|content| parse_oid(content.trim())) {
                    found.insert(name.to_owned(), oid.to_string());
                }
            }
            if !OWN.iter().any(|own| git_dir.join(own).is_dir()) {
                return Ok(found);
            }
        }
        RefFormat::Reftable => {
            for name in PSEUDO {
                let git = repo.git_in(worktree)?.args([
                    "rev-parse",
                    "--verify",
                    "--quiet",
                    "--end-of-options",
                    name,
                ]);
                if let Some(oid) = parse_oid(git.output()?.stdout.trim()) {
                    found.insert(name.to_owned(), oid.to_string());
                }
                if !busy && name == "ORIG_HEAD" {
                    break;
                }
            }
        }
    }
    let output = repo
        .git_in(worktree)?
        .args(["for-each-ref", "--format=%(objectname) %(refname)"])
        .args(OWN)
        .run()?;
    for line in output.lines() {
        if let Some((oid, name)) = line.split_once_str(" ")
            && let Ok(name) = name.to_str()
        {
            found.insert(name.to_owned(), oid.as_bstr().to_string());
        }
    }
    Ok(found)
}

/// The commits that what is half done needs, which nothing else may reach.
pub fn commits(repo: &Repo, git_dir: &Path, references: &BTreeMap<String, String>) -> Vec<ObjectId> {
    const NAMED: [&str; 9] = [
        "MERGE_HEAD",
        "MERGE_AUTOSTASH",
        "rebase-merge/onto",
        "rebase-merge/orig-head",
        "rebase-merge/stopped-sha",
        "rebase-merge/amend",
        "rebase-merge/autostash",
        "rebase-apply/onto",
        "rebase-apply/orig-head",
    ];
    let mut found: Vec<ObjectId> = references
        .values()
        .filter_map(|oid| parse_oid(oid.as_bytes()))
        .collect();
    for name in NAMED {
        if let Ok(content) = fs::read(git_dir.join(name)) {
            found.extend(content.lines().filter_map(|line| parse_oid(line.trim())));
        }
    }
    found.retain(|oid| objects::read(repo, *oid).is_ok_and(|object| object.kind == gix::objs::Kind::Commit));
    found.extend(to_do(repo, git_dir, &found));
    found.sort();
    found.dedup();
    found
}

/// The commits that are still to be picked, as far as others of them, or those that are known, don't reach them.
///
/// What can't be found by now could not have been picked either.
fn to_do(repo: &Repo, git_dir: &Path, known: &[ObjectId]) -> Vec<ObjectId> {
    const LISTS: [&str; 2] = ["sequencer/todo", "rebase-merge/git-rebase-todo"];
    let mut asked = String::new();
    for list in LISTS {
        let content = fs::read(git_dir.join(list)).unwrap_or_default();
        for line in content.lines().filter(|line| !line.starts_with(b"#")) {
            // The command, perhaps an option, and the commit; what else is there is no word of hexadecimal digits.
            let words = line.split(|byte| *byte == b' ').skip(1).take(2);
            let words = words.filter(|word| word.len() >= 4 && word.iter().all(u8::is_ascii_hexdigit));
            asked.extend(words.map(|word| format!("{}^{{commit}}\n", word.as_bstr())));
        }
    }
    if asked.is_empty() {
        return Vec::new();
    }
    let commits = || -> Result<Vec<ObjectId>> {
        let git = repo.git()?.args(["cat-file", "--batch-check=%(objectname)"]);
        let told = git.input(asked).run()?;
        let to_do = told.lines().filter_map(parse_oid);
        let all = known.iter().copied().chain(to_do).map(|oid| oid.to_string());
        let git = repo.git()?.args(["merge-base", "--independent"]).args(all);
        Ok(git.run()?.lines().filter_map(parse_oid).collect())
    };
    commits().unwrap_or_default()
}
