//! A worker that does as it is told, and stays until it is told to end.

use super::run::Run;
use super::{Sandbox, processes};

/// A session whose worker waits for orders.
#[derive(Debug, Clone)]
pub struct Held {
    pub id: String,
    number: usize,
    /// The worker's process.
    pub pid: i32,
    /// The process that started the worker.
    pub supervisor: i32,
}

impl Sandbox {
    /// Starts a session whose worker waits for orders.
    pub fn hold(&self, options: &str) -> Held {
        let number = self.next_worker();
        self.fifo(&format!("up{number}"));
        self.fifo(&format!("on{number}"));
        let id = self
            .session_command(&format!("run -d {options} -- sh -c"))
            .args([obedient(number)])
            .run()
            .ok()
            .text();
        let mut held = Held {
            id,
            number,
            pid: 0,
            supervisor: 0,
        };
        self.meet(&mut held);
        held
    }

    /// Learns who a held worker is, once it was started or resumed.
    pub fn meet(&self, held: &mut Held) {
        let said = self.hear(&format!("up{}", held.number));
        let pids: Vec<i32> = said.split(' ').map(|pid| pid.parse().unwrap()).collect();
        (held.pid, held.supervisor) = (pids[0], pids[1]);
    }

    /// Resumes a held session and meets its new worker; gives what was said.
    pub fn resume(&self, held: &mut Held) -> Run {
        let run = self.session(&format!("resume {}", held.id));
        run.ok();
        self.meet(held);
        run
    }

    /// Lets a held worker run a script in its shell, and waits until that is done.
    pub fn order(&self, held: &Held, script: &str) {
        assert!(!script.contains('\n'));
        self.tell(&format!("on{}", held.number), script);
        let said = self.hear(&format!("up{}", held.number));
        assert_eq!(said, "0", "the worker's script failed: {script}");
    }

    /// Lets a held worker end, whatever becomes of its session.
    pub fn dismiss(&self, held: &Held, code: i32) {
        self.tell(&format!("on{}", held.number), &format!("exit {code}"));
    }

    /// Lets a held worker end, and waits until the session has.
    pub fn let_end(&self, held: &Held, code: i32) {
        self.tell(&format!("on{}", held.number), &format!("exit {code}"));
        let run = self.session(&format!("wait {}", held.id));
        assert_eq!(run.code, code, "{run}");
    }

    /// Kills a held session's supervisor as a crash would.
    pub fn kill_supervisor(&self, held: &Held) {
        processes::kill_and_wait(held.supervisor);
    }

    /// Kills a held session's worker as a crash would.
    pub fn kill_worker(&self, held: &Held) {
        processes::kill_and_wait(held.pid);
    }
}

fn obedient(number: usize) -> String {
    format!(
        "echo $$ $PPID > \"$FIFOS/up{number}\"\n\
         while IFS= read -r order < \"$FIFOS/on{number}\"; do\n\
         eval \"$order\"; echo $? > \"$FIFOS/up{number}\"; done"
    )
}
