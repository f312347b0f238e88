"""Text out of PDFs, and a short summary of it without a language model."""

import logging
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from tinyagent_helpers.mac.protocol import ToolError

MAX_PAGES = 100
logging.getLogger("pypdf").setLevel(logging.ERROR)  # what is wrong with a file is said in the ToolError


def read_pdf(path: Path) -> tuple[list[str], int]:
    """The texts of a PDF's first 100 pages, and how many pages it has.

    Raises:
        ToolError: it is missing, broken, encrypted, or has no text.
    """
    try:
        reader = PdfReader(path)
        if reader.is_encrypted:
            raise ToolError(f"{path.name} is encrypted; save a copy without a password")
        texts, pages = [page.extract_text() for page in islice(reader.pages, MAX_PAGES)], len(reader.pages)
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ToolError(f"{path.name} cannot be read as a PDF ({error})") from None
    if not "".join(texts).strip():
        raise ToolError(f"{path.name} holds no text; it may be a scan")
    return texts, pages


def extract_summary(text: str, sentences: int = 3) -> str:
    """The sentences whose words are most frequent in the text, in their own order: an extract, not a retelling."""
    parts = [s.strip() for s in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if len(s.split()) > 3]
    frequency = Counter(w for w in re.findall(r"\w+", text.casefold()) if len(w) > 3)

    def weight(sentence: str) -> float:
        words = [w for w in re.findall(r"\w+", sentence.casefold()) if len(w) > 3]
        return sum(frequency[w] for w in words) / (len(words) + 3)

    best = sorted(sorted(range(len(parts)), key=lambda i: -weight(parts[i]))[:sentences])
    return " ".join(parts[i] for i in best) or text.strip()[:300]
