"""Encoders: texts to vectors. Everything is imported from the module that defines it."""
