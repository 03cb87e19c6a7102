"""From single measurements to tables and verdicts.

A ratio is always taken within a round, between neighbours in time, and only then comes the median: so what changes from round to round (other load,
a CPU's frequency) cancels out of it. Beside it stand the least and the greatest of the rounds, to show how much noise there was.
"""

from statistics import median

# Bulk transfer: the share of direct that is asked for.
BULK_SHARE = 0.9


class Results:
    """Measurements by cell and target, each a list with one value a round."""

    def __init__(self, rows):
        self.cells = list(dict.fromkeys(r["cell"] for r in rows))
        self.kinds = {r["cell"]: (r["kind"], r["protected"]) for r in rows}
        self.targets = list(dict.fromkeys(r["target"] for r in rows))
        self.by = {(r["cell"], r["target"], r["round"]): r for r in rows}
        self.rounds = sorted({r["round"] for r in rows})

    @property
    def wards(self):
        return [t for t in self.targets if t not in ("direct", "pgbouncer")]

    def values(self, cell, target, measure):
        found = [self.by[cell, target, n].get(measure) for n in self.rounds if (cell, target, n) in self.by]
        return [v for v in found if v is not None]

    def ratios(self, cell, above, below, measure):
        pairs = [(self.by.get((cell, above, n)), self.by.get((cell, below, n))) for n in self.rounds]
        return [a[measure] / b[measure] for a, b in pairs if a and b and a.get(measure) and b.get(measure)]

    def absolute(self, cell, target, measure):
        found = self.values(cell, target, measure)
        return figure(median(found)) if found else ""

    def ratio(self, cell, above, below, measure):
        found = self.ratios(cell, above, below, measure)
        return f"{median(found):.2f} ({min(found):.2f}–{max(found):.2f})" if found else ""


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_report(rows):
    results = Results(rows)
    print(f"\nMedians of {len(results.rounds)} rounds; behind each ratio, in parentheses, the least and the greatest round.")
    if len({sum((c, t, n) in results.by for n in results.rounds) for c in results.cells for t in results.targets} - {0}) > 1:
        print("The last round broke off.")
    plain = [c for c in results.cells if results.kinds[c] == ("queries", False)]
    bulk = [c for c in results.cells if results.kinds[c][0] == "bulk"]
    protected = [c for c in results.cells if results.kinds[c][1]]
    section(results, "Throughput, queries per second (more is better)", plain, "rate")
    section(results, "Mean latency, µs (less is better)", plain, "latency")
    section(results, "Proxy CPU per query, µs (less is better)", plain, "cpu")
    least(results, plain)
    section(results, "How often the proxy sleeps, per query (many clients share a wake-up; a load on a busy machine finds work without sleeping)", plain, "sleeps")
    section(results, "Bulk, MB/s (more is better)", bulk, "rate")
    section(results, "Proxy CPU per 100 MB, ms (less is better)", bulk, "cpu")
    if results.wards:
        section(results, "No peer: point select by a protected column, two protected columns returned, an access record each; direct: the same on a table "
                "in clear. Queries per second", protected, "rate")
        section(results, "No peer: pgward's CPU per such query, µs", protected, "cpu")
    mismatches(results, bulk)
    verdicts(results, plain, bulk)


def section(results, title, cells, measure):
    """A table: what each target did, then the ratios of all pairs that mean something."""
    if not cells:
        return
    shown = [t for t in results.targets if any(results.values(c, t, measure) for c in cells) and not (measure == "cpu" and t == "direct")]
    pairs = [(a, b) for b in ("direct", "pgbouncer") for a in shown if b in shown and a != b and a != "direct"]
    wards = [t for t in results.wards if t in shown]
    pairs += [(later, wards[0]) for later in wards[1:]]
    print(f"\n{title}\n")
    table = [["cell", *shown, *(f"{a} / {b}" for a, b in pairs)]]
    for cell in cells:
        table.append([cell, *(results.absolute(cell, t, measure) for t in shown), *(results.ratio(cell, a, b, measure) for a, b in pairs)])
    print_table(table)


def least(results, cells):
    """Other load on the machine can only add to CPU time: on a busy machine the least of many rounds says most."""
    peers = [t for t in results.targets if any(results.values(c, t, "cpu") for c in cells)]
    if not peers or not cells:
        return
    print("\nProxy CPU per query, µs: the least of the rounds, and what it is divided by the first one's\n")
    table = [["cell", *peers, *(f"{t} / {peers[0]}" for t in peers[1:])]]
    for cell in cells:
        low = [min(results.values(cell, t, "cpu"), default=None) for t in peers]
        table.append([cell, *(figure(v) if v else "" for v in low), *(f"{v / low[0]:.2f}" if v and low[0] else "" for v in low[1:])])
    print_table(table)


def print_table(table):
    widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
    for number, row in enumerate(table):
        print("| " + " | ".join(text.ljust(w) if n == 0 else text.rjust(w) for n, (text, w) in enumerate(zip(row, widths))) + " |")
        if number == 0:
            print("|" + "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths)) + "|")


def mismatches(results, bulk):
    """Every target must bring the same bytes; if not, the comparison is void and something is broken."""
    for cell in bulk:
        sizes = {t: sorted(set(results.values(cell, t, "bytes"))) for t in results.targets}
        if len({tuple(s) for s in sizes.values() if s}) > 1:
            print(f"\nNOT COMPARABLE: {cell}: the targets brought different numbers of bytes: {sizes}")


def verdicts(results, plain, bulk):
    lines = []
    for ward in results.wards:
        for cell in plain:
            lines.append(verdict(ward, cell, [
                claim("throughput ≥ PgBouncer", results.ratios(cell, ward, "pgbouncer", "rate"), lambda r: r >= 1),
                claim("CPU per query ≤ PgBouncer", results.ratios(cell, ward, "pgbouncer", "cpu"), lambda r: r <= 1),
            ]))
        for cell in bulk:
            lines.append(verdict(ward, cell, [
                claim(f"≥ {BULK_SHARE:.0%} of direct", results.ratios(cell, ward, "direct", "rate"), lambda r: r >= BULK_SHARE),
                claim("≥ PgBouncer", results.ratios(cell, ward, "pgbouncer", "rate"), lambda r: r >= 1),
            ]))
    lines = [line for line in lines if line]
    if lines:
        print("\nVerdicts\n\n" + "\n".join(lines))


def verdict(ward, cell, claims):
    claims = [c for c in claims if c]
    return f"{ward}, {cell}: " + "; ".join(claims) if claims else None


def claim(text, ratios, holds):
    """Yes or no by the median; and whether single rounds say otherwise."""
    if not ratios:
        return None
    middle = median(ratios)
    other = sum(holds(r) != holds(middle) for r in ratios)
    doubt = f", but not in {other} of {len(ratios)} rounds" if other else ""
    return f"{text}: {'yes' if holds(middle) else 'no'} ({middle:.3f}{doubt})"
