use serde_json::{Value, json};

use super::common::{ids, open_remotely};
use super::error::Failure;
use super::out;
use crate::ops::verify::{Ask, Finding, Repair, Report, Verify, verify};
use crate::render::escape;

/// Check that logs are legal, and that what belongs to them is whole
///
/// Every log is replayed and every merge made anew; what was last seen at remotes, requests, work and notes are
/// compared with them. Work of other clones that was never fetched is no finding, nor is what was forgotten. Findings
/// are printed, a line each; if there is one, the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit codes:
  0         nothing is wrong
  1         something was found, or is not there
  128, 129  broken, as without a repository; a usage error

Examples:
  git session verify
  git session verify --remote=origin fix-login")]
pub struct Args {
    /// Only these sessions: id, unique prefix, branch, worktree path, @ or -
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// Ask this remote, or each session's home, whether its logs were rewound and has the work that is not here
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true)]
    remote: Option<Option<String>>,
    /// Make anew what is derived: the cache, what was seen at remotes that are gone, references that keep work
    #[arg(long)]
    repair: bool,
    /// Say nothing but findings
    #[arg(short, long)]
    quiet: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(true)?;
        let ids = ids(&ws, &self.sessions)?;
        let ask = match &self.remote {
            None => Ask::Nobody,
            Some(None) => Ask::Homes,
            Some(Some(name)) => Ask::One(name),
        };
        let repair = match self.repair {
            true => Repair::Derived,
            false => Repair::Never,
        };
        let ids = &ids;
        let report = verify(&mut ws, &Verify { ids, ask, repair })?;
        if self.json {
            out::json(&to_json(&report));
        } else {
            self.tell(&report);
        }
        Ok(i32::from(!report.findings.is_empty()))
    }

    fn tell(&self, report: &Report) {
        let lines: String = report.findings.iter().map(line).collect();
        out::data(lines.as_bytes());
        if self.quiet {
            return;
        }
        for line in &report.repaired {
            out::say(&format!("repaired: {}", escape(line)));
        }
        let plural = |count: usize, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        let mut said = plural(report.checked, "session checked", "sessions checked");
        said += &match report.findings.len() {
            0 => ", nothing is wrong".to_owned(),
            count => format!(", {}", plural(count, "finding", "findings")),
        };
        if report.skipped > 0 {
            said += &format!(
                "; {} no session of ours",
                plural(report.skipped, "ref is", "refs are")
            );
        }
        out::say(&said);
    }
}

fn line(finding: &Finding) -> String {
    let message = escape(&finding.message);
    match &finding.id {
        Some(id) => format!("{id}: {message}\n"),
        None => format!("{message}\n"),
    }
}

fn to_json(report: &Report) -> Value {
    let findings = report.findings.iter().map(|finding| {
        let mut value = json!({});
        if let Some(id) = &finding.id {
            value["id"] = json!(id.as_str());
        }
        if let Some(seq) = finding.seq {
            value["seq"] = json!(seq);
        }
        value["code"] = json!(finding.code);
        value["message"] = json!(finding.message);
        value
    });
    json!({
        "schema": 1,
        "findings": findings.collect::<Vec<_>>(),
        "checked": report.checked,
        "skipped": report.skipped,
        "repaired": report.repaired,
    })
}
