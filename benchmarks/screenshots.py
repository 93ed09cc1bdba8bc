"""Take the pictures of the README and of the quickstart from the real thing: ``python benchmarks/screenshots.py``.

Runs the quickstart in JupyterLab and photographs the explorer, light and dark, in windows of 1280 and 800 pixels.
The first picture also goes into the quickstart, where it stands in for the live explorer while no kernel runs.
``--tour`` runs the other notebooks, writes them anew with a picture of their explorer, and takes no other picture.
"""

import argparse
import base64
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image, ImageColor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the driver of the browser tests

from labdriver import Chromium, LabPage, LabServer, explorer, find_chromium  # noqa: E402  made known just above

from lhexplore.explorer.theme import DARK, LIGHT  # noqa: E402

QUICKSTART = ROOT / "notebooks" / "00_quickstart.ipynb"
TOUR = (ROOT / "notebooks" / "01_diagnosis.ipynb", ROOT / "notebooks" / "app.ipynb")
SHARPNESS = 2  # pixels of the picture per pixel of the page: readable on fine screens
COLOURS = 255  # of a palette: a third of the bytes, and no difference to be seen
NAMES = {
    ("light", 1280): "explorer.png",
    ("dark", 1280): "explorer-dark.png",
    ("light", 800): "explorer-800.png",
    ("dark", 800): "explorer-dark-800.png",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs")
    parser.add_argument("--layer", default="conv1")
    parser.add_argument("--snapshot", default="step-000512")
    parser.add_argument("--notebook", action="store_true", help="also renew the picture in the quickstart")
    parser.add_argument("--tour", action="store_true", help="only renew the tour of the diagnosis and the app")
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit("No Chromium found on PATH: install one to take pictures.")
    if arguments.tour:
        for notebook in TOUR:
            renew(notebook)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with LabServer(QUICKSTART) as server, Chromium(sharpness=SHARPNESS) as chromium:
        lab = LabPage(server, chromium)
        lab.open(QUICKSTART.name)
        lab.run_all()
        lab.kernel(
            f"explorer.layer, explorer.snapshot = {arguments.layer!r}, {arguments.snapshot!r}; explorer.settled()"
        )
        lab.command("application:toggle-left-area")
        explorer.bring_up(lab)
        for (theme, width), name in NAMES.items():
            lab.theme(theme)
            path = arguments.folder / name
            explorer.photograph(lab, path, width=width)
            shrink(path)
            print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
        lab.close()
    if arguments.notebook:
        put_into(QUICKSTART, arguments.folder / NAMES["light", 1280])


def renew(notebook: Path) -> None:
    """Run a notebook from an empty cache, write it anew, and put a picture of its explorer in."""
    with tempfile.TemporaryDirectory() as folder, LabServer(notebook) as server, Chromium() as chromium:
        lab = LabPage(server, chromium)
        lab.open(notebook.name)
        lab.run_all()
        lab.kernel("explorer.settled(None)", seconds=300)
        lab.command("application:toggle-left-area")
        explorer.bring_up(lab)
        lab.theme("light")
        lab.page.wait_for_timeout(4000)  # what stands in for the live view is drawn when nothing moved for a while
        picture = Path(folder) / "explorer.png"
        explorer.photograph(lab, picture, width=1280)
        shutil.copy(lab.save(), notebook)
        lab.close()
        put_into(notebook, picture, scale=1)


def shrink(path: Path, *, scale: float = 1, to: Path | None = None) -> None:
    """Reduce a picture to a palette, and to ``scale`` of its size."""
    picture = Image.open(path).convert("RGB")
    size = (round(picture.width * scale), round(picture.height * scale))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    few = small.quantize(palette=palette_of(small), dither=Image.Dither.NONE)
    few.save(to or path, optimize=True)


def palette_of(picture: Image.Image) -> Image.Image:
    """Colours of the picture, and all of ours: the median cut alone would grey a mark of a few pixels."""
    ours = [colour for colours in (LIGHT, DARK) for colour in colours.values() if isinstance(colour, str)]
    strip = max(20, picture.height // 50)  # enough pixels of each to count
    wide = picture.width // len(ours)
    more = Image.new("RGB", (picture.width, picture.height + strip))
    more.paste(picture)
    for k, colour in enumerate(ours):
        more.paste(ImageColor.getrgb(colour), (k * wide, picture.height, (k + 1) * wide, picture.height + strip))
    return more.quantize(COLOURS, dither=Image.Dither.NONE)


def put_into(notebook: Path, picture: Path, *, scale: float = 1 / SHARPNESS) -> None:
    """Let the cell that shows the explorer carry its picture beside its words."""
    document = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "explorer.png"
        shrink(picture, scale=scale, to=small)
        data = base64.b64encode(small.read_bytes()).decode() + "\n"
    shown = [
        output
        for cell in document.cells
        for output in cell.get("outputs", [])
        if output.get("data", {}).get("text/plain", "").startswith("Explorer(")
    ]
    if len(shown) != 1:
        sys.exit(f"{notebook} should show one explorer, and shows {len(shown)}: run it first.")
    shown[0].data["image/png"] = data
    shown[0].data.pop("application/vnd.jupyter.widget-view+json", None)  # a picture needs no kernel, this does
    document.metadata.pop("widgets", None)
    nbformat.write(document, notebook)
    print(f"{notebook}  {notebook.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
