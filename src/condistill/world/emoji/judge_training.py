"""How the judge learns: true renders, worn in many ways, against messes made of the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from condistill.files import save_tensors
from condistill.maths import draws
from condistill.world.emoji.concepts import COLOURS, CONCEPTS
from condistill.world.emoji.judge import SIZE, WEIGHTS, Judge, JudgeNetwork
from condistill.world.emoji.render import Renders
from condistill.world.emoji.timed import Budget, train_timed
from condistill.world.emoji.vae import decode_all, encode_all, to_tensor

BATCH = 96  # half of it things, half of it messes
NO_LABEL = -100  # what cross_entropy ignores


def train_judge(renders: Renders, vae: AutoencoderTiny, budget: Budget) -> JudgeNetwork:
    """The trained judge."""
    torch.manual_seed(budget.seed)
    device = budget.device
    network = JudgeNetwork().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    concept = torch.from_numpy(renders.concept).to(device)
    colour = torch.from_numpy(renders.colour).to(device)
    originals = torch.from_numpy(renders.images).to(device)
    by_colour = [torch.nonzero(colour == number).flatten() for number in range(len(COLOURS))]

    def step(number: int) -> dict[str, float]:
        random = draws.generator(budget.seed, "judge", number)
        rows = torch.randint(len(originals), (BATCH // 2,), generator=random).to(device)
        same_colour = torch.stack([_others(by_colour[int(colour[row])], random) for row in rows])
        with torch.no_grad():
            things = to_tensor(originals[rows])
            if number % 2:  # as a diffusion model would show them
                things = _through(vae, things, random)
            others = to_tensor(originals[same_colour.flatten()]).unflatten(0, same_colour.shape)  # (b, 3, c, h, w)
            messes, labels = _messes(things, others, random, colour[rows])
            x = torch.cat([_worn(things, random), _worn(messes, random)])
        nothing = torch.full_like(rows, len(CONCEPTS))
        network.train()
        by_concept, by_ground, _ = network(x)
        loss = functional.cross_entropy(by_concept, torch.cat([concept[rows], nothing]), label_smoothing=0.02)
        loss = loss + functional.cross_entropy(by_ground, torch.cat([colour[rows], labels]), ignore_index=NO_LABEL)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (by_concept[: len(rows)].argmax(1) == concept[rows]).float().mean()
        refused = (by_concept[len(rows) :].argmax(1) == nothing).float().mean()
        return {"loss": loss.item(), "right": right.item(), "refused": refused.item()}

    train_timed(step, budget, what="judge", optimizer=optimizer, parts={"judge": network}, images_per_step=BATCH)
    return network.eval()


def save_judge(network: JudgeNetwork, folder: Path) -> None:
    """Writes the weights in float16."""
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    save_tensors(folder / WEIGHTS, {name: tensor.cpu().contiguous() for name, tensor in tensors.items()})


def accuracy(judge: Judge, renders: Renders, vae: AutoencoderTiny) -> dict[str, float]:
    """The judge's shares of right answers on renders, on their reconstructions, and of messes refused."""
    x = to_tensor(torch.from_numpy(renders.images[4::9]))
    concept, colour = renders.concept[4::9], renders.colour[4::9]
    random = draws.generator(1, "judge accuracy", 0)
    decoded = decode_all(vae, encode_all(vae, torch.from_numpy(renders.images[4::9])))
    others = torch.from_numpy(np.random.default_rng(1).integers(len(x), size=(len(x), 3)))
    messes, _ = _messes(decoded, x[others], random, torch.from_numpy(colour))
    true, again, none = (judge((images.permute(0, 2, 3, 1) + 1) / 2) for images in (x, decoded, messes))
    return {
        "concept": float((true.concept == concept).mean()),
        "colour": float((true.colour == colour).mean()),
        "concept_reconstructed": float((again.concept == concept).mean()),
        "colour_reconstructed": float((again.colour == colour).mean()),
        "messes_refused": float((none.concept == -1).mean()),
    }


def _others(rows: Tensor, random: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (3,), generator=random).to(rows.device)]


def _uniform(n: int, random: torch.Generator, low: float, high: float, like: Tensor) -> Float[Tensor, "n 1 1 1"]:
    return (low + (high - low) * torch.rand(n, 1, 1, 1, generator=random)).to(like)


def _through(vae: AutoencoderTiny, x: Float[Tensor, "b 3 h w"], random: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    latents = vae.encoder(x)
    noise = torch.randn(latents.shape, generator=random).to(latents)
    return vae.decoder(latents + _uniform(len(x), random, 0.0, 0.4, x) * noise).clamp(-1, 1)


def _worn(x: Float[Tensor, "b 3 h w"], random: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """Shifted by up to 4 pixels, blurred by up to a factor of two, lightened or darkened, and with noise."""
    left, top = (int(torch.randint(0, 9, (1,), generator=random)) for _ in range(2))
    x = functional.pad(x, (4, 4, 4, 4), mode="replicate")[..., top : top + SIZE, left : left + SIZE]
    if torch.rand(1, generator=random) < 0.5:
        small = functional.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
        soft = functional.interpolate(small, x.shape[-2:], mode="bilinear")
        x = torch.lerp(x, soft, _uniform(len(x), random, 0.0, 1.0, x))
    x = x * _uniform(len(x), random, 0.85, 1.1, x) + _uniform(len(x), random, -0.08, 0.08, x)
    noise = torch.randn(x.shape, generator=random).to(x)
    return (x + _uniform(len(x), random, 0.0, 0.2, x) * noise).clamp(-1, 1)


def _messes(
    things: Float[Tensor, "b 3 h w"], others: Float[Tensor, "b 3 3 h w"], random: torch.Generator, colour: Tensor
) -> tuple[Float[Tensor, "b 3 h w"], Tensor]:
    """Images that show nothing, and the colour each is still on (NO_LABEL for noise).

    A quarter each: shuffled tiles, patchworks of four things, blends of three things, coloured noise.
    """
    b, quarter = len(things), len(things) // 4
    tile = 8 * 2 ** int(torch.randint(0, 2, (1,), generator=random))
    a, p, _, n = things.split([quarter, quarter, quarter, b - 3 * quarter])
    four = torch.cat([p[:, None], others[quarter : 2 * quarter]], dim=1)  # (b, 4, c, h, w)
    weights = 0.2 + torch.rand(quarter, 3, 1, 1, 1, generator=random).to(things)
    blended = (others[2 * quarter : 3 * quarter] * weights / weights.sum(dim=1, keepdim=True)).sum(dim=1)
    grain = torch.randn((len(n), 3, SIZE // 8, SIZE // 8), generator=random).to(things)
    noise = functional.interpolate(grain, (SIZE, SIZE), mode="bilinear") + 0.3 * torch.randn_like(n)
    messes = torch.cat([_shuffled(a, tile, random), _patchwork(four, tile, random), blended, noise.clamp(-1, 1)])
    labels = torch.cat([colour[: 3 * quarter], torch.full_like(colour[3 * quarter :], NO_LABEL)])
    return messes, labels


def _shuffled(x: Float[Tensor, "b 3 h w"], tile: int, random: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    tiles = functional.unfold(x, tile, stride=tile)  # (b, d, n)
    order = torch.randperm(tiles.shape[-1], generator=random).to(x.device)
    return functional.fold(tiles[..., order], x.shape[-2:], tile, stride=tile)


def _patchwork(x: Float[Tensor, "b 4 3 h w"], tile: int, random: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    cells = SIZE // tile
    choice = torch.randint(0, x.shape[1], (len(x), 1, 1, cells, cells), generator=random).float().to(x.device)
    choice = functional.interpolate(choice[:, 0], (SIZE, SIZE), mode="nearest")[:, None].long()  # (b, 1, 1, h, w)
    return x.gather(1, choice.expand(-1, 1, x.shape[2], -1, -1))[:, 0]
