"""One picture per group: a bar for every system of every row."""
from xml.sax.saxutils import escape

COLOURS = {"ext4": "#9aa0a6", "floor": "#c3c7cb", "raw": "#c3c7cb", "originfs": "#0b6e4f", "originfs-60s": "#3aa17e",
           "originfs-attrs-list": "#3aa17e", "s3fs": "#c98b2b", "rclone": "#5b7fb5", "juicefs": "#a0567b"}
WIDTH, NAMES, BARS, BAR, GAP = 860, 150, 560, 18, 34


def group(title, rows, number):
    """`rows`: pairs of a row and its medians. Bars of a row are to scale among each other, not with other rows."""
    body, y = [], 46
    for row, figures in rows:
        better = "more is better" if row.more else "less is better"
        body.append(text(16, y, f"{row.title} ({row.unit}, {better})", "h"))
        y += 10
        largest = max((value for value in figures.values() if value is not None), default=0)
        for name, value in figures.items():
            width = 0 if not value or not largest else max(value / largest * BARS, 1)
            body.append(text(NAMES, y + 13, name, "e"))
            body.append(f'<rect x="{NAMES + 8}" y="{y}" width="{width:.1f}" height="{BAR - 4}" '
                        f'fill="{COLOURS.get(name, "#777")}"/>')
            body.append(text(NAMES + 14 + width, y + 12, "-" if value is None else number(value), "v"))
            y += BAR
        y += GAP
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        f'role="img" aria-label="{escape(title)}">',
        "<style>text{font:12px sans-serif;fill:#222}.t{font-size:16px;font-weight:bold}.h{font-weight:bold}"
        ".e{text-anchor:end}</style>",
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>',
        text(16, 24, title[0].upper() + title[1:], "t"), *body, "</svg>", ""])


def text(x, y, words, kind):
    return f'<text x="{x:.0f}" y="{y}" class="{kind}">{escape(words)}</text>'
