"""The spaces that the encoders of one export share: CLIP and its like."""

from __future__ import annotations

from collections.abc import Mapping

from ..runtime.errors import ExportError
from ..runtime.manifest import Space
from .families import Tower

__all__ = ["spaces_of"]


def spaces_of(towers: Mapping[str, Tower]) -> dict[str, Space]:
    """The spaces that two or more of the encoders share, with what the checkpoint says of their cosines."""
    found: dict[str, Space] = {}
    for shared in dict.fromkeys(tower.shared for tower in towers.values()):
        members = {name: tower for name, tower in towers.items() if tower.shared == shared}
        likeness = {tower.similarity for tower in members.values()}
        if shared is None or len(members) < 2 or None in likeness:
            continue
        if len(likeness) > 1:
            raise ExportError(
                f"These encoders of {shared!r} are of different checkpoints", found=", ".join(members),
                expected="one checkpoint: the spaces of two differ",
            )  # fmt: skip
        similarity = likeness.pop()
        assert similarity is not None
        found[shared] = Space(
            modalities=tuple(members), scale=similarity.scale, bias=similarity.bias, link=similarity.link
        )
    return found
