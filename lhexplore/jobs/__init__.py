"""Driving generators beside the person who waits: in a thread, stoppable between two items."""

from .job import Job
from .progress import Progress
from .waitable import Waitable
from .worker import State, Worker

__all__ = ["Job", "Progress", "State", "Waitable", "Worker"]
