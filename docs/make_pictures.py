"""Make the pictures of the tutorial and the gallery, by the commands on these pages, and run the notebook.

``images/PAGE-NAME.png`` on a page is what its commands write as ``NAME.png``, made small; ``images/demo.png`` is the
tutorial's ``trend.png``. Two folders of real data are read where they are beside the checkout (CONTRIBUTING.md); else
the pictures of them stay as they are. A picture of the report needs Chromium.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from PIL import Image

from pixelwise.cli import main

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
DATA = DOCS.parent.parent / "shared" / "data"
#: Folders of the gallery's real data.
REAL = {"alaska": DATA / "remoteparts_ak_ndvi" / "geotiff", "tura": DATA / "tura_landsat" / "geotiff"}
#: Pixels of the width, colours and bytes that a picture has at most.
WIDTH, COLOURS, LARGEST = 800, 64, 120_000


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a page."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    return [shlex.split(line[2:])[1:] for line in lines]


def run_page(page: Path, folder: Path) -> None:
    """Run the commands of a page in a folder."""
    text = page.read_text()
    for name, module in re.findall(r"Save this as `(\w+\.py)`.*?^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(module)
    for name, data in REAL.items():
        if data.is_dir():
            (folder / name).symlink_to(data, target_is_directory=True)
    os.chdir(folder)
    for words in commands(text):
        if words[0] == "plan" or any(name in words and not REAL[name].is_dir() for name in REAL):
            continue
        main(words, standalone_mode=False)


def photograph(page: Path, picture: Path) -> None:
    """Draw the top of a page of HTML, where Chromium is installed."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        return
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
    where = [f"--screenshot={picture}", "--window-size=1100,1000", page.resolve().as_uri()]
    subprocess.run([program, *options, *where], check=True, capture_output=True)


def shrink(picture: Path, target: Path) -> None:
    """Write a small copy of a picture."""
    with Image.open(picture) as image:
        whole = image.convert("RGB")
    for width in range(WIDTH, 400, -40):
        fewer(whole, width).save(target, optimize=True)
        if target.stat().st_size <= LARGEST:
            return
    sys.exit(f"{target}: more than {LARGEST} bytes")


def fewer(whole: Image.Image, width: int) -> Image.Image:
    """Return a smaller picture in few colours: first those of the classes as they are, however rare."""
    frequent = [colour for _, colour in sorted(whole.getcolors(1 << 24), reverse=True)[: COLOURS // 2]]
    spread = whole.quantize(COLOURS // 2, method=Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(part for colour in frequent for part in colour), *spread])
    small = whole.resize((width, round(whole.height * width / whole.width)), Image.Resampling.LANCZOS)
    return whitened(small.quantize(palette=palette, dither=Image.Dither.NONE))


def whitened(image: Image.Image) -> Image.Image:
    """Make what is nearly white white: Pillow finds colours of a palette only nearly."""
    palette = image.getpalette() or []
    colours = [palette[i : i + 3] for i in range(0, len(palette), 3)]
    image.putpalette([part for colour in colours for part in ([255] * 3 if min(colour) >= 250 else colour)])
    return image


def make(page: Path) -> None:
    """Make the pictures of a page."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        run_page(page, folder)
        if (folder / "report.html").exists():
            photograph(folder / "report.html", folder / "report.png")
        for picture in sorted(folder.glob("*.png")):
            target = IMAGES / f"{page.stem}-{picture.name}"
            if target.name == "tutorial-trend.png":
                target = IMAGES / "demo.png"
            if f"](images/{target.name})" in page.read_text():
                shrink(picture, target)
        os.chdir(DOCS)


def run_notebook(path: Path) -> None:
    """Run a notebook in a folder of its own, and keep what it shows, with small pictures."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # when it ran
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture:
                output["data"]["image/png"] = reduced(base64.b64decode(picture))
    nbformat.write(notebook, path)


def reduced(picture: bytes) -> str:
    """Return a picture in few colours, as notebooks hold it."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        fewer(image.convert("RGB"), WIDTH - 120).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


if __name__ == "__main__":
    for stem in sys.argv[1:] or ["tutorial", "gallery", "notebook"]:
        if (DOCS / f"{stem}.ipynb").exists():
            run_notebook(DOCS / f"{stem}.ipynb")
        else:
            make(DOCS / f"{stem}.md")
