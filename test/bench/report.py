"""The benchmark's figures as a table, as a plot, and against the goals."""

from __future__ import annotations

import statistics
from html import escape
from typing import Any

import latency
import relay_storm
from instructions import KINDS, PAGE_SHARE, WITH, WITH_OFF, WITHOUT

Result = dict[str, Any]

REPEATED, FIRST, REFUSED = "module, repeated", "module, first", "module, refused"
ACCEPT = "httpd, accept and close"

LEFT, ROW = 230, 26  # pixels
COLOURS = {"module": "#2f6f4f", "httpd": "#8a8a8a"}


def rounds(result: Result, case: str, tls: str = "1.3", threads: int = 1) -> list[float]:
    for row in result["handshakes"]:
        if (row["case"], row["tls"], row["threads"]) == (case, tls, threads):
            values: list[float] = row["cpu"]
            return values
    raise KeyError(case)


def ratio(values: list[float], others: list[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, others))


def counted(result: Result, server: str, kind: str) -> tuple[float, float]:
    """Instructions of such a handshake with the fewest vhosts, and how many each further vhost adds."""
    few, many = ((row["vhosts"], row["counted"][kind]) for row in result["instructions"] if row["server"] == server)
    return few[1], (many[1] - few[1]) / (many[0] - few[0])


def goals(result: Result) -> list[dict[str, Any]]:
    """TLS 1.3, one client at a time; each with what was measured and whether it is met. Instructions are the same on
    any machine. Of CPU time the machine decides, too: these goals are for that of docs/performance.md."""
    cpu = {case: rounds(result, case) for case in {row["case"] for row in result["handshakes"]}}
    least = [floor + accept for floor, accept in zip(cpu["floor"], cpu[ACCEPT])]
    ordinary, own_slope = counted(result, WITHOUT, "ordinary")
    repeated, page = (counted(result, WITH, kind)[0] for kind in ("repeated", PAGE_SHARE))
    slopes = [counted(result, server, kind)[1] for server in (WITH, WITH_OFF) for kind in ("repeated", "refused")]
    files = result["scale"]["files"]
    wanted = [
        ("repeated / (floor + accept and close), CPU", ratio(cpu[REPEATED], least), 1.05),
        ("first / (floor + accept and close), CPU", ratio(cpu[FIRST], least), 1.35),
        ("refused / (floor + accept and close), CPU", ratio(cpu[REFUSED], least), 0.40),
        (f"{files[-1]['files']} files / 1 file, CPU", ratio(files[-1]["cpu"], files[0]["cpu"]), 1.02),
        ("repeated / ordinary, instructions", repeated / ordinary, 0.87),
        ("first / ordinary, instructions", counted(result, WITH, "first")[0] / ordinary, 1.06),
        ("refused / ordinary, instructions", counted(result, WITH, "refused")[0] / ordinary, 0.08),
        ("ordinary with / without the module, instructions", counted(result, WITH, "ordinary")[0] / ordinary, 1.002),
        ("repeated, with / without the status page, instructions", repeated / (repeated - page), 1.01),
        ("a challenge's instructions for each vhost / httpd's own", max(slopes) / own_slope, 1.05),
    ]
    return [{"goal": title, "most": most, "measured": value, "met": value <= most} for title, value, most in wanted]


def _figure(value: dict[str, float]) -> str:
    return f"{value['median']:.0f} ({value['low']:.0f}–{value['high']:.0f})"


def table(result: Result) -> str:
    """Markdown: the median, and the quartiles in brackets."""
    lines = ["| CPU for a handshake, µs (quartiles) | TLS 1.3 | ratio | TLS 1.3, 32 clients | TLS 1.2 | TLS 1.2, 32 clients |"]
    lines.append("|---|---|---|---|---|---|")
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in result["handshakes"]:
        by_case.setdefault(row["case"], []).append(row)
    repeated = rounds(result, REPEATED)
    for case, rows in by_case.items():
        figures = [_figure(row["cpu_us"]) for row in rows]
        figures.insert(1, f"{ratio(rounds(result, case), repeated):.2f}")
        lines.append(f"| {case} | " + " | ".join(figures) + " |")
    lines += ["", "| Wall time for a handshake, µs | TLS 1.3 | TLS 1.3, 32 clients | TLS 1.2 | TLS 1.2, 32 clients |"]
    lines.append("|---|---|---|---|---|")
    lines += [f"| {case} | " + " | ".join(_figure(row["wall_us"]) for row in rows) + " |" for case, rows in by_case.items()]
    lines += ["", "| Instructions for a handshake, TLS 1.3 | vhosts | " + " | ".join(KINDS) + " |"]
    lines.append("|---" * (2 + len(KINDS)) + "|")
    for row in result["instructions"]:
        told = (f"{row['counted'][kind]:,.0f}" if kind in row["counted"] else "" for kind in KINDS)
        lines.append(f"| {row['server']} | {row['vhosts']:,} | " + " | ".join(told) + " |")
    for title in ("files", "names"):
        lines += ["", f"| {title.capitalize()} | CPU, µs (quartiles) | memory, KiB |", "|---|---|---|"]
        lines += [
            f"| {row[title]:,} | {_figure(row['cpu_us'])} | {row['resident_kib']:,} |" for row in result["scale"][title]
        ]
    lines += ["", *latency.table(result["latency"]), "", *relay_storm.table(result["storm"])]
    lines += ["", "| Goal | at most | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {goal['goal']} | {goal['most']:g} | {goal['measured']:.4g} | {'met' if goal['met'] else 'not met'} |"
        for goal in result["goals"]
    ]
    seen = result["freshness"]
    lines += ["", f"Freshness: {seen['misses']} misses in {seen['changes_in_each']:,} publications and as many "
              f"withdrawals in each of {seen['children']} children."]
    return "\n".join(lines)


def plot(result: Result) -> str:
    """Bars of the CPU time with TLS 1.3, one client at a time; the line on each is from quartile to quartile."""
    rows = [row for row in result["handshakes"] if row["tls"] == "1.3" and row["threads"] == 1]
    pixels = 500 / max(row["cpu_us"]["high"] for row in rows)
    body = []
    for number, row in enumerate(rows):
        y, figures = 40 + number * ROW, row["cpu_us"]
        colour = COLOURS.get(row["case"].partition(",")[0], "#4f6f9f")
        width, low, high = (figures[key] * pixels for key in ("median", "low", "high"))
        body += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(row["case"])}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>',
            f'<line x1="{LEFT + low:.1f}" x2="{LEFT + high:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="#000"/>',
            f'<text x="{LEFT + high + 6:.1f}" y="{y + 14}">{figures["median"]:.0f}</text>',
        ]
    height = 50 + len(rows) * ROW
    title = "Server CPU for one TLS 1.3 handshake, µs: median and quartiles"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="10" y="22" font-size="15">{title}</text>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )
