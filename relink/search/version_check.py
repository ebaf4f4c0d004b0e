"""Check that every library of a load was found and defines the symbol versions required of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from relink.elf import Decoded
from relink.elf.constants import VER_FLG_WEAK
from relink.errors import LinkError, VersionNotFound, raise_all
from relink.image import Image
from relink.search.graph import Node


def check(
    root: Node, nodes: Sequence[Node], loaded: Callable[[str], Image | None], hosts: Callable[[], Collection[str]]
) -> None:
    """Raise a LinkError, or LinkErrors for several, for missing libraries and versions in the closure `nodes`.

    `loaded` finds libraries of earlier loads, `hosts` returns the names of libraries that the host may provide.
    """
    errors: list[LinkError] = []
    asking: list[Decoded] = []
    for node in nodes:
        if node.decoded is not None:
            if node.decoded.libraries_with_versions:
                asking.append(node.decoded)
        elif node.missing:
            errors.append(node.error())
    if asking:
        providers = {node.name: node.contents for node in nodes}
        providers |= {n.decoded.soname: n.decoded for n in nodes if n.decoded is not None and n.decoded.soname}
        for decoded in asking:
            errors += _missing_versions(decoded, providers, loaded, hosts())
    if errors:
        raise_all(root.name, errors)


def _missing_versions(
    decoded: Decoded,
    providers: dict[str, Decoded | None],
    loaded: Callable[[str], Image | None],
    hosts: Collection[str],
) -> Iterator[LinkError]:
    """Version requirements that no library satisfies (gABI); libraries of the host satisfy all, so these are not
    read.
    """
    found = dict[str, Decoded | None]()
    for library in decoded.libraries_with_versions:
        if library in providers:
            found[library] = providers[library]
        elif (image := loaded(library)) is not None:
            found[library] = image.decoded
        elif library in hosts:
            found[library] = None
    if all(found.get(library, decoded) is None for library in decoded.libraries_with_versions):
        return
    for need in decoded.versions.needed:
        if need.flags & VER_FLG_WEAK:
            continue
        if need.library not in found:
            # glibc fails an assertion here (elf/dl-version.c, find_needed).
            problem = f"requires version {need.name} of {need.library}, which is not in its DT_NEEDED"
            yield LinkError(decoded.name, problem)
            continue
        provider = found[need.library]
        # glibc accepts a library without any versions (elf/dl-version.c, match_symbol).
        defined = provider.versions.defined_names if provider is not None else ()
        if provider is not None and defined and need.name not in defined:
            yield VersionNotFound(decoded.name, need.library, need.name, provider.name)
