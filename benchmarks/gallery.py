"""Run the gallery from an empty cache and write it anew: ``python benchmarks/gallery.py``.

It is kept with its static twins alone: a picture, a sentence and a table of each view, which need no kernel.
"""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

GALLERY = Path(__file__).parents[1] / "notebooks" / "02_gallery.ipynb"
LIVE = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    notebook = nbformat.read(GALLERY, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LHEXPLORE_CACHE"] = folder
        NotebookClient(notebook, timeout=600, record_timing=False, store_widget_state=False).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        if len(outputs) > 1 and all(output.output_type == "stream" for output in outputs):  # a progress bar
            outputs[0].text = "".join(output.text for output in outputs).split("\r")[-1].rstrip() + "\n"
            del outputs[1:]
        for output in outputs:
            output.get("data", {}).pop(LIVE, None)
    nbformat.write(notebook, GALLERY)
    print(f"{GALLERY}  {GALLERY.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
