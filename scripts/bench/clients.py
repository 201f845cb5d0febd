"""Clients that others wrote, in conversations with the live server: a table of what works.

    python scripts/bench/clients.py [NAME ...] [--out FOLDER]

Conditions: two servers in this process, with the parrot and with an engine that needs 1.5 s before it speaks, and each
client in its own process, all conditions of a client at the same time. Each conversation: a phrase, its answer, an
interruption of the answer by another phrase, its answer. A cell is the similarity of the second answer to the second
phrase, or a fault. `-`: the client cannot do that. scripts/test --prepare installs the clients. The last line is JSON.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.client_matrix import CLIENTS, CONDITIONS, check, run_clients


def cpu_s():
    """Return the processor seconds of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [round(one.ru_utime + one.ru_stime, 1) for one in used]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CLIENTS))
    parser.add_argument("--out", type=Path, help="keep the sound of the answers here")
    options = parser.parse_args()
    names = options.names or list(CLIENTS)
    out = options.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        if CLIENTS[name].missing is not None:
            sys.exit(f"{name} is not in {CLIENTS[name].missing}; scripts/test --prepare installs it")
    begin = time.monotonic()
    reports = run_clients(names, out)
    wall_s = time.monotonic() - begin
    columns = ["answers", "interruption", *CONDITIONS]
    table, faults = [], []
    for name in names:
        cells = {c: check(reports[name].get(c)) for c in CONDITIONS if c not in CLIENTS[name].skipped}
        found = [report for report in reports[name].values() if isinstance(report, dict)]
        answers = sum(bool(report["answers"]) for report in found)
        interrupted = sum([a["end"] for a in report["answers"]] == ["interrupted", "done"] for report in found)
        version = found[0]["version"] if found else "?"
        row = [f"{name} {version}", f"{answers}/{len(cells)}", f"{interrupted}/{len(cells)}"]
        row += [cells[c].summary if c in cells else "-" for c in CONDITIONS]
        table.append(row)
        faults += [f"{name}, {c}: {fault}" for c, cell in cells.items() for fault in cell.faults]
    widths = [max(len(row[i]) for row in [["client", *columns], *table]) for i in range(len(columns) + 1)]
    for row in [["client", *columns], *table]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))
    for fault in faults:
        print(fault)
    here, clients = cpu_s()
    result = {"wall_s": round(wall_s, 1), "server_cpu_s": here, "client_cpu_s": clients, "faults": len(faults)}
    print(json.dumps(result | {"table": table}))


if __name__ == "__main__":
    main()
