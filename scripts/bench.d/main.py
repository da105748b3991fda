"""Runs rows: each on all its systems in turn, round by round. `scripts/bench` calls it."""
import argparse
import os
import signal
import sys

import figures
import rows_names
import rows_read
import rows_write
import systems
from lab import Failed, Lab, TookTooLong
from row import make_set

ROWS = (*rows_read.ROWS, *rows_write.ROWS, *rows_names.ROWS)


def main():
    args = arguments()
    if args.list:
        # Whoever reads only the first ones: no complaint.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for row in ROWS:
            print(f"{row.name:<18} {row.title}")
        return 0
    rows = [row for row in ROWS if not args.rows or any(row.name.startswith(name) for name in args.rows)]
    unknown = [name for name in args.rows if not any(row.name.startswith(name) for row in ROWS)]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)} (scripts/bench --list)")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    lab = Lab(args.quick, args.keep)
    results = figures.Results(args, args.out)
    try:
        lab.start_server()
        # Before anything is mounted: who may be a minute behind would not find what comes later.
        for made in dict.fromkeys(made for row in rows for made in row.sets):
            make_set(lab, (), *made)
        bench = Bench(lab, args, results)
        for row in rows:
            bench.run(row)
    finally:
        # A second Ctrl-C must not leave a mount behind.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        lab.close()
    print(results.table())
    print(f"\nfigures and plots: {args.out}", file=sys.stderr)
    return 0


def stop(number, _frame):
    raise SystemExit(128 + number)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures originfs beside its limits and peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="2 rounds unless told, smaller sizes: to see that it works")
    parser.add_argument("--only", help="systems with commas between, to save time; limits are kept")
    parser.add_argument("--out", default=os.path.join(os.environ["BENCH_ROOT"], "target", "bench"))
    parser.add_argument("--keep", action="store_true", help="keep the folder in /tmp, with the logs")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    args = parser.parse_args()
    if args.quick and "--rounds" not in sys.argv:
        args.rounds = 2
    return args


class Bench:
    def __init__(self, lab, args, results):
        self.lab, self.rounds, self.results = lab, args.rounds, results
        only = args.only.split(",") if args.only else None
        self.systems = {kind.name: kind(lab) for kind in systems.ALL if only is None or kind.name in only or
                        kind.name in ("ext4", "floor")}

    def run(self, row):
        wanted = [name for name in row.systems if name == "raw" or name in self.systems]
        out = {}
        for number in range(1, self.rounds + 1):
            for name in wanted:
                if name in out:
                    continue
                progress(f"{row.name}: round {number} of {self.rounds}, {name}", end="")
                try:
                    self.results.add(row, name, self.measure(row, name, number))
                except (Failed, TookTooLong, OSError, RuntimeError) as err:
                    # It gets a dash: what cannot be done once is not tried in every round.
                    out[name] = str(err)
                    self.results.fail(row, name, str(err))
                    self.recover(name)
        progress(self.results.line(row))
        # After every row: what is measured is not lost with what comes.
        self.results.write()
        self.rest(row)

    def measure(self, row, name, number):
        if name == "raw":
            for one in row.sets:
                make_set(self.lab, (), *one)
            return row.raw(self.lab, row.net, number)
        system = self.systems[name]
        for one in row.sets:
            make_set(self.lab, (system,), *one)
        system.at(row.net, row.cold)
        return row.measure(self.lab, system, number)

    def recover(self, name):
        if name in self.systems:
            self.systems[name].unmount()

    def rest(self, row):
        """What is far away is not needed for the next row, and has memory and threads."""
        if row.cold or row.net != "lan":
            for system in self.systems.values():
                system.unmount()


def progress(words, end="\n"):
    """One line that changes, where somebody watches; else only what is done."""
    if sys.stderr.isatty():
        print(f"\r{words:<90}", end=end, file=sys.stderr, flush=True)
    elif end:
        print(words, file=sys.stderr, flush=True)


sys.exit(main())
