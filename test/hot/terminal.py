"""Runs a command on a pseudo terminal by a script of steps, and prints as JSON what came of it.

  terminal.py STEPS COMMAND...

STEPS is a JSON list, each of one key: {"await": TEXT} waits until the text was shown, {"type": TEXT} types it,
{"size": [ROWS, COLUMNS]} resizes the terminal, {"settings": NAME} notes its settings under a name.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

TIMEOUT = 60
steps = json.loads(sys.argv[1])
command = sys.argv[2:]


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


master, slave = pty.openpty()
resize(master, 33, 91)
# Another than the default, so that restoring "the usual settings" is told from restoring these.
settings = termios.tcgetattr(slave)
settings[3] &= ~termios.ECHOE
termios.tcsetattr(slave, termios.TCSANOW, settings)
before = termios.tcgetattr(slave)

pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.execvp(command[0], command)

shown = b""
noted = {}
deadline = time.monotonic() + TIMEOUT
searched = 0


def read_some(wait):
    global shown
    if not select.select([master], [], [], wait)[0]:
        return False
    try:
        shown += os.read(master, 65536)
    except OSError:
        return False
    return True


for step in steps:
    ((kind, value),) = step.items()
    if kind == "await":
        while (at := shown.find(value.encode(), searched)) < 0:
            if time.monotonic() > deadline:
                print(json.dumps({"missing": value, "shown": shown.decode(errors="replace")}))
                os.kill(pid, 9)
                sys.exit(1)
            read_some(0.1)
        searched = at + len(value)
    elif kind == "type":
        os.write(master, value.encode())
    elif kind == "size":
        resize(master, *value)
    elif kind == "settings":
        noted[value] = termios.tcgetattr(slave) == before

status = None
while status is None:
    read_some(0.02)
    ended, code = os.waitpid(pid, os.WNOHANG)
    if ended:
        status = os.waitstatus_to_exitcode(code)
    elif time.monotonic() > deadline:
        os.kill(pid, 9)
while read_some(0):
    pass
print(
    json.dumps(
        {
            "code": status,
            "shown": shown.decode(errors="replace"),
            "asBefore": termios.tcgetattr(slave) == before,
            "noted": noted,
        }
    )
)
