//! Whether commits can be read whole: everything that they need is here, and is what its name says.

use std::collections::{BTreeMap, HashSet};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::command::refused;
use super::objects;
use super::repo::parse_oid;
use super::{Repo, Result};

/// A commit of which something can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub commit: ObjectId,
    pub why: String,
}

/// Names those of the commits that can't be read whole, each of them looked at back to the base that it is given with.
///
/// What the base itself needs is not looked at, unless the base is not here.
pub fn broken(repo: &Repo, commits: &[(ObjectId, Option<ObjectId>)]) -> Result<Vec<Broken>> {
    let mut found = Vec::new();
    // Those that begin at one place are listed together, and one by one only where something is wrong with them.
    let mut groups: BTreeMap<Option<ObjectId>, Vec<ObjectId>> = BTreeMap::new();
    for (commit, base) in commits {
        if !objects::exists(repo, *commit) {
            let why = "it is missing".to_owned();
            found.push(Broken { commit: *commit, why });
            continue;
        }
        let base = base.filter(|base| objects::exists(repo, *base));
        groups.entry(base).or_default().push(*commit);
    }
    let mut good = HashSet::new();
    for (base, commits) in groups {
        if flaw(repo, &commits, base, &mut good)?.is_none() {
            continue;
        }
        for commit in commits {
            if let Some(why) = flaw(repo, &[commit], base, &mut good)? {
                found.push(Broken { commit, why });
            }
        }
    }
    Ok(found)
}

/// Whether all objects that a commit needs and no reference has are here; what is in them is not looked at.
///
/// References that begin so are not asked, of which there may be many that have nothing of it.
pub fn is_complete(repo: &Repo, commit: ObjectId, beside: &str) -> Result<bool> {
    let missing = match is_partial(repo) {
        true => "--missing=allow-promisor",
        false => "--missing=error",
    };
    let git = repo
        .git()?
        .args(["--no-replace-objects", "rev-list", "--objects", "--quiet"])
        // References that lead nowhere are in nobody's way.
        .args([missing, "--ignore-missing", &commit.to_string(), "--not"])
        .args([&format!("--exclude={beside}*"), "--all"]);
    Ok(git.output()?.status.success())
}

/// What is wrong with the objects between a base and these commits, if anything is.
fn flaw(
    repo: &Repo,
    commits: &[ObjectId],
    base: Option<ObjectId>,
    good: &mut HashSet<ObjectId>,
) -> Result<Option<String>> {
    let is_partial = is_partial(repo);
    let missing = match is_partial {
        true => "--missing=allow-promisor",
        false => "--missing=print",
    };
    let mut input: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
    if let Some(base) = base {
        input += &format!("^{base}\n");
    }
    let output = repo
        .git()?
        .args([
            "--no-replace-objects",
            "rev-list",
            "--objects",
            missing,
            "--stdin",
        ])
        .input(input)
        .output()?;
    let mut lacking = Vec::new();
    for line in output.stdout.lines() {
        if let Some(hex) = line.strip_prefix(b"?") {
            lacking.push(hex.to_str_lossy().into_owned());
            continue;
        }
        let hex = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let Some(id) = parse_oid(hex).filter(|id| !good.contains(id)) else {
            continue;
        };
        match is_true(repo, id) {
            true => good.insert(id),
            false if is_partial && !objects::exists(repo, id) => true,
            false => {
                return Ok(Some(format!(
                    "object {id} can't be read, or is not what its name says"
                )));
            }
        };
    }
    Ok(match (lacking.as_slice(), output.status.success()) {
        ([], true) => None,
        ([], false) => Some(refused("rev-list".to_owned(), &output).to_string()),
        ([one], _) => Some(format!("object {one} is missing")),
        ([first, ..], _) => Some(format!("{} objects are missing, {first} is one", lacking.len())),
    })
}

/// Whether it is a partial clone, which has promises instead of objects, of which git alone knows: the packs that came
/// with them are marked.
fn is_partial(repo: &Repo) -> bool {
    let packs = std::fs::read_dir(repo.common_dir().join("objects/pack"));
    let mut names = packs.into_iter().flatten().flatten().map(|pack| pack.file_name());
    names.any(|name| name.as_encoded_bytes().ends_with(b".promisor"))
}

fn is_true(repo: &Repo, id: ObjectId) -> bool {
    let object = objects::read_unreplaced(repo, id);
    object.is_ok_and(|object| objects::id_of(repo, &object).is_ok_and(|right| right == id))
}
