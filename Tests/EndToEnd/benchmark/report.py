"""The table: on the terminal as groups come, and as Markdown."""

import math


def number(value):
    """In four digits or so, without any that say nothing."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "∞"
    if abs(value) >= 10000:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - int(math.floor(math.log10(abs(value)))))}f}"


def spread(found):
    """A median with half of what lies between the quartiles, in percent of it."""
    if found.low == found.high or not found.median:
        return number(found.median)
    return f"{number(found.median)} ±{50 * (found.high - found.low) / found.median:.0f}%"


def ratio(result):
    found = result.to_best()
    if found is None:
        return ""
    between = "" if found.low == found.high else f" ({found.low:.2f}–{found.high:.2f})"
    return f"{found.median:.2f}{between} of {result.best_peer()}"


def columns_of(results):
    return list(dict.fromkeys(name for result in results for name in result.columns))


def print_group(group, results):
    names = columns_of(results)
    widths = [max(14, len(name) + 2) for name in names]
    print(f"\n{group.title}")
    unit = None
    for result in results:
        if result.row.unit != unit:
            unit = result.row.unit
            print(f"{unit:44}" + "".join(f"{name:>{width}}" for name, width in zip(names, widths))
                  + "  ratio to the best peer")
        print(f"{result.row.name:44}"
              + "".join(f"{spread(result.spread(name)) if name in result.columns else '':>{width}}" for name, width in zip(names, widths))
              + f"  {ratio(result)}", flush=True)


def cell(found):
    if found.low == found.high:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}–{number(found.high)})"


def markdown(results, said, machine, how, chart):
    """The whole of a run. `said` are the lines of bars, `how` is the command, `chart` the name of the picture's file."""
    lines = [
        "# Benchmarks", "",
        f"`{how}` made this file and its chart. [measurements.md](measurements.md) says more of how it was measured, and of "
        "earlier runs.", "",
        "Every proxy has one worker and the same backend. In each round every row runs once through each proxy, in "
        "alternating order. CPU time is what the scheduler counted for the processes that serve, in user space and kernel. A "
        "cell has the median over the rounds, and the quartiles. The ratio is what Switchyard costs of the best peer in that row, "
        "the median and quartiles of the rounds' own ratios: below 1 Switchyard is ahead, whether the row counts time, memory "
        "or how much gets done.", "",
        f"![Ratios to the best peer]({chart})", "", "| | |", "|---|---|"]
    lines += [f"| {what} | {which} |" for what, which in machine]
    for group in dict.fromkeys(id(result.group) for result in results):
        rows = [result for result in results if id(result.group) == group]
        lines += markdown_group(rows)
    lines += ["", "## What it is held to", ""]
    lines += [f"- {line}{' – missed' if missed else ''}" for line, missed in said] or ["All of the bars were reached."]
    return "\n".join(lines) + "\n"


def markdown_group(rows):
    group, names = rows[0].group, columns_of(rows)
    lines = ["", f"## {group.title}", ""]
    if group.note:
        lines += [group.note, ""]
    lines += ["| | unit | " + " | ".join(names) + " | ratio to the best peer |", "|---|---|" + "---|" * (len(names) + 1)]
    return lines + [
        f"| {result.row.name} | {result.row.unit} | " + " | ".join(
            cell(result.spread(name)) if name in result.columns else "" for name in names)
        + f" | {ratio(result)} |" for result in rows]
