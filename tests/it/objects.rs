//! Objects that are published while garbage is collected.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use git_session::git::{
    Durability::{self, Relaxed},
    Repo,
    batch::{Batch, publish},
    objects::{self, Object},
    refs::{Expected, Outcome},
};
use gix::ObjectId;

use crate::git_repo::{Sandbox, again, beside, formats, git_command, given, point, run, signature, text};

/// A commit whose tree has so many files of its own.
fn commit(repo: &Repo, files: usize, seed: &str) -> (ObjectId, Vec<Object>) {
    let mut new = Vec::new();
    let mut entries = Vec::new();
    for number in 0..files {
        let blob = Object::blob(format!("{seed} {number}\n").into_bytes());
        entries.push(gix::objs::tree::Entry {
            mode: gix::objs::tree::EntryKind::Blob.into(),
            filename: format!("{number:05}").into(),
            oid: objects::id_of(repo, &blob).unwrap(),
        });
        new.push(blob);
    }
    let mut data = Vec::new();
    gix::objs::WriteTo::write_to(&gix::objs::Tree { entries }, &mut data).unwrap();
    let kind = gix::objs::Kind::Tree;
    let tree = Object { kind, data };
    let id = objects::id_of(repo, &tree).unwrap();
    new.push(tree);
    let commit = objects::commit(id, &[], &signature(), &signature(), seed.as_bytes());
    let id = objects::id_of(repo, &commit).unwrap();
    new.push(commit);
    (id, new)
}

fn packs(sandbox: &Sandbox, extension: &str) -> Vec<PathBuf> {
    let dir = sandbox.git_dir().join("objects/pack");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

#[test]
fn what_is_published_beside_a_garbage_collector_is_all_there() {
    formats(|sandbox| {
        let publications = if sandbox.format.refs == "files" { 150 } else { 40 };
        let collect = || {
            let mut gc = git_command(&sandbox.root());
            run(gc.args(["gc", "--quiet", "--prune=now"]));
        };
        beside(collect, || {
            let repo = sandbox.repo();
            for number in 0..publications {
                let files = [1, 3, 40][number % 3];
                let (id, new) = commit(&repo, files, &format!("publication {number}"));
                let name = format!("refs/things/{number}");
                let outcome = publish(&repo, new, Relaxed, |before| {
                    repo.refs()
                        .update_after(before, &name, Some(id), Expected::Absent, Relaxed)
                });
                assert_eq!(outcome.unwrap(), Outcome::Done);
            }
        });
        assert_eq!(
            sandbox.git(["for-each-ref", "refs/things"]).lines().count(),
            publications
        );
        sandbox.assert_sound();
        assert_eq!(packs(sandbox, "keep"), [] as [PathBuf; 0]);
    });
}

#[test]
fn what_a_collection_took_before_its_reference_moved_is_written_again() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let (id, new) = commit(&repo, 1, "taken");
        let is_taken = Cell::new(false);
        let outcome = publish(&repo, new, Relaxed, |before| {
            if !is_taken.replace(true) {
                fs::remove_file(objects::loose_path(&repo, id)).unwrap();
            }
            repo.refs()
                .update_after(before, "refs/things/taken", Some(id), Expected::Absent, Relaxed)
        });
        assert_eq!(outcome.unwrap(), Outcome::Done);
        assert_eq!(sandbox.git(["rev-parse", "refs/things/taken"]), id.to_string());
        sandbox.assert_sound();
    });
}

#[test]
fn a_pack_is_kept_until_it_is_released() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let (id, new) = commit(&repo, 50, "kept");
        let mut batch = Batch::new(&repo, Durability::Durable);
        for object in new {
            batch.add(object).unwrap();
        }
        let kept = batch.finish().unwrap();
        assert_eq!(packs(sandbox, "keep").len(), 1);
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        assert!(objects::exists(&sandbox.repo(), id));
        point(&repo, "refs/things/kept", id);
        kept.release(&repo).unwrap();
        assert_eq!(packs(sandbox, "keep").len(), 0);
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        sandbox.assert_sound();
        assert_eq!(packs(sandbox, "pack").len(), 1, "git takes it into its own");
    });
}

#[test]
fn many_small_packs_become_one() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        for number in 0..70 {
            let (id, new) = commit(&repo, 15, &format!("pack {number}"));
            let name = format!("refs/things/{number}");
            publish(&repo, new, Relaxed, |before| {
                repo.refs()
                    .update_after(before, &name, Some(id), Expected::Absent, Relaxed)
            })
            .unwrap();
        }
        let count = packs(sandbox, "pack").len();
        assert!(count < 20, "there are {count} packs");
        assert_eq!(packs(sandbox, "idx").len(), count);
        assert_eq!(packs(sandbox, "keep").len(), 0);
        sandbox.assert_sound();
        // Neither a collection of git's nor what it says of the store minds how ours are known.
        let said = sandbox.git(["count-objects", "-v"]);
        assert!(said.contains("garbage: 0"), "{said}");
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        sandbox.assert_sound();
    });
}

#[test]
fn packs_of_others_are_not_merged() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        sandbox.git(["repack", "-q", "-d"]);
        let theirs = packs(sandbox, "pack");
        for number in 0..20 {
            let (id, new) = commit(&repo, 15, &format!("pack {number}"));
            let name = format!("refs/things/{number}");
            publish(&repo, new, Relaxed, |before| {
                repo.refs()
                    .update_after(before, &name, Some(id), Expected::Absent, Relaxed)
            })
            .unwrap();
        }
        assert!(packs(sandbox, "pack").contains(&theirs[0]));
        sandbox.assert_sound();
    });
}

const SIZE: u64 = 100 << 20;

#[test]
#[ignore = "is run, and measured, by another test"]
fn adds_a_large_file() {
    let Some(dir) = given() else { return };
    let repo = Repo::open(&dir).unwrap();
    let mut batch = Batch::new(&repo, Relaxed);
    let mut file = fs::File::open(large(&dir)).unwrap();
    let id = batch.add_file(&mut file).unwrap();
    let kept = batch.finish().unwrap();
    // A tree is what a reference may point to in any format.
    let tree = objects::tree_of_one("large", id);
    let tree_id = objects::id_of(&repo, &tree).unwrap();
    let commit = objects::commit(tree_id, &[], &signature(), &signature(), b"large");
    let commit_id = objects::id_of(&repo, &commit).unwrap();
    publish(&repo, vec![tree, commit], Relaxed, |before| {
        repo.refs().update_after(
            before,
            "refs/things/large",
            Some(commit_id),
            Expected::Absent,
            Relaxed,
        )
    })
    .unwrap();
    kept.release(&repo).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: Option<u64> = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
    assert!(peak.is_none_or(|peak| peak < 60 << 10), "it needs {peak:?} kB");
}

fn large(dir: &Path) -> PathBuf {
    dir.with_file_name("large")
}

#[test]
fn a_large_file_is_not_held_in_memory() {
    let sandbox = Sandbox::new(crate::git_repo::Format::PLAIN);
    let path = large(&sandbox.root());
    fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    let output = run(&mut again(module_path!(), "adds_a_large_file", &sandbox.root()));
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let size = sandbox.git(["cat-file", "-s", "refs/things/large:large"]);
    assert_eq!(size, SIZE.to_string());
    sandbox.assert_sound();
}
