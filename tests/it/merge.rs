//! Logs that went different ways: how they stand to each other, and what they come to.

use std::cell::Cell;
use std::collections::BTreeSet;

use git_session::{
    git::{
        Durability, Repo,
        objects::{self, Object},
        refs::Expected,
    },
    session::{Claim, Event, Kind, Relation, State, log},
    store::{
        Append, Error, Session, Store, codec,
        merge::{Joined, made},
    },
};
use gix::ObjectId;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::git_repo::{Format, Sandbox, assert_sound, formats, git, git_command, point, run};
use crate::logs::{KINDS, claim, create, id, signed, stamp, step};

/// One thing that happens to one of several logs of a session.
#[derive(Debug, Clone)]
enum Act {
    Step {
        side: Index,
        kind: Index,
        second: i64,
    },
    Claim {
        side: Index,
        owner: Index,
        second: i64,
    },
    /// Somebody else goes on from there too.
    Fork {
        side: Index,
    },
    /// Two of them are brought together, and both owners go on from that.
    Join {
        one: Index,
        other: Index,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let index = any::<Index>;
    let act = prop_oneof![
        6 => (index(), index(), -50..50i64).prop_map(|(side, kind, second)| Act::Step { side, kind, second }),
        2 => (index(), index(), -50..50i64).prop_map(|(side, owner, second)| Act::Claim { side, owner, second }),
        2 => index().prop_map(|side| Act::Fork { side }),
        1 => (index(), index()).prop_map(|(one, other)| Act::Join { one, other }),
    ];
    proptest::collection::vec(act, 3..25)
}

/// The logs of one session in several clones, after all that happened.
fn logs(repo: &Repo, id: &str, acts: &[Act]) -> Vec<Session> {
    let store = Store::new(repo);
    let root = create(repo, &crate::logs::id(id), "first");
    let mut sides = vec![root.clone(), root];
    for (at, act) in acts.iter().enumerate() {
        let nonce = format!("{at}");
        match act {
            Act::Step { side, kind, second } => {
                let place = side.index(sides.len());
                let from = kind.index(KINDS.len());
                let kinds = KINDS.iter().cycle().skip(from).take(KINDS.len());
                let made = kinds
                    .filter_map(|kind| step(repo, &sides[place], *kind, *second, &nonce))
                    .next();
                sides[place] = made.unwrap();
            }
            Act::Claim { side, owner, second } => {
                let place = side.index(sides.len());
                let owner = ["here", "there", "elsewhere"][owner.index(3)];
                if let Some(claimed) = claim(repo, &sides[place], owner, *second, &nonce) {
                    sides[place] = claimed;
                }
            }
            Act::Fork { side } if sides.len() < 5 => sides.push(sides[side.index(sides.len())].clone()),
            Act::Fork { .. } => {}
            Act::Join { one, other } => {
                let (one, other) = (one.index(sides.len()), other.index(sides.len()));
                let joined = join(&store, &[&sides[one], &sides[other]], None);
                (sides[one], sides[other]) = (joined.clone(), joined);
            }
        }
    }
    sides
}

fn join(store: &Store, sides: &[&Session], home: Option<&Session>) -> Session {
    let sides: Vec<Session> = sides.iter().map(|side| (*side).clone()).collect();
    store.join(&sides, home).unwrap().unwrap().session().clone()
}

/// Everything that is reachable from a commit, along all parents.
fn ancestors(repo: &Repo, tip: ObjectId) -> BTreeSet<ObjectId> {
    let mut found = BTreeSet::new();
    let mut next = vec![tip];
    while let Some(commit) = next.pop() {
        if found.insert(commit) {
            next.extend(objects::parents(repo, commit).unwrap());
        }
    }
    found
}

/// The sides that no other one has.
fn apart<'s>(repo: &Repo, sides: &'s [Session]) -> Vec<&'s Session> {
    let mut apart: Vec<&Session> = Vec::new();
    for side in sides {
        let is_new = apart.iter().all(|known| known.tip != side.tip);
        let has = |other: &Session| other.tip != side.tip && ancestors(repo, other.tip).contains(&side.tip);
        if is_new && !sides.iter().any(has) {
            apart.push(side);
        }
    }
    apart
}

/// Runs a property over the logs of random histories, all in one repository.
fn histories(property: impl Fn(&Repo, &[Session], &[Index]) -> Result<(), TestCaseError>) {
    let sandbox = Sandbox::new(Format::PLAIN);
    sandbox.git(["config", "session.fsync", "false"]);
    let repo = sandbox.repo();
    let number = Cell::new(0);
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let picks = proptest::collection::vec(any::<Index>(), 8);
    let ran = TestRunner::new(config).run(&(acts(), picks), |(acts, picks)| {
        number.set(number.get() + 1);
        let sides = logs(&repo, &format!("history-{}", number.get()), &acts);
        property(&repo, &sides, &picks)
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
    sandbox.assert_sound();
}

/// The same in another order.
fn shuffled<'s>(sides: &[&'s Session], picks: &[Index]) -> Vec<&'s Session> {
    let mut left = sides.to_vec();
    let mut picks = picks.iter().cycle();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(picks.next().unwrap().index(left.len())));
    }
    order
}

/// Brings logs together two at a time, whichever two meet first; home is known to those who have what it has.
fn meet(store: &Store, sides: &[&Session], picks: &[Index], home: Option<&Session>) -> Session {
    let mut left: Vec<Session> = sides.iter().map(|side| (*side).clone()).collect();
    let mut picks = picks.iter().cycle();
    while left.len() > 1 {
        let one = left.remove(picks.next().unwrap().index(left.len()));
        let other = left.remove(picks.next().unwrap().index(left.len()));
        let knows =
            |home: &&Session| store.contains(&one, home).unwrap() || store.contains(&other, home).unwrap();
        left.push(join(store, &[&one, &other], home.filter(knows)));
    }
    left.remove(0)
}

/// What a merge decides, and leaves to no order.
fn resolved(session: &Session) -> (State, String, u64, Option<String>) {
    let summary = &session.event.summary;
    (
        summary.state,
        summary.owner.clone(),
        summary.epoch,
        summary.reason.clone(),
    )
}

#[test]
fn logs_stand_to_each_other_as_their_commits_do() {
    histories(|repo, sides, _| {
        let store = Store::new(repo);
        for one in sides {
            for other in sides {
                let has = ancestors(repo, one.tip).contains(&other.tip);
                let is_in = ancestors(repo, other.tip).contains(&one.tip);
                let expected = match (has, is_in) {
                    (true, true) => Relation::Same,
                    (true, false) => Relation::Ahead,
                    (false, true) => Relation::Behind,
                    (false, false) => Relation::Diverged,
                };
                prop_assert_eq!(store.relation(one, other).unwrap(), expected);
            }
        }
        Ok(())
    });
}

#[test]
fn what_logs_come_to_is_legal_later_than_each_and_has_every_event() {
    histories(|repo, sides, _| {
        let store = Store::new(repo);
        let joined = join(&store, &sides.iter().collect::<Vec<_>>(), None);
        prop_assert!(
            store.check(&joined, None).is_ok(),
            "{:?}",
            store.check(&joined, None)
        );
        let history: Vec<_> = store
            .history(&joined)
            .unwrap()
            .into_iter()
            .map(|(_, event)| event)
            .collect();
        prop_assert_eq!(log::validate(&history), Ok(()));
        let has = ancestors(repo, joined.tip);
        for side in sides {
            prop_assert!(store.check(&joined, Some(side)).is_ok());
            prop_assert!(has.is_superset(&ancestors(repo, side.tip)));
            prop_assert!(joined.tip == side.tip || joined.event.seq > side.event.seq);
            prop_assert!(joined.event.summary.epoch >= side.event.summary.epoch);
        }
        let times: Vec<_> = apart(repo, sides).iter().map(|side| side.event.at).collect();
        prop_assert_eq!(Some(joined.event.at), times.into_iter().max());
        let highest = sides.iter().map(|side| side.event.summary.epoch).max();
        prop_assert_eq!(Some(joined.event.summary.epoch), highest);
        Ok(())
    });
}

#[test]
fn a_merge_is_the_same_from_every_side_and_merging_again_changes_nothing() {
    histories(|repo, sides, picks| {
        let store = Store::new(repo);
        let apart = apart(repo, sides);
        let homes = [None].into_iter().chain(sides.iter().map(Some));
        for home in homes {
            let joined = join(&store, &apart, home);
            let all: Vec<&Session> = sides.iter().collect();
            prop_assert_eq!(join(&store, &shuffled(&all, picks), home).tip, joined.tip);
            for side in sides {
                for pair in [[side, &joined], [&joined, side]] {
                    let pair = pair.map(Session::clone);
                    let again = store.join(&pair, home).unwrap().unwrap();
                    prop_assert!(matches!(again, Joined::Has(_)));
                    prop_assert_eq!(again.session().tip, joined.tip);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn where_home_has_one_of_the_sides_that_one_decides_in_any_order() {
    histories(|repo, sides, picks| {
        let store = Store::new(repo);
        let apart = apart(repo, sides);
        for home in &apart {
            let met = meet(&store, &shuffled(&apart, picks), picks, Some(home));
            let epoch = apart.iter().map(|side| side.event.summary.epoch).max().unwrap();
            let (state, owner, _, reason) = resolved(home);
            prop_assert_eq!(resolved(&met), (state, owner, epoch, reason));
            prop_assert!(store.check(&met, None).is_ok());
            // Whoever is told of all of them at once comes to the same.
            prop_assert_eq!(resolved(&join(&store, &apart, Some(home))), resolved(&met));
        }
        Ok(())
    });
}

#[test]
fn without_a_home_the_side_of_the_highest_epoch_decides_in_any_order() {
    histories(|repo, sides, picks| {
        let store = Store::new(repo);
        let apart = apart(repo, sides);
        let epoch = |side: &&&Session| side.event.summary.epoch;
        let highest = apart.iter().max_by_key(epoch).unwrap();
        if apart.iter().filter(|side| epoch(side) == epoch(&highest)).count() == 1 {
            let met = meet(&store, &shuffled(&apart, picks), picks, None);
            prop_assert_eq!(resolved(&met), resolved(highest));
            prop_assert_eq!(resolved(&join(&store, &apart, None)), resolved(highest));
        }
        Ok(())
    });
}

#[test]
fn without_a_home_and_a_highest_epoch_only_the_one_order_decides_alike() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let noted = |onto: &Session, nonce| step(&repo, onto, Kind::Note, 1, nonce).unwrap();
        let running = noted(&step(&repo, &root, Kind::Start, 2, "a").unwrap(), "b");
        let ended = noted(&step(&repo, &root, Kind::Terminate, 3, "c").unwrap(), "d");
        let third = noted(&root, "e");
        // Of two that are as long the object ids decide, and a merge with a third makes the lesser one longer.
        let mut sides = [&running, &ended];
        sides.sort_by_key(|side| side.tip);
        let [lesser, greater] = sides;
        let at_once = join(&store, &[lesser, greater, &third], None);
        assert_eq!(at_once.event.summary.state, greater.event.summary.state);
        let one_by_one = join(&store, &[&join(&store, &[lesser, &third], None), greater], None);
        assert_eq!(one_by_one.event.summary.state, lesser.event.summary.state);
        // Neither loses anything, and home would decide.
        for session in [&at_once, &one_by_one] {
            assert_eq!(
                store.check(session, None).map_err(|error| error.to_string()),
                Ok(())
            );
            assert!(sides.iter().all(|side| store.contains(session, side).unwrap()));
        }
    });
}

/// A clone of the same kind that has seen the sessions of the first one.
fn second_clone(sandbox: &Sandbox) -> Repo {
    let dir = sandbox.beside("second");
    let init = ["init", "-q", "second"].map(str::to_owned);
    git(
        sandbox.dir.path(),
        init.into_iter().chain(sandbox.format.options()),
    );
    fetch(sandbox, &dir);
    Repo::open(&dir).unwrap()
}

fn fetch(sandbox: &Sandbox, dir: &std::path::Path) {
    let from = sandbox.root();
    let refspec = "refs/sessions/*:refs/session-remotes/first/*";
    git(
        dir,
        [
            "fetch".as_ref(),
            "-q".as_ref(),
            from.as_os_str(),
            refspec.as_ref(),
        ],
    );
}

fn advance(repo: &Repo, session: &Session, expected: Expected) {
    let moved = Store::new(repo)
        .advance_all(&[(session.clone(), expected)])
        .unwrap();
    assert!(matches!(&moved[..], [Ok(Append::Done(_))]), "{moved:?}");
}

#[test]
fn two_clones_make_the_same_commit_and_stock_git_finds_nothing_wrong_with_it() {
    formats(|sandbox| {
        let first = sandbox.repo();
        let root = create(&first, &id("one"), "first");
        let second = second_clone(sandbox);
        // Neither the user's encoding nor identity, time zone or wish to sign is anything to a merge.
        for config in [
            ["i18n.commitEncoding", "latin1"],
            ["commit.gpgSign", "true"],
            ["user.name", "Else"],
        ] {
            sandbox.git(["config"].into_iter().chain(config));
        }
        let first = Repo::open(first.workdir().unwrap()).unwrap();
        let ours = step(&first, &root, Kind::Start, 20, "ours").unwrap();
        advance(&first, &ours, Expected::At(root.tip));
        let theirs = claim(&second, &root, "there", 10, "theirs").unwrap();
        advance(&second, &theirs, Expected::Absent);
        fetch(sandbox, second.workdir().unwrap());
        let back = "refs/sessions/*:refs/session-remotes/second/*";
        let from = second.workdir().unwrap().as_os_str();
        sandbox.git(["fetch".as_ref(), "-q".as_ref(), from, back.as_ref()]);

        let seen = Store::new(&first)
            .load_tracking("second", &id("one"))
            .unwrap()
            .unwrap();
        let here = Store::new(&first)
            .join(&[ours.clone(), seen], None)
            .unwrap()
            .unwrap();
        let seen = Store::new(&second)
            .load_tracking("first", &id("one"))
            .unwrap()
            .unwrap();
        let there = Store::new(&second)
            .join(&[theirs.clone(), seen], None)
            .unwrap()
            .unwrap();
        let tip = here.session().tip;
        assert_eq!(there.session().tip, tip);
        let tree = ours.tree;
        let expected = format!(
            "tree {tree}\nparent {}\nparent {}\n\
             author git-session <session@localhost> 1800000020 +0000\n\
             committer git-session <session@localhost> 1800000020 +0000\n\n\
             session one: merge while pending\n\n\
             Session-Format: 1\nSession-Id: one\nSession-Event: merge\nSession-From: pending\n\
             Session-State: pending\nSession-Seq: 3\nSession-Epoch: 2\nSession-Owner: there\n\
             Session-Host: there's host\nSession-Created: 2027-01-15T08:00:00Z\n\
             Session-Branch: session/one\nSession-Title: A title with a \\u{{202e}} in it\n\
             Session-Label: key=value\nSession-Superseded: {}\nSession-Later: kept",
            theirs.tip, ours.tip, ours.tip
        );
        assert_eq!(sandbox.git(["cat-file", "commit", &tip.to_string()]), expected);

        for (repo, joined, from) in [(&first, here, &ours), (&second, there, &theirs)] {
            let Joined::Made(written) = joined else {
                panic!("nothing was to be merged")
            };
            let moved = Store::new(repo)
                .advance(&written, Expected::At(from.tip))
                .unwrap();
            assert!(matches!(moved, Append::Done(_)));
            assert_eq!(Store::new(repo).load(&id("one")).unwrap().unwrap().tip, tip);
            assert_sound(repo.workdir().unwrap());
            let all = git(repo.workdir().unwrap(), ["rev-list", "refs/sessions/one"]);
            for side in [&ours, &theirs, &root] {
                assert!(all.contains(&side.tip.to_string()));
            }
        }
    });
}

#[test]
fn several_sides_are_merged_one_on_the_other_and_the_log_has_all_at_once() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let sides: Vec<Session> = ["a", "b", "c"]
            .map(|nonce| step(&repo, &root, Kind::Note, 1, nonce).unwrap())
            .into();
        let joined = store.join(&sides, Some(&sides[1])).unwrap().unwrap();
        let Joined::Made(written) = joined else {
            panic!("nothing was to be merged")
        };
        // What no reference has may go in between, and is written again.
        for side in &sides {
            point(&repo, &format!("refs/session-inbox/one/{}", side.tip), side.tip);
        }
        sandbox.git(["gc", "--quiet", "--prune=now"]);
        assert!(
            !run(git_command(&sandbox.root()).args(["cat-file", "-e", &written.session.tip.to_string()]))
                .status
                .success()
        );
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let on_other = store.advance(&written, Expected::At(sides[0].tip)).unwrap();
        assert!(matches!(on_other, Append::Moved(Some(at)) if at == root.tip));
        let moved = store.advance(&written, Expected::At(root.tip)).unwrap();
        assert!(matches!(moved, Append::Done(_)));
        let mainline = sandbox.git(["log", "--first-parent", "--format=%H", "refs/sessions/one"]);
        assert_eq!(mainline.lines().nth(2), Some(sides[1].tip.to_string().as_str()));
        sandbox.assert_sound();
    });
}

#[test]
fn logs_that_began_apart_are_never_merged() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let ours = create(&repo, &id("one"), "first");
        sandbox.git(["update-ref", "-d", "refs/sessions/one"]);
        let theirs = create(&repo, &id("one"), "another first");
        assert_eq!(store.relation(&ours, &theirs).unwrap(), Relation::Diverged);
        for home in [None, Some(&ours)] {
            let refused = store.join(&[ours.clone(), theirs.clone()], home).unwrap_err();
            assert!(matches!(refused, Error::OtherRoot { .. }), "{refused}");
        }
        // Nor is a log accepted that somebody else merged so.
        let (forged, commit) = made(repo.object_hash(), &ours, &theirs).unwrap();
        put(&repo, commit);
        let refused = store.check(&forged, None).unwrap_err();
        assert!(matches!(refused, Error::OtherRoot { .. }), "{refused}");
        let refused = store.check(&forged, Some(&ours)).unwrap_err();
        assert!(matches!(refused, Error::OtherRoot { .. }), "{refused}");
    });
}

fn put(repo: &Repo, object: Object) -> ObjectId {
    objects::write_loose(repo, std::slice::from_ref(&object), Durability::Relaxed).unwrap();
    objects::id_of(repo, &object).unwrap()
}

/// Writes a commit that says what an event says, with parents of one's own choice.
fn forge(repo: &Repo, event: &Event, tree: ObjectId, parents: &[ObjectId]) -> Session {
    let by = signed(9);
    let message = codec::encode(event);
    let tip = put(repo, objects::commit(tree, parents, &by, &by, message.as_bytes()));
    Store::new(repo).at(&event.summary.id, tip).unwrap()
}

#[test]
fn a_log_that_nobody_of_us_wrote_is_refused_and_says_why() {
    formats(|sandbox| {
        let repo = sandbox.repo();
        let store = Store::new(&repo);
        let root = create(&repo, &id("one"), "first");
        let tree = root.tree;
        let why = |session: &Session, known: Option<&Session>| match store.check(session, known) {
            Err(Error::Illegal { why, .. }) => why.to_string(),
            other => panic!("{other:?}"),
        };
        let next = |onto: &Session, kind| {
            let event = onto.event.step(kind, Claim::Forced, stamp(1, "x")).unwrap();
            assert_eq!(event.seq, onto.event.seq + 1);
            event
        };
        let mut leaping = next(&root, Kind::Note);
        leaping.seq += 1;
        let leaping = forge(&repo, &leaping, tree, &[root.tip]);
        assert_eq!(why(&leaping, None), "event 3 follows event 1");
        // Below what is good, and beside it.
        let above = forge(&repo, &next(&leaping, Kind::Start), tree, &[leaping.tip]);
        assert_eq!(why(&above, None), "event 3 follows event 1");
        assert!(
            store.check(&above, Some(&leaping)).is_ok(),
            "what was checked is not checked again"
        );
        let note = forge(&repo, &next(&root, Kind::Note), tree, &[root.tip]);
        let (merge, commit) = made(repo.object_hash(), &note, &leaping).unwrap();
        put(&repo, commit);
        assert_eq!(why(&merge, None), "event 3 follows event 1");
        assert_eq!(why(&merge, Some(&note)), "event 3 follows event 1");
        let start = forge(&repo, &next(&root, Kind::Start), tree, &[root.tip]);

        let two = forge(&repo, &next(&note, Kind::Note), tree, &[note.tip, start.tip]);
        assert_eq!(why(&two, None), "event 3 is a note with 2 parents");
        let one = forge(&repo, &next(&note, Kind::Merge), tree, &[note.tip]);
        assert_eq!(why(&one, None), "event 3 is a merge with 1 parents");
        let orphan = forge(&repo, &root.event, tree, &[root.tip]);
        assert_eq!(why(&orphan, None), "event 1 is a create with 1 parents");
        let rootless = forge(&repo, &next(&root, Kind::Note), tree, &[]);
        assert_eq!(why(&rootless, None), "event 2 is a note with 0 parents");

        // A merge may say nothing but what its parents say.
        let (right, _) = made(repo.object_hash(), &note, &start).unwrap();
        let mut said = right.event.clone();
        said.note = Some("and by the way".to_owned());
        let merge = forge(&repo, &said, tree, &[note.tip, start.tip]);
        assert_eq!(
            why(&merge, None),
            "event 3 is not the merge that its parents come to"
        );
        let merge = forge(&repo, &right.event, tree, &[note.tip, start.tip]);
        assert_eq!(
            why(&merge, None),
            "event 3 is not the merge that its parents come to",
            "in somebody's name"
        );

        // Somebody else's commit below is no event at all.
        let on_code = forge(&repo, &next(&root, Kind::Note), tree, &[sandbox.head()]);
        assert!(matches!(store.check(&on_code, None), Err(Error::NotOurs { .. })));
        let other = create(&repo, &id("two"), "second");
        let mut event = next(&root, Kind::Note);
        event.summary.id = id("two");
        let strange = forge(&repo, &event, tree, &[root.tip]);
        assert_eq!(why(&strange, None), "event 2 is of another session, 'two'");
        assert!(matches!(
            store.at(&id("one"), other.tip),
            Err(Error::NotOurs { .. })
        ));
    });
}
