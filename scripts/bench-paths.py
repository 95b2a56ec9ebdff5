#!/usr/bin/env python3
"""Compares what a path costs with the libfuse3 of this system.

usage: bench-paths.py [--rounds N] [NODES...]

benches/paths.c, compiled against the stock libfuse3, runs on stock and on ours at
the same time; they take turns, a short round each. Prints, for every number of
nodes, the median over the rounds of stock's time divided by ours (above 1: ours is
faster) with the quartiles, and the memory per node of both.
"""

import os
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROWS = ["lookup", "path", "create", "rename", "load"]


class Server:
    """One process with its tree."""

    def __init__(self, binary, nodes, libraries):
        environment = dict(os.environ)
        environment.pop("LD_LIBRARY_PATH", None)
        if libraries:
            environment["LD_LIBRARY_PATH"] = libraries
        self.process = subprocess.Popen(
            [binary, str(nodes)], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline().split()
        if len(line) != 6:
            sys.exit(f"{binary} on {libraries or 'stock'} ended at once")
        self.nodes, self.memory, self.fill = int(line[1]), int(line[3]), float(line[5])

    def measure(self, row):
        """Nanoseconds per operation."""
        self.process.stdin.write(row + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compile_bench(directory):
    environment = {name: value for name, value in os.environ.items() if name != "PKG_CONFIG_PATH"}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], env=environment,
                           check=True, text=True, capture_output=True).stdout.split()
    binary = os.path.join(directory, "paths")
    source = os.path.join(TOP, "benches", "paths.c")
    subprocess.run(["cc", "-O2", "-pthread", "-o", binary, source] + flags, check=True)
    return binary


def compare(binary, nodes, rounds):
    """One line of the table."""
    stock = Server(binary, nodes, None)
    ours = Server(binary, nodes, os.environ.get("RINGFUSE_TEST_LIBDIR", f"{TOP}/build"))
    ratios = {row: [] for row in ROWS}
    times = {row: [] for row in ROWS}
    for turn in range(rounds):
        for row in ROWS:
            pair = [stock, ours] if turn % 2 else [ours, stock]
            took = {server: server.measure(row) for server in pair}
            ratios[row].append(took[stock] / took[ours])
            times[row].append(took[stock])
    cells = []
    for row in ROWS:
        low, middle, high = statistics.quantiles(ratios[row], n=4)
        cells.append(f"{middle:.2f} [{low:.2f}, {high:.2f}]")
    memory = f"{stock.memory / stock.nodes:.0f} : {ours.memory / ours.nodes:.0f}"
    print(f"| {stock.nodes} | " + " | ".join(cells) + f" | {memory} |", flush=True)
    stock.end()
    ours.end()


def main():
    arguments = sys.argv[1:]
    rounds = 15
    if arguments[:1] == ["--rounds"]:
        rounds = int(arguments[1])
        arguments = arguments[2:]
    sizes = [int(argument) for argument in arguments] or [10**4, 10**5, 10**6, 10**7]
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start, {rounds} rounds; "
          "stock : ours, median [quartiles]\n")
    print("| nodes | lookup, 8 deep | getattr | create, unlink | rename | rename under load "
          "| bytes per node |")
    print("|" + "---|" * (len(ROWS) + 2))
    with tempfile.TemporaryDirectory() as directory:
        binary = compile_bench(directory)
        for nodes in sizes:
            compare(binary, nodes, rounds)


if __name__ == "__main__":
    main()
