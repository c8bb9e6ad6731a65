//! What the tests share: the binary, a server with a known port, results read with an independent reader.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_pathproof");

/// A command of the binary under test, without the user's settings.
pub fn pathproof(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).env_remove("PATHPROOF_KEY").env_remove("PATHPROOF_LOG").stdin(Stdio::null());
    command
}

/// Runs to the end, but never longer than `limit`.
pub fn run_within(mut command: Command, limit: Duration) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reading = std::thread::spawn(move || {
        let mut bytes = vec![];
        let _ = out.read_to_end(&mut bytes);
        bytes
    });
    let reading_err = std::thread::spawn(move || {
        let mut bytes = vec![];
        let _ = err.read_to_end(&mut bytes);
        bytes
    });
    let status = wait_within(&mut child, limit);
    let (stdout, stderr) = (reading.join().unwrap(), reading_err.join().unwrap());
    Output { status, stdout, stderr }
}

/// Waits for a child, and ends it and the test when it takes longer than `limit`.
pub fn wait_within(child: &mut Child, limit: Duration) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            panic!("pathproof did not end within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs with arguments, within a generous limit.
pub fn run(args: &[&str]) -> Output {
    run_within(pathproof(args), Duration::from_secs(60))
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as a result document, which must keep to the schema.
pub fn document(output: &Output) -> Value {
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "no document on stdout ({e}):\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            stderr(output)
        )
    });
    crate::documents::assert_valid(&document, "standard output");
    document
}

/// A `pathproof serve` that ends with the test.
pub struct Server {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Server {
    /// Starts on a free loopback port, with further arguments.
    pub fn start(args: &[&str]) -> Server {
        let mut command = pathproof(&["serve", "--listen", "127.0.0.1:0", "-v"]);
        command.args(args);
        Server::spawn(command)
    }

    /// Starts a given command and waits for its announcement.
    pub fn spawn(mut command: Command) -> Server {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = None;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(found) = line.strip_prefix("pathproof: listening on ") {
                address = Some(found.trim().to_string());
                break;
            }
        }
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let keep = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = keep.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Server { child, address: address.expect("the server announced its address"), log }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has `text`.
    pub fn logged(&self, text: &str) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(8) {
            if self.log().contains(text) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name} works");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The one step of a kind.
pub fn step<'a>(doc: &'a Value, kind: &str) -> &'a Value {
    doc["steps"]
        .as_array()
        .and_then(|steps| steps.iter().find(|s| s["kind"] == kind))
        .unwrap_or_else(|| panic!("no {kind} step in {doc:#}"))
}

/// A directory that is removed with the test.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    /// A fresh one.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("pathproof-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory can be made");
        Scratch(path)
    }

    /// A path in it, as text.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says why a test cannot run, and fails where it must.
pub fn skip(reason: &str) {
    skip_unless("PATHPROOF_REQUIRE_LAB", reason);
}

/// The same of what has a requirement of its own.
#[expect(clippy::print_stderr, reason = "a test run is read by people")]
pub fn skip_unless(required: &str, reason: &str) {
    assert!(std::env::var_os(required).is_none(), "required, and cannot run: {reason}");
    eprintln!("SKIPPED: {reason}");
    // Test runners hide what a passing test prints; the list at the end of scripts/test does not.
    let log = std::env::var_os("PATHPROOF_SKIP_LOG")
        .and_then(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok());
    if let Some(mut log) = log {
        let _ = std::io::Write::write_all(&mut log, format!("{reason}\n").as_bytes());
    }
}

/// A Python with a package of PyPI's, made once below the target directory; `name==version`, so that a new release cannot turn a test
/// red by itself.
pub fn python_with(package: &str, module: &str) -> Result<PathBuf, String> {
    let quiet = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stderr);
        let last = || text.lines().last().unwrap_or("failed without a message").to_owned();
        if output.status.success() { Ok(()) } else { Err(last()) }
    };
    let name = package.split('=').next().unwrap_or(package);
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-venv"));
    let python = home.join("bin/python");
    let works = || quiet(Command::new(&python).args(["-c", &format!("import {module}")])).is_ok();
    if works() {
        return Ok(python);
    }
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))
        .map_err(|e| format!("python3 -m venv: {e}"))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
    quiet(Command::new("timeout").arg("120").arg(&python).args(pip))
        .map_err(|e| format!("pip install {package}: {e}"))?;
    if works() { Ok(python) } else { Err(format!("{package} does not import")) }
}
