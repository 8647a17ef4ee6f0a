"""The baseline of benches/import: documents as the older class wrote them, unordered, a thousand at a time."""

import os
import sys
import time

from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

client = MongoClient(os.environ["KEYLEND_TEST_MONGODB_URI"])


def insert(name, file):
    # The same promise as keylend's: a majority has it in its journal, and no key is there twice.
    keys = client[name].get_collection("stability_api_keys", write_concern=WriteConcern(w="majority", j=True))
    keys.create_index("api_key", unique=True)
    started = time.monotonic()
    batch = []
    with open(file, encoding="ascii") as lines:
        for line in lines:
            batch.append({"api_key": line.strip(), "usage_count": 0, "last_used": None, "is_active": True})
            if len(batch) == 1000:
                keys.insert_many(batch, ordered=False)
                batch = []
    if batch:
        keys.insert_many(batch, ordered=False)
    print(f"{time.monotonic() - started:.1f}")


def server():
    told = client.admin.command("buildInfo")
    ferretdb = told.get("ferretdb", {}).get("version")
    print(f"FerretDB {ferretdb}" if ferretdb else f"MongoDB {told['version']}")


match sys.argv[1:]:
    case ["insert", name, file]:
        insert(name, file)
    case ["server"]:
        server()
    case ["drop", *names]:
        for name in names:
            client.drop_database(name)
