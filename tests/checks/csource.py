# SPDX-License-Identifier: MIT
"""What the tree checks share: which files there are, and C text without its comments."""

import os
import re
from pathlib import Path

_TOKEN = re.compile(
    r"""//(?:[^\n\\]|\\.|\\\n)*          # a comment to the end of the line
      | /\*.*?(?:\*/|\Z)                 # a block comment
      | "(?:[^"\\\n]|\\.|\\\n)*"         # a string
      | '(?:[^'\\\n]|\\.|\\\n)*'         # a character
    """,
    re.S | re.X,
)


def srcdir(argv):
    """The tree to look at: the argument, else what make check says, else where we stand."""
    if len(argv) > 1:
        return Path(argv[1])
    return Path(os.environ.get("WEIR_SRCDIR") or Path(__file__).resolve().parents[2])


def files(top, folders, suffixes):
    """The files below top/FOLDER with one of the suffixes, as paths relative to top, sorted."""
    found = []
    for folder in folders:
        for path in (top / folder).rglob("*"):
            if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                found.append(path.relative_to(top))
    return sorted(found)


def blank(text, keep_strings):
    """`text` with comments as spaces, and strings too unless `keep_strings`; lines stay."""

    def spaces(match):
        if keep_strings and match.group()[0] in "\"'":
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return _TOKEN.sub(spaces, text)
