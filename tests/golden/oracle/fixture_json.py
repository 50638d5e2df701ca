"""Writes a fixture as JSON with one case a line, so that a change reads as a diff."""

import json
import pathlib


def write(path: pathlib.Path, header: dict, **lists: list) -> None:
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in header.items()]
    for key, cases in lists.items():
        lines = ",\n".join(json.dumps(case) for case in cases)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
    path.write_text("{" + ",\n".join(parts) + "}\n")
