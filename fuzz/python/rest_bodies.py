"""Fuzz what the account REST reads of strangers: the parameters of its URLs and its bodies.

    python fuzz/python/rest_bodies.py -runs=100000        (libFuzzer's options; -help=1 lists them)

The first byte picks a command, or the URL; the second, whether the rest is the body itself or what a JSON body is made
of, since random bytes are hardly ever JSON. Whatever comes is read or refused with a code within a second.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["parlour.admin", "parlour.accounts.user_ids"]):
    from parlour.accounts.refusal import AccountRefusedError
    from parlour.admin.bodies import read_object
    from parlour.admin.commands import COMMANDS
    from parlour.admin.exchange import read_parameters

import msgspec

TABLE = list(COMMANDS.values())
URL = len(TABLE)
PATIENCE = 1.0
WORDS = ["ann", "", "plain", "tls", "\0", "\ud800", "x" * 33, "é" * 17, "x" * 501, "automatic"]
INNER = ["UserID", "Kind", "x"]


def value(source: atheris.FuzzedDataProvider, depth: int = 0) -> Any:
    """Any JSON value, more often one that a body might hold."""
    kind = source.ConsumeIntInRange(0, 7 if depth < 3 else 5)
    match kind:
        case 0:
            return None
        case 1:
            return source.ConsumeBool()
        case 2:
            return source.ConsumeInt(8)
        case 3:
            return source.ConsumeFloat()
        case 4:
            return source.PickValueInList(WORDS)
        case 5:
            return source.ConsumeUnicode(source.ConsumeIntInRange(0, 40))
        case 6:
            items = [value(source, depth + 1) for _ in range(source.ConsumeIntInRange(0, 4))]
            # Batches are bounded at 100 and 500: repeated items get there with few bytes.
            return items * source.PickValueInList([1, 1, 30, 200]) if depth == 0 else items
    return {source.PickValueInList(INNER): value(source, depth + 1) for _ in range(source.ConsumeIntInRange(0, 3))}


def made_body(pick: int, data: bytes) -> bytes:
    """A JSON body that names members of the command."""
    source = atheris.FuzzedDataProvider(data)
    names = [member.encode_name for member in msgspec.structs.fields(TABLE[pick].body)]
    members = {source.PickValueInList(names): value(source) for _ in range(source.ConsumeIntInRange(1, 4))}
    return json.dumps(members).encode()


def one_input(data: bytes) -> None:
    """Read one input; anything but a refusal is a finding."""
    if len(data) < 2:
        return
    pick, made, rest = data[0] % (URL + 1), data[1] % 2 == 1, data[2:]
    if made and pick != URL:
        rest = made_body(pick, rest)
    started = time.monotonic()
    try:
        if pick == URL:
            read_parameters(rest)
        else:
            TABLE[pick].read(read_object(rest))
    except AccountRefusedError as refused:
        assert refused.detail.strip()
    assert time.monotonic() - started < PATIENCE


def seeds() -> list[bytes]:
    """One good body of each command, and a good URL."""
    bodies = [bytes([pick, 0]) + msgspec.json.encode(command.example) for pick, command in enumerate(TABLE)]
    made = [bytes([pick, 1]) + bytes(range(pick, 200 + pick)) for pick in range(URL)]
    return [*bodies, *made, bytes([URL, 0]) + b"sdkappid=1400000001&identifier=a%C3%A9+b&usersig=eJw&random=1"]


def corpus() -> Path:
    """A folder with the seeds; libFuzzer adds what it finds, and the next run begins with that."""
    folder = Path(tempfile.gettempdir()) / "parlour-fuzz-rest-bodies"
    folder.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    return folder


if __name__ == "__main__":
    atheris.Setup([*sys.argv, str(corpus())], one_input)
    atheris.Fuzz()
