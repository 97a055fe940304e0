//! Random schedules: clones that act, lose touch and are killed at any moment, and end with one log of each session.
//!
//! A schedule follows from its seed alone, but for what is a race. `SCHEDULE_SEEDS=7,8` runs these instead of a new one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::sandbox::{Format, Refs, Run, Running, Sandbox, Team, processes, until};

/// How many steps a schedule has.
const STEPS: usize = 36;
/// How many sessions there are at most.
const SESSIONS: usize = 3;
/// What a worker does that is to be stopped; its clone is told by its environment.
const WORKER: &str = "echo $$ >> lives.txt; exec sleep 1000";

/// Random numbers (SplitMix64), the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// How sessions are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claims {
    /// With all regard, so that no session ever has two workers.
    Polite,
    /// Running ones too, so that a session has two workers until the first owner hears of it.
    Forced,
    /// Without asking home too, so that a session has two owners until they meet.
    Offline,
}

/// What a clone does.
type Words = Vec<String>;

struct Schedule {
    team: Team,
    dice: Dice,
    claims: Claims,
    ids: Vec<String>,
    /// Every event that some clone's log ended with after a command there had returned.
    told: BTreeMap<String, HashSet<String>>,
    is_cut: bool,
    /// What was done, for who has to understand a failure.
    story: Vec<String>,
}

impl Schedule {
    fn new(seed: u64, claims: Claims) -> Schedule {
        let kind = |refs| Format {
            refs,
            ..Format::PLAIN
        };
        let (files, mut reftable) = (kind(Refs::Files), kind(Refs::Reftable));
        if !reftable.is_there() {
            reftable = files;
        }
        let formats = [files, reftable, files];
        let home = if seed.is_multiple_of(2) { files } else { reftable };
        let team = Team::of(home, &formats);
        // It is taken away by its name: a directory that is moved from under a git at work there keeps its locks.
        let real = team.home().with_extension("real");
        fs::rename(team.home(), &real).unwrap();
        symlink(&real, team.home()).unwrap();
        for clone in team.all() {
            // That what is said is on disk is tested elsewhere.
            clone.config("session.fsync", "false");
        }
        Schedule {
            team,
            dice: Dice(seed),
            claims,
            ids: Vec::new(),
            told: BTreeMap::new(),
            is_cut: false,
            story: Vec::new(),
        }
    }

    fn play(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.cut(false);
        self.settle();
        self.judge();
        eprintln!("{}", self.told_so_far());
        self.end();
    }

    /// Takes the remote away, or gives it back.
    fn cut(&mut self, is_cut: bool) {
        if is_cut != self.is_cut {
            let (here, away) = (self.team.home(), self.team.home().with_extension("away"));
            let (from, to) = if is_cut { (here, away) } else { (away, here) };
            fs::rename(from, to).unwrap();
            self.is_cut = is_cut;
            self.story.push(format!("cut: {is_cut}"));
        }
    }

    fn step(&mut self) {
        if self.ids.is_empty() || (self.ids.len() < SESSIONS && self.dice.below(5) == 0) {
            return self.begin();
        }
        match self.dice.below(18) {
            0 => return self.cut(true),
            1..=3 if self.is_cut => return self.cut(false),
            4 | 5 => {
                let lines = [0, 1, 2].map(|clone| self.line(clone));
                return self.run_at_once(&lines);
            }
            _ => {}
        }
        let clone = self.dice.below(3);
        let line = self.line(clone);
        match self.dice.below(6) {
            0 => self.kill(clone, &line),
            _ => self.run(clone, line),
        }
    }

    /// Something that a clone could do now, most times something that it may.
    fn line(&mut self, clone: usize) -> Words {
        let id = self.dice.pick(&self.ids.clone()).clone();
        let offline = match self.claims {
            Claims::Offline if self.is_cut || self.dice.below(4) == 0 => " --offline",
            _ => "",
        };
        let force = match self.claims {
            Claims::Polite => "",
            Claims::Forced | Claims::Offline => " --force",
        };
        let word = self.dice.below(1000);
        let likely = match self.team[clone].state(&id).as_str() {
            _ if self.dice.below(4) == 0 => None,
            "" => Some("fetch".to_owned()),
            "pending" => Some(format!("start --trust{offline} {id}")),
            "suspended" => Some(format!("resume --trust{offline} {id}")),
            "running" if self.dice.below(2) == 0 => Some(format!("suspend {id}")),
            _ => None,
        };
        let line = match self.dice.below(22) {
            0..=7 if likely.is_some() => likely.unwrap_or_default(),
            0 => format!("start --trust{offline} {id}"),
            1 => format!("resume --trust{offline} {id}"),
            2 => format!("suspend {id}"),
            3 if self.dice.below(3) == 0 => format!("terminate {id}"),
            3..=7 => format!("note {id} -m word-{word}"),
            8 => format!("checkpoint {id}"),
            9 | 10 => "push".to_owned(),
            11 | 12 => "fetch".to_owned(),
            13..=16 => "sync".to_owned(),
            17 => format!("claim{offline} {id}"),
            18 => format!("claim{force}{offline} {id}"),
            19 => format!("push origin {id}"),
            20 => "recover --all".to_owned(),
            _ => format!("fetch --work origin {id}"),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// A new session, in one of the ways that there are.
    fn begin(&mut self) {
        let id = format!("s-{}", self.ids.len());
        self.ids.push(id.clone());
        let clone = self.dice.below(3);
        let line = match self.dice.below(4) {
            0 => format!("run --id {id} -- true"),
            1 => format!("run -d --id {id} -- sh -c"),
            2 => format!("run -d --push --id {id} -- sh -c"),
            _ => format!("new --id {id} -- sh -c"),
        };
        let mut words: Words = line.split(' ').map(str::to_owned).collect();
        if line.ends_with("sh -c") {
            words.push(WORKER.to_owned());
        }
        self.run(clone, words);
        self.run(clone, vec!["push".to_owned()]);
    }

    fn run(&mut self, clone: usize, line: Words) {
        let run = self.team[clone].session_command("").args(&line).run();
        self.judge_step(clone, &line, &run);
    }

    /// Runs a command in each clone.
    fn run_at_once(&mut self, lines: &[Words; 3]) {
        let start = |(clone, line)| self.team[clone].session_command("").args(line).spawn();
        let running: Vec<_> = lines.iter().enumerate().map(start).collect();
        self.story.push("at once:".to_owned());
        let ends: Vec<Run> = running.into_iter().map(Running::end).collect();
        for (clone, run) in ends.iter().enumerate() {
            self.judge_step(clone, &lines[clone], run);
        }
    }

    /// Holds the end of a command, and what goes on by then, against what may be.
    fn judge_step(&mut self, clone: usize, line: &Words, run: &Run) {
        let said = run.stderr.replace('\n', " | ");
        self.story
            .push(format!("{clone}: {}: {}: {said}", line.join(" "), run.code));
        assert!([0, 1, 128].contains(&run.code), "{}\n{run}", self.told_so_far());
        assert!(!run.stderr.contains("panicked"), "{run}");
        self.note(clone);
        if self.claims == Claims::Polite {
            for id in &self.ids {
                let count = self
                    .team
                    .all()
                    .iter()
                    .filter(|clone| workers(clone, id) > 0)
                    .count();
                assert!(count <= 1, "{count} clones run {id}\n{}", self.told_so_far());
            }
        }
    }

    /// Runs a command and kills it, sooner or later.
    fn kill(&mut self, clone: usize, line: &Words) {
        let moment = Duration::from_millis(self.dice.next() % 200);
        let running = self.team[clone].session_command("").args(line).spawn();
        // This waits for nothing: it is the moment that makes the case.
        std::thread::sleep(moment);
        processes::signal(running.pid(), Signal::KILL);
        let code = running.end().code;
        self.story.push(format!(
            "{clone}: {}: killed after {moment:?}: {code}",
            line.join(" ")
        ));
    }

    /// Remembers what this clone has told to be so.
    fn note(&mut self, clone: usize) {
        for (id, tip) in tips(&self.team[clone]) {
            self.told.entry(id).or_default().insert(tip);
        }
    }

    /// Lets all exchange what they have until nothing changes any more.
    fn settle(&mut self) {
        let mut before = Vec::new();
        let mut rounds = 0;
        let (team, told, story) = (&self.team, &mut self.told, &mut self.story);
        until("all clones agree", || {
            for (number, clone) in team.all().iter().enumerate() {
                let run = clone.session("sync");
                story.push(format!(
                    "{number}: sync: {}: {}",
                    run.code,
                    run.stderr.replace('\n', " | ")
                ));
                for (id, tip) in tips(clone) {
                    told.entry(id).or_default().insert(tip);
                }
            }
            rounds += 1;
            assert!(rounds < 20, "they don't agree\n{}", story.join("\n"));
            let now: Vec<_> = team.all().iter().map(tips).collect();
            let agreed = now.iter().all(|tips| *tips == now[0]) && now == before && is_quiet(team);
            before = now;
            agreed
        });
    }

    fn told_so_far(&self) -> String {
        self.story.join("\n")
    }

    /// Holds what is so in the end against what has to be.
    fn judge(&self) {
        let team = &self.team;
        let story = self.told_so_far();
        let home = tips(&team[0]);
        for (id, tip) in &home {
            assert_eq!(team.tip_at_home(id), *tip, "{id}\n{story}");
        }
        for (id, told) in &self.told {
            let tip = home.get(id).unwrap_or_else(|| panic!("{id} is lost\n{story}"));
            let all = team.at_home(&format!("rev-list {tip}"));
            let all: HashSet<&str> = all.lines().collect();
            for event in told {
                assert!(all.contains(event.as_str()), "{event} of {id} is lost\n{story}");
            }
            self.judge_owners(id, tip);
        }
        for (number, clone) in team.all().iter().enumerate() {
            let run = clone.session("verify");
            assert_eq!(run.code, 0, "{number}: {run}\n{story}");
            clone.assert_sound();
            for id in self.told.keys() {
                let owner = owner(clone, id);
                let live = workers(clone, id);
                let most = usize::from(clone.show(id)["here"] == true);
                assert!(
                    live <= most,
                    "{number} has {live} workers of {id}, which is {owner}'s\n{story}"
                );
            }
        }
        team.at_home("fsck --strict --no-dangling --no-progress");
        assert_eq!(team.at_home("for-each-ref refs/session-inbox"), "", "{story}");
    }

    /// No epoch has two owners: in the log as it is, and where every claim was confirmed on all its sides.
    fn judge_owners(&self, id: &str, tip: &str) {
        let format = "%(trailers:key=Session-Epoch,valueonly,separator=) %(trailers:key=Session-Owner,valueonly,separator=) %(trailers:key=Session-Event,valueonly,separator=)";
        let sides = match self.claims {
            Claims::Polite | Claims::Forced => "",
            Claims::Offline => "--first-parent",
        };
        let log = self
            .team
            .at_home(&format!("log {sides} '--format={format}' {tip}"));
        let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            // A merge has the epoch of one side and the owner of the other.
            if words[2] != "merge" {
                owners.entry(words[0]).or_default().insert(words[1]);
            }
        }
        let torn = owners.values().any(|owners| owners.len() > 1);
        assert!(!torn, "{id}: {owners:?}\n{}", self.told_so_far());
    }

    /// Ends what still runs.
    fn end(&self) {
        for id in self.told.keys() {
            for clone in self.team.all() {
                if clone.show(id)["here"] == true && clone.state(id) != "terminated" {
                    clone.session(&format!("terminate -q {id}")).ok();
                }
            }
        }
    }
}

/// Where the logs are here.
fn tips(clone: &Sandbox) -> BTreeMap<String, String> {
    let listed = clone.git("for-each-ref '--format=%(refname:lstrip=2) %(objectname)' refs/sessions");
    let pair = |line: &str| {
        line.split_once(' ')
            .map(|(id, tip)| (id.to_owned(), tip.to_owned()))
    };
    listed.lines().filter_map(pair).collect()
}

fn owner(clone: &Sandbox, id: &str) -> String {
    clone.trailer(id, "Owner")
}

/// How many processes of a session's worker there are in a clone.
fn workers(clone: &Sandbox, id: &str) -> usize {
    let found = processes::with_variable("GIT_SESSION_STATE_DIR", &clone.run_dir(id).join("state"));
    found.len()
}

/// Whether nothing is going on but workers that wait, those who watch them, and those who send what they do.
fn is_quiet(team: &Team) -> bool {
    team.all().iter().all(|clone| {
        let all = processes::with_variable("TEST_SANDBOX", clone.root());
        let count = |what: &str| all.iter().filter(|(_, line)| line.contains(what)).count();
        let (waiting, watching, sending) = (count("sleep 1000"), count(" supervise "), count(" relay "));
        waiting == watching && waiting + watching + sending == all.len()
    })
}

fn fixed(seed: u64, claims: Claims) {
    eprintln!("seed {seed}, {claims:?}");
    Schedule::new(seed, claims).play();
}

#[test]
fn clones_that_regard_each_other_agree() {
    fixed(1, Claims::Polite);
}

#[test]
fn clones_that_take_by_force_agree() {
    fixed(2, Claims::Forced);
}

#[test]
fn clones_that_take_without_asking_agree() {
    fixed(3, Claims::Offline);
}

#[test]
fn clones_agree_whatever_they_do() {
    let given = std::env::var("SCHEDULE_SEEDS").unwrap_or_default();
    let mut seeds: Vec<u64> = given.split(',').filter_map(|seed| seed.parse().ok()).collect();
    if seeds.is_empty() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        seeds.push(now.as_nanos() as u64);
    }
    for seed in seeds {
        fixed(
            seed,
            [Claims::Polite, Claims::Forced, Claims::Offline][(seed % 3) as usize],
        );
    }
}
