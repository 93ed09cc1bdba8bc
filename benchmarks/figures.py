"""Draw the pictures of ``docs/figures.md`` anew: ``python benchmarks/figures.py``.

The page is the script: of every picture, the line of code above it is run, and its caption becomes the picture's text.
"""

import re
import time
from pathlib import Path

import lhexplore as lh
import lhexplore.figures

PAGE = Path(__file__).parents[1] / "docs" / "figures.md"
PAIR = re.compile(r"```python\n(lh\.figures\.[^\n]+)\n```\n\n!\[.*?\]\((figures/\w+\.svg)\)\n")


def main() -> None:
    session = lh.demo.digits()
    session.compute(["*", None], split="both", states=True)
    print(f"| {'picture':<24} | seconds | kB |\n|{'-' * 26}|---------|----|")

    def draw(found: re.Match[str]) -> str:
        began = time.perf_counter()
        picture = eval(found[1], {"lh": lh, "session": session})
        path = PAGE.parent / found[2]
        path.parent.mkdir(exist_ok=True)
        picture.save(path)
        print(f"| {found[2]:<24} | {time.perf_counter() - began:7.2f} | {path.stat().st_size / 1e3:2.0f} |")
        text = picture.caption.replace("[", "(").replace("]", ")")
        return f"```python\n{found[1]}\n```\n\n![{text}]({found[2]})\n"

    PAGE.write_text(PAIR.sub(draw, PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
