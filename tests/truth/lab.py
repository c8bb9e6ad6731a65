"""Builds a scenario: scripts/lab/netlab's namespaces, and wires, names, processor quotas and background work on top."""

import importlib.machinery
import importlib.util
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
QUOTAS = Path("/sys/fs/cgroup/cpu")
KEY = "truth-lab-key-0001"


def _netlab():
    loader = importlib.machinery.SourceFileLoader("netlab", str(ROOT / "scripts/lab/netlab"))
    spec = importlib.util.spec_from_loader("netlab", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


netlab = _netlab()
LabError = netlab.LabError


def compile_wire(directory):
    """The wire as a program; LabError without a C compiler."""
    program = Path(directory) / "wire"
    if not shutil.which("cc"):
        raise LabError("no C compiler (cc)")
    netlab.run("cc", "-O2", "-o", str(program), str(HERE / "wire.c"), timeout=120)
    return program


class Lab(netlab.Lab):
    """One scenario; leaving it removes every namespace, process, quota and file that it made."""

    active = set()

    def __init__(self, scenario, directory):
        super().__init__(scenario)
        self.prefix = f"tr-{os.getpid()}x{netlab.Lab.made}-"
        self.directory = Path(directory)
        self.quotas, self.name_files, self.wires = [], [], []
        self.servers, self.places = {}, {}
        Lab.active.add(self)

    def build(self):
        # Taps must exist before anything is said to them, and veth ends before a wire takes them.
        prepare, self.scenario["prepare"] = self.scenario.get("prepare", []), []
        super().build()
        for wire in self.scenario.get("wire", []):
            self.wire(wire)
        for host, lines in self.scenario.get("names", {}).items():
            self.names(host, lines)
        for host, percent in self.scenario.get("cpu_percent", {}).items():
            self.quota(host, percent)
        self.prepare(prepare)
        # A bridge forwards at once without a spanning tree, but addresses are only usable when carrier is known.
        self.settle()
        for work in self.scenario.get("background", []):
            # A session of its own: some servers end by a signal to everybody in theirs.
            self.start(work["host"], self.words(work["command"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       start_new_session=True)

    def prepare(self, steps):
        for step in steps:
            done = netlab.run(*self.command(step["host"], self.words(step["command"])), check=False)
            if done.returncode not in step.get("codes", [0]):
                raise LabError(f"{step['command']} in {step['host']}: exit {done.returncode}: {done.stderr.strip()}")

    def words(self, command):
        """A command of a scenario as words. `probe` is probe.py, a leading `$ ` asks for a shell; @HOST is the name of a
        namespace, @dir a directory for files, @probe probe.py inside a shell line, @serve_HOST the server's process."""
        places = {"probe": f"{sys.executable} {HERE / 'probe.py'}", "dir": str(self.directory)} | self.places
        places |= {f"serve_{host}": str(server.pid) for host, server in self.servers.items()}
        places |= {host: self.ns(host) for host in self.scenario["hosts"]}
        command = re.sub(r"@(\w+)", lambda m: places.get(m[1], m[0]), command)
        if command.startswith("$ "):
            return ["sh", "-c", command[2:]]
        words = netlab.shlex.split(command)
        return [sys.executable, str(HERE / "probe.py"), *words[1:]] if words[0] == "probe" else words

    def settle(self):
        """Waits until every interface that is up has carrier and no IPv6 address is tentative."""
        for _ in range(60):
            waiting = False
            for host in self.scenario["hosts"]:
                out = netlab.run("ip", "-n", self.ns(host), "-o", "address", check=False).stdout
                waiting |= " tentative" in out
            if not waiting:
                return
            time.sleep(0.05)

    def repair_wires(self, faults=()):
        """The wires without their faults: what is between the hosts has been repaired. `faults` are those that the advice means to leave."""
        running, self.wires = self.wires, []
        for process, wire in running:
            if any(not end.startswith("packet:") for end in wire["ends"]):
                raise LabError("a wire between TAP devices takes them away with it")
            process.terminate()
            process.wait(timeout=5)
            self.wire({**wire, "faults": list(faults)})

    def wire(self, wire):
        ends = []
        for end in wire["ends"]:
            kind, host, nic = end.split(":")
            ends.append(f"{kind}:{self.ns(host)}:{nic}")
        process = subprocess.Popen([str(self.directory / "wire"), *ends, *wire["faults"]], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        self.wires.append((process, wire))
        ready, _, _ = select.select([process.stdout], [], [], 5)
        if not ready or process.stdout.readline().strip() != "wire: up":
            raise LabError(f"the wire between {' and '.join(wire['ends'])} does not come up")

    def names(self, host, lines):
        directory = Path("/etc/netns") / self.ns(host)
        directory.mkdir(parents=True)
        self.name_files.append(directory)
        (directory / "hosts").write_text("".join(line + "\n" for line in ["127.0.0.1 localhost", *lines]))

    def quota(self, host, percent):
        """What runs in this host from now on shares so much of one processor."""
        group = QUOTAS / self.ns(host)
        try:
            group.mkdir()
            self.quotas.append(group)
            # As short as it goes: a quota of 100 ms would look like a link that stalls.
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text(str(percent * 1000))
        except OSError as error:
            raise LabError(f"no processor quotas here: {error}") from error

    def unthrottle(self, host):
        """The quota is taken away, from what runs there already as well."""
        (QUOTAS / self.ns(host) / "cpu.cfs_quota_us").write_text("-1")

    def command(self, host, command):
        words = super().command(host, command)
        group = QUOTAS / self.ns(host)
        if group in self.quotas:
            return ["sh", "-c", 'echo $$ >"$0"/cgroup.procs; exec "$@"', str(group), *words]
        return words

    def serve(self, pathproof, host, arguments):
        log = open(self.directory / f"serve-{host}.log", "w")
        server = self.start(host, [pathproof, "serve", *arguments], stdout=log, stderr=log,
                            env={**os.environ, "PATHPROOF_KEY": KEY})
        for _ in range(200):
            if netlab.run(*super().command(host, "ss -Hltn sport = :7797")).stdout.strip():
                self.servers[host] = server
                return server
            if server.poll() is not None:
                break
            time.sleep(0.025)
        raise LabError(f"pathproof serve in {host} does not listen")

    def stop_serving(self, host):
        server = self.servers.pop(host)
        server.terminate()
        server.wait(timeout=10)

    def close(self):
        Lab.active.discard(self)
        # Whatever still runs in a namespace was started for it, whoever its parent is by now.
        for namespace in self.namespaces:
            for pid in netlab.run("ip", "netns", "pids", namespace, check=False).stdout.split():
                try:
                    os.kill(int(pid), signal.SIGTERM)
                except ProcessLookupError:
                    pass
        super().close()
        for group in self.quotas:
            for _ in range(40):
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)
        for directory in self.name_files:
            shutil.rmtree(directory, ignore_errors=True)
        self.quotas, self.name_files = [], []
