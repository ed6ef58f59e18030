"""Create a working figure: its folder, words and test, and its place at the end of a section.

    make figure NAME=spread [SECTION=02-rounding]

It has a slider, a drawing and a read-out, to be changed as needed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).with_name("figure")
LESSON = ROOT / "lessons" / "quantization"
SECTION = "07-family"


def main(name: str, section: str = SECTION) -> None:
    """Write the files; refuse a name that is taken or invalid."""
    prose = LESSON / "en" / f"{section}.md"
    if not re.fullmatch("[a-z][a-z0-9_]{1,30}", name):
        sys.exit("Name the figure in small letters, digits and _: make figure NAME=spread")
    if not prose.is_file():
        sys.exit(f"{prose.relative_to(ROOT)} is not a section of the lesson")
    files = {
        LESSON / "figures" / name / "__init__.py": "__init__.py",
        LESSON / "figures" / name / "drawing.jinja": "drawing.jinja",
        LESSON / "figures" / name / "style.css": "style.css",
        LESSON / "en" / "figures" / f"{name}.toml": "words.toml",
        ROOT / "tests" / "lessons" / f"test_{name}.py": "test.py",
    }
    taken = [str(path.relative_to(ROOT)) for path in files if path.exists()]
    if taken:
        sys.exit(f"{', '.join(taken)}: is already there; nothing was written")
    label = next_label(prose.read_text("utf-8"))
    words = {"name": name, "label": label, "id": label.lower().replace(".", "-")}
    for path, template in files.items():
        path.parent.mkdir(exist_ok=True)
        text = (TEMPLATES / f"{template}.template").read_text("utf-8")
        path.write_text(Template(text).safe_substitute(words), "utf-8")
        print(f"· {path.relative_to(ROOT)}")
    with prose.open("a", encoding="utf-8") as file:
        file.write(f"\n[[figure: {name}]]\n")
    print(f"· [[figure: {name}]] at the end of {prose.relative_to(ROOT)}: move it to where it belongs")
    subprocess.run([sys.executable, str(ROOT / "scripts" / "figure_reference.py")], check=True)
    print("· docs/figures.md and docs/accessibility.md")


def next_label(prose: str) -> str:
    """The label after the last of a section: FIG.07D after FIG.07C."""
    placed = re.findall(r"^\[\[figure: (\w+)\]\]", prose, re.MULTILINE)
    sources = [(LESSON / "figures" / name / "__init__.py").read_text("utf-8") for name in placed]
    labels = sorted(match for source in sources for match in re.findall(r'"FIG\.(\d\d)([A-Z]?)"', source))
    number, letter = labels[-1] if labels else (re.findall(r'^number = "(\d\d)', prose, re.MULTILINE)[0], "@")
    return f"FIG.{number}{chr(ord(letter or 'A') + 1)}"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Name the figure: make figure NAME=spread")
    main(*sys.argv[1:3])
