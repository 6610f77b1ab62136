"""Plain text for LaTeX: nothing in it is a command."""

from __future__ import annotations

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Signs that tables use and that pdfLaTeX has in mathematics only; letters stay UTF-8.
    "\u00d7": r"$\times$", "\u00b1": r"$\pm$", "\u2264": r"$\leq$", "\u2265": r"$\geq$", "\u2212": "$-$",
}  # fmt: skip


def latex(text: str) -> str:
    """The text with every active character escaped."""
    return "".join(_ESCAPES.get(char, char) for char in text)
