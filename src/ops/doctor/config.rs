//! Settings that mean nothing, or nothing that they could mean.

use gix::bstr::ByteSlice;

use super::Report;
use crate::ops::error::Result;
use crate::ops::interrupt::Interrupt;
use crate::ops::settings::{self, KEYS};
use crate::ops::workers;
use crate::ops::workspace::Workspace;

pub fn look(ws: &Workspace, report: &mut Report) -> Result<()> {
    let before = report.lines.len();
    let listed = ws
        .repo
        .git()?
        .args(["config", "--list", "--name-only", "-z"])
        .run()?;
    let mut seen: Vec<String> = Vec::new();
    for key in listed.split(|byte| *byte == 0) {
        let key = key.to_str_lossy().into_owned();
        if !key.starts_with("session.") || seen.contains(&key) {
            continue;
        }
        if !KEYS.iter().any(|known| known.eq_ignore_ascii_case(&key)) {
            let line = report.problem("setting", format!("there is no setting '{key}'"));
            if let Some(near) = nearest(&key) {
                line.but(format!("'{near}' is meant, perhaps"));
            }
        }
        seen.push(key);
    }
    for error in settings::wrong(&ws.repo) {
        report.problem("setting", error.to_string());
    }
    for key in ["session.remote", "session.home"] {
        if let Some(name) = ws.repo.config(key)
            && let Err(error) = ws.repo.remote(&name)
        {
            report.problem("setting", format!("{key}: {error}"));
        }
    }
    if let Err(error) = Interrupt::configured(ws) {
        report.problem("setting", error.to_string());
    }
    for name in workers::names(&ws.repo) {
        if let Err(error) = workers::configured(&ws.repo, &name) {
            report.problem("worker", error.to_string());
        }
    }
    if report.lines.len() == before {
        report.ok("settings", "all settings are known");
    }
    Ok(())
}

/// The setting that a misspelt one is nearest to.
fn nearest(key: &str) -> Option<&'static str> {
    let far = |known: &&str| distance(key, &known.to_lowercase());
    KEYS.into_iter().min_by_key(far).filter(|known| far(known) <= 3)
}

/// How many letters have to be changed, put in or left out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, d) in other.iter().enumerate() {
            let changed = diagonal + usize::from(c != *d);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
