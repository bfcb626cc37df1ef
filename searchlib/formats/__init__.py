"""Files of many kinds become documents: `read_documents` is the way in."""

from .options import BadLine, ReadOptions
from .read import count_hint, read_documents

__all__ = ["BadLine", "ReadOptions", "count_hint", "read_documents"]
