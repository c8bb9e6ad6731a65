//! Far ends that are started from here: by a command, and over a real ssh; and that nothing is left of them, however a run ends.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::netns::TwoHosts;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(40);

/// A folder of programs, put before those of the system.
fn programs(scratch: &Scratch, all: &[(&str, &str)]) -> String {
    let folder = scratch.path("bin");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in all {
        let path = Path::new(&folder).join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// What stands in for an installed pathproof.
fn installed() -> (&'static str, String) {
    ("pathproof", format!("#!/bin/sh\nexec {BINARY} \"$@\"\n"))
}

/// `PATH` with a folder before it.
fn path(folder: &str) -> String {
    format!("{folder}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// A client on host 0 that starts its far end on host 1, which is called `…10.61.0.2`.
struct Lab {
    hosts: TwoHosts,
    scratch: Scratch,
    via: String,
}

impl Lab {
    fn new(tag: &str, there: &[(&str, &str)]) -> Option<Lab> {
        let before = format!("pp{}-{tag}-", std::process::id());
        let hosts = TwoHosts::called([format!("{before}a"), format!("{before}10.61.0.2")])?;
        let scratch = Scratch::new(tag);
        programs(&scratch, there);
        Some(Lab { hosts, scratch, via: format!("ip netns exec {before}%h") })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.hosts.at(0, &[BINARY]);
        command.args(args).args(["--via", &self.via]);
        let home = self.scratch.path("");
        command.env("PATH", path(&self.scratch.path("bin"))).env("HOME", &home).env("TMPDIR", &home);
        command.stdin(Stdio::null());
        command
    }

    /// Processes on host 1.
    fn left_there(&self) -> String {
        let pids = Command::new("ip").args(["netns", "pids", self.hosts.name(1)]).output().unwrap();
        String::from_utf8(pids.stdout).unwrap()
    }

    /// Waits until nobody runs there any more.
    fn is_quiet(&self) -> bool {
        until(Duration::from_secs(8), || self.left_there().is_empty())
    }
}

fn until(limit: Duration, mut true_now: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if true_now() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The two ends met and made their steps. How those are judged is not what is tested here: a host whose processors are wanted elsewhere may
/// measure no round trip in 200 ms, and "cannot tell" is then the right answer.
fn ran(output: &Output, log: &str) -> serde_json::Value {
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{}\n{log}", stderr(output));
    let doc = document(output);
    assert!(doc["error"].is_null() && !doc["steps"].as_array().unwrap().is_empty(), "{:#}", doc["error"]);
    doc
}

const PINGPONG: [&str; 7] = ["bench", "pingpong", "10.61.0.2", "--time", "200ms", "--format", "json"];

#[test]
fn a_far_end_is_started_serves_and_leaves() {
    let (name, text) = installed();
    let Some(lab) = Lab::new("far", &[(name, &text)]) else { return };
    let output = run_within(lab.command(&PINGPONG), LIMIT);
    let doc = ran(&output, "");
    assert_eq!(doc["nodes"][1]["port"], 7797);
    assert!(doc["nodes"][1]["environment"]["nics"].as_array().is_some_and(|nics| nics.len() > 1));
    assert!(lab.is_quiet(), "still there: {}", lab.left_there());

    // Somebody else serves there already: the far end finds another port, unless one was named.
    let there = [BINARY, "serve", "--listen", "10.61.0.2:7797", "--key", "k-e-y-4-tests"];
    let _other = Server::spawn(lab.hosts.at(1, &there));
    let output = run_within(lab.command(&["networks", "10.61.0.2", "--format", "json"]), LIMIT);
    let port = document(&output)["nodes"][1]["port"].as_u64().unwrap();
    assert!(port >= 1024 && port != 7797, "{port}: {}", stderr(&output));
    let named = run_within(lab.command(&["bench", "pingpong", "10.61.0.2:7797", "--time", "200ms"]), LIMIT);
    assert_eq!(named.status.code(), Some(2));
    assert!(stderr(&named).contains("cannot listen on"), "{}", stderr(&named));
}

#[test]
fn the_offloads_of_a_far_end_that_is_started_here_are_tried_as_well() {
    let (name, text) = installed();
    let Some(lab) = Lab::new("faroff", &[(name, &text)]) else { return };
    let args = ["offloads", "10.61.0.2", "--time", "500ms", "--format", "json"];
    let doc = ran(&run_within(lab.command(&args), 3 * LIMIT), "");
    let rows = doc["offloads"].as_array().unwrap();
    for end in ["client", "server"] {
        let row = rows.iter().find(|row| row["end"] == end && row["off"] == "tx-checksumming");
        assert!(row.is_some_and(|row| row["restored"] == true), "{end}: {rows:#?}");
    }
    assert!(lab.is_quiet(), "still there: {}", lab.left_there());
}

#[test]
fn t31_a_client_that_is_killed_leaves_nothing_behind() {
    let (name, text) = installed();
    let Some(lab) = Lab::new("farkill", &[(name, &text)]) else { return };
    let output = lab.scratch.path("run.json");
    let args = ["bench", "stream", "10.61.0.2", "--time", "60s", "-o", &output];
    let mut command = lab.command(&args);
    let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(until(Duration::from_secs(10), || Path::new(&output).exists()), "the run has begun");
    assert!(!lab.left_there().is_empty());
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(lab.is_quiet(), "still there: {}", lab.left_there());
}

#[test]
fn ctrl_c_ends_the_run_with_what_the_far_end_measured() {
    let (name, text) = installed();
    let Some(lab) = Lab::new("farint", &[(name, &text)]) else { return };
    let output = lab.scratch.path("run.json");
    let args = ["bench", "stream", "10.61.0.2", "--time", "60s", "-o", &output];
    let mut command = lab.command(&args);
    // A group of its own, as a shell makes one for what runs in its foreground.
    let mut client = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(until(Duration::from_secs(10), || Path::new(&output).exists()), "the run has begun");
    std::thread::sleep(Duration::from_secs(1));
    let group = format!("-{}", client.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    assert_eq!(wait_within(&mut client, LIMIT).code(), Some(130));
    let doc: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&output).unwrap()).unwrap();
    // Goodput is what the receiver, the far end, has counted.
    let stream = step(&doc, "stream");
    assert!(
        stream["summary"]["goodput_bits_per_s"].as_u64().is_some_and(|rate| rate > 0),
        "{:#}",
        doc["error"]
    );
    assert!(lab.is_quiet(), "still there: {}", lab.left_there());
}

/// An ssh that asks for a password has switched off what the terminal shows: it is given the time to switch it on again.
#[test]
fn ctrl_c_while_the_command_asks_something_ends_it_in_order_and_at_once() {
    let scratch = Scratch::new("farask");
    let [asks, tidied] = ["asks", "tidied"].map(|name| scratch.path(name));
    let asking = format!(
        "#!/bin/sh\ntrap 'echo >{tidied}; exit 255' TERM\necho >{asks}\nwhile :; do sleep 0.05; done\n"
    );
    let folder = programs(&scratch, &[("asking", &asking)]);
    let mut command = pathproof(&["check", "127.0.0.1", "--quick", "--via", "asking"]);
    command.env("PATH", path(&folder)).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = command.spawn().unwrap();
    assert!(until(Duration::from_secs(10), || Path::new(&asks).exists()), "it was not started");
    let group = format!("-{}", client.id());
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    assert_eq!(wait_within(&mut client, LIMIT).code(), Some(130));
    assert!(Path::new(&tidied).exists(), "it was killed without a word");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn where_there_is_no_pathproof_it_is_lent_and_gone_afterwards() {
    let Some(lab) = Lab::new("farcopy", &[]) else { return };
    let missing = run_within(lab.command(&PINGPONG), LIMIT);
    assert_eq!(missing.status.code(), Some(2));
    let said = stderr(&missing);
    assert!(said.contains("no pathproof on 10.61.0.2") && said.contains("add --copy"), "{said}");

    let before = listing(&lab.scratch);
    let mut args = PINGPONG.to_vec();
    args.push("--copy");
    let output = run_within(lab.command(&args), LIMIT);
    ran(&output, "");
    assert_eq!(listing(&lab.scratch), before, "what was lent is still there");
    assert!(lab.is_quiet(), "still there: {}", lab.left_there());
}

/// Names below a scratch directory.
fn listing(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(&scratch.0).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn another_architecture_is_lent_nothing() {
    let uname = "#!/bin/sh\n[ \"$1\" = -m ] && echo riscv64 || echo Linux\n";
    let scratch = Scratch::new("fararch");
    let folder = programs(&scratch, &[("uname", uname)]);
    let mut command = pathproof(&["bench", "pingpong", "127.0.0.1", "--via", "env -u %h", "--copy"]);
    command.env("PATH", path(&folder)).env("TMPDIR", scratch.path(""));
    let output = run_within(command, LIMIT);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("Linux on riscv64") && said.contains("--copy cannot lend it"), "{said}");
    assert_eq!(listing(&scratch), ["bin"]);
}

/// Whatever stands at the other end of the command, this end says one sentence and is through.
#[test]
fn t30_a_command_that_is_no_shell_is_told_and_does_no_harm() {
    let begun = Instant::now();
    for (via, said) in [
        // It never stops talking.
        ("yes", "gave no shell on 127.0.0.1"),
        ("false", "gave no shell on 127.0.0.1 (exit status 1)"),
        // Its output ends before it does.
        ("sh -c 'exec >&- 2>&-; sleep 0.1; exit 7'", "gave no shell on 127.0.0.1 (exit status 7)"),
        ("no-such-program", "there is no program \"no-such-program\" here, which --via names"),
        // What it says on its standard error is a stranger's text.
        ("sh -c 'printf \"\\033[2Jforged\\n\" >&2'", "\\u{1b}[2Jforged"),
        // It has the words, and not the mark.
        ("sh -c 'echo 00 here Linux x86_64; echo 00 starting; echo pathproof-far-end 22 x'", "gave no shell"),
        ("'unclosed", "close every quote"),
    ] {
        let output = run_within(pathproof(&["check", "127.0.0.1", "--quick", "--via", via]), LIMIT);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{via}: {text}");
        assert!(text.contains(said) && !text.contains('\u{1b}'), "{via}: {text}");
        assert!(output.stdout.is_empty(), "{via}");
    }
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
}

/// A far end that has the mark may say no more than which port: one that is not the named one, or a system's, is not dialled.
#[test]
fn t30_a_far_end_sends_nobody_to_another_port() {
    let scratch = Scratch::new("farport");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap().port();
    let far = format!(
        "#!/bin/sh\necho pathproof-far-end 22 x\necho pathproof-far-end {other} x\nexec cat >/dev/null\n"
    );
    let folder = programs(&scratch, &[("pathproof", &far)]);
    let mut command = pathproof(&["bench", "pingpong", "127.0.0.1:7796", "--via", "env"]);
    command.env("PATH", path(&folder));
    let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(!until(Duration::from_secs(2), || listener.accept().is_ok()), "it was dialled");
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn keys_users_and_hosts_that_make_no_sense_are_refused_before_anything_is_started() {
    for (args, said) in [
        (&["check", "lab@stor2", "--key-file", "x"][..], "has a key of its own"),
        (&["check", "lab@stor2", "--via", "ssh %h"], "--via 'ssh lab@%h'"),
        (&["check", "stor2", "--copy"], "USER@stor2"),
        (&["check", "--self", "--copy"], "with --self it is this one"),
        (&["check", "lab@-oProxyCommand=id"], "is not a peer"),
        (&["check", "--", "-oProxyCommand=id"], "is not a peer"),
        (&["check", "--", "-l@stor2"], "is no name of a user"),
        (&["check", "st;or", "--via", "echo %h"], "is no name or address"),
        (&["mtu", "lab@stor2", "--agentless"], "leave USER@ and --via out"),
    ] {
        let output = run(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(said) && output.stdout.is_empty(), "{args:?}: {text}");
    }
}

/// A real sshd on loopback with keys and settings of its own, and an `ssh` that knows nothing of the user's.
struct Sshd {
    child: Child,
    scratch: Scratch,
}

impl Sshd {
    fn new(tag: &str, there: &[(&str, &str)]) -> Option<Sshd> {
        let program =
            ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program.filter(|_| uid() == "0") else {
            skip("a real sshd needs root and openssh-server");
            return None;
        };
        let scratch = Scratch::new(tag);
        programs(&scratch, there);
        for key in ["host", "user", "other"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &scratch.path(key)])
                .status();
            assert!(made.is_ok_and(|status| status.success()), "ssh-keygen");
        }
        std::fs::copy(scratch.path("user.pub"), scratch.path("authorized")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (host, authorized) = (scratch.path("host"), scratch.path("authorized"));
        let (there, home) = (path(&scratch.path("there")), scratch.path("tmp"));
        std::fs::create_dir_all(scratch.path("there")).unwrap();
        std::fs::create_dir_all(&home).unwrap();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile {authorized}\nSetEnv PATH={there} \
             TMPDIR={home} HOME={home}\nBanner none\n"
        );
        std::fs::write(scratch.path("sshd_config"), settings).unwrap();
        let known = scratch.path("known");
        let client = format!(
            "Host *\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {known}\nGlobalKnownHostsFile none\n\
             StrictHostKeyChecking accept-new\nControlMaster no\nControlPath none\nBatchMode yes\n",
            scratch.path("user")
        );
        std::fs::write(scratch.path("ssh_config"), client).unwrap();
        // Where privileges are given up; packages make it when their service starts.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let child = Command::new(program)
            .args(["-D", "-e", "-f", &scratch.path("sshd_config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(scratch.path("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Sshd { child, scratch };
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(until(Duration::from_secs(5), up), "{}", sshd.log());
        Some(sshd)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path("sshd.log")).unwrap_or_default()
    }

    /// A client whose ssh has these settings and no others.
    fn client(&self, args: &[&str]) -> Command {
        let settings = self.scratch.path("ssh_config");
        let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -F {settings} \"$@\"\n");
        let folder = programs(&self.scratch, &[("ssh", &ssh)]);
        let mut command = pathproof(args);
        command.env("PATH", path(&folder));
        command
    }

    /// Installs pathproof there.
    fn install(&self) {
        let (name, text) = installed();
        let path = Path::new(&self.scratch.path("there")).join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Sessions that it has with somebody.
    fn sessions(&self) -> usize {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        std::fs::read_to_string(children).unwrap_or_default().split_whitespace().count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn uid() -> String {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}

const OVER_SSH: [&str; 7] = ["bench", "pingpong", "root@127.0.0.1", "--time", "200ms", "--format", "json"];

#[test]
fn over_a_real_ssh_the_far_end_runs_is_lent_and_leaves() {
    let Some(sshd) = Sshd::new("sshd", &[]) else { return };
    let missing = run_within(sshd.client(&OVER_SSH), LIMIT);
    let said = stderr(&missing);
    assert_eq!(missing.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no pathproof on 127.0.0.1") && said.contains("add --copy"),
        "{said}\n{}",
        sshd.log()
    );

    let mut args = OVER_SSH.to_vec();
    args.push("--copy");
    let lent = run_within(sshd.client(&args), LIMIT);
    assert_eq!(ran(&lent, &sshd.log())["nodes"][1]["name"], "root@127.0.0.1");
    assert_eq!(
        std::fs::read_dir(sshd.scratch.path("tmp")).unwrap().count(),
        0,
        "what was lent is still there"
    );

    sshd.install();
    let installed = run_within(sshd.client(&OVER_SSH), LIMIT);
    ran(&installed, &sshd.log());
    assert!(until(Duration::from_secs(8), || sshd.sessions() == 0), "a session is left");
}

#[test]
fn over_a_real_ssh_a_client_that_is_killed_leaves_no_session() {
    let Some(sshd) = Sshd::new("sshkill", &[]) else { return };
    sshd.install();
    let output = sshd.scratch.path("run.json");
    let args = ["bench", "stream", "root@127.0.0.1", "--time", "60s", "-o", &output];
    let mut client = sshd.client(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(
        until(Duration::from_secs(15), || Path::new(&output).exists()),
        "the run has begun: {}",
        sshd.log()
    );
    assert!(sshd.sessions() > 0);
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(until(Duration::from_secs(10), || sshd.sessions() == 0), "a session is left");
}

#[test]
fn who_is_not_let_in_by_ssh_hears_why() {
    let Some(sshd) = Sshd::new("sshno", &[]) else { return };
    std::fs::copy(sshd.scratch.path("other.pub"), sshd.scratch.path("authorized")).unwrap();
    let refused = run_within(sshd.client(&OVER_SSH), LIMIT);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in ["Permission denied (publickey)", "exit status 255", "`ssh -l root 127.0.0.1 sh`", "by hand"]
    {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
}

#[test]
fn a_host_that_ssh_does_not_know_yet_is_told_with_the_command_that_asks() {
    let Some(sshd) = Sshd::new("sshkey", &[]) else { return };
    let settings = sshd.scratch.path("ssh_config");
    let strict = std::fs::read_to_string(&settings).unwrap().replace("accept-new", "yes");
    std::fs::write(&settings, strict).unwrap();
    let refused = run_within(sshd.client(&OVER_SSH), LIMIT);
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in ["Host key verification failed", "`ssh -l root 127.0.0.1 sh`", "by hand with `true`"] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
}

#[test]
fn without_an_ssh_here_it_is_said_what_to_install() {
    let scratch = Scratch::new("nossh");
    let mut command = pathproof(&["check", "lab@stor2"]);
    command.env("PATH", programs(&scratch, &[]));
    let output = run_within(command, LIMIT);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("there is no ssh here") && said.contains("install an OpenSSH client"), "{said}");
}
