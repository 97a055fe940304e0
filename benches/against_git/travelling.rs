//! Sessions that are pushed, fetched and claimed, between clones beside one bare repository.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::place::{Place, Timed};
use crate::table::Table;

const MANY: usize = 10_000;
const CLONES: usize = 20;
const NAMES: &str = "'refs/sessions/*:refs/sessions/*'";

/// A repository whose sessions are in a bare one beside it, which others clone.
struct Shared {
    place: Place,
}

impl Shared {
    fn new(sessions: usize) -> Shared {
        let place = Place::small();
        let home = place.beside("home.git");
        place.git(&format!("init -q --bare -b main {home}")).time();
        place.git(&format!("remote add origin {home}")).time();
        place.git("push -q origin main").time();
        if sessions > 0 {
            place.fill(sessions);
            place.git(&format!("push -q origin {NAMES}")).time();
            place
                .git("pack-refs --all")
                .within(&place.root().join("home.git"))
                .time();
        }
        Shared { place }
    }

    /// Makes another clone.
    fn clone(&self, name: &str) -> PathBuf {
        let path = self.place.root().join(name);
        let _ = fs::remove_dir_all(&path);
        let (home, to) = (self.place.beside("home.git"), self.place.beside(name));
        self.place.git(&format!("clone -q {home} {to}")).time();
        path
    }

    fn git(&self, clone: &Path, line: &str) -> Timed {
        self.place.git(line).within(clone)
    }

    fn session(&self, clone: &Path, line: &str) -> Timed {
        self.place.session(line).within(clone)
    }

    /// Adds an event to one of the sessions, other than the last times, and gives its name.
    fn note_next(&self, next: &Cell<usize>) -> String {
        let name = format!("session-{}", next.replace(next.get() + 1));
        self.place.session(&format!("note {name} -m news")).time();
        name
    }

    fn push(&self, name: &str) -> Duration {
        let spec = format!("refs/sessions/{name}:refs/sessions/{name}");
        self.place.git(&format!("push -q origin {spec}")).time()
    }
}

/// Ten thousand sessions on a remote.
pub fn many(table: &mut Table) {
    let names = [
        "first fetch of 10,000 sessions",
        "fetch of nothing new, 10,000 sessions on the remote",
        "fetch of one changed among 10,000",
        "push of one changed among 10,000",
        "list --all of 10,000 fetched sessions",
    ];
    if !names.iter().any(|name| table.wants(name)) {
        return;
    }
    let shared = Shared::new(MANY);
    table.row(
        names[0],
        "git fetch of the same refspec",
        1.3,
        5,
        |_| shared.session(&shared.clone("first"), "fetch -q").time(),
        |_| {
            shared
                .git(&shared.clone("stock"), &format!("fetch -q origin {NAMES}"))
                .time()
        },
    );
    let (ours, stock) = (shared.clone("ours"), shared.clone("theirs"));
    shared.session(&ours, "fetch -q").time();
    shared.git(&stock, &format!("fetch -q origin {NAMES}")).time();
    shared.git(&stock, "pack-refs --all").time();
    table.row(
        names[1],
        "git ls-remote origin 'refs/sessions/*'",
        1.5,
        20,
        |_| shared.session(&ours, "fetch -q").time(),
        |_| shared.git(&stock, "ls-remote -q origin 'refs/sessions/*'").time(),
    );
    let next = Cell::new(1);
    table.row(
        names[2],
        "git fetch of that one ref",
        2.0,
        15,
        |_| {
            shared.push(&shared.note_next(&next));
            shared.session(&ours, "fetch -q").time()
        },
        |_| {
            let name = shared.note_next(&next);
            shared.push(&name);
            let spec = format!("refs/sessions/{name}:refs/sessions/{name}");
            shared.git(&stock, &format!("fetch -q origin {spec}")).time()
        },
    );
    table.row(
        names[3],
        "git push of that one ref",
        2.0,
        15,
        |_| {
            let name = shared.note_next(&next);
            shared.place.session(&format!("push -q origin {name}")).time()
        },
        |_| shared.push(&shared.note_next(&next)),
    );
    table.row(
        names[4],
        "git for-each-ref with the state",
        0.35,
        10,
        |_| shared.session(&ours, "list --all").time(),
        |_| {
            shared
                .git(&ours, &format!("for-each-ref {} refs/sessions", crate::STATES))
                .time()
        },
    );
}

/// Clones that want one session at the same moment.
pub fn claims(table: &mut Table) {
    let name = "20 clones claiming at once, all answered";
    if !table.wants(name) {
        return;
    }
    let shared = Shared::new(0);
    let clones: Vec<PathBuf> = (0..CLONES)
        .map(|number| shared.clone(&format!("clone-{number}")))
        .collect();
    // Each time it is another session, which all know of.
    let offer = |id: &str| {
        shared.place.session(&format!("new --id {id} -- true")).time();
        shared.place.session(&format!("push -q origin {id}")).time();
        for clone in &clones {
            shared.session(clone, "fetch -q").time();
        }
    };
    table.row(
        name,
        "one claim",
        20.0,
        5,
        |run| {
            let id = format!("wanted-{run}");
            offer(&id);
            let start = Instant::now();
            let claims: Vec<_> = clones
                .iter()
                .map(|clone| shared.session(clone, &format!("claim -q {id}")).start())
                .collect();
            let ends = claims.into_iter().map(|mut claim| claim.wait().expect("its end"));
            let winners = ends.filter(|status| status.success()).count();
            let time = start.elapsed();
            assert_eq!(winners, 1, "one and no more wins");
            time
        },
        |run| {
            let id = format!("alone-{run}");
            offer(&id);
            shared
                .session(&clones[run % CLONES], &format!("claim -q {id}"))
                .time()
        },
    );
}
