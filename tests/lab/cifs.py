"""Linux's SMB client (cifs.ko) against `pathproof serve --smb-sink` in the lab's guest. Standard library only.

Run by scripts/test.d/smb.guest in a boot of scripts/lab/vm with `--rdma rxe` (SMB Direct on port 445) and in one with `--rdma siw` (port
5445). The exit code is the number of failed cases.
"""

import os
import subprocess
import sys
import time

from guest import own_copy, run_cases

BINARY = own_copy(sys.argv[1])
IWARP = os.path.exists("/sys/class/infiniband/siw1")
SERVER, DIRECT_PORT = ("10.78.0.2", 5445) if IWARP else ("10.77.0.2", 445)
TCP_PORT = 4455
WORK, MOUNT = "/run/cifs-lab", "/mnt/sink"
BYTES = 8 << 20
# Where every byte is signed or encrypted, which an emulated processor does slowly.
FEW = 1 << 20


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def run(*command, limit=90):
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    return done.returncode, done.stdout + done.stderr


def must(*command, limit=90):
    code, said = run(*command, limit=limit)
    assert code == 0, f"{' '.join(command)}: exit {code}: {said}\n{kernel()}\n{log()}"
    return said


def kernel():
    return subprocess.run("dmesg | grep -iE 'cifs|smb' | tail -15", shell=True, capture_output=True, text=True).stdout


def log():
    with open(f"{WORK}/log", errors="replace") as file:
        return file.read()[-3000:]


def start_sink():
    os.makedirs(WORK, exist_ok=True)
    os.makedirs(MOUNT, exist_ok=True)
    write(f"{WORK}/password", b"Sink-Pass-1\n")
    # The kernel loads ciphers at first use, in the middle of a logon: that takes longer here than a server waits.
    for module in ("gcm", "ccm", "cmac", "aes_generic", "aesni_intel", "cifs"):
        run("modprobe", module)
    output = open(f"{WORK}/log", "w")
    sink = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:7797", "-v", "--smb-sink", f"{SERVER}:{TCP_PORT}", "--smb-sink-direct",
                             f"{SERVER}:{DIRECT_PORT}", "--smb-sink-user", "tester", "--smb-sink-password-file", f"{WORK}/password",
                             "--smb-sink-size", "64MiB"], stdout=output, stderr=output)
    for _ in range(600):
        listens = "LISTEN" in run("rdma", "resource", "show", "cm_id")[1]
        if listens and f":{TCP_PORT} " in run("ss", "-ltn")[1]:
            return sink
        assert sink.poll() is None, log()
        time.sleep(0.1)
    raise AssertionError("the sink does not listen: " + log())


def mount(*options):
    everything = ",".join([f"ip={SERVER}", "username=tester", "password=Sink-Pass-1", "cache=none", *options])
    must("mount", "-i", "-t", "cifs", f"//{SERVER}/sink", MOUNT, "-o", everything, limit=60)


def unmount():
    must("umount", MOUNT, limit=60)


def there_and_back(bytes_at_once, size=BYTES):
    data = os.urandom(size)
    write(f"{WORK}/source", data)
    began = time.time()
    must("dd", f"if={WORK}/source", f"of={MOUNT}/file", f"bs={bytes_at_once}", "oflag=direct")
    wrote = time.time()
    must("dd", f"if={MOUNT}/file", f"of={WORK}/back", f"bs={bytes_at_once}", "iflag=direct")
    read = time.time()
    with open(f"{WORK}/back", "rb") as file:
        assert file.read() == data, "what came back differs"
    listed = os.listdir(MOUNT)
    assert listed == ["file"], listed
    assert os.stat(f"{MOUNT}/file").st_size == size
    os.remove(f"{MOUNT}/file")
    assert os.listdir(MOUNT) == []
    print(f"       {size / 1e6 / (wrote - began):.1f} MB/s written, {size / 1e6 / (read - wrote):.1f} MB/s read", flush=True)


def cases_of(name, *options, size=BYTES):
    def case():
        mount(*options)
        try:
            there_and_back(1 << 20, size)
        finally:
            unmount()
    case.__name__ = name
    return case


def direct_moves_data_by_rdma():
    """Counted by the client itself: memory that it registered for the server to read and write."""
    mount("vers=3.1.1", "rdma", f"port={DIRECT_PORT}")
    try:
        there_and_back(1 << 20)
        with open("/proc/fs/cifs/DebugData") as file:
            debug = file.read()
        assert "SMBDirect" in debug or "RDMA" in debug.upper(), debug
    finally:
        unmount()


def a_wrong_password_is_refused():
    code, said = run("mount", "-i", "-t", "cifs", f"//{SERVER}/sink", MOUNT, "-o",
                     f"ip={SERVER},username=tester,password=wrong,vers=3.1.1,port={TCP_PORT}", limit=60)
    assert code != 0 and "STATUS_LOGON_FAILURE" in kernel(), (code, said, kernel())


TCP = f"port={TCP_PORT}"
CASES = [
    cases_of("tcp_3_1_1", "vers=3.1.1", TCP),
    cases_of("tcp_3_0_2", "vers=3.02", TCP),
    cases_of("tcp_signed", "vers=3.1.1", "sec=ntlmsspi", TCP, size=FEW),
    cases_of("tcp_sealed", "vers=3.1.1", "seal", TCP, size=FEW),
    direct_moves_data_by_rdma,
    cases_of("direct_3_0", "vers=3.0", "rdma", f"port={DIRECT_PORT}"),
    cases_of("direct_signed", "vers=3.1.1", "sec=ntlmsspi", "rdma", f"port={DIRECT_PORT}", size=FEW),
    a_wrong_password_is_refused,
]
wanted = sys.argv[2:]
# TCP knows nothing of RDMA devices: what was seen in the other boot is not seen again in this one.
OVER_TCP = [case for case in CASES if case.__name__.startswith("tcp_")] + [a_wrong_password_is_refused]
CASES = [case for case in CASES if not IWARP or wanted or case not in OVER_TCP]


def as_it_was():
    print(f"{kernel()}{log()}", flush=True)
    run("umount", "-l", MOUNT)


sink = start_sink()
failed = run_cases(CASES, wanted, after_failure=as_it_was)
sink.terminate()
sys.exit(failed)
