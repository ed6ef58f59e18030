"""Fill `static/vendor` from `node_modules`.

It then contains exactly what a page loads: htmx, plotly.js (basic) with its style sheet, the used subsets of
IBM Plex, and their licences. Scripts and style sheets have a `.br` file, compressed at the highest level;
`manifest.json` lists versions and SHA-256 hashes. None of it is committed. A second run does nothing if the
manifest was made from this lock file and this script.
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import brotli

ROOT = Path(__file__).resolve().parent.parent
NODE_MODULES = ROOT / "node_modules"
VENDOR = ROOT / "static" / "vendor"
NEW, OLD = ROOT / ".vendor.new", ROOT / ".vendor.old"  # outside `static`, which a server may be reading

SCRIPTS = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "hx-sse.min.js": "htmx.org/dist/ext/hx-sse.min.js",  # a class is told of changes
    "plotly-basic.min.js": "plotly.js-basic-dist-min/plotly-basic.min.js",
}
LICENCES = {
    "LICENSE-htmx.txt": "htmx.org/LICENSE",
    "LICENSE-plotly.txt": "plotly.js-basic-dist-min/LICENSE",
    "LICENSE-ibm-plex.txt": "@fontsource/ibm-plex-sans/LICENSE",
}
# Family, weight and style: the four faces of the design, each in the needed subset. Another face would be as
# large as the text of the lesson; letters outside the subset (ŵ, α) come from system fonts.
FACES = (
    ("sans", 400, "normal"),
    ("serif", 300, "normal"),
    ("serif", 300, "italic"),
    ("mono", 400, "normal"),
)
SUBSET = "latin"


def main() -> None:
    if not is_current():
        renew()


def is_current() -> bool:
    """Whether `static/vendor` was made by this script from this lock file and is complete."""
    try:
        manifest = json.loads((VENDOR / "manifest.json").read_text())
        return bool(manifest["made_from"] == made_from()) and all(
            (VENDOR / name).stat().st_size == entry["bytes"] for name, entry in manifest["files"].items()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def made_from() -> dict[str, str]:
    return {name: sha256(ROOT / name) for name in ("package-lock.json", "scripts/assets.py")}


def renew() -> None:
    """Fill a temporary folder and replace `static/vendor` with it."""
    for folder in (NEW, OLD):
        shutil.rmtree(folder, ignore_errors=True)
    fill(NEW)
    VENDOR.parent.mkdir(exist_ok=True)
    if VENDOR.exists():
        VENDOR.rename(OLD)
    NEW.rename(VENDOR)
    shutil.rmtree(OLD, ignore_errors=True)


def fill(vendor: Path) -> None:
    """Write every vendor file, and the manifest last."""
    (vendor / "fonts").mkdir(parents=True)
    for name, source in (SCRIPTS | LICENCES).items():
        shutil.copyfile(NODE_MODULES / source, vendor / name)
    (vendor / "plotly.css").write_text(plotly_css((vendor / "plotly-basic.min.js").read_text()))
    (vendor / "fonts.css").write_text("".join(copy_faces(vendor)))
    for path in [*vendor.glob("*.js"), *vendor.glob("*.css")]:
        path.with_name(f"{path.name}.br").write_bytes(brotli.compress(path.read_bytes(), quality=11))
    files = {
        path.relative_to(vendor).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(vendor.rglob("*"))
        if path.is_file()
    }
    manifest = {"made_from": made_from(), "packages": package_versions(), "files": files}
    (vendor / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def copy_faces(vendor: Path) -> Iterator[str]:
    """Copy the woff2 of each face and give its `@font-face` rule, with the subset's own unicode-range.

    `font-display: optional`: pages preload the faces, which usually arrive before the first paint; on a slow
    connection the system's faces remain for this visit, because text must not shift while it is read.
    """
    for family, weight, style in FACES:
        package = NODE_MODULES / "@fontsource" / f"ibm-plex-{family}"
        letters = json.loads((package / "unicode.json").read_text())[SUBSET]
        name = f"ibm-plex-{family}-{SUBSET}-{weight}-{style}.woff2"
        shutil.copyfile(package / "files" / name, vendor / "fonts" / name)
        yield (
            f'@font-face{{font-family:"IBM Plex {family.title()}";font-style:{style};'
            f"font-weight:{weight};font-display:optional;src:url(fonts/{name}) format('woff2');"
            f"unicode-range:{letters}}}\n"
        )


def plotly_css(bundle: str) -> str:
    """Extract the style sheet that plotly.js would inject, which the CSP forbids.

    The bundle keeps its rules as one object literal, `{"X,X div": 'direction:ltr;…', …, Y: …}`, where X
    stands for the chart and Y for its notifier, and inserts each at index 0, so the last is first in the
    cascade. Linked as `<link id="plotly.js-style-global" class="no-inline-styles" rel="stylesheet" …>`, the
    result makes plotly.js inject nothing.
    """
    start = bundle.find('{"X,X div":')
    literal = bundle[start : bundle.find("};", start)]
    rules = re.findall(r"""[{,](?:"([XY][^"]*)"|(Y)):(?:"([^"]*)"|'([^']*)')""", literal)
    if start < 0 or len(rules) < 40:
        sys.exit("This plotly.js keeps its style sheet elsewhere: look for addStyleRule and mend plotly_css.")
    lines = []
    for quoted, bare, double, single in reversed(rules):
        selector = (quoted or bare).replace("X", ".js-plotly-plot .plotly").replace("Y", ".plotly-notifier")
        lines.append(f"{selector}{{{double or single}}}\n")
    return "".join(lines)


def package_versions() -> dict[str, str]:
    """Name and locked version of each package whose files pages load."""
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    return {
        path.removeprefix("node_modules/"): entry["version"]
        for path, entry in packages.items()
        if path and not entry.get("dev")
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
