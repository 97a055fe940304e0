//! Real servers on loopback, each with a configuration and keys of its own, run by whoever runs the tests.
//!
//! One serves one bare repository. It has begun when its own log says so, and nothing of it is left when it is dropped.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{Sandbox, processes, until};

/// The variable that marks what runs for a server.
const MARK: &str = "TEST_SERVER";

/// A way to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Path,
    File,
    /// `git daemon`, which anybody may push to.
    Daemon,
    /// `git http-backend` behind lighttpd, which anybody may push to.
    Http,
    /// The same for two users only.
    Basic,
    /// A real sshd, with keys made for it.
    Ssh,
}

/// Who may use a server that asks for a password.
pub const USER: &str = "ada";
pub const PASSWORD: &str = "s3cretPassw0rd";
pub const OTHER_USER: &str = "grace";
pub const OTHER_PASSWORD: &str = "0therPassw0rd";

impl Transport {
    /// Whether what serves it is installed. If not, the test is left out and says so, but in CI it fails.
    pub fn is_there(self) -> bool {
        let Err(missing) = self.program() else { return true };
        assert!(
            std::env::var_os("CI").is_none(),
            "{missing} is not installed, and in CI nothing is left out"
        );
        static SAID: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        let mut said = SAID.lock().unwrap();
        if !said.contains(&missing) {
            said.push(missing);
            // Past the test runner, which would keep what a good test says to itself.
            let line = format!("skipped: {missing} is not installed, so nothing is tried over it\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        false
    }

    /// The program that serves it, if it takes one; else the name of what is missing.
    fn program(self) -> Result<Option<PathBuf>, &'static str> {
        let found = match self {
            Transport::Path | Transport::File => return Ok(None),
            Transport::Daemon => which::which("git").map_err(|_| "git")?,
            Transport::Http | Transport::Basic if !http_backend().exists() => return Err("git-http-backend"),
            Transport::Http | Transport::Basic => installed("lighttpd").ok_or("lighttpd")?,
            Transport::Ssh => {
                which::which("ssh").map_err(|_| "ssh")?;
                installed("sshd").ok_or("sshd")?
            }
        };
        Ok(Some(found))
    }
}

/// A program that may be where only root looks for programs.
fn installed(name: &str) -> Option<PathBuf> {
    let elsewhere = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(|dir| Path::new(dir).join(name));
    let found = which::which(name).ok();
    found.or_else(|| elsewhere.into_iter().find(|path| path.exists()))
}

fn http_backend() -> PathBuf {
    let output = Command::new("git").arg("--exec-path").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("git-http-backend")
}

/// What leads to a repository.
pub struct Server {
    transport: Transport,
    home: PathBuf,
    /// Its configuration, its keys, its log.
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Makes the repository reachable.
    pub fn start(transport: Transport, home: &Path) -> Server {
        let dir = tempfile::Builder::new()
            .prefix("git-session-server-")
            .tempdir()
            .unwrap();
        let mut server = Server {
            transport,
            home: home.to_owned(),
            dir,
            port: 0,
            child: None,
        };
        server.write(
            "gitconfig",
            "[gc]\n\tauto = 0\n[receive]\n\tautogc = false\n[maintenance]\n\tauto = false\n\
             [http]\n\treceivepack = true\n",
        );
        if transport == Transport::Ssh {
            server.make_keys();
        }
        let started = (0..20).any(|_| server.try_start(free_port()));
        assert!(started, "no port is free: {}", server.log());
        server
    }

    /// Ends it and all that it does at the moment, at once.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = child.id() as i32;
        // Connections of sshd are in sessions of their own, and what they run may not show its environment.
        for pid in processes::descendants(pid) {
            processes::kill_and_wait(pid);
        }
        processes::kill_all(MARK, self.dir.path());
        child.wait().unwrap();
    }

    /// Serves again, where it did before.
    pub fn come_back(&mut self) {
        let port = self.port;
        until("the server comes back", || self.try_start(port));
    }

    /// The URL or path of what it serves, as anybody may know it.
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// The same with a user, and maybe a password, that end with an `@`.
    pub fn url_as(&self, who: &str) -> String {
        let path = self.home.to_str().unwrap().replace(' ', "%20");
        let port = self.port;
        match self.transport {
            Transport::Path => self.home.to_str().unwrap().to_owned(),
            Transport::File => format!("file://{path}"),
            Transport::Daemon => format!("git://127.0.0.1:{port}{path}"),
            Transport::Http | Transport::Basic => format!("http://{who}127.0.0.1:{port}{path}"),
            Transport::Ssh => format!("ssh://{who}127.0.0.1:{port}{path}"),
        }
    }

    /// Gives a clone's user what lets them in.
    pub fn admit(&self, clone: &Sandbox) {
        match self.transport {
            Transport::Ssh => {
                let file = |name: &str| self.file(name).display().to_string();
                let known = format!("UserKnownHostsFile=\"{}\"", file("known"));
                let words = ["ssh", "-F", "/dev/null", "-i", &file("user"), "-o", &known];
                let options = [
                    "GlobalKnownHostsFile=/dev/null",
                    "StrictHostKeyChecking=yes",
                    "IdentitiesOnly=yes",
                    "IdentityAgent=none",
                    "BatchMode=yes",
                    // What resists quantum computers costs most of a connection's time.
                    "KexAlgorithms=curve25519-sha256",
                ];
                let options = options.iter().flat_map(|option| ["-o", option]);
                clone.config(
                    "core.sshCommand",
                    &shell_words::join(words.into_iter().chain(options)),
                );
            }
            Transport::Basic => {
                let base = self.url_as(&format!("{USER}:{PASSWORD}@"));
                clone.config(&format!("url.{base}.insteadOf"), &self.url());
            }
            _ => {}
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// What git on the server's side finds in its environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let dir = self.dir.path().display().to_string();
        vec![
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", dir.clone()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("GIT_CONFIG_GLOBAL", format!("{dir}/gitconfig")),
            (MARK, dir),
        ]
    }

    /// Whether it could be started on a port.
    fn try_start(&mut self, port: u16) -> bool {
        let Some(program) = self.transport.program().unwrap() else {
            return true;
        };
        self.port = port;
        let mut command = Command::new(program);
        let ready = match self.transport {
            Transport::Path | Transport::File => return true,
            Transport::Daemon => self.daemon(&mut command),
            Transport::Http | Transport::Basic => self.lighttpd(&mut command),
            Transport::Ssh => self.sshd(&mut command),
        };
        let log = fs::File::create(self.file("log")).unwrap();
        command
            .env_clear()
            .envs(self.environment())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let mut ended = false;
        until(&format!("{:?} listens", self.transport), || {
            ended = child.try_wait().unwrap().is_some();
            ended || self.log().contains(ready)
        });
        if ended {
            let log = self.log().to_lowercase();
            assert!(log.contains("bind") || log.contains("listen"), "{log}");
            return false;
        }
        self.child = Some(child);
        true
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("log")).unwrap()).into_owned()
    }

    fn daemon(&self, command: &mut Command) -> &'static str {
        command
            .args([
                "daemon",
                "--verbose",
                "--log-destination=stderr",
                "--export-all",
                "--enable=receive-pack",
                "--reuseaddr",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={}", self.port))
            .arg(&self.home);
        "Ready to rumble"
    }

    fn lighttpd(&self, command: &mut Command) -> &'static str {
        let quoted = |text: &str| format!("\"{text}\"");
        let around = self.home.parent().unwrap().display().to_string();
        let variables: Vec<String> = self
            .environment()
            .into_iter()
            .chain([
                ("GIT_PROJECT_ROOT", around.clone()),
                ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
            ])
            .map(|(name, value)| format!("{} => {}", quoted(name), quoted(&value)))
            .collect();
        let mut config = format!(
            "server.modules = ( \"mod_auth\", \"mod_authn_file\", \"mod_setenv\", \"mod_alias\", \"mod_cgi\" )\n\
             server.bind = \"127.0.0.1\"\nserver.port = {}\n\
             server.document-root = \"/nonexistent\"\nserver.upload-dirs = ( \"{}\" )\n\
             alias.url = ( \"{around}/\" => \"{}/\" )\ncgi.assign = ( \"\" => \"\" )\n\
             setenv.set-environment = ( {} )\n",
            self.port,
            self.dir.path().display(),
            http_backend().display(),
            variables.join(", "),
        );
        if self.transport == Transport::Basic {
            self.write(
                "users",
                &format!("{USER}:{PASSWORD}\n{OTHER_USER}:{OTHER_PASSWORD}\n"),
            );
            config += &format!(
                "auth.backend = \"plain\"\nauth.backend.plain.userfile = \"{}\"\n\
                 auth.require = ( \"/\" => ( \"method\" => \"basic\", \"realm\" => \"git\", \"require\" => \"valid-user\" ) )\n",
                self.file("users").display()
            );
        }
        self.write("lighttpd.conf", &config);
        command.arg("-D").arg("-f").arg(self.file("lighttpd.conf"));
        "server started"
    }

    /// Keys for the host and for the user, and what each side is to know of the other.
    fn make_keys(&self) {
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
                .arg(self.file(name))
                .status();
            assert!(made.unwrap().success());
        }
        let variables: Vec<String> = self
            .environment()
            .into_iter()
            .map(|(name, value)| format!("{name}={}", shell_words::quote(&value)))
            .collect();
        let script = format!(
            "#!/bin/sh\nexport {}\nexec git shell -c \"$SSH_ORIGINAL_COMMAND\"\n",
            variables.join(" ")
        );
        self.write("serve", &script);
        fs::set_permissions(self.file("serve"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(self.file("user.pub"), self.file("authorized")).unwrap();
    }

    fn sshd(&self, command: &mut Command) -> &'static str {
        let key = fs::read_to_string(self.file("host.pub")).unwrap();
        self.write("known", &format!("[127.0.0.1]:{} {key}", self.port));
        let file = |name: &str| self.file(name).display().to_string();
        self.write(
            "sshd_config",
            &format!(
                "ListenAddress 127.0.0.1\nPort {}\nHostKey \"{}\"\nAuthorizedKeysFile \"{}\"\nPidFile none\n\
                 UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nPermitUserRC no\nUseDNS no\nMaxStartups 1000\n\
                 AcceptEnv GIT_PROTOCOL\nSetEnv \"HOME={}\"\nForceCommand {}\n",
                self.port,
                file("host"),
                file("authorized"),
                // Shells read the startup files there, which are not the test's business.
                self.dir.path().display(),
                shell_words::quote(&file("serve")),
            ),
        );
        // Where root's sshd locks up who is not yet let in. Distributions make it when the machine starts.
        if rustix::process::geteuid().is_root() && !Path::new("/run/sshd").exists() {
            fs::create_dir_all("/run/sshd").unwrap();
            fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).unwrap();
        }
        command.args(["-D", "-e", "-f"]).arg(self.file("sshd_config"));
        "Server listening on"
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() && self.child.is_some() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(20);
            let last: Vec<&str> = log.lines().skip(from).collect();
            eprintln!("the end of the server's log:\n{}", last.join("\n"));
        }
        self.kill();
    }
}

/// A port that nobody uses now, below those that connections take by themselves, and that no other server of these
/// tests was given.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 97) as u16 * 120;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
