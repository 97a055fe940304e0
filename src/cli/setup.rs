use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::common::{Telling, cwd, open, program};
use super::error::Failure;
use super::out;
use crate::ops::setup::{File, Standing, files, install, notes, show_notes};
use crate::ops::{Error, Workspace};
use crate::render::fields::path_value;
use crate::render::{escape, quote};

/// A verb's man page.
macro_rules! page {
    ($verb:literal) => {
        (
            concat!("git-session-", $verb, ".1"),
            include_str!(concat!("../../man/git-session-", $verb, ".1")),
        )
    };
}

const PAGES: [File; 30] = [
    ("git-session.1", include_str!("../../man/git-session.1")),
    page!("checkpoint"),
    page!("claim"),
    page!("diff"),
    page!("doctor"),
    page!("exec"),
    page!("fetch"),
    page!("forget"),
    page!("list"),
    page!("log"),
    page!("new"),
    page!("note"),
    page!("output"),
    page!("path"),
    page!("prune"),
    page!("push"),
    page!("recover"),
    page!("restore"),
    page!("resume"),
    page!("retry"),
    page!("run"),
    page!("setup"),
    page!("show"),
    page!("start"),
    page!("suspend"),
    page!("sync"),
    page!("terminate"),
    page!("trust"),
    page!("verify"),
    page!("wait"),
];

/// Install man pages and completions; let git log show sessions
///
/// Without options it says what is set up and what is not. What is set up already stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session setup
  git session setup --completions bash")]
pub struct Args {
    /// Install the man pages, which 'git session --help' opens
    #[arg(long)]
    man: bool,
    /// Where the man pages go [default: share/man/man1 beside the program's own directory]
    #[arg(long, value_name = "DIR", requires = "man")]
    man_dir: Option<PathBuf>,
    /// Install the completions of a shell where it looks for a user's own; may be given several times
    #[arg(long, value_name = "SHELL")]
    completions: Vec<Shell>,
    /// Write the completions to stdout instead
    #[arg(long, requires = "completions", conflicts_with_all = ["man", "notes", "dry_run", "json"])]
    print: bool,
    /// Let git log show in this repository which session made a commit, and rebases keep it
    #[arg(long)]
    notes: bool,
    /// Only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    telling: Telling,
}

/// A shell that there are completions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    const ALL: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }

    /// The option that installs its completions.
    fn option(self) -> String {
        format!("--completions {}", self.name())
    }

    /// What the shell looks for in which of its directories; the first has all but the way into it.
    fn scripts(self) -> &'static [(&'static str, File)] {
        match self {
            Shell::Bash => &[(
                "bash-completion/completions",
                ("git-session", include_str!("completions/git-session.bash")),
            )],
            Shell::Zsh => &[(
                "zsh/site-functions",
                ("_git-session", include_str!("completions/git-session.zsh")),
            )],
            Shell::Fish => &[
                (
                    "fish/completions",
                    ("git-session.fish", include_str!("completions/git-session.fish")),
                ),
                (
                    "fish/conf.d",
                    ("git-session.fish", include_str!("completions/git.fish")),
                ),
            ],
        }
    }

    /// The directory that the shell's own are in, for a user.
    fn base(self) -> Result<PathBuf, Failure> {
        let (variable, fallback) = match self {
            Shell::Bash | Shell::Zsh => ("XDG_DATA_HOME", ".local/share"),
            Shell::Fish => ("XDG_CONFIG_HOME", ".config"),
        };
        let set = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        match (set(variable), set("HOME")) {
            (Some(base), _) => Ok(base),
            (None, Some(home)) => Ok(home.join(fallback)),
            (None, None) => Err(Failure::refused("no-home", "HOME is not set")),
        }
    }
}

/// Something that can be set up, and how it stands.
struct Item {
    name: String,
    /// The directory; none for settings of the repository.
    place: Option<PathBuf>,
    standing: Standing,
    /// The option that sets it up.
    option: String,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        if self.print {
            for shell in &self.completions {
                for (_, (_, script)) in shell.scripts() {
                    out::data(script.as_bytes());
                }
            }
            return Ok(0);
        }
        let only_look = !self.man && !self.notes && self.completions.is_empty();
        let acts = !only_look && !self.dry_run;
        let mut items = Vec::new();
        if self.man || only_look {
            items.push(self.pages(acts)?);
        }
        for shell in Shell::ALL {
            if only_look || self.completions.contains(&shell) {
                items.push(completions(shell, acts)?);
            }
        }
        match open() {
            Ok(ws) if self.notes || only_look => items.push(provenance(&ws, acts)?),
            Err(error) if self.notes => return Err(error),
            _ => {}
        }
        if self.telling.json {
            let items: Vec<_> = items.iter().map(|item| item.to_json(acts)).collect();
            out::json(&json!({ "schema": 1, "dryRun": self.dry_run, "items": items }));
            return Ok(0);
        }
        for item in &items {
            self.telling.say(&item.line(only_look, self.dry_run));
        }
        let hints = items.iter().filter(|_| acts).filter_map(Item::hint);
        hints.for_each(|hint| self.telling.say(&format!("hint: {hint}")));
        Ok(0)
    }

    fn pages(&self, acts: bool) -> Result<Item, Failure> {
        let dir = match &self.man_dir {
            Some(dir) => cwd()?.join(dir),
            None => pages_dir()?,
        };
        let standing = put(&dir, &PAGES, acts)?;
        Ok(Item {
            name: "man pages".to_owned(),
            place: Some(dir),
            standing,
            option: "--man".to_owned(),
        })
    }
}

/// man looks for pages beside each directory of the PATH.
fn pages_dir() -> Result<PathBuf, Failure> {
    let program = PathBuf::from(program()?);
    match program.parent().and_then(Path::parent) {
        Some(prefix) => Ok(prefix.join("share/man/man1")),
        None => Err(
            Failure::refused("no-place", "there is no directory beside the program's")
                .hint("'--man-dir DIR' names one"),
        ),
    }
}

fn completions(shell: Shell, acts: bool) -> Result<Item, Failure> {
    let base = shell.base()?;
    let mut standings = Vec::new();
    for (below, script) in shell.scripts() {
        standings.push(put(&base.join(below), &[*script], acts)?);
    }
    Ok(Item {
        name: format!("completions for {}", shell.name()),
        place: shell.scripts().first().map(|(below, _)| base.join(below)),
        standing: Standing::of(standings),
        option: shell.option(),
    })
}

fn provenance(ws: &Workspace, acts: bool) -> Result<Item, Failure> {
    let standing = notes(&ws.repo)?;
    if acts && standing != Standing::Current {
        show_notes(&ws.repo)?;
    }
    Ok(Item {
        name: "sessions in git log".to_owned(),
        place: None,
        standing,
        option: "--notes".to_owned(),
    })
}

/// Installs files where they are not current, and gives how they stood before.
fn put(dir: &Path, these: &[File], acts: bool) -> Result<Standing, Error> {
    let standing = files(dir, these)?;
    if acts && standing != Standing::Current {
        install(dir, these)?;
    }
    Ok(standing)
}

impl Item {
    fn line(&self, only_look: bool, dry_run: bool) -> String {
        let place = match &self.place {
            Some(place) => format!(" in '{}'", escape(&place.to_string_lossy())),
            None => " in this repository".to_owned(),
        };
        let name = &self.name;
        match self.standing {
            Standing::Current => format!("{name}: set up{place}"),
            standing if only_look => {
                let how = match standing {
                    Standing::Outdated => "not up to date",
                    _ => "not set up",
                };
                format!(
                    "{name}: {how}; 'git session setup {}' does it{place}",
                    self.option
                )
            }
            _ if dry_run => format!("{name}: would be set up{place}"),
            _ => format!("{name}: now set up{place}"),
        }
    }

    /// What a shell still needs to find its completions.
    fn hint(&self) -> Option<String> {
        let place = self.place.as_deref()?;
        if self.option == Shell::Bash.option() {
            let file = quote(place.join("git-session").as_os_str().as_bytes());
            return Some(format!(
                "a new bash finds them where the package bash-completion is; else with this line in ~/.bashrc: . {file}"
            ));
        }
        (self.option == Shell::Zsh.option()).then(|| {
            let place = quote(place.as_os_str().as_bytes());
            format!("zsh finds them with this line in ~/.zshrc, before compinit: fpath=({place} $fpath)")
        })
    }

    fn to_json(&self, acts: bool) -> serde_json::Value {
        let changed = acts && self.standing != Standing::Current;
        let mut value = json!({ "name": self.name, "before": self.standing.word(), "changed": changed });
        if let Some(place) = &self.place {
            value["place"] = path_value(place.as_os_str());
        }
        value
    }
}
