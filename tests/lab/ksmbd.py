"""The kernel's SMB server in the lab's guest, asked by the real binary. Standard library only.

Run by scripts/test.d/ksmbd.guest in a boot of scripts/lab/vm with `--rdma rxe` (two RoCE devices on lab0 and lab1, SMB Direct on port 445)
and in one with `--rdma siw` (two iWARP devices on lab2 and lab3, port 5445: ksmbd has one listener, and one kind of device decides
its port). ksmbd.mountd comes from TOOLS, WALK is the test binary of `pathproof-smbd` that needs devices. The exit code is the number of failed
cases.
"""

import json
import os
import subprocess
import sys
import time
import traceback

BINARY, TOOLS, WALK = sys.argv[1:4]
IWARP = os.path.exists("/sys/class/infiniband/siw1")
SERVER, DIRECT_PORT = ("10.78.0.2", 5445) if IWARP else ("10.77.0.2", 445)
WORK = "/run/ksmbd-lab"
CONF, USERS, PASSWORD = f"{WORK}/ksmbd.conf", f"{WORK}/ksmbdpwd.db", f"{WORK}/password"


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def start_server():
    for folder in (WORK, f"{WORK}/share", "/run/ksmbd"):
        os.makedirs(folder, exist_ok=True)
    # Without `restrict anonymous` it tells its NICs to anonymous sessions too, and nobody would need the account.
    write(CONF, "[global]\n\tnetbios name = LAB\n\tserver multi channel support = yes\n\trestrict anonymous = 2\n"
                f"[share]\n\tpath = {WORK}/share\n\tread only = no\n")
    write(PASSWORD, "secret\n")
    subprocess.run(["modprobe", "ksmbd"], check=True, timeout=120)
    mountd = f"{TOOLS}/usr/sbin/ksmbd.mountd"
    said = subprocess.run([mountd, "--help"], capture_output=True, text=True, timeout=30)
    # 3.5 renamed the options: -C config, -P users; before, -c and -u (and -i for ksmbd.adduser).
    new = "--config" in said.stdout + said.stderr and "-C" in said.stdout + said.stderr
    config, users, add = ("-C", "-P", "-P") if new else ("-c", "-u", "-i")
    subprocess.run([f"{TOOLS}/usr/sbin/ksmbd.adduser", "-a", "tester", "-p", "secret", add, USERS], check=True,
                   stdout=subprocess.DEVNULL, timeout=30)
    log = open(f"{WORK}/mountd.log", "w")
    server = subprocess.Popen([mountd, "-n", "-p", "445", config, CONF, users, USERS], stdout=log, stderr=log)
    for _ in range(600):
        if ":445 " in subprocess.run(["ss", "-ltn"], capture_output=True, text=True, timeout=30).stdout:
            return server
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError("ksmbd does not listen: " + open(f"{WORK}/mountd.log").read()[-500:])


def ask(*args):
    process = subprocess.run([BINARY, "smb", SERVER, "--format", "json", "--wait", "20s", *args], capture_output=True, text=True,
                             timeout=150)
    try:
        return process.returncode, json.loads(process.stdout), process.stderr
    except ValueError:
        raise AssertionError(f"exit {process.returncode}, no document: {process.stderr}") from None


def with_an_account_it_tells_its_nics_and_which_have_rdma():
    code, document, said = ask("--user", "tester", "--password-file", PASSWORD)
    smb = document["smb"]
    assert smb["dialect"] == "3.1.1", smb
    assert "MULTI_CHANNEL" in [name.upper().replace("-", "_") for name in smb["capabilities"]], smb["capabilities"]
    assert smb["interfaces_obtained_by"] == "credentials", (smb, said)
    nics = {nic["address"]: nic for nic in smb["interfaces"]}
    for address in ("10.78.0.1", "10.78.0.2") if IWARP else ("10.77.0.1", "10.77.0.2"):
        assert nics[address]["rdma"] is True, nics
        assert nics[address]["index"] > 0 and nics[address]["speed_bits_per_s"], nics
    assert code in (0, 1, 3), (code, said)


def without_an_account_it_tells_the_rest():
    _, document, _ = ask()
    smb = document["smb"]
    assert smb["dialect"] == "3.1.1" and smb["server_guid"], smb
    assert smb["max_read_bytes"] >= 1 << 16 and smb["max_write_bytes"] >= 1 << 16, smb
    assert smb["interfaces_obtained_by"] == "none" and smb["interfaces"] == [], smb
    assert "SMB-LIST-REFUSED" in {finding["code"] for finding in document["findings"]}, document["findings"]


def a_wrong_password_is_said_once():
    write(f"{WORK}/wrong", "not it\n")
    _, document, said = ask("--user", "tester", "--password-file", f"{WORK}/wrong")
    assert document["smb"]["interfaces_obtained_by"] == "none", document["smb"]
    tries = [attempt for attempt in document["smb"]["attempts"] if attempt["way"] == "credentials"]
    assert len(tries) == 1 and "password" in tries[0]["outcome"].lower(), (tries, said)


def smb_direct_is_negotiated_and_carries_smb2():
    for _ in range(100):  # it listens for SMB Direct a moment later than for TCP
        if "LISTEN" in subprocess.run(["rdma", "resource", "show", "cm_id"], capture_output=True, text=True, timeout=30).stdout:
            break
        time.sleep(0.1)
    walk = subprocess.run([WALK, "--ignored", "--test-threads", "1", "--nocapture"], capture_output=True, text=True, timeout=90,
                          env={**os.environ, "PATHPROOF_SMB_DIRECT": f"{SERVER}:{DIRECT_PORT}"})
    assert walk.returncode == 0 and "2 passed" in walk.stdout, walk.stdout[-3000:] + walk.stderr[-3000:]


CASES = [smb_direct_is_negotiated_and_carries_smb2, with_an_account_it_tells_its_nics_and_which_have_rdma, without_an_account_it_tells_the_rest, a_wrong_password_is_said_once]

server = start_server()
failed = 0
for case in CASES:
    begun = time.time()
    try:
        case()
        print(f"ok     {case.__name__} ({time.time() - begun:.1f} s)", flush=True)
    except Exception:
        failed += 1
        print(f"FAILED {case.__name__}\n{traceback.format_exc()}", flush=True)
if failed:
    print(subprocess.run("dmesg | grep -i ksmbd | tail -20", shell=True, capture_output=True, text=True).stdout, flush=True)
server.terminate()
sys.exit(failed)
