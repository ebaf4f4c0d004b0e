"""How long images stay, and the orders in which they come and go.

What is initialised before an image, what it keeps alive and what outlives it are three different relations:
the first is over what it needs, the second over what it was told to keep and is bound to as well, and the third
is the second without what was only brought in later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack

from relink.image import Image
from relink.search.graph import dependency_order


def hold(root: Image, first: Sequence[Image], no_delete: bool, undo: ExitStack) -> None:
    """Count one more load of `root`, and let it keep the images loaded in `first` place (preloads)."""
    preloads = [image for image in first if image is not root and image not in root.keeps]
    undo.callback(_let_go, root, preloads, root.no_delete)
    root.references += 1
    root.no_delete = root.no_delete or no_delete
    root.keeps += preloads


def _let_go(root: Image, preloads: Sequence[Image], no_delete: bool) -> None:
    root.references -= 1
    root.no_delete = no_delete
    root.keeps = [image for image in root.keeps if image not in preloads]


def initialisation_order(new: Sequence[Image], root: Image) -> list[Image]:
    """New images, what they need first; where needs go in a circle, the root is last (glibc's force_first)."""
    ordered = dependency_order(reversed(new), _needs)
    return sorted((image for image in ordered if image in new), key=lambda image: image is root)


def teardown_order(images: Sequence[Image]) -> list[Image]:
    """All of these images, dependents first: the order destructors run in when everything ends."""
    by_turn = sorted(images, key=lambda image: image.turn)
    order = dependency_order(by_turn, _outlived_by)
    # What a load that failed took with it may still be named by what its constructors had loaded.
    return [image for image in reversed(order) if not image.closed]


def unloadable(images: Sequence[Image], held: Collection[int], image: Image | None) -> list[Image]:
    """What one load less of `image` (None: of nothing) leaves without a use, dependents first.

    Images that hold one of the guest addresses `held` are used.
    """
    roots = [i for i in images if i.references > (i is image) or i.no_delete or any(map(i.contains, held))]
    kept = set(dependency_order(roots, _uses))
    return [i for i in teardown_order(images) if i not in kept]


def _needs(image: Image) -> list[Image]:
    """What is initialised before an image."""
    return [*image.filtees, *image.dependencies] if image.filtees else image.dependencies


def _uses(image: Image) -> list[Image]:
    """What an image keeps alive: all it needs or was told to keep, and every image it bound a symbol to."""
    kept = [*_needs(image), *image.keeps]
    if image.lazy is not None:
        kept += [answer.provider for answer in image.lazy.bound.values() if answer.provider is not None]
    bound = image.outcome.bindings if image.outcome else None
    if bound is None:
        return kept
    numbers = {int(n) for n in set(bound.provider.tolist()) if n > 0}
    return [*kept, *(bound.images[n] for n in numbers)]


def _outlived_by(image: Image) -> list[Image]:
    """What is torn down after an image: of all it uses what came before it, or was no part of its own closure."""
    return [used for used in _uses(image) if used.turn < image.turn or used not in image.scope]
