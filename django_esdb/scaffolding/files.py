"""Writing new files, and adding to those that have nothing in them yet."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path


def write_files(files: Mapping[Path, str]) -> None:
    """
    Write all files, or none.

    A file that has only comments and imports, as ``startapp`` makes it, is added to.

    Args:
        files: Their texts, by path.

    Raises:
        FileExistsError: There is one that has code in it, or a package of that name.
        OSError: One cannot be written.
    """
    texts = {path: _with_what_is_there(path, text) for path, text in files.items()}
    undo: list[Callable[[], object]] = []
    try:
        for path, text in texts.items():
            before = path.read_bytes() if path.exists() else None
            if before is None:
                # Fails where another process has made it meanwhile.
                with path.open("x", encoding="utf-8") as file:
                    undo.append(path.unlink)
                    file.write(text)
            else:
                undo.append(lambda path=path, before=before: path.write_bytes(before))  # type: ignore[misc]
                path.write_text(text, encoding="utf-8")
    except OSError:
        for step in undo:
            with suppress(OSError):
                step()
        raise


def _with_what_is_there(path: Path, text: str) -> str:
    package = path.with_suffix("")
    if package.is_dir():
        raise FileExistsError(f"there is a package {package}")
    if not path.exists():
        return text
    before = path.read_text(encoding="utf-8")
    if not _is_empty(before):
        raise FileExistsError(f"{path} has code in it already")
    imported = set(before.splitlines())
    lines = [
        line
        for line in text.splitlines()
        if not (line.startswith(("import ", "from ")) and line in imported)
    ]
    # It has to be the first statement of all.
    future = "from __future__ import annotations"
    head = [future, ""] if future in lines else []
    rest = [line for line in lines if line != future]
    docstring = rest.pop(0) if rest and rest[0].startswith('"""') else ""
    parts = [
        *([docstring, ""] if docstring else []),
        *head,
        *before.strip().splitlines(),
        *(["", ""] if rest and before.strip() else []),
        *"\n".join(rest).strip().splitlines(),
    ]
    return "\n".join(parts).lstrip("\n") + "\n"


def _is_empty(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    return all(isinstance(each, ast.Import | ast.ImportFrom) for each in body)
