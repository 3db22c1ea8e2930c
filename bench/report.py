"""The figures of a benchmark: medians of interleaved runs and ratios to a baseline, as table, JSON and SVG."""

import json
import os
import statistics
from xml.sax.saxutils import escape


SVG_BAR = 330
SVG_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="sans-serif" font-size="12">
<style>
text { fill: #1f2328 } .foot { fill: #59636e } .paper { fill: #ffffff } .bar { fill: #79a8d6 } .span { stroke: #1f2328 }
.title { font-size: 15px } .unit { font-weight: bold }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .foot { fill: #9198a1 } .paper { fill: #0d1117 } .bar { fill: #2f6da8 } .span { stroke: #f0f6fc }
}
</style>
<rect width="100%%" height="100%%" class="paper"/>
<text x="16" y="24" class="title">%s</text>
<text x="16" y="42" class="foot">%s</text>
"""


def spread(samples):
    return {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "runs": len(samples)}


def rounded(value):
    """Four significant digits, and large numbers whole."""
    if abs(value) >= 1000:
        return "{:,.0f}".format(value)
    return "%.4g" % value


class Figures:
    """What one benchmark has measured, in the order in which it was first added."""

    def __init__(self, name, title):
        self.name = name
        self.title = title
        self.units = {}
        self.samples = {}
        self.paired = {}
        self.ratios = {}
        self.bars = {}

    def add(self, label, unit, value):
        """A figure of one run; all labels that are compared are added once in each round."""
        self.units[label] = unit
        self.samples.setdefault(label, []).append(value)

    def pair(self, label, base, ratio):
        """A ratio of one round, where it is more than the ratio of that round's two figures."""
        self.paired.setdefault((label, base), []).append(ratio)

    def compare(self, label, base, at_least=None, at_most=None):
        """The ratio of a figure to that of its baseline, round by round, and the bar that it has to reach."""
        if label not in self.samples or base not in self.samples:
            return
        ratios = self.paired.get((label, base)) or [
            a / b for a, b in zip(self.samples[label], self.samples[base]) if b]
        if ratios:
            self.ratios.setdefault(label, []).append(
                dict(spread(ratios), to=base, **self._bar(at_least, at_most)))
            self._judge(self.ratios[label][-1])

    def bar(self, label, at_least=None, at_most=None):
        """The bar that a figure itself has to reach."""
        if label in self.samples:
            self.bars[label] = dict(spread(self.samples[label]), **self._bar(at_least, at_most))
            self._judge(self.bars[label])

    @staticmethod
    def _bar(at_least, at_most):
        if at_least is None and at_most is None:
            return {}
        return {"at_least": at_least} if at_least is not None else {"at_most": at_most}

    @staticmethod
    def _judge(figure):
        if "at_least" in figure:
            figure["reached"] = figure["median"] >= figure["at_least"]
        elif "at_most" in figure:
            figure["reached"] = figure["median"] <= figure["at_most"]

    # ---------------- table ----------------

    @staticmethod
    def _told(figure):
        if "reached" not in figure:
            return ""
        sign, bar = ("≥", figure["at_least"]) if "at_least" in figure else ("≤", figure["at_most"])
        return "%s %s: %s" % (sign, rounded(bar), "reached" if figure["reached"] else "MISSED")

    def rows(self):
        for label, samples in self.samples.items():
            s = spread(samples)
            yield (label, "%s %s" % (rounded(s["median"]), self.units[label]),
                   "%s … %s" % (rounded(s["min"]), rounded(s["max"])), self._told(self.bars.get(label, {})))
            for ratio in self.ratios.get(label, []):
                yield ("  to " + ratio["to"], "× %s" % rounded(ratio["median"]),
                       "%s … %s" % (rounded(ratio["min"]), rounded(ratio["max"])), self._told(ratio))

    def table(self):
        rows = [("", "median", "min … max", "bar")] + list(self.rows())
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [self.title]
        for row in rows:
            cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    # ---------------- files ----------------

    def save(self, directory, about):
        figures = [dict(label=label, unit=self.units[label], samples=samples, ratios=self.ratios.get(label, []),
                        bar=self.bars.get(label), **spread(samples)) for label, samples in self.samples.items()]
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, self.name + ".json"), "w", encoding="utf-8") as file:
            json.dump({"name": self.name, "title": self.title, "about": about, "figures": figures}, file, indent=1,
                      ensure_ascii=False)
            file.write("\n")
        with open(os.path.join(directory, self.name + ".svg"), "w", encoding="utf-8") as file:
            file.write(self.svg(about))

    def svg(self, about):
        """A bar for each figure, those of one unit together and to one scale; the line goes from minimum to maximum."""
        left = 32 + 6.3 * max(len(label) for label in self.samples)
        out = []
        y = 64
        for unit in dict.fromkeys(self.units.values()):
            labels = [label for label in self.samples if self.units[label] == unit]
            largest = max(max(self.samples[label]) for label in labels)
            out.append('<text x="16" y="%d" class="unit">%s</text>' % (y + 12, escape(unit)))
            y += 22
            for label in labels:
                s = spread(self.samples[label])
                scale = SVG_BAR / largest if largest else 0
                out.append('<text x="%.0f" y="%d" text-anchor="end">%s</text>' % (left - 8, y + 12, escape(label)))
                out.append('<rect x="%.0f" y="%d" width="%.1f" height="15" class="bar"/>' % (left, y,
                                                                                           s["median"] * scale))
                out.append('<path d="M%.1f %.1f H%.1f" class="span"/>' % (left + s["min"] * scale, y + 7.5,
                                                                         left + s["max"] * scale))
                out.append('<text x="%.0f" y="%d">%s</text>' % (left + SVG_BAR + 12, y + 12, rounded(s["median"])))
                y += 22
            y += 8
        foot = "%s, PostgreSQL %s, commit %s" % (about["machine"], about["postgresql"], about["commit"])
        return SVG_HEAD % (left + SVG_BAR + 90, y + 8, escape(self.title), escape(foot)) + "\n".join(out) + "\n</svg>\n"
