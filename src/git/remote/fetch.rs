//! Fetches: references that are here afterwards under another name, each by itself; a bad one hides no good one.

use std::collections::{HashMap, HashSet};
use std::process::Output;

use gix::ObjectId;

use super::{Remote, RemoteFault, fault};
use crate::git::command::Cmd;
use crate::git::refs::{Change, Expected, Outcome, Target};
use crate::git::{Durability, Error, Result, objects};

/// How many references git itself is made to update at most, in a second try: it compares each with each.
const FEW: usize = 64;
/// How many failures are borne before anything has come, and how many more for each reference that has.
const FAILURES: usize = 40;
const FAILURES_EACH: usize = 8;

/// A reference of the remote, and the one here that is to follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its full name there.
    pub from: String,
    /// The full name here; it moves by fast-forward only.
    pub to: String,
}

/// What became of a reference that was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The one here is where the remote's is.
    Done,
    /// The remote's was rewound or replaced; the one here stays.
    Rewound,
    /// It could not be had, and why.
    Refused(String),
}

/// One that is still to come.
#[derive(Debug, Clone, Copy)]
struct Job<'w> {
    wanted: &'w Wanted,
    /// Where the remote's is.
    there: ObjectId,
    /// Where the one here was before.
    here: Option<ObjectId>,
}

impl Job<'_> {
    fn change(&self) -> Change {
        Change {
            name: self.wanted.to.clone(),
            new: Some(self.there),
            expected: self.here.map_or(Expected::Absent, Expected::At),
        }
    }

    fn change_back(&self) -> Change {
        Change {
            name: self.wanted.to.clone(),
            new: self.here,
            expected: Expected::At(self.there),
        }
    }
}

impl Remote<'_> {
    /// Fetches references, and gives what became of each, by its name there and in their order.
    ///
    /// # Errors
    /// [`Error::Remote`] if the remote can't be talked to; some may have come by then.
    pub fn fetch(&self, wanted: &[Wanted]) -> Result<Vec<(String, Fetched)>> {
        self.fetch_with(wanted, None)
    }

    /// The same, and in the same connection, if there is one and the remote has it, what another reference of its leads
    /// to; nothing says whether that came.
    ///
    /// # Errors
    /// As [`Remote::fetch`].
    pub fn fetch_with(&self, wanted: &[Wanted], mut along: Option<&str>) -> Result<Vec<(String, Fetched)>> {
        let mut settled: HashMap<&str, Fetched> = HashMap::with_capacity(wanted.len());
        let jobs = self.jobs(wanted, &mut settled)?;
        let mut batches = vec![jobs];
        let (mut failures, mut arrived, mut first) = (0, 0, true);
        while let Some(batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let before = settled.len();
            // A git that is killed with us leaves the lock of what it is updating.
            let by_us = (first || batch.len() > FEW) && !self.is_collecting();
            let extra = along.take();
            let said = match by_us {
                true => self.attempt_objects(&batch, extra, &mut settled)?,
                false => self.attempt(&batch, extra, &mut settled)?,
            };
            arrived += batch.iter().filter(|job| is_done(&settled, job)).count();
            let left: Vec<Job<'_>> = batch
                .iter()
                .filter(|job| !settled.contains_key(job.wanted.from.as_str()))
                .copied()
                .collect();
            if left.is_empty() {
                continue;
            }
            // That it is silent or closed to us has come back as an error; so it is the references.
            self.still_there(&left[0])?;
            if extra.is_some() || (first && by_us && batch.len() <= FEW) {
                first = false;
                batches.push(left);
                continue;
            }
            first = false;
            failures += 1;
            if batch.len() == 1 || failures > FAILURES + FAILURES_EACH * arrived {
                for job in left {
                    settled.insert(&job.wanted.from, Fetched::Refused(said.clone()));
                }
            } else if settled.len() > before {
                batches.push(left);
            } else {
                let (one, two) = left.split_at(left.len() / 2);
                batches.extend([one.to_vec(), two.to_vec()]);
            }
        }
        let known = |wanted: &Wanted| Some((wanted.from.clone(), settled.get(wanted.from.as_str())?.clone()));
        Ok(wanted.iter().filter_map(known).collect())
    }

    /// Fetches what references of the remote, or object ids, lead to, and writes no reference.
    ///
    /// # Errors
    /// [`Error::Remote`], also when one of them alone can't be had.
    pub fn fetch_objects(&self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let output = self.run(self.fetching(names.iter().map(String::as_str))?)?;
        match output.status.success() {
            true => Ok(()),
            false => {
                self.failed(&output)?;
                Err(self.broken(&output))
            }
        }
    }

    /// Sorts out what needs no fetch.
    fn jobs<'w>(
        &self,
        wanted: &'w [Wanted],
        settled: &mut HashMap<&'w str, Fetched>,
    ) -> Result<Vec<Job<'w>>> {
        let known: HashMap<String, ObjectId> = self.seen.borrow().iter().cloned().collect();
        let listed = if wanted.iter().all(|wanted| known.contains_key(&wanted.from)) {
            known
        } else {
            let names: Vec<&str> = wanted.iter().map(|wanted| wanted.from.as_str()).collect();
            self.list(&names)?.into_iter().collect()
        };
        let heres = self.here(wanted)?;
        let mut jobs = Vec::new();
        for wanted in wanted {
            let here = heres.get(&wanted.to).copied();
            match listed.get(&wanted.from) {
                None => {
                    settled.insert(&wanted.from, Fetched::Refused(GONE.to_owned()));
                }
                Some(there) if here == Some(*there) => {
                    settled.insert(&wanted.from, Fetched::Done);
                }
                Some(there) => jobs.push(Job {
                    wanted,
                    there: *there,
                    here,
                }),
            }
        }
        Ok(jobs)
    }

    /// Whether garbage is collected here, which could take what no reference has yet.
    fn is_collecting(&self) -> bool {
        self.repo.common_dir().join("gc.pid").exists()
    }

    /// Lets git fetch objects alone, and updates the references together; gives what it said, should some be left.
    ///
    /// Between the two no reference has what came, and nothing keeps it; what a collection of garbage took away
    /// meanwhile, or still may take away, is left.
    fn attempt_objects<'w>(
        &self,
        batch: &[Job<'w>],
        extra: Option<&str>,
        settled: &mut HashMap<&'w str, Fetched>,
    ) -> Result<String> {
        let tips: HashSet<ObjectId> = batch.iter().map(|job| job.there).collect();
        let tips: Vec<String> = tips
            .iter()
            .map(ObjectId::to_string)
            .chain(extra.map(str::to_owned))
            .collect();
        let output = self.run(self.fetching(tips.iter().map(String::as_str))?)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let shallow: HashSet<&str> = text.lines().filter_map(shallow_reject).collect();
        let unknown: HashSet<&str> = text.lines().filter_map(not_ours).collect();
        let mut open = Vec::with_capacity(batch.len());
        for job in batch {
            let there = job.there.to_string();
            let fetched = if shallow.contains(there.as_str()) {
                Fetched::Refused(SHALLOW.to_owned())
            } else if unknown.contains(there.as_str()) && batch.len() > FEW {
                Fetched::Refused(GONE.to_owned())
            } else if !output.status.success() || !objects::exists(self.repo, job.there) {
                continue;
            } else if self.is_rewound(job) {
                Fetched::Rewound
            } else {
                open.push(job);
                continue;
            };
            settled.insert(&job.wanted.from, fetched);
        }
        let changes: Vec<Change> = open.iter().map(|job| job.change()).collect();
        let outcomes = self.repo.refs().update_all(&changes, self.durability)?;
        let taken = self.is_collecting() || open.iter().any(|job| !objects::exists(self.repo, job.there));
        let mut back = Vec::new();
        for (job, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Done) if taken => back.push(job.change_back()),
                Ok(Outcome::Done) => {
                    settled.insert(&job.wanted.from, Fetched::Done);
                }
                // Another fetch got in first, or a collection took what had just come; git sorts it out.
                Ok(Outcome::Moved(_)) | Err(Error::NoSuchObject { .. }) => {}
                // What is wrong with this repository is wrong with none of theirs.
                Err(error @ Error::Io { .. }) => return Err(Error::Unwritable(error.to_string())),
                Err(error) => {
                    settled.insert(&job.wanted.from, Fetched::Refused(error.to_string()));
                }
            }
        }
        self.repo.refs().update_all(&back, self.durability)?;
        self.failed(&output)
    }

    /// What git said; an error where that is about the remote as a whole.
    fn failed(&self, output: &Output) -> Result<String> {
        let said = fault::line(&output.stderr);
        if !output.status.success() && fault::is_ours(&said, self.repo.common_dir()) {
            return Err(Error::Unwritable(said));
        }
        match fault::kind(&said) {
            kind @ (RemoteFault::Denied | RemoteFault::Hash) if !output.status.success() => {
                Err(self.fault(kind, said))
            }
            _ => Ok(said),
        }
    }

    /// Where the references here are that are to follow others.
    fn here<'w>(&self, wanted: impl IntoIterator<Item = &'w Wanted>) -> Result<HashMap<String, ObjectId>> {
        let names: Vec<&str> = wanted.into_iter().map(|wanted| wanted.to.as_str()).collect();
        let Some(first) = names.first() else {
            return Ok(HashMap::new());
        };
        let refs = self.repo.refs();
        if names.len() == 1 {
            return Ok(match refs.get(first)? {
                Some(Target::Object(oid)) => HashMap::from([((*first).to_owned(), oid)]),
                _ => HashMap::new(),
            });
        }
        // One look at all that begins as they do is cheaper than one at each.
        let directories = first.rmatch_indices('/').map(|(at, _)| &first[..=at]);
        let is_common = |dir: &&str| names.iter().all(|name| name.starts_with(*dir));
        let found = refs
            .list(directories.into_iter().find(is_common).unwrap_or("refs/"))?
            .into_iter();
        Ok(found
            .filter_map(|reference| match reference.target {
                Target::Object(oid) => Some((reference.name.to_string(), oid)),
                _ => None,
            })
            .collect())
    }

    /// Lets git fetch and update some; gives what it said, should some be left.
    fn attempt<'w>(
        &self,
        batch: &[Job<'w>],
        extra: Option<&str>,
        settled: &mut HashMap<&'w str, Fetched>,
    ) -> Result<String> {
        let specs: Vec<String> = batch
            .iter()
            .map(|job| format!("{}:{}", job.wanted.from, job.wanted.to))
            .chain(extra.map(str::to_owned))
            .collect();
        let output = self.run(self.fetching(specs.iter().map(String::as_str))?)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let shallow: HashSet<&str> = text.lines().filter_map(shallow_reject).collect();
        let gone: HashSet<&str> = text.lines().filter_map(not_there).collect();
        let nows = self.here(batch.iter().map(|job| job.wanted))?;
        for job in batch {
            let Wanted { from, to } = job.wanted;
            let now = nows.get(to).copied();
            let fetched = if now == Some(job.there) || now.is_some() && now != job.here {
                // The remote may have gone on since it was listed.
                Fetched::Done
            } else if shallow.contains(to.as_str()) {
                Fetched::Refused(SHALLOW.to_owned())
            } else if gone.contains(from.as_str()) {
                Fetched::Refused(GONE.to_owned())
            } else if self.is_rewound(job) {
                Fetched::Rewound
            } else {
                continue;
            };
            settled.insert(from, fetched);
        }
        self.failed(&output)
    }

    /// Whether the remote's is here, and no descendant of the one here.
    fn is_rewound(&self, job: &Job<'_>) -> bool {
        let Some(here) = job.here else { return false };
        objects::exists(self.repo, job.there)
            && objects::is_ancestor(self.repo, here, job.there).is_ok_and(|ancestor| !ancestor)
    }

    /// Asks for one name, so that a remote that is gone is told from a reference that can't be had.
    fn still_there(&self, job: &Job<'_>) -> Result<()> {
        self.list(&[&job.wanted.from]).map(|_| ())
    }

    /// A fetch of exactly these, with nothing that the configuration would add.
    fn fetching<'s>(&self, specs: impl Iterator<Item = &'s str>) -> Result<Cmd> {
        self.repo.refs().clear_abandoned();
        let follow = format!("remote.{}.followRemoteHEAD", self.name);
        let fsync = match self.durability {
            Durability::Durable => "loose-object,pack,pack-metadata,reference",
            Durability::Relaxed => "none",
        };
        let mut config = vec![("fetch.output", "full"), ("core.fsync", fsync)];
        // Such a sign can't be said in a key here.
        if self.configured && !self.name.contains('=') {
            config.push((&follow, "never"));
        }
        let git = self.git(&config)?.args([
            "fetch",
            "--stdin",
            "--progress",
            "--no-tags",
            "--no-prune",
            "--no-prune-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-write-commit-graph",
            "--no-recurse-submodules",
            "--no-filter",
            "--no-all",
            "--refmap=",
            "--end-of-options",
        ]);
        let mut input = String::new();
        for spec in specs {
            input.push_str(spec);
            input.push('\n');
        }
        Ok(git.arg(&self.address).input(input))
    }
}

/// Why a reference is not fetched that was listed before, or that nobody has.
const GONE: &str = "the remote doesn't have it";
/// Why a reference is not fetched whose history the remote itself doesn't have whole.
const SHALLOW: &str = "the remote's own history of it is shallow";

fn is_done(settled: &HashMap<&str, Fetched>, job: &Job<'_>) -> bool {
    settled.get(job.wanted.from.as_str()) == Some(&Fetched::Done)
}

/// The reference, or object id, that git leaves out since it would make this repository shallow.
fn shallow_reject(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("warning: rejected ")?;
    rest.strip_suffix(" because shallow roots are not allowed to be updated")
}

/// The object id that the remote doesn't give away, or hasn't any more.
fn not_ours(line: &str) -> Option<&str> {
    let line = line.strip_prefix("fatal: ").unwrap_or(line);
    let line = line.strip_prefix("remote error: ").unwrap_or(line);
    let id = line
        .strip_prefix("upload-pack: not our ref ")
        .or_else(|| line.strip_prefix("Server does not allow request for unadvertised object "))?;
    id.split_whitespace().next()
}

/// The reference that git found missing on the remote.
fn not_there(line: &str) -> Option<&str> {
    line.strip_prefix("fatal: couldn't find remote ref ")
}
