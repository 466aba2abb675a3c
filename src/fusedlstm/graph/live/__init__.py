"""Models along time: a graph becomes one for a chunk of steps, with what is kept from chunk to chunk as states."""

from .chunk import Chunk, State
from .flow import Flow
from .walk import TIME, Walk

__all__ = ["TIME", "Chunk", "Flow", "State", "Walk"]
