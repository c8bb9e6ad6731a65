"""The packaged service (packaging/pathproof.service) under a real systemd in the lab's guest, and RDMA through its walls. Standard library only.

Run by scripts/test.d/unit.guest in a boot of scripts/lab/vm with `--rdma rxe`: `unit.py BINARY PACKAGE.deb`. systemd is process 1 of PID and mount
namespaces of its own, and shares the guest's network: Soft-RoCE listens only there. The clients are outside of it. The exit code is the number of failed cases.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from guest import document_of, own_copy, run_cases

BINARY, PACKAGE = own_copy(sys.argv[1]), sys.argv[2]
ROOT = Path(__file__).resolve().parents[2]
SERVER, PORT = "10.77.0.2", 7797
STREAM = ["bench", "stream", f"{SERVER}:{PORT}", "--over", "rdma", "--verb", "write", "--size", "64KiB", "--verify"]
KEY_FILE = "/etc/pathproof/key"
DROP_INS = "/etc/systemd/system/pathproof.service.d"
JUDGED = (0, 1, 3)

# What dpkg installs goes to memory, since the host's own root is below; of the units of that root there are those that every service needs,
# and of its packages those that this one depends on: the rest would cost an emulated processor a minute.
# An empty `container` says that this is none, whatever the host is: systemd does all that it does on a host, and shares the
# mounts itself. Without that no credential reaches a service, since a helper makes it in a namespace of its own.
START = r"""
set -e
units=/usr/lib/systemd/system
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/up /mnt/work /mnt/units /mnt/dpkg/info /mnt/dpkg/updates /mnt/dpkg/triggers
(cd $units && cp sysinit.target basic.target shutdown.target multi-user.target /mnt/units)
dpkg-query --status $(dpkg-deb --field "$1" Depends | sed 's/([^)]*)//g; s/,/ /g') >/mnt/dpkg/status
cp /var/lib/dpkg/info/format /mnt/dpkg/info
mount -t overlay overlay -o lowerdir=/usr,upperdir=/mnt/up,workdir=/mnt/work /usr
mount --bind /mnt/units $units
mount --bind /mnt/dpkg /var/lib/dpkg
for folder in ${units}-generators /etc/systemd/system; do mount -t tmpfs -o mode=755 tmpfs $folder; done
exec env -i PATH="$PATH" container= /usr/lib/systemd/systemd --unit=basic.target
"""

# What is tried within the unit's walls: of each its name, and None or the name of the error.
PROBE = r"""
import ctypes, errno, json, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
tried = {
    "its key": lambda: open(os.environ["CREDENTIALS_DIRECTORY"] + "/key").read(),
    "verbs": lambda: open("/dev/infiniband/uverbs0", "r+b", buffering=0),
    "connections of RDMA": lambda: open("/dev/infiniband/rdma_cm", "r+b", buffering=0),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "root's key": lambda: open("/etc/pathproof/key"),
    "write to /etc": lambda: open("/etc/of-the-probe", "w"),
    "write to /usr": lambda: open("/usr/bin/pathproof", "r+b"),
    "other devices": lambda: open("/dev/kmsg", "rb", buffering=0),
    "packet sockets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0),
    "raw sockets": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "namespaces": lambda: call(libc.unshare(0x10000000)),
    "mounts": lambda: call(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None)),
    "memory to write and run": lambda: mmap.mmap(-1, 4096, prot=7),
}
said = {}
for name, attempt in tried.items():
    try:
        attempt()
        said[name] = None
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error.errno))
print("PROBE " + json.dumps(said), flush=True)
"""
ALLOWED = {"its key", "verbs", "connections of RDMA", "netlink"}

init = None


def inside(*words, limit=240, given=None):
    """A command among systemd's processes."""
    words = ["nsenter", "--target", str(init), "--pid", "--mount", "--root", "--wd=/", *words]
    return subprocess.run(words, input=given, capture_output=True, text=True, timeout=limit)


def must(*words, **more):
    done = inside(*words, **more)
    assert done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def wait(what, holds, limit=240):
    end = time.monotonic() + limit
    while not (found := holds()):
        assert time.monotonic() < end, f"{what}: not within {limit} s"
        time.sleep(0.2)
    return found


def shown():
    """What systemd says of the service: {property: value}."""
    return dict(line.split("=", 1) for line in must("systemctl", "show", "pathproof").splitlines())


def said():
    """What the service printed: there is no journal here."""
    return inside("cat", "/run/said").stdout


def listening():
    return subprocess.run(["ss", "-Hltn", f"sport = :{PORT}"], capture_output=True, text=True).stdout


def drop_in(name, text):
    must("sh", "-c", f"mkdir -p {DROP_INS} && cat >{DROP_INS}/{name}.conf && systemctl daemon-reload", given=f"[Service]\n{text}")


def start_systemd():
    global init
    with open("/run/of-start", "w") as output:
        started = subprocess.Popen(["unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START, "sh", PACKAGE],
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")

    def up():
        assert started.poll() is None, f"systemd ended: {Path('/run/of-start').read_text()}"
        return init and inside("systemctl", "is-active", "basic.target").stdout.strip() == "active"
    init = wait("its first process", lambda: children.read_text().split())[0]
    wait("systemd's basic target", up)
    drop_in("said", "StandardOutput=append:/run/said\nStandardError=append:/run/said\n")
    return started


def running():
    """The service's process, once it answers."""
    wait("its port", listening)
    service = shown()
    assert service["ActiveState"] == "active", service
    return service["MainPID"]


def client(*words, key=None):
    key = {"PATHPROOF_KEY": key} if key else {}
    words = [BINARY, *words, "--format", "json", *([] if key else ["--key-file", KEY_FILE])]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env={**os.environ, **key})


def measured(*words):
    """The document of a client: an unfit path is an answer too, on an emulated processor, and who has no processor at all is asked again."""
    for _ in range(3):
        done = client(*words)
        if "may be overloaded" not in done.stderr:
            break
    assert done.returncode in JUDGED, f"exit {done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
    return document_of(done)


def carried(words):
    """The last step of a run that carried something: once more, and longer, where the machine is so busy that nothing came."""
    for time_ms in (300, 3000):
        document = measured(*words(time_ms))
        step = document["steps"][-1]
        if step["summary"]["bytes"]:
            break
    assert step["summary"]["bytes"] and document["verdicts"], step
    return step


def installed_it_waits_for_a_key():
    must("dpkg", "--install", PACKAGE)
    must("systemctl", "start", "pathproof")
    service = shown()
    assert service["ConditionResult"] == "no" and service["ActiveState"] == "inactive" and not listening(), service


def by_the_documented_words_it_serves_without_rights():
    [words] = [block for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs/PACKAGES.md").read_text(), re.S) if "systemctl start pathproof" in block]
    must("sh", "-e", "-c", words)
    process = running()
    status = dict(line.split(":\t", 1) for line in must("cat", f"/proc/{process}/status").splitlines() if ":\t" in line)
    users = [int(one) for one in status["Uid"].split()]
    # Those that systemd gives away for the time of a service.
    assert all(61184 <= user <= 65519 for user in users), status["Uid"]
    assert all(int(status[kind], 16) == 0 for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb")), status
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2"), status


def a_check_with_the_key_comes_to_a_verdict():
    # A part of what it does: the whole would take a minute of an emulated processor.
    def words(time_ms):
        Path("/tmp/plan.toml").write_text(f'[[steps]]\nkind = "mtu"\n[[steps]]\nkind = "stream"\nsize_bytes = 65536\ntime_ns = {time_ms}000000\n')
        return "check", f"{SERVER}:{PORT}", "--plan", "/tmp/plan.toml"
    assert carried(words)["over"] == "tcp"


def rdma_carries_verified_bytes():
    step = carried(lambda time_ms: [*STREAM, "--expect-rate", "1kbit/s", "--time", f"{time_ms}ms"])
    assert step["summary"]["verified"] is True and step["proof"]["transport"] == "rdma", (step["summary"], step["proof"])


def another_key_is_refused():
    done = client("bench", "pingpong", f"{SERVER}:{PORT}", "--time", "200ms", key="not-the-key-of-here")
    assert done.returncode == 2 and "the key is wrong" in done.stdout + done.stderr, (done.returncode, done.stdout, done.stderr)
    wait("the attempt in its log", lambda: "wrong key" in said())


def upgraded_it_goes_on_with_its_key_and_options():
    """And, since each start costs an emulated processor seconds, with what the line LimitMEMLOCK is for: without it there is no RDMA."""
    before, key = running(), Path(KEY_FILE).read_text()
    Path("/etc/default/pathproof").write_text('PATHPROOF_SERVE_OPTIONS="--limits clients=3,lanes=40"\n')
    drop_in("lab", "LimitMEMLOCK=64K\n")
    must("dpkg", "--install", PACKAGE)
    assert running() != before and Path(KEY_FILE).read_text() == key
    assert "at most 3 clients at once, 40 lanes" in said(), said()
    done = client(*STREAM, "--time", "200ms")
    text = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2 and "LimitMEMLOCK" in text, (done.returncode, text)


def stopped_it_has_not_failed():
    must("systemctl", "stop", "pathproof")
    service = shown()
    assert service["ActiveState"] == "inactive" and service["Result"] == "success" and not listening(), service


def what_is_not_its_business_is_denied():
    """The same walls around a program that tries them."""
    must("sh", "-c", "cat >/usr/lib/pathproof-probe.py", given=PROBE)
    drop_in("lab", "Type=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/bin/env python3 /usr/lib/pathproof-probe.py\n")
    must("systemctl", "start", "pathproof")
    found = json.loads(next(line for line in said().splitlines() if line.startswith("PROBE ")).removeprefix("PROBE "))
    print(f"     {found}")
    assert {name for name, error in found.items() if error is None} == ALLOWED, found


def purged_while_it_runs_it_leaves_nothing():
    must("sh", "-c", f"rm -rf /usr/lib/pathproof-probe.py {DROP_INS} && systemctl daemon-reload")
    must("systemctl", "start", "pathproof")
    running()
    files = [file for file in must("dpkg", "--listfiles", "pathproof").splitlines() if "pathproof" in file]
    assert len(files) > 20, files
    must("dpkg", "--purge", "pathproof")
    assert not listening() and shown()["LoadState"] == "not-found"
    places = [*files, os.path.dirname(KEY_FILE), "/etc/default/pathproof", "/run/credentials/pathproof.service", "/var/lib/dpkg/info/pathproof.list"]
    left = inside("sh", "-c", 'for place; do [ ! -e "$place" ] || echo "$place"; done', "sh", *places).stdout
    assert not left, left


def told():
    print(f"     the service said: {said()[-2000:]}")
    kernel = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()
    print("".join(f"     {line}\n" for line in kernel[-40:] if "systemd" in line))


CASES = [installed_it_waits_for_a_key, by_the_documented_words_it_serves_without_rights, a_check_with_the_key_comes_to_a_verdict,
         rdma_carries_verified_bytes, another_key_is_refused, upgraded_it_goes_on_with_its_key_and_options, stopped_it_has_not_failed,
         what_is_not_its_business_is_denied, purged_while_it_runs_it_leaves_nothing]

began = time.time()
systemd = None
try:
    systemd = start_systemd()
    print(f"{must('systemctl', '--version').splitlines()[0]} is up ({time.time() - began:.1f} s)", flush=True)
    failed = run_cases(CASES, os.environ.get("PATHPROOF_LAB_CASES", "").split(), after_failure=told)
except AssertionError:
    told()
    raise
finally:
    if systemd:
        systemd.kill()
sys.exit(min(failed, 99))
