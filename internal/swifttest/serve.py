# Makes the rings of a Swift, runs its servers, and ends all of them when standard input ends.
# Argument: a JSON document; see type layout in config.go.
import ctypes
import json
import os
import signal
import subprocess
import sys

layout = json.load(open(sys.argv[1]))

from swift.common import utils

utils.set_swift_dir(layout["etc"])

from swift.common.ring import RingBuilder
from swift.common.wsgi import run_wsgi

# What the servers would each load for themselves, which is most of their start.
import pkg_resources
import swift.account.server
import swift.container.server
import swift.obj.server
import swift.proxy.server

for ring in layout["rings"]:
    builder = RingBuilder(ring["power"], ring["replicas"], 0)
    for dev in ring["devices"]:
        builder.add_dev(dict(dev, replication_ip=dev["ip"], replication_port=dev["port"], meta=""))
    builder.rebalance(seed="1")
    builder.get_ring().save(os.path.join(layout["etc"], ring["name"] + ".ring.gz"))

libc = ctypes.CDLL(None)


def with_parent():
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


null = os.open(os.devnull, os.O_RDWR)
children = [subprocess.Popen(layout["memcached"], stdin=null, preexec_fn=with_parent).pid]
for server in layout["servers"]:
    pid = os.fork()
    if pid == 0:
        with_parent()
        os.dup2(null, 0)
        sys.exit(run_wsgi(server["conf"], server["name"]))
    children.append(pid)
print("started", flush=True)
while os.read(0, 4096):
    pass
for pid in children:
    os.kill(pid, signal.SIGKILL)
for pid in children:
    os.waitpid(pid, 0)
