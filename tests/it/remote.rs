//! Other repositories: listed, fetched from and pushed to, by every transport that git has.

use std::path::Path;

use git_session::git::{
    Error, Repo,
    remote::{Fetched, Lease, Pushed, RemoteFault, Update, Wanted},
};
use gix::ObjectId;

use crate::git_repo::{Format, Sandbox, every_format, git, oid};

/// A clone's repository, and another one beside it.
struct Pair {
    clone: Sandbox,
    remote: Sandbox,
}

impl Pair {
    fn new(clone: Format, remote: Format) -> Pair {
        let (clone, remote) = (Sandbox::new(clone), Sandbox::unborn(remote));
        let url = remote.root();
        clone.git(["remote", "add", "origin", url.to_str().unwrap()]);
        Pair { clone, remote }
    }

    /// Both of each kind, with references kept the same way or not.
    fn each(test: impl Fn(&Pair)) {
        for clone in every_format() {
            for remote in every_format()
                .into_iter()
                .filter(|remote| remote.hash == clone.hash)
            {
                eprintln!("{clone:?} from {remote:?}");
                test(&Pair::new(clone, remote));
            }
        }
    }

    fn plain() -> Pair {
        Pair::new(Format::PLAIN, Format::PLAIN)
    }

    fn repo(&self) -> Repo {
        self.clone.repo()
    }

    /// A reference on the remote to a new commit on top of others.
    fn put(&self, name: &str, parents: &[ObjectId]) -> ObjectId {
        let id = orphan(&self.remote.root(), name, parents);
        self.remote.git(["update-ref", name, &id.to_string()]);
        id
    }

    /// Where a reference of the remote's is.
    fn there(&self, name: &str) -> Option<ObjectId> {
        at(&self.remote.root(), name)
    }

    fn here(&self, name: &str) -> Option<ObjectId> {
        at(&self.clone.root(), name)
    }
}

fn at(dir: &Path, name: &str) -> Option<ObjectId> {
    let found = git(dir, ["for-each-ref", "--format=%(objectname)", name]);
    (!found.is_empty()).then(|| oid(&found))
}

/// A new commit without anything in it.
fn orphan(dir: &Path, message: &str, parents: &[ObjectId]) -> ObjectId {
    let tree = git(dir, ["hash-object", "-w", "-t", "tree", "/dev/null"]);
    let parents = parents.iter().flat_map(|id| ["-p".to_owned(), id.to_string()]);
    let words = [
        "commit-tree".to_owned(),
        "-m".to_owned(),
        message.to_owned(),
        tree,
    ];
    oid(&git(dir, words.into_iter().chain(parents)))
}

fn wanted(from: &str, to: &str) -> Wanted {
    Wanted {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn update(name: &str, new: impl Into<Option<ObjectId>>, lease: Lease) -> Update {
    Update {
        name: name.to_owned(),
        new: new.into(),
        lease,
    }
}

fn fault(error: Error) -> RemoteFault {
    match error {
        Error::Remote { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[test]
fn references_are_listed_fetched_and_pushed_over_a_path() {
    Pair::each(|pair| {
        let one = pair.put("refs/things/one", &[]);
        let two = pair.put("refs/things/two", &[]);
        pair.put("refs/heads/refs/things/three", &[]);
        pair.remote
            .git(["tag", "-a", "-m", "a tag", "tag", &one.to_string()]);
        let repo = pair.repo();
        let remote = repo.remote("origin").unwrap();
        let names = remote.names(&["refs/things/"]).unwrap();
        let expected = [("refs/things/one", one), ("refs/things/two", two)].map(|(n, id)| (n.to_owned(), id));
        assert_eq!(*names, expected);
        assert_eq!(remote.names(&["refs/tags/", "refs/none/"]).unwrap().len(), 1);

        let all = [
            wanted("refs/things/one", "refs/seen/one"),
            wanted("refs/things/two", "refs/seen/two"),
            wanted("refs/things/none", "refs/seen/none"),
        ];
        let fetched = remote.fetch(&all).unwrap();
        assert_eq!(fetched[0], ("refs/things/one".to_owned(), Fetched::Done));
        assert_eq!(fetched[1].1, Fetched::Done);
        assert!(matches!(fetched[2].1, Fetched::Refused(_)));
        assert_eq!(pair.here("refs/seen/one"), Some(one));
        assert_eq!(pair.here("refs/seen/two"), Some(two));
        assert_eq!(pair.clone.git(["for-each-ref", "refs/tags"]), "");
        assert!(!pair.clone.git_dir().join("FETCH_HEAD").exists());

        let new = orphan(&pair.clone.root(), "new", &[one]);
        let pushed = remote.push(&[
            update("refs/things/one", new, Lease::At(one)),
            update("refs/things/two", two, Lease::FastForward),
            update("refs/things/new", new, Lease::Absent),
        ]);
        let pushed: Vec<Pushed> = pushed.unwrap().into_iter().map(|(_, pushed)| pushed).collect();
        assert_eq!(pushed, [Pushed::Done, Pushed::UpToDate, Pushed::Done]);
        assert_eq!(pair.there("refs/things/one"), Some(new));
        assert_eq!(pair.there("refs/things/new"), Some(new));
        pair.clone.assert_sound();
        pair.remote.assert_sound();
    });
}

#[test]
fn a_push_replaces_only_what_its_lease_says() {
    Pair::each(|pair| {
        let old = pair.put("refs/things/a", &[]);
        let repo = pair.repo();
        let remote = repo.remote("origin").unwrap();
        remote.fetch_objects(&["refs/things/a".to_owned()]).unwrap();
        let next = orphan(&pair.clone.root(), "next", &[old]);
        let other = orphan(&pair.clone.root(), "other", &[]);
        let push = |update| remote.push(&[update]).unwrap().remove(0).1;
        let name = "refs/things/a";
        assert_eq!(push(update(name, next, Lease::Absent)), Pushed::Moved);
        assert_eq!(push(update(name, next, Lease::At(other))), Pushed::Moved);
        assert_eq!(push(update(name, other, Lease::FastForward)), Pushed::Moved);
        assert_eq!(push(update(name, None, Lease::At(other))), Pushed::Moved);
        assert_eq!(push(update("refs/things/b", next, Lease::At(old))), Pushed::Moved);
        assert_eq!(pair.there(name), Some(old));
        // What the remote got meanwhile is not known here.
        let theirs = pair.put(name, &[old]);
        assert_eq!(push(update(name, next, Lease::FastForward)), Pushed::Moved);
        assert_eq!(push(update(name, next, Lease::At(old))), Pushed::Moved);
        assert_eq!(pair.there(name), Some(theirs));
        assert_eq!(push(update(name, None, Lease::At(theirs))), Pushed::Done);
        assert_eq!(pair.there(name), None);
        assert!(remote.push(&[update(name, None, Lease::FastForward)]).is_err());
    });
}

#[test]
fn a_rewound_reference_stays_where_it_was_and_hides_no_other() {
    Pair::each(|pair| {
        let first = pair.put("refs/things/a", &[]);
        let second = pair.put("refs/things/a", &[first]);
        let other = pair.put("refs/things/b", &[]);
        let repo = pair.repo();
        let remote = repo.remote("origin").unwrap();
        let all = [
            wanted("refs/things/a", "refs/seen/a"),
            wanted("refs/things/b", "refs/seen/b"),
        ];
        remote.fetch(&all).unwrap();
        pair.remote
            .git(["update-ref", "refs/things/a", &first.to_string()]);
        let further = pair.put("refs/things/b", &[other]);
        remote.names(&["refs/things/"]).unwrap();
        let fetched = remote.fetch(&all).unwrap();
        assert_eq!(fetched[0].1, Fetched::Rewound);
        assert_eq!(fetched[1].1, Fetched::Done);
        assert_eq!(pair.here("refs/seen/a"), Some(second));
        assert_eq!(pair.here("refs/seen/b"), Some(further));
        pair.put("refs/things/a", &[]);
        remote.names(&["refs/things/"]).unwrap();
        assert_eq!(remote.fetch(&all).unwrap()[0].1, Fetched::Rewound);
    });
}

#[test]
fn a_remote_with_another_hash_is_named_as_such() {
    let other = Format {
        hash: "sha256",
        ..Format::PLAIN
    };
    for (clone, remote) in [(Format::PLAIN, other), (other, Format::PLAIN)] {
        let pair = Pair::new(clone, remote);
        pair.put("refs/things/a", &[]);
        let repo = pair.repo();
        let remote = repo.remote("origin").unwrap();
        let hash = |error| assert_eq!(fault(error), RemoteFault::Hash);
        hash(remote.names(&["refs/things/"]).unwrap_err());
        hash(remote.fetch_objects(&["refs/things/a".to_owned()]).unwrap_err());
        hash(
            remote
                .fetch(&[wanted("refs/things/a", "refs/seen/a")])
                .unwrap_err(),
        );
        let new = update("refs/things/b", pair.clone.head(), Lease::Absent);
        hash(remote.push(&[new]).unwrap_err());
    }
}

#[test]
fn remotes_are_found_by_name_url_and_path() {
    let pair = Pair::plain();
    let one = pair.put("refs/things/a", &[]);
    let path = pair.remote.root();
    let path = path.to_str().unwrap();
    pair.clone
        .git(["config", "url.https://host/.insteadOf", "short:"]);
    pair.clone
        .git(["config", "url.ssh://git@host/.pushInsteadOf", "short:"]);
    pair.clone.git(["remote", "add", "far", "short:team/x"]);
    let repo = pair.repo();
    assert_eq!(repo.remotes(), ["far", "origin"]);
    let far = repo.remote("far").unwrap();
    assert_eq!(far.url(), "https://host/team/x");
    assert_eq!(far.push_urls(), ["ssh://git@host/team/x"]);
    assert_eq!(far.public_url(), "ssh://host/team/x");
    for name in [path, &format!("file://{path}")] {
        let names = repo.remote(name).unwrap().names(&["refs/things/"]).unwrap();
        assert_eq!(*names, [("refs/things/a".to_owned(), one)]);
    }
    for name in ["", "none", "-x", "--upload-pack=touch /tmp/x"] {
        assert!(matches!(repo.remote(name), Err(Error::NoSuchRemote(_))), "{name}");
    }
    let gone = repo.remote("/nowhere/at/all").unwrap();
    assert_eq!(
        fault(gone.names(&["refs/"]).unwrap_err()),
        RemoteFault::Unreachable
    );
}

/// References to commits of their own, made all at once, each on top of another or of none.
fn put_many(remote: &Path, names: impl Iterator<Item = (String, Option<ObjectId>)>) {
    use std::io::Write;
    let mut stream = String::new();
    for (name, parent) in names {
        let message = format!("what is called {name}");
        stream += &format!(
            "commit {name}\ncommitter A <a@b> 1700000000 +0000\ndata {}\n{message}\n",
            message.len()
        );
        stream += &parent.map_or_else(String::new, |parent| format!("from {parent}\n"));
        stream += "deleteall\n\n";
    }
    let mut import = crate::git_repo::git_command(remote);
    import
        .args(["fast-import", "--quiet", "--force"])
        .stdin(std::process::Stdio::piped());
    let mut child = import.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    git(remote, ["pack-refs", "--all"]);
}

fn names_under(dir: &Path, prefix: &str) -> String {
    let strip = prefix.matches('/').count();
    let format = format!("--format=%(objectname) %(refname:lstrip={strip})");
    git(dir, ["for-each-ref", &format, prefix])
}

fn all_of(names: &[(String, ObjectId)]) -> Vec<Wanted> {
    names
        .iter()
        .map(|(name, _)| wanted(name, &name.replace("refs/things/", "refs/seen/")))
        .collect()
}

#[test]
fn many_references_are_fetched_together() {
    Pair::each(|pair| {
        put_many(
            &pair.remote.root(),
            (0..300).map(|n| (format!("refs/things/{n}"), None)),
        );
        let repo = pair.repo();
        let remote = repo.remote("origin").unwrap();
        let names = remote.names(&["refs/things/"]).unwrap();
        assert_eq!(names.len(), 300);
        let fetched = remote.fetch(&all_of(&names)).unwrap();
        assert!(fetched.iter().all(|(_, fetched)| *fetched == Fetched::Done));
        let there = names_under(&pair.remote.root(), "refs/things/");
        assert_eq!(names_under(&pair.clone.root(), "refs/seen/"), there);
        // Half of them go on, one is rewound, and one is gone.
        let on = names.iter().take(150).map(|(name, id)| (name.clone(), Some(*id)));
        put_many(&pair.remote.root(), on);
        pair.put("refs/things/99", &[]);
        let names = remote.names(&["refs/things/"]).unwrap();
        pair.remote.git(["update-ref", "-d", &names[7].0]);
        let fetched = remote.fetch(&all_of(&names)).unwrap();
        for (name, fetched) in fetched {
            let expected = if name == "refs/things/99" {
                Fetched::Rewound
            } else {
                Fetched::Done
            };
            assert_eq!(fetched, expected, "{name}");
        }
        pair.clone.assert_sound();
    });
}
