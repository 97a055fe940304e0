use serde_json::{Value, json};

use super::common::open_remotely;
use super::error::{Failure, without_numbers};
use super::out;
use crate::ops::doctor::{Ask, Doctor, Level, Line, Repair, Report, doctor};
use crate::render::escape;

/// Explain the state of this clone, and what to do about it
///
/// A line a matter, each ok, a hint or a problem: git, this clone's identity, settings, locks that were left over,
/// sessions that nobody supervises, renamed remotes, homes that no remote leads to, what all takes of the disk. Nothing
/// is changed. If there is a problem, the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  0         there is no problem
  1         there is one
  128, 129  broken, as without a repository; a usage error

Examples:
  git session doctor
  git session doctor --remote --repair")]
pub struct Args {
    /// Try too whether a remote takes and shows sessions, with references that are removed right away
    #[arg(long, value_name = "REMOTE", num_args = 0..=1)]
    remote: Option<Option<String>>,
    /// Put right what takes no decision: names of renamed remotes, locks of our own processes that were killed
    #[arg(long)]
    repair: bool,
    /// Print only problems
    #[arg(short, long)]
    quiet: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(true)?;
        let ask = match &self.remote {
            None => Ask::Nobody,
            Some(name) => Ask::Remote(name.as_deref()),
        };
        let repair = match self.repair {
            true => Repair::Safe,
            false => Repair::Never,
        };
        let report = doctor(&mut ws, &Doctor { ask, repair })?;
        if self.json {
            out::json(&to_json(&report));
        } else {
            let is_told = |line: &&Line| !self.quiet || line.level == Level::Problem;
            let lines: String = report.lines.iter().filter(is_told).map(line).collect();
            out::data(lines.as_bytes());
            for done in report.repaired.iter().filter(|_| !self.quiet) {
                out::say(&format!("repaired: {}", escape(done)));
            }
        }
        Ok(i32::from(report.has_problem()))
    }
}

fn line(line: &Line) -> String {
    let mut text = format!(
        "{:<8} {}\n",
        line.level.word(),
        escape(&without_numbers(&line.message))
    );
    if let Some(way_out) = &line.way_out {
        text += &format!("{:<8} {}\n", "", escape(way_out));
    }
    text
}

fn to_json(report: &Report) -> Value {
    let lines = report.lines.iter().map(|line| {
        let mut value = json!({ "level": line.level.word(), "code": line.code, "message": without_numbers(&line.message) });
        if let Some(way_out) = &line.way_out {
            value["hint"] = json!(way_out);
        }
        value
    });
    json!({
        "schema": 1,
        "lines": lines.collect::<Vec<_>>(),
        "problems": report.lines.iter().filter(|line| line.level == Level::Problem).count(),
        "repaired": report.repaired,
    })
}
