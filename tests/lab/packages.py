#!/usr/bin/env python3
"""Packages of a binary: `packages.py BINARY`. What cannot be tried here is SKIPPED with its reason, and fails where it was required."""
import hashlib, json, os, re, shutil, subprocess, sys, tarfile, tempfile
from pathlib import Path

from installed import SENTENCES, installed

ROOT = Path(__file__).resolve().parents[2]
BINARY = sys.argv[1]
failed = []


def run(*words, **more):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **more)


def check(name, holds, why=""):
    print(f"{'PASS' if holds else 'FAIL'} {name}" + ("" if holds else f": {why}"))
    if not holds:
        failed.append(name)


def skip(name, why):
    print(f"SKIPPED: {name}: {why}")
    if os.environ.get("PATHPROOF_REQUIRE_LAB") == "1":
        failed.append(name)


def main(home):
    first, second = home / "one", home / "two"
    for out in (first, second):
        made = run(ROOT / "scripts/package", "--binary", BINARY, "--level", "1", "--out", out)
        check(f"made in {out.name}", made.returncode == 0, made.stdout[-2000:])
    sums = [(out / "SHA256SUMS").read_text() for out in (first, second)]
    check("two are identical", sums[0] == sums[1], "\n".join(sums))
    names = [line.split()[1] for line in sums[0].splitlines()]
    check("what was promised is there", all(any(name.endswith(end) for name in names) for end in (".tar.gz", ".deb", ".oci.tar", ".cdx.json")), names)
    check("checksums hold", run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=first).returncode == 0)
    low = run(ROOT / "scripts/package", "--binary", BINARY, "--level", "1", "--only", "tar", "--floor", "2.5", "--out", home / "low")
    check("a floor that does not hold is told", low.returncode != 0 and "and the floor is 2.5" in low.stdout, low.stdout)
    large = run(ROOT / "scripts/package", "--binary", BINARY, "--level", "1", "--only", "tar", "--most-bytes", "1000", "--out", home / "large")
    size = re.search(r"the stripped program has (\d+) bytes, (\d+) more", large.stdout)
    check("a program that is too large is told, with its size", large.returncode != 0 and size and int(size[1]) - int(size[2]) == 1000, large.stdout)
    check("and nothing is made of it", not list((home / "large").glob("*")), large.stdout)
    odd = run(ROOT / "scripts/package", "--only", "msi")
    check("a kind that there is not is told", odd.returncode == 2 and "not msi" in odd.stdout, odd.stdout)
    portable(next(first.glob("*.tar.gz")), home)
    image(next(first.glob("*.oci.tar")), home)
    parts = json.loads(next(first.glob("*.cdx.json")).read_text())["components"]
    own = {part["name"] for part in parts}
    check("the list knows what is compiled in", {"clap", "snow", "pathproof-engine"} <= own and "insta" not in own, sorted(own))
    check("each has a licence", all(part["licenses"][0]["expression"] != "NOASSERTION" for part in parts), parts)
    unit()
    debian(next(first.glob("*.deb")), home)
    rpm(first, home)
    crates()


def portable(archive, home):
    with tarfile.open(archive) as packed:
        packed.extractall(home / "tar", filter="data") if hasattr(tarfile, "data_filter") else packed.extractall(home / "tar")
    program = next((home / "tar").glob("*/usr/bin/pathproof"))
    said = run(program, "--version", "--verbose")
    check("the tarball's program runs", said.returncode == 0 and "rustc" in said.stdout, said.stdout)
    symbols = run("objdump", "-h", program).stdout
    check("it is stripped", ".debug_info" not in symbols and ".symtab" not in symbols)
    pages = list((home / "tar").glob("*/usr/share/man/man1/*.1.gz"))
    check("a page for each command", len(pages) > 15, pages)


def image(archive, home):
    layout, root = home / "layout", home / "image"
    for place, packed in [(layout, archive)]:
        place.mkdir()
        check("the image unpacks", run("tar", "-xf", packed, "-C", place).returncode == 0)
    blob = lambda part: layout / "blobs" / part["digest"].replace(":", "/")
    manifest = json.loads(blob(json.loads((layout / "index.json").read_text())["manifests"][0]).read_text())
    layer = blob(manifest["layers"][0])
    check("digests are of what is there", all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in (layout / "blobs/sha256").iterdir()))
    root.mkdir()
    run("tar", "-xzf", layer, "-C", root)
    if os.getuid() != 0:
        return skip("the image runs", "chroot needs root")
    said = run("chroot", root, "/usr/bin/pathproof", "--version")
    check("the image's program runs with nothing else there", said.returncode == 0 and said.stdout.startswith("pathproof "), said.stdout)


def unit():
    if not shutil.which("systemd-analyze"):
        return skip("the unit", "no systemd-analyze")
    unit = ROOT / "packaging/pathproof.service"
    said = run("systemd-analyze", "verify", "--man=no", unit).stdout.splitlines()
    wrong = [line for line in said if "pathproof" in line and "is not executable" not in line]
    check("systemd understands every line of the unit", not wrong, wrong)
    level = re.search(r"exposure level .*: ([0-9.]+)", run("systemd-analyze", "security", "--offline=yes", unit).stdout)
    check("its exposure is 2.0 at most", level and float(level[1]) <= 2.0, level)


def debian(package, home):
    """In this system's own root, seen through an overlay: what is installed there is nowhere else."""
    if os.getuid() != 0:
        return skip("the .deb", "installing needs root")
    missing, said = installed(package, "/", home / "root")
    if "mount:" in said and "overlay" in said:
        return skip("the .deb", said.strip())
    for sentence in SENTENCES:
        check(f"the .deb: {sentence}", sentence not in missing, said[-3000:])


def rpm(first, home):
    packages = list(first.glob("*.rpm"))
    if not packages:
        return skip("the .rpm", "no rpmbuild here (Debian: apt-get install rpm)")
    said = run("rpm", "-qp", "--nosignature", "--queryformat", "%{NAME} %{LICENSE}\n", "-l", packages[0])
    check("the .rpm lists program, unit and pages", all(part in said.stdout for part in ["/usr/bin/pathproof", "pathproof.service", "pathproof-check.1.gz"]), said.stdout)
    listed = said.stdout.splitlines()
    check("completions are where zsh looks on such systems, and there alone", [line for line in listed if line.endswith("/_pathproof")] == ["/usr/share/zsh/site-functions/_pathproof"], listed)
    owned = run("rpm", "-qp", "--nosignature", "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]", packages[0]).stdout.splitlines()
    folders = [line for line in owned if line.startswith("d") and "pathproof" not in line]
    check("no directory is its own that others have too", any(line.startswith("d") for line in owned) and not folders, folders)
    place = home / "rpm"
    place.mkdir()
    run("sh", "-c", 'cd "$1" && rpm2cpio "$2" | cpio -id --quiet', "sh", place, packages[0])
    ran = run(place / "usr/bin/pathproof", "--version")
    check("its program runs", ran.returncode == 0, ran.stdout)
    # By rpm itself, into this system's root behind an overlay, where systemctl writes down what the scriptlets ask of it.
    script = r'''
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
mkdir -p "$1/root/run/systemd/system"
rm -f "$1/root/usr/bin/systemctl"
printf '#!/bin/sh\necho "asked: $*"\n' > "$1/root/usr/bin/systemctl" && chmod +x "$1/root/usr/bin/systemctl"
for act in "--install --nodeps $2" "--upgrade --nodeps --replacepkgs $2" "--erase pathproof"; do
  echo "== ${act%% *}"
  rpm --root "$1/root" $act
  [ "${act%% *}" != --install ] || chroot "$1/root" pathproof --version
done
! find "$1/root/usr" "$1/root/etc" -xdev -name "pathproof*" | grep . && echo "nothing left"
'''
    if os.getuid() != 0:
        return skip("the .rpm is installed", "installing needs root")
    (home / "rpm-root").mkdir()
    said = run("unshare", "--mount", "sh", "-c", script, "sh", home / "rpm-root", packages[0]).stdout
    if "mount:" in said and "overlay" in said:
        return skip("the .rpm is installed", said.strip())
    acts = dict(part.split("\n", 1) for part in said.split("== ")[1:])
    asked = {act: [line.removeprefix("asked: ") for line in lines.splitlines() if line.startswith("asked: ")] for act, lines in acts.items()}
    renewed = ["daemon-reload", "try-restart pathproof.service"]
    check("rpm installs it", asked.get("--install") == renewed and "pathproof 0" in acts["--install"], said[-3000:])
    # What is replaced goes last: it may neither stop nor disable the service.
    check("rpm upgrades it", asked.get("--upgrade") in (renewed, [*renewed, "daemon-reload"]), said[-3000:])
    check("rpm erases it", asked.get("--erase") == ["disable --now pathproof.service", "daemon-reload"] and "nothing left" in said.splitlines(), said[-3000:])


def crates():
    """What `cargo install` would build: the crates as they would be published, away from this tree and with nothing of it."""
    # In one place, and with what the other builds have made already.
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
    place = target / "crates"
    shutil.rmtree(place, ignore_errors=True)
    made = run("cargo", "package", "--workspace", "--no-verify", "--offline", "--locked", "--allow-dirty", cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(place)})
    check("crates are packed", made.returncode == 0, made.stdout[-2000:])
    found = re.findall(r"Packaging (pathproof\S*) v(\S+)", made.stdout)
    check("all of them", len(found) >= 13 and len(found) == made.stdout.count(" Packaging "), found)
    for name, version in found:
        # Cargo gives all files one old time, by which it would take a later copy for this one.
        run("tar", "-xzmf", place / "package" / f"{name}-{version}.crate", "-C", place)
    licensed = [name for name, version in found if all((place / f"{name}-{version}" / f"LICENSE-{one}").is_file() for one in ("MIT", "APACHE"))]
    check("each has its licences with it", len(licensed) == len(found), licensed)
    root = place / f"pathproof-{dict(found)['pathproof']}"
    names = {path.name for path in root.iterdir()}
    wanted = {"src", "build.rs", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "Cargo.toml", "Cargo.toml.orig", "Cargo.lock", ".cargo_vcs_info.json"}
    check("the program's holds what builds it, and nothing else", names == wanted, names ^ wanted)
    with (root / "Cargo.toml").open("a") as manifest:
        manifest.write("[workspace]\n[patch.crates-io]\n")
        manifest.writelines(f'{name} = {{ path = "../{name}-{version}" }}\n' for name, version in found if name != "pathproof")
    built = run("cargo", "check", "--offline", "--message-format", "json", cwd=root, env={**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0", "PATHPROOF_COMMIT": ""})
    check("they build", built.returncode == 0, built.stdout[-3000:])
    told = [line for line in built.stdout.splitlines() if '"build-script-executed"' in line and "PATHPROOF_COMMIT" in line]
    check("a program that is built from them knows its commit", any(re.search(r'"PATHPROOF_COMMIT","[0-9a-f]{40}', line) for line in told), told)
    shutil.rmtree(place)


with tempfile.TemporaryDirectory(prefix="pathproof-packages-") as scratch:
    main(Path(scratch))
print(f"packages: {len(failed)} failed" + (": " + ", ".join(failed) if failed else ""))
sys.exit(1 if failed else 0)
