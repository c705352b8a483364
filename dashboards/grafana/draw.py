"""How a board is drawn: what all panels of all boards have in common. `boards.py` says what is on them.

Python's standard library alone. A query is plain PromQL without `job` and `instance`: every selector gets them here, and
what its board is narrowed by, so that none can be forgotten.
"""

import json
import re

SOURCE = {"type": "prometheus", "uid": "$datasource"}
EVERYWHERE = 'job=~"$job", instance=~"$instance"'
SELECTOR = re.compile(r"\b(sluicegate_\w+|process_\w+|up)\b(?:\{([^}]*)\})?")

# RabbitMQ's colours: green healthy, blue under-used or degraded, red outside of its range.
GREEN, BLUE, RED, ORANGE, YELLOW, PURPLE, GREY = (
    "#37872D", "#1F60C4", "#C4162A", "#FF9830", "#F2CC0C", "#8F3BB8", "#808080",
)

# A series has the same colour wherever it is drawn; by the label that it is called by, or by what we call it.
REASONS = {
    "done": GREEN, "handed_over": "#56A64B", "retry": YELLOW, "attempts": "#AD0317", "throttled": "#8AB8FF", "failed": RED,
    "unknown": PURPLE, "malformed": RED, "blocked": PURPLE, "expired": ORANGE, "rejected": "#E0B400", "skipped": "#FA6400",
    "not_yet": "#5794F2", "rate": BLUE, "concurrency": "#3274D9", "no_provider": "#AD0317", "given_back": "#B877D9", "unsettled": RED,
}
COLOURS = {
    "{{verdict}}": {"run": GREEN, "shed": ORANGE, "wait": BLUE, "back": PURPLE},
    "{{reason}}": REASONS,
    "{{outcome}}": {
        **{word: REASONS[word] for word in ("done", "handed_over", "retry", "throttled", "failed", "unknown")},
        "recipient": YELLOW, "sender": "#E0B400", "later": "#5794F2", "provider": RED, "ours": "#AD0317",
    },
    "{{cause}}": {"operator": BLUE, "file": "#8AB8FF", "expiry": PURPLE, "health": "#B877D9"},
    **{word: {word: colour} for word, colour in {"on time": GREEN, "late": RED, "offered": ORANGE, "can be done": GREEN, "done": BLUE}.items()},
}


def selects(query, narrowed):
    """Puts what every selector needs into a query. `narrowed`: what families are narrowed by, by the beginning of their name."""

    def whole(found):
        name, own = found.group(1), found.group(2)
        beginnings = [start for start in narrowed if name.startswith(start)]
        parts = [EVERYWHERE, narrowed[max(beginnings, key=len)] if beginnings else "", own or ""]
        return name + "{" + ", ".join(part for part in parts if part) + "}"

    return SELECTOR.sub(whole, query.replace("[R]", "[$__rate_interval]"))


def steps(colours):
    """Thresholds: [(None, GREEN), (100, RED)] is green below 100 and red from there on."""
    return {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in colours]}


def series_colours(legends):
    """A fixed colour for each series that is called by a known word."""
    known = {word: colour for legend in legends for word, colour in COLOURS.get(legend, {}).items()}
    return [
        {
            "matcher": {"id": "byName", "options": word},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for word, colour in known.items()
    ]


def targets(queries, instant=False, as_table=False):
    """`queries`: pairs of a query and what its series are called."""
    found = []
    for number, (query, legend) in enumerate(queries):
        target = {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        if instant:
            target |= {"instant": True, "range": False}
        if as_table:
            target["format"] = "table"
        found.append(target)
    return found


def panel(kind, title, description, queries, size, defaults, options, overrides=(), **more):
    width, height = size
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "targets": queries,
    } | more


def number(title, description, query, unit, colours, says=None):
    """One number on a coloured ground, as RabbitMQ's overview begins with. `says`: what a value is called."""
    mappings = [{"type": "value", "options": {value: {"text": text} for value, text in says.items()}}] if says else []
    defaults = {"unit": unit, "thresholds": steps(colours), "color": {"mode": "thresholds"}, "noValue": "none", "mappings": mappings}
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("stat", title, description, targets([(query, "")], instant=True), (4, 3), defaults, options)


def graph(title, description, *queries, unit="short", stacked=False, bands=None, largest=None, width=12, to_queue=False):
    """Lines over time. `bands`: thresholds that are drawn as areas. `to_queue`: a series leads to the board of its queue."""
    custom = {
        "lineWidth": 1,
        "fillOpacity": 60 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line+area" if bands else "off"},
    }
    defaults = {"unit": unit, "min": 0, "custom": custom, "color": {"mode": "palette-classic"}}
    if bands:
        defaults["thresholds"] = steps(bands)
    if largest is not None:
        defaults["max"] = largest
    if to_queue:
        url = "/d/sluicegate-queue?var-queue=${__field.labels.queue}&${__url_time_range}"
        defaults["links"] = [{"title": "This queue", "url": url}]
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    colours = series_colours([legend for _, legend in queries])
    return panel("timeseries", title, description, targets(queries), (width, 7), defaults, options, colours)


def states(title, description, query, legend, says, width=24):
    """What something was, over time. `says`: what a value is called, and its colour."""
    options = {value: {"text": text, "color": colour} for value, (text, colour) in says.items()}
    defaults = {
        "unit": "none",
        "mappings": [{"type": "value", "options": options}],
        "color": {"mode": "thresholds"},
        "thresholds": steps([(None, GREY)]),
        "custom": {"lineWidth": 0, "fillOpacity": 80},
    }
    look = {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8, "legend": {"showLegend": False}}
    return panel("state-timeline", title, description, targets([(query, legend)]), (width, 7), defaults, look)


def table(title, description, query, unit, called, width=12):
    """The labels and values of now; `called`: what the column of values is called."""
    hidden = {name: True for name in ("Time", "__name__", "job")}
    organised = {"id": "organize", "options": {"excludeByName": hidden, "renameByName": {"Value": called}}}
    defaults = {"unit": unit, "custom": {"align": "auto"}, "noValue": "none"}
    options = {"showHeader": True, "cellHeight": "sm"}
    queries = targets([(query, "")], instant=True, as_table=True)
    return panel("table", title, description, queries, (width, 7), defaults, options, transformations=[organised])


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def variable(name, label, query, many=True):
    """A choice that is drawn from the labels of a family."""
    chosen = {"text": ["All"], "value": ["$__all"]} if many else {}
    found = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": many,
        "includeAll": many,
        "current": chosen,
    }
    return found | ({"allValue": ".+"} if many else {})


def choices(own):
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1, "current": {}}
    return [
        source,
        variable("job", "Job", "label_values(sluicegate_build_info, job)"),
        variable("instance", "Instance", 'label_values(sluicegate_build_info{job=~"$job"}, instance)'),
        *own,
    ]


def mark(name, colour, query, text, at_its_value):
    """Marks on every chart of a board: where the query is 1, or, `at_its_value`, at the time in milliseconds that it gives."""
    return {
        "name": name,
        "enable": True,
        "iconColor": colour,
        "datasource": SOURCE,
        "expr": query,
        "step": "15s",
        "titleFormat": "{{flag}}",
        "textFormat": text,
        "tagKeys": "instance",
        "useValueForTime": "on" if at_its_value else False,
    }


def marks(narrowed):
    turned = "sluicegate_flag_changed_timestamp_seconds * 1000 and on (job, instance, flag) sum by (job, instance, flag) (increase(sluicegate_flag_changes_total{%s}[2m])) > 0"
    drawn = [
        mark("Knob turns", BLUE, turned % 'cause=~"operator|file"', "turned by a person, or by their file", True),
        mark("Turned by itself", PURPLE, turned % 'cause!~"operator|file"', "turned by the daemon: an end, health, a rollout", True),
        mark("Openings", ORANGE, "sluicegate_opening_ends_timestamp_seconds > bool 0 == 1", "an opening lies on it", False),
    ]
    return [one | {"expr": selects(one["expr"], narrowed)} for one in drawn]


def board(name, title, description, panels, own=(), narrowed=None):
    """A whole board. `own`: its variables beside the common ones; `narrowed`: see `selects`."""
    narrowed = narrowed or {}
    x = y = tallest = 0
    for number, one in enumerate(panels, 1):
        one["id"] = number
        place = one["gridPos"]
        if x + place["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        one["gridPos"] = {"x": x, "y": y} | place
        x, tallest = x + place["w"], max(tallest, place["h"])
        for target in one.get("targets", []):
            target["expr"] = selects(target["expr"], narrowed)
    others = {"type": "dashboards", "title": "Sluicegate", "tags": ["sluicegate"], "asDropdown": False, "includeVars": True, "keepTime": True}
    return {
        "uid": f"sluicegate-{name}",
        "title": title,
        "description": description,
        "tags": ["sluicegate"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-15m", "to": "now"},
        "links": [others],
        "templating": {"list": choices(own)},
        "annotations": {"list": marks(narrowed)},
        "panels": panels,
    }


def written(value, deep=2, indent=""):
    """JSON with a line for each member down to a depth, and for each thing below it one line."""
    inner = indent + " "
    if deep and isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(key)}: {written(member, deep - 1, inner)}" for key, member in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if deep and isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + written(member, 0) for member in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
