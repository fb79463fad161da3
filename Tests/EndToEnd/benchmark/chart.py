"""The picture: for each row, what each proxy costs of the best peer."""

import html
import math
import statistics

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 960, 330, 60, 9, 10, 96
# By the kind of the proxy: to be told apart on light and dark ground, and by those who see colours otherwise.
COLOURS = {
    "switchyard": "#d9480f", "nginx": "#2b8a3e", "haproxy": "#1c7ed6", "caddy": "#9c6ade", "envoy": "#c99a06",
}
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 10px; }
.title { font-size: 15px; font-weight: 600; }
.group { font-weight: 600; }
.grid { stroke: #8b949e; stroke-opacity: 0.35; }
.one { stroke: #6e7781; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .one { stroke: #b1bac4; } }
"""
TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8)
LEAST, MOST = 0.1, 10


def position(ratio):
    """Along an axis that is logarithmic, so that half as much and twice as much look alike. What is beyond it ends there."""
    share = (math.log(min(max(ratio, LEAST), MOST)) - math.log(LEAST)) / (math.log(MOST) - math.log(LEAST))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def kind_of(result, name):
    return next(contender.kind for contender in result.group.contenders if contender.name == name)


def bars(result):
    """Name, kind and ratio of every column but those that are of no row's kind of work."""
    best = result.best_peer()
    against = statistics.median(result.costs(best))
    for name in result.columns:
        if name == result.group.ours or name in result.group.peers:
            yield name, kind_of(result, name), statistics.median(result.costs(name)) / against if against else 1.0


def svg(results, title):
    shown = [result for result in results if result.to_best() is not None]
    body, y, group = [], TOP, None
    for result in shown:
        if result.group.title != group:
            group = result.group.title
            y += 8
            body.append(f'<text class="group" x="12" y="{y + 12}">{html.escape(group)}</text>')
            y += 22
        drawn = list(bars(result))
        middle = y + len(drawn) * BAR / 2 + 4
        body.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{html.escape(result.row.name)}</text>')
        for name, kind, ratio in drawn:
            body.append(bar(name, kind, ratio, y, result))
            y += BAR
        y += GAP
    height = y + 30
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{html.escape(title)}">', f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="24">{html.escape(title)}</text>',
        '<text class="small" x="12" y="42">Cost of each row of the best peer in it (1). To the left is less: ahead of every '
        'peer. The axis is logarithmic.</text>', *legend(shown), *axis(height - 22)]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def bar(name, kind, ratio, y, result):
    start, end = sorted((position(1), position(ratio)))
    # Also the best peer itself is to be seen.
    if end - start < 3:
        start, end = position(1) - 1.5, position(1) + 1.5
    label = f"{ratio:.2f}"
    at, anchor = (end + 3, "start") if ratio >= 1 else (start - 3, "end")
    faint = ' fill-opacity="0.55"' if "/" in name else ""
    return (
        f'<g><title>{html.escape(f"{result.row.name}, {name}: {label}")}</title>'
        f'<rect x="{start:.1f}" y="{y + 0.5:.1f}" width="{end - start:.1f}" height="{BAR - 1}" rx="1" '
        f'fill="{COLOURS[kind]}"{faint}/>'
        f'<text class="small" style="font-size:8.5px" x="{at:.1f}" y="{y + 8:.1f}" text-anchor="{anchor}">{label}</text></g>')


def legend(shown):
    names = {}
    for result in shown:
        for name, kind, _ in bars(result):
            # A script's column is its proxy's.
            names.setdefault("nginx/64k" if "/" in name else kind, kind)
    x = 12
    for name, kind in names.items():
        faint = ' fill-opacity="0.55"' if "/" in name else ""
        text = {"nginx/64k": "nginx, 64 KB buffers", "switchyard": "Switchyard"}.get(name, name)
        yield f'<rect x="{x}" y="54" width="12" height="12" rx="2" fill="{COLOURS[kind]}"{faint}/>'
        yield f'<text x="{x + 17}" y="64">{html.escape(text)}</text>'
        x += 40 + 7 * len(text)


def axis(bottom):
    for tick in TICKS:
        x = position(tick)
        text = f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}"
        yield f'<line class="{"one" if tick == 1 else "grid"}" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>'
        for y in (TOP - 6, bottom + 14):
            yield f'<text class="small" x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>'
