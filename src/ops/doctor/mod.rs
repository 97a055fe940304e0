//! `doctor`: how this clone stands, a line a matter, with what to do about it.
//!
//! Nothing is changed, unless a repair is asked for; a remote is asked, and tried, only when it is named.

mod clone;
mod config;
mod git;
mod probe;
mod remotes;
mod sessions;
mod space;

use super::error::Result;
use super::workspace::Workspace;

/// What is to be looked at, and done.
#[derive(Debug, Default)]
pub struct Doctor<'a> {
    pub ask: Ask<'a>,
    pub repair: Repair,
}

/// Whether a remote is asked, and which.
#[derive(Debug, Clone, Copy, Default)]
pub enum Ask<'a> {
    #[default]
    Nobody,
    /// The usual one, if it has no name.
    Remote(Option<&'a str>),
}

/// Whether what can be put right without a decision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repair {
    #[default]
    Never,
    Safe,
}

/// How a matter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// Something to know, that hinders nothing.
    Hint,
    Problem,
}

impl Level {
    /// Gives the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Hint => "hint",
            Level::Problem => "problem",
        }
    }
}

/// One matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    /// The word by which programs know it.
    pub code: &'static str,
    pub message: String,
    /// What to do.
    pub way_out: Option<String>,
}

/// How all stands.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<Line>,
    /// What was put right, a line each.
    pub repaired: Vec<String>,
}

impl Report {
    /// Whether something is wrong.
    pub fn has_problem(&self) -> bool {
        self.lines.iter().any(|line| line.level == Level::Problem)
    }

    fn add(&mut self, level: Level, code: &'static str, message: impl Into<String>) -> &mut Line {
        let at = self.lines.len();
        self.lines.push(Line {
            level,
            code,
            message: message.into(),
            way_out: None,
        });
        &mut self.lines[at]
    }

    fn ok(&mut self, code: &'static str, message: impl Into<String>) -> &mut Line {
        self.add(Level::Ok, code, message)
    }

    fn hint(&mut self, code: &'static str, message: impl Into<String>) -> &mut Line {
        self.add(Level::Hint, code, message)
    }

    fn problem(&mut self, code: &'static str, message: impl Into<String>) -> &mut Line {
        self.add(Level::Problem, code, message)
    }
}

impl Line {
    fn but(&mut self, way_out: impl Into<String>) {
        self.way_out = Some(way_out.into());
    }
}

/// Looks at everything.
///
/// # Errors
/// What kept it from looking on; all else is a line.
pub fn doctor(ws: &mut Workspace, what: &Doctor<'_>) -> Result<Report> {
    let mut report = Report::default();
    if what.repair == Repair::Safe {
        ws.make_files()?;
        remotes::move_renamed(ws, &mut report.repaired)?;
        git::unlock(ws, &mut report.repaired);
    }
    let ws = &*ws;
    git::look(ws, &mut report);
    git::directories(ws, &mut report);
    let listing = ws.store().list()?;
    clone::look(ws, &listing.sessions, &mut report)?;
    config::look(ws, &mut report)?;
    git::locks(ws, &mut report);
    sessions::look(ws, &listing, &mut report)?;
    remotes::look(ws, &listing.sessions, &mut report)?;
    space::look(ws, &listing.sessions, &mut report)?;
    if let Ask::Remote(name) = what.ask {
        probe::look(ws, name, &mut report)?;
    }
    Ok(report)
}

/// The first few of several names.
fn few(names: &[String]) -> String {
    const FEW: usize = 5;
    let more = match names.len() > FEW {
        true => format!(" and {} more", names.len() - FEW),
        false => String::new(),
    };
    format!("{}{more}", names[..names.len().min(FEW)].join(", "))
}

/// A count with its word.
fn count(count: usize, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}
