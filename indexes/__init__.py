"""The engine room: write-once segments of term and vector fields. Arrays in, (docid, score) out.

No text analysis and no models: rows arrive as `indexes.types.TermVectors` or as float32 vectors.
"""
