"""Find the Chromium for the browser tests and its launch options.

CHROMIUM_PATH names one; otherwise the system's is used, then Playwright's. The headless shell is preferred:
it draws the same in half the processor time, but keeps no page that it leaves, so one test needs the full
browser. `--install` installs both as root on Debian; where there is none then, Playwright's download.

    python scripts/browser.py             prints the path
    python scripts/browser.py --install   installs what is missing
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SHELL = "chromium-headless-shell"
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
HELP = "No Chromium was found: install chromium (Debian: apt-get install chromium) or set CHROMIUM_PATH."


def main() -> None:
    path = find()
    if "--install" in sys.argv[1:] and not os.environ.get("CHROMIUM_PATH"):
        install()
        path = find()
    if path is None:
        sys.exit(HELP)
    if "--install" not in sys.argv[1:]:
        print(path)


def find(names: Sequence[str] = NAMES) -> str | None:
    """The path of a Chromium executable, or None."""
    named = os.environ.get("CHROMIUM_PATH")
    if named:
        if not os.access(named, os.X_OK):
            sys.exit(f"CHROMIUM_PATH={named!r} is no executable file: correct it or unset it.")
        return named
    for path in (*map(shutil.which, names), *APPLICATIONS):
        if path and os.access(path, os.X_OK):
            return path
    own = playwright_path()
    return own if os.access(own, os.X_OK) else None


def find_full() -> str | None:
    """The path of a Chromium that is no headless shell, or None."""
    return find(NAMES[1:])


def launch_arguments() -> list[str]:
    """The flags of a quiet, reproducible Chromium; root needs --no-sandbox."""
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
        "--font-render-hinting=none",
        "--force-color-profile=srgb",
        "--no-first-run",
    ]
    return [*quiet, "--no-sandbox"] if os.geteuid() == 0 else quiet


def install() -> None:
    """Install Debian's packages that are missing; Playwright's Chromium where there is none."""
    for name in ("chromium", SHELL):
        if not shutil.which(name):
            install_package(name)
    if not find():
        print("· Installing Playwright's chromium for the browser tests", flush=True)
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


def install_package(name: str) -> None:
    """Install a package of Debian, as root on Debian."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return
    print(f"· Installing Debian's {name} for the browser tests", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    finish_interrupted = ["dpkg", "--configure", "-a"]
    subprocess.run(finish_interrupted, env=environment, check=False)
    subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "--no-remove", name]
    subprocess.run(command, env=environment, check=False)


def playwright_path() -> str:
    """The path at which Playwright installs its Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


if __name__ == "__main__":
    main()
