"""What needs no peer, or more than this machine has: change summaries on top of a push, a month of incrementals, a cluster of ten terabytes."""
import json
import os
import re
import subprocess

TARGETS = {"summary": "summary_bench", "month": "chain_bench", "scale": "scale_bench"}
UNITS = {"summary on top of a push": (1, "%"), "month: stored by the live minimum": (1, "x"), "month: restore by a full": (1, "x"), "ten terabytes: memory": (1, "MB")}
STARTS = 20


def pgmint(bench):
    return os.environ.get("PGMINT_BIN", bench.TREE / "build/release/pgmint")


def measure(bench, work, results, wanted):
    programs = {name: bench.TREE / "build/release/bench" / TARGETS[name] for name in TARGETS if name in wanted}
    if not programs:
        return
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", *(TARGETS[name] for name in programs)], cwd=bench.TREE, check=True, stdout=subprocess.DEVNULL)
    if "summary" in programs:
        measure_summary(bench, work, programs["summary"], results)
    if "month" in programs:
        measure_month(bench, programs["month"], results)
    if "scale" in programs:
        measure_scale(bench, programs["scale"], results)


def measure_summary(bench, work, program, results):
    """CPU of the change summary by that of a push without it, the process's start included, for each sort of WAL (wal_segments.sh; kept for the next time)."""
    segments = work / "wal-segments"
    if not segments.exists():
        fresh = work / "wal-segments.new"
        subprocess.run([bench.TREE / "bench/wal_segments.sh", fresh], check=True, stdout=subprocess.DEVNULL)
        fresh.rename(segments)
    start = min(bench.timed(pgmint(bench), "--version").cpu for _ in range(STARTS)) * 1e3
    done = subprocess.run([program, "--benchmark_format=json", *sorted(segments.iterdir())], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    print(f"\n  change summaries: ms of CPU a segment, beside the rest of the push; {start:.1f} ms more for its start")
    for entry in json.loads(done.stdout)["benchmarks"]:
        summary, rest = entry["summary_ms"], entry["push_ms"] - entry["summary_ms"]
        results.add("summary on top of a push", "pgmint", 100 * summary / (rest + start))
        print(f"    {entry['name'].split('/')[0]:<24}{summary:>6.1f}{rest:>8.1f}{100 * summary / (rest + start):>8.1f} %")


def measure_month(bench, program, results):
    """Thirty days of four backups with expiry and collection, in memory (chain_bench.cc)."""
    done = subprocess.run([program], cwd=bench.TREE, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    print("\n  a month of incrementals, 1 % changed before each")
    worst = re.findall(r"worst: stored/minimum ([\d.]+), restore ([\d.]+) of a full", done.stdout)
    assert len(worst) == 2, done.stdout[-2000:]
    for kind, (stored, restore) in zip(("uniform", "skewed"), worst):
        print(f"    {kind:<24}stored {stored} of the live minimum, restore {restore} of a full")
        results.add("month: stored by the live minimum", "pgmint", float(stored))
        results.add("month: restore by a full", "pgmint", float(restore))


def measure_scale(bench, program, results):
    """Ten terabytes, 2,000 backups; of packs with pages only the size is real (scale_bench.cc). Writes 5 GB."""
    done = subprocess.run([program, "--tb", "10", "--backups", "2000", "--pgmint", pgmint(bench)], cwd=bench.TREE, check=True, stdout=subprocess.PIPE, text=True)
    print("\n  ten terabytes: seconds of CPU, MB of memory")
    for line in filter(lambda line: line.startswith("{"), done.stdout.splitlines()):
        phase = json.loads(line)
        assert phase["exit"] == 0, phase
        name = phase["what"] + (f", {100 * phase['change']:g} %" if phase["change"] else "")
        print(f"    {name:<48}{phase['cpu_s']:>8.1f}{phase['peak_bytes'] / 1e6:>8.0f}")
        if phase["change"] <= 0.001:
            results.add("ten terabytes: memory", "pgmint", phase["peak_bytes"] / 1e6)


def require(results):
    def worst(measure):
        values = results.samples.get(measure, {}).get("pgmint")
        return max(values) if values else None
    results.require("change summary: CPU on top of a push, worst", worst("summary on top of a push"), 15, at_least=False, unit="%")
    results.require("a month: stored by the live minimum, worst", worst("month: stored by the live minimum"), 1.2, at_least=False)
    results.require("a month: bytes of a restore by a full's, worst", worst("month: restore by a full"), 1.3, at_least=False)
    results.require("ten terabytes: memory, worst", worst("ten terabytes: memory"), 256, at_least=False, unit="MB")
