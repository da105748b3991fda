"""What was measured: medians, comparisons, a table, JSON, plots."""
import json
import os
import platform
import statistics
import subprocess
import time

import plot

COLUMNS = ("ext4", "floor", "raw", "originfs", "originfs-60s", "s3fs", "rclone", "juicefs")


class Results:
    def __init__(self, args, folder):
        self.folder, self.rounds, self.quick = folder, args.rounds, args.quick
        self.rows, self.values, self.seen, self.failures = [], {}, {}, {}
        self.machine = machine()

    def add(self, row, system, got):
        seen = got if isinstance(got, dict) else {"value": got}
        if row not in self.rows:
            self.rows.append(row)
        self.values.setdefault((row.name, system), []).append(seen["value"])
        self.seen.setdefault((row.name, system), []).append(seen | {"load": os.getloadavg()[0]})

    def fail(self, row, system, reason):
        if row not in self.rows:
            self.rows.append(row)
        self.failures[row.name, system] = reason
        # Half of the rounds are no measurement.
        self.values.pop((row.name, system), None)

    def median(self, row, system):
        values = self.values.get((row.name, system))
        return statistics.median(values) if values else None

    def medians(self, row):
        return {name: self.median(row, name) for name in row.systems}

    def verdict(self, row):
        """Ratio to the limit, and whether that is good enough; None where there is nothing to compare."""
        figures = self.medians(row)
        ours, base = figures.get(row.ours), row.limit and row.limit.base(figures, row.more)
        if ours is None or base is None:
            return None, None
        # No request at all is the best ratio to anything.
        ratio = ours / base if base else float(ours > 0)
        return ratio, ratio >= row.limit.reach if row.more else ratio <= row.limit.reach

    def line(self, row):
        """For the terminal."""
        ratio, met = self.verdict(row)
        ours = self.median(row, row.ours)
        said = "no figure" if ours is None else f"{number(ours)} {row.unit}"
        if ratio is not None:
            said += f", {ratio:.2f} ({row.limit.words(row.more, row.unit)}): {'met' if met else 'MISSED'}"
        return f"{row.name}: {said}"

    def table(self):
        lines = []
        for group in dict.fromkeys(row.group for row in self.rows):
            rows = [row for row in self.rows if row.group == group]
            shown = [name for name in COLUMNS if any(name in row.systems for row in rows)]
            lines += [f"### {group[0].upper()}{group[1:]}", ""]
            heads = ["row", *shown, "ratio", "to reach", ""]
            lines.append("| " + " | ".join(heads) + " |")
            lines.append("|---|" + "---:|" * (len(shown) + 1) + "---|---|")
            lines += ["| " + " | ".join(self.cells(row, shown)) + " |" for row in rows]
            lines.append("")
        failures = [f"- {row}, {system}: {' '.join(reason.split())[:200]}"
                    for (row, system), reason in self.failures.items()]
        return "\n".join(lines + (["No figure:", "", *failures] if failures else []))

    def cells(self, row, shown):
        figures, (ratio, met) = self.medians(row), self.verdict(row)
        # A variant that only this row has stands where the default would.
        if row.ours not in shown:
            figures["originfs"] = figures.get(row.ours)
        values = ["-" if figures.get(name) is None else number(figures[name]) for name in shown]
        said = {None: "-", True: "met", False: "**missed**"}[met]
        ratio = "-" if ratio is None or row.limit.of is None else f"{ratio:.2f}"
        return [f"{row.title} ({row.unit})", *values, ratio,
                row.limit.words(row.more, row.unit) if row.limit else "-", said]

    def write(self):
        os.makedirs(self.folder, exist_ok=True)
        said = {"machine": self.machine, "rounds": self.rounds, "quick": self.quick, "rows": [
            {"name": row.name, "title": row.title, "group": row.group, "unit": row.unit, "more_is_better": row.more,
             "ours": row.ours, "medians": self.medians(row), "ratio": self.verdict(row)[0],
             "met": self.verdict(row)[1], "limit": row.limit and row.limit.words(row.more, row.unit),
             "samples": {name: self.seen.get((row.name, name)) for name in row.systems},
             "failures": {name: self.failures[row.name, name] for name in row.systems
                          if (row.name, name) in self.failures}}
            for row in self.rows]}
        with open(os.path.join(self.folder, "bench.json"), "w") as file:
            json.dump(said, file, indent=1)
        with open(os.path.join(self.folder, "table.md"), "w") as file:
            file.write(self.table() + "\n")
        for group in dict.fromkeys(row.group for row in self.rows):
            rows = [(row, self.medians(row)) for row in self.rows if row.group == group]
            name = "".join(c if c.isalnum() else "-" for c in group.lower())
            with open(os.path.join(self.folder, name + ".svg"), "w") as file:
                file.write(plot.group(group, rows, number))


def number(value):
    """Three digits, as far as they say something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    with open("/proc/meminfo") as info:
        memory = int(info.readline().split()[1]) // (1 << 20)
    commit = subprocess.run(["git", "-C", os.environ["BENCH_ROOT"], "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=False).stdout.strip()
    return {"date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "cores": os.cpu_count(), "cpu": model,
            "memory_gib": memory, "kernel": platform.release(), "commit": commit, "load_at_start": os.getloadavg()}
