"""The command line: parse, call the library, print (installed as searchlib.cli)."""
