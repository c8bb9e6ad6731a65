#!/usr/bin/env python3
"""Meshes started by real engines over hosts of `scripts/lab/cluster`: `mesh.py BINARY [NAME ...]`. What `pathproof mesh --template` prints is
run as it is printed, on a site with a fault that the document must name, alone. What cannot be tried here is SKIPPED with its reason, and
fails where it was required."""
import json, os, re, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = str(Path(sys.argv[1]).resolve())
CLUSTER = str(ROOT / "scripts/lab/cluster")
SHORT = ["--time", "300ms", "-o", "mesh.json"]
failed = []


class Case:
    """One site, with a folder of its own."""

    def __init__(self, home, name):
        self.name, self.folder, self.begun = name, home / name, time.monotonic()
        self.folder.mkdir()

    def check(self, what, holds, why=""):
        print(f"{'PASS' if holds else 'FAIL'} {self.name}: {what}" + ("" if holds else f": {str(why)[-1500:]}"), flush=True)
        if not holds:
            failed.append(f"{self.name}: {what}")

    def template(self, engine, size, file):
        text = subprocess.run([BINARY, "mesh", "--template", engine, "--size", str(size)], capture_output=True, text=True, check=True).stdout
        (self.folder / file).write_text(text)

    def start(self, *words, stdin=None):
        environment = {**os.environ, "PATHPROOF_BINARY": BINARY}
        out = subprocess.run([CLUSTER, *map(str, words)], cwd=self.folder, env=environment, stdin=stdin,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170)
        self.code, self.said = out.returncode, out.stdout
        file = self.folder / "mesh.json"
        self.doc = json.loads(file.read_text()) if file.exists() else {}
        return out.stdout

    def names(self, kind, rank, code=1, said=None):
        """The document names one rank for one thing, the report says so, and the exit code is the verdict."""
        suspects = [(suspect["kind"], suspect["who"]) for suspect in self.doc.get("suspects", [])]
        wanted = [(kind, {"is": "host", "rank": rank})]
        self.check("the culprit is named, and nobody else", suspects == wanted, (suspects, self.said))
        self.check("the report says so", f"node{rank + 1} ({rank})" in (said or self.said), (said or self.said))
        self.ended(code)

    def ended(self, code):
        dead = self.doc.get("dead")
        self.check(f"it ends with {code}, and nobody is missing", self.code == code and dead == [], (self.code, dead, self.said))


def slurm(case):
    case.template("slurm", 8, "mesh.sh")
    case.start("slurm", 8, "slow=3", "head", "--", "sbatch", "--wait", "mesh.sh")
    case.names("goodput", 2, said="".join(file.read_text() for file in case.folder.glob("slurm-*.out")))


def mpirun(case):
    case.template("mpirun", 8, "mesh.sh")
    (case.folder / "hosts").write_text("# all of them\n" + "".join(f"node{n}\n" for n in range(1, 9)))
    case.start("mpirun", 8, "small=3", "head", "--", "bash", "mesh.sh", "hosts")
    case.names("mtu", 2)


def ansible(case):
    case.template("ansible", 8, "mesh.yml")
    (case.folder / "inventory").write_text("[mesh]\n" + "".join(f"node{n}\n" for n in range(1, 9)))
    said = case.start("ansible", 8, "small=3", "head", "--", "ansible-playbook", "-i", "inventory", "-f", "8", "mesh.yml")
    # Ansible's own 2: a host failed. Which code pathproof ended with stands in what it says.
    case.names("mtu", 2, code=2)
    case.check("only rank 0 failed", re.findall(r"failed=(\d+)", said) == ["1"] + ["0"] * 7 and "ended with 1 " in said, said)


def clush(case):
    case.template("clush", 4, "mesh.sh")
    case.start("clush", 4, "small=3", "head", "--", "bash", "mesh.sh", "node[1-4]")
    case.names("mtu", 2)


def pdsh(case):
    case.start("pdsh", 4, "small=3", "--", "pathproof", "mesh", "--hosts", "node[1-4]", *SHORT)
    case.names("mtu", 2)


def mpich(case):
    case.start("mpich", 4, "small=3", "--", "pathproof", "mesh", "--rendezvous", "node1", *SHORT)
    case.names("mtu", 2)


def kubernetes(case):
    """No cluster of it is here: the manifest's own command, with what an Indexed Job gives its pods. tests/mesh.rs holds it against the schemas."""
    case.template("k8s", 4, "mesh.yaml")
    command = re.search(r"command: \[(.*)\]", (case.folder / "mesh.yaml").read_text())[1]
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|[^,\s][^,]*', command)]
    case.start("k8s", 4, "small=3", "--", *words, *SHORT)
    case.names("mtu", 2)


def killed(case):
    """Open MPI ends a job when one process is killed, unless it is told not to; the others are measured."""
    case.template("mpirun", 4, "mesh.sh")
    (case.folder / "hosts").write_text("".join(f"node{n}\n" for n in range(1, 5)))
    case.start("mpirun", 4, "dead=3@4", "head", "--", "bash", "mesh.sh", "hosts")
    dead = [rank["rank"] for rank in case.doc.get("dead", [])]
    case.check("who was killed is named", (dead, case.code) == ([2], 1), (dead, case.code, case.said))
    rates = case.doc["planes"][0]["matrices"]["goodput_bits_per_s"]
    others = [rates[a][b] for a in (0, 1, 3) for b in (0, 1, 3) if a != b]
    case.check("the others are measured", all(others), rates)


def killed_by_slurm(case):
    """srun goes on without the task, and ends with what killed it; the verdict stands in the document."""
    case.start("slurm", 4, "dead=3@4", "--", "pathproof", "mesh", *SHORT)
    dead = [rank["rank"] for rank in case.doc.get("dead", [])]
    case.check("who was killed is named, and srun says by what", (dead, case.code) == ([2], 137), (dead, case.code, case.said))
    verdict = subprocess.run([BINARY, "report", str(case.folder / "mesh.json")], capture_output=True).returncode
    case.check("the document has the verdict", verdict == 1, verdict)


def fan_out(case):
    command = "clush -S -f 2 -w 'node[1-4]' pathproof mesh --hosts 'node[1-4]' --wait 3s --time 300ms --key-file /dev/stdin -o mesh.json <key"
    (case.folder / "key").write_text("a-key-of-the-test\n")
    said = case.start("clush", 4, "head", "--", "bash", "-c", command)
    case.check("who is missing is named, with what to raise", "2 of 4 ranks came" in said and "missing: " in said and "clush -f 4" in said and "ansible" not in said, said)
    case.check("they are dead to the document", len(case.doc.get("dead", [])) == 2, case.doc.get("dead"))


def crowded(case):
    command = "mpirun -n 3 --host node1:2,node2:1 -x PATHPROOF_KEY pathproof mesh --rendezvous node1 --time 300ms --rounds 1 -o mesh.json"
    said = case.start("mpirun", 2, "head", "--", "env", "PATHPROOF_KEY=a-key-of-the-test", "bash", "-c", command)
    case.check("ranks on one host are named", "2 ranks are on node1: 0 1" in said and "ppr:1:node" in said, said)


def nested(case):
    """mpirun within a job of Slurm: Slurm's step is not the job, and the first host of the step is not rank 0's."""
    (case.folder / "mesh.sh").write_text("""#!/bin/bash
#SBATCH --nodes=4 --ntasks-per-node=1
export PATHPROOF_KEY=a-key-of-the-test OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun --map-by ppr:1:node pathproof mesh --time 300ms -o mesh.json
""")
    case.start("slurm", 4, "small=3", "head", "--", "sbatch", "--wait", "mesh.sh")
    case.names("mtu", 2, said="".join(file.read_text() for file in case.folder.glob("slurm-*.out")))


def cleanup(case):
    """A cluster that is killed outright takes its servers and hosts along, and leaves nothing on the machine."""
    mark = f"{os.getpid()}31415"
    running = lambda: [words for words in map(command_line, filter(str.isdigit, os.listdir("/proc"))) if mark in words]
    tasks = lambda: sum(Path(words[0]).name == "sleep" for words in running())
    before = sorted(os.listdir("/run"))
    child = subprocess.Popen([CLUSTER, "slurm", "2", "--", "sleep", mark], cwd=case.folder)
    until = time.monotonic() + 60
    while tasks() < 2 and time.monotonic() < until:
        time.sleep(0.1)
    case.check("it runs on both hosts", tasks() == 2, running())
    child.kill()
    child.wait()
    until = time.monotonic() + 20
    while running() and time.monotonic() < until:
        time.sleep(0.1)
    case.check("nothing runs any more", not running(), running())
    case.check("/run is as it was", not {"cluster", "sshd"} & (set(os.listdir("/run")) - set(before)), os.listdir("/run"))


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


# What is judged by figures runs alone; what is not, three at a time: it waits for its engine more than it works.
ALONE = [slurm]
BESIDE = [mpirun, ansible, clush, killed, killed_by_slurm, fan_out, nested, kubernetes, pdsh, mpich, crowded, cleanup]
NEEDS = {"kubernetes": "k8s", "killed": "mpirun", "killed_by_slurm": "slurm", "fan_out": "clush", "crowded": "mpirun", "nested": "slurm", "cleanup": "slurm"}


def attempt(home, case):
    name = case.__name__
    lacking = subprocess.run([CLUSTER, "--check", NEEDS.get(name, name)], capture_output=True, text=True)
    if lacking.returncode != 0:
        print(f"SKIPPED: {name}: {lacking.stdout.strip() or lacking.stderr.strip()}", flush=True)
        if os.environ.get("PATHPROOF_REQUIRE_LAB") == "1":
            failed.append(name)
        return
    made = Case(home, name)
    try:
        case(made)
    except Exception as why:  # one case must not take the others along
        made.check("it was tried", False, f"{type(why).__name__}: {why}")
    print(f"     {name}: {time.monotonic() - made.begun:.0f} s", flush=True)


def main(home, named):
    def wanted(cases):
        return [case for case in cases if not named or case.__name__ in named]

    for case in wanted(ALONE):
        attempt(home, case)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda case: attempt(home, case), wanted(BESIDE)))
    print(f"{'FAILED: ' + ', '.join(failed) if failed else 'all passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pathproof-mesh-") as home:
        sys.exit(main(Path(home), sys.argv[2:]))
