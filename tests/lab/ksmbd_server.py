"""The kernel's SMB server in the lab's guest: started with settings, stopped, started with others. Standard library only."""

import os
import subprocess
import time

WORK = "/run/ksmbd-lab"
CONF, USERS, PASSWORD = f"{WORK}/ksmbd.conf", f"{WORK}/ksmbdpwd.db", f"{WORK}/password"
SHARE = f"{WORK}/share"


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def await_direct():
    for _ in range(100):  # it listens for SMB Direct a moment later than for TCP
        if "LISTEN" in subprocess.run(["rdma", "resource", "show", "cm_id"], capture_output=True, text=True, timeout=30).stdout:
            return
        time.sleep(0.1)


class Ksmbd:
    """One server with the share `share` and the account `tester`, password `secret`. `tools` is the folder of its user-space part."""

    def __init__(self, tools):
        self.tools, self.process = tools, None

    def start(self, *settings, port=445):
        """Returns when it listens at this TCP port. SMB Direct has a port of its own, by the kind of device: 445 or 5445."""
        for folder in (WORK, SHARE, "/run/ksmbd"):
            os.makedirs(folder, exist_ok=True)
        os.chmod(SHARE, 0o777)  # the account is nobody on this system
        # Without `restrict anonymous` it tells its NICs to anonymous sessions too, and nobody would need the account.
        # Of two lines for one setting the first holds.
        if not any(setting.startswith("server multi channel") for setting in settings):
            settings = ("server multi channel support = yes", *settings)
        more = "".join(f"\t{setting}\n" for setting in settings)
        write(CONF, f"[global]\n\tnetbios name = LAB\n\trestrict anonymous = 2\n{more}"
                    f"[share]\n\tpath = {SHARE}\n\tread only = no\n")
        write(PASSWORD, "secret\n")
        if os.path.exists(USERS):
            os.unlink(USERS)
        # A cipher that is loaded when it is first used takes ten seconds of somebody's patience.
        for module in ("ksmbd", "gcm", "ccm", "cmac", "aes_generic"):
            subprocess.run(["modprobe", module], check=module == "ksmbd", timeout=120, stderr=subprocess.DEVNULL)
        mountd = f"{self.tools}/usr/sbin/ksmbd.mountd"
        said = subprocess.run([mountd, "--help"], capture_output=True, text=True, timeout=30)
        # 3.5 renamed the options: -C config, -P users; before, -c and -u (and -i for ksmbd.adduser).
        new = "--config" in said.stdout + said.stderr and "-C" in said.stdout + said.stderr
        config, users, add = ("-C", "-P", "-P") if new else ("-c", "-u", "-i")
        subprocess.run([f"{self.tools}/usr/sbin/ksmbd.adduser", "-a", "tester", "-p", "secret", add, USERS], check=True,
                       stdout=subprocess.DEVNULL, timeout=30)
        log = open(f"{WORK}/mountd.log", "w")
        self.process = subprocess.Popen([mountd, "-n", "-p", str(port), config, CONF, users, USERS], stdout=log, stderr=log)
        for _ in range(600):
            if f":{port} " in subprocess.run(["ss", "-ltn"], capture_output=True, text=True, timeout=30).stdout:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError("ksmbd does not listen: " + open(f"{WORK}/mountd.log").read()[-500:])

    def stop(self):
        with open("/sys/class/ksmbd-control/kill_server", "w") as file:
            file.write("hard")
        self.process.terminate()
        self.process.wait(timeout=30)
