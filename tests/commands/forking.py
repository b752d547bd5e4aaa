"""Run the command line, or `-c PROGRAM`, in a fork for each line that is read.

Python, and what is imported, start once.
"""

import gc
import json
import os
import signal
import sys
from importlib import import_module

from prom_middleware.cli import COMMANDS, main

for name in (*(command.module for command in COMMANDS.values()), *sys.argv[1:]):
    import_module(name)
gc.freeze()
for line in sys.stdin:
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    arguments, folder, environment, streams = json.loads(line)
    signal.alarm(60)
    for number, stream in enumerate(streams):
        os.dup2(os.open(stream, os.O_RDWR), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder  # as `python -m` has it
    code = 0
    try:
        if arguments[:1] == ["-c"]:
            exec(arguments[1])
        else:
            code = main(arguments)
    except SystemExit as left:
        code = int(left.code or 0)
    gc.collect()  # what is left open is told
    sys.stdout.flush()
    os._exit(code)  # to take apart all that is imported takes as long as to start
