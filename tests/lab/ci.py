#!/usr/bin/env python3
"""What users' continuous integration does: `ci.py BINARY [here | guest]`. The steps of action.yml and the script of the GitLab include, run by bash as
they stand in their files, against a release that is made on the spot: what is checked on this machine, what in an emulated guest, or both. Nothing is
fetched, and no package is installed."""
import json, os, re, shutil, subprocess, sys, tempfile, xml.etree.ElementTree as xml
from pathlib import Path

try:
    import yaml
except ImportError:
    print("SKIPPED: continuous integration for users: no yaml for Python (Debian: apt-get install python3-yaml)")
    sys.exit(1 if os.environ.get("PATHPROOF_REQUIRE_LAB") == "1" else 0)

ROOT = Path(__file__).resolve().parents[2]
BINARY, WHERE = sys.argv[1], sys.argv[2:] or ["here", "guest"]
KERNEL = Path(os.environ.get("PATHPROOF_LAB_CACHE") or Path.home() / ".cache/pathproof-lab") / "kernel-6.12.tar.zst"
failed = []


def check(name, holds, why=""):
    print(f"{'PASS' if holds else 'FAIL'} {name}" + ("" if holds else f": {why}"), flush=True)
    if not holds:
        failed.append(name)


def skip(name, why):
    print(f"SKIPPED: {name}: {why}")
    if os.environ.get("PATHPROOF_REQUIRE_LAB") == "1":
        failed.append(name)


def value(expression, known):
    """The few forms of expression that the action has; any other is an error of it."""
    if " && " in expression:
        return all(value(part, known) for part in expression.split(" && "))
    if " != " in expression:
        one, other = expression.split(" != ")
        return value(one, known) != value(other, known)
    if text := re.fullmatch(r"'([^']*)'", expression):
        return text[1]
    if not re.fullmatch(r"[a-z_.-]+", expression):
        raise ValueError(f"${{{{ {expression} }}}} is a form that this test does not know")
    place = known
    for name in expression.split("."):
        # What is not there is empty, as it is there.
        place = place.get(name, "") if isinstance(place, dict) else ""
    return place


def filled(text, known):
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: str(value(found[1], known)), str(text))


class Job:
    """A runner's place: a folder for the job, one for the runner, and a home."""

    def __init__(self, home, name, release):
        self.place = home / name
        self.work, self.temp, self.home = (self.place / part for part in ("work", "temp", "home"))
        for folder in (self.work, self.temp, self.home):
            folder.mkdir(parents=True)
        self.release, self.said = release, ""
        # Nothing is installed here, and what would have been is noted.
        stub = self.place / "bin"
        stub.mkdir()
        (stub / "apt-get").write_text(f"#!/bin/sh\necho \"$@\" >>{self.place}/installed\n")
        (stub / "apt-get").chmod(0o755)
        self.environment = {name: os.environ[name] for name in ("CARGO_HOME", "RUSTUP_HOME", "LANG") if name in os.environ}
        self.environment |= {"PATH": f"{stub}:{os.environ['PATH']}", "HOME": str(self.home)}

    def bash(self, script, more, options):
        file = self.place / "script.sh"
        file.write_text(script)
        ran = subprocess.run(["bash", "--noprofile", "--norc", *options, str(file)], cwd=self.work, env={**self.environment, **more}, timeout=900,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.said += ran.stdout
        return ran.returncode

    def kernel_from_the_cache(self, into):
        """What actions/cache, or GitLab's cache, would bring; and the folder that it was unpacked into where this machine has it."""
        if not KERNEL.is_file():
            return False
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(KERNEL, into / KERNEL.name)
        return True


class Action(Job):
    def run(self, **inputs):
        """The code that the job ends with; `outputs` and `summary` are what is left."""
        action = yaml.safe_load((ROOT / "action.yml").read_text())
        known_inputs = {name: one.get("default", "") for name, one in action["inputs"].items()}
        if odd := set(inputs) - set(known_inputs):
            raise ValueError(f"no inputs of the action: {odd}")
        known = {"inputs": {**known_inputs, "release": self.release, **inputs}, "github": {"action_repository": "somebody/pathproof"}, "steps": {}}
        self.summary, self.cached = self.place / "summary", None
        code = 0
        for step in action["runs"]["steps"]:
            condition = re.fullmatch(r"\$\{\{ (.*) \}\}", step.get("if", "${{ 'yes' }}"))[1]
            if not value(condition, known):
                continue
            if "uses" in step:
                self.cached = {name: filled(text, known) for name, text in step["with"].items()}
                self.kernel_from_the_cache(Path(self.cached["path"].replace("~", str(self.home))).parent)
                continue
            output = self.place / "output"
            output.write_text("")
            environment = {name: filled(text, known) for name, text in step.get("env", {}).items()}
            environment |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.summary), "RUNNER_TEMP": str(self.temp), "GITHUB_ACTIONS": "true",
                            "GITHUB_SERVER_URL": f"file://{self.place.parent}/forge", "GITHUB_WORKSPACE": str(self.work)}
            assert step["shell"] == "bash"
            code = self.bash(step["run"], environment, ["-eo", "pipefail"])
            if "id" in step:
                known["steps"][step["id"]] = {"outputs": dict(line.split("=", 1) for line in output.read_text().splitlines())}
            if code != 0:
                break
        self.outputs = {name: filled(one["value"], known) for name, one in action["outputs"].items()}
        return code


class Pipeline(Job):
    def run(self, **inputs):
        spec, jobs = yaml.safe_load_all((ROOT / "packaging/ci/pathproof.gitlab-ci.yml").read_text())
        given = {}
        for name, one in spec["spec"]["inputs"].items():
            given[name] = inputs.pop(name) if name in inputs else one["default"]
            if "options" in one and given[name] not in one["options"]:
                raise ValueError(f"{given[name]} is none of {one['options']}")
        if inputs:
            raise ValueError(f"no inputs of the include: {inputs}")
        fill = lambda text: re.sub(r"\$\[\[ inputs\.([a-z]+) \]\]", lambda found: given[found[1]], text)
        [(name, job)] = jobs.items()
        self.name = fill(name)
        place = lambda text: fill(text).replace("$CI_PROJECT_DIR", str(self.work))
        environment = {name: place(text) for name, text in job["variables"].items()} | {"CI_PROJECT_DIR": str(self.work)}
        [cached] = job["cache"]["paths"]
        if given["rdma"]:
            self.kernel_from_the_cache((self.work / cached).parent)
        # As its runner does: one line after the other, in one shell that ends at the first that fails.
        code = self.bash("\n".join(job["script"]), environment, ["-eo", "pipefail"])
        kept = [self.work / path for path in job["artifacts"]["paths"]]
        self.kept = sorted(path.name for folder in kept for path in folder.rglob("*"))
        self.junit = self.work / job["artifacts"]["reports"]["junit"]
        return code


def documented():
    """What docs/CI.md shows are inputs that there are."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    include = next(yaml.safe_load_all((ROOT / "packaging/ci/pathproof.gitlab-ci.yml").read_text()))["spec"]["inputs"]
    page, seen = (ROOT / "docs/CI.md").read_text(), 0
    for shown in re.findall(r"```yaml\n(.*?)```", page, re.S):
        shown = yaml.safe_load(shown)
        steps = [step for job in shown.get("jobs", {}).values() for step in job["steps"] if "/pathproof@" in step.get("uses", "")]
        for names, known in [(step["with"], action) for step in steps] + [(one["inputs"], include) for one in shown.get("include", [])]:
            seen += 1
            check(f"docs/CI.md: example {seen}", set(names) <= set(known), set(names) - set(known))
    check("docs/CI.md has examples", seen >= 4, seen)
    rows = set(re.findall(r"^\| `([a-z]+)` \|", page, re.M))
    check("docs/CI.md has a row for each input", rows == set(action), rows ^ set(action))


def asked_first(home):
    """What docs/CI.md asks a runner's kernel before a job is to be skipped: a step that never fails, and that says yes only where the module loads."""
    shown = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/CI.md").read_text(), re.S)]
    [jobs] = [one["jobs"] for one in shown if "kernel" in one.get("jobs", {})]
    [step], native = jobs["kernel"]["steps"], jobs["native"]
    known = jobs["kernel"]["outputs"]["rxe"] == f"${{{{ steps.{step['id']}.outputs.rxe }}}}"
    check("native: its job is skipped where nobody said yes", known and native["needs"] == "kernel" and native["if"] == "needs.kernel.outputs.rxe == 'yes'", native)
    check("native: and asks for nothing else", [one.get("with", {}).get("rdma") for one in native["steps"]][-1] == "native", native)
    for name, loads, answer in [("has", "exit 0", "rxe=yes\n"), ("has not", "exit 1", "")]:
        job = Job(home, f"a-kernel-that-{name.replace(' ', '-')}", "")
        for stub, does in [("sudo", 'exec "$@"'), ("modprobe", loads), ("apt-get", loads)]:
            (job.place / "bin" / stub).write_text(f"#!/bin/sh\n{does}\n")
            (job.place / "bin" / stub).chmod(0o755)
        output = job.place / "output"
        output.touch()
        code = job.bash(step["run"], {"GITHUB_OUTPUT": str(output)}, ["-e"])
        check(f"native: a kernel that {name} the module is told", (code, output.read_text()) == (0, answer), (code, output.read_text(), job.said))


RAN = (0, 1, 3)


def whole(name, job, code, folder):
    """A run of whatever outcome, with all that is to be kept of it."""
    document = folder / "result.json"
    check(f"{name}: it ran", code in RAN and document.is_file(), f"{code}: {job.said[-3000:]}")
    if not document.is_file():
        return None
    document = json.loads(document.read_text())
    check(f"{name}: the job ends as the document says", document["exit_code"] == code, (code, document["exit_code"]))
    cases = xml.parse(folder / "junit.xml").getroot().iter("testcase")
    check(f"{name}: JUnit has cases", len(list(cases)) > 0)
    check(f"{name}: one page, and the report", "<html" in (folder / "result.html").read_text() and "\n" in (folder / "report.txt").read_text())
    return document


def main(home):
    release = home / "forge/somebody/pathproof/releases/download/v0.1.0"
    made = subprocess.run([ROOT / "scripts/package", "--binary", BINARY, "--level", "1", "--only", "tar", "--out", release],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    check("a release", made.returncode == 0, made.stdout)
    for where in WHERE:
        {"here": here, "guest": guest}[where](home, release, f"file://{release}")


def here(home, release, url):
    documented()
    asked_first(home)
    helped = subprocess.run([ROOT / "packaging/ci/run", "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    check("its help begins with what it is for", helped.startswith("What it is for: "), helped[:80])
    ping = "bench pingpong --self --time 300ms"

    job = Action(home, "check", "")
    (job.work / "limits.toml").write_text("# none of its own\n")
    code = job.run(version="0.1.0", command=f"{ping} --size '64'", criteria="limits.toml")
    document = whole("action", job, code, job.work / "pathproof-result")
    check("action: it names what it kept", job.outputs["outcome"] == document["outcome"] and Path(job.outputs["html"]).is_file(), job.outputs)
    check("action: the summary shows the report", "round trip" in job.summary.read_text(), job.summary.read_text())
    check("action: no kernel is fetched where no RDMA is wanted", job.cached is None and not (job.place / "installed").exists())

    job = Action(home, "against", url)
    kept = home / "check/work/pathproof-result/result.json"
    shutil.copy(kept, job.work / "monday.json")
    code = job.run(command="check --self --quick", criteria="lenient-ci", baseline="monday.json")
    document = whole("baseline", job, code, job.work / "pathproof-result")
    check("baseline: the result was held against it", any(verdict["subject"] == "baseline" for verdict in document["verdicts"]) if document else False,
          [verdict["subject"] for verdict in document["verdicts"]])

    for name, said, more in [
        ("a command that there is not", "pathproof", {"command": "chekc --self"}),
        ("a quote that is left open", "close every quote", {"command": "check --self 'oh"}),
        ("a baseline that there is not", "no file yesterday.json", {"baseline": "yesterday.json"}),
        ("limits that there are not", "lenient-ci", {"criteria": "lenient"}),
        ("another word for RDMA", "takes rxe, siw, both or native", {"rdma": "roce"}),
        ("a release that there is not", "curl", {"version": "9.9.9", "release": ""}),
        ("RDMA of a kernel that has none", "nothing was measured", {"rdma": "native"}),
    ]:
        if more.get("rdma") == "native" and subprocess.run(["modprobe", "-n", "rdma_rxe"], stderr=subprocess.DEVNULL).returncode == 0:
            skip(name, "this kernel has Soft-RoCE")
            continue
        job = Action(home, name.replace(" ", "-"), url)
        code = job.run(**more)
        check(f"{name} is no success", code not in RAN and said in job.said, f"{code}: {job.said[-2000:]}")
        check(f"{name} leaves no result", job.outputs["json"] == "" and job.outputs["outcome"] in ("", "none"), job.outputs)

    damaged = home / "damaged"
    shutil.copytree(release, damaged)
    [archive] = damaged.glob("*.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-1] + b"?")
    for job in (Action(home, "damage", f"file://{damaged}"), Pipeline(home, "damage-gitlab", "")):
        shutil.copytree(damaged, home / "v0.1.0", dirs_exist_ok=True)
        code = job.run() if isinstance(job, Action) else job.run(releases=f"file://{home}", version="0.1.0")
        ran = (job.work / "pathproof-result").exists()
        check(f"{job.place.name}: what was changed on the way is not run", code != 0 and "FAILED" in job.said and not ran, f"{code}: {job.said}")

    job = Pipeline(home, "gitlab", "")
    code = job.run(releases=f"file://{release.parent}", version="0.1.0", command=ping)
    whole("GitLab", job, code, job.work / "pathproof-result")
    check("GitLab: the job has the name that it is given", job.name == "pathproof", job.name)
    check("GitLab: the report of cases is kept", job.junit.name in job.kept, job.kept)


def guest(home, release, url):
    if not KERNEL.is_file() or not shutil.which("qemu-system-x86_64"):
        return skip("RDMA in an emulated guest", f"no QEMU, or no lab kernel in {KERNEL} (scripts/lab/vm --setup)")
    job = Action(home, "rdma", url)
    code = job.run(rdma="rxe", command="bench pingpong --self --over rdma --time 1s", criteria="lenient-ci")
    document = whole("RDMA", job, code, job.work / "pathproof-result")
    check("RDMA: it was measured over it", document and document["steps"][-1]["over"] == "rdma", job.said[-2000:])
    check("RDMA: the kernel is cached by what it is made by", re.search(r"6\.12-[0-9a-f]{16}$", (job.cached or {}).get("key", "")), job.cached)
    # TCP alone would be green whatever becomes of RDMA.
    code = job.run(rdma="rxe", command="bench pingpong --self --time 300ms", criteria="lenient-ci")
    check("a command that leaves RDMA out is no success", code != 0 and "needs --over rdma" in job.said, f"{code}: {job.said[-2000:]}")
    # A kernel that has Soft-RoCE, and a NIC with a route: the guest's own, with no device made before.
    into, ci = job.place / "native", job.temp / "pathproof/usr/share/pathproof/ci/run"
    into.mkdir()
    script = f"""modprobe veth && ip link add nic0 type veth peer name nic1 && ip addr add 10.99.0.1/24 dev nic0 && ip link set nic0 up && ip link set nic1 up &&
        ip route add default via 10.99.0.2 && {ci} --into {into} --rdma native --criteria lenient-ci --command 'bench pingpong --self --over rdma --time 1s'"""
    ran = subprocess.run([ROOT / "scripts/lab/vm", "--boot-limit", "180", "--time-limit", "300", "--write", into, "--", "sh", "-c", script],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400)
    job.said = ran.stdout
    document = whole("native", job, ran.returncode, into)
    check("native: it was measured over RDMA", document and document["steps"][-1]["over"] == "rdma", ran.stdout[-2000:])


# Not below /tmp, which a guest has for itself.
place = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
with tempfile.TemporaryDirectory(prefix="ci-", dir=place) as scratch:
    main(Path(scratch))
print(f"ci: {len(failed)} failed" + (": " + ", ".join(failed) if failed else ""))
sys.exit(1 if failed else 0)
