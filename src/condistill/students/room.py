"""The sizes of a pass through a network that stands alone, and the layouts that x_t may have in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

SIDE, FRAMES = 64, 16  # of x_t where neither the caller nor the config says them
TOKENS = 77  # of a text where nothing says how long it is


@dataclass(frozen=True)
class Room:
    """The sizes of a pass.

    Attributes:
        frames, height, width: of x_t.
        tokens: length of a text where the config fixes none.
        config: of the network.
    """

    frames: int
    height: int
    width: int
    tokens: int
    config: Mapping[str, Any] = field(hash=False)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(frames, height, width) in patches."""
        size = self.config.get("patch_size") or 1
        size = [size] * 3 if isinstance(size, int) else [*[1] * (3 - len(size)), *size]
        over_time = self.config.get("patch_size_t") or (
            1 if isinstance(self.config.get("patch_size"), int) else size[0]
        )
        return max(self.frames // over_time, 1), max(self.height // size[1], 1), max(self.width // size[2], 1)

    def text(self, name: str) -> int:
        """The length of the text that an argument of this name belongs to: the config's own with the same ending."""
        said = {key: v for key, v in self.config.items() if ("text" in key or "seq" in key) and "len" in key}
        said["text_num"] = self.config.get("num_embeddings")
        said = {key: v for key, v in said.items() if isinstance(v, int)}
        ending = name.rpartition("_")[2]
        same = [v for key, v in said.items() if key.rpartition("_")[2] == ending]
        return (same or [v for key, v in said.items() if "text" in key] or [self.tokens])[0]

    @property
    def axes(self) -> int:
        """How many axes a position has."""
        said = [len(v) for key, v in self.config.items() if "axes" in key and isinstance(v, list | tuple)]
        return said[0] if said else 3


def room_of(
    config: Mapping[str, Any], latent: Sequence[int] | None, tokens: int = TOKENS, *, is_video: bool = True
) -> Room:
    """The sizes that the caller or the config says.

    Args:
        latent: (height, width) of x_t.
        tokens: of a text.
        is_video: whether x_t has frames where the network takes them.
    """
    size = latent or config.get("sample_size") or SIDE
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    if latent is None:
        height, width = config.get("sample_height") or height, config.get("sample_width") or width
    frames, every = config.get("sample_frames") or config.get("video_length"), config.get("temporal_compression_ratio")
    if frames and isinstance(every, int):
        frames = (frames - 1) // every + 1  # the config counts those of the finished video
    return Room(frames or (FRAMES if is_video else 1), height, width, tokens, config)


Layout = tuple[int | str, ...]  # of x_t; CHANNELS stands for its channels
CHANNELS = "channels of x_t"


def layouts(room: Room, taken: Sequence[Parameter]) -> Iterator[Layout]:
    """Shapes of x_t, pictures before videos before tokens.

    A network that takes tokens is told of how many frames they are where they are a video's.
    """
    in_frames = any(one.name == "num_frames" for one in taken)
    num_tokens = room.height * room.width * (room.frames if in_frames else 1)
    yield 1, CHANNELS, room.height, room.width
    yield 1, CHANNELS, room.frames, room.height, room.width
    yield 1, room.frames, CHANNELS, room.height, room.width
    yield 1, room.frames, room.height, room.width, CHANNELS
    yield 1, num_tokens, CHANNELS
    yield 1, CHANNELS, num_tokens
    yield 1, CHANNELS


def channels(config: Mapping[str, Any]) -> list[int | None]:
    """How many channels the config says that x_t has, and None: they are asked for."""
    said = [v for name, v in config.items() if isinstance(v, int) and _is_in(name)]
    # what goes beside x_t comes apart from it in some: then x_t has as many as come out
    said += [v for name, v in config.items() if isinstance(v, int) and name in ("out_channels", "out_dim")]
    return [*dict.fromkeys(said), None]


def _is_in(name: str) -> bool:
    return name in ("io_channels", "latent_channels", "acoustic_hidden_size", "audio_acoustic_hidden_dim", "c_in") or (
        name.startswith("in_") and name.endswith(("channels", "dim"))
    )
