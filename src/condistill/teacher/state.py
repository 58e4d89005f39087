"""State: what of a network a pipeline may switch in its loop besides its weights, noted and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

State = dict[str, dict[str, bool]]


def state_of(network: nn.Module) -> State:
    """Module -> the switches (bool attributes) that it has."""
    found = {}
    for path, module in network.named_modules():
        own = {name: value for name, value in vars(module).items() if isinstance(value, bool)}
        if own:
            found[path] = own
    return found


def switched(before: State, after: State) -> str | None:
    """The first switch of two states that is another, as "module.name"; None if there is none."""
    for path, own in before.items():
        for name, value in own.items():
            if after.get(path, {}).get(name, value) is not value:
                return f"{path}.{name}".lstrip(".")
    return None


@contextmanager
def same_state(network: nn.Module) -> Iterator[None]:
    """Attention processors and switches that a pipeline changes in its loop are put back, also if it is left early."""
    processors, state = dict(getattr(network, "attn_processors", {})), state_of(network)
    try:
        yield
    finally:
        now = dict(getattr(network, "attn_processors", {}))  # collected anew from all modules, so asked for once
        if any(now.get(name) is not one for name, one in processors.items()):
            network.set_attn_processor(processors)  # type: ignore[operator]
        for path, module in network.named_modules():
            vars(module).update(state.get(path, {}))
