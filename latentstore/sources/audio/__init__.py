"""Recordings as a source: which bytes of a file are audio, how many samples they hold, and their values.

`containers` finds the audio of a file and checks the length that its header says; every family of formats has a module
of its own. `files` opens it with libsndfile, `reader` gives its samples, and `windows` cuts it.
"""
