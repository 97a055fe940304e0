//! Pushes: object ids to references, each with what it may replace, and what became of each.

use std::collections::HashMap;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::{Remote, RemoteFault, fault, url};
use crate::git::{Error, Result};

/// How many bytes of updates one child is given, which fits the argument limit of every system.
const CHUNK: usize = 200_000;
/// How often an update is tried that lost against something else than another update.
const TRIES: usize = 4;

/// How many pushes may be refused as a whole, and how many more for each that is not.
const FAILURES: usize = 16;
const FAILURES_EACH: usize = 4;
/// Reasons of remotes that are about all that a push brings, or about its objects.
const OF_ALL: [&str; 2] = ["pre-receive hook declined", "unpacker error"];

/// One reference on the remote that is to be moved, made or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its full name there.
    pub name: String,
    /// Where it is to be; none deletes it.
    pub new: Option<ObjectId>,
    /// What it may be before.
    pub lease: Lease,
}

/// What a reference on the remote may be, to be updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// An ancestor of the new one, or absent; no lease for a deletion.
    FastForward,
    Absent,
    /// Exactly this.
    At(ObjectId),
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    Done,
    /// It was there already, by whomever.
    UpToDate,
    /// It wasn't as the lease says, or would have been no fast-forward.
    Moved,
    /// The remote's reason, in one line that is not escaped.
    Refused(String),
}

impl Remote<'_> {
    /// Pushes updates and gives what became of each, in their order.
    ///
    /// # Errors
    /// [`Error::Remote`] when the fate of one of them is not known: those may be done or not. [`Error::Malformed`] for
    /// a deletion that doesn't say of what.
    pub fn push(&self, updates: &[Update]) -> Result<Vec<(String, Pushed)>> {
        if let Some(update) = updates
            .iter()
            .find(|update| update.new.is_none() && !matches!(update.lease, Lease::At(_)))
        {
            let name = &update.name;
            return Err(Error::Malformed(format!(
                "a deletion of '{name}' needs an exact lease"
            )));
        }
        let mut results: HashMap<&str, Pushed> = HashMap::with_capacity(updates.len());
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for update in updates {
            let size = 2 * update.name.len() + 256;
            if bytes + size > CHUNK && !chunk.is_empty() {
                self.push_chunk(&chunk, &mut results)?;
                chunk.clear();
                bytes = 0;
            }
            bytes += size;
            chunk.push(update);
        }
        self.push_chunk(&chunk, &mut results)?;
        let known = |update: &Update| Some((update.name.clone(), results.get(update.name.as_str())?.clone()));
        Ok(updates.iter().filter_map(known).collect())
    }

    /// Pushes what one child can be given. What is refused as a whole is tried in parts, so that what can't be sent, or
    /// is not taken, keeps nothing else here.
    fn push_chunk<'u>(&self, updates: &[&'u Update], results: &mut HashMap<&'u str, Pushed>) -> Result<()> {
        let mut batches = vec![updates.to_vec()];
        let mut borne = FAILURES;
        while let Some(batch) = batches.pop() {
            let refused = match self.push_batch(&batch, results) {
                Ok(()) => batch
                    .iter()
                    .all(|update| is_of_all(results.get(update.name.as_str()))),
                // What is pushed alone, and may be done or not, is for the caller to look at.
                Err(error) if updates.len() == 1 => return Err(error),
                Err(error) => self.is_about_some(error, &batch, results)?,
            };
            if !refused {
                borne += FAILURES_EACH;
            } else if batch.len() > 1 && borne > 0 {
                borne -= 1;
                let (one, two) = batch.split_at(batch.len() / 2);
                batches.extend([two.to_vec(), one.to_vec()]);
            }
        }
        Ok(())
    }

    /// Whether a push may have failed by what was sent: then the remote is there, and nothing is lost by sending it
    /// again. Otherwise that is the error.
    fn is_about_some<'u>(
        &self,
        error: Error,
        batch: &[&'u Update],
        results: &mut HashMap<&'u str, Pushed>,
    ) -> Result<bool> {
        let is_lost = |why| matches!(why, RemoteFault::Unreachable | RemoteFault::Other);
        let all_follow = batch.iter().all(|update| update.lease == Lease::FastForward);
        let said = match &error {
            Error::Remote { why, said, .. } if is_lost(*why) && all_follow => said.clone(),
            _ => return Err(error),
        };
        let Ok(now) = self.list(&[&batch[0].name]) else {
            return Err(error);
        };
        if let [update] = batch {
            let is_done = now
                .iter()
                .any(|(name, at)| *name == update.name && Some(*at) == update.new);
            let pushed = match is_done {
                true => Pushed::Done,
                false => Pushed::Refused(said),
            };
            results.insert(&update.name, pushed);
        }
        Ok(true)
    }

    /// Pushes in one go; what the remote had no lock for is tried again.
    fn push_batch<'u>(&self, updates: &[&'u Update], results: &mut HashMap<&'u str, Pushed>) -> Result<()> {
        let mut open: Vec<&Update> = updates.to_vec();
        for attempt in 1.. {
            if open.is_empty() {
                break;
            }
            let mut statuses = self.push_once(&open)?;
            let mut contended = Vec::new();
            for update in open {
                match statuses.remove(update.name.as_str()) {
                    Some(Status::Told(pushed)) => {
                        results.insert(&update.name, pushed);
                    }
                    Some(Status::Contended(why)) => contended.push((update, why)),
                    // Looked at by `push_once`.
                    None => {}
                }
            }
            open = self.settle(contended, attempt >= TRIES, results)?;
        }
        Ok(())
    }

    /// Finds out what is true of updates that came too late or found a lock; gives those that are worth another try.
    fn settle<'u>(
        &self,
        contended: Vec<(&'u Update, String)>,
        last: bool,
        results: &mut HashMap<&'u str, Pushed>,
    ) -> Result<Vec<&'u Update>> {
        if contended.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = contended.iter().map(|(update, _)| update.name.as_str()).collect();
        let now: HashMap<String, ObjectId> = self.list(&names)?.into_iter().collect();
        let mut again = Vec::new();
        for (update, why) in contended {
            let at = now.get(&update.name).copied();
            let unmoved = match update.lease {
                Lease::FastForward => true,
                Lease::Absent => at.is_none(),
                Lease::At(oid) => at == Some(oid),
            };
            let pushed = if !unmoved {
                Pushed::Moved
            } else if last {
                Pushed::Refused(why)
            } else {
                again.push(update);
                continue;
            };
            results.insert(&update.name, pushed);
        }
        Ok(again)
    }

    fn push_once(&self, updates: &[&Update]) -> Result<HashMap<String, Status>> {
        let mirror = format!("remote.{}.mirror", self.name);
        let mut config = vec![("push.pushOption", ""), ("push.negotiate", "false")];
        // A mirror takes no explicit references; a name with such a sign can't be said here.
        if self.configured && !self.name.contains('=') {
            config.push((&mirror, "false"));
        }
        let mut git = self.git(&config)?.args([
            "push",
            "--porcelain",
            "--progress",
            "--no-verify",
            "--no-signed",
            "--no-follow-tags",
            "--no-atomic",
            "--no-force-if-includes",
            "--recurse-submodules=no",
        ]);
        for update in updates {
            git = match update.lease {
                Lease::FastForward => git,
                Lease::Absent => git.arg(format!("--force-with-lease={}:", update.name)),
                Lease::At(oid) => git.arg(format!("--force-with-lease={}:{oid}", update.name)),
            };
        }
        git = git.arg("--end-of-options").arg(&self.address);
        for update in updates {
            let new = update.new.map(|oid| oid.to_string()).unwrap_or_default();
            git = git.arg(format!("{new}:{}", update.name));
        }
        let output = self.run(git)?;
        let hook = match remote_speech(&output.stderr) {
            said if said.is_empty() => fault::line(&output.stderr)
                .split("; ")
                .next()
                .unwrap_or_default()
                .to_owned(),
            said => said,
        };
        let mut statuses: HashMap<String, (usize, Status)> = HashMap::new();
        let mut lost = false;
        for line in output.stdout.lines() {
            let Some((name, status)) = parse(line, &hook) else {
                continue;
            };
            let Some(status) = status else {
                lost = true;
                continue;
            };
            match statuses.get_mut(&name) {
                // A remote with several push URLs has done it when it is done at each.
                Some((count, known)) => {
                    *count += 1;
                    if status.rank() > known.rank() {
                        *known = status;
                    }
                }
                None => {
                    statuses.insert(name, (1, status));
                }
            }
        }
        let everywhere = |update: &&Update| {
            let told = statuses.get(&update.name);
            told.is_some_and(|(count, _)| *count >= self.push_urls.len())
        };
        if lost || !updates.iter().all(everywhere) {
            let error = self.broken_push(&output);
            return Err(match error {
                Error::Remote { url, said, .. } if lost => self.fault_of(url, RemoteFault::Unreachable, said),
                error => error,
            });
        }
        Ok(statuses
            .into_iter()
            .map(|(name, (_, status))| (name, status))
            .collect())
    }
}

/// Whether an update was refused along with all that was pushed with it.
fn is_of_all(pushed: Option<&Pushed>) -> bool {
    let Some(Pushed::Refused(why)) = pushed else {
        return false;
    };
    OF_ALL.iter().any(|reason| why.starts_with(reason))
}

/// What git told of one update.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Told(Pushed),
    /// The remote could not lock it, or found it changed when it was about to write.
    Contended(String),
}

impl Status {
    /// How bad it is.
    fn rank(&self) -> u8 {
        match self {
            Status::Told(Pushed::UpToDate) => 0,
            Status::Told(Pushed::Done) => 1,
            Status::Contended(_) => 2,
            Status::Told(Pushed::Moved) => 3,
            Status::Told(Pushed::Refused(_)) => 4,
        }
    }
}

/// Reads one line of `git push --porcelain`: the name, and the status unless the remote died before it told.
fn parse(line: &[u8], hook: &str) -> Option<(String, Option<Status>)> {
    let line = line.to_str().ok()?;
    let mut parts = line.splitn(3, '\t');
    let (flag, refs, summary) = (parts.next()?, parts.next()?, parts.next()?);
    let name = refs.rsplit_once(':')?.1.to_owned();
    let status = match flag {
        " " | "*" | "-" | "+" => Status::Told(Pushed::Done),
        "=" => Status::Told(Pushed::UpToDate),
        "!" => {
            let (what, reason) = summary.split_once("] ").unwrap_or((summary, ""));
            let reason = reason.strip_prefix('(').unwrap_or(reason);
            let reason = reason.strip_suffix(')').unwrap_or(reason);
            if what.starts_with("[remote failure") {
                return Some((name, None));
            }
            refusal(what, reason, hook)
        }
        _ => return None,
    };
    Some((name, Some(status)))
}

/// Reasons of git's own, and of remotes, that mean that the reference is elsewhere.
const MOVED: [&str; 5] = [
    "stale info",
    "non-fast-forward",
    "fetch first",
    "needs force",
    "remote ref updated since checkout",
];

/// Reasons of remotes that found a lock or another value when they were about to write.
const CONTENDED: [&str; 5] = [
    "failed to update ref",
    "failed to lock",
    "cannot lock ref",
    "incorrect old value provided",
    "reference already exists",
];

fn refusal(what: &str, reason: &str, hook: &str) -> Status {
    let is = |known: &[&str]| known.iter().any(|known| reason.contains(known));
    if is(&MOVED) {
        return Status::Told(Pushed::Moved);
    }
    if what.starts_with("[remote rejected") && is(&CONTENDED) {
        return Status::Contended(reason.to_owned());
    }
    let mut said = url::redact(if reason.is_empty() { what } else { reason });
    if ["hook declined", "unpacker error"]
        .iter()
        .any(|why| reason.contains(why))
        && !hook.is_empty()
    {
        said = format!("{said}: {hook}");
    }
    Status::Told(Pushed::Refused(said))
}

/// How many characters of a remote's speech go into a reason.
const SPEECH: usize = 300;

/// What the remote, or a hook there, said in words.
fn remote_speech(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.split(['\n', '\r']).filter_map(|line| {
        let said = line.strip_prefix("remote:")?.trim();
        let repeats = said.starts_with("error: hook declined to update ");
        (!said.is_empty() && !repeats && !fault::is_progress(line)).then_some(said)
    });
    let said = lines.collect::<Vec<_>>().join("; ");
    url::redact(&said).chars().take(SPEECH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_a_push_is_read() {
        let told = |pushed| Some(Some(Status::Told(pushed)));
        let refused = |why: &str| told(Pushed::Refused(why.to_owned()));
        let contended = |why: &str| Some(Some(Status::Contended(why.to_owned())));
        let cases = [
            (" \tabc:refs/s/1\t123..456", told(Pushed::Done)),
            ("*\tabc:refs/s/1\t[new reference]", told(Pushed::Done)),
            ("+\tabc:refs/s/1\t123...456 (forced update)", told(Pushed::Done)),
            ("-\t:refs/s/1\t[deleted]", told(Pushed::Done)),
            ("=\tabc:refs/s/1\t[up to date]", told(Pushed::UpToDate)),
            ("!\tabc:refs/s/1\t[rejected] (stale info)", told(Pushed::Moved)),
            (
                "!\t(delete):refs/s/1\t[rejected] (stale info)",
                told(Pushed::Moved),
            ),
            (
                "!\tabc:refs/s/1\t[rejected] (non-fast-forward)",
                told(Pushed::Moved),
            ),
            ("!\tabc:refs/s/1\t[rejected] (fetch first)", told(Pushed::Moved)),
            (
                "!\tabc:refs/s/1\t[remote rejected] (failed to update ref)",
                contended("failed to update ref"),
            ),
            (
                "!\tabc:refs/s/1\t[remote rejected] (pre-receive hook declined)",
                refused("pre-receive hook declined: no sessions"),
            ),
            (
                "!\tabc:refs/s/1\t[remote rejected] (deny updating a hidden ref)",
                refused("deny updating a hidden ref"),
            ),
            (
                "!\tabc:refs/s/1\t[remote rejected] (shallow update not allowed)",
                refused("shallow update not allowed"),
            ),
            (
                "!\tabc:refs/s/1\t[remote failure] (remote failed to report status)",
                Some(None),
            ),
            ("To ../x", None),
            ("Done", None),
        ];
        for (line, expected) in cases {
            let found = parse(line.as_bytes(), "no sessions");
            if let Some((name, _)) = &found {
                assert_eq!(name, "refs/s/1");
            }
            assert_eq!(found.map(|(_, status)| status), expected, "{line}");
        }
    }
}
