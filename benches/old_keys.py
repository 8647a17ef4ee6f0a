"""The documents of benches/migrate, as the older programs left them."""

import os
import random
import sys
import time
from datetime import datetime, timezone

from pymongo import MongoClient

client = MongoClient(os.environ["KEYLEND_TEST_MONGODB_URI"])

PART = 25_000


def key(dice, number, now):
    document = {"api_key": f"sk-{dice.getrandbits(64):016x}{number:08d}", "is_active": True}
    document["credits_left"] = round(dice.uniform(-1, 26), 1)
    document["last_checked"] = now
    # One of ten was written by the old migration, and one of a hundred has its fraction.
    if number % 10 == 0:
        document["last_used"] = now
        used = max(0.0, 25 - document["credits_left"])
        document["usage_count"] = used if number % 100 == 0 else float(int(used) + 1)
    return document


def fill(name, keys):
    started = time.monotonic()
    dice, now = random.Random(1), datetime.now(timezone.utc)
    collection = client[name]["stability_api_keys"]
    for first in range(0, keys, PART):
        part = range(first, min(keys, first + PART))
        collection.insert_many([key(dice, number, now) for number in part], ordered=False)
    print(f"{keys} documents in {time.monotonic() - started:.1f} s")


match sys.argv[1:]:
    case ["fill", name, keys]:
        fill(name, int(keys))
    case ["drop", *names]:
        for name in names:
            client.drop_database(name)
