"""The command line `latentstore`: one file for each command, with `add(commands)` and `run(options)`."""
