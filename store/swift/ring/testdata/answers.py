# Makes rings in a directory that holds swift.conf, and prints where Swift finds the names of names.json in them.
import json
import os
import random
import sys

dir = sys.argv[1]

from swift.common import utils

utils.set_swift_dir(dir)

from swift.common.ring import Ring, RingBuilder

asked = json.load(open(os.path.join(dir, "names.json")))
rnd = random.Random(asked["seed"])
rings = {
    "gold": ("object", 9, 3, 14, 0),
    "silver": ("object-1", 7, 2.5, 9, 3),
    "ec": ("object-2", 5, 6, 11, 1),
}
out = {}
for policy, (name, power, replicas, devices, removed) in rings.items():
    b = RingBuilder(power, replicas, 0)
    for i in range(devices):
        b.add_dev(dict(region=1 + i % 2, zone=i % 4, ip="10.0.%d.%d" % (i % 2, i % 5), port=6200 + i % 3, device="d%d" % i, weight=rnd.randint(1, 100), meta=""))
    b.rebalance(seed=str(asked["seed"]))
    for i in rnd.sample(range(devices), removed):
        b.remove_dev(i)
    if removed:
        b.pretend_min_part_hours_passed()
        b.rebalance(seed=str(asked["seed"]))
    b.get_ring().save(os.path.join(dir, name + ".ring.gz"))
    ring = Ring(dir, ring_name=name)
    answers = []
    for account, container, obj in asked["names"]:
        part, nodes = ring.get_nodes(account, container, obj)
        answers.append({"part": part, "nodes": [{k: n[k] for k in ("id", "region", "zone", "ip", "port", "device")} for n in nodes]})
    out[policy] = answers
json.dump(out, sys.stdout)
