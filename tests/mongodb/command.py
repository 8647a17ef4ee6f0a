"""Run one command against the admin database of a MongoDB server on 127.0.0.1.

    command.py PORT JSON

Speaks just enough of the wire protocol (OP_MSG, and BSON without dates and
binaries) to initiate a replica set on a machine that has mongod but no mongosh.
Prints the reply as JSON and exits with 1 unless the command succeeded.
"""

import json
import socket
import struct
import sys

OP_MSG = 2013


def encode(document):
    body = b"".join(encode_element(name, value) for name, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def encode_element(name, value):
    key = name.encode() + b"\0"
    if isinstance(value, bool):
        return b"\x08" + key + struct.pack("<?", value)
    if isinstance(value, int):
        return b"\x10" + key + struct.pack("<i", value)
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return b"\x02" + key + struct.pack("<i", len(text)) + text
    if isinstance(value, list):
        return b"\x04" + key + encode({str(i): item for i, item in enumerate(value)})
    if isinstance(value, dict):
        return b"\x03" + key + encode(value)
    raise TypeError(f"{name}: {type(value).__name__} is not supported")


def decode(data, start=0):
    """Decodes what is of use; a value of any other type is shown as its raw bytes."""
    document = {}
    at = start + 4
    while data[at] != 0:
        kind = data[at]
        end = data.index(b"\0", at + 1)
        name = data[at + 1 : end].decode()
        at = end + 1
        size = SIZES[kind](data, at)
        document[name] = decode_value(kind, data, at, size)
        at += size
    return document


def int32(data, at):
    return struct.unpack_from("<i", data, at)[0]


def fixed(size):
    return lambda _data, _at: size


SIZES = {
    0x01: fixed(8),
    0x02: lambda data, at: 4 + int32(data, at),
    0x03: int32,
    0x04: int32,
    0x05: lambda data, at: 5 + int32(data, at),
    0x07: fixed(12),
    0x08: fixed(1),
    0x09: fixed(8),
    0x0A: fixed(0),
    0x10: fixed(4),
    0x11: fixed(8),
    0x12: fixed(8),
}


def decode_value(kind, data, at, size):
    if kind == 0x01:
        return struct.unpack_from("<d", data, at)[0]
    if kind == 0x02:
        return data[at + 4 : at + size - 1].decode()
    if kind == 0x03:
        return decode(data, at)
    if kind == 0x04:
        return list(decode(data, at).values())
    if kind == 0x08:
        return data[at] == 1
    if kind == 0x0A:
        return None
    if kind == 0x10:
        return int32(data, at)
    if kind in (0x09, 0x12):
        return struct.unpack_from("<q", data, at)[0]
    return data[at : at + size].hex()


def read(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return data


def run(port, command):
    message = struct.pack("<i", 0) + b"\0" + encode({**command, "$db": "admin"})
    header = struct.pack("<iiii", 16 + len(message), 1, 0, OP_MSG)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(header + message)
        size = int32(read(connection, 4), 0)
        reply = read(connection, size - 4)
    # The rest of the header, the flags and the kind of the only section.
    return decode(reply[12 + 4 + 1 :])


def main():
    reply = run(int(sys.argv[1]), json.loads(sys.argv[2]))
    print(json.dumps(reply))
    return 0 if reply.get("ok") == 1 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"{sys.argv[0]}: {error}")
