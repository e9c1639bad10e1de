"""Damage to files, by kind of file: of one `random.Random`, so that a number gives it again."""

import copy
import json
import random
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_NESTED: Any = []
for _ in range(200):
    _NESTED = [_NESTED]

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 255, 1000, 2**16, 2**20, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**40),
    *(2**53, 2**60, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), 10**30, 0.0, -0.0, 0.5, 1e-300, 1e30),
    *(
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        "",
        " ",
        "a",
        "None",
        "true",
        "0",
        "\0",
        "a\0b",
        "\ud800",
        "é",
        "日本",
    ),
    *(
        "..",
        "../..",
        "/",
        "/etc/hostname",
        "config.json",
        "x" * 3000,
        "a" * 100_000,
        [],
        {},
        [0],
        [None],
        [[]],
        {"": 0},
    ),
    *({"type": "x"}, ["a", 1], [0] * 1000, _NESTED),
]

ODD_NUMBERS = [0, 1, -1, 2, 2**31 - 1, -(2**31), 2**32, 2**40, 2**60, 2**62, 2**63 - 1, -(2**63)]
ODD_FLOATS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, 1e38, -1e38, 3.4e38, 65504.0, 1e-7]


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    """Cut, flipped, filled, doubled or replaced somewhere."""
    if not content:
        return rng.randbytes(rng.randrange(1, 20))
    data = bytearray(content)
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice([1, 2, 4, 8, 64, 1000]))
    match rng.randrange(9):
        case 0:
            del data[start:]
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = data[start:end]
        case 3:
            data[start:end] = rng.randbytes(end - start)
        case 4:
            data[start:end] = rng.choice([b"\0", b"\xff", b" ", b"[", b'"']) * (end - start)
        case 5:
            data += rng.choice([b"\0", b"}", b"\n", rng.randbytes(9)])
        case 6:
            return rng.choice([b"", b"\0", b"null", b"{}", b"[]", b"\xef\xbb\xbf" + content, rng.randbytes(200)])
        case _:
            for _ in range(rng.choice([1, 1, 2, 10])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def damaged_json(rng: random.Random, document: Any) -> Any:
    """With one to three values of other types or sizes, or gone, or in each other's places."""
    holder = [document]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place, key = _somewhere(rng, holder)
        value = place[key]
        match rng.randrange(8):
            case 0 if place is not holder:
                del place[key]
            case 1 if isinstance(value, int | float):
                place[key] = rng.choice(
                    [value + 1, value - 1, value * 2, -value, value * 1000, float(value), str(value)]
                )
            case 2 if isinstance(value, str):
                at = rng.randrange(len(value) + 1)
                place[key] = value[:at] + rng.choice(["", "\0", "\ud800", "x", "a" * 5000, value]) + value[at + 1 :]
            case 3 if isinstance(place, dict):
                place[rng.choice([key + "x", "", "type", key.upper()])] = place.pop(key)
            case 4:
                other, at = _somewhere(rng, holder)
                if other is not holder and place is not holder and not _within(value, other):
                    # Copied, so that nothing holds itself.
                    place[key] = json.loads(json.dumps(other[at]))
            case 5 if isinstance(value, list):
                place[key] = rng.choice(
                    [value * 2, value[: len(value) // 2], value[::-1], {str(i): x for i, x in enumerate(value[:9])}]
                )
            case _:
                # Copied, since the next change may be within it.
                place[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return holder[0]


def _somewhere(rng: random.Random, holder: list[Any]) -> tuple[Any, Any]:
    """A container and a key of it: each level is as likely as the next, so that long lists do not take all."""
    place, key = holder, 0
    while isinstance(value := place[key], list | dict) and value and rng.random() < 0.8:
        place, key = value, rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    return place, key


def _within(outer: Any, inner: Any) -> bool:
    children = outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ()
    return outer is inner or any(_within(child, inner) for child in children)


def damaged_text(rng: random.Random, content: bytes) -> bytes:
    """JSON with odd values in it, or damaged as bytes."""
    try:
        document = json.loads(content)
    except ValueError:
        # Damaged before.
        return damaged_bytes(rng, content)
    if rng.random() < 0.2:
        return damaged_bytes(rng, content)
    changed = json.dumps(damaged_json(rng, document)).encode()
    return damaged_bytes(rng, changed) if rng.random() < 0.05 else changed


def damaged_safetensors(rng: random.Random, content: bytes) -> bytes:
    """Another header, other numbers, or other bytes anywhere."""
    start = 8 + int.from_bytes(content[:8], "little")
    header, data = content[8:start], content[start:]
    try:
        document = json.loads(header)
    except ValueError:
        # Damaged before.
        return damaged_bytes(rng, content)
    match rng.randrange(6):
        case 0:
            return damaged_bytes(rng, content)
        case 1:
            return struct.pack("<Q", rng.choice([0, 1, len(header) - 1, 2**32, 2**63, 2**64 - 1])) + content[8:]
        case 2:
            numbers = bytearray(data)
            for _ in range(rng.choice([1, 1, 20]) if len(data) >= 4 else 0):
                at = rng.randrange(len(data) // 4) * 4
                numbers[at : at + 4] = np.float32(rng.choice(ODD_FLOATS)).tobytes()
            return content[:start] + bytes(numbers)
        case _:
            changed = json.dumps(damaged_json(rng, document)).encode()
            return struct.pack("<Q", len(changed)) + changed + data


def damaged_gguf(rng: random.Random, content: bytes) -> bytes:
    """Other counts, lengths, types or offsets before the data, or other bytes anywhere."""
    if rng.random() < 0.3 or not content:
        return damaged_bytes(rng, content)
    data = bytearray(content)
    # Integers of the header lie anywhere: behind strings, whose lengths are what is found most often.
    end = max(content.rfind(b".weight"), content.rfind(b".bias"), 32) + 64
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        number = struct.pack(
            *rng.choice([("<q", rng.choice(ODD_NUMBERS)), ("<i", rng.choice([0, 1, -1, 9, 2**31 - 1]))])
        )
        at = rng.randrange(min(end, len(data)))
        if rng.random() < 0.5 and (found := [*_texts(content)]):
            at = rng.choice(found)
        data[at : at + len(number)] = number
    return bytes(data)


def _texts(content: bytes) -> Iterator[int]:
    """Places of what may be the lengths of names, which are followed by letters and then by a type."""
    for found in re.finditer(rb"[a-z_.0-9]{5,60}", content[: 1 << 16]):
        if found.start() >= 8 and int.from_bytes(content[found.start() - 8 : found.start()], "little") == len(found[0]):
            yield found.start() - 8
            yield found.end()


def damaged_numbers(rng: random.Random, content: bytes, start: int) -> bytes:
    """An array's file, whose numbers begin at `start`, with some that are odd as integers or floats of some width."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 3, 30])):
        number = rng.choice(
            [
                struct.pack("<q", rng.choice(ODD_NUMBERS)),
                struct.pack("<i", rng.choice([0, 1, -1, 2**31 - 1, -(2**31), 0xD800, 0x110000])),
                np.float32(rng.choice(ODD_FLOATS)).tobytes(),
                rng.randbytes(1),
                rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80"]),
            ]
        )
        room = (len(data) - start) // len(number)
        if room > 0:
            at = start + rng.randrange(room) * len(number)
            data[at : at + len(number)] = number
    return bytes(data)


KINDS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    ".json": damaged_text,
    ".safetensors": damaged_safetensors,
    ".gguf": damaged_gguf,
}
