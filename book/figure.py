#!/usr/bin/env python3
"""A chart of a page as a file of its own, with its legend below: figure.py PAGE SECTION TITLE OUT.svg"""

import html
import re
import sys
from pathlib import Path

# The inks of crates/deeplimit-cli/src/page/plot.rs on a light page.
INKS = dict(blue="#1F65B0", orange="#C4520A", green="#1D7F5F", violet="#7B4BA8", red="#B3263C",
            teal="#0F7C8C", gold="#94720C", grey="#8A9099")
DASHES = {"dashed": ' stroke-dasharray="18 12"'}
WIDTHS = {"bold": 6, "thin": 4, "faint": 3, "broad": 21, "dashed": 4, "dots": 6}


def main():
    page, section, title, out = sys.argv[1:]
    text = Path(page).read_text()
    start = text.find(f"<h2>{html.escape(section, quote=False)}</h2>")
    if start < 0:
        sys.exit(f"figure.py: {page} has no section {section!r}")
    figures = re.findall(r"<figure>.*?</figure>", text[start:], re.S)
    caption = f"<figcaption>{html.escape(title, quote=False)}"
    figure = next((f for f in figures if html.unescape(caption) in html.unescape(f)), None)
    if figure is None:
        sys.exit(f"figure.py: section {section!r} of {page} has no figure {title!r}")
    svg = re.search(r"<svg.*?</svg>", figure, re.S).group(0)
    width, height = (int(re.search(rf'{name}="(\d+)"', svg).group(1)) for name in ("width", "height"))
    entries = re.findall(r'<span class="key (\w+) (\w+)"></span>(.*?)</li>', figure, re.S)
    rows = (len(entries) + 1) // 2
    legend = ""
    for index, (ink, stroke, name) in enumerate(entries):
        x, y = 90 + (index % 2) * width // 2, height + 40 + 48 * (index // 2)
        legend += (f'<line x1="{x}" y1="{y - 12}" x2="{x + 70}" y2="{y - 12}" stroke="{INKS[ink]}" '
                   f'stroke-width="{WIDTHS[stroke]}"{DASHES.get(stroke, "")}/>'
                   f'<text x="{x + 85}" y="{y}" font-family="sans-serif" font-size="34" fill="#4A515B">{name}</text>')
    total = height + 48 * rows + 20
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width // 3}" '
            f'height="{total // 3}"><rect width="100%" height="100%" fill="#FFFFFF"/>')
    body = re.sub(r"^<svg[^>]*>", "", svg, count=1)
    Path(out).write_text(head + body[: -len("</svg>")] + legend + "</svg>\n")


main()
