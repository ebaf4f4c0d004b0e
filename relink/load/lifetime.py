"""How long images stay loaded, and the orders of constructors and destructors. Three relations between images:

- Initialisation order: dependencies (DT_NEEDED, filtees) before dependents.
- Use: an image keeps those loaded that it needs, preloads, keeps, or has bound a symbol to.
- Teardown order: users before what they use, but see `_bound`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from relink.image import Image, Lifetime, image_of
from relink.memory.rollback import Rollback
from relink.resolve import scopes
from relink.search.graph import dependency_order


def hold(root: Image, first: Sequence[Image], no_delete: bool, undo: Rollback) -> None:
    """Count one more load of `root`; it keeps the images in `first` (the preloads) loaded."""
    record = root.lifetime
    preloads: list[Image] = []
    counted: list[Image] = []
    for image in first:
        if image is not root and image not in record.keeps:
            preloads += [image]
    undo.calls += ((_let_go, (record, preloads, record.no_delete, counted)),)
    counted += [root]  # without a call from here on, of which an exception of a signal handler could come
    record.references += 1
    record.uncommitted += 1
    record.no_delete = record.no_delete or no_delete
    record.keeps += preloads


def _let_go(record: Lifetime, preloads: Sequence[Image], no_delete: bool, counted: list[Image]) -> None:
    record.no_delete = no_delete
    record.keeps = [image for image in record.keeps if image not in preloads]
    if counted:  # the same
        counted[:] = ()
        record.references -= 1
        record.uncommitted -= 1


def initialisation_order(new: Sequence[Image], root: Image) -> list[Image]:
    """New images, dependencies first; the root is last even in a dependency cycle (glibc's force_first)."""
    if not new[1:]:
        return [*new]
    ordered = dependency_order(reversed(new), _needs)
    mine = set(new)
    return sorted((image for image in ordered if image in mine), key=lambda image: image is root)


def teardown_order(images: Sequence[Image]) -> list[Image]:
    """Images in load order, dependents first: the order of destructors when the process ends.

    Images without a relation are in load order: of libraries of a program, then one that it has opened, the first
    are torn down before the second (glibc, elf/dl-fini.c).
    """
    if len(images) < 2:
        return [image for image in images if not image.closed]
    bound = _bound(images)
    order = dependency_order(reversed(images), lambda image: [*_needs(image), *bound.get(image, ())])
    if bound:  # needs count more than bindings (glibc, elf/dl-sort-maps.c)
        order = dependency_order(order, _needs)
    # An image that was there before a load that failed may have bound a symbol of it at a call.
    return [image for image in reversed(order) if not image.closed]


def unloadable(images: Sequence[Image], pinned: Collection[int], image: Image | None) -> list[Image]:
    """The images that are unused once a load of `image` (None: no load) is undone, dependents first.

    Images that contain one of the guest addresses `pinned` count as used.
    """
    left = [each for each in images if (record := each.lifetime).references > (each is image) or record.no_delete]
    if pinned:
        left += [each for each in images if any(map(each.contains, pinned))]
    kept = with_used(left) if left else {*left}  # the usual case: nothing else is loaded
    unused = [each for each in images if each not in kept]
    return [each for each in teardown_order(images) if each not in kept] if unused[1:] else unused


def _needs(image: Image) -> list[Image]:
    """The images that must be initialised before this one."""
    record = image.scopes
    return [*record.filtees, *record.dependencies] if record.filtees else record.dependencies


def uses(image: Image) -> list[Image]:
    """The images that this one keeps loaded: its dependencies, its `keeps`, and the images it has bound to."""
    # Each unload asks all images, most of which use few or none.
    record, relocated, used = image.scopes, image.relocated, image.lifetime.keeps
    if record.filtees or record.dependencies:
        used = [*record.filtees, *record.dependencies, *used]
    bindings = relocated.bindings
    if not relocated.looked_up and relocated.lazy is None and (bindings is None or len(bindings.images) < 2):
        return used
    return [*used, *map(image_of, relocated.providers)]


def with_used(images: Sequence[Image]) -> set[Image]:
    """The images and all that they use, directly or not."""
    found, left = {*images}, [*images]
    for user in left:  # which grows meanwhile
        for used in uses(user):
            if used not in found:
                found |= {used}
                left += [used]
    return found


def users(images: Sequence[Image], used: Collection[Image]) -> list[Image]:
    """The images that use one of `used`, directly or not, without these themselves."""
    found, more = {*used}, [*used]
    while more:
        more = [image for image in images if image not in found and not found.isdisjoint(uses(image))]
        found.update(more)
    return [image for image in images if image in found and image not in used]


def _bound(images: Sequence[Image]) -> dict[Image, list[Image]]:
    """The images that each image keeps, or has bound symbols to, without needing them; except what no close
    unloads: images of a program's load, those that are to stay, and what these have bound to (glibc's
    add_dependency, elf/dl-lookup.c).
    """
    found: dict[Image, list[Image]] = {}
    for image in images:
        used = [*image.lifetime.keeps, *map(image_of, image.relocated.providers)]
        near = {image, *_needs(image)} if used else set()  # a scope costs as much as all that the image depends on
        if others := [each for each in used if each not in near and each not in image.scope]:
            found[image] = others
    if not found:
        return found
    stays = {image for image in images if image.lifetime.no_delete or scopes.came_with_program(image)}
    left = [*stays]
    for image in left:  # which grows meanwhile
        new = {*found.get(image, ())} - stays
        stays |= new
        left += new
    return {image: kept for image, used in found.items() if (kept := [each for each in used if each not in stays])}
