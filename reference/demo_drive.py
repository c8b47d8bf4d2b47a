"""The demo's drive as files that any program can play: a video with sound, the radar's sweeps, the radio's notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.sinks import VideoWriter, write_file
from .drive import Drive
from .sound import SAMPLE_RATE

__all__ = ["FPS", "SIZE", "Recording", "record"]

FPS = 30
SIZE = (640, 360)
"""Width and height of the camera's frames."""


@dataclass(frozen=True)
class Recording:
    """Where a drive lies: H.264 and AAC in MP4, `series` and `times` in .npz, `seconds<TAB>words` in .txt."""

    video: Path
    series: Path
    notes: Path

    def uris(self) -> dict[str, str]:
        """The source of each of the reference model's modalities."""
        return {"image": str(self.video), "text": str(self.notes), "audio": str(self.video), "radar": str(self.series)}


def record(drive: Drive, folder: Path, advance: Callable[[float], None]) -> Recording:
    """Render the drive into `folder`; `advance` is told the fraction that is done."""
    recording = Recording(folder / "drive.mp4", folder / "drive.npz", folder / "notes.txt")
    count = round(drive.seconds * FPS)
    with VideoWriter(recording.video, SIZE, fps=FPS, sound=(drive.sound(), SAMPLE_RATE), crf=18) as video:
        try:
            for index in range(count):
                video.add(drive.frame(index / FPS, (SIZE[1], SIZE[0])), index / FPS)
                advance(index / count)
        except KeyboardInterrupt:  # half a drive is of no use, unlike half a live recording
            video.abort()
            raise
    times, rows = drive.radar_rows()
    write_file(recording.series, lambda file: np.savez_compressed(file, series=rows, times=times))
    lines = "".join(f"{time_s:.2f}\t{words}\n" for time_s, words in drive.texts())
    write_file(recording.notes, lambda file: file.write(lines.encode()))
    return recording
