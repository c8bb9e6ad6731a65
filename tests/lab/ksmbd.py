"""The kernel's SMB server in the lab's guest, asked by the real binary. Standard library only.

Run by scripts/test.d/smb.guest in a boot of scripts/lab/vm with `--rdma rxe` (two RoCE devices on lab0 and lab1, SMB Direct on port 445)
and in one with `--rdma siw` (two iWARP devices on lab2 and lab3, port 5445: ksmbd has one listener, and one kind of device decides
its port). ksmbd.mountd comes from TOOLS, WALK is the test binary of `pathproof-smbd` that needs devices. Names of cases after these three run
those alone. The exit code is the number of failed cases.
"""

import json
import os
import subprocess
import sys
import time

from guest import own_copy, run_cases
from ksmbd_server import PASSWORD, WORK, Ksmbd, await_direct, write

BINARY, TOOLS, WALK = own_copy(sys.argv[1]), sys.argv[2], own_copy(sys.argv[3])
IWARP = os.path.exists("/sys/class/infiniband/siw1")
SERVER, DIRECT_PORT = ("10.78.0.2", 5445) if IWARP else ("10.77.0.2", 445)


def with_settings(*settings, port=445):
    """The server once more, with other settings, its TCP side on another port."""
    server.stop()
    server.start(*settings, port=port)
    await_direct()


# Codes of the findings of the last bench.
found = set()


def bench(*args, over="smbd"):
    """`bench file`: the exit code, the step (None without a document), and what was said."""
    command = [BINARY, "bench", "file", f"//{SERVER}/share", "--user", "tester", "--password-file", PASSWORD, "--format", "json", "--over", over,
               *args]
    for option, value in (("--time", "2s"), ("--wait", "20s")):
        if option not in args:
            command += [option, value]
    process = subprocess.run(command, capture_output=True, text=True, timeout=150)
    found.clear()
    try:
        document = json.loads(process.stdout)
        found.update(finding["code"] for finding in document["findings"])
        return process.returncode, document["steps"][0], process.stderr
    except (ValueError, IndexError):
        return process.returncode, None, process.stderr


def mbit(step):
    return f"{step['summary']['goodput_bits_per_s'] / 1e6:.0f} Mbit/s"


def files_go_by_rdma_and_hold_what_was_written():
    for size, depth, mode in (("1MiB", 4, "--write"), ("1MiB", 4, "--read"), ("64KiB", 8, "--mix=1:1"), ("12296", 3, "--mix=1:2"), ("4MiB", 2, "--read")):
        code, step, said = bench(mode, "--verify", "--size", size, "--depth", str(depth), "--file-size", str(3 * (4 << 20) // 12296 * 12296) if size == "12296" else "16MiB")
        assert code == 0 and step["summary"]["verified"] is True and step["file"]["removed"] is True, (size, mode, code, said, step)
        direct = step["file"]["direct"]
        assert direct["in_messages"] is None and direct["fabric"] == ("iWARP" if IWARP else "RoCE"), direct
        # What went in messages is a small part of what moved: the rest can only have gone by RDMA.
        assert direct["sent_bytes"] + direct["received_bytes"] < direct["placed_bytes"] / 10, direct
        assert step["proof"]["transport"] == "rdma", step["proof"]
        print(f"       {mode} {size} depth {depth}: {mbit(step)}, {direct['placed_bytes']} B by RDMA, {direct['sent_bytes'] + direct['received_bytes']} B in messages", flush=True)


def a_request_names_several_pieces_of_memory_and_may_have_keys_of_its_own():
    for args in (["--write", "--descriptors", "4"], ["--read", "--descriptors", "3", "--register-each"], ["--mix=1:1", "--register-each", "--depth", "8"]):
        code, step, said = bench(*args, "--verify", "--size", "256KiB", "--file-size", "16MiB", "--time", "1s")
        assert code == 0 and step["summary"]["verified"] is True, (args, code, said, step)
        direct = step["file"]["direct"]
        # As many bytes as were answered for, in messages that hold none of them.
        assert direct["placed_bytes"] > 0 and direct["sent_bytes"] + direct["received_bytes"] < direct["placed_bytes"] / 10, (args, direct)
        print(f"       {' '.join(args)}: {mbit(step)}", flush=True)


def keys_end_with_the_server_s_answers_as_far_as_the_adapter_tells():
    for args in (["--write"], ["--read", "--depth", "3"], ["--mix=1:1", "--descriptors", "3", "--channels", "2"]):
        code, step, said = bench(*args, "--invalidate", "--verify", "--size", "64KiB", "--file-size", "8MiB", "--time", "2s")
        assert code == 0 and step["summary"]["verified"] is True and step["file"]["removed"] is True, (args, code, said, step)
        direct = step["file"]["direct"]
        assert direct["channel"] == "v1-invalidate" and direct["in_messages"] is None, (args, direct)
        assert direct["sent_bytes"] + direct["received_bytes"] < direct["placed_bytes"] / 10, (args, direct)
        # Every request of the step had a key of its own.
        requests, keys = direct["placed_bytes"] // (64 << 10), direct["keys"]
        if IWARP:
            # It ends the key of a registration, and says nothing of it: that is no proof of anything.
            assert keys == {"of": "registration", "ended_by_server": None, "not_reported": requests}, (args, keys, requests)
        else:
            assert keys == {"of": "window", "ended_by_server": requests, "not_reported": 0} and requests > 50, (args, keys, requests)
        assert not {"SMB-KEYS-LEFT", "SMB-SERVER-FAULT"} & found, (args, found)
        print(f"       {' '.join(args)}: {mbit(step)}, {step['chosen']['memory keys']}", flush=True)
    code, step, said = bench("--write", "--size", "64KiB", "--file-size", "8MiB", "--time", "500ms")
    assert code == 0 and step["file"]["direct"]["channel"] == "v1" and "keys" not in step["file"]["direct"], (code, said, step)


def small_requests_go_in_messages():
    code, step, said = bench("--mix=1:1", "--verify", "--size", "2KiB", "--file-size", "1MiB")
    assert code == 0 and step["summary"]["verified"] is True, (code, said, step)
    direct = step["file"]["direct"]
    assert "in messages" in direct["in_messages"] and direct["placed_bytes"] == 0, direct
    assert direct["sent_bytes"] > step["file"]["write"]["bytes"] and direct["received_bytes"] > step["file"]["read"]["bytes"], direct


def several_channels_of_smb_direct():
    code, step, said = bench("--mix=1:1", "--verify", "--size", "256KiB", "--file-size", "16MiB", "--channels", "2")
    assert code == 0 and step["summary"]["verified"] is True and len(step["lanes"]) == 2, (code, said, step)
    assert all(lane["bytes"] > 0 for lane in step["lanes"]), step["lanes"]


def a_session_that_begins_over_tcp_moves_its_data_over_smb_direct():
    # As Windows does: logon over TCP, the list of NICs, then channels of SMB Direct.
    for args, count in ((["--write"], 1), (["--mix=1:1", "--channels", "2"], 2), (["--read", "--invalidate", "--address", SERVER], 1)):
        code, step, said = bench(*args, "--tcp-first", "--verify", "--size", "256KiB", "--file-size", "16MiB")
        assert code == 0 and step["summary"]["verified"] is True and step["file"]["removed"] is True, (args, code, said, step)
        first, channels = step["lanes"][0], step["lanes"][1:]
        assert first["over"] == "tcp" and first["bytes"] == 0 and first["remote"] == f"{SERVER}:445", (args, first)
        # The kernel's own count: the way in and the question, and no data.
        counts = step["connections"]
        assert counts["lane"] == [0] and 0 < counts["sent_bytes"][0] + counts["received_bytes"][0] < 64 << 10, (args, counts)
        assert [lane["over"] for lane in channels] == ["smbd"] * count and all(lane["bytes"] > 0 for lane in channels), (args, step["lanes"])
        assert all(lane["remote"].endswith(f":{DIRECT_PORT}") for lane in channels), (args, step["lanes"])
        direct = step["file"]["direct"]
        assert direct["in_messages"] is None and direct["sent_bytes"] + direct["received_bytes"] < direct["placed_bytes"] / 10, (args, direct)
        assert step["file"]["address"] == f"{SERVER}:445" and step["proof"]["transport"] == "rdma", (args, step["file"], step["proof"])
        print(f"       {' '.join(args)}: {mbit(step)}; {[(lane['over'], lane['remote'], lane['bytes']) for lane in step['lanes']]}", flush=True)


def what_the_server_refuses_of_further_channels_is_said_plainly():
    with_settings("server multi channel support = no")
    code, _, said = bench("--write", "--tcp-first", "--file-size", "16MiB")
    # It goes on saying that it has Multichannel, and refuses what that is for.
    assert code == 2 and "has no channel of SMB Direct" in said and "refused the logon" in said, (code, said)
    assert os.listdir(f"{WORK}/share") == [], os.listdir(f"{WORK}/share")


def what_is_too_large_is_refused_with_its_limit():
    code, _, said = bench("--write", "--size", "16MiB")
    assert code == 2 and "--size" in said, said
    code, _, said = bench("--write", "--size", "8MiB", "--file-size", "64MiB", "--depth", "2")
    assert code == 2 and "4 MiB" in said, (code, said)


def ladder(*args):
    """`check` of the share: the exit code, the document, the rungs by name and way."""
    # An emulated processor needs the time.
    command = [BINARY, "check", f"//{SERVER}/share", "--user", "tester", "--password-file", PASSWORD, "--format", "json", "--thorough", *args]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    try:
        document = json.loads(process.stdout)
    except ValueError:
        raise AssertionError(f"exit {process.returncode}, no document: {process.stderr}") from None
    for rung in document["ladder"]:
        share = rung["share_of_below"]
        print(f"       {rung['branch']:4} {rung['direction']:3} {rung['rung']:17} {rung['goodput_bits_per_s']} bit/s, of {rung['below']}: {share and round(share, 3)}, "
              f"{(rung['proof'] or {}).get('carried_by')}{': ' + rung['reason'] if rung['reason'] else ''}", flush=True)
    return process.returncode, document, {(rung["rung"], rung["direction"]): rung for rung in document["ladder"]}


def the_ladder_names_what_each_layer_carries_and_by_what():
    code, document, rungs = ladder()
    for way in ("out", "in"):
        for rung, carrier in (("smb-tcp", "tcp"), ("smb-direct", "rdma")):
            assert rungs[rung, way]["goodput_bits_per_s"], (rungs[rung, way], document["findings"])
            assert rungs[rung, way]["proof"]["carried_by"] == carrier, rungs[rung, way]
        assert rungs["verbs", way]["goodput_bits_per_s"] is None and "--agent" in rungs["verbs", way]["reason"], rungs["verbs", way]
    assert not {"SMB-DIRECT-ABSENT", "SMB-DIRECT-UNREACHABLE", "SMB-RDMA-BYPASSED"} & {f["code"] for f in document["findings"]}, document["findings"]
    assert code in (0, 3), (code, document["verdicts"])


def with_an_agent_every_rung_is_there():
    agent = subprocess.Popen([BINARY, "serve", "--no-key", "--listen", f"{SERVER}:7799"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2)
        code, document, rungs = ladder("--agent", f"{SERVER}:7799", "--no-key")
    finally:
        agent.terminate()
        agent.wait(timeout=20)
    for way in ("out", "in"):
        for rung in ("tcp", "smb-tcp", "verbs", "smb-direct-frames", "smb-direct"):
            assert rungs[rung, way]["goodput_bits_per_s"], (rungs[rung, way], code, [(s["name"], s["error"]) for s in document["steps"]])
    assert rungs["verbs", "out"]["proof"]["carried_by"] == "rdma", rungs["verbs", "out"]


def where_signing_is_required_data_goes_in_messages():
    with_settings("server signing = mandatory")
    code, step, said = bench("--mix=1:1", "--verify", "--size", "64KiB", "--file-size", "1MiB", "--depth", "2", "--time", "1s")
    assert code == 0 and step["summary"]["verified"] is True, (code, said, step)
    direct = step["file"]["direct"]
    assert "signing is required" in direct["in_messages"] and direct["placed_bytes"] == 0, direct
    # It demands signatures of each request and takes one without, and a message holds less than it says.
    assert {"SMB-UNSIGNED-TAKEN", "SMB-MESSAGE-LIMIT"} <= found, found
    code, step, said = bench("--write", "--size", "1MiB")
    assert code == 2 and "MaxFragmentedSize" in said and "173" in said, (code, said)
    # It writes and reads 36 MiB in messages that an emulated processor signs, which takes minutes: once is enough.
    if IWARP:
        return
    code, document, rungs = ladder()
    assert "SMB-RDMA-BYPASSED" in {finding["code"] for finding in document["findings"]}, document["findings"]
    assert "signing is required" in rungs["smb-direct", "out"]["reason"], rungs["smb-direct", "out"]


def where_encryption_is_required_it_is_given_up_in_time():
    with_settings("smb3 encryption = mandatory")
    begun = time.time()
    code, _, said = bench("--write", "--size", "64KiB", "--file-size", "4MiB", "--wait", "6s")
    # ksmbd of Linux 6.12 never sends a whole answer; whether the first part of one came is up to it.
    assert code == 2 and "TREE_CONNECT" in said, (code, said)
    assert time.time() - begun < 60, "it was given up in time"


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
    walk = subprocess.run([WALK, "--ignored", "--test-threads", "1", "--nocapture"], capture_output=True, text=True, timeout=90,
                          env={**os.environ, "PATHPROOF_SMB_DIRECT": f"{SERVER}:{DIRECT_PORT}"})
    assert walk.returncode == 0 and "2 passed" in walk.stdout, walk.stdout[-3000:] + walk.stderr[-3000:]


CASES = [smb_direct_is_negotiated_and_carries_smb2, with_an_account_it_tells_its_nics_and_which_have_rdma, without_an_account_it_tells_the_rest,
         a_wrong_password_is_said_once, files_go_by_rdma_and_hold_what_was_written,
         a_request_names_several_pieces_of_memory_and_may_have_keys_of_its_own, keys_end_with_the_server_s_answers_as_far_as_the_adapter_tells,
         small_requests_go_in_messages, several_channels_of_smb_direct, a_session_that_begins_over_tcp_moves_its_data_over_smb_direct,
         what_is_too_large_is_refused_with_its_limit, the_ladder_names_what_each_layer_carries_and_by_what, with_an_agent_every_rung_is_there,
         what_the_server_refuses_of_further_channels_is_said_plainly, where_signing_is_required_data_goes_in_messages,
         where_encryption_is_required_it_is_given_up_in_time]

if IWARP:
    # It takes three minutes, and iWARP has nothing of its own there.
    CASES.remove(with_an_agent_every_rung_is_there)
    # Asked over TCP, which knows nothing of RDMA devices.
    CASES.remove(without_an_account_it_tells_the_rest)
    CASES.remove(a_wrong_password_is_said_once)

server = Ksmbd(TOOLS)
server.start()
await_direct()
failed = run_cases(CASES, sys.argv[4:])
if failed:
    print(subprocess.run("dmesg | grep -i ksmbd | tail -20", shell=True, capture_output=True, text=True).stdout, flush=True)
# What follows in this boot finds the ports free.
server.stop()
sys.exit(failed)
