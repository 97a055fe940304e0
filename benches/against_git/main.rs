//! Measures git-session against stock git, in turn, in the same run:
//!
//! ```sh
//! cargo bench --bench against_git
//! ```
//!
//! A word after `--` picks the rows whose name holds it. Each row gives both medians, their ratio and what it may
//! be at most; the exit code is 1 if one is more. Sizes and wake-ups are the supervisor's, over ten seconds. The
//! repositories lie in `/tmp`, or where `TMPDIR` says.

mod events;
mod place;
mod resting;
mod table;
mod travelling;

use std::process::ExitCode;

use place::Place;
use table::Table;

/// What a script would have `git for-each-ref` print of each session.
const STATES: &str = "--format='%(refname:lstrip=2) \
                      %(contents:trailers:key=Session-State,valueonly,separator=)'";

fn main() -> ExitCode {
    let wanted = std::env::args()
        .skip(1)
        .find(|arg| !arg.starts_with('-'))
        .unwrap_or_default();
    let mut table = Table::new(wanted);
    starting(&mut table);
    listing(&mut table, 10, 1.3);
    listing(&mut table, 1000, 0.8);
    writing(&mut table);
    whole_life(&mut table);
    in_a_large_repository(&mut table);
    resting::measure(&mut table);
    travelling::many(&mut table);
    travelling::claims(&mut table);
    place::remove();
    table.finish()
}

fn starting(table: &mut Table) {
    let place = Place::small();
    table.row(
        "git-session -h",
        "git version",
        1.3,
        60,
        |_| place.session("-h").time(),
        |_| place.git("version").time(),
    );
}

fn listing(table: &mut Table, sessions: usize, limit: f64) {
    let name = format!("list with {sessions} sessions");
    if !table.wants(&name) {
        return;
    }
    let place = Place::small();
    place.fill(sessions);
    let stock = format!("for-each-ref {STATES} refs/sessions");
    table.row(
        &name,
        "git for-each-ref",
        limit,
        60,
        |_| place.session("list").time(),
        |_| place.git(&stock).time(),
    );
}

/// What a script would do to record an event: four processes.
fn four_spawns(place: &Place) -> std::time::Duration {
    let blob = place
        .git("hash-object -w --stdin")
        .input(b"{\"command\":[\"true\"]}\n");
    let (blob, first) = blob.timed_output();
    let tree = place
        .git("mktree")
        .input(format!("100644 blob {blob}\tsession.json\n").as_bytes());
    let (tree, second) = tree.timed_output();
    let commit = place
        .git(&format!("commit-tree {tree} -p HEAD"))
        .input(b"session x: note\n\nSession-Format: 1\n");
    let (commit, third) = commit.timed_output();
    let fourth = place.git(&format!("update-ref refs/stock/x {commit}")).time();
    first + second + third + fourth
}

fn writing(table: &mut Table) {
    let place = Place::small();
    place.session("new --id noted -- true").time();
    let four = "hash-object, mktree, commit-tree, update-ref";
    let relaxed = events::Log::open(&place, "relaxed", false);
    // Whichever rows are wanted, they find a repository that has been in use, with all the directories of its objects.
    for _ in 0..100 {
        relaxed.append();
    }
    table.row(
        "an event in process, session.fsync=false",
        four,
        0.03,
        60,
        |_| relaxed.append(),
        |_| four_spawns(&place),
    );
    let durable = events::Log::open(&place, "durable", true);
    table.row(
        "an event in process, durable",
        four,
        0.25,
        60,
        |_| durable.append(),
        |_| four_spawns(&place),
    );
    table.row(
        "note on a pending session, durable",
        four,
        0.5,
        40,
        |run| place.session(&format!("note noted -m {run}")).time(),
        |_| four_spawns(&place),
    );
}

fn whole_life(table: &mut Table) {
    let place = Place::small();
    table.row(
        "run -- true, end to end",
        "git worktree add + remove",
        2.5,
        20,
        |run| place.session(&format!("run --id life-{run} -- true")).time(),
        |run| {
            let path = place.beside(&format!("stock-{run}"));
            let added = place
                .git(&format!("worktree add -q --no-track -b stock-{run} {path}"))
                .time();
            added + place.git(&format!("worktree remove {path}")).time()
        },
    );
}

fn in_a_large_repository(table: &mut Table) {
    let names = [
        "run -d -- true, 50,000 files",
        "checkpoint of 20 modified and 20 untracked, 50,000 files",
        "terminate with such a snapshot, 50,000 files",
    ];
    if !names.iter().any(|name| table.wants(name)) {
        return;
    }
    let place = Place::large(50_000);
    table.row(
        names[0],
        "git worktree add --no-track",
        1.1,
        5,
        |run| {
            let time = place.session(&format!("run -d --id brief-{run} -- true")).time();
            place.session(&format!("wait brief-{run}")).time();
            place.session("prune").time();
            place.remove_all(&format!("repo.sessions/brief-{run}"));
            time
        },
        |run| {
            let path = place.beside(&format!("stock-{run}"));
            let time = place
                .git(&format!("worktree add -q --no-track -b stock-{run} {path}"))
                .time();
            place.git(&format!("worktree remove --force {path}")).time();
            time
        },
    );
    if table.wants(names[1]) {
        place.session("run -d --id worked -- sleep 100000").time();
        let tree = place.worktree("worked");
        table.row(
            names[1],
            "copied index, git add -A, git write-tree",
            1.0,
            7,
            |run| {
                place.edit(&tree, &format!("ours {run}"));
                place.session("checkpoint worked").time()
            },
            |run| {
                place.edit(&tree, &format!("stock {run}"));
                place.stock_snapshot(&tree)
            },
        );
        place.session("terminate --kill worked").time();
    }
    table.row(
        names[2],
        "git worktree remove --force",
        0.5,
        3,
        |run| {
            place
                .session(&format!("run -d --id ended-{run} -- sleep 100000"))
                .time();
            place.edit(&place.worktree(&format!("ended-{run}")), &format!("ended {run}"));
            let time = place.session(&format!("terminate ended-{run}")).time();
            place.session("prune").time();
            place.remove_all(&format!("repo.sessions/ended-{run}"));
            time
        },
        |run| {
            let path = place.beside(&format!("removed-{run}"));
            place
                .git(&format!("worktree add -q --no-track -b removed-{run} {path}"))
                .time();
            place.edit(
                &place.root().join(format!("removed-{run}")),
                &format!("removed {run}"),
            );
            place.git(&format!("worktree remove --force {path}")).time()
        },
    );
}
