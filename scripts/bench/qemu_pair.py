"""Two hosts in network namespaces, QEMU guests that move between them, and pathproof on both: what scripts/bench/migrate-vs-qemu and
scripts/bench/contend-vs-qemu have in common. It has no command of its own and lays no network between the hosts; whoever imports it does.
Standard library only.
"""
import json, os, shutil, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Of the first host and of the second.
ADDRESSES = {"a": "10.67.0.1", "b": "10.67.0.2"}


def sh(*args, check=True):
    return subprocess.run(args, check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout


def refuse_without(name, commands, binary):
    """Ends the program where something is missing, and names it."""
    if os.geteuid() != 0:
        sys.exit(f"{name}: namespaces and shaping need root")
    missing = [command for command in commands if not shutil.which(command)]
    if missing:
        sys.exit(f"{name}: missing " + ", ".join(missing) +
                 "; apt-get install qemu-system-x86 busybox-static gcc cpio iproute2 iperf3")
    if not os.access(binary, os.X_OK):
        sys.exit(f"{name}: no binary at {binary}; cargo build --release, or --binary PATH")


class Lab:
    """Hosts `a` and `b`, and whatever was started on them; all of it is gone at the end."""

    def __init__(self, tag, key):
        self.tag, self.key = tag, key
        self.children, self.namespaces = [], []

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.work = self.folder.name
        return self

    def __exit__(self, *_):
        for child in list(self.children):
            self.stop(child)
        self.unmake()
        self.folder.cleanup()

    def make(self, *ends):
        """The hosts' namespaces, and those of what lies between them."""
        self.unmake()
        for end in ("a", "b", *ends):
            self.namespaces.append(self.tag + end)
            sh("ip", "netns", "del", self.tag + end, check=False)
            sh("ip", "netns", "add", self.tag + end)
            sh("ip", "-n", self.tag + end, "link", "set", "lo", "up")

    def unmake(self):
        for namespace in self.namespaces:
            sh("ip", "netns", "del", namespace, check=False)
        self.namespaces = []

    def inside(self, end, *args):
        return ("ip", "netns", "exec", self.tag + end) + args

    def spawn(self, end, *args, log=subprocess.DEVNULL):
        child = subprocess.Popen(self.inside(end, *args), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.children.append(child)
        return child

    def stop(self, child):
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child in self.children:
            self.children.remove(child)

    def wait_for_listener(self, port):
        for _ in range(200):
            if sh(*self.inside("b", "ss", "-Hltn", f"sport = :{port}"), check=False).strip():
                return
            time.sleep(0.05)
        raise RuntimeError(f"nothing listens on port {port}")

    def pathproof(self, binary, command, *more, limit_s=180):
        """The document of a command between the hosts."""
        peer = f"{ADDRESSES['b']}:17997"
        server = self.spawn("b", binary, "serve", "--listen", peer, "--key", self.key)
        try:
            self.wait_for_listener(17997)
            done = subprocess.run(self.inside("a", binary, *command, peer, "--key", self.key, *more, "--format", "json"),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit_s)
        finally:
            self.stop(server)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise RuntimeError("pathproof: " + done.stderr.strip()) from None


def lab_kernel():
    return os.path.join(sh(os.path.join(ROOT, "scripts/lab/vm-kernel")).strip().splitlines()[-1], "vmlinuz")


def initramfs(work, hot_mib):
    """busybox, the dirtier, and an init that starts it with what the kernel's command line says."""
    root = os.path.join(work, "root")
    for folder in ("bin", "proc", "dev"):
        os.makedirs(os.path.join(root, folder))
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
    sh("gcc", "-O2", "-static", "-o", os.path.join(root, "bin/dirtier"), os.path.join(HERE, "dirtier.c"))
    init = os.path.join(root, "init")
    with open(init, "w") as f:
        f.write("#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n/bin/busybox mount -t devtmpfs dev /dev\n"
                "for word in $(/bin/busybox cat /proc/cmdline); do case $word in dirty=*) rate=${word#dirty=} ;; esac; done\n"
                f"/bin/dirtier {hot_mib} ${{rate:-0}} >/dev/ttyS0\n/bin/busybox poweroff -f\n")
    os.chmod(init, 0o755)
    image = os.path.join(work, "initrd")
    names = "\n".join(
        os.path.relpath(os.path.join(d, f), root) for d, ds, fs in os.walk(root) for f in ds + fs)
    with open(image, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=out, check=True)
    return image


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.time() + 20
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.time() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")


class Guest:
    """A fresh guest on host `a` that dirties memory at a rate, and on host `b` a QEMU that waits for it. `channels` are multifd's, or
    none; `bytes_per_s` is the cap, without which QEMU's default of 128 MiB/s would hide the path."""

    PORT = 4444

    def __init__(self, lab, kernel, initrd, mib, dirty_bytes_per_s=0, channels=0, bytes_per_s=10**11):
        self.lab = lab
        self.ends = []
        try:
            self.source, self.serial = self.start("a", kernel, initrd, mib, dirty_bytes_per_s)
            self.target, self.target_serial = self.start("b", kernel, initrd, mib, dirty_bytes_per_s, "-incoming", "defer")
            deadline = time.time() + 120
            while "READY" not in self.said():
                if time.time() > deadline or self.ends[0].poll() is not None:
                    raise RuntimeError("the guest did not come up: " + self.said()[-300:])
                time.sleep(0.1)
            for end in (self.source, self.target):
                end("migrate-set-capabilities", capabilities=[{"capability": "multifd", "state": channels > 0}])
                if channels:
                    end("migrate-set-parameters", **{"multifd-channels": channels})
            self.source("migrate-set-parameters", **{"max-bandwidth": bytes_per_s, "downtime-limit": 300})
            self.target("migrate-incoming", uri=self.uri())
        except BaseException:
            self.stop()
            raise

    def start(self, end, kernel, initrd, mib, dirty_bytes_per_s, *more):
        serial, qmp = os.path.join(self.lab.work, f"serial-{end}"), os.path.join(self.lab.work, f"qmp-{end}")
        for path in (serial, qmp):
            if os.path.exists(path):
                os.remove(path)
        with open(os.path.join(self.lab.work, f"qemu-{end}.log"), "w") as log:
            self.ends.append(self.lab.spawn(
                end, "qemu-system-x86_64", "-accel", "tcg", "-m", str(mib), "-smp", "1", "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", kernel, "-initrd", initrd, "-append",
                f"console=ttyS0 quiet panic=-1 no_timer_check dirty={dirty_bytes_per_s / 4096:.1f}", "-serial", f"file:{serial}",
                "-qmp", f"unix:{qmp},server=on,wait=off", *more, log=log))
        return Qmp(qmp), serial

    def uri(self):
        return f"tcp:{ADDRESSES['b']}:{self.PORT}"

    def said(self):
        with open(self.serial, errors="replace") as serial:
            return serial.read()

    def is_heard_at_the_destination(self, within_s):
        deadline = time.time() + within_s
        while time.time() < deadline:
            time.sleep(0.2)
            with open(self.target_serial, errors="replace") as serial:
                if "ALIVE" in serial.read():
                    return True
        return False

    def migrate(self, limit_s=120, every_s=0.05, look=lambda: None):
        """Moves it; QEMU's own figures. `look` is called all the while."""
        self.source("migrate", uri=self.uri())
        deadline = time.time() + limit_s
        while True:
            info = self.source("query-migrate")
            if info.get("status") in ("completed", "failed"):
                return info
            if time.time() > deadline:
                self.source("migrate_cancel")
                return {**info, "status": "not converged in %d s" % limit_s}
            look()
            time.sleep(every_s)

    def stop(self):
        for end in self.ends:
            self.lab.stop(end)
