"""The progress bar: one line rewritten where that works, sparse lines in a log."""

import io

from lhexplore.jobs import Progress
from lhexplore.session.bar import Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_per_tenth_and_the_end():
    stream = io.StringIO()
    with Bar(stream) as bar:
        for done in range(101):
            bar.show(Progress(done, 100, done / 10, (100 - done) / 10, "fc1 at step-4"))
        bar.show(Progress(100, 100, 10.0), final=True)
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 12
    assert "10/100 · 10.0/s · 9.0 s left · fc1 at step-4" in lines[0]
    assert lines[-1].endswith("100/100 in 10 s")


def test_a_terminal_gets_one_line_rewritten_at_most_ten_times_a_second():
    stream = Terminal()
    with Bar(stream) as bar:
        for done in range(1000):
            bar.show(Progress(done, 1000, 1.0))
        bar.show(Progress(1000, 1000, 1.0), final=True)
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written.count("\n") == 1
    assert written.count("\r") < 20
