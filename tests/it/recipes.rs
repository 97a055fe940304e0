//! The README's recipes for CI: their lines are run as they stand there, by runners that have nothing but a shallow
//! clone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::sandbox::{Cmd, Format, Run, Sandbox, Team, processes, until, wait_unlocked};

/// A job of a pipeline, as the README has it.
#[derive(Debug, Default)]
struct Recipe {
    variables: Vec<(String, String)>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    script: String,
    /// Whether it is run after a failure, too.
    always: bool,
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The first block of a kind that has some text.
pub fn block(kind: &str, with: &str) -> String {
    let text = readme();
    let fence = format!("```{kind}\n");
    let mut blocks = text
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let found = blocks.find(|block| block.contains(with));
    found
        .unwrap_or_else(|| panic!("the README has no {kind} with {with}"))
        .to_owned()
}

/// Reads what these recipes use of YAML.
fn recipe(yaml: &str) -> Recipe {
    let mut recipe = Recipe::default();
    let mut lines = yaml.lines().peekable();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut always = false;
    while let Some(line) = lines.next() {
        let text = line.trim_start();
        let item = text.strip_prefix("- ").unwrap_or(text);
        match item {
            "env:" | "variables:" => {
                while let Some(next) = lines.next_if(|next| depth(next) > depth(line)) {
                    let (name, value) = next.trim().split_once(": ").unwrap();
                    recipe.variables.push((name.to_owned(), known(value)));
                }
            }
            "before_script:" | "script:" | "after_script:" => {
                while let Some(next) = lines.next_if(|next| depth(next) > depth(line)) {
                    recipe.steps.push(Step {
                        script: known(next.trim().strip_prefix("- ").unwrap()),
                        always: item == "after_script:",
                    });
                }
            }
            "if: always()" => always = true,
            "run: |" => {
                let inner = |next: &&str| depth(next) > depth(line) + 2;
                let mut script = String::new();
                while let Some(next) = lines.next_if(|next| inner(next)) {
                    script += &format!("{}\n", known(next.trim()));
                }
                recipe.steps.push(Step { script, always });
                always = false;
            }
            _ => {
                if let Some(script) = item.strip_prefix("run: ") {
                    recipe.steps.push(Step {
                        script: known(script),
                        always,
                    });
                    always = false;
                }
            }
        }
    }
    // The program is there; where it would come from is the reader's to say.
    recipe
        .steps
        .retain(|step| !step.script.starts_with("cargo install "));
    recipe
}

/// Text with what the host of a pipeline fills in.
fn known(text: &str) -> String {
    let text = text
        .replace("${{ github.run_id }}", "77")
        .replace("${{ github.run_attempt }}", "1")
        .replace("${{ github.ref_name }}", "main")
        .replace("${{ strategy.job-index }}", "0")
        .replace("$CI_JOB_ID", "4711");
    assert!(!text.contains("${{"), "{text}");
    text
}

/// A machine that was made for one job: no identity, a shallow clone, programs of its own.
struct Runner {
    machine: Sandbox,
    variables: Vec<(String, String)>,
}

impl Runner {
    fn new(team: &Team) -> Runner {
        let machine = Sandbox::empty(Format::PLAIN);
        fs::write(machine.root().join("gitconfig"), "[gc]\n\tauto = 0\n").unwrap();
        fs::create_dir(machine.root().join("bin")).unwrap();
        machine.git(&format!(
            "clone -q --depth 1 'file://{}' .",
            team.home().display()
        ));
        assert_eq!(machine.git("rev-parse --is-shallow-repository"), "true");
        Runner {
            machine,
            variables: Vec::new(),
        }
    }

    /// Installs a program.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.machine.root().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn shell(&self, script: &str) -> Cmd {
        shell(&self.machine, script).inner(|command| {
            command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        })
    }

    /// Runs a job's steps as its host does; gives each step's end.
    fn run(&mut self, recipe: &Recipe) -> Vec<Run> {
        self.variables.extend(recipe.variables.iter().cloned());
        let mut ends: Vec<Run> = Vec::new();
        for step in &recipe.steps {
            if step.always || ends.iter().all(|end| end.code == 0) {
                ends.push(self.shell(&step.script).run());
            }
        }
        ends
    }

    fn wait_for_relay(&self, id: &str) {
        wait_unlocked(&self.machine.run_dir(id).join("relay.lock"));
    }
}

/// A script as it would be typed, in the shell that runs jobs.
fn shell(machine: &Sandbox, script: &str) -> Cmd {
    let mut path = vec![machine.root().join("bin")];
    path.push(
        Path::new(env!("CARGO_BIN_EXE_git-session"))
            .parent()
            .unwrap()
            .to_owned(),
    );
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    machine
        .command("bash")
        .args(["--norc", "--noprofile", "-e", "-o", "pipefail", "-c", script])
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("LC_ALL", "C.UTF-8")
}

/// A home with enough history for a clone of it to be shallow, and a developer's clone.
fn team() -> Team {
    let team = Team::new(Format::PLAIN, 1);
    team[0].commit_file(&team[0].repo(), "Makefile", "test:\n\ttrue\n");
    team[0].git("push -q origin main");
    team
}

#[test]
fn a_job_on_github_leaves_a_record_that_outlives_its_runner() {
    for code in [0, 3] {
        let team = team();
        let dev = &team[0];
        let mut runner = Runner::new(&team);
        runner.program(
            "make",
            &format!("echo \"made $1\" && echo built > built.txt && git add . && git -c user.name=CI -c user.email=ci@example.com commit -qm built && exit {code}"),
        );
        let ends = runner.run(&recipe(&block("yaml", "contents: write")));
        assert_eq!(ends[0].code, code, "{}", ends[0]);
        assert_eq!(ends[0].stdout(), "made test\n");
        assert_eq!(ends.len(), 2);
        ends[1].ok();
        runner.wait_for_relay("ci-test-77-1-0");
        drop(runner);

        dev.session("fetch --work").ok();
        let seen = dev.show("ci-test-77-1-0");
        assert_eq!(seen["outcome"], format!("exit:{code}"));
        assert_eq!(seen["owner"], "ci-test-77-1-0");
        dev.session("wait ci-test-77-1-0").exits(code);
        dev.session("output ci-test-77-1-0").ok().prints("made test");
        dev.session("diff ci-test-77-1-0").ok().prints("built.txt");
        let head = seen["head"].as_str().unwrap().to_owned();
        assert_eq!(
            dev.git(&format!("notes --ref sessions show {head}")),
            "{\"session\":\"ci-test-77-1-0\"}"
        );
        dev.git("config session.home origin");
        dev.session("verify --remote").ok();
    }
}

#[test]
fn a_job_on_gitlab_tells_its_token_to_nobody() {
    let team = team();
    let dev = &team[0];
    let mut runner = Runner::new(&team);
    runner.program("make", "echo made; exit 4");
    speak_https(&runner, &team);
    let secret = "glpat-very-secret";
    for (name, value) in [
        ("SESSION_TOKEN", secret),
        ("CI_SERVER_HOST", "gitlab.example.com"),
        ("CI_PROJECT_PATH", "team/shop"),
    ] {
        runner.variables.push((name.to_owned(), value.to_owned()));
    }
    let ends = runner.run(&recipe(&block("yaml", "SESSION_TOKEN")));
    let codes: Vec<i32> = ends.iter().map(|end| end.code).collect();
    assert_eq!(codes, [0, 4, 0], "{}", ends.last().unwrap());
    runner.wait_for_relay("ci-4711");
    let asked = fs::read_to_string(runner.machine.root().join("asked")).unwrap();
    assert!(
        asked.contains(&format!("https://ci:{secret}@gitlab.example.com/team/shop.git")),
        "{asked}"
    );

    dev.session("fetch --work").ok();
    assert_eq!(dev.show("ci-4711")["outcome"], "exit:4");
    assert_eq!(
        dev.show("ci-4711")["home"],
        "https://gitlab.example.com/team/shop.git"
    );
    for end in &ends {
        assert!(!end.to_string().contains(secret), "{end}");
    }
    let everything = runner.machine.git("log --all --format=%B%N -p");
    assert!(!everything.contains(secret), "{everything}");
    let local = crate::sandbox::traces::files_with(&runner.machine.local(), secret);
    assert!(local.is_empty(), "{local:?}");
}

/// Lets a runner's git reach the home by any https URL, and writes down what is asked for.
fn speak_https(runner: &Runner, team: &Team) {
    let machine = &runner.machine;
    let real = PathBuf::from(machine.git("--exec-path"));
    let programs = machine.root().join("programs");
    fs::create_dir(&programs).unwrap();
    for entry in fs::read_dir(&real).unwrap() {
        let entry = entry.unwrap();
        let own = ["git", "git-remote-https"].map(std::ffi::OsStr::new);
        if !own.contains(&entry.file_name().as_os_str()) {
            std::os::unix::fs::symlink(entry.path(), programs.join(entry.file_name())).unwrap();
        }
    }
    let quote = |path: &Path| shell_words::quote(path.to_str().unwrap()).into_owned();
    let helper = format!(
        "echo \"$2\" >> {asked}\nwhile read -r line; do\ncase $line in\ncapabilities) printf 'connect\\n\\n';;\n\
         'connect '*) echo; exec \"${{line#connect }}\" {home};;\n*) exit 0;;\nesac\ndone",
        asked = quote(&machine.root().join("asked")),
        home = quote(&team.home()),
    );
    let helper = runner.program("git-remote-https", &helper);
    fs::rename(helper, programs.join("git-remote-https")).unwrap();
    let git = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("git"))
        .find(|path| path.is_file())
        .unwrap();
    let wrapper = format!("exec {} --exec-path={} \"$@\"", quote(&git), quote(&programs));
    let wrapper = runner.program("git", &wrapper);
    fs::copy(wrapper, programs.join("git")).unwrap();
}

#[test]
fn a_job_waits_for_a_session_elsewhere() {
    for code in [0, 5] {
        let team = team();
        let gpu = &team[0];
        let held = gpu.hold("--id training-main --record-output");
        gpu.order(&held, "echo trained");
        gpu.session("push").ok();
        let mut runner = Runner::new(&team);
        let job = std::thread::spawn(move || {
            let ends = runner.run(&recipe(&block("yaml", "git session wait")));
            (runner, ends)
        });
        gpu.let_end(&held, code);
        gpu.session("push").ok();
        let (_runner, ends) = job.join().unwrap();
        assert_eq!(ends[0].code, code, "{}", ends[0]);
        if code == 0 {
            ends[1].ok().prints("trained");
        } else {
            assert_eq!(ends.len(), 1);
        }
    }
}

#[test]
fn what_a_killed_runner_ran_is_overdue_elsewhere_and_taken_over() {
    let team = team();
    let dev = &team[0];
    let runner = Runner::new(&team);
    for id in ["gone", "goes-on"] {
        // Its first life does nothing but be killed.
        let script =
            format!("test \"$(hostname; pwd)\" != \"$KILLED\" || exec sleep 1000; echo again > {id}.txt");
        let script = script
            .replace("$(hostname; pwd)", "$PWD")
            .replace("$KILLED", &runner.machine.worktree(id).to_string_lossy());
        let run = format!(
            "git session run -q --push --id {id} --timeout 1s --grace 1s -- sh -c {}",
            shell_words::quote(&script)
        );
        let running = runner.shell(&run).env("GIT_SESSION_CLONE", "ci-1-1").spawn();
        until("the home knows that it runs", || {
            let state = "--format=%(contents:trailers:key=Session-State,valueonly,separator=)";
            team.at_home(&format!("for-each-ref '{state}' refs/sessions/{id}")) == "running"
        });
        // The machine is switched off: supervisor, worker, relay and command at once.
        processes::kill_all("TEST_SANDBOX", runner.machine.root());
        assert_eq!(running.end().code, 137);
    }

    dev.config("session.syncInterval", "1s");
    dev.session("fetch").ok();
    until("it is overdue", || dev.show("gone")["overdue"] == true);
    dev.session("list").ok().prints("running, overdue");
    dev.session("wait gone")
        .exits(125)
        .says("overdue on ")
        .says("claim --force gone");
    dev.session("claim gone").exits(1).says("claim --force gone");
    let lines = block("sh", "claim --force");
    let script = |id: &str, lines: &str| shell(dev, lines).env("SESSION", id).run();
    script("gone", &lines).ok();
    assert_eq!(
        dev.events("gone"),
        ["create", "start", "home", "claim", "terminate"]
    );
    assert_eq!(
        dev.story("gone", "Reason")[3..],
        ["unobserved", "its runner was killed"]
    );
    assert_eq!(team.tip_at_home("gone"), dev.tip("gone"));

    // What the README says to do instead.
    let instead = lines.lines().take_while(|line| !line.contains("terminate"));
    script("goes-on", &instead.collect::<Vec<_>>().join("\n")).ok();
    let words = "git session resume --trust \"$SESSION\"";
    assert!(readme().contains(&format!("`{words}`")));
    script("goes-on", words).ok();
    dev.session("wait goes-on").ok();
    assert_eq!(dev.saved("goes-on", "goes-on.txt"), "again");
    dev.session("push").ok();
    dev.session("verify --remote").ok();
}
