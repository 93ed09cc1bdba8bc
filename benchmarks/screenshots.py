"""Take the pictures of the README from the real thing: ``python benchmarks/screenshots.py``.

Runs the quickstart in JupyterLab and photographs the explorer, light and dark, in windows of 1280 and 800 pixels.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the driver of the browser tests

from labdriver import Chromium, LabPage, LabServer, explorer, find_chromium  # noqa: E402  made known just above

QUICKSTART = ROOT / "notebooks" / "00_quickstart.ipynb"
SHARPNESS = 2  # pixels of the picture per pixel of the page: readable on fine screens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--layer", default="fc1")
    parser.add_argument("--snapshot", type=int, default=8)
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit("No Chromium found on PATH: install one to take pictures.")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with LabServer(QUICKSTART) as server, Chromium(height=1300, sharpness=SHARPNESS) as chromium:
        lab = LabPage(server, chromium)
        lab.open(QUICKSTART.name)
        lab.run_all()
        lab.kernel(f"explorer.layer, explorer.snapshot = {arguments.layer!r}, {arguments.snapshot}; explorer.settled()")
        lab.command("application:toggle-left-area")
        for theme in ("light", "dark"):
            lab.theme(theme)
            for width in (1280, 800):
                lab.resize(width, 1300)
                explorer.bring_up(lab)
                path = arguments.folder / f"explorer-{theme}-{width}.png"
                lab.find(explorer.EXPLORER).first.screenshot(path=path)
                print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
        lab.close()


if __name__ == "__main__":
    main()
