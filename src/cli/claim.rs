use super::common::{Selection, Telling, open_remotely};
use super::error::Failure;
use crate::ops::branch;
use crate::ops::claim::{Claim, claim};

/// Take sessions over from another clone
///
/// The session's home decides: of any number of clones that claim at once, one wins, and the others are told who.
/// Starting or resuming a session of another clone claims it first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  git session claim fix-login
  git session claim --force fix-login")]
pub struct Args {
    #[command(flatten)]
    sessions: Selection,
    /// Also take what runs elsewhere; its worker can't be seen from here, and the log says so
    #[arg(long)]
    force: bool,
    /// Without asking the session's home; it may turn out that another clone has it
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    telling: Telling,
}

impl Args {
    pub fn run(self) -> Result<i32, Failure> {
        let mut ws = open_remotely(true)?;
        let chosen = self.sessions.resolve(&ws, &self.telling)?;
        let how = Claim {
            run: false,
            force: self.force,
            offline: self.offline,
        };
        self.telling.each(&mut ws, chosen, |ws, session| {
            let claimed = claim(ws, session.id(), how)?;
            // Its work came, and what lands it is the branch.
            branch::follow(ws, &claimed)?;
            let unconfirmed = if claimed.event.claim.is_some() {
                ", unconfirmed"
            } else {
                ""
            };
            self.telling
                .say(&format!("{}: owned by this clone{unconfirmed}", claimed.id()));
            Ok(claimed)
        })
    }
}
